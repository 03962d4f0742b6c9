//! Takes back what was stored into a file of the past through a shared mapping.
//!
//! Without open the kernel does not ask us whether a file may be written: it lets the owner of a
//! file in a snapshot map it and store, and refuses only when it writes the page back. The page
//! would stay in its cache, and everybody would read it as the past. So each refused write of a
//! made-up file drops the pages of that file, from a thread of its own: the kernel holds the page
//! until the write is answered.

use crossbeam_channel::{Receiver, Sender};
use fuser::{INodeNo, Notifier};
use std::io;
use std::sync::{Arc, OnceLock};

/// Refused writes that may wait; the file of one that is lost is written back, and refused, again.
const QUEUE: usize = 1024;

/// Where refused writes are told; works from `start` on.
#[derive(Clone, Default)]
pub(super) struct Refused(Arc<OnceLock<Sender<u64>>>);

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
            let _ = sender.try_send(ino);
        }
    }
}

fn serve(queue: &Receiver<u64>, notifier: &Notifier) {
    for ino in queue {
        if let Err(error) = notifier.inval_inode(INodeNo(ino), 0, 0) {
            log::debug!("inode {ino}: {error}");
        }
    }
}
