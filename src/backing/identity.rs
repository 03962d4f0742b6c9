//! Acting as the caller: identity, capabilities and umask of one thread.
//!
//! The kernel has checked every permission before it asks us (default_permissions), so identity is
//! not about access. It decides what the backing file system derives from it: the owner of a new
//! file, whose quota a block counts on, who may use the last reserve, and whether a write clears
//! setuid. Hence, for another user than root:
//!  1. fsuid and fsgid are the caller's.
//!  2. All capabilities stay, though setfsuid takes those of the file system away: the caller's
//!     supplementary groups are not known here, and with them he may have had access.
//!  3. But CAP_SYS_RESOURCE (reserves, quotas) and CAP_SYS_ADMIN (names of trusted attributes) go.
//!  4. CAP_FSETID goes when asked: so the backing kernel clears setuid and setgid bits on writes.
//!
//! Where nothing is taken of the file system (`without_taking_space`), and for root, what is left of
//! root's identity is as good as our own: most requests change nothing of their thread.
//!
//! All of this is per thread in Linux (the C library's wrappers of other calls are not, hence the
//! raw ones here). What a thread was set to is remembered, and it is left so: the next request of
//! the same caller then costs nothing.

use rustix::fs::Mode;
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};
use std::cell::Cell;

/// What a thread is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    uid: u32,
    gid: u32,
    /// Capabilities that are not in effect.
    dropped: CapabilitySet,
}

/// What is known of this thread.
#[derive(Clone, Copy, Debug)]
struct Thread {
    prepared: bool,
    umask: u32,
    current: Identity,
    /// The identity with which it was started.
    own: Identity,
    permitted: CapabilitySet,
    inheritable: CapabilitySet,
    /// `as_caller` and `as_self` that are running: only the outermost may leave its identity.
    depth: u32,
    /// The innermost of them takes any identity that can do what our own can.
    lenient: bool,
    /// False for an ordinary user, who has no other identity to take.
    switches: bool,
}

thread_local! {
    static THREAD: Cell<Option<Thread>> = const { Cell::new(None) };
}

/// Called once by each thread that serves requests: gives it an umask of its own, 0, and takes
/// CAP_SYS_RESOURCE out of effect.
pub fn prepare_thread() {
    let mut thread = this_thread();
    if thread.prepared {
        return;
    }
    // Safe because only the working directory, the root and the umask are unshared, not the
    // table of descriptors.
    if let Err(error) = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) } {
        log::error!("this thread can't have an umask of its own: {error}");
    }
    rustix::process::umask(Mode::empty());
    thread.umask = 0;
    thread.prepared = true;
    thread.own.dropped |= CapabilitySet::SYS_RESOURCE;
    let own = thread.own;
    switch(&mut thread, own);
    THREAD.set(Some(thread));
}

impl Thread {
    /// Whether what it is set to can do what its own identity can.
    fn can_do_as_own(&self) -> bool {
        let (current, own) = (self.current, self.own);
        (current.uid, current.gid) == (own.uid, own.gid) && own.dropped.contains(current.dropped)
    }
}

/// Runs `work` as the caller. `umask` is the one of the caller where names are made, else `None`.
/// With `drop_fsetid` (writes, truncates, fallocate, copies) the backing kernel clears setuid bits.
pub fn as_caller<T>(
    uid: u32,
    gid: u32,
    umask: Option<u32>,
    drop_fsetid: bool,
    work: impl FnOnce() -> T,
) -> T {
    prepare_thread();
    let mut thread = this_thread();
    if let Some(umask) = umask.filter(|&umask| umask != thread.umask) {
        rustix::process::umask(Mode::from_bits_retain(umask & 0o777));
        thread.umask = umask;
    }
    let mut dropped = CapabilitySet::empty();
    if uid != 0 {
        dropped |= CapabilitySet::SYS_RESOURCE | CapabilitySet::SYS_ADMIN;
    }
    if drop_fsetid {
        dropped |= CapabilitySet::FSETID;
    }
    run(thread, Identity { uid, gid, dropped }, false, work)
}

/// Runs `work` with the daemon's own identity, whatever `as_caller` left on this thread.
pub fn as_self<T>(work: impl FnOnce() -> T) -> T {
    let thread = this_thread();
    run(thread, thread.own, false, work)
}

