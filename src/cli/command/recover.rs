//! `recover`: a directory and its past come back from sets elsewhere, on this machine or another.
//!
//! The history is made in a folder of its own beside the directory, which gets its name when all is
//! done: who is killed begins again, and goes on where he was.

mod choose;
mod files;
mod part;
mod places;
mod target;
mod told;

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::progress::Meter;
use super::super::quantity::{count, size};
use super::report::Report;
use crate::archive::{Gather, Gathering, Other, Outcome, SetRecord, Standing, Traffic};
use crate::control::client::Wait;
use crate::control::open;
use crate::history::History;
use crate::id::Epoch;
use crate::pattern::{Matcher, Rules};
use crate::restore::{Asked, Tally};
use crate::store::repair::NoMender;
use crate::store::{Depth, Store};
use crate::time::Timestamp;
use files::{Written, write};
use parking_lot::Mutex;
use places::Chosen;
use std::io::{Write, stderr};
use std::process::Command;
use std::sync::Arc;
use target::Target;
use told::{Clock, Done};

/// Problems that are told; of more, their number is said.
const NAMED_MAX: usize = 5;

/// `recover URL --to DIR [PATH...]`.
pub fn run(args: &args::Recover) -> Result<Exit, Error> {
    super::super::daemon::raise_files();
    let mut clock = Clock::new();
    let wanted = Wanted {
        paths: choose::asked(&args.paths)?,
        first: first(&args.first)?,
    };
    let target = Target::choose(args)?;
    let found = places::open(args)?;
    let places = places::choose(args, &found)?;
    // Of a few paths it is not known yet what they need, and what one place lacks another may have.
    if let [only] = places[..]
        && !args.partial
        && wanted.paths.is_empty()
    {
        choose::whole(only.repository, only.catalog, only.set)?;
    }
    clock.phases.list_seconds = clock.lap();
    let interrupt = Interrupt::catch().map_err(|source| Error::System {
        action: "signals can't be caught",
        source,
    })?;
    let at = args.at.clone().unwrap_or_default();
    let (store, chosen) = target.open_store(&places, &at, args.set.is_some())?;
    let meter = Mutex::new(Meter::with("recover", interrupt.clone()));
    let progress = |done: Traffic| {
        let text = format!("{}, {}", count(done.objects, "object"), size(done.bytes));
        meter.lock().show(&text);
    };
    let cancelled = || meter.lock().interrupted();
    // Where the records of one place can't be had, those of the same state are taken from another.
    let same = places.iter().filter(|other| {
        chosen.is_of_same_state(other) && !std::ptr::eq(other.repository, chosen.repository)
    });
    let ways: Vec<(Chosen<'_>, Vec<Other<'_>>)> = [chosen]
        .into_iter()
        .chain(same.copied())
        .map(|way| (way, way.others(&places)))
        .collect();
    let gathers = ways.iter().map(|(way, others)| Gather {
        repository: way.repository,
        catalog: way.catalog,
        number: way.set.number,
        store: &store,
        partial: args.partial,
        progress: &progress,
        cancelled: &cancelled,
        others,
        standing: Standing::default(),
    });
    let set = chosen.set;
    let recovery = Recovery {
        args,
        target: &target,
        store: &store,
        set,
        report: Report::of_recovery(args.json, interrupt),
    };
    let (done, epoch) = recovery.run(gathers.collect(), &wanted, &mut clock)?;
    if done.is_interrupted {
        return Ok(Exit::Interrupted);
    }
    let Recovered {
        outcome,
        tally,
        state,
        problems,
        ..
    } = done;
    let is_root = rustix::process::geteuid().is_root();
    if wanted.paths.is_empty() && (tally.conflicts == 0 || !is_root) {
        target.keep(&store, epoch)?;
    } else if wanted.paths.is_empty() {
        let _ = writeln!(
            stderr(),
            "rewindfs: not all of it could be written; its past waits in {}; when there is room, the \
             same command goes on",
            target.under_way.display()
        );
    }
    drop(recovery);
    drop(store);
    let then = finish(args, &target, &mut clock)?;
    clock.phases.all_seconds = clock.began.elapsed().as_secs_f64();
    let report = Done {
        set,
        state,
        outcome: &outcome,
        tally,
        phases: &clock.phases,
        problems,
    };
    report.tell(args, &target)?;
    Ok(match then {
        Exit::Done if report.is_whole() => Exit::Done,
        Exit::Done => Exit::Partly,
        then => then,
    })
}

/// What of the state is wanted, and what of it first.
struct Wanted {
    paths: Vec<Asked>,
    first: Option<Matcher>,
}

fn first(patterns: &[String]) -> Result<Option<Matcher>, Error> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let rules = Rules {
        patterns: patterns.to_vec(),
        ..Rules::default()
    };
    let matcher = Matcher::new(rules).map_err(|error| Error::Usage(error.to_string()))?;
    Ok(Some(matcher))
}

/// What came of it.
struct Recovered {
    outcome: Outcome,
    tally: Tally,
    state: Timestamp,
    problems: u64,
    is_interrupted: bool,
}

/// A recovery whose target is there.
struct Recovery<'a> {
    args: &'a args::Recover,
    target: &'a Target,
    store: &'a Arc<Store>,
    set: &'a SetRecord,
    report: Report,
}

