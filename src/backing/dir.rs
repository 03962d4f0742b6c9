//! Directory streams: getdents64 with the cookies of the file system, passed on unchanged.

use crate::backing::open::reopen;
use crate::format::record::Kind;
use rustix::fs::SeekFrom;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Bytes asked for with one getdents64.
const BUFFER_BYTES: usize = 32 << 10;
/// d_ino, d_off, d_reclen, d_type: what stands before the name in struct linux_dirent64.
const HEADER_BYTES: usize = 19;

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    pub ino: u64,
    /// d_off: where the stream stands *after* this entry.
    pub cookie: u64,
    /// `None`: the file system does not tell here.
    pub kind: Option<Kind>,
    pub name: Vec<u8>,
}

/// A directory open for reading; it is moved only when the offset asked for is not where it stands.
#[derive(Debug)]
pub struct DirStream {
    fd: OwnedFd,
    /// What getdents64 gave; entries before `taken` have been taken.
    buffer: Vec<u8>,
    taken: usize,
    /// The cookie of the entry taken last: the offset at which `taken` stands. `None` when the
    /// position is not known (nothing read yet, or after an error).
    position: Option<u64>,
}

impl DirStream {
    /// A stream of the directory that any descriptor refers to.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn open(dir: BorrowedFd<'_>) -> io::Result<DirStream> {
        Ok(DirStream {
            fd: reopen(dir, false)?,
            buffer: Vec::new(),
            taken: 0,
            position: None,
        })
    }

    /// Calls `each` for the entries from `offset` on ("." and ".." included) until it returns
    /// false: that entry comes again in the next call. From offset 0 the directory is read anew.
    ///
    /// # Errors
    /// What the kernel answers; entries passed on before that stay valid.
    pub fn read(&mut self, offset: u64, each: &mut dyn FnMut(&RawEntry) -> bool) -> io::Result<()> {
        if offset == 0 || self.position != Some(offset) {
            self.move_to(offset)?;
        }
        loop {
            while let Some((entry, end)) = parse(&self.buffer, self.taken)? {
                if !each(&entry) {
                    return Ok(());
                }
                self.taken = end;
                self.position = Some(entry.cookie);
            }
            if !self.fill()? {
                return Ok(());
            }
        }
    }

    /// fsync of the directory.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn sync(&self, data_only: bool) -> io::Result<()> {
        crate::backing::fsync(self.fd.as_fd(), data_only)
    }

    fn move_to(&mut self, offset: u64) -> io::Result<()> {
        self.position = None;
        self.buffer.clear();
        self.taken = 0;
        rustix::fs::seek(&self.fd, SeekFrom::Start(offset))?;
        self.position = Some(offset);
        Ok(())
    }

    /// Reads the next entries; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.resize(BUFFER_BYTES, 0);
        self.taken = 0;
        // Safe because the kernel writes at most `len` bytes into a buffer of that length, which
        // outlives the call.
        let len = unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                self.fd.as_raw_fd(),
                self.buffer.as_mut_ptr(),
                self.buffer.len(),
            )
        };
        let error = io::Error::last_os_error();
        self.buffer.truncate(usize::try_from(len).unwrap_or(0));
        if len < 0 {
            self.position = None;
            return Err(error);
        }
        Ok(len > 0)
    }
}

/// The entry that starts at `at`, and where the next one does; `None` at the end of the buffer.
fn parse(buffer: &[u8], at: usize) -> io::Result<Option<(RawEntry, usize)>> {
    let rest = buffer.get(at..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(None);
    }
    let malformed = || io::Error::from_raw_os_error(libc::EIO);
    let (header, _) = rest
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or_else(malformed)?;
    let [
        i0,
        i1,
        i2,
        i3,
        i4,
        i5,
        i6,
        i7,
        o0,
        o1,
        o2,
        o3,
        o4,
        o5,
        o6,
        o7,
        l0,
        l1,
        kind,
    ] = *header;
    let len = usize::from(u16::from_ne_bytes([l0, l1]));
    let name = rest.get(HEADER_BYTES..len).ok_or_else(malformed)?;
    let name_len = name
        .iter()
        .position(|&byte| byte == 0)
        .ok_or_else(malformed)?;
    let entry = RawEntry {
        ino: u64::from_ne_bytes([i0, i1, i2, i3, i4, i5, i6, i7]),
        cookie: u64::from_ne_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
        // d_type is the type bits of a mode, shifted.
        kind: Kind::from_mode(u32::from(kind) << 12),
        name: name[..name_len].to_vec(),
    };
    Ok(Some((entry, at + len)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs::File;

    fn read(stream: &mut DirStream, offset: u64, at_most: usize) -> Vec<RawEntry> {
        let mut entries = Vec::new();
        stream
            .read(offset, &mut |entry| {
                let room = entries.len() < at_most;
                if room {
                    entries.push(entry.clone());
                }
                room
            })
            .expect("read");
        entries
    }

    #[test]
    fn a_large_directory_is_read_in_pieces_of_any_size() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for number in 0..3000 {
            let name = format!("{number:060}");
            File::create(dir.path().join(name)).expect("created");
        }
        let root = File::open(dir.path()).expect("opened");
        let mut stream = DirStream::open(root.as_fd()).expect("opened");
        let whole = read(&mut stream, 0, usize::MAX);
        assert_eq!(whole.len(), 3002);
        let names: BTreeSet<_> = whole.iter().map(|entry| entry.name.clone()).collect();
        assert_eq!(names.len(), 3002);
        assert!(names.contains(&b".."[..]));
        let mut offset = 0;
        let mut pieces = Vec::new();
        loop {
            let piece = read(&mut stream, offset, 7);
            let Some(last) = piece.last() else { break };
            offset = last.cookie;
            pieces.extend(piece);
        }
        assert_eq!(pieces, whole);
        // A reader that goes back is served from there.
        assert_eq!(read(&mut stream, whole[99].cookie, 3), whole[100..103]);
        assert_eq!(read(&mut stream, 0, 2), whole[..2]);
    }

    #[test]
    fn types_are_told_and_a_new_reading_sees_new_names() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("d")).expect("mkdir");
        let root = File::open(dir.path()).expect("opened");
        let mut stream = DirStream::open(root.as_fd()).expect("opened");
        assert_eq!(read(&mut stream, 0, usize::MAX).len(), 3);
        std::os::unix::fs::symlink("x", dir.path().join("l")).expect("symlink");
        let entries = read(&mut stream, 0, usize::MAX);
        let kind = |name: &[u8]| entries.iter().find(|e| e.name == name).map(|e| e.kind);
        assert_eq!(kind(b"d"), Some(Some(Kind::Dir)));
        assert_eq!(kind(b"l"), Some(Some(Kind::Symlink)));
        stream.sync(false).expect("fsync");
    }

    #[test]
    fn a_damaged_buffer_is_an_error() {
        assert!(parse(&[1, 2, 3], 0).is_err());
        let mut long = vec![0; 24];
        long[16..18].copy_from_slice(&200u16.to_ne_bytes());
        assert!(parse(&long, 0).is_err());
        assert!(parse(&long, 24).expect("the end").is_none());
    }
}
