//! The log of drills: a file of JSON lines, each with the hash of the one before it, so that none can
//! be changed or taken out unseen. docs/format.md describes it. Of a directory it lies in its store,
//! which also notes how it ends; of places that were tried without one, in a folder of the user.

use super::error::Error;
use super::hooks;
use super::report::{self, LastDrill};
use super::request::Answer;
use super::service::Service;
use super::when::When;
use crate::format::drill::{DrillPlan, DrillsEnd};
use crate::format::hook::HookEvent;
use crate::id::Hash;
use crate::limits;
use crate::time::{TimeZone, Timestamp};
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Its name in a store, and elsewhere.
pub const FILE: &str = "drills";
/// Bytes of it that are read: a drill an hour for ten years.
const READ_MAX: u64 = 64 << 20;

/// How often a replica is tried by itself, and of how much: what was said, or the default.
pub fn plan_of(plans: &[DrillPlan], url: &str) -> DrillPlan {
    let own = plans.iter().find(|plan| plan.url == url).cloned();
    own.unwrap_or_else(|| DrillPlan {
        url: url.to_owned(),
        every: limits::DRILL_EVERY.as_secs(),
        percent: limits::DRILL_PERCENT,
    })
}

/// When a replica that was added then is to be tried; `None`: never by itself. The first time soon,
/// and one that failed sooner than one that was right.
pub fn due(plan: &DrillPlan, added: Timestamp, last: Option<&DrillReport>) -> Option<Timestamp> {
    let every = Duration::from_secs(plan.every);
    (plan.every > 0).then(|| match last {
        None => added.plus(every.min(limits::DRILL_FIRST)),
        Some(last) if last.ok => last.ended.0.plus(every),
        Some(last) => last.ended.0.plus(every.min(limits::DRILL_AGAIN)),
    })
}

/// What `status` says of the drills of a place.
pub(super) fn told(
    drills: &Drills,
    url: &str,
    plan: Option<(&DrillPlan, Timestamp)>,
    now: Timestamp,
) -> report::Drills {
    let last = drills.last(url);
    let mut all = drills.reports.iter();
    let right = all.rfind(|report| report.url == url && report.ok);
    let due = plan.and_then(|(plan, added)| due(plan, added, last));
    report::Drills {
        every: plan.map(|(plan, _)| plan.every).filter(|every| *every > 0),
        due: due.map(When),
        overdue: due.is_some_and(|due| now > due.plus(limits::DRILL_GRACE)),
        last: last.map(|last| LastDrill {
            ended: last.ended,
            ok: last.ok,
            problem: last.problems.first().cloned().unwrap_or_default(),
            sample_percent: last.sample_percent,
            rto_ms: last.rto_ms,
        }),
        verified: right.map(|report| report.ended),
    }
}

/// What a person should see to.
pub(super) fn problem(url: &str, drills: &report::Drills) -> Option<String> {
    let url = match url {
        "" => "elsewhere",
        url => url,
    };
    let local = |when: When| when.0.local(&TimeZone::system());
    match &drills.last {
        Some(last) if !last.ok => {
            let why = match &last.problem[..] {
                "" => String::new(),
                problem => format!(" ({problem})"),
            };
            Some(format!(
                "what is at {url} did not come back as it should when that was tried, {}{why}; see                  to it, then: rewindfs drill DIR",
                local(last.ended)
            ))
        }
        _ if !drills.overdue => None,
        Some(last) => Some(format!(
            "whether what is at {url} comes back was not tried since {}: mount it, or: rewindfs              drill DIR",
            local(last.ended)
        )),
        None => Some(format!(
            "it was never tried whether what is at {url} comes back: mount it, or: rewindfs drill DIR"
        )),
    }
}

