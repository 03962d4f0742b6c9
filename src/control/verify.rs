//! `verify`: what the store finds wrong with itself, in the user's words, with the states and the
//! paths that are touched.

use super::error::Error;
use super::open;
use super::request::{Answer, Progress, Steps};
use super::service::{Service, Watch, ticking};
use super::verified::{Finding, Remedy, Verified};
use super::when::When;
use crate::capture::LiveFiles;
use crate::format::record::InodeVersion;
use crate::id::{Epoch, FileId};
use crate::limits;
use crate::store::repair::{self, Repaired};
use crate::store::{self, Depth, Problem, View};
use crate::time::Timestamp;
use parking_lot::Mutex;
use std::sync::Arc;

impl Service {
    /// Reads and checks the whole store.
    pub(super) fn verify(
        &self,
        percent: u8,
        repair: bool,
        uid: u32,
        watch: &Watch<'_>,
    ) -> Result<Answer, Error> {
        let depth = Depth {
            hashed_percent: percent,
            // Another sample each time.
            seed: u64::from_ne_bytes(Timestamp::now().0.to_ne_bytes()),
        };
        let read = Mutex::new((0, 0));
        let show = || {
            let (chunks, versions) = *read.lock();
            let what = format!("{chunks} pieces of content, {versions} versions checked");
            let steps = Some(Steps {
                what,
                ..Steps::default()
            });
            Progress {
                steps,
                ..Progress::default()
            }
        };
        let go_on = |progress: &store::Progress| {
            *read.lock() = (progress.chunks, progress.versions);
            !(watch.cancelled)()
        };
        let repaired = ticking(watch, show, || -> Result<Repaired, Error> {
            if repair {
                let files = self.live_files()?;
                return Ok(self
                    .store
                    .repair(&files, self.mount.is_none(), uid, &go_on)?);
            }
            Ok(Repaired {
                report: self.store.verify_to(depth, &go_on)?,
                ..Repaired::default()
            })
        })?;
        if !repaired.report.finished {
            return Err(Error::VerifyInterrupted);
        }
        let percent = if repair { 100 } else { percent };
        if percent == 100 && !self.store.is_poisoned() {
            // What is left is what `status` warns of.
            let noted = self.store.note_checked(repaired.report.problems_found);
            if let Err(error) = noted {
                ::log::debug!("that all was checked can't be noted: {error}");
            }
        }
        let mut verified = self.findings(&repaired, percent);
        if let Some(fault) = self.drills_fault() {
            verified.problems += 1;
            verified.findings.push(Finding {
                problem: format!("{fault}: somebody has changed it"),
                repair: None,
                path: None,
                first_state: None,
                last_state: None,
            });
        }
        Ok(Answer::Verified(Box::new(verified)))
    }

    /// The live tree, mounted or not.
    fn live_files(&self) -> Result<LiveFiles, Error> {
        let store = Arc::clone(&self.store);
        let unreadable = |reason| Error::Directory { reason };
        let files = match &self.recorder {
            Some(recorder) => LiveFiles::new(recorder.inodes().backing(), store),
            None => {
                let backing = open::directory(&self.dir);
                LiveFiles::new(
                    &backing.map_err(|error| unreadable(error.to_string()))?,
                    store,
                )
            }
        };
        files.map_err(|error| unreadable(error.to_string()))
    }

    fn findings(&self, repaired: &Repaired, percent: u8) -> Verified {
        let view = self.store.view();
        let report = &repaired.report;
        let fixed = repaired.fixed.iter();
        let fixed = fixed.map(|(problem, remedy)| (problem, Some(remedy_of(*remedy))));
        let left = report.problems.iter().map(|problem| (problem, None));
        let told = fixed.chain(left).take(limits::FINDINGS_MAX);
        Verified {
            repaired_states: report.mended,
            mended: repaired.mended,
            given_up: repaired.given_up,
            states: report.epochs,
            versions: report.read.versions,
            chunks: report.read.chunks,
            chunk_bytes: report.read.chunk_bytes,
            hashed_percent: percent,
            problems: report.problems_found + repaired.mended + repaired.given_up,
            findings: told
                .map(|(problem, remedy)| finding(&view, problem, remedy))
                .collect(),
        }
    }
}

fn remedy_of(remedy: repair::Remedy) -> Remedy {
    match remedy {
        repair::Remedy::Mended => Remedy::Mended,
        repair::Remedy::GivenUp => Remedy::GivenUp,
    }
}

