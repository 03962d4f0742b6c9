//! What is to be there first when the directory is recovered. It goes with the data to each place.

use super::kv::{Batch, Durability};
use super::snapshot_log::SnapshotAction;
use super::{Result, Store, meta};
use crate::format::key::Family;
use crate::format::value;

impl Store {
    /// The patterns of what comes first.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn first(&self) -> Result<Vec<String>> {
        Ok(self.meta(meta::FIRST)?.unwrap_or_default())
    }

    /// Sets them.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn set_first(&self, patterns: &[String], by_uid: u32) -> Result<()> {
        let _committer = self.committer.lock();
        if self.first()? == patterns {
            return Ok(());
        }
        let patterns = patterns.to_vec();
        let mut batch = Batch::default();
        batch.put(Family::Meta, meta::FIRST, value::pack(&patterns));
        let action = SnapshotAction::FirstSet { patterns };
        let changed = self.note_list_change(&mut batch, by_uid, "", action)?;
        self.write(batch, Durability::Synced)?;
        self.list_changed(changed);
        Ok(())
    }
}
