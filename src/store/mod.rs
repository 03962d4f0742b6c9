//! The store: every recorded state of a working directory, as records in a database and chunks
//! named by their hash. Typed: callers see records and epochs, never keys or bytes. It knows
//! nothing of the live directory, of users or of time but what it is told.
//!
//! 1. A value is written before, or with, what names it: chunks are written without WAL, and are
//!    flushed before the batch that commits their names, or if they are few written again in it.
//!    An epoch is one batch.
//! 2. A hash is relied on only if it is in the index with references, or in flight; who relies on
//!    one says so before looking it up.
//! 3. Only the holder of `committer` writes records of epochs, counts references or prunes.
//! 4. Records of a sealed epoch are never changed; prune and purge remove or merge them.
//! 5. After a failed write nothing is written any more until `reopen`.
//!
//! Locks, in the order in which they may be taken: `pruning`, `committer`, `pins`, `generation`, a slot in flight
//! (several only by the holder of `committer`), then `blocks`, `ids`, `cache` and the table in
//! flight, one at a time.

mod alarms;
mod blocks;
mod cache;
mod chunks;
mod commit;
mod cut;
mod drills;
mod error;
mod export;
pub mod faulty;
mod filling;
mod first;
mod folder;
mod gaps;
mod hints;
mod hooks;
mod ids;
mod import;
mod inflight;
pub mod kv;
mod left_out;
mod line;
pub mod memory;
mod mended;
mod meta;
mod open;
mod over_time;
mod prune;
pub mod purge;
mod rebuild;
mod reclaim;
mod refs;
pub mod repair;
mod replicas;
mod rocks;
mod runs;
mod salvage;
mod scan;
mod schedules;
pub mod scrub;
mod snapshot_log;
mod snapshots;
#[cfg(test)]
mod tests;
mod unsettled;
mod verify;
mod view;
mod watched;
mod weigh;
mod weigh_each;
mod wipe;

use crate::format::keeping::Unsettled;
use crate::format::key;
use crate::format::record::*;
use crate::id::*;
use crate::limits;
use crate::time::Timestamp;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

pub use chunks::holds_chunk;
pub use error::StoreError;
pub use export::Export;
pub use filling::Marks;
pub use import::Received;
pub use inflight::Reliance;
pub use prune::{Kept, Pin, Pruned};
pub use snapshot_log::{SnapshotAction, SnapshotEvent};
pub use verify::{Depth, Problem, Progress, Report};
pub use view::{Name, View};
pub use weigh::Weights;
pub use weigh_each::SnapshotWeight;

/// What a store answers.
pub type Result<T> = std::result::Result<T, StoreError>;

/// How much memory a store may take, and how much it does at once.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Verified chunks and lists, bytes.
    pub chunk_cache: usize,
    /// Blocks of the database, bytes.
    pub block_cache: usize,
    /// Records that the database has not written out yet, bytes.
    pub write_buffers: usize,
    /// Lines of change that a prune works off in one batch.
    pub prune_lines: usize,
    /// A database that does not open is built anew from what can be read of it.
    pub salvage: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            chunk_cache: limits::CHUNK_CACHE,
            block_cache: limits::BLOCK_CACHE,
            write_buffers: limits::WRITE_BUFFERS,
            prune_lines: limits::PRUNE_LINES,
            salvage: false,
        }
    }
}

/// All records of an epoch (or, without `record`, some facts of a scan under way), written as one
/// synced batch.
#[derive(Debug, Default)]
pub struct Commit {
    pub epoch: Epoch,
    pub inodes: Vec<(FileId, InodeVersion)>,
    pub dirents: Vec<(FileId, Vec<u8>, Dirent)>,
    /// A line that is missing for one of the above is added, without actors.
    pub changes: Vec<(FileId, Change)>,
    pub actors: Vec<(ActorId, Actor)>,
    /// By backing inode number; `None` forgets it.
    pub live: Vec<(u64, Option<LiveEntry>)>,
    /// The epoch itself with its time and the wall clock; `None` for facts of a scan. A time that
    /// is not after that of the epoch before is corrected. An epoch that waits may be written
    /// again, with new statistics; it keeps its time.
    pub record: Option<(EpochRecord, Timestamp, Timestamp)>,
    /// Names to give to this epoch, in the same batch.
    pub snapshots: Vec<(String, Snapshot)>,
    /// What was relied on: given back when the commit is through, or has failed.
    pub reliances: Vec<Reliance>,
    /// What was destroyed before it was old enough to be recorded.
    pub unsettled: Unsettled,
}

