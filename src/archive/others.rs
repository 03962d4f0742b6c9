//! Other places with the same contents: what one does not give, in time and as it should be, another
//! may. A copy of the same repository has the same objects; another repository has the same chunks
//! in packs of its own.

use super::object::*;
use super::recover::{self, Gather};
use super::repository::{Catalog, Repository};
use super::{ArchiveError, Result};
use crate::format::transfer::RawChunk;
use crate::id::Hash;
use crate::limits;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
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
        if read.len() > limits::DOWNLOADS {
            read.pop_front();
        }
        Some((chunk, bytes))
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

impl Gather<'_> {
    /// The chunks of a pack, from whichever place gives them.
    pub(super) fn pack(&self, index: &PackIndex) -> Result<(Vec<RawChunk>, u64)> {
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
    pub(super) fn value<T: serde::de::DeserializeOwned>(&self, object: &ObjectRecord) -> Result<T> {
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
