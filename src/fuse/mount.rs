//! Mounting and unmounting, done here because fuser 0.18 may unmount the volume below.
//!
//! Invariants:
//!  1. Nothing is unmounted but the mount that we made: it is known by its mount id, found again by
//!     that, and the directory below is kept open, so that what it lies on is busy.
//!  2. No descriptor of ours lies inside the mount, or it could never be unmounted.

use crate::control::mounts::{Mount, Mounts};
use crate::fuse::connection::Connection;
use crate::fuse::error::FuseError;
use crate::fuse::fusermount::Fusermount;
use crate::fuse::{Access, Options};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Who mounted decides how it is unmounted.
#[derive(Debug)]
enum By {
    Root,
    User(Fusermount),
}

/// A mount, and the descriptor through which it is served.
#[derive(Debug)]
pub struct Mounted {
    /// Taken by the session.
    device: Option<OwnedFd>,
    /// Where it was made; it may have been moved since with a directory above it.
    path: PathBuf,
    /// The covered directory (invariant 1).
    _below: OwnedFd,
    id: u64,
    connection: Connection,
    by: By,
}

/// Mounts over `mountpoint`. `source` is shown as what is mounted, for others to find it by. The
/// session has to begin at once: until then whoever enters waits.
///
/// # Errors
/// No FUSE, no permission, no such directory.
pub fn mount(source: &Path, mountpoint: &Path, options: &Options) -> Result<Mounted, FuseError> {
    let failed = |source| FuseError::Mount {
        path: mountpoint.to_path_buf(),
        source,
    };
    let path = std::fs::canonicalize(mountpoint).map_err(failed)?;
    let source = std::fs::canonicalize(source).map_err(failed)?;
    let below = open_dir(&path).map_err(failed)?;
    let (device, by) = if rustix::process::geteuid().is_root() {
        let device = open_device()?;
        mount_as_root(&device, below.as_fd(), &source, options).map_err(|source| {
            let path = path.clone();
            match source.raw_os_error() {
                Some(libc::EPERM) => FuseError::NotPermitted { path },
                _ => FuseError::Mount { path, source },
            }
        })?;
        (device, By::Root)
    } else {
        let fusermount = Fusermount::find()?;
        let device = fusermount.mount(&source, &path, options)?;
        (device, By::User(fusermount))
    };
    let entry = find_new(&path)?;
    Ok(Mounted {
        device: Some(device),
        path,
        _below: below,
        id: entry.id,
        connection: Connection::new(entry.device.1),
        by,
    })
}

impl Mounted {
    /// Where it was mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The connection to the kernel.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The descriptor by which the kernel talks to us; only the first caller gets it.
    pub(super) fn take_device(&mut self) -> Option<OwnedFd> {
        self.device.take()
    }

    /// Whether it is still there, anywhere in the tree.
    pub fn is_attached(&self) -> bool {
        // Not known is not gone.
        self.entry().map_or(true, |entry| entry.is_some())
    }

    /// A plain unmount.
    ///
    /// # Errors
    /// EBUSY while anybody uses it, or something else is mounted over it; EINVAL when it is not
    /// mounted any more.
    pub fn unmount(&self) -> io::Result<()> {
        let path = self.place()?;
        match &self.by {
            By::Root => {
                // Only to see that it is ours: it must be closed before the unmount.
                drop(self.open_root(&path)?);
                Ok(rustix::mount::unmount(&path, UnmountFlags::NOFOLLOW)?)
            }
            By::User(fusermount) => fusermount.unmount(&path, false),
        }
    }

    /// Takes it out of the tree though it is in use. Whoever is inside is still served: `abort` has
    /// to follow.
    ///
    /// # Errors
    /// EINVAL when it is not mounted any more; what the system answers.
    pub(super) fn detach(&self) -> io::Result<()> {
        let path = self.place()?;
        match &self.by {
            By::Root => {
                let root = self.open_root(&path)?;
                let path = format!("/proc/self/fd/{}", root.as_raw_fd());
                if !self.connection.can_abort() {
                    // Another way to abort: it answers EBUSY, but the connection is cut.
                    let _ = rustix::mount::unmount(&path, UnmountFlags::FORCE);
                }
                Ok(rustix::mount::unmount(&path, UnmountFlags::DETACH)?)
            }
            By::User(fusermount) => fusermount.unmount(&path, true),
        }
    }

    /// Cuts the connection: whoever is inside gets ENOTCONN, nobody is served any more.
    ///
    /// # Errors
    /// An ordinary user can do it only where the control file system of FUSE is mounted.
    pub(super) fn abort(&self) -> io::Result<()> {
        self.connection.abort()
    }