/// Runs `work` with the daemon's own identity, or with one that can do more: what takes space in it
/// is done within `as_caller`.
pub fn without_taking_space<T>(work: impl FnOnce() -> T) -> T {
    let thread = this_thread();
    let wanted = if thread.can_do_as_own() {
        thread.current
    } else {
        thread.own
    };
    run(thread, wanted, true, work)
}

fn run<T>(mut thread: Thread, wanted: Identity, lenient: bool, work: impl FnOnce() -> T) -> T {
    let before = Restore(thread.current, thread.lenient);
    switch(&mut thread, wanted);
    thread.depth += 1;
    thread.lenient = lenient;
    THREAD.set(Some(thread));
    let _restore = before;
    work()
}

/// Ends one `run`, also when its work panics: the identity that was before, and whether it was lenient.
struct Restore(Identity, bool);

impl Drop for Restore {
    fn drop(&mut self) {
        let mut thread = this_thread();
        thread.depth -= 1;
        thread.lenient = self.1;
        if thread.depth > 0 && !(self.1 && thread.can_do_as_own()) {
            switch(&mut thread, self.0);
        }
        THREAD.set(Some(thread));
    }
}

/// Makes this thread `wanted`, with as few system calls as that takes.
fn switch(thread: &mut Thread, wanted: Identity) {
    let current = thread.current;
    if !thread.switches || current == wanted {
        return;
    }
    if current.gid != wanted.gid {
        set_fs_id(libc::SYS_setfsgid, wanted.gid);
    }
    if current.uid != wanted.uid {
        set_fs_id(libc::SYS_setfsuid, wanted.uid);
    }
    // Between two ordinary users setfsuid leaves the capabilities alone.
    let kernel_changed_them = (current.uid == 0) != (wanted.uid == 0);
    if kernel_changed_them || current.dropped != wanted.dropped {
        let sets = CapabilitySets {
            effective: thread.permitted - wanted.dropped,
            permitted: thread.permitted,
            inheritable: thread.inheritable,
        };
        if let Err(error) = rustix::thread::set_capabilities(None, sets) {
            log::error!("the capabilities of this thread can't be set: {error}");
        }
    }
    thread.current = wanted;
}

/// setfsuid or setfsgid, which never fail visibly.
fn set_fs_id(call: libc::c_long, id: u32) {
    // Safe because these two calls take a number and touch no memory.
    unsafe {
        libc::syscall(call, id);
    }
}

