//! `replica`: copies elsewhere that are kept up to date.

mod fork;

use super::super::args;
use super::super::elsewhere;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::progress::Meter;
use super::super::quantity::{count, size};
use super::super::reach;
use super::super::scheduled::Delivery;
use super::backup::{Line, apart, sent_before, with_feed};
use super::locate;
use super::schedule::sent;
use crate::archive::{Objects, Plan};
use crate::control::kept::span;
use crate::control::locate::Place;
use crate::control::report::{Drills, ReplicaLine, ReplicaWay, Status};
use crate::control::request::{Answer, Request};
use crate::format::drill::DrillPlan;
use crate::format::replica::{PasswordSource, Replica, ReplicaMode};
use crate::limits;
use crate::time::{TimeZone, Timestamp};
use std::io::{self, Write, stderr, stdout};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Seconds between two turns of a passive one, unless somebody says otherwise.
const EVERY: u64 = 3600;

/// How long somebody waits for a synchronous one, unless somebody says otherwise.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);

/// `replica add|list|push|remove`.
pub fn run(args: &args::Replica) -> Result<Exit, Error> {
    match &args.what {
        args::ReplicaWhat::Add(args) => add(args),
        args::ReplicaWhat::List(args) => list(args),
        args::ReplicaWhat::Push(args) => push(args),
        args::ReplicaWhat::Remove(args) => remove(args),
        args::ReplicaWhat::Pull(args) => super::pull::run(args),
    }
}

fn place_of(dir: &args::Dir) -> Result<Place, Error> {
    locate(&dir.dir, dir.store.said().as_deref(), None)
}

fn add(args: &args::ReplicaAdd) -> Result<Exit, Error> {
    let mode = mode_of(args)?;
    let password = source(&args.opening)?;
    let place = place_of(&args.dir)?;
    apart(&args.url, &place)?;
    let url = Objects::place_of(&args.url)?;
    let line = Line::new("replica")?;
    let left = match args.fork {
        true => fork::left(&place, &url)?,
        false => Vec::new(),
    };
    // Whatever is wrong with the place or the password is said to who can mend it: now.
    let sent = sent_before(&place, &line)?;
    let repository = elsewhere::open_or_create(&url, &args.opening, &sent, false)?;
    let encrypted = repository.cipher.encrypts();
    if args.fork {
        with_feed(&place, None, &line, |feed| {
            let facts = feed.facts()?;
            fork::begin(&repository, feed, facts, args.keep_for, &line)
        })?;
    }
    let replica = Replica {
        url: url.clone(),
        mode,
        password,
        limit: args.limit,
        keep: args.keep_for,
        added: Timestamp::now(),
        by_uid: 0,
    };
    reach::ask(
        &place,
        Request::SetReplica { replica },
        &Meter::new("replica"),
    )?;
    for url in left {
        reach::ask(
            &place,
            Request::RemoveReplica { url: url.clone() },
            &Meter::new("replica"),
        )?;
        writeln!(
            stdout(),
            "nothing more is sent to {url}, where another store goes on"
        )?;
    }
    if args.drill_every.is_some() || args.drill_sample.is_some() {
        let plan = DrillPlan {
            url: url.clone(),
            every: args.drill_every.unwrap_or(limits::DRILL_EVERY.as_secs()),
            percent: args.drill_sample.unwrap_or(limits::DRILL_PERCENT),
        };
        reach::ask(&place, Request::SetDrills { plan }, &Meter::new("replica"))?;
    }
    let when = match mode {
        ReplicaMode::Passive { every } => {
            format!("every {}", span(every))
        }
        _ => "after each change".to_owned(),
    };
    let while_mounted = match &place.mount {
        Some(_) => "",
        None => ", while it is mounted",
    };
    writeln!(
        stdout(),
        "{url} is brought up to date {when}{while_mounted}{}; rewindfs status says how far it is",
        if encrypted { "" } else { "; NOT ENCRYPTED" },
    )?;
    Ok(Exit::Done)
}

fn mode_of(args: &args::ReplicaAdd) -> Result<ReplicaMode, Error> {
    let is = |mode| args.mode == mode;
    let wrong = |text: &str| Err(Error::Usage(text.to_owned()));
    if args.every.is_some() && !is(args::ReplicaMode::Passive) {
        return wrong("it is brought up to date after each change: --every is for --mode passive");
    }
    if (args.strict || args.sync_timeout.is_some()) && !is(args::ReplicaMode::Synchronous) {
        return wrong(
            "nobody waits for it: --sync-timeout and --strict are for --mode synchronous",
        );
    }
    Ok(match args.mode {
        args::ReplicaMode::Active => ReplicaMode::Active,
        args::ReplicaMode::Passive => ReplicaMode::Passive {
            every: args.every.unwrap_or(EVERY).max(1),
        },
        args::ReplicaMode::Synchronous => {
            let timeout = args.sync_timeout.unwrap_or(SYNC_TIMEOUT);
            ReplicaMode::Synchronous {
                timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                strict: args.strict,
            }
        }
    })
}

/// Where the password comes from while nobody is there to type it.
pub(super) fn source(opening: &args::Opening) -> Result<PasswordSource, Error> {
    if opening.no_encryption {
        return Ok(PasswordSource::None);
    }
    if let Some(path) = &opening.password_file {
        let full = path.canonicalize().map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
        return Ok(PasswordSource::File(full.as_os_str().as_bytes().to_vec()));
    }
    match &opening.password_command {
        Some(command) => Ok(PasswordSource::Command(command.clone())),
        None => Err(Error::Usage(
            "it is written to while nobody is there: give --password-file FILE or \
             --password-command CMD, or say --no-encryption"
                .to_owned(),
        )),
    }
}

