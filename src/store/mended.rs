//! What repairs have left: for each epoch of which something could not be mended, the state that its
//! records have since then, or the seal with which the chain of headers begins anew. So what a
//! repair gave up is known for ever, and new damage is told from old.

use super::view::View;
use super::{Result, meta};
use crate::id::{Epoch, Hash};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What a repair left of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mended {
    pub time: Timestamp,
    pub by_uid: u32,
    /// The state that its records have since; `None`: that of its header.
    pub state: Option<Hash>,
    /// The seal of its header does not follow from the one before, and is accepted.
    pub seal: Option<Hash>,
}

impl View<'_> {
    /// What repairs have left of epochs, by epoch.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn all_mended(&self) -> Result<HashMap<Epoch, Mended>> {
        let notes = self.numbered(meta::MENDED)?.into_iter();
        Ok(notes.map(|(epoch, note)| (Epoch(epoch), note)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key::hex;
    use crate::format::value::{pack, unpack};

    #[test]
    fn golden_bytes() {
        let note = Mended {
            time: Timestamp(3),
            by_uid: 7,
            state: Some(Hash([0x11; 32])),
            seal: None,
        };
        let bytes = pack(&note);
        let state = "11".repeat(32);
        assert_eq!(hex(&bytes), format!("01060701{state}00"));
        assert_eq!(unpack::<Mended>(&bytes), Ok(note));
    }
}
