//! `recover`: a directory and its past come back from sets elsewhere, on this machine or another.
//!
//! The history is made in a folder of its own beside the directory, which gets its name when all is
//! done: who is killed begins again, and goes on where he was.

use super::super::args;
use super::super::elsewhere;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::past;
use super::super::progress::Meter;
use super::super::quantity::{count, size};
use super::super::quote::quote;
use super::report::Report;
use crate::archive::{self, ArchiveError, Catalog, Outcome, Repository, SetRecord};
use crate::backing::{self, Backing};
use crate::control::client::Wait;
use crate::control::{folder, open};
use crate::format::record::{InodeVersion, Kind, LiveEntry};
use crate::format::transfer::Recovering;
use crate::history::{History, StateName};
use crate::id::{Epoch, FileId};
use crate::restore::{self, Asked, Folder, LeftOut, Options, Overwrite, Recorded, Tally};
use crate::store::repair::NoMender;
use crate::store::{Depth, Store, StoreOptions};
use crate::time::{TimeZone, Timestamp};
use parking_lot::Mutex;
use serde::Serialize;
use std::ffi::OsString;
use std::io::{self, Write, stderr, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

/// What is behind the name of a store that is being made.
const UNDER_WAY: &str = ".recovering";
/// Objects that are named when some are missing; of more, their number is said.
const NAMED_MAX: usize = 5;

/// How long each step took.
#[derive(Debug, Default, Serialize)]
struct Phases {
    list_seconds: f64,
    fetch_seconds: f64,
    verify_seconds: f64,
    write_seconds: f64,
    then_seconds: f64,
    all_seconds: f64,
}

#[derive(Serialize)]
struct Summary<'a> {
    set: u64,
    state: String,
    fetched_bytes: u64,
    packs_fetched: u64,
    packs_kept: u64,
    restored: u64,
    lacking: Vec<&'a str>,
    not_recoverable: u64,
    conflicts: u64,
    phases: &'a Phases,
}

/// `recover URL --to DIR [PATH...]`.
pub fn run(args: &args::Recover) -> Result<Exit, Error> {
    super::super::daemon::raise_files();
    let mut clock = Clock::new();
    let asked = asked(&args.paths)?;
    let target = Target::choose(args)?;
    let repository = elsewhere::open(&args.url, &args.opening)?;
    let catalog = repository.catalog()?;
    let set = choose(args, &repository, &catalog)?;
    if !args.partial {
        whole(&repository, &catalog, set)?;
    }
    clock.phases.list_seconds = clock.lap();
    let interrupt = Interrupt::catch().map_err(|source| Error::System {
        action: "signals can't be caught",
        source,
    })?;
    let at = args.at.clone().unwrap_or_default();
    let (store, set) = target.open_store(&repository, &catalog, set, &at, args.set.is_some())?;
    let outcome = fetch(args, &repository, &catalog, set, &store, interrupt)?;
    clock.phases.fetch_seconds = clock.lap();
    let problems = verify(&store, !outcome.lacks.is_empty())?;
    clock.phases.verify_seconds = clock.lap();
    let history = History::new(Arc::clone(&store));
    let epoch = state(args, &store, set)?;
    let (written, state) = write(args, &target, &history, epoch, &asked)?;
    drop(history);
    clock.phases.write_seconds = clock.lap();
    if written.is_interrupted {
        return Ok(Exit::Interrupted);
    }
    let fits =
        asked.is_empty() && (written.tally.conflicts == 0 || !rustix::process::geteuid().is_root());
    if fits {
        target.keep(&store, epoch)?;
    } else if asked.is_empty() {
        let _ = writeln!(
            stderr(),
            "rewindfs: not all of it could be written; its past waits in {}; when there is room, the \
             same command goes on",
            target.under_way.display()
        );
    }
    drop(store);
    let then = finish(args, &target, &mut clock)?;
    clock.phases.all_seconds = clock.began.elapsed().as_secs_f64();
    let report = Done {
        set,
        state,
        outcome: &outcome,
        tally: written.tally,
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

struct Clock {
    began: Instant,
    last: Instant,
    phases: Phases,
}

impl Clock {
    fn new() -> Clock {
        let now = Instant::now();
        Clock {
            began: now,
            last: now,
            phases: Phases::default(),
        }
    }

    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let lap = now - self.last;
        self.last = now;
        lap.as_secs_f64()
    }
}

/// Where it goes.
struct Target {
    dir: PathBuf,
    /// The store, when it is whole.
    store: PathBuf,
    under_way: PathBuf,
    /// Where commands about the directory look for it.
    place: PathBuf,
    /// Only a few paths are wanted: the store goes when it was used.
    passing: bool,
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.passing && self.under_way.exists() {
            open::discard(&self.under_way);
        }
    }
}