/// What a problem touches.
struct Touched {
    path: Option<String>,
    first: Option<Epoch>,
    last: Option<Epoch>,
}

impl Touched {
    const NOTHING_KNOWN: Touched = Touched {
        path: None,
        first: None,
        last: None,
    };

    fn state(epoch: Epoch) -> Touched {
        Touched {
            path: None,
            first: Some(epoch),
            last: Some(epoch),
        }
    }
}

fn finding(view: &View<'_>, problem: &Problem, remedy: Option<Remedy>) -> Finding {
    let (text, touched) = match problem {
        Problem::Content { id, epoch, .. } => (
            "the content of a file can't be read".to_owned(),
            version(view, *id, *epoch),
        ),
        Problem::InodeLine { id, epoch, .. } => (
            "a change of a file is missing in the list of changes".to_owned(),
            version(view, *id, *epoch),
        ),
        Problem::DirentLine { dir, epoch, .. } => (
            "a change of a name is missing in the list of changes of a folder".to_owned(),
            version(view, *dir, *epoch),
        ),
        Problem::Dangling { dir, epoch, .. } => (
            "a name in a folder leads to a file that is not there".to_owned(),
            version(view, *dir, *epoch),
        ),
        Problem::State { epoch, .. } => (
            "what is recorded of a state is not what it was".to_owned(),
            Touched::state(*epoch),
        ),
        Problem::Unreadable { family } if remedy.is_none() => (
            format!(
                "a part of the database ({family}) can't be read; to mend it: rewindfs umount, then \
                 verify --repair"
            ),
            Touched::NOTHING_KNOWN,
        ),
        Problem::Unreadable { family } => (
            format!("a part of the database ({family}) could not be read"),
            Touched::NOTHING_KNOWN,
        ),
        Problem::NoTombstone { id, epoch } => (
            "the content of a file was purged, and nothing says when and why".to_owned(),
            version(view, *id, *epoch),
        ),
        Problem::Sum { .. } => (
            "the sum on which the next state builds is wrong".to_owned(),
            Touched::NOTHING_KNOWN,
        ),
        Problem::Seal { epoch } => (
            "the record of a state does not continue the one before it".to_owned(),
            Touched::state(*epoch),
        ),
        Problem::NoHeader { epoch } => (
            "a state has no record of its time".to_owned(),
            Touched::state(*epoch),
        ),
        Problem::Snapshot { name, epoch } => (
            format!("the snapshot {name} names a state that is not there"),
            Touched::state(*epoch),
        ),
        other => (other.to_string(), Touched::NOTHING_KNOWN),
    };
    let time = |epoch: Option<Epoch>| {
        let header = view.header(epoch?).ok().flatten()?;
        Some(When(header.time))
    };
    Finding {
        problem: text,
        repair: remedy,
        path: touched.path,
        first_state: time(touched.first),
        last_state: time(touched.last),
    }
}

/// The path of a version, and the first and the last kept state that shows it.
fn version(view: &View<'_>, id: FileId, epoch: Epoch) -> Touched {
    let versions = view.inode_versions(id).unwrap_or_default();
    let next = versions.iter().rev().find(|(at, _)| *at > epoch);
    let until = next.map_or(Epoch::MAX, |(at, _)| *at);
    let (first, last) = shown_in(view, epoch, until);
    Touched {
        path: path(view, id, first.unwrap_or(epoch)),
        first,
        last,
    }
}

/// The first and the last listed state from an epoch up to another, without that.
pub(super) fn shown_in(
    view: &View<'_>,
    from: Epoch,
    until: Epoch,
) -> (Option<Epoch>, Option<Epoch>) {
    let first = view.epochs(from, until, 1).unwrap_or_default();
    let first = first.first().map(|(at, ..)| *at).filter(|at| *at < until);
    let last = first.and_then(|_| view.listed_before(until).ok().flatten());
    (first, last)
}

/// Where a file stood; as far as the records tell.
pub(super) fn path(view: &View<'_>, mut id: FileId, at: Epoch) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    while id != FileId::ROOT {
        if names.len() >= limits::DEPTH_MAX {
            return None;
        }
        let InodeVersion::Present(inode) = view.inode_at(id, at).ok()??.1 else {
            return None;
        };
        names.push(String::from_utf8_lossy(&inode.name).into_owned());
        id = inode.parent;
    }
    names.reverse();
    Some(if names.is_empty() {
        ".".to_owned()
    } else {
        names.join("/")
    })
}
