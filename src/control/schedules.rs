//! What is done by itself, as the daemon knows it: what there is, whose turn it is, how it went. It is
//! done by a process of its own (`cli::attend`), or by who says so by hand.

pub mod due;

use super::error::Error;
use super::kept::span;
use super::replicas::Replication;
use super::report::{ScheduleLine, Scheduled};
use super::request::{Answer, Told};
use super::service::Service;
use super::when::When;
use crate::format::schedule::{BackupKind, Course, Failure, Occasion, Schedule, Task};
use crate::id::Epoch;
use crate::limits;
use crate::name::check_snapshot_name;
use crate::store::Store;
use crate::time::{Calendar, TimeZone, Timestamp};
use due::{Seen, Turn};
use parking_lot::Mutex;
use std::collections::HashMap;

/// What is known while the store is open.
#[derive(Default)]
pub struct Scheduling {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By number: what is being done, and since when.
    under_way: HashMap<u64, Timestamp>,
    /// By number: after which epoch was counted, up to which, and what.
    counted: HashMap<u64, (u64, u64, u64)>,
    /// The newest snapshot, as of a change of the list of names.
    named: Option<(Timestamp, Option<Timestamp>)>,
}

impl Scheduling {
    /// What stands in the store and is to be seen of it.
    fn seen(&self, store: &Store, course: &Course, number: u64) -> Result<Seen, Error> {
        let view = store.view();
        let time = |epoch: Epoch| -> Result<Option<Timestamp>, Error> {
            Ok(view.header(epoch)?.map(|header| header.time))
        };
        let after = Epoch::try_from(course.epoch).unwrap_or(Epoch::NONE);
        let newest = view.newest_epoch()?.filter(|newest| *newest > after);
        let mut seen = Seen {
            now: Timestamp::now(),
            newest: newest.map(time).transpose()?.flatten(),
            named: self.named(store)?,
            ..Seen::default()
        };
        let Some(newest) = newest else {
            return Ok(seen);
        };
        let first = view.epochs(after.next(), Epoch::MAX, 1)?;
        seen.first_after = first.first().map(|(.., header)| header.time);
        let known = self.state.lock().counted.get(&number).copied();
        let (from, mut bytes) = match known.filter(|(since, ..)| *since == after.0) {
            Some((_, up_to, bytes)) => (Epoch::try_from(up_to).unwrap_or(after), bytes),
            None => (after, 0),
        };
        if from < newest {
            let new = view.epochs(from.next(), newest, limits::REPLICA_COUNTED)?;
            let new = new
                .iter()
                .map(|(_, record, _)| record.statistics.hashed_bytes);
            bytes = new.fold(bytes, u64::saturating_add);
        }
        let mut state = self.state.lock();
        state.counted.insert(number, (after.0, newest.0, bytes));
        seen.bytes = bytes;
        Ok(seen)
    }

    /// When the newest snapshot got its name.
    fn named(&self, store: &Store) -> Result<Option<Timestamp>, Error> {
        let changed = store.snapshots_changed();
        if let Some((as_of, named)) = self.state.lock().named
            && as_of == changed
        {
            return Ok(named);
        }
        let all = store.view().snapshots()?;
        let named = all.iter().map(|(_, snapshot)| snapshot.time).max();
        self.state.lock().named = Some((changed, named));
        Ok(named)
    }
}

fn bad(reason: impl ToString) -> Error {
    Error::BadSchedule {
        reason: reason.to_string(),
    }
}

/// That it can ever be done.
fn check(schedule: &Schedule) -> Result<(), Error> {
    let is_snapshot = matches!(schedule.task, Task::Snapshot { .. });
    match &schedule.occasion {
        Occasion::At(text) => {
            let calendar = Calendar::parse(text).map_err(bad)?;
            if calendar
                .next(Timestamp::now(), &TimeZone::system())
                .is_none()
            {
                return Err(bad(format!("'{text}' does not come any more")));
            }
        }
        Occasion::Every(0) | Occasion::Bytes(0) => {
            return Err(bad("it would never end: say more than 0"));
        }
        Occasion::Snapshot if is_snapshot => {
            return Err(bad(
                "a snapshot after each snapshot would never end; say another time",
            ));
        }
        Occasion::Success(command) if command.trim().is_empty() => {
            return Err(bad("say which command is to succeed: --on 'success:CMD'"));
        }
        _ => {}
    }
    if let Task::Snapshot { name, keep } = &schedule.task {
        let made = Timestamp::now().formatted(name, &TimeZone::system());
        let made =
            made.ok_or_else(|| bad(format!("'{name}' has a part that date(1) does not know")))?;
        check_snapshot_name(made.as_bytes()).map_err(bad)?;
        if *keep == Some(0) {
            return Err(bad("--keep 0 would keep none of them"));
        }
        if schedule.limit.is_some() {
            return Err(bad("a snapshot sends nothing: --limit is for backups"));
        }
    }
    Ok(())
}

