//! The list of what is kept, page by page in order of time: so a message stays small however
//! many states there are.

use super::error::Error;
use super::report::{Line, LineKind, Named, SizeLine};
use super::request::{PAGE, Position};
use super::when::When;
use crate::format::record::{EpochKind, EpochRecord, EpochState, Gap, Header, Snapshot};
use crate::id::{Epoch, SnapshotId};
use crate::store::{Store, View};
use std::collections::BTreeMap;

/// Lines after a position, and where to go on.
///
/// # Errors
/// When the store can't be read.
pub fn page(
    store: &Store,
    checkpoints: bool,
    after: Option<Position>,
) -> Result<(Vec<Line>, Option<Position>), Error> {
    let view = store.view();
    let mut names: BTreeMap<Epoch, Vec<(String, Snapshot)>> = BTreeMap::new();
    for (name, snapshot) in view.snapshots()? {
        names
            .entry(snapshot.epoch)
            .or_default()
            .push((name, snapshot));
    }
    for snapshots in names.values_mut() {
        snapshots.sort_by_key(|(_, snapshot)| snapshot.id);
    }
    let begin = match after.as_ref().map(|position| Epoch(position.epoch)) {
        Some(epoch) => view.header(epoch)?.map(|header| When(header.time)),
        None => None,
    };
    let mut bases = BTreeMap::new();
    for (_, snapshot) in names.values().flatten() {
        if let Some(base) = snapshot.base {
            bases.insert(snapshot.id, name_of(&view, base)?);
        }
    }
    let mut page = Page::new(after, bases);
    if checkpoints {
        fill_with_all(&view, &names, &mut page)?;
    } else {
        fill_with_names(&view, &names, &mut page)?;
    }
    let end = page.next.as_ref().and(page.lines.last());
    let end = end.map(|line| line.time);
    add_unrecorded(&mut page.lines, view.gaps()?, begin, end);
    Ok((page.lines, page.next))
}

/// The name of a state, or its time if it has none.
///
/// # Errors
/// When the store can't be read.
pub(super) fn name_of(view: &View<'_>, epoch: Epoch) -> Result<String, Error> {
    let named = view.snapshots()?.into_iter();
    let named = named.filter(|(_, snapshot)| snapshot.epoch == epoch);
    if let Some((name, _)) = named.min_by_key(|(_, snapshot)| snapshot.id) {
        return Ok(name);
    }
    let time = view.header(epoch)?.map(|header| When(header.time));
    Ok(time.map_or_else(String::new, |time| format!("@{time}")))
}

/// What each snapshot added, and what deleting it would free.
///
/// # Errors
/// When the store can't be read; an interruption.
pub(super) fn sizes(
    store: &Store,
    go_on: &dyn Fn() -> bool,
) -> Result<(Vec<SizeLine>, bool), Error> {
    let (weights, exact) = store.weigh_snapshots(go_on)?;
    let view = store.view();
    let mut snapshots = view.snapshots()?;
    snapshots.sort_by_key(|(_, snapshot)| (snapshot.epoch, snapshot.id));
    let mut lines = Vec::new();
    for (name, snapshot) in snapshots {
        let Some(weight) = weights.get(&snapshot.id) else {
            continue;
        };
        let header = view.header(snapshot.epoch)?;
        lines.push(SizeLine {
            name,
            time: When(header.map_or(snapshot.time, |header| header.time)),
            mode: snapshot.mode.into(),
            files: weight.files,
            bytes: weight.bytes,
            stored_bytes: weight.stored_bytes,
            frees_bytes: weight.frees_bytes,
        });
    }
    Ok((lines, exact))
}

/// Puts the times without history that begin on this page between its states. A page ends with
/// its last state, the last one never.
fn add_unrecorded(lines: &mut Vec<Line>, gaps: Vec<Gap>, begin: Option<When>, end: Option<When>) {
    for gap in gaps {
        let from = When(gap.from);
        let earlier = begin.is_some_and(|begin| from < begin);
        let later = end.is_some_and(|end| from >= end);
        if !earlier && !later {
            let at = lines.partition_point(|line| line.time <= from);
            lines.insert(at, unrecorded(gap));
        }
    }
}

fn unrecorded(gap: Gap) -> Line {
    Line {
        kind: LineKind::Unrecorded,
        time: When(gap.from),
        complete: false,
        quiet: false,
        files_left_out: 0,
        snapshot: None,
        unrecorded: Some(gap.into()),
    }
}

type Names = BTreeMap<Epoch, Vec<(String, Snapshot)>>;

