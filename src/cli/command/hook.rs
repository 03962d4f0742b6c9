//! `hook`: commands that are run when something happens.

use super::super::args::{self, HookName, OnFailure};
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::progress::Meter;
use super::super::quote::quote;
use super::super::reach;
use super::locate;
use crate::control::locate::Place;
use crate::control::report::HookLine;
use crate::control::request::{Answer, Request};
use crate::format::hook::{Hook, HookEvent};
use crate::time::{TimeZone, Timestamp};
use std::io::{self, Write, stdout};
use std::time::Duration;

/// How long one before a snapshot may take, unless somebody says otherwise: `mkdir .snapshots/NAME`
/// gives up after 20 s.
const BEFORE: Duration = Duration::from_secs(10);
/// And any other.
const OTHERS: Duration = Duration::from_secs(60);

/// `hook DIR set|list|remove`.
pub fn run(args: &args::Hook) -> Result<Exit, Error> {
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    match &args.what {
        args::HookWhat::Set(args) => set(args, &place),
        args::HookWhat::List(args) => list(args, &place),
        args::HookWhat::Remove(args) => {
            let event = event(args.event);
            let request = Request::RemoveHook { event };
            reach::ask(&place, request, &Meter::new("hook"))?;
            writeln!(stdout(), "nothing is run {} any more", event.name())?;
            Ok(Exit::Done)
        }
    }
}

fn event(name: HookName) -> HookEvent {
    match name {
        HookName::BeforeSnapshot => HookEvent::BeforeSnapshot,
        HookName::AfterSnapshot => HookEvent::AfterSnapshot,
        HookName::OnCommit => HookEvent::OnCommit,
        HookName::OnGap => HookEvent::OnGap,
        HookName::OnLag => HookEvent::OnLag,
        HookName::OnAlarm => HookEvent::OnAlarm,
        HookName::OnDrill => HookEvent::OnDrill,
    }
}

fn set(args: &args::HookSet, place: &Place) -> Result<Exit, Error> {
    let event = event(args.event);
    let is_before = event == HookEvent::BeforeSnapshot;
    if args.on_failure.is_some() && !is_before {
        let text = "nothing waits for it: --on-failure is for before-snapshot";
        return Err(Error::Usage(text.to_owned()));
    }
    let timeout = args
        .timeout
        .unwrap_or(if is_before { BEFORE } else { OTHERS });
    let hook = Hook {
        event,
        command: args.command.clone(),
        timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        aborts: is_before && args.on_failure != Some(OnFailure::Note),
        added: Timestamp::now(),
        by_uid: 0,
    };
    let while_mounted = match (&place.mount, event) {
        (Some(_), _) | (_, HookEvent::BeforeSnapshot | HookEvent::AfterSnapshot) => "",
        _ => ", while it is mounted",
    };
    reach::ask(place, Request::SetHook { hook }, &Meter::new("hook"))?;
    writeln!(
        stdout(),
        "{}: {} is run as the owner of {}{while_mounted}",
        event.name(),
        args.command,
        place.dir.display()
    )?;
    Ok(Exit::Done)
}

fn list(args: &args::HookList, place: &Place) -> Result<Exit, Error> {
    let Answer::Hooks { lines } = reach::ask(place, Request::Hooks, &Meter::new("hook"))? else {
        return Err(reach::strange(place));
    };
    let mut out = stdout().lock();
    let zone = TimeZone::system();
    for line in &lines {
        if args.json {
            let text = serde_json::to_string(line).map_err(io::Error::from)?;
            writeln!(out, "{text}")?;
        } else {
            writeln!(out, "{}", in_words(line, &zone))?;
        }
    }
    if lines.is_empty() && !args.json {
        writeln!(
            out,
            "there are none: rewindfs hook {} set --help",
            quote(&place.dir)
        )?;
    }
    Ok(match lines.iter().any(|line| line.trouble.is_some()) {
        true => Exit::Differs,
        false => Exit::Done,
    })
}

fn in_words(line: &HookLine, zone: &TimeZone) -> String {
    let mut text = format!("{}: {}", line.event.name(), line.command);
    text += &format!(" (at most {:?}", Duration::from_millis(line.timeout_ms));
    if line.event == HookEvent::BeforeSnapshot {
        text += match line.aborts {
            true => "; if it fails, no snapshot is made",
            false => "; if it fails, that is noted",
        };
    }
    text += &format!("; set by uid {})", line.uid);
    if let Some(ran) = line.ran {
        text += &format!("; last {}", ran.0.local(zone));
    }
    if let Some(trouble) = &line.trouble {
        text += &format!("; failed: {trouble}");
    }
    text
}
