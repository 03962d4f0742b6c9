//! What is kept and what goes: the policy, pruning, names that are taken away and come back, holds,
//! and the log of all that.

use super::error::Error;
use super::kept::*;
use super::left_out;
use super::request::{Answer, PAGE, Progress, Steps};
use super::service::{Service, Watch, ticking};
use super::when::When;
use crate::capture::{self, Sketch};
use crate::format::keeping::Policy;
use crate::format::record::Hold;
use crate::limits;
use crate::pattern::{Matcher, Rules};
use crate::retention::{Drop, Keep, Reason};
use crate::store::{SnapshotAction, SnapshotEvent, StoreError};
use crate::time::Timestamp;
use parking_lot::Mutex;

impl Service {
    /// Shows the policy, or sets it; with what would go by it now.
    pub(super) fn policy(
        &self,
        set: Option<Policy>,
        leave_out: Option<LeavesOut>,
        reason: &str,
        uid: u32,
        watch: &Watch<'_>,
    ) -> Result<Answer, Error> {
        check_reason(reason)?;
        if let Some(rules) = leave_out.map(Rules::from) {
            Matcher::new(rules.clone()).map_err(|error| Error::BadPattern {
                reason: error.to_string(),
            })?;
            let changed = self.store.set_rules(&rules, reason, uid)?;
            if let Some(recorder) = self.recorder.as_ref().filter(|_| changed) {
                recorder.rules_changed()?;
            }
        }
        if let Some(policy) = set {
            self.store.set_policy(policy, reason, uid)?;
            if let Some(recorder) = &self.recorder {
                recorder.prune_soon();
            }
        }
        let sketch = self.sketch(Timestamp::now(), watch)?;
        Ok(Answer::Policy(Box::new(PolicyReport {
            policy: sketch.policy.into(),
            alarm: self.store.alarm(),
            left_out: left_out::rules(self)?,
            first: self.store.first()?,
            plan: planned(&sketch, Timestamp::now()),
        })))
    }

    /// The plan, or its execution as it was printed.
    pub(super) fn prune(
        &self,
        terms: Option<Terms>,
        uid: u32,
        watch: &Watch<'_>,
    ) -> Result<Answer, Error> {
        let Some(terms) = terms else {
            let now = Timestamp::now();
            let sketch = self.sketch(now, watch)?;
            return Ok(Answer::Plan(Box::new(planned(&sketch, now))));
        };
        let policy = self.store.policy()?.policy;
        let for_size = usize::try_from(terms.for_size).unwrap_or(usize::MAX);
        let plan = capture::plan_of(&self.store, &policy, terms.now.0, for_size)?;
        let steps = Mutex::new((0, 0));
        let show = || steps_of("dropping", *steps.lock());
        let done = ticking(watch, show, || {
            let done = capture::carry_out(&self.store, &plan, &|done, of| {
                *steps.lock() = (done, of);
                !(watch.cancelled)()
            })?;
            if done.states > 0 {
                self.store.log_pruned(uid, done.states, done.bytes)?;
            }
            *steps.lock() = (0, 0);
            self.store.reclaim(true, &|| !(watch.cancelled)())?;
            Ok::<_, StoreError>(done)
        })?;
        if (watch.cancelled)() {
            return Err(Error::PruneInterrupted {
                states: done.states,
            });
        }
        Ok(Answer::Pruned(Pruned {
            states: done.states,
            bytes: done.bytes,
        }))
    }

    fn sketch(&self, now: Timestamp, watch: &Watch<'_>) -> Result<Sketch, Error> {
        let policy = self.store.policy()?.policy;
        let show = || steps_of("counting", (0, 0));
        let sketch = ticking(watch, show, || {
            let go_on = || !(watch.cancelled)();
            capture::sketch(&self.store, &policy, now, &go_on)
        })?;
        Ok(sketch)
    }

