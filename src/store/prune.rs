//! Prune: an epoch is dropped, and with it what only it needed; and what has to be kept.
//!
//! An epoch with few changes goes in one atomic batch. One with many, as a first scan, would not fit
//! into memory. It goes in steps, each of which leaves a sound store:
//!
//! 1. its lines of change become lines of the next kept epoch too, in any number of batches;
//! 2. one batch drops the epoch and notes that it is being pruned;
//! 3. its own lines are what is still to be cut: in any number of batches, each of which cuts what
//!    some lines name and takes these away;
//! 4. the note goes.
//!
//! The next prune, or the next opening, goes on where one was cut short. `cut.rs` has the rule for
//! what goes with an epoch.

use super::cut::{Cut, Interval, Step};
use super::kv::{Batch, Durability};
use super::view::{View, is_listed};
use super::{Result, Store, StoreError, meta};
use crate::format::key::{self, Family};
use crate::format::record::Snapshot;
use crate::format::transfer::Sent;
use crate::format::value;
use crate::id::*;
use crate::time::Timestamp;
use parking_lot::MutexGuard;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Why an epoch can't be pruned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is the newest: the next commit builds on it.
    Newest,
    /// It waits for a scan.
    Waiting,
    /// A snapshot names it.
    Named { name: String },
    /// A differential snapshot has it as its base.
    Base { name: String },
    /// A snapshot that was deleted a short while ago named it.
    Deleted { name: String },
    /// The next backup to this place builds on it.
    Sent { url: String },
    /// Somebody is working with it.
    Pinned,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::Newest => f.write_str("it is the newest"),
            Kept::Waiting => f.write_str("it waits for a scan"),
            Kept::Named { name } => write!(f, "it is the snapshot {name}"),
            Kept::Base { name } => write!(f, "the snapshot {name} refers to it"),
            Kept::Deleted { name } => {
                write!(f, "it was the snapshot {name}, which can be undeleted")
            }
            Kept::Sent { url } => write!(f, "the next backup to {url} builds on it"),
            Kept::Pinned => f.write_str("it is in use"),
        }
    }
}

/// What a prune removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Versions of files and of names.
    pub versions: u64,
    /// Stored bytes of chunks.
    pub chunk_bytes: u64,
}

/// Keeps an epoch from being pruned until it is dropped.
#[derive(Debug)]
pub struct Pin {
    store: Arc<Store>,
    epoch: Epoch,
}

impl Pin {
    /// The epoch that is kept.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.store.pins.lock();
        if let Some(count) = pins.get_mut(&self.epoch) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.epoch);
            }
        }
    }
}

impl Store {
    /// Keeps an epoch from being pruned until the answer is dropped.
    ///
    /// # Errors
    /// There is no such epoch.
    pub fn pin(self: &Arc<Self>, epoch: Epoch) -> Result<Pin> {
        let mut pins = self.pins.lock();
        if self.view().epoch(epoch)?.is_none() {
            return Err(StoreError::NoEpoch { epoch });
        }
        *pins.entry(epoch).or_default() += 1;
        drop(pins);
        let store = Arc::clone(self);
        Ok(Pin { store, epoch })
    }

    /// Drops an epoch that is not the newest, waits for nothing, has no name and is not pinned.
    ///
    /// # Errors
    /// There is no such epoch, it has to be kept, or the store can't be written.
    pub fn prune(&self, epoch: Epoch) -> Result<Pruned> {
        self.prune_old(epoch, Timestamp(i64::MAX), &|| true)
    }

