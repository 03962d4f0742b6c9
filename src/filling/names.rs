//! The names of a folder: everything that stood in it is made, with its attributes and sizes, and
//! without content.
//!
//! What is there already was made by a listing that was cut off: nobody else has seen the folder. But
//! bytes are nobody's but a user's: what has some stays as it is.

use super::error::FillError;
use crate::backing::{self, SetTime, Stat};
use crate::format::filling::Unfilled;
use crate::format::record::{Content, FileTime, Inode as Record, InodeVersion, Kind, LiveEntry};
use crate::id::{Epoch, FileId};
use crate::inodes::{Inode, Inodes};
use crate::limits;
use crate::restore;
use crate::store::View;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Files with several names, of which one is made: found by what they are.
pub type Links = HashMap<FileId, Option<OwnedFd>>;

/// Makes names.
pub struct Names<'a> {
    pub inodes: &'a Inodes,
    pub view: &'a View<'a>,
    /// The state that the directory is to hold.
    pub epoch: Epoch,
    /// Each file that is in it is to have all its names; the others are made by themselves.
    pub links: Links,
}

/// What was made.
#[derive(Default)]
pub struct Listed {
    pub marks: Vec<(u64, Unfilled)>,
    pub live: Vec<(u64, Option<LiveEntry>)>,
    /// The folders in it, with their numbers.
    pub folders: Vec<(Vec<u8>, FileId)>,
    /// What the state does not have: names that are not there.
    pub lost: u64,
    /// Attributes that could not be set.
    pub faults: Vec<String>,
}

impl Names<'_> {
    /// Makes all names of a folder.
    ///
    /// # Errors
    /// What can't be made or read; some of it may be there then.
    pub fn list(&mut self, directory: &Arc<Inode>, id: FileId) -> Result<Listed, FillError> {
        let path = directory.path(self.inodes.backing().root())?;
        let before = backing::stat_fd(path.as_fd())?;
        self.inodes.unfilled().keep_look(before);
        let made = self.make_all(path.as_fd(), id, &before);
        let times = (SetTime::At(before.atime), SetTime::At(before.mtime));
        let restored = backing::utimens_fd(path.as_fd(), times.0, times.1);
        let own = self.live_entry(path.as_fd(), id);
        self.inodes.unfilled().show(&before);
        restored?;
        let mut listed = made?;
        listed.live.push((directory.ino, own?));
        Ok(listed)
    }

    fn make_all(
        &mut self,
        path: BorrowedFd<'_>,
        id: FileId,
        before: &Stat,
    ) -> Result<Listed, FillError> {
        // Root needs no permission.
        let denied = !self.inodes.backing().is_root() && before.mode & 0o700 != 0o700;
        if denied {
            backing::chmod_fd(path, (before.mode & 0o7777) | 0o700)?;
        }
        let made = self.make_pages(path, id);
        if denied {
            backing::chmod_fd(path, before.mode & 0o7777)?;
        }
        made
    }

    fn make_pages(&mut self, path: BorrowedFd<'_>, id: FileId) -> Result<Listed, FillError> {
        let mut listed = Listed::default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self
                .view
                .list_at(id, self.epoch, after.as_deref(), limits::DIR_PAGE)?;
            let is_last = page.len() < limits::DIR_PAGE;
            for (name, id, _) in &page {
                let found = self.view.inode_at(*id, self.epoch)?;
                let Some((version, InodeVersion::Present(record))) = found else {
                    listed.lost += 1;
                    continue;
                };
                self.make(path, name, (*id, version), &record, &mut listed)?;
            }
            if is_last {
                return Ok(listed);
            }
            after = page.into_iter().next_back().map(|(name, ..)| name);
        }
    }

    fn make(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        (id, version): (FileId, Epoch),
        record: &Record,
        listed: &mut Listed,
    ) -> Result<(), FillError> {
        if record.kind == Kind::File && record.content.is_missing() {
            listed.lost += u64::from(!record.is_left_out());
            return Ok(());
        }
        if let Some(Some(first)) = self.links.get(&id) {
            return Ok(link(first.as_fd(), dir, name)?);
        }
        let fd = match backing::open_path_at(dir, name) {
            Ok(fd) => match is_ours(fd.as_fd(), record)? {
                true => fd,
                false => return Ok(()),
            },
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                make_one(dir, name, record)?
            }
            Err(error) => return Err(error.into()),
        };
        if let Err(fault) = restore::set_attributes(fd.as_fd(), id, record) {
            listed.faults.push(fault);
        }
        let stat = backing::stat_fd(fd.as_fd())?;
        let ino = self.inodes.number(&stat);
        let live = live(fd.as_fd(), &stat, id, version)?;
        let is_dir = record.kind == Kind::Dir;
        let is_file = matches!(record.content, Content::Chunk(_) | Content::List(_));
        if is_dir || is_file {
            let mark = Unfilled {
                id,
                is_dir,
                begun: false,
                birth: live.birth,
            };
            listed.marks.push((ino, mark));
        }
        listed.live.push((ino, Some(live)));
        if is_dir {
            listed.folders.push((name.to_vec(), id));
        }
        if let Some(first) = self.links.get_mut(&id) {
            *first = Some(fd);
        }
        Ok(())
    }

    /// What is to be noted of files with several names, now that they have them.
    ///
    /// # Errors
    /// What looking at them says.
    pub fn linked(&self) -> Result<Vec<(u64, Option<LiveEntry>)>, FillError> {
        let mut linked = Vec::new();
        for (id, first) in &self.links {
            if let Some(first) = first {
                let stat = backing::stat_fd(first.as_fd())?;
                let ino = self.inodes.number(&stat);
                linked.push((ino, self.live_entry(first.as_fd(), *id)?));
            }
        }
        Ok(linked)
    }

    fn live_entry(&self, fd: BorrowedFd<'_>, id: FileId) -> Result<Option<LiveEntry>, FillError> {
        let stat = backing::stat_fd(fd)?;
        let found = self.view.inode_at(id, self.epoch)?;
        let (version, _) = found.ok_or(FillError::NotThere)?;
        Ok(Some(live(fd, &stat, id, version)?))
    }
}

