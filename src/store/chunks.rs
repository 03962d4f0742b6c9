//! Chunks and chunk lists: in by their bytes, out by their hash, verified each time they enter
//! memory.

use super::cache::Verified;
use super::inflight::{Entry, Placed};
use super::kv::{Batch, Durability};
use super::view::{corrupt, decode};
use super::{Reliance, Result, Store, StoreError};
use crate::format::key::{self, Family};
use crate::format::record::{ChunkList, IndexEntry};
use crate::format::transfer::RawChunk;
use crate::format::value;
use crate::id::{ChunkNumber, Hash};
use crate::limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Flushes of the family `chunks`: a chunk without WAL is durable if one that began after it was
/// written is done.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    begun: AtomicU64,
    done: AtomicU64,
}

impl Store {
    /// Whether a chunk survives power loss.
    pub(super) fn is_durable(&self, placed: &Placed) -> bool {
        placed
            .written
            .is_none_or(|written| written < self.flushes.done.load(Ordering::SeqCst))
    }

    /// Makes all chunks durable that are written. Only for the holder of `committer`.
    pub(super) fn flush_chunks(&self) -> Result<()> {
        self.writable()?;
        let flush = self.flushes.begun.fetch_add(1, Ordering::SeqCst) + 1;
        self.kv
            .flush(Family::Chunks)
            .inspect_err(|_| self.poison())?;
        self.flushes.done.store(flush, Ordering::SeqCst);
        Ok(())
    }

    /// Starts a set of relied-on hashes.
    pub fn reliance(self: &Arc<Self>) -> Reliance {
        Reliance::new(Arc::clone(self), *self.generation.read())
    }

    /// Makes sure that the chunk with these plain bytes is in the store (or about to be): looks
    /// it up, else compresses and writes it (without WAL). Thread-safe.
    ///
    /// # Errors
    /// Too many bytes, a store that can't be written, or a reliance from before a reopening.
    pub fn put_chunk(&self, relied: &mut Reliance, plain: &[u8]) -> Result<Hash> {
        let hash = Hash::of(plain);
        self.put(relied, hash, plain, false)?;
        Ok(hash)
    }

    /// The same for a chunk list. (Its pieces must be relied on by the same Reliance, or by
    /// a committed list: pieces that are taken over from the version before.)
    ///
    /// # Errors
    /// As `put_chunk`.
    pub fn put_list(&self, relied: &mut Reliance, list: &ChunkList) -> Result<Hash> {
        let plain = value::pack_list(list);
        let hash = value::list_hash(&plain);
        self.put(relied, hash, &plain, true)?;
        Ok(hash)
    }

    fn put(&self, relied: &mut Reliance, hash: Hash, plain: &[u8], is_list: bool) -> Result<()> {
        let limit = limit(is_list);
        let plain_bytes = u32::try_from(plain.len())
            .ok()
            .filter(|bytes| *bytes <= limit)
            .ok_or(StoreError::TooLarge {
                bytes: plain.len() as u64,
                limit: limit.into(),
            })?;
        let generation = self.generation.read();
        if relied.generation != *generation {
            return Err(StoreError::Stale);
        }
        self.writable()?;
        let entry = relied.enter(hash);
        let mut slot = entry.slot.lock();
        if slot.is_some() {
            return Ok(());
        }
        if let Some(indexed) = self.index_entry(hash)? {
            *slot = Some(placed(&indexed));
            return Ok(());
        }
        let envelope = value::pack_chunk(plain);
        let number = self.new_chunk_number()?;
        let stored_bytes = u32::try_from(envelope.len()).map_err(|_| StoreError::TooLarge {
            bytes: envelope.len() as u64,
            limit: u64::from(u32::MAX),
        })?;
        let mut batch = Batch::default();
        batch.put(Family::Chunks, key::chunk(number), envelope);
        self.write(batch, Durability::NoWal)?;
        *slot = Some(Placed {
            number,
            stored_bytes,
            plain_bytes,
            is_list,
            fresh: true,
            written: Some(self.flushes.begun.load(Ordering::SeqCst)),
        });
        drop(slot);
        relied.new_plain_bytes += u64::from(plain_bytes);
        relied.new_bytes += u64::from(stored_bytes);
        Ok(())
    }

    /// Keeps an existing chunk or list from being pruned until the commit.
    /// Returns false if the store does not have it.
    ///
    /// # Errors
    /// A store that can't be read, or a reliance from before a reopening.
    pub fn rely(&self, relied: &mut Reliance, hash: Hash) -> Result<bool> {
        let generation = self.generation.read();
        if relied.generation != *generation {
            return Err(StoreError::Stale);
        }
        let entry = relied.enter(hash);
        let mut slot = entry.slot.lock();
        if slot.is_some() {
            return Ok(true);
        }
        if let Some(indexed) = self.index_entry(hash)? {
            *slot = Some(placed(&indexed));
            return Ok(true);
        }
        drop(slot);
        relied.leave(hash);
        Ok(false)
    }

