//! All file-system semantics, and the interface that the FUSE adapter calls. No fuser types.
//!
//! 1. Bit 63 of a number marks what is made up by us: `.snapshots` and all below.
//! 2. Every operation runs with the daemon's own identity but for the system call that must be
//!    the caller's.

pub mod live;
pub mod snapdir;
mod waits;

pub use waits::{Asked, WaitsFor};

use crate::backing::{self, Space};
use crate::format::record::{FileTime, Kind};
use crate::id::{Epoch, FileId};
use crate::limits;
use std::sync::Arc;
use std::time::Duration;

/// Who asks, and whether this thread may wait.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    pub uid: u32,
    pub gid: u32,
    /// Thread id of the caller, 0 for kernel write-back.
    pub pid: u32,
    /// False on an event loop: an operation that would have to wait answers `Stop::Park`.
    pub may_wait: bool,
}

/// Whose bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// Those of the caller.
    Caller,
    /// The kernel writes back what a mapping, or its cache, holds: of this process and user, if it is
    /// known whose that is.
    Kernel(Option<(u32, u32)>),
}

/// Why an operation did not end with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Raw errno for the caller.
    Errno(i32),
    /// Run the operation again from the start where it may wait. One that answers this there too
    /// is run again when `Fs::wakeups` changes, or after 100 ms.
    Park(WaitsFor),
}
pub type Answer<T> = Result<T, Stop>;

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Stop {
        Stop::Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// What the kernel wants to know of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// nodeid and st_ino.
    pub ino: u64,
    pub kind: Kind,
    /// 07777.
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u32,
    pub size: u64,
    pub blocks: u64,
    pub blksize: u32,
    pub atime: FileTime,
    pub mtime: FileTime,
    pub ctime: FileTime,
}

/// Answer to a look-up. `attributes` None: a negative entry that may be cached for `entry_ttl`.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub attributes: Option<Attributes>,
    pub entry_ttl: Duration,
    pub attr_ttl: Duration,
}

/// What SETATTR changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttributes {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: Option<SetTime>,
    pub mtime: Option<SetTime>,
}
#[derive(Clone, Copy, Debug)]
pub enum SetTime {
    Now,
    At(FileTime),
}

/// Bit 63 of a nodeid marks what is made up by us (`.snapshots` and all below).
pub const VIRTUAL: u64 = 1 << 63;
/// The kernel's name for the root.
pub const ROOT: u64 = 1;

/// Takes directory entries; returns false when the reply is full (that entry was not taken).
pub trait DirSink {
    fn plain(&mut self, ino: u64, offset: u64, kind: Kind, name: &[u8]) -> bool;
}
/// The same with attributes: each entry taken (but "." and "..") counts as a look-up.
pub trait DirPlusSink {
    fn plus(&mut self, offset: u64, name: &[u8], entry: &Entry) -> bool;
}

/// The whole file system: live tree and `.snapshots`.
pub struct Fs {
    live: Arc<live::Live>,
    snapdir: Option<Arc<snapdir::SnapDir>>,
}

/// The offset of the entry `.snapshots` in a listing of the root, where it is shown: no file
/// system of Linux gives it to an entry of its own.
const SNAPDIR_OFFSET: u64 = (1 << 62) + 11;

const READ_ONLY: Stop = Stop::Errno(libc::EROFS);
const ACROSS: Stop = Stop::Errno(libc::EXDEV);

fn is_virtual(ino: u64) -> bool {
    ino & VIRTUAL != 0
}

impl Fs {
    /// `snapdir` is absent with `-o snapdir=disabled`.
    pub fn new(live: Arc<live::Live>, snapdir: Option<Arc<snapdir::SnapDir>>) -> Arc<Fs> {
        Arc::new(Fs { live, snapdir })
    }

    /// `SnapDir::watch_list`, if there is a `.snapshots`.
    pub fn watch_list(&self, tell: Option<Box<dyn Fn(u64) + Send + Sync>>) {
        if let Some(snapdir) = &self.snapdir {
            snapdir.watch_list(tell);
        }
    }

