//! One file of the live tree as long as the kernel or history is interested in it.
//!
//! It is reached by an O_PATH descriptor, or, when descriptors are short, by a file handle (as
//! root) or the place in the tree (as an ordinary user) from which one is made when needed.
//! Content is read and written through a second descriptor, opened at the first use.
//!
//! The kernel may know millions of files, so an entry is small: the bound is a test.

use super::name::Name;
use super::tracked::Tracked;
use crate::backing::{self, Handle, Stat};
use crate::format::record::Kind;
use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

const MARK_BITS: u32 = 3;
const MARK_MASK: u32 = (1 << MARK_BITS) - 1;

/// `data` can be written to. Changed while `slots` is locked.
const DATA_WRITABLE: u8 = 1;
/// Set by use, cleared by the clock of the descriptor budget.
pub(super) const RECENTLY_USED: u8 = 2;
/// `data` must stay open: the mode denies the daemon (an ordinary user) a second one.
pub(super) const DATA_PINNED: u8 = 4;

/// What is so of an entry or not, a bit for each.
#[derive(Default)]
pub(super) struct Flags(AtomicU8);

impl Flags {
    pub(super) fn has(&self, bit: u8) -> bool {
        self.0.load(Ordering::Relaxed) & bit != 0
    }

    pub(super) fn set(&self, bit: u8, value: bool) {
        // Mostly it is so already: that costs no write.
        if self.has(bit) != value {
            match value {
                true => self.0.fetch_or(bit, Ordering::Relaxed),
                false => self.0.fetch_and(!bit, Ordering::Relaxed),
            };
        }
    }

    /// Clears it, and says what it was.
    pub(super) fn take(&self, bit: u8) -> bool {
        self.0.fetch_and(!bit, Ordering::Relaxed) & bit != 0
    }
}

/// How to get at the file.
#[derive(Default)]
enum Reach {
    /// By its place.
    #[default]
    Place,
    Descriptor(Arc<OwnedFd>),
    Handle(Handle),
}

