//! One place, tried: with its URL, its password, and nothing else.

use super::folder::Private;
use super::{USUAL, log, read_all, show, wait};
use crate::archive::{
    ArchiveError, Catalog, ObjectKind, Objects, Proof, ProofKind, Repository, SetRecord,
};
use crate::backing;
use crate::cli::args;
use crate::cli::elsewhere;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupt;
use crate::cli::quantity::count;
use crate::control::drills::{DrillPhases, DrillReport};
use crate::control::when::When;
use crate::id::random;
use crate::time::Timestamp;
use serde::Deserialize;
use std::io::{Write, stderr};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Problems that stand in a report.
const PROBLEMS_MAX: usize = 5;
/// As `nice` has it, of one that runs by itself.
const NICE: i32 = 15;
/// Bytes beside what was sent: an empty store.
const STORE_BYTES: u64 = 64 << 20;

/// `drill URL`.
pub fn run(args: &args::Drill, url: &str) -> Result<Exit, Error> {
    let away: Vec<&Path> = args.away.iter().map(PathBuf::as_path).collect();
    // Before the first thread.
    let kept_apart = (!away.is_empty()).then(|| backing::out_of_sight(&away).is_ok());
    if !away.is_empty() {
        let kill = Some(rustix::process::Signal::KILL);
        // Otherwise it goes on, and nobody learns what it found.
        let _ = rustix::process::set_parent_process_death_signal(kill);
    }
    if args.attended {
        // With what others leave.
        let _ = rustix::process::nice(NICE);
    }
    let interrupt = Interrupt::catch().map_err(|source| Error::System {
        action: "signals can't be caught",
        source,
    })?;
    let seed = match (args.sample, args.seed) {
        (None, _) => None,
        (Some(_), Some(seed)) => Some(seed),
        (Some(_), None) => Some(u64::from(u32::from_le_bytes(random().map_err(
            |source| Error::System {
                action: "there are no random numbers",
                source,
            },
        )?))),
    };
    let mut trial = Trial {
        args,
        url,
        interrupt: &interrupt,
        repository: None,
        sets: Vec::new(),
        report: DrillReport {
            sample_percent: args.sample,
            seed,
            kept_apart,
            by_itself: args.attended,
            ..DrillReport::begun(&Objects::place_of(url)?, Timestamp::now())
        },
        exit: Exit::Differs,
    };
    if let Err(error) = trial.go() {
        trial.ends_as(error.exit());
        trial.problem(error.to_string());
    }
    if interrupt.pressed() {
        return Ok(Exit::Interrupted);
    }
    trial.report.ended = When(Timestamp::now());
    trial.report.ok = trial.report.problems.is_empty();
    if let Err(error) = trial.note() {
        // The place may be one that this machine can only read.
        let _ = writeln!(
            stderr(),
            "rewindfs: the drill can't be noted there: {error}"
        );
    }
    let Trial { report, exit, .. } = trial;
    if args.away.is_empty()
        && let Err(error) = log::note(&report)
    {
        // The drill is not the worse for it.
        let _ = writeln!(stderr(), "rewindfs: the drill could not be noted: {error}");
    }
    show::report(&report, args.json)?;
    Ok(match report.ok {
        true => Exit::Done,
        false => exit,
    })
}

/// The last line of `recover --json`, as far as it is of interest here.
#[derive(Deserialize)]
struct Summary {
    set: u64,
    state: When,
    fetched_bytes: u64,
    phases: Seconds,
    proved: Proved,
    #[serde(default)]
    not_recoverable: u64,
    conflicts: u64,
}

#[derive(Deserialize)]
struct Seconds {
    list_seconds: f64,
    fetch_seconds: f64,
    verify_seconds: f64,
    write_seconds: f64,
    #[serde(default)]
    hash_seconds: f64,
}

#[derive(Deserialize)]
struct Proved {
    files: u64,
    bytes: u64,
    differing: u64,
    named: Vec<String>,
}

/// A drill under way.
struct Trial<'a> {
    args: &'a args::Drill,
    url: &'a str,
    interrupt: &'a Interrupt,
    /// The place, and the sets that were needed, as soon as it was opened.
    repository: Option<Repository>,
    sets: Vec<u64>,
    report: DrillReport,
    /// How it ends if it is not right.
    exit: Exit,
}

