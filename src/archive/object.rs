//! What the objects of a repository hold, as plain values, and what they are called. Documented in
//! docs/format.md.

use crate::format::key::hex;
use crate::id::{Epoch, Hash};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The object that says what this place is.
pub const MARKER: &str = "rewindfs";
/// Number of the format of repositories.
pub const FORMAT: u32 = 1;
/// Heads whose number is a multiple of this hold all sets, not only new ones.
pub const FULL_HEAD: u64 = 32;

/// What a set is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetKind {
    /// Nothing.
    Full,
    /// The set before it.
    Incremental,
    /// The full set before it.
    Differential,
}

impl SetKind {
    /// As a person writes it.
    pub fn name(self) -> &'static str {
        match self {
            SetKind::Full => "full",
            SetKind::Incremental => "incremental",
            SetKind::Differential => "differential",
        }
    }
}

/// A set, as heads name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRecord {
    /// That of the head which published it.
    pub number: u64,
    pub kind: SetKind,
    /// The set that it needs.
    pub base: Option<u64>,
    /// The store that it was made from.
    pub store: [u8; 16],
    pub host: String,
    /// The working directory.
    pub dir: Vec<u8>,
    /// It holds what happened after the first epoch, up to the second.
    pub after: Epoch,
    pub to: Epoch,
    /// The time of the state that it ends with.
    pub time: Timestamp,
    pub made: Timestamp,
    pub state: Hash,
    pub seal: Hash,
    /// Regular files of that state, and their bytes.
    pub files: u64,
    pub data_bytes: u64,
    /// Bytes of all its objects.
    pub set_bytes: u64,
    /// Somebody asked for it: it goes only when somebody says so. Else it was made to keep a replica up
    /// to date, and goes when newer ones take its place.
    pub asked: bool,
    pub objects: Vec<ObjectRecord>,
}

impl SetRecord {
    /// Its objects of a kind.
    pub fn of_kind(&self, kind: ObjectKind) -> impl Iterator<Item = &ObjectRecord> {
        let objects = self.objects.iter();
        objects.filter(move |object| object.kind == kind)
    }
}

/// The folders in which the objects of sets lie.
pub const FOLDERS: [&str; 3] = ["packs", "indexes", "segments"];

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectKind {
    Pack,
    Index,
    Segment,
}

/// An object of a set. It is called by the BLAKE3 of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecord {
    pub kind: ObjectKind,
    pub hash: Hash,
    pub bytes: u64,
}

impl ObjectRecord {
    /// Its name.
    pub fn name(&self) -> String {
        let hash = hex(&self.hash.0);
        match self.kind {
            ObjectKind::Pack => format!("packs/{}/{hash}", &hash[..2]),
            ObjectKind::Index => format!("indexes/{hash}"),
            ObjectKind::Segment => format!("segments/{hash}"),
        }
    }
}

/// A head: what is new since the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub number: u64,
    /// BLAKE3 of the sealed head before it; zeros in front of the first.
    pub previous: Hash,
    /// One more each time another store goes on.
    pub lineage: u64,
    /// The store that writes.
    pub writer: [u8; 16],
    pub made: Timestamp,
    /// New sets; in a head that holds all, all that are kept.
    pub sets: Vec<SetRecord>,
}

/// The name of a head.
pub fn head_name(number: u64) -> String {
    format!("heads/{number:020}")
}

/// The chunks of a few packs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    pub packs: Vec<PackIndex>,
}

/// The chunks of a pack, in their order: each is sealed by itself, one behind the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackIndex {
    pub pack: Hash,
    pub chunks: Vec<PackedChunk>,
}

impl PackIndex {
    /// Bytes of the pack.
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum()
    }
}

/// A chunk in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedChunk {
    pub hash: Hash,
    pub is_list: bool,
    /// Sealed bytes.
    pub bytes: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::value::{pack, unpack};

    #[test]
    fn golden_bytes() {
        let set = SetRecord {
            number: 300,
            kind: SetKind::Differential,
            base: Some(1),
            store: [0x11; 16],
            host: "h".to_owned(),
            dir: b"/d".to_vec(),
            after: Epoch(2),
            to: Epoch(3),
            time: Timestamp(4),
            made: Timestamp(5),
            state: Hash([0x22; 32]),
            seal: Hash([0x33; 32]),
            files: 6,
            data_bytes: 7,
            set_bytes: 8,
            asked: true,
            objects: vec![ObjectRecord {
                kind: ObjectKind::Segment,
                hash: Hash([0x44; 32]),
                bytes: 9,
            }],
        };
        let (one, two, three, four) = (
            "11".repeat(16),
            "22".repeat(32),
            "33".repeat(32),
            "44".repeat(32),
        );
        let bytes = format!("ac02020101{one}0168022f640203080a{two}{three}060708010102{four}09");
        assert_eq!(hex(&pack(&set)), format!("01{bytes}"));
        assert_eq!(unpack::<SetRecord>(&pack(&set)), Ok(set.clone()));
        let head = Head {
            number: 301,
            previous: Hash([0x22; 32]),
            lineage: 1,
            writer: [0x11; 16],
            made: Timestamp(6),
            sets: vec![set.clone()],
        };
        assert_eq!(hex(&pack(&head)), format!("01ad02{two}01{one}0c01{bytes}"));
        assert_eq!(unpack::<Head>(&pack(&head)), Ok(head));
        let index = Index {
            packs: vec![PackIndex {
                pack: Hash([0x22; 32]),
                chunks: vec![PackedChunk {
                    hash: Hash([0x33; 32]),
                    is_list: true,
                    bytes: 300,
                }],
            }],
        };
        assert_eq!(hex(&pack(&index)), format!("0101{two}01{three}01ac02"));
        assert_eq!(unpack::<Index>(&pack(&index)), Ok(index));
    }

    #[test]
    fn golden_names() {
        let name = |kind| {
            let hash = Hash([0xab; 32]);
            ObjectRecord {
                kind,
                hash,
                bytes: 0,
            }
            .name()
        };
        let hash = "ab".repeat(32);
        assert_eq!(name(ObjectKind::Pack), format!("packs/ab/{hash}"));
        assert_eq!(name(ObjectKind::Index), format!("indexes/{hash}"));
        assert_eq!(name(ObjectKind::Segment), format!("segments/{hash}"));
        assert_eq!(head_name(7), "heads/00000000000000000007");
    }
}
