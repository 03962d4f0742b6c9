//! Reads every live file again and compares it with what is recorded of it: a disk that changes
//! bytes by itself, and who writes around the mount and sets the times back, leave size and times as
//! they were, and no tracking sees them. What is different is noted as changed, so that the next
//! state records it; what it was is not touched.
//!
//! A file that is being changed meanwhile is not looked at: what is noted of it is recorded anyway.

use super::deed::{ContentChange, next_data, read_full};
use super::{CaptureError, Patience, Recorder};
use crate::backing;
use crate::format::record::{Content, InodeVersion, Kind, LiveEntry, LostReason, Piece};
use crate::id::{Epoch, FileId, Hash};
use crate::inodes::Inode;
use crate::limits;
use crate::store::{StoreError, View};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// What was compared.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    pub files: u64,
    pub bytes: u64,
    /// The newest state before: it holds what files held then. `None`: there is none.
    pub before: Option<Epoch>,
    /// Paths of files whose bytes are others though size and times are not.
    pub changed: Vec<Vec<u8>>,
}

/// A directory on the way, pinned.
struct Below {
    directory: Arc<Inode>,
    id: FileId,
    path: Vec<u8>,
}

impl Recorder {
    /// Compares all files with the newest state. Waits for a scan first, and until all that was
    /// noted is recorded.
    ///
    /// # Errors
    /// `Cancelled`; the store or the directory can't be read.
    pub fn check_files(&self, patience: Patience<'_>) -> Result<Checked, CaptureError> {
        self.sync(patience)?;
        let newest = self.store.view().newest_epoch()?;
        let mut checked = Checked {
            before: newest,
            ..Checked::default()
        };
        let Some(newest) = newest else {
            return Ok(checked);
        };
        let directory = self.inodes.root().clone();
        self.inodes.pin(&directory);
        let mut stack = vec![Below {
            directory,
            id: FileId::ROOT,
            path: Vec::new(),
        }];
        let mut result = Ok(());
        while let Some(below) = stack.pop() {
            if result.is_ok() {
                result = self.check_below(&below, newest, &mut stack, &mut checked, patience);
            }
            self.inodes.unpin(&below.directory);
        }
        result.map(|()| checked)
    }