impl Recovery<'_> {
    fn run(
        &self,
        gathers: Vec<Gather<'_>>,
        wanted: &Wanted,
        clock: &mut Clock,
    ) -> Result<(Recovered, Epoch), Error> {
        let mut gathering = begin(gathers)?;
        let history = History::new(Arc::clone(self.store));
        let epoch = self.state(&history)?;
        let failed = |error| Error::State {
            text: self.args.at.clone().unwrap_or_default(),
            error,
        };
        let only_paths = !wanted.paths.is_empty();
        let mut tally = Tally::default();
        if let Some(first) = &wanted.first {
            let paths = part::matching(&history, epoch, first).map_err(failed)?;
            gathering.contents(&part::contents(&history, epoch, &paths).map_err(failed)?)?;
            if !paths.is_empty() {
                tally = self.write(&history, epoch, &paths)?.tally;
            }
            clock.phases.first_seconds = clock.lap();
        }
        match only_paths {
            true => {
                let contents = part::contents(&history, epoch, &wanted.paths);
                gathering.contents(&contents.map_err(failed)?)?;
            }
            false => gathering.rest()?,
        }
        let mut outcome = gathering.end()?;
        clock.phases.fetch_seconds = clock.lap();
        let mut problems = 0;
        if only_paths {
            // What was not asked for is not here, and was not to be.
            outcome.missing = 0;
        } else {
            problems = verify(self.store, !outcome.lacks.is_empty())?;
        }
        clock.phases.verify_seconds = clock.lap();
        let written = self.write(&history, epoch, &wanted.paths)?;
        add_first(&mut tally, &written.tally);
        clock.phases.write_seconds = clock.lap();
        let header = history.view().header(epoch);
        let header = header.map_err(|error| Error::Open(open::OpenError::Store(error)))?;
        let recovered = Recovered {
            outcome,
            tally,
            state: header.map(|header| header.time).unwrap_or_default(),
            problems,
            is_interrupted: written.is_interrupted,
        };
        Ok((recovered, epoch))
    }

    fn write(
        &self,
        history: &Arc<History>,
        epoch: Epoch,
        paths: &[Asked],
    ) -> Result<Written, Error> {
        write(self.target, history, epoch, paths, &self.report)
    }

    /// The epoch that was asked for.
    fn state(&self, history: &History) -> Result<Epoch, Error> {
        let Some(at) = &self.args.at else {
            return Ok(self.set.to);
        };
        let found = choose::parse(at)?.resolve(&history.view(), Timestamp::now());
        let found = found.map_err(|error| Error::State {
            text: at.clone(),
            error,
        })?;
        Ok(found.map_or(self.set.to, |found| found.epoch))
    }
}

/// Begins with the first place that gives all records.
fn begin(gathers: Vec<Gather<'_>>) -> Result<Gathering<'_>, Error> {
    let mut failed = None;
    for gather in gathers {
        match gather.begin() {
            Ok(gathering) => return Ok(gathering),
            Err(error) if places::is_of_place(&error) => {
                failed.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(failed.map_or(Error::Usage("there is no place".to_owned()), Error::from))
}

/// What was written first is found unchanged later, and what could not be is told of again.
fn add_first(first: &mut Tally, all: &Tally) {
    let (restored, written_bytes) = (first.restored, first.written_bytes);
    *first = *all;
    first.restored += restored;
    first.written_bytes += written_bytes;
}

/// Checks what was made; what is known to be missing is given up in what needs it.
fn verify(store: &Store, repair: bool) -> Result<u64, Error> {
    let failed = |error| Error::Open(open::OpenError::Store(error));
    if repair {
        store.doubt_received().map_err(failed)?;
        let own = rustix::process::geteuid().as_raw();
        let repaired = store
            .repair(&NoMender, true, own, &|_| true)
            .map_err(failed)?;
        return Ok(repaired.report.problems_found);
    }
    // Every chunk was hashed when it came.
    let depth = Depth {
        hashed_percent: 0,
        seed: 0,
    };
    let report = store.verify_to(depth, &|_| true).map_err(failed)?;
    for problem in report.problems.iter().take(NAMED_MAX) {
        let _ = writeln!(stderr(), "rewindfs: {problem}");
    }
    Ok(report.problems_found)
}

/// Mounts it, and runs what was to be run.
fn finish(args: &args::Recover, target: &Target, clock: &mut Clock) -> Result<Exit, Error> {
    let failed = |source| Error::System {
        action: "what was to be run afterwards could not be",
        source,
    };
    if args.mount {
        let program = std::env::current_exe().map_err(failed)?;
        let mut mount = Command::new(program);
        mount.arg("mount").arg(&target.dir);
        if let Some(store) = args.store.said() {
            mount.arg("--store").arg(store);
        }
        let status = mount.status().map_err(failed)?;
        if !status.success() {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Ok(Exit::Other(code.unwrap_or(Exit::Failure.code())));
        }
    }
    let mut exit = Exit::Done;
    if let Some(command) = &args.then {
        let status = Command::new("sh")
            .args(["-c", command])
            .current_dir(&target.dir)
            .status()
            .map_err(failed)?;
        if !status.success() {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            exit = Exit::Other(code.unwrap_or(Exit::Failure.code()));
        }
    }
    clock.phases.then_seconds = clock.lap();
    Ok(exit)
}
