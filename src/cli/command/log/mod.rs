//! `log`: what was done to a file or folder, when, and by which command. Of a file its versions; of
//! a folder the doings, or on demand the changes, or the files that changed.

mod changes;
mod doings;
mod versions;

pub(super) use doings::{doer, what};

use super::super::args::{self, GroupBy};
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::past::{Past, Paths};
use super::super::reach;
use super::time_of;
use crate::control::request::{Answer, RawPath, Request};
use crate::control::when::When;
use crate::time::{TimeZone, Timestamp};
use serde::Serialize;
use std::io::{self, StdoutLock, Write, stdout};

/// Lines on standard output.
struct Lines {
    out: io::BufWriter<StdoutLock<'static>>,
    zone: TimeZone,
    json: bool,
}

impl Lines {
    /// One line, as the object `shown` or as `text` says it.
    fn put(
        &mut self,
        shown: &impl Serialize,
        text: impl FnOnce(&TimeZone) -> String,
    ) -> Result<(), Error> {
        if self.json {
            serde_json::to_writer(&mut self.out, shown).map_err(io::Error::from)?;
            writeln!(self.out)?;
        } else {
            writeln!(self.out, "{}", text(&self.zone))?;
        }
        Ok(())
    }
}

/// `log PATH`.
pub fn run(args: &args::Log) -> Result<Exit, Error> {
    let asked = std::slice::from_ref(&args.path);
    let paths = Paths::find(asked, args.store.said().as_deref())?;
    let since = match &args.since {
        None => Timestamp(i64::MIN),
        Some(text) => time_of(text)?,
    };
    let past = Past::open(&paths.place, &paths.root, false)?;
    if past.is_mounted() {
        // What was done just now is to be told.
        past.record()?;
    }
    let under = paths.asked.first().map(|names| names.join(&b'/'));
    let under = RawPath(under.unwrap_or_default());
    let mut lines = Lines {
        out: io::BufWriter::new(stdout().lock()),
        zone: TimeZone::system(),
        json: args.json,
    };
    let more = match args.by {
        Some(GroupBy::Time) => changes::by_time(&past, &paths, &under, since, &mut lines)?,
        Some(GroupBy::File) => changes::by_file(&past, &paths, &under, since, &mut lines)?,
        Some(GroupBy::Actor) => by_actor(&past, &paths, under, since, &mut lines)?,
        None => match versions::of(&past, &paths, &under, since, &mut lines)? {
            Some(more) => more,
            None => by_actor(&past, &paths, under, since, &mut lines)?,
        },
    };
    lines.out.flush()?;
    if more {
        eprintln!("rewindfs: there are older ones, which are too many to be shown at once");
    }
    Ok(Exit::Done)
}

fn by_actor(
    past: &Past,
    paths: &Paths,
    under: RawPath,
    since: Timestamp,
    out: &mut Lines,
) -> Result<bool, Error> {
    let since = When(since);
    let request = Request::Doings { since, under };
    let Answer::Doings { lines, more } = past.ask(request, "log")? else {
        return Err(reach::strange(&paths.place));
    };
    for line in &lines {
        out.put(line, |zone| doings::text(line, zone))?;
    }
    Ok(more)
}
