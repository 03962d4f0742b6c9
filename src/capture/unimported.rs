//! Content from before the first mount that was not to be imported (`--import changes`), and is kept
//! all the same at the last moment: when it is about to be changed or removed for the first time.
//!
//! 1. The file gets a version of an epoch before that of the operation, with everything in it: from
//!    then on it is like any file with a pending version, and what is destroyed is preserved.
//! 2. That epoch is one that was cut and is not being captured yet, if there is one and the file
//!    was not touched since; else the open one, which is cut for it. So many such files in a row make
//!    as many epochs as the committer takes meanwhile, not as many as there are files.
//! 3. Only the first such operation on a file pays for it.

use super::Recorder;
use super::deed::Wait;
use super::epoch::EpochBody;
use crate::format::record::{EpochKind, What};
use crate::inodes::Inode;
use crate::inodes::track::{Track, Version};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The numbers of such files: a bit for each, since neighbours are often made together.
#[derive(Default)]
pub(super) struct Unimported {
    any: AtomicBool,
    words: Mutex<HashMap<u64, u64>>,
}

impl Unimported {
    /// The content of this file is in no epoch.
    pub(super) fn insert(&self, ino: u64) {
        *self.words.lock().entry(ino / 64).or_default() |= 1 << (ino % 64);
        self.any.store(true, Ordering::Release);
    }

    /// Whether it is so.
    pub(super) fn contains(&self, ino: u64) -> bool {
        let holds = |word: &u64| word & (1 << (ino % 64)) != 0;
        self.any.load(Ordering::Acquire) && self.words.lock().get(&(ino / 64)).is_some_and(holds)
    }

    /// It has been seen to, or has gone.
    pub(super) fn remove(&self, ino: u64) {
        let mut words = self.words.lock();
        if let Some(word) = words.get_mut(&(ino / 64)) {
            *word &= !(1 << (ino % 64));
            if *word == 0 {
                words.remove(&(ino / 64));
            }
        }
    }
}

impl Recorder {
    /// Before content is destroyed: if it was not imported, gives it a version
    /// that holds it. The caller holds the file's `io` lock.
    ///
    /// # Errors
    /// `Wait`: nothing was noted.
    pub(super) fn keep_unimported(&self, inode: &Arc<Inode>) -> Result<(), Wait> {
        // Of what is left out by a rule since, nothing more is recorded.
        if !self.unimported.contains(inode.ino) || inode.track.lock().left {
            return Ok(());
        }
        let newest = self.cutter.lock().pending.back().cloned();
        let mut track = inode.track.lock();
        if !newest.is_some_and(|newest| self.note_before(&newest.body, inode, &mut track)) {
            drop(track);
            if !self.has_room_for_epoch() && !self.give_up_on_store() {
                return Err(Wait::States);
            }
            let held = self.open.load_full();
            let mut track = inode.track.lock();
            if !self.note_before(&held.body, inode, &mut track) {
                return Err(Wait::States);
            }
            drop(track);
            let number = held.body.number;
            drop(held);
            // Somebody may have been quicker.
            if self.open.load().body.number == number {
                self.cut(EpochKind::Checkpoint, false, false, Vec::new());
            }
        }
        self.unimported.remove(inode.ino);
        Ok(())
    }

    /// Notes that all of `inode` is of this epoch; false if it is too late for that, or if the
    /// file is not any more what it was then.
    fn note_before(&self, body: &EpochBody, inode: &Arc<Inode>, track: &mut Track) -> bool {
        let epoch = body.number;
        if track.versions.iter().any(|version| version.epoch > epoch) {
            return false;
        }
        let known = track.version(epoch).is_some();
        let captured = track.version(epoch).is_some_and(|known| known.captured);
        if captured || !body.note_late(inode, known) {
            return false;
        }
        if !known {
            track.push(Version::new(epoch));
            self.inodes.pin(inode);
        }
        if let Some(version) = track.version(epoch) {
            version.dirty.everything();
            version.what = version.what.with(What::CONTENT);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_apart_and_taken_out() {
        let unimported = Unimported::default();
        assert!(!unimported.contains(7));
        for ino in [0, 7, 63, 64, u64::MAX] {
            unimported.insert(ino);
        }
        assert!(unimported.contains(7) && unimported.contains(64) && unimported.contains(u64::MAX));
        assert!(!unimported.contains(8) && !unimported.contains(7 + 64));
        unimported.remove(7);
        assert!(!unimported.contains(7) && unimported.contains(63));
        unimported.remove(63);
        unimported.remove(0);
        assert_eq!(unimported.words.lock().len(), 2);
    }
}
