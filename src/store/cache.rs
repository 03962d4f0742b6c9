//! Chunks and lists that were read and verified, kept in memory up to a number of bytes; what was
//! not used for longest goes first.

use crate::format::record::ChunkList;
use crate::id::Hash;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Bytes of memory that a piece of a list takes.
const PIECE_BYTES: usize = 40;
/// Bytes of memory that an entry takes beside what it holds: most files are small.
const ENTRY_BYTES: usize = 200;

/// Something verified.
#[derive(Clone, Debug)]
pub(super) enum Verified {
    Data(Arc<[u8]>),
    List(Arc<ChunkList>),
}

impl Verified {
    fn bytes(&self) -> usize {
        let held = match self {
            Verified::Data(plain) => plain.len(),
            Verified::List(list) => list.pieces.len() * PIECE_BYTES,
        };
        ENTRY_BYTES + held
    }
}

/// The cache.
#[derive(Debug)]
pub(super) struct Cache {
    capacity: usize,
    bytes: usize,
    clock: u64,
    entries: HashMap<Hash, (u64, Verified)>,
    by_age: BTreeMap<u64, Hash>,
}

impl Cache {
    /// Holds up to `capacity` bytes, or one thing that is larger.
    pub fn new(capacity: usize) -> Cache {
        Cache {
            capacity,
            bytes: 0,
            clock: 0,
            entries: HashMap::new(),
            by_age: BTreeMap::new(),
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Cache::new(self.capacity);
    }

    pub fn get(&mut self, hash: Hash) -> Option<Verified> {
        let (age, verified) = self.entries.get_mut(&hash)?;
        self.clock += 1;
        self.by_age.remove(age);
        self.by_age.insert(self.clock, hash);
        *age = self.clock;
        Some(verified.clone())
    }

    pub fn insert(&mut self, hash: Hash, verified: Verified) {
        if self.entries.contains_key(&hash) {
            return;
        }
        self.clock += 1;
        self.bytes += verified.bytes();
        self.by_age.insert(self.clock, hash);
        self.entries.insert(hash, (self.clock, verified));
        while self.bytes > self.capacity && self.entries.len() > 1 {
            let Some((_, oldest)) = self.by_age.pop_first() else {
                break;
            };
            if let Some((_, gone)) = self.entries.remove(&oldest) {
                self.bytes -= gone.bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(len: usize) -> Verified {
        Verified::Data(vec![0; len].into())
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = Cache::new(100 + 2 * ENTRY_BYTES);
        let [a, b, c] = [1, 2, 3].map(|n| Hash([n; 32]));
        cache.insert(a, data(40));
        cache.insert(b, data(40));
        assert!(cache.get(a).is_some());
        cache.insert(c, data(40));
        assert!(cache.get(a).is_some());
        assert!(cache.get(b).is_none());
        assert!(cache.get(c).is_some());
        cache.insert(b, data(1000));
        assert!(cache.get(b).is_some());
        assert!(cache.get(a).is_none());
        assert_eq!(cache.bytes, 1000 + ENTRY_BYTES);
    }
}
