//! Snapshots: an epoch with a name. Cut, wait until it is durable, and if that takes too long
//! take the name away again.

use super::{CaptureError, Outcome, Pending, Recorder};
use crate::format::record::{EpochKind, EpochState, Snapshot, SnapshotMode};
use crate::id::Epoch;
use crate::store::{Store, StoreError};
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long shared mappings are flushed before a cut at most.
const FLUSH: Duration = Duration::from_secs(5);
/// Between two looks at whether what is waited for has come.
const POLL: Duration = Duration::from_millis(100);

/// How long somebody waits.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// `None`: as long as it takes.
    pub until: Option<Instant>,
    /// Whether he has gone. Asked about ten times a second.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Patience<'_> {
    /// As long as it takes.
    pub const ENDLESS: Patience<'static> = Patience {
        until: None,
        cancelled: &|| false,
    };

    /// Until then, whatever happens.
    pub fn until(deadline: Instant) -> Patience<'static> {
        Patience {
            until: Some(deadline),
            ..Patience::ENDLESS
        }
    }

    /// Why it is over, if it is.
    fn end(&self) -> Option<CaptureError> {
        if (self.cancelled)() {
            return Some(CaptureError::Cancelled);
        }
        let late = self.until.is_some_and(|until| Instant::now() >= until);
        late.then_some(CaptureError::TimedOut)
    }
}

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
            base: match self.mode {
                SnapshotMode::Differential => {
                    let full = store.view().full_before(epoch.next())?;
                    full.map(|(_, full)| full.epoch)
                }
                SnapshotMode::Full | SnapshotMode::Incremental => None,
            },
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
    /// `TimedOut`, `Cancelled` when the patience has come to its end, or the mount has: nothing was
    /// made.
    pub fn snapshot(
        &self,
        new: NewSnapshot,
        patience: Patience<'_>,
    ) -> Result<Snapshot, CaptureError> {
        if self.store.view().snapshot(&new.name)?.is_some()
            || !self.counters.reserve_name(&new.name)
        {
            return Err(CaptureError::Exists(new.name));
        }
        let asked = Instant::now();
        let result = self.snapshot_quiet(&new, patience);
        self.counters.release_name(&new.name);
        if let Err(CaptureError::TimedOut) = result {
            let seconds = asked.elapsed().as_secs_f64();
            let (name, left) = (&new.name, self.what_is_left());
            log::warn!("the snapshot {name} was given up after {seconds:.1} s: {left}");
        }
        result
    }

    /// With programs that were made ready for it.
    fn snapshot_quiet(
        &self,
        new: &NewSnapshot,
        patience: Patience<'_>,
    ) -> Result<Snapshot, CaptureError> {
        let quiesce = self.quiesce.lock().clone();
        let Some(quiesce) = quiesce else {
            return self.snapshot_reserved(new, patience);
        };
        let result = match quiesce.before(&new.name, new.by_uid, &patience) {
            Ok(None) => self.snapshot_reserved(new, patience),
            Ok(Some(note)) => {
                let message = format!("{} {note}", new.message).trim().to_owned();
                let noted = NewSnapshot {
                    message,
                    ..new.clone()
                };
                self.snapshot_reserved(&noted, patience)
            }
            Err(Some(reason)) => Err(CaptureError::Hook(reason)),
            Err(None) => Err(CaptureError::TimedOut),
        };
        quiesce.after(&new.name, new.by_uid, result.is_ok());
        result
    }

    fn snapshot_reserved(
        &self,
        new: &NewSnapshot,
        patience: Patience<'_>,
    ) -> Result<Snapshot, CaptureError> {
        if !self.trouble.is_recording() {
            return Err(CaptureError::Stopped(self.trouble.reason()));
        }
        let room = || self.has_room_for_epoch().then_some(());
        self.wait_until(patience, room)?;
        let unseen = !self.flush_mappings();
        if let Some(end) = patience.end() {
            return Err(end);
        }
        let pending = self
            .cut(EpochKind::Snapshot, true, unseen, vec![new.clone()])
            .ok_or(CaptureError::Cancelled)?;
        let asked = pending
            .body
            .cut
            .lock()
            .map_or_else(Timestamp::now, |cut| cut.time);
        match self.outcome(&pending, patience) {
            Ok(Outcome::Failed(reason)) => return Err(CaptureError::Stopped(reason)),
            Ok(Outcome::Committed | Outcome::Nothing) => {}
            Err(end) => {
                pending
                    .snapshots
                    .lock()
                    .retain(|waiting| waiting.name != new.name);
                // It may have been committed in this very moment: then it counts.
                if self.store.view().snapshot(&new.name)?.is_none() {
                    return Err(end);
                }
            }
        }
        if let Some(snapshot) = self.store.view().snapshot(&new.name)? {
            return Ok(snapshot);
        }
        // Nothing had changed, or the epoch waits for the scan: the name is given afterwards.
        let again = self.rules.wants_scan();
        self.await_scan(patience)?;
        // A scan that was cut off by a stop has not seen what the name is to stand for.
        if !self.trouble.is_recording() {
            return Err(CaptureError::Stopped(self.trouble.reason()));
        }
        let view = self.store.view();
        let number = pending.body.number;
        let epoch = view
            .listed_before(if again { Epoch::MAX } else { number.next() })?
            .ok_or_else(|| CaptureError::Stopped(self.trouble.reason()))?;
        let state = view.epoch(epoch)?.map(|record| record.state);
        if state != Some(EpochState::Whole) {
            let cut_off = || "the scan was cut off".to_owned();
            return Err(CaptureError::Stopped(
                self.trouble.stop_reason().unwrap_or_else(cut_off),
            ));
        }
        drop(view);
        let snapshot = new.record(&self.store, epoch, asked)?;
        if let Err(error) = self.store.put_snapshot(&new.name, &snapshot) {
            // Nobody else would hear of it until the next commit; of a write that failed before this
            // one, he does whose it was.
            if !matches!(error, StoreError::NameTaken { .. } | StoreError::Poisoned) {
                self.store_failed(&error);
            }
            return Err(error.into());
        }
        Ok(snapshot)
    }

    pub(super) fn flush_mappings(&self) -> bool {
        let flusher = self.flusher.lock().clone();
        flusher.is_none_or(|flusher| flusher.flush(FLUSH))
    }

    /// Why a snapshot could not be made in time.
    fn what_is_left(&self) -> String {
        let status = self.status();
        match status.scan {
            Some(scan) => {
                let what = if scan.first {
                    "the first import"
                } else {
                    "the search for changes"
                };
                let (files, bytes) = (scan.files, scan.bytes);
                format!("{what} is still under way, {files} files and {bytes} bytes so far")
            }
            None => {
                let files = status.pending_files;
                format!("{files} changed files and names are still to be recorded")
            }
        }
    }

    fn outcome(
        &self,
        pending: &Arc<Pending>,
        patience: Patience<'_>,
    ) -> Result<Outcome, CaptureError> {
        self.wait_until(patience, || pending.outcome.lock().clone())
    }

    /// Waits until the scan that is under way has ended.
    fn await_scan(&self, patience: Patience<'_>) -> Result<(), CaptureError> {
        let ended = || {
            let may_follow = self.trouble.is_recording() && !self.is_ending();
            let follows = self.rules.wants_scan() && may_follow;
            (self.scan.unfinished().is_none() && !follows).then_some(())
        };
        self.wait_until(patience, ended)
    }

    fn wait_until<T>(
        &self,
        patience: Patience<'_>,
        ready: impl Fn() -> Option<T>,
    ) -> Result<T, CaptureError> {
        if let Some(value) = ready() {
            return Ok(value);
        }
        let _waiting = self.haste.wait();
        loop {
            let seen = self.signal.count();
            if let Some(value) = ready() {
                return Ok(value);
            }
            if let Some(end) = patience.end() {
                return Err(end);
            }
            if self.trouble.is_broken() {
                return Err(CaptureError::Stopped(self.trouble.reason()));
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
    /// `TimedOut`, `Cancelled`, `Stopped`.
    pub fn sync(&self, patience: Patience<'_>) -> Result<(), CaptureError> {
        self.flush_mappings();
        self.await_scan(patience)?;
        self.sync_cut(patience)
    }

    /// The same without waiting for the scan; `progress` is told meanwhile.
    ///
    /// # Errors
    /// `TimedOut`, `Cancelled`, `Stopped`.
    pub fn sync_with(
        &self,
        patience: Patience<'_>,
        progress: &dyn Fn(&super::Status),
    ) -> Result<(), CaptureError> {
        self.flush_mappings();
        progress(&self.status());
        self.sync_cut(patience)
    }

    pub(super) fn sync_cut(&self, patience: Patience<'_>) -> Result<(), CaptureError> {
        if !self.trouble.is_recording() {
            return Err(CaptureError::Stopped(self.trouble.reason()));
        }
        let pending = match self.cut(EpochKind::Checkpoint, false, false, Vec::new()) {
            Some(pending) => Some(pending),
            None => self.cutter.lock().pending.back().cloned(),
        };
        let Some(pending) = pending else {
            return match self.is_ending() && self.open_notes() > 0 {
                true => Err(CaptureError::Cancelled),
                false => Ok(()),
            };
        };
        match self.outcome(&pending, patience)? {
            Outcome::Failed(reason) => Err(CaptureError::Stopped(reason)),
            Outcome::Committed | Outcome::Nothing => Ok(()),
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