/// A store that is open: the only one of this process, and this process the only one.
pub struct Store {
    // Before `folder`: the database reaches its files through the folder's descriptor.
    kv: Arc<dyn kv::Kv>,
    folder: Option<folder::Folder>,
    options: StoreOptions,
    committer: Mutex<commit::Committer>,
    /// Number of times the store was reopened. Whoever writes chunks holds it for reading.
    generation: RwLock<u64>,
    in_flight: inflight::InFlight,
    blocks: Mutex<blocks::Blocks>,
    ids: Mutex<ids::Ids>,
    cache: Mutex<cache::Cache>,
    /// Epochs that are not to be pruned, and how often each is pinned.
    pins: Mutex<HashMap<Epoch, u64>>,
    /// The turn to prune: an epoch may take many batches, between which others commit.
    pruning: Mutex<()>,
    flushes: chunks::Flushes,
    freed: Mutex<reclaim::Freed>,
    /// Lines in the log of the list of snapshots.
    log_lines: std::sync::atomic::AtomicU64,
    poisoned: AtomicBool,
    /// See `filling.rs`.
    filling: AtomicBool,
    /// The time without history that lasts.
    gap: Mutex<Option<Gap>>,
    calls: Arc<watched::Calls>,
    snapshots_changed: AtomicI64,
    /// Who is told when what is listed may be something else.
    list_watcher: RwLock<Option<ListWatcher>>,
    /// See `alarms.rs`.
    alarm: std::sync::atomic::AtomicU64,
    /// Why its database was built anew when it was opened, until a repair tells.
    salvaged: Mutex<Option<StoreError>>,
}

/// Who keeps a listing of the snapshots; called by whoever changed it, so it must not wait for the
/// store.
pub type ListWatcher = Box<dyn Fn() + Send + Sync>;

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("kv", &self.kv)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Bytes that will take space when they are written out, about.
    pub fn unwritten_bytes(&self) -> u64 {
        self.kv.unwritten_bytes()
    }

    /// A consistent picture of the store; to be kept only for a request.
    pub fn view(&self) -> View<'_> {
        View::new(self)
    }

    /// Whether a write has failed, so that nothing is written any more until `reopen`.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Something was wrong with the store: nothing is written any more until `reopen`.
    pub fn distrust(&self) {
        self.poison();
    }

    /// How many places of the database were looked for, from the beginning.
    #[cfg(test)]
    pub fn seeks(&self) -> u64 {
        self.calls.seeks()
    }

    /// How long the oldest call under way has not been answered.
    pub fn longest_call(&self) -> std::time::Duration {
        self.calls.longest()
    }

    fn writable(&self) -> Result<()> {
        if self.is_poisoned() {
            return Err(StoreError::Poisoned);
        }
        Ok(())
    }

    /// The one way to the database's `write`: a failure poisons.
    fn write(&self, batch: kv::Batch, durability: kv::Durability) -> Result<()> {
        self.writable()?;
        let lists =
            |family: &key::Family| matches!(family, key::Family::Epochs | key::Family::Snapshots);
        let is_listed = batch.changes.iter().any(|change| match change {
            kv::Change::Put(family, ..) | kv::Change::Delete(family, _) => lists(family),
        });
        self.kv
            .write(batch, durability)
            .inspect_err(|_| self.poison())?;
        if is_listed {
            self.tell_list_watcher();
        }
        Ok(())
    }

    fn poison(&self) {
        self.poisoned
            .store(true, std::sync::atomic::Ordering::SeqCst);
    }
}
