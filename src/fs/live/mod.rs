//! The live tree: every operation goes to the backing directory, after the recorder was told.
//!
//! 1. What the backing directory answers is what the caller gets.
//! 2. An operation takes the `io` locks of all files concerned, in ascending order of their
//!    numbers, then tells the recorder, then acts; it waits for nothing while it holds them.
//! 3. On an event loop (`Context::may_wait` unset) a lock is waited for no longer than handing the
//!    request over would take.

mod attributes;
mod data;
mod dirs;
mod fill;
mod names;
#[cfg(test)]
mod troubled_store;

use super::{Answer, Attributes, Context, Entry, Stop, WaitsFor};
use crate::backing::Stat;
use crate::capture::{Recorder, Wait};
use crate::format::record::{Actor, Kind};
use crate::id::FileId;
use crate::inodes::track::Identity;
use crate::inodes::{Inode, Inodes};
use crate::limits;
use parking_lot::MutexGuard;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

pub use fill::Fill;

/// A live directory, as the view of the past needs to know it.
#[derive(Clone, Debug)]
pub struct LiveDir {
    /// `None`: not in the store yet.
    pub id: Option<FileId>,
    /// Names from the root down, now.
    pub path: Vec<Vec<u8>>,
    pub attributes: Attributes,
}

/// See the module's head.
pub struct Live {
    recorder: Arc<Recorder>,
    inodes: Arc<Inodes>,
    streams: dirs::Streams,
    fill: OnceLock<Arc<dyn Fill>>,
}

impl Live {
    /// The live tree of a recorder's directory.
    pub fn new(recorder: Arc<Recorder>) -> Arc<Live> {
        let inodes = recorder.inodes().clone();
        Arc::new(Live {
            recorder,
            inodes,
            streams: dirs::Streams::default(),
            fill: OnceLock::new(),
        })
    }

    /// Who records the changes.
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// What the view of the past needs to know of a live directory.
    ///
    /// # Errors
    /// ENOTDIR, ESTALE.
    pub fn describe(&self, ino: u64) -> Answer<LiveDir> {
        let inode = self.directory(ino)?;
        let attributes = self.attributes_of(&inode, &self.stat(&inode)?);
        let identity = inode.track.lock().identity;
        let id = match identity {
            Identity::Known(id) => Some(id),
            _ if ino == FileId::ROOT.0 => Some(FileId::ROOT),
            Identity::New => None,
            Identity::Unknown => {
                let live = self.recorder.store().live(ino).ok().flatten();
                live.filter(|live| live.birth == self.recorder.birth_of(&inode))
                    .map(|live| live.id)
            }
        };
        Ok(LiveDir {
            id,
            path: self.inodes.path_of(&inode),
            attributes,
        })
    }

    /// Looks `name` up and counts the look-up. A name that is not there is answered with an entry
    /// that the kernel may remember.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn lookup(&self, cx: &Context, parent: u64, name: &[u8]) -> Answer<Entry> {
        let directory = self.directory(parent)?;
        match self.inodes.find_new(&directory, name) {
            Ok((inode, stat)) => {
                let listed = self.list_first(cx, &inode, stat);
                let stat = listed.inspect_err(|_| self.inodes.unpin(&inode))?;
                Ok(self.hand_out(&inode, &stat))
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(Entry {
                attributes: None,
                entry_ttl: limits::TTL,
                attr_ttl: limits::TTL,
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Where a file stands, for the log.
    pub fn path_of(&self, ino: u64) -> Option<String> {
        let inode = self.inodes.get(ino)?;
        let names = self.inodes.path_of(&inode);
        let names: Vec<_> = names
            .iter()
            .map(|name| String::from_utf8_lossy(name))
            .collect();
        (!names.is_empty()).then(|| names.join("/"))
    }

    /// Whether `name` is there; nothing is counted.
    pub fn has(&self, parent: u64, name: &[u8]) -> bool {
        use std::os::fd::AsFd;
        let Ok(directory) = self.directory(parent) else {
            return false;
        };
        let Ok(path) = self.path(&directory) else {
            return false;
        };
        crate::backing::stat_at(path.as_fd(), name).is_ok()
    }

    /// Notes that a real entry hides the view of the past in a directory.
    pub fn note_shadowed(&self, parent: u64) {
        if let Some(directory) = self.inodes.get(parent) {
            self.recorder.note_shadowed(&directory);
        }
    }

    /// The kernel forgot `count` look-ups.
    pub fn forget(&self, ino: u64, count: u64) {
        self.inodes.forget(ino, count);
    }

    /// Attributes now.
    ///
    /// # Errors
    /// ESTALE.
    pub fn getattr(&self, ino: u64) -> Answer<Attributes> {
        let inode = self.inode(ino)?;
        Ok(self.attributes_of(&inode, &self.stat(&inode)?))
    }

    /// Gives a pinned inode to the kernel: counts the look-up, takes the pin back.
    fn hand_out(&self, inode: &Arc<Inode>, stat: &Stat) -> Entry {
        self.inodes.count_lookup(inode);
        self.inodes.unpin(inode);
        self.entry(inode, stat)
    }

    fn entry(&self, inode: &Inode, stat: &Stat) -> Entry {
        Entry {
            attributes: Some(self.attributes_of(inode, stat)),
            entry_ttl: limits::TTL,
            attr_ttl: limits::TTL,
        }
    }

    fn attributes_of(&self, inode: &Inode, stat: &Stat) -> Attributes {
        let ino = if inode.ino == FileId::ROOT.0 {
            stat.ino
        } else {
            inode.ino
        };
        let blksize = match inode.kind {
            Kind::File => stat.blksize.max(limits::BLKSIZE),
            _ => stat.blksize,
        };
        Attributes {
            ino,
            kind: inode.kind,
            mode: stat.mode & 0o7777,
            nlink: stat.nlink,
            uid: stat.uid,
            gid: stat.gid,
            rdev: device_for_kernel(stat.rdev),
            size: stat.size,
            blocks: self.blocks(inode, stat),
            blksize,
            atime: stat.atime,
            mtime: stat.mtime,
            ctime: stat.ctime,
        }
    }

    fn inode(&self, ino: u64) -> Answer<Arc<Inode>> {
        self.inodes.get(ino).ok_or(Stop::Errno(libc::ESTALE))
    }

    fn directory(&self, ino: u64) -> Answer<Arc<Inode>> {
        let inode = self.inode(ino)?;
        if inode.kind != Kind::Dir {
            return Err(Stop::Errno(libc::ENOTDIR));
        }
        Ok(inode)
    }

    fn root(&self) -> BorrowedFd<'_> {
        self.inodes.backing().root()
    }

    fn path(&self, inode: &Inode) -> Answer<Arc<OwnedFd>> {
        Ok(inode.path(self.root())?)
    }

    fn stat(&self, inode: &Inode) -> Answer<Stat> {
        Ok(self.inodes.stat(inode)?)
    }

    fn actor(&self, cx: &Context) -> Arc<Actor> {
        self.recorder.actor(cx.pid, cx.uid)
    }

    fn remover(&self, cx: &Context) -> Arc<Actor> {
        self.recorder.remover(cx.pid, cx.uid)
    }

    /// Takes the `io` locks of all files, each once, in ascending order.
    fn lock<'a>(&self, cx: &Context, inodes: &[&'a Arc<Inode>]) -> Answer<Vec<MutexGuard<'a, ()>>> {
        self.recorder.hooks().be_late();
        let mut ordered: Vec<&'a Arc<Inode>> = inodes.to_vec();
        ordered.sort_by_key(|inode| inode.ino);
        ordered.dedup_by_key(|inode| inode.ino);
        let mut guards = Vec::with_capacity(ordered.len());
        for inode in ordered {
            let wait = match cx.may_wait {
                true => limits::LOCK_WAIT,
                false => limits::LOCK_WAIT_LOOP,
            };
            // Not for ever: a file whose disk hangs must not keep the threads from others.
            let guard = inode.io.try_lock_for(wait);
            guards.push(guard.ok_or(Stop::Park(WaitsFor::File))?);
        }
        Ok(guards)
    }
}