fn status(place: &Place) -> Result<Box<Status>, Error> {
    match reach::ask(place, Request::Status, &Meter::new("replica"))? {
        Answer::Status(status) => Ok(status),
        _ => Err(reach::strange(place)),
    }
}

fn list(args: &args::ReplicaList) -> Result<Exit, Error> {
    let place = place_of(&args.dir)?;
    let status = status(&place)?;
    let mut out = stdout().lock();
    let zone = TimeZone::system();
    for line in &status.replicas {
        if args.json {
            let text = serde_json::to_string(line).map_err(io::Error::from)?;
            writeln!(out, "{text}")?;
        } else {
            writeln!(out, "{}", in_words(line, &zone))?;
        }
    }
    if status.replicas.is_empty() && !args.json {
        writeln!(out, "there are none: rewindfs replica add DIR URL")?;
    }
    let troubled = status.replicas.iter().any(|line| line.trouble.is_some());
    Ok(match troubled {
        true => Exit::Differs,
        false => Exit::Done,
    })
}

/// What was asked for is done here; that it is not elsewhere yet is said.
pub(super) fn warn_late(places: &str) {
    // Standard error may be gone; status says it, too.
    let _ = writeln!(
        stderr(),
        "rewindfs: recorded here, but not at {places} yet; nobody waits for it until it has caught up"
    );
}

/// One line about a replica.
pub(super) fn in_words(line: &ReplicaLine, zone: &TimeZone) -> String {
    let url = match &line.url[..] {
        "" => "elsewhere",
        url => url,
    };
    let mode = match (line.mode, line.every) {
        (ReplicaWay::Passive, Some(every)) => {
            format!("passive, every {}", span(every))
        }
        (ReplicaWay::Passive, None) => "passive".to_owned(),
        (ReplicaWay::Active, _) => "active".to_owned(),
        (ReplicaWay::Synchronous, _) => "synchronous".to_owned(),
    };
    let behind = match (line.time, line.states_behind) {
        (None, _) => "nothing is there yet".to_owned(),
        (Some(_), 0) => "all that is recorded".to_owned(),
        (Some(time), states) => format!(
            "as of {}; {}, {}, {} s behind",
            time.0.local(zone),
            count(states, "state"),
            size(line.bytes_behind),
            line.seconds_behind
        ),
    };
    let mut text = format!("{url} ({mode}): {behind}");
    if let Some(limit) = line.limit {
        text += &format!("; at most {} a second", size(limit));
    }
    if !line.encrypted {
        text += "; NOT ENCRYPTED";
    }
    if let Some(trouble) = &line.trouble {
        text += &format!("; {trouble}");
    }
    text + &tried(&line.drills, zone)
}

/// `; tried 2026-11-22 03:38:43 +00:00: right, usable again after 0.5 s`.
pub(super) fn tried(drills: &Drills, zone: &TimeZone) -> String {
    let Some(last) = &drills.last else {
        return "; never tried".to_owned();
    };
    let when = last.ended.0.local(zone);
    match last.ok {
        true => {
            let sample = last
                .sample_percent
                .map(|percent| format!(" (a sample of {percent} %)"));
            format!(
                "; tried {when}: right{}, usable again after {}.{} s",
                sample.unwrap_or_default(),
                last.rto_ms / 1000,
                last.rto_ms % 1000 / 100
            )
        }
        false => format!("; tried {when}: IT DID NOT COME BACK AS IT SHOULD"),
    }
}

fn push(args: &args::ReplicaPush) -> Result<Exit, Error> {
    let place = place_of(&args.dir)?;
    let line = Line::new("replica")?;
    let Answer::Replicas { mut replicas, .. } =
        reach::ask(&place, Request::Replicas, &Meter::new("replica"))?
    else {
        return Err(reach::strange(&place));
    };
    if let Some(url) = &args.url {
        let url = Objects::place_of(url)?;
        replicas.retain(|replica| replica.url == url);
        if replicas.is_empty() {
            return Err(Error::Usage(format!(
                "there is no replica at {url}: rewindfs replica list shows which there are"
            )));
        }
    }
    reach::ask(&place, Request::Sync, &Meter::new("replica"))?;
    for replica in &replicas {
        let delivery = Delivery {
            url: &replica.url,
            password: &replica.password,
            plan: Plan::replica(Duration::from_secs(replica.keep)),
            rate: None,
            progress: &|done| line.show(done),
            cancelled: &|| line.is_pressed(),
        };
        let (_, made) = with_feed(&place, None, &line, |feed| delivery.run(feed, &mut None))?;
        writeln!(stdout(), "{}: {}", replica.url, sent(&made))?;
    }
    if replicas.is_empty() {
        writeln!(
            stdout(),
            "there are no replicas: rewindfs replica add DIR URL"
        )?;
    }
    Ok(Exit::Done)
}

fn remove(args: &args::ReplicaRemove) -> Result<Exit, Error> {
    let place = place_of(&args.dir)?;
    let url = Objects::place_of(&args.url)?;
    reach::ask(
        &place,
        Request::RemoveReplica { url: url.clone() },
        &Meter::new("replica"),
    )?;
    writeln!(
        stdout(),
        "nothing more is sent to {url}; what is there stays: rewindfs backups shows it"
    )?;
    Ok(Exit::Done)
}
