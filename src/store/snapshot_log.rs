//! The log of what was done to the list of snapshots and to what is kept: who, what and when. Each
//! line is written with what it tells of. Bounded: the oldest lines go.

use super::kv::{Batch, Change, Durability};
use super::{Result, Store, meta};
use crate::format::alarm::Alarm;
use crate::format::hook::HookEvent;
use crate::format::keeping::Policy;
use crate::format::key::{self, Family};
use crate::format::replica::ReplicaMode;
use crate::format::value;
use crate::limits;
use crate::pattern::Rules;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;

/// Within this time what is pruned is added to the line before.
const PRUNE_LINE_NS: i64 = 24 * 3600 * 1_000_000_000;

/// What was done to the list of snapshots, or to what is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotAction {
    Made,
    Removed,
    Renamed {
        /// The new name.
        to: String,
    },
    Held {
        until: Option<Timestamp>,
        reason: String,
    },
    Released,
    Undeleted,
    /// States without a name were dropped; a line stands for what was dropped within a day.
    Pruned {
        since: Timestamp,
        states: u64,
        /// Stored bytes.
        bytes: u64,
    },
    Policy {
        policy: Policy,
    },
    /// Somebody destroyed much at once; the name is that of the state before, empty if none is held.
    Alarm(Box<Alarm>),
    /// From how many files on there is an alarm; 0: never.
    AlarmSet {
        files: u64,
    },
    /// What is left out from then on.
    LeftOut {
        rules: Rules,
        reason: String,
    },
    /// `verify --repair`.
    Repaired {
        mended: u64,
        given_up: u64,
    },
    /// Content was removed from all of history.
    Purged {
        versions: u64,
        /// Stored bytes.
        bytes: u64,
        reason: String,
    },
    /// As `Released`, and why.
    ReleasedFor {
        reason: String,
    },
    /// As `Policy`, and why.
    PolicyFor {
        policy: Policy,
        reason: String,
    },
    /// A replica was added, or changed.
    ReplicaSet {
        url: String,
        mode: ReplicaMode,
    },
    /// Nothing more is sent to a replica.
    ReplicaRemoved {
        url: String,
    },
    /// Something is done by itself from then on, or not any more; what it is, and when, in words.
    ScheduleAdded {
        number: u64,
        what: String,
    },
    ScheduleRemoved {
        number: u64,
        what: String,
    },
    /// A command is run when something happens, or none any more.
    HookSet {
        event: HookEvent,
        command: String,
    },
    HookRemoved {
        event: HookEvent,
    },
    /// What is to be there first when it is recovered.
    FirstSet {
        patterns: Vec<String>,
    },
}

/// A line of the log of the list of snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotEvent {
    pub time: Timestamp,
    pub by_uid: u32,
    pub name: String,
    pub action: SnapshotAction,
}

impl Store {
    /// What was done to the list of snapshots, oldest first.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn snapshot_log(&self) -> Result<Vec<SnapshotEvent>> {
        let lines = self.view().numbered(meta::SNAPSHOT_LOG)?;
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    /// Notes that states were dropped: in a line of its own, or in the newest line if that is one
    /// of the same day and the same user.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn log_pruned(&self, by_uid: u32, states: u64, bytes: u64) -> Result<()> {
        let _committer = self.committer.lock();
        let mut batch = Batch::default();
        let mut action = SnapshotAction::Pruned {
            since: Timestamp::now(),
            states,
            bytes,
        };
        let prefix = key::meta_prefix(meta::SNAPSHOT_LOG);
        let until = key::after_prefix(&prefix);
        let newest = self.view().last(Family::Meta, &prefix, &until)?;
        if let Some((key, bytes_of_line)) = newest {
            let line: SnapshotEvent = super::view::decode(Family::Meta, &key, &bytes_of_line)?;
            if let SnapshotAction::Pruned {
                since,
                states: earlier,
                bytes: freed,
            } = line.action
                && line.by_uid == by_uid
                && Timestamp::now().0.saturating_sub(since.0) < PRUNE_LINE_NS
            {
                batch.delete(Family::Meta, key);
                self.log_lines.fetch_sub(1, Ordering::SeqCst);
                action = SnapshotAction::Pruned {
                    since,
                    states: states + earlier,
                    bytes: bytes + freed,
                };
            }
        }
        let changed = self.note_list_change(&mut batch, by_uid, "", action)?;
        self.write(batch, Durability::Synced)?;
        self.list_changed(changed);
        Ok(())
    }

    /// Notes something that is about no snapshot.
    pub(super) fn log_deed(&self, by_uid: u32, action: SnapshotAction) -> Result<()> {
        let _committer = self.committer.lock();
        let mut batch = Batch::default();
        let changed = self.note_list_change(&mut batch, by_uid, "", action)?;
        self.write(batch, Durability::Synced)?;
        self.list_changed(changed);
        Ok(())
    }

    /// Adds the line of the log; the answer is the instant of the change, later than any before.
    pub(super) fn note_list_change(
        &self,
        batch: &mut Batch,
        by_uid: u32,
        name: &str,
        action: SnapshotAction,
    ) -> Result<Timestamp> {
        let last = batch.changes.iter().rev().find_map(|change| match change {
            Change::Put(Family::Meta, key, _) => key::unpack_meta(meta::SNAPSHOT_LOG, key).ok(),
            _ => None,
        });
        let before = last.map_or(self.snapshots_changed(), |number| {
            Timestamp(i64::try_from(number).unwrap_or(i64::MAX))
        });
        let time = Timestamp::now().max(before.plus(limits::TIME_STEP));
        self.forget_old_lines(batch)?;
        let event = SnapshotEvent {
            time,
            by_uid,
            name: name.to_owned(),
            action,
        };
        let number = u64::try_from(time.0).unwrap_or(0);
        batch.put(
            Family::Meta,
            key::meta(meta::SNAPSHOT_LOG, number),
            value::pack(&event),
        );
        batch.put(Family::Meta, meta::SNAPSHOTS_CHANGED, value::pack(&time));
        Ok(time)
    }

    /// Makes room for one line. If the batch is never written the count is too high, and a line
    /// goes a little early.
    fn forget_old_lines(&self, batch: &mut Batch) -> Result<()> {
        let lines = self.log_lines.fetch_add(1, Ordering::SeqCst) + 1;
        if lines <= limits::LOG_LINES {
            return Ok(());
        }
        let view = self.view();
        let mut scan = view.prefix(Family::Meta, &key::meta_prefix(meta::SNAPSHOT_LOG))?;
        for _ in limits::LOG_LINES..lines {
            let Some((key, _)) = scan.item() else {
                break;
            };
            batch.delete(Family::Meta, key);
            self.log_lines.fetch_sub(1, Ordering::SeqCst);
            scan.step()?;
        }
        Ok(())
    }

    /// At opening: how long the log is.
    pub(super) fn count_log(&self) -> Result<()> {
        let view = self.view();
        let mut scan = view.prefix(Family::Meta, &key::meta_prefix(meta::SNAPSHOT_LOG))?;
        let mut lines = 0;
        while scan.item().is_some() {
            lines += 1;
            scan.step()?;
        }
        self.log_lines.store(lines, Ordering::SeqCst);
        Ok(())
    }

    /// The change was written.
    pub(super) fn list_changed(&self, time: Timestamp) {
        self.snapshots_changed.store(time.0, Ordering::SeqCst);
        self.tell_list_watcher();
    }

    /// What is listed may be something else.
    pub(super) fn tell_list_watcher(&self) {
        if let Some(tell) = &*self.list_watcher.read() {
            tell();
        }
    }
}
