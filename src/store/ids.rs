//! Ids that are never given twice: of files, actors and snapshots.

use super::kv::{Batch, Durability};
use super::{Result, Store, meta};
use crate::format::key::Family;
use crate::format::value;
use crate::id::{ActorId, FileId, SnapshotId};
use crate::limits;

/// The ids of one kind that are handed out from memory.
#[derive(Debug)]
struct Range {
    name: &'static [u8],
    next: u64,
    /// All below are noted as used.
    end: u64,
}

/// What is handed out next, of each kind.
#[derive(Debug)]
pub(super) struct Ids {
    files: Range,
    actors: Range,
    snapshots: Range,
}

impl Store {
    /// Reads where the processes before have ended.
    pub(super) fn load_ids(&self) -> Result<()> {
        let range = |name: &'static [u8], next: Option<u64>, first: u64| {
            let next = next.unwrap_or(first);
            let end = next;
            Range { name, next, end }
        };
        let files = self.meta::<FileId>(meta::NEXT_FILE)?.map(u64::from);
        let actors = self.meta::<ActorId>(meta::NEXT_ACTOR)?.map(u64::from);
        let snapshots = self.meta::<SnapshotId>(meta::NEXT_SNAPSHOT)?;
        let snapshots = snapshots.map(u64::from);
        *self.ids.lock() = Ids {
            files: range(meta::NEXT_FILE, files, FileId::ROOT.0 + 1),
            actors: range(meta::NEXT_ACTOR, actors, 1),
            snapshots: range(meta::NEXT_SNAPSHOT, snapshots, 1),
        };
        Ok(())
    }

    fn take(&self, which: impl Fn(&mut Ids) -> &mut Range) -> Result<u64> {
        let mut ids = self.ids.lock();
        let range = which(&mut ids);
        if range.next == range.end {
            let end = range.end + limits::ID_BLOCK;
            let mut batch = Batch::default();
            batch.put(Family::Meta, range.name, value::pack(&end));
            // Not synced: what would use an id is written behind this in the same log, and lost
            // with it.
            self.write(batch, Durability::Unsynced)?;
            range.end = end;
        }
        let id = range.next;
        range.next += 1;
        Ok(id)
    }

    /// Hands out ids, never twice, also after a crash (blocks in `meta`).
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn new_file_id(&self) -> Result<FileId> {
        self.take(|ids| &mut ids.files).map(FileId)
    }

    /// An id for an actor.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn new_actor_id(&self) -> Result<ActorId> {
        self.take(|ids| &mut ids.actors).map(ActorId)
    }

    /// An id for a snapshot.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn new_snapshot_id(&self) -> Result<SnapshotId> {
        self.take(|ids| &mut ids.snapshots).map(SnapshotId)
    }
}

impl Default for Ids {
    fn default() -> Self {
        let range = |name| Range {
            name,
            next: u64::MAX,
            end: u64::MAX,
        };
        Ids {
            files: range(meta::NEXT_FILE),
            actors: range(meta::NEXT_ACTOR),
            snapshots: range(meta::NEXT_SNAPSHOT),
        }
    }
}
