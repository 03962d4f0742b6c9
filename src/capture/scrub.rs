//! The background check of the store: at idle priority, within a rate, and only while nobody
//! works in the directory. A whole one is made every `limits::SCRUB_EVERY`, over as many mounts as it
//! takes.

use super::Recorder;
use crate::limits;
use crate::store::StoreError;
use crate::store::scrub::Scrub;
use crate::time::Timestamp;
use std::time::{Duration, Instant};

/// How often it is looked whether something may be read.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Recorder {
    pub(super) fn scrub_loop(&self) {
        crate::backing::idle_thread();
        let mut kept = Instant::now();
        while !self.is_ending() {
            std::thread::sleep(LOOK_EVERY);
            if !self.may_scrub() {
                continue;
            }
            match self.scrub_on(&mut kept) {
                Ok(()) => {}
                Err(error) => {
                    log::debug!("the store can't be checked now: {error}");
                    std::thread::sleep(limits::SCRUB_QUIET.min(Duration::from_secs(5)));
                }
            }
        }
    }

    /// Whether nobody works, and nothing else is to be done.
    fn may_scrub(&self) -> bool {
        self.trouble.is_recording()
            && !self.store.is_filling()
            && !self.scan.is_running()
            && self.pending_epochs() == 0
            && self.since_last_note() >= self.options.hooks.scrub_quiet
    }

    /// One piece of a check that is due or under way.
    fn scrub_on(&self, kept: &mut Instant) -> Result<(), StoreError> {
        let mut scrub = self.store.scrub_state()?;
        let now = Timestamp::now();
        if scrub.begun.is_none() {
            let since = scrub.ended.unwrap_or(self.began);
            let wait = match scrub.ended {
                Some(_) => self.options.hooks.scrub_every,
                None => self.options.hooks.scrub_quiet,
            };
            if now.since(since) < wait {
                return Ok(());
            }
            scrub = Scrub {
                begun: Some(now),
                ended: scrub.ended,
                problems: scrub.problems,
                ..Scrub::default()
            };
        }
        loop {
            let began = Instant::now();
            let more = self.store.scrub_piece(&mut scrub, limits::SCRUB_PIECE)?;
            if !more {
                let go_on = || self.may_scrub() && !self.is_ending();
                if self.store.scrub_records(&mut scrub, &go_on)? && scrub.problems > 0 {
                    let problems = scrub.problems;
                    log::error!("the store is damaged: {problems} problems were found");
                }
                return self.store.keep_scrub(&scrub);
            }
            if kept.elapsed() >= limits::SCRUB_KEEP || !self.may_scrub() || self.is_ending() {
                *kept = Instant::now();
                self.store.keep_scrub(&scrub)?;
            }
            if !self.may_scrub() || self.is_ending() {
                return Ok(());
            }
            // So many bytes a second, and no more.
            let rate = limits::SCRUB_PIECE as f64 / limits::SCRUB_RATE as f64;
            std::thread::sleep(Duration::from_secs_f64(rate).saturating_sub(began.elapsed()));
        }
    }
}
