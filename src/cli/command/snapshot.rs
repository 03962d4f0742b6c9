//! `snapshot`, `delete` and `rename`: the names.

use super::super::args;
use super::super::error::{Error, answered};
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::progress::Meter;
use super::super::quantity::{count, parse_span, size};
use super::super::quote::quote;
use super::super::reach;
use super::locate;
use crate::control::client::ClientError;
use crate::control::error::Error as Refusal;
use crate::control::locate::Place;
use crate::control::report::Mode;
use crate::control::request::{Answer, Made, Request};
use crate::control::when::When;
use crate::name::check_snapshot_name;
use crate::time::{TimeZone, Timestamp};
use std::ffi::OsStr;
use std::io::{Write, stdout};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Tries for a name that is made from the time: two commands may share a millisecond.
const NAME_TRIES: usize = 5;

/// `snapshot DIR [NAME]`.
pub fn make(args: args::Snapshot) -> Result<Exit, Error> {
    let meant = match &args.name {
        None => Some(format!("rewindfs snapshot . {}", quote(&args.dir.dir))),
        Some(_) => None,
    };
    let name = args.name.as_deref().map(check).transpose()?;
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), meant)?;
    let interrupt = Interrupt::catch().map_err(|source| Error::System {
        action: "signals can't be caught",
        source,
    })?;
    let mode = match (args.full, args.differential) {
        (true, _) => Mode::Full,
        (_, true) => Mode::Differential,
        _ => Mode::Incremental,
    };
    let wish = (args.message, mode);
    let made = match name {
        Some(name) => request(&place, name.to_owned(), wish, &interrupt)?,
        None => with_time(&place, &wish, &interrupt)?,
    };
    show(&made, args.json)?;
    let changed = made.changed_by_themselves.as_ref();
    Ok(
        if made.files_left_out > 0 || changed.is_some_and(|files| !files.is_empty()) {
            Exit::Differs
        } else {
            Exit::Done
        },
    )
}

/// A message, and how the content is found.
type Wish = (String, Mode);

fn with_time(place: &Place, wish: &Wish, interrupt: &Interrupt) -> Result<Made, Error> {
    let mut tries = 1;
    loop {
        let name = Timestamp::now().snapshot_name();
        match request(place, name, wish.clone(), interrupt) {
            Err(Error::Refused {
                refusal: Refusal::Exists { .. },
                ..
            }) if tries < NAME_TRIES => tries += 1,
            result => return result,
        }
    }
}

fn request(
    place: &Place,
    name: String,
    (message, mode): Wish,
    interrupt: &Interrupt,
) -> Result<Made, Error> {
    let wait = Meter::with("snapshot", interrupt.clone());
    let request = Request::Snapshot {
        name,
        message,
        mode,
    };
    let answer = reach::ask(place, request, &wait)?;
    let Answer::Snapshot(made) = answer else {
        return Err(reach::strange(place));
    };
    if interrupt.pressed() {
        // It was made just before: what was interrupted leaves no name behind.
        let name = made.name;
        let now = false;
        let request = Request::Delete { name, now };
        reach::ask(place, request, &Meter::new("delete"))?;
        return Err(answered(
            ClientError::Answered(Refusal::Interrupted),
            &place.dir,
        ));
    }
    Ok(made)
}

fn show(made: &Made, json: bool) -> Result<(), Error> {
    let mut out = stdout().lock();
    if json {
        let text = serde_json::to_string(made).map_err(std::io::Error::from)?;
        writeln!(out, "{text}")?;
        return Ok(());
    }
    let time = made.time.0.local(&TimeZone::system());
    write!(out, "snapshot {} of {time}", made.name)?;
    if let Some(base) = &made.base {
        write!(out, ", differential to {base}")?;
    }
    if made.files_left_out > 0 {
        let files = count(made.files_left_out, "file");
        write!(out, "; the content of {files} could not be recorded")?;
    }
    writeln!(out)?;
    if let Some(places) = &made.late {
        super::replica::warn_late(places);
    }
    for path in made.changed_by_themselves.iter().flatten() {
        writeln!(
            out,
            "{path}: its bytes changed though its size and times did not"
        )?;
    }
    if let Some(before) = &made.before {
        writeln!(
            out,
            "what they held before is in the snapshot {before}, on hold"
        )?;
    }
    Ok(())
}

/// `delete DIR NAME`.
pub fn delete(args: &args::Delete) -> Result<Exit, Error> {
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    let name = existing(&args.name, &place)?;
    let request = Request::Delete {
        name,
        now: args.now,
    };
    let answer = reach::ask(&place, request, &Meter::new("delete"))?;
    let Answer::Deleted { freed_bytes, kept } = answer else {
        return Err(reach::strange(&place));
    };
    let mut out = stdout().lock();
    if let Some(bytes) = freed_bytes {
        writeln!(out, "its state is gone; {} came free", size(bytes))?;
    }
    if let Some(reason) = kept {
        writeln!(out, "its name is gone, its state stays: {reason}")?;
        return Ok(Exit::Differs);
    }
    Ok(Exit::Done)
}

/// `undelete DIR NAME`.
pub fn undelete(args: &args::Undelete) -> Result<Exit, Error> {
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    let name = existing(&args.name, &place)?;
    reach::ask(&place, Request::Undelete { name }, &Meter::new("undelete"))?;
    Ok(Exit::Done)
}

/// `hold DIR NAME`.
pub fn hold(args: &args::Hold) -> Result<Exit, Error> {
    let until = args.until.as_deref().map(future).transpose()?;
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    let request = Request::Hold {
        name: existing(&args.name, &place)?,
        until: until.map(When),
        reason: args.reason.clone(),
    };
    reach::ask(&place, request, &Meter::new("hold"))?;
    Ok(Exit::Done)
}

/// When a hold is to end: a day or an instant, or so long from now on.
fn future(text: &str) -> Result<Timestamp, Error> {
    let now = Timestamp::now();
    if let Ok(seconds) = parse_span(text) {
        return Ok(now.plus(Duration::from_secs(seconds)));
    }
    let time = crate::time::parse(text, now, &TimeZone::system());
    time.map_err(|_| {
        Error::Usage(format!(
            "'{text}' is not a day or an instant; write for example 2027-01-31, \
             2027-01-31T12:00 or 30d"
        ))
    })
}

/// `release DIR NAME`.
pub fn release(args: &args::Release) -> Result<Exit, Error> {
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    let name = existing(&args.name, &place)?;
    let reason = args.reason.clone();
    let request = Request::Release { name, reason };
    reach::ask(&place, request, &Meter::new("release"))?;
    Ok(Exit::Done)
}

/// `rename DIR OLD NEW`.
pub fn rename(args: &args::Rename) -> Result<Exit, Error> {
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    let old = existing(&args.old, &place)?;
    let new = check(&args.new)?.to_owned();
    reach::ask(&place, Request::Rename { old, new }, &Meter::new("rename"))?;
    Ok(Exit::Done)
}

/// A name that a new snapshot may have.
fn check(name: &OsStr) -> Result<&str, Error> {
    check_snapshot_name(name.as_bytes()).map_err(|fault| Error::Name {
        name: name.to_owned(),
        fault,
    })
}

/// A name that is no text is no snapshot's.
fn existing(name: &OsStr, place: &Place) -> Result<String, Error> {
    match name.to_str() {
        Some(name) => Ok(name.to_owned()),
        None => Err(Error::Refused {
            refusal: Refusal::NoSnapshot {
                name: name.to_string_lossy().into_owned(),
            },
            dir: place.dir.clone(),
        }),
    }
}
