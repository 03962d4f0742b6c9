//! Commands that are run when something happens.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// When a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookEvent {
    BeforeSnapshot,
    AfterSnapshot,
    OnCommit,
    OnGap,
    OnLag,
    OnAlarm,
    OnDrill,
}

impl HookEvent {
    /// In the order of their numbers.
    pub const ALL: [HookEvent; 7] = [
        HookEvent::BeforeSnapshot,
        HookEvent::AfterSnapshot,
        HookEvent::OnCommit,
        HookEvent::OnGap,
        HookEvent::OnLag,
        HookEvent::OnAlarm,
        HookEvent::OnDrill,
    ];

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            HookEvent::BeforeSnapshot => "before-snapshot",
            HookEvent::AfterSnapshot => "after-snapshot",
            HookEvent::OnCommit => "on-commit",
            HookEvent::OnGap => "on-gap",
            HookEvent::OnLag => "on-lag",
            HookEvent::OnAlarm => "on-alarm",
            HookEvent::OnDrill => "on-drill",
        }
    }

    /// Its number in the keys of a store.
    pub fn number(self) -> u64 {
        match self {
            HookEvent::BeforeSnapshot => 0,
            HookEvent::AfterSnapshot => 1,
            HookEvent::OnCommit => 2,
            HookEvent::OnGap => 3,
            HookEvent::OnLag => 4,
            HookEvent::OnAlarm => 5,
            HookEvent::OnDrill => 6,
        }
    }
}

/// A command that is run when something happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub event: HookEvent,
    /// For sh -c.
    pub command: String,
    /// How long it may take.
    pub timeout_ms: u64,
    /// Before a snapshot: if it fails, none is made. Otherwise that is noted with it.
    pub aborts: bool,
    /// Since when, and by whom.
    pub added: Timestamp,
    pub by_uid: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key::hex;
    use crate::format::value::{pack, unpack};

    #[test]
    fn golden_bytes() {
        for (number, event) in HookEvent::ALL.into_iter().enumerate() {
            assert_eq!(event.number(), number as u64);
            let hook = Hook {
                event,
                command: "c".to_owned(),
                timeout_ms: 300,
                aborts: true,
                added: Timestamp(3),
                by_uid: 1000,
            };
            let expected = format!("010{number}0163ac020106e807");
            assert_eq!(hex(&pack(&hook)), expected);
            assert_eq!(unpack::<Hook>(&pack(&hook)), Ok(hook));
        }
    }
}
