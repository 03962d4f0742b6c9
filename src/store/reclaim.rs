//! Space comes back. What is removed from the database is only marked: its bytes go when the files
//! that hold them are written anew. The database does that by itself in its own time; here it is
//! done where enough was removed to be worth it.
//!
//! Chunks lie in the order of their numbers, and what one epoch added lies together. So the
//! numbers are looked at in pieces, each of which is written anew by itself: the disk needs room
//! for one piece more, not for the whole store.

use super::{Result, Store};
use crate::format::key::{self, Family};
use crate::id::ChunkNumber;
use crate::limits;
use std::collections::BTreeMap;
use std::time::Duration;

/// For how long those who read are waited for.
const READERS_WAIT: Duration = Duration::from_secs(1);

/// What was removed since its space was given back; known to this process only.
#[derive(Debug, Default)]
pub(super) struct Freed {
    /// By the first number of a piece of `limits::CHUNK_BLOCK`.
    chunks: BTreeMap<u64, Piece>,
    /// Records of other families.
    records: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Piece {
    /// Stored bytes that were removed.
    bytes: u64,
    /// When it was its turn somebody still read the store as it was. The database may have laid to rest meanwhile
    /// what is gone together with what says so; then only writing all of it anew finds that.
    waited: bool,
}

impl Freed {
    /// A piece was written anew.
    pub(super) fn forget(&mut self, piece: u64) {
        self.chunks.remove(&piece);
    }
}

/// Families of which a prune removes records.
const RECORDS: [Family; 5] = [
    Family::Inodes,
    Family::Dirents,
    Family::Changes,
    Family::Index,
    Family::Epochs,
];

impl Store {
    /// A chunk was removed.
    pub(super) fn note_freed(&self, number: ChunkNumber, stored_bytes: u32) {
        let piece = number.0 - number.0 % limits::CHUNK_BLOCK;
        let mut freed = self.freed.lock();
        freed.chunks.entry(piece).or_default().bytes += u64::from(stored_bytes);
    }

    /// Records were removed.
    pub(super) fn note_removed(&self, records: u64) {
        self.freed.lock().records += records;
    }

    /// Gives space back: of the pieces of chunks of which enough was removed, and of the other
    /// records when enough of them were. `all`: of everything that anything was removed from.
    /// `go_on` is asked between the pieces; the answer is the number of those written anew. What somebody still
    /// reads as it was comes back the next time.
    ///
    /// # Errors
    /// A store that can't be read or written.
    pub fn reclaim(&self, all: bool, go_on: &dyn Fn() -> bool) -> Result<u64> {
        // What a purge could not see to, or did not live to.
        self.finish_wipe(go_on)?;
        let (pieces, records) = {
            let freed = self.freed.lock();
            (freed.chunks.clone(), freed.records)
        };
        let mut done = 0;
        let is_free = pieces.is_empty() || self.readers_leave(READERS_WAIT, go_on)?;
        for (piece, Piece { bytes, waited }) in pieces {
            if !go_on() {
                return Ok(done);
            }
            let from = key::chunk(ChunkNumber(piece));
            let until = key::chunk(ChunkNumber(piece + limits::CHUNK_BLOCK));
            let size = self.kv.bytes_between(Family::Chunks, &from, &until)?;
            if !all && bytes < size / 100 * limits::RECLAIM_PERCENT {
                continue;
            }
            if !is_free {
                let mut freed = self.freed.lock();
                freed.chunks.entry(piece).or_default().waited = true;
                continue;
            }
            match waited {
                true => self.kv.wipe(Family::Chunks, &from, &until)?,
                false => self.kv.reclaim(Family::Chunks, &from, &until)?,
            }
            self.freed.lock().chunks.remove(&piece);
            done += 1;
        }
        if records >= limits::RECLAIM_RECORDS || (all && records > 0) {
            for family in RECORDS {
                if !go_on() {
                    return Ok(done);
                }
                self.kv.reclaim(family, &[], &[])?;
                done += 1;
            }
            self.freed.lock().records = 0;
        }
        Ok(done)
    }
}
