//! `list --deleted` and `list --log`: what can be undeleted, and who did what to the list.

use super::super::error::Error;
use super::super::exit::Exit;
use super::super::progress::Meter;
use super::super::quantity::{count, size};
use super::super::reach::{self, Reach};
use crate::control::kept::{Deed, DeletedLine, LogLine, span};
use crate::control::locate::Place;
use crate::control::request::{Answer, Request};
use crate::control::when::When;
use crate::time::TimeZone;
use std::io::{self, Write, stdout};

/// `list DIR --deleted`.
pub fn deleted(place: &Place, json: bool) -> Result<Exit, Error> {
    let ask = |after| Request::Deleted { after };
    pages(place, ask, |answer, out, zone| {
        let Answer::DeletedPage { lines, next } = answer else {
            return None;
        };
        Some(print(out, &lines, json, zone, deleted_row).map(|()| next))
    })
}

/// `list DIR --log`.
pub fn log(place: &Place, json: bool) -> Result<Exit, Error> {
    let ask = |after| Request::Log { after };
    pages(place, ask, |answer, out, zone| {
        let Answer::LogPage { lines, next } = answer else {
            return None;
        };
        Some(print(out, &lines, json, zone, log_row).map(|()| next))
    })
}

type Out = io::BufWriter<io::StdoutLock<'static>>;

/// Asks for page after page and prints each.
fn pages(
    place: &Place,
    ask: impl Fn(Option<When>) -> Request,
    show: impl Fn(Answer, &mut Out, &TimeZone) -> Option<io::Result<Option<When>>>,
) -> Result<Exit, Error> {
    let mut out = io::BufWriter::new(stdout().lock());
    let zone = TimeZone::system();
    let mut after = None;
    let mut here: Option<Reach> = None;
    loop {
        let request = ask(after);
        let reach = match here.take() {
            Some(reach) => reach,
            None => Reach::open(place, &request)?,
        };
        let answer = reach.ask(place, request, &Meter::new("list"))?;
        if matches!(reach, Reach::Here(_)) {
            here = Some(reach);
        }
        let next = show(answer, &mut out, &zone).ok_or_else(|| reach::strange(place))??;
        if next.is_none() {
            out.flush()?;
            return Ok(Exit::Done);
        }
        after = next;
    }
}

fn print<T: serde::Serialize>(
    out: &mut impl Write,
    lines: &[T],
    json: bool,
    zone: &TimeZone,
    row: impl Fn(&T, &TimeZone) -> String,
) -> io::Result<()> {
    for line in lines {
        if json {
            serde_json::to_writer(&mut *out, line)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", row(line, zone).trim_end())?;
        }
    }
    Ok(())
}

fn deleted_row(line: &DeletedLine, zone: &TimeZone) -> String {
    let message = match line.message.lines().next() {
        Some(first) => format!(": {first}"),
        None => String::new(),
    };
    format!(
        "{}  {}  state of {}, kept at least until {}{message}",
        line.deleted.0.local(zone),
        line.name,
        line.time.0.local(zone),
        line.kept_until.0.local(zone),
    )
}

