//! `.checkpoints/DAY/TIME`: every kept epoch, to be found with `ls` alone. A day costs in
//! proportion to what is in it, the list of days in proportion to the days.

use super::SnapDir;
use super::listing::{Emit, FIRST_COOKIE, Item};
use super::node::{Node, Place};
use super::top::{Named, directory_in_state};
use crate::format::record::{EpochRecord, Gap, Header, Kind};
use crate::fs::Answer;
use crate::id::Epoch;
use crate::limits;
use crate::store::View;
use crate::time::Timestamp;
use crate::time::folder::{Day, Moment, from_time_name, same_millisecond, time_name};

/// What the name of a time without history ends in.
const NOT_RECORDED: &[u8] = b".not-recorded";
/// Cookies of times without history have this bit, and the nanoseconds of their beginning.
const UNRECORDED_COOKIE: u64 = 1 << 62;

impl SnapDir {
    pub(super) fn lookup_day(
        &self,
        view: &View<'_>,
        host: u64,
        name: &[u8],
    ) -> Answer<Option<Named>> {
        let name = std::str::from_utf8(name).ok();
        let Some(day) = name.and_then(Day::from_name) else {
            return Ok(None);
        };
        let first = first_from(view, day.begin(&self.zone))?;
        let end = day.end(&self.zone);
        let mut exists = first.is_some_and(|(_, time)| time < end);
        exists |= !self.unrecorded(view, day)?.is_empty();
        Ok(exists.then_some((Node::Day { host, day }, None)))
    }

    pub(super) fn lookup_time(
        &self,
        view: &View<'_>,
        host: u64,
        day: Day,
        name: &[u8],
    ) -> Answer<Option<Named>> {
        if name.ends_with(NOT_RECORDED) {
            let links = self.unrecorded(view, day)?;
            let found = links.into_iter().find(|(_, link, _)| link == name);
            return Ok(found.map(|(_, name, gap)| (self.stretch(host, &name, &gap), None)));
        }
        let name = std::str::from_utf8(name).ok();
        let Some(moment) = name.and_then(|name| from_time_name(day, name, &self.zone)) else {
            return Ok(None);
        };
        let (Moment::Millisecond(begin) | Moment::Nanosecond(begin)) = moment;
        let Some((epoch, time)) = first_from(view, begin)? else {
            return Ok(None);
        };
        let is_meant = match moment {
            Moment::Millisecond(_) => same_millisecond(begin, time) && is_first(view, epoch, time)?,
            Moment::Nanosecond(_) => time == begin && !is_first(view, epoch, time)?,
        };
        if !is_meant {
            return Ok(None);
        }
        let directory = self.host.describe(host)?;
        let Some(found) = directory_in_state(view, &directory, epoch)? else {
            return Ok(None);
        };
        Ok(Some((checkpoint(host, day, epoch, found.id), Some(found))))
    }

    /// Jumps from day to day.
    pub(super) fn list_days(
        &self,
        view: &View<'_>,
        host: u64,
        offset: u64,
        emit: Emit<'_>,
    ) -> Answer<()> {
        let mut from = match offset.checked_sub(FIRST_COOKIE).and_then(Day::from_number) {
            Some(day) => day.end(&self.zone),
            None => Timestamp(i64::MIN),
        };
        let gaps = view.gaps()?;
        loop {
            let state = first_from(view, from)?.map(|(_, time)| time);
            let mut begins = gaps.iter().map(|gap| gap.from);
            let without = begins.find(|begin| *begin >= from);
            let Some(time) = state.into_iter().chain(without).min() else {
                break;
            };
            let day = Day::of(time, &self.zone);
            let name = day.name();
            let item = Item {
                cookie: FIRST_COOKIE + day.number(),
                name: name.as_bytes(),
                node: Node::Day { host, day },
                kind: Kind::Dir,
                found: None,
            };
            if !emit(item)? {
                break;
            }
            from = day.end(&self.zone);
        }
        Ok(())
    }

    /// The times without history that begin on a day: cookie, name, and what is known of it.
    fn unrecorded(&self, view: &View<'_>, day: Day) -> Answer<Vec<(u64, Vec<u8>, Gap)>> {
        let gaps = view.gaps()?.into_iter();
        let of_day = gaps.filter(|gap| Day::of(gap.from, &self.zone) == day);
        Ok(of_day
            .map(|gap| {
                let mut name = time_name(gap.from, true, &self.zone).into_bytes();
                name.extend_from_slice(NOT_RECORDED);
                let number = u64::try_from(gap.from.0).unwrap_or(0);
                (UNRECORDED_COOKIE | number, name, gap)
            })
            .collect())
    }

