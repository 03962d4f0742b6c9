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
    /// States that are what an earlier repair could make of them.
    pub repaired_states: u64,
    /// How many problems there are, or were before the repair.
    pub problems: u64,
    /// With `--repair`: how many of them were mended, and of how many what they touch was given up.
    pub mended: u64,
    pub given_up: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub problem: String,
    /// With `--repair`: whether it was mended, or what it touches was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<Remedy>,
    /// The file or folder, if it is about one.
    pub path: Option<String>,
    /// The states that it touches: the first, and the last.
    pub first_state: Option<When>,
    pub last_state: Option<When>,
}

/// What a repair did about a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remedy {
    Mended,
    GivenUp,
}
