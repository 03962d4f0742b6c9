//! Brings what was stored through shared mappings into the file system, before a snapshot.
//!
//! No system call tells of an mmap or of a store through one, and syncfs on FUSE does not wait. But
//! inval_inode writes the dirty pages of an inode back and waits for it. So: every shared mapping
//! of our device, found in /proc/*/maps, and one inval_inode for each of their inodes. Read-only
//! ones too: they may have been writable before an mprotect.
//!
//! Invariants:
//!  1. inval_inode waits for WRITE requests that our event loops serve: it is sent by a thread of
//!     its own, which holds no lock and is never waited for by a loop.
//!  2. /proc/PID/maps may wait for a process that waits for us: it is read by another thread, which
//!     is left behind when it hangs.
//!  3. `flush` returns in time, and says what was not seen.

use crate::fuse::processes::{mappings, others, proc_file};
use crossbeam_channel::{Receiver, Sender};
use fuser::{INodeNo, Notifier};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Threads that look at processes: if one hangs, the other goes on with the rest.
const SEARCHERS: usize = 2;
/// Threads that may hang in /proc at the same time; with more, nothing is looked at.
const HANGING_MAX: usize = 4;

/// What a flush could not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Processes whose mappings we may not see.
    pub processes: u64,
    /// Inodes that the kernel did not write back.
    pub failed: u64,
    /// The time was over before all had been looked at or written.
    pub cut_short: bool,
}

impl Unseen {
    /// Everything was looked at and written.
    pub fn is_nothing(&self) -> bool {
        *self == Unseen::default()
    }
}

/// Flushes mapped files.
pub trait Flush: Send + Sync {
    /// Returns when every store made through a shared mapping before the call has been written, or
    /// after `at_most`. Not to be called by a thread that serves requests or holds a lock.
    fn flush(&self, at_most: Duration) -> Unseen;
}

/// What is sent to the thread that flushes.
struct Request {
    device: (u32, u32),
    deadline: Instant,
    done: Sender<Unseen>,
}

/// The flusher of one session.
pub(super) struct Flusher {
    requests: Sender<Request>,
    device: (u32, u32),
}

/// Whose processes can have our files mapped, and by what means files are found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// Set when only this user can enter the mount.
    pub only_uid: Option<u32>,
    /// Files that are open count, too: the kernel keeps their writes back (`-o writeback`).
    pub open_files: bool,
}

impl Flusher {
    /// Starts the thread; it ends with the flusher.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn start(notifier: Notifier, minor: u32, scope: Scope) -> io::Result<Flusher> {
        let (requests, queue) = crossbeam_channel::bounded::<Request>(1);
        let invalidate = move |ino| notifier.inval_inode(INodeNo(ino), 0, 0);
        std::thread::Builder::new()
            .name("flusher".to_string())
            .spawn(move || serve(&queue, scope, &invalidate))?;
        Ok(Flusher {
            requests,
            device: (0, minor),
        })
    }
}

impl Flush for Flusher {
    fn flush(&self, at_most: Duration) -> Unseen {
        let nothing_done = Unseen {
            cut_short: true,
            ..Unseen::default()
        };
        let deadline = Instant::now() + at_most;
        let (done, answer) = crossbeam_channel::bounded(1);
        let request = Request {
            device: self.device,
            deadline,
            done,
        };
        // The thread may still be busy with an earlier request that did not end in time.
        if self.requests.send_deadline(request, deadline).is_err() {
            return nothing_done;
        }
        answer.recv_deadline(deadline).unwrap_or(nothing_done)
    }
}

/// The thread: one request after the other.
fn serve(queue: &Receiver<Request>, scope: Scope, invalidate: &dyn Fn(u64) -> io::Result<()>) {
    let hanging = Arc::new(AtomicUsize::new(0));
    while let Ok(request) = queue.recv() {
        let unseen = flush(&request, scope, &hanging, invalidate);
        // The asker may have gone.
        let _ = request.done.send(unseen);
    }
}

fn flush(
    request: &Request,
    scope: Scope,
    hanging: &Arc<AtomicUsize>,
    invalidate: &dyn Fn(u64) -> io::Result<()>,
) -> Unseen {
    let mut unseen = Unseen::default();
    let Some(found) = search(request.device, scope, hanging) else {
        unseen.cut_short = true;
        return unseen;
    };
    let mut flushed = HashSet::new();
    loop {
        match found.recv_deadline(request.deadline) {
            Ok(Found::Inode(ino)) => {
                if flushed.insert(ino)
                    && let Err(error) = invalidate(ino)
                {
                    log::warn!("the mapped pages of inode {ino} were not written: {error}");
                    unseen.failed += 1;
                }
            }
            Ok(Found::Unseen) => unseen.processes += 1,
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => {
                unseen.cut_short = true;
                return unseen;
            }
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return unseen,
        }
    }
}

/// What the search comes upon.
enum Found {
    Inode(u64),
    /// A process that can't be looked at.
    Unseen,
}

