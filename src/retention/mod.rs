//! Which states are kept and which go: a pure function of the states, the policy and the clock.
//! It knows nothing of the store, and nothing here deletes anything.
//!
//! 1. A state lasts until the next one: what it held was there all that time. So its age is
//!    counted from its end. A tree that nobody touched for a year loses nothing when it is touched.
//! 2. Of an hour, a day, a week (UTC, Monday first) the last state is kept. The last of a week is
//!    the last of its last day, and so on: thinning further never misses what it wants to keep.
//! 3. The newest state, one with a name, and one whose name was taken away less than a day ago
//!    stay, whatever the policy says and however short space is.
//! 4. A plan that was carried out and is made again, at the same instant, drops nothing.

mod plan;
#[cfg(test)]
mod tests;

pub use plan::{Drop, Group, Keep, Plan, Reason, plan};

use crate::format::keeping::Policy;
use crate::id::Epoch;
use crate::time::Timestamp;
use std::time::Duration;

/// A state as the plan sees it, without a name unless `named` says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub epoch: Epoch,
    pub time: Timestamp,
    pub named: Option<Named>,
}

/// Why a state stays whatever the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A snapshot names it, or refers to it.
    Snapshot,
    /// The next backup builds on it.
    Sent,
    /// A snapshot named it until this instant.
    Deleted { at: Timestamp },
}

/// How long the spans of a policy are.
#[derive(Clone, Copy, Debug)]
struct Spans {
    all: Duration,
    hourly: Duration,
    daily: Duration,
    weekly: Duration,
}

impl From<&Policy> for Spans {
    fn from(policy: &Policy) -> Spans {
        Spans {
            all: Duration::from_secs(policy.all_seconds),
            hourly: Duration::from_secs(policy.hourly_seconds),
            daily: Duration::from_secs(policy.daily_seconds),
            weekly: Duration::from_secs(policy.weekly_seconds),
        }
    }
}
