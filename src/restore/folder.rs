//! A tree that is reached by a descriptor: a view in `.snapshots`, a working directory, any folder.

use super::item::{Bytes, Facts, Fault, Handle, Item, Source, Xattrs};
use crate::backing::{self, DirStream, Stat};
use crate::format::record::Kind;
use crate::pattern::LEFT_OUT_XATTR;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The folder.
pub struct Folder {
    top: OwnedFd,
    /// It must be asked of each file whether its content is left out.
    asks: bool,
}

impl Folder {
    /// The folder of any descriptor.
    pub fn new(top: OwnedFd) -> Folder {
        Folder { top, asks: true }
    }

    /// The root of a state: where nothing is left out at all, nothing is asked of each file.
    pub fn of_state(top: OwnedFd) -> Folder {
        let asks = leaves_out(top.as_fd(), b"").unwrap_or(true);
        Folder { top, asks }
    }

    /// Whether anything at all is left out of the history that this is the directory, or a view, of.
    /// True as well when that can't be asked.
    pub fn may_leave_out(&self) -> bool {
        self.asks && leaves_out(self.top.as_fd(), b"").unwrap_or(true)
    }
}

/// What the mount says of a file, or of `/NAME` or `/NAME/` in a folder.
///
/// # Errors
/// When it can't be asked: who may not read it is not told.
pub(super) fn leaves_out(fd: BorrowedFd<'_>, asked: &[u8]) -> io::Result<bool> {
    match backing::get_xattr(fd, &[LEFT_OUT_XATTR, asked].concat()) {
        Ok(_) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENODATA | libc::EOPNOTSUPP) => Ok(false),
            _ => Err(error),
        },
    }
}

impl Item {
    /// The descriptor of an item of a folder.
    ///
    /// # Errors
    /// `Foreign`.
    pub fn fd(&self) -> Result<BorrowedFd<'_>, Fault> {
        match &self.handle {
            Handle::Open(fd) => Ok(fd.as_fd()),
            Handle::Recorded(_) => Err(Fault::Foreign),
        }
    }

    /// What an O_PATH descriptor refers to.
    ///
    /// # Errors
    /// What fstat says.
    pub fn of(fd: OwnedFd) -> Result<Item, Fault> {
        let stat = backing::stat_fd(fd.as_fd())?;
        Ok(Item {
            facts: facts(&stat)?,
            handle: Handle::Open(fd),
        })
    }
}

/// From what fstat says.
pub(super) fn facts(stat: &Stat) -> io::Result<Facts> {
    let kind = Kind::from_mode(stat.mode);
    Ok(Facts {
        kind: kind.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?,
        mode: stat.mode & 0o7777,
        uid: stat.uid,
        gid: stat.gid,
        rdev: stat.rdev,
        atime: stat.atime,
        mtime: stat.mtime,
        ctime: stat.ctime,
        nlink: stat.nlink,
        size: stat.size,
        same: stat.ino,
        dev: stat.dev,
    })
}

impl Source for Folder {
    fn top(&self) -> Result<Item, Fault> {
        Item::of(self.top.try_clone()?)
    }

    fn child(&self, dir: &Item, name: &[u8]) -> Result<Option<Item>, Fault> {
        match backing::open_path_at(dir.fd()?, name) {
            Ok(fd) => Item::of(fd).map(Some),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn names(&self, dir: &Item) -> Result<Vec<Vec<u8>>, Fault> {
        let mut names = Vec::new();
        DirStream::open(dir.fd()?)?.read(0, &mut |entry| {
            if !matches!(entry.name.as_slice(), b"." | b"..") {
                names.push(entry.name.clone());
            }
            true
        })?;
        names.sort_unstable();
        Ok(names)
    }

    fn xattrs(&self, item: &Item) -> Result<Xattrs, Fault> {
        let fd = item.fd()?;
        let names = match backing::list_xattrs(fd) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Vec::new(),
            names => names?,
        };
        let mut xattrs = Vec::with_capacity(names.len());
        for name in names {
            let value = backing::get_xattr(fd, &name)?;
            xattrs.push((name, value));
        }
        xattrs.sort_unstable();
        Ok(xattrs)
    }

    fn target(&self, item: &Item) -> Result<Vec<u8>, Fault> {
        Ok(backing::readlink_fd(item.fd()?)?)
    }

    fn is_left_out(&self, item: &Item) -> bool {
        let said = item
            .fd()
            .map(|fd| self.asks && matches!(leaves_out(fd, b""), Ok(true)));
        said.unwrap_or(false)
    }

    fn open(&self, item: &Item) -> Result<Box<dyn Bytes + '_>, Fault> {
        let fd = backing::reopen(item.fd()?, false)?;
        let size = item.facts.size;
        // A file that takes as much as it is long is read as a whole: nobody looks for holes in it.
        let blocks = backing::stat_fd(fd.as_fd())?.blocks;
        let dense = blocks.saturating_mul(512) >= size;
        Ok(Box::new(Open { fd, size, dense }))
    }
}

struct Open {
    fd: OwnedFd,
    size: u64,
    /// It has no holes.
    dense: bool,
}

impl Open {
    fn seek(&self, offset: u64, whence: i32) -> Result<Option<u64>, Fault> {
        match backing::seek(self.fd.as_fd(), offset, whence) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Bytes for Open {
    fn read(&mut self, offset: u64, len: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
        out.clear();
        out.resize(len as usize, 0);
        let mut filled = 0;
        while filled < out.len() {
            let at = offset + filled as u64;
            match backing::pread(self.fd.as_fd(), &mut out[filled..], at) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        out.truncate(filled);
        Ok(())
    }

    fn data(&mut self, offset: u64) -> Result<Option<u64>, Fault> {
        if self.dense {
            return Ok((offset < self.size).then_some(offset));
        }
        self.seek(offset, libc::SEEK_DATA)
    }

    fn hole(&mut self, offset: u64) -> Result<u64, Fault> {
        if self.dense {
            return Ok(self.size);
        }
        Ok(self.seek(offset, libc::SEEK_HOLE)?.unwrap_or(self.size))
    }
}
