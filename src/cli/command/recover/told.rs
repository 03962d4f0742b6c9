//! What a recovery says when it has ended, and how long its steps took.

use super::target::Target;
use crate::archive::{Outcome, SetRecord};
use crate::cli::args;
use crate::cli::error::Error;
use crate::cli::quantity::{count, size};
use crate::cli::quote::quote;
use crate::restore::Tally;
use crate::time::{TimeZone, Timestamp};
use serde::Serialize;
use std::io::{self, Write, stderr, stdout};
use std::time::Instant;

/// How long each step took.
#[derive(Debug, Default, Serialize)]
pub struct Phases {
    pub list_seconds: f64,
    /// Until what was wanted first is there.
    pub first_seconds: f64,
    pub fetch_seconds: f64,
    pub verify_seconds: f64,
    pub write_seconds: f64,
    pub then_seconds: f64,
    pub all_seconds: f64,
}

/// Times the steps.
pub struct Clock {
    pub began: Instant,
    last: Instant,
    pub phases: Phases,
}

impl Clock {
    /// Now it begins.
    pub fn new() -> Clock {
        let now = Instant::now();
        Clock {
            began: now,
            last: now,
            phases: Phases::default(),
        }
    }

    /// Seconds since the last time that this was asked.
    pub fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let lap = now - self.last;
        self.last = now;
        lap.as_secs_f64()
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    set: u64,
    state: String,
    fetched_bytes: u64,
    packs_fetched: u64,
    packs_kept: u64,
    restored: u64,
    lacking: Vec<&'a str>,
    left_out: u64,
    not_recoverable: u64,
    conflicts: u64,
    phases: &'a Phases,
}

/// What a recovery did.
pub struct Done<'a> {
    pub set: &'a SetRecord,
    pub state: Timestamp,
    pub outcome: &'a Outcome,
    pub tally: Tally,
    pub phases: &'a Phases,
    pub problems: u64,
}

impl Done<'_> {
    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        self.outcome.lacks.is_empty()
            && self.outcome.is_whole
            && self.outcome.missing == 0
            && self.problems == 0
            && !self.tally.is_incomplete()
    }

    /// Says it.
    ///
    /// # Errors
    /// When that can't be written.
    pub fn tell(&self, args: &args::Recover, target: &Target) -> Result<(), Error> {
        for lack in &self.outcome.lacks {
            writeln!(
                stderr(),
                "rewindfs: {} (set {}): {}",
                lack.name,
                lack.set,
                lack.reason
            )?;
        }
        if !self.outcome.is_whole {
            writeln!(
                stderr(),
                "rewindfs: what came is not the state that the set says"
            )?;
        }
        let mut out = stdout().lock();
        let (tally, phases) = (&self.tally, self.phases);
        if args.json {
            let summary = Summary {
                set: self.set.number,
                state: self.state.to_string(),
                fetched_bytes: self.outcome.traffic.bytes,
                packs_fetched: self.outcome.fetched,
                packs_kept: self.outcome.kept,
                restored: tally.restored,
                lacking: self
                    .outcome
                    .lacks
                    .iter()
                    .map(|lack| &lack.name[..])
                    .collect(),
                left_out: tally.kept,
                not_recoverable: tally.not_recoverable,
                conflicts: tally.conflicts,
                phases,
            };
            let text = serde_json::to_string(&summary).map_err(io::Error::from)?;
            writeln!(out, "{text}")?;
            return Ok(());
        }
        let whole = if self.is_whole() {
            "recovered"
        } else {
            "recovered in part"
        };
        let left_out = match tally.kept {
            0 => String::new(),
            count => format!(", left out of history {count}"),
        };
        writeln!(
            out,
            "{whole}: {}, as of {}, from set {}: {} ({} written){left_out}, {}, not recoverable {}",
            target.dir.display(),
            self.state.local(&TimeZone::system()),
            self.set.number,
            count(tally.restored, "path"),
            size(tally.written_bytes),
            count(tally.conflicts, "conflict"),
            tally.not_recoverable,
        )?;
        writeln!(
            out,
            "fetched {} in {:.1} s, checked in {:.1} s, written in {:.1} s, all in {:.1} s",
            size(self.outcome.traffic.bytes),
            phases.fetch_seconds,
            phases.verify_seconds,
            phases.write_seconds,
            phases.all_seconds,
        )?;
        if !args.mount && args.paths.is_empty() {
            writeln!(out, "its past: rewindfs mount {}", quote(&target.dir))?;
        }
        Ok(())
    }
}
