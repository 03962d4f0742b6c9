//! What can go wrong with a repository.

use crate::id::Epoch;
use crate::store::StoreError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    #[error("{url} is no place for backups: {reason}")]
    Url { url: String, reason: String },
    #[error("{place}: {action} {name}: {reason}")]
    Provider {
        place: String,
        action: &'static str,
        name: String,
        reason: String,
    },
    #[error("{place} has no object {name}")]
    Missing { place: String, name: String },
    #[error("{place}: the object {name} is damaged: {reason}")]
    Damaged {
        place: String,
        name: String,
        reason: &'static str,
    },
    #[error("{place} holds no backups")]
    NoRepository { place: String },
    #[error("{place} is not empty and holds no backups: choose an empty place")]
    Foreign { place: String },
    #[error("{place} has the format {found}, this program knows {known}: use a newer program")]
    Newer {
        place: String,
        found: u32,
        known: u32,
    },
    #[error(
        "{place} is encrypted: give the password, --password-file FILE, --password-command CMD or \
         REWINDFS_PASSWORD"
    )]
    NoPassword { place: String },
    #[error("{place}: the password is wrong")]
    WrongPassword { place: String },
    #[error(
        "{place} is not encrypted, though a password was given; if that is right, say \
         --no-encryption"
    )]
    NotEncrypted { place: String },
    #[error("{place} is not encrypted: there are no passwords")]
    Unencrypted { place: String },
    #[error("{place} has no password {name}: rewindfs key list shows which there are")]
    NoSuchPassword { place: String, name: String },
    #[error("this is the last password of {place}: add another one first")]
    LastPassword { place: String },
    #[error(
        "{place} keeps all that is there, and the password {name} still opens it: whoever runs the place \
         can remove keys/{name}"
    )]
    Kept { place: String, name: String },
    #[error(
        "a new place for backups needs a password (--password-file FILE, --password-command CMD \
         or REWINDFS_PASSWORD), or --no-encryption"
    )]
    Undecided,
    #[error(
        "{place} is continued by another store since {since}: nothing was sent; send it \
         elsewhere, --to URL, or look at both before you decide"
    )]
    Fenced { place: String, since: String },
    #[error(
        "{place} held the backups of this directory, and now holds {now}: is it the right volume, \
         and mounted? If it is to begin anew there: --new"
    )]
    Replaced { place: String, now: &'static str },
    #[error(
        "{place} has changed below this backup ({what}): the set can't be relied on; try again"
    )]
    Pulled { place: String, what: String },
    #[error(
        "{copy} is no copy of {place} as it is now: that was set back, or begun anew, or this is of \
         another place; look at both, or pull into another folder"
    )]
    NoCopy { place: String, copy: String },
    #[error("somebody else wrote to {place} at the same time: nothing was published; try again")]
    Raced { place: String },
    #[error("{place} has no set {number}")]
    NoSet { place: String, number: u64 },
    #[error("{place} holds no sets yet")]
    NoSets { place: String },
    #[error("the state {epoch} is not kept any more")]
    NoEpoch { epoch: Epoch },
    #[error("another backup of this directory is under way; wait for its end")]
    Busy,
    #[error("the passphrase could not be turned into a key: {0}")]
    Key(&'static str),
    #[error("no random numbers: {0}")]
    Random(std::io::Error),
    #[error("the history could not be read: {0}")]
    Feed(String),
    #[error("interrupted; what was sent so far is garbage there, and removed by the next backup")]
    Interrupted,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ArchiveError {
    /// Whether an object is not there or not what it should be: others may have it.
    pub fn is_of_object(&self) -> bool {
        matches!(
            self,
            ArchiveError::Missing { .. } | ArchiveError::Damaged { .. }
        )
    }
}