impl Target {
    fn choose(args: &args::Recover) -> Result<Target, Error> {
        let file = |source| Error::File {
            path: args.to.clone(),
            source,
        };
        let above = match args.to.parent() {
            Some(above) if above.as_os_str().is_empty() => Path::new("."),
            Some(above) => above,
            None => {
                return Err(Error::Usage(
                    "the root of the system can't be a target".to_owned(),
                ));
            }
        };
        let name = args.to.file_name().ok_or_else(|| {
            Error::Usage(format!(
                "{}: give the directory by its name",
                args.to.display()
            ))
        })?;
        let dir = above.canonicalize().map_err(file)?.join(name);
        let place = folder::default_place(&dir)
            .ok_or_else(|| Error::Usage(format!("{}: it has no folder above it", dir.display())))?;
        let store = match args.store.said() {
            Some(store) => std::path::absolute(store).map_err(file)?,
            None => place.clone(),
        };
        let mut under_way = store.clone().into_os_string();
        under_way.push(UNDER_WAY);
        let passing = !args.paths.is_empty();
        if passing {
            under_way.push(format!("-{}", std::process::id()));
        }
        let target = Target {
            passing,
            under_way: under_way.into(),
            dir,
            store,
            place,
        };
        if args.paths.is_empty() {
            target.check_free()?;
        }
        Ok(target)
    }

    /// That nothing is there which would be mixed with what comes back, but for an earlier try.
    fn check_free(&self) -> Result<(), Error> {
        for store in [&self.store, &self.place] {
            if store.symlink_metadata().is_ok() {
                return Err(Error::Usage(format!(
                    "{} is there already: a history that goes on is not written over; move it \
                     away, or choose another --to DIR",
                    store.display()
                )));
            }
        }
        Ok(())
    }

    /// Whether nothing is in the directory.
    fn is_free(&self) -> Result<bool, Error> {
        match std::fs::read_dir(&self.dir) {
            Ok(mut entries) => Ok(entries.next().is_none()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(source) => Err(Error::File {
                path: self.dir.clone(),
                source,
            }),
        }
    }

    /// The store that is made, and of which set: what was begun for the same purpose goes on, and
    /// nothing else does.
    fn open_store<'c>(
        &self,
        repository: &Repository,
        catalog: &'c Catalog,
        set: &'c SetRecord,
        at: &str,
        is_chosen: bool,
    ) -> Result<(Arc<Store>, &'c SetRecord), Error> {
        let options = StoreOptions::default();
        if self.passing {
            return Ok((open::create(&self.under_way, &self.dir, options)?.1, set));
        }
        let is_free = self.is_free()?;
        let half = Store::is_half_made(&self.under_way).unwrap_or(false);
        if self.under_way.exists() && !half {
            let folder = folder::Folder::open(&self.under_way).map_err(open::OpenError::from)?;
            let store = open::open(&folder, &self.dir, options.clone())?;
            let failed = |error| Error::Open(open::OpenError::Store(error));
            let noted = store.recovering().map_err(failed)?;
            let begun = noted
                .as_ref()
                .and_then(|noted| catalog.sets.get(&noted.set));
            if let (Some(noted), Some(begun)) = (noted, begun) {
                let same = noted.repository == repository.id
                    && noted.at == at
                    && (!is_chosen || noted.set == set.number)
                    && self.identity().is_ok_and(|dir| dir == noted.dir);
                if same {
                    self.remove_temporary();
                    return Ok((store, begun));
                }
            }
            drop(store);
            if is_free {
                open::discard(&self.under_way);
            }
        }
        if !is_free {
            return Err(Error::Usage(format!(
                "{} is not empty, and what is in it is of no recovery that could go on: move it \
                 away, or choose another --to DIR",
                self.dir.display()
            )));
        }
        let store = open::create(&self.under_way, &self.dir, options)?.1;
        drop(self.open_dir()?);
        let recovering = Recovering {
            repository: repository.id,
            set: set.number,
            at: at.to_owned(),
            dir: self.identity()?,
        };
        store
            .set_recovering(&recovering)
            .map_err(|error| Error::Open(open::OpenError::Store(error)))?;
        Ok((store, set))
    }

