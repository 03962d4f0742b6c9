//! The folder of a store and how it is reached: opened once, never through a symbolic link, and
//! used from then on through its descriptor. So it stays the same folder whatever is renamed or
//! mounted above it, and the socket in it has a short path however long its own is.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Why the folder of a store can't be used. Each names the folder and what to do.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{0} is a symbolic link: give the store by its real path, --store PATH")]
    Link(PathBuf),
    #[error("{0} is not a folder: give the store by its path, --store PATH")]
    NotFolder(PathBuf),
    #[error("{0} does not exist: give the store by its path, --store PATH")]
    Missing(PathBuf),
    #[error("the store {path} belongs to uid {owner}, you are uid {user}: run this as its owner")]
    Foreign {
        path: PathBuf,
        owner: u32,
        user: u32,
    },
    #[error("the store {path} can't be read: {source}; run this as its owner, or as root")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path} should hold the path of a store in one line: {reason}; give --store PATH")]
    BadPointer { path: PathBuf, reason: PointerFault },
}

/// What is wrong with a pointer file.
#[derive(Debug, thiserror::Error)]
pub enum PointerFault {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {max} bytes", max = POINTER_MAX)]
    TooLong,
    #[error("the path in it is not absolute")]
    Relative,
    #[error(transparent)]
    Io(io::Error),
}

/// Longest pointer file, bytes: PATH_MAX.
const POINTER_MAX: u64 = 4096;

/// A store's folder, held open.
#[derive(Debug)]
pub struct Folder {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens an existing folder, enough to reach what is in it.
    ///
    /// # Errors
    /// When it is no folder, or a symbolic link.
    pub fn open(path: &Path) -> Result<Folder, FolderError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| explain(path, errno))?;
        Ok(Folder {
            descriptor,
            path: path.to_owned(),
        })
    }

    /// Must hold before this process opens the store itself.
    ///
    /// # Errors
    /// When it is somebody else's: what another user can write must not decide what root reads,
    /// and what root writes there its owner could not open again.
    pub fn check_owner(&self) -> Result<(), FolderError> {
        let unreadable = |errno: Errno| FolderError::Unreadable {
            path: self.path.clone(),
            source: errno.into(),
        };
        let owner = rustix::fs::fstat(&self.descriptor)
            .map_err(unreadable)?
            .st_uid;
        let user = rustix::process::geteuid().as_raw();
        if owner == user {
            return Ok(());
        }
        Err(FolderError::Foreign {
            path: self.path.clone(),
            owner,
            user,
        })
    }

    /// What the user calls it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path to something in it that holds whatever is mounted or renamed above.
    pub fn inside(&self, name: &str) -> PathBuf {
        PathBuf::from(format!(
            "/proc/self/fd/{}/{name}",
            self.descriptor.as_raw_fd()
        ))
    }
}

fn explain(path: &Path, errno: Errno) -> FolderError {
    let path = path.to_owned();
    match errno {
        Errno::NOENT => FolderError::Missing(path),
        // O_PATH|O_NOFOLLOW|O_DIRECTORY answers a symbolic link with ENOTDIR.
        Errno::NOTDIR | Errno::LOOP if path.is_symlink() => FolderError::Link(path),
        Errno::NOTDIR => FolderError::NotFolder(path),
        errno => FolderError::Unreadable {
            path,
            source: errno.into(),
        },
    }
}

/// `.NAME.rewind` beside NAME: the default place of a store, or of a file that points to one.
/// `None` for `/`.
pub fn default_place(dir: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(dir.file_name()?);
    name.push(".rewind");
    Some(dir.with_file_name(name))
}

/// Whether a file name has the form of `default_place`.
pub fn is_default_name(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.len() > ".".len() + ".rewind".len() && name.starts_with(b".") && name.ends_with(b".rewind")
}

/// The store that stands at a default place: the place itself when it is a folder, what it
/// points to when it is a file, `None` when there is nothing.
///
/// # Errors
/// When it is something else, or the pointer leads nowhere that could be a store.
pub fn at_place(place: &Path) -> Result<Option<PathBuf>, FolderError> {
    let unreadable = |source: io::Error| FolderError::Unreadable {
        path: place.to_owned(),
        source,
    };
    let meta = match fs::symlink_metadata(place) {
        Ok(meta) => meta,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    if meta.is_dir() {
        return Ok(Some(place.to_owned()));
    }
    if meta.is_symlink() {
        return Err(FolderError::Link(place.to_owned()));
    }
    if !meta.is_file() {
        return Err(FolderError::NotFolder(place.to_owned()));
    }
    read_pointer(place)
        .map(Some)
        .map_err(|reason| FolderError::BadPointer {
            path: place.to_owned(),
            reason,
        })
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        // A name that is too long for a sibling can't have one.
        Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG)
    )
}

fn read_pointer(place: &Path) -> Result<PathBuf, PointerFault> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(place, flags, Mode::empty())
        .map_err(|errno| PointerFault::Io(errno.into()))?;
    let mut line = Vec::new();
    fs::File::from(file)
        .take(POINTER_MAX + 1)
        .read_to_end(&mut line)
        .map_err(PointerFault::Io)?;
    if line.len() as u64 > POINTER_MAX {
        return Err(PointerFault::TooLong);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.is_empty() {
        return Err(PointerFault::Empty);
    }
    let path = PathBuf::from(OsString::from_vec(line));
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(PointerFault::Relative)
    }
}

/// Writes the file that points from a default place to a store.
///
/// # Errors
/// When the place is taken or can't be written.
pub fn write_pointer(place: &Path, store: &Path) -> io::Result<()> {
    let mut line = store.as_os_str().as_bytes().to_vec();
    line.push(b'\n');
    // A new file under another name first: nobody ever reads half a line.
    let mut name = place.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    fs::write(&fresh, &line)?;
    fs::File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_place_is_the_hidden_sibling() {
        assert_eq!(
            default_place(Path::new("/home/me/proj")),
            Some(PathBuf::from("/home/me/.proj.rewind"))
        );
        assert_eq!(default_place(Path::new("/")), None);
        assert!(is_default_name(OsStr::new(".proj.rewind")));
        assert!(!is_default_name(OsStr::new(".rewind")));
        assert!(!is_default_name(OsStr::new("proj.rewind")));
    }

    #[test]
    fn a_pointer_leads_to_the_store_and_a_broken_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join(".p.rewind");
        assert!(at_place(&place).unwrap().is_none());
        write_pointer(&place, Path::new("/elsewhere/a store")).unwrap();
        assert_eq!(
            at_place(&place).unwrap(),
            Some(PathBuf::from("/elsewhere/a store"))
        );
        for (text, fault) in [
            ("", "it is empty"),
            ("x/y\n", "the path in it is not absolute"),
        ] {
            fs::write(&place, text).unwrap();
            let message = at_place(&place).unwrap_err().to_string();
            assert!(message.contains(fault), "{message}");
        }
        fs::remove_file(&place).unwrap();
        fs::create_dir(&place).unwrap();
        assert_eq!(at_place(&place).unwrap(), Some(place.clone()));
    }

    #[test]
    fn a_link_is_never_followed_to_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join(".p.rewind");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(matches!(at_place(&link), Err(FolderError::Link(_))));
        assert!(matches!(Folder::open(&link), Err(FolderError::Link(_))));
        assert!(Folder::open(dir.path()).is_ok());
    }
}
