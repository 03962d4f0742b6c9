//! Getting it back: the objects of a set, and of those that it needs, become a store.
//!
//! The records come first: from then on states can be told and what they name be asked for. What is
//! wanted of the contents follows, all of it or a part, and in the order that is asked for.

use super::object::*;
use super::others::{Other, Standing};
use super::pack;
use super::repository::{Catalog, Repository};
use super::{ArchiveError, Result, Traffic};
use crate::format::record::Piece;
use crate::format::transfer::{RawChunk, RawRecord, Sent};
use crate::id::Hash;
use crate::limits;
use crate::store::Store;
use crossbeam_channel::bounded;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::thread;

/// An object that could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacks {
    pub set: u64,
    pub name: String,
    pub reason: String,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    pub lacks: Vec<Lacks>,
    /// Contents that are not in the new store.
    pub missing: u64,
    /// The records are those of the state that was sent.
    pub is_whole: bool,
    /// Packs that were fetched, and those that were here from an earlier try.
    pub fetched: u64,
    pub kept: u64,
    pub traffic: Traffic,
}

/// A set that becomes a store.
pub struct Gather<'a> {
    pub repository: &'a Repository,
    pub catalog: &'a Catalog,
    pub number: u64,
    pub store: &'a Store,
    /// An object that is missing does not end it. A segment always does, since nothing can be told
    /// without it.
    pub partial: bool,
    pub progress: &'a (dyn Fn(Traffic) + Sync),
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
    /// Other places that may have what this one does not give.
    pub others: &'a [Other<'a>],
    pub standing: Standing,
}

/// One whose records are here.
pub struct Gathering<'a> {
    from: Gather<'a>,
    /// The packs that are not here, and the sets that need them.
    packs: Vec<(u64, PackIndex)>,
    outcome: Outcome,
}

impl<'a> Gather<'a> {
    /// Fetches the records.
    ///
    /// # Errors
    /// The first object that can't be had; nothing is lost, and the next try goes on. So of all that
    /// follow.
    pub fn begin(self) -> Result<Gathering<'a>> {
        let here = self.store.received_packs()?;
        let mut gathering = Gathering {
            from: self,
            packs: Vec::new(),
            outcome: Outcome::default(),
        };
        gathering.indexes()?;
        let all = gathering.packs.len();
        // What came from another place came in other packs.
        let view = gathering.from.store.view();
        let has = |chunk: &PackedChunk| matches!(view.index_entry(chunk.hash), Ok(Some(_)));
        let is_here = |pack: &PackIndex| {
            here.contains(&pack.pack) || !here.is_empty() && pack.chunks.iter().all(has)
        };
        gathering.packs.retain(|(_, pack)| !is_here(pack));
        drop(view);
        gathering.outcome.kept = (all - gathering.packs.len()) as u64;
        gathering.records()?;
        Ok(gathering)
    }

    fn go_on(&self) -> Result<()> {
        match (self.cancelled)() {
            true => Err(ArchiveError::Interrupted),
            false => Ok(()),
        }
    }
}

