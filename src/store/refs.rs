//! Counting references: how often contents name a chunk or a list, and lists their pieces. Only
//! the holder of `committer` counts. A list counts its pieces when it gets its first reference,
//! each as often as it stands in it, and gives them back with its last. While chunks are still to come
//! (`filling.rs`) nothing is given back, and what has not come is not counted: that is done at the end.

use super::blocks;
use super::inflight::{Entry, Placed};
use super::kv::Batch;
use super::{Result, Store, StoreError};
use crate::format::key::{self, Family};
use crate::format::record::{Content, IndexEntry, Piece};
use crate::format::value;
use crate::id::{ChunkNumber, Hash};
use crate::limits;
use parking_lot::MutexGuard;
use std::collections::BTreeMap;
use std::sync::Arc;

struct Counted {
    entry: IndexEntry,
    /// References in the index; `None` if it is only in flight.
    was: Option<u64>,
    /// Held until the batch is written.
    held: Option<Arc<Entry>>,
}

/// References as they will be when the batch is written.
pub(super) struct Refs<'a> {
    store: &'a Store,
    counted: BTreeMap<Hash, Counted>,
}

impl<'a> Refs<'a> {
    pub fn new(store: &'a Store) -> Refs<'a> {
        Refs {
            store,
            counted: BTreeMap::new(),
        }
    }

    /// A record with this content is written.
    pub fn add(&mut self, content: &Content) -> Result<()> {
        let Some((hash, is_list)) = named(content) else {
            return Ok(());
        };
        let is_filling = self.store.is_filling();
        let counted = match self.load(hash, is_list) {
            Err(StoreError::Missing { .. }) if is_filling => return Ok(()),
            counted => counted?,
        };
        counted.entry.refs += 1;
        if counted.entry.refs == 1 && is_list {
            let number = counted.entry.number;
            for piece in &self.store.list_at(hash, number)?.pieces {
                if let Piece::Data { hash, .. } = piece {
                    match self.load(*hash, false) {
                        Ok(piece) => piece.entry.refs += 1,
                        Err(StoreError::Missing { .. }) if is_filling => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(())
    }

    /// A record with this content is removed.
    pub fn release(&mut self, content: &Content) -> Result<()> {
        if self.store.is_filling() {
            return Ok(());
        }
        let Some((hash, is_list)) = named(content) else {
            return Ok(());
        };
        let counted = self.load(hash, is_list)?;
        counted.release(hash)?;
        if counted.entry.refs == 0 && is_list {
            let number = counted.entry.number;
            for piece in &self.store.list_at(hash, number)?.pieces {
                if let Piece::Data { hash, .. } = piece {
                    self.load(*hash, false)?.release(*hash)?;
                }
            }
        }
        Ok(())
    }

    /// So many records name the hash, whatever was counted before. Its pieces are counted by
    /// themselves.
    pub fn set(&mut self, hash: Hash, refs: u64) -> Result<()> {
        let entry = self.store.index_entry(hash)?;
        let is_list = entry.ok_or(StoreError::Missing { hash })?.is_list;
        self.load(hash, is_list)?.entry.refs = refs;
        Ok(())
    }

    fn load(&mut self, hash: Hash, is_list: bool) -> Result<&mut Counted> {
        let counted = match self.counted.entry(hash) {
            std::collections::btree_map::Entry::Occupied(occupied) => occupied.into_mut(),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(look_up(self.store, hash)?)
            }
        };
        if counted.entry.is_list != is_list {
            return Err(StoreError::Missing { hash });
        }
        Ok(counted)
    }

    /// Writes the counts into the batch. What they say comes true, for captures that run at the
    /// same time, when the answer's `done` is called after the batch was written.
    pub fn settle(mut self, batch: &mut Batch) -> Settled<'a> {
        let mut settled = Settled {
            store: self.store,
            entered: Vec::new(),
            indexed: Vec::new(),
            dying: Vec::new(),
        };
        for (hash, counted) in std::mem::take(&mut self.counted) {
            let was = counted.was;
            match (was, counted.entry.refs) {
                (Some(was), now) if was == now => {}
                (None, 0) => {}
                (Some(_), 0) => settled.dying.push((hash, counted.entry)),
                (was, _) => {
                    let bytes = value::pack(&counted.entry);
                    batch.put(Family::Index, key::index(hash), bytes);
                    if let (None, Some(entry)) = (was, &counted.held) {
                        let number = counted.entry.number;
                        settled.indexed.push((hash, number, Arc::clone(entry)));
                    }
                }
            }
            if let Some(entry) = counted.held {
                settled.entered.push((hash, entry));
            }
        }
        settled
    }
}

impl Drop for Refs<'_> {
    fn drop(&mut self) {
        for (hash, counted) in std::mem::take(&mut self.counted) {
            if let Some(entry) = counted.held {
                self.store.let_go(hash, &entry);
            }
        }
    }
}

impl Counted {
    fn release(&mut self, hash: Hash) -> Result<()> {
        self.entry.refs = self
            .entry
            .refs
            .checked_sub(1)
            .ok_or(StoreError::Missing { hash })?;
        Ok(())
    }
}

pub(super) fn named(content: &Content) -> Option<(Hash, bool)> {
    match content {
        Content::Chunk(hash) => Some((*hash, false)),
        Content::List(hash) => Some((*hash, true)),
        Content::Empty | Content::Lost(_) | Content::Purged(_) | Content::Damaged(_) => None,
    }
}

fn look_up(store: &Store, hash: Hash) -> Result<Counted> {
    if let Some(entry) = store.index_entry(hash)? {
        return Ok(Counted {
            was: Some(entry.refs),
            entry,
            held: None,
        });
    }
    let held = store
        .in_flight
        .join(hash)
        .ok_or(StoreError::Missing { hash })?;
    let placed = *held.slot.lock();
    let Some(placed) = placed else {
        store.let_go(hash, &held);
        return Err(StoreError::Missing { hash });
    };
    let entry = IndexEntry {
        number: placed.number,
        stored_bytes: placed.stored_bytes,
        plain_bytes: placed.plain_bytes,
        refs: 0,
        is_list: placed.is_list,
    };
    Ok(Counted {
        entry,
        was: None,
        held: Some(held),
    })
}

/// What follows from the counts once they are written.
pub(super) struct Settled<'a> {
    store: &'a Store,
    /// Hashes that this held in flight.
    entered: Vec<(Hash, Arc<Entry>)>,
    indexed: Vec<(Hash, ChunkNumber, Arc<Entry>)>,
    dying: Vec<(Hash, IndexEntry)>,
}

impl Settled<'_> {
    /// The numbers of the chunks that go.
    pub fn dying(&self) -> impl Iterator<Item = ChunkNumber> + '_ {
        self.dying.iter().map(|(_, entry)| entry.number)
    }

    /// Chunks before their names: flushes them, or if they are few has the batch write them once
    /// more, now with the WAL. (A flush for each small commit would leave a file for each.)
    pub fn make_durable(&self, batch: &mut Batch) -> Result<()> {
        let mut volatile = Vec::new();
        let mut bytes = 0;
        for (hash, number, entry) in &self.indexed {
            let placed = *entry.slot.lock();
            if let Some(placed) = placed.filter(|placed| !self.store.is_durable(placed)) {
                volatile.push((*hash, *number));
                bytes += u64::from(placed.stored_bytes);
            }
        }
        if bytes > limits::LOGGED_CHUNKS {
            return self.store.flush_chunks();
        }
        for (hash, number) in volatile {
            let key = key::chunk(number);
            let envelope = self.store.kv.get(Family::Chunks, &key)?;
            let envelope = envelope.ok_or(StoreError::Missing { hash })?;
            batch.put(Family::Chunks, key, envelope);
        }
        Ok(())
    }

    /// Takes what nobody names out of the batch's index, and its chunks unless they are relied on,
    /// then has the batch written. In the order of the hashes, all slots of what dies are locked
    /// until then: a capture that enters one of them waits, and finds what is true afterwards.
    pub fn write(
        mut self,
        mut batch: Batch,
        write: impl FnOnce(Batch) -> Result<()>,
    ) -> Result<u64> {
        let dying = std::mem::take(&mut self.dying);
        let entries: Vec<Arc<Entry>> = dying
            .iter()
            .map(|(hash, _)| self.store.in_flight.enter(*hash))
            .collect();
        let mut slots: Vec<MutexGuard<'_, Option<Placed>>> =
            entries.iter().map(|entry| entry.slot.lock()).collect();
        let mut freed = 0;
        for ((hash, entry), slot) in dying.iter().zip(&slots) {
            batch.delete(Family::Index, key::index(*hash));
            if slot.is_none() {
                batch.delete(Family::Chunks, key::chunk(entry.number));
                freed += u64::from(entry.stored_bytes);
            } else if self.store.blocks.lock().adopt(entry.number) {
                blocks::note(&mut batch, entry.number.0, entry.number.0 + 1);
            }
        }
        write(batch)?;
        for slot in &mut slots {
            if let Some(placed) = slot.as_mut() {
                placed.fresh = true;
            }
        }
        let died = dying.iter().zip(&slots).filter(|(_, slot)| slot.is_none());
        for ((_, entry), _) in died {
            self.store.note_freed(entry.number, entry.stored_bytes);
        }
        drop(slots);
        for ((hash, _), entry) in dying.iter().zip(&entries) {
            self.store.let_go(*hash, entry);
        }
        self.done();
        Ok(freed)
    }

    fn done(&mut self) {
        for (_, number, entry) in std::mem::take(&mut self.indexed) {
            if let Some(placed) = entry.slot.lock().as_mut() {
                placed.fresh = false;
            }
            self.store.settle_chunk_number(number);
        }
    }
}

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        for (hash, entry) in std::mem::take(&mut self.entered) {
            self.store.let_go(hash, &entry);
        }
    }
}
