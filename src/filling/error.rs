//! Why something could not be brought.

use crate::history::HistoryError;
use crate::id::Hash;
use crate::store::StoreError;
use std::io;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("its state does not have it any more")]
    NotThere,
}

impl FillError {
    /// The chunk that has not come, if that is all.
    pub fn missing(&self) -> Option<Hash> {
        match self {
            FillError::Store(StoreError::Missing { hash })
            | FillError::History(HistoryError::Store(StoreError::Missing { hash })) => Some(*hash),
            _ => None,
        }
    }

    /// What a program gets that waits for it.
    pub fn errno(&self) -> i32 {
        match self {
            FillError::Io(error) => error.raw_os_error().unwrap_or(libc::EIO),
            _ => libc::EIO,
        }
    }
}
