//! What an operation on the live tree does before it changes anything: takes the open epoch,
//! preserves what it is about to destroy, and notes what it is about to change.
//!
//! 1. Noted before it is done; what fails half way is noted too.
//! 2. The first operation of an epoch on a file with an older version that is not captured keeps
//!    its attributes for that version.
//! 3. Bytes below the older version's size are stashed before they change.
//! 4. An operation that changes content which stood for `settle`, and whose last change is in
//!    the open epoch, cuts first: it then belongs to the next epoch, and 3 keeps the content.
//!
//! The caller holds the `io` locks of all files that are concerned.

use super::epoch::Held;
use super::names_deed::NamesDeed;
use super::{Mark, Recorder};
use crate::backing;
use crate::format::record::{Actor, EpochKind, Kind, LostReason, What};
use crate::id::Epoch;
use crate::inodes::Inode;
use crate::inodes::stash::Old;
use crate::inodes::track::{Identity, Look, Track, Version, Xattrs};
use crate::limits;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The operation can't go on now: let go of everything and try again when something was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Of its file: more bytes would have to be stashed than may be.
    Bytes,
    /// Too much is noted that is not recorded yet.
    States,
    /// Too much is kept of files that were removed: descriptors, or bytes on the live disk.
    Removed,
}

/// How an operation changes content.
#[derive(Clone, Debug)]
pub enum ContentChange {
    /// These bytes are written, copied to, punched or allocated.
    Range(Range<u64>),
    /// The size is set.
    Resize(u64),
}

/// A name that is about to change.
pub struct NameChange<'a> {
    pub directory: &'a Arc<Inode>,
    pub name: &'a [u8],
    /// What it is now.
    pub before: Option<Arc<Inode>>,
}

/// A file that a change of names touches.
pub struct Touch<'a> {
    pub inode: &'a Arc<Inode>,
    /// Its last name goes.
    pub dies: bool,
}

impl Recorder {
    /// What `pid` and its descendants change from now on belongs to a run.
    pub fn begin_run(&self, pid: u32, run: u64) {
        self.actors.begin_run(pid, run);
    }

    /// What they change from now on does not.
    pub fn end_run(&self, run: u64) {
        self.actors.end_run(run);
    }

    /// The process behind a request.
    pub fn actor(&self, tid: u32, uid: u32) -> Arc<Actor> {
        self.actors.of(tid, uid)
    }

    /// The same where something is removed: his command line is known from then on, if it can be read
    /// within a moment.
    pub fn remover(&self, tid: u32, uid: u32) -> Arc<Actor> {
        self.actors.of_remover(tid, uid)
    }

    /// Before the content of `inode` changes.
    ///
    /// # Errors
    /// `Wait`: nothing was noted.
    pub fn content(
        &self,
        inode: &Arc<Inode>,
        change: &ContentChange,
        actor: &Arc<Actor>,
    ) -> Result<Option<Arc<Held>>, Wait> {
        if !self.trouble.is_recording() {
            return Ok(None);
        }
        if let Some(held) = self.unnoted(inode) {
            return Ok(Some(held));
        }
        self.may_note(Some(inode))?;
        if self.mark(inode) == Mark::RecordedTag {
            self.note_tag_of(inode);
        }
        self.keep_unimported(inode)?;
        self.cut_if_settled(inode)?;
        let held = self.open.load_full();
        let epoch = held.body.number;
        let mut track = inode.track.lock();
        self.note_overwritten(&held, inode, &mut track, change, actor);
        self.touch(&held, inode, &mut track, What::CONTENT, actor);
        let older = track.older_pending(epoch).and_then(|version| version.look);
        // What is left out for its size is not preserved, unless an older version was smaller.
        let is_wanted = |version: &Version| {
            let too_large = |look: Look| self.rules.is_too_large(version.epoch, look.stat.size);
            version.epoch < epoch && !version.captured && !version.look.is_some_and(too_large)
        };
        let older = older.filter(|_| track.versions.iter().any(is_wanted));
        drop(track);
        let changed = match *change {
            ContentChange::Range(ref range) => range.clone(),
            ContentChange::Resize(to) => {
                let Some(now) = self.size_now(inode, older) else {
                    return Ok(Some(held));
                };
                to.min(now)..to.max(now)
            }
        };
        if let Some(look) = older {
            let end = changed.end.min(look.stat.size);
            self.preserve(inode, epoch, changed.start..end, &look)?;
        }
        let mut track = inode.track.lock();
        if !track.nameless && !track.left {
            track.changed = Some((Instant::now(), epoch));
            if let Some(version) = track.version(epoch) {
                let to = match *change {
                    ContentChange::Resize(to) => Some(to),
                    ContentChange::Range(_) => None,
                };
                version.note_content(actor, changed, to);
            }
        }
        Ok(Some(held))
    }

