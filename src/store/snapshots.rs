//! The list of snapshots: names given, changed and taken away, each change in one synced batch
//! with a line of who did it.

use super::kv::{Batch, Change, Durability};
use super::{Result, Store, StoreError, meta};
use crate::format::key::{self, Family};
use crate::format::record::Snapshot;
use crate::format::value;
use crate::limits;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;

/// What was done to the list of snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotAction {
    Made,
    Removed,
    Renamed {
        /// The new name.
        to: String,
    },
}

/// A line of the log of the list of snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotEvent {
    pub time: Timestamp,
    pub by_uid: u32,
    pub name: String,
    pub action: SnapshotAction,
}

impl Store {
    /// Gives a name to an epoch that exists.
    ///
    /// # Errors
    /// The name is taken, the epoch does not exist, or the store can't be written.
    pub fn put_snapshot(&self, name: &str, snapshot: &Snapshot) -> Result<()> {
        let _committer = self.committer.lock();
        let epoch = snapshot.epoch;
        if self.view().epoch(epoch)?.is_none() {
            return Err(StoreError::NoEpoch { epoch });
        }
        let mut batch = Batch::default();
        self.name_epoch(&mut batch, name, snapshot)?;
        self.write_list(batch, snapshot.by_uid, name, SnapshotAction::Made)
    }

    /// Takes a name away; its epoch stays, as a checkpoint.
    ///
    /// # Errors
    /// There is no such snapshot, it is held, or the store can't be written.
    pub fn remove_snapshot(&self, name: &str, by_uid: u32) -> Result<()> {
        let _committer = self.committer.lock();
        let snapshot = self.named(name)?;
        if snapshot.hold.is_some() {
            let name = name.to_owned();
            return Err(StoreError::Held { name });
        }
        let mut batch = Batch::default();
        batch.delete(Family::Snapshots, key::snapshot(name));
        self.write_list(batch, by_uid, name, SnapshotAction::Removed)
    }

    /// Gives a snapshot another name.
    ///
    /// # Errors
    /// There is no such snapshot, the new name is taken, or the store can't be written.
    pub fn rename_snapshot(&self, old: &str, new: &str, by_uid: u32) -> Result<()> {
        let _committer = self.committer.lock();
        let snapshot = self.named(old)?;
        let mut batch = Batch::default();
        self.name_epoch(&mut batch, new, &snapshot)?;
        batch.delete(Family::Snapshots, key::snapshot(old));
        let to = new.to_owned();
        self.write_list(batch, by_uid, old, SnapshotAction::Renamed { to })
    }

    /// The instant of the last change of the list of snapshots.
    pub fn snapshots_changed(&self) -> Timestamp {
        Timestamp(self.snapshots_changed.load(Ordering::SeqCst))
    }

    /// What was done to the list of snapshots, oldest first.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn snapshot_log(&self) -> Result<Vec<SnapshotEvent>> {
        let lines = self.view().numbered(meta::SNAPSHOT_LOG)?;
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    fn named(&self, name: &str) -> Result<Snapshot> {
        let name_owned = || name.to_owned();
        self.view()
            .snapshot(name)?
            .ok_or_else(|| StoreError::NoSnapshot { name: name_owned() })
    }

    /// Puts a name that is not taken.
    pub(super) fn name_epoch(
        &self,
        batch: &mut Batch,
        name: &str,
        snapshot: &Snapshot,
    ) -> Result<()> {
        if self.view().snapshot(name)?.is_some() {
            let name = name.to_owned();
            return Err(StoreError::NameTaken { name });
        }
        let bytes = value::pack(snapshot);
        batch.put(Family::Snapshots, key::snapshot(name), bytes);
        Ok(())
    }

    fn write_list(
        &self,
        mut batch: Batch,
        by_uid: u32,
        name: &str,
        action: SnapshotAction,
    ) -> Result<()> {
        let changed = self.note_list_change(&mut batch, by_uid, name, action);
        self.write(batch, Durability::Synced)?;
        self.list_changed(changed);
        Ok(())
    }

    /// Adds the line of the log; the answer is the instant of the change, later than any before.
    pub(super) fn note_list_change(
        &self,
        batch: &mut Batch,
        by_uid: u32,
        name: &str,
        action: SnapshotAction,
    ) -> Timestamp {
        let last = batch.changes.iter().rev().find_map(|change| match change {
            Change::Put(Family::Meta, key, _) => key::unpack_meta(meta::SNAPSHOT_LOG, key).ok(),
            _ => None,
        });
        let before = last.map_or(self.snapshots_changed(), |number| {
            Timestamp(i64::try_from(number).unwrap_or(i64::MAX))
        });
        let time = Timestamp::now().max(before.plus(limits::TIME_STEP));
        let event = SnapshotEvent {
            time,
            by_uid,
            name: name.to_owned(),
            action,
        };
        let number = u64::try_from(time.0).unwrap_or(0);
        batch.put(
            Family::Meta,
            key::meta(meta::SNAPSHOT_LOG, number),
            value::pack(&event),
        );
        batch.put(Family::Meta, meta::SNAPSHOTS_CHANGED, value::pack(&time));
        time
    }

    /// The change was written.
    pub(super) fn list_changed(&self, time: Timestamp) {
        self.snapshots_changed.store(time.0, Ordering::SeqCst);
    }
}