    /// A time without history, as a link that leads nowhere and says so.
    fn stretch(&self, host: u64, name: &[u8], gap: &Gap) -> Node {
        let target = match gap.to {
            Some(to) => {
                let to = to.local(&self.zone);
                format!("nothing was recorded until {to}: {}", gap.reason)
            }
            None => format!("nothing is recorded: {}", gap.reason),
        };
        Node::Link {
            host,
            name: name.into(),
            target: target.into_bytes().into_boxed_slice(),
            time: gap.from,
        }
    }

    fn list_unrecorded(
        &self,
        view: &View<'_>,
        host: u64,
        day: Day,
        offset: u64,
        emit: Emit<'_>,
    ) -> Answer<()> {
        for (cookie, name, gap) in self.unrecorded(view, day)? {
            if cookie <= offset {
                continue;
            }
            let item = Item {
                cookie,
                name: &name,
                node: self.stretch(host, &name, &gap),
                kind: Kind::Symlink,
                found: None,
            };
            if !emit(item)? {
                break;
            }
        }
        Ok(())
    }

    /// The states of a day, then its times without history.
    pub(super) fn list_day(
        &self,
        view: &View<'_>,
        host: u64,
        day: Day,
        offset: u64,
        emit: Emit<'_>,
    ) -> Answer<()> {
        let mut full = false;
        if offset < UNRECORDED_COOKIE {
            self.list_times(view, host, day, offset, &mut |item| {
                let taken = emit(item)?;
                full |= !taken;
                Ok(taken)
            })?;
        }
        if full {
            return Ok(());
        }
        self.list_unrecorded(view, host, day, offset, emit)
    }

    fn list_times(
        &self,
        view: &View<'_>,
        host: u64,
        day: Day,
        offset: u64,
        emit: Emit<'_>,
    ) -> Answer<()> {
        let directory = self.host.describe(host)?;
        let end = day.end(&self.zone);
        let mut from = match offset.checked_sub(FIRST_COOKIE) {
            Some(epoch) => Epoch(epoch).next(),
            None => match first_from(view, day.begin(&self.zone))? {
                Some((epoch, _)) => epoch,
                None => return Ok(()),
            },
        };
        loop {
            let page = view.epochs(from, Epoch::MAX, limits::DIR_PAGE)?;
            for (epoch, _, header) in &page {
                if header.time >= end {
                    return Ok(());
                }
                let Some(found) = directory_in_state(view, &directory, *epoch)? else {
                    continue;
                };
                let first = is_first(view, *epoch, header.time)?;
                let name = time_name(header.time, first, &self.zone);
                let item = Item {
                    cookie: FIRST_COOKIE + epoch.0,
                    name: name.as_bytes(),
                    node: checkpoint(host, day, *epoch, found.id),
                    kind: Kind::Dir,
                    found: Some(found),
                };
                if !emit(item)? {
                    return Ok(());
                }
            }
            match page.last() {
                Some((last, _, _)) if page.len() == limits::DIR_PAGE => from = last.next(),
                _ => return Ok(()),
            }
        }
    }
}

fn checkpoint(host: u64, day: Day, epoch: Epoch, dir: crate::id::FileId) -> Node {
    Node::View {
        host,
        place: Place::Checkpoint(day),
        dir,
        epoch,
    }
}

/// The oldest kept epoch that is not earlier than `time`.
fn first_from(view: &View<'_>, time: Timestamp) -> Answer<Option<(Epoch, Timestamp)>> {
    let before = match time.0.checked_sub(1) {
        Some(before) => view.epoch_at_time(Timestamp(before))?,
        None => None,
    };
    let from = before.map_or(Epoch::NONE, Epoch::next);
    let found: Vec<(Epoch, EpochRecord, Header)> = view.epochs(from, Epoch::MAX, 1)?;
    Ok(found
        .first()
        .map(|(epoch, _, header)| (*epoch, header.time)))
}

/// Whether no epoch before it, kept or not, is in the same millisecond. Headers are kept for ever,
/// so the answer never changes. Numbers of epochs that were never committed have none.
pub(super) fn is_first(view: &View<'_>, epoch: Epoch, time: Timestamp) -> Answer<bool> {
    let unused_at_most = limits::UNUSED_EPOCHS;
    for number in (epoch.0.saturating_sub(unused_at_most)..epoch.0).rev() {
        if let Some(before) = view.header(Epoch(number))? {
            return Ok(!same_millisecond(before.time, time));
        }
    }
    Ok(true)
}
