//! Signs that something is about to go wrong: seen once a second, and told when they are new.

use super::replicas::Replication;
use crate::capture::Recorder;
use crate::store::Store;
use crate::time::Timestamp;

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// How often the disk of the live files could not read or write.
    pub disk_errors: u64,
    /// What the background check has found.
    pub problems: u64,
    pub is_low: bool,
    /// The newest alarm.
    pub alarm: Timestamp,
    /// When the list of names, to which alarms are written, was changed.
    listed: Timestamp,
}

impl Signs {
    /// What is to be seen now. A store that can't be read shows what it showed before.
    pub fn seen(recorder: &Recorder, store: &Store, before: Signs) -> Signs {
        let scrub = store.scrub_state();
        let listed = store.snapshots_changed();
        let alarm = match listed == before.listed {
            true => before.alarm,
            false => {
                let since = Timestamp(before.alarm.0.saturating_add(1));
                let new = store.alarms(since).unwrap_or_default();
                new.last().map_or(before.alarm, |(time, ..)| *time)
            }
        };
        Signs {
            disk_errors: recorder.disk_errors(),
            problems: scrub.map_or(before.problems, |scrub| scrub.known_problems()),
            is_low: recorder.space_is_low(),
            alarm,
            listed,
        }
    }

    /// What is new.
    pub fn new_since(&self, before: &Signs) -> Option<&'static str> {
        if self.disk_errors > before.disk_errors {
            Some("the disk of the live files fails")
        } else if self.problems > before.problems {
            Some("a check has found problems in the store")
        } else if self.alarm > before.alarm {
            Some("there is an alarm")
        } else if self.is_low && !before.is_low {
            Some("the disk is almost full")
        } else {
            None
        }
    }
}

/// Looks, and tells what is new since the last time.
pub fn look(recorder: &Recorder, store: &Store, replication: &Replication, before: &mut Signs) {
    let now = Signs::seen(recorder, store, *before);
    // Then it may be what is still to come that could not be read: `status` has why.
    if store.is_filling() {
        before.disk_errors = now.disk_errors;
    }
    if let Some(what) = now.new_since(before) {
        replication.in_danger(what);
    }
    *before = now;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_and_what_goes_on_is_not() {
        let quiet = Signs::default();
        assert_eq!(quiet.new_since(&quiet), None);
        type Change = (fn(&mut Signs), &'static str);
        let changed: [Change; 4] = [
            (|signs| signs.disk_errors += 1, "the disk of the live"),
            (|signs| signs.problems += 1, "a check has found"),
            (|signs| signs.alarm = Timestamp(1), "there is an alarm"),
            (|signs| signs.is_low = true, "the disk is almost full"),
        ];
        for (change, text) in changed {
            let mut signs = quiet;
            change(&mut signs);
            let told = signs.new_since(&quiet).expect("told");
            assert!(told.starts_with(text), "{told}");
            assert_eq!(signs.new_since(&signs), None);
        }
        let low = Signs {
            is_low: true,
            ..quiet
        };
        assert_eq!(quiet.new_since(&low), None);
    }
}