    /// Where a live file stands, for the log.
    pub fn path_of(&self, ino: u64) -> Option<String> {
        if is_virtual(ino) {
            return None;
        }
        self.live.path_of(ino)
    }

    /// An operation has panicked: history may have missed something, and stops.
    pub fn panicked(&self) {
        self.live.recorder().internal_error();
    }

    /// The disk of the live files could not read or write.
    pub fn disk_failed(&self) {
        self.live.recorder().disk_failed();
    }

    /// The numbers of these versions of files below `.snapshots`, as far as the kernel knows them.
    pub fn past_of(&self, versions: &[(FileId, Epoch)]) -> Vec<u64> {
        let snapdir = self.snapdir.as_ref();
        snapdir.map_or_else(Vec::new, |snapdir| snapdir.numbers_of(versions))
    }

    /// The live half.
    pub fn live(&self) -> &Arc<live::Live> {
        &self.live
    }

    fn snap(&self) -> Answer<&snapdir::SnapDir> {
        self.snapdir.as_deref().ok_or(Stop::Errno(libc::ESTALE))
    }

    /// `.snapshots` in a live directory, unless a real entry of that name stands there.
    fn is_snapdir(&self, parent: u64, name: &[u8]) -> bool {
        self.snapdir
            .as_ref()
            .is_some_and(|snapdir| snapdir.name() == name)
            && !is_virtual(parent)
            && !self.live.has(parent, name)
    }

    /// What would make a name that is taken by `.snapshots`.
    fn refuse_snapdir(&self, parent: u64, name: &[u8]) -> Answer<()> {
        let taken = self
            .snapdir
            .as_ref()
            .is_some_and(|snapdir| snapdir.name() == name);
        if taken && !is_virtual(parent) {
            return Err(Stop::Errno(libc::EEXIST));
        }
        Ok(())
    }

    /// Whether the store answers without delay.
    pub fn is_store_quick(&self) -> bool {
        let snapdir = self.snapdir.as_ref();
        snapdir.is_none_or(|snapdir| snapdir.is_store_quick())
    }

    /// Finds a name; every entry with attributes counts as a look-up.
    pub fn lookup(&self, cx: &Context, parent: u64, name: &[u8]) -> Answer<Entry> {
        if is_virtual(parent) {
            return self.snap()?.lookup(cx, parent, name);
        }
        backing::without_taking_space(|| {
            if let Some(snapdir) = self.snapdir.as_ref().filter(|s| s.name() == name) {
                if !self.live.has(parent, name) {
                    return snapdir.lookup_top(cx, parent);
                }
                self.live.note_shadowed(parent);
            }
            self.live.lookup(cx, parent, name)
        })
    }

    /// The kernel forgot `count` look-ups.
    pub fn forget(&self, ino: u64, count: u64) {
        if is_virtual(ino) {
            if let Some(snapdir) = &self.snapdir {
                snapdir.forget(ino, count);
            }
        } else {
            self.live.forget(ino, count);
        }
    }

    /// Attributes, and how long they hold.
    pub fn getattr(&self, cx: &Context, ino: u64) -> Answer<(Attributes, Duration)> {
        if is_virtual(ino) {
            return self.snap()?.getattr(cx, ino);
        }
        Ok((
            backing::without_taking_space(|| self.live.getattr(ino))?,
            limits::TTL,
        ))
    }

    /// Changes attributes.
    pub fn setattr(
        &self,
        cx: &Context,
        ino: u64,
        set: &SetAttributes,
    ) -> Answer<(Attributes, Duration)> {
        if is_virtual(ino) {
            return Err(READ_ONLY);
        }
        Ok((
            as_self_for(cx, || self.live.setattr(cx, ino, set))?,
            limits::TTL,
        ))
    }

    /// Target of a symlink.
    pub fn readlink(&self, cx: &Context, ino: u64) -> Answer<Vec<u8>> {
        if is_virtual(ino) {
            return self.snap()?.readlink(cx, ino);
        }
        backing::without_taking_space(|| self.live.readlink(ino))
    }

