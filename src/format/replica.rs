//! A replica, as a store knows it: where it is, when it is brought up to date, how it is opened.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// When a replica is brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaMode {
    /// After each commit.
    Active,
    /// So many seconds after the last time, or when somebody asks.
    Passive { every: u64 },
    /// As active; and who wants to be sure waits until it is there, so many milliseconds at most.
    /// `strict`: past that he is refused instead of told.
    Synchronous { timeout_ms: u64, strict: bool },
}

/// Where its password comes from. Never the password itself: who has the store would have the copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PasswordSource {
    /// It is not encrypted.
    None,
    /// A file, by its path from the root on.
    File(Vec<u8>),
    /// What a command prints.
    Command(String),
    /// The environment of whoever asks for it: it is kept nowhere.
    Environment,
}

/// A replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Where it is, without anything secret.
    pub url: String,
    pub mode: ReplicaMode,
    pub password: PasswordSource,
    /// Bytes a second that it may take of the line.
    pub limit: Option<u64>,
    /// For how many seconds it keeps one of its sets for each day.
    pub keep: u64,
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
        let replica = Replica {
            url: "file:///b".to_owned(),
            mode: ReplicaMode::Synchronous {
                timeout_ms: 300,
                strict: true,
            },
            password: PasswordSource::File(b"/k".to_vec()),
            limit: Some(7),
            keep: 300,
            added: Timestamp(3),
            by_uid: 1000,
        };
        let url = hex(b"file:///b");
        let expected = format!("0109{url}02ac02010102{}0107ac0206e807", hex(b"/k"));
        assert_eq!(hex(&pack(&replica)), expected);
        assert_eq!(unpack::<Replica>(&pack(&replica)), Ok(replica.clone()));
        for (mode, password, bytes) in [
            (ReplicaMode::Active, PasswordSource::None, "0000"),
            (
                ReplicaMode::Passive { every: 60 },
                PasswordSource::Command("c".to_owned()),
                "013c020163",
            ),
        ] {
            let other = Replica {
                mode,
                password,
                limit: None,
                ..replica.clone()
            };
            assert_eq!(hex(&pack(&other)), format!("0109{url}{bytes}00ac0206e807"));
            assert_eq!(unpack::<Replica>(&pack(&other)), Ok(other));
        }
    }
}
