//! Drills, as a store knows them: how often each replica is tried by itself, and with what the log
//! of the drills that were ends.

use crate::id::Hash;
use serde::{Deserialize, Serialize};

/// How often what is at a place is tried, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillPlan {
    pub url: String,
    /// Seconds between two drills; 0: none runs by itself.
    pub every: u64,
    /// Of the files, so many percent.
    pub percent: u8,
}

/// The end of the log: a line that is there can't be taken out or changed without this being
/// changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillsEnd {
    pub lines: u64,
    /// BLAKE3 of the last line.
    pub hash: Hash,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key::hex;
    use crate::format::value::{pack, unpack};

    #[test]
    fn golden_bytes() {
        let plan = DrillPlan {
            url: "file:///b".to_owned(),
            every: 300,
            percent: 5,
        };
        assert_eq!(
            hex(&pack(&plan)),
            format!("0109{}ac0205", hex(b"file:///b"))
        );
        assert_eq!(unpack::<DrillPlan>(&pack(&plan)), Ok(plan));
        let end = DrillsEnd {
            lines: 300,
            hash: Hash([0x22; 32]),
        };
        assert_eq!(hex(&pack(&end)), format!("01ac02{}", "22".repeat(32)));
        assert_eq!(unpack::<DrillsEnd>(&pack(&end)), Ok(end));
    }
}
