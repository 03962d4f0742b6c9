//! What `.snapshots` needs of the rest of the program: where it hangs, and who makes, deletes and
//! renames snapshots. A trait, so that it can be tested on a store alone.

use crate::capture::actor;
use crate::capture::{CaptureError, NewSnapshot, Patience, Recorder};
use crate::format::record::Snapshot;
use crate::fs::live::{Live, LiveDir};
use crate::fs::{Answer, Context, Stop};
use crate::id::Hash;
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Instant;

/// The surroundings.
pub trait Host: Send + Sync {
    /// The live directory with this nodeid.
    ///
    /// # Errors
    /// ENOTDIR, ESTALE.
    fn describe(&self, ino: u64) -> Answer<LiveDir>;

    /// Makes a snapshot that is durable on return, or nothing.
    ///
    /// # Errors
    /// See `Recorder::snapshot`.
    fn snapshot(&self, new: NewSnapshot, deadline: Instant) -> Result<Snapshot, CaptureError>;

    /// Takes a snapshot's name away.
    ///
    /// # Errors
    /// See `Recorder::delete_snapshot`.
    fn delete(&self, name: &str, by_uid: u32) -> Result<(), CaptureError>;

    /// Gives a snapshot another name.
    ///
    /// # Errors
    /// See `Recorder::rename_snapshot`.
    fn rename(&self, old: &str, new: &str, by_uid: u32) -> Result<(), CaptureError>;

    /// Whether whoever asks is of this group.
    fn is_member(&self, cx: &Context, group: u32) -> bool;

    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// A chunk is not here. Of a recovery that is under way: asks for it.
    fn want(&self, _: Hash) -> Option<Stop> {
        None
    }
}

/// The program itself.
pub struct Mounted {
    pub live: Arc<Live>,
    pub recorder: Arc<Recorder>,
}

impl Host for Mounted {
    fn describe(&self, ino: u64) -> Answer<LiveDir> {
        self.live.describe(ino)
    }

    fn snapshot(&self, new: NewSnapshot, deadline: Instant) -> Result<Snapshot, CaptureError> {
        let made = self.recorder.snapshot(new, Patience::until(deadline))?;
        self.recorder.be_elsewhere()?;
        Ok(made)
    }

    fn delete(&self, name: &str, by_uid: u32) -> Result<(), CaptureError> {
        self.recorder.delete_snapshot(name, by_uid)
    }

    fn rename(&self, old: &str, new: &str, by_uid: u32) -> Result<(), CaptureError> {
        self.recorder.rename_snapshot(old, new, by_uid)
    }

    fn is_member(&self, cx: &Context, group: u32) -> bool {
        cx.gid == group || actor::is_member(cx.pid, (cx.uid, cx.gid), group)
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn want(&self, hash: Hash) -> Option<Stop> {
        Some(self.live.fill()?.want(hash))
    }
}