impl Trial<'_> {
    fn problem(&mut self, text: String) {
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(text);
        }
    }

    /// Whatever does not come back is something that a person should see to; that a password is wrong
    /// is said apart.
    fn ends_as(&mut self, exit: Exit) {
        if exit == Exit::WrongPassword {
            self.exit = exit;
        }
    }

    fn go(&mut self) -> Result<(), Error> {
        let needed = {
            let repository = elsewhere::open(self.url, &self.args.opening)?;
            let catalog = repository.catalog()?;
            self.look_at_all(&repository, &catalog)?;
            let sets = catalog.sets.values();
            let newest = sets.max_by_key(|set| (set.time, set.number));
            let newest = newest.ok_or_else(|| ArchiveError::NoSets {
                place: repository.place().to_owned(),
            })?;
            self.report.set = Some(newest.number);
            self.report.state = Some(When(newest.time));
            let chain = repository.chain(&catalog, newest.number)?;
            self.sets = chain.iter().map(|set| set.number).collect();
            let needed = needed(&chain, self.args.sample);
            self.repository = Some(repository);
            needed
        };
        let folders = match self.args.to.is_empty() {
            true => vec![PathBuf::from(USUAL)],
            false => self.args.to.clone(),
        };
        let private = Private::make(&folders, needed)?;
        let files = private.path().join("files");
        let done = self.recover(&files).and_then(|came| match came {
            true => self.check(&files),
            false => Ok(()),
        });
        if let Err(error) = private.remove() {
            self.problem(format!("what came back can't be removed: {error}"));
        }
        done
    }

    /// Leaves word of it at the place, for whoever asks from another machine.
    fn note(&self) -> Result<(), ArchiveError> {
        let Some(repository) = &self.repository else {
            return Ok(());
        };
        repository.prove(&Proof {
            kind: ProofKind::Drilled {
                percent: self.report.sample_percent.unwrap_or(100),
            },
            at: self.report.ended.0,
            host: self.report.host.clone(),
            sets: self.sets.clone(),
            rto_ms: Some(self.report.rto_ms),
            problem: self.report.problems.first().cloned().unwrap_or_default(),
        })
    }

    /// Every object of every set is there, and has its length.
    fn look_at_all(&mut self, repository: &Repository, catalog: &Catalog) -> Result<(), Error> {
        let held = repository.held()?;
        let sets: Vec<&SetRecord> = catalog.sets.values().collect();
        let lacking = held.lacking(&sets);
        for (set, name) in lacking.iter().take(PROBLEMS_MAX - 1) {
            self.problem(format!("{name} (set {set}) is missing or cut off"));
        }
        Ok(())
    }

    /// Brings it back, in a process that ends with this one. False: it did not come.
    fn recover(&mut self, files: &Path) -> Result<bool, Error> {
        let system = |source| Error::System {
            action: "the recovery can't be started",
            source,
        };
        let mut command = Command::new("/proc/self/exe");
        command.arg("recover").arg(self.url).arg("--to").arg(files);
        command.args(["--json", "--prove"]);
        command.args(self.args.opening.words()?);
        if let (Some(percent), Some(seed)) = (self.report.sample_percent, self.report.seed) {
            command.arg("--sample").arg(percent.to_string());
            command.arg("--seed").arg(seed.to_string());
        }
        command.env_remove("REWINDFS_STORE");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let began = Instant::now();
        let mut child = command.spawn().map_err(system)?;
        let (out, said) = (
            last_line(child.stdout.take()),
            read_all(child.stderr.take()),
        );
        let status = wait(&mut child, &|| self.interrupt.pressed()).map_err(system)?;
        let took = milliseconds(began.elapsed().as_secs_f64());
        let said = said.join().unwrap_or_default();
        let summary: Option<Summary> = serde_json::from_slice(&out.join().unwrap_or_default()).ok();
        let Some(summary) = summary else {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            self.ends_as(code.map_or(Exit::Failure, Exit::from_code));
            self.problem(last_words(&said, &format!("the recovery ended: {status}")));
            return Ok(false);
        };
        let phases = &summary.phases;
        self.report.set = Some(summary.set);
        self.report.state = Some(summary.state);
        self.report.fetched_bytes = summary.fetched_bytes;
        self.report.files = summary.proved.files;
        self.report.bytes = summary.proved.bytes;
        self.report.phases = DrillPhases {
            list_ms: milliseconds(phases.list_seconds),
            fetch_ms: milliseconds(phases.fetch_seconds),
            verify_ms: milliseconds(phases.verify_seconds),
            write_ms: milliseconds(phases.write_seconds),
            hash_ms: milliseconds(phases.hash_seconds),
            check_ms: 0,
        };
        self.report.rto_ms = took.saturating_sub(self.report.phases.hash_ms);
        if summary.proved.differing > 0 {
            let files = count(summary.proved.differing, "file");
            let named = summary.proved.named.join(", ");
            self.problem(format!("{files} came back as something else: {named}"));
        }
        if summary.conflicts > 0 {
            let paths = count(summary.conflicts, "path");
            self.problem(format!("{paths} could not be written"));
        }
        // What history never had is told of by `status`, and is no fault of the place.
        let only_never_had = summary.conflicts + summary.proved.differing == 0
            && summary.not_recoverable > 0
            && status.code() == Some(i32::from(Exit::Partly.code()));
        if !status.success() && !only_never_had && self.report.problems.is_empty() {
            self.problem(last_words(&said, "not all of it came back"));
        }
        Ok(true)
    }

    /// Runs the check command in what came back.
    fn check(&mut self, files: &Path) -> Result<(), Error> {
        let Some((program, words)) = self.args.check.split_first() else {
            return Ok(());
        };
        let system = |source| Error::System {
            action: "the check command can't be run",
            source,
        };
        // Standard output is the report's.
        let out = stderr().as_fd().try_clone_to_owned().map_err(system)?;
        let began = Instant::now();
        let mut child = Command::new(program)
            .args(words)
            .current_dir(files)
            .stdin(Stdio::null())
            .stdout(Stdio::from(out))
            .process_group(0)
            .spawn()
            .map_err(system)?;
        let status = wait(&mut child, &|| self.interrupt.pressed()).map_err(system)?;
        self.report.phases.check_ms = milliseconds(began.elapsed().as_secs_f64());
        self.report.rto_ms += self.report.phases.check_ms;
        self.report.check = Some(status.code().unwrap_or(-1));
        if !status.success() {
            self.problem(format!("the check command failed: {status}"));
        }
        Ok(())
    }
}

