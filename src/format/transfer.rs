//! What goes from one store to another: records as they stand, and the note that says what was sent.

use super::key::Family;
use crate::id::{Epoch, Hash};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A record as it stands in a store (docs/format.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawRecord {
    family: u8,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

impl RawRecord {
    /// A record of this family.
    pub fn new(family: Family, key: &[u8], value: &[u8]) -> RawRecord {
        let number = Family::ALL.iter().position(|other| *other == family);
        RawRecord {
            family: number
                .and_then(|number| u8::try_from(number).ok())
                .unwrap_or(u8::MAX),
            key: key.to_vec(),
            value: value.to_vec(),
        }
    }

    /// Its family; `None` of one that this program does not know.
    pub fn family(&self) -> Option<Family> {
        Family::ALL.get(usize::from(self.family)).copied()
    }

    /// Bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len() + 8
    }
}

/// A chunk or chunk list, packed as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawChunk {
    pub hash: Hash,
    pub is_list: bool,
    pub envelope: Vec<u8>,
}

/// By how much the regular files of a state, and their bytes, are more than those of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    pub files: i64,
    pub bytes: i64,
}

impl Growth {
    /// What is there now in place of what was.
    pub fn add(&mut self, now: (u64, u64), was: (u64, u64)) {
        self.files = self
            .files
            .saturating_add(now.0.cast_signed() - was.0.cast_signed());
        self.bytes = self
            .bytes
            .saturating_add(now.1.cast_signed() - was.1.cast_signed());
    }

    /// Files and bytes, of one that had so many.
    pub fn of(self, files: u64, bytes: u64) -> (u64, u64) {
        let files = files.saturating_add_signed(self.files);
        (files, bytes.saturating_add_signed(self.bytes))
    }
}

/// What was last sent to a repository. Its epochs are kept: the next set builds on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub repository: [u8; 16],
    /// Where it is, without anything secret.
    pub url: String,
    /// The newest set that is this store's, and the epoch that it ends with.
    pub set: u64,
    pub epoch: Epoch,
    /// The same of the newest full set.
    pub full_set: u64,
    pub full_epoch: Epoch,
    pub time: Timestamp,
    /// Of what goes out as whole lists: names, policy, log.
    pub lists: Hash,
    /// This store was made from the repository and has not written to it yet.
    pub recovered: bool,
    /// Another store has gone on there since: nothing more was sent.
    pub fenced: Option<Timestamp>,
}

/// A store that is being made from a repository: what it is to be, and where the files go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovering {
    pub repository: [u8; 16],
    pub set: u64,
    /// The state, as it was asked for; empty: the newest.
    pub at: String,
    /// Device and inode of the directory, which was empty then.
    pub dir: (u64, u64),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key::hex;
    use crate::format::value::{pack, unpack};

    #[test]
    fn golden_bytes() {
        let record = RawRecord::new(Family::Headers, b"k", b"vv");
        assert_eq!(hex(&pack(&record)), "0104016b027676");
        assert_eq!(record.family(), Some(Family::Headers));
        assert_eq!(unpack::<RawRecord>(&pack(&record)), Ok(record));
        let sent = Sent {
            repository: [0x11; 16],
            url: "file:///b".to_owned(),
            set: 300,
            epoch: Epoch(7),
            full_set: 1,
            full_epoch: Epoch(2),
            time: Timestamp(3),
            lists: Hash([0x22; 32]),
            recovered: true,
            fenced: Some(Timestamp(-1)),
        };
        let repository = "11".repeat(16);
        let url = hex(b"file:///b");
        let lists = "22".repeat(32);
        let expected = format!("01{repository}09{url}ac0207010206{lists}010101");
        assert_eq!(hex(&pack(&sent)), expected);
        assert_eq!(unpack::<Sent>(&pack(&sent)), Ok(sent));
        let recovering = Recovering {
            repository: [0x11; 16],
            set: 1,
            at: "a".to_owned(),
            dir: (2, 3),
        };
        let bytes = pack(&recovering);
        assert_eq!(hex(&bytes), format!("01{repository}0101610203"));
        assert_eq!(unpack::<Recovering>(&bytes), Ok(recovering));
    }
}
