//! Files without their content and folders without their names, while a directory is in use that is
//! still being recovered: what they are to hold stands in the store.
//!
//! 1. An entry goes when the file or folder is as it is to be; it never comes back.
//! 2. While one is being made so, it looks as it did before (`Unfilled::settled`): nobody sees times
//!    that we set on the way.
//! 3. What is made is `fresh` until that is durable. Nobody else changes anything fresh: a process that
//!    dies then may do it again.

use super::Inode;
use crate::backing::Stat;
use crate::id::FileId;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// What is known of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub id: FileId,
    pub is_dir: bool,
    /// Some of its content may have been written.
    pub begun: bool,
}

/// See the module's head.
#[derive(Default)]
pub struct Unfilled {
    any: AtomicBool,
    marks: Mutex<HashMap<u64, Mark>>,
    /// Files without names that somebody still has open: their numbers may come back.
    nameless: Mutex<Vec<(Weak<Inode>, Mark)>>,
    fresh: Mutex<HashSet<u64>>,
    /// Those that are being made, as they looked before.
    busy: Mutex<Vec<Stat>>,
    /// How often one was done.
    done: AtomicU64,
}

impl Unfilled {
    /// Whether there may be any.
    pub fn is_used(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// From now on there may be some.
    pub fn begin(&self) {
        self.any.store(true, Ordering::Release);
    }

    /// There are none, and there will be none.
    pub fn end(&self) {
        *self.marks.lock() = HashMap::new();
        *self.fresh.lock() = HashSet::new();
        self.any.store(false, Ordering::Release);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.marks.lock().len()
    }

    /// All their numbers.
    pub fn all(&self) -> Vec<u64> {
        self.marks.lock().keys().copied().collect()
    }

    /// One more.
    pub fn insert(&self, ino: u64, mark: Mark) {
        self.marks.lock().insert(ino, mark);
    }

    /// It is none any more, or never was.
    pub fn remove(&self, ino: u64) {
        self.marks.lock().remove(&ino);
    }

    /// What is known of a number.
    pub fn of(&self, ino: u64) -> Option<Mark> {
        match self.is_used() {
            true => self.marks.lock().get(&ino).copied(),
            false => None,
        }
    }

    /// What is known of a file, also of one without names.
    pub fn file(&self, inode: &Arc<Inode>) -> Option<Mark> {
        let mark = self.of(inode.ino).filter(|mark| !mark.is_dir);
        if mark.is_some() || !self.is_used() {
            return mark;
        }
        let nameless = self.nameless.lock();
        let same = |other: &&(Weak<Inode>, Mark)| other.0.as_ptr() == Arc::as_ptr(inode);
        nameless.iter().find(same).map(|(_, mark)| *mark)
    }

    /// Its last name has gone, and with it the number: who has it open reads on. Whether it was one.
    pub fn died(&self, inode: &Arc<Inode>) -> bool {
        if !self.is_used() {
            return false;
        }
        let Some(mark) = self.marks.lock().remove(&inode.ino) else {
            return false;
        };
        let mut nameless = self.nameless.lock();
        nameless.retain(|(other, _)| other.strong_count() > 0);
        nameless.push((Arc::downgrade(inode), mark));
        true
    }

    /// It is as it is to be, and that is not durable yet.
    pub fn made(&self, ino: u64) {
        self.fresh.lock().insert(ino);
        self.marks.lock().remove(&ino);
    }

    /// It is durable.
    pub fn durable(&self, inos: impl Iterator<Item = u64>) {
        let mut fresh = self.fresh.lock();
        for ino in inos {
            fresh.remove(&ino);
        }
    }

    /// Whether it, or the folder that it is in, is not durable yet.
    pub fn is_fresh(&self, inode: &Inode) -> bool {
        if !self.is_used() {
            return false;
        }
        let parent = inode.place().map(|place| place.parent.ino);
        let fresh = self.fresh.lock();
        !fresh.is_empty()
            && (fresh.contains(&inode.ino) || parent.is_some_and(|ino| fresh.contains(&ino)))
    }

    /// From now on a file looks so, whatever is done to it.
    pub fn keep_look(&self, stat: Stat) {
        self.busy.lock().push(stat);
    }

    /// It is done: it looks as it does.
    pub fn show(&self, stat: &Stat) {
        let mut busy = self.busy.lock();
        busy.retain(|kept| (kept.dev, kept.ino) != (stat.dev, stat.ino));
        self.done.fetch_add(1, Ordering::AcqRel);
    }

    /// What looking at a file says, but for what we do to it just now.
    ///
    /// # Errors
    /// What looking says.
    pub fn settled(&self, look: impl Fn() -> io::Result<Stat>) -> io::Result<Stat> {
        loop {
            if !self.is_used() {
                return look();
            }
            let done = self.done.load(Ordering::Acquire);
            let stat = look()?;
            let busy = self.busy.lock();
            let kept = busy
                .iter()
                .find(|kept| (kept.dev, kept.ino) == (stat.dev, stat.ino));
            if let Some(kept) = kept {
                return Ok(*kept);
            }
            // One that was done in between may have been this one.
            if self.done.load(Ordering::Acquire) == done {
                return Ok(stat);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backing::stat_at;
    use crate::format::record::Kind;
    use std::os::fd::AsFd;

    const MARK: Mark = Mark {
        id: FileId(9),
        is_dir: false,
        begun: false,
    };

    #[test]
    fn a_number_that_comes_back_is_not_that_of_the_file_that_went() {
        let unfilled = Unfilled::default();
        let old = Arc::new(Inode::new(5, Kind::File, 5));
        assert!(!unfilled.died(&old));
        unfilled.begin();
        unfilled.insert(5, MARK);
        assert!(unfilled.died(&old));
        let new = Arc::new(Inode::new(5, Kind::File, 5));
        assert_eq!(unfilled.file(&old), Some(MARK));
        assert_eq!((unfilled.file(&new), unfilled.of(5)), (None, None));
    }

    #[test]
    fn nobody_sees_what_is_done_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "1").unwrap();
        let folder = std::fs::File::open(dir.path()).unwrap();
        let look = || stat_at(folder.as_fd(), b"f");
        let unfilled = Unfilled::default();
        unfilled.begin();
        let before = unfilled.settled(look).unwrap();
        unfilled.keep_look(before);
        std::fs::write(dir.path().join("f"), "1234").unwrap();
        assert_eq!(unfilled.settled(look).unwrap().size, 1);
        unfilled.show(&before);
        assert_eq!(unfilled.settled(look).unwrap().size, 4);
        // It was done between the look and the question whether it is being done.
        let first = AtomicBool::new(true);
        unfilled.keep_look(before);
        let late = unfilled.settled(|| {
            let stat = look();
            if first.swap(false, Ordering::SeqCst) {
                std::fs::write(dir.path().join("f"), "123456").unwrap();
                unfilled.show(&before);
            }
            stat
        });
        assert_eq!(late.unwrap().size, 6);
    }
}
