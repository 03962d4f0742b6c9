//! The plan: each state with what becomes of it and why.

use super::{Named, Spans, State};
use crate::format::keeping::Policy;
use crate::id::Epoch;
use crate::limits;
use crate::time::Timestamp;

/// Why a state is kept; the first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    Newest,
    Snapshot,
    Sent,
    Deleted,
    All,
    Hour,
    Day,
    Week,
    /// Only a policy that was in force until a short while ago keeps it.
    Former,
    /// It would go if it were older: the last `limits::SPARE_AGE` stay, however large the store is.
    Floor,
}

/// Why a state goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drop {
    /// A later state of the same hour is kept.
    Hour,
    Day,
    Week,
    /// It ended before all that the policy keeps.
    Old,
    /// The store is larger than it may be.
    Size,
    /// The disk is almost full.
    Space,
}

/// What becomes of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Keep(Keep),
    Drop(Drop),
}

/// States of one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pub reason: Reason,
    pub states: u64,
    pub oldest: Timestamp,
    pub newest: Timestamp,
}

/// What becomes of every state, in order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub states: Vec<(Epoch, Timestamp, Reason)>,
    /// When the state at the same place ended.
    ends: Vec<Timestamp>,
    now: Timestamp,
}

const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
/// 1970-01-01 was a Thursday, the fourth day of its week.
const MONDAY: i64 = 3 * DAY;

/// Makes the plan. `states` in order of time; those after `now` are not looked at.
pub fn plan(states: &[State], policy: &Policy, now: Timestamp) -> Plan {
    let spans = Spans::from(policy);
    let known = states.partition_point(|state| state.time <= now);
    let states = &states[..known];
    let mut plan = Plan {
        now,
        ..Plan::default()
    };
    for (i, state) in states.iter().enumerate() {
        let next = states.get(i + 1).map(|next| next.time);
        let reason = judge(state, next, &spans, now);
        plan.states.push((state.epoch, state.time, reason));
        plan.ends.push(next.unwrap_or(now));
    }
    plan
}

/// Whether only the policy keeps it.
fn is_by_age(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Keep(Keep::All | Keep::Hour | Keep::Day | Keep::Week | Keep::Former)
    )
}

fn judge(state: &State, next: Option<Timestamp>, spans: &Spans, now: Timestamp) -> Reason {
    let Some(end) = next else {
        return Reason::Keep(Keep::Newest);
    };
    match state.named {
        Some(Named::Snapshot) => return Reason::Keep(Keep::Snapshot),
        Some(Named::Sent) => return Reason::Keep(Keep::Sent),
        Some(Named::Deleted { at }) if now.since(at) < limits::DELETED_KEPT => {
            return Reason::Keep(Keep::Deleted);
        }
        Some(Named::Deleted { .. }) | None => {}
    }
    let age = now.since(end);
    if age < spans.all {
        return Reason::Keep(Keep::All);
    }
    let last_of = |length: i64, from: i64| {
        let part = |time: Timestamp| time.0.saturating_add(from).div_euclid(length);
        part(state.time) != part(end)
    };
    let rules = [
        (spans.hourly, last_of(HOUR, 0), Keep::Hour, Drop::Hour),
        (spans.daily, last_of(DAY, 0), Keep::Day, Drop::Day),
        (spans.weekly, last_of(WEEK, MONDAY), Keep::Week, Drop::Week),
    ];
    if let Some((_, _, keep, _)) = rules.iter().find(|rule| age < rule.0 && rule.1) {
        return Reason::Keep(*keep);
    }
    match rules.iter().find(|rule| age < rule.0) {
        Some((_, _, _, drop)) => Reason::Drop(*drop),
        None => Reason::Drop(Drop::Old),
    }
}

impl Plan {
    /// The epochs that go, oldest first.
    pub fn dropped(&self) -> Vec<Epoch> {
        let goes = |(epoch, _, reason): &(Epoch, Timestamp, Reason)| {
            matches!(reason, Reason::Drop(_)).then_some(*epoch)
        };
        self.states.iter().filter_map(goes).collect()
    }

    /// The epochs that go when space is short, oldest first: those that only their age keeps, and
    /// that did not end just now.
    pub fn spare(&self) -> Vec<Epoch> {
        let spare = |(i, (epoch, _, reason)): (usize, &(Epoch, Timestamp, Reason))| {
            (is_by_age(*reason) && self.is_old(i)).then_some(*epoch)
        };
        self.states.iter().enumerate().filter_map(spare).collect()
    }

    fn is_old(&self, at: usize) -> bool {
        self.now.since(self.ends[at]) >= limits::SPARE_AGE
    }

    /// All that is spare goes, and it is not enough: what did not go because it ended just now says
    /// so.
    pub fn show_floor(&mut self) {
        for at in 0..self.states.len() {
            if is_by_age(self.states[at].2) && !self.is_old(at) {
                self.states[at].2 = Reason::Keep(Keep::Floor);
            }
        }
    }

    /// Drops the first `count` of the spare ones too.
    pub fn shrink(&mut self, count: usize, why: Drop) {
        for epoch in self.spare().into_iter().take(count) {
            if let Ok(at) = self.states.binary_search_by_key(&epoch, |state| state.0) {
                self.states[at].2 = Reason::Drop(why);
            }
        }
    }

    /// Keeps what another plan of the same states keeps too.
    pub fn keep_also(&mut self, other: &Plan) {
        for (mine, theirs) in self.states.iter_mut().zip(&other.states) {
            if matches!(mine.2, Reason::Drop(_)) && matches!(theirs.2, Reason::Keep(_)) {
                mine.2 = Reason::Keep(Keep::Former);
            }
        }
    }

    /// The states by reason, what is kept first.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups: std::collections::BTreeMap<Reason, Group> = Default::default();
        for (_, time, reason) in &self.states {
            let group = groups.entry(*reason).or_insert(Group {
                reason: *reason,
                states: 0,
                oldest: *time,
                newest: *time,
            });
            group.states += 1;
            group.newest = *time;
        }
        groups.into_values().collect()
    }

    /// Since when every state is still there that space alone decides about: the end of the newest
    /// state that goes for `why`.
    pub fn cut_off(&self, why: Drop) -> Option<Timestamp> {
        let last = self
            .states
            .iter()
            .rposition(|state| state.2 == Reason::Drop(why))?;
        Some(self.ends[last])
    }
}
