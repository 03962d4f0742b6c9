//! Making, linking, renaming and removing names.

use crate::backing::open::one_component;
use crate::backing::proc_path;
use crate::backing::stat::permissions;
use rustix::fs::{AtFlags, CWD, FileType, RenameFlags};
use std::io;
use std::os::fd::BorrowedFd;

/// mknod; `mode` holds type and permissions, the thread's umask applies.
///
/// # Errors
/// What the kernel answers.
pub fn mknod_at(dir: BorrowedFd<'_>, name: &[u8], mode: u32, rdev: u64) -> io::Result<()> {
    one_component(name)?;
    let kind = FileType::from_raw_mode(mode & libc::S_IFMT);
    Ok(rustix::fs::mknodat(
        dir,
        name,
        kind,
        permissions(mode),
        rdev,
    )?)
}

/// mkdir; the thread's umask applies.
///
/// # Errors
/// What the kernel answers.
pub fn mkdir_at(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> io::Result<()> {
    one_component(name)?;
    Ok(rustix::fs::mkdirat(dir, name, permissions(mode))?)
}

/// symlink.
///
/// # Errors
/// What the kernel answers.
pub fn symlink_at(target: &[u8], dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    one_component(name)?;
    Ok(rustix::fs::symlinkat(target, dir, name)?)
}

/// A new link to what an O_PATH descriptor refers to.
///
/// # Errors
/// What the kernel answers; ENOENT also when the file has no name left.
pub fn link_fd_at(fd: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    one_component(name)?;
    match rustix::fs::linkat(fd, "", dir, name, AtFlags::EMPTY_PATH) {
        // The kernel says so to who lacks CAP_DAC_READ_SEARCH; /proc needs no privilege.
        Err(rustix::io::Errno::NOENT) => {
            let path = proc_path(fd);
            Ok(rustix::fs::linkat(
                CWD,
                path,
                dir,
                name,
                AtFlags::SYMLINK_FOLLOW,
            )?)
        }
        other => Ok(other?),
    }
}

/// unlink of anything but a directory.
///
/// # Errors
/// What the kernel answers.
pub fn unlink_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    one_component(name)?;
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
}

/// rmdir.
///
/// # Errors
/// What the kernel answers.
pub fn rmdir_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    one_component(name)?;
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

/// renameat2 with the flags as the kernel passed them on.
///
/// # Errors
/// What the kernel answers.
pub fn rename_at(
    from_dir: BorrowedFd<'_>,
    from: &[u8],
    to_dir: BorrowedFd<'_>,
    to: &[u8],
    flags: u32,
) -> io::Result<()> {
    one_component(from)?;
    one_component(to)?;
    let flags = RenameFlags::from_bits_retain(flags);
    Ok(rustix::fs::renameat_with(
        from_dir, from, to_dir, to, flags,
    )?)
}

/// The target of a symlink that is open as O_PATH.
///
/// # Errors
/// What the kernel answers; ENOENT when it is no symlink.
pub fn readlink_fd(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(fd, "", Vec::new())?.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backing::{open_path_at, stat_at, stat_fd};
    use std::fs::File;
    use std::os::fd::AsFd;

    fn dir() -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let fd = File::open(dir.path()).expect("it can be opened");
        (dir, fd)
    }

    #[test]
    fn every_kind_of_name_is_made_and_removed() {
        let (_dir, root) = dir();
        let root = root.as_fd();
        mknod_at(root, b"f", libc::S_IFREG | 0o640, 0).expect("mknod");
        mkdir_at(root, b"d", 0o700).expect("mkdir");
        symlink_at(b"d/../f", root, b"l").expect("symlink");
        let link = open_path_at(root, b"l").expect("opened");
        assert_eq!(readlink_fd(link.as_fd()).expect("readlink"), b"d/../f");
        let wrong = unlink_at(root, b"d").expect_err("a directory");
        assert_eq!(wrong.raw_os_error(), Some(libc::EISDIR));
        unlink_at(root, b"l").expect("unlink");
        unlink_at(root, b"f").expect("unlink");
        rmdir_at(root, b"d").expect("rmdir");
    }

    #[test]
    fn a_descriptor_is_linked_again_also_when_it_is_a_symlink() {
        let (_dir, root) = dir();
        let root = root.as_fd();
        symlink_at(b"x", root, b"l").expect("symlink");
        let link = open_path_at(root, b"l").expect("opened");
        link_fd_at(link.as_fd(), root, b"m").expect("link");
        assert_eq!(stat_fd(link.as_fd()).expect("stat").nlink, 2);
        assert_eq!(
            stat_at(root, b"m").expect("stat").ino,
            stat_fd(link.as_fd()).expect("stat").ino
        );
    }

    #[test]
    fn rename_passes_its_flags_on() {
        let (_dir, root) = dir();
        let root = root.as_fd();
        mkdir_at(root, b"a", 0o700).expect("mkdir");
        symlink_at(b"x", root, b"b").expect("symlink");
        let no_replace = rename_at(root, b"a", root, b"b", libc::RENAME_NOREPLACE);
        assert_eq!(
            no_replace.expect_err("exists").raw_os_error(),
            Some(libc::EEXIST)
        );
        rename_at(root, b"a", root, b"b", libc::RENAME_EXCHANGE).expect("exchange");
        let kind = |name: &[u8]| stat_at(root, name).expect("stat").mode & libc::S_IFMT;
        assert_eq!((kind(b"a"), kind(b"b")), (libc::S_IFLNK, libc::S_IFDIR));
        let strange = rename_at(root, b"a", root, b"b", 1 << 30);
        assert_eq!(
            strange.expect_err("unknown flag").raw_os_error(),
            Some(libc::EINVAL)
        );
    }
}
