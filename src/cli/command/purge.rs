//! `purge`: content is removed from all of history: the plan first, then, when it is confirmed, its
//! execution. Nothing brings it back.

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::past::Paths;
use super::super::progress::Meter;
use super::super::quantity::{count, size};
use super::super::reach;
use crate::control::purged::{PurgeReport, PurgedVersion};
use crate::control::request::{Answer, RawPath, Request};
use crate::time::TimeZone;
use std::io::{self, BufRead, IsTerminal, Write, stdin, stdout};

/// Versions that are shown; of more, how many.
const SHOWN: usize = 50;

/// `purge PATH... [--hash H]`.
pub fn run(args: &args::Purge) -> Result<Exit, Error> {
    let paths = Paths::find(&args.paths, args.store.said().as_deref())?;
    let place = &paths.place;
    let raw = paths.asked.iter().map(|names| RawPath(names.join(&b'/')));
    let raw: Vec<RawPath> = raw.collect();
    let request = |token| Request::Purge {
        paths: raw.clone(),
        hash: args.hash.clone(),
        reason: args.reason.clone(),
        token,
    };
    let interrupt = Interrupt::catch().map_err(|source| Error::System {
        action: "signals can't be caught",
        source,
    })?;
    let meter = Meter::with("purge", interrupt);
    let Answer::Purge(plan) = reach::ask(place, request(None), &meter)? else {
        return Err(reach::strange(place));
    };
    let mut out = stdout().lock();
    let quiet = args.json && (args.dry_run || args.yes);
    if !quiet {
        show(&mut out, &plan, &TimeZone::system())?;
        out.flush()?;
    }
    if args.dry_run || plan.versions == 0 {
        return ends(&mut out, args.json, &plan);
    }
    if !args.yes && !confirmed(&mut out)? {
        return Err(Error::NotConfirmed);
    }
    let token = Some(plan.token.clone());
    let Answer::Purge(done) = reach::ask(place, request(token), &meter)? else {
        return Err(reach::strange(place));
    };
    if !args.json {
        let versions = count(done.versions, "version");
        writeln!(
            out,
            "purged {versions}; {} came free",
            size(done.freed_bytes)
        )?;
        if !done.wiped {
            writeln!(
                out,
                "somebody reads the store as it was before: the bytes leave its files when he is done"
            )?;
        }
    }
    ends(&mut out, args.json, &done)
}

fn ends(out: &mut impl Write, json: bool, report: &PurgeReport) -> Result<Exit, Error> {
    if json {
        let text = serde_json::to_string(report).map_err(io::Error::from)?;
        writeln!(out, "{text}")?;
    }
    // What is left of it elsewhere, and what was not found, is for a person to see to.
    Ok(if report.versions == 0 || report.shared_pieces > 0 {
        Exit::Differs
    } else {
        Exit::Done
    })
}

/// A person at a terminal types the word.
fn confirmed(out: &mut impl Write) -> io::Result<bool> {
    if !stdin().is_terminal() {
        return Ok(false);
    }
    write!(out, "this can't be taken back; type purge to go on: ")?;
    out.flush()?;
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == "purge")
}

fn show(out: &mut impl Write, plan: &PurgeReport, zone: &TimeZone) -> io::Result<()> {
    for version in plan.lines.iter().take(SHOWN) {
        writeln!(out, "{}", line(version, zone))?;
    }
    let shown = plan.lines.len().min(SHOWN) as u64;
    if plan.versions > shown {
        writeln!(out, "... and {} more", plan.versions - shown)?;
    }
    if plan.versions == 0 {
        return writeln!(out, "history holds nothing of it");
    }
    let versions = count(plan.versions, "version");
    writeln!(
        out,
        "{versions}, {} that nothing else needs",
        size(plan.freed_bytes)
    )?;
    if plan.shared_pieces > 0 {
        let pieces = count(plan.shared_pieces, "piece");
        let bytes = size(plan.shared_bytes);
        let with = plan.shared_with.join(", ");
        writeln!(
            out,
            "{pieces} ({bytes}) stay, since other content needs them: {with}"
        )?;
    }
    for copy in &plan.copies {
        writeln!(
            out,
            "{} has it too, in sets up to {} ({}), until these are removed there; a full set that is made after this needs none of them",
            copy.url,
            copy.set,
            copy.sent.0.local(zone)
        )?;
    }
    for live in plan.live.iter().take(SHOWN) {
        writeln!(
            out,
            "{live} is there now and stays: what it holds is recorded again when it is changed"
        )?;
    }
    Ok(())
}

fn line(version: &PurgedVersion, zone: &TimeZone) -> String {
    let path = match version.path.as_str() {
        "" => "(a file without a name)",
        path => path,
    };
    let states = count(version.states, "state");
    let mut text = format!("{path}  {} in {states}", size(version.bytes));
    match (version.first_state, version.last_state) {
        (Some(first), Some(last)) if first != last => {
            let (first, last) = (first.0.local(zone), last.0.local(zone));
            text += &format!(", {first} to {last}");
        }
        (Some(state), _) => text += &format!(", {}", state.0.local(zone)),
        _ => {}
    }
    text
}
