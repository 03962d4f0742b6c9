//! The state of an epoch in 32 bytes, and the chain of seals over all epochs.
//!
//! A sum of hashes (LtHash: 1024 numbers of 16 bits, added without carry from one to the next)
//! does not depend on the order of its members, and a member can be taken out again. So the sum of
//! all records visible at an epoch is kept up at the cost of what changed, and can be counted
//! again from the records alone, whatever was pruned in between.

use super::key;
use super::record::{Content, Dirent, GivenUp, Header, Inode};
use super::value;
use crate::id::{Epoch, FileId, Hash};
use std::fmt;

/// Numbers in a sum.
const LANES: usize = 1024;
/// Bytes of a sum.
pub const SUM_BYTES: usize = 2 * LANES;

/// First byte of what is hashed of an inode.
const INODE_TAG: u8 = 1;
/// First byte of what is hashed of a directory entry.
const DIRENT_TAG: u8 = 2;

/// A sum of records.
#[derive(Clone, PartialEq, Eq)]
pub struct LtHash(Box<[u16; LANES]>);

impl Default for LtHash {
    fn default() -> Self {
        LtHash(Box::new([0; LANES]))
    }
}

impl fmt::Debug for LtHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LtHash({:?})", self.state())
    }
}

impl LtHash {
    /// Takes a record in.
    pub fn add(&mut self, record: &[u8]) {
        let lanes = expand(record);
        for (lane, value) in self.0.iter_mut().zip(lanes.iter()) {
            *lane = lane.wrapping_add(*value);
        }
    }

    /// Takes a record out again.
    pub fn subtract(&mut self, record: &[u8]) {
        let lanes = expand(record);
        for (lane, value) in self.0.iter_mut().zip(lanes.iter()) {
            *lane = lane.wrapping_sub(*value);
        }
    }

    /// Takes in all that another sum holds.
    pub fn join(&mut self, other: &LtHash) {
        for (lane, value) in self.0.iter_mut().zip(other.0.iter()) {
            *lane = lane.wrapping_add(*value);
        }
    }

    /// The state hash: BLAKE3 of the sum.
    pub fn state(&self) -> Hash {
        Hash::of(&self.pack())
    }

    /// Little endian.
    pub fn pack(&self) -> Vec<u8> {
        self.0.iter().flat_map(|lane| lane.to_le_bytes()).collect()
    }

    /// `None` for bytes of another length.
    pub fn unpack(bytes: &[u8]) -> Option<LtHash> {
        if bytes.len() != SUM_BYTES {
            return None;
        }
        let mut sum = LtHash::default();
        for (lane, pair) in sum.0.iter_mut().zip(bytes.chunks_exact(2)) {
            *lane = u16::from_le_bytes([pair[0], pair[1]]);
        }
        Some(sum)
    }
}

fn expand(record: &[u8]) -> Box<[u16; LANES]> {
    let mut bytes = [0u8; SUM_BYTES];
    let mut hasher = blake3::Hasher::new();
    hasher.update(record);
    hasher.finalize_xof().fill(&mut bytes);
    let mut lanes = Box::new([0; LANES]);
    for (lane, pair) in lanes.iter_mut().zip(bytes.chunks_exact(2)) {
        *lane = u16::from_le_bytes([pair[0], pair[1]]);
    }
    lanes
}

/// What is hashed of a file: tag, file id, value. Its content counts by the hash of its encoding,
/// which is what a purge leaves behind: so a purge changes no state.
pub fn inode_record(id: FileId, inode: &Inode) -> Vec<u8> {
    let counted = Inode {
        content: Content::Purged(content_hash(&inode.content)),
        ..inode.clone()
    };
    let mut record = vec![INODE_TAG];
    record.extend_from_slice(&key::inode_prefix(id));
    record.extend_from_slice(&value::pack(&counted));
    record
}

/// The hash that a purge or a repair leaves in place of a content; of such a one, what it holds.
pub fn content_hash(content: &Content) -> Hash {
    match content {
        Content::Purged(hash) | Content::Damaged(GivenUp(hash)) => *hash,
        other => Hash::of(&value::pack(other)),
    }
}

/// What is hashed of a name: tag, directory, name, 0x00, value.
pub fn dirent_record(dir: FileId, name: &[u8], dirent: &Dirent) -> Vec<u8> {
    let mut record = vec![DIRENT_TAG];
    record.extend_from_slice(&key::dirent_prefix(dir, name));
    record.extend_from_slice(&value::pack(dirent));
    record
}

/// seal(e) = BLAKE3(seal of the header before, epoch, time, wall clock, lineage, state hash);
/// numbers big endian. The seal before the first header is 32 zero bytes.
pub fn seal(before: Hash, epoch: Epoch, header: &Header) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&before.0);
    hasher.update(&epoch.0.to_be_bytes());
    hasher.update(&header.time.0.to_be_bytes());
    hasher.update(&header.wall.0.to_be_bytes());
    hasher.update(&header.lineage);
    hasher.update(&header.state.0);
    Hash(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::{FileTime, Kind};
    use crate::time::Timestamp;

    fn inode(content: Content) -> Inode {
        let time = FileTime { sec: 1, nsec: 2 };
        Inode {
            kind: Kind::File,
            mode: 0o644,
            uid: 1,
            gid: 2,
            rdev: 0,
            atime: time,
            mtime: time,
            ctime: time,
            nlink: 1,
            size: 3,
            content,
            target: Vec::new(),
            xattrs: Vec::new(),
            parent: FileId::ROOT,
            name: b"a".to_vec(),
        }
    }

    #[test]
    fn order_does_not_matter_and_subtract_undoes_add() {
        let mut one = LtHash::default();
        one.add(b"a");
        one.add(b"b");
        let mut other = LtHash::default();
        other.add(b"b");
        other.add(b"x");
        other.add(b"a");
        assert_ne!(one, other);
        other.subtract(b"x");
        assert_eq!(one, other);
        let mut joined = LtHash::default();
        joined.join(&one);
        assert_eq!(joined.state(), one.state());
        assert_eq!(LtHash::unpack(&one.pack()), Some(one));
        assert_eq!(LtHash::unpack(&[0; 2047]), None);
    }

    // The expected values were computed with another implementation of BLAKE3.
    #[test]
    fn golden_states() {
        assert_eq!(
            LtHash::default().state().to_hex(),
            "be2a8de3dcf46c94ce85cdc8e07ac308f4d8a95490d956c38d780fd610db0813"
        );
        let mut sum = LtHash::default();
        sum.add(b"rewindfs");
        assert_eq!(
            sum.state().to_hex(),
            "766c6baaa81b485057a25d060e70a5002d2c711c3b675115496b975675e66bc3"
        );
    }

    #[test]
    fn golden_seal() {
        let header = Header {
            time: Timestamp(2),
            wall: Timestamp(1),
            lineage: [3; 16],
            state: Hash([4; 32]),
            seal: Hash::default(),
        };
        assert_eq!(
            seal(Hash::default(), Epoch(5), &header).to_hex(),
            "5bd9e84ee68e9e82453e3321ca7965974222f9f4da90572ffe218a6299ed814c"
        );
    }

    #[test]
    fn a_purge_changes_no_state() {
        let before = inode(Content::Chunk(Hash([9; 32])));
        let purged = inode(Content::Purged(content_hash(&before.content)));
        assert_ne!(before, purged);
        assert_eq!(
            inode_record(FileId(7), &before),
            inode_record(FileId(7), &purged)
        );
        assert_ne!(
            inode_record(FileId(7), &before),
            inode_record(FileId(7), &inode(Content::Chunk(Hash([8; 32]))))
        );
    }
}