    /// Makes a file that is neither folder nor symlink.
    pub fn mknod(
        &self,
        cx: &Context,
        parent: u64,
        name: &[u8],
        mode: u32,
        umask: u32,
        rdev: u32,
    ) -> Answer<Entry> {
        if is_virtual(parent) {
            return Err(READ_ONLY);
        }
        self.refuse_snapdir(parent, name)?;
        backing::without_taking_space(|| self.live.mknod(cx, parent, name, mode, umask, rdev))
    }

    /// Makes a folder; in `.snapshots` a snapshot.
    pub fn mkdir(
        &self,
        cx: &Context,
        parent: u64,
        name: &[u8],
        mode: u32,
        umask: u32,
    ) -> Answer<Entry> {
        if is_virtual(parent) {
            return self.snap()?.mkdir(cx, parent, name);
        }
        self.refuse_snapdir(parent, name)?;
        backing::without_taking_space(|| self.live.mkdir(cx, parent, name, mode, umask))
    }

    /// Makes a symlink.
    pub fn symlink(&self, cx: &Context, parent: u64, name: &[u8], target: &[u8]) -> Answer<Entry> {
        if is_virtual(parent) {
            return Err(READ_ONLY);
        }
        self.refuse_snapdir(parent, name)?;
        backing::without_taking_space(|| self.live.symlink(cx, parent, name, target))
    }

    /// Gives a file another name.
    pub fn link(&self, cx: &Context, ino: u64, parent: u64, name: &[u8]) -> Answer<Entry> {
        match (is_virtual(ino), is_virtual(parent)) {
            (true, true) => Err(READ_ONLY),
            (false, false) => {
                self.refuse_snapdir(parent, name)?;
                as_self_for(cx, || self.live.link(cx, ino, parent, name))
            }
            _ => Err(ACROSS),
        }
    }

    /// Removes a name.
    pub fn unlink(&self, cx: &Context, parent: u64, name: &[u8]) -> Answer<()> {
        if is_virtual(parent) {
            return Err(READ_ONLY);
        }
        backing::without_taking_space(|| self.live.unlink(cx, parent, name))
    }

    /// Removes a folder; in the root's `.snapshots` a snapshot.
    pub fn rmdir(&self, cx: &Context, parent: u64, name: &[u8]) -> Answer<()> {
        if is_virtual(parent) {
            return self.snap()?.rmdir(cx, parent, name);
        }
        if self.is_snapdir(parent, name) {
            return Err(Stop::Errno(libc::EBUSY));
        }
        backing::without_taking_space(|| self.live.rmdir(cx, parent, name))
    }

    /// Moves, replaces or exchanges.
    pub fn rename(
        &self,
        cx: &Context,
        parent: u64,
        name: &[u8],
        to: u64,
        to_name: &[u8],
        flags: u32,
    ) -> Answer<()> {
        match (is_virtual(parent), is_virtual(to)) {
            (true, true) => self.snap()?.rename(cx, parent, name, to, to_name),
            (false, false) => {
                if self.is_snapdir(parent, name) || self.is_snapdir(to, to_name) {
                    return Err(Stop::Errno(libc::EBUSY));
                }
                as_self_for(cx, || {
                    self.live.rename(cx, parent, name, to, to_name, flags)
                })
            }
            _ => Err(ACROSS),
        }
    }

    /// Reads up to `size` bytes into `out`, which is cleared first.
    pub fn read(
        &self,
        cx: &Context,
        ino: u64,
        offset: u64,
        size: u32,
        out: &mut Vec<u8>,
    ) -> Answer<()> {
        if is_virtual(ino) {
            return self.snap()?.read(cx, ino, offset, size, out);
        }
        backing::without_taking_space(|| self.live.read(cx, ino, offset, size, out))
    }

    /// Writes. `kill`: setuid bits go.
    pub fn write(
        &self,
        cx: &Context,
        ino: u64,
        offset: u64,
        data: &[u8],
        by: Writer,
        kill: bool,
    ) -> Answer<u32> {
        if is_virtual(ino) {
            return Err(READ_ONLY);
        }
        backing::without_taking_space(|| self.live.write(cx, ino, offset, data, by, kill))
    }

