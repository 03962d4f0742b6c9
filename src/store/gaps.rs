//! Times in which nothing was recorded. One that is over is a record of `meta`; the one that lasts
//! is kept in memory, and in the file `stopped` of the folder, because the database is just what
//! may not be writable then.
//!
//! 1. `stopped` is laid out when the store is opened and written in place: that needs no room on a
//!    disk that is full.
//! 2. Whoever opens a store whose `stopped` says something ends that time: the process that wrote
//!    it is dead.

use super::folder::Folder;
use super::view::View;
use super::{Result, Store, StoreError, meta};
use crate::format::record::Gap;
use crate::limits;
use crate::time::Timestamp;
use rustix::fs::{self, Mode, OFlags};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Name of the file that says since when and why nothing is recorded.
pub(super) const STOPPED: &str = "stopped";
/// Its size, bytes: one block, which is there before it is needed.
const STOPPED_BYTES: usize = 4096;

impl Store {
    /// Nothing is recorded from now on. In memory: answers at once.
    pub fn begin_gap(&self, gap: Gap) {
        *self.gap.lock() = Some(gap);
    }

    /// Notes the time that lasts where the next process finds it, should this one die.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn keep_gap(&self) -> Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let line = match &*self.gap.lock() {
            Some(gap) => format!("{} {}\n", gap.from.0, gap.reason),
            None => String::new(),
        };
        write_stopped(folder, &line)
    }

    /// It is recorded again since `to`: the time without becomes a record. One that began right
    /// after another of the same reason is joined to it.
    ///
    /// # Errors
    /// A store that can't be written: the time goes on.
    pub fn end_gap(&self, to: Timestamp) -> Result<()> {
        let Some(gap) = self.gap.lock().clone() else {
            return Ok(());
        };
        self.put_ended(Gap {
            to: Some(to.max(gap.from)),
            ..gap
        })?;
        *self.gap.lock() = None;
        self.keep_gap()
    }

    /// A time without history that was found out later.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn add_gap(&self, gap: Gap) -> Result<()> {
        self.put_ended(gap)
    }

    fn put_ended(&self, gap: Gap) -> Result<()> {
        let joined = self.view().recorded_gaps()?.pop().filter(|(_, last)| {
            last.reason == gap.reason
                && last
                    .to
                    .is_some_and(|to| gap.from.since(to) <= limits::GAP_JOIN)
        });
        let (number, from) = match joined {
            Some((number, last)) => (number, last.from),
            None => (u64::try_from(gap.from.0).unwrap_or(0), gap.from),
        };
        self.put_gap(number, &Gap { from, ..gap })
    }

    /// All times without history, in their order; the one that lasts is the last.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn gaps(&self) -> Result<Vec<Gap>> {
        self.view().gaps()
    }

    /// The one that lasts: also to be had of a store that can't be read.
    pub fn open_gap(&self) -> Option<Gap> {
        self.gap.lock().clone()
    }

    /// At opening: lays out `stopped`, and ends the time that a dead process left in it.
    pub(super) fn take_over_gap(&self) -> Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let left = match lay_out_stopped(folder) {
            Ok(left) => left,
            // A folder that takes no file says so soon enough.
            Err(error) => {
                log::warn!("a stop of recording could not be noted: {error}");
                return Ok(());
            }
        };
        if let Some(gap) = left {
            self.put_ended(Gap {
                to: Some(Timestamp::now().max(gap.from)),
                ..gap
            })?;
            write_stopped(folder, "")?;
        }
        Ok(())
    }
}

impl View<'_> {
    /// Times without history, in their order, with the one that lasts.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn gaps(&self) -> Result<Vec<Gap>> {
        let mut gaps: Vec<Gap> = self
            .recorded_gaps()?
            .into_iter()
            .map(|(_, gap)| gap)
            .collect();
        gaps.extend(self.open_gap());
        Ok(gaps)
    }

    /// The time without history that an instant lies in.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn gap_at(&self, time: Timestamp) -> Result<Option<Gap>> {
        let gaps = self.gaps()?;
        Ok(gaps
            .into_iter()
            .rfind(|gap| gap.from < time && gap.to.is_none_or(|to| time < to)))
    }

    fn recorded_gaps(&self) -> Result<Vec<(u64, Gap)>> {
        self.numbered(meta::GAP)
    }
}

