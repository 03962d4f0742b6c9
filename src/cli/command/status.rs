//! `status`: what is recorded, what is not, and what a person should see to.

pub(super) mod place;

use super::super::args;
use super::super::elsewhere;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::progress::Meter;
use super::super::quantity::{count, size};
use super::super::quote::quote;
use super::super::reach;
use super::locate;
use crate::control::client::ClientError;
use crate::control::folder::FolderError;
use crate::control::kept::span;
use crate::control::locate::{self as locating, Place};
use crate::control::open::OpenError;
use crate::control::report::{
    AlarmLine, Checked, CopyLine, FillingLine, Missing, MissingKind, NotRecorded, Status,
};
use crate::control::request::{Answer, Request};
use crate::control::when::When;
use crate::time::TimeZone;
use std::io::{self, Write, stdout};

/// Stretches without history that are shown, the newest ones.
const STRETCHES_MAX: usize = 5;

/// `status [DIR|URL]`.
pub fn run(args: &args::Status) -> Result<Exit, Error> {
    let mut out = stdout().lock();
    match &args.dir {
        Some(dir) if elsewhere::is_place(dir) => place::run(args, &dir.to_string_lossy(), &mut out),
        Some(dir) => {
            let place = locate(dir, args.store.said().as_deref(), None)?;
            let status = ask(&place)?;
            if args.json {
                json(&mut out, &status)?;
            } else {
                page(&mut out, &status, &TimeZone::system())?;
            }
            Ok(exit(&status))
        }
        None => all(&mut out, args.json),
    }
}

/// A line for each mounted directory; one that does not answer hides none of the others.
fn all(out: &mut impl Write, as_json: bool) -> Result<Exit, Error> {
    let places = locating::mounted().map_err(|error| Error::Locate { error, meant: None })?;
    if places.is_empty() && !as_json {
        writeln!(out, "no directory is mounted")?;
    }
    let mut worst = Exit::Done;
    for place in places {
        match ask(&place) {
            Ok(status) => {
                if as_json {
                    json(out, &status)?;
                } else {
                    writeln!(out, "{}", line(&status, &TimeZone::system()))?;
                }
                if exit(&status) != Exit::Done {
                    worst = Exit::Differs;
                }
            }
            // Another user's: nothing that this one should see to.
            Err(
                Error::Closed(_)
                | Error::Open(OpenError::Folder(FolderError::Unreadable { .. }))
                | Error::Daemon {
                    error: ClientError::Refused(_),
                    ..
                },
            ) => {
                if !as_json {
                    writeln!(out, "{}: mounted by another user", place.dir.display())?;
                }
            }
            Err(error) => {
                // Standard error may be gone; the exit code says it too.
                let _ = writeln!(io::stderr(), "rewindfs: {error}");
                worst = Exit::Differs;
            }
        }
    }
    Ok(worst)
}

fn exit(status: &Status) -> Exit {
    if status.problems.is_empty() {
        Exit::Done
    } else {
        Exit::Differs
    }
}

/// Of a mount whose daemon has died, the store is asked: it holds what there is to say.
fn ask(place: &Place) -> Result<Status, Error> {
    let wait = Meter::new("status");
    let (answer, dead) = match reach::ask(place, Request::Status, &wait) {
        Err(Error::Daemon {
            error: ClientError::NoDaemon,
            ..
        }) => {
            let unmounted = Place {
                mount: None,
                ..place.clone()
            };
            (reach::ask(&unmounted, Request::Status, &wait)?, true)
        }
        answer => (answer?, false),
    };
    let Answer::Status(mut status) = answer else {
        return Err(reach::strange(place));
    };
    if dead {
        let remedy = format!(
            "its daemon has died; take the dead mount off: rewindfs umount {}",
            quote(&place.dir)
        );
        status.dead = true;
        status.problems.insert(0, remedy);
    }
    Ok(*status)
}

fn json(out: &mut impl Write, status: &Status) -> io::Result<()> {
    serde_json::to_writer(&mut *out, status)?;
    writeln!(out)
}

fn local(when: When, zone: &TimeZone) -> String {
    when.0.local(zone)
}

/// `/p  mounted since ..., last recorded ..., 3 files not recorded`.
fn line(status: &Status, zone: &TimeZone) -> String {
    let mut parts = Vec::new();
    match &status.mounted {
        Some(mounted) => parts.push(format!("mounted since {}", local(mounted.since, zone))),
        None if status.dead => {}
        None => parts.push("not mounted".to_owned()),
    }
    match status.last_recorded {
        Some(last) => parts.push(format!("last recorded {}", local(last, zone))),
        None => parts.push("nothing recorded yet".to_owned()),
    }
    if let Some(waiting) = status
        .not_recorded
        .as_ref()
        .filter(|not| **not != NotRecorded::default())
    {
        parts.push(format!("not recorded: {}", not_recorded(waiting)));
    }
    parts.extend(status.problems.iter().cloned());
    format!("{}: {}", status.dir, parts.join(", "))
}

