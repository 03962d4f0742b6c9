//! The folder of a store: `rocks/` (the database) and `format` (one line). It is reached through
//! one descriptor, so that a folder that is moved, or a link that is planted above it, leads no
//! write elsewhere; and it is opened once in a process, because the lock of the database is one
//! of the process and goes with any descriptor of its file.

use super::{Result, Store, StoreError};
use parking_lot::Mutex;
use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Format that this program writes and the newest that it reads.
pub(super) const FORMAT: u32 = 1;
/// Name of the database's folder.
const ROCKS: &str = "rocks";
/// Name of the file that says what this is.
const FORMAT_FILE: &str = "format";
/// The same while it is written.
const FORMAT_NEW: &str = "format.new";
/// What it says, before the number.
const FORMAT_LINE: &str = "rewindfs store ";
/// Longest such file, bytes.
const FORMAT_MAX: u64 = 64;

/// The folders that this process has open, by device and inode.
static OPEN: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    identity: (u64, u64),
    /// Inode of the database's lock file, once it is open.
    lock: Mutex<Option<u64>>,
}

impl Folder {
    /// Opens the folder of a store.
    pub fn open(path: &Path) -> Result<Folder> {
        let folder = Folder::take(path).map_err(|error| match error {
            // What is no store need not be as private as one.
            StoreError::Exposed { path, .. } if !path.join(FORMAT_FILE).exists() => {
                StoreError::NotAStore { path }
            }
            error => error,
        })?;
        let line = folder.read_format()?;
        let found = line
            .strip_prefix(FORMAT_LINE)
            .and_then(|number| number.trim_end().parse().ok())
            .ok_or_else(|| folder.not_a_store())?;
        if found > FORMAT {
            return Err(StoreError::NewerFormat {
                path: path.to_path_buf(),
                found,
                known: FORMAT,
            });
        }
        Ok(folder)
    }

    /// Makes the folder of a store that is to be; it may exist if nothing is in it but what a
    /// process left that died before it was done.
    pub fn create(path: &Path) -> Result<Folder> {
        match fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(unreadable(path, errno)),
        }
        let folder = Folder::take(path)?;
        let entries = fs::Dir::read_from(&folder.fd).map_err(|errno| unreadable(path, errno))?;
        for entry in entries {
            let entry = entry.map_err(|errno| unreadable(path, errno))?;
            let name = entry.file_name().to_bytes();
            let ours = OF_HALF_MADE.iter().any(|ours| ours.as_bytes() == name);
            if !matches!(name, b"." | b"..") && !ours {
                return Err(folder.not_empty());
            }
        }
        Ok(folder)
    }

    fn take(path: &Path) -> Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => StoreError::NotAStore {
                path: path.to_path_buf(),
            },
            errno => unreadable(path, errno),
        })?;
        let stat = fs::fstat(&fd).map_err(|errno| unreadable(path, errno))?;
        let caller = rustix::process::geteuid().as_raw();
        if stat.st_uid != 0 && stat.st_uid != caller {
            return Err(StoreError::Owner {
                path: path.to_path_buf(),
                owner: stat.st_uid,
            });
        }
        let mode = stat.st_mode & 0o777;
        if mode & 0o077 != 0 {
            let path = path.to_path_buf();
            return Err(StoreError::Exposed { path, mode });
        }
        let identity = (stat.st_dev, stat.st_ino);
        if !OPEN.lock().insert(identity) {
            let path = path.to_path_buf();
            return Err(StoreError::Locked { path });
        }
        Ok(Folder {
            fd,
            path: path.to_path_buf(),
            identity,
            lock: Mutex::new(None),
        })
    }

    /// The folder itself.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Where the database is, for as long as this folder is open.
    pub fn database(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{ROCKS}", self.fd.as_raw_fd()))
    }

    /// Notes the lock of the database that was opened.
    pub fn note_lock(&self) -> Result<()> {
        *self.lock.lock() = Some(self.lock_ino()?);
        Ok(())
    }

    /// Says what this is: the last step of making a store.
    pub fn write_format(&self) -> Result<()> {
        let failed = |source: std::io::Error| StoreError::Io {
            action: "write its format file",
            source,
        };
        let truncate = OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let flags = OFlags::WRONLY | OFlags::CREATE | truncate;
        let fd = fs::openat(&self.fd, FORMAT_NEW, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| failed(errno.into()))?;
        let mut file = File::from(fd);
        writeln!(file, "{FORMAT_LINE}{FORMAT}").map_err(failed)?;
        file.sync_all().map_err(failed)?;
        // Under its name it is whole: who dies before leaves a store that is not made yet.
        fs::renameat(&self.fd, FORMAT_NEW, &self.fd, FORMAT_FILE)
            .map_err(|errno| failed(errno.into()))?;
        fs::fsync(&self.fd).map_err(|errno| failed(errno.into()))
    }

    fn read_format(&self) -> Result<String> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            fs::openat(&self.fd, FORMAT_FILE, flags, Mode::empty()).map_err(
                |errno| match errno {
                    Errno::NOENT | Errno::LOOP => self.not_a_store(),
                    errno => unreadable(&self.path, errno),
                },
            )?;
        let mut line = String::new();
        match File::from(fd).take(FORMAT_MAX).read_to_string(&mut line) {
            Ok(_) => Ok(line),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Err(self.not_a_store())
            }
            Err(source) => Err(StoreError::Unreadable {
                path: self.path.clone(),
                source,
            }),
        }
    }

    /// It holds something that must not be written over.
    pub fn not_empty(&self) -> StoreError {
        StoreError::NotEmpty {
            path: self.path.clone(),
        }
    }

    fn not_a_store(&self) -> StoreError {
        StoreError::NotAStore {
            path: self.path.clone(),
        }
    }

    fn lock_ino(&self) -> Result<u64> {
        // Never opened: closing any descriptor of it would release the lock.
        fs::statat(&self.fd, format!("{ROCKS}/LOCK"), AtFlags::SYMLINK_NOFOLLOW)
            .map(|stat| stat.st_ino)
            .map_err(|_| StoreError::Removed)
    }

    /// Whether what is written still ends up in the folder that was opened: a database goes on
    /// happily in files that were unlinked.
    fn check(&self) -> Result<()> {
        match fs::fstat(&self.fd) {
            Ok(stat) if stat.st_nlink > 0 => {}
            _ => return Err(StoreError::Removed),
        }
        if *self.lock.lock() == Some(self.lock_ino()?) {
            return Ok(());
        }
        Err(StoreError::Removed)
    }

    /// Turns the database's word for a lock that is taken into ours.
    pub fn locked(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Database { source } if is_locked(&source) => StoreError::Locked {
                path: self.path.clone(),
            },
            other => other,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        OPEN.lock().remove(&self.identity);
    }
}

