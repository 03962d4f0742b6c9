//! The second way to a daemon: a socket that everybody can reach. The store of a mount by root is
//! closed to all others, and so is the socket in it; the owner of the directory, and whoever wants
//! to know what is recorded, finds this one by the device number of the mount and its store: the
//! number alone is given to another mount while the daemon of the last may still be at work.
//!
//! 1. The folder is root's, so nobody else can stand in for a daemon there.
//! 2. What comes through it is judged by who connected (`access.rs`), not by the way he took.

use super::mounts::Mount;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where the doors are.
const FOLDER: &str = "/run/rewindfs";

/// Where the door of a mount is.
pub fn path(mount: &Mount) -> PathBuf {
    let store = blake3::hash(mount.source.as_bytes()).to_hex();
    Path::new(FOLDER).join(format!("{}{}", of_number(mount), &store[..16]))
}

/// With this begin the names of the doors of all mounts that had this device number.
fn of_number(mount: &Mount) -> String {
    let (major, minor) = mount.device;
    format!("{major}-{minor}-")
}

/// Takes away what daemons that were killed have left: the number is this mount's now.
fn sweep(folder: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_bytes().starts_with(prefix.as_bytes()) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// An open door; closed when it is dropped.
pub struct Door {
    path: PathBuf,
    /// Device and inode number of the socket.
    identity: (u64, u64),
    pub(super) listener: UnixListener,
}

impl Door {
    /// Opens the door of a mount of root's.
    ///
    /// # Errors
    /// When the folder is not root's alone, or the socket can't be made.
    pub fn open(mount: &Mount) -> io::Result<Door> {
        match fs::DirBuilder::new().mode(0o755).create(FOLDER) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let folder = fs::symlink_metadata(FOLDER)?;
        if !folder.is_dir() || folder.uid() != 0 || folder.mode() & 0o022 != 0 {
            let text = format!("{FOLDER} is not a folder that root alone can write");
            return Err(io::Error::other(text));
        }
        // It was made as the umask of whoever mounted wanted it.
        fs::set_permissions(FOLDER, fs::Permissions::from_mode(0o755))?;
        sweep(Path::new(FOLDER), &of_number(mount))?;
        Door::at(path(mount))
    }

    fn at(path: PathBuf) -> io::Result<Door> {
        // Left by a daemon that was killed: the number is this mount's now.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        let made = fs::symlink_metadata(&path)?;
        let door = Door {
            path,
            identity: (made.dev(), made.ino()),
            listener,
        };
        fs::set_permissions(&door.path, fs::Permissions::from_mode(0o666))?;
        door.listener.set_nonblocking(true)?;
        Ok(door)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // The number of a mount that is gone is given to the next one, whose door this may be now.
        let is_own = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if is_own && let Err(error) = fs::remove_file(&self.path) {
            log::debug!("{}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(device: (u32, u32), store: &str) -> Mount {
        Mount {
            id: 1,
            parent: 0,
            device,
            point: PathBuf::from("/work"),
            kind: String::new(),
            source: store.into(),
        }
    }

    #[test]
    fn the_door_of_another_mount_with_the_same_number_is_another() {
        let ours = mount((0, 60), "/store");
        assert_eq!(path(&ours), path(&mount((0, 60), "/store")));
        assert_ne!(path(&ours), path(&mount((0, 60), "/other")));
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["0-60-a", "0-60-b", "0-6-a", "0-600-a"] {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        sweep(folder.path(), &of_number(&ours)).expect("swept");
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 2);
    }

    #[test]
    fn who_leaves_closes_his_own_door_and_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0-60");
        let old = Door::at(path.clone()).expect("a door");
        let new = Door::at(path.clone()).expect("a door");
        drop(old);
        assert!(path.exists(), "the door of the next mount");
        drop(new);
        assert!(!path.exists());
    }
}