fn page(out: &mut impl Write, status: &Status, zone: &TimeZone) -> io::Result<()> {
    let mut row = |title: &str, text: &str| writeln!(out, "{title:<14}{text}");
    row("directory", &status.dir)?;
    row("mounted", &mounted(status, zone))?;
    let last = status.last_recorded.map(|last| local(last, zone));
    row("last recorded", last.as_deref().unwrap_or("nothing yet"))?;
    if status.missing.is_empty() {
        row("not recorded", "nothing is missing")?;
    }
    let earlier = status.missing.iter().filter(|one| is_over(one)).count();
    let passed = earlier.saturating_sub(STRETCHES_MAX);
    let shown = {
        let mut over = 0;
        let keep = move |one: &&Missing| {
            over += usize::from(is_over(one));
            !is_over(one) || over > passed
        };
        status.missing.iter().filter(keep)
    };
    for (i, one) in shown.enumerate() {
        row(
            if i == 0 { "not recorded" } else { "" },
            &missing(one, zone),
        )?;
    }
    if passed > 0 {
        let times = count(passed as u64, "earlier time");
        row("", &format!("what was changed at {times}, see --json"))?;
    }
    for (i, alarm) in status.alarms.iter().enumerate() {
        row(if i == 0 { "alarms" } else { "" }, &alarm_row(alarm, zone))?;
    }
    for (i, hint) in status.hints.iter().enumerate() {
        let text = format!("{}: {}", local(hint.time, zone), hint.text);
        row(if i == 0 { "hint" } else { "" }, &text)?;
    }
    row("history", &history(status, zone))?;
    if let (Some(from), Some(to)) = (status.history.since, status.last_recorded) {
        row("recoverable", &recoverable(from, to, status, zone))?;
    }
    row("store", &store(status))?;
    if let Some(checked) = &status.checked {
        row("checked", &checks(checked, zone))?;
    }
    if status.copies.is_empty() {
        let none = "none: protects against people and programs, not against the loss of this disk";
        row("copies", none)?;
    }
    for (i, copy) in status.copies.iter().enumerate() {
        row(if i == 0 { "copies" } else { "" }, &sent(copy, zone))?;
    }
    for (i, line) in status.replicas.iter().enumerate() {
        let title = if i == 0 { "replicas" } else { "" };
        row(title, &super::replica::in_words(line, zone))?;
    }
    for (i, line) in status.schedules.iter().enumerate() {
        let title = if i == 0 { "schedules" } else { "" };
        row(title, super::schedule::standing(line, zone).trim_start())?;
    }
    if let Some(filling) = &status.filling {
        row("recovering", &still_to_come(filling))?;
    }
    for (i, problem) in status.problems.iter().enumerate() {
        row(if i == 0 { "needs you" } else { "" }, problem)?;
    }
    Ok(())
}

/// What a recovery has still to bring.
pub fn still_to_come(filling: &FillingLine) -> String {
    let mut text = match filling.is_filled || filling.files == 0 {
        true => "all files are here; the past is still to come".to_owned(),
        false => format!(
            "{}, {} without content yet",
            count(filling.files, "file"),
            size(filling.bytes)
        ),
    };
    if !filling.places.is_empty() {
        text += &format!("; from {}", filling.places.join(" and "));
    }
    if let Some(bytes) = filling.rest_bytes {
        text += &format!("; {} to be fetched", size(bytes));
    }
    if let Some(seconds) = filling.rest_seconds {
        text += &format!(", in about {}", span(seconds));
    }
    text
}

fn sent(copy: &CopyLine, zone: &TimeZone) -> String {
    let place = match &copy.url[..] {
        "" => "elsewhere",
        url => url,
    };
    let behind = match copy.behind_since {
        Some(since) => format!(
            "what was recorded from {} on is on this disk alone",
            local(since, zone)
        ),
        None => "all that is recorded".to_owned(),
    };
    let (set, time) = (copy.set, local(copy.time, zone));
    let tried = match copy.drills.last {
        Some(_) => super::replica::tried(&copy.drills, zone),
        None => String::new(),
    };
    format!("set {set} at {place}, as of {time}; {behind}{tried}")
}

