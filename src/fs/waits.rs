//! What an operation waits for: said by whoever parks it, counted and logged above.

use super::{Answer, Stop};
use crate::capture::{Recorder, Standing, Ticket};
use parking_lot::Mutex;

/// What an operation waits for while it is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// Another operation on the same file.
    File,
    /// The capture of its file: more old bytes would have to be kept in memory than may be.
    Bytes,
    /// A capture: too many states wait to be recorded.
    States,
    /// A capture: removed files take too many descriptors, or too much of the disk, until they
    /// are recorded.
    Removed,
    /// A thread that may ask the store.
    Store,
    /// What was done before to be at the synchronous replicas.
    Replica,
    /// Content, or names, that a recovery has still to bring.
    Filling,
}

impl WaitsFor {
    /// For the log.
    pub fn words(self) -> &'static str {
        match self {
            WaitsFor::File => "another operation on the same file",
            WaitsFor::Bytes => "what it would destroy to be recorded",
            WaitsFor::States => "earlier states to be recorded",
            WaitsFor::Removed => "removed files to be recorded",
            WaitsFor::Store => "the store",
            WaitsFor::Replica => "the replicas",
            WaitsFor::Filling => "what is still to be recovered",
        }
    }
}

/// What one request asked of the synchronous replicas.
#[derive(Debug, Default)]
pub struct Asked(Mutex<Option<Ticket>>);

impl Asked {
    /// Does the work once, then waits, parked, until it is at the replicas.
    pub(super) fn until_elsewhere(
        &self,
        recorder: &Recorder,
        work: impl FnOnce() -> Answer<()>,
    ) -> Answer<()> {
        let mut asked = self.0.lock();
        let ticket = match *asked {
            Some(ticket) => ticket,
            None => {
                work()?;
                let Some(ticket) = recorder.wait_elsewhere() else {
                    return Ok(());
                };
                *asked.insert(ticket)
            }
        };
        match recorder.stands_elsewhere(ticket) {
            Standing::Waits => Err(Stop::Park(WaitsFor::Replica)),
            Standing::There | Standing::Late(_) => Ok(()),
            Standing::Refused(_) => Err(Stop::Errno(libc::EIO)),
        }
    }
}
