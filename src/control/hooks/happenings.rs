//! What hooks are told of, beside snapshots and drills: seen once a second.

use super::{happened, variable};
use crate::capture::{Recorder, alarm_words};
use crate::control::replicas::{self, Replication};
use crate::format::hook::HookEvent;
use crate::store::Store;
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// What was seen the last time.
pub struct Happenings {
    dir: String,
    newest: u64,
    stopped: Option<String>,
    alarm: Timestamp,
    listed: Timestamp,
    late: BTreeSet<String>,
}

impl Happenings {
    /// What is so now is nothing new.
    pub fn now(dir: &str, store: &Store) -> Happenings {
        Happenings {
            dir: dir.to_owned(),
            newest: newest(store),
            // One that began with the mount is told, too.
            stopped: None,
            alarm: Timestamp::now(),
            listed: store.snapshots_changed(),
            late: BTreeSet::new(),
        }
    }

    /// Tells what is new.
    pub fn look(&mut self, recorder: &Recorder, store: &Store, replication: &Replication) {
        let dir = variable("DIR", &self.dir);
        let tell = |event, mut variables: Vec<(String, String)>| {
            variables.insert(0, dir.clone());
            happened(store, replication, recorder, event, variables);
        };
        let wanted: BTreeSet<HookEvent> = match store.hooks() {
            Ok(all) => all.into_iter().map(|hook| hook.event).collect(),
            Err(_) => return,
        };
        let newest = newest(store);
        if newest > self.newest {
            tell(HookEvent::OnCommit, Vec::new());
        }
        self.newest = newest;
        let stopped = recorder.stopped();
        match (&self.stopped, &stopped) {
            (None, Some(reason)) => {
                let variables = vec![variable("RESULT", "began"), variable("REASON", reason)];
                tell(HookEvent::OnGap, variables);
            }
            (Some(reason), None) => {
                let variables = vec![variable("RESULT", "ended"), variable("REASON", reason)];
                tell(HookEvent::OnGap, variables);
            }
            _ => {}
        }
        self.stopped = stopped;
        let listed = store.snapshots_changed();
        if listed != self.listed {
            self.listed = listed;
            let since = Timestamp(self.alarm.0.saturating_add(1));
            for (time, uid, name, alarm) in store.alarms(since).unwrap_or_default() {
                self.alarm = time;
                let words = alarm_words(&alarm, uid);
                let variables = vec![variable("REASON", words), variable("SNAPSHOT", name)];
                tell(HookEvent::OnAlarm, variables);
            }
        }
        if wanted.contains(&HookEvent::OnLag) {
            let late = replicas::late(store, replication);
            for (place, reason) in &late {
                if !self.late.contains(place) {
                    let variables = vec![variable("PLACE", place), variable("REASON", reason)];
                    tell(HookEvent::OnLag, variables);
                }
            }
            self.late = late.into_iter().map(|(place, _)| place).collect();
        }
    }
}

fn newest(store: &Store) -> u64 {
    let newest = store.view().newest_epoch();
    newest.ok().flatten().map_or(0, |newest| newest.0)
}