fn this_thread() -> Thread {
    THREAD.get().unwrap_or_else(|| {
        let sets = rustix::thread::capabilities(None).unwrap_or(CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        });
        let uid = rustix::process::geteuid();
        let own = Identity {
            uid: uid.as_raw(),
            gid: rustix::process::getegid().as_raw(),
            dropped: sets.permitted - sets.effective,
        };
        Thread {
            prepared: false,
            umask: u32::MAX,
            current: own,
            own,
            permitted: sets.permitted,
            inheritable: sets.inheritable,
            depth: 0,
            lenient: false,
            switches: uid.is_root(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backing::{mkdir_at, mknod_at, open_path_at, pwrite, reopen, stat_at};
    use std::fs::File;
    use std::os::fd::AsFd;

    fn effective() -> CapabilitySet {
        rustix::thread::capabilities(None)
            .expect("capget")
            .effective
    }

    /// On a thread of its own: what is tested is state of a thread.
    fn on_a_thread(work: impl FnOnce() + Send + 'static) {
        std::thread::spawn(work).join().expect("no panic");
    }

    fn am_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn new_files_belong_to_the_caller_and_have_his_umask() {
        on_a_thread(|| {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let root = File::open(dir.path()).expect("opened");
            let make = |uid, umask, name: &[u8]| {
                as_caller(uid, 4321, Some(umask), false, || {
                    mknod_at(root.as_fd(), name, libc::S_IFREG | 0o666, 0)
                })
                .expect("mknod");
                stat_at(root.as_fd(), name).expect("stat")
            };
            let first = make(1234, 0o027, b"a");
            assert_eq!(first.mode & 0o777, 0o640);
            let second = make(0, 0, b"b");
            assert_eq!(second.mode & 0o777, 0o666);
            if am_root() {
                assert_eq!((first.uid, first.gid, second.uid), (1234, 4321, 0));
            }
        });
    }

    #[test]
    fn the_umask_of_other_threads_stays() {
        on_a_thread(|| {
            let before = rustix::process::umask(Mode::from_bits_retain(0o027));
            on_a_thread(|| as_caller(0, 0, Some(0o777), false, || ()));
            let after = rustix::process::umask(before);
            assert_eq!(after.bits(), 0o027);
        });
    }

    #[test]
    fn a_write_as_an_ordinary_caller_clears_setuid() {
        if !am_root() {
            return;
        }
        on_a_thread(|| {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let root = File::open(dir.path()).expect("opened");
            as_caller(1234, 1234, Some(0), false, || {
                mknod_at(root.as_fd(), b"f", libc::S_IFREG | 0o4755, 0)
            })
            .expect("mknod");
            let path = open_path_at(root.as_fd(), b"f").expect("opened");
            let file = reopen(path.as_fd(), true).expect("reopened");
            let write = |uid, drop| {
                as_caller(uid, uid, None, drop, || pwrite(file.as_fd(), b"x", 0)).expect("pwrite");
                stat_at(root.as_fd(), b"f").expect("stat").mode & 0o7000
            };
            assert_eq!(write(1234, false), 0o4000);
            assert_eq!(write(1234, true), 0);
        });
    }

    #[test]
    fn capabilities_follow_the_caller_and_are_never_lost() {
        if !am_root() {
            return;
        }
        on_a_thread(|| {
            let all = effective();
            as_caller(1000, 1000, None, true, || {
                assert!(effective().contains(CapabilitySet::DAC_OVERRIDE));
                assert!(!effective().contains(CapabilitySet::FSETID));
                assert!(!effective().contains(CapabilitySet::SYS_RESOURCE));
                as_self(|| assert!(effective().contains(CapabilitySet::FSETID)));
                assert!(!effective().contains(CapabilitySet::FSETID));
            });
            as_caller(1001, 1001, None, false, || {
                assert!(effective().contains(CapabilitySet::FSETID));
                assert!(!effective().contains(CapabilitySet::SYS_RESOURCE));
            });
            as_caller(0, 0, None, false, || assert_eq!(effective(), all));
            as_self(|| assert_eq!(effective(), all - CapabilitySet::SYS_RESOURCE));
        });
    }

    #[test]
    fn requests_of_root_leave_their_thread_as_it_is() {
        if !am_root() {
            return;
        }
        on_a_thread(|| {
            let all = effective();
            prepare_thread();
            let of_root = || as_caller(0, 0, None, false, || assert_eq!(effective(), all));
            without_taking_space(|| {
                of_root();
                assert_eq!(effective(), all);
            });
            without_taking_space(|| assert_eq!(effective(), all));
            as_self(|| assert_eq!(effective(), all - CapabilitySet::SYS_RESOURCE));
            // What an ordinary user, or a write, took away comes back.
            let needs_all = || {
                as_caller(1000, 1000, None, true, || ());
                assert!(effective().contains(CapabilitySet::FSETID | CapabilitySet::SYS_ADMIN));
            };
            without_taking_space(needs_all);
            as_caller(0, 0, None, true, || {
                without_taking_space(|| assert!(effective().contains(CapabilitySet::FSETID)));
                assert!(!effective().contains(CapabilitySet::FSETID));
            });
        });
    }

    #[test]
    fn a_panic_leaves_no_wrong_identity_behind() {
        on_a_thread(|| {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let root = File::open(dir.path()).expect("opened");
            let panicked = std::panic::catch_unwind(|| {
                as_caller(1234, 1234, None, false, || {
                    as_caller(5, 5, None, false, || panic!("on purpose"))
                })
            });
            assert!(panicked.is_err());
            as_self(|| mkdir_at(root.as_fd(), b"d", 0o700)).expect("mkdir");
            let made = stat_at(root.as_fd(), b"d").expect("stat");
            assert_eq!(made.uid, rustix::process::geteuid().as_raw());
        });
    }
}
