//! When history can't be kept: it stops, says so once, leaves the live tree alone, and goes on by
//! itself when the cause has gone, with a scan that finds what happened meanwhile.

use super::Recorder;
use crate::format::record::{EpochKind, Gap};
use crate::limits;
use crate::store::StoreError;
use crate::time::Timestamp;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether history is kept, and if not, why and since when.
pub(super) struct Trouble {
    recording: AtomicBool,
    stopped: Mutex<Option<(Timestamp, String)>>,
}

impl Trouble {
    pub(super) fn new(recording: bool) -> Trouble {
        Trouble {
            recording: AtomicBool::new(recording),
            stopped: Mutex::new(None),
        }
    }

    pub(super) fn is_recording(&self) -> bool {
        self.recording.load(Ordering::Acquire)
    }

    pub(super) fn reason(&self) -> String {
        match &*self.stopped.lock() {
            Some((_, reason)) => reason.clone(),
            None => "history is switched off (-o nohistory)".to_owned(),
        }
    }
}

impl Recorder {
    /// The store refused: nothing can be recorded until that is mended.
    pub(super) fn store_failed(&self, error: &StoreError) {
        self.stop_recording(&error.to_string());
    }

    /// Stops history. What is noted is given up, what is preserved is released, and everybody
    /// who waits goes on.
    pub(super) fn stop_recording(&self, reason: &str) {
        {
            let mut stopped = self.trouble.stopped.lock();
            if stopped.is_some() {
                return;
            }
            *stopped = Some((Timestamp::now(), reason.to_owned()));
        }
        self.trouble.recording.store(false, Ordering::Release);
        log::error!("nothing is recorded from now on: {reason}");
        // The committer gives up every epoch that is cut.
        self.cut(EpochKind::Checkpoint, true, false, Vec::new());
        self.signal.raise();
    }

    /// Free bytes below which history stops.
    fn floor(&self, size: u64) -> u64 {
        let percent = size / 100 * limits::MIN_FREE_PERCENT;
        self.options
            .min_free
            .unwrap_or_else(|| limits::MIN_FREE_BYTES.min(percent))
    }

    /// Stops history before it takes the last part of the disk.
    pub(super) fn watch_space(&self) {
        if !self.trouble.is_recording() {
            return;
        }
        if let Ok((free, size)) = self.store.free_space()
            && free < self.floor(size)
        {
            self.stop_recording("the disk is almost full");
        }
    }

    /// Goes on when the cause has gone.
    pub(super) fn try_to_resume(&self) {
        let Some((since, reason)) = self.trouble.stopped.lock().clone() else {
            return;
        };
        if self.is_ending() || self.pending_epochs() > 0 || self.scan.is_running() {
            return;
        }
        let room = self.store.free_space().is_ok_and(|(free, size)| {
            let floor = self.floor(size);
            free > floor + floor / 4
        });
        if !room || self.store.reopen().is_err() {
            return;
        }
        if self.put_gap(since, &reason).is_err() {
            return;
        }
        if let Err(error) = self.restart() {
            log::warn!("history can't go on yet: {error}");
            return;
        }
        log::warn!("recording again after: {reason}");
    }

    /// A stop that lasts to the end of the recorder ends with it: what changed meanwhile is found
    /// by the next scan. To be called when nothing is written any more.
    pub(super) fn close_gap(&self) {
        let Some((since, reason)) = self.trouble.stopped.lock().clone() else {
            return;
        };
        let put = self.store.reopen();
        if let Err(error) = put.and_then(|()| self.put_gap(since, &reason)) {
            log::warn!("the store does not take that nothing was recorded: {error}");
        }
    }

    fn put_gap(&self, since: Timestamp, reason: &str) -> Result<(), StoreError> {
        let gap = Gap {
            from: since,
            to: Some(Timestamp::now()),
            reason: reason.to_owned(),
        };
        self.store
            .put_gap(u64::try_from(since.0).unwrap_or(0), &gap)
    }

    /// A new scan, and a new open epoch behind it.
    fn restart(&self) -> Result<(), super::CaptureError> {
        let mut cutter = self.cutter.lock();
        let scan = cutter.next;
        let open = scan.next();
        cutter.next = open.next();
        let time = cutter.tick();
        self.begin_scan(scan, time)?;
        let old = self
            .open
            .swap(super::epoch::Held::open(open, self.signal.clone()));
        *self.trouble.stopped.lock() = None;
        self.trouble.recording.store(true, Ordering::Release);
        drop(cutter);
        drop(old);
        self.signal.raise();
        Ok(())
    }
}
