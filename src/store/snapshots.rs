//! The list of snapshots: names given, changed, held and taken away, each change in one synced
//! batch with a line of who did it (`snapshot_log.rs`).
//!
//! A name that is taken away leaves a note, by which it can be given back as long as its epoch is
//! kept. A hold that has an end ends then, and not before.

use super::kv::{Batch, Durability};
use super::snapshot_log::SnapshotAction;
use super::view::View;
use super::{ListWatcher, Result, Store, StoreError, meta};
use crate::format::keeping::Deleted;
use crate::format::key::{self, Family};
use crate::format::record::{Hold, Snapshot, SnapshotMode};
use crate::format::value;
use crate::id::Epoch;
use crate::limits;
use crate::time::Timestamp;
use std::sync::atomic::Ordering;

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

    /// Takes a name away; its epoch stays, as a checkpoint, with a note that gives the name back.
    ///
    /// # Errors
    /// There is no such snapshot, it is held, or the store can't be written.
    pub fn remove_snapshot(&self, name: &str, by_uid: u32) -> Result<()> {
        let _committer = self.committer.lock();
        let snapshot = self.named(name)?;
        let time = Timestamp::now();
        if snapshot.hold.as_ref().is_some_and(|hold| hold.holds(time)) {
            let name = name.to_owned();
            return Err(StoreError::Held { name });
        }
        let mut batch = Batch::default();
        batch.delete(Family::Snapshots, key::snapshot(name));
        self.forget_old_deleted(&mut batch, time)?;
        let id = snapshot.id.0;
        let deleted = Deleted {
            name: name.to_owned(),
            snapshot,
            time,
            by_uid,
        };
        let key = key::meta(meta::DELETED, id);
        batch.put(Family::Meta, key, value::pack(&deleted));
        self.write_list(batch, by_uid, name, SnapshotAction::Removed)
    }

    /// Gives the name back that was last taken away under this name.
    ///
    /// # Errors
    /// There is none whose epoch is kept, the name is taken, or the store can't be written.
    pub fn undelete_snapshot(&self, name: &str, by_uid: u32) -> Result<()> {
        let _committer = self.committer.lock();
        let view = self.view();
        let all = view.deleted()?.into_iter();
        let last = all
            .filter(|deleted| deleted.name == name)
            .max_by_key(|deleted| deleted.time);
        let not_deleted = || StoreError::NotDeleted {
            name: name.to_owned(),
        };
        let deleted = last.ok_or_else(not_deleted)?;
        if view.epoch(deleted.snapshot.epoch)?.is_none() {
            return Err(not_deleted());
        }
        let mut batch = Batch::default();
        self.name_epoch(&mut batch, name, &deleted.snapshot)?;
        let id = deleted.snapshot.id.0;
        batch.delete(Family::Meta, key::meta(meta::DELETED, id));
        self.write_list(batch, by_uid, name, SnapshotAction::Undeleted)
    }

    /// Holds a snapshot: it can't be deleted. One that is held until a day can only be held longer.
    ///
    /// # Errors
    /// There is no such snapshot, the hold would end sooner, or the store can't be written.
    pub fn hold_snapshot(&self, name: &str, hold: Hold) -> Result<()> {
        let _committer = self.committer.lock();
        let mut snapshot = self.named(name)?;
        if let Some(until) = snapshot.dated_hold()
            && hold.until.is_none_or(|new| new < until)
        {
            let name = name.to_owned();
            return Err(StoreError::HeldUntil { name, until });
        }
        let action = SnapshotAction::Held {
            until: hold.until,
            reason: hold.reason.clone(),
        };
        let by_uid = hold.by_uid;
        snapshot.hold = Some(hold);
        let mut batch = Batch::default();
        let bytes = value::pack(&snapshot);
        batch.put(Family::Snapshots, key::snapshot(name), bytes);
        self.write_list(batch, by_uid, name, action)
    }

    /// Ends a hold that has no end of its own, and says why.
    ///
    /// # Errors
    /// There is no such snapshot, it is not held, its hold has an end that has not come, or the
    /// store can't be written.
    pub fn release_snapshot(&self, name: &str, reason: &str, by_uid: u32) -> Result<()> {
        let _committer = self.committer.lock();
        let mut snapshot = self.named(name)?;
        let name_owned = || name.to_owned();
        if let Some(until) = snapshot.dated_hold() {
            let name = name_owned();
            return Err(StoreError::HeldUntil { name, until });
        }
        if snapshot.hold.take().is_none() {
            return Err(StoreError::NotHeld { name: name_owned() });
        }
        let mut batch = Batch::default();
        let bytes = value::pack(&snapshot);
        batch.put(Family::Snapshots, key::snapshot(name), bytes);
        let reason = reason.to_owned();
        let action = SnapshotAction::ReleasedFor { reason };
        self.write_list(batch, by_uid, name, action)
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

    /// From now on `watcher` is told of each change before whoever made it hears that it is made.
    pub fn watch_list(&self, watcher: Option<ListWatcher>) {
        *self.list_watcher.write() = watcher;
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

    /// Notes of deleted snapshots that are too many, and older than they must be kept.
    fn forget_old_deleted(&self, batch: &mut Batch, now: Timestamp) -> Result<()> {
        let mut all = self.view().deleted()?;
        let surplus = (all.len() + 1).saturating_sub(limits::DELETED_MAX);
        if surplus == 0 {
            return Ok(());
        }
        all.sort_by_key(|deleted| deleted.time);
        let old = all
            .iter()
            .take(surplus)
            .filter(|deleted| now.since(deleted.time) >= limits::DELETED_KEPT);
        for deleted in old {
            let id = deleted.snapshot.id.0;
            batch.delete(Family::Meta, key::meta(meta::DELETED, id));
        }
        Ok(())
    }

    fn write_list(
        &self,
        mut batch: Batch,
        by_uid: u32,
        name: &str,
        action: SnapshotAction,
    ) -> Result<()> {
        let changed = self.note_list_change(&mut batch, by_uid, name, action)?;
        self.write(batch, Durability::Synced)?;
        self.list_changed(changed);
        Ok(())
    }
}

impl Hold {
    /// Whether it still holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Snapshot {
    /// Until when a hold lasts that no command ends.
    fn dated_hold(&self) -> Option<Timestamp> {
        let until = self.hold.as_ref()?.until?;
        (Timestamp::now() < until).then_some(until)
    }
}

impl View<'_> {
    /// The newest full snapshot before an epoch, and its name.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn full_before(&self, epoch: Epoch) -> Result<Option<(String, Snapshot)>> {
        let all = self.snapshots()?.into_iter();
        let full = all.filter(|(_, s)| s.mode == SnapshotMode::Full && s.epoch < epoch);
        Ok(full.max_by_key(|(_, snapshot)| (snapshot.epoch, snapshot.id)))
    }

    /// Snapshots that were deleted and whose epochs are kept, in the order in which they were made.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn deleted(&self) -> Result<Vec<Deleted>> {
        let notes = self.numbered(meta::DELETED)?;
        Ok(notes.into_iter().map(|(_, deleted)| deleted).collect())
    }
}
