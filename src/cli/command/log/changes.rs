//! `log --by time` and `--by file`: each change, and each path that changed. They read the changes in
//! their order, as `events` does, and print the newest first.

use super::Lines;
use super::doings::{doer, nobody_known};
use crate::cli::command::events::{Shown, shown_path};
use crate::cli::error::Error;
use crate::cli::past::{Past, Paths};
use crate::cli::quote::quote;
use crate::cli::reach;
use crate::control::report::{EventLine, Who};
use crate::control::request::{Answer, EventsFrom, RawPath, Request};
use crate::control::when::When;
use crate::limits;
use crate::time::Timestamp;
use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Each change below a path since a time, in their order.
fn each(
    past: &Past,
    paths: &Paths,
    under: &RawPath,
    since: Timestamp,
    mut take: impl FnMut(EventLine),
) -> Result<(), Error> {
    let mut from = match since {
        Timestamp(i64::MIN) => EventsFrom::Start,
        time => EventsFrom::Time(When(time)),
    };
    loop {
        let under = under.clone();
        let request = Request::Events { from, under };
        let Answer::Events { lines, token, more } = past.ask(request, "log")? else {
            return Err(reach::strange(&paths.place));
        };
        lines.into_iter().for_each(&mut take);
        if !more {
            return Ok(());
        }
        from = EventsFrom::Token(token);
    }
}

fn doer_of(who: &[Who]) -> String {
    who.first().map_or_else(nobody_known, doer)
}

fn path_text(path: &RawPath) -> String {
    match path.0.as_slice() {
        b"" => ".".to_owned(),
        path => quote(OsStr::from_bytes(path)),
    }
}

/// Whether there are older ones.
pub(super) fn by_time(
    past: &Past,
    paths: &Paths,
    under: &RawPath,
    since: Timestamp,
    out: &mut Lines,
) -> Result<bool, Error> {
    let mut newest = VecDeque::new();
    let mut more = false;
    each(past, paths, under, since, |line| {
        if newest.len() == limits::CHANGES_TOLD {
            newest.pop_front();
            more = true;
        }
        newest.push_back(line);
    })?;
    for line in newest.iter().rev() {
        out.put(&Shown::of(line), |zone| {
            let from = line
                .from
                .as_ref()
                .map(|from| format!("{} -> ", path_text(from)));
            format!(
                "{}  {}  {}{}  {}",
                line.time.0.local(zone),
                line.change,
                from.unwrap_or_default(),
                path_text(&line.path),
                doer_of(&line.who),
            )
        })?;
    }
    Ok(more)
}

/// What became of one path.
struct Changed {
    changes: u64,
    first: When,
    last: EventLine,
}

/// A line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    changes: u64,
    first: When,
    last: When,
    /// The last one.
    change: char,
    who: &'a [Who],
}

/// Always all of them.
pub(super) fn by_file(
    past: &Past,
    paths: &Paths,
    under: &RawPath,
    since: Timestamp,
    out: &mut Lines,
) -> Result<bool, Error> {
    let mut files: HashMap<Vec<u8>, Changed> = HashMap::new();
    each(past, paths, under, since, |line| {
        match files.get_mut(&line.path.0) {
            Some(known) => {
                known.changes += 1;
                known.last = line;
            }
            None => {
                let changed = Changed {
                    changes: 1,
                    first: line.time,
                    last: line,
                };
                files.insert(changed.last.path.0.clone(), changed);
            }
        }
    })?;
    let mut files: Vec<Changed> = files.into_values().collect();
    files.sort_by(|a, b| {
        let key = |one: &Changed| (std::cmp::Reverse(one.last.time.0), one.last.path.0.clone());
        key(a).cmp(&key(b))
    });
    for one in &files {
        let last = &one.last;
        let (path, path_hex) = shown_path(&last.path);
        let line = Line {
            path: path.into_owned(),
            path_hex,
            changes: one.changes,
            first: one.first,
            last: last.time,
            change: last.change,
            who: &last.who,
        };
        out.put(&line, |zone| {
            format!(
                "{}  {}  {}  {} change{}, the last by {}",
                last.time.0.local(zone),
                last.change,
                path_text(&last.path),
                one.changes,
                if one.changes == 1 { "" } else { "s" },
                doer_of(&last.who),
            )
        })?;
    }
    Ok(false)
}
