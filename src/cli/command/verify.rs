//! `verify`: whether all that was recorded can be read.

use super::super::args;
use super::super::elsewhere;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::progress::Meter;
use super::super::quantity::{count, size};
use super::super::reach;
use super::backup::with_damaged;
use super::locate;
use crate::archive::{Mended, Other};
use crate::control::client::Wait as _;
use crate::control::error::Error as Refusal;
use crate::control::locate::Place;
use crate::control::request::{Answer, Request};
use crate::control::verified::{Finding, Remedy, Verified};
use crate::time::TimeZone;
use std::io::{self, Write, stderr, stdout};

/// `verify DIR [--data | --sample PERCENT | --repair [--from URL]]`.
pub fn run(args: &args::Verify) -> Result<Exit, Error> {
    let percent = match (args.data, args.sample) {
        (true, _) => 100,
        (false, Some(percent)) => percent,
        (false, None) => 0,
    };
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    let interrupt = Interrupt::catch().map_err(|source| Error::System {
        action: "signals can't be caught",
        source,
    })?;
    let meter = Meter::with("verify", interrupt);
    let repair = args.repair;
    for url in &args.from {
        from_elsewhere(url, args, &place, &meter)?;
    }
    let request = Request::Verify { percent, repair };
    let Answer::Verified(report) = reach::ask(&place, request, &meter)? else {
        return Err(reach::strange(&place));
    };
    let mut out = stdout().lock();
    if args.json {
        let text = serde_json::to_string(&report).map_err(io::Error::from)?;
        writeln!(out, "{text}")?;
    } else {
        show(&mut out, &report, &TimeZone::system())?;
    }
    Ok(if report.problems > report.mended {
        Exit::Differs
    } else {
        Exit::Done
    })
}

/// Has the store get back what it has lost from a place where it was sent.
fn from_elsewhere(
    url: &str,
    args: &args::Verify,
    place: &Place,
    meter: &Meter,
) -> Result<(), Error> {
    let repository = elsewhere::open(url, &args.opening)?;
    let catalog = repository.catalog()?;
    let other = Other::new(&repository, &catalog);
    let mended = with_damaged(place, meter, |feed| {
        Ok(other.mend(feed, &|| !meter.interrupted())?)
    });
    let mended = match mended {
        // What is here says nothing of which history it is.
        Err(Error::Refused {
            refusal: Refusal::NoState { .. },
            ..
        }) => {
            let _ = writeln!(
                stderr(),
                "rewindfs: no state is left here that could be completed; all that was sent can be \
                 had: rewindfs recover {} --to DIRECTORY",
                repository.place()
            );
            return Ok(());
        }
        mended => mended?,
    };
    // It is back, whether anybody reads that or not.
    let _ = writeln!(stderr(), "rewindfs: {}", back(&mended, repository.place()));
    if mended.is_in_use {
        let dir = place.dir.display();
        let _ = writeln!(
            stderr(),
            "rewindfs: a part of the records can't be read, and comes back only while nothing is mounted: \
             rewindfs umount {dir}, then this again"
        );
    }
    Ok(())
}

/// What came back, in a line.
fn back(mended: &Mended, from: &str) -> String {
    let came = match (mended.records, mended.contents) {
        (0, 0) if mended.lacking == 0 => return format!("nothing is lost that {from} has"),
        (0, 0) => "nothing".to_owned(),
        (0, contents) => format!("{} of content", count(contents, "piece")),
        (records, 0) => count(records, "record"),
        (records, contents) => {
            let records = count(records, "record");
            format!("{records} and {} of content", count(contents, "piece"))
        }
    };
    match mended.lacking {
        0 => format!("{came} came back from {from}"),
        lacking => {
            let pieces = count(lacking, "piece");
            format!(
                "{came} came back from {from}; {pieces} of content that is lost here it has not either"
            )
        }
    }
}

fn show(out: &mut impl Write, report: &Verified, zone: &TimeZone) -> io::Result<()> {
    for finding in &report.findings {
        writeln!(out, "{}", line(finding, zone))?;
    }
    if report.repaired_states > 0 {
        let states = count(report.repaired_states, "state");
        writeln!(out, "{states} hold less than they did, since a repair")?;
    }
    let shown = report.findings.len() as u64;
    if report.problems > shown {
        writeln!(out, "... and {} more", report.problems - shown)?;
    }
    let hashed = match report.hashed_percent {
        0 => "not hashed again (--data does)".to_owned(),
        100 => "hashed again".to_owned(),
        percent => format!("{percent} % of them hashed again"),
    };
    writeln!(
        out,
        "{}, {}, {} of content ({}), {hashed}: {}",
        count(report.states, "state"),
        count(report.versions, "version"),
        count(report.chunks, "piece"),
        size(report.chunk_bytes),
        match report.problems {
            0 => "no problem found".to_owned(),
            problems if report.mended + report.given_up == 0 => count(problems, "problem"),
            problems => {
                let (mended, given_up) = (report.mended, report.given_up);
                let left = problems - mended - given_up;
                format!(
                    "{}, {mended} mended, {given_up} given up, {left} left",
                    count(problems, "problem")
                )
            }
        }
    )
}

fn line(finding: &Finding, zone: &TimeZone) -> String {
    let mut text = String::new();
    if let Some(path) = &finding.path {
        text += &format!("{path}: ");
    }
    match finding.repair {
        Some(Remedy::Mended) => text += "mended: ",
        Some(Remedy::GivenUp) => text += "given up: ",
        None => {}
    }
    text += &finding.problem;
    match (finding.first_state, finding.last_state) {
        (Some(first), Some(last)) if first != last => {
            let (first, last) = (first.0.local(zone), last.0.local(zone));
            text += &format!("; states from {first} to {last}");
        }
        (Some(state), _) => text += &format!("; state of {}", state.0.local(zone)),
        _ => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::when::When;
    use crate::time::Timestamp;

    const NOON: When = When(Timestamp(1_795_176_000_000_000_000));

    #[test]
    fn the_report_names_what_is_touched() {
        let mut report = Verified {
            states: 3,
            versions: 1,
            chunks: 5,
            chunk_bytes: 2048,
            hashed_percent: 100,
            repaired_states: 0,
            problems: 0,
            mended: 0,
            given_up: 0,
            findings: Vec::new(),
        };
        let shown = |report: &Verified| {
            let mut out = Vec::new();
            show(&mut out, report, &TimeZone::UTC).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            shown(&report),
            "3 states, 1 version, 5 pieces of content (2.0 KiB), hashed again: no problem found\n"
        );
        report.problems = 3;
        report.hashed_percent = 0;
        report.findings = vec![
            Finding {
                problem: "the content of a file can't be read".to_owned(),
                repair: None,
                path: Some("src/main.rs".to_owned()),
                first_state: Some(NOON),
                last_state: Some(When(Timestamp(NOON.0.0 + 60_000_000_000))),
            },
            Finding {
                problem: "what is recorded of a state is not what it was".to_owned(),
                repair: None,
                path: None,
                first_state: Some(NOON),
                last_state: Some(NOON),
            },
        ];
        assert_eq!(
            shown(&report),
            "src/main.rs: the content of a file can't be read; states from 2026-11-20 12:00:00 \
             +00:00 to 2026-11-20 12:01:00 +00:00\n\
             what is recorded of a state is not what it was; state of 2026-11-20 12:00:00 +00:00\n\
             ... and 1 more\n\
             3 states, 1 version, 5 pieces of content (2.0 KiB), not hashed again (--data does): \
             3 problems\n"
        );
    }
}
