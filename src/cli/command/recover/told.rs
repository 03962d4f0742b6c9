//! What a recovery says when it has ended, and how long its steps took.

use super::prove::Proved;
use super::target::Target;
use crate::archive::{Far, Outcome, SetRecord, Traffic};
use crate::cli::args;
use crate::cli::error::Error;
use crate::cli::quantity::{count, size};
use crate::cli::quote::quote;
use crate::filling::Prepared;
use crate::restore::Tally;
use crate::time::{TimeZone, Timestamp};
use parking_lot::Mutex;
use serde::Serialize;
use std::io::{self, Write, stderr, stdout};
use std::time::{Duration, Instant};

/// How long each step took.
#[derive(Debug, Default, Serialize)]
pub struct Phases {
    pub list_seconds: f64,
    /// Until what was wanted first is there.
    pub first_seconds: f64,
    pub fetch_seconds: f64,
    pub verify_seconds: f64,
    pub write_seconds: f64,
    /// Reading again what was written, for a drill.
    #[serde(skip_serializing_if = "is_zero")]
    pub hash_seconds: f64,
    pub then_seconds: f64,
    pub all_seconds: f64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
fn is_zero(seconds: &f64) -> bool {
    *seconds <= 0.0
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

/// How far the fetching is, in words.
pub fn far(far: &Far) -> String {
    let (objects, bytes) = (far.traffic.objects, far.traffic.bytes);
    let fetched = format!("{}, {}", count(objects, "object"), size(bytes));
    match far.rest {
        Some(rest) => format!(
            "{fetched}; {} still to be fetched, in about {}",
            size(far.rest_bytes),
            duration(rest)
        ),
        None => fetched,
    }
}

fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..120 => format!("{} s", time.as_secs() + 1),
        seconds @ 120..7200 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

/// How far it is, for a program that reads along: a line a second.
pub struct News {
    json: bool,
    last: Mutex<Instant>,
}

#[derive(Serialize)]
struct Progress {
    kind: &'static str,
    fetched_bytes: u64,
    rest_bytes: u64,
    rest_seconds: Option<f64>,
    jobs: usize,
}

impl News {
    /// Nothing is told yet.
    pub fn new(json: bool) -> News {
        News {
            json,
            last: Mutex::new(Instant::now()),
        }
    }

    /// Tells it, if it is time.
    pub fn tell(&self, far: &Far) {
        let mut last = self.last.lock();
        if !self.json || last.elapsed() < Duration::from_secs(1) {
            return;
        }
        *last = Instant::now();
        let progress = Progress {
            kind: "progress",
            fetched_bytes: far.traffic.bytes,
            rest_bytes: far.rest_bytes,
            rest_seconds: far.rest.map(|rest| rest.as_secs_f64()),
            jobs: far.jobs,
        };
        // Whoever does not read along any more gets the report, or has gone.
        if let Ok(text) = serde_json::to_string(&progress) {
            let _ = writeln!(stdout(), "{text}");
        }
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
    #[serde(skip_serializing_if = "Option::is_none")]
    proved: Option<&'a Proved>,
}

/// What a recovery did that goes on while the directory is in use.
pub struct HotDone {
    pub set: u64,
    pub state: Timestamp,
    pub is_whole: bool,
    pub traffic: Traffic,
    pub prepared: Prepared,
}

#[derive(Serialize)]
struct HotSummary<'a> {
    set: u64,
    state: String,
    fetched_objects: u64,
    fetched_bytes: u64,
    left_files: u64,
    left_bytes: u64,
    not_recoverable: u64,
    conflicts: u64,
    phases: &'a Phases,
}

impl HotDone {
    /// Whether what is there, and what comes, is all that there was.
    pub fn is_all(&self) -> bool {
        self.is_whole && self.prepared.lost == 0 && self.prepared.faults == 0
    }

    /// Says it.
    ///
    /// # Errors
    /// When that can't be written.
    pub fn tell(
        &self,
        args: &args::Recover,
        target: &Target,
        phases: &Phases,
    ) -> Result<(), Error> {
        if !self.is_whole {
            writeln!(
                stderr(),
                "rewindfs: what came is not the state that the set says"
            )?;
        }
        let mut out = stdout().lock();
        let Prepared {
            files,
            bytes,
            lost,
            faults,
        } = self.prepared;
        if args.json {
            let summary = HotSummary {
                set: self.set,
                state: self.state.to_string(),
                fetched_objects: self.traffic.objects,
                fetched_bytes: self.traffic.bytes,
                left_files: files,
                left_bytes: bytes,
                not_recoverable: lost,
                conflicts: faults,
                phases,
            };
            let text = serde_json::to_string(&summary).map_err(io::Error::from)?;
            writeln!(out, "{text}")?;
            return Ok(());
        }
        let dir = quote(&target.dir);
        writeln!(
            out,
            "in use: {}, as of {}, from set {}, after {:.1} s ({} fetched)",
            target.dir.display(),
            self.state.local(&TimeZone::system()),
            self.set,
            phases.all_seconds,
            size(self.traffic.bytes),
        )?;
        writeln!(
            out,
            "still to come, when it is read and in the background: {}, {}; how far it is: rewindfs status {dir}",
            count(files, "file"),
            size(bytes),
        )?;
        Ok(())
    }
}

/// What a recovery did.
pub struct Done<'a> {
    pub set: &'a SetRecord,
    pub state: Timestamp,
    pub outcome: &'a Outcome,
    pub tally: Tally,
    pub phases: &'a Phases,
    pub problems: u64,
    /// For a drill.
    pub proved: Option<&'a Proved>,
}

impl Done<'_> {
    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        self.outcome.lacks.is_empty()
            && self.outcome.is_whole
            && self.outcome.missing == 0
            && self.problems == 0
            && self.proved.is_none_or(|proved| proved.differing == 0)
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
                proved: self.proved,
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
        if !args.mount && !args.is_part() {
            writeln!(out, "its past: rewindfs mount {}", quote(&target.dir))?;
        }
        Ok(())
    }
}
