//! What can be asked of a history, and what is answered: plain values that go over the socket to
//! the daemon of a mounted directory, or straight into the handlers for an unmounted one.

use super::error::Error;
use super::report::{Line, Mode, Scan, Status};
use super::when::When;
use serde::{Deserialize, Serialize};

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    Snapshot {
        name: String,
        message: String,
    },
    /// One page of the list: what comes after a position, up to `PAGE` lines.
    List {
        checkpoints: bool,
        after: Option<Position>,
    },
    Delete {
        name: String,
    },
    Rename {
        old: String,
        new: String,
    },
    Sync,
    Status,
    Unmount {
        force: bool,
    },
}

/// Lines in one answer to `List`: bounds the message.
pub const PAGE: usize = 1000;

impl Request {
    /// Whether it needs the live directory, not only the store.
    pub fn records(&self) -> bool {
        matches!(self, Request::Snapshot { .. } | Request::Sync)
    }
}

/// A place in the list, which is in order of time, then in that in which names were given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    pub epoch: u64,
    /// Number of the snapshot; 0 for the state itself.
    pub snapshot: u64,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Snapshot(Made),
    /// `next` is where the next page begins, `None` at the end.
    Page {
        lines: Vec<Line>,
        next: Option<Position>,
    },
    Done,
    Status(Box<Status>),
}

/// The snapshot that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub name: String,
    pub time: When,
    pub mode: Mode,
    pub files_left_out: u64,
}

/// How far a request is that takes long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Changed files and bytes that are still to be recorded.
    pub files: u64,
    pub bytes: u64,
    pub scan: Option<Scan>,
}

/// A process that stands in the mounted directory or holds something of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub pid: u32,
    pub command: String,
    /// For example `stands in sub`, `has notes.txt open`.
    pub holds: String,
}

/// What the daemon sends after its hello: any number of the first, then the second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    Progress(Progress),
    Result(Result<Answer, Error>),
}
