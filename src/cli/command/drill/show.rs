//! What a person reads of drills.

use super::log::Told;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::quantity::{count, size};
use crate::control::drills::DrillReport;
use crate::time::TimeZone;
use std::io::{self, Write, stderr, stdout};

/// One that has just ended.
pub fn report(report: &DrillReport, json: bool) -> Result<(), Error> {
    let mut out = stdout().lock();
    if json {
        let text = serde_json::to_string(report).map_err(io::Error::from)?;
        writeln!(out, "{text}")?;
        return Ok(());
    }
    let zone = TimeZone::system();
    writeln!(out, "{}: {}", report.url, in_words(report, &zone))?;
    if report.ok {
        let phases = &report.phases;
        writeln!(
            out,
            "fetched {} in {}, checked in {}, written in {}, command {}: usable again after {}",
            size(report.fetched_bytes),
            seconds(phases.list_ms + phases.fetch_ms),
            seconds(phases.verify_ms),
            seconds(phases.write_ms),
            seconds(phases.check_ms),
            seconds(report.rto_ms),
        )?;
    }
    drop(out);
    if report.kept_apart == Some(false) {
        writeln!(
            stderr(),
            "rewindfs: this system does not let the drill out of sight of directory and store; it \
             does not open them all the same"
        )?;
    }
    Ok(())
}

/// All that were; 1 if the last one failed, or the log is not what was written.
pub fn list(told: &Told, json: bool) -> Result<Exit, Error> {
    let mut out = stdout().lock();
    let zone = TimeZone::system();
    for report in &told.reports {
        if json {
            let text = serde_json::to_string(report).map_err(io::Error::from)?;
            writeln!(out, "{text}")?;
            continue;
        }
        let (when, words) = (report.ended.0.local(&zone), in_words(report, &zone));
        writeln!(out, "{when}  {}: {words}", report.url)?;
    }
    if told.reports.is_empty() && !json {
        writeln!(out, "there were none yet: rewindfs drill DIR, or URL")?;
    }
    drop(out);
    if let Some(fault) = &told.fault {
        writeln!(
            stderr(),
            "rewindfs: {fault}: somebody has changed it, and it proves nothing before its next line"
        )?;
    }
    let last_failed = told.reports.last().is_some_and(|report| !report.ok);
    Ok(match told.fault.is_some() || last_failed {
        true => Exit::Differs,
        false => Exit::Done,
    })
}

/// `right: as of ..., set 3: 12 files (1.0 MiB) read again`.
fn in_words(report: &DrillReport, zone: &TimeZone) -> String {
    if !report.ok {
        return format!("FAILED: {}", report.problems.join("; "));
    }
    let state = report.state.map(|state| state.0.local(zone));
    let sample = match (report.sample_percent, report.seed) {
        (Some(percent), Some(seed)) => format!(", a sample of {percent} % (--seed {seed})"),
        _ => String::new(),
    };
    let check = match report.check {
        Some(_) => ", and the check command is content",
        None => "",
    };
    format!(
        "right: as of {}, set {}: {} ({}) came back as recorded{sample}{check}",
        state.unwrap_or_default(),
        report.set.unwrap_or_default(),
        count(report.files, "file"),
        size(report.bytes),
    )
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}
