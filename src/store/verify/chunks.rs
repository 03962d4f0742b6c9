//! Chunks, the index and the references.

use super::super::chunks::open_chunk;
use super::super::view::{corrupt, decode};
use super::super::{Result, StoreError, meta};
use super::{Problem, Verify};
use crate::format::key::{self, Family};
use crate::format::record::{IndexEntry, Piece};
use crate::format::value;
use crate::id::{ChunkNumber, Hash};
use crate::limits;

impl Verify<'_> {
    /// What the index names.
    pub fn named(&mut self) {
        self.each(Family::Index, |verify, key, bytes| {
            let hash = key::unpack_index(key)?;
            let number = decode::<IndexEntry>(Family::Index, key, bytes)?.number;
            verify.entries += 1;
            // Two names for one chunk, or a number that no chunk can have.
            if !verify.named.insert(number) {
                verify.problem(Problem::Chunk { hash, number });
            }
            Ok(())
        });
    }

    pub fn chunks(&mut self) {
        let blocks: Vec<(u64, u64)> = match self.store_view.numbered(meta::BLOCK) {
            Ok(blocks) => blocks,
            Err(error) => return self.problem(error),
        };
        let in_block = |number: u64| {
            blocks
                .iter()
                .any(|(start, end)| (*start..*end).contains(&number))
        };
        self.each(Family::Chunks, |verify, key, envelope| {
            let number = key::unpack_chunk(key)?;
            verify.report.read.chunks += 1;
            verify.report.read.chunk_bytes += envelope.len() as u64;
            if !verify.named.has(number) {
                if !in_block(number.0) {
                    verify.report.unnamed += 1;
                    verify.problem(Problem::Unnamed { number });
                }
            } else if !verify.depth.hashes(number) || verify.name_of(number, envelope)?.is_some() {
                verify.good.insert(number);
            }
            Ok(())
        });
    }

    /// The name of a chunk, if its bytes have one in the index that leads to it.
    fn name_of(&self, number: ChunkNumber, envelope: &[u8]) -> Result<Option<Hash>> {
        let Ok(plain) = value::unpack_chunk(envelope, limits::LIST_PLAIN_MAX) else {
            return Ok(None);
        };
        let names = [(Hash::of(&plain), false), (value::list_hash(&plain), true)];
        for (hash, is_list) in names {
            let entry = self.store_view.index_entry(hash)?;
            let is_it = |entry: IndexEntry| {
                entry.number == number
                    && entry.is_list == is_list
                    && entry.stored_bytes as usize == envelope.len()
                    && entry.plain_bytes as usize == plain.len()
            };
            if entry.is_some_and(is_it) {
                return Ok(Some(hash));
            }
        }
        Ok(None)
    }

    /// That what the index names is there.
    pub fn index(&mut self) {
        self.each(Family::Index, |verify, key, bytes| {
            let hash = key::unpack_index(key)?;
            let entry: IndexEntry = decode(Family::Index, key, bytes)?;
            let number = entry.number;
            if !verify.good.has(number) && !verify.is_there(hash, number) {
                verify.is_unreadable(hash);
                verify.problem(Problem::Chunk { hash, number });
            }
            Ok(())
        });
    }

    /// Looks again for one chunk by itself: a walk ends at a damaged block, and what lies behind
    /// that must not pass for damaged too.
    fn is_there(&mut self, hash: Hash, number: ChunkNumber) -> bool {
        let envelope = self.store_view.raw(Family::Chunks, &key::chunk(number));
        let Ok(Some(envelope)) = envelope else {
            return false;
        };
        let is_it = matches!(self.name_of(number, &envelope), Ok(Some(name)) if name == hash);
        if is_it {
            self.good.insert(number);
        }
        is_it
    }

    /// Counts the pieces of all lists that fall into this part.
    pub fn lists(&mut self) {
        self.each(Family::Index, |verify, key, bytes| {
            let hash = key::unpack_index(key)?;
            let entry: IndexEntry = decode(Family::Index, key, bytes)?;
            if !entry.is_list || !verify.good.has(entry.number) {
                return Ok(());
            }
            match verify.list(hash, entry.number) {
                Err(error) if verify.part.is_first() => {
                    verify.is_unreadable(hash);
                    Err(error)
                }
                _ => Ok(()),
            }
        });
    }

    /// Counts the pieces of a list, which must be there.
    fn list(&mut self, hash: Hash, number: ChunkNumber) -> Result<()> {
        let key = key::chunk(number);
        let envelope = self
            .store_view
            .raw(Family::Chunks, &key)?
            .ok_or(StoreError::Missing { hash })?;
        let plain = open_chunk(hash, number, &envelope, true)?;
        let list =
            value::unpack_list(&plain).map_err(|source| corrupt(Family::Chunks, &key, source))?;
        for piece in list.pieces {
            if let Piece::Data { hash: piece, .. } = piece {
                self.count(piece);
                if self.part.is_first() && !self.is_readable(piece)? {
                    self.is_unreadable(hash);
                }
            }
        }
        Ok(())
    }

    /// Content or a list names a hash.
    pub fn count(&mut self, hash: Hash) {
        if self.part.has(hash) {
            *self.counted.entry(hash).or_default() += 1;
        }
    }

    pub fn is_readable(&mut self, hash: Hash) -> Result<bool> {
        if self.unreadable.contains(&hash) {
            return Ok(false);
        }
        Ok(self.store_view.index_entry(hash)?.is_some())
    }

    pub fn references(&mut self) {
        if self.stopped {
            return;
        }
        let mut counted = std::mem::take(&mut self.counted);
        self.each(Family::Index, |verify, key, bytes| {
            let hash = key::unpack_index(key)?;
            if !verify.part.has(hash) {
                return Ok(());
            }
            let entry: IndexEntry = decode(Family::Index, key, bytes)?;
            let counted = counted.remove(&hash).unwrap_or(0);
            let found = entry.refs;
            // The pieces of a list that can't be read can't be counted.
            let sure = verify.unreadable.is_empty() || (entry.is_list && !verify.report.blind);
            if found != counted && sure || counted > found {
                verify.problem(Problem::References {
                    hash,
                    found,
                    counted,
                });
            }
            Ok(())
        });
        for (hash, counted) in counted {
            let found = 0;
            self.problem(Problem::References {
                hash,
                found,
                counted,
            });
        }
    }
}
