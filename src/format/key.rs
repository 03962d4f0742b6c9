//! Keys, packed and unpacked by hand. Numbers are big endian, so that the order of the bytes is
//! the order of the numbers; where versions of one thing stand side by side the epoch comes last
//! and inverted (`~epoch`), so that the newest comes first and "as of E" is one seek.
//!
//! | family | key |
//! |---|---|
//! | inodes | file id, ~epoch |
//! | dirents | dir id, name, 0x00, ~epoch |
//! | changes | epoch, file id, name (empty for the file itself) |
//! | epochs, headers | epoch |
//! | snapshots | name |
//! | index | hash |
//! | chunks | chunk number |
//! | live | inode number of the backing file system |
//! | meta | name, and for some 0x00 and a number |
//! | actors | actor id |
//!
//! A name never holds 0x00, so the names of a directory stand in bytewise order, and a name never
//! runs into the epoch behind it. This file does not know what stands under a key.

use crate::id::{ActorId, ChunkNumber, Epoch, FileId, Hash, NUMBER_MAX};
use crate::name::{check_snapshot_name, is_file_name};
use std::fmt;

/// A kind of record, and the column family that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Inodes,
    Dirents,
    Changes,
    Epochs,
    Headers,
    Snapshots,
    Index,
    Chunks,
    Live,
    Meta,
    Actors,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 11] = [
        Family::Inodes,
        Family::Dirents,
        Family::Changes,
        Family::Epochs,
        Family::Headers,
        Family::Snapshots,
        Family::Index,
        Family::Chunks,
        Family::Live,
        Family::Meta,
        Family::Actors,
    ];

    /// Its name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Family::Inodes => "inodes",
            Family::Dirents => "dirents",
            Family::Changes => "changes",
            Family::Epochs => "epochs",
            Family::Headers => "headers",
            Family::Snapshots => "snapshots",
            Family::Index => "index",
            Family::Chunks => "chunks",
            Family::Live => "live",
            Family::Meta => "meta",
            Family::Actors => "actors",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A key that this version can't have written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key {} in the family {family} is malformed", hex(key))]
pub struct BadKey {
    pub family: Family,
    pub key: Vec<u8>,
}

/// Bytes as lower-case hexadecimal, for messages.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bad(family: Family, key: &[u8]) -> BadKey {
    BadKey {
        family,
        key: key.to_vec(),
    }
}

fn number(family: Family, key: &[u8]) -> Result<u64, BadKey> {
    let bytes = key.try_into().map_err(|_| bad(family, key))?;
    Ok(u64::from_be_bytes(bytes))
}

/// One of the numbers of `crate::id`, if it can be one.
fn id<T: TryFrom<u64>>(family: Family, key: &[u8], number: u64) -> Result<T, BadKey> {
    T::try_from(number).map_err(|_| bad(family, key))
}

/// The first key that is greater than every key beginning with `prefix`; empty if there is none
/// (a prefix of nothing but 0xff).
pub fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// inodes: file id, ~epoch.
pub fn inode(id: FileId, epoch: Epoch) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&id.0.to_be_bytes());
    key[8..].copy_from_slice(&(!epoch.0).to_be_bytes());
    key
}

/// All versions of a file begin with this.
pub fn inode_prefix(id: FileId) -> [u8; 8] {
    id.0.to_be_bytes()
}

/// # Errors
/// A key of another length.
pub fn unpack_inode(key: &[u8]) -> Result<(FileId, Epoch), BadKey> {
    let (file, epoch) = key
        .split_first_chunk::<8>()
        .ok_or_else(|| bad(Family::Inodes, key))?;
    let epoch: [u8; 8] = epoch.try_into().map_err(|_| bad(Family::Inodes, key))?;
    Ok((
        id(Family::Inodes, key, u64::from_be_bytes(*file))?,
        id(Family::Inodes, key, !u64::from_be_bytes(epoch))?,
    ))
}

/// dirents: dir id, name, 0x00, ~epoch.
pub fn dirent(dir: FileId, name: &[u8], epoch: Epoch) -> Vec<u8> {
    let mut key = dirent_prefix(dir, name);
    key.extend_from_slice(&(!epoch.0).to_be_bytes());
    key
}

/// All versions of a name begin with this.
pub fn dirent_prefix(dir: FileId, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + name.len() + 1 + 8);
    key.extend_from_slice(&dir.0.to_be_bytes());
    key.extend_from_slice(name);
    key.push(0);
    key
}

/// All names of a directory begin with this.
pub fn dir_prefix(dir: FileId) -> [u8; 8] {
    dir.0.to_be_bytes()
}