fn is_locked(error: &rocksdb::Error) -> bool {
    let message: &str = error.as_ref();
    message.contains("While lock file") || message.contains("lock hold by current process")
}

fn unreadable(path: &Path, errno: Errno) -> StoreError {
    StoreError::Unreadable {
        path: path.to_path_buf(),
        source: errno.into(),
    }
}

/// Whether a file in the database's folder is one of RocksDB's, by its name.
fn is_of_database(name: &str) -> bool {
    let numbered = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '-');
    match name.rsplit_once('.') {
        Some((number, "log" | "sst")) => numbered(number),
        // The list of options is written under another name before it has its own.
        Some((number, "dbtmp")) => numbered(number.strip_prefix("OPTIONS-").unwrap_or(number)),
        Some(_) => name.starts_with("LOG.old."),
        None => {
            matches!(name, "CURRENT" | "IDENTITY" | "LOCK" | "LOG")
                || name.strip_prefix("MANIFEST-").is_some_and(numbered)
                || name.strip_prefix("OPTIONS-").is_some_and(numbered)
        }
    }
}

/// What a store has before its format is written, which comes last.
const OF_HALF_MADE: [&str; 3] = [ROCKS, FORMAT_NEW, super::gaps::STOPPED];

impl Store {
    /// Whether a folder holds what a process left that died while it made a store there, and
    /// nothing else: `create` goes on with it.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn is_half_made(path: &Path) -> std::io::Result<bool> {
        let names = |dir: &Path| -> std::io::Result<Vec<_>> {
            let entries = std::fs::read_dir(dir)?;
            entries.map(|entry| Ok(entry?.file_name())).collect()
        };
        let found = names(path)?;
        let ours = |name: &std::ffi::OsString| OF_HALF_MADE.iter().any(|ours| name == ours);
        let rocks = path.join(ROCKS);
        let has_database = rocks.symlink_metadata().is_ok_and(|stat| stat.is_dir());
        if !found.iter().all(ours) || !has_database {
            return Ok(false);
        }
        let of_database = |name: &std::ffi::OsString| name.to_str().is_some_and(is_of_database);
        Ok(names(&rocks)?.iter().all(of_database))
    }

    /// That the store is still where it was opened; if not, nothing can be written any more.
    pub(super) fn check_folder(&self) -> Result<()> {
        match &self.folder {
            Some(folder) => {
                let _call = self.calls.begin();
                folder.check().inspect_err(|_| self.poison())
            }
            None => Ok(()),
        }
    }

    /// Bytes free, to an ordinary user, on the store's file system, and its size.
    ///
    /// # Errors
    /// The file system does not answer.
    pub fn free_space(&self) -> Result<(u64, u64)> {
        let Some(folder) = &self.folder else {
            return Ok((u64::MAX, u64::MAX));
        };
        let _call = self.calls.begin();
        let stat = fs::fstatvfs(&folder.fd).map_err(|errno| StoreError::Io {
            action: "ask for the free space of its file system",
            source: errno.into(),
        })?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok((bytes(stat.f_bavail), bytes(stat.f_blocks)))
    }

    /// Bytes that the chunks take in the database, and all other records, about.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn stored_bytes(&self) -> Result<(u64, u64)> {
        use crate::format::key::Family;
        let mut records = 0;
        for family in Family::ALL {
            if family != Family::Chunks {
                records += self.kv.stored_bytes(family)?;
            }
        }
        Ok((self.kv.stored_bytes(Family::Chunks)?, records))
    }

    /// Where the store is; `None` in memory.
    pub fn path(&self) -> Option<&Path> {
        self.folder.as_ref().map(|folder| folder.path.as_path())
    }
}