impl From<Wait> for Stop {
    fn from(wait: Wait) -> Stop {
        Stop::Park(match wait {
            Wait::Bytes => WaitsFor::Bytes,
            Wait::States => WaitsFor::States,
            Wait::Removed => WaitsFor::Removed,
        })
    }
}

/// A device number as FUSE carries it: 12 bits of major, 20 of minor, as `new_encode_dev` of
/// Linux packs them.
fn device_for_kernel(device: u64) -> u32 {
    let major = libc::major(device);
    let minor = libc::minor(device);
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// The inverse of `device_for_kernel`.
fn device_from_kernel(device: u32) -> u64 {
    let major = (device & 0xf_ff00) >> 8;
    let minor = (device & 0xff) | ((device >> 12) & 0xf_ff00);
    libc::makedev(major, minor)
}

#[cfg(test)]
mod instants;
#[cfg(test)]
mod left_out;
#[cfg(test)]
mod pieces;
#[cfg(test)]
mod scene;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Patience;

    /// A directory with its history in memory, as it is after a mount.
    fn mounted(dir: &std::path::Path, store: &Arc<crate::store::Store>) -> Arc<Live> {
        let backing = crate::backing::Backing::open(dir).expect("a directory");
        let options = crate::capture::Options::default();
        let recorder = Recorder::start(Arc::new(backing), store.clone(), options);
        let recorder = recorder.expect("a recorder");
        recorder.sync(Patience::ENDLESS).expect("the scan ends");
        Live::new(recorder)
    }

    #[test]
    fn a_file_that_is_removed_and_forgotten_at_once_is_recorded_as_gone() {
        use crate::format::record::{Dirent, InodeVersion};
        use crate::id::Epoch;
        let dir = tempfile::tempdir().expect("a folder");
        let store = crate::store::Store::in_memory().expect("a store");
        std::fs::write(dir.path().join("old"), "old").expect("a file");
        let before = mounted(dir.path(), &store);
        before.recorder().finish(&|_| {}).expect("all is recorded");

        let live = mounted(dir.path(), &store);
        let cx = Context {
            uid: 0,
            gid: 0,
            pid: 0,
            may_wait: true,
        };
        let found = store
            .view()
            .dirent_at(FileId::ROOT, b"old", Epoch::MAX)
            .expect("a store");
        let Some((_, Dirent::Present { id, .. })) = found else {
            panic!("it was recorded")
        };
        let entry = live.lookup(&cx, 1, b"old").expect("it is there");
        let ino = entry.attributes.expect("attributes").ino;
        live.unlink(&cx, 1, b"old").expect("it can be removed");
        live.forget(ino, 1);
        live.recorder()
            .sync(Patience::ENDLESS)
            .expect("it is recorded");
        let version = store.view().inode_at(id, Epoch::MAX).expect("a store");
        assert!(
            matches!(version, Some((_, InodeVersion::Gone))),
            "{version:?}"
        );
        live.recorder().finish(&|_| {}).expect("all is recorded");
    }

    #[test]
    fn device_numbers_survive_the_way_through_the_kernel() {
        for (major, minor) in [(0, 0), (1, 3), (8, 255), (259, 256), (4095, 0xf_ffff)] {
            let device = libc::makedev(major, minor);
            assert_eq!(device_from_kernel(device_for_kernel(device)), device);
        }
    }
}