    /// Device and inode of the directory.
    fn identity(&self) -> Result<(u64, u64), Error> {
        let stat = std::fs::metadata(&self.dir).map_err(|source| Error::File {
            path: self.dir.clone(),
            source,
        })?;
        Ok((stat.dev(), stat.ino()))
    }

    /// What an earlier try has left half-written.
    fn remove_temporary(&self) {
        let mut dirs = vec![self.dir.clone()];
        while let Some(dir) = dirs.pop() {
            // What can't be read now is told of when it is written.
            let Ok(entries) = std::fs::read_dir(&dir) else {
                continue;
            };
            for entry in entries.flatten() {
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_dir {
                    dirs.push(entry.path());
                } else if restore::is_temporary(entry.file_name().as_bytes()) {
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        }
    }

    /// The directory, made if it is not there.
    fn open_dir(&self) -> Result<OwnedFd, Error> {
        let file = |source| Error::File {
            path: self.dir.clone(),
            source,
        };
        if !self.dir.exists() {
            std::fs::create_dir(&self.dir).map_err(file)?;
        }
        past::directory(&self.dir).map_err(file)
    }

    /// The store becomes that of the directory.
    fn keep(&self, store: &Arc<Store>, epoch: Epoch) -> Result<(), Error> {
        let backing = open::directory(&self.dir)?;
        open::check_directory(store, &self.store, &backing, &self.dir, true)?;
        if store.view().newest_epoch().ok().flatten() == Some(epoch) {
            note_live(store, &backing, epoch)?;
        }
        backing.sync().map_err(|source| Error::File {
            path: self.dir.clone(),
            source,
        })?;
        let file = |source| Error::File {
            path: self.store.clone(),
            source,
        };
        let failed = |error| Error::Open(open::OpenError::Store(error));
        std::fs::rename(&self.under_way, &self.store).map_err(file)?;
        // Behind it: without this note nobody would go on.
        store.end_recovering().map_err(failed)?;
        if self.store != self.place {
            folder::write_pointer(&self.place, &self.store).map_err(file)?;
        }
        for changed in [self.store.parent(), self.place.parent()]
            .into_iter()
            .flatten()
        {
            std::fs::File::open(changed)
                .and_then(|above| above.sync_all())
                .map_err(file)?;
        }
        Ok(())
    }
}

fn asked(paths: &[OsString]) -> Result<Vec<Asked>, Error> {
    let names = |path: &OsString| {
        let parts = Path::new(path).components();
        let parts = parts.filter(|part| *part != std::path::Component::CurDir);
        let names = parts.map(|part| match part {
            std::path::Component::Normal(name) => Ok(name.as_bytes().to_vec()),
            _ => Err(Error::Usage(format!(
                "{}: give paths from the top of the directory, as src/main.rs",
                quote(Path::new(path))
            ))),
        });
        names.collect()
    };
    paths.iter().map(names).collect()
}

/// The set in which the state is: the first that is not older, or the newest.
fn choose<'c>(
    args: &args::Recover,
    repository: &Repository,
    catalog: &'c Catalog,
) -> Result<&'c SetRecord, Error> {
    let place = || repository.place().to_owned();
    // A set that was made of an older state is not the newest for that.
    let newest = catalog
        .sets
        .values()
        .max_by_key(|set| (set.time, set.number));
    let newest = newest.ok_or_else(|| ArchiveError::NoSets { place: place() })?;
    if let Some(number) = args.set {
        let set = catalog.sets.get(&number);
        return Ok(set.ok_or_else(|| ArchiveError::NoSet {
            place: place(),
            number,
        })?);
    }
    let time = match &args.at {
        Some(at) => match parse(at)? {
            StateName::Time(time) => time,
            _ => return Ok(newest),
        },
        None => return Ok(newest),
    };
    Ok(catalog
        .sets
        .values()
        .find(|set| set.time >= time)
        .unwrap_or(newest))
}

fn parse(at: &str) -> Result<StateName, Error> {
    StateName::parse(at, Timestamp::now(), &TimeZone::system()).map_err(|error| Error::State {
        text: at.to_owned(),
        error,
    })
}

