//! A file, directory or anything else as it stands in a tree, be it of the past or of now, and
//! what a tree must answer to be compared with another or copied into it.

use crate::format::record::{FileTime, Kind};
use crate::history::HistoryError;
use std::io;
use std::os::fd::OwnedFd;

/// What can be told of an item without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub kind: Kind,
    /// 07777.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    pub atime: FileTime,
    pub mtime: FileTime,
    pub ctime: FileTime,
    pub nlink: u32,
    /// Bytes.
    pub size: u64,
    /// Equal for two names of one file, within one tree.
    pub same: u64,
    /// Device of the file system that it is on; 0 in a store.
    pub dev: u64,
}

/// An item of a tree.
#[derive(Debug)]
pub struct Item {
    pub facts: Facts,
    pub(super) handle: Handle,
}

/// How its tree finds it again.
#[derive(Debug)]
pub(super) enum Handle {
    /// An O_PATH descriptor.
    Open(OwnedFd),
    Recorded(Box<crate::history::Found>),
}

impl Item {
    /// The same item once more.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(super) fn again(&self) -> io::Result<Item> {
        let handle = match &self.handle {
            Handle::Open(fd) => Handle::Open(fd.try_clone()?),
            Handle::Recorded(found) => Handle::Recorded(found.clone()),
        };
        Ok(Item {
            facts: self.facts,
            handle,
        })
    }
}

/// Names and values, in bytewise order of the names.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    History(#[from] HistoryError),
    /// An item was given to a tree that it is not of.
    #[error("it is not in this tree")]
    Foreign,
}

/// A tree.
pub trait Source: Send + Sync {
    /// The directory that it begins with.
    ///
    /// # Errors
    /// When it can't be read, as of all that follow.
    fn top(&self) -> Result<Item, Fault>;
    /// What stands under a name of a directory; symlinks are not followed.
    fn child(&self, dir: &Item, name: &[u8]) -> Result<Option<Item>, Fault>;
    /// The names in a directory, in bytewise order.
    fn names(&self, dir: &Item) -> Result<Vec<Vec<u8>>, Fault>;
    /// The extended attributes, ACLs among them.
    fn xattrs(&self, item: &Item) -> Result<Xattrs, Fault>;
    /// The target of a symlink.
    fn target(&self, item: &Item) -> Result<Vec<u8>, Fault>;
    /// Whether it was left out when its state was made: a folder without its names, a file without
    /// its content.
    fn is_left_out(&self, item: &Item) -> bool;
    /// The bytes of a regular file.
    fn open(&self, item: &Item) -> Result<Box<dyn Bytes + '_>, Fault>;
}

/// The bytes of a regular file.
pub trait Bytes {
    /// Replaces `out` by the bytes from `offset` on, `len` at most: fewer at the end only.
    ///
    /// # Errors
    /// When they can't be read; then `out` is not to be relied on.
    fn read(&mut self, offset: u64, len: u32, out: &mut Vec<u8>) -> Result<(), Fault>;
    /// The first byte of data at or after `offset`, `None` if only a hole follows.
    ///
    /// # Errors
    /// When it can't be told.
    fn data(&mut self, offset: u64) -> Result<Option<u64>, Fault>;
    /// The first byte of a hole at or after `offset`, at most the size.
    ///
    /// # Errors
    /// When it can't be told.
    fn hole(&mut self, offset: u64) -> Result<u64, Fault>;
}

/// Goes down a path, given as names; `None` if it is not there.
///
/// # Errors
/// When a directory on the way can't be read.
pub fn walk(source: &dyn Source, path: &[Vec<u8>]) -> Result<Option<Item>, Fault> {
    let mut here = source.top()?;
    for name in path {
        if here.facts.kind != Kind::Dir {
            return Ok(None);
        }
        match source.child(&here, name)? {
            Some(child) => here = child,
            None => return Ok(None),
        }
    }
    Ok(Some(here))
}
