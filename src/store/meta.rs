//! The family `meta`: the few facts about the store as a whole, and their names.

use super::kv::{Batch, Durability};
use super::view::decode;
use super::{Result, SnapshotAction, Store};
use crate::format::keeping::{Policy, PolicyRecord};
use crate::format::key::{self, Family};
use crate::format::record::{FromBefore, Gap, RootIdentity, Synced};
use crate::format::value;
use crate::limits;
use crate::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Format of the store: u32. The same number stands in the file `format`.
pub(super) const FORMAT: &[u8] = b"format";
/// Store id: 16 random bytes, made with the store.
pub(super) const STORE: &[u8] = b"store";
/// Lineage: 16 random bytes, new at each opening.
pub(super) const LINEAGE: &[u8] = b"lineage";
/// First numbers that were never handed out.
pub(super) const NEXT_CHUNK: &[u8] = b"next chunk";
pub(super) const NEXT_FILE: &[u8] = b"next file";
pub(super) const NEXT_ACTOR: &[u8] = b"next actor";
pub(super) const NEXT_SNAPSHOT: &[u8] = b"next snapshot";
/// A block of chunk numbers in use: by its first number, the number after its last.
pub(super) const BLOCK: &str = "block";
/// The newest sealed epoch and the sum of all records visible at it.
pub(super) const SUM: &[u8] = b"sum";
/// By epoch: what the facts of an unfinished scan add to the sum.
pub(super) const DELTA: &str = "delta";
/// An epoch that was dropped, and whose versions are not all gone yet.
pub(super) const PRUNING: &[u8] = b"pruning";
/// Instant of the last change of the list of snapshots.
pub(super) const SNAPSHOTS_CHANGED: &[u8] = b"snapshots changed";
/// By number: what was done to the list of snapshots.
pub(super) const SNAPSHOT_LOG: &str = "snapshot log";
/// What was not to be imported and has not been changed since.
pub(super) const FROM_BEFORE: &[u8] = b"from before";
/// By snapshot id: a snapshot that was deleted.
pub(super) const DELETED: &str = "deleted";
/// How far the background check is.
pub(super) const SCRUB: &[u8] = b"scrub";
/// By number: what was purged.
pub(super) const PURGED: &str = "purged";
/// The first numbers of the pieces of chunks whose files still hold what was purged.
pub(super) const WIPING: &[u8] = b"wiping";
/// By number: what was sent to a repository.
pub(super) const SENT: &str = "sent";
/// By number: the name of a pack whose chunks were received, while a store is being made from a
/// repository.
pub(super) const RECEIVED: &str = "received";
/// What such a store is to be.
pub(super) const RECOVERING: &[u8] = b"recovering";
/// What is still to come into a directory that is in use already.
pub(super) const FILLING: &[u8] = b"filling";
/// By inode number: a file without its content, or a folder without its names.
pub(super) const UNFILLED: &str = "unfilled";
/// By number: a replica.
pub(super) const REPLICA: &str = "replica";
/// By number: how often what is at a place is tried.
pub(super) const DRILL_PLAN: &str = "drill plan";
/// How the log of drills ends.
pub(super) const DRILLS: &[u8] = b"drills";
/// By number: what is to be done by itself, and how that went so far.
pub(super) const SCHEDULE: &str = "schedule";
pub(super) const COURSE: &str = "course";
/// By the number of its event: a command that is run then.
pub(super) const HOOK: &str = "hook";
/// The first number that no schedule had.
pub(super) const NEXT_SCHEDULE: &[u8] = b"next schedule";
/// By epoch: what a repair left of it.
pub(super) const MENDED: &str = "mended";
/// What is kept for how long.
pub(super) const POLICY: &[u8] = b"policy";
/// Patterns of what is to be there first when it is recovered.
pub(super) const FIRST: &[u8] = b"first";
/// By number, ascending: what is left out from when on.
pub(super) const LEFT_OUT: &str = "left out";
/// By number, ascending: a folder that made most of what was recorded, and was told of.
pub(super) const HINT: &str = "hint";
/// By epoch: what was destroyed before it was old enough to be recorded.
pub(super) const UNSETTLED: &str = "unsettled";
const SYNCED: &[u8] = b"synced";
const ROOT: &[u8] = b"root";
pub(super) const GAP: &str = "gap";
/// By number: a run.
pub(super) const RUN: &str = "run";

