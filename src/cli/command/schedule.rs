//! `schedule`: backups and snapshots that are made by themselves.

use super::super::args;
use super::super::elsewhere;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::progress::Meter;
use super::super::quantity::{parse_size, size};
use super::super::quote::quote;
use super::super::reach;
use super::super::scheduled::{self, Delivery};
use super::backup::{Line, apart, sent_before, with_feed};
use super::locate;
use super::replica::source;
use crate::archive::{Made, Objects};
use crate::control::locate::Place;
use crate::control::report::{ScheduleLine, Status};
use crate::control::request::{Answer, Request, Told};
use crate::control::schedules::in_words;
use crate::control::when::When;
use crate::format::schedule::{BackupKind, Occasion, Schedule, Task};
use crate::time::{TimeZone, Timestamp};
use std::io::{self, Write, stdout};

/// `schedule DIR add|list|remove|run`.
pub fn run(args: &args::Schedule) -> Result<Exit, Error> {
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    match &args.what {
        args::ScheduleWhat::Add(args) => add(args, &place),
        args::ScheduleWhat::List(args) => list(args, &place),
        args::ScheduleWhat::Remove(args) => remove(args, &place),
        args::ScheduleWhat::Run(args) => run_now(args, &place),
    }
}

fn add(args: &args::ScheduleAdd, place: &Place) -> Result<Exit, Error> {
    let occasion = occasion(args)?;
    let (task, encrypted) = match (&args.backup, &args.snapshot) {
        (Some(url), _) => backup(args, url, place)?,
        (None, name) => {
            let name = name.clone().unwrap_or_default();
            let keep = args.keep;
            (Task::Snapshot { name, keep }, true)
        }
    };
    let schedule = Schedule {
        number: 0,
        task,
        occasion,
        window: args.window,
        limit: args.limit,
        added: Timestamp::now(),
        by_uid: 0,
    };
    let text = in_words(&schedule);
    let request = Request::AddSchedule { schedule };
    let Answer::Added { number } = reach::ask(place, request, &Meter::new("schedule"))? else {
        return Err(reach::strange(place));
    };
    let while_mounted = match &place.mount {
        Some(_) => "",
        None => ", while it is mounted",
    };
    writeln!(
        stdout(),
        "schedule {number}: {text}{while_mounted}{}; rewindfs status says how it goes",
        if encrypted { "" } else { "; NOT ENCRYPTED" },
    )?;
    Ok(Exit::Done)
}

/// Whatever is wrong with the place or the password is said to who can mend it: now.
fn backup(args: &args::ScheduleAdd, url: &str, place: &Place) -> Result<(Task, bool), Error> {
    let password = source(&args.opening)?;
    apart(url, place)?;
    let url = Objects::place_of(url)?;
    let line = Line::new("schedule")?;
    let sent = sent_before(place, &line)?;
    let repository = elsewhere::open_or_create(&url, &args.opening, &sent, false)?;
    let encrypted = repository.cipher.encrypts();
    let kind = match args.full_every {
        Some(full_every) => BackupKind::Mixed { full_every },
        None if args.full => BackupKind::Full,
        None if args.differential => BackupKind::Differential,
        None => BackupKind::Incremental,
    };
    let task = Task::Backup {
        url,
        kind,
        password,
    };
    Ok((task, encrypted))
}

fn occasion(args: &args::ScheduleAdd) -> Result<Occasion, Error> {
    if let Some(calendar) = &args.at {
        return Ok(Occasion::At(calendar.trim().to_owned()));
    }
    if let Some(seconds) = args.every {
        return Ok(Occasion::Every(seconds));
    }
    let event = args.on.as_deref().unwrap_or_default();
    Ok(match event.split_once(':') {
        None if event == "snapshot" => Occasion::Snapshot,
        None if event == "commit" => Occasion::Commit,
        None if event == "trouble" => Occasion::Trouble,
        Some(("bytes", bytes)) => {
            let bytes = parse_size(bytes);
            Occasion::Bytes(bytes.map_err(|error| Error::Usage(error.to_string()))?)
        }
        Some(("success", command)) => Occasion::Success(command.to_owned()),
        _ => {
            return Err(Error::Usage(format!(
                "'{event}' is nothing that happens: write snapshot, commit, bytes:100M, success:CMD or trouble"
            )));
        }
    })
}

