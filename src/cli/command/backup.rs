//! `backup` and `backups`: sets elsewhere are made and listed.

use super::super::args;
use super::super::elsewhere;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::past;
use super::super::progress::Meter;
use super::super::quantity::{count, size};
use super::super::reach::{self, Reach};
use super::locate;
use super::status::place::verified;
use crate::archive::{
    Backup, Confirm, Feed, Kind, Made, Objects, Plan, Proof, ProofKind, Repository, SetRecord,
    Traffic,
};
use crate::control::client::Wait;
use crate::control::error::Error as Refusal;
use crate::control::export;
use crate::control::locate::Place;
use crate::control::request::{Answer, Progress, Request};
use crate::control::when::When;
use crate::format::transfer::Sent;
use crate::time::{TimeZone, Timestamp};
use parking_lot::Mutex;
use serde::Serialize;
use std::io::{self, Write, stderr, stdout};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A line of `--json`.
#[derive(Serialize)]
struct SetLine<'a> {
    set: u64,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<u64>,
    /// Of the state that it ends with.
    time: When,
    made: When,
    host: &'a str,
    dir: String,
    files: u64,
    data_bytes: u64,
    set_bytes: u64,
    /// Bytes of the set for each byte of data.
    ratio: f64,
    objects: usize,
    encrypted: bool,
    /// When all of it was read last.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<When>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<Vec<String>>,
}

impl SetLine<'_> {
    fn new(set: &SetRecord, encrypted: bool) -> SetLine<'_> {
        SetLine {
            set: set.number,
            kind: set.kind.name(),
            needs: set.base,
            time: When(set.time),
            made: When(set.made),
            host: &set.host,
            dir: String::from_utf8_lossy(&set.dir).into_owned(),
            files: set.files,
            data_bytes: set.data_bytes,
            set_bytes: set.set_bytes,
            ratio: ratio(set),
            objects: set.objects.len(),
            encrypted,
            verified: None,
            problems: None,
        }
    }
}

/// The backup ratio: bytes of the set for each byte of the data.
#[allow(clippy::cast_precision_loss)] // Shown with two digits.
fn ratio(set: &SetRecord) -> f64 {
    set.set_bytes as f64 / set.data_bytes.max(1) as f64
}

/// A meter that threads may look at.
pub(super) struct Line {
    meter: Mutex<Meter>,
    pressed: AtomicBool,
}

impl Line {
    pub(super) fn new(what: &'static str) -> Result<Line, Error> {
        let interrupt = Interrupt::catch().map_err(|source| Error::System {
            action: "signals can't be caught",
            source,
        })?;
        Ok(Line {
            meter: Mutex::new(Meter::with(what, interrupt)),
            pressed: AtomicBool::new(false),
        })
    }

    pub(super) fn show(&self, done: Traffic) {
        let objects = count(done.objects, "object");
        self.meter
            .lock()
            .show(&format!("{objects}, {}", size(done.bytes)));
    }

    pub(super) fn is_pressed(&self) -> bool {
        let pressed = self.meter.lock().interrupted();
        self.pressed.fetch_or(pressed, Ordering::Relaxed) || pressed
    }
}

impl Wait for Line {
    fn progress(&self, progress: &Progress) {
        self.meter.lock().progress(progress);
    }

    fn interrupted(&self) -> bool {
        self.is_pressed()
    }
}

/// `backup DIR --to URL`.
pub fn run(args: &args::Backup) -> Result<Exit, Error> {
    let began = Instant::now();
    let kind = if args.full {
        Kind::Full
    } else if args.differential {
        Kind::Differential
    } else if let Some(full_every) = args.full_every {
        Kind::Mixed { full_every }
    } else {
        Kind::Incremental
    };
    let plan = Plan {
        kind,
        confirm: match args.verify {
            args::Confirm::Read => Confirm::Read,
            args::Confirm::Checksum => Confirm::Checksum,
            args::Confirm::None => Confirm::None,
        },
        compare: args.compare,
    };
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    let line = Line::new("backup")?;
    let to = match &args.at {
        Some(at) => {
            let name = past::exact_name(at)?;
            let answer = reach::ask(&place, Request::State { name }, &*line.meter.lock())?;
            let Answer::State(state) = answer else {
                return Err(reach::strange(&place));
            };
            Some(state.epoch)
        }
        None => {
            reach::ask(&place, Request::Sync, &*line.meter.lock())?;
            None
        }
    };
    apart(&args.to, &place)?;
    let (repository, made) = with_feed(&place, to, &line, |feed| {
        let facts = feed.facts()?;
        let repository = elsewhere::open_or_create(&args.to, &args.opening, &facts.sent, args.new)?;
        let backup = Backup {
            repository: &repository,
            plan,
            progress: &|done| line.show(done),
            cancelled: &|| line.is_pressed(),
        };
        let made = backup.run(feed, facts)?;
        Ok((repository, made))
    })?;
    drop(line);
    // The first one is full in any case.
    if let Some(because) = made.full_because
        && made.newest > 1
    {
        // Standard error may be gone; the set is not the worse for it.
        let _ = writeln!(stderr(), "rewindfs: this is a full set: {because}");
    }
    report(args, &repository, &made, began)?;
    Ok(match made.missing {
        0 => Exit::Done,
        _ => Exit::Partly,
    })
}

