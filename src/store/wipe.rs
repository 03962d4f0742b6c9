//! What was purged goes from the files too: the log of the database, and the files that hold the
//! chunks, are written anew until nothing is left of it. Where that is, stands in a note from the
//! batch that purges until it is done, so that it is done by the next process if not by this one.

use super::kv::{Batch, Durability};
use super::{Result, Store, meta};
use crate::format::key::{self, Family};
use crate::format::value;
use crate::id::ChunkNumber;
use crate::limits;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often it is looked whether the last one who reads has gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Store {
    /// Notes that chunks go with a batch. Only for the holder of `committer`.
    pub(super) fn note_wiping(
        &self,
        batch: &mut Batch,
        dying: impl Iterator<Item = ChunkNumber>,
    ) -> Result<()> {
        let mut pieces: BTreeSet<u64> = self.meta(meta::WIPING)?.unwrap_or_default();
        pieces.extend(dying.map(|number| number.0 - number.0 % limits::CHUNK_BLOCK));
        if !pieces.is_empty() {
            batch.put(Family::Meta, meta::WIPING, value::pack(&pieces));
        }
        Ok(())
    }

    /// The same for who does not purge, if it is owed: at once, or the next time.
    pub(super) fn finish_wipe(&self, go_on: &dyn Fn() -> bool) -> Result<()> {
        if self.kv.get(Family::Meta, meta::WIPING)?.is_none() {
            return Ok(());
        }
        // A purge meanwhile would add to what is owed.
        let _turn = self.pruning.lock();
        self.wipe(Duration::ZERO, go_on).map(drop)
    }

    /// Writes anew what holds something that was purged. For the holder of `pruning`. False: somebody reads the store as it was
    /// before, and did not end within `wait`; the note stays.
    ///
    /// # Errors
    /// A store that can't be read or written.
    pub(super) fn wipe(&self, wait: Duration, go_on: &dyn Fn() -> bool) -> Result<bool> {
        let Some(pieces) = self.meta::<BTreeSet<u64>>(meta::WIPING)? else {
            return Ok(true);
        };
        if !self.readers_leave(wait, go_on)? {
            return Ok(false);
        }
        for family in Family::ALL {
            self.kv.flush(family)?;
        }
        for piece in &pieces {
            if !go_on() {
                return Ok(false);
            }
            let from = key::chunk(ChunkNumber(*piece));
            let until = key::chunk(ChunkNumber(piece + limits::CHUNK_BLOCK));
            self.kv.wipe(Family::Chunks, &from, &until)?;
            self.freed.lock().forget(*piece);
        }
        let _committer = self.committer.lock();
        let mut batch = Batch::default();
        batch.delete(Family::Meta, meta::WIPING);
        self.write(batch, Durability::Synced)?;
        Ok(true)
    }

    /// Waits until nobody reads the store any more as it was before now. False: somebody does.
    pub(super) fn readers_leave(&self, wait: Duration, go_on: &dyn Fn() -> bool) -> Result<bool> {
        let mark = self.kv.mark();
        let until = Instant::now() + wait;
        while self.kv.is_seen_before(mark)? {
            if Instant::now() >= until || !go_on() {
                return Ok(false);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(true)
    }
}
