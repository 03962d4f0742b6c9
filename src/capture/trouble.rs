//! When history can't be kept: it stops, says so once, leaves the live tree alone, and goes on by
//! itself when the cause has gone, with a scan that finds what happened meanwhile.
//!
//! 1. Stopping asks the store for nothing and waits for nothing: a store that does not answer is
//!    one of the reasons to stop.
//! 2. Everything else that may wait for the store is done by a thread of its own (`watch`).
//! 3. Recording again begins when the last epoch from before is out of the way.

use super::Recorder;
use crate::format::record::{EpochKind, Gap};
use crate::limits;
use crate::store::StoreError;
use crate::time::Timestamp;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is said of a disk of which the last part is left to its users.
const ALMOST_FULL: &str = "the disk is almost full";

/// Whether history is kept, and if not, why and since when.
pub(super) struct Trouble {
    recording: AtomicBool,
    stopped: Mutex<Option<Stop>>,
    /// We have made a mistake: nothing is recorded again by this process.
    broken: AtomicBool,
    retry: Mutex<Retry>,
    /// The time since the newest state of a process that ended without a word, until the scan has
    /// found whether anything was changed in it.
    unwatched: Mutex<Option<Gap>>,
    /// Soon there will be too little room for history.
    low: AtomicBool,
    /// How often the disk of the live files could not read or write.
    disk_errors: AtomicU64,
}

/// Why and since when nothing is recorded.
#[derive(Clone, Debug)]
struct Stop {
    since: Timestamp,
    reason: String,
    /// The store is found where the next process looks for it.
    kept: bool,
}

/// When it is tried again.
struct Retry {
    not_before: Instant,
    pause: Duration,
    resumed: Option<Instant>,
    /// What was said last: the same is not said again for a store that fails at each try.
    said: String,
}

/// What is said of a mistake of ours.
const INTERNAL_ERROR: &str = "an internal error; see the log";

impl Trouble {
    pub(super) fn new(recording: bool) -> Trouble {
        Trouble {
            recording: AtomicBool::new(recording),
            stopped: Mutex::new(None),
            retry: Mutex::new(Retry {
                not_before: Instant::now(),
                pause: limits::RESUME_FIRST,
                resumed: None,
                said: String::new(),
            }),
            broken: AtomicBool::new(false),
            unwatched: Mutex::new(None),
            low: AtomicBool::new(false),
            disk_errors: AtomicU64::new(0),
        }
    }

    pub(super) fn is_recording(&self) -> bool {
        self.recording.load(Ordering::Acquire)
    }

    /// Nothing will be recorded any more: who waits for that waits in vain.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    pub(super) fn reason(&self) -> String {
        let off = || "history is switched off (-o nohistory)".to_owned();
        self.stop_reason().unwrap_or_else(off)
    }

    /// Why history has stopped, if it has.
    pub(super) fn stop_reason(&self) -> Option<String> {
        let stopped = self.stopped.lock();
        stopped.as_ref().map(|stop| stop.reason.clone())
    }

    /// Sets when it is tried next; true if this reason was not said just now.
    fn stopped_for(&self, reason: &str) -> bool {
        let mut retry = self.retry.lock();
        let again = retry
            .resumed
            .is_some_and(|at| at.elapsed() < limits::GAP_JOIN);
        if !again {
            retry.pause = limits::RESUME_FIRST;
        }
        retry.put_off();
        let news = !again || retry.said != reason;
        reason.clone_into(&mut retry.said);
        news
    }
}

impl Retry {
    fn put_off(&mut self) {
        self.not_before = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(limits::RESUME_LAST);
    }
}

impl Recorder {
    /// The store refused: nothing can be recorded until that is mended.
    pub(super) fn store_failed(&self, error: &StoreError) {
        // What failed once is not gone on with: it is closed and opened anew.
        self.store.distrust();
        log::debug!("the store failed: {error:?}");
        self.stop_recording(&error.in_words());
    }

    /// Something of ours has panicked: what it was about to note is not noted, and what it left
    /// behind is not to be trusted. The next mount finds what was changed.
    pub fn internal_error(&self) {
        if self.options.off {
            return;
        }
        self.trouble.broken.store(true, Ordering::Release);
        self.stop_recording(INTERNAL_ERROR);
    }

    /// Stops history. What is noted is given up, what is preserved is released, and everybody
    /// who waits goes on.
    pub(super) fn stop_recording(&self, reason: &str) {
        let since = self.recorded_until();
        {
            let mut stopped = self.trouble.stopped.lock();
            if stopped.is_some() || self.options.off {
                return;
            }
            *stopped = Some(Stop {
                since,
                reason: reason.to_owned(),
                kept: false,
            });
        }
        self.trouble.recording.store(false, Ordering::Release);
        self.store.begin_gap(Gap {
            from: since,
            to: None,
            reason: reason.to_owned(),
        });
        // The committer gives up every epoch that is cut.
        self.cut(EpochKind::Checkpoint, true, false, Vec::new());
        self.signal.raise();
        if self.trouble.stopped_for(reason) {
            log::error!("nothing is recorded from now on: {reason}");
        }
    }