    /// Before attributes (or, `what`, extended attributes) of `inode` change.
    ///
    /// # Errors
    /// `Wait`: nothing was noted.
    pub fn attributes(
        &self,
        inode: &Arc<Inode>,
        what: What,
        actor: &Arc<Actor>,
    ) -> Result<Option<Arc<Held>>, Wait> {
        if !self.trouble.is_recording() {
            return Ok(None);
        }
        if let Some(held) = self.unnoted(inode) {
            return Ok(Some(held));
        }
        self.may_note(Some(inode))?;
        let held = self.open.load_full();
        let mut track = inode.track.lock();
        self.touch(&held, inode, &mut track, what, actor);
        drop(track);
        Ok(Some(held))
    }

    /// Before names change.
    ///
    /// # Errors
    /// `Wait`: nothing was noted.
    pub fn names(
        &self,
        names: &[NameChange<'_>],
        touched: &[Touch<'_>],
        actor: Arc<Actor>,
    ) -> Result<NamesDeed<'_>, Wait> {
        if !self.trouble.is_recording() {
            return Ok(NamesDeed {
                recorder: self,
                held: None,
                unnoted: None,
                actor,
            });
        }
        for change in names {
            self.options.hooks.visit(change.name);
        }
        if let Some(name) = &self.options.hooks.panic_at
            && names.iter().any(|change| change.name == name)
        {
            panic!("on purpose, as REWINDFS_TEST says");
        }
        let is_out = |inode: &Arc<Inode>| self.mark(inode).is_silent();
        let recorded = |directory| self.mark(directory) == Mark::Recorded;
        let any = names.iter().any(|change| recorded(change.directory))
            || touched.iter().any(|touch| !is_out(touch.inode));
        if any {
            self.may_note(None)?;
        }
        for touch in touched.iter().filter(|touch| touch.dies) {
            if is_out(touch.inode) {
                continue;
            }
            if self.inodes.keep_descriptor(touch.inode).is_err() {
                log::warn!(
                    "inode {} can't be kept open while it is removed",
                    touch.inode.ino
                );
            }
            self.keep_unimported(touch.inode)?;
            self.cut_if_settled(touch.inode)?;
        }
        for change in names {
            self.note_tag(change.directory, change.name);
        }
        let held = self.open.load_full();
        // Asked again: a tag that was noted marks its directory.
        let any = names.iter().any(|change| recorded(change.directory))
            || touched.iter().any(|touch| !is_out(touch.inode));
        if !any {
            return Ok(NamesDeed {
                recorder: self,
                held: None,
                unnoted: Some(held),
                actor,
            });
        }
        for change in names {
            if !recorded(change.directory) {
                continue;
            }
            let mut track = change.directory.track.lock();
            self.keep_name(change, &mut track, held.body.number);
            self.touch(
                &held,
                change.directory,
                &mut track,
                What::ATTRIBUTES,
                &actor,
            );
            drop(track);
            held.body.doubt_name(change.directory, change.name, &actor);
        }
        for touch in touched {
            if is_out(touch.inode) {
                continue;
            }
            let what = if touch.dies {
                What::GONE
            } else {
                What::ATTRIBUTES
            };
            let mut track = touch.inode.track.lock();
            if touch.dies && track.identity == Identity::Unknown {
                track.birth = Some(self.birth_of(touch.inode));
            }
            self.touch(&held, touch.inode, &mut track, what, &actor);
            // What a file holds under its new name is to be found there too: an editor that saves
            // by rename, and later overwrites, leaves each version under the name of the file.
            if !touch.dies && touch.inode.kind != Kind::Dir && !track.nameless && !track.left {
                track.named = Some((Instant::now(), held.body.number));
            }
        }
        Ok(NamesDeed {
            recorder: self,
            held: Some(held),
            unnoted: None,
            actor,
        })
    }

    /// Whether there is memory to note a change of names, or of `inode`: what is noted of it in the
    /// open epoch already takes no more. While the store does not answer, memory is what there is.
    ///
    /// # Errors
    /// `Wait`: there will be when an epoch was recorded.
    fn may_note(&self, inode: Option<&Inode>) -> Result<(), Wait> {
        if self.has_room_for_notes() {
            return Ok(());
        }
        if self.is_store_slow() && (self.lend_notes() || self.give_up_on_store()) {
            return Ok(());
        }
        let open = self.open.load().body.number;
        if inode.is_some_and(|inode| inode.track.lock().version(open).is_some()) {
            return Ok(());
        }
        if self.pending_epochs() == 0 {
            self.cut(EpochKind::Checkpoint, false, false, Vec::new());
        }
        Err(Wait::States)
    }

    /// Before the last name of `inode` goes: whether there is room to keep what no epoch holds yet.
    ///
    /// # Errors
    /// `Wait`: there will be when something was captured, or the scan has caught up.
    pub fn may_remove(&self, inode: &Arc<Inode>) -> Result<(), Wait> {
        if !self.trouble.is_recording() || self.mark(inode).is_silent() {
            return Ok(());
        }
        let (kept, bound) = (self.inodes.kept(), self.options.hooks.kept_bytes);
        let is_kept = inode.track.lock().is_pending() || self.unimported.contains(inode.ino);
        let bytes = match is_kept && kept.taken() > 0 {
            true => self.look(inode).map_or(0, |look| look.stat.blocks * 512),
            false => 0,
        };
        let full = bytes > 0 && !kept.has_room(bytes, bound);
        let scan_full = self.scan.keeps_much(self.options.hooks.scan_kept);
        // What a full budget of bytes holds is given back later; descriptors are needed now.
        let waits = match self.is_store_slow() {
            true if !self.inodes.is_very_short() => {
                if full {
                    kept.lend(bytes, bound);
                }
                if scan_full {
                    self.scan.lend(self.options.hooks.scan_kept);
                }
                false
            }
            true => !self.give_up_on_store(),
            // What was kept while the store did not answer holds descriptors as well.
            false if kept.taken() > bound => full || self.inodes.is_very_short(),
            false => full || self.inodes.is_short() || scan_full,
        };
        if waits && self.makes_room() {
            return Err(Wait::Removed);
        }
        Ok(())
    }

    fn is_store_slow(&self) -> bool {
        self.store.longest_call() >= limits::STORE_SLOW
    }

    /// What memory and descriptors can bridge is used up: when the store has not answered for so
    /// long, history stops, and nobody waits any more.
    pub(super) fn give_up_on_store(&self) -> bool {
        let stuck = self.store.longest_call() >= limits::STORE_STUCK;
        if stuck {
            self.store_hangs();
        }
        stuck
    }

    /// Whether something will be free when what is noted has been recorded.
    fn makes_room(&self) -> bool {
        let cut = self.pending_epochs() > 0
            || self
                .cut(EpochKind::Checkpoint, false, false, Vec::new())
                .is_some();
        cut || self.scan.keeps_anything()
    }

    /// Cuts when `inode` holds content that stood for `settle` and is in no epoch but the open
    /// one. Before an append too: what stood is content of its own, and the next write may be in
    /// the midst of it. At most one cut per `settle`: what is in a cut epoch is safe.
    fn cut_if_settled(&self, inode: &Arc<Inode>) -> Result<(), Wait> {
        let open = self.open.load().body.number;
        let settled = |since: Option<(Instant, Epoch)>| {
            since.is_some_and(|(at, epoch)| epoch == open && at.elapsed() >= self.options.settle)
        };
        {
            let track = inode.track.lock();
            if !settled(track.changed) && !settled(track.named) {
                return Ok(());
            }
        }
        // Of a folder it is the mode and the like that are kept: names go with operations of theirs.
        let size = self.look(inode).map_or(0, |look| look.stat.size);
        if size == 0 && inode.kind != Kind::Dir {
            return Ok(());
        }
        if !self.has_room_for_epoch() && !self.give_up_on_store() {
            return Err(Wait::States);
        }
        self.cut(EpochKind::Checkpoint, false, false, Vec::new());
        Ok(())
    }

    /// Notes that `inode` is changed in the epoch that is held.
    pub(super) fn touch(
        &self,
        held: &Arc<Held>,
        inode: &Arc<Inode>,
        track: &mut Track,
        what: What,
        actor: &Arc<Actor>,
    ) {
        let epoch = held.body.number;
        self.enrol(inode, track, epoch);
        if let Some(older) = track.older_pending(epoch)
            && older.look.is_none()
        {
            self.keep_attributes(inode, older);
        }
        if track.nameless || track.left {
            return;
        }
        if track.version(epoch).is_none() {
            track.push(Version::new(epoch));
            self.inodes.pin(inode);
            held.body.note_inode(inode);
        }
        if let Some(version) = track.version(epoch) {
            // Kept before a move that failed, or did not end the epoch: that is not its end.
            (version.look, version.xattrs) = (None, None);
            version.what = version.what.with(what);
            version.note_actor(actor);
        }
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_noted_ms.store(now, Ordering::Relaxed);
    }

    /// While the scan has not reached `inode`, it has an implicit version of the scan's epoch
    /// with everything in it: makes that explicit before the first change.
    pub(super) fn enrol(&self, inode: &Arc<Inode>, track: &mut Track, by: Epoch) {
        // What belongs to an epoch before the scan is of the scan's instant, too.
        if track.nameless || track.left || self.scan.epoch().is_none_or(|scan| scan >= by) {
            return;
        }
        let Some(epoch) = self.scan.enrol(inode.ino) else {
            return;
        };
        // Those of epochs that were cut when the scan began, and are not recorded yet.
        for version in track.versions.iter_mut() {
            if version.epoch < epoch && !version.captured && version.look.is_none() {
                self.keep_attributes(inode, version);
            }
        }
        let mut version = Version::new(epoch);
        version.dirty.everything();
        version.what = What::CONTENT.with(What::ATTRIBUTES);
        self.keep_attributes(inode, &mut version);
        self.scan.keep(&self.inodes, inode, false);
        self.inodes.pin(inode);
        let at = track.versions.partition_point(|known| known.epoch < epoch);
        track.add(at, version);
    }

    /// Keeps for an older version what the file's attributes are now, before they change.
    pub(super) fn keep_attributes(&self, inode: &Arc<Inode>, version: &mut Version) {
        match self.look(inode) {
            Ok(look) => version.look = Some(look),
            Err(error) => version.lost = Some(lost_reason(&error)),
        }
        version.xattrs = read_xattrs(inode, self.inodes.backing().root()).ok();
        version.place = inode.place().map(|place| (place.parent, place.name));
    }

    /// The size that a change starts from. `None`: can't be told, so nothing can be preserved.
    fn size_now(&self, inode: &Arc<Inode>, older: Option<Look>) -> Option<u64> {
        match self.look(inode) {
            Ok(look) => Some(look.stat.size),
            Err(_) => older.map(|look| look.stat.size),
        }
    }

    /// Stashes what stands in `range` for the versions before `epoch`.
    fn preserve(
        &self,
        inode: &Arc<Inode>,
        epoch: Epoch,
        range: Range<u64>,
        older: &Look,
    ) -> Result<(), Wait> {
        if range.start >= range.end {
            return Ok(());
        }
        let tag = Epoch(epoch.0 - 1);
        let missing = inode.track.lock().stash.missing(tag, range);
        let bytes: u64 = missing.iter().map(|gap| gap.end - gap.start).sum();
        if bytes == 0 {
            return Ok(());
        }
        let filled = self.stash_bytes.load(Ordering::Relaxed) + bytes;
        let stash_max = self.options.hooks.stash_bytes;
        // While the store keeps the capture waiting, memory is what there is.
        let room = match bytes > limits::STASH_PIECE || filled > stash_max {
            true if self.is_store_slow() => filled <= stash_max * limits::STASH_SLOW_TIMES,
            large => !large,
        };
        if !room {
            return self.await_capture(inode, epoch);
        }
        let sparse = older.stat.blocks.saturating_mul(512) < older.stat.size;
        for gap in missing {
            match self.read_old(inode, gap.clone(), sparse) {
                Ok(pieces) => {
                    let mut track = inode.track.lock();
                    for (start, old) in pieces {
                        let memory = track.stash.keep(tag, start, old);
                        self.stash_bytes.fetch_add(memory, Ordering::Relaxed);
                    }
                }
                Err(error) => {
                    inode.track.lock().lose_before(epoch, lost_reason(&error));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Asks for the capture of the older versions of `inode`, and gives them up when that has
    /// taken too long.
    fn await_capture(&self, inode: &Arc<Inode>, epoch: Epoch) -> Result<(), Wait> {
        let mut track = inode.track.lock();
        let Some(version) = track.older_pending(epoch) else {
            return Ok(());
        };
        let since = *version.awaited.get_or_insert_with(Instant::now);
        let stuck = self.store.longest_call() >= limits::STORE_STUCK;
        if stuck || since.elapsed() >= limits::CAPTURE_WAIT {
            track.lose_before(epoch, LostReason::TooSlow);
            return Ok(());
        }
        drop(track);
        self.queue.hurry(inode);
        self.signal.raise();
        Err(Wait::Bytes)
    }

    /// What stands in `range` of the live file now.
    fn read_old(
        &self,
        inode: &Arc<Inode>,
        range: Range<u64>,
        sparse: bool,
    ) -> io::Result<Vec<(u64, Old)>> {
        let file = self.inodes.data(inode, false)?;
        let mut pieces = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let (hole, data) = if sparse {
                next_data(file.as_fd(), at, range.end)?
            } else {
                (at, range.end)
            };
            if hole > at {
                pieces.push((at, Old::Hole(hole - at)));
            }
            if data > hole {
                let len = usize::try_from(data - hole).map_err(io::Error::other)?;
                let mut bytes = vec![0; len];
                read_full(file.as_fd(), &mut bytes, hole)?;
                pieces.push((hole, Old::Bytes(bytes)));
            }
            at = data.max(hole);
        }
        Ok(pieces)
    }
}

/// From `at`: where data begins, and where it ends, both at most `end`.
pub(super) fn next_data(file: BorrowedFd<'_>, at: u64, end: u64) -> io::Result<(u64, u64)> {
    let start = match backing::seek(file, at, libc::SEEK_DATA) {
        Ok(start) => start.min(end),
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok((end, end)),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok((at, end)),
        Err(error) => return Err(error),
    };
    if start >= end {
        return Ok((end, end));
    }
    let stop = match backing::seek(file, start, libc::SEEK_HOLE) {
        Ok(stop) => stop.min(end),
        // Cut off between the two calls: what stood there is stashed.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => end,
        Err(error) => return Err(error),
    };
    Ok((start, stop.max(start)))
}

/// Reads as much as there is; the rest of `buffer` stays zero.
pub(super) fn read_full(file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match backing::pread(file, &mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer[done..].fill(0);
    Ok(done)
}

/// All extended attributes in bytewise order of their names.
pub(super) fn read_xattrs(inode: &Inode, mount: BorrowedFd<'_>) -> io::Result<Xattrs> {
    let path = inode.path(mount)?;
    let mut names = match backing::list_xattrs(path.as_fd()) {
        Ok(names) => names,
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    names.sort_unstable();
    let mut xattrs = Vec::with_capacity(names.len());
    for name in names {
        match backing::get_xattr(path.as_fd(), &name) {
            Ok(value) => xattrs.push((name, value)),
            // Gone meanwhile, or not for us to see: as absent as it is to everybody else.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EPERM)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(xattrs)
}

/// Why content can't be had.
pub(super) fn lost_reason(error: &io::Error) -> LostReason {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM | libc::ENOKEY) => LostReason::NoPermission,
        _ => LostReason::ReadError,
    }
}