fn failed(source: std::io::Error) -> StoreError {
    StoreError::Io {
        action: "note that nothing is recorded",
        source,
    }
}

fn open_stopped(folder: &Folder) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(folder.fd(), STOPPED, flags, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .map_err(|errno| failed(errno.into()))
}

/// What a dead process left in it.
fn lay_out_stopped(folder: &Folder) -> Result<Option<Gap>> {
    let file = open_stopped(folder)?;
    let mut page = [0; STOPPED_BYTES];
    let known = file.metadata().map_err(failed)?.len() >= STOPPED_BYTES as u64;
    if !known {
        file.write_all_at(&page, 0).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        return Ok(None);
    }
    file.read_exact_at(&mut page, 0).map_err(failed)?;
    Ok(unpack(&page))
}

fn write_stopped(folder: &Folder, line: &str) -> Result<()> {
    let file = open_stopped(folder)?;
    let mut page = [0; STOPPED_BYTES];
    let line = &line.as_bytes()[..line.len().min(STOPPED_BYTES)];
    page[..line.len()].copy_from_slice(line);
    file.write_all_at(&page, 0).map_err(failed)?;
    file.sync_data().map_err(failed)
}

/// `NANOSECONDS REASON`, up to the first NUL; nothing if it says nothing, or nothing of ours.
fn unpack(page: &[u8]) -> Option<Gap> {
    let text = page.split(|byte| *byte == 0).next()?;
    let text = std::str::from_utf8(text).ok()?;
    let (from, reason) = text.trim_end().split_once(' ')?;
    Some(Gap {
        from: Timestamp(from.parse().ok()?),
        to: None,
        reason: reason.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    fn gap(from: i64, reason: &str) -> Gap {
        Gap {
            from: Timestamp(from),
            to: None,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn the_time_of_a_process_that_died_is_ended_by_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store");
        let store = Store::create(&path, StoreOptions::default()).expect("made");
        assert_eq!(store.gaps().expect("read"), []);
        store.begin_gap(gap(1_000, "the disk was full"));
        store.keep_gap().expect("noted");
        assert_eq!(
            store.gaps().expect("read"),
            [gap(1_000, "the disk was full")]
        );
        // Dies: the database knows nothing.
        drop(store);
        for _ in 0..2 {
            let store = Store::open(&path, StoreOptions::default()).expect("opened");
            let gaps = store.gaps().expect("read");
            assert_eq!(gaps.len(), 1, "{gaps:?}");
            assert_eq!(gaps[0].reason, "the disk was full");
            assert!(gaps[0].to.is_some());
            assert_eq!(store.open_gap(), None);
        }
    }

    #[test]
    fn one_that_follows_at_once_is_joined() {
        let store = Store::in_memory().expect("memory");
        let second = 1_000_000_000;
        for from in [10 * second, 12 * second, 500 * second] {
            store.begin_gap(gap(from, "full"));
            store.end_gap(Timestamp(from + second)).expect("ended");
        }
        store.begin_gap(gap(502 * second, "another"));
        store.end_gap(Timestamp(503 * second)).expect("ended");
        let ends: Vec<_> = store.gaps().expect("read");
        let ends: Vec<_> = ends
            .iter()
            .map(|gap| (gap.from.0 / second, gap.to.map_or(0, |to| to.0 / second)))
            .collect();
        assert_eq!(ends, [(10, 13), (500, 501), (502, 503)]);
        let view = store.view();
        let at = |s: i64| view.gap_at(Timestamp(s * second)).expect("read").is_some();
        assert!(!at(10) && at(11) && !at(13) && at(12) && !at(499));
    }
}
