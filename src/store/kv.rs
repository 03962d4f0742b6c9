//! The database behind the store, as narrow as it can be: get, scan, write a batch, flush. So it
//! can be RocksDB, a map in memory, or one that fails or dies when a test says so.
//!
//! A snapshot sees exactly the writes that had returned before it was taken.

use super::Result;
use crate::format::key::Family;
use std::fmt;

/// How sure a write is when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It survives power loss, and with it every write before it but those with `NoWal`.
    Synced,
    /// It survives the end of the process.
    Unsynced,
    /// It survives nothing before its family is flushed.
    NoWal,
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Put(Family, Vec<u8>, Vec<u8>),
    Delete(Family, Vec<u8>),
}

/// Changes that are written together or not at all; later ones win over earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub changes: Vec<Change>,
}

impl Batch {
    /// Writes a record, over what stands there.
    pub fn put(&mut self, family: Family, key: impl Into<Vec<u8>>, value: Vec<u8>) {
        self.changes.push(Change::Put(family, key.into(), value));
    }

    /// Removes a record, if there is one.
    pub fn delete(&mut self, family: Family, key: impl Into<Vec<u8>>) {
        self.changes.push(Change::Delete(family, key.into()));
    }
}

/// A database of the families of `format::key`.
pub trait Kv: Send + Sync + fmt::Debug {
    /// The newest value under a key.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// A consistent picture of all families.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>>;
    /// All of a batch, or nothing.
    fn write(&self, batch: Batch, durability: Durability) -> Result<()>;
    /// Makes all that was written to a family survive power loss.
    fn flush(&self, family: Family) -> Result<()>;
    /// Closes the database and opens it again. Waits for snapshots to be dropped.
    fn reopen(&self) -> Result<()>;
    /// Writes all that can be read into a new database, which takes the place of this one. To be
    /// called when nobody else reads or writes.
    fn rebuild(&self) -> Result<()> {
        Ok(())
    }
    /// Bytes that a family takes on disk, about.
    fn stored_bytes(&self, family: Family) -> Result<u64>;
    /// Bytes in memory that will take space on disk when they are written out, about.
    fn unwritten_bytes(&self) -> u64 {
        0
    }
    /// Bytes in the log, which is read when it is opened, about.
    fn log_bytes(&self) -> u64 {
        0
    }
    /// Bytes that the files of a family take for the keys from `from` up to `until`, about.
    fn bytes_between(&self, family: Family, from: &[u8], until: &[u8]) -> Result<u64>;
    /// Gives back the space of what was removed from `from` up to `until` (empty: to the end).
    fn reclaim(&self, family: Family, from: &[u8], until: &[u8]) -> Result<()>;
    /// The same, however little that is: afterwards no file holds what was removed before and no
    /// snapshot shows.
    fn wipe(&self, family: Family, from: &[u8], until: &[u8]) -> Result<()> {
        self.reclaim(family, from, until)
    }
    /// A mark behind the writes that have returned.
    fn mark(&self) -> u64 {
        0
    }
    /// Whether a snapshot from before a mark is still held.
    fn is_seen_before(&self, _mark: u64) -> Result<bool> {
        Ok(false)
    }
}

/// A record, owned.
pub type Record = (Vec<u8>, Vec<u8>);

/// A consistent picture of a database.
pub trait Snapshot: Send {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// The records from `from` up to, not including, `until` (empty: to the end), forwards.
    fn scan(&self, family: Family, from: &[u8], until: &[u8]) -> Result<Box<dyn Scan + '_>>;
    /// The last record from `from` up to, not including, `until` (empty: to the end).
    fn last(&self, family: Family, from: &[u8], until: &[u8]) -> Result<Option<Record>>;
}

/// A position in a family.
pub trait Scan {
    /// Key and value here; `None` past the end.
    fn item(&self) -> Option<(&[u8], &[u8])>;
    /// To the next record.
    fn step(&mut self) -> Result<()>;
    /// To the first record whose key is not less than `key`; never to before the scan's start.
    fn seek(&mut self, key: &[u8]) -> Result<()>;
}