fn fill_with_names(view: &View<'_>, names: &Names, page: &mut Page) -> Result<(), Error> {
    for (&epoch, snapshots) in names.range(page.first_epoch()..) {
        // A waiting epoch is not listed before the scan that it waits for.
        let (Some(record), Some(header)) = (view.epoch(epoch)?, view.header(epoch)?) else {
            continue;
        };
        if !matches!(record.state, EpochState::Waiting { .. })
            && !page.add(epoch, &record, &header, snapshots)
        {
            break;
        }
    }
    Ok(())
}

fn fill_with_all(view: &View<'_>, names: &Names, page: &mut Page) -> Result<(), Error> {
    let mut from = page.first_epoch();
    loop {
        let epochs = view.epochs(from, Epoch::MAX, PAGE)?;
        let Some((last, ..)) = epochs.last() else {
            return Ok(());
        };
        from = last.next();
        for (epoch, record, header) in &epochs {
            let snapshots = names.get(epoch).map_or(&[][..], Vec::as_slice);
            if !page.add(*epoch, record, header, snapshots) {
                return Ok(());
            }
        }
    }
}

/// A page that is being filled.
struct Page {
    after: Option<Position>,
    lines: Vec<Line>,
    next: Option<Position>,
    last: Option<Position>,
    /// By snapshot: the name of its base.
    bases: BTreeMap<SnapshotId, String>,
}

impl Page {
    fn new(after: Option<Position>, bases: BTreeMap<SnapshotId, String>) -> Page {
        Page {
            bases,
            after,
            lines: Vec::new(),
            next: None,
            last: None,
        }
    }

    fn first_epoch(&self) -> Epoch {
        self.after
            .as_ref()
            .map_or(Epoch::NONE, |position| Epoch(position.epoch))
    }

    /// Adds the names of an epoch, or the epoch itself when it has none. False: the page is
    /// full, and `next` says where the following one begins.
    fn add(
        &mut self,
        epoch: Epoch,
        record: &EpochRecord,
        header: &Header,
        snapshots: &[(String, Snapshot)],
    ) -> bool {
        if snapshots.is_empty() {
            return self.push(epoch, 0, || line(record, header, None));
        }
        snapshots.iter().all(|(name, snapshot)| {
            let base = self.bases.get(&snapshot.id).cloned();
            self.push(epoch, snapshot.id.0, || {
                let mut line = line(record, header, Some((name, snapshot)));
                if let Some(named) = &mut line.snapshot {
                    named.base = base;
                }
                line
            })
        })
    }

    fn push(&mut self, epoch: Epoch, snapshot: u64, line: impl FnOnce() -> Line) -> bool {
        let position = Position {
            epoch: epoch.0,
            snapshot,
        };
        if self.after.as_ref().is_some_and(|after| position <= *after) {
            return true;
        }
        if self.lines.len() == PAGE {
            self.next = self.last.take();
            return false;
        }
        self.lines.push(line());
        self.last = Some(position);
        true
    }
}

fn line(record: &EpochRecord, header: &Header, snapshot: Option<(&String, &Snapshot)>) -> Line {
    Line {
        kind: match snapshot {
            Some(_) => LineKind::Snapshot,
            None if record.kind == EpochKind::Scan => LineKind::Scan,
            None => LineKind::Checkpoint,
        },
        time: When(header.time),
        complete: record.state == EpochState::Whole && record.statistics.lost_files == 0,
        quiet: record.quiet,
        files_left_out: record.statistics.lost_files,
        snapshot: snapshot.map(|(name, snapshot)| Named {
            name: name.clone(),
            mode: snapshot.mode.into(),
            base: None,
            message: snapshot.message.clone(),
            tags: snapshot.tags.clone(),
            held: snapshot.hold.is_some(),
            uid: snapshot.by_uid,
        }),
        unrecorded: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn gap(from: i64) -> Gap {
        Gap {
            from: Timestamp(from),
            to: Some(Timestamp(from + 5)),
            reason: "full".into(),
        }
    }

    fn state(time: i64) -> Line {
        Line {
            kind: LineKind::Checkpoint,
            unrecorded: None,
            ..unrecorded(gap(time))
        }
    }

    #[test]
    fn times_without_history_stand_between_the_states_and_on_one_page_each() {
        let gaps = || vec![gap(5), gap(10), gap(25), gap(40)];
        let times = |lines: &[Line]| -> Vec<(i64, bool)> {
            let of = |line: &Line| (line.time.0.0, line.unrecorded.is_some());
            lines.iter().map(of).collect()
        };
        let mut first = vec![state(10), state(20)];
        let mut last = vec![state(30)];
        let border = Some(When(Timestamp(20)));
        add_unrecorded(&mut first, gaps(), None, border);
        add_unrecorded(&mut last, gaps(), border, None);
        assert_eq!(
            times(&first),
            [(5, true), (10, false), (10, true), (20, false)]
        );
        assert_eq!(times(&last), [(25, true), (30, false), (40, true)]);
    }
}