impl Store {
    /// One value of `meta`.
    pub(super) fn meta<T: DeserializeOwned>(&self, name: &[u8]) -> Result<Option<T>> {
        let bytes = self.kv.get(Family::Meta, name)?;
        bytes
            .map(|bytes| decode(Family::Meta, name, &bytes))
            .transpose()
    }

    pub(super) fn put_meta<T: Serialize>(&self, key: &[u8], value: &T) -> Result<()> {
        let mut batch = Batch::default();
        batch.put(Family::Meta, key, value::pack(value));
        self.write(batch, Durability::Synced)
    }

    /// Notes how much is not in the store because it was there before the first mount.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn set_from_before(&self, amount: FromBefore) -> Result<()> {
        self.put_meta(FROM_BEFORE, &amount)
    }

    /// Writes out what is only in the log of the database, if that is much: who opens the store next
    /// need not read it again, and it takes less room.
    ///
    /// # Errors
    /// A store that can't be written; nothing is lost by that.
    pub fn put_away(&self) -> Result<()> {
        if self.kv.log_bytes() < limits::LOG_KEPT {
            return Ok(());
        }
        Family::ALL
            .into_iter()
            .try_for_each(|family| self.kv.flush(family))
    }

    /// What was last noted so.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn from_before(&self) -> Result<FromBefore> {
        Ok(self.meta(FROM_BEFORE)?.unwrap_or_default())
    }

    /// Notes up to which epoch the live disk is known to be written.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn set_synced(&self, synced: Synced) -> Result<()> {
        self.put_meta(SYNCED, &synced)
    }

    /// What was last noted so.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn synced(&self) -> Result<Option<Synced>> {
        self.meta(SYNCED)
    }

    /// Notes which directory the store belongs to.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn set_root(&self, root: &RootIdentity) -> Result<()> {
        self.put_meta(ROOT, root)
    }

    /// What is kept for how long; the default until somebody says something else.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn policy(&self) -> Result<PolicyRecord> {
        Ok(self.meta(POLICY)?.unwrap_or_default())
    }

    /// Sets what is kept for how long. What was kept before is kept on for a while: the record
    /// says so, and who prunes in the background goes by it.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn set_policy(&self, policy: Policy, reason: &str, by_uid: u32) -> Result<()> {
        let _committer = self.committer.lock();
        let before = self.policy()?;
        if before.policy == policy {
            return Ok(());
        }
        let now = Timestamp::now();
        let recent = now.since(before.changed) < limits::FORMER_KEPT;
        let record = PolicyRecord {
            policy,
            // Several changes in a row do not shorten what the first of them was to outlast.
            former: before.former.filter(|_| recent).or(Some(before.policy)),
            changed: now,
            by_uid,
        };
        let mut batch = Batch::default();
        batch.put(Family::Meta, POLICY, value::pack(&record));
        let reason = reason.to_owned();
        let action = SnapshotAction::PolicyFor { policy, reason };
        let changed = self.note_list_change(&mut batch, by_uid, "", action)?;
        self.write(batch, Durability::Synced)?;
        self.list_changed(changed);
        Ok(())
    }

    /// Which directory the store belongs to.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn root(&self) -> Result<Option<RootIdentity>> {
        self.meta(ROOT)
    }

    /// Which directory a store belongs to that this process does not have open, and another one
    /// may have.
    ///
    /// # Errors
    /// It is no store, or can't be read.
    pub fn peek_root(dir: &std::path::Path) -> Result<Option<RootIdentity>> {
        let folder = super::folder::Folder::open(dir)?;
        let bytes = super::rocks::peek(&folder.database(), Family::Meta, ROOT)?;
        bytes
            .map(|bytes| decode(Family::Meta, ROOT, &bytes))
            .transpose()
    }

    /// The id that the store was made with.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn id(&self) -> Result<Option<[u8; 16]>> {
        self.meta(STORE)
    }

    /// Writes a gap, over one of the same number.
    ///
    /// # Errors
    /// A store that can't be written.
    pub(super) fn put_gap(&self, number: u64, gap: &Gap) -> Result<()> {
        self.put_meta(&key::meta(GAP, number), gap)
    }
}