/// That all objects are there; if not, what is missing, and the newest set that is whole.
fn whole(repository: &Repository, catalog: &Catalog, set: &SetRecord) -> Result<(), Error> {
    let lacking = repository.lacking(&repository.chain(catalog, set.number)?)?;
    if lacking.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = lacking
        .iter()
        .take(NAMED_MAX)
        .map(|(set, name)| format!("{name} (set {set})"))
        .collect();
    let more = match lacking.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let mut instead = String::new();
    for other in catalog
        .sets
        .values()
        .rev()
        .filter(|other| other.number != set.number)
    {
        let chain = repository.chain(catalog, other.number);
        if chain.is_ok_and(|chain| {
            repository
                .lacking(&chain)
                .is_ok_and(|lacks| lacks.is_empty())
        }) {
            instead = format!(
                "; the newest that is whole is of {}: --set {}",
                other.time.local(&TimeZone::system()),
                other.number
            );
            break;
        }
    }
    Err(Error::Usage(format!(
        "{}: set {} can't be recovered as a whole, missing or cut off: {}{more}{instead}; what does \
         not need them: --partial",
        repository.place(),
        set.number,
        named.join(", ")
    )))
}

fn fetch(
    args: &args::Recover,
    repository: &Repository,
    catalog: &Catalog,
    set: &SetRecord,
    store: &Store,
    interrupt: Interrupt,
) -> Result<Outcome, Error> {
    let meter = Mutex::new(Meter::with("recover", interrupt));
    let outcome = archive::gather(
        repository,
        catalog,
        set.number,
        store,
        args.partial,
        &|done| {
            let text = format!("{}, {}", count(done.objects, "object"), size(done.bytes));
            meter.lock().show(&text);
        },
        &|| meter.lock().interrupted(),
    )?;
    Ok(outcome)
}

