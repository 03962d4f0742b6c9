//! The replicas that a store is to have. What was sent to each stands in its `Sent`.

use super::kv::{Batch, Durability};
use super::snapshot_log::SnapshotAction;
use super::{Result, Store, meta};
use crate::format::drill::DrillPlan;
use crate::format::key::{self, Family};
use crate::format::replica::Replica;
use crate::format::value;

impl Store {
    /// All of them, in the order in which they were added.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn replicas(&self) -> Result<Vec<Replica>> {
        let all: Vec<(u64, Replica)> = self.view().numbered(meta::REPLICA)?;
        Ok(all.into_iter().map(|(_, replica)| replica).collect())
    }

    /// Adds one, or changes the one at its place.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn put_replica(&self, replica: &Replica) -> Result<()> {
        let _committer = self.committer.lock();
        let all: Vec<(u64, Replica)> = self.view().numbered(meta::REPLICA)?;
        let own = all.iter().find(|(_, other)| other.url == replica.url);
        let number = match own {
            Some((number, _)) => *number,
            None => all.last().map_or(1, |(number, _)| number + 1),
        };
        let mut batch = Batch::default();
        let key = key::meta(meta::REPLICA, number);
        batch.put(Family::Meta, key, value::pack(replica));
        let action = SnapshotAction::ReplicaSet {
            url: replica.url.clone(),
            mode: replica.mode,
        };
        let changed = self.note_list_change(&mut batch, replica.by_uid, "", action)?;
        self.write(batch, Durability::Synced)?;
        self.list_changed(changed);
        Ok(())
    }

    /// Takes one out: nothing more is sent there, and nothing is kept for it. What is there stays.
    /// False: there is none at that place.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn remove_replica(&self, url: &str, by_uid: u32) -> Result<bool> {
        let _committer = self.committer.lock();
        let view = self.view();
        let all: Vec<(u64, Replica)> = view.numbered(meta::REPLICA)?;
        let replica = all.iter().find(|(_, other)| other.url == url);
        let sent = view.numbered::<crate::format::transfer::Sent>(meta::SENT)?;
        // Where another store goes on, nothing is kept for a backup that was made there once.
        let is_left = |(_, sent): &(u64, crate::format::transfer::Sent)| {
            sent.url == url && sent.fenced.is_some()
        };
        if replica.is_none() && !sent.iter().any(is_left) {
            return Ok(false);
        }
        let mut batch = Batch::default();
        if let Some((number, _)) = replica {
            batch.delete(Family::Meta, key::meta(meta::REPLICA, *number));
        }
        for (number, sent) in sent {
            if sent.url == url {
                batch.delete(Family::Meta, key::meta(meta::SENT, number));
            }
        }
        for (number, plan) in view.numbered::<DrillPlan>(meta::DRILL_PLAN)? {
            if plan.url == url {
                batch.delete(Family::Meta, key::meta(meta::DRILL_PLAN, number));
            }
        }
        let action = SnapshotAction::ReplicaRemoved {
            url: url.to_owned(),
        };
        let changed = self.note_list_change(&mut batch, by_uid, "", action)?;
        self.write(batch, Durability::Synced)?;
        self.list_changed(changed);
        Ok(true)
    }
}
