//! `.snapshots`: the past as a tree that can be browsed with `ls` and restored with `cp`, in every
//! live directory. design.md, section 7, says what is in it.
//!
//! It knows the store through `history`, and of the rest of the program only `host::Host`.
//!
//! 1. Nothing here changes the past. What can be changed is the list of snapshots: `mkdir` in any
//!    `.snapshots`, `rmdir` and `mv` in the root's; by root, the owner of the working directory as it
//!    is now, and a group if one was named. The kernel asks for the mode first.
//! 2. A state is as it was: modes, owners, times, links, holes, extended attributes. Only the top
//!    of a view that is entered below the root of the tree may show fewer permissions (`mask.rs`).
//! 3. What can change is never cached by the kernel: the attributes of `.snapshots`, `.checkpoints`, its
//!    days, the folders of `.history`, and the names directly in them have a lifetime of 0, no negative
//!    entries, and an mtime that changes with their listing (the kernel keeps a listing for as long as
//!    the mtime stays). All below lives a day, and so does the name `.snapshots` itself.
//!    But the name of a snapshot, or of an instant, in the root's lives for `NAME_TTL`: every path
//!    leads through it. Whoever takes one away waits that long before he says so.
//! 4. Nobody waits here but `mkdir`, and that at most as long as the options say. Whoever may not
//!    wait is parked before the store is asked.

mod cursors;
mod days;
mod delta;
mod errno;
mod host;
mod listing;
mod mask;
mod node;
mod past;
mod top;
mod tree;

#[cfg(test)]
mod tests;

pub use host::{Host, Mounted};

use crate::capture::Recorder;
use crate::format::record::{Content, FileTime, Kind};
use crate::fs::live::Live;
use crate::fs::{Answer, Attributes, Context, Entry, ROOT, SetAttributes, Stop, VIRTUAL, WaitsFor};
use crate::history::{Found, History, HistoryError, Seek};
use crate::id::{Epoch, FileId};
use crate::limits;
use crate::store::{ListWatcher, StoreError, View};
use crate::time::{TimeZone, Timestamp};
use cursors::Cursors;
use errno::{HANGS, NO_ENTRY, NOT_ALLOWED, READ_ONLY, STALE};
use node::{Node, Nodes, Place};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How `.snapshots` is offered.
#[derive(Clone, Debug)]
pub struct SnapDirOptions {
    /// Whether a listing of the root shows it.
    pub visible: bool,
    /// `.snapshots`, or what `-o snapdirname` says.
    pub name: Vec<u8>,
    /// The owner of the working directory when it was mounted.
    pub owner_uid: u32,
    /// Whose members may change the list of snapshots too.
    pub group: Option<u32>,
    /// How long `mkdir` may take.
    pub snapshot_wait: Duration,
}

/// Serves every nodeid with bit 63.
pub struct SnapDir {
    history: Arc<History>,
    host: Box<dyn Host>,
    options: SnapDirOptions,
    /// Of this machine when it was mounted: names of folders must not change under a mount.
    zone: TimeZone,
    nodes: Nodes,
    cursors: Cursors,
    looked_at: past::LookedAt,
    /// The kernel is told when the list of snapshots changes.
    watched: AtomicBool,
}

impl SnapDir {
    /// Serves the past of the mounted tree.
    pub fn new(
        history: Arc<History>,
        recorder: Arc<Recorder>,
        live: Arc<Live>,
        options: SnapDirOptions,
    ) -> Arc<SnapDir> {
        let host = Box::new(Mounted { live, recorder });
        SnapDir::with_host(history, host, options, TimeZone::system())
    }

    /// The same in any surroundings.
    pub fn with_host(
        history: Arc<History>,
        host: Box<dyn Host>,
        options: SnapDirOptions,
        zone: TimeZone,
    ) -> Arc<SnapDir> {
        Arc::new(SnapDir {
            history,
            host,
            options,
            zone,
            nodes: Nodes::default(),
            cursors: Cursors::new(),
            looked_at: past::LookedAt::new(),
            watched: AtomicBool::new(false),
        })
    }