/// Checks what was made; what is known to be missing is given up in what needs it.
fn verify(store: &Store, repair: bool) -> Result<u64, Error> {
    let failed = |error| Error::Open(open::OpenError::Store(error));
    if repair {
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

/// The epoch that was asked for.
fn state(args: &args::Recover, store: &Arc<Store>, set: &SetRecord) -> Result<Epoch, Error> {
    let Some(at) = &args.at else {
        return Ok(set.to);
    };
    let history = History::new(Arc::clone(store));
    let bad = |error| Error::State {
        text: at.clone(),
        error,
    };
    let found = parse(at)?
        .resolve(&history.view(), Timestamp::now())
        .map_err(bad)?;
    Ok(found.map_or(set.to, |found| found.epoch))
}

/// What was written.
struct Written {
    tally: Tally,
    is_interrupted: bool,
}

fn write(
    args: &args::Recover,
    target: &Target,
    history: &Arc<History>,
    epoch: Epoch,
    asked: &[Asked],
) -> Result<(Written, Timestamp), Error> {
    let fd = target.open_dir()?;
    let stat = backing::stat_fd(fd.as_fd()).map_err(|source| Error::File {
        path: target.dir.clone(),
        source,
    })?;
    let interrupt = Interrupt::catch().map_err(|source| Error::System {
        action: "signals can't be caught",
        source,
    })?;
    let report = Report::new(args.json, false, "recover", interrupt);
    let options = Options {
        delete: false,
        dry_run: false,
        overwrite: Overwrite::IfChanged,
        in_place: false,
        snapdir: None,
        since: None,
        device: stat.dev,
        left_out: LeftOut::default(),
    };
    let whole = [Asked::new()];
    let asked = if asked.is_empty() { &whole[..] } else { asked };
    let source = Recorded::new(Arc::clone(history), epoch);
    let live = Folder::new(fd);
    let (tally, _) = restore::restore(&source, &live, asked, &options, &report);
    let header = history
        .view()
        .header(epoch)
        .map_err(|error| Error::Open(open::OpenError::Store(error)))?;
    let written = Written {
        tally,
        is_interrupted: restore::Tell::interrupted(&report),
    };
    Ok((
        written,
        header.map(|header| header.time).unwrap_or_default(),
    ))
}

/// Notes what the files look like now, so that the first mount knows them again.
fn note_live(store: &Arc<Store>, backing: &Backing, epoch: Epoch) -> Result<(), Error> {
    let mut live = Vec::new();
    let mut dirs: Vec<(FileId, OwnedFd)> = Vec::new();
    let failed = |error| Error::Open(open::OpenError::Store(error));
    let view = store.view();
    let looked = crate::capture::now_of_file_system();
    let mut note = |id: FileId, fd: &OwnedFd| -> Result<(), Error> {
        let (Ok(stat), Ok(Some((at, InodeVersion::Present(inode))))) =
            (backing::stat_fd(fd.as_fd()), view.inode_at(id, epoch))
        else {
            return Ok(());
        };
        // Somebody has been there meanwhile: the first mount looks at it.
        if inode.kind == Kind::File && (stat.size, stat.mtime) != (inode.size, inode.mtime) {
            return Ok(());
        }
        let birth = backing::birth(fd.as_fd()).ok().flatten();
        let entry = LiveEntry {
            id,
            birth,
            size: stat.size,
            mtime: stat.mtime,
            ctime: stat.ctime,
            looked,
            epoch: at,
        };
        live.push((stat.ino, Some(entry)));
        if live.len() >= 10_000 {
            store
                .note_live(&std::mem::take(&mut live))
                .map_err(failed)?;
        }
        Ok(())
    };
    let root = backing.root().try_clone_to_owned().map_err(Error::Output)?;
    note(FileId::ROOT, &root)?;
    dirs.push((FileId::ROOT, root));
    while let Some((dir, fd)) = dirs.pop() {
        let names = view.list_at(dir, epoch, None, usize::MAX).map_err(failed)?;
        for (name, id, kind) in names {
            let Ok(child) = backing::open_path_at(fd.as_fd(), &name) else {
                continue;
            };
            note(id, &child)?;
            if kind == Kind::Dir {
                dirs.push((id, child));
            }
        }
    }
    store.note_live(&live).map_err(failed)
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

struct Done<'a> {
    set: &'a SetRecord,
    state: Timestamp,
    outcome: &'a Outcome,
    tally: Tally,
    phases: &'a Phases,
    problems: u64,
}

impl Done<'_> {
    fn is_whole(&self) -> bool {
        self.outcome.lacks.is_empty()
            && self.outcome.is_whole
            && self.outcome.missing == 0
            && self.problems == 0
            && !self.tally.is_incomplete()
    }

    fn tell(&self, args: &args::Recover, target: &Target) -> Result<(), Error> {
        for lack in &self.outcome.lacks {
            writeln!(
                stderr(),
                "rewindfs: {} (set {}): {}",
                lack.name,
                lack.set,
                lack.reason
            )?;
        }
        if !self.outcome.is_whole {
            writeln!(
                stderr(),
                "rewindfs: what came is not the state that the set says"
            )?;
        }
        let mut out = stdout().lock();
        let (tally, phases) = (&self.tally, self.phases);
        if args.json {
            let summary = Summary {
                set: self.set.number,
                state: self.state.to_string(),
                fetched_bytes: self.outcome.traffic.bytes,
                packs_fetched: self.outcome.fetched,
                packs_kept: self.outcome.kept,
                restored: tally.restored,
                lacking: self
                    .outcome
                    .lacks
                    .iter()
                    .map(|lack| &lack.name[..])
                    .collect(),
                not_recoverable: tally.not_recoverable,
                conflicts: tally.conflicts,
                phases,
            };
            let text = serde_json::to_string(&summary).map_err(io::Error::from)?;
            writeln!(out, "{text}")?;
            return Ok(());
        }
        let whole = if self.is_whole() {
            "recovered"
        } else {
            "recovered in part"
        };
        writeln!(
            out,
            "{whole}: {}, as of {}, from set {}: {} ({} written), {}, not recoverable {}",
            target.dir.display(),
            self.state.local(&TimeZone::system()),
            self.set.number,
            count(tally.restored, "path"),
            size(tally.written_bytes),
            count(tally.conflicts, "conflict"),
            tally.not_recoverable,
        )?;
        writeln!(
            out,
            "fetched {} in {:.1} s, checked in {:.1} s, written in {:.1} s, all in {:.1} s",
            size(self.outcome.traffic.bytes),
            phases.fetch_seconds,
            phases.verify_seconds,
            phases.write_seconds,
            phases.all_seconds,
        )?;
        if !args.mount && args.paths.is_empty() {
            writeln!(out, "its past: rewindfs mount {}", quote(&target.dir))?;
        }
        Ok(())
    }
}
