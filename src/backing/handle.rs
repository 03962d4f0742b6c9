//! File handles: what remains of a file when its descriptor is given up.

use rustix::fs::OFlags;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// MAX_HANDLE_SZ of the kernel.
const MAX_BYTES: usize = 128;

/// What name_to_handle_at gives. Two handles of one file system are equal exactly if they mean
/// the same file: an inode number that is used again gets another handle.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Handle(Bytes);

/// Type and bytes. There is one for each file that is known, and those of ext4, xfs, btrfs and
/// tmpfs are short.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Bytes {
    Short { kind: u8, len: u8, bytes: [u8; 20] },
    Long(Box<(i32, Vec<u8>)>),
}

impl Handle {
    fn new(kind: i32, bytes: &[u8]) -> Handle {
        let mut short = [0; 20];
        let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
        match (u8::try_from(kind), short.get_mut(..bytes.len())) {
            (Ok(kind), Some(room)) => {
                room.copy_from_slice(bytes);
                Handle(Bytes::Short {
                    kind,
                    len,
                    bytes: short,
                })
            }
            _ => Handle(Bytes::Long(Box::new((kind, bytes.to_vec())))),
        }
    }

    fn parts(&self) -> (i32, &[u8]) {
        match &self.0 {
            Bytes::Short { kind, len, bytes } => (i32::from(*kind), &bytes[..usize::from(*len)]),
            Bytes::Long(parts) => (parts.0, &parts.1),
        }
    }
}

/// struct file_handle with room for the largest handle.
#[repr(C)]
struct Buffer {
    len: u32,
    kind: i32,
    bytes: [u8; MAX_BYTES],
}

/// The handle of what a descriptor refers to.
///
/// # Errors
/// What the kernel answers: EOPNOTSUPP on file systems that have none.
pub fn handle_of(fd: BorrowedFd<'_>) -> io::Result<Handle> {
    let mut buffer = Buffer {
        len: MAX_BYTES as u32,
        kind: 0,
        bytes: [0; MAX_BYTES],
    };
    let mut mount = 0;
    // Safe because Buffer begins like struct file_handle and has the room that its `len` says;
    // the path is empty and terminated, and all three outlive the call.
    let result = unsafe {
        libc::name_to_handle_at(
            fd.as_raw_fd(),
            c"".as_ptr(),
            (&raw mut buffer).cast(),
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let len = usize::try_from(buffer.len).unwrap_or(MAX_BYTES);
    Ok(Handle::new(
        buffer.kind,
        &buffer.bytes[..len.min(MAX_BYTES)],
    ))
}

/// Opens as O_PATH what a handle means. `mount` is any descriptor on its file system that is not
/// O_PATH itself. Needs CAP_DAC_READ_SEARCH.
///
/// # Errors
/// What the kernel answers: ESTALE when the file is gone.
pub fn open_handle(mount: BorrowedFd<'_>, handle: &Handle) -> io::Result<OwnedFd> {
    let (kind, bytes) = handle.parts();
    let mut buffer = Buffer {
        len: u32::try_from(bytes.len()).unwrap_or(0),
        kind,
        bytes: [0; MAX_BYTES],
    };
    buffer.bytes[..bytes.len()].copy_from_slice(bytes);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Safe because Buffer begins like struct file_handle, holds as many bytes as its `len` says,
    // and outlives the call.
    let fd = unsafe {
        libc::open_by_handle_at(
            mount.as_raw_fd(),
            (&raw mut buffer).cast(),
            flags.bits() as i32,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // Safe because the kernel has just given us this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backing::{open_path_at, stat_fd, symlink_at, unlink_at};
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn long_handles_are_kept_whole_too() {
        for (kind, len) in [(1, 8), (0x4d, 20), (1, 21), (0x1_0000, 4), (-1, 128)] {
            let bytes: Vec<u8> = (0..len).collect();
            assert_eq!(Handle::new(kind, &bytes).parts(), (kind, &bytes[..]));
        }
    }

    #[test]
    fn a_handle_leads_back_to_its_file_and_to_no_other() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let root = File::open(dir.path()).expect("opened");
        symlink_at(b"x", root.as_fd(), b"l").expect("symlink");
        let link = open_path_at(root.as_fd(), b"l").expect("opened");
        let ino = stat_fd(link.as_fd()).expect("stat").ino;
        let handle = match handle_of(link.as_fd()) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return,
            other => other.expect("a handle"),
        };
        assert_eq!(handle_of(link.as_fd()).expect("a handle"), handle);
        drop(link);
        match open_handle(root.as_fd(), &handle) {
            // An ordinary user may not open handles.
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
            Ok(again) => {
                assert_eq!(stat_fd(again.as_fd()).expect("stat").ino, ino);
                drop(again);
                unlink_at(root.as_fd(), b"l").expect("unlink");
                let stale = open_handle(root.as_fd(), &handle).expect_err("gone");
                assert_eq!(stale.raw_os_error(), Some(libc::ESTALE));
            }
        }
    }
}