    /// From now on `tell` says to the kernel that what it keeps of this node is not true any more, and
    /// must not wait for an answer; `None`: nobody does.
    pub fn watch_list(&self, tell: Option<Box<dyn Fn(u64) + Send + Sync>>) {
        let told = tell.is_some();
        if !told {
            self.watched.store(false, Ordering::Release);
        }
        let tell = tell.map(|tell| -> ListWatcher { Box::new(move || tell(TOP.proposal())) });
        self.history.store().watch_list(tell);
        self.watched.store(told, Ordering::Release);
    }

    /// A view and a link never change, only their names come and go.
    fn attr_ttl(&self, node: &Node) -> Duration {
        match node {
            // The kernel would ask at each step of a path through it.
            Node::Top { host: ROOT } if self.watched.load(Ordering::Acquire) => limits::LIST_TTL,
            Node::Top { .. }
            | Node::Checkpoints { .. }
            | Node::Day { .. }
            | Node::Deltas { .. }
            | Node::Past { .. } => Duration::ZERO,
            _ => limits::TTL,
        }
    }

    /// Whether the store answers at once.
    pub fn is_store_quick(&self) -> bool {
        self.history.store().longest_call() < limits::STORE_QUICK
    }

    /// Whether a listing of the live root shows `name()`.
    pub fn visible(&self) -> bool {
        self.options.visible
    }

    /// The name in every live directory.
    pub fn name(&self) -> &[u8] {
        &self.options.name
    }

    /// The numbers of these versions of files, as far as the kernel knows them.
    pub fn numbers_of(&self, versions: &[(FileId, Epoch)]) -> Vec<u64> {
        self.nodes.of_versions(versions)
    }

    /// How many nodes the kernel knows.
    pub fn known(&self) -> usize {
        self.nodes.len()
    }

    /// `name()` in the live directory `host`.
    ///
    /// # Errors
    /// ENOTDIR, ESTALE.
    pub fn lookup_top(&self, cx: &Context, host: u64) -> Answer<Entry> {
        self.may_ask(cx)?;
        self.host.describe(host)?;
        self.entry(&self.history.view(), Node::Top { host }, None)
    }

    /// The inode number of `name()` in the live directory `host`, for a listing that shows it.
    pub fn top_number(&self, host: u64) -> u64 {
        Node::Top { host }.proposal()
    }

    /// `name` in the directory `parent`.
    ///
    /// # Errors
    /// ENOENT for what is not there but may come; what can never come is a negative entry.
    pub fn lookup(&self, cx: &Context, parent: u64, name: &[u8]) -> Answer<Entry> {
        self.may_ask(cx)?;
        if name.len() > limits::NAME_MAX {
            return Err(Stop::Errno(libc::ENAMETOOLONG));
        }
        let directory = self.node(parent)?;
        let view = self.history.view();
        let found = match &*directory {
            Node::Top { host } => self.lookup_name(&view, *host, name)?,
            Node::Checkpoints { host } => self.lookup_day(&view, *host, name)?,
            Node::Day { host, day } => self.lookup_time(&view, *host, *day, name)?,
            Node::View { dir, epoch, .. } | Node::Dir { dir, epoch, .. } => {
                let found = self.lookup_in_state(&view, parent, *dir, *epoch, name)?;
                if found.is_none() {
                    return Ok(NEVER);
                }
                found
            }
            Node::Past { host, path, .. } => {
                self.lookup_past(&view, parent, (*host, path), name)?
            }
            Node::Deltas { host, since } => self.lookup_delta(&view, (*host, *since), name)?,
            Node::Delta {
                dir, epoch, base, ..
            }
            | Node::DeltaDir {
                dir, epoch, base, ..
            } => {
                let (ino, dir, epoch) = (parent, *dir, *epoch);
                let place = tree::Directory { ino, dir, epoch };
                let is_top = matches!(*directory, Node::Delta { .. });
                let found = self.lookup_changed(&view, place, *base, is_top, name)?;
                if found.is_none() {
                    return Ok(NEVER);
                }
                found
            }
            Node::Link { .. } | Node::File { .. } | Node::Version { .. } | Node::Changes { .. } => {
                return Err(Stop::Errno(libc::ENOTDIR));
            }
        };
        let (node, found) = found.ok_or(NO_ENTRY)?;
        self.entry(&view, node, found)
    }

