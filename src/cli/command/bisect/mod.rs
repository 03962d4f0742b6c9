//! `bisect`: a command is run in the past, until it is known which change broke it.

mod search;

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::past::{self, Past, Paths, State};
use super::super::quantity::count;
use super::super::quote::{git, quote};
use super::super::reach;
use super::log;
use crate::backing;
use crate::control::report::{EventLine, LineKind, Who};
use crate::control::request::{Answer, EventsFrom, Position, RawPath, Request};
use crate::control::when::When;
use crate::restore::{self, Asked, Change, Folder, Options, Overwrite, Tally, Tell, Trouble};
use crate::time::TimeZone;
use search::{Search, Verdict};
use std::ffi::OsStr;
use std::io::{Write, stdout};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;

/// Changes of the first bad state that are shown; of more, the command that shows them.
const CHANGES_SHOWN: usize = 20;
/// What CMD ends with where it can't tell, as of `git bisect run`.
const CANNOT_TELL: i32 = 125;
/// The first code that is no answer any more.
const NO_ANSWER: i32 = 128;

/// `bisect DIR --good STATE --bad STATE -- CMD...`.
pub fn run(args: &args::Bisect) -> Result<Exit, Error> {
    let dir = &args.dir;
    let paths = Paths::find(std::slice::from_ref(&dir.dir), dir.store.said().as_deref())?;
    if !args.writable && paths.place.mount.is_none() {
        return Err(Error::NoViews(paths.root));
    }
    let past = Past::open(&paths.place, &paths.root, false)?;
    // Both before anything is recorded: what is named by how long ago it was is that of now.
    let names = (past::exact_name(&args.good)?, past::exact_name(&args.bad)?);
    if past.is_mounted() {
        past.record()?;
    }
    let (good, bad) = (past.state(&names.0)?, past.state(&names.1)?);
    let times = between(&past, &paths, args, (&good, &bad))?;
    let interrupt = Interrupt::catch().map_err(|source| Error::System {
        action: "signals can't be caught",
        source,
    })?;
    let asked = paths.asked.first().cloned().unwrap_or_default();
    let trial = Trial {
        past: &past,
        paths: &paths,
        asked,
        command: &args.command,
        copy: match args.writable {
            true => Some(Copy::new()?),
            false => None,
        },
        interrupt,
    };
    let mut search = Search::new(times.len());
    // Who is wrong about one of the two would be led to the wrong change.
    for (at, state, expected) in [
        (0, &args.good, Verdict::Good),
        (times.len() - 1, &args.bad, Verdict::Bad),
    ] {
        match trial.of(times[at])? {
            None => return Ok(Exit::Interrupted),
            Some(found) if found == expected => {}
            Some(_) => {
                return Err(Error::Usage(format!(
                    "the command {} in {state}: choose another state",
                    match expected {
                        Verdict::Good => "does not succeed",
                        _ => "does not fail",
                    }
                )));
            }
        }
    }
    while let Some(state) = search.next() {
        eprintln!(
            "rewindfs: {} left, about {} to try; now that of {}",
            count(search.open() as u64, "state"),
            search.steps(),
            times[state].0.local(&TimeZone::system())
        );
        match trial.of(times[state])? {
            None => return Ok(Exit::Interrupted),
            Some(verdict) => search.tell(state, verdict),
        }
    }
    let (good, bad) = search.ends();
    tell(&past, &paths, &times[good..=bad])?;
    Ok(if bad - good == 1 {
        Exit::Done
    } else {
        Exit::Differs
    })
}

