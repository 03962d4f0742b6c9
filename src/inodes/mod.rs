//! The table of files that the kernel or history is interested in, by number.
//!
//! 1. There is at most one `Inode` for a backing file, and its number is its st_ino wherever that
//!    can be (same device as the root, neither 0 nor 1, bits 62 and 63 clear).
//! 2. An entry stays while the kernel has looked it up more often than it forgot it (the lookup
//!    count), or while it is pinned: by uncommitted versions, by a child's place, by the scan.
//! 3. While an entry is known, its number is not reused: a descriptor or a handle identifies the
//!    file, and an entry gets a descriptor before its last name goes.
//!
//! Knows nothing of FUSE and nothing of history beyond the state that it keeps for it.

pub mod budget;
pub mod inode;
mod name;
pub mod stash;
pub mod track;
pub mod tracked;
pub mod unfilled;

use budget::Budget;
use inode::{DATA_PINNED, RECENTLY_USED};
pub use inode::{Inode, Place};
use name::Name;

use crate::backing::{self, Backing, Stat};
use crate::format::record::{Kind, What};
use crate::limits;
use parking_lot::Mutex;
use std::borrow::Borrow;
use std::collections::{HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use unfilled::Unfilled;

const SHARDS: usize = 64;
/// Marks numbers that are not the backing st_ino.
const REMAPPED: u64 = 1 << 62;

/// An entry is found by its number, which stands in it.
struct Entry(Arc<Inode>);

impl Borrow<u64> for Entry {
    fn borrow(&self) -> &u64 {
        &self.0.ino
    }
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.ino.hash(state);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.0.ino == other.0.ino
    }
}

impl Eq for Entry {}

/// See the module's head.
pub struct Inodes {
    backing: Arc<Backing>,
    shards: Vec<Mutex<HashSet<Entry>>>,
    root: Arc<Inode>,
    root_device: u64,
    /// O_PATH descriptors held, and how many may be.
    paths: AtomicU64,
    paths_max: u64,
    /// Bytes on the live disk that are kept for files without names.
    kept: Budget,
    unfilled: Unfilled,
    /// Data descriptors held, oldest first.
    open: Mutex<VecDeque<std::sync::Weak<Inode>>>,
    data_max: usize,
}

impl Inodes {
    /// The table with the root in it.
    ///
    /// # Errors
    /// When the root can't be looked at.
    pub fn new(backing: Arc<Backing>) -> io::Result<Inodes> {
        let stat = backing.root_stat();
        let root = Arc::new(Inode::new(crate::id::FileId::ROOT.0, Kind::Dir, stat.ino));
        root.set_path(Arc::new(backing.root().try_clone_to_owned()?));
        root.pins.store(1, Ordering::Relaxed);
        let descriptors = descriptor_limit();
        let table = Inodes {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            root: root.clone(),
            root_device: stat.dev,
            paths: AtomicU64::new(1),
            paths_max: descriptors / 2,
            kept: Budget::default(),
            unfilled: Unfilled::default(),
            open: Mutex::default(),
            data_max: usize::try_from(descriptors / 8)
                .unwrap_or(4096)
                .clamp(16, 4096),
            backing,
        };
        table.shard(root.ino).lock().insert(Entry(root));
        Ok(table)
    }

    /// The directory that is served.
    pub fn backing(&self) -> &Backing {
        &self.backing
    }

    /// Files without content and folders without names, of a recovery that is under way.
    pub fn unfilled(&self) -> &Unfilled {
        &self.unfilled
    }

    /// Attributes as the backing directory has them, but for what a recovery does just now.
    ///
    /// # Errors
    /// As of `Inode::stat`.
    pub fn stat(&self, inode: &Inode) -> io::Result<Stat> {
        self.unfilled.settled(|| inode.stat(self.backing.root()))
    }

    /// The root of the live tree.
    pub fn root(&self) -> &Arc<Inode> {
        &self.root
    }

