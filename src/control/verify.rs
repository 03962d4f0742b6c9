//! `verify`: what the store finds wrong with itself, in the user's words, with the states and the
//! paths that are touched.

use super::error::Error;
use super::request::{Answer, Progress, Steps};
use super::service::{Service, Watch, ticking};
use super::verified::{Finding, Verified};
use super::when::When;
use crate::format::record::InodeVersion;
use crate::id::{Epoch, FileId};
use crate::limits;
use crate::store::{Depth, Problem, Report, View};
use crate::time::Timestamp;
use parking_lot::Mutex;

impl Service {
    /// Reads and checks the whole store.
    pub(super) fn verify(&self, percent: u8, watch: &Watch<'_>) -> Result<Answer, Error> {
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
        let report = ticking(watch, show, || {
            self.store.verify_to(depth, &|progress| {
                *read.lock() = (progress.chunks, progress.versions);
                !(watch.cancelled)()
            })
        })?;
        if !report.finished {
            return Err(Error::VerifyInterrupted);
        }
        Ok(Answer::Verified(Box::new(self.findings(&report, percent))))
    }

    fn findings(&self, report: &Report, percent: u8) -> Verified {
        let view = self.store.view();
        let problems = report.problems.iter().take(limits::FINDINGS_MAX);
        Verified {
            states: report.epochs,
            versions: report.read.versions,
            chunks: report.read.chunks,
            chunk_bytes: report.read.chunk_bytes,
            hashed_percent: percent,
            problems: report.problems_found,
            findings: problems.map(|problem| finding(&view, problem)).collect(),
        }
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

fn finding(view: &View<'_>, problem: &Problem) -> Finding {
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
        Problem::State { epoch } => (
            "what is recorded of a state is not what it was".to_owned(),
            Touched::state(*epoch),
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
    let first = view.epochs(epoch, until, 1).unwrap_or_default();
    let first = first.first().map(|(at, ..)| *at).filter(|at| *at < until);
    let last = first.and_then(|_| view.listed_before(until).ok().flatten());
    Touched {
        path: path(view, id, first.unwrap_or(epoch)),
        first,
        last,
    }
}

/// Where a file stood; as far as the records tell.
fn path(view: &View<'_>, mut id: FileId, at: Epoch) -> Option<String> {
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