/// Starts the threads that go through the processes; `None` when too many hang already.
fn search(device: (u32, u32), scope: Scope, hanging: &Arc<AtomicUsize>) -> Option<Receiver<Found>> {
    let (sender, found) = crossbeam_channel::unbounded();
    let Ok(pids) = others() else {
        // Nobody can be looked at; nobody hears of it only if nobody listens.
        let _ = sender.send(Found::Unseen);
        return Some(found);
    };
    let pids = Arc::new(Mutex::new(pids));
    let mut started = 0;
    for _ in 0..SEARCHERS {
        if hanging.fetch_add(1, Ordering::Relaxed) >= HANGING_MAX {
            hanging.fetch_sub(1, Ordering::Relaxed);
            break;
        }
        let (pids, sender, hanging_) = (pids.clone(), sender.clone(), hanging.clone());
        let spawned = std::thread::Builder::new()
            .name("maps".to_string())
            .spawn(move || {
                look_at_all(&pids, device, scope, &sender);
                hanging_.fetch_sub(1, Ordering::Relaxed);
            });
        match spawned {
            Ok(_) => started += 1,
            Err(_) => {
                hanging.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
    (started > 0).then_some(found)
}

/// One of the threads: takes processes from the common list until there are no more.
fn look_at_all(
    pids: &Mutex<impl Iterator<Item = u32>>,
    device: (u32, u32),
    scope: Scope,
    sender: &Sender<Found>,
) {
    loop {
        let next = pids.lock().next();
        let Some(pid) = next else { return };
        let sent = match look_at(pid, device, scope, sender) {
            Err(error) if counts(&error, pid, scope) => sender.send(Found::Unseen),
            // It has gone, and what it had mapped is written.
            Err(_) | Ok(()) => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Whether a process that we may not look at could have anything of ours.
pub(super) fn counts(error: &io::Error, pid: u32, scope: Scope) -> bool {
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    let owner = || std::fs::metadata(proc_file(pid, "")).map(|process| process.uid());
    denied
        && scope
            .only_uid
            .is_none_or(|uid| owner().is_ok_and(|owner| owner == uid))
}

fn look_at(pid: u32, device: (u32, u32), scope: Scope, sender: &Sender<Found>) -> io::Result<()> {
    // What is made up can't be changed, through a mapping or otherwise.
    let live = |ino: u64| ino & crate::fs::VIRTUAL == 0;
    for mapping in mappings(pid)? {
        if mapping.shared && mapping.device == device && live(mapping.ino) {
            let _ = sender.send(Found::Inode(mapping.ino));
        }
    }
    if scope.open_files {
        for descriptor in std::fs::read_dir(proc_file(pid, "fd"))?.flatten() {
            if let Some(ino) = open_inode(&descriptor.path(), device).filter(|&ino| live(ino)) {
                let _ = sender.send(Found::Inode(ino));
            }
        }
    }
    Ok(())
}

/// The inode of a regular file on `device` that a descriptor in /proc stands for. Does not ask the
/// file's file system for anything new.
fn open_inode(descriptor: &std::path::Path, device: (u32, u32)) -> Option<u64> {
    use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};
    // Sockets, pipes and the like have no absolute path.
    if !std::fs::read_link(descriptor).ok()?.is_absolute() {
        return None;
    }
    let wanted = StatxFlags::INO | StatxFlags::TYPE;
    let found = statx(CWD, descriptor, AtFlags::STATX_DONT_SYNC, wanted).ok()?;
    let regular = FileType::from_raw_mode(found.stx_mode.into()) == FileType::RegularFile;
    let ours = (found.stx_dev_major, found.stx_dev_minor) == device;
    (ours && regular).then_some(found.stx_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(deadline: Duration) -> (Request, Receiver<Unseen>) {
        let (done, answer) = crossbeam_channel::bounded(1);
        let request = Request {
            device: (0xff, 0xffff),
            deadline: Instant::now() + deadline,
            done,
        };
        (request, answer)
    }

    const SCOPE: Scope = Scope {
        only_uid: None,
        open_files: true,
    };

    #[test]
    fn a_device_without_mappings_needs_no_flush() {
        let (request, _answer) = request(Duration::from_secs(30));
        let asked = Mutex::new(0);
        let invalidate = |_| {
            *asked.lock() += 1;
            Ok(())
        };
        let unseen = flush(&request, SCOPE, &Arc::default(), &invalidate);
        assert!(!unseen.cut_short);
        assert_eq!((unseen.failed, *asked.lock()), (0, 0));
    }

    #[test]
    fn when_too_much_hangs_nothing_is_claimed() {
        let (request, _answer) = request(Duration::from_secs(30));
        let hanging = Arc::new(AtomicUsize::new(HANGING_MAX));
        let unseen = flush(&request, SCOPE, &hanging, &|_| Ok(()));
        assert!(unseen.cut_short && !unseen.is_nothing());
        assert_eq!(hanging.load(Ordering::Relaxed), HANGING_MAX);
    }

    #[test]
    fn a_flusher_that_is_stuck_does_not_hold_the_asker() {
        let (requests, _queue) = crossbeam_channel::bounded(1);
        let flusher = Flusher {
            requests,
            device: (0, 1),
        };
        assert!(flusher.flush(Duration::from_millis(20)).cut_short);
        assert!(flusher.flush(Duration::from_millis(20)).cut_short);
    }
}
