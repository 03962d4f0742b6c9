//! What is to be done by itself, and when: backups and snapshots; and how it went so far.

use super::replica::PasswordSource;
use crate::time::{Timestamp, Window};
use serde::{Deserialize, Serialize};

/// What a backup is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackupKind {
    Full,
    Incremental,
    Differential,
    Mixed { full_every: u64 },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    Backup {
        /// Where to, without anything secret.
        url: String,
        kind: BackupKind,
        password: PasswordSource,
    },
    Snapshot {
        /// Its name, with parts of strftime(3).
        name: String,
        /// So many of them stay, the newest ones; `None`: all.
        keep: Option<u64>,
    },
}

/// When it is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Occasion {
    /// A calendar expression.
    At(String),
    /// So many seconds after the last time.
    Every(u64),
    /// After each snapshot.
    Snapshot,
    /// After each commit.
    Commit,
    /// When so many bytes were recorded since the last time.
    Bytes(u64),
    /// When this command succeeds, having failed before.
    Success(String),
    /// When something is about to go wrong.
    Trouble,
}

/// Something that is done by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Never given out again in the same store.
    pub number: u64,
    pub task: Task,
    pub occasion: Occasion,
    /// The part of the day in which it may be done.
    pub window: Option<Window>,
    /// Bytes a second that it may send; with a window, outside of it.
    pub limit: Option<u64>,
    /// Since when, and by whom.
    pub added: Timestamp,
    pub by_uid: u32,
}

/// How it went so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// What came before needs nothing more: a time, and the newest state of then.
    pub since: Timestamp,
    pub epoch: u64,
    /// When it was last begun and done.
    pub succeeded: Option<Timestamp>,
    /// When it was last begun out of turn, because of trouble, and done.
    pub rescued: Option<Timestamp>,
    pub failed: Option<Failure>,
}

/// Why it can't be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The first and the last time since it was last done, and how often.
    pub first: Timestamp,
    pub last: Timestamp,
    pub times: u64,
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key::hex;
    use crate::format::value::{pack, unpack};

    #[test]
    fn golden_bytes() {
        let schedule = Schedule {
            number: 3,
            task: Task::Backup {
                url: "file:///b".to_owned(),
                kind: BackupKind::Mixed { full_every: 7 },
                password: PasswordSource::File(b"/k".to_vec()),
            },
            occasion: Occasion::At("daily".to_owned()),
            window: "01:00-05:00".parse().ok(),
            limit: Some(5),
            added: Timestamp(3),
            by_uid: 1000,
        };
        let (url, daily) = (hex(b"file:///b"), hex(b"daily"));
        let expected = format!(
            "01030009{url}03070102{}0005{daily}013cac02010506e807",
            hex(b"/k")
        );
        assert_eq!(hex(&pack(&schedule)), expected);
        assert_eq!(unpack::<Schedule>(&pack(&schedule)), Ok(schedule.clone()));
        for (number, kind) in [
            BackupKind::Full,
            BackupKind::Incremental,
            BackupKind::Differential,
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(hex(&pack(&kind)), format!("010{number}"));
        }
        for (occasion, bytes) in [
            (Occasion::Every(60), "013c"),
            (Occasion::Snapshot, "02"),
            (Occasion::Commit, "03"),
            (Occasion::Bytes(9), "0409"),
            (Occasion::Success("c".to_owned()), "050163"),
            (Occasion::Trouble, "06"),
        ] {
            let other = Schedule {
                number: 1,
                task: Task::Snapshot {
                    name: "n".to_owned(),
                    keep: Some(4),
                },
                occasion,
                window: None,
                limit: None,
                ..schedule.clone()
            };
            let expected = format!("010101016e0104{bytes}000006e807");
            assert_eq!(hex(&pack(&other)), expected);
            assert_eq!(unpack::<Schedule>(&pack(&other)), Ok(other));
        }
        let course = Course {
            since: Timestamp(1),
            epoch: 9,
            succeeded: Some(Timestamp(2)),
            rescued: None,
            failed: Some(Failure {
                first: Timestamp(3),
                last: Timestamp(4),
                times: 5,
                reason: "r".to_owned(),
            }),
        };
        assert_eq!(
            hex(&pack(&course)),
            "01020901040001060805".to_owned() + "0172"
        );
        assert_eq!(unpack::<Course>(&pack(&course)), Ok(course));
    }
}
