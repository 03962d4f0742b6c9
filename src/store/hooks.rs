//! Commands that are run when something happens: one for each kind of it.

use super::kv::{Batch, Durability};
use super::snapshot_log::SnapshotAction;
use super::{Result, Store, meta};
use crate::format::hook::{Hook, HookEvent};
use crate::format::key::{self, Family};
use crate::format::value;

impl Store {
    /// All of them.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn hooks(&self) -> Result<Vec<Hook>> {
        let all: Vec<(u64, Hook)> = self.view().numbered(meta::HOOK)?;
        Ok(all.into_iter().map(|(_, hook)| hook).collect())
    }

    /// Sets one, in place of the one that there may be.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn put_hook(&self, hook: &Hook) -> Result<()> {
        let _committer = self.committer.lock();
        let mut batch = Batch::default();
        let key = key::meta(meta::HOOK, hook.event.number());
        batch.put(Family::Meta, key, value::pack(hook));
        let action = SnapshotAction::HookSet {
            event: hook.event,
            command: hook.command.clone(),
        };
        let changed = self.note_list_change(&mut batch, hook.by_uid, "", action)?;
        self.write(batch, Durability::Synced)?;
        self.list_changed(changed);
        Ok(())
    }

    /// Takes one out. False: there is none.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn remove_hook(&self, event: HookEvent, by_uid: u32) -> Result<bool> {
        let _committer = self.committer.lock();
        let key = key::meta(meta::HOOK, event.number());
        if self.meta::<Hook>(&key)?.is_none() {
            return Ok(false);
        }
        let mut batch = Batch::default();
        batch.delete(Family::Meta, key);
        let action = SnapshotAction::HookRemoved { event };
        let changed = self.note_list_change(&mut batch, by_uid, "", action)?;
        self.write(batch, Durability::Synced)?;
        self.list_changed(changed);
        Ok(true)
    }
}
