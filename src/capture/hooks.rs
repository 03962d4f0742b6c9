//! What tests set to reach states that take much data, or luck, otherwise. Nothing sets it but tests
//! and the variable REWINDFS_TEST, which a daemon reads once when it starts (docs/architecture.md).

use crate::limits;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;
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
    /// In place of `limits::SCAN_KEPT_MAX`.
    pub scan_kept: u64,
    /// In place of `limits::SNAPSHOT_WAIT`.
    pub snapshot_wait: Duration,
    /// How long one operation in four on the live tree waits before it takes the locks of its files.
    pub late: Duration,
    /// In place of `limits::SCRUB_EVERY`.
    pub scrub_every: Duration,
    /// In place of `limits::SCRUB_QUIET`.
    pub scrub_quiet: Duration,
    /// In place of `limits::HEAVY_BYTES`.
    pub heavy_bytes: u64,
    /// Whoever changes what stands under the name of this path, in whatever folder, looks at it.
    pub visit: Option<PathBuf>,
    /// Whoever changes what stands under this name panics.
    pub panic_at: Option<Vec<u8>>,
    /// While this file exists, nothing is fetched that a recovery has still to bring; with text in it,
    /// what somebody waits for is.
    pub fetch: Option<PathBuf>,
}

impl Default for Hooks {
    fn default() -> Hooks {
        Hooks {
            hold: None,
            stash_bytes: limits::STASH_MAX,
            kept_bytes: limits::KEPT_BYTES,
            pending_weight: limits::PENDING_WEIGHT,
            scan_kept: limits::SCAN_KEPT_MAX,
            snapshot_wait: limits::SNAPSHOT_WAIT,
            late: Duration::ZERO,
            scrub_every: limits::SCRUB_EVERY,
            scrub_quiet: limits::SCRUB_QUIET,
            heavy_bytes: limits::HEAVY_BYTES,
            visit: None,
            panic_at: None,
            fetch: None,
        }
    }
}

impl Hooks {
    /// Keeps some operations from taking their locks at once, so that others overtake them.
    pub fn be_late(&self) {
        if !self.late.is_zero() && RandomState::new().hash_one(()).is_multiple_of(4) {
            std::thread::sleep(self.late);
        }
    }

    /// Asks for a file, of the mount perhaps, in the midst of a change of this name.
    pub(super) fn visit(&self, name: &[u8]) {
        let path = self.visit.as_ref();
        let named = |path: &&PathBuf| path.file_name().is_some_and(|own| own.as_bytes() == name);
        if let Some(path) = path.filter(named) {
            let found = std::fs::symlink_metadata(path).map(drop);
            log::info!("visited {}: {found:?}", path.display());
        }
    }

    /// Waits while a test wants nothing to be captured.
    pub(super) fn hold(&self) {
        while self.hold.as_ref().is_some_and(|path| path.exists()) {
            std::thread::sleep(LOOK);
        }
    }
}
