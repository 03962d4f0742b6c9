//! Attributes of what a descriptor refers to: reading and changing them.
//!
//! All of it works on O_PATH descriptors of any type of file.

use crate::backing::proc_path;
use crate::format::record::FileTime;
use rustix::fs::{AtFlags, Gid, Mode, StatxFlags, Timespec, Timestamps, Uid};
use std::io;
use std::os::fd::BorrowedFd;

/// What fstat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    pub size: u64,
    /// Units of 512 bytes.
    pub blocks: u64,
    pub blksize: u32,
    pub atime: FileTime,
    pub mtime: FileTime,
    pub ctime: FileTime,
}

impl Stat {
    // The widths of these fields differ between architectures.
    #[allow(clippy::unnecessary_cast)]
    fn from_kernel(stat: &rustix::fs::Stat) -> Stat {
        let time = |sec: i64, nsec: u64| FileTime {
            sec,
            nsec: u32::try_from(nsec).unwrap_or(0),
        };
        Stat {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            mode: stat.st_mode as u32,
            nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            uid: stat.st_uid,
            gid: stat.st_gid,
            rdev: stat.st_rdev as u64,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
            blksize: u32::try_from(stat.st_blksize).unwrap_or(u32::MAX),
            atime: time(stat.st_atime as i64, stat.st_atime_nsec as u64),
            mtime: time(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            ctime: time(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        }
    }
}

/// fstat.
///
/// # Errors
/// What the kernel answers.
pub fn stat_fd(fd: BorrowedFd<'_>) -> io::Result<Stat> {
    Ok(Stat::from_kernel(&rustix::fs::fstat(fd)?))
}

/// fstatat, without following a symlink.
///
/// # Errors
/// What the kernel answers.
pub fn stat_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Stat> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(Stat::from_kernel(&stat))
}

/// When the file was made; `None` where the file system does not know it.
///
/// # Errors
/// What the kernel answers.
pub fn birth(fd: BorrowedFd<'_>) -> io::Result<Option<FileTime>> {
    let statx = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME)?;
    let known = statx.stx_mask & StatxFlags::BTIME.bits() != 0;
    Ok(known.then_some(FileTime {
        sec: statx.stx_btime.tv_sec,
        nsec: statx.stx_btime.tv_nsec,
    }))
}

/// chmod. A symlink has no mode of its own on Linux: EOPNOTSUPP.
///
/// Through /proc/self/fd, because fchmodat2 came with Linux 6.6 and does no more than this.
///
/// # Errors
/// What the kernel answers.
pub fn chmod_fd(fd: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::chmod(proc_path(fd), permissions(mode))?)
}

/// chown of the file itself, symlinks too; `None` leaves that owner as it is.
///
/// # Errors
/// What the kernel answers.
pub fn chown_fd(fd: BorrowedFd<'_>, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    // Linux reads -1 as "keep", and the wrapper asserts that nobody passes it for an id.
    let id = |id: Option<u32>| id.filter(|&id| id != u32::MAX);
    Ok(rustix::fs::chownat(
        fd,
        "",
        id(uid).map(Uid::from_raw),
        id(gid).map(Gid::from_raw),
        AtFlags::EMPTY_PATH,
    )?)
}

/// What to do with one of a file's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    Keep,
    Now,
    At(FileTime),
}

impl SetTime {
    fn timespec(self) -> Timespec {
        let special = |nsec| Timespec {
            tv_sec: 0,
            tv_nsec: nsec,
        };
        match self {
            SetTime::Keep => special(rustix::fs::UTIME_OMIT),
            SetTime::Now => special(rustix::fs::UTIME_NOW),
            SetTime::At(time) => Timespec {
                tv_sec: time.sec,
                tv_nsec: time.nsec.into(),
            },
        }
    }
}

/// utimensat of the file itself, symlinks too.
///
/// # Errors
/// What the kernel answers.
pub fn utimens_fd(fd: BorrowedFd<'_>, atime: SetTime, mtime: SetTime) -> io::Result<()> {
    let times = Timestamps {
        last_access: atime.timespec(),
        last_modification: mtime.timespec(),
    };
    Ok(rustix::fs::utimensat(fd, "", &times, AtFlags::EMPTY_PATH)?)
}

/// What statvfs says of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Units of `frsize`, as are `bfree` and `bavail`.
    pub blocks: u64,
    pub bfree: u64,
    pub bavail: u64,
    pub files: u64,
    pub ffree: u64,
    pub bsize: u32,
    pub namelen: u32,
    pub frsize: u32,
}

