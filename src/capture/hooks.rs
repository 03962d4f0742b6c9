//! What tests set to reach states that take much data, or luck, otherwise. Nothing sets it but tests
//! and the variable REWINDFS_TEST, which a daemon reads once when it starts (docs/architecture.md).

use crate::limits;
use std::path::PathBuf;
use std::time::Duration;

/// How often it is looked whether a capture may go on.
const LOOK: Duration = Duration::from_millis(10);

/// See the module's head.
#[derive(Clone, Debug)]
pub struct Hooks {
    /// While this file exists, nothing is captured.
    pub hold: Option<PathBuf>,
    /// In place of `limits::STASH_MAX`.
    pub stash_bytes: u64,
    /// In place of `limits::KEPT_BYTES`.
    pub kept_bytes: u64,
    /// In place of `limits::PENDING_WEIGHT`.
    pub pending_weight: u64,
    /// In place of `limits::SNAPSHOT_WAIT`.
    pub snapshot_wait: Duration,
    /// How long each operation on the live tree holds the locks of its files before it goes on.
    pub locked: Duration,
    /// In place of `limits::SCRUB_EVERY`.
    pub scrub_every: Duration,
    /// In place of `limits::SCRUB_QUIET`.
    pub scrub_quiet: Duration,
    /// In place of `limits::HEAVY_BYTES`.
    pub heavy_bytes: u64,
    /// Whoever changes what stands under this name panics.
    pub panic_at: Option<Vec<u8>>,
}

impl Default for Hooks {
    fn default() -> Hooks {
        Hooks {
            hold: None,
            stash_bytes: limits::STASH_MAX,
            kept_bytes: limits::KEPT_BYTES,
            pending_weight: limits::PENDING_WEIGHT,
            snapshot_wait: limits::SNAPSHOT_WAIT,
            locked: Duration::ZERO,
            scrub_every: limits::SCRUB_EVERY,
            scrub_quiet: limits::SCRUB_QUIET,
            heavy_bytes: limits::HEAVY_BYTES,
            panic_at: None,
        }
    }
}

impl Hooks {
    /// Keeps the locks of an operation for longer than it needs them.
    pub fn keep_locked(&self) {
        if !self.locked.is_zero() {
            std::thread::sleep(self.locked);
        }
    }

    /// Waits while a test wants nothing to be captured.
    pub(super) fn hold(&self) {
        while self.hold.as_ref().is_some_and(|path| path.exists()) {
            std::thread::sleep(LOOK);
        }
    }
}
