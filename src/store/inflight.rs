//! Hashes in flight: what captures rely on between the look at the index and the commit.
//!
//! 1. A hash is entered before it is looked up. So whoever takes a chunk away, and enters the
//!    hash and locks its slot for that, either sees that it is relied on, or is done before the
//!    look-up.
//! 2. The slot's lock is held from the look-up until the chunk is written: two captures of one new
//!    chunk write it once.
//! 3. A chunk that nobody committed goes with the last one that relied on it.

use super::Store;
use crate::id::{ChunkNumber, Hash};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map;
use std::fmt;
use std::sync::Arc;

/// Where a chunk in flight is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub number: ChunkNumber,
    pub stored_bytes: u32,
    pub plain_bytes: u32,
    pub is_list: bool,
    /// Not in the index: goes when nobody relies on it any more.
    pub fresh: bool,
    /// If it was written without WAL, the flush that was the last to begin before that was done.
    pub written: Option<u64>,
}

/// A hash in flight.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// `None` until it was looked up, and written if need be.
    pub slot: Mutex<Option<Placed>>,
}

/// All of them, with the number of those who rely on each.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    entries: Mutex<HashMap<Hash, (u64, Arc<Entry>)>>,
}

impl InFlight {
    /// One more relies on the hash.
    pub fn enter(&self, hash: Hash) -> Arc<Entry> {
        let mut entries = self.entries.lock();
        let (users, entry) = entries.entry(hash).or_default();
        *users += 1;
        Arc::clone(entry)
    }

    /// One more relies on the hash, if anybody does.
    pub fn join(&self, hash: Hash) -> Option<Arc<Entry>> {
        let mut entries = self.entries.lock();
        let (users, entry) = entries.get_mut(&hash)?;
        *users += 1;
        Some(Arc::clone(entry))
    }

    /// One less. The last one gets the chunk that is nowhere else named, to remove it.
    pub fn leave(&self, hash: Hash, entry: &Arc<Entry>) -> Option<Placed> {
        let mut entries = self.entries.lock();
        let hash_map::Entry::Occupied(mut occupied) = entries.entry(hash) else {
            return None;
        };
        // Otherwise it is of an earlier generation, whose table was cleared.
        if !Arc::ptr_eq(&occupied.get().1, entry) {
            return None;
        }
        let users = &mut occupied.get_mut().0;
        *users -= 1;
        if *users > 0 {
            return None;
        }
        occupied.remove();
        drop(entries);
        let placed = *entry.slot.lock();
        placed.filter(|placed| placed.fresh)
    }

    /// Forgets all: the store was reopened.
    pub fn clear(&self) {
        self.entries.lock().clear();
    }
}

/// Hashes that an uncommitted capture relies on: prune leaves them alone, other captures find
/// them. Give it to the `Commit` that names them, or drop it when the capture is abandoned.
pub struct Reliance {
    store: Arc<Store>,
    /// Of the store when it was made: chunks of an earlier one may be lost.
    pub(super) generation: u64,
    entries: HashMap<Hash, Arc<Entry>>,
    /// What was stored for it because the store did not have it: plain bytes, and as stored.
    pub(super) new_plain_bytes: u64,
    pub(super) new_bytes: u64,
}

impl fmt::Debug for Reliance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reliance")
            .field("hashes", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl Reliance {
    pub(super) fn new(store: Arc<Store>, generation: u64) -> Reliance {
        Reliance {
            store,
            generation,
            entries: HashMap::new(),
            new_plain_bytes: 0,
            new_bytes: 0,
        }
    }

    /// Plain bytes that the store did not have.
    pub fn new_plain_bytes(&self) -> u64 {
        self.new_plain_bytes
    }

    /// Bytes that it took in the store.
    pub fn new_bytes(&self) -> u64 {
        self.new_bytes
    }

    pub(super) fn enter(&mut self, hash: Hash) -> Arc<Entry> {
        let store = &self.store;
        let entry = self
            .entries
            .entry(hash)
            .or_insert_with(|| store.in_flight.enter(hash));
        Arc::clone(entry)
    }

    pub(super) fn has(&self, hash: Hash) -> bool {
        self.entries.contains_key(&hash)
    }

    pub(super) fn leave(&mut self, hash: Hash) {
        if let Some(entry) = self.entries.remove(&hash) {
            self.store.let_go(hash, &entry);
        }
    }
}

impl Drop for Reliance {
    fn drop(&mut self) {
        for (hash, entry) in std::mem::take(&mut self.entries) {
            self.store.let_go(hash, &entry);
        }
    }
}
