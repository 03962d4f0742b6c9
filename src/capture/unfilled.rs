//! A directory that is in use while it is recovered. What is still to come into it is recorded: of a
//! file without its content that content is known, and a folder without its names is not looked into.

use super::Recorder;
use crate::backing;
use crate::format::record::{Content, InodeVersion};
use crate::inodes::unfilled::Mark;
use crate::inodes::{Inode, Inodes};
use crate::store::{Store, StoreError};
use std::os::fd::AsFd;
use std::sync::Arc;

/// Takes over what the store knows of files that are to be filled.
///
/// # Errors
/// A store that can't be read.
pub(super) fn load(inodes: &Inodes, store: &Store) -> Result<(), StoreError> {
    if !store.is_filling() {
        return Ok(());
    }
    let unfilled = inodes.unfilled();
    unfilled.begin();
    store.each_unfilled(&mut |ino, mark| {
        let mark = Mark {
            id: mark.id,
            is_dir: mark.is_dir,
            begun: mark.begun,
        };
        unfilled.insert(ino, mark);
    })
}

impl Recorder {
    /// The content that a file is still to get, and its size.
    ///
    /// # Errors
    /// A store that can't be read.
    pub(super) fn to_be_filled(
        &self,
        inode: &Arc<Inode>,
    ) -> Result<Option<(Content, u64)>, StoreError> {
        let Some(mark) = self.inodes.unfilled().file(inode) else {
            return Ok(None);
        };
        let Some(filling) = self.store.filling()? else {
            return Ok(None);
        };
        if !self.is_still_it(inode, mark)? {
            return Ok(None);
        }
        let found = self.store.view().inode_at(mark.id, filling.epoch)?;
        let Some((_, InodeVersion::Present(record))) = found else {
            return Ok(None);
        };
        if !mark.begun && self.was_written(inode, record.size) {
            return Ok(None);
        }
        Ok(Some((record.content, record.size)))
    }

    /// Whether somebody wrote to a file that is to be filled: while it was not mounted.
    pub fn was_written(&self, inode: &Arc<Inode>, size: u64) -> bool {
        let look = || {
            let file = self.inodes.data(inode, false)?;
            let stat = backing::stat_fd(file.as_fd())?;
            Ok::<_, std::io::Error>(stat.size != size || backing::has_data(file.as_fd(), size)?)
        };
        // What can't be looked at was not written either.
        look().unwrap_or(false)
    }

    /// Whether the file behind a number is the one that was marked.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn is_still_it(&self, inode: &Arc<Inode>, mark: Mark) -> Result<bool, StoreError> {
        let live = self.store.live(inode.ino)?;
        let same = live.is_some_and(|live| live.id == mark.id);
        Ok(same && live.is_some_and(|live| live.birth == self.birth_of(inode)))
    }

    /// Whether the names of a folder are still to come.
    pub(super) fn is_to_be_listed(&self, directory: &Arc<Inode>) -> bool {
        let mark = self.inodes.unfilled().of(directory.ino);
        mark.is_some_and(|mark| mark.is_dir && self.is_still_it(directory, mark).unwrap_or(true))
    }

    /// Whether a scan is under way.
    pub fn is_scanning(&self) -> bool {
        self.scan.is_running()
    }
}