    fn check_below(
        &self,
        below: &Below,
        at: Epoch,
        stack: &mut Vec<Below>,
        checked: &mut Checked,
        patience: Patience<'_>,
    ) -> Result<(), CaptureError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = {
                let view = self.store.view();
                view.list_at(below.id, at, after.as_deref(), limits::DIR_PAGE)?
            };
            let Some((last, ..)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for (name, id, kind) in page {
                if (patience.cancelled)() {
                    return Err(CaptureError::Cancelled);
                }
                // Gone, or not for us: the tracking knows of it.
                let Ok((inode, _)) = self.inodes.find(&below.directory, &name) else {
                    continue;
                };
                let path = match &below.path[..] {
                    b"" => name,
                    above => [above, b"/", &name].concat(),
                };
                match (kind, inode.kind) {
                    (Kind::Dir, Kind::Dir) => {
                        self.inodes.pin(&inode);
                        let directory = inode;
                        stack.push(Below {
                            directory,
                            id,
                            path,
                        });
                    }
                    (Kind::File, Kind::File) => self.check_file(&inode, id, path, checked)?,
                    _ => {}
                }
            }
        }
    }

    fn check_file(
        &self,
        inode: &Arc<Inode>,
        id: FileId,
        path: Vec<u8>,
        checked: &mut Checked,
    ) -> Result<(), CaptureError> {
        if self.inodes.unfilled().file(inode).is_some() {
            return Ok(());
        }
        let Some(recorded) = self.unchanged(inode, id)? else {
            return Ok(());
        };
        let equal = match recorded.1 {
            Content::Lost(LostReason::NotImported | LostReason::LeftOut) | Content::Purged(_) => {
                return Ok(());
            }
            // Here it is, and can be recorded now.
            Content::Lost(_) | Content::Damaged(_) => return self.note_all(inode),
            content => {
                let view = self.store.view();
                match self
                    .open_cold(inode)
                    .and_then(|file| same(&view, &file, content))
                {
                    Ok(equal) => equal,
                    Err(error) => {
                        log::debug!("inode {} can't be compared: {error}", inode.ino);
                        return Ok(());
                    }
                }
            }
        };
        checked.files += 1;
        checked.bytes += recorded.2;
        // If it was changed meanwhile, that is why it is different.
        if equal || self.unchanged(inode, id)? != Some(recorded) {
            return Ok(());
        }
        self.note_all(inode)?;
        checked.changed.push(path);
        Ok(())
    }

    /// The newest recorded version of a file, its content and size, if size and times say that this
    /// is what the file holds, and nothing is noted that is not recorded yet.
    fn unchanged(
        &self,
        inode: &Arc<Inode>,
        id: FileId,
    ) -> Result<Option<(Epoch, Content, u64)>, StoreError> {
        if inode.track.lock().is_pending() {
            return Ok(None);
        }
        let view = self.store.view();
        let Some((epoch, InodeVersion::Present(record))) = view.inode_at(id, Epoch::MAX)? else {
            return Ok(None);
        };
        drop(view);
        let (Some(live), Ok(stat)) = (self.store.live(inode.ino)?, self.inodes.stat(inode)) else {
            return Ok(None);
        };
        let LiveEntry {
            size, mtime, ctime, ..
        } = live;
        let same = live.id == id && (size, mtime, ctime) == (stat.size, stat.mtime, stat.ctime);
        Ok(same.then_some((epoch, record.content, record.size)))
    }

    /// A descriptor of what is on the disk, not of what the kernel read of it long ago.
    fn open_cold(&self, inode: &Arc<Inode>) -> io::Result<OwnedFd> {
        let path = inode.path(self.inodes.backing().root())?;
        let file = backing::reopen(path.as_fd(), false)?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(file)
    }

    /// As if somebody had changed all of it, whom nobody knows.
    fn note_all(&self, inode: &Arc<Inode>) -> Result<(), CaptureError> {
        let actor = self.actor(0, 0);
        loop {
            let seen = self.signal.count();
            let io = inode.io.lock();
            match self.content(inode, &ContentChange::Resize(0), &actor) {
                Ok(_) => return Ok(()),
                Err(_) => {
                    drop(io);
                    self.signal.wait(seen, limits::LOCK_WAIT);
                }
            }
        }
    }
}

/// Whether a file holds what is recorded.
fn same(view: &View<'_>, file: &OwnedFd, content: Content) -> io::Result<bool> {
    let size = backing::stat_fd(file.as_fd())?.size;
    match content {
        Content::Empty => Ok(size == 0),
        Content::Chunk(hash) => holds(file, 0, size, hash),
        Content::List(list) => {
            let list = view.list(list).map_err(io::Error::other)?;
            let mut at = 0;
            for piece in &list.pieces {
                let same = match *piece {
                    Piece::Data { len, hash } => holds(file, at, u64::from(len), hash)?,
                    Piece::Hole { len } => is_zero(file, at, at + len)?,
                };
                if !same {
                    return Ok(false);
                }
                at += piece.len();
            }
            Ok(at == size)
        }
        Content::Lost(_) | Content::Purged(_) | Content::Damaged(_) => Ok(true),
    }
}

fn holds(file: &OwnedFd, at: u64, len: u64, hash: Hash) -> io::Result<bool> {
    let len = usize::try_from(len).map_err(io::Error::other)?;
    let mut bytes = vec![0; len.min(limits::CHUNK_PLAIN_MAX as usize + 1)];
    let read = read_full(file.as_fd(), &mut bytes, at)?;
    Ok(read == len && Hash::of(&bytes) == hash)
}

fn is_zero(file: &OwnedFd, mut at: u64, end: u64) -> io::Result<bool> {
    let mut bytes = vec![0; limits::CHUNK_MAX as usize];
    while at < end {
        let (start, stop) = next_data(file.as_fd(), at, end)?;
        let mut from = start;
        while from < stop {
            let len =
                usize::try_from(stop - from).map_or(bytes.len(), |left| left.min(bytes.len()));
            let read = read_full(file.as_fd(), &mut bytes[..len], from)?;
            if bytes[..read].iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            from += len as u64;
        }
        at = stop.max(at + 1);
    }
    Ok(true)
}