/// # Errors
/// A key that is too short, or a name that no file can have (so nobody who copies a state
/// elsewhere is led out of it).
pub fn unpack_dirent(key: &[u8]) -> Result<(FileId, &[u8], Epoch), BadKey> {
    let malformed = || bad(Family::Dirents, key);
    let (dir, rest) = key.split_first_chunk::<8>().ok_or_else(malformed)?;
    let (rest, epoch) = rest.split_last_chunk::<8>().ok_or_else(malformed)?;
    let (nul, name) = rest.split_last().ok_or_else(malformed)?;
    if *nul != 0 || !is_file_name(name) {
        return Err(malformed());
    }
    Ok((
        id(Family::Dirents, key, u64::from_be_bytes(*dir))?,
        name,
        id(Family::Dirents, key, !u64::from_be_bytes(*epoch))?,
    ))
}

/// changes: epoch, file id, and the name for a change of a name in that directory.
pub fn change(epoch: Epoch, id: FileId, name: Option<&[u8]>) -> Vec<u8> {
    let name = name.unwrap_or_default();
    let mut key = Vec::with_capacity(16 + name.len());
    key.extend_from_slice(&epoch.0.to_be_bytes());
    key.extend_from_slice(&id.0.to_be_bytes());
    key.extend_from_slice(name);
    key
}

/// # Errors
/// A key that is too short, or a name that no file can have.
pub fn unpack_change(key: &[u8]) -> Result<(Epoch, FileId, Option<&[u8]>), BadKey> {
    let malformed = || bad(Family::Changes, key);
    let (epoch, rest) = key.split_first_chunk::<8>().ok_or_else(malformed)?;
    let (file, name) = rest.split_first_chunk::<8>().ok_or_else(malformed)?;
    if !name.is_empty() && !is_file_name(name) {
        return Err(malformed());
    }
    Ok((
        id(Family::Changes, key, u64::from_be_bytes(*epoch))?,
        id(Family::Changes, key, u64::from_be_bytes(*file))?,
        (!name.is_empty()).then_some(name),
    ))
}

/// epochs, headers: epoch. Also the prefix of all changes of an epoch.
pub fn epoch(epoch: Epoch) -> [u8; 8] {
    epoch.0.to_be_bytes()
}

/// # Errors
/// A key of another length.
pub fn unpack_epoch(family: Family, key: &[u8]) -> Result<Epoch, BadKey> {
    id(family, key, number(family, key)?)
}

/// snapshots: name.
pub fn snapshot(name: &str) -> &[u8] {
    name.as_bytes()
}

/// # Errors
/// A name that no snapshot can have.
pub fn unpack_snapshot(key: &[u8]) -> Result<&str, BadKey> {
    check_snapshot_name(key).map_err(|_| bad(Family::Snapshots, key))
}

/// index: hash of the plain bytes.
pub fn index(hash: Hash) -> [u8; 32] {
    hash.0
}

/// # Errors
/// A key of another length.
pub fn unpack_index(key: &[u8]) -> Result<Hash, BadKey> {
    key.try_into()
        .map(Hash)
        .map_err(|_| bad(Family::Index, key))
}

/// chunks: chunk number.
pub fn chunk(number: ChunkNumber) -> [u8; 8] {
    number.0.to_be_bytes()
}

/// # Errors
/// A key of another length.
pub fn unpack_chunk(key: &[u8]) -> Result<ChunkNumber, BadKey> {
    id(Family::Chunks, key, number(Family::Chunks, key)?)
}

/// live: inode number of the backing file system.
pub fn live(ino: u64) -> [u8; 8] {
    ino.to_be_bytes()
}

/// # Errors
/// A key of another length.
pub fn unpack_live(key: &[u8]) -> Result<u64, BadKey> {
    number(Family::Live, key)
}

/// actors: actor id.
pub fn actor(id: ActorId) -> [u8; 8] {
    id.0.to_be_bytes()
}

/// # Errors
/// A key of another length.
pub fn unpack_actor(key: &[u8]) -> Result<ActorId, BadKey> {
    id(Family::Actors, key, number(Family::Actors, key)?)
}