    /// Up to when everything is in the store: now, unless something is noted.
    fn recorded_until(&self) -> Timestamp {
        let noted = self.open.load().body.noted.load(Ordering::Relaxed) > 0;
        if noted || self.pending_epochs() > 0 {
            self.counters.last_committed().unwrap_or(self.began)
        } else {
            Timestamp::now()
        }
    }

    /// Free bytes below which history stops.
    fn floor(&self, size: u64) -> u64 {
        floor(self.options.min_free, size)
    }

    /// What the thread does that looks after the store until the end.
    pub(super) fn watch(&self) {
        while !self.is_ending() {
            let seen = self.signal.count();
            self.keep_stop();
            self.watch_space();
            self.try_to_resume();
            let wake = Instant::now() + limits::RESUME_FIRST;
            let mut seen = seen;
            // A bell that rings for everything does not make it look more often.
            while Instant::now() < wake && !self.is_ending() && !self.must_keep_stop() {
                seen = self.signal.wait(seen, Duration::from_millis(200));
            }
        }
    }

    fn must_keep_stop(&self) -> bool {
        let stopped = self.trouble.stopped.lock();
        stopped.as_ref().is_some_and(|stop| !stop.kept)
    }

    /// Sees to it that the next process learns of the stop, should this one be killed.
    fn keep_stop(&self) {
        if !self.must_keep_stop() {
            return;
        }
        if let Err(error) = self.store.keep_gap() {
            log::debug!("that nothing is recorded can't be noted: {error:?}");
        }
        if let Some(stop) = &mut *self.trouble.stopped.lock() {
            stop.kept = true;
        }
    }

    /// Stops history when the store has not answered for too long. Asks it for nothing.
    pub(super) fn watch_calls(&self) {
        if self.trouble.is_recording() && self.store.longest_call() >= limits::STORE_HUNG {
            self.store_hangs();
        }
    }

    /// The store does not answer, and history does without it. Asks it for nothing.
    pub(super) fn store_hangs(&self) {
        self.store.distrust();
        self.stop_recording("the store does not answer");
    }

    /// Stops history before it takes the last part of the disk; old states go before it comes to
    /// that, and when it has come to that.
    pub(super) fn watch_space(&self) {
        let Ok((free, size)) = self.store.free_space() else {
            return;
        };
        let free = free.saturating_sub(self.store.unwritten_bytes());
        let floor = self.floor(size);
        let is_recording = self.trouble.is_recording();
        // As much as it takes not to stop, or to go on.
        let wanted = match is_recording {
            true if free < floor + floor / 16 => floor + floor / 8,
            true => 0,
            false => floor + floor / 4 + 1,
        };
        self.short_of(wanted.saturating_sub(free));
        if free < floor + floor / 4 {
            self.trouble.low.store(true, Ordering::Release);
        } else if free > floor + floor / 2 {
            self.trouble.low.store(false, Ordering::Release);
        }
        if is_recording && free < floor {
            self.stop_recording(ALMOST_FULL);
        }
    }

    /// Whether there will soon be too little room for history.
    pub fn space_is_low(&self) -> bool {
        self.trouble.low.load(Ordering::Acquire)
    }

    /// The disk of the live files could not read or write.
    pub fn disk_failed(&self) {
        self.trouble.disk_errors.fetch_add(1, Ordering::AcqRel);
    }

    /// How often it could not.
    pub fn disk_errors(&self) -> u64 {
        self.trouble.disk_errors.load(Ordering::Acquire)
    }

    /// Whether so many bytes may be brought into the store at once.
    pub(super) fn has_room_for(&self, bytes: u64) -> bool {
        self.store
            .free_space()
            .is_ok_and(|(free, size)| free.saturating_sub(self.floor(size)) > bytes)
    }

    /// Bytes were brought into the store: looks at the free space now and then.
    pub(super) fn spend_space(&self, bytes: u64) {
        let spent = self.spent.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if spent >= limits::SPACE_STEP {
            self.spent.store(0, Ordering::Relaxed);
            self.watch_space();
        }
    }