    /// Makes a file durable, also at the synchronous replicas. `asked`: kept by the caller, from one
    /// attempt to the next.
    pub fn fsync(&self, _cx: &Context, ino: u64, data_only: bool, asked: &Asked) -> Answer<()> {
        if is_virtual(ino) {
            return Ok(());
        }
        asked.until_elsewhere(self.live.recorder(), || {
            backing::without_taking_space(|| self.live.fsync(ino, data_only))
        })
    }

    /// Makes the names of a directory durable.
    pub fn fsyncdir(&self, _cx: &Context, ino: u64, data_only: bool, asked: &Asked) -> Answer<()> {
        if is_virtual(ino) {
            return Ok(());
        }
        asked.until_elsewhere(self.live.recorder(), || {
            backing::without_taking_space(|| self.live.fsyncdir(ino, data_only))
        })
    }

    /// Allocates, punches or zeroes.
    pub fn fallocate(
        &self,
        cx: &Context,
        ino: u64,
        offset: u64,
        len: u64,
        mode: i32,
    ) -> Answer<()> {
        if is_virtual(ino) {
            return Err(READ_ONLY);
        }
        backing::without_taking_space(|| self.live.fallocate(cx, ino, offset, len, mode))
    }

    /// SEEK_DATA and SEEK_HOLE.
    pub fn lseek(&self, cx: &Context, ino: u64, offset: u64, whence: i32) -> Answer<u64> {
        if is_virtual(ino) {
            return self.snap()?.lseek(cx, ino, offset, whence);
        }
        backing::without_taking_space(|| self.live.lseek(ino, offset, whence))
    }

    /// Copies at most `limits::COPY_PIECE` bytes; from a snapshot into the live tree this is how
    /// `cp` restores.
    pub fn copy_file_range(
        &self,
        cx: &Context,
        from: u64,
        from_offset: u64,
        to: u64,
        to_offset: u64,
        len: u64,
    ) -> Answer<u32> {
        if is_virtual(to) {
            return Err(READ_ONLY);
        }
        if is_virtual(from) {
            return self.restore_range(cx, from, from_offset, to, to_offset, len);
        }
        backing::without_taking_space(|| {
            self.live
                .copy_file_range(cx, from, from_offset, to, to_offset, len)
        })
    }

    /// One piece out of a snapshot into a live file.
    fn restore_range(
        &self,
        cx: &Context,
        from: u64,
        from_offset: u64,
        to: u64,
        to_offset: u64,
        len: u64,
    ) -> Answer<u32> {
        let piece = u32::try_from(len)
            .unwrap_or(u32::MAX)
            .min(limits::MAX_WRITE);
        let mut bytes = Vec::new();
        self.snap()?
            .read(cx, from, from_offset, piece, &mut bytes)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        backing::without_taking_space(|| {
            self.live
                .write(cx, to, to_offset, &bytes, Writer::Caller, cx.uid != 0)
        })
    }

    /// Lists names from `offset` on.
    pub fn readdir(
        &self,
        cx: &Context,
        ino: u64,
        offset: u64,
        sink: &mut dyn DirSink,
    ) -> Answer<()> {
        if is_virtual(ino) {
            return self.snap()?.readdir(cx, ino, offset, sink);
        }
        let Some(offset) = self.show_snapdir(cx, ino, offset, false, |entry, name| {
            let ino = entry
                .attributes
                .map_or(VIRTUAL, |attributes| attributes.ino);
            sink.plain(ino, SNAPDIR_OFFSET, Kind::Dir, name)
        })?
        else {
            return Ok(());
        };
        backing::without_taking_space(|| self.live.readdir(cx, ino, offset, sink))
    }