    /// The kernel forgets `count` look-ups of `ino`.
    pub fn forget(&self, ino: u64, count: u64) {
        self.nodes.forget(ino, count);
    }

    /// What `stat` shows, and for how long the kernel may keep it.
    ///
    /// # Errors
    /// ESTALE if the state is not kept any more.
    pub fn getattr(&self, cx: &Context, ino: u64) -> Answer<(Attributes, Duration)> {
        self.may_ask(cx)?;
        let node = self.node(ino)?;
        let mut attributes = self.attributes(&self.history.view(), &node, None)?;
        attributes.ino = ino;
        Ok((attributes, self.attr_ttl(&node)))
    }

    /// Never.
    ///
    /// # Errors
    /// EROFS.
    pub fn setattr(
        &self,
        _cx: &Context,
        _ino: u64,
        _set: &SetAttributes,
    ) -> Answer<(Attributes, Duration)> {
        Err(READ_ONLY)
    }

    /// Where a symlink leads.
    ///
    /// # Errors
    /// EINVAL for what is none.
    pub fn readlink(&self, cx: &Context, ino: u64) -> Answer<Vec<u8>> {
        self.may_ask(cx)?;
        let node = self.node(ino)?;
        if let Node::Link { target, .. } = &*node {
            return Ok(target.to_vec());
        }
        let found = self.found(&self.history.view(), &node)?;
        match found.map(|found| found.inode) {
            Some(inode) if inode.kind == Kind::Symlink => Ok(inode.target),
            _ => Err(Stop::Errno(libc::EINVAL)),
        }
    }

    /// Fills `out` (cleared first) with up to `size` bytes from `offset` on.
    ///
    /// # Errors
    /// EIO for lost and damaged content, EACCES for what could not be read when it was recorded.
    pub fn read(
        &self,
        cx: &Context,
        ino: u64,
        offset: u64,
        size: u32,
        out: &mut Vec<u8>,
    ) -> Answer<()> {
        self.may_ask(cx)?;
        out.clear();
        let view = self.history.view();
        if let Node::Changes { dir, epoch, base } = *self.node(ino)? {
            let text = self.history.list_of_changes(&view, (base, epoch), dir)?;
            let from = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(text.len());
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let until = from.saturating_add(size).min(text.len());
            out.extend_from_slice(&text[from..until]);
            return Ok(());
        }
        let (content, length) = self.content(&view, ino)?;
        let read = self.history.read(&view, content, length, offset, size, out);
        read.map_err(|error| self.still_to_come(error))
    }

    /// What a recovery that is under way has still to bring is asked for.
    fn still_to_come(&self, error: HistoryError) -> Stop {
        let wanted = match &error {
            HistoryError::Store(StoreError::Missing { hash }) => self.host.want(*hash),
            _ => None,
        };
        wanted.unwrap_or_else(|| error.into())
    }

    /// SEEK_DATA and SEEK_HOLE.
    ///
    /// # Errors
    /// ENXIO: there is none.
    pub fn lseek(&self, cx: &Context, ino: u64, offset: u64, whence: i32) -> Answer<u64> {
        self.may_ask(cx)?;
        let seek = match whence {
            libc::SEEK_DATA => Seek::Data,
            libc::SEEK_HOLE => Seek::Hole,
            _ => return Err(Stop::Errno(libc::EINVAL)),
        };
        let view = self.history.view();
        if let Node::Changes { dir, epoch, base } = *self.node(ino)? {
            let text = self.history.list_of_changes(&view, (base, epoch), dir)?;
            return match (offset < text.len() as u64, seek) {
                (true, Seek::Data) => Ok(offset),
                (true, Seek::Hole) => Ok(text.len() as u64),
                (false, _) => Err(Stop::Errno(libc::ENXIO)),
            };
        }
        let (content, length) = self.content(&view, ino)?;
        let found = self.history.seek(&view, content, length, offset, seek);
        let found = found.map_err(|error| self.still_to_come(error))?;
        found.ok_or(Stop::Errno(libc::ENXIO))
    }