impl Space {
    /// Size of the file system.
    pub fn total_bytes(&self) -> u64 {
        self.blocks.saturating_mul(self.frsize.into())
    }

    /// What ordinary users can still fill.
    pub fn available_bytes(&self) -> u64 {
        self.bavail.saturating_mul(self.frsize.into())
    }

    /// The same in percent of the whole, rounded down; 100 of a file system without size.
    pub fn available_percent(&self) -> u64 {
        match self.total_bytes() {
            0 => 100,
            total => {
                let percent = u128::from(self.available_bytes()) * 100 / u128::from(total);
                u64::try_from(percent).unwrap_or(100)
            }
        }
    }
}

/// statvfs of the file system that a descriptor lies on.
///
/// # Errors
/// What the kernel answers.
pub fn space(fd: BorrowedFd<'_>) -> io::Result<Space> {
    let stat = rustix::fs::fstatvfs(fd)?;
    let narrow = |wide: u64| u32::try_from(wide).unwrap_or(u32::MAX);
    Ok(Space {
        blocks: stat.f_blocks,
        bfree: stat.f_bfree,
        bavail: stat.f_bavail,
        files: stat.f_files,
        ffree: stat.f_ffree,
        bsize: narrow(stat.f_bsize),
        namelen: narrow(stat.f_namemax),
        frsize: narrow(stat.f_frsize),
    })
}

/// The bits that chmod, open and mkdir take.
pub(super) fn permissions(mode: u32) -> Mode {
    Mode::from_bits_retain(mode & 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backing::open_path_at;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    fn dir() -> (tempfile::TempDir, std::fs::File) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let fd = std::fs::File::open(dir.path()).expect("it can be opened");
        (dir, fd)
    }

    #[test]
    fn attributes_of_an_o_path_descriptor_can_be_read_and_changed() {
        let (dir, fd) = dir();
        std::fs::write(dir.path().join("f"), b"hello").expect("written");
        let file = open_path_at(fd.as_fd(), b"f").expect("opened");
        chmod_fd(file.as_fd(), 0o4751).expect("chmod");
        let time = FileTime {
            sec: -2,
            nsec: 500_000_000,
        };
        utimens_fd(file.as_fd(), SetTime::Keep, SetTime::At(time)).expect("utimens");
        let stat = stat_fd(file.as_fd()).expect("stat");
        assert_eq!(stat.mode, libc::S_IFREG | 0o4751);
        assert_eq!((stat.size, stat.nlink, stat.mtime), (5, 1, time));
        assert_ne!(stat.atime, time);
        assert_eq!(stat_at(fd.as_fd(), b"f").expect("stat"), stat);
    }

    #[test]
    fn times_and_owner_of_a_symlink_are_its_own() {
        let (dir, fd) = dir();
        symlink("nowhere", dir.path().join("l")).expect("symlink");
        let link = open_path_at(fd.as_fd(), b"l").expect("opened");
        let time = FileTime { sec: 77, nsec: 3 };
        utimens_fd(link.as_fd(), SetTime::At(time), SetTime::Now).expect("utimens");
        let stat = stat_fd(link.as_fd()).expect("stat");
        chown_fd(link.as_fd(), Some(stat.uid), None).expect("chown");
        assert_eq!(stat.atime, time);
        assert!(stat.mtime.sec > 1_000_000_000);
        assert_eq!(stat.mode & libc::S_IFMT, libc::S_IFLNK);
        assert!(chmod_fd(link.as_fd(), 0o600).is_err());
    }

    #[test]
    fn space_is_counted_in_fragments() {
        let space = Space {
            blocks: 1000,
            bfree: 500,
            bavail: 250,
            files: 1,
            ffree: 1,
            bsize: 1 << 20,
            namelen: 255,
            frsize: 4096,
        };
        assert_eq!(space.total_bytes(), 4_096_000);
        assert_eq!(space.available_bytes(), 1_024_000);
        assert_eq!(space.available_percent(), 25);
    }

    #[test]
    fn space_of_a_real_file_system_is_not_empty() {
        let (_dir, fd) = dir();
        let space = super::space(fd.as_fd()).expect("statvfs");
        assert!(space.total_bytes() > 0 && space.namelen >= 143);
        birth(fd.as_fd()).expect("statx");
    }
}