    /// Goes on when the cause has gone.
    fn try_to_resume(&self) {
        let Some(stop) = self.trouble.stopped.lock().clone() else {
            return;
        };
        if self.trouble.is_broken() {
            return;
        }
        if self.is_ending() || self.pending_epochs() > 0 || self.scan.is_running() {
            return;
        }
        if Instant::now() < self.trouble.retry.lock().not_before {
            return;
        }
        let room = self.store.free_space().is_ok_and(|(free, size)| {
            let floor = self.floor(size);
            free >= floor + floor / 4
        });
        let result = match room || stop.reason != ALMOST_FULL {
            true => self.store.reopen(),
            false => return,
        };
        // A scan that could not even be marked as cut off would keep all that follows from being listed.
        let resumed = result
            .and_then(|()| self.store.cut_off_scans())
            .and_then(|()| self.restart());
        let mut retry = self.trouble.retry.lock();
        match resumed {
            Ok(()) => {
                retry.resumed = Some(Instant::now());
                drop(retry);
                log::warn!("recording again after: {}", stop.reason);
            }
            Err(error) => {
                retry.put_off();
                drop(retry);
                log::debug!("history can't go on yet: {error:?}");
                self.change_reason(&error.in_words());
            }
        }
    }

    /// While nothing is recorded the cause may become another: a disk that was full is removed.
    fn change_reason(&self, reason: &str) {
        let mut stopped = self.trouble.stopped.lock();
        let Some(stop) = stopped.as_mut().filter(|stop| stop.reason != reason) else {
            return;
        };
        log::error!("still nothing is recorded: {reason}");
        reason.clone_into(&mut stop.reason);
        stop.kept = false;
        self.store.begin_gap(Gap {
            from: stop.since,
            to: None,
            reason: reason.to_owned(),
        });
    }

    /// A stop that lasts to the end of the recorder ends with it: what changed meanwhile is found
    /// by the next scan. To be called when nothing is written any more.
    pub(super) fn close_gap(&self) {
        if self.trouble.stopped.lock().is_none() {
            return;
        }
        let put = self.store.reopen();
        if let Err(error) = put.and_then(|()| self.store.end_gap(Timestamp::now())) {
            log::warn!("the store does not take that nothing was recorded: {error}");
        }
    }

    /// To be called before it is noted that recording has begun: whether who recorded before has
    /// ended without an unmount.
    pub(super) fn look_for_unclean_end(&self) -> Result<(), StoreError> {
        let Some(synced) = self.store.synced()?.filter(|synced| !synced.clean) else {
            return Ok(());
        };
        let view = self.store.view();
        let newest = match view.newest_epoch()? {
            Some(epoch) => view.header(epoch)?.map(|header| header.time),
            None => None,
        };
        let Some(newest) = newest else { return Ok(()) };
        let known = view.gaps()?.last().and_then(|gap| gap.to);
        // It had said so itself: the opening of the store has ended that time just now.
        if known.is_some_and(|to| to > newest && self.began.since(to) <= limits::GAP_JOIN) {
            return Ok(());
        }
        let reason = match synced.boot == super::actor::boot_id() {
            true => "rewindfs ended without an unmount",
            false => "the computer stopped without an unmount",
        };
        *self.trouble.unwatched.lock() = Some(Gap {
            from: known.map_or(newest, |to| to.max(newest)),
            to: Some(self.began),
            reason: reason.to_owned(),
        });
        Ok(())
    }

    /// The scan has come to its end, and has found something to be recorded, or nothing.
    pub(super) fn found_changes(&self, any: bool) -> Result<(), StoreError> {
        let unwatched = self.trouble.unwatched.lock().take();
        match unwatched.filter(|_| any) {
            Some(gap) => {
                log::warn!("nothing was recorded since {}: {}", gap.from, gap.reason);
                self.store.add_gap(gap)
            }
            None => Ok(()),
        }
    }

    /// A new scan, and a new open epoch behind it; the time without history ends.
    fn restart(&self) -> Result<(), StoreError> {
        // Before the cutter's lock: live operations take it, and the store may not answer.
        let first = super::is_first(&self.store)?;
        self.store.end_gap(Timestamp::now())?;
        let mut cutter = self.cutter.lock();
        let scan = cutter.next;
        let open = scan.next();
        cutter.next = open.next();
        let time = cutter.tick();
        let left_out_before = self.rules.install_said(scan);
        self.begin_scan(scan, time, first);
        let old = self
            .open
            .swap(super::epoch::Held::open(open, self.signal.clone()));
        *self.trouble.stopped.lock() = None;
        self.trouble.recording.store(true, Ordering::Release);
        drop(cutter);
        drop(old);
        self.unpin_all(left_out_before);
        self.signal.raise();
        Ok(())
    }
}

/// Free bytes of a file system of `size` bytes below which history stops.
pub fn floor(min_free: Option<u64>, size: u64) -> u64 {
    let percent = size / 100 * limits::MIN_FREE_PERCENT;
    min_free.unwrap_or_else(|| limits::MIN_FREE_BYTES.min(percent))
}