    /// What a regular file consists of, and its size: to restore it without reading it twice.
    ///
    /// # Errors
    /// EISDIR, EINVAL for what is no regular file.
    pub fn content_of(&self, ino: u64) -> Answer<(Content, u64)> {
        self.content(&self.history.view(), ino)
    }

    /// An extended attribute as it was.
    ///
    /// # Errors
    /// ENODATA.
    pub fn getxattr(&self, cx: &Context, ino: u64, name: &[u8]) -> Answer<Vec<u8>> {
        self.may_ask(cx)?;
        if name == crate::pattern::LEFT_OUT_XATTR && self.is_left_out(ino)? {
            return Ok(b"1".to_vec());
        }
        let mut xattrs = self.xattrs(ino)?.into_iter();
        let found = xattrs.find(|(other, _)| other == name);
        found
            .map(|(_, value)| value)
            .ok_or(Stop::Errno(libc::ENODATA))
    }

    /// The names of the extended attributes, each ended by a NUL. Those of the family `trusted` are
    /// root's, as they are on the file systems of Linux.
    ///
    /// # Errors
    /// ESTALE.
    pub fn listxattr(&self, cx: &Context, ino: u64) -> Answer<Vec<u8>> {
        self.may_ask(cx)?;
        let mut names = Vec::new();
        for (name, _) in self.xattrs(ino)? {
            if cx.uid == 0 || !name.starts_with(b"trusted.") {
                names.extend_from_slice(&name);
                names.push(0);
            }
        }
        Ok(names)
    }

    fn node(&self, ino: u64) -> Answer<Arc<Node>> {
        self.nodes.get(ino).ok_or(STALE)
    }

    /// Counts a look-up and says what was found.
    fn entry(&self, view: &View<'_>, node: Node, found: Option<Found>) -> Answer<Entry> {
        let mut attributes = self.attributes(view, &node, found.as_ref())?;
        let (entry_ttl, attr_ttl) = (entry_ttl(&node), self.attr_ttl(&node));
        attributes.ino = self.nodes.claim(node);
        Ok(Entry {
            attributes: Some(attributes),
            entry_ttl,
            attr_ttl,
        })
    }

    /// What `stat` shows; its `ino` is still to be filled in.
    fn attributes(
        &self,
        view: &View<'_>,
        node: &Node,
        found: Option<&Found>,
    ) -> Answer<Attributes> {
        match node {
            Node::Top { .. } => Ok(self.made_up(self.list_changed(view)?)),
            Node::Checkpoints { .. } | Node::Day { .. } | Node::Deltas { .. } => {
                Ok(self.made_up(self.kept_changed(view)?))
            }
            Node::Link { target, time, .. } => {
                let mut attributes = self.made_up(*time);
                attributes.kind = Kind::Symlink;
                attributes.mode = 0o777;
                attributes.size = target.len() as u64;
                Ok(attributes)
            }
            Node::Past { host, path, .. } => self.past_attributes(view, (*host, path)),
            Node::Changes { dir, epoch, base } => {
                self.changes_attributes(view, (*base, *epoch), *dir)
            }
            Node::View { .. }
            | Node::Dir { .. }
            | Node::Delta { .. }
            | Node::DeltaDir { .. }
            | Node::File { .. }
            | Node::Version { .. } => {
                let looked_up;
                let found = match found {
                    Some(found) => found,
                    None => {
                        looked_up = self.found(view, node)?.ok_or(STALE)?;
                        &looked_up
                    }
                };
                let mut attributes = self.recorded(view, &found.inode);
                match node {
                    Node::View { epoch, .. } | Node::Delta { epoch, .. } => {
                        attributes.mode &= self.mask(view, *epoch, found)?.keep;
                    }
                    Node::Version { at, .. } => {
                        attributes.mtime = file_time(view.header(*at)?.ok_or(STALE)?.time);
                        attributes.nlink = 1;
                    }
                    _ => {}
                }
                Ok(attributes)
            }
        }
    }

