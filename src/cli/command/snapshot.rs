//! `snapshot`, `delete` and `rename`: the names.

use super::super::args;
use super::super::error::{Error, answered};
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::progress::Meter;
use super::super::quantity::count;
use super::super::quote::quote;
use super::super::reach;
use super::locate;
use crate::control::client::ClientError;
use crate::control::error::Error as Refusal;
use crate::control::locate::Place;
use crate::control::request::{Answer, Made, Request};
use crate::name::check_snapshot_name;
use crate::time::{TimeZone, Timestamp};
use std::ffi::OsStr;
use std::io::{Write, stdout};
use std::os::unix::ffi::OsStrExt;

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
    let made = match name {
        Some(name) => request(&place, name.to_owned(), args.message, &interrupt)?,
        None => with_time(&place, &args.message, &interrupt)?,
    };
    show(&made, args.json)?;
    Ok(if made.files_left_out > 0 {
        Exit::Differs
    } else {
        Exit::Done
    })
}

fn with_time(place: &Place, message: &str, interrupt: &Interrupt) -> Result<Made, Error> {
    let mut tries = 1;
    loop {
        let name = Timestamp::now().snapshot_name();
        match request(place, name, message.to_owned(), interrupt) {
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
    message: String,
    interrupt: &Interrupt,
) -> Result<Made, Error> {
    let wait = Meter::with("snapshot", interrupt.clone());
    let request = Request::Snapshot { name, message };
    let answer = reach::ask(place, request, &wait)?;
    let Answer::Snapshot(made) = answer else {
        return Err(reach::strange(place));
    };
    if interrupt.pressed() {
        // It was made just before: what was interrupted leaves no name behind.
        let name = made.name;
        reach::ask(place, Request::Delete { name }, &Meter::new("delete"))?;
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
    if made.files_left_out > 0 {
        let files = count(made.files_left_out, "file");
        write!(out, "; the content of {files} could not be recorded")?;
    }
    writeln!(out)?;
    Ok(())
}

/// `delete DIR NAME`.
pub fn delete(args: &args::Delete) -> Result<Exit, Error> {
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    let name = existing(&args.name, &place)?;
    reach::ask(&place, Request::Delete { name }, &Meter::new("delete"))?;
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
