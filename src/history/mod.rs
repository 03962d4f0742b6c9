//! The read side of history: from what a user names (`latest`, `@10:15`) to a state, from a state
//! and a path to a file's version, from a version to a range of its bytes.
//!
//! It knows nothing of FUSE, of the live directory and of how history is made. All that it reads
//! comes from one `View` of the store per question, so that an answer is never half old, half new.
//!
//! 1. A path is walked in one state, name by name, and never leaves it: symlinks are not followed.
//! 2. Bytes are handed out only of chunks that the store has verified, and only if their lengths
//!    agree with the lists that name them.
//! 3. What is kept in memory is bounded by limits.rs.

pub mod changed;
pub mod course;
pub mod diff;
pub mod doings;
pub mod events;
pub mod find;
pub mod names;
pub mod net;
#[cfg(test)]
pub(crate) mod past;
pub mod path;
pub mod read;
mod recent;
pub mod state;
pub mod undo;
pub mod unsettled;

pub use path::Found;
pub use read::Seek;
pub use recent::Recent;
pub use state::{State, StateName};

use crate::format::record::LostReason;
use crate::id::{Epoch, FileId, Hash};
use crate::limits;
use crate::name::BadSnapshotName;
use crate::store::{Store, StoreError, View};
use crate::time::{BadTime, Timestamp};
use parking_lot::Mutex;
use std::sync::Arc;

/// Why a question about the past has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    BadTime(#[from] BadTime),
    #[error(transparent)]
    BadName(#[from] BadSnapshotName),
    #[error("nothing has been recorded yet")]
    NothingRecorded,
    #[error("there is no snapshot '{name}'")]
    NoSnapshot { name: String },
    #[error("there is no snapshot yet")]
    NoSnapshots,
    #[error("'{text}' counts back too far: there are {older} snapshots before '{name}'")]
    TooFarBack {
        text: String,
        name: String,
        older: usize,
    },
    #[error("{time} is before the first recorded state: history reaches from {first} to {last}")]
    BeforeFirst {
        time: Timestamp,
        first: Timestamp,
        last: Timestamp,
    },
    #[error("{time} is in the future: history reaches from {first} to {last}")]
    Future {
        time: Timestamp,
        first: Timestamp,
        last: Timestamp,
    },
    #[error("epoch {epoch} is not kept any more")]
    NotKept { epoch: Epoch },
    #[error("the content could not be recorded: {}", lost_text(*.reason))]
    Lost { reason: LostReason },
    #[error("the content was purged from history")]
    Purged,
    #[error("the content was damaged in the store and could not be mended")]
    Damaged,
    #[error("the list or chunk {hash} does not have the length that was recorded")]
    Length { hash: Hash },
    #[error("the content is empty, but {size} bytes were recorded")]
    Empty { size: u64 },
}

/// A result of this layer.
pub type Result<T> = std::result::Result<T, HistoryError>;

/// Why content is lost, for people.
pub fn lost_text(reason: LostReason) -> &'static str {
    match reason {
        LostReason::ReadError => "the file could not be read",
        LostReason::NoPermission => "there was no permission to read the file",
        LostReason::TooSlow => "it could not be recorded in time",
        LostReason::Gap => "history was not being recorded",
        LostReason::NotRecorded => "recording ended before it was recorded",
        LostReason::NotImported => "it is from before the first mount",
        LostReason::LeftOut => "it is left out, as the policy says",
    }
}

/// Two states, and the folder at the top.
type ListOf = (Epoch, Epoch, FileId);

/// Answers questions about the past.
pub struct History {
    store: Arc<Store>,
    /// Decoded chunk lists. A leaf: nothing else is locked while it is held.
    layouts: Mutex<Recent<Hash, Arc<read::Layout>>>,
    /// Bytes of data in chunk lists: what `st_blocks` needs of every file of a listing. A leaf.
    data_bytes: Mutex<Recent<Hash, u64>>,
    /// Whose directories were, and what they allowed. A leaf.
    courses: Mutex<Recent<FileId, Arc<course::Course>>>,
    /// What changed from one state to another, by folder. A leaf.
    changed: Mutex<Recent<(Epoch, Epoch), Arc<changed::Changed>>>,
    /// The lists of that, as text, by the folder at their top. A leaf.
    lists: Mutex<Recent<ListOf, Arc<[u8]>>>,
}

impl History {
    /// Reads from `store`.
    pub fn new(store: Arc<Store>) -> Arc<History> {
        Arc::new(History {
            store,
            layouts: Mutex::new(Recent::new(limits::LIST_CACHE_PIECES)),
            data_bytes: Mutex::new(Recent::new(limits::LIST_CACHE_LENGTHS)),
            courses: Mutex::new(Recent::new(limits::COURSE_STRETCHES)),
            changed: Mutex::new(Recent::new(limits::CHANGED_NAMES)),
            lists: Mutex::new(Recent::new(limits::CHANGES_BYTES)),
        })
    }

    /// Where it reads from.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// A consistent picture; keep it for one request only.
    pub fn view(&self) -> View<'_> {
        self.store.view()
    }
}