    fn shard(&self, ino: u64) -> &Mutex<HashSet<Entry>> {
        &self.shards[(ino.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % SHARDS]
    }

    /// The number under which a backing file is known.
    pub fn number(&self, stat: &Stat) -> u64 {
        if stat.dev == self.root_device && stat.ino > 1 && stat.ino < REMAPPED {
            return stat.ino;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&stat.dev.to_le_bytes());
        hasher.update(&stat.ino.to_le_bytes());
        let mut low = [0; 8];
        low.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        (u64::from_le_bytes(low) & (REMAPPED - 1)) | REMAPPED
    }

    /// The entry with this number.
    pub fn get(&self, ino: u64) -> Option<Arc<Inode>> {
        self.shard(ino)
            .lock()
            .get(&ino)
            .map(|entry| entry.0.clone())
    }

    /// Finds or makes the entry of the file `name` in `parent`, which is probably known already,
    /// and pins it (give it back with `unpin`).
    ///
    /// # Errors
    /// What looking at it says.
    pub fn find(&self, parent: &Arc<Inode>, name: &[u8]) -> io::Result<(Arc<Inode>, Stat)> {
        let directory = parent.path(self.backing.root())?;
        let look = || backing::stat_at(directory.as_fd(), name);
        let stat = self.unfilled.settled(look)?;
        let ino = self.number(&stat);
        {
            let shard = self.shard(ino).lock();
            if let Some(Entry(known)) = shard.get(&ino)
                && Kind::from_mode(stat.mode) == Some(known.kind)
                && known.backing_ino == stat.ino
            {
                known.pins.fetch_add(1, Ordering::Relaxed);
                return Ok((known.clone(), stat));
            }
        }
        self.find_new(parent, name)
    }

    /// Like `find` for a file that is probably not known yet.
    ///
    /// # Errors
    /// What opening it says.
    pub fn find_new(&self, parent: &Arc<Inode>, name: &[u8]) -> io::Result<(Arc<Inode>, Stat)> {
        let directory = parent.path(self.backing.root())?;
        let descriptor = backing::open_path_at(directory.as_fd(), name)?;
        let look = || backing::stat_fd(descriptor.as_fd());
        let stat = self.unfilled.settled(look)?;
        Ok((self.enter(parent, name, descriptor, &stat)?, stat))
    }

    /// The entry of an open file, made if needed, pinned once.
    pub fn enter(
        &self,
        parent: &Arc<Inode>,
        name: &[u8],
        descriptor: OwnedFd,
        stat: &Stat,
    ) -> io::Result<Arc<Inode>> {
        let kind =
            Kind::from_mode(stat.mode).ok_or_else(|| io::Error::from_raw_os_error(libc::EIO))?;
        let ino = self.number(stat);
        let mut shard = self.shard(ino).lock();
        if let Some(Entry(known)) = shard.get(&ino) {
            if known.kind == kind && known.backing_ino == stat.ino {
                known.pins.fetch_add(1, Ordering::Relaxed);
                let known = known.clone();
                drop(shard);
                if known.is_placeless() && stat.nlink > 0 {
                    self.set_place(&known, Some((parent, name)));
                }
                return Ok(known);
            }
            // The number was reused behind our back: the old file has gone.
            shard.remove(&ino);
        }
        let inode = Arc::new(Inode::new(ino, kind, stat.ino));
        inode.pins.store(1, Ordering::Relaxed);
        self.settle_descriptor(&inode, descriptor);
        parent.pins.fetch_add(1, Ordering::Relaxed);
        inode.replace_place(Some((parent.clone(), Name::new(name))));
        shard.insert(Entry(inode.clone()));
        Ok(inode)
    }

    /// Keeps the descriptor, or when descriptors are short what leads back to the file.
    fn settle_descriptor(&self, inode: &Arc<Inode>, descriptor: OwnedFd) {
        if self.paths.load(Ordering::Relaxed) >= self.paths_max {
            if !self.backing.is_root() {
                return;
            }
            if let Ok(handle) = backing::handle_of(descriptor.as_fd()) {
                inode.set_handle(handle);
                return;
            }
        }
        if inode.set_path(Arc::new(descriptor)) {
            self.paths.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Makes sure that the file stays reachable when its last name goes.
    ///
    /// # Errors
    /// What opening it says.
    pub fn keep_descriptor(&self, inode: &Arc<Inode>) -> io::Result<()> {
        if !inode.holds_path() {
            let descriptor = inode.path(self.backing.root())?;
            if inode.set_path(descriptor) {
                self.paths.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Moves the entry to another place (`None`: it has no name any more).
    pub fn set_place(&self, inode: &Arc<Inode>, place: Option<(&Arc<Inode>, &[u8])>) {
        let new = place.map(|(parent, name)| {
            parent.pins.fetch_add(1, Ordering::Relaxed);
            (parent.clone(), Name::new(name))
        });
        if let Some((parent, _)) = inode.replace_place(new) {
            self.unpin(&parent);
        }
    }

    /// Counts a look-up that the kernel was told of.
    pub fn count_lookup(&self, inode: &Inode) {
        inode.look_up();
    }

    /// The kernel forgot `count` look-ups.
    pub fn forget(&self, ino: u64, count: u64) {
        if let Some(inode) = self.get(ino).filter(|inode| inode.forget(count)) {
            self.drop_useless_descriptor(&inode);
            self.drop_if_idle(inode);
        }
    }

    /// A file without names that nobody has open, and whose content no version needs: only the
    /// record of its end is still to be written.
    fn drop_useless_descriptor(&self, inode: &Arc<Inode>) {
        if inode.track.is_idle() {
            return;
        }
        let track = inode.track.lock();
        let gone = |version: &track::Version| version.captured || version.what.has(What::GONE);
        if !track.nameless || !track.versions.iter().all(gone) {
            return;
        }
        drop(track);
        // Without descriptor its number may come back: then it is another file's.
        let mut shard = self.shard(inode.ino).lock();
        if shard
            .get(&inode.ino)
            .is_some_and(|known| Arc::ptr_eq(&known.0, inode))
        {
            shard.remove(&inode.ino);
        }
        drop(shard);
        inode.take_data();
        if inode.take_path().is_some() {
            self.paths.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A file lost its last name: counts the bytes that it takes on the live disk until its content
    /// is captured.
    pub fn keep_bytes(&self, track: &mut track::Track, bytes: u64) {
        if track.is_pending() && track.kept_bytes == 0 {
            track.kept_bytes = bytes;
            self.kept.take(bytes);
        }
    }

    /// Counts them out when nothing of it is to be captured any more.
    pub fn release_bytes(&self, track: &mut track::Track) {
        if track.kept_bytes > 0 && !track.is_pending() {
            self.kept.give_back(track.kept_bytes);
            track.kept_bytes = 0;
        }
    }

    /// Bytes on the live disk that are kept for files without names.
    pub fn kept(&self) -> &Budget {
        &self.kept
    }

    /// So many descriptors are held that no further one should be kept for history.
    pub fn is_short(&self) -> bool {
        self.paths.load(Ordering::Relaxed) > self.paths_max + self.paths_max / 2
    }

    /// So many are held that there would be none left for what programs open.
    pub fn is_very_short(&self) -> bool {
        self.paths.load(Ordering::Relaxed) > self.paths_max + self.paths_max * 5 / 8
    }

    /// One more reason to keep it.
    pub fn pin(&self, inode: &Inode) {
        inode.pins.fetch_add(1, Ordering::Relaxed);
    }

    /// One reason less to keep it.
    pub fn unpin(&self, inode: &Arc<Inode>) {
        if inode.pins.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.drop_if_idle(inode.clone());
        }
    }

    /// Removes the entry when nobody is interested, then its parent likewise.
    fn drop_if_idle(&self, inode: Arc<Inode>) {
        let mut next = Some(inode);
        while let Some(inode) = next.take() {
            let mut shard = self.shard(inode.ino).lock();
            let idle = !inode.is_looked_up()
                && inode.pins.load(Ordering::Acquire) == 0
                && shard
                    .get(&inode.ino)
                    .is_some_and(|known| Arc::ptr_eq(&known.0, &inode));
            if !idle {
                return;
            }
            shard.remove(&inode.ino);
            drop(shard);
            if inode.take_path().is_some() {
                self.paths.fetch_sub(1, Ordering::Relaxed);
            }
            inode.take_data();
            if let Some((parent, _)) = inode.replace_place(None)
                && parent.pins.fetch_sub(1, Ordering::AcqRel) == 1
            {
                next = Some(parent);
            }
        }
    }

    /// A descriptor for reading content, and for writing if `write`. The number of those that
    /// are held is bounded: the least used ones are closed.
    ///
    /// # Errors
    /// What opening the file says.
    pub fn data(&self, inode: &Arc<Inode>, write: bool) -> io::Result<Arc<OwnedFd>> {
        let (descriptor, grew) = inode.data(self.backing.root(), write)?;
        if grew {
            self.held(inode);
        }
        Ok(descriptor)
    }

    /// Takes over a descriptor that was opened by making the file. `pinned`: the mode will deny
    /// us another one.
    pub fn adopt_data(&self, inode: &Arc<Inode>, descriptor: OwnedFd, pinned: bool) {
        if inode.set_data(descriptor) {
            self.held(inode);
        }
        if pinned {
            inode.flags.set(DATA_PINNED, true);
        }
    }

    /// Says whether the data descriptor must be kept although others need room.
    pub fn pin_data(&self, inode: &Inode, pinned: bool) {
        inode.flags.set(DATA_PINNED, pinned);
    }

    fn held(&self, inode: &Arc<Inode>) {
        let mut closed = Vec::new();
        let mut open = self.open.lock();
        open.push_back(Arc::downgrade(inode));
        let mut turns = 2 * open.len();
        while open.len() > self.data_max && turns > 0 {
            turns -= 1;
            let Some(place) = open.pop_front() else { break };
            let Some(oldest) = place.upgrade() else {
                continue;
            };
            if oldest.flags.has(DATA_PINNED) || oldest.flags.take(RECENTLY_USED) {
                open.push_back(place);
            } else {
                closed.push(oldest.take_data());
            }
        }
        drop(open);
    }

    /// The path from the root to the entry, as far as it is known.
    pub fn path_of(&self, inode: &Inode) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        let mut at = inode.place();
        while let Some(place) = at {
            names.push(place.name);
            at = place.parent.place();
        }
        names.reverse();
        names
    }
}

/// Descriptors that this table may hold: what the process may open, without what the others need.
fn descriptor_limit() -> u64 {
    let all = rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or(1 << 20);
    all - limits::OTHER_FILES.min(all / 2)
}
