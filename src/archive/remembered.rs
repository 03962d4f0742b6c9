//! Sets that nobody asks for one by one: what keeps a replica up to date after each change.
//!
//! 1. What is known of the place after one set is remembered for the next: so a set costs requests in
//!    proportion to what is new, and all that is there is looked at now and then only.
//! 2. A set may take the place of some before it: it begins where an older one ended, and takes over
//!    the packs of those between that are not small. Which ones goes by their size, as in a
//!    log-structured merge tree (O'Neil et al., 1996): each record is sent again as often as the logarithm
//!    of their number, and as many sets are needed to get all back. When they have become as large as the
//!    full set before them, the next one is full ("synthetic full": it is made of what is there).
//! 3. Sets in whose place newer ones are go, but for the last of each hour of a day, and of each day of
//!    the time for which a replica keeps them. One that somebody asked for never goes by itself.

use super::Result;
use super::object::*;
use super::repository::{Catalog, Repository};
use crate::format::transfer::RawChunk;
use crate::id::Hash;
use crate::limits;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

/// What is known of a place.
#[derive(Debug, Default)]
pub struct Remembered {
    pub catalog: Catalog,
    /// The chunks that the set of this number and those that it needs hold; `None`: not known.
    pub chunks: Option<(u64, HashSet<Hash>)>,
    /// When all that is there was looked at last; `None`: it is to be.
    pub looked: Option<Instant>,
}

impl Repository {
    /// What is known of it, if it is still so; else what its heads say.
    ///
    /// # Errors
    /// As `catalog`.
    pub(super) fn recall(&self, anew: bool) -> Result<Remembered> {
        let remembered = self.remembered.lock().take();
        if let Some(remembered) = remembered
            && !anew
            && !(remembered.catalog.newest + 1).is_multiple_of(FULL_HEAD)
            && (remembered.looked).is_some_and(|looked| looked.elapsed() < limits::REPLICA_LOOK)
            && self.is_newest(&remembered.catalog)?
        {
            return Ok(remembered);
        }
        Ok(Remembered {
            catalog: self.catalog()?,
            ..Remembered::default()
        })
    }
}

/// How many of a chain of sets the next one builds on: the last of `sizes`, the bytes of their records,
/// is the newest. 0: on none.
pub(super) fn stays(sizes: &[u64]) -> usize {
    let Some((last, older)) = sizes.split_last() else {
        return 0;
    };
    let mut together = *last;
    let mut stays = older.len();
    while stays > 0 && sizes[stays - 1] <= together {
        together += sizes[stays - 1];
        stays -= 1;
    }
    match stays == older.len() {
        // None is small enough to go with the newest.
        true => sizes.len(),
        false => stays,
    }
}

/// The bytes of a set's records.
pub(super) fn record_bytes(set: &SetRecord) -> u64 {
    set.of_kind(ObjectKind::Segment)
        .map(|object| object.bytes)
        .sum()
}

/// Packs of sets in whose place a new one comes, and what of them it takes over.
#[derive(Debug, Default)]
pub(super) struct Reused {
    packs: Vec<PackIndex>,
    /// In which of them a chunk is, and whether it is a list.
    of: HashMap<Hash, (usize, bool)>,
    used: BTreeSet<usize>,
}

impl Reused {
    /// The packs of some sets, and all chunks in these, also in such packs as are too small to be kept, or may
    /// hold something that was purged since.
    ///
    /// # Errors
    /// An index is missing or damaged.
    pub fn of(
        repository: &Repository,
        sets: &[&SetRecord],
        purged: Option<Timestamp>,
    ) -> Result<(Reused, HashSet<Hash>)> {
        let mut reused = Reused::default();
        let mut all = HashSet::new();
        for set in sets {
            let is_clean = purged.is_none_or(|purged| set.made > purged);
            for pack in repository.packs(set)? {
                all.extend(pack.chunks.iter().map(|chunk| chunk.hash));
                if is_clean && pack.bytes() >= limits::PACK_SMALL {
                    reused.add(pack);
                }
            }
        }
        Ok((reused, all))
    }

    fn add(&mut self, pack: PackIndex) {
        let at = self.packs.len();
        let chunks = pack.chunks.iter();
        self.of
            .extend(chunks.map(|chunk| (chunk.hash, (at, chunk.is_list))));
        self.packs.push(pack);
    }

    /// Takes a chunk that is not a list over, without asking the store for it.
    pub fn takes(&mut self, hash: Hash) -> bool {
        match self.of.get(&hash) {
            Some((pack, false)) => {
                self.used.insert(*pack);
                true
            }
            _ => false,
        }
    }

    /// Takes over what the store gave, as lists are: what they name has to be known.
    pub fn takes_given(&mut self, chunk: &RawChunk) -> bool {
        let pack = self.of.get(&chunk.hash);
        pack.is_some_and(|(pack, _)| {
            self.used.insert(*pack);
            true
        })
    }

    /// Those that are taken over, as objects and as an index names them.
    pub fn into_used(self) -> impl Iterator<Item = (ObjectRecord, PackIndex)> {
        let used = self.used;
        let packs = self.packs.into_iter().enumerate();
        packs.filter_map(move |(at, pack)| {
            let object = ObjectRecord {
                kind: ObjectKind::Pack,
                hash: pack.pack,
                bytes: pack.bytes(),
            };
            used.contains(&at).then_some((object, pack))
        })
    }
}

impl Catalog {
    /// Takes those sets out of the list in whose place newer ones are. What the newest needs, and `base`
    /// with what it needs, stays.
    pub(super) fn drop_superseded(&mut self, base: Option<u64>, keep: Duration, now: Timestamp) {
        let hour = Duration::from_secs(3600);
        let mut last_of: BTreeMap<(u8, i64), u64> = BTreeMap::new();
        let mut stay: BTreeSet<u64> = base.into_iter().collect();
        stay.extend(self.sets.keys().next_back());
        for set in self.sets.values() {
            let age = now.since(set.made);
            let bucket = |span: Duration| set.made.0.div_euclid(span.as_nanos() as i64);
            if set.asked {
                stay.insert(set.number);
            } else if age <= hour * 24 {
                last_of.insert((0, bucket(hour)), set.number);
            } else if age <= keep {
                last_of.insert((1, bucket(hour * 24)), set.number);
            }
        }
        stay.extend(last_of.into_values());
        // What a set needs has a smaller number.
        let mut needed = stay.clone();
        while let Some(number) = stay.pop_last() {
            let base = self.sets.get(&number).and_then(|set| set.base);
            if let Some(base) = base.filter(|base| *base < number) {
                needed.insert(base);
                stay.insert(base);
            }
        }
        self.sets.retain(|number, _| needed.contains(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_sets_are_needed_and_little_is_sent_again() {
        let full = 5000;
        let mut sizes = vec![full];
        let (mut sent, mut longest, mut fulls) = (0, 0, 0);
        for _ in 0..20_000 {
            let stays = stays(&sizes);
            let merged: u64 = sizes[stays..].iter().sum();
            sizes.truncate(stays);
            match stays {
                // A full one holds each file once: it does not grow.
                0 => {
                    sizes.push(full);
                    sent += full;
                    fulls += 1;
                }
                _ => {
                    sizes.push(merged + 1);
                    sent += merged + 1;
                }
            }
            longest = longest.max(sizes.len());
        }
        assert!(longest <= 30, "{longest} sets are needed");
        assert!((2..=6).contains(&fulls), "{fulls} full ones");
        assert!(sent < 20_000 * 12, "{sent} sent, for 20,000");
    }
}