    fn entry(&self) -> io::Result<Option<Mount>> {
        find(self.id)
    }

    /// Where it is now.
    fn place(&self) -> io::Result<PathBuf> {
        let gone = || io::Error::from_raw_os_error(libc::EINVAL);
        Ok(self.entry()?.ok_or_else(gone)?.point)
    }

    /// The root of the mount, if nothing is mounted over it.
    fn open_root(&self, path: &Path) -> io::Result<OwnedFd> {
        let root = open_dir(path)?;
        if mount_id(root.as_fd())? == self.id {
            Ok(root)
        } else {
            Err(io::Error::from_raw_os_error(libc::EBUSY))
        }
    }
}

/// A plain unmount of a mount of ours that another process serves.
///
/// # Errors
/// EBUSY while anybody uses it; what else the kernel, or fusermount3, says.
pub fn unmount(point: &Path) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        Ok(rustix::mount::unmount(point, UnmountFlags::NOFOLLOW)?)
    } else {
        Fusermount::find()
            .map_err(io::Error::other)?
            .unmount(point, false)
    }
}

/// Detaches a mount of ours that no session of this process serves (its daemon is dead, or hangs)
/// and cuts its connection. `minor` is that of the mount's device.
///
/// # Errors
/// What the kernel, or fusermount3, says.
pub fn take_off(point: &Path, minor: u32) -> io::Result<()> {
    let connection = Connection::new(minor);
    if rustix::process::geteuid().is_root() {
        if !connection.can_abort() {
            let _ = rustix::mount::unmount(point, UnmountFlags::FORCE);
        }
        rustix::mount::unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    } else {
        Fusermount::find()
            .map_err(io::Error::other)?
            .unmount(point, true)?;
    }
    match connection.abort() {
        // The connection of a dead daemon has ended already; an ordinary user may not abort.
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}

impl Drop for Mounted {
    /// A mount without a session would make everybody wait for ever.
    fn drop(&mut self) {
        if self.device.is_some()
            && let Err(error) = self.detach()
        {
            log::error!("{} could not be unmounted: {error}", self.path.display());
        }
        // With the descriptor goes the connection.
    }
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn open_device() -> Result<OwnedFd, FuseError> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open("/dev/fuse", flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::NOENT | rustix::io::Errno::NODEV | rustix::io::Errno::NXIO => {
            FuseError::NoDevice
        }
        other => FuseError::Device(other.into()),
    })
}

/// setuid programs and devices stay what they are: for root the mount is transparent.
fn mount_as_root(
    device: &OwnedFd,
    over: BorrowedFd<'_>,
    source: &Path,
    options: &Options,
) -> io::Result<()> {
    let fs = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let fs = fs.as_fd();
    fsconfig_set_string(fs, "source", source)?;
    fsconfig_set_string(fs, "subtype", "rewindfs")?;
    fsconfig_set_string(fs, "fd", device.as_raw_fd().to_string())?;
    fsconfig_set_string(fs, "rootmode", "40000")?;
    fsconfig_set_string(fs, "user_id", "0")?;
    fsconfig_set_string(fs, "group_id", "0")?;
    fsconfig_set_flag(fs, "default_permissions")?;
    if options.access != Access::Owner {
        fsconfig_set_flag(fs, "allow_other")?;
    }
    if options.read_only {
        fsconfig_set_flag(fs, "ro")?;
    }
    fsconfig_create(fs)?;
    let attributes = if options.read_only {
        MountAttrFlags::MOUNT_ATTR_RDONLY
    } else {
        MountAttrFlags::empty()
    };
    let mount = fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let both_empty =
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", over, "", both_empty)?)
}

/// The mount on top at `path`, which must be the one just made.
fn find_new(path: &Path) -> Result<Mount, FuseError> {
    open_dir(path)
        .and_then(|root| mount_id(root.as_fd()))
        .and_then(find)
        .ok()
        .flatten()
        .ok_or_else(|| FuseError::Vanished {
            path: path.to_path_buf(),
        })
}

/// One of our mounts.
fn find(id: u64) -> io::Result<Option<Mount>> {
    Ok(Mounts::read()?.ours().find(|mount| mount.id == id).cloned())
}

/// Which mount a descriptor lies on; asks no file system.
fn mount_id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
        .ok_or_else(|| io::Error::other("the kernel does not tell the mount of a descriptor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_tells_its_mount() {
        let root = open_dir(Path::new("/proc")).expect("opened");
        let id = mount_id(root.as_fd()).expect("known");
        let mounts = Mounts::read().expect("read");
        assert_eq!(
            mounts.at(Path::new("/proc")).map(|mount| mount.id),
            Some(id)
        );
    }
}
