//! Snapshots: an epoch with a name. Cut, wait until it is durable, and if that takes too long
//! take the name away again.

use super::{CaptureError, Outcome, Pending, Recorder};
use crate::format::record::{EpochKind, Snapshot, SnapshotMode};
use crate::id::Epoch;
use crate::store::{Store, StoreError};
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long shared mappings are flushed before a cut at most.
const FLUSH: Duration = Duration::from_secs(5);
/// Between two looks at whether what is waited for has come.
const POLL: Duration = Duration::from_millis(100);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct NewSnapshot {
    pub name: String,
    pub message: String,
    pub mode: SnapshotMode,
    pub by_uid: u32,
}

impl NewSnapshot {
    pub(super) fn record(
        &self,
        store: &Store,
        epoch: Epoch,
        time: Timestamp,
    ) -> Result<Snapshot, StoreError> {
        Ok(Snapshot {
            id: store.new_snapshot_id()?,
            epoch,
            time,
            mode: self.mode,
            base: None,
            hold: None,
            tags: Vec::new(),
            message: self.message.clone(),
            by_uid: self.by_uid,
        })
    }
}

impl Recorder {
    /// Makes a snapshot of this instant; it is durable when this returns.
    ///
    /// # Errors
    /// `TimedOut` after `deadline`: nothing was made.
    pub fn snapshot(
        &self,
        new: NewSnapshot,
        deadline: Option<Instant>,
    ) -> Result<Snapshot, CaptureError> {
        if self.store.view().snapshot(&new.name)?.is_some()
            || !self.counters.reserve_name(&new.name)
        {
            return Err(CaptureError::Exists(new.name));
        }
        let result = self.snapshot_reserved(&new, deadline);
        self.counters.release_name(&new.name);
        result
    }

    fn snapshot_reserved(
        &self,
        new: &NewSnapshot,
        deadline: Option<Instant>,
    ) -> Result<Snapshot, CaptureError> {
        if !self.trouble.is_recording() {
            return Err(CaptureError::Stopped(self.trouble.reason()));
        }
        let unseen = !self.flush_mappings();
        let pending = self
            .cut(EpochKind::Snapshot, true, unseen, vec![new.clone()])
            .ok_or(CaptureError::TimedOut)?;
        let asked = pending
            .body
            .cut
            .lock()
            .map_or_else(Timestamp::now, |cut| cut.time);
        match self.outcome(&pending, deadline) {
            Some(Outcome::Failed(reason)) => return Err(CaptureError::Stopped(reason)),
            Some(Outcome::Committed | Outcome::Nothing) => {}
            None => {
                pending
                    .snapshots
                    .lock()
                    .retain(|waiting| waiting.name != new.name);
                // It may have been committed in this very moment: then it counts.
                if self.store.view().snapshot(&new.name)?.is_none() {
                    return Err(CaptureError::TimedOut);
                }
            }
        }
        if let Some(snapshot) = self.store.view().snapshot(&new.name)? {
            return Ok(snapshot);
        }
        // Nothing had changed, or the epoch waits for the scan: the name is given afterwards.
        if !self.await_scan(deadline) {
            return Err(CaptureError::TimedOut);
        }
        // A scan that was cut off by a stop has not seen what the name is to stand for.
        if !self.trouble.is_recording() {
            return Err(CaptureError::Stopped(self.trouble.reason()));
        }
        let view = self.store.view();
        let number = pending.body.number;
        let epoch = view
            .listed_before(number.next())?
            .ok_or_else(|| CaptureError::Stopped(self.trouble.reason()))?;
        drop(view);
        let snapshot = new.record(&self.store, epoch, asked)?;
        self.store.put_snapshot(&new.name, &snapshot)?;
        Ok(snapshot)
    }

    fn flush_mappings(&self) -> bool {
        let flusher = self.flusher.lock().clone();
        flusher.is_none_or(|flusher| flusher.flush(FLUSH))
    }

    fn outcome(&self, pending: &Arc<Pending>, deadline: Option<Instant>) -> Option<Outcome> {
        self.wait_until(deadline, || pending.outcome.lock().clone())
    }

