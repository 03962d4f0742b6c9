//! Alarms: from how many files on one is raised, and what an alarm leaves behind. The state before
//! gets a name and a hold, so that it stays; the line of the log tells who and what. One batch.
//!
//! A hold of ours ends by itself; the name goes then, as if somebody had deleted it.

use super::kv::{Batch, Durability};
use super::snapshot_log::{SnapshotAction, SnapshotEvent};
use super::{Result, Store, meta};
use crate::format::alarm::Alarm;
use crate::format::key::{self, Family};
use crate::format::record::{Hold, Snapshot, SnapshotMode};
use crate::format::value;
use crate::id::Epoch;
use crate::limits;
use crate::time::Timestamp;
use std::sync::atomic::Ordering;

/// From so many files on: u64; 0: never.
const ALARM: &[u8] = b"alarm";
/// The tag of snapshots that an alarm made.
const TAG: &str = "alarm";
/// What their names begin with. One that was given another name is somebody's own.
const PREFIX: &str = "alarm-";

impl Store {
    /// From how many files on there is an alarm; `None`: never.
    pub fn alarm(&self) -> Option<u64> {
        Some(self.alarm.load(Ordering::Relaxed)).filter(|files| *files > 0)
    }

    /// Sets it; 0: never.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn set_alarm(&self, files: u64, by_uid: u32) -> Result<()> {
        let _committer = self.committer.lock();
        if self.alarm.load(Ordering::Relaxed) == files {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.put(Family::Meta, ALARM, value::pack(&files));
        let action = SnapshotAction::AlarmSet { files };
        let changed = self.note_list_change(&mut batch, by_uid, "", action)?;
        self.write(batch, Durability::Synced)?;
        self.alarm.store(files, Ordering::Relaxed);
        self.list_changed(changed);
        Ok(())
    }

    /// At opening.
    pub(super) fn load_alarm(&self) -> Result<()> {
        let files: Option<u64> = self.meta(ALARM)?;
        let files = files.unwrap_or(limits::ALARM_FILES);
        self.alarm.store(files, Ordering::Relaxed);
        Ok(())
    }

    /// Notes an alarm, and holds the state before under a name of its own, if there is one; unless
    /// too many are held so already. The answer is what was noted.
    ///
    /// # Errors
    /// A store that can't be read or written.
    pub fn raise_alarm(
        &self,
        mut alarm: Alarm,
        before: Option<Epoch>,
        by_uid: u32,
        message: &str,
    ) -> Result<SnapshotEvent> {
        let id = self.new_snapshot_id()?;
        let _committer = self.committer.lock();
        let now = Timestamp::now();
        let view = self.view();
        let all = view.snapshots()?;
        let held = all.iter().filter(|(_, snapshot)| is_ours(snapshot)).count();
        let header = match before.filter(|_| held < limits::ALARMS_HELD_MAX) {
            Some(epoch) if view.epoch(epoch)?.is_some() => {
                view.header(epoch)?.map(|header| (epoch, header.time))
            }
            _ => None,
        };
        let mut batch = Batch::default();
        let mut name = String::new();
        if let Some((epoch, time)) = header {
            let until = now.plus(limits::ALARM_HELD);
            alarm.before = Some(time);
            alarm.until = Some(until);
            name = free_name(now, &all);
            let snapshot = Snapshot {
                id,
                epoch,
                time,
                mode: SnapshotMode::Incremental,
                base: None,
                hold: Some(Hold {
                    by_uid,
                    since: now,
                    until: Some(until),
                    reason: message.to_owned(),
                }),
                tags: vec![TAG.to_owned()],
                message: message.to_owned(),
                by_uid,
            };
            self.name_epoch(&mut batch, &name, &snapshot)?;
        }
        let action = SnapshotAction::Alarm(Box::new(alarm.clone()));
        let time = self.note_list_change(&mut batch, by_uid, &name, action)?;
        self.write(batch, Durability::Synced)?;
        self.list_changed(time);
        Ok(SnapshotEvent {
            time,
            by_uid,
            name,
            action: SnapshotAction::Alarm(Box::new(alarm)),
        })
    }

    /// Alarms since an instant, oldest first: time, user, name of the snapshot, and what it tells.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn alarms(&self, since: Timestamp) -> Result<Vec<(Timestamp, u32, String, Alarm)>> {
        let prefix = key::meta_prefix(meta::SNAPSHOT_LOG);
        let from = key::meta(meta::SNAPSHOT_LOG, u64::try_from(since.0).unwrap_or(0));
        let view = self.view();
        let mut scan = view.range(Family::Meta, &from, &key::after_prefix(&prefix))?;
        let mut alarms = Vec::new();
        while let Some((key, bytes)) = scan.item() {
            let line: SnapshotEvent = super::view::decode(Family::Meta, key, bytes)?;
            if let SnapshotAction::Alarm(alarm) = line.action {
                alarms.push((line.time, line.by_uid, line.name, *alarm));
            }
            scan.step()?;
        }
        Ok(alarms)
    }

    /// Takes away the names that alarms gave, when their holds are over.
    ///
    /// # Errors
    /// A store that can't be read or written.
    pub fn forget_old_alarms(&self, by_uid: u32) -> Result<()> {
        let now = Timestamp::now();
        let over = |(name, snapshot): &(String, Snapshot)| {
            let ended = (snapshot.hold.as_ref()).is_some_and(|hold| !hold.holds(now));
            is_ours(snapshot) && name.starts_with(PREFIX) && ended
        };
        let all = self.view().snapshots()?;
        for (name, _) in all.iter().filter(|snapshot| over(snapshot)) {
            self.remove_snapshot(name, by_uid)?;
        }
        Ok(())
    }
}

fn is_ours(snapshot: &Snapshot) -> bool {
    snapshot.tags.iter().any(|tag| tag == TAG)
}

/// `alarm-2026-11-20-101503`, in UTC; with a number if that is taken.
fn free_name(now: Timestamp, all: &[(String, Snapshot)]) -> String {
    let text = now.to_string();
    let second: String = text
        .chars()
        .take("2026-11-20T10:15:03".len())
        .filter(|&c| c != ':')
        .map(|c| if c == 'T' { '-' } else { c })
        .collect();
    let first = format!("{PREFIX}{second}");
    let mut name = first.clone();
    let mut number = 2;
    while all.iter().any(|(taken, _)| *taken == name) {
        name = format!("{first}-{number}");
        number += 1;
    }
    name
}
