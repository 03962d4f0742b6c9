//! What the store holds about keeping: the policy, and snapshots that were deleted. Kept in `meta`
//! (docs/format.md).

use super::record::Snapshot;
use crate::id::{ActorId, Epoch};
use crate::pattern::Rules;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// For how long states are kept that have no name, in seconds, and how large the store may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Every state.
    pub all_seconds: u64,
    /// The last of each hour.
    pub hourly_seconds: u64,
    /// The last of each day.
    pub daily_seconds: u64,
    /// The last of each week.
    pub weekly_seconds: u64,
    /// Bytes that the store may take on disk; `None`: any number.
    pub max_bytes: Option<u64>,
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            all_seconds: DAY,
            hourly_seconds: 7 * DAY,
            daily_seconds: 30 * DAY,
            weekly_seconds: 365 * DAY,
            max_bytes: None,
        }
    }
}

/// The policy in force, and the one before it, which holds on for a day in the background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    pub policy: Policy,
    pub former: Option<Policy>,
    pub changed: Timestamp,
    pub by_uid: u32,
}

/// A snapshot whose name was taken away: what undoes that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    pub name: String,
    pub snapshot: Snapshot,
    pub time: Timestamp,
    pub by_uid: u32,
}

/// What is left out from a moment on. The newest one is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesRecord {
    pub rules: Rules,
    pub time: Timestamp,
    pub by_uid: u32,
    /// The first state that is made by it; `None`: none is yet.
    pub from: Option<Epoch>,
}

/// A folder that made most of what was recorded: somebody was told, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HintRecord {
    pub time: Timestamp,
    /// From the root of the tree.
    pub folder: Vec<u8>,
    /// Bytes that it took in the store, of so many in all.
    pub bytes: u64,
    pub total: u64,
    /// It has a valid CACHEDIR.TAG.
    pub is_cache: bool,
}

/// A file whose content was destroyed before it was old enough to be recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsettledFile {
    /// From the root of the tree.
    pub path: Vec<u8>,
    /// Who destroyed it.
    pub by: ActorId,
    /// How old the content was then, in milliseconds.
    pub age_ms: u64,
}

/// What was destroyed so in an epoch, of what others than who destroyed it had written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsettled {
    pub files: Vec<UnsettledFile>,
    /// How many more by whom.
    pub more: Vec<(ActorId, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key::hex;
    use crate::format::record::SnapshotMode;
    use crate::format::value::{pack, unpack};
    use crate::id::SnapshotId;

    #[test]
    fn golden_bytes() {
        let record = PolicyRecord {
            policy: Policy {
                max_bytes: Some(5),
                ..Policy::default()
            },
            former: None,
            changed: Timestamp(1),
            by_uid: 7,
        };
        let bytes = pack(&record);
        assert_eq!(hex(&bytes), "0180a30580f524809a9e0180e7840f0105000207");
        assert_eq!(unpack::<PolicyRecord>(&bytes), Ok(record));
        let rules = RulesRecord {
            rules: Rules {
                patterns: vec!["/a/".to_owned()],
                caches: true,
                max_file_bytes: Some(9),
            },
            time: Timestamp(1),
            by_uid: 7,
            from: Some(Epoch(4)),
        };
        let bytes = pack(&rules);
        assert_eq!(hex(&bytes), "0101032f612f01010902070104");
        assert_eq!(unpack::<RulesRecord>(&bytes), Ok(rules));
        let hint = HintRecord {
            time: Timestamp(1),
            folder: b"a/b".to_vec(),
            bytes: 5,
            total: 9,
            is_cache: true,
        };
        let bytes = pack(&hint);
        assert_eq!(hex(&bytes), "010203612f62050901");
        assert_eq!(unpack::<HintRecord>(&bytes), Ok(hint));
        let unsettled = Unsettled {
            files: vec![UnsettledFile {
                path: b"a/b".to_vec(),
                by: ActorId(3),
                age_ms: 300,
            }],
            more: vec![(ActorId(3), 7)],
        };
        let bytes = pack(&unsettled);
        assert_eq!(hex(&bytes), "010103612f6203ac02010307");
        assert_eq!(unpack::<Unsettled>(&bytes), Ok(unsettled));
        let deleted = Deleted {
            name: "a".to_owned(),
            snapshot: Snapshot {
                id: SnapshotId(3),
                epoch: Epoch(4),
                time: Timestamp(1),
                mode: SnapshotMode::Incremental,
                base: None,
                hold: None,
                tags: Vec::new(),
                message: String::new(),
                by_uid: 7,
            },
            time: Timestamp(2),
            by_uid: 8,
        };
        let bytes = pack(&deleted);
        assert_eq!(hex(&bytes), "01016103040201000000000704".to_owned() + "08");
        assert_eq!(unpack::<Deleted>(&bytes), Ok(deleted));
    }
}