    /// Waits until the scan that is under way has ended; false after the deadline.
    fn await_scan(&self, deadline: Option<Instant>) -> bool {
        self.wait_until(deadline, || self.scan.unfinished().is_none().then_some(()))
            .is_some()
    }

    fn wait_until<T>(&self, deadline: Option<Instant>, ready: impl Fn() -> Option<T>) -> Option<T> {
        loop {
            let seen = self.signal.count();
            if let Some(value) = ready() {
                return Some(value);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return None;
            }
            self.signal.wait(seen, POLL);
        }
    }

    /// Takes the name away; the state stays a checkpoint.
    ///
    /// # Errors
    /// `NoSnapshot`, `Held`.
    pub fn delete_snapshot(&self, name: &str, by_uid: u32) -> Result<(), CaptureError> {
        delete_snapshot(&self.store, name, by_uid)
    }

    /// Gives it another name.
    ///
    /// # Errors
    /// `NoSnapshot`, `Exists`.
    pub fn rename_snapshot(&self, old: &str, new: &str, by_uid: u32) -> Result<(), CaptureError> {
        rename_snapshot(&self.store, old, new, by_uid)
    }

    /// Returns when all that was noted before is durable (and the scan, if one is under way, has
    /// ended).
    ///
    /// # Errors
    /// `TimedOut`, `Stopped`.
    pub fn sync(&self, deadline: Option<Instant>) -> Result<(), CaptureError> {
        self.flush_mappings();
        if !self.await_scan(deadline) {
            return Err(CaptureError::TimedOut);
        }
        self.sync_cut(deadline)
    }

    /// The same without waiting for the scan; `progress` is told meanwhile.
    ///
    /// # Errors
    /// `TimedOut`, `Stopped`.
    pub fn sync_with(
        &self,
        deadline: Option<Instant>,
        progress: &dyn Fn(&super::Status),
    ) -> Result<(), CaptureError> {
        self.flush_mappings();
        progress(&self.status());
        self.sync_cut(deadline)
    }

    fn sync_cut(&self, deadline: Option<Instant>) -> Result<(), CaptureError> {
        if !self.trouble.is_recording() {
            return Err(CaptureError::Stopped(self.trouble.reason()));
        }
        let pending = match self.cut(EpochKind::Checkpoint, false, false, Vec::new()) {
            Some(pending) => Some(pending),
            None => self.cutter.lock().pending.back().cloned(),
        };
        let Some(pending) = pending else {
            return Ok(());
        };
        match self.outcome(&pending, deadline) {
            Some(Outcome::Failed(reason)) => Err(CaptureError::Stopped(reason)),
            Some(_) => Ok(()),
            None => Err(CaptureError::TimedOut),
        }
    }
}

/// Takes a snapshot's name away, with or without a recorder.
///
/// # Errors
/// `NoSnapshot`, `Held`.
pub fn delete_snapshot(store: &Store, name: &str, by_uid: u32) -> Result<(), CaptureError> {
    let snapshot = store.view().snapshot(name)?;
    let snapshot = snapshot.ok_or_else(|| CaptureError::NoSnapshot(name.to_owned()))?;
    if (snapshot.hold.as_ref()).is_some_and(|hold| hold.holds(Timestamp::now())) {
        return Err(CaptureError::Held(name.to_owned()));
    }
    Ok(store.remove_snapshot(name, by_uid)?)
}

/// Renames a snapshot, with or without a recorder.
///
/// # Errors
/// `NoSnapshot`, `Exists`.
pub fn rename_snapshot(
    store: &Store,
    old: &str,
    new: &str,
    by_uid: u32,
) -> Result<(), CaptureError> {
    let view = store.view();
    if view.snapshot(old)?.is_none() {
        return Err(CaptureError::NoSnapshot(old.to_owned()));
    }
    if view.snapshot(new)?.is_some() {
        return Err(CaptureError::Exists(new.to_owned()));
    }
    drop(view);
    Ok(store.rename_snapshot(old, new, by_uid)?)
}
