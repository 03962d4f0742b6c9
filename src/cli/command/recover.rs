//! `recover`: a directory and its past come back from sets elsewhere, on this machine or another.
//!
//! The history is made in a folder of its own beside the directory, which gets its name when all is
//! done: who is killed begins again, and goes on where he was.

mod choose;
mod files;
mod hot;
mod part;
mod places;
mod prove;
mod target;
mod told;

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::progress::Meter;
use super::report::Report;
use crate::archive::{Far, Gather, Gathering, Other, Outcome, SetRecord, Source};
use crate::control::client::Wait;
use crate::control::open;
use crate::history::History;
use crate::id::Epoch;
use crate::pattern::{Matcher, Rules};
use crate::restore::{self, Asked, Tally};
use crate::store::repair::NoMender;
use crate::store::{Depth, Store};
use crate::time::Timestamp;
use files::{Written, write};
use hot::Hot;
use parking_lot::Mutex;
use places::Chosen;
use prove::Proved;
use std::io::{Write, stderr};
use std::process::Command;
use std::sync::Arc;
use target::Target;
use told::{Clock, Done, News};

/// Problems that are told; of more, their number is said.
const NAMED_MAX: usize = 5;

/// `recover URL --to DIR [PATH...]`.
pub fn run(args: &args::Recover) -> Result<Exit, Error> {
    if args.prove {
        end_with_who_began_it()?;
    }
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
        && !args.is_part()
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
    let news = News::new(args.json);
    let progress = |far: Far| {
        meter.lock().show(&told::far(&far));
        news.tell(&far);
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
        source: Source::new(way.repository, others),
        catalog: way.catalog,
        number: way.set.number,
        store: &store,
        partial: args.partial,
        records_only: args.hot,
        is_part: args.is_part(),
        progress: &progress,
        cancelled: &cancelled,
        jobs: args.jobs.0,
    });
    if args.hot {
        let hot = Hot {
            args,
            target: &target,
            store: &store,
            chosen,
            places: &places,
        };
        let done = hot.prepare(gathers.collect(), &mut clock)?;
        drop(meter);
        drop(store);
        let then = finish(args, &target, &mut clock)?;
        clock.phases.all_seconds = clock.began.elapsed().as_secs_f64();
        done.tell(args, &target, &clock.phases)?;
        return Ok(match then {
            Exit::Done if !done.is_all() => Exit::Partly,
            then => then,
        });
    }
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
        proved,
        ..
    } = done;
    let is_root = rustix::process::geteuid().is_root();
    if !args.is_part() && (tally.conflicts == 0 || !is_root) {
        target.keep(&store, Some(epoch))?;
    } else if !args.is_part() {
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
        proved: proved.as_ref(),
    };
    report.tell(args, &target)?;
    Ok(match then {
        Exit::Done if report.is_whole() => Exit::Done,
        Exit::Done => Exit::Partly,
        then => then,
    })
}

/// A drill that is killed leaves nobody who goes on.
fn end_with_who_began_it() -> Result<(), Error> {
    let kill = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(kill).map_err(|errno| Error::System {
        action: "the end of who began this can't be noticed",
        source: errno.into(),
    })
}

/// What of the state is wanted, and what of it first.
struct Wanted {
    paths: Vec<Asked>,
    first: Option<Matcher>,
}

/// What came with the records, as `policy --first` said it.
fn kept_first(store: &Store) -> Result<Vec<String>, Error> {
    let first = store.first();
    first.map_err(|error| Error::Open(open::OpenError::Store(error)))
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
    proved: Option<Proved>,
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
        let epoch = state(self.args, self.set, &history)?;
        let failed = |error| Error::State {
            text: self.args.at.clone().unwrap_or_default(),
            error,
        };
        let only_paths = self.args.is_part();
        let sample = match self.args.sample {
            Some(percent) => {
                prove::sample(&history, epoch, percent, self.args.seed).map_err(failed)?
            }
            None => Vec::new(),
        };
        let paths = if sample.is_empty() {
            &wanted.paths
        } else {
            &sample
        };
        let mut tally = Tally::default();
        let kept = match wanted.first {
            None if !only_paths => first(&kept_first(self.store)?)?,
            _ => None,
        };
        if let Some(first) = wanted.first.as_ref().or(kept.as_ref()) {
            let paths = part::matching(&history, epoch, first).map_err(failed)?;
            gathering.contents(&part::contents(&history, epoch, &paths).map_err(failed)?)?;
            if !paths.is_empty() {
                tally = self.write(&history, epoch, &paths)?.tally;
            }
            clock.phases.first_seconds = clock.lap();
        }
        match only_paths {
            true => {
                let contents = part::contents(&history, epoch, paths);
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
        let written = match only_paths && paths.is_empty() {
            // There is no file of which a sample could be taken.
            true => Written::default(),
            false => self.write(&history, epoch, paths)?,
        };
        add_first(&mut tally, &written.tally);
        clock.phases.write_seconds = clock.lap();
        let mut proved = None;
        if self.args.prove {
            proved = Some(self.prove(&history, epoch, paths)?);
            clock.phases.hash_seconds = clock.lap();
        }
        let header = history.view().header(epoch);
        let header = header.map_err(|error| Error::Open(open::OpenError::Store(error)))?;
        let recovered = Recovered {
            outcome,
            tally,
            state: header.map(|header| header.time).unwrap_or_default(),
            problems,
            proved,
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

    /// Reads again what was written.
    fn prove(&self, history: &History, epoch: Epoch, paths: &[Asked]) -> Result<Proved, Error> {
        let whole = [Asked::new()];
        let paths = match paths.is_empty() && !self.args.is_part() {
            true => &whole[..],
            false => paths,
        };
        let interrupted = || restore::Tell::interrupted(&self.report);
        prove::prove(self.target.open_dir()?, history, epoch, paths, &interrupted)
    }
}

/// The epoch that was asked for.
fn state(args: &args::Recover, set: &SetRecord, history: &History) -> Result<Epoch, Error> {
    let Some(at) = &args.at else {
        return Ok(set.to);
    };
    let found = choose::parse(at)?.resolve(&history.view(), Timestamp::now());
    let found = found.map_err(|error| Error::State {
        text: at.clone(),
        error,
    })?;
    Ok(found.map_or(set.to, |found| found.epoch))
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
    if args.mount || args.hot {
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
