//! What a user names a state by, and which state that is.
//!
//! | name | state |
//! |---|---|
//! | `live` | what is in the directory now |
//! | `NAME`, `NAME~2` | a snapshot; the second one before it |
//! | `latest`, `latest~1` | the newest snapshot; the one before it |
//! | `@TIME` | the newest kept epoch that is not later (`time::parse` has the forms) |
//!
//! Snapshots are in the order of their epochs; those of one epoch in the order in which they were
//! made.

use super::{HistoryError, Result};
use crate::format::record::{Gap, Snapshot};
use crate::id::Epoch;
use crate::name::check_snapshot_name;
use crate::store::View;
use crate::time::{TimeZone, Timestamp, parse};

/// A name of a state, well formed; whether there is such a state, only `resolve` can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateName {
    Live,
    /// The `back`-th snapshot before the newest.
    Latest {
        back: usize,
    },
    /// The `back`-th snapshot before the one with this name.
    Snapshot {
        name: String,
        back: usize,
    },
    Time(Timestamp),
}

/// A state of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub epoch: Epoch,
    /// Of the epoch; names it exactly as `@TIME`.
    pub time: Timestamp,
    /// The snapshot that it was found by; of a state that was found by its time, the newest
    /// snapshot of that epoch, if it has one.
    pub snapshot: Option<(String, Snapshot)>,
    /// Nothing was being recorded at the instant that was asked for: this is the state from
    /// before, and what was changed since is not in it.
    pub unrecorded: Option<Gap>,
}

impl StateName {
    /// Reads the name of a state; `now` and `zone` are those of the one who wrote it.
    ///
    /// # Errors
    /// A bad time, or a name that no snapshot can have.
    pub fn parse(text: &str, now: Timestamp, zone: &TimeZone) -> Result<StateName> {
        if let Some(time) = text.strip_prefix('@') {
            return Ok(StateName::Time(parse(time, now, zone)?));
        }
        if text == "live" {
            return Ok(StateName::Live);
        }
        let (base, back) = match text.rsplit_once('~') {
            // More snapshots than a usize counts are as good as usize::MAX of them.
            Some((base, count)) if is_number(count) => (base, count.parse().unwrap_or(usize::MAX)),
            _ => (text, 0),
        };
        if base == "latest" {
            return Ok(StateName::Latest { back });
        }
        let name = check_snapshot_name(base.as_bytes())?.to_owned();
        Ok(StateName::Snapshot { name, back })
    }

