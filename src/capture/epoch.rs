//! The open epoch and what is noted in it; the cut.
//!
//! 1. An operation holds an `Arc` of the open epoch from before it is noted until it is done
//!    (`Held`). A cut swaps the pointer: O(1), and it waits for nobody.
//! 2. An epoch is complete when it is cut and the last holder has let go; only then is it
//!    captured.
//! 3. If A's call returned before B's began, B's epoch is A's or a later one.
//! 4. Whoever looks at, moves or drops an entry of the notes is counted (`entries_touched`): so it
//!    can be shown that a cut touches none, however many there are.

use crate::format::record::{Actor, EpochKind};
use crate::id::Epoch;
use crate::inodes::Inode;
use crate::time::Timestamp;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What a name was when the epoch ended.
#[derive(Clone, Debug)]
pub struct NameNote {
    pub directory: Arc<Inode>,
    /// `None`: no such name.
    pub child: Option<Arc<Inode>>,
    /// An operation began and never said how it ended: look.
    pub in_doubt: bool,
    pub actors: Vec<Arc<Actor>>,
}

/// Content that is in no epoch: somebody destroyed what others had written just before.
#[derive(Clone, Debug)]
pub struct UnsettledNote {
    pub path: Vec<u8>,
    pub by: Arc<Actor>,
    /// How old it was.
    pub age: Duration,
}

/// Everything that is noted in an epoch.
#[derive(Debug, Default)]
pub struct Notes {
    /// Files with a version of this epoch, in the order of their first change.
    inodes: Vec<Arc<Inode>>,
    /// By serial number of the directory and name: two directories of one epoch may have had the
    /// same `ino`.
    names: HashMap<(usize, Vec<u8>), NameNote>,
    /// At most one for each file and one for its end: no more than `inodes` hold.
    pub unsettled: Vec<UnsettledNote>,
    /// They are being captured: nothing can be added any more.
    taken: bool,
}

thread_local! {
    static TOUCHED: Cell<u64> = const { Cell::new(0) };
}

/// Entries of notes that this thread has looked at, moved or dropped so far.
pub fn entries_touched() -> u64 {
    TOUCHED.get()
}

fn touch(entries: usize) {
    TOUCHED.set(TOUCHED.get().wrapping_add(entries as u64));
}

impl Notes {
    /// Files with a version of this epoch, in the order of their first change.
    pub fn inodes(&self) -> impl Iterator<Item = &Arc<Inode>> {
        self.inodes.iter().inspect(|_| touch(1))
    }

    /// How many files those are.
    pub fn inode_count(&self) -> usize {
        self.inodes.len()
    }

    /// The names that changed, with what they are now.
    pub fn names(&self) -> impl Iterator<Item = (&[u8], &NameNote)> {
        let names = self.names.iter().inspect(|_| touch(1));
        names.map(|((_, name), note)| (name.as_slice(), note))
    }

    fn name(&mut self, directory: &Inode, name: &[u8]) -> Option<&mut NameNote> {
        touch(1);
        self.names.get_mut(&(directory.serial(), name.to_vec()))
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        touch(self.inodes.len() + self.names.len());
    }
}

/// Decided when the epoch is cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Strictly ascending over epochs.
    pub time: Timestamp,
    /// What the clock said.
    pub wall: Timestamp,
    pub kind: EpochKind,
    pub quiet: bool,
    pub unseen_mappings: bool,
}

/// One epoch from its opening to its commit.
#[derive(Debug)]
pub struct EpochBody {
    pub number: Epoch,
    pub notes: Mutex<Notes>,
    /// Inodes and names noted.
    pub noted: AtomicU64,
    pub cut: Mutex<Option<Cut>>,
    complete: AtomicBool,
}

impl EpochBody {
    fn new(number: Epoch) -> EpochBody {
        EpochBody {
            number,
            notes: Mutex::default(),
            noted: AtomicU64::new(0),
            cut: Mutex::new(None),
            complete: AtomicBool::new(false),
        }
    }

    /// Cut, and no operation is under way in it any more.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Notes that a file has a version of this epoch.
    pub fn note_inode(&self, inode: &Arc<Inode>) {
        touch(1);
        self.notes.lock().inodes.push(inode.clone());
        self.noted.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a file has a version of this epoch, which may be cut; `known`: that is noted
    /// already. False if it is too late for more.
    pub fn note_late(&self, inode: &Arc<Inode>, known: bool) -> bool {
        let mut notes = self.notes.lock();
        if !notes.taken && !known {
            touch(1);
            notes.inodes.push(inode.clone());
            self.noted.fetch_add(1, Ordering::Relaxed);
        }
        !notes.taken
    }

    /// Takes the notes, for the capture.
    pub fn take_notes(&self) -> Notes {
        let mut notes = self.notes.lock();
        let all = std::mem::take(&mut *notes);
        notes.taken = true;
        all
    }

    /// Notes that content was destroyed which no epoch holds.
    pub fn note_unsettled(&self, note: UnsettledNote) {
        self.notes.lock().unsettled.push(note);
    }

    /// Notes that `name` in `directory` is about to change.
    pub fn doubt_name(&self, directory: &Arc<Inode>, name: &[u8], actor: &Arc<Actor>) {
        touch(1);
        let mut notes = self.notes.lock();
        let note = notes
            .names
            .entry((directory.serial(), name.to_vec()))
            .or_insert_with(|| {
                self.noted.fetch_add(1, Ordering::Relaxed);
                NameNote {
                    directory: directory.clone(),
                    child: None,
                    in_doubt: true,
                    actors: Vec::new(),
                }
            });
        note.in_doubt = true;
        if !note.actors.iter().any(|known| known == actor) {
            note.actors.push(actor.clone());
        }
    }

    /// Says what `name` in `directory` is now.
    pub fn settle_name(&self, directory: &Inode, name: &[u8], child: Option<&Arc<Inode>>) {
        let mut notes = self.notes.lock();
        if let Some(note) = notes.name(directory, name) {
            note.child = child.cloned();
            note.in_doubt = false;
        }
    }
}

/// Told when an epoch is complete.
pub trait Completed: Send + Sync {
    /// The last operation of a cut epoch has ended. Must not wait.
    fn completed(&self);
}

/// Keeps an epoch from being complete.
pub struct Held {
    pub body: Arc<EpochBody>,
    listener: Arc<dyn Completed>,
}

impl Held {
    /// An epoch that is open from now on.
    pub fn open(number: Epoch, listener: Arc<dyn Completed>) -> Arc<Held> {
        Arc::new(Held {
            body: Arc::new(EpochBody::new(number)),
            listener,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.body.complete.store(true, Ordering::Release);
        self.listener.completed();
    }
}
