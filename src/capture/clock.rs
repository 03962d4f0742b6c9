//! The clock: makes checkpoints while something changes, and notices a store that does not answer.
//! It never asks the store itself.

use super::Recorder;
use crate::format::record::EpochKind;
use crate::limits;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the clock looks.
const TICK: Duration = Duration::from_millis(50);
/// How long a checkpoint waits for a silence, after `interval` is over.
const PATIENCE: Duration = Duration::from_secs(1);

impl Recorder {
    pub(super) fn clock(&self) {
        while !self.is_ending() {
            std::thread::sleep(TICK);
            self.watch_calls();
            if let Some(epoch) = self.begun_now() {
                self.counters.begun(epoch);
            }
            if self.trouble.is_recording() {
                self.make_checkpoint();
            }
        }
    }

    fn make_checkpoint(&self) {
        let (since, busy) = {
            let cutter = self.cutter.lock();
            (cutter.last_cut.elapsed(), !cutter.pending.is_empty())
        };
        let noted = self.open.load().body.noted.load(Ordering::Relaxed);
        // Large epochs one behind the other: what is noted while one is recorded stays bounded.
        let full = noted >= limits::NOTES_MAX && self.has_room_for_epoch();
        if noted == 0 || (busy && !full) {
            return;
        }
        let due = since >= self.options.interval;
        let silent = self.since_last_note() >= limits::QUIET;
        let late = since >= self.options.interval + PATIENCE;
        if full || late || (due && silent) {
            self.cut(EpochKind::Checkpoint, false, false, Vec::new());
        }
    }
}
