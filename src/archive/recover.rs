//! Getting it back: the objects of a set, and of those that it needs, become a store.
//!
//! The records come first: from then on states can be told and what they name be asked for. What is
//! wanted of the contents follows, all of it or a part, and in the order that is asked for.

use super::object::*;
use super::others::Source;
use super::pace::{Far, Jobs, Pace};
use super::pack;
use super::repository::{Catalog, Repository};
use super::{ArchiveError, Result, Traffic};
use crate::format::record::Piece;
use crate::format::transfer::{RawChunk, RawRecord, Sent};
use crate::id::Hash;
use crate::store::Store;
use crossbeam_channel::bounded;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
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
    pub source: Source<'a>,
    pub catalog: &'a Catalog,
    pub number: u64,
    pub store: &'a Store,
    /// An object that is missing does not end it. A segment always does, since nothing can be told
    /// without it.
    pub partial: bool,
    /// The contents follow in another way: of them nothing is looked at.
    pub records_only: bool,
    /// Nothing follows the contents that are asked for: of the packs only they come.
    pub is_part: bool,
    pub progress: &'a (dyn Fn(Far) + Sync),
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
    pub jobs: Jobs,
}

/// One whose records are here.
pub struct Gathering<'a> {
    from: Gather<'a>,
    /// The packs that are not here, and the sets that need them.
    packs: Vec<(u64, PackIndex)>,
    pace: Pace,
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
            pace: Pace::new(self.jobs),
            from: self,
            packs: Vec::new(),
            outcome: Outcome::default(),
        };
        if gathering.from.records_only {
            gathering.records()?;
            return Ok(gathering);
        }
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

