//! Descriptors from names and from other descriptors.

use crate::backing::proc_path;
use crate::backing::stat::permissions;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Opens `name` in `dir` as O_PATH|O_NOFOLLOW|O_CLOEXEC: no permission on the file is needed and
/// nothing happens to it, whatever it is.
///
/// # Errors
/// What the kernel answers; EINVAL for a name that is not one plain component.
pub fn open_path_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    one_component(name)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

/// Opens for reading (or reading and writing) what any descriptor refers to.
///
/// # Errors
/// What the kernel answers; EINVAL for anything but a regular file or a directory, since opening
/// a FIFO waits for its other end and opening a device acts on it.
pub fn reopen(fd: BorrowedFd<'_>, write: bool) -> io::Result<OwnedFd> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::Directory) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
    let flags = access | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::openat(
        CWD,
        proc_path(fd),
        flags,
        Mode::empty(),
    )?)
}

/// openat(O_CREAT|O_EXCL|O_RDWR|O_NOFOLLOW): how an ordinary user makes files, since a mode of
/// 0444 would deny him the second open.
///
/// # Errors
/// What the kernel answers.
pub fn create_at(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> io::Result<OwnedFd> {
    one_component(name)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, permissions(mode))?)
}

/// Keeps resolution beneath the directory: no slash, no way up.
pub(super) fn one_component(name: &[u8]) -> io::Result<()> {
    let plain = !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/');
    if plain {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EINVAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn a_file_is_made_once_and_reopened_for_both() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = File::open(dir.path()).expect("opened");
        let mut made = File::from(create_at(root.as_fd(), b"f", 0o444).expect("made"));
        made.write_all(b"abc").expect("written");
        let again = create_at(root.as_fd(), b"f", 0o600).expect_err("exists");
        assert_eq!(again.raw_os_error(), Some(libc::EEXIST));
        let path = open_path_at(root.as_fd(), b"f").expect("opened");
        let mut text = String::new();
        File::from(reopen(path.as_fd(), false).expect("reopened"))
            .read_to_string(&mut text)
            .expect("read");
        assert_eq!(text, "abc");
    }

    #[test]
    fn only_files_and_directories_are_reopened() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = File::open(dir.path()).expect("opened");
        crate::backing::mknod_at(root.as_fd(), b"p", libc::S_IFIFO | 0o600, 0).expect("mkfifo");
        let fifo = open_path_at(root.as_fd(), b"p").expect("opened");
        let refused = reopen(fifo.as_fd(), false).expect_err("refused");
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
        reopen(root.as_fd(), false).expect("a directory");
    }

    #[test]
    fn names_never_lead_out_of_their_directory() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = File::open(dir.path()).expect("opened");
        for name in [&b""[..], b".", b"..", b"../x", b"a/b", b"/etc"] {
            let refused = open_path_at(root.as_fd(), name).expect_err("refused");
            assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
        }
    }
}