impl Gathering<'_> {
    fn indexes(&mut self) -> Result<()> {
        let from = &self.from;
        for set in from.repository.chain(from.catalog, from.number)? {
            for object in set.of_kind(ObjectKind::Index) {
                from.go_on()?;
                match from.value::<Index>(object) {
                    Ok(index) => {
                        let packs = index.packs.into_iter();
                        self.packs.extend(packs.map(|pack| (set.number, pack)));
                    }
                    Err(error) if from.partial && error.is_of_object() => {
                        let lack = lack(set.number, object.name(), &error);
                        self.outcome.lacks.push(lack);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn records(&mut self) -> Result<()> {
        let from = &self.from;
        for set in from.repository.chain(from.catalog, from.number)? {
            let is_last = set.number == from.number;
            for object in set.of_kind(ObjectKind::Segment) {
                from.go_on()?;
                let records: Vec<RawRecord> = from.value(object)?;
                self.outcome.traffic.objects += 1;
                self.outcome.traffic.bytes += object.bytes;
                (from.progress)(self.outcome.traffic);
                from.store.receive_records(&records, is_last)?;
            }
        }
        Ok(())
    }

    /// Fetches the packs that hold these contents, and what they are made of.
    ///
    /// # Errors
    /// As of `begin`.
    pub fn contents(&mut self, wanted: &HashSet<Hash>) -> Result<()> {
        let lists = self.lists(wanted);
        self.fetch(wanted)?;
        let view = self.from.store.view();
        let mut pieces = HashSet::new();
        for list in lists {
            // One that did not come is named already, and missed by whoever reads it.
            let Ok(list) = view.list(list) else { continue };
            for piece in &list.pieces {
                if let Piece::Data { hash, .. } = piece {
                    pieces.insert(*hash);
                }
            }
        }
        drop(view);
        self.fetch(&pieces)
    }

    /// Fetches all that is not here yet.
    ///
    /// # Errors
    /// As of `begin`.
    pub fn rest(&mut self) -> Result<()> {
        let packs = std::mem::take(&mut self.packs);
        self.packs(packs)
    }

    /// The last step: makes a store of it.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn end(mut self) -> Result<Outcome> {
        let from = &self.from;
        let chain = from.repository.chain(from.catalog, from.number)?;
        let set = chain.last().ok_or_else(|| ArchiveError::NoSets {
            place: from.repository.place().to_owned(),
        })?;
        let received = from.store.received(set.to)?;
        self.outcome.missing = received.missing;
        self.outcome.is_whole = received.is_whole && header_is(from.store, set)?;
        let first = chain.first().unwrap_or(set);
        from.store.note_sent(&Sent {
            repository: from.repository.id,
            url: from.repository.place().to_owned(),
            set: set.number,
            epoch: set.to,
            full_set: first.number,
            full_epoch: first.to,
            time: set.made,
            lists: from.store.lists_hash(set.to)?,
            recovered: true,
            fenced: None,
        })?;
        Ok(self.outcome)
    }

    /// Those of these contents that are lists: also of those that are here already.
    fn lists(&self, wanted: &HashSet<Hash>) -> Vec<Hash> {
        let view = self.from.store.view();
        let coming = self.packs.iter().flat_map(|(_, pack)| &pack.chunks);
        let coming: HashSet<Hash> = coming
            .filter(|chunk| chunk.is_list)
            .map(|chunk| chunk.hash)
            .collect();
        let is_list = |hash: &Hash| {
            let here = || view.index_entry(*hash).ok().flatten();
            coming.contains(hash) || here().is_some_and(|entry| entry.is_list)
        };
        wanted.iter().copied().filter(is_list).collect()
    }

    fn fetch(&mut self, wanted: &HashSet<Hash>) -> Result<()> {
        let is_wanted = |(_, pack): &(u64, PackIndex)| {
            pack.chunks.iter().any(|chunk| wanted.contains(&chunk.hash))
        };
        let packs = std::mem::take(&mut self.packs);
        let (now, later) = packs.into_iter().partition(is_wanted);
        self.packs = later;
        self.packs(now)
    }

    /// Fetches packs, several at once; they are taken in one after the other.
    fn packs(&mut self, wanted: Vec<(u64, PackIndex)>) -> Result<()> {
        let from = &self.from;
        let outcome = &mut self.outcome;
        let queue = Mutex::new(wanted.into_iter());
        type Fetched = (u64, PackIndex, Result<(Vec<RawChunk>, u64)>);
        let (give, take) = bounded::<Fetched>(limits::DOWNLOADS);
        thread::scope(|scope| {
            for _ in 0..limits::DOWNLOADS {
                let (queue, give) = (&queue, give.clone());
                scope.spawn(move || {
                    loop {
                        let next = queue.lock().next();
                        let Some((set, index)) = next else { return };
                        let fetched = from.pack(&index);
                        if give.send((set, index, fetched)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(give);
            for (set, index, fetched) in take {
                from.go_on()?;
                match fetched {
                    Ok((chunks, bytes)) => {
                        from.store.receive_pack(index.pack, &chunks)?;
                        outcome.fetched += 1;
                        outcome.traffic.objects += 1;
                        outcome.traffic.bytes += bytes;
                        (from.progress)(outcome.traffic);
                    }
                    Err(error) if from.partial && error.is_of_object() => {
                        let lack = lack(set, pack_object(index.pack).name(), &error);
                        outcome.lacks.push(lack);
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    }
}

/// Whether the chain of headers ends with the seal that the set says.
fn header_is(store: &Store, set: &SetRecord) -> Result<bool> {
    let header = store.view().header(set.to)?;
    Ok(header.is_some_and(|header| (header.state, header.seal) == (set.state, set.seal)))
}

fn lack(set: u64, name: String, error: &ArchiveError) -> Lacks {
    let reason = match error {
        ArchiveError::Missing { .. } => "it is missing".to_owned(),
        error => error.to_string(),
    };
    Lacks { set, name, reason }
}

fn pack_object(hash: Hash) -> ObjectRecord {
    ObjectRecord {
        kind: ObjectKind::Pack,
        hash,
        bytes: 0,
    }
}

/// The chunks of a pack, and the bytes that it took to get them.
pub(super) fn fetch(repository: &Repository, index: &PackIndex) -> Result<(Vec<RawChunk>, u64)> {
    let object = pack_object(index.pack);
    let bytes = repository.fetch(&object)?;
    let chunks = pack::unpack(&repository.cipher, index, &bytes);
    let chunks = chunks.ok_or_else(|| ArchiveError::Damaged {
        place: repository.place().to_owned(),
        name: object.name(),
        reason: "it is not what its index says",
    })?;
    Ok((chunks, bytes.len() as u64))
}
