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

/// Type and bytes. There is one for each file that is known: those of ext4, xfs and tmpfs need no
/// allocation, those of btrfs a small one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Bytes {
    Short(Packed<13>),
    Medium(Box<Packed<22>>),
    Long(Box<(i32, Vec<u8>)>),
}

/// Up to N bytes, and a type that is small.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Packed<const N: usize> {
    kind: u8,
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> Packed<N> {
    fn new(kind: i32, bytes: &[u8]) -> Option<Packed<N>> {
        let mut packed = Packed {
            kind: u8::try_from(kind).ok()?,
            len: u8::try_from(bytes.len()).ok()?,
            bytes: [0; N],
        };
        packed.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(packed)
    }

    fn parts(&self) -> (i32, &[u8]) {
        (i32::from(self.kind), &self.bytes[..usize::from(self.len)])
    }
}

impl Handle {
    fn new(kind: i32, bytes: &[u8]) -> Handle {
        if let Some(short) = Packed::new(kind, bytes) {
            return Handle(Bytes::Short(short));
        }
        Handle(match Packed::new(kind, bytes) {
            Some(medium) => Bytes::Medium(Box::new(medium)),
            None => Bytes::Long(Box::new((kind, bytes.to_vec()))),
        })
    }

    fn parts(&self) -> (i32, &[u8]) {
        match &self.0 {
            Bytes::Short(short) => short.parts(),
            Bytes::Medium(medium) => medium.parts(),
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
        for (kind, len) in [
            (1, 8),
            (1, 13),
            (1, 14),
            (0x4d, 20),
            (1, 22),
            (1, 23),
            (0x1_0000, 4),
            (-1, 128),
        ] {
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