/// That the copy does not lie in what it is a copy of.
pub(super) fn apart(url: &str, place: &Place) -> Result<(), Error> {
    let to = Objects::place_of(url)?;
    let Some(to) = to.strip_prefix("file://") else {
        return Ok(());
    };
    let mount = place.mount.as_ref().map(|mount| mount.point.clone());
    let within = [Some(place.dir.clone()), Some(place.store.clone()), mount];
    match within
        .into_iter()
        .flatten()
        .find(|folder| Path::new(to).starts_with(folder))
    {
        Some(folder) => Err(Error::Usage(format!(
            "{to} lies in {} and would be lost with it: choose another place, on another disk",
            folder.display()
        ))),
        None => Ok(()),
    }
}

/// What is sent comes from the daemon, or from the store of an unmounted directory.
pub(super) fn with_feed<T>(
    place: &Place,
    to: Option<u64>,
    meter: &dyn Wait,
    work: impl FnOnce(&mut dyn Feed) -> Result<T, Error>,
) -> Result<T, Error> {
    let reach = Reach::open(place, &Request::Export { to })?;
    feed_from(reach, place, to, meter, work)
}

/// What the history of a directory was sent as: nothing where nothing is recorded yet.
pub(super) fn sent_before(place: &Place, meter: &dyn Wait) -> Result<Vec<Sent>, Error> {
    match with_feed(place, None, meter, |feed| Ok(feed.facts()?.sent)) {
        Err(Error::Refused {
            refusal: Refusal::NoState { .. },
            ..
        }) => Ok(Vec::new()),
        sent => sent,
    }
}

/// The same of a store that is to get something back, in which much may be damaged.
pub(super) fn with_damaged<T>(
    place: &Place,
    meter: &dyn Wait,
    work: impl FnOnce(&mut dyn Feed) -> Result<T, Error>,
) -> Result<T, Error> {
    let repair = Request::Verify {
        percent: 0,
        repair: true,
    };
    let reach = Reach::open(place, &repair)?;
    feed_from(reach, place, None, meter, work)
}

fn feed_from<T>(
    reach: Reach,
    place: &Place,
    to: Option<u64>,
    meter: &dyn Wait,
    work: impl FnOnce(&mut dyn Feed) -> Result<T, Error>,
) -> Result<T, Error> {
    match reach {
        Reach::Daemon(client) => {
            let remote = client.export(to, meter);
            work(&mut remote.map_err(|error| super::super::error::answered(error, &place.dir))?)
        }
        Reach::Here(service) => {
            let feed = export::feed(&service, to);
            let mut feed = feed.map_err(|refusal| Error::Refused {
                refusal,
                dir: place.dir.clone(),
            })?;
            work(&mut feed)
        }
    }
}

fn report(
    args: &args::Backup,
    repository: &Repository,
    made: &Made,
    began: Instant,
) -> Result<(), Error> {
    let mut out = stdout().lock();
    let Some(set) = &made.set else {
        if args.json {
            writeln!(out, "{{\"set\":{},\"new\":false}}", made.newest)?;
        } else {
            writeln!(
                out,
                "nothing has happened since set {}; nothing was sent",
                made.newest
            )?;
        }
        return Ok(());
    };
    let encrypted = repository.cipher.encrypts();
    if args.json {
        let text = serde_json::to_string(&SetLine::new(set, encrypted)).map_err(io::Error::from)?;
        writeln!(out, "{text}")?;
    } else {
        let needs = match set.base {
            Some(base) => format!(" (needs set {base})"),
            None => String::new(),
        };
        writeln!(
            out,
            "set {}, {}{needs}: {} in {}, of {} in {}, in {:.1} s{}",
            set.number,
            set.kind.name(),
            size(set.set_bytes),
            count(set.objects.len() as u64, "object"),
            size(set.data_bytes),
            count(set.files, "file"),
            began.elapsed().as_secs_f64(),
            if encrypted { "" } else { "; NOT ENCRYPTED" }
        )?;
    }
    if made.missing > 0 {
        let pieces = count(made.missing, "piece");
        writeln!(
            stderr(),
            "rewindfs: the store itself lacks {pieces} of content: see rewindfs verify"
        )?;
    }
    Ok(())
}