/// The times of all states from the good one to the bad one.
fn between(
    past: &Past,
    paths: &Paths,
    args: &args::Bisect,
    (good, bad): (&State, &State),
) -> Result<Vec<When>, Error> {
    let (Some(good), Some(bad)) = (&good.found, &bad.found) else {
        return Err(Error::OwnersOnly {
            dir: paths.root.clone(),
            a: args.good.clone(),
            b: args.bad.clone(),
        });
    };
    if good.epoch >= bad.epoch {
        return Err(Error::Usage(format!(
            "{} is not older than {}: --good is the state in which all was well, --bad a later one",
            args.good, args.bad
        )));
    }
    let mut times = vec![good.time];
    let mut after = Some(Position {
        epoch: good.epoch,
        snapshot: u64::MAX,
    });
    while let Some(position) = after {
        let request = Request::List {
            checkpoints: true,
            after: Some(position),
        };
        let Answer::Page { lines, next } = past.ask(request, "list")? else {
            return Err(reach::strange(&paths.place));
        };
        after = next;
        for line in lines {
            if line.time > bad.time {
                after = None;
                break;
            }
            let is_new = times.last() < Some(&line.time);
            if line.kind != LineKind::Unrecorded && is_new {
                times.push(line.time);
            }
        }
    }
    Ok(times)
}

/// How a state is tried.
struct Trial<'a> {
    past: &'a Past,
    paths: &'a Paths,
    /// The folder in it.
    asked: Asked,
    command: &'a [std::ffi::OsString],
    copy: Option<Copy>,
    interrupt: Interrupt,
}

impl Trial<'_> {
    /// `None`: a person has had enough.
    fn of(&self, time: When) -> Result<Option<Verdict>, Error> {
        let state = self.past.state(&format!("@{time}"))?;
        let root = match &self.copy {
            Some(copy) => copy.bring_to(&state, &self.asked, &self.interrupt)?,
            None => {
                let snapdir = self.paths.root.join(&state.snapdir);
                snapdir.join(format!("@{time}"))
            }
        };
        let folder = self.asked.iter().fold(root, |mut path, name| {
            path.push(OsStr::from_bytes(name));
            path
        });
        if self.interrupt.pressed() {
            return Ok(None);
        }
        if !folder.is_dir() {
            // It did not exist yet.
            return Ok(Some(Verdict::Skip));
        }
        let (program, arguments) = self.command.split_first().ok_or_else(no_command)?;
        let ended = Command::new(program)
            .args(arguments)
            .current_dir(&folder)
            .env("REWINDFS_STATE", format!("@{time}"))
            .status()
            .map_err(|source| Error::File {
                path: PathBuf::from(program),
                source,
            })?;
        if self.interrupt.pressed() {
            return Ok(None);
        }
        match ended.code() {
            Some(0) => Ok(Some(Verdict::Good)),
            Some(CANNOT_TELL) => Ok(Some(Verdict::Skip)),
            Some(code) if code < NO_ANSWER => Ok(Some(Verdict::Bad)),
            _ => Err(Error::Usage(format!(
                "the command ended with {ended} in the state @{time}; 0 says good, 1 to 127 bad, \
                 125 that it can't tell"
            ))),
        }
    }
}

fn no_command() -> Error {
    Error::Usage("which command? rewindfs bisect DIR --good STATE --bad STATE -- CMD...".to_owned())
}

/// A copy of a state into which the command may write; brought to the next by what differs.
struct Copy(tempfile::TempDir);

impl Copy {
    fn new() -> Result<Copy, Error> {
        let made = tempfile::Builder::new()
            .prefix("rewindfs-bisect.")
            .tempdir();
        Ok(Copy(made.map_err(|source| Error::File {
            path: std::env::temp_dir(),
            source,
        })?))
    }

