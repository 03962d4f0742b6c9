//! The reports about what is kept and what goes, as values. Their field names are those of `--json`
//! (docs/json.md).

use super::when::When;
use crate::format::keeping::Policy;
use crate::pattern::Rules;
use serde::{Deserialize, Serialize};

/// For how long states without a name are kept, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spans {
    pub keep_all: u64,
    pub keep_hourly: u64,
    pub keep_daily: u64,
    pub keep_weekly: u64,
    /// `None`: the store may be of any size.
    pub max_bytes: Option<u64>,
}

impl From<Policy> for Spans {
    fn from(policy: Policy) -> Spans {
        Spans {
            keep_all: policy.all_seconds,
            keep_hourly: policy.hourly_seconds,
            keep_daily: policy.daily_seconds,
            keep_weekly: policy.weekly_seconds,
            max_bytes: policy.max_bytes,
        }
    }
}

/// The answer to `policy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    #[serde(flatten)]
    pub policy: Spans,
    /// From how many files on, that one actor destroys within 10 s, there is an alarm; `None`: never.
    pub alarm: Option<u64>,
    pub left_out: Vec<LeftOutRule>,
    /// Patterns of what is to be there first when it is recovered.
    pub first: Vec<String>,
    /// What would go by it now.
    pub plan: Planned,
}

/// Something that is left out on purpose: exactly one of `pattern`, `caches`, `larger_than` is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutRule {
    /// Folders, with all below them, and files that match it.
    pub pattern: Option<String>,
    /// Folders with a valid CACHEDIR.TAG.
    pub caches: bool,
    /// The content of files of more bytes.
    pub larger_than: Option<u64>,
    /// When it was said, and by whom.
    pub since: When,
    pub uid: u32,
    /// Folders that are left out by it now, as far as they have been met since the mount, at most
    /// 100 in all; empty when not mounted.
    pub folders: Vec<String>,
}

/// What is left out, as it is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavesOut {
    pub patterns: Vec<String>,
    pub caches: bool,
    pub larger_than: Option<u64>,
}

impl From<Rules> for LeavesOut {
    fn from(rules: Rules) -> LeavesOut {
        LeavesOut {
            patterns: rules.patterns,
            caches: rules.caches,
            larger_than: rules.max_file_bytes,
        }
    }
}

impl From<LeavesOut> for Rules {
    fn from(set: LeavesOut) -> Rules {
        Rules {
            patterns: set.patterns,
            caches: set.caches,
            max_file_bytes: set.larger_than,
        }
    }
}

/// The answer to `prune --dry-run`: what stays, what goes, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The instant for which it was made.
    pub now: When,
    /// States.
    pub keeps: u64,
    pub drops: u64,
    /// Stored bytes that come free.
    pub frees_bytes: u64,
    /// False: there is too much to count, and it is at least so much.
    pub exact: bool,
    /// What the store holds now.
    pub live_bytes: u64,
    pub max_bytes: Option<u64>,
    /// By how much the store stays larger than it may be.
    pub excess_bytes: u64,
    /// States that go for the size alone.
    pub for_size: u64,
    pub groups: Vec<Group>,
}

/// States that stay, or go, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub keep: bool,
    pub reason: String,
    pub states: u64,
    pub oldest: When,
    pub newest: When,
}

/// Which plan is to be carried out: the one that was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub now: When,
    pub for_size: u64,
}

impl Planned {
    /// What names this plan.
    pub fn terms(&self) -> Terms {
        Terms {
            now: self.now,
            for_size: self.for_size,
        }
    }
}

/// The answer to `prune`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// States that were dropped.
    pub states: u64,
    /// Stored bytes that came free.
    pub bytes: u64,
}

/// A line of `list --deleted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedLine {
    pub name: String,
    /// The instant of the state.
    pub time: When,
    pub deleted: When,
    /// No command but `delete --now` and no full disk takes its state before.
    pub kept_until: When,
    /// Who deleted it.
    pub uid: u32,
    pub message: String,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deed {
    Made,
    Renamed,
    Deleted,
    Undeleted,
    Held,
    Released,
    Pruned,
    Policy,
    /// Somebody destroyed much at once.
    Alarm,
    Repaired,
    Purged,
    /// A replica was added or changed.
    ReplicaSet,
    ReplicaRemoved,
    /// Something is done by itself, or not any more.
    ScheduleAdded,
    ScheduleRemoved,
    /// A command is run when something happens, or not any more.
    HookSet,
    HookRemoved,
}

/// A line of `list --log`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub time: When,
    /// Who did it.
    pub uid: u32,
    pub deed: Deed,
    /// The snapshot; empty where it is about none.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<When>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub states: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Spans>,
    /// Of the policy: from how many files on there is an alarm; 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm: Option<u64>,
    /// Of an alarm: the folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Patterns of what is to be there first when it is recovered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first: Option<Vec<String>>,
    /// What is left out from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeavesOut>,
    /// Problems, by `verify --repair`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mended: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_up: Option<u64>,
    /// Whose content was purged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions: Option<u64>,
}

/// A span of time in the largest unit that it is a whole number of: `24h`, `7d`, `1y`.
pub fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 5] = [
        (365 * 86_400, "y"),
        (7 * 86_400, "w"),
        (86_400, "d"),
        (3600, "h"),
        (60, "m"),
    ];
    let fits = |unit: &&(u64, &str)| seconds > 0 && seconds.is_multiple_of(unit.0);
    match UNITS.iter().find(fits) {
        Some((unit, letter)) => format!("{}{letter}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_shown_in_their_largest_unit() {
        let day = 86_400;
        let all = [0, 90, 120, 3600, day, 7 * day, 30 * day, 365 * day];
        let shown: Vec<String> = all.iter().map(|seconds| span(*seconds)).collect();
        assert_eq!(shown, ["0s", "90s", "2m", "1h", "1d", "1w", "30d", "1y"]);
    }
}
