//! The second way to a daemon: a socket that everybody can reach. The store of a mount by root is
//! closed to all others, and so is the socket in it; the owner of the directory, and whoever wants
//! to know what is recorded, finds this one by the device number of the mount.
//!
//! 1. The folder is root's, so nobody else can stand in for a daemon there.
//! 2. What comes through it is judged by who connected (`access.rs`), not by the way he took.

use super::mounts::Mount;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where the doors are.
const FOLDER: &str = "/run/rewindfs";

/// Where the door of a mount is.
pub fn path(mount: &Mount) -> PathBuf {
    let (major, minor) = mount.device;
    Path::new(FOLDER).join(format!("{major}-{minor}"))
}

/// An open door; closed when it is dropped.
pub struct Door {
    path: PathBuf,
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
        let path = path(mount);
        // Left by a daemon that was killed: the number is this mount's now.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        let door = Door { path, listener };
        fs::set_permissions(&door.path, fs::Permissions::from_mode(0o666))?;
        door.listener.set_nonblocking(true)?;
        Ok(door)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::debug!("{}: {error}", self.path.display());
        }
    }
}