impl Service {
    pub(super) fn add_schedule(&self, mut schedule: Schedule, uid: u32) -> Result<Answer, Error> {
        check(&schedule)?;
        schedule.by_uid = uid;
        schedule.added = Timestamp::now();
        let newest = self.store.view().newest_epoch()?.unwrap_or(Epoch::NONE);
        let course = Course {
            since: schedule.added,
            // What is recorded already is a reason for a first backup.
            epoch: match schedule.occasion {
                Occasion::Commit => 0,
                _ => newest.0,
            },
            ..Course::default()
        };
        let number = self
            .store
            .add_schedule(schedule.clone(), &course, &in_words(&schedule))?;
        self.replication.listed();
        Ok(Answer::Added { number })
    }

    pub(super) fn remove_schedule(&self, number: u64, uid: u32) -> Result<Answer, Error> {
        let all = self.store.schedules()?;
        let own = all.iter().find(|(schedule, _)| schedule.number == number);
        let what = own.map(|(schedule, _)| in_words(schedule));
        let what = what.ok_or(Error::NoSchedule { number })?;
        if !self.store.remove_schedule(number, &what, uid)? {
            return Err(Error::NoSchedule { number });
        }
        self.replication.listed();
        Ok(Answer::Done)
    }

    pub(super) fn schedules(&self) -> Result<Answer, Error> {
        let zone = TimeZone::system();
        let mut schedules = Vec::new();
        for (schedule, course) in self.store.schedules()? {
            let turn = turn(&self.store, &self.replication, (&schedule, &course), &zone)?;
            schedules.push((schedule, turn));
        }
        Ok(Answer::Schedules { schedules })
    }

    pub(super) fn schedule_told(&self, number: u64, told: Told) -> Result<Answer, Error> {
        let scheduling = &self.replication.scheduling;
        match told {
            Told::Began => {
                let mut state = scheduling.state.lock();
                state.under_way.insert(number, Timestamp::now());
                return Ok(Answer::Done);
            }
            Told::Done {
                began,
                epoch,
                hasty,
            } => {
                let was = &mut None;
                self.store.note_course(number, |course| {
                    *was = course.failed.take();
                    match hasty {
                        true => course.rescued = Some(began.0),
                        false => {
                            course.since = began.0;
                            course.epoch = epoch;
                            course.succeeded = Some(began.0);
                        }
                    }
                })?;
                match was {
                    Some(_) => ::log::info!("schedule {number}: done, after it had failed"),
                    None => ::log::debug!("schedule {number}: done"),
                }
            }
            Told::Failed { reason } => {
                let now = Timestamp::now();
                let mut times = 0;
                self.store.note_course(number, |course| {
                    let before = course.failed.take();
                    times = before.as_ref().map_or(0, |before| before.times) + 1;
                    course.failed = Some(Failure {
                        first: before.map_or(now, |before| before.first),
                        last: now,
                        times,
                        reason: reason.clone(),
                    });
                })?;
                if times == 1 {
                    ::log::warn!("schedule {number} failed, and is tried again: {reason}");
                }
            }
        }
        scheduling.state.lock().under_way.remove(&number);
        Ok(Answer::Done)
    }
}

fn turn(
    store: &Store,
    replication: &Replication,
    (schedule, course): (&Schedule, &Course),
    zone: &TimeZone,
) -> Result<Turn, Error> {
    let scheduling = &replication.scheduling;
    let mut seen = scheduling.seen(store, course, schedule.number)?;
    seen.trouble = replication.danger();
    Ok(due::turn(schedule, course, &seen, zone))
}

/// How it stands with each.
pub(super) fn lines(store: &Store, replication: &Replication) -> Result<Vec<ScheduleLine>, Error> {
    let zone = TimeZone::system();
    let mut lines = Vec::new();
    for (schedule, course) in store.schedules()? {
        let turn = turn(store, replication, (&schedule, &course), &zone)?;
        let under_way = replication
            .scheduling
            .state
            .lock()
            .under_way
            .get(&schedule.number)
            .copied();
        let (next, due_since, waits_until) = match turn {
            Turn::Later { next } => (next, None, None),
            Turn::Waits { since, until } => (None, Some(since), Some(until)),
            Turn::Now { since, .. } => (None, Some(since), None),
        };
        lines.push(ScheduleLine {
            number: schedule.number,
            what: match schedule.task {
                Task::Backup { .. } => Scheduled::Backup,
                Task::Snapshot { .. } => Scheduled::Snapshot,
            },
            text: in_words(&schedule),
            url: match &schedule.task {
                Task::Backup { url, .. } => Some(url.clone()),
                Task::Snapshot { .. } => None,
            },
            window: schedule.window.map(|window| window.to_string()),
            limit: schedule.limit,
            added: When(schedule.added),
            uid: schedule.by_uid,
            next,
            due_since,
            waits_until,
            under_way_since: under_way.map(When),
            succeeded: course.succeeded.max(course.rescued).map(When),
            trouble: course.failed.as_ref().map(|failed| failed.reason.clone()),
            trouble_since: course.failed.map(|failed| When(failed.first)),
        });
    }
    Ok(lines)
}

