//! The report of `purge`, as values. Their field names are those of `--json` (docs/json.md).

use super::when::When;
use serde::{Deserialize, Serialize};

/// What goes, or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeReport {
    /// Versions whose content goes.
    pub versions: u64,
    /// The first of them.
    #[serde(rename = "purged")]
    pub lines: Vec<PurgedVersion>,
    /// Stored bytes that nothing else needs.
    pub freed_bytes: u64,
    /// Pieces that stay because other content needs them, and their bytes.
    pub shared_pieces: u64,
    pub shared_bytes: u64,
    /// Some of the files that need them.
    pub shared_with: Vec<String>,
    /// Files that are there now and whose newest version goes.
    pub live: Vec<String>,
    /// Places to which some of it was sent.
    pub copies: Vec<PurgedCopy>,
    /// What names this plan.
    pub token: String,
    /// It was carried out.
    pub done: bool,
    /// The bytes are in no file of the store any more. False of one that was carried out: somebody
    /// reads the store as it was before, and they go when he is done.
    pub wiped: bool,
}

/// A place that still holds content that goes, in sets that were sent before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgedCopy {
    pub url: String,
    /// The newest set that may hold it: until it and those before it are removed there.
    pub set: u64,
    pub sent: When,
}

/// A version whose content goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgedVersion {
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// How many kept states show it: from the first to the last.
    pub states: u64,
    pub first_state: Option<When>,
    pub last_state: Option<When>,
}