    /// Lists names with attributes.
    pub fn readdirplus(
        &self,
        cx: &Context,
        ino: u64,
        offset: u64,
        sink: &mut dyn DirPlusSink,
    ) -> Answer<()> {
        if is_virtual(ino) {
            return self.snap()?.readdirplus(cx, ino, offset, sink);
        }
        let shown = self.show_snapdir(cx, ino, offset, true, |entry, name| {
            sink.plus(SNAPDIR_OFFSET, name, entry)
        })?;
        let Some(offset) = shown else { return Ok(()) };
        backing::without_taking_space(|| self.live.readdirplus(cx, ino, offset, sink))
    }

    /// Where `.snapshots` is shown in the root, it is the first entry. The offset at which the
    /// live listing goes on, or `None` when the reply is full.
    fn show_snapdir(
        &self,
        cx: &Context,
        ino: u64,
        offset: u64,
        counts: bool,
        show: impl FnOnce(&Entry, &[u8]) -> bool,
    ) -> Answer<Option<u64>> {
        let Some(snapdir) = self.snapdir.as_ref().filter(|s| s.visible() && ino == ROOT) else {
            return Ok(Some(offset));
        };
        match offset {
            SNAPDIR_OFFSET => Ok(Some(0)),
            0 => {
                let entry = snapdir.lookup_top(cx, ino)?;
                let taken = show(&entry, snapdir.name());
                if let Some(attributes) = entry.attributes.filter(|_| !(taken && counts)) {
                    snapdir.forget(attributes.ino, 1);
                }
                Ok(taken.then_some(0))
            }
            _ => Ok(Some(offset)),
        }
    }

    /// Value of an extended attribute.
    pub fn getxattr(&self, cx: &Context, ino: u64, name: &[u8]) -> Answer<Vec<u8>> {
        if is_virtual(ino) {
            return self.snap()?.getxattr(cx, ino, name);
        }
        backing::without_taking_space(|| self.live.getxattr(ino, name))
    }

    /// Names of the extended attributes, each ended by a zero byte.
    pub fn listxattr(&self, cx: &Context, ino: u64) -> Answer<Vec<u8>> {
        if is_virtual(ino) {
            return self.snap()?.listxattr(cx, ino);
        }
        backing::without_taking_space(|| self.live.listxattr(cx, ino))
    }

    /// Sets an extended attribute.
    pub fn setxattr(
        &self,
        cx: &Context,
        ino: u64,
        name: &[u8],
        value: &[u8],
        flags: i32,
    ) -> Answer<()> {
        if is_virtual(ino) {
            return Err(READ_ONLY);
        }
        as_self_for(cx, || self.live.setxattr(cx, ino, name, value, flags))
    }

    /// Removes an extended attribute.
    pub fn removexattr(&self, cx: &Context, ino: u64, name: &[u8]) -> Answer<()> {
        if is_virtual(ino) {
            return Err(READ_ONLY);
        }
        as_self_for(cx, || self.live.removexattr(cx, ino, name))
    }

    /// The flags of `chattr`; anything else is ENOTTY.
    pub fn ioctl(
        &self,
        cx: &Context,
        ino: u64,
        command: u32,
        input: &[u8],
        _out_size: u32,
    ) -> Answer<Vec<u8>> {
        if is_virtual(ino) {
            return Err(Stop::Errno(libc::ENOTTY));
        }
        as_self_for(cx, || self.live.ioctl(cx, ino, command, input))
    }

    /// Space of the backing file system.
    pub fn statfs(&self) -> Answer<Space> {
        self.live.statfs()
    }

    /// Counts everything that could let a waiting operation go on.
    pub fn wakeups(&self) -> u64 {
        self.live.recorder().wakeups()
    }

    /// Blocks until `wakeups` differs from `seen` or the time is over.
    pub fn wait_wakeup(&self, seen: u64, at_most: Duration) -> u64 {
        self.live.recorder().wait_wakeup(seen, at_most)
    }
}

/// Runs `work` for a caller that is not the daemon: what root does may take the last reserve, as it
/// could without us.
fn as_self_for<T>(cx: &Context, work: impl FnOnce() -> T) -> T {
    match cx.uid {
        0 => backing::without_taking_space(work),
        _ => backing::as_self(work),
    }
}
