//! The bytes of a regular file.

use rustix::fs::{FallocateFlags, SeekFrom};
use std::io;
use std::os::fd::BorrowedFd;

/// ftruncate of a descriptor that is open for writing.
///
/// # Errors
/// What the kernel answers.
pub fn truncate(fd: BorrowedFd<'_>, size: u64) -> io::Result<()> {
    Ok(rustix::fs::ftruncate(fd, size)?)
}

/// One pread: short at the end of the file.
///
/// # Errors
/// What the kernel answers.
pub fn pread(fd: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    Ok(rustix::io::pread(fd, buf, offset)?)
}

/// One pwrite; may be short.
///
/// # Errors
/// What the kernel answers.
pub fn pwrite(fd: BorrowedFd<'_>, buf: &[u8], offset: u64) -> io::Result<usize> {
    Ok(rustix::io::pwrite(fd, buf, offset)?)
}

/// fallocate with the mode as the kernel passed it on.
///
/// # Errors
/// What the kernel answers.
pub fn fallocate(fd: BorrowedFd<'_>, mode: i32, offset: u64, len: u64) -> io::Result<()> {
    let mode = FallocateFlags::from_bits_retain(mode as u32);
    Ok(rustix::fs::fallocate(fd, mode, offset, len)?)
}

/// lseek to the next data or hole; `whence` is SEEK_DATA or SEEK_HOLE.
///
/// # Errors
/// What the kernel answers: ENXIO beyond the end; EINVAL for another `whence`.
pub fn seek(fd: BorrowedFd<'_>, offset: u64, whence: i32) -> io::Result<u64> {
    let target = match whence {
        libc::SEEK_DATA => SeekFrom::Data(offset),
        libc::SEEK_HOLE => SeekFrom::Hole(offset),
        _ => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
    };
    Ok(rustix::fs::seek(fd, target)?)
}

/// One copy_file_range; may be short.
///
/// # Errors
/// What the kernel answers.
pub fn copy_range(
    from: BorrowedFd<'_>,
    from_offset: u64,
    to: BorrowedFd<'_>,
    to_offset: u64,
    len: u64,
) -> io::Result<usize> {
    let (mut from_offset, mut to_offset) = (from_offset, to_offset);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    Ok(rustix::fs::copy_file_range(
        from,
        Some(&mut from_offset),
        to,
        Some(&mut to_offset),
        len,
    )?)
}

/// Whether any of the first bytes of a file, so many, is not in a hole.
///
/// # Errors
/// What the kernel answers.
pub fn has_data(fd: BorrowedFd<'_>, size: u64) -> io::Result<bool> {
    // Where holes can't be asked for, all of a file is data.
    if super::stat_fd(fd)?.blocks == 0 {
        return Ok(false);
    }
    match seek(fd, 0, libc::SEEK_DATA) {
        Ok(at) => Ok(at < size),
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(false),
        Err(error) => Err(error),
    }
}

/// fsync, or fdatasync. Works on directories too.
///
/// # Errors
/// What the kernel answers.
pub fn fsync(fd: BorrowedFd<'_>, data_only: bool) -> io::Result<()> {
    let result = if data_only {
        rustix::fs::fdatasync(fd)
    } else {
        rustix::fs::fsync(fd)
    };
    Ok(result?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn bytes_are_written_read_cut_and_copied() {
        let file = tempfile::tempfile().expect("a temporary file");
        let copy = tempfile::tempfile().expect("a temporary file");
        let (file, copy) = (file.as_fd(), copy.as_fd());
        assert_eq!(pwrite(file, b"0123456789", 5).expect("pwrite"), 10);
        truncate(file, 12).expect("truncate");
        assert_eq!(copy_range(file, 5, copy, 1, 100).expect("copy"), 7);
        let mut buf = [9; 16];
        assert_eq!(pread(copy, &mut buf, 0).expect("pread"), 8);
        assert_eq!(&buf[..8], b"\x000123456");
        fsync(copy, true).expect("fdatasync");
        fsync(copy, false).expect("fsync");
    }

    #[test]
    fn a_file_of_holes_has_no_data() {
        let file = tempfile::tempfile().expect("a temporary file");
        let file = file.as_fd();
        truncate(file, 1 << 20).expect("truncate");
        assert!(!has_data(file, 1 << 20).expect("seek"));
        pwrite(file, &[0], 1 << 19).expect("pwrite");
        assert!(has_data(file, 1 << 20).expect("seek"));
    }

    #[test]
    fn holes_are_punched_and_found() {
        let file = tempfile::tempfile().expect("a temporary file");
        let file = file.as_fd();
        pwrite(file, &[1; 1 << 20], 0).expect("pwrite");
        let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        fallocate(file, punch, 0, 1 << 19).expect("punch");
        assert_eq!(seek(file, 0, libc::SEEK_DATA).expect("data"), 1 << 19);
        assert_eq!(seek(file, 1 << 19, libc::SEEK_HOLE).expect("end"), 1 << 20);
        let beyond = seek(file, 1 << 21, libc::SEEK_DATA).expect_err("beyond the end");
        assert_eq!(beyond.raw_os_error(), Some(libc::ENXIO));
        let whence = seek(file, 0, libc::SEEK_SET).expect_err("not asked for");
        assert_eq!(whence.raw_os_error(), Some(libc::EINVAL));
    }
}