/// What is held of the file, behind one lock: there may be millions of entries.
#[derive(Default)]
struct Slots {
    reach: Reach,
    /// For content.
    data: Option<Arc<OwnedFd>>,
    /// Where it stands; `None` for the root and for what has no name.
    place: Option<(Arc<Inode>, Name)>,
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
    pub kind: Kind,
    /// st_ino of the backing file.
    pub backing_ino: u64,
    slots: Mutex<Slots>,
    pub(super) flags: Flags,
    /// Look-ups that the kernel has not forgotten. At its largest value it is not counted any
    /// more: the entry stays for ever.
    lookups: AtomicU32,
    /// Reasons of our own to keep the entry: uncommitted versions, children, the scan.
    pub(super) pins: AtomicU32,
    /// Held by an operation on this file from before it is noted until it is done. When several
    /// are taken, in ascending order of `ino`; nothing waits while it holds one.
    pub io: Mutex<()>,
    pub track: Tracked,
    /// Held by the thread that captures it; taken by nobody else.
    pub capturing: Mutex<()>,
    /// Whether it is recorded, and by which of the rules that there were: the affair of `capture`.
    mark: AtomicU32,
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
            kind,
            backing_ino,
            slots: Mutex::default(),
            flags: Flags::default(),
            lookups: AtomicU32::new(0),
            pins: AtomicU32::new(0),
            io: Mutex::new(()),
            track: Tracked::default(),
            capturing: Mutex::new(()),
            mark: AtomicU32::new(0),
        }
    }

    /// Tells it from every other file that somebody holds, unlike `ino`, which comes back when a
    /// removed file is forgotten.
    pub fn serial(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Counts a look-up.
    pub(super) fn look_up(&self) {
        let _ = self
            .lookups
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_add(1));
    }

    /// Counts look-ups out; true if none is left.
    pub(super) fn forget(&self, count: u64) -> bool {
        let less = |n: u32| match n {
            u32::MAX => None,
            _ => Some(u32::try_from(u64::from(n).saturating_sub(count)).unwrap_or(0)),
        };
        self.lookups
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
            .is_ok_and(|before| u64::from(before) <= count)
    }

    /// Whether the kernel knows it.
    pub(super) fn is_looked_up(&self) -> bool {
        self.lookups.load(Ordering::Acquire) > 0
    }

    /// The mark last set: (the generation of rules that it was made by, its bits).
    pub fn mark(&self) -> (u32, u8) {
        let word = self.mark.load(Ordering::Acquire);
        (word >> MARK_BITS, (word & MARK_MASK) as u8)
    }

    /// Sets the mark; of `bits` the lowest 3.
    pub fn set_mark(&self, generation: u32, bits: u8) {
        let word = generation << MARK_BITS | u32::from(bits) & MARK_MASK;
        self.mark.store(word, Ordering::Release);
    }

    /// Where it stands, if it has a name.
    pub fn place(&self) -> Option<Place> {
        let slots = self.slots.lock();
        let (parent, name) = slots.place.as_ref()?;
        Some(Place {
            parent: parent.clone(),
            name: name.as_bytes().to_vec(),
        })
    }

    /// Moves it; the place that it had is given back.
    pub(super) fn replace_place(
        &self,
        place: Option<(Arc<Inode>, Name)>,
    ) -> Option<(Arc<Inode>, Name)> {
        std::mem::replace(&mut self.slots.lock().place, place)
    }

    /// Whether it is not known where it stands.
    pub fn is_placeless(&self) -> bool {
        self.slots.lock().place.is_none()
    }

    /// Whether an O_PATH descriptor is held.
    pub fn holds_path(&self) -> bool {
        matches!(self.slots.lock().reach, Reach::Descriptor(_))
    }

    /// True if none was held before.
    pub(super) fn set_path(&self, descriptor: Arc<OwnedFd>) -> bool {
        let new = Reach::Descriptor(descriptor);
        let old = std::mem::replace(&mut self.slots.lock().reach, new);
        !matches!(old, Reach::Descriptor(_))
    }

    pub(super) fn set_handle(&self, handle: Handle) {
        self.slots.lock().reach = Reach::Handle(handle);
    }

    pub(super) fn take_path(&self) -> Option<Arc<OwnedFd>> {
        let mut slots = self.slots.lock();
        match std::mem::take(&mut slots.reach) {
            Reach::Descriptor(descriptor) => Some(descriptor),
            other => {
                slots.reach = other;
                None
            }
        }
    }

    /// An O_PATH descriptor of the file (of the root: a readable one).
    ///
    /// # Errors
    /// ESTALE when the file is not where it was any more.
    pub fn path(&self, mount: BorrowedFd<'_>) -> io::Result<Arc<OwnedFd>> {
        if let Some(reached) = self.reach(mount) {
            return reached;
        }
        // By its place: up to the nearest directory that is reached by itself, and down again
        // with one descriptor at a time, however deep it is.
        let stale = || io::Error::from_raw_os_error(libc::ESTALE);
        let mut down = Vec::new();
        let mut place = self.place().ok_or_else(stale)?;
        let mut number = self.backing_ino;
        let mut descriptor = loop {
            down.push((place.name, number));
            if let Some(reached) = place.parent.reach(mount) {
                break reached?;
            }
            number = place.parent.backing_ino;
            place = place.parent.place().ok_or_else(stale)?;
        };
        while let Some((name, number)) = down.pop() {
            let next = backing::open_path_at(descriptor.as_fd(), &name)?;
            if backing::stat_fd(next.as_fd())?.ino != number {
                return Err(stale());
            }
            descriptor = Arc::new(next);
        }
        Ok(descriptor)
    }

    /// Its descriptor, or one made from its handle; `None` if it is reached by its place only.
    fn reach(&self, mount: BorrowedFd<'_>) -> Option<io::Result<Arc<OwnedFd>>> {
        let slots = self.slots.lock();
        match &slots.reach {
            Reach::Place => None,
            Reach::Descriptor(descriptor) => Some(Ok(descriptor.clone())),
            Reach::Handle(handle) => {
                let handle = handle.clone();
                drop(slots);
                Some(backing::open_handle(mount, &handle).map(Arc::new))
            }
        }
    }

    /// A descriptor for reading content, and for writing too if `write`. The second value says
    /// whether the number of held descriptors grew.
    pub(super) fn data(
        &self,
        mount: BorrowedFd<'_>,
        write: bool,
    ) -> io::Result<(Arc<OwnedFd>, bool)> {
        self.flags.set(RECENTLY_USED, true);
        {
            let slots = self.slots.lock();
            if let Some(descriptor) = &slots.data
                && (!write || self.flags.has(DATA_WRITABLE))
            {
                return Ok((descriptor.clone(), false));
            }
        }
        let path = self.path(mount)?;
        let descriptor = Arc::new(backing::reopen(path.as_fd(), write)?);
        let mut slots = self.slots.lock();
        // Somebody may have been quicker, and have one that can do more.
        if let Some(other) = &slots.data
            && (!write || self.flags.has(DATA_WRITABLE))
        {
            return Ok((other.clone(), false));
        }
        let grew = slots.data.replace(descriptor.clone()).is_none();
        self.flags.set(DATA_WRITABLE, write);
        Ok((descriptor, grew))
    }

    pub(super) fn set_data(&self, descriptor: OwnedFd) -> bool {
        let mut slots = self.slots.lock();
        self.flags.set(DATA_WRITABLE, true);
        slots.data.replace(Arc::new(descriptor)).is_none()
    }

    pub(super) fn take_data(&self) -> Option<Arc<OwnedFd>> {
        let mut slots = self.slots.lock();
        self.flags.set(DATA_WRITABLE, false);
        slots.data.take()
    }

    /// The descriptor that did the writes, if there is one.
    pub fn written_data(&self) -> Option<Arc<OwnedFd>> {
        let slots = self.slots.lock();
        let writable = self.flags.has(DATA_WRITABLE);
        slots.data.clone().filter(|_| writable)
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

/// A deep tree is let go of level by level: by itself each level would be a call within a call.
impl Drop for Inode {
    fn drop(&mut self) {
        let mut next = self.slots.get_mut().place.take();
        while let Some((parent, _)) = next {
            next =
                Arc::into_inner(parent).and_then(|mut parent| parent.slots.get_mut().place.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        // With the two words of the Arc and the one of malloc it takes 144 bytes, its name included.
        assert!(size_of::<Inode>() <= 120, "{} bytes", size_of::<Inode>());
    }

    #[test]
    fn look_ups_beyond_what_can_be_counted_are_never_forgotten() {
        let inode = Inode::new(2, Kind::File, 2);
        inode.look_up();
        inode.look_up();
        assert!(!inode.forget(1));
        assert!(inode.forget(1));
        assert!(!inode.is_looked_up());
        inode.lookups.store(u32::MAX - 1, Ordering::Relaxed);
        inode.look_up();
        inode.look_up();
        assert!(!inode.forget(u64::MAX));
        assert!(inode.is_looked_up());
    }

    #[test]
    fn a_deep_tree_is_let_go_of_on_a_small_stack() {
        let thread = std::thread::Builder::new().stack_size(64 << 10);
        let dropped = thread.spawn(|| {
            let mut deepest = Arc::new(Inode::new(1, Kind::Dir, 1));
            for ino in 2..100_000 {
                let child = Arc::new(Inode::new(ino, Kind::Dir, ino));
                child.replace_place(Some((deepest, Name::new(b"d"))));
                deepest = child;
            }
            drop(deepest);
        });
        dropped.expect("a thread").join().expect("no overflow");
    }
}