/// Bytes that it takes: the store that is made, and the files.
fn needed(chain: &[&SetRecord], sample: Option<u8>) -> u64 {
    let objects = chain.iter().flat_map(|set| &set.objects);
    let (mut packs, mut records) = (0, 0);
    for object in objects {
        match object.kind {
            ObjectKind::Pack => packs += object.bytes,
            ObjectKind::Index | ObjectKind::Segment => records += object.bytes,
        }
    }
    let data = chain.last().map_or(0, |set| set.data_bytes);
    let files = match sample {
        Some(percent) => data / 100 * u64::from(percent) * 2,
        None => data,
    };
    // Records are packed less tightly in a store.
    files + packs + records * 4 + STORE_BYTES
}

/// The last line that a process prints, which is the longest that is kept of it.
fn last_line(from: Option<std::process::ChildStdout>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut last = Vec::new();
        let Some(from) = from else { return last };
        let mut lines = std::io::BufReader::new(from);
        let mut line = Vec::new();
        loop {
            line.clear();
            match std::io::BufRead::read_until(&mut lines, b'\n', &mut line) {
                Ok(0) | Err(_) => return last,
                Ok(_) => std::mem::swap(&mut last, &mut line),
            }
        }
    })
}

/// The last line of what a process said, without its name.
fn last_words(said: &[u8], otherwise: &str) -> String {
    let said = String::from_utf8_lossy(said);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    let last = last.map(|line| line.strip_prefix("rewindfs: ").unwrap_or(line));
    last.unwrap_or(otherwise).to_owned()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Seconds of a process.
fn milliseconds(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1000.0).round() as u64
}