    fn bring_to(
        &self,
        state: &State,
        asked: &Asked,
        interrupt: &Interrupt,
    ) -> Result<PathBuf, Error> {
        let fault = |source| Error::File {
            path: self.0.path().to_owned(),
            source,
        };
        let target = past::directory(self.0.path()).map_err(fault)?;
        let device = backing::stat_fd(target.as_fd()).map_err(fault)?.dev;
        let options = Options {
            delete: true,
            dry_run: false,
            overwrite: Overwrite::IfChanged,
            in_place: false,
            snapdir: None,
            since: None,
            left_out: restore::LeftOut::default(),
            device,
        };
        let live = Folder::new(target);
        let asked = std::slice::from_ref(asked);
        let quiet = Quiet(interrupt);
        let (tally, _) = restore::restore(state.source.as_ref(), &live, asked, &options, &quiet);
        if tally.is_incomplete() && !interrupt.pressed() {
            return Err(Error::Usage(format!(
                "a state could not be copied whole to {}; nothing was found out",
                self.0.path().display()
            )));
        }
        Ok(self.0.path().to_owned())
    }
}

/// Tells only what is missing.
struct Quiet<'a>(&'a Interrupt);

impl Tell for Quiet<'_> {
    fn change(&self, _: Change, _: &[u8]) {}

    fn trouble(&self, _: Trouble, path: &[u8], reason: &str) {
        eprintln!("rewindfs: {}: {reason}", git(path));
    }

    fn kept(&self, _: &[u8], _: &str) {}

    fn progress(&self, _: &Tally) {}

    fn interrupted(&self) -> bool {
        self.0.pressed()
    }
}

/// Names the change: when, what, and who.
fn tell(past: &Past, paths: &Paths, times: &[When]) -> Result<(), Error> {
    let (Some(good), Some(bad)) = (times.first(), times.last()) else {
        return Ok(());
    };
    let mut out = stdout().lock();
    let zone = TimeZone::system();
    let local = |time: &When| time.0.local(&zone);
    match times.len() {
        2 => writeln!(out, "first bad state: {}  (@{bad})", local(bad))?,
        count => writeln!(
            out,
            "the first bad state is one of {}, which could not be tried but for the last: after {}, \
             up to {}  (@{bad})",
            count - 1,
            local(good),
            local(bad)
        )?,
    }
    let under = paths.asked.first().map(|names| names.join(&b'/'));
    let changes = changes(past, paths, *good, *bad, under.unwrap_or_default())?;
    let mut commands: Vec<(&Who, usize)> = Vec::new();
    for who in changes.iter().flat_map(|line| &line.who) {
        match commands.iter_mut().find(|(known, _)| *known == who) {
            Some((_, count)) => *count += 1,
            None => commands.push((who, 1)),
        }
    }
    for (who, count) in commands.iter().take(CHANGES_SHOWN) {
        writeln!(
            out,
            "by: {} (pid {}), {count} of these",
            log::doer(who),
            who.pid
        )?;
    }
    for line in changes.iter().take(CHANGES_SHOWN) {
        let path = git(&line.path.0);
        match &line.from {
            Some(from) => writeln!(out, "{}\t{}\t{path}", line.change, git(&from.0))?,
            None => writeln!(out, "{}\t{path}", line.change)?,
        }
    }
    if changes.len() > CHANGES_SHOWN {
        writeln!(out, "and {} more", changes.len() - CHANGES_SHOWN)?;
    }
    let root = quote(&paths.root);
    writeln!(out, "all of it: rewindfs diff -u {root} @{good} @{bad}")?;
    Ok(())
}

fn changes(
    past: &Past,
    paths: &Paths,
    good: When,
    bad: When,
    under: Vec<u8>,
) -> Result<Vec<EventLine>, Error> {
    let mut from = EventsFrom::Time(good);
    let mut found = Vec::new();
    loop {
        let request = Request::Events {
            from,
            under: RawPath(under.clone()),
        };
        let Answer::Events { lines, token, more } = past.ask(request, "events")? else {
            return Err(reach::strange(&paths.place));
        };
        let ended = !more || lines.iter().any(|line| line.time > bad);
        found.extend(lines.into_iter().filter(|line| line.time <= bad));
        if ended {
            return Ok(found);
        }
        from = EventsFrom::Token(token);
    }
}
