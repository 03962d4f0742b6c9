//! Whether something that is done by itself is to be done now.
//!
//! 1. Pure: what was seen, and the zone, are arguments.
//! 2. However often it was missed, it is done once: `Course::since` is then after all of that.
//! 3. Outside of its window it waits, unless it may go on slowly; after a failure it is tried again,
//!    each time later. Trouble waits for nothing.

use crate::format::schedule::{Course, Occasion, Schedule, Task};
use crate::limits;
use crate::time::{Calendar, TimeZone, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::super::when::When;

/// What whoever decides has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub now: Timestamp,
    /// The time of the first state after `Course::epoch`, and that of the newest one.
    pub first_after: Option<Timestamp>,
    pub newest: Option<Timestamp>,
    /// When the newest snapshot got its name.
    pub named: Option<Timestamp>,
    /// Recorded since `Course::epoch`.
    pub bytes: u64,
    /// When something began to go wrong, the last time.
    pub trouble: Option<Timestamp>,
}

/// Whether it is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Turn {
    /// Not now; `None`: nobody knows when.
    Later { next: Option<When> },
    /// Its time has come, but it waits for its window, or for the next try.
    Waits { since: When, until: When },
    /// `hasty`: out of turn, because something goes wrong.
    Now { since: When, hasty: bool },
}

/// See the module's head.
pub fn turn(schedule: &Schedule, course: &Course, seen: &Seen, zone: &TimeZone) -> Turn {
    let now = seen.now;
    let hasty = rescue(schedule, course, seen);
    let since = match hasty {
        Some(trouble) => Some(trouble),
        None => match due(schedule, course, seen, zone) {
            Due::Since(since) => Some(since),
            Due::Later(next) => {
                let next = next.map(When);
                return Turn::Later { next };
            }
        },
    };
    let since = When(since.unwrap_or(now));
    let retry = course.failed.as_ref().and_then(|failed| {
        // A clock that was set back does not keep it from being tried.
        let again = failed.last.plus(pause(failed.times));
        (failed.last <= now && again > now).then_some(again)
    });
    if let Some(until) = retry.map(When) {
        return Turn::Waits { since, until };
    }
    let closed = schedule.window.filter(|window| !window.is_open(now, zone));
    if let Some(window) = closed.filter(|_| hasty.is_none() && schedule.limit.is_none())
        && let Some(until) = window.opens(now, zone).map(When)
    {
        return Turn::Waits { since, until };
    }
    let hasty = hasty.is_some();
    Turn::Now { since, hasty }
}

/// Bytes a second that it may send now: with a window, only outside of it.
pub fn rate(schedule: &Schedule, now: Timestamp, zone: &TimeZone) -> Option<u64> {
    let free = schedule
        .window
        .is_some_and(|window| window.is_open(now, zone));
    schedule.limit.filter(|_| !free)
}

/// Between two tries.
fn pause(times: u64) -> Duration {
    let doubled = u32::try_from(times.saturating_sub(1)).unwrap_or(u32::MAX);
    let factor = 2u32.checked_pow(doubled).unwrap_or(u32::MAX);
    let pause = limits::SCHEDULE_FIRST_PAUSE.saturating_mul(factor);
    pause.min(limits::SCHEDULE_LAST_PAUSE)
}

/// Backups are made out of turn, and whatever waits for trouble.
fn rescue(schedule: &Schedule, course: &Course, seen: &Seen) -> Option<Timestamp> {
    let wanted =
        matches!(schedule.task, Task::Backup { .. }) || schedule.occasion == Occasion::Trouble;
    let fresh = |trouble: &Timestamp| {
        seen.now.since(*trouble) < limits::TROUBLE_NEWS
            && *trouble > schedule.added
            && course.rescued.is_none_or(|rescued| rescued < *trouble)
    };
    seen.trouble.filter(|_| wanted).filter(fresh)
}

enum Due {
    Since(Timestamp),
    Later(Option<Timestamp>),
}