/// With which a sentence about it begins.
pub(super) fn title(line: &ScheduleLine) -> String {
    match &line.text[..] {
        "" => format!("schedule {}", line.number),
        text => format!("schedule {} ({text})", line.number),
    }
}

/// What a person should see to.
pub(super) fn problem(line: &ScheduleLine, now: Timestamp, zone: &TimeZone) -> Option<String> {
    let at = |when: When| when.0.local(zone);
    let last = match line.succeeded {
        Some(last) => format!("it was last done at {}", at(last)),
        None => "it was never done yet".to_owned(),
    };
    let what = title(line);
    let run = format!("try it now: rewindfs schedule DIR run {}", line.number);
    if let (Some(reason), Some(since)) = (&line.trouble, line.trouble_since) {
        let since = at(since);
        return Some(format!(
            "{what} has failed since {since}: {reason}; {last}; {run}"
        ));
    }
    let due = line.due_since.filter(|_| line.under_way_since.is_none())?;
    // It may have waited for its window, for at most a day.
    let patience = limits::SCHEDULE_LATE
        + match line.window {
            Some(_) => limits::A_DAY,
            None => std::time::Duration::ZERO,
        };
    let late = line.waits_until.is_none() && now.since(due.0) > patience;
    late.then(|| {
        let due = at(due);
        format!("{what} has been due since {due} and was not begun; {last}; {run}")
    })
}

/// What is done, and when, as a person says it.
pub fn in_words(schedule: &Schedule) -> String {
    let what = match &schedule.task {
        Task::Backup { url, kind, .. } => {
            let kind = match kind {
                BackupKind::Full => "full backup".to_owned(),
                BackupKind::Incremental => "backup".to_owned(),
                BackupKind::Differential => "differential backup".to_owned(),
                BackupKind::Mixed { full_every } => format!("backup, full every {full_every}th,"),
            };
            format!("{kind} to {url}")
        }
        Task::Snapshot { name, keep } => match keep {
            Some(keep) => format!("snapshot {name}, of which {keep} stay,"),
            None => format!("snapshot {name}"),
        },
    };
    let when = match &schedule.occasion {
        Occasion::At(text) => text.clone(),
        Occasion::Every(seconds) => format!("every {}", span(*seconds)),
        Occasion::Snapshot => "after each snapshot".to_owned(),
        Occasion::Commit => "after each commit".to_owned(),
        Occasion::Bytes(bytes) => format!("after {bytes} recorded bytes"),
        Occasion::Success(command) => format!("when {command:?} succeeds"),
        Occasion::Trouble => "in trouble".to_owned(),
    };
    let mut text = format!("{what} {when}");
    if let Some(window) = schedule.window {
        text += &format!(", {window}");
    }
    if let Some(limit) = schedule.limit {
        let outside = match schedule.window {
            Some(_) => "outside of that ",
            None => "",
        };
        text += &format!(", {outside}at most {limit} bytes/s");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> ScheduleLine {
        ScheduleLine {
            number: 2,
            what: Scheduled::Backup,
            text: "backup to /b daily".to_owned(),
            url: None,
            window: None,
            limit: None,
            added: When(Timestamp(0)),
            uid: 0,
            next: None,
            due_since: None,
            waits_until: None,
            under_way_since: None,
            succeeded: None,
            trouble: None,
            trouble_since: None,
        }
    }

    #[test]
    fn it_is_told_when_it_failed_or_is_late() {
        let hour = |hours: i64| When(Timestamp(hours * 3_600_000_000_000));
        let told = |line: &ScheduleLine, at: When| problem(line, at.0, &TimeZone::UTC);
        let mut late = line();
        assert_eq!(told(&late, hour(9)), None);
        late.due_since = Some(hour(1));
        assert_eq!(told(&late, hour(2)), None);
        let text = told(&late, hour(3)).expect("told");
        let expected = "schedule 2 (backup to /b daily) has been due since 1970-01-01 01:00:00 +00:00 and was \
                        not begun; it was never done yet; try it now: rewindfs schedule DIR run 2";
        assert_eq!(text, expected);
        late.under_way_since = Some(hour(2));
        assert_eq!(told(&late, hour(3)), None);
        late.under_way_since = None;
        late.window = Some("01:00-05:00".to_owned());
        assert_eq!(told(&late, hour(25)), None);
        assert!(told(&late, hour(27)).is_some());
        let mut failed = line();
        failed.trouble = Some("no route".to_owned());
        failed.trouble_since = Some(hour(4));
        failed.succeeded = Some(hour(3));
        let text = told(&failed, hour(4)).expect("told");
        assert!(
            text.contains(
                "has failed since 1970-01-01 04:00:00 +00:00: no route; it was last done"
            )
        );
    }
}
