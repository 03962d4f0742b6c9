//! Other places with the same contents: what one does not give, in time and as it should be, another
//! may. A copy of the same repository has the same objects; another repository has the same chunks
//! in packs of its own.

use super::feed::Feed;
use super::object::*;
use super::part;
use super::recover;
use super::repository::{Catalog, Repository};
use super::{ArchiveError, Result};
use crate::format::transfer::{RawChunk, RawRecord};
use crate::id::Hash;
use crate::limits;
use crate::store::repair::{GivenSet, Lacking};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Another place.
pub struct Other<'a> {
    repository: &'a Repository,
    catalog: &'a Catalog,
    /// Which chunk is in which of its packs; read when it is first asked for.
    chunks: OnceLock<Chunks>,
    /// Packs that were read last: those of one place are not those of another.
    read: Mutex<VecDeque<(Hash, HashMap<Hash, RawChunk>)>>,
}

#[derive(Default)]
struct Chunks {
    packs: Vec<PackIndex>,
    of: HashMap<Hash, usize>,
}

/// What came back to a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    pub records: u64,
    pub contents: u64,
    /// Contents that are lost and not here either.
    pub lacking: u64,
    /// Records are lost that can only come back when nothing works with the store.
    pub is_in_use: bool,
}

/// How a place has answered: one that did not, several times, is asked last.
#[derive(Debug, Default)]
pub struct Standing(AtomicU32);

impl Standing {
    fn is_bad(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= limits::GIVES_UP
    }

    fn note<T>(&self, answer: &Result<T>) {
        match answer {
            Ok(_) => self.0.store(0, Ordering::Relaxed),
            Err(_) => {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl<'a> Other<'a> {
    /// A place whose heads could be read.
    pub fn new(repository: &'a Repository, catalog: &'a Catalog) -> Other<'a> {
        Other {
            repository,
            catalog,
            chunks: OnceLock::new(),
            read: Mutex::default(),
        }
    }

    fn chunks(&self) -> &Chunks {
        self.chunks.get_or_init(|| {
            let mut chunks = Chunks::default();
            for set in self.catalog.sets.values() {
                for object in set.of_kind(ObjectKind::Index) {
                    // What can't be read is not there.
                    let index: Index = self.repository.fetch_value(object).unwrap_or_default();
                    for pack in index.packs {
                        let at = chunks.packs.len();
                        let hashes = pack.chunks.iter().map(|chunk| (chunk.hash, at));
                        chunks.of.extend(hashes);
                        chunks.packs.push(pack);
                    }
                }
            }
            chunks
        })
    }

    /// A chunk, and the bytes that were read for it.
    fn chunk(&self, hash: Hash) -> Option<(RawChunk, u64)> {
        let chunks = self.chunks();
        let index = &chunks.packs[*chunks.of.get(&hash)?];
        let mut read = self.read.lock();
        if let Some((_, pack)) = read.iter().find(|(pack, _)| *pack == index.pack) {
            return Some((pack.get(&hash)?.clone(), 0));
        }
        let (pack, bytes) = recover::fetch(self.repository, index).ok()?;
        let pack: HashMap<Hash, RawChunk> =
            pack.into_iter().map(|chunk| (chunk.hash, chunk)).collect();
        let chunk = pack.get(&hash)?.clone();
        read.push_back((index.pack, pack));
        if read.len() > limits::JOBS_MAX {
            read.pop_front();
        }
        Some((chunk, bytes))
    }

    /// Gives a store what it has lost and this place has.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub fn mend(&self, store: &mut dyn Feed, go_on: &dyn Fn() -> bool) -> Result<Mended> {
        let mut mended = Mended::default();
        let lacking = store.lacks_records(go_on)?;
        mended.is_in_use = lacking == Lacking::InUse;
        if lacking == Lacking::Records {
            mended.records = self.mend_records(store, go_on)?;
        }
        loop {
            let lost = store.lost(go_on)?;
            let mut taken = 0;
            let (mut chunks, mut bytes) = (Vec::new(), 0);
            for hash in self.in_order(&lost) {
                if !go_on() {
                    return Err(ArchiveError::Interrupted);
                }
                let Some((chunk, _)) = self.chunk(hash) else {
                    continue;
                };
                bytes += chunk.envelope.len();
                chunks.push(chunk);
                if bytes >= limits::EXPORT_PAGE {
                    taken += store.put_back(&std::mem::take(&mut chunks))?;
                    bytes = 0;
                }
            }
            taken += store.put_back(&chunks)?;
            mended.contents += taken;
            // A list that is back names pieces of which nobody knew that they are lost.
            if taken == 0 {
                mended.lacking = lost.len() as u64;
                return Ok(mended);
            }
        }
    }

    /// Those of the newest set with the same history, and of the sets that it needs. How many were lost.
    fn mend_records(&self, store: &mut dyn Feed, go_on: &dyn Fn() -> bool) -> Result<u64> {
        let mut same = None;
        for set in self.catalog.sets.values().rev() {
            let given = GivenSet {
                repository: self.repository.id,
                number: set.number,
                to: set.to,
                seal: set.seal,
            };
            if store.has_set(&given)? {
                same = Some(set.number);
                break;
            }
        }
        let mut taken = 0;
        if let Some(number) = same {
            for set in self.repository.chain(self.catalog, number)? {
                for object in set.of_kind(ObjectKind::Segment) {
                    if !go_on() {
                        return Err(ArchiveError::Interrupted);
                    }
                    // What can't be read is not there.
                    let records: Vec<RawRecord> =
                        self.repository.fetch_value(object).unwrap_or_default();
                    taken += store.put_back_records(records)?;
                }
            }
        }
        let removed = store.settle()?;
        Ok(taken.saturating_sub(removed))
    }

    /// Those that are here, pack by pack.
    fn in_order(&self, wanted: &[Hash]) -> Vec<Hash> {
        let here = &self.chunks().of;
        let mut found: Vec<Hash> = wanted.to_vec();
        found.retain(|hash| here.contains_key(hash));
        found.sort_by_key(|hash| here.get(hash));
        found
    }

    /// The chunks of a pack of another place, as far as they are here.
    fn pack(&self, index: &PackIndex) -> (Vec<RawChunk>, u64) {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for wanted in &index.chunks {
            if let Some((chunk, more)) = self.chunk(wanted.hash) {
                found.push(chunk);
                bytes += more;
            }
        }
        (found, bytes)
    }
}

/// Where objects come from: a place, and others that may have what it does not give.
pub struct Source<'a> {
    pub repository: &'a Repository,
    pub others: &'a [Other<'a>],
    pub standing: Standing,
}

