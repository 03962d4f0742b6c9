//! What a restore did, in numbers, and what it has to say about single paths.

use super::item::Fault;
use crate::history::HistoryError;

/// What is done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    /// Its content, and perhaps more.
    Modified,
    /// Everything but its content.
    Attributes,
    /// What stood there was something else: a file, a directory, a link.
    Type,
    Deleted,
    /// It got back the name that it had.
    Renamed,
}

impl Change {
    /// As in `git diff --name-status`; `m` is ours.
    pub fn letter(self) -> char {
        match self {
            Change::Added => 'A',
            Change::Modified => 'M',
            Change::Attributes => 'm',
            Change::Type => 'T',
            Change::Deleted => 'D',
            Change::Renamed => 'R',
        }
    }
}

/// Why a path is not as it was then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// What is there now, or what may be done to it, is against it.
    Conflict,
    /// The past does not have it.
    NotRecoverable,
}

/// Who is told of each path.
pub trait Tell: Sync {
    /// It is changed, or would be.
    fn change(&self, change: Change, path: &[u8]);
    /// It stays as it is, although it is not as it was.
    fn trouble(&self, trouble: Trouble, path: &[u8], reason: &str);
    /// It is not of the past and stays all the same: history leaves it out.
    fn kept(&self, path: &[u8], reason: &str);
    /// How far it is.
    fn progress(&self, tally: &Tally);
    /// Whether the person has had enough.
    fn interrupted(&self) -> bool;
}

/// The numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Made or changed.
    pub restored: u64,
    /// Bytes of content written.
    pub written_bytes: u64,
    pub deleted: u64,
    pub unchanged: u64,
    /// Left as they are, as asked (`--overwrite never`) or because history leaves them out.
    pub kept: u64,
    pub conflicts: u64,
    pub not_recoverable: u64,
}

impl Tally {
    /// Both.
    pub fn add(&mut self, other: &Tally) {
        self.restored += other.restored;
        self.written_bytes += other.written_bytes;
        self.deleted += other.deleted;
        self.unchanged += other.unchanged;
        self.kept += other.kept;
        self.conflicts += other.conflicts;
        self.not_recoverable += other.not_recoverable;
    }

    /// Whether something that was asked for is missing.
    pub fn is_incomplete(&self) -> bool {
        self.conflicts + self.not_recoverable > 0
    }

    /// Whether anything was done.
    pub fn has_changed(&self) -> bool {
        self.restored + self.deleted > 0
    }
}

/// Why the past does not give something, for people.
pub(super) fn past_reason(fault: &Fault) -> String {
    match fault {
        Fault::Io(error) if error.raw_os_error() == Some(libc::EIO) => {
            "its content was not recorded, or is damaged in the store".to_owned()
        }
        Fault::Io(error) if error.raw_os_error() == Some(libc::EACCES) => {
            "you may not read it as it was".to_owned()
        }
        Fault::History(HistoryError::Store(error)) if error.is_damage() => {
            format!("it is damaged in the store: {error}")
        }
        other => other.to_string(),
    }
}