    /// Takes a name away; with `now` its state too, if nothing else keeps that.
    pub(super) fn delete(
        &self,
        name: &str,
        now: bool,
        uid: u32,
        watch: &Watch<'_>,
    ) -> Result<Answer, Error> {
        let view = self.store.view();
        let snapshot = view.snapshot(name)?;
        drop(view);
        capture::delete_snapshot(&self.store, name, uid)?;
        self.await_names();
        let (Some(snapshot), true) = (snapshot, now) else {
            return Ok(Answer::Deleted {
                freed_bytes: None,
                kept: None,
            });
        };
        let show = || steps_of("dropping", (0, 0));
        match ticking(watch, show, || self.store.prune(snapshot.epoch)) {
            Ok(pruned) => {
                self.store.log_pruned(uid, 1, pruned.chunk_bytes)?;
                self.store.reclaim(false, &|| true)?;
                Ok(Answer::Deleted {
                    freed_bytes: Some(pruned.chunk_bytes),
                    kept: None,
                })
            }
            Err(StoreError::Kept { reason, .. }) => Ok(Answer::Deleted {
                freed_bytes: None,
                kept: Some(reason.to_string()),
            }),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn undelete(&self, name: &str, uid: u32) -> Result<Answer, Error> {
        self.store.undelete_snapshot(name, uid)?;
        Ok(Answer::Done)
    }

    pub(super) fn hold(
        &self,
        name: &str,
        until: Option<When>,
        reason: String,
        uid: u32,
    ) -> Result<Answer, Error> {
        let since = Timestamp::now();
        if let Some(until) = until.filter(|until| until.0 <= since) {
            return Err(Error::PastHold { until });
        }
        check_reason(&reason)?;
        let hold = Hold {
            by_uid: uid,
            since,
            until: until.map(|until| until.0),
            reason,
        };
        self.store.hold_snapshot(name, hold)?;
        Ok(Answer::Done)
    }

    pub(super) fn release(&self, name: &str, reason: &str, uid: u32) -> Result<Answer, Error> {
        check_reason(reason)?;
        self.store.release_snapshot(name, reason, uid)?;
        Ok(Answer::Done)
    }

    /// A page of the snapshots that can be undeleted, in the order of their deletion.
    pub(super) fn deleted(&self, after: Option<When>) -> Result<Answer, Error> {
        let view = self.store.view();
        let mut all = view.deleted()?;
        all.sort_by_key(|deleted| deleted.time);
        let from = all.partition_point(|deleted| after.is_some_and(|at| deleted.time <= at.0));
        let mut lines = Vec::new();
        for deleted in all.iter().skip(from).take(PAGE) {
            let header = view.header(deleted.snapshot.epoch)?;
            lines.push(DeletedLine {
                name: deleted.name.clone(),
                time: When(header.map_or(deleted.snapshot.time, |header| header.time)),
                deleted: When(deleted.time),
                kept_until: When(deleted.time.plus(limits::DELETED_KEPT)),
                uid: deleted.by_uid,
                message: deleted.snapshot.message.clone(),
            });
        }
        let more = all.len() > from + lines.len();
        let next = lines.last().filter(|_| more).map(|line| line.deleted);
        Ok(Answer::DeletedPage { lines, next })
    }

    /// A page of the log, oldest first.
    pub(super) fn log(&self, after: Option<When>) -> Result<Answer, Error> {
        let all = self.store.snapshot_log()?;
        let from = all.partition_point(|line| after.is_some_and(|at| line.time <= at.0));
        let lines: Vec<LogLine> = all.iter().skip(from).take(PAGE).map(log_line).collect();
        let more = all.len() > from + lines.len();
        let next = lines.last().filter(|_| more).map(|line| line.time);
        Ok(Answer::LogPage { lines, next })
    }
}

/// That the log takes it.
pub(super) fn check_reason(reason: &str) -> Result<(), Error> {
    if reason.len() > limits::REASON_MAX {
        return Err(Error::Malformed {
            reason: format!("a reason has at most {} bytes", limits::REASON_MAX),
        });
    }
    Ok(())
}

pub(super) fn steps_of(what: &str, (done, of): (u64, u64)) -> Progress {
    Progress {
        steps: Some(Steps {
            what: what.to_owned(),
            done,
            of,
        }),
        ..Progress::default()
    }
}

fn planned(sketch: &Sketch, now: Timestamp) -> Planned {
    let mut planned = Planned {
        now: When(now),
        keeps: 0,
        drops: 0,
        frees_bytes: sketch.bytes,
        exact: sketch.exact,
        live_bytes: sketch.live_bytes,
        max_bytes: sketch.policy.max_bytes,
        excess_bytes: sketch.excess,
        for_size: sketch.for_size as u64,
        groups: Vec::new(),
    };
    for group in sketch.plan.groups() {
        let (keep, mut reason) = words(group.reason, &sketch.policy);
        if let Reason::Drop(Drop::Size | Drop::Space) = group.reason {
            // What that costs.
            let age = age(now.since(group.newest));
            reason += &format!(": checkpoints older than {age} go");
        }
        if keep {
            planned.keeps += group.states;
        } else {
            planned.drops += group.states;
        }
        planned.groups.push(Group {
            keep,
            reason,
            states: group.states,
            oldest: When(group.oldest),
            newest: When(group.newest),
        });
    }
    planned
}

/// In its largest unit, and no more of it than there is.
fn age(age: std::time::Duration) -> String {
    let seconds = age.as_secs();
    let units = [86_400, 3600, 60, 1];
    let unit = units.into_iter().find(|unit| seconds >= *unit).unwrap_or(1);
    span(seconds - seconds % unit)
}

/// A reason in the user's words.
fn words(reason: Reason, policy: &Policy) -> (bool, String) {
    match reason {
        Reason::Keep(keep) => {
            let text = match keep {
                Keep::Newest => "the newest state".to_owned(),
                Keep::Snapshot => "snapshots".to_owned(),
                Keep::Sent => "the next backup builds on it".to_owned(),
                Keep::Deleted => {
                    format!("deleted within {}", span(limits::DELETED_KEPT.as_secs()))
                }
                Keep::All => format!("all within {}", span(policy.all_seconds)),
                Keep::Hour => format!("last of an hour within {}", span(policy.hourly_seconds)),
                Keep::Day => format!("last of a day within {}", span(policy.daily_seconds)),
                Keep::Week => format!("last of a week within {}", span(policy.weekly_seconds)),
                Keep::Former => "the policy before keeps it".to_owned(),
                Keep::Floor => format!(
                    "the last {}, however large it is",
                    span(limits::SPARE_AGE.as_secs())
                ),
            };
            (true, text)
        }
        Reason::Drop(drop) => {
            let text = match drop {
                Drop::Hour => "a later one of the same hour is kept",
                Drop::Day => "a later one of the same day is kept",
                Drop::Week => "a later one of the same week is kept",
                Drop::Old => "older than all that is kept",
                Drop::Size => "the store is larger than it may be",
                Drop::Space => "the disk is almost full",
            };
            (false, text.to_owned())
        }
    }
}

fn log_line(line: &SnapshotEvent) -> LogLine {
    let mut text = LogLine {
        time: When(line.time),
        uid: line.by_uid,
        deed: Deed::Made,
        name: line.name.clone(),
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
    };
    match &line.action {
        SnapshotAction::Made => {}
        SnapshotAction::Removed => text.deed = Deed::Deleted,
        SnapshotAction::Renamed { to } => {
            text.deed = Deed::Renamed;
            text.to = Some(to.clone());
        }
        SnapshotAction::Held { until, reason } => {
            text.deed = Deed::Held;
            text.until = until.map(When);
            text.reason = Some(reason.clone());
        }
        SnapshotAction::Released => text.deed = Deed::Released,
        SnapshotAction::Undeleted => text.deed = Deed::Undeleted,
        SnapshotAction::Pruned { states, bytes, .. } => {
            text.deed = Deed::Pruned;
            text.states = Some(*states);
            text.bytes = Some(*bytes);
        }
        SnapshotAction::Policy { policy } => {
            text.deed = Deed::Policy;
            text.policy = Some((*policy).into());
        }
        SnapshotAction::Alarm(alarm) => {
            text.deed = Deed::Alarm;
            text.until = alarm.until.map(When);
            text.reason = Some(capture::alarm_words(alarm, line.by_uid));
            text.folder = Some(String::from_utf8_lossy(&alarm.folder).into_owned());
        }
        SnapshotAction::AlarmSet { files } => {
            text.deed = Deed::Policy;
            text.alarm = Some(*files);
        }
        SnapshotAction::LeftOut { rules, reason } => {
            text.deed = Deed::Policy;
            text.left_out = Some(rules.clone().into());
            text.reason = Some(reason.clone());
        }
        SnapshotAction::ReleasedFor { reason } => {
            text.deed = Deed::Released;
            text.reason = Some(reason.clone());
        }
        SnapshotAction::PolicyFor { policy, reason } => {
            text.deed = Deed::Policy;
            text.policy = Some((*policy).into());
            text.reason = Some(reason.clone());
        }
        SnapshotAction::Purged {
            versions,
            bytes,
            reason,
        } => {
            text.deed = Deed::Purged;
            text.versions = Some(*versions);
            text.bytes = Some(*bytes);
            text.reason = Some(reason.clone());
        }
        SnapshotAction::Repaired { mended, given_up } => {
            text.deed = Deed::Repaired;
            text.mended = Some(*mended);
            text.given_up = Some(*given_up);
        }
        SnapshotAction::ReplicaSet { url, mode } => {
            text.deed = Deed::ReplicaSet;
            text.name.clone_from(url);
            text.reason = Some(super::replicas::mode_in_words(*mode));
        }
        SnapshotAction::ReplicaRemoved { url } => {
            text.deed = Deed::ReplicaRemoved;
            text.name.clone_from(url);
        }
        SnapshotAction::ScheduleAdded { number, what } => {
            text.deed = Deed::ScheduleAdded;
            text.name = number.to_string();
            text.reason = Some(what.clone());
        }
        SnapshotAction::HookSet { event, command } => {
            text.deed = Deed::HookSet;
            event.name().clone_into(&mut text.name);
            text.reason = Some(command.clone());
        }
        SnapshotAction::FirstSet { patterns } => {
            text.deed = Deed::Policy;
            text.first = Some(patterns.clone());
        }
        SnapshotAction::HookRemoved { event } => {
            text.deed = Deed::HookRemoved;
            event.name().clone_into(&mut text.name);
        }
        SnapshotAction::ScheduleRemoved { number, what } => {
            text.deed = Deed::ScheduleRemoved;
            text.name = number.to_string();
            text.reason = Some(what.clone());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_goes_for_want_of_room_is_told_by_its_age() {
        let shown = |seconds| age(Duration::from_secs(seconds));
        let all = [0, 59, 3599, 6 * 3600 + 700, 86_399, 3 * 86_400 + 5];
        let shown: Vec<String> = all.into_iter().map(shown).collect();
        assert_eq!(shown, ["0s", "59s", "59m", "6h", "23h", "3d"]);
    }
}
