//! System calls that std has no name for, as thin as possible. Errors are the kernel's.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("test paths hold no NUL")
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The errno of a failure, 0 of a success: what twins compare.
pub fn errno<T>(result: &io::Result<T>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap_or(-1),
    }
}

pub fn kill(pid: i32, signal: i32) {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(pid, signal) };
}

pub fn renameat2(from: &Path, to: &Path, flags: u32) -> io::Result<()> {
    let (from, to) = (c_path(from), c_path(to));
    // SAFETY: both strings outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            from.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            flags,
        )
    };
    check(result).map(drop)
}

pub fn mknod(path: &Path, mode: u32, device: u64) -> io::Result<()> {
    let path = c_path(path);
    // SAFETY: the string outlives the call.
    check(unsafe { libc::mknod(path.as_ptr(), mode, device) }.into()).map(drop)
}

pub fn makedev(major: u32, minor: u32) -> u64 {
    libc::makedev(major, minor)
}

/// Opens with raw flags.
pub fn open(path: &Path, flags: i32, mode: u32) -> io::Result<File> {
    use std::os::fd::FromRawFd;
    let path = c_path(path);
    // SAFETY: the string outlives the call; the descriptor is new and ours.
    unsafe {
        let fd = check(libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, mode).into())?;
        Ok(File::from_raw_fd(fd as i32))
    }
}

pub fn access(path: &Path, mode: i32) -> io::Result<()> {
    let path = c_path(path);
    // SAFETY: the string outlives the call. The raw call looks at this thread's credentials.
    check(unsafe {
        libc::syscall(
            libc::SYS_faccessat2,
            libc::AT_FDCWD,
            path.as_ptr(),
            mode,
            libc::AT_EACCESS,
        )
    })
    .map(drop)
}

/// Seconds and nanoseconds.
pub type Time = (i64, i64);
pub const NOW: Time = (0, libc::UTIME_NOW);
pub const OMIT: Time = (0, libc::UTIME_OMIT);

/// Sets both times of the entry itself, also of a symlink.
pub fn set_times(path: &Path, atime: Time, mtime: Time) -> io::Result<()> {
    let path = c_path(path);
    let times = [atime, mtime].map(|(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec });
    // SAFETY: string and times outlive the call.
    check(
        unsafe {
            libc::utimensat(
                libc::AT_FDCWD,
                path.as_ptr(),
                times.as_ptr(),
                libc::AT_SYMLINK_NOFOLLOW,
            )
        }
        .into(),
    )
    .map(drop)
}

pub fn set_xattr(path: &Path, name: &str, value: &[u8], flags: i32) -> io::Result<()> {
    let (path, name) = (c_path(path), CString::new(name).expect("no NUL"));
    // SAFETY: everything outlives the call.
    check(
        unsafe {
            libc::lsetxattr(
                path.as_ptr(),
                name.as_ptr(),
                value.as_ptr().cast(),
                value.len(),
                flags,
            )
        }
        .into(),
    )
    .map(drop)
}

pub fn remove_xattr(path: &Path, name: &str) -> io::Result<()> {
    let (path, name) = (c_path(path), CString::new(name).expect("no NUL"));
    // SAFETY: both outlive the call.
    check(unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) }.into()).map(drop)
}

pub fn get_xattr(path: &Path, name: &[u8]) -> io::Result<Vec<u8>> {
    let (path, name) = (c_path(path), CString::new(name).expect("no NUL"));
    let mut value = vec![0; 65_536];
    // SAFETY: the buffer is as long as is said.
    let len = check(unsafe {
        libc::lgetxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        ) as i64
    })?;
    value.truncate(len as usize);
    Ok(value)
}

/// What lgetxattr says to a buffer of `len` bytes.
pub fn get_xattr_sized(path: &Path, name: &str, len: usize) -> io::Result<i64> {
    let (path, name) = (c_path(path), CString::new(name).expect("no NUL"));
    let mut value = vec![0_u8; len];
    // SAFETY: the buffer is as long as is said.
    check(unsafe {
        libc::lgetxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        ) as i64
    })
}

/// All attribute names, sorted.
pub fn list_xattrs(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let path = c_path(path);
    let mut list = vec![0_u8; 65_536];
    // SAFETY: the buffer is as long as is said.
    let len = check(unsafe {
        libc::llistxattr(path.as_ptr(), list.as_mut_ptr().cast(), list.len()) as i64
    })?;
    list.truncate(len as usize);
    let mut names: Vec<Vec<u8>> = list
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    names.sort();
    Ok(names)
}