/// meta: one of a numbered kind.
pub fn meta(name: &str, number: u64) -> Vec<u8> {
    let mut key = meta_prefix(name);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// All of a numbered kind in meta begin with this.
pub fn meta_prefix(name: &str) -> Vec<u8> {
    let mut key = name.as_bytes().to_vec();
    key.push(0);
    key
}

/// The number of one of a numbered kind, at most `NUMBER_MAX`.
///
/// # Errors
/// A key that is not `name`, 0x00 and eight bytes of such a number.
pub fn unpack_meta(name: &str, key: &[u8]) -> Result<u64, BadKey> {
    let rest = key
        .strip_prefix(name.as_bytes())
        .and_then(|rest| rest.strip_prefix(&[0]))
        .and_then(|rest| <[u8; 8]>::try_from(rest).ok())
        .map(u64::from_be_bytes)
        .filter(|number| *number <= NUMBER_MAX);
    rest.ok_or_else(|| bad(Family::Meta, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const F: FileId = FileId(0x0102);
    const E: Epoch = Epoch(5);

    #[test]
    fn golden_keys() {
        assert_eq!(hex(&inode(F, E)), "0000000000000102fffffffffffffffa");
        assert_eq!(
            hex(&dirent(F, b"ab", E)),
            "0000000000000102616200fffffffffffffffa"
        );
        assert_eq!(hex(&change(E, F, None)), "00000000000000050000000000000102");
        assert_eq!(
            hex(&change(E, F, Some(b"ab"))),
            "000000000000000500000000000001026162"
        );
        assert_eq!(hex(&epoch(E)), "0000000000000005");
        assert_eq!(snapshot("first"), b"first");
        assert_eq!(index(Hash([7; 32])), [7; 32]);
        assert_eq!(hex(&chunk(ChunkNumber(258))), "0000000000000102");
        assert_eq!(hex(&live(258)), "0000000000000102");
        assert_eq!(hex(&actor(ActorId(258))), "0000000000000102");
        assert_eq!(hex(&meta("gap", 1)), "676170000000000000000001");
    }

    #[test]
    fn unpack_returns_what_was_packed() {
        assert_eq!(unpack_inode(&inode(F, E)), Ok((F, E)));
        assert_eq!(
            unpack_dirent(&dirent(F, b"ab", E)),
            Ok((F, b"ab".as_slice(), E))
        );
        assert_eq!(unpack_change(&change(E, F, None)), Ok((E, F, None)));
        assert_eq!(
            unpack_change(&change(E, F, Some(b"x"))),
            Ok((E, F, Some(b"x".as_slice())))
        );
        assert_eq!(unpack_epoch(Family::Epochs, &epoch(E)), Ok(E));
        assert_eq!(unpack_snapshot(b"first"), Ok("first"));
        assert_eq!(unpack_index(&[7; 32]), Ok(Hash([7; 32])));
        assert_eq!(unpack_chunk(&chunk(ChunkNumber(9))), Ok(ChunkNumber(9)));
        assert_eq!(unpack_live(&live(9)), Ok(9));
        assert_eq!(unpack_actor(&actor(ActorId(9))), Ok(ActorId(9)));
        assert_eq!(unpack_meta("gap", &meta("gap", 9)), Ok(9));
    }

    #[test]
    fn malformed_keys_are_errors_that_name_family_and_key() {
        assert!(unpack_inode(&[1; 15]).is_err());
        assert!(unpack_inode(&[1; 17]).is_err());
        assert!(unpack_dirent(&[1; 7]).is_err());
        assert!(unpack_dirent(&[1; 16]).is_err());
        assert!(unpack_dirent(&dirent(F, b"", E)).is_err());
        assert!(unpack_dirent(&dirent(F, b"a\0b", E)).is_err());
        assert!(unpack_change(&[1; 15]).is_err());
        assert!(unpack_index(&[1; 31]).is_err());
        assert!(unpack_chunk(&[]).is_err());
        assert!(unpack_snapshot(&[0xff]).is_err());
        assert!(unpack_meta("gap", b"gap\0").is_err());
        let message = unpack_live(&[0xab]).unwrap_err().to_string();
        assert_eq!(message, "the key ab in the family live is malformed");
    }

    #[test]
    fn newer_versions_and_smaller_names_come_first() {
        assert!(inode(F, Epoch(6)) < inode(F, Epoch(5)));
        assert!(inode(F, Epoch(0)) < inode(FileId(F.0 + 1), Epoch::MAX));
        assert!(dirent(F, b"a", Epoch(0)) < dirent(F, b"a\x01", Epoch::MAX));
        assert!(dirent(F, b"a", Epoch(0)) < dirent(F, b"ab", Epoch::MAX));
        assert!(dirent(F, b"ab", Epoch(9)) < dirent(F, b"b", Epoch(1)));
    }

    #[test]
    fn after_prefix_is_the_end_of_a_prefix() {
        assert_eq!(after_prefix(&[1, 2]), [1, 3]);
        assert_eq!(after_prefix(&[1, 0xff]), [2]);
        assert_eq!(after_prefix(&[0xff, 0xff]), [0u8; 0]);
    }
}
