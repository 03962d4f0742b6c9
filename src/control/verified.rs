//! The report of `verify`, as values. Their field names are those of `--json` (docs/json.md).

use super::when::When;
use serde::{Deserialize, Serialize};

/// What was read, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// States that were counted again from their records.
    pub states: u64,
    /// Versions of files and names.
    pub versions: u64,
    pub chunks: u64,
    pub chunk_bytes: u64,
    /// Of the chunks, how many percent were decompressed and compared with their hash.
    pub hashed_percent: u8,
    /// How many problems there are.
    pub problems: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub problem: String,
    /// The file or folder, if it is about one.
    pub path: Option<String>,
    /// The states that it touches: the first, and the last.
    pub first_state: Option<When>,
    pub last_state: Option<When>,
}
