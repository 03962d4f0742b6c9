//! The directory that is served, held from before the mount.

use crate::backing::stat::{Stat, birth, stat_fd};
use crate::format::record::RootIdentity;
use rustix::fs::{Mode, OFlags};
use rustix::mount::OpenTreeFlags;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The root of the live tree.
#[derive(Debug)]
pub struct Backing {
    root: OwnedFd,
    /// Keeps the detached clone of the mount attached to nothing but us; it would be dissolved
    /// with this descriptor.
    _clone: Option<OwnedFd>,
    stat: Stat,
    identity: RootIdentity,
    as_root: bool,
}

impl Backing {
    /// Takes hold of `dir`: as root by a detached clone of its mount, from which no `..` leads
    /// out and below which nothing that is mounted later can appear; else by a plain descriptor.
    ///
    /// # Errors
    /// What the kernel answers: ENOENT, ENOTDIR, EACCES ...
    pub fn open(dir: &Path) -> io::Result<Backing> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let plain = rustix::fs::open(dir, flags, Mode::empty())?;
        let as_root = rustix::process::geteuid().is_root();
        let (root, clone) = match as_root.then(|| clone_mount(plain.as_fd())) {
            Some(Ok(clone)) => {
                let root = rustix::fs::openat(&clone, ".", flags, Mode::empty())?;
                (root, Some(clone))
            }
            // Root of a container may not do this: a plain descriptor serves, as for any user.
            Some(Err(_)) | None => (plain, None),
        };
        let stat = stat_fd(root.as_fd())?;
        let path = std::fs::canonicalize(dir).unwrap_or_else(|_| PathBuf::from(dir));
        let identity = RootIdentity {
            fsid: hexadecimal(rustix::fs::fstatvfs(&root)?.f_fsid),
            ino: stat.ino,
            birth: birth(root.as_fd())?,
            path: path.as_os_str().as_bytes().to_vec(),
        };
        Ok(Backing {
            root,
            _clone: clone,
            stat,
            identity,
            as_root,
        })
    }

    /// A usable (not O_PATH) descriptor of the root; also the mount for `open_handle`.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The root's attributes when it was opened.
    pub fn root_stat(&self) -> Stat {
        self.stat
    }

    /// By what the store knows this directory again.
    pub fn identity(&self) -> RootIdentity {
        self.identity.clone()
    }

    /// syncfs of the file system of the root.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.root)?)
    }

    /// Whether we act with root's identity, and so for every user.
    pub fn is_root(&self) -> bool {
        self.as_root
    }
}

fn clone_mount(dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(rustix::mount::open_tree(dir, "", flags)?)
}

/// The eight bytes of a file-system id, little endian.
fn hexadecimal(fsid: u64) -> String {
    fsid.to_le_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backing::{DirStream, stat_at};

    #[test]
    fn a_directory_is_held_and_known_again() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        std::fs::write(dir.path().join("f"), b"x").expect("written");
        let backing = Backing::open(dir.path()).expect("opened");
        assert_eq!(stat_at(backing.root(), b"f").expect("stat").size, 1);
        assert_eq!(stat_fd(backing.root()).expect("stat"), backing.root_stat());
        let again = Backing::open(dir.path()).expect("opened");
        assert_eq!(again.identity(), backing.identity());
        assert_eq!(backing.identity().fsid.len(), 16);
        let other = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let other = Backing::open(other.path()).expect("opened");
        assert_ne!(other.identity().ino, backing.identity().ino);
        backing.sync().expect("syncfs");
        let mut names = Vec::new();
        DirStream::open(backing.root())
            .expect("opened")
            .read(0, &mut |entry| {
                names.push(entry.name.clone());
                true
            })
            .expect("read");
        assert!(names.contains(&b"f".to_vec()));
    }

    #[test]
    fn from_a_cloned_root_no_path_leads_out() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let backing = Backing::open(dir.path()).expect("opened");
        if backing._clone.is_none() {
            return;
        }
        let up = rustix::fs::statat(backing.root(), "..", rustix::fs::AtFlags::empty());
        assert_eq!(up.expect("stat").st_ino, backing.root_stat().ino);
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let refused = Backing::open(file.path()).expect_err("a file");
        assert_eq!(refused.raw_os_error(), Some(libc::ENOTDIR));
    }

    #[test]
    fn the_bytes_of_an_id_are_in_the_order_of_the_documented_form() {
        assert_eq!(hexadecimal(0x0102_0304_0506_0708), "0807060504030201");
    }
}