    /// The same, but a snapshot that was deleted after this instant keeps its epoch; and `go_on`,
    /// which is asked between batches, may end it: the next prune then goes on.
    ///
    /// # Errors
    /// As `prune`; `Interrupted`.
    pub fn prune_old(
        &self,
        epoch: Epoch,
        deleted_before: Timestamp,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Pruned> {
        self.writable()?;
        self.check_filled()?;
        let _turn = self.pruning.lock();
        self.check_folder()?;
        self.finish_prune(go_on)?;
        let interval = {
            let committer = self.committer.lock();
            let pins = self.may_go(epoch, committer.sealed, deleted_before)?;
            let view = self.view();
            let interval = Interval::around(&view, epoch)?;
            if view.has_few_lines(epoch, self.options.prune_lines)? {
                let mut cut = Cut::new(self, &view, interval);
                cut.lines(Step::Once, None)?;
                view.drop_epoch(&mut cut.batch, epoch)?;
                let pruned = cut.write();
                drop(pins);
                return pruned;
            }
            interval
        };
        self.copy_lines(interval, go_on)?;
        {
            let committer = self.committer.lock();
            let pins = self.may_go(epoch, committer.sealed, deleted_before)?;
            let mut batch = Batch::default();
            self.view().drop_epoch(&mut batch, epoch)?;
            batch.put(Family::Meta, meta::PRUNING, value::pack(&interval));
            self.write(batch, Durability::Synced)?;
            drop(pins);
        }
        self.finish_prune(go_on)
    }

    /// Goes on with a prune that was cut short.
    pub(super) fn finish_prune(&self, go_on: &dyn Fn() -> bool) -> Result<Pruned> {
        let Some(interval) = self.meta(meta::PRUNING)? else {
            return Ok(Pruned::default());
        };
        self.cut_lines(interval, go_on)
    }

    /// That nothing asks for an epoch to be kept; and nothing does, as long as the answer is held.
    fn may_go(
        &self,
        epoch: Epoch,
        sealed: Epoch,
        deleted_before: Timestamp,
    ) -> Result<MutexGuard<'_, HashMap<Epoch, u64>>> {
        let pins = self.pins.lock();
        if let Some(reason) = self.view().kept(epoch, sealed, deleted_before)? {
            return Err(StoreError::Kept { epoch, reason });
        }
        if pins.contains_key(&epoch) {
            let reason = Kept::Pinned;
            return Err(StoreError::Kept { epoch, reason });
        }
        Ok(pins)
    }
}

impl View<'_> {
    /// Why an epoch has to be kept, but for pins.
    fn kept(&self, epoch: Epoch, sealed: Epoch, deleted_before: Timestamp) -> Result<Option<Kept>> {
        let record = self.epoch(epoch)?.ok_or(StoreError::NoEpoch { epoch })?;
        if !is_listed(&record) {
            return Ok(Some(Kept::Waiting));
        }
        if epoch >= sealed {
            return Ok(Some(Kept::Newest));
        }
        let snapshots = self.snapshots()?;
        let named = |(_, snapshot): &&(String, Snapshot)| snapshot.epoch == epoch;
        if let Some((name, _)) = snapshots.iter().find(named) {
            let name = name.clone();
            return Ok(Some(Kept::Named { name }));
        }
        let refers = |(_, snapshot): &&(String, Snapshot)| snapshot.base == Some(epoch);
        if let Some((name, _)) = snapshots.iter().find(refers) {
            let name = name.clone();
            return Ok(Some(Kept::Base { name }));
        }
        let sent: Vec<(u64, Sent)> = self.numbered(meta::SENT)?;
        let builds = |(_, sent): &&(u64, Sent)| [sent.epoch, sent.full_epoch].contains(&epoch);
        if let Some((_, sent)) = sent.iter().find(builds) {
            let url = sent.url.clone();
            return Ok(Some(Kept::Sent { url }));
        }
        let deleted = self.deleted()?.into_iter();
        let deleted = deleted
            .filter(|deleted| deleted.time > deleted_before)
            .find(|deleted| deleted.snapshot.epoch == epoch);
        Ok(deleted.map(|deleted| Kept::Deleted { name: deleted.name }))
    }

    /// Takes the record of an epoch away, and what would bring a name of it back.
    fn drop_epoch(&self, batch: &mut Batch, epoch: Epoch) -> Result<()> {
        batch.delete(Family::Epochs, key::epoch(epoch));
        let deleted = self.deleted()?.into_iter();
        for deleted in deleted.filter(|deleted| deleted.snapshot.epoch == epoch) {
            let id = deleted.snapshot.id.0;
            batch.delete(Family::Meta, key::meta(meta::DELETED, id));
        }
        Ok(())
    }

    /// Whether all lines of an epoch fit into one batch.
    fn has_few_lines(&self, epoch: Epoch, few: usize) -> Result<bool> {
        let mut lines = self.prefix(Family::Changes, &key::epoch(epoch))?;
        for _ in 0..few {
            if lines.item().is_none() {
                return Ok(true);
            }
            lines.step()?;
        }
        Ok(false)
    }

    /// The kept epoch, listed or not, after this one.
    pub(super) fn kept_after(&self, epoch: Epoch) -> Result<Option<Epoch>> {
        let scan = self.from(Family::Epochs, &key::epoch(epoch.next()))?;
        let key = scan.item().map(|(key, _)| key);
        let epoch = key.map(|key| key::unpack_epoch(Family::Epochs, key));
        Ok(epoch.transpose()?)
    }

    /// The kept epoch before this one, or none.
    pub(super) fn kept_before(&self, epoch: Epoch) -> Result<Epoch> {
        match self.last(Family::Epochs, &[], &key::epoch(epoch))? {
            Some((key, _)) => Ok(key::unpack_epoch(Family::Epochs, &key)?),
            None => Ok(Epoch::NONE),
        }
    }
}