/// `backups URL`.
pub fn list(args: &args::Backups) -> Result<Exit, Error> {
    let repository = elsewhere::open(&args.url, &args.opening)?;
    let catalog = repository.catalog()?;
    let line = Line::new("backups")?;
    let mut found = 0;
    let encrypted = repository.cipher.encrypts();
    let mut out = stdout().lock();
    let zone = TimeZone::system();
    let held = repository.held()?;
    let proofs = repository.proofs()?;
    let (mut whole, mut broken) = (Vec::new(), Vec::new());
    for set in catalog.sets.values() {
        let mut problems = Vec::new();
        if args.verify {
            for object in &set.objects {
                if line.is_pressed() {
                    return Ok(Exit::Interrupted);
                }
                match repository.fetch(object) {
                    Ok(_) => {}
                    Err(error) if error.is_of_object() => problems.push(error.to_string()),
                    Err(error) => return Err(error.into()),
                }
            }
        } else {
            let lacking = held.lacking(&[set]).into_iter();
            problems = lacking
                .map(|(_, name)| format!("{name} is missing or cut off"))
                .collect();
        }
        found += problems.len();
        let mut verified = verified(&proofs, &[set.number]);
        if args.verify {
            let is_whole = problems.is_empty();
            verified = verified.filter(|_| !is_whole).or(is_whole.then(now));
            let sets = if is_whole { &mut whole } else { &mut broken };
            sets.push(set.number);
        }
        if args.json {
            let mut line = SetLine::new(set, encrypted);
            line.verified = verified;
            line.problems = Some(problems);
            let text = serde_json::to_string(&line).map_err(io::Error::from)?;
            writeln!(out, "{text}")?;
            continue;
        }
        let needs = match set.base {
            Some(base) => format!("needs {base}"),
            None => String::new(),
        };
        writeln!(
            out,
            "{:>4}  {:<12} {:<10} {}  {:>10} ({:.2} of {})  {}:{}{}{}",
            set.number,
            set.kind.name(),
            needs,
            set.time.local(&zone),
            size(set.set_bytes),
            ratio(set),
            size(set.data_bytes),
            set.host,
            String::from_utf8_lossy(&set.dir),
            match verified {
                Some(verified) => format!("  read {}", verified.0.local(&zone)),
                None => String::new(),
            },
            if problems.is_empty() { "" } else { "  BROKEN" },
        )?;
        for problem in problems {
            writeln!(out, "      {problem}")?;
        }
    }
    if !args.json {
        if catalog.sets.is_empty() {
            writeln!(out, "there are no sets yet")?;
        }
        if !encrypted {
            writeln!(
                out,
                "NOT ENCRYPTED: whoever can read {} may read all of it",
                repository.place()
            )?;
        }
    }
    if args.verify {
        note_verified(&repository, whole, broken);
    }
    Ok(match found {
        0 => Exit::Done,
        _ => Exit::Differs,
    })
}

fn now() -> When {
    When(Timestamp::now())
}

/// Leaves word at the place that sets were read, and of those that are broken.
fn note_verified(repository: &Repository, whole: Vec<u64>, broken: Vec<u64>) {
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy().into_owned();
    for (sets, problem) in [(whole, ""), (broken, "something is missing or damaged")] {
        if sets.is_empty() {
            continue;
        }
        let proof = Proof {
            kind: ProofKind::Verified,
            at: Timestamp::now(),
            host: host.clone(),
            sets,
            rto_ms: None,
            problem: problem.to_owned(),
        };
        if let Err(error) = repository.prove(&proof) {
            // The place may be one that this machine can only read.
            let _ = writeln!(
                stderr(),
                "rewindfs: that it was read can't be noted: {error}"
            );
        }
    }
}