/// Reports in an answer: bounds the message.
const ANSWERED_MAX: usize = 1000;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What a drill did and found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillReport {
    /// What was tried.
    pub url: String,
    /// The machine on which it was.
    pub host: String,
    pub began: When,
    pub ended: When,
    /// All was right.
    pub ok: bool,
    /// What was not, one sentence each, at most five.
    pub problems: Vec<String>,
    /// The set that was recovered, and the time of its state.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub set: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<When>,
    /// Of the files, so many percent, by this number; absent: all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sample_percent: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seed: Option<u64>,
    /// Files that were written, read again and held against the records, and their bytes.
    pub files: u64,
    pub bytes: u64,
    pub fetched_bytes: u64,
    /// From nothing to a directory that is checked and whose check command has ended.
    pub rto_ms: u64,
    pub phases: DrillPhases,
    /// How the check command ended; absent: there was none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub check: Option<i32>,
    /// The kernel kept it away from directory and store; absent: there were none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kept_apart: Option<bool>,
    /// Nobody asked for it: it was its time.
    #[serde(skip_serializing_if = "is_false", default)]
    pub by_itself: bool,
    /// What was wrong with the log when this was added to it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub log_fault: Option<String>,
}

impl DrillReport {
    /// Of one that has only begun.
    pub fn begun(url: &str, began: Timestamp) -> DrillReport {
        let uname = rustix::system::uname();
        DrillReport {
            url: url.to_owned(),
            host: uname.nodename().to_string_lossy().into_owned(),
            began: When(began),
            ended: When(began),
            ok: false,
            problems: Vec::new(),
            set: None,
            state: None,
            sample_percent: None,
            seed: None,
            files: 0,
            bytes: 0,
            fetched_bytes: 0,
            rto_ms: 0,
            phases: DrillPhases::default(),
            check: None,
            kept_apart: None,
            by_itself: false,
            log_fault: None,
        }
    }

    /// Of one that ran by itself, and could not even tell what went wrong.
    pub fn failed(url: &str, began: Timestamp, problem: String) -> DrillReport {
        DrillReport {
            ended: When(Timestamp::now()),
            problems: vec![problem],
            by_itself: true,
            ..DrillReport::begun(url, began)
        }
    }
}

/// How long each step took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillPhases {
    pub list_ms: u64,
    pub fetch_ms: u64,
    pub verify_ms: u64,
    pub write_ms: u64,
    /// Reading again what was written, and hashing it: no part of the time to recover.
    pub hash_ms: u64,
    pub check_ms: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
fn is_false(is: &bool) -> bool {
    !is
}

#[derive(Serialize, Deserialize)]
struct Line {
    /// BLAKE3 of the line before, without its newline; zeros in the first.
    previous: String,
    #[serde(flatten)]
    report: DrillReport,
}

/// A log as it was read.
#[derive(Debug, Default)]
pub struct Drills {
    /// The oldest first.
    pub reports: Vec<DrillReport>,
    /// The first thing that is wrong with it.
    pub fault: Option<String>,
    end: DrillsEnd,
    /// Where the last whole line ends.
    whole_bytes: u64,
    /// It is not what the note of its end says.
    is_cut: Option<String>,
}

impl Drills {
    /// Reads a log; one that is not there is empty. `end`: how it ended when it was written last,
    /// where that is noted.
    ///
    /// # Errors
    /// It can't be read.
    pub fn read(path: &Path, end: Option<DrillsEnd>) -> io::Result<Drills> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut bytes = Vec::new();
        match open(path, flags, Mode::empty()) {
            Ok(file) => {
                File::from(file).take(READ_MAX).read_to_end(&mut bytes)?;
            }
            Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(Drills::parse(&bytes, end))
    }

    fn parse(bytes: &[u8], end: Option<DrillsEnd>) -> Drills {
        let mut drills = Drills::default();
        let noted = end.unwrap_or_default();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            // Somebody died while he wrote it.
            let Some(line) = line.strip_suffix(b"\n") else {
                break;
            };
            drills.whole_bytes += line.len() as u64 + 1;
            let number = drills.end.lines + 1;
            let parsed: Option<Line> = serde_json::from_slice(line).ok();
            let follows = parsed
                .as_ref()
                .is_some_and(|parsed| parsed.previous == drills.end.hash.to_hex());
            if !follows {
                drills.fault.get_or_insert_with(|| {
                    format!(
                        "line {number} of the log of drills does not continue the one before it"
                    )
                });
            }
            drills.end = DrillsEnd {
                lines: number,
                hash: Hash::of(line),
            };
            if number == noted.lines && drills.end.hash != noted.hash {
                drills.is_cut = Some(format!(
                    "line {number} of the log of drills is not the one that was written"
                ));
            }
            if let Some(parsed) = parsed {
                if let Some(fault) = &parsed.report.log_fault {
                    drills.fault.get_or_insert_with(|| fault.clone());
                }
                drills.reports.push(parsed.report);
            }
        }
        if drills.end.lines < noted.lines {
            drills.is_cut = Some(format!(
                "of {} lines of the log of drills only {} are there",
                noted.lines, drills.end.lines
            ));
        }
        let cut = drills.is_cut.clone();
        drills.fault = drills.fault.or(cut);
        drills
    }

    /// The newest of a place.
    pub fn last(&self, url: &str) -> Option<&DrillReport> {
        self.reports.iter().rev().find(|report| report.url == url)
    }
}

