//! The content of a file: what it takes to have it here, and writing it.

use super::error::FillError;
use super::names;
use crate::backing::{self, SetTime, Stat};
use crate::format::record::{Content, InodeVersion, LiveEntry, Piece};
use crate::history::{History, Seek};
use crate::id::{Epoch, Hash};
use crate::inodes::unfilled::Mark;
use crate::inodes::{Inode, Inodes};
use crate::limits;
use crate::store::View;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// The one attribute that writing to a file takes away.
const CAPABILITY: &[u8] = b"security.capability";

/// What a file is to hold.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub content: Content,
    pub size: u64,
    /// The epoch of its version.
    pub version: Epoch,
}

/// What the state has of a file.
///
/// # Errors
/// It has nothing of it, or the store can't be read.
pub fn wanted(view: &View<'_>, mark: Mark, at: Epoch) -> Result<Wanted, FillError> {
    match view.inode_at(mark.id, at)? {
        Some((version, InodeVersion::Present(record))) => Ok(Wanted {
            content: record.content,
            size: record.size,
            version,
        }),
        _ => Err(FillError::NotThere),
    }
}

/// Chunks of a content that have not come. Of a list that has not come its pieces are not known.
///
/// # Errors
/// A store that can't be read.
pub fn lacking(view: &View<'_>, content: Content) -> Result<Vec<Hash>, FillError> {
    let mut lacking = Vec::new();
    match content {
        Content::Chunk(hash) | Content::List(hash) if view.index_entry(hash)?.is_none() => {
            lacking.push(hash);
        }
        Content::List(hash) => {
            for piece in &view.list(hash)?.pieces {
                if let Piece::Data { hash, .. } = piece
                    && view.index_entry(*hash)?.is_none()
                {
                    lacking.push(*hash);
                }
            }
        }
        _ => {}
    }
    Ok(lacking)
}

/// Writes all of a file. It looks as it did, but for the time of its last change; the answer is what is
/// to be noted of it. The caller holds its `io` lock and has marked it as begun, durably.
///
/// # Errors
/// What can't be read or written; then part of it is there.
pub fn fill(
    inodes: &Inodes,
    history: &History,
    inode: &Arc<Inode>,
    mark: Mark,
    wanted: &Wanted,
) -> Result<LiveEntry, FillError> {
    let path = inode.path(inodes.backing().root())?;
    let before = backing::stat_fd(path.as_fd())?;
    inodes.unfilled().keep_look(before);
    let filled = write(history, path.as_fd(), wanted, &before);
    let look = filled.and_then(|()| {
        let stat = backing::stat_fd(path.as_fd())?;
        Ok(names::live(path.as_fd(), &stat, mark.id, wanted.version)?)
    });
    if look.is_ok() {
        inodes.unfilled().made(inode.ino);
    }
    inodes.unfilled().show(&before);
    look
}

fn write(
    history: &History,
    path: BorrowedFd<'_>,
    wanted: &Wanted,
    before: &Stat,
) -> Result<(), FillError> {
    let capability = backing::get_xattr(path, CAPABILITY).ok();
    let file = writable(path)?;
    let copied = copy(history, file.as_fd(), wanted);
    let now = backing::stat_fd(path)?.mode & 0o7777;
    if now != before.mode & 0o7777 {
        backing::chmod_fd(path, before.mode & 0o7777)?;
    }
    if let Some(capability) = capability {
        backing::set_xattr(path, CAPABILITY, &capability, 0)?;
    }
    let (atime, mtime) = (SetTime::At(before.atime), SetTime::At(before.mtime));
    backing::utimens_fd(path, atime, mtime)?;
    copied
}

/// Its mode may deny that to its own owner.
fn writable(path: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    match backing::reopen(path, true) {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            let mode = backing::stat_fd(path)?.mode & 0o7777;
            backing::chmod_fd(path, mode | 0o600)?;
            backing::reopen(path, true)
        }
        open => open,
    }
}

fn copy(history: &History, file: BorrowedFd<'_>, wanted: &Wanted) -> Result<(), FillError> {
    let Wanted { content, size, .. } = *wanted;
    let mut at = 0;
    let mut bytes = Vec::new();
    loop {
        let view = history.view();
        let Some(data) = history.seek(&view, content, size, at, Seek::Data)? else {
            return Ok(());
        };
        let hole = history.seek(&view, content, size, data, Seek::Hole)?;
        let end = hole
            .unwrap_or(size)
            .min(data + u64::from(limits::MAX_WRITE));
        let len = u32::try_from(end - data).unwrap_or(limits::MAX_WRITE);
        bytes.clear();
        history.read(&view, content, size, data, len, &mut bytes)?;
        let mut done = 0;
        while done < bytes.len() {
            match backing::pwrite(file, &bytes[done..], data + done as u64) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        at = end;
    }
}
