//! Extended attributes of anything that a descriptor refers to.
//!
//! Always through /proc/self/fd: the calls on descriptors refuse O_PATH (before Linux 6.13 there
//! is no other way), and this leads to the file itself, be it a symlink or a device.

use crate::backing::proc_path;
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;

/// Values up to this size are read with one call.
const USUAL_BYTES: usize = 512;

/// One value.
///
/// # Errors
/// What the kernel answers: ENODATA when there is none of that name.
pub fn get_xattr(fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
    let path = proc_path(fd);
    read_all(
        |buf| rustix::fs::getxattr(&path, name, buf),
        || rustix::fs::getxattr_query(&path, name),
    )
}

/// Sets one value; `flags` as in setxattr(2).
///
/// # Errors
/// What the kernel answers.
pub fn set_xattr(fd: BorrowedFd<'_>, name: &[u8], value: &[u8], flags: i32) -> io::Result<()> {
    let flags = XattrFlags::from_bits_retain(flags as u32);
    Ok(rustix::fs::setxattr(proc_path(fd), name, value, flags)?)
}

/// The names, in the order of the kernel.
///
/// # Errors
/// What the kernel answers.
pub fn list_xattrs(fd: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let path = proc_path(fd);
    let list = read_all(
        |buf| rustix::fs::listxattr(&path, buf),
        || rustix::fs::listxattr_query(&path),
    )?;
    Ok(list
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect())
}

/// Removes one attribute.
///
/// # Errors
/// What the kernel answers: ENODATA when there is none of that name.
pub fn remove_xattr(fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::removexattr(proc_path(fd), name)?)
}

/// Reads with a usual buffer, and with one of the right size if that was too small. The size may
/// change in between, hence the loop.
fn read_all(
    read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    size: impl Fn() -> rustix::io::Result<usize>,
) -> io::Result<Vec<u8>> {
    let mut buf = vec![0; USUAL_BYTES];
    loop {
        match read(&mut buf) {
            Ok(len) => {
                buf.truncate(len);
                return Ok(buf);
            }
            Err(Errno::RANGE) => {
                let wanted = size()?.max(1);
                if wanted == buf.len() {
                    return Err(Errno::RANGE.into());
                }
                buf.resize(wanted, 0);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backing::open_path_at;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn attributes_are_set_listed_read_and_removed_through_o_path() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let root = File::open(dir.path()).expect("opened");
        std::fs::write(dir.path().join("f"), b"").expect("written");
        let file = open_path_at(root.as_fd(), b"f").expect("opened");
        let file = file.as_fd();
        let long = vec![b'x'; 3000];
        set_xattr(file, b"user.long", &long, 0).expect("set");
        set_xattr(file, b"user.empty", b"", libc::XATTR_CREATE).expect("set");
        let again = set_xattr(file, b"user.empty", b"", libc::XATTR_CREATE);
        assert_eq!(
            again.expect_err("exists").raw_os_error(),
            Some(libc::EEXIST)
        );
        assert_eq!(get_xattr(file, b"user.long").expect("get"), long);
        assert_eq!(get_xattr(file, b"user.empty").expect("get"), b"");
        let mut names = list_xattrs(file).expect("list");
        names.retain(|name| name.starts_with(b"user."));
        names.sort();
        assert_eq!(names, [b"user.empty".to_vec(), b"user.long".to_vec()]);
        remove_xattr(file, b"user.long").expect("remove");
        let gone = get_xattr(file, b"user.long").expect_err("gone");
        assert_eq!(gone.raw_os_error(), Some(libc::ENODATA));
    }

    #[test]
    fn a_value_that_grows_while_it_is_read_is_read_again() {
        let sizes = std::cell::Cell::new(600);
        let read = |buf: &mut [u8]| {
            if buf.len() < sizes.get() {
                sizes.set(sizes.get().min(600) + 50);
                Err(Errno::RANGE)
            } else {
                Ok(sizes.get())
            }
        };
        let value = read_all(read, || Ok(sizes.get())).expect("read");
        assert_eq!(value.len(), 650);
    }
}