    /// A list, also one that is not committed yet; `None`: the store does not have it.
    ///
    /// # Errors
    /// As `rely`, and a list that is damaged.
    pub fn list_of(&self, relied: &mut Reliance, hash: Hash) -> Result<Option<Arc<ChunkList>>> {
        let was_relied_on = relied.has(hash);
        if !self.rely(relied, hash)? {
            return Ok(None);
        }
        let placed = *relied.enter(hash).slot.lock();
        let list = placed.map(|placed| self.list_at(hash, placed.number));
        if !was_relied_on {
            relied.leave(hash);
        }
        list.transpose()
    }

    /// One less relies on a hash; a chunk that nobody committed goes with the last.
    pub(super) fn let_go(&self, hash: Hash, entry: &Arc<Entry>) {
        let Some(placed) = self.in_flight.leave(hash, entry) else {
            return;
        };
        let mut batch = Batch::default();
        batch.delete(Family::Chunks, key::chunk(placed.number));
        // If this fails the note of its block leads the next opening to it. In the log, so that it
        // is not lost where the removal of that note, which comes after it, is not.
        if self.write(batch, Durability::Unsynced).is_ok() {
            self.settle_chunk_number(placed.number);
        }
    }

    /// The newest index entry of a hash.
    pub(super) fn index_entry(&self, hash: Hash) -> Result<Option<IndexEntry>> {
        let key = key::index(hash);
        let bytes = self.kv.get(Family::Index, &key)?;
        bytes
            .map(|bytes| decode(Family::Index, &key, &bytes))
            .transpose()
    }

    /// A list that is in the index or in flight, verified.
    pub(super) fn list_at(&self, hash: Hash, number: ChunkNumber) -> Result<Arc<ChunkList>> {
        if let Some(Verified::List(list)) = self.cache.lock().get(hash) {
            return Ok(list);
        }
        let key = key::chunk(number);
        let envelope = self
            .kv
            .get(Family::Chunks, &key)?
            .ok_or(StoreError::Missing { hash })?;
        self.admit_list(hash, number, &envelope)
    }

    /// Verifies a chunk and keeps it.
    pub(super) fn admit_chunk(
        &self,
        hash: Hash,
        number: ChunkNumber,
        envelope: &[u8],
    ) -> Result<Arc<[u8]>> {
        let plain: Arc<[u8]> = open_chunk(hash, number, envelope, false)?.into();
        let verified = Verified::Data(Arc::clone(&plain));
        self.cache.lock().insert(hash, verified);
        Ok(plain)
    }

    /// Verifies a list and keeps it.
    pub(super) fn admit_list(
        &self,
        hash: Hash,
        number: ChunkNumber,
        envelope: &[u8],
    ) -> Result<Arc<ChunkList>> {
        let plain = open_chunk(hash, number, envelope, true)?;
        let list = value::unpack_list(&plain)
            .map_err(|source| corrupt(Family::Chunks, &key::chunk(number), source))?;
        let list = Arc::new(list);
        let verified = Verified::List(Arc::clone(&list));
        self.cache.lock().insert(hash, verified);
        Ok(list)
    }
}

fn limit(is_list: bool) -> u32 {
    if is_list {
        limits::LIST_PLAIN_MAX
    } else {
        limits::CHUNK_PLAIN_MAX
    }
}

fn placed(indexed: &IndexEntry) -> Placed {
    Placed {
        number: indexed.number,
        stored_bytes: indexed.stored_bytes,
        plain_bytes: indexed.plain_bytes,
        is_list: indexed.is_list,
        fresh: false,
        written: None,
    }
}

/// Whether a chunk that came from elsewhere is what its hash says.
pub fn holds_chunk(chunk: &RawChunk) -> bool {
    let number = ChunkNumber::default();
    open_chunk(chunk.hash, number, &chunk.envelope, chunk.is_list).is_ok()
}

/// The plain bytes of an envelope, if they are what the hash says.
pub(super) fn open_chunk(
    hash: Hash,
    number: ChunkNumber,
    envelope: &[u8],
    is_list: bool,
) -> Result<Vec<u8>> {
    let plain = value::unpack_chunk(envelope, limit(is_list))
        .map_err(|source| corrupt(Family::Chunks, &key::chunk(number), source))?;
    let found = if is_list {
        value::list_hash(&plain)
    } else {
        Hash::of(&plain)
    };
    if found != hash {
        return Err(StoreError::WrongHash { hash });
    }
    Ok(plain)
}