impl<'a> Gathering<'a> {
    fn indexes(&mut self) -> Result<()> {
        let from = &self.from;
        for set in from.source.repository.chain(from.catalog, from.number)? {
            for object in set.of_kind(ObjectKind::Index) {
                from.go_on()?;
                match from.source.value::<Index>(object) {
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
        let mut segments = Vec::new();
        for set in from.source.repository.chain(from.catalog, from.number)? {
            let is_last = set.number == from.number;
            let objects = set.of_kind(ObjectKind::Segment);
            segments.extend(objects.map(|object| (object, is_last)));
        }
        let rest_bytes = self.packs.iter().map(|(_, pack)| pack.bytes()).sum();
        let traffic = &mut self.outcome.traffic;
        // The next one comes while this one is taken.
        let (give, come) = bounded::<Result<Vec<RawRecord>>>(1);
        thread::scope(|scope| {
            let coming = &segments;
            scope.spawn(move || {
                for (object, _) in coming {
                    if give.send(from.source.value(object)).is_err() {
                        return;
                    }
                }
            });
            for ((object, is_last), records) in segments.iter().zip(come) {
                from.go_on()?;
                traffic.objects += 1;
                traffic.bytes += object.bytes;
                from.store.receive_records(records?, *is_last)?;
                (from.progress)(Far {
                    traffic: *traffic,
                    rest_bytes,
                    rest: None,
                    jobs: 1,
                });
            }
            Ok(())
        })
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
        let set = self.set()?;
        let received = from.store.received(set.to)?;
        self.outcome.missing = received.missing;
        self.outcome.is_whole = received.is_whole && header_is(from.store, set)?;
        self.note_sent()?;
        Ok(self.outcome)
    }

    /// Makes a store of the records; the contents follow, however long that takes. Whether the records
    /// are those of the state that was sent.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn end_records(&mut self) -> Result<bool> {
        let from = &self.from;
        let set = self.set()?;
        let is_whole = from.store.received_records(set.to)? && header_is(from.store, set)?;
        self.note_sent()?;
        Ok(is_whole)
    }

    /// What came so far.
    pub fn traffic(&self) -> Traffic {
        self.outcome.traffic
    }

    fn set(&self) -> Result<&'a SetRecord> {
        let sets = &self.from.catalog.sets;
        sets.get(&self.from.number)
            .ok_or_else(|| ArchiveError::NoSets {
                place: self.from.source.repository.place().to_owned(),
            })
    }

    /// What was sent is here: the next set goes on behind it.
    fn note_sent(&self) -> Result<()> {
        let from = &self.from;
        let chain = from.source.repository.chain(from.catalog, from.number)?;
        let set = self.set()?;
        let first = chain.first().copied().unwrap_or(set);
        from.store.note_sent(&Sent {
            repository: from.source.repository.id,
            url: from.source.repository.place().to_owned(),
            set: set.number,
            epoch: set.to,
            full_set: first.number,
            full_epoch: first.to,
            time: set.made,
            lists: from.store.lists_hash(set.to)?,
            recovered: true,
            fenced: None,
        })?;
        Ok(())
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
        if self.from.is_part {
            return self.parts(wanted);
        }
        let is_wanted = |(_, pack): &(u64, PackIndex)| {
            pack.chunks.iter().any(|chunk| wanted.contains(&chunk.hash))
        };
        let packs = std::mem::take(&mut self.packs);
        let (now, later) = packs.into_iter().partition(is_wanted);
        self.packs = later;
        self.packs(now)
    }

    fn packs(&mut self, wanted: Vec<(u64, PackIndex)>) -> Result<()> {
        let whole = |(set, index)| Wanted {
            set,
            index,
            only: None,
        };
        self.take(wanted.into_iter().map(whole).collect())
    }

    /// Of the packs, what is wanted and not here.
    fn parts(&mut self, wanted: &HashSet<Hash>) -> Result<()> {
        let view = self.from.store.view();
        let lacks =
            |hash: &Hash| wanted.contains(hash) && !matches!(view.index_entry(*hash), Ok(Some(_)));
        let parts = self.packs.iter().filter_map(|(set, index)| {
            let hashes = index.chunks.iter().map(|chunk| chunk.hash);
            let only: HashSet<Hash> = hashes.filter(lacks).collect();
            (!only.is_empty()).then(|| Wanted {
                set: *set,
                index: index.clone(),
                only: Some(only),
            })
        });
        let parts = parts.collect();
        drop(view);
        self.take(parts)
    }

    fn take(&mut self, wanted: Vec<Wanted>) -> Result<()> {
        let (from, pace) = (&self.from, &self.pace);
        let outcome = &mut self.outcome;
        let mut rest_bytes = wanted.iter().map(Wanted::bytes).sum::<u64>();
        let queue = Mutex::new(wanted.into_iter());
        let next = || queue.lock().next();
        let get = |wanted: &Wanted| match &wanted.only {
            None => from.source.pack(&wanted.index),
            Some(only) => from.source.part(&wanted.index, only),
        };
        fetch_all(pace, &next, &get, &mut |wanted: Wanted, fetched| {
            from.go_on()?;
            rest_bytes -= wanted.bytes();
            let Wanted { set, index, only } = wanted;
            match fetched {
                Ok((chunks, bytes)) => {
                    let is_whole = only.is_none();
                    let pack = is_whole.then_some(index.pack);
                    from.store.receive_pack(pack, &chunks)?;
                    outcome.fetched += 1;
                    outcome.traffic.objects += 1;
                    outcome.traffic.bytes += bytes;
                    (from.progress)(Far {
                        traffic: outcome.traffic,
                        rest_bytes,
                        rest: pace.rest(rest_bytes),
                        jobs: pace.jobs(),
                    });
                }
                Err(error) if from.partial && error.is_of_object() => {
                    let lack = lack(set, pack_object(index.pack).name(), &error);
                    outcome.lacks.push(lack);
                }
                Err(error) => return Err(error),
            }
            Ok(())
        })
    }
}

/// What is to come of a pack; `None`: all.
struct Wanted {
    set: u64,
    index: PackIndex,
    only: Option<HashSet<Hash>>,
}

impl Wanted {
    fn bytes(&self) -> u64 {
        let Some(only) = &self.only else {
            return self.index.bytes();
        };
        let chunks = self.index.chunks.iter();
        let of_it = chunks.filter(|chunk| only.contains(&chunk.hash));
        of_it.map(|chunk| u64::from(chunk.bytes)).sum()
    }
}

/// A pack as it came: its chunks, and the bytes that were read for them.
pub type FetchedPack = Result<(Vec<RawChunk>, u64)>;

/// Fetches packs as long as there is a next one, several at once; they are taken in one after the
/// other.
///
/// # Errors
/// What taking one in says; then nothing more is fetched.
pub fn fetch_all<W: Send>(
    pace: &Pace,
    next: &(dyn Fn() -> Option<W> + Sync),
    get: &(dyn Fn(&W) -> FetchedPack + Sync),
    take: &mut dyn FnMut(W, FetchedPack) -> Result<()>,
) -> Result<()> {
    // Who fetched one has it in memory until it is taken: nothing is in between.
    let (give, come) = bounded::<(W, FetchedPack)>(0);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..pace.most() {
            let (give, is_over) = (give.clone(), &is_over);
            scope.spawn(move || {
                loop {
                    pace.begin();
                    let wanted = match is_over.load(Ordering::Relaxed) {
                        true => None,
                        false => next(),
                    };
                    let Some(wanted) = wanted else {
                        return pace.end(None);
                    };
                    let fetched = get(&wanted);
                    let bytes = fetched.as_ref().map_or(0, |(_, bytes)| *bytes);
                    // Fails only when it is over.
                    let _ = give.send((wanted, fetched));
                    pace.end(Some(bytes));
                }
            });
        }
        drop(give);
        for (wanted, fetched) in come {
            let taken = take(wanted, fetched);
            if taken.is_err() {
                is_over.store(true, Ordering::Relaxed);
                return taken;
            }
        }
        Ok(())
    })
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

/// The name of a pack.
pub fn pack_name(hash: Hash) -> String {
    pack_object(hash).name()
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
