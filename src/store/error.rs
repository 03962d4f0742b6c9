//! What can go wrong with a store, so told apart that a caller can act differently. Which errno
//! or exit code it becomes is not decided here.

use super::prune::Kept;
use crate::format::key::{BadKey, Family, hex};
use crate::format::value::BadValue;
use crate::id::{Epoch, Hash};
use crate::time::Timestamp;
use std::io;
use std::path::PathBuf;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error("the store {path} is in use by another process")]
    Locked { path: PathBuf },
    #[error("the store {path} has the format {found}, this program knows formats up to {known}")]
    NewerFormat {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    #[error("{path} is not a store")]
    NotAStore { path: PathBuf },
    #[error("a store can't be made in {path}: it exists and is not empty")]
    NotEmpty { path: PathBuf },
    #[error("the store {path} belongs to the user {owner}, not to root or to the caller")]
    Owner { path: PathBuf, owner: u32 },
    #[error("the store {path} is open to other users (mode {mode:o}, it must be 700)")]
    Exposed { path: PathBuf, mode: u32 },
    #[error("the store {path} can't be read")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the record {} in the family {family} is damaged", hex(key))]
    Corrupt {
        family: Family,
        key: Vec<u8>,
        source: BadValue,
    },
    #[error(transparent)]
    Key(#[from] BadKey),
    #[error("the chunk {hash} does not have the bytes that its name says")]
    WrongHash { hash: Hash },
    #[error("the store has no chunk {hash}")]
    Missing { hash: Hash },
    #[error(
        "the directory is still being recovered; when status says that nothing is left, do it again"
    )]
    Filling,
    #[error("the database is damaged")]
    Damaged { source: rocksdb::Error },
    /// Found when the database was opened; `file` is one of its files.
    #[error("the file rocks/{file} of its database is {}", if *missing { "missing" } else { "damaged" })]
    Unopenable {
        file: String,
        missing: bool,
        cause: rocksdb::Error,
    },
    #[error("nothing of its database can be read")]
    NothingLeft,
    #[error("the database lacks the family {family}")]
    NoFamily { family: Family },
    #[error("the store has no epoch {epoch}")]
    NoEpoch { epoch: Epoch },
    #[error("the epoch {epoch} can't be written any more: {sealed} is sealed")]
    Sealed { epoch: Epoch, sealed: Epoch },
    #[error("the epoch {epoch} can't be sealed before {waiting}, which waits for a scan")]
    OutOfOrder { epoch: Epoch, waiting: Epoch },
    #[error("the epoch {epoch} can't be pruned: {reason}")]
    Kept { epoch: Epoch, reason: Kept },
    #[error("the chunk has {bytes} bytes, more than the {limit} allowed")]
    TooLarge { bytes: u64, limit: u64 },
    #[error("the snapshot {name} exists")]
    NameTaken { name: String },
    #[error("there is no snapshot {name}")]
    NoSnapshot { name: String },
    #[error("the snapshot {name} is held")]
    Held { name: String },
    #[error("the snapshot {name} is held until {until}, and no command ends that before")]
    HeldUntil { name: String, until: Timestamp },
    #[error("the snapshot {name} is not held")]
    NotHeld { name: String },
    #[error("no snapshot {name} was deleted, or its state is not kept any more")]
    NotDeleted { name: String },
    #[error("it was interrupted")]
    Interrupted,
    #[error("the file system of the store is full")]
    Full,
    #[error("the store was removed or replaced while it was open")]
    Removed,
    #[error("a write to the store failed before, and it was not reopened since")]
    Poisoned,
    #[error("what was captured was lost when the store was reopened")]
    Stale,
    #[error("the store is closed")]
    Closed,
    #[error("the store can't be reopened while it is being read")]
    Busy,
    #[error("the store could not {action}")]
    Io {
        action: &'static str,
        source: io::Error,
    },
    #[error("the database failed")]
    Database { source: rocksdb::Error },
}

impl StoreError {
    /// What a user is told of why nothing is recorded.
    pub fn in_words(&self) -> String {
        if self.is_damage() {
            return "the store is damaged".to_owned();
        }
        match self {
            StoreError::Full => "the disk is full".to_owned(),
            StoreError::Removed => "the store was removed".to_owned(),
            StoreError::Io { source, .. } => disk_in_words(source.raw_os_error()).to_owned(),
            StoreError::Database { source } => {
                let message: &str = source.as_ref();
                let errno = if message.contains("Read-only file system") {
                    Some(libc::EROFS)
                } else if message.contains("Input/output error") {
                    Some(libc::EIO)
                } else if message.contains("No such file or directory") {
                    return "the store is damaged".to_owned();
                } else {
                    None
                };
                disk_in_words(errno).to_owned()
            }
            other => other.to_string(),
        }
    }

    /// Whether something that was stored is not as it was stored.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            StoreError::Corrupt { .. }
                | StoreError::Key(_)
                | StoreError::WrongHash { .. }
                | StoreError::Missing { .. }
                | StoreError::Damaged { .. }
                | StoreError::Unopenable { .. }
                | StoreError::NoFamily { .. }
        )
    }
}

fn disk_in_words(errno: Option<i32>) -> &'static str {
    match errno {
        Some(libc::ENOSPC | libc::EDQUOT) => "the disk is full",
        Some(libc::EROFS) => "the disk of the store is read-only",
        Some(libc::EIO) => "the disk of the store fails",
        _ => "the store can't be written or read",
    }
}

impl From<rocksdb::Error> for StoreError {
    fn from(source: rocksdb::Error) -> StoreError {
        let message: &str = source.as_ref();
        match source.kind() {
            rocksdb::ErrorKind::Corruption => StoreError::Damaged { source },
            // What RocksDB says of a folder that lacks its first file.
            rocksdb::ErrorKind::InvalidArgument if message.contains("does not exist") => {
                StoreError::Damaged { source }
            }
            rocksdb::ErrorKind::IOError
                if message.contains("No space left on device")
                    || message.contains("Disk quota exceeded") =>
            {
                StoreError::Full
            }
            _ => StoreError::Database { source },
        }
    }
}