pub const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;

pub fn fallocate(file: &File, mode: i32, offset: u64, len: u64) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::fallocate(file.as_raw_fd(), mode, offset as i64, len as i64) }.into())
        .map(drop)
}

pub fn seek(file: &File, offset: u64, whence: i32) -> io::Result<u64> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::lseek(file.as_raw_fd(), offset as i64, whence) }).map(|at| at as u64)
}

/// Copies all of a range, in as many calls as it takes.
pub fn copy_range(
    from: &File,
    mut at: i64,
    to: &File,
    mut to_at: i64,
    len: u64,
) -> io::Result<u64> {
    let mut done = 0;
    while done < len {
        // SAFETY: the offsets outlive the call.
        let step = check(unsafe {
            libc::copy_file_range(
                from.as_raw_fd(),
                &mut at,
                to.as_raw_fd(),
                &mut to_at,
                (len - done) as usize,
                0,
            ) as i64
        })?;
        if step == 0 {
            break;
        }
        done += step as u64;
    }
    Ok(done)
}

/// Has the kernel begin to write back what of a file is dirty in its cache; without the lock of the
/// file that fsync and msync take.
pub fn begin_write_back(file: &File) -> io::Result<()> {
    let how = libc::SYNC_FILE_RANGE_WRITE;
    // SAFETY: no memory is involved.
    check(unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, how) }.into()).map(drop)
}

/// Drops clean cached pages of a file, so that the next read asks for them.
pub fn drop_cache(file: &File) {
    // SAFETY: no memory is involved.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

/// A mapping of the first bytes of a file.
pub struct Mapping {
    at: *mut libc::c_void,
    len: usize,
}

// SAFETY: a mapping is memory of the process, not of a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    pub fn shared(file: &File, len: usize) -> io::Result<Mapping> {
        Mapping::new(file, len, libc::MAP_SHARED)
    }

    pub fn private(file: &File, len: usize) -> io::Result<Mapping> {
        Mapping::new(file, len, libc::MAP_PRIVATE)
    }

    fn new(file: &File, len: usize, flags: i32) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                flags,
                file.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { at, len })
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: mapped for reading and writing for as long as self lives.
        unsafe { std::slice::from_raw_parts_mut(self.at.cast(), self.len) }
    }

    pub fn sync(&self) -> io::Result<()> {
        // SAFETY: the range is this mapping.
        check(unsafe { libc::msync(self.at, self.len, libc::MS_SYNC) }.into()).map(drop)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping, and nobody has a reference into it any more.
        unsafe { libc::munmap(self.at, self.len) };
    }
}

/// Runs something as another user, in a thread of its own: Linux keeps credentials, and after the
/// unshare also the umask, per thread.
pub fn as_user<T: Send>(uid: u32, gid: u32, groups: &[u32], work: impl FnOnce() -> T + Send) -> T {
    let result = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                // SAFETY: raw calls, so that only this thread changes; `groups` outlives them.
                unsafe {
                    assert_eq!(libc::unshare(libc::CLONE_FS), 0);
                    let count = groups.len();
                    assert_eq!(
                        libc::syscall(libc::SYS_setgroups, count, groups.as_ptr()),
                        0
                    );
                    assert_eq!(libc::syscall(libc::SYS_setresgid, gid, gid, gid), 0);
                    assert_eq!(libc::syscall(libc::SYS_setresuid, uid, uid, uid), 0);
                }
                work()
            })
            .join()
    });
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs something under a umask, in a thread of its own.
pub fn with_umask<T: Send>(mask: u32, work: impl FnOnce() -> T + Send) -> T {
    let result = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                // SAFETY: after the unshare the umask is this thread's.
                unsafe {
                    assert_eq!(libc::unshare(libc::CLONE_FS), 0);
                    libc::umask(mask);
                }
                work()
            })
            .join()
    });
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Gives the calling thread a mount namespace of its own.
pub fn unshare_mounts() {
    // SAFETY: no memory is involved; only this thread changes.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    assert_eq!(result, 0, "unshare: {}", io::Error::last_os_error());
}

/// Sets the umask of the calling thread, which has unshared it (`as_user` has).
pub fn umask(mask: u32) {
    // SAFETY: no memory is involved.
    unsafe { libc::umask(mask) };
}
