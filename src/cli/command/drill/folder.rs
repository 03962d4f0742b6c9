//! The private folder of a drill.

use super::lossy;
use crate::backing;
use crate::cli::error::Error;
use crate::cli::quantity::size;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What its name begins with.
const PREFIX: &str = ".rewindfs-drill-";
/// Of a disk, so much stays free: one part of so many.
const STAYS_FREE: u64 = 20;
/// Tries to make one that nobody clears in the same instant.
const TRIES: usize = 16;

/// One that is ours as long as this is held.
pub struct Private {
    path: PathBuf,
    /// Locked: it is in use.
    _held: OwnedFd,
}

impl Private {
    /// Makes one in the first of these folders with room for so many bytes.
    ///
    /// # Errors
    /// None has: how much is needed.
    pub fn make(folders: &[PathBuf], needed: u64) -> Result<Private, Error> {
        let mut found = Vec::new();
        for folder in folders {
            clear(folder);
            match room(folder) {
                Ok(room) if room >= needed => {
                    return make_in(folder).map_err(|source| Error::File {
                        path: folder.clone(),
                        source,
                    });
                }
                Ok(room) => found.push(format!("{} has {}", lossy(folder), size(room))),
                Err(error) => found.push(format!("{}: {error}", lossy(folder))),
            }
        }
        Err(Error::Usage(format!(
            "a drill needs room for {}: {}; say where there is: rewindfs drill --to FOLDER",
            size(needed),
            found.join(", ")
        )))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it and all that is in it.
    ///
    /// # Errors
    /// Something in it can't be removed.
    pub fn remove(self) -> io::Result<()> {
        remove(&self.path)
    }
}

/// Bytes that may be taken there.
fn room(folder: &Path) -> io::Result<u64> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let space = backing::space(open(folder, flags, Mode::empty())?.as_fd())?;
    let stays = space.total_bytes() / STAYS_FREE;
    Ok(space.available_bytes().saturating_sub(stays))
}

fn make_in(folder: &Path) -> io::Result<Private> {
    for _ in 0..TRIES {
        let made = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(folder)?;
        let path = made.keep();
        let held = hold(&path)?;
        // Who cleared in between has removed it.
        if let Some(held) = held
            && is_at(&held, &path)
        {
            return Ok(Private { path, _held: held });
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// `None`: somebody has it.
fn hold(path: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match open(path, flags, Mode::empty()) {
        Ok(opened) => opened,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(opened)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn is_at(held: &OwnedFd, path: &Path) -> bool {
    match (backing::stat_fd(held.as_fd()), fs::symlink_metadata(path)) {
        (Ok(held), Ok(there)) => (held.dev, held.ino) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Removes what drills of this user left there that did not end by themselves.
fn clear(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let own = rustix::process::geteuid().as_raw();
    for entry in entries.flatten() {
        let is_one = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let is_ours = || {
            entry
                .metadata()
                .is_ok_and(|meta| meta.is_dir() && meta.uid() == own)
        };
        if !is_one || !is_ours() {
            continue;
        }
        if let Ok(Some(held)) = hold(&entry.path()) {
            if let Err(error) = remove(&entry.path()) {
                log::warn!("what a drill left can't be removed: {error}");
            }
            drop(held);
        }
    }
}

/// Folders that came back without the right to change them get it first.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path);
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn open_up(path: &Path) {
    let mut dirs = vec![path.to_owned()];
    while let Some(dir) = dirs.pop() {
        // What can't be changed is named by who removes it.
        let _ = fs::set_permissions(&dir, fs::Permissions::from_mode(0o700));
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        dirs.extend(below.map(|entry| entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_cleared_and_what_is_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let all = [folder.path().to_owned()];
        let used = Private::make(&all, 1).unwrap();
        let left = Private::make(&all, 1).unwrap();
        let mode = fs::metadata(left.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let path = left.path().to_owned();
        fs::create_dir(path.join("closed")).unwrap();
        fs::set_permissions(path.join("closed"), PermissionsExt::from_mode(0o000)).unwrap();
        // As a process that is killed lets go of it.
        drop(left);
        let third = Private::make(&all, 1).unwrap();
        assert!(!path.exists());
        assert!(used.path().exists());
        used.remove().unwrap();
        third.remove().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn where_there_is_no_room_it_is_said_how_much_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let error = Private::make(&[folder.path().to_owned()], 1 << 60)
            .err()
            .unwrap();
        let error = error.to_string();
        assert!(error.contains("needs room for 1.0 EiB"), "{error}");
        assert!(error.contains("--to FOLDER"), "{error}");
    }
}
