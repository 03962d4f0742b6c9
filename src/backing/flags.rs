//! Inode flags (chattr) and project attributes.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Size of struct fsxattr, the largest argument of the four.
const ARGUMENT_BYTES: usize = 28;

// Encoded as the kernel does for 64-bit callers: the two of chattr are declared with `long`, but
// read and write an `int`.
const GET_FLAGS: u32 = libc::FS_IOC_GETFLAGS as u32;
const SET_FLAGS: u32 = libc::FS_IOC_SETFLAGS as u32;
const GET_FLAGS_32: u32 = libc::FS_IOC32_GETFLAGS as u32;
const SET_FLAGS_32: u32 = libc::FS_IOC32_SETFLAGS as u32;
/// _IOR('X', 31, struct fsxattr)
const GET_XATTR: u32 = 0x801c_581f;
/// _IOW('X', 32, struct fsxattr)
const SET_XATTR: u32 = 0x401c_5820;

/// FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR on a descriptor that
/// is open for reading. `input` is the argument of a setting one; what a getting one gives is
/// returned.
///
/// # Errors
/// ENOTTY for any other command, EINVAL for an argument of the wrong size, else what the kernel
/// answers.
pub fn flags_ioctl(fd: BorrowedFd<'_>, command: u32, input: &[u8]) -> io::Result<Vec<u8>> {
    let (command, size, sets) = match command {
        GET_FLAGS | GET_FLAGS_32 => (GET_FLAGS, 4, false),
        SET_FLAGS | SET_FLAGS_32 => (SET_FLAGS, 4, true),
        GET_XATTR => (GET_XATTR, ARGUMENT_BYTES, false),
        SET_XATTR => (SET_XATTR, ARGUMENT_BYTES, true),
        _ => return Err(io::Error::from_raw_os_error(libc::ENOTTY)),
    };
    let mut argument = [0; ARGUMENT_BYTES];
    if sets {
        let given = input
            .get(..size)
            .ok_or(io::Error::from_raw_os_error(libc::EINVAL))?;
        argument[..size].copy_from_slice(given);
    }
    // Safe because each of these four commands reads or writes at most ARGUMENT_BYTES at the
    // pointer, which is aligned enough for the kernel (it copies) and outlives the call.
    let result = unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            command as libc::Ioctl,
            argument.as_mut_ptr(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(if sets {
        Vec::new()
    } else {
        argument[..size].to_vec()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn flags_are_read_and_other_commands_refused() {
        let file = tempfile::tempfile_in("/var/tmp").expect("a temporary file");
        let fd = file.as_fd();
        match flags_ioctl(fd, GET_FLAGS, &[]) {
            Ok(flags) => {
                assert_eq!(flags.len(), 4);
                assert_eq!(flags_ioctl(fd, GET_FLAGS_32, &[]).expect("flags"), flags);
                flags_ioctl(fd, SET_FLAGS, &flags).expect("the same flags again");
            }
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOTTY)),
        }
        let short = flags_ioctl(fd, SET_FLAGS, &[1]).expect_err("short");
        assert_eq!(short.raw_os_error(), Some(libc::EINVAL));
        let other = flags_ioctl(fd, 0x5401, &[]).expect_err("TCGETS");
        assert_eq!(other.raw_os_error(), Some(libc::ENOTTY));
    }
}