    /// The state; `None` is the live one.
    ///
    /// # Errors
    /// There is no such state: the error says what there is instead.
    pub fn resolve(&self, view: &View<'_>, now: Timestamp) -> Result<Option<State>> {
        match self {
            StateName::Live => Ok(None),
            StateName::Time(time) => at_time(view, *time, now).map(Some),
            StateName::Latest { back } => {
                let all = snapshots(view)?;
                let newest = all.len().checked_sub(1).ok_or(HistoryError::NoSnapshots)?;
                counted_back(view, all, newest, *back, "latest").map(Some)
            }
            StateName::Snapshot { name, back: 0 } => {
                let found = view.snapshot(name)?;
                let name = name.clone();
                match found {
                    Some(snapshot) if is_listed(view, &snapshot)? => {
                        of_snapshot(view, name, snapshot).map(Some)
                    }
                    _ => Err(HistoryError::NoSnapshot { name }),
                }
            }
            StateName::Snapshot { name, back } => {
                let all = snapshots(view)?;
                let from = all.iter().position(|(other, _)| other == name);
                let from = from.ok_or_else(|| HistoryError::NoSnapshot { name: name.clone() })?;
                counted_back(view, all, from, *back, name).map(Some)
            }
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn counted_back(
    view: &View<'_>,
    mut all: Vec<(String, Snapshot)>,
    from: usize,
    back: usize,
    base: &str,
) -> Result<State> {
    let Some(index) = from.checked_sub(back) else {
        return Err(HistoryError::TooFarBack {
            text: format!("{base}~{back}"),
            name: base.to_owned(),
            older: from,
        });
    };
    let (name, snapshot) = all.swap_remove(index);
    of_snapshot(view, name, snapshot)
}

fn of_snapshot(view: &View<'_>, name: String, snapshot: Snapshot) -> Result<State> {
    let epoch = snapshot.epoch;
    let header = view.header(epoch)?.ok_or(HistoryError::NotKept { epoch })?;
    Ok(State {
        epoch,
        time: header.time,
        snapshot: Some((name, snapshot)),
        unrecorded: None,
    })
}

/// All snapshots of listed epochs, oldest first.
///
/// # Errors
/// The store's.
pub fn snapshots(view: &View<'_>) -> Result<Vec<(String, Snapshot)>> {
    let newest = view.newest_epoch()?.unwrap_or(Epoch::NONE);
    let mut all = view.snapshots()?;
    all.retain(|(_, snapshot)| snapshot.epoch <= newest);
    all.sort_by_key(|(_, snapshot)| (snapshot.epoch, snapshot.id));
    Ok(all)
}

/// Epochs that wait for a scan come after all listed ones, so the newest of these decides.
fn is_listed(view: &View<'_>, snapshot: &Snapshot) -> Result<bool> {
    Ok(view
        .newest_epoch()?
        .is_some_and(|newest| snapshot.epoch <= newest))
}

/// The times of the oldest and of the newest kept epoch.
///
/// # Errors
/// `NothingRecorded`, or the store's.
pub fn range(view: &View<'_>) -> Result<(Timestamp, Timestamp)> {
    let oldest = view.oldest_epoch()?.ok_or(HistoryError::NothingRecorded)?;
    let newest = view.newest_epoch()?.ok_or(HistoryError::NothingRecorded)?;
    let time = |epoch| -> Result<Timestamp> {
        let header = view.header(epoch)?;
        Ok(header.ok_or(HistoryError::NotKept { epoch })?.time)
    };
    Ok((time(oldest)?, time(newest)?))
}

/// The newest kept epoch that is not later than `time`. Nobody knows the future: a time after now
/// is refused, unless the clock was set back and an epoch lies there.
fn at_time(view: &View<'_>, time: Timestamp, now: Timestamp) -> Result<State> {
    let (first, last) = range(view)?;
    if time < first {
        return Err(HistoryError::BeforeFirst { time, first, last });
    }
    if time > now && time > last {
        return Err(HistoryError::Future { time, first, last });
    }
    let found = view.epoch_at_time(time)?;
    let epoch = found.ok_or(HistoryError::BeforeFirst { time, first, last })?;
    let header = view.header(epoch)?.ok_or(HistoryError::NotKept { epoch })?;
    let snapshot = snapshots(view)?
        .into_iter()
        .rfind(|(_, snapshot)| snapshot.epoch == epoch);
    Ok(State {
        epoch,
        time: header.time,
        snapshot,
        unrecorded: view.gap_at(time)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::past::{Past, at, directory};

    fn past() -> Past {
        let mut past = Past::new();
        past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            draft.snapshot("first");
        });
        past.epoch("2026-11-20T10:05:00.123456789Z", |_| {});
        past.epoch("2026-11-20T10:10", |draft| {
            draft.snapshot("b");
            draft.snapshot("a");
        });
        past.epoch("2026-11-20T10:15", |_| {});
        past
    }

    fn resolve(past: &Past, text: &str) -> Result<Option<State>> {
        let now = at("2026-11-20T10:20");
        StateName::parse(text, now, &TimeZone::UTC)?.resolve(&past.store.view(), now)
    }

    fn epoch(past: &Past, text: &str) -> u64 {
        let state = resolve(past, text).expect("resolves");
        state.expect("not live").epoch.0
    }

    #[test]
    fn snapshots_by_name_and_counted_back() {
        let past = past();
        let name = |text: &str| {
            let state = resolve(&past, text).expect("resolves").expect("not live");
            state.snapshot.expect("a snapshot").0
        };
        assert_eq!(name("first"), "first");
        assert_eq!(name("latest"), "a");
        assert_eq!(name("latest~1"), "b");
        assert_eq!(name("latest~2"), "first");
        assert_eq!(name("a~1"), "b");
        assert_eq!(name("a~0"), "a");
        assert_eq!(epoch(&past, "a~2"), 1);
        assert_eq!(resolve(&past, "live").expect("resolves"), None);
    }

    #[test]
    fn a_time_is_the_newest_epoch_not_later() {
        let past = past();
        assert_eq!(epoch(&past, "@10:00"), 1);
        assert_eq!(epoch(&past, "@10:05"), 1);
        assert_eq!(epoch(&past, "@2026-11-20T10:05:00.123456788Z"), 1);
        assert_eq!(epoch(&past, "@2026-11-20T10:05:00.123456789Z"), 2);
        assert_eq!(epoch(&past, "@GMT-2026.11.20-10.05.01"), 2);
        assert_eq!(epoch(&past, "@10m"), 3);
        assert_eq!(epoch(&past, "@0s"), 4);
        let state = resolve(&past, "@10:12").expect("resolves").expect("past");
        assert_eq!(state.time, at("2026-11-20T10:10"));
        assert_eq!(state.snapshot.expect("named").0, "a");
    }

    #[test]
    fn an_epoch_in_the_future_of_a_clock_that_was_set_back_is_found() {
        let mut past = past();
        past.epoch("2026-11-20T11:00", |_| {});
        assert_eq!(epoch(&past, "@2026-11-20T11:00:00.000000000Z"), 5);
        assert_eq!(epoch(&past, "@2026-11-20T10:30"), 4);
        assert!(matches!(
            resolve(&past, "@2026-11-20T11:00:00.000000001Z"),
            Err(HistoryError::Future { .. })
        ));
    }

    #[test]
    fn a_time_without_history_is_the_state_before_it_and_says_so() {
        let past = past();
        past.store.begin_gap(Gap {
            from: at("2026-11-20T10:11"),
            to: None,
            reason: "the disk is full".into(),
        });
        past.store.end_gap(at("2026-11-20T10:14")).expect("ended");
        let state = |text: &str| resolve(&past, text).expect("resolves").expect("past");
        assert_eq!(state("@10:12").epoch.0, 3);
        let reason = state("@10:12").unrecorded.expect("told").reason;
        assert_eq!(reason, "the disk is full");
        assert_eq!(state("@10:11").unrecorded, None);
        assert_eq!(state("@10:14").unrecorded, None);
        assert_eq!(state("@10:15").unrecorded, None);
    }

    #[test]
    fn what_does_not_exist_is_said_with_what_does() {
        let past = past();
        let fault = |text: &str| resolve(&past, text).expect_err("no such state");
        assert!(matches!(fault("c"), HistoryError::NoSnapshot { name } if name == "c"));
        assert!(matches!(fault("c~1"), HistoryError::NoSnapshot { name } if name == "c"));
        assert!(matches!(
            fault("b~2"),
            HistoryError::TooFarBack { older: 1, .. }
        ));
        let huge = format!("latest~{}0", u64::MAX);
        assert!(matches!(
            fault(&huge),
            HistoryError::TooFarBack { older: 2, .. }
        ));
        let (first, last) = (at("2026-11-20T10:00"), at("2026-11-20T10:15"));
        assert!(matches!(
            fault("@09:59"),
            HistoryError::BeforeFirst { first: f, last: l, .. } if (f, l) == (first, last)
        ));
        assert!(matches!(
            fault("@2026-11-20T10:21"),
            HistoryError::Future { first: f, last: l, .. } if (f, l) == (first, last)
        ));
        assert!(matches!(fault("@x"), HistoryError::BadTime(_)));
        assert!(matches!(fault(".x"), HistoryError::BadName(_)));
        let nothing = Past::new();
        assert!(matches!(
            resolve(&nothing, "latest"),
            Err(HistoryError::NoSnapshots)
        ));
        assert!(matches!(
            resolve(&nothing, "@5m"),
            Err(HistoryError::NothingRecorded)
        ));
    }
}