fn log_row(line: &LogLine, zone: &TimeZone) -> String {
    let what = match line.deed {
        Deed::Made => format!("made {}", line.name),
        Deed::Renamed => {
            let to = line.to.as_deref().unwrap_or_default();
            format!("renamed {} to {to}", line.name)
        }
        Deed::Deleted => format!("deleted {}", line.name),
        Deed::Undeleted => format!("undeleted {}", line.name),
        Deed::Held => {
            let mut text = format!("held {}", line.name);
            if let Some(until) = line.until {
                text += &format!(" until {}", until.0.local(zone));
            }
            text
        }
        Deed::Released => format!("released {}", line.name),
        Deed::ReplicaSet => format!("replica {}", line.name).trim_end().to_owned(),
        Deed::ReplicaRemoved => format!("no replica at {} any more", line.name),
        Deed::ScheduleAdded => format!("schedule {}", line.name),
        Deed::HookSet => format!("hook {}", line.name),
        Deed::HookRemoved => format!("no hook {} any more", line.name),
        Deed::ScheduleRemoved => format!("no schedule {} any more", line.name),
        Deed::Pruned => format!(
            "dropped {}, {}",
            count(line.states.unwrap_or(0), "checkpoint"),
            size(line.bytes.unwrap_or(0))
        ),
        Deed::Policy if line.left_out.is_some() => {
            let rules = line.left_out.clone().unwrap_or_default();
            format!(
                "set the policy: leaves out {}",
                super::keep::leaves_out(&rules)
            )
        }
        Deed::Policy if line.first.is_some() => {
            let first = line.first.clone().unwrap_or_default();
            format!("set the policy: {} first", super::keep::first(&first))
        }
        Deed::Purged => format!(
            "purged the content of {}, {}",
            count(line.versions.unwrap_or(0), "version"),
            size(line.bytes.unwrap_or(0))
        ),
        Deed::Repaired => format!(
            "repaired the store: {} mended, {} given up",
            line.mended.unwrap_or(0),
            line.given_up.unwrap_or(0)
        ),
        Deed::Policy => match &line.policy {
            Some(policy) => format!(
                "set the policy: all {}, hourly {}, daily {}, weekly {}, size {}",
                span(policy.keep_all),
                span(policy.keep_hourly),
                span(policy.keep_daily),
                span(policy.keep_weekly),
                policy.max_bytes.map_or("any".to_owned(), size)
            ),
            None => match line.alarm {
                Some(0) => "set the policy: no alarm".to_owned(),
                Some(files) => format!("set the policy: alarm from {} on", count(files, "file")),
                None => "set the policy".to_owned(),
            },
        },
        Deed::Alarm => {
            let mut text = format!("alarm: {}", line.reason.as_deref().unwrap_or_default());
            if let Some(folder) = line.folder.as_deref().filter(|folder| !folder.is_empty()) {
                text += &format!(" in {folder}");
            }
            if let Some(until) = line.until {
                let until = until.0.local(zone);
                text += &format!("; the state before is {}, held until {until}", line.name);
            }
            text
        }
    };
    // That of an alarm is what was done, and stands there already.
    let is_why = |reason: &&str| !reason.is_empty() && line.deed != Deed::Alarm;
    let what = match line.reason.as_deref().filter(is_why) {
        Some(reason) => {
            let reason = reason.lines().collect::<Vec<_>>().join(" ");
            format!("{what}: {reason}")
        }
        None => what,
    };
    format!("{}  uid {:<5}  {what}", line.time.0.local(zone), line.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::kept::Spans;
    use crate::time::Timestamp;

    const NOON: When = When(Timestamp(1_795_176_000_000_000_000));

    fn line(deed: Deed, name: &str) -> LogLine {
        LogLine {
            time: NOON,
            uid: 1000,
            deed,
            name: name.to_owned(),
            to: None,
            until: None,
            reason: None,
            states: None,
            bytes: None,
            policy: None,
            alarm: None,
            folder: None,
            first: None,
            left_out: None,
            mended: None,
            given_up: None,
            versions: None,
        }
    }

    #[test]
    fn the_log_reads_as_sentences() {
        let lines = [
            line(Deed::Made, "a"),
            LogLine {
                to: Some("b".to_owned()),
                ..line(Deed::Renamed, "a")
            },
            LogLine {
                until: Some(NOON),
                reason: Some("tax\naudit".to_owned()),
                ..line(Deed::Held, "b")
            },
            line(Deed::Released, "b"),
            line(Deed::Deleted, "b"),
            line(Deed::Undeleted, "b"),
            LogLine {
                uid: 0,
                states: Some(1),
                bytes: Some(4096),
                ..line(Deed::Pruned, "")
            },
            LogLine {
                policy: Some(Spans {
                    keep_all: 86_400,
                    keep_hourly: 7 * 86_400,
                    keep_daily: 30 * 86_400,
                    keep_weekly: 365 * 86_400,
                    max_bytes: Some(50 << 30),
                }),
                ..line(Deed::Policy, "")
            },
            LogLine {
                alarm: Some(500),
                ..line(Deed::Policy, "")
            },
            LogLine {
                reason: Some("rm (pid 7, uid 1000) deleted or overwrote 1200 files".to_owned()),
                folder: Some("src".to_owned()),
                until: Some(NOON),
                ..line(Deed::Alarm, "alarm-x")
            },
        ];
        let mut out = Vec::new();
        print(&mut out, &lines, false, &TimeZone::UTC, log_row).unwrap();
        let at = "2026-11-20 12:00:00 +00:00  uid";
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(
                "{at} 1000   made a\n\
                 {at} 1000   renamed a to b\n\
                 {at} 1000   held b until 2026-11-20 12:00:00 +00:00: tax audit\n\
                 {at} 1000   released b\n\
                 {at} 1000   deleted b\n\
                 {at} 1000   undeleted b\n\
                 {at} 0      dropped 1 checkpoint, 4.0 KiB\n\
                 {at} 1000   set the policy: all 1d, hourly 1w, daily 30d, weekly 1y, size 50.0 GiB\n\
                 {at} 1000   set the policy: alarm from 500 files on\n\
                 {at} 1000   alarm: rm (pid 7, uid 1000) deleted or overwrote 1200 files in src; the \
                 state before is alarm-x, held until 2026-11-20 12:00:00 +00:00\n"
            )
        );
    }

    #[test]
    fn json_has_only_the_fields_of_its_deed() {
        let mut out = Vec::new();
        print(
            &mut out,
            &[line(Deed::Made, "a")],
            true,
            &TimeZone::UTC,
            log_row,
        )
        .unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"time\":\"2026-11-20T12:00:00.000000000Z\",\"uid\":1000,\"deed\":\"made\",\
             \"name\":\"a\"}\n"
        );
    }
}
