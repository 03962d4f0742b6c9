//! A directory that is in use while it is being recovered: what a store knows of that.

use super::record::FileTime;
use super::replica::PasswordSource;
use crate::id::{Epoch, FileId};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Where the rest comes from, and how much that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filling {
    /// The places, without anything secret; the first one is asked first.
    pub places: Vec<String>,
    pub password: PasswordSource,
    pub set: u64,
    /// The state that the directory is to hold.
    pub epoch: Epoch,
    /// What these patterns match comes first.
    pub first: Vec<String>,
    /// Objects that are fetched at once; 0: as many as bring something.
    pub jobs: u32,
    pub began: Timestamp,
    /// Files without their content, and its bytes, about.
    pub files: u64,
    pub bytes: u64,
}

/// A file without its content, or a folder without its names, by its inode number. What it is to hold is
/// what the state has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfilled {
    pub id: FileId,
    pub is_dir: bool,
    /// Some of its content may be there: written by a recovery that was cut off, by nobody else.
    pub begun: bool,
    /// When the file was made: a number may come back with another file behind it.
    pub birth: Option<FileTime>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key::hex;
    use crate::format::value::{pack, unpack};

    #[test]
    fn golden_bytes() {
        let filling = Filling {
            places: vec!["file:///b".to_owned()],
            password: PasswordSource::Environment,
            set: 3,
            epoch: Epoch(7),
            first: vec!["db/".to_owned()],
            jobs: 0,
            began: Timestamp(-1),
            files: 300,
            bytes: 1,
        };
        let (url, first) = (hex(b"file:///b"), hex(b"db/"));
        let expected = format!("010109{url}0303070103{first}0001ac0201");
        assert_eq!(hex(&pack(&filling)), expected);
        assert_eq!(unpack::<Filling>(&pack(&filling)), Ok(filling));
        let unfilled = Unfilled {
            id: FileId(9),
            is_dir: true,
            begun: false,
            birth: Some(FileTime { sec: 1, nsec: 2 }),
        };
        assert_eq!(hex(&pack(&unfilled)), "01090100010202");
        assert_eq!(unpack::<Unfilled>(&pack(&unfilled)), Ok(unfilled));
    }
}
