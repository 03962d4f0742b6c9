//! One file of the live tree as long as the kernel or history is interested in it.
//!
//! Descriptors: `path` is an O_PATH descriptor, or, when descriptors are short, a file handle
//! (as root) or the place in the tree (as an ordinary user) from which one is made when needed.
//! `data` is a descriptor for reading or for both, opened at the first use.

use super::track::Track;
use crate::backing::{self, Handle, Stat};
use crate::format::record::Kind;
use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static SERIAL: AtomicU64 = AtomicU64::new(0);

/// How to get at the file.
#[derive(Default)]
struct PathSlot {
    descriptor: Option<Arc<OwnedFd>>,
    handle: Option<Handle>,
}

/// A descriptor for content.
#[derive(Default)]
struct DataSlot {
    descriptor: Option<Arc<OwnedFd>>,
    writable: bool,
}

/// A directory and a name in it.
#[derive(Clone)]
pub struct Place {
    pub parent: Arc<Inode>,
    pub name: Vec<u8>,
}

/// See the module's head.
pub struct Inode {
    /// nodeid, st_ino, and key of the family `live`; the root is 1.
    pub ino: u64,
    /// Never given twice, unlike `ino`, which comes back when a removed file is forgotten.
    pub serial: u64,
    pub kind: Kind,
    /// st_ino of the backing file.
    pub backing_ino: u64,
    path: Mutex<PathSlot>,
    data: Mutex<DataSlot>,
    /// Set by use, cleared by the clock of the descriptor budget.
    pub(super) recently_used: AtomicBool,
    /// Must stay open: the mode denies the daemon (an ordinary user) a second one.
    pub(super) data_pinned: AtomicBool,
    /// Where it stands; `None` for the root and for what has no name.
    pub(super) place: Mutex<Option<Place>>,
    /// Look-ups that the kernel has not forgotten.
    pub(super) lookups: AtomicU64,
    /// Reasons of our own to keep the entry: uncommitted versions, children, the scan.
    pub(super) pins: AtomicU64,
    /// Held by an operation on this file from before it is noted until it is done. When several
    /// are taken, in ascending order of `ino`; nothing waits while it holds one.
    pub io: Mutex<()>,
    /// A leaf lock: nothing else is taken, and no store is asked, while it is held.
    pub track: Mutex<Track>,
    /// Held by the thread that captures it; taken by nobody else.
    pub capturing: Mutex<()>,
}

impl std::fmt::Debug for Inode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inode({})", self.ino)
    }
}

impl Inode {
    pub(super) fn new(ino: u64, kind: Kind, backing_ino: u64) -> Inode {
        Inode {
            ino,
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            kind,
            backing_ino,
            path: Mutex::default(),
            data: Mutex::default(),
            recently_used: AtomicBool::new(false),
            data_pinned: AtomicBool::new(false),
            place: Mutex::new(None),
            lookups: AtomicU64::new(0),
            pins: AtomicU64::new(0),
            io: Mutex::new(()),
            track: Mutex::default(),
            capturing: Mutex::new(()),
        }
    }

    /// Where it stands, if it has a name.
    pub fn place(&self) -> Option<Place> {
        self.place.lock().clone()
    }

    /// Whether an O_PATH descriptor is held.
    pub fn holds_path(&self) -> bool {
        self.path.lock().descriptor.is_some()
    }

    pub(super) fn set_path(&self, descriptor: Arc<OwnedFd>) -> bool {
        self.path.lock().descriptor.replace(descriptor).is_none()
    }

    pub(super) fn set_handle(&self, handle: Handle) {
        self.path.lock().handle = Some(handle);
    }

    pub(super) fn take_path(&self) -> Option<Arc<OwnedFd>> {
        self.path.lock().descriptor.take()
    }

    /// An O_PATH descriptor of the file (of the root: a readable one).
    ///
    /// # Errors
    /// ESTALE when the file is not where it was any more.
    pub fn path(&self, mount: BorrowedFd<'_>) -> io::Result<Arc<OwnedFd>> {
        let handle = {
            let slot = self.path.lock();
            if let Some(descriptor) = &slot.descriptor {
                return Ok(descriptor.clone());
            }
            slot.handle.clone()
        };
        if let Some(handle) = handle {
            return backing::open_handle(mount, &handle).map(Arc::new);
        }
        let Some(place) = self.place() else {
            return Err(io::Error::from_raw_os_error(libc::ESTALE));
        };
        let parent = place.parent.path(mount)?;
        let descriptor = backing::open_path_at(parent.as_fd(), &place.name)?;
        if backing::stat_fd(descriptor.as_fd())?.ino != self.backing_ino {
            return Err(io::Error::from_raw_os_error(libc::ESTALE));
        }
        Ok(Arc::new(descriptor))
    }

    /// A descriptor for reading content, and for writing too if `write`. The second value says
    /// whether the number of held descriptors grew.
    pub(super) fn data(
        &self,
        mount: BorrowedFd<'_>,
        write: bool,
    ) -> io::Result<(Arc<OwnedFd>, bool)> {
        self.recently_used.store(true, Ordering::Relaxed);
        let mut slot = self.data.lock();
        if let Some(descriptor) = &slot.descriptor
            && (slot.writable || !write)
        {
            return Ok((descriptor.clone(), false));
        }
        let path = self.path(mount)?;
        let descriptor = Arc::new(backing::reopen(path.as_fd(), write)?);
        let grew = slot.descriptor.replace(descriptor.clone()).is_none();
        slot.writable = write;
        Ok((descriptor, grew))
    }

    pub(super) fn set_data(&self, descriptor: OwnedFd) -> bool {
        let mut slot = self.data.lock();
        slot.writable = true;
        slot.descriptor.replace(Arc::new(descriptor)).is_none()
    }

    pub(super) fn take_data(&self) -> Option<Arc<OwnedFd>> {
        let mut slot = self.data.lock();
        slot.writable = false;
        slot.descriptor.take()
    }

    /// The descriptor that did the writes, if there is one.
    pub fn written_data(&self) -> Option<Arc<OwnedFd>> {
        let slot = self.data.lock();
        if slot.writable {
            slot.descriptor.clone()
        } else {
            None
        }
    }

    /// Attributes as the backing directory has them.
    ///
    /// # Errors
    /// What fstat says, or ESTALE.
    pub fn stat(&self, mount: BorrowedFd<'_>) -> io::Result<Stat> {
        let path = self.path(mount)?;
        backing::stat_fd(path.as_fd())
    }
}