/// What is noted of a file or folder that we have made so. Its modification time is one of the past: a
/// change, however soon after, shows by that.
pub fn live(
    fd: BorrowedFd<'_>,
    stat: &Stat,
    id: FileId,
    epoch: Epoch,
) -> std::io::Result<LiveEntry> {
    let racy = i64::try_from(limits::RACY.as_secs()).unwrap_or(2);
    let looked = FileTime {
        sec: stat.ctime.sec.saturating_add(racy + 1),
        nsec: stat.ctime.nsec,
    };
    Ok(LiveEntry {
        id,
        birth: backing::birth(fd).ok().flatten(),
        size: stat.size,
        mtime: stat.mtime,
        ctime: stat.ctime,
        looked,
        epoch,
    })
}

/// Whether what stands there is what a listing left that was cut off.
fn is_ours(fd: BorrowedFd<'_>, record: &Record) -> Result<bool, FillError> {
    let stat = backing::stat_fd(fd)?;
    if Kind::from_mode(stat.mode) != Some(record.kind) {
        return Ok(false);
    }
    if record.kind != Kind::File {
        return Ok(true);
    }
    let file = match backing::reopen(fd, true) {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            backing::chmod_fd(fd, 0o600)?;
            backing::reopen(fd, true)?
        }
        Err(error) => return Err(error.into()),
    };
    if backing::has_data(file.as_fd(), u64::MAX)? {
        return Ok(false);
    }
    backing::truncate(file.as_fd(), record.size)?;
    Ok(true)
}

fn make_one(dir: BorrowedFd<'_>, name: &[u8], record: &Record) -> Result<OwnedFd, FillError> {
    match record.kind {
        Kind::File => {
            let fd = backing::create_at(dir, name, 0o600)?;
            if record.size > 0 {
                backing::truncate(fd.as_fd(), record.size)?;
            }
            return Ok(fd);
        }
        Kind::Dir => backing::mkdir_at(dir, name, 0o700)?,
        Kind::Symlink => backing::symlink_at(&record.target, dir, name)?,
        kind => backing::mknod_at(dir, name, kind.mode_bits() | 0o600, record.rdev)?,
    }
    Ok(backing::open_path_at(dir, name)?)
}

fn link(first: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &[u8]) -> std::io::Result<()> {
    match backing::link_fd_at(first, dir, name) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            let (own, there) = (backing::stat_fd(first)?, backing::stat_at(dir, name)?);
            match own.ino == there.ino {
                true => Ok(()),
                false => Err(error),
            }
        }
        linked => linked,
    }
}
