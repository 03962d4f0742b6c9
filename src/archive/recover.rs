//! Getting it back: the objects of a set, and of those that it needs, become a store.

use super::object::*;
use super::pack;
use super::repository::{Catalog, Repository};
use super::{ArchiveError, Result, Traffic};
use crate::format::transfer::{RawChunk, RawRecord, Sent};
use crate::id::Hash;
use crate::limits;
use crate::store::Store;
use crossbeam_channel::bounded;
use parking_lot::Mutex;
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

/// Fills a new store with a set. An object that is missing ends it, unless `partial`; a segment that
/// is missing always does, since nothing can be told without it.
///
/// # Errors
/// The first object that can't be had; nothing is lost, and the next try goes on.
pub fn gather(
    repository: &Repository,
    catalog: &Catalog,
    number: u64,
    store: &Store,
    partial: bool,
    progress: &(dyn Fn(Traffic) + Sync),
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Outcome> {
    let chain = repository.chain(catalog, number)?;
    let mut outcome = Outcome::default();
    let here = store.received_packs()?;
    let mut wanted: Vec<(u64, PackIndex)> = Vec::new();
    for set in &chain {
        for object in set.of_kind(ObjectKind::Index) {
            match repository.fetch_value::<Index>(object) {
                Ok(index) => wanted.extend(index.packs.into_iter().map(|pack| (set.number, pack))),
                Err(error) if partial && error.is_of_object() => {
                    outcome.lacks.push(lack(set.number, object.name(), &error));
                }
                Err(error) => return Err(error),
            }
        }
    }
    let all = wanted.len();
    wanted.retain(|(_, pack)| !here.contains(&pack.pack));
    outcome.kept = (all - wanted.len()) as u64;
    packs(
        repository,
        wanted,
        store,
        partial,
        progress,
        cancelled,
        &mut outcome,
    )?;
    for set in &chain {
        let is_last = set.number == number;
        for object in set.of_kind(ObjectKind::Segment) {
            if cancelled() {
                return Err(ArchiveError::Interrupted);
            }
            let records: Vec<RawRecord> = repository.fetch_value(object)?;
            outcome.traffic.objects += 1;
            outcome.traffic.bytes += object.bytes;
            progress(outcome.traffic);
            store.receive_records(&records, is_last)?;
        }
    }
    let set = chain.last().ok_or_else(|| ArchiveError::NoSets {
        place: repository.place().to_owned(),
    })?;
    let received = store.received(set.to)?;
    outcome.missing = received.missing;
    outcome.is_whole = received.is_whole && header_is(store, set)?;
    let first = chain.first().unwrap_or(set);
    store.note_sent(&Sent {
        repository: repository.id,
        url: repository.place().to_owned(),
        set: set.number,
        epoch: set.to,
        full_set: first.number,
        full_epoch: first.to,
        time: set.made,
        lists: store.lists_hash(set.to)?,
        recovered: true,
        fenced: None,
    })?;
    Ok(outcome)
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

/// Fetches packs, several at once; they are taken in one after the other.
fn packs(
    repository: &Repository,
    wanted: Vec<(u64, PackIndex)>,
    store: &Store,
    partial: bool,
    progress: &(dyn Fn(Traffic) + Sync),
    cancelled: &(dyn Fn() -> bool + Sync),
    outcome: &mut Outcome,
) -> Result<()> {
    let queue = Mutex::new(wanted.into_iter());
    let (give, take) = bounded::<(u64, PackIndex, Result<(Vec<RawChunk>, u64)>)>(limits::DOWNLOADS);
    thread::scope(|scope| {
        for _ in 0..limits::DOWNLOADS {
            let (queue, give) = (&queue, give.clone());
            scope.spawn(move || {
                loop {
                    let next = queue.lock().next();
                    let Some((set, index)) = next else { return };
                    let fetched = fetch(repository, &index);
                    if give.send((set, index, fetched)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(give);
        for (set, index, fetched) in take {
            if cancelled() {
                return Err(ArchiveError::Interrupted);
            }
            match fetched {
                Ok((chunks, bytes)) => {
                    store.receive_pack(index.pack, &chunks)?;
                    outcome.fetched += 1;
                    outcome.traffic.objects += 1;
                    outcome.traffic.bytes += bytes;
                    progress(outcome.traffic);
                }
                Err(error) if partial && error.is_of_object() => {
                    outcome
                        .lacks
                        .push(lack(set, pack_object(index.pack).name(), &error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })
}

fn pack_object(hash: Hash) -> ObjectRecord {
    ObjectRecord {
        kind: ObjectKind::Pack,
        hash,
        bytes: 0,
    }
}

fn fetch(repository: &Repository, index: &PackIndex) -> Result<(Vec<RawChunk>, u64)> {
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
