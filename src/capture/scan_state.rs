//! What the scan and those who work in the tree tell each other: which files it has reached, and
//! what was kept for it of those that were touched before.

use super::status::ScanProgress;
use super::work::Captured;
use crate::format::record::Kind;
use crate::id::Epoch;
use crate::inodes::budget::Budget;
use crate::inodes::{Inode, Inodes};
use crate::time::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Files that were touched before the scan reached them, pinned, by serial number.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) files: HashMap<usize, Arc<Inode>>,
    /// Those that the scan has not met yet.
    unmet: HashSet<usize>,
    /// Directories among them in which names changed.
    urgent: Vec<Arc<Inode>>,
}

/// Parts in which a file that is kept is counted.
const HALVES: u64 = 2;

/// What operations and capture threads ask of the scan.
#[derive(Default)]
pub(super) struct ScanState {
    pub(super) running: AtomicBool,
    pub(super) stop: AtomicBool,
    pub(super) whole: AtomicBool,
    pub(super) epoch: AtomicU64,
    pub(super) jobs: AtomicU64,
    pub(super) files: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) first: AtomicBool,
    pub(super) time: Mutex<Timestamp>,
    /// Files that have got a version of the scan's epoch, or need none.
    pub(super) reached: Mutex<HashSet<u64>>,
    /// Directories whose names were taken.
    pub(super) named: Mutex<HashSet<u64>>,
    pub(super) kept: Mutex<Kept>,
    /// How much that is, in halves of a file: of each that is given back, a half is not lent again.
    kept_budget: Budget,
    pub(super) results: Mutex<Vec<Captured>>,
    order: Mutex<()>,
}

impl ScanState {
    /// A scan is under way.
    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// The last scan went through to the end.
    pub(super) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// It was told to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The epoch of the scan that is under way.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.is_running()
            .then(|| Epoch(self.epoch.load(Ordering::Acquire)))
    }

    /// What a commit has to wait for.
    pub(super) fn unfinished(&self) -> Option<Epoch> {
        self.epoch()
    }

    /// Held while an epoch is committed, and while a scan is finished: so that a commit is either
    /// before that, waiting, or after it, whole.
    pub(super) fn commit_order(&self) -> MutexGuard<'_, ()> {
        self.order.lock()
    }

    /// The epoch in which a file must be enrolled before it is changed. Says so once: the caller
    /// does it. To be called under the file's `track`.
    pub(super) fn enrol(&self, ino: u64) -> Option<Epoch> {
        let epoch = self.epoch()?;
        self.reached.lock().insert(ino).then_some(epoch)
    }

    /// Whether it must be kept what the names of a directory are before they change.
    pub(super) fn keeps_names(&self, ino: u64) -> bool {
        self.is_running() && !self.are_names_taken(ino)
    }

    /// The names of a directory were taken.
    pub(super) fn names_taken(&self, ino: u64) {
        self.named.lock().insert(ino);
    }

    /// Whether they were.
    pub(super) fn are_names_taken(&self, ino: u64) -> bool {
        self.named.lock().contains(&ino)
    }

    /// A file that was made in an epoch behind the scan's is none of its business.
    pub(super) fn note_new(&self, ino: u64, epoch: Epoch) {
        if self.epoch().is_some_and(|scan| scan < epoch) {
            self.reached.lock().insert(ino);
            self.named.lock().insert(ino);
        }
    }

    /// Keeps a file reachable until the scan is done with it. `names`: it is a directory, and
    /// names in it are about to change.
    pub(super) fn keep(&self, inodes: &Inodes, inode: &Arc<Inode>, names: bool) {
        let mut kept = self.kept.lock();
        let new = kept.files.insert(inode.serial(), inode.clone()).is_none();
        if new {
            self.kept_budget.take(HALVES);
            kept.unmet.insert(inode.serial());
        }
        if names {
            kept.urgent.push(inode.clone());
        }
        drop(kept);
        if !new {
            return;
        }
        inodes.pin(inode);
        if let Err(error) = inodes.keep_descriptor(inode) {
            log::debug!(
                "inode {} can't be kept open for the scan: {error}",
                inode.ino
            );
        }
    }

    /// So much is kept, of `max` files, that nothing more should be before the scan has caught up.
    pub(super) fn keeps_much(&self, max: u64) -> bool {
        self.is_running() && !self.kept_budget.has_room(HALVES, max * HALVES)
    }

    /// One more may be kept though there is no room for it: the store does not answer.
    pub(super) fn lend(&self, max: u64) {
        if self.is_running() {
            self.kept_budget.lend(HALVES, max * HALVES);
        }
    }

    /// Something is kept, and will be given back as the scan goes on.
    pub(super) fn keeps_anything(&self) -> bool {
        self.is_running() && !self.kept.lock().files.is_empty()
    }

    /// Whether the scan meets it for the first time although it was touched before.
    pub(super) fn meet(&self, serial: usize) -> bool {
        self.kept.lock().unmet.remove(&serial)
    }

    /// A directory in which names changed before they were taken.
    pub(super) fn next_urgent(&self) -> Option<Arc<Inode>> {
        self.kept.lock().urgent.pop()
    }

    /// Gives a file back when the scan needs nothing of it any more.
    pub(super) fn release(&self, inodes: &Inodes, inode: &Arc<Inode>) {
        let Some(epoch) = self.epoch() else { return };
        if !self.kept.lock().files.contains_key(&inode.serial()) {
            return;
        }
        let names_wanted = inode.kind == Kind::Dir && !self.are_names_taken(inode.ino);
        if names_wanted || inode.track.lock().version(epoch).is_some() {
            return;
        }
        let mut kept = self.kept.lock();
        kept.unmet.remove(&inode.serial());
        let file = kept.files.remove(&inode.serial());
        drop(kept);
        if let Some(file) = file {
            self.kept_budget.give_back(HALVES);
            inodes.unpin(&file);
        }
    }

    /// The scan is over: all that is still kept.
    pub(super) fn take_kept(&self) -> impl Iterator<Item = Arc<Inode>> {
        let kept = std::mem::take(&mut *self.kept.lock()).files;
        self.kept_budget.give_back(kept.len() as u64 * HALVES);
        kept.into_values()
    }

    pub(super) fn takes(&self, epoch: Epoch) -> bool {
        self.epoch() == Some(epoch)
    }

    pub(super) fn deliver(&self, captured: Captured) {
        self.bytes
            .fetch_add(captured.hashed_bytes, Ordering::Relaxed);
        self.results.lock().push(captured);
    }

    pub(super) fn job_done(&self) {
        self.jobs.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn progress(&self) -> Option<ScanProgress> {
        self.is_running().then(|| ScanProgress {
            files: self.files.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            first: self.first.load(Ordering::Relaxed),
        })
    }
}