    /// A directory of our own making: it belongs to the owner of the working directory (and to the
    /// group that may change the list), and its link count says nothing.
    fn made_up(&self, changed: Timestamp) -> Attributes {
        let time = file_time(changed);
        let (uid, gid) = self.owner();
        Attributes {
            ino: 0,
            kind: Kind::Dir,
            mode: if self.options.group.is_some() {
                0o775
            } else {
                0o755
            },
            nlink: 1,
            uid,
            gid: self.options.group.unwrap_or(gid),
            rdev: 0,
            size: 0,
            blocks: 0,
            blksize: 4096,
            atime: time,
            mtime: time,
            ctime: time,
        }
    }

    /// Owner and group of the root of the working directory, as they are now.
    fn owner(&self) -> (u32, u32) {
        match self.host.describe(ROOT) {
            Ok(root) => (root.attributes.uid, root.attributes.gid),
            Err(_) => (self.options.owner_uid, 0),
        }
    }

    /// When the list of snapshots changed last, and a nanosecond for each epoch: a snapshot that
    /// waits for a scan comes into view with its epoch, without a change of the list.
    fn list_changed(&self, view: &View<'_>) -> Answer<Timestamp> {
        let newest = view.newest_epoch()?.unwrap_or(Epoch::NONE);
        let changed = self.history.store().snapshots_changed();
        Ok(changed.plus(Duration::from_nanos(newest.0 % 1_000_000)))
    }

    /// When the list of kept epochs changed last. (One that is pruned changes the list of snapshots
    /// too.)
    fn kept_changed(&self, view: &View<'_>) -> Answer<Timestamp> {
        let newest = match view.newest_epoch()? {
            Some(epoch) => view.header(epoch)?,
            None => None,
        };
        let newest = newest.map_or(Timestamp::default(), |header| header.time);
        let gap = view.gaps()?.pop();
        // One that lasts begins with the newest state, and changes the listing later.
        let lasting = |from: Timestamp| from.plus(Duration::from_nanos(1));
        let gap = gap.map_or(newest, |gap| gap.to.unwrap_or(lasting(gap.from)));
        Ok(newest.max(gap).max(self.list_changed(view)?))
    }

    /// Whether the store may be asked here and now. Not a store that hangs: what asks it can't be
    /// interrupted, and would take the threads one by one.
    fn may_ask(&self, cx: &Context) -> Answer<()> {
        if self.history.store().longest_call() >= limits::STORE_HUNG {
            return Err(HANGS);
        }
        if cx.may_wait {
            Ok(())
        } else {
            Err(Stop::Park(WaitsFor::Store))
        }
    }

    /// Whether this caller may change the list of snapshots.
    fn may_change_list(&self, cx: &Context) -> Answer<()> {
        let is_member = |group| self.host.is_member(cx, group);
        if cx.uid == 0 || cx.uid == self.owner().0 || self.options.group.is_some_and(is_member) {
            Ok(())
        } else {
            Err(NOT_ALLOWED)
        }
    }
}

/// `.snapshots` of the root.
const TOP: Node = Node::Top { host: ROOT };

/// A state never changes, so what is not in it never will be.
const NEVER: Entry = Entry {
    attributes: None,
    entry_ttl: limits::TTL,
    attr_ttl: limits::TTL,
};

fn entry_ttl(node: &Node) -> Duration {
    match node {
        Node::Dir { .. }
        | Node::DeltaDir { .. }
        | Node::Changes { .. }
        | Node::File { .. }
        | Node::Version { .. } => limits::TTL,
        // No entry can take its place: one that hid it would have to be made beside the mount.
        Node::Top { .. } => limits::TTL,
        Node::View {
            host: ROOT,
            place: Place::Snapshot(_) | Place::Time,
            ..
        } => limits::NAME_TTL,
        _ => Duration::ZERO,
    }
}

fn file_time(time: Timestamp) -> FileTime {
    FileTime {
        sec: time.0.div_euclid(1_000_000_000),
        nsec: u32::try_from(time.0.rem_euclid(1_000_000_000))
            .expect("a remainder of a billion fits in 32 bits"),
    }
}

fn is_virtual(ino: u64) -> bool {
    ino & VIRTUAL != 0
}