fn due(schedule: &Schedule, course: &Course, seen: &Seen, zone: &TimeZone) -> Due {
    let now = seen.now;
    // A clock that was set back must not keep it waiting until it has caught up.
    let since = course.since.min(now);
    let when = |is: bool, time: Option<Timestamp>| match is {
        true => Due::Since(time.unwrap_or(now)),
        false => Due::Later(None),
    };
    match &schedule.occasion {
        Occasion::At(text) => {
            let calendar = Calendar::parse(text).ok();
            match calendar.and_then(|calendar| calendar.next(since, zone)) {
                Some(next) if next <= now => Due::Since(next),
                next => Due::Later(next),
            }
        }
        Occasion::Every(seconds) => {
            let next = match course.succeeded {
                Some(_) => since.plus(Duration::from_secs(*seconds)),
                None => schedule.added.min(now),
            };
            match next <= now {
                true => Due::Since(next),
                false => Due::Later(Some(next)),
            }
        }
        Occasion::Snapshot => {
            let named = seen.named.filter(|named| *named > course.since);
            when(named.is_some(), named)
        }
        Occasion::Commit => when(seen.first_after.is_some(), seen.first_after),
        Occasion::Bytes(bytes) => when(seen.bytes >= *bytes, seen.newest),
        // Only who runs the command knows.
        Occasion::Success(_) | Occasion::Trouble => Due::Later(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::replica::PasswordSource;
    use crate::format::schedule::{BackupKind, Failure};

    fn at(text: &str) -> Timestamp {
        let text = format!("2026-11-{text}");
        crate::time::parse(&text, Timestamp(i64::MAX), &TimeZone::UTC).expect("a time")
    }

    fn schedule(occasion: Occasion) -> Schedule {
        Schedule {
            number: 1,
            task: Task::Backup {
                url: String::new(),
                kind: BackupKind::Incremental,
                password: PasswordSource::None,
            },
            occasion,
            window: None,
            limit: None,
            added: at("20T12:00"),
            by_uid: 0,
        }
    }

    /// After it was done at that time.
    fn after(time: &str) -> Course {
        Course {
            since: at(time),
            succeeded: Some(at(time)),
            ..Course::default()
        }
    }

    fn seen(now: &str) -> Seen {
        Seen {
            now: at(now),
            ..Seen::default()
        }
    }

    fn asked(schedule: &Schedule, course: &Course, seen: &Seen) -> Turn {
        turn(schedule, course, seen, &TimeZone::UTC)
    }

    fn since(time: &str) -> Turn {
        Turn::Now {
            since: When(at(time)),
            hasty: false,
        }
    }

    fn next(time: &str) -> Turn {
        let next = Some(When(at(time)));
        Turn::Later { next }
    }

    #[test]
    fn what_was_missed_is_caught_up_once() {
        let nightly = schedule(Occasion::At("02:30".to_owned()));
        let done = after("20T02:30:01");
        assert_eq!(asked(&nightly, &done, &seen("20T23:00")), next("21T02:30"));
        assert_eq!(asked(&nightly, &done, &seen("21T02:30")), since("21T02:30"));
        // Asleep for three nights: due since the first of them, and done once.
        assert_eq!(asked(&nightly, &done, &seen("24T09:00")), since("21T02:30"));
        let done = after("24T09:00");
        assert_eq!(asked(&nightly, &done, &seen("24T09:01")), next("25T02:30"));
        // The clock was a year ahead: it does not wait for a year.
        assert_eq!(
            asked(&nightly, &after("30T00:00"), &seen("24T09:00")),
            next("25T02:30")
        );
        let hourly = schedule(Occasion::Every(3600));
        assert_eq!(
            asked(&hourly, &Course::default(), &seen("20T12:00")),
            since("20T12:00")
        );
        assert_eq!(
            asked(&hourly, &after("20T12:00"), &seen("20T12:59")),
            next("20T13:00")
        );
        assert_eq!(
            asked(&hourly, &after("20T12:00"), &seen("22T00:00")),
            since("20T13:00")
        );
    }

    #[test]
    fn events_count_from_the_last_time_on() {
        let nothing = Turn::Later { next: None };
        let done = after("20T13:00");
        let mut seen = seen("20T14:00");
        seen.named = Some(at("20T13:00"));
        let snapshot = schedule(Occasion::Snapshot);
        assert_eq!(asked(&snapshot, &done, &seen), nothing);
        seen.named = Some(at("20T13:30"));
        assert_eq!(asked(&snapshot, &done, &seen), since("20T13:30"));
        let commit = schedule(Occasion::Commit);
        assert_eq!(asked(&commit, &done, &seen), nothing);
        seen.first_after = Some(at("20T13:10"));
        seen.newest = Some(at("20T13:50"));
        assert_eq!(asked(&commit, &done, &seen), since("20T13:10"));
        let bytes = schedule(Occasion::Bytes(100));
        seen.bytes = 99;
        assert_eq!(asked(&bytes, &done, &seen), nothing);
        seen.bytes = 100;
        assert_eq!(asked(&bytes, &done, &seen), since("20T13:50"));
    }

    #[test]
    fn outside_its_window_it_waits_or_goes_slowly() {
        let mut nightly = schedule(Occasion::At("18:00".to_owned()));
        nightly.window = "23:00-05:00".parse().ok();
        let done = after("20T13:00");
        let waits = |until: &str| Turn::Waits {
            since: When(at("20T18:00")),
            until: When(at(until)),
        };
        assert_eq!(asked(&nightly, &done, &seen("20T18:00")), waits("20T23:00"));
        assert_eq!(asked(&nightly, &done, &seen("20T23:00")), since("20T18:00"));
        assert_eq!(asked(&nightly, &done, &seen("21T04:59")), since("20T18:00"));
        assert_eq!(asked(&nightly, &done, &seen("21T05:00")), waits("21T23:00"));
        assert_eq!(rate(&nightly, at("20T18:00"), &TimeZone::UTC), None);
        nightly.limit = Some(7);
        assert_eq!(asked(&nightly, &done, &seen("20T18:00")), since("20T18:00"));
        assert_eq!(rate(&nightly, at("20T18:00"), &TimeZone::UTC), Some(7));
        assert_eq!(rate(&nightly, at("20T23:00"), &TimeZone::UTC), None);
        nightly.window = None;
        assert_eq!(rate(&nightly, at("20T23:00"), &TimeZone::UTC), Some(7));
    }

    #[test]
    fn what_failed_is_tried_again_later_and_later() {
        let nightly = schedule(Occasion::At("18:00".to_owned()));
        let failed = |times| Course {
            failed: Some(Failure {
                first: at("20T18:00"),
                last: at("20T19:00"),
                times,
                reason: String::new(),
            }),
            ..after("20T13:00")
        };
        let waits = |until: &str| Turn::Waits {
            since: When(at("20T18:00")),
            until: When(at(until)),
        };
        assert_eq!(
            asked(&nightly, &failed(1), &seen("20T19:00")),
            waits("20T19:00:05")
        );
        assert_eq!(
            asked(&nightly, &failed(3), &seen("20T19:00")),
            waits("20T19:00:20")
        );
        assert_eq!(
            asked(&nightly, &failed(99), &seen("20T19:00")),
            waits("20T20:00")
        );
        assert_eq!(
            asked(&nightly, &failed(1), &seen("20T19:00:05")),
            since("20T18:00")
        );
        assert_eq!(
            asked(&nightly, &failed(9), &seen("20T18:30")),
            since("20T18:00")
        );
    }

    #[test]
    fn trouble_waits_for_no_window_and_is_met_once() {
        let mut nightly = schedule(Occasion::At("02:30".to_owned()));
        nightly.window = "01:00-05:00".parse().ok();
        let mut course = after("21T02:30:01");
        let mut seen = seen("21T12:00");
        seen.trouble = Some(at("21T11:59"));
        let hasty = Turn::Now {
            since: When(at("21T11:59")),
            hasty: true,
        };
        assert_eq!(asked(&nightly, &course, &seen), hasty);
        course.rescued = Some(at("21T12:00"));
        assert_eq!(asked(&nightly, &course, &seen), next("22T02:30"));
        seen.trouble = Some(at("21T12:00:01"));
        assert_eq!(asked(&nightly, &course, &seen), hasty_at("21T12:00:01"));
        // Snapshots are made then only where that was asked for.
        let mut snapshot = schedule(Occasion::Commit);
        snapshot.task = Task::Snapshot {
            name: "s".to_owned(),
            keep: None,
        };
        assert_eq!(asked(&snapshot, &course, &seen), Turn::Later { next: None });
        snapshot.occasion = Occasion::Trouble;
        assert_eq!(asked(&snapshot, &course, &seen), hasty_at("21T12:00:01"));
    }

    fn hasty_at(time: &str) -> Turn {
        Turn::Now {
            since: When(at(time)),
            hasty: true,
        }
    }
}
