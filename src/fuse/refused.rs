//! Drops what the kernel keeps of files of the past, from a thread of its own: who serves the kernel
//! must not wait for it.
//!
//! Refused writes. Without open the kernel does not ask us whether a file may be written: it lets
//! the owner of a file in a snapshot map it and store, and refuses only when it writes the page
//! back. The page would stay in its cache, and everybody would read it as the past. So each refused
//! write of a made-up file drops the pages of that file: the kernel holds the page until the write
//! is answered.
//!
//! Purged content. What was read of it is in the page cache of the versions that held it.

use crossbeam_channel::{Receiver, Sender};
use fuser::{INodeNo, Notifier};
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Refused writes that may wait; the file of one that is lost is written back, and refused, again.
const QUEUE: usize = 1024;
/// How long a purge waits until pages are dropped: a page that is being read holds it up.
const DROP_WAIT: Duration = Duration::from_secs(10);

/// An inode whose pages are to go; who waits hears when they have gone.
struct Order {
    ino: u64,
    done: Option<Sender<()>>,
}

/// Where refused writes are told; works from `start` on.
#[derive(Clone, Default)]
pub(super) struct Refused(Arc<OnceLock<Sender<Order>>>);

impl Refused {
    /// Starts the thread; it ends with the last of these.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn start(&self, notifier: Notifier) -> io::Result<()> {
        let (sender, queue) = crossbeam_channel::bounded(QUEUE);
        std::thread::Builder::new()
            .name("notifier".to_string())
            .spawn(move || serve(&queue, &notifier))?;
        let _ = self.0.set(sender);
        Ok(())
    }

    /// A write of this inode was refused: the reply must have been sent.
    pub fn tell(&self, ino: u64) {
        if let Some(sender) = self.0.get() {
            // Full: see QUEUE.
            let _ = sender.try_send(Order { ino, done: None });
        }
    }

    /// Drops the pages of these inodes; false if that took too long. Not to be called by who
    /// serves the kernel.
    pub fn drop_pages(&self, inos: &[u64]) -> bool {
        let Some(sender) = self.0.get() else {
            return inos.is_empty();
        };
        let deadline = Instant::now() + DROP_WAIT;
        let (done, each_done) = crossbeam_channel::unbounded();
        for ino in inos {
            let done = Some(done.clone());
            if sender
                .send_deadline(Order { ino: *ino, done }, deadline)
                .is_err()
            {
                return false;
            }
        }
        inos.iter()
            .all(|_| each_done.recv_deadline(deadline).is_ok())
    }
}

fn serve(queue: &Receiver<Order>, notifier: &Notifier) {
    for Order { ino, done } in queue {
        if let Err(error) = notifier.inval_inode(INodeNo(ino), 0, 0) {
            log::debug!("inode {ino}: {error}");
        }
        if let Some(done) = done {
            // Who waited has given up.
            let _ = done.send(());
        }
    }
}
