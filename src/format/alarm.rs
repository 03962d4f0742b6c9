//! What an alarm tells: that one actor destroyed, or made unreadable, many files within a short
//! time. Kept in the log of the list of snapshots (docs/format.md).

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlarmKind {
    /// Files were deleted, cut off or overwritten.
    Destroyed,
    /// Content that could be compressed became content that can't: as encryption does.
    Scrambled,
}

/// An alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    pub kind: AlarmKind,
    /// Files.
    pub files: u64,
    /// The folder, from the root of the tree, below which nearly all of them stood; empty: the root.
    pub folder: Vec<u8>,
    /// Process id; 0: nobody knows who did it.
    pub tgid: u32,
    /// What the process calls itself.
    pub comm: Vec<u8>,
    /// What was started in the session: the outermost of its ancestors below the session's leader,
    /// or itself.
    pub job: Vec<u8>,
    /// The last state before.
    pub before: Option<Timestamp>,
    /// Until when that state is held.
    pub until: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key::hex;
    use crate::format::value::{pack, unpack};

    #[test]
    fn golden_bytes() {
        let alarm = Alarm {
            kind: AlarmKind::Scrambled,
            files: 300,
            folder: b"a/b".to_vec(),
            tgid: 7,
            comm: b"x".to_vec(),
            job: b"sh".to_vec(),
            before: Some(Timestamp(1)),
            until: None,
        };
        let bytes = pack(&alarm);
        assert_eq!(hex(&bytes), "0101ac0203612f62070178027368010200");
        assert_eq!(unpack::<Alarm>(&bytes), Ok(alarm));
    }
}
