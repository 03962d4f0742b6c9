//! Chunk numbers. They are handed out in blocks that are noted in `meta` before the first of them
//! is used, so that what a dead process wrote and nobody names is found again without a look at
//! the whole store. A note goes when each of its chunks is in the index or gone.

use super::Store;
use super::kv::{Batch, Durability};
use super::{Result, meta};
use crate::format::key::{self, Family};
use crate::format::record::{Content, InodeVersion};
use crate::format::value;
use crate::id::{ChunkNumber, Hash};
use crate::limits;
use std::collections::BTreeMap;

#[derive(Debug)]
struct Block {
    end: u64,
    /// Handed out, and neither in the index nor gone.
    outstanding: u64,
}

/// The blocks of this process.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// The next number, and the end of the block that it is in.
    next: u64,
    end: u64,
    open: BTreeMap<u64, Block>,
    /// Notes that can go with the next commit.
    retired: Vec<u64>,
}

impl Blocks {
    /// Numbers from `next` on were never used.
    pub fn starting_at(next: u64) -> Blocks {
        Blocks {
            next,
            end: next,
            ..Blocks::default()
        }
    }

    fn settle(&mut self, number: ChunkNumber) {
        let Some((&start, block)) = self.open.range_mut(..=number.0).next_back() else {
            return;
        };
        if number.0 >= block.end {
            return;
        }
        block.outstanding = block.outstanding.saturating_sub(1);
        self.retire(start);
    }

    fn retire(&mut self, start: u64) {
        let in_use =
            |block: &Block| block.outstanding > 0 || (self.next < block.end && start <= self.next);
        if self.open.get(&start).is_some_and(|block| !in_use(block)) {
            self.open.remove(&start);
            self.retired.push(start);
        }
    }

    /// A chunk leaves the index, but somebody still relies on it. Unless its block is still noted
    /// it becomes one of its own, to be noted in the same batch: then the answer is true.
    pub fn adopt(&mut self, number: ChunkNumber) -> bool {
        if let Some((_, block)) = self.open.range_mut(..=number.0).next_back()
            && number.0 < block.end
        {
            block.outstanding += 1;
            return false;
        }
        let block = Block {
            end: number.0 + 1,
            outstanding: 1,
        };
        self.open.insert(number.0, block);
        true
    }

    /// Notes that are not needed any more.
    pub fn take_retired(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.retired)
    }
}

/// The note of a block.
pub(super) fn note(batch: &mut Batch, start: u64, end: u64) {
    batch.put(
        Family::Meta,
        key::meta(meta::BLOCK, start),
        value::pack(&end),
    );
}

impl Store {
    /// A number that no chunk has or had.
    pub(super) fn new_chunk_number(&self) -> Result<ChunkNumber> {
        let mut blocks = self.blocks.lock();
        if blocks.next == blocks.end {
            let (start, end) = (blocks.end, blocks.end + limits::CHUNK_BLOCK);
            let mut batch = Batch::default();
            note(&mut batch, start, end);
            batch.put(Family::Meta, meta::NEXT_CHUNK, value::pack(&end));
            // Synced: a chunk that is flushed survives power loss, so its note must.
            self.write(batch, Durability::Synced)?;
            blocks.end = end;
            let block = Block {
                end,
                outstanding: 0,
            };
            blocks.open.insert(start, block);
        }
        let number = blocks.next;
        blocks.next += 1;
        if let Some((_, block)) = blocks.open.range_mut(..=number).next_back() {
            block.outstanding += 1;
        }
        Ok(ChunkNumber(number))
    }

    /// The chunk is in the index, or gone.
    pub(super) fn settle_chunk_number(&self, number: ChunkNumber) {
        self.blocks.lock().settle(number);
    }

    /// At opening: removes the chunks of noted blocks that no index entry names, then the notes.
    pub(super) fn sweep_blocks(&self) -> Result<()> {
        if self.is_index_lost()? {
            log::error!("the index of the store is lost: see verify --repair");
            return Ok(());
        }
        let snapshot = self.kv.snapshot()?;
        let prefix = key::meta_prefix(meta::BLOCK);
        let mut notes = snapshot.scan(Family::Meta, &prefix, &key::after_prefix(&prefix))?;
        let mut done = Batch::default();
        while let Some((note, bytes)) = notes.item() {
            let start = key::unpack_meta(meta::BLOCK, note)?;
            let end: ChunkNumber = super::view::decode(Family::Meta, note, bytes)?;
            self.sweep_block(ChunkNumber(start), end)?;
            done.delete(Family::Meta, note);
            notes.step()?;
        }
        if done.changes.is_empty() {
            return Ok(());
        }
        self.write(done, Durability::Synced)
    }

    /// Whether there is no index though there is content: then what it does not name is no garbage.
    fn is_index_lost(&self) -> Result<bool> {
        let snapshot = self.kv.snapshot()?;
        match snapshot.scan(Family::Index, &[], &[]) {
            Ok(index) if index.item().is_some() => return Ok(false),
            Ok(_) => {}
            Err(error) if error.is_damage() => return Ok(true),
            Err(error) => return Err(error),
        }
        let mut inodes = snapshot.scan(Family::Inodes, &[], &[])?;
        while let Some((_, bytes)) = inodes.item() {
            if let Ok(InodeVersion::Present(inode)) = value::unpack(bytes)
                && matches!(inode.content, Content::Chunk(_) | Content::List(_))
            {
                return Ok(true);
            }
            inodes.step()?;
        }
        Ok(false)
    }

    fn sweep_block(&self, start: ChunkNumber, end: ChunkNumber) -> Result<()> {
        let snapshot = self.kv.snapshot()?;
        let from = key::chunk(start);
        let until = key::chunk(end);
        let mut chunks = snapshot.scan(Family::Chunks, &from, &until)?;
        let mut garbage = Batch::default();
        while let Some((key, envelope)) = chunks.item() {
            let number = key::unpack_chunk(key)?;
            if !self.is_indexed(number, envelope)? {
                garbage.delete(Family::Chunks, key);
            }
            chunks.step()?;
        }
        if garbage.changes.is_empty() {
            return Ok(());
        }
        self.write(garbage, Durability::Unsynced)
    }

    /// Whether the index names this very chunk. One that can't be read, or whose entry can't, is left
    /// for verify.
    fn is_indexed(&self, number: ChunkNumber, envelope: &[u8]) -> Result<bool> {
        let Ok(plain) = value::unpack_chunk(envelope, limits::LIST_PLAIN_MAX) else {
            return Ok(true);
        };
        for hash in [Hash::of(&plain), value::list_hash(&plain)] {
            match self.index_entry(hash) {
                Ok(entry) if entry.is_some_and(|entry| entry.number == number) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.is_damage() => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}