impl Service {
    /// Where its log is.
    fn drills_file(&self) -> PathBuf {
        self.store_path.join(FILE)
    }

    /// The newest drills, how often each replica is tried, and what is wrong with the log.
    pub(super) fn drills(&self) -> Result<Answer, Error> {
        let Drills {
            mut reports, fault, ..
        } = Drills::read(&self.drills_file(), self.store.drills_end()?).map_err(unreadable)?;
        let surplus = reports.len().saturating_sub(ANSWERED_MAX);
        reports.drain(..surplus);
        Ok(Answer::Drills {
            reports,
            fault,
            plans: self.store.drill_plans()?,
        })
    }

    /// What is wrong with the log.
    pub(super) fn drills_fault(&self) -> Option<String> {
        let read = self.store.drills_end().map_err(Error::from);
        let read = read.and_then(|end| Drills::read(&self.drills_file(), end).map_err(unreadable));
        match read {
            Ok(drills) => drills.fault,
            Err(error) => Some(error.to_string()),
        }
    }

    /// Adds a line to the log.
    pub(super) fn drill_ended(&self, report: DrillReport) -> Result<Answer, Error> {
        // Of two that end at the same time, the second builds on the first.
        let _one = ONE_AT_A_TIME.lock();
        let told = report.clone();
        let end = append(&self.drills_file(), report, self.store.drills_end()?);
        self.store.set_drills_end(end.map_err(unreadable)?)?;
        if let (Some(recorder), Some(mount)) = (&self.recorder, &self.mount) {
            let variables = vec![
                hooks::variable("DIR", mount.describe().mountpoint),
                hooks::variable("PLACE", &told.url),
                hooks::variable("RESULT", if told.ok { "ok" } else { "failed" }),
                hooks::variable("REASON", told.problems.join("; ")),
            ];
            let event = HookEvent::OnDrill;
            hooks::happened(&self.store, &self.replication, recorder, event, variables);
        }
        Ok(Answer::Done)
    }

    /// How often what is at a place is tried by itself.
    pub(super) fn set_drills(&self, plan: &DrillPlan) -> Result<Answer, Error> {
        self.store.put_drill_plan(plan)?;
        self.replication.listed();
        Ok(Answer::Done)
    }
}

fn unreadable(error: io::Error) -> Error {
    Error::Store {
        reason: format!("the log of drills: {error}"),
    }
}

/// Adds a report to a log; the answer is how it ends then. That it had been cut off stands in the
/// new line, so that it is not forgotten.
///
/// # Errors
/// It can't be written.
pub fn append(
    path: &Path,
    mut report: DrillReport,
    end: Option<DrillsEnd>,
) -> io::Result<DrillsEnd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(open(path, flags, Mode::RUSR | Mode::WUSR)?);
    flock(&file, FlockOperation::LockExclusive)?;
    let mut bytes = Vec::new();
    (&mut file).take(READ_MAX).read_to_end(&mut bytes)?;
    let drills = Drills::parse(&bytes, end);
    report.log_fault.clone_from(&drills.is_cut);
    let line = Line {
        previous: drills.end.hash.to_hex(),
        report,
    };
    let mut line = serde_json::to_vec(&line)?;
    let hash = Hash::of(&line);
    line.push(b'\n');
    file.set_len(drills.whole_bytes)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(&line)?;
    file.sync_all()?;
    if let Some(above) = path.parent() {
        File::open(above)?.sync_all()?;
    }
    Ok(DrillsEnd {
        lines: drills.end.lines + 1,
        hash,
    })
}

#[cfg(test)]
mod tests;
