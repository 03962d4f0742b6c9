//! Why a request failed: values that cross the socket and read as one sentence with the name
//! and the reason. What to type next is added where it is known what was typed, in `cli`.

use super::request::User;
use super::when::When;
use crate::capture::CaptureError;
use crate::history::HistoryError;
use crate::name::{BadSnapshotName, check_snapshot_name};
use crate::store::StoreError;
use serde::{Deserialize, Serialize};

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{reason}")]
    BadName { reason: String },
    #[error("there is no full snapshot that could be the base")]
    NoFull,
    #[error("the snapshot {name} exists")]
    Exists { name: String },
    #[error("there is no snapshot {name}")]
    NoSnapshot { name: String },
    /// A synchronous replica that is to be waited for strictly.
    #[error("it is recorded here, but not at {places} yet")]
    NotElsewhere { places: String },
    #[error("there is no replica at {url}")]
    NoReplica { url: String },
    /// What is run before a snapshot, and aborts it, has failed.
    #[error("the hook before-snapshot failed, and no snapshot was made: {reason}")]
    Hook { reason: String },
    #[error("there is no hook {event}")]
    NoHook { event: String },
    #[error("{reason}")]
    BadHook { reason: String },
    #[error("there is no schedule {number}")]
    NoSchedule { number: u64 },
    #[error("{reason}")]
    BadSchedule { reason: String },
    #[error("{reason}")]
    BadPattern { reason: String },
    /// What was named is no state of this history.
    #[error("{reason}")]
    NoState { reason: String },
    /// What is to be taken back does not exist, or is not known.
    #[error("{reason}")]
    NoDoing { reason: String },
    #[error("the snapshot {name} is held, and what it shows stays")]
    Held { name: String },
    #[error("the snapshot {name} is held until {until}, and no command ends that before")]
    HeldUntil { name: String, until: When },
    #[error("the snapshot {name} is not held")]
    NotHeld { name: String },
    #[error("a hold that ends at {until} would have ended already")]
    PastHold { until: When },
    #[error("no snapshot {name} was deleted, or its state is not kept any more")]
    NotDeleted { name: String },
    #[error("history never held a file {path}")]
    NeverThere { path: String },
    #[error("{path} was a folder: name the files in it that are to be purged")]
    PurgeFolder { path: String },
    #[error(
        "{path} was a symlink: where it leads can't be purged, only dropped with the states that \
         show it"
    )]
    PurgeLink { path: String },
    #[error("history has changed since the plan was shown, and nothing was purged: try again")]
    PlanChanged,
    #[error("interrupted; what was checked so far is not told")]
    VerifyInterrupted,
    #[error("interrupted; {states} states were dropped, the others are as they were")]
    PruneInterrupted { states: u64 },
    #[error("{what} took too long and was given up; nothing was changed")]
    TimedOut { what: String },
    #[error("history is not being recorded: {reason}")]
    Stopped { reason: String },
    #[error("interrupted; no snapshot was made")]
    Interrupted,
    #[error(
        "uid {uid} may not do this: only root, the owner of the directory and who mounted it may"
    )]
    NotAllowed { uid: u32 },
    #[error("the daemon is version {daemon}, this program is {program}")]
    Version { daemon: String, program: String },
    #[error("{}", busy(users))]
    Busy { users: Vec<User> },
    /// A recovery is under way.
    #[error("{}, {bytes} bytes, are still without content; nothing was changed", super::filling::files(*.files))]
    Unfilled { files: u64, bytes: u64 },
    #[error("it is not mounted")]
    NotMounted,
    #[error("the mount can't be taken off: {reason}")]
    Unmount { reason: String },
    #[error("the daemon has too many requests at once")]
    Overloaded,
    #[error("the request can't be understood: {reason}")]
    Malformed { reason: String },
    #[error("the store failed: {reason}")]
    Store { reason: String },
    #[error("the directory can't be read: {reason}")]
    Directory { reason: String },
}

/// One line, so that it stays one in a log; the command line shows the users one a line.
fn busy(users: &[User]) -> String {
    let mut text = String::from("it is in use");
    for (i, user) in users.iter().enumerate() {
        text += if i == 0 { " by " } else { ", " };
        text += &format!("{} (pid {}, {})", user.command, user.pid, user.holds);
    }
    text + "; nothing was changed"
}

impl Error {
    /// Whether the command did nothing because a person interrupted it.
    pub fn is_interrupt(&self) -> bool {
        matches!(
            self,
            Error::Interrupted | Error::PruneInterrupted { .. } | Error::VerifyInterrupted
        )
    }
}

impl From<BadSnapshotName> for Error {
    fn from(bad: BadSnapshotName) -> Error {
        Error::BadName {
            reason: bad.to_string(),
        }
    }
}

impl From<HistoryError> for Error {
    fn from(error: HistoryError) -> Error {
        match error {
            HistoryError::Store(error) => error.into(),
            HistoryError::NoSnapshot { name } => Error::NoSnapshot { name },
            error => Error::NoState {
                reason: sentence(&error),
            },
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        match error {
            StoreError::NoSnapshot { name } => Error::NoSnapshot { name },
            StoreError::NameTaken { name } => Error::Exists { name },
            StoreError::Held { name } => Error::Held { name },
            StoreError::HeldUntil { name, until } => Error::HeldUntil {
                name,
                until: When(until),
            },
            StoreError::NotHeld { name } => Error::NotHeld { name },
            StoreError::NotDeleted { name } => Error::NotDeleted { name },
            StoreError::Interrupted => Error::PruneInterrupted { states: 0 },
            error => Error::Store {
                reason: sentence(&error),
            },
        }
    }
}

impl From<CaptureError> for Error {
    fn from(error: CaptureError) -> Error {
        match error {
            CaptureError::Exists(name) => Error::Exists { name },
            CaptureError::NoSnapshot(name) => Error::NoSnapshot { name },
            CaptureError::Held(name) => Error::Held { name },
            CaptureError::Stopped(reason) => Error::Stopped { reason },
            CaptureError::Hook(reason) => Error::Hook { reason },
            CaptureError::Cancelled => Error::Interrupted,
            CaptureError::NotElsewhere(places) => Error::NotElsewhere { places },
            CaptureError::TimedOut => Error::TimedOut {
                what: "the request".to_owned(),
            },
            CaptureError::Store(error) => error.into(),
            CaptureError::Io(error) => Error::Directory {
                reason: sentence(&error),
            },
        }
    }
}

/// An error and its sources, `: ` between them.
pub fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent variants repeat their source.
        if !text.ends_with(&cause_text) {
            text += ": ";
            text += &cause_text;
        }
        source = cause.source();
    }
    text
}

/// Checks a snapshot name that came over the socket.
///
/// # Errors
/// `BadName`.
pub fn check_name(name: &str) -> Result<(), Error> {
    check_snapshot_name(name.as_bytes())?;
    Ok(())
}
