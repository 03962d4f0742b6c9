//! The kernel's control files of one FUSE connection.

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::io;
use std::os::fd::OwnedFd;

/// Where the control file system is mounted, if it is.
const CONTROL: &str = "/sys/fs/fuse/connections";
/// KiB that the kernel reads ahead: with the usual 128 it never asks for more at once.
const READ_AHEAD: &str = "1024";

/// A connection, by its number.
#[derive(Clone, Debug)]
pub(super) struct Connection(u32);

impl Connection {
    /// `minor` is that of the mount's device.
    pub fn new(minor: u32) -> Connection {
        Connection(minor)
    }

    pub fn number(&self) -> u32 {
        self.0
    }

    /// Whether `abort` has a way to do it.
    pub fn can_abort(&self) -> bool {
        self.open_abort().is_ok()
    }

    /// Ends the connection: all requests fail, the event loops end. No error if it has ended.
    ///
    /// # Errors
    /// There is no control file system, and we can't mount one.
    pub fn abort(&self) -> io::Result<()> {
        match self.open_abort() {
            Ok(file) => {
                rustix::io::write(file, b"1")?;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Lets the kernel read ahead in pieces as large as we serve. Best effort: only root may.
    pub fn set_read_ahead(&self) {
        let path = format!("/sys/class/bdi/0:{}/read_ahead_kb", self.0);
        if let Err(error) = std::fs::write(&path, READ_AHEAD) {
            log::debug!("{path}: {error}");
        }
    }

    /// NotFound: the control files are there, the connection is not.
    fn open_abort(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let control = control()?;
        let name = format!("{}/abort", self.0);
        Ok(rustix::fs::openat(control, name, flags, Mode::empty())?)
    }
}

/// The control file system: where it is mounted, or, as root, mounted for us alone.
fn control() -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if let Ok(dir) = rustix::fs::open(CONTROL, flags, Mode::empty())
        && rustix::fs::fstatfs(&dir)?.f_type == FUSE_CTL_MAGIC
    {
        return Ok(dir);
    }
    let unavailable = |error: rustix::io::Errno| {
        io::Error::other(format!("{CONTROL} is not mounted, and can't be: {error}"))
    };
    let fs = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC).map_err(unavailable)?;
    fsconfig_create(&fs).map_err(unavailable)?;
    let attributes = MountAttrFlags::empty();
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(unavailable)
}

/// FUSE_CTL_SUPER_MAGIC
const FUSE_CTL_MAGIC: rustix::fs::FsWord = 0x6573_5543;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_has_ended_is_aborted_without_complaint() {
        let none = Connection::new(0xf_ffff);
        if control().is_ok() {
            assert!(!none.can_abort());
            none.abort().expect("nothing to do");
        }
    }
}