fn checks(checked: &Checked, zone: &TimeZone) -> String {
    let mut parts = Vec::new();
    if let Some(ended) = checked.ended {
        let found = match checked.problems {
            0 => "no problem found".to_owned(),
            problems => count(problems, "problem"),
        };
        parts.push(format!("all of it, {}: {found}", local(ended, zone)));
    }
    if let Some(bytes) = checked.under_way_bytes {
        parts.push(format!("{} so far by the check under way", size(bytes)));
    }
    parts.join("; ")
}

fn mounted(status: &Status, zone: &TimeZone) -> String {
    let Some(mounted) = &status.mounted else {
        return if status.dead {
            "its daemon has died".to_owned()
        } else {
            format!("no; to mount it: rewindfs mount {}", quote(&status.dir))
        };
    };
    let mut text = format!("since {} (pid {})", local(mounted.since, zone), mounted.pid);
    if mounted.mountpoint != status.dir {
        text += &format!(" on {}", mounted.mountpoint);
    }
    for (is, word) in [
        (mounted.read_only, "read-only"),
        (mounted.writeback, "writeback"),
        (!mounted.recording, "without history"),
    ] {
        if is {
            text += &format!(", {word}");
        }
    }
    text
}

fn not_recorded(waiting: &NotRecorded) -> String {
    let mut text = if waiting.files == 0 {
        "nothing".to_owned()
    } else {
        format!("{}, {}", count(waiting.files, "file"), size(waiting.bytes))
    };
    if let Some(scan) = waiting.scan {
        let what = if scan.first {
            "first import"
        } else {
            "looking for changes"
        };
        let files = count(scan.files, "file");
        text += &format!("; {what}: {files}, {} so far", size(scan.bytes));
    }
    text
}

/// A time without history that has ended.
fn is_over(one: &Missing) -> bool {
    one.kind == MissingKind::Unrecorded && one.until.is_some()
}

/// `WHAT (3 files, 1.0 MiB), since WHEN: WHY; WHAT TO DO`.
fn missing(one: &Missing, zone: &TimeZone) -> String {
    let mut text = one.what.clone();
    let amount: Vec<String> = [
        one.files.map(|files| count(files, "file")),
        one.bytes.map(size),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !amount.is_empty() {
        let so_far = match one.kind {
            MissingKind::Scan => " so far",
            _ => "",
        };
        text += &format!(" ({}{so_far})", amount.join(", "));
    }
    match (one.since, one.until) {
        (Some(since), Some(until)) => {
            text += &format!(" from {} to {}", local(since, zone), local(until, zone));
        }
        (Some(since), None) => text += &format!(", since {}", local(since, zone)),
        (None, _) => {}
    }
    text += &format!(": {}", one.why);
    if !one.cure.is_empty() {
        text += &format!("; {}", one.cure);
    }
    text
}

fn alarm_row(alarm: &AlarmLine, zone: &TimeZone) -> String {
    let mut text = format!("{}: {}", local(alarm.time, zone), alarm.text);
    if !alarm.folder.is_empty() {
        text += &format!(" in {}", alarm.folder);
    }
    match (&alarm.snapshot, alarm.until) {
        (Some(name), Some(until)) => {
            text += &format!("; before: {name}, held until {}", local(until, zone));
        }
        _ => text += "; no state before is held",
    }
    text
}

fn history(status: &Status, zone: &TimeZone) -> String {
    let history = &status.history;
    let Some(since) = history.since else {
        return "nothing yet".to_owned();
    };
    format!(
        "{} ({} held), {} since {}",
        count(history.snapshots, "snapshot"),
        history.held,
        count(history.checkpoints, "checkpoint"),
        local(since, zone)
    )
}

/// From when to when, and what of now is not in it.
fn recoverable(from: When, to: When, status: &Status, zone: &TimeZone) -> String {
    let seconds = status.not_recorded.as_ref().map_or(0, |not| not.seconds);
    let now = match seconds {
        0 => String::new(),
        seconds => format!("; changes of the last {seconds} s are not recorded yet"),
    };
    format!("from {} to {}{now}", local(from, zone), local(to, zone))
}

fn store(status: &Status) -> String {
    let store = &status.store;
    let mut text = format!("{}, {}", store.path, size(store.bytes));
    if store.recorded_bytes > 0 {
        text += &format!(" for {} that were recorded", size(store.recorded_bytes));
    }
    if store.stored_bytes > 0 {
        text += &format!(
            " ({} new, compressed {})",
            size(store.new_bytes),
            ratio(store.new_bytes, store.stored_bytes)
        );
    }
    text += &format!(
        "; {} free of {}",
        size(store.free_bytes),
        size(store.file_system_bytes)
    );
    text
}

/// `2.5:1`, cut off.
fn ratio(plain: u64, stored: u64) -> String {
    let tenths = u128::from(plain) * 10 / u128::from(stored.max(1));
    format!("{}.{}:1", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests;