impl<'a> Source<'a> {
    /// A place that is asked first.
    pub fn new(repository: &'a Repository, others: &'a [Other<'a>]) -> Source<'a> {
        Source {
            repository,
            others,
            standing: Standing::default(),
        }
    }

    /// The chunks of a pack, from whichever place gives them.
    ///
    /// # Errors
    /// None gives them.
    pub fn pack(&self, index: &PackIndex) -> Result<(Vec<RawChunk>, u64)> {
        if self.others.is_empty() {
            return recover::fetch(self.repository, index);
        }
        if self.standing.is_bad()
            && let Some(found) = self.of_others(index)
        {
            return Ok(found);
        }
        let own = recover::fetch(self.repository, index);
        self.standing.note(&own);
        match own {
            Err(error) => self.of_others(index).ok_or(error),
            own => own,
        }
    }

    /// These chunks of a pack; of a place that does not give them alone, all of it.
    ///
    /// # Errors
    /// As `pack`.
    pub fn part(&self, index: &PackIndex, wanted: &HashSet<Hash>) -> Result<(Vec<RawChunk>, u64)> {
        let part = match self.standing.is_bad() {
            true => None,
            false => part::fetch(self.repository, index, wanted),
        };
        part.map_or_else(|| self.pack(index), Ok)
    }

    fn of_others(&self, index: &PackIndex) -> Option<(Vec<RawChunk>, u64)> {
        let mut found: HashMap<Hash, RawChunk> = HashMap::new();
        let mut bytes = 0;
        for other in self.others {
            let mut lacking = index.clone();
            lacking
                .chunks
                .retain(|chunk| !found.contains_key(&chunk.hash));
            let (chunks, more) = other.pack(&lacking);
            bytes += more;
            found.extend(chunks.into_iter().map(|chunk| (chunk.hash, chunk)));
            if index
                .chunks
                .iter()
                .all(|chunk| found.contains_key(&chunk.hash))
            {
                return Some((found.into_values().collect(), bytes));
            }
        }
        None
    }

    /// An index or segment of a set, from this place or a copy of it.
    ///
    /// # Errors
    /// None gives it.
    pub fn value<T: serde::de::DeserializeOwned>(&self, object: &ObjectRecord) -> Result<T> {
        let own = self.repository.fetch_value(object);
        self.standing.note(&own);
        let copies = self.others.iter().map(|other| other.repository);
        let copies = copies.filter(|copy| copy.id == self.repository.id);
        own.or_else(|error: ArchiveError| {
            let mut found = copies.filter_map(|copy| copy.fetch_value(object).ok());
            found.next().ok_or(error)
        })
    }
}
