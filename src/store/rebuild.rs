//! A database that is damaged as such, not only in what its records say: no record can be written
//! over a block that can't be read, and the database itself stops when it comes to one. So all that
//! can be read goes into a new one, which takes its place in one step.

use super::kv::{Batch, Durability, Kv, Snapshot};
use super::verify::skip;
use super::{Result, Store};
use crate::format::key::Family;
use crate::limits;

impl Store {
    /// Builds the database anew from what can be read of it. Nobody else may have the store.
    pub(super) fn rebuild(&self) -> Result<()> {
        let mut committer = self.committer.lock();
        let mut generation = self.generation.write();
        self.check_folder()?;
        self.kv.rebuild()?;
        if let Some(folder) = &self.folder {
            folder.note_lock()?;
        }
        *generation += 1;
        self.in_flight.clear();
        self.cache.lock().clear();
        self.put_right()?;
        self.load_rest(&mut committer)
    }
}

/// Copies what can be read of a family.
pub(super) fn copy(from: &dyn Snapshot, to: &dyn Kv, family: Family) -> Result<()> {
    let reads = |key: &[u8]| from.scan(family, key, &[]).is_ok();
    let mut next = Some(Vec::new());
    while let Some(begin) = next.take() {
        let mut at = begin.clone();
        let mut batch = Batch::default();
        let mut bytes = 0;
        let mut written = Ok(());
        let mut stretch = || -> Result<()> {
            let mut scan = from.scan(family, &begin, &[])?;
            while let Some((key, value)) = scan.item() {
                bytes += key.len() + value.len();
                batch.put(family, key, value.to_vec());
                key.clone_into(&mut at);
                if bytes >= limits::REBUILD_BATCH {
                    bytes = 0;
                    written = to.write(std::mem::take(&mut batch), Durability::Unsynced);
                    if written.is_err() {
                        return Ok(());
                    }
                }
                scan.step()?;
            }
            Ok(())
        };
        let read = stretch();
        written?;
        to.write(batch, Durability::Unsynced)?;
        if read.is_err() {
            next = skip::behind(&reads, &at);
        }
    }
    Ok(())
}