fn list(args: &args::ScheduleList, place: &Place) -> Result<Exit, Error> {
    let answer = reach::ask(place, Request::Status, &Meter::new("schedule"))?;
    let Answer::Status(status) = answer else {
        return Err(reach::strange(place));
    };
    let Status { schedules, .. } = *status;
    let mut out = stdout().lock();
    let zone = TimeZone::system();
    for line in &schedules {
        if args.json {
            let text = serde_json::to_string(line).map_err(io::Error::from)?;
            writeln!(out, "{text}")?;
        } else {
            writeln!(out, "{}", standing(line, &zone))?;
        }
    }
    if schedules.is_empty() && !args.json {
        writeln!(
            out,
            "nothing is done by itself: rewindfs schedule {} add --help",
            quote(&place.dir)
        )?;
    }
    Ok(match schedules.iter().any(|line| line.trouble.is_some()) {
        true => Exit::Differs,
        false => Exit::Done,
    })
}

/// One line about it.
pub(super) fn standing(line: &ScheduleLine, zone: &TimeZone) -> String {
    let at = |when: When| when.0.local(zone);
    let text = match &line.text[..] {
        "" => "of somebody else",
        text => text,
    };
    let mut all = format!("{:>3}  {text}: ", line.number);
    all += &match line.succeeded {
        Some(last) => format!("last {}", at(last)),
        None => "not yet".to_owned(),
    };
    if let Some(since) = line.under_way_since {
        all += &format!("; under way since {}", at(since));
    } else if let Some(until) = line.waits_until {
        let what = match line.trouble {
            Some(_) => "tried again",
            None => "waits for its window until",
        };
        all += &format!("; {what} {}", at(until));
    } else if let Some(since) = line.due_since {
        all += &format!("; due since {}", at(since));
    } else if let Some(next) = line.next {
        all += &format!("; next {}", at(next));
    }
    if let (Some(reason), Some(since)) = (&line.trouble, line.trouble_since) {
        all += &format!("; failed since {}: {reason}", at(since));
    }
    all
}

fn remove(args: &args::ScheduleRemove, place: &Place) -> Result<Exit, Error> {
    let number = args.number;
    let request = Request::RemoveSchedule { number };
    reach::ask(place, request, &Meter::new("schedule"))?;
    writeln!(
        stdout(),
        "schedule {number} is not done any more; what it made stays"
    )?;
    Ok(Exit::Done)
}

fn run_now(args: &args::ScheduleRun, place: &Place) -> Result<Exit, Error> {
    let ask = |request| reach::ask(place, request, &Meter::new("schedule"));
    let Answer::Schedules { mut schedules } = ask(Request::Schedules)? else {
        return Err(reach::strange(place));
    };
    if let Some(number) = args.number {
        schedules.retain(|(schedule, _)| schedule.number == number);
        if schedules.is_empty() {
            return Err(Error::Usage(format!(
                "there is no schedule {number}: rewindfs schedule {} list shows which there are",
                quote(&place.dir)
            )));
        }
    }
    if schedules.is_empty() {
        writeln!(
            stdout(),
            "nothing is done by itself: rewindfs schedule {} add --help",
            quote(&place.dir)
        )?;
    }
    let line = Line::new("schedule")?;
    for (schedule, _) in &schedules {
        let began = When(Timestamp::now());
        let done = by_hand(schedule, place, &line, &ask);
        let number = schedule.number;
        let told = match &done {
            Ok((epoch, _)) => Told::Done {
                began,
                epoch: *epoch,
                hasty: false,
            },
            Err(_) if line.is_pressed() => return Ok(Exit::Interrupted),
            Err(error) => Told::Failed {
                reason: error.to_string(),
            },
        };
        ask(Request::ScheduleTold { number, told })?;
        let (_, what) = done?;
        writeln!(stdout(), "schedule {number}: {what}")?;
    }
    Ok(Exit::Done)
}

/// Whoever does it by hand waits for it: no window, no limit.
fn by_hand(
    schedule: &Schedule,
    place: &Place,
    line: &Line,
    ask: &dyn Fn(Request) -> Result<Answer, Error>,
) -> Result<(u64, String), Error> {
    match &schedule.task {
        Task::Snapshot { name, keep } => {
            let (name, epoch) = scheduled::snapshot(schedule.number, name, *keep, ask)?;
            Ok((epoch, name))
        }
        Task::Backup {
            url,
            kind,
            password,
        } => {
            ask(Request::Sync)?;
            let delivery = Delivery {
                url,
                password,
                plan: scheduled::plan(*kind, false),
                rate: None,
                progress: &|done| line.show(done),
                cancelled: &|| line.is_pressed(),
            };
            let (epoch, made) = with_feed(place, None, line, |feed| delivery.run(feed, &mut None))?;
            Ok((epoch, format!("{url}: {}", sent(&made))))
        }
    }
}

/// What of it was new.
pub(super) fn sent(made: &Made) -> String {
    match &made.set {
        Some(set) => size(set.set_bytes),
        None => "nothing new".to_owned(),
    }
}
