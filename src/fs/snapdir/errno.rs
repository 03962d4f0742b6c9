//! Which errno an application gets for what went wrong below `.snapshots`. One table for each layer
//! below; no other file here chooses an errno for an error of theirs.

use crate::capture::CaptureError;
use crate::format::record::LostReason;
use crate::fs::Stop;
use crate::history::HistoryError;
use crate::name::BadSnapshotName;
use crate::store::StoreError;

/// What is only ever refused.
pub const READ_ONLY: Stop = Stop::Errno(libc::EROFS);
/// The epoch went away, or the kernel asks for what it was not told of.
pub const STALE: Stop = Stop::Errno(libc::ESTALE);
/// The store does not answer.
pub const HANGS: Stop = Stop::Errno(libc::EIO);
/// No such name.
pub const NO_ENTRY: Stop = Stop::Errno(libc::ENOENT);
/// Only root and the owner of the working directory may.
pub const NOT_ALLOWED: Stop = Stop::Errno(libc::EPERM);

impl From<HistoryError> for Stop {
    fn from(error: HistoryError) -> Stop {
        let errno = match error {
            HistoryError::Store(error) => return Stop::from(error),
            HistoryError::Lost {
                reason: LostReason::NoPermission,
            } => libc::EACCES,
            HistoryError::Lost { .. } | HistoryError::Purged | HistoryError::Damaged => libc::EIO,
            HistoryError::NotKept { .. } => libc::ESTALE,
            HistoryError::Length { .. } | HistoryError::Empty { .. } => {
                log::error!("reading history: {error}");
                libc::EIO
            }
            HistoryError::BadTime(_)
            | HistoryError::BadName(_)
            | HistoryError::NothingRecorded
            | HistoryError::NoSnapshot { .. }
            | HistoryError::NoSnapshots
            | HistoryError::TooFarBack { .. }
            | HistoryError::BeforeFirst { .. }
            | HistoryError::Future { .. } => libc::ENOENT,
        };
        Stop::Errno(errno)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        let errno = match &error {
            StoreError::NameTaken { .. } => return Stop::Errno(libc::EEXIST),
            StoreError::NoSnapshot { .. }
            | StoreError::NotDeleted { .. }
            | StoreError::NotHeld { .. } => return Stop::Errno(libc::ENOENT),
            StoreError::Held { .. } | StoreError::HeldUntil { .. } => {
                return Stop::Errno(libc::EBUSY);
            }
            StoreError::Full => libc::ENOSPC,
            StoreError::Busy | StoreError::Stale | StoreError::Filling => libc::EAGAIN,
            StoreError::Interrupted => libc::EINTR,
            StoreError::Locked { .. }
            | StoreError::NewerFormat { .. }
            | StoreError::NotAStore { .. }
            | StoreError::NotEmpty { .. }
            | StoreError::Owner { .. }
            | StoreError::Exposed { .. }
            | StoreError::Unreadable { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Key(_)
            | StoreError::WrongHash { .. }
            | StoreError::Missing { .. }
            | StoreError::Damaged { .. }
            | StoreError::Unopenable { .. }
            | StoreError::NothingLeft
            | StoreError::NoFamily { .. }
            | StoreError::NoEpoch { .. }
            | StoreError::Sealed { .. }
            | StoreError::OutOfOrder { .. }
            | StoreError::Kept { .. }
            | StoreError::TooLarge { .. }
            | StoreError::Removed
            | StoreError::Poisoned
            | StoreError::Closed
            | StoreError::Io { .. }
            | StoreError::Database { .. } => libc::EIO,
        };
        log::error!("reading history: {error}");
        Stop::Errno(errno)
    }
}

impl From<BadSnapshotName> for Stop {
    fn from(error: BadSnapshotName) -> Stop {
        Stop::Errno(match error {
            BadSnapshotName::TooLong => libc::ENAMETOOLONG,
            BadSnapshotName::Empty
            | BadSnapshotName::FirstCharacter
            | BadSnapshotName::Character
            | BadSnapshotName::NotUtf8
            | BadSnapshotName::Reserved(_)
            | BadSnapshotName::CountsBack => libc::EINVAL,
        })
    }
}

impl From<CaptureError> for Stop {
    fn from(error: CaptureError) -> Stop {
        let errno = match error {
            CaptureError::Store(error) => return Stop::from(error),
            CaptureError::Io(error) => return Stop::from(error),
            CaptureError::Exists(_) => libc::EEXIST,
            CaptureError::NoSnapshot(_) => libc::ENOENT,
            CaptureError::Held(_) => libc::EBUSY,
            CaptureError::TimedOut | CaptureError::Cancelled => libc::EAGAIN,
            CaptureError::NotElsewhere(places) => {
                log::warn!("the snapshot was made, but is not at {places} yet");
                libc::EIO
            }
            CaptureError::Hook(reason) => {
                log::warn!("no snapshot: the hook before-snapshot failed: {reason}");
                libc::ECANCELED
            }
            CaptureError::Stopped(reason) => {
                log::warn!("no snapshot: history is not being recorded: {reason}");
                libc::EAGAIN
            }
        };
        Stop::Errno(errno)
    }
}
