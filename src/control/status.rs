//! The report of `status`: what a person wants to know of his history, in his words, and what he
//! should see to.

use super::error::Error;
use super::report::{History, LeftOut, NotRecorded, Status, Store, Unreadable, Unrecorded};
use super::service::Service;
use super::when::When;
use crate::format::record::LostReason;
use crate::id::Epoch;
use crate::limits;
use crate::time::{TimeZone, Timestamp};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{fs, io, thread};

/// Stretches without history that are shown, the newest ones.
const UNRECORDED_MAX: usize = 100;
/// Epochs that are read at once while they are counted.
const COUNT_PIECE: usize = 10_000;
/// How long the recorder may take to tell its state; then it says that it does not answer.
const RECORDER_WAIT: Duration = Duration::from_secs(2);

/// Makes the report.
///
/// # Errors
/// When the store can't be read.
pub fn report(service: &Service) -> Result<Status, Error> {
    let mut problems = Vec::new();
    let recorder = service.recorder.clone().map(recorder_status);
    let recorder = match recorder {
        Some(Some(status)) => Some(status),
        Some(None) => {
            problems.push("the recorder does not answer".to_owned());
            None
        }
        None => None,
    };
    // A store that can't be read is what a person asks about: it must not keep this from him.
    let mut unreadable = |error: Error| problems.push(error.to_string());
    let counted = count(service).unwrap_or_else(|error| {
        unreadable(error);
        Counted::default()
    });
    let mut left_out = left_out(service, recorder.as_ref(), counted.files_left_out);
    if recorder.is_none() {
        // What was not to be imported is told apart from what could not be recorded.
        let known = left_out.files_from_before;
        left_out.files_left_out = left_out.files_left_out.saturating_sub(known);
    }
    let store = store(service, &counted);
    let mounted = service.mount.as_ref().map(|mount| mount.describe());
    // What was asked for (`-o nohistory`) needs nobody.
    let wanted = mounted.as_ref().is_none_or(|mounted| mounted.recording);
    if wanted {
        let zone = TimeZone::system();
        let now = Timestamp::now();
        let news = left_out.unrecorded.iter().filter(|time| is_news(time, now));
        problems.extend(news.map(|time| in_words(time, &zone)));
    }
    if left_out.files_left_out > 0 {
        let files = files(left_out.files_left_out);
        problems.push(format!("the content of {files} could not be recorded"));
    }
    if !left_out.unreadable.is_empty() {
        let files = files(left_out.unreadable.len() as u64);
        problems.push(format!("{files} can't be read"));
    }
    if let Some(recorder) = &service.recorder {
        problems.extend(pruned(&recorder.prune_status()));
    }
    Ok(Status {
        dir: lossy(&service.dir),
        mounted,
        dead: false,
        last_recorded: recorder
            .as_ref()
            .and_then(|status| status.last_recorded)
            .map(When)
            .or(counted.newest),
        not_recorded: recorder.as_ref().map(|status| NotRecorded {
            files: status.pending_files,
            bytes: status.pending_bytes,
            states: status.pending_states,
            scan: status.scan.map(Into::into),
        }),
        left_out,
        history: counted.history,
        store,
        copies: Vec::new(),
        problems,
    })
}

/// What it cost that space is short.
fn pruned(status: &crate::capture::PruneStatus) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some((since, cut_off)) = status.cut_off
        && Timestamp::now().since(since) < limits::DELETED_KEPT
    {
        let cut_off = When(cut_off);
        problems.push(format!(
            "the disk is almost full: checkpoints that ended before {cut_off} were dropped"
        ));
    }
    if status.excess > 0 {
        problems.push(format!(
            "the store is {} bytes larger than it may be",
            status.excess
        ));
    }
    problems
}

/// What the recorder says, or `None` when it does not within a bound: `status` is asked when
/// something is wrong, so it must not hang with it.
fn recorder_status(recorder: Arc<crate::capture::Recorder>) -> Option<crate::capture::Status> {
    let (tell, told) = mpsc::channel();
    thread::Builder::new()
        .name("status".into())
        .spawn(move || {
            // Nobody listens any more when it comes too late.
            let _ = tell.send(recorder.status());
        })
        .ok()?;
    told.recv_timeout(RECORDER_WAIT).ok()
}

/// What reading all kept states shows.
#[derive(Default)]
struct Counted {
    history: History,
    newest: Option<When>,
    files_left_out: u64,
    recorded_bytes: u64,
    new_bytes: u64,
    stored_bytes: u64,
}

fn count(service: &Service) -> Result<Counted, Error> {
    let view = service.store.view();
    let mut counted = Counted::default();
    let mut named = std::collections::BTreeSet::new();
    for (_, snapshot) in view.snapshots()? {
        counted.history.snapshots += 1;
        counted.history.held += u64::from(snapshot.hold.is_some());
        named.insert(snapshot.epoch);
    }
    let mut from = Epoch::NONE;
    loop {
        let epochs = view.epochs(from, Epoch::MAX, COUNT_PIECE)?;
        for (epoch, record, header) in &epochs {
            let time = When(header.time);
            counted.history.since.get_or_insert(time);
            counted.newest = Some(time);
            counted.history.checkpoints += u64::from(!named.contains(epoch));
            counted.files_left_out = record.statistics.lost_files;
            counted.recorded_bytes += record.statistics.hashed_bytes;
            counted.new_bytes += record.statistics.new_bytes;
            counted.stored_bytes += record.statistics.stored_bytes;
        }
        match epochs.last() {
            Some((last, ..)) if epochs.len() == COUNT_PIECE => from = last.next(),
            _ => return Ok(counted),
        }
    }
}

fn left_out(
    service: &Service,
    recorder: Option<&crate::capture::Status>,
    files_left_out: u64,
) -> LeftOut {
    let gaps = service.store.gaps();
    let gaps = gaps.unwrap_or_else(|_| service.store.open_gap().into_iter().collect());
    let mut unrecorded: Vec<Unrecorded> = gaps.into_iter().map(Into::into).collect();
    let surplus = unrecorded.len().saturating_sub(UNRECORDED_MAX);
    unrecorded.drain(..surplus);
    let from_before = service.store.from_before().unwrap_or_default();
    let unreadable = recorder.map_or(&[][..], |status| status.unreadable.as_slice());
    LeftOut {
        unreadable: unreadable
            .iter()
            .map(|(path, reason)| Unreadable {
                path: path.clone(),
                reason: why(*reason).to_owned(),
            })
            .collect(),
        files_left_out: recorder.map_or(files_left_out, |status| status.lost_files),
        shadowed: recorder.map_or_else(Vec::new, |status| status.shadowed.clone()),
        unrecorded,
        files_from_before: from_before.files,
        bytes_from_before: from_before.bytes,
    }
}

/// Whether a person should still know of it.
fn is_news(time: &Unrecorded, now: Timestamp) -> bool {
    time.to.is_none_or(|to| now.since(to.0) <= limits::GAP_NEWS)
}

/// `nothing was recorded from 10:14 to 10:31: the disk was full`, with whole times.
fn in_words(time: &Unrecorded, zone: &TimeZone) -> String {
    let from = time.from.0.local(zone);
    let reason = &time.reason;
    match time.to {
        Some(to) => {
            let to = to.0.local(zone);
            format!("nothing was recorded from {from} to {to}: {reason}")
        }
        None => format!("nothing is recorded since {from}: {reason}"),
    }
}

fn files(number: u64) -> String {
    if number == 1 {
        "1 file".to_owned()
    } else {
        format!("{number} files")
    }
}

/// Why a file is left out, in a few words.
fn why(reason: LostReason) -> &'static str {
    match reason {
        LostReason::ReadError => "the disk can't read it",
        LostReason::NoPermission => "the user who mounted may not read it",
        LostReason::TooSlow => "reading it took too long",
        LostReason::Gap => "nothing was being recorded",
        LostReason::NotRecorded => "it was changed again before it could be recorded",
        LostReason::NotImported => "it is from before the first mount",
    }
}

fn store(service: &Service, counted: &Counted) -> Store {
    let (free_bytes, file_system_bytes) = service.store.free_space().unwrap_or((0, 0));
    Store {
        path: lossy(&service.store_path),
        bytes: bytes_on_disk(&service.store_path).unwrap_or(0),
        recorded_bytes: counted.recorded_bytes,
        new_bytes: counted.new_bytes,
        stored_bytes: counted.stored_bytes,
        free_bytes,
        file_system_bytes,
    }
}

/// What the files of a folder take on disk. Files that vanish meanwhile are not counted.
fn bytes_on_disk(folder: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(meta) = entry.metadata() else {
            continue;
        };
        bytes += meta.blocks() * 512;
        if meta.is_dir() {
            bytes += bytes_on_disk(&entry.path()).unwrap_or(0);
        }
    }
    Ok(bytes)
}

fn lossy(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_time_without_history_is_told_in_words_and_stays_news_for_a_day() {
        let noon = Timestamp(1_795_169_703_123_456_789);
        let mut time = Unrecorded {
            from: When(noon),
            to: None,
            reason: "the disk is full".into(),
        };
        assert_eq!(
            in_words(&time, &TimeZone::UTC),
            "nothing is recorded since 2026-11-20 10:15:03 +00:00: the disk is full"
        );
        let end = noon.plus(Duration::from_secs(1000));
        time.to = Some(When(end));
        assert_eq!(
            in_words(&time, &TimeZone::UTC),
            "nothing was recorded from 2026-11-20 10:15:03 +00:00 to 2026-11-20 10:31:43 +00:00: \
             the disk is full"
        );
        assert!(is_news(&time, end.plus(limits::GAP_NEWS)));
        let later = limits::GAP_NEWS + Duration::from_secs(1);
        assert!(!is_news(&time, end.plus(later)));
    }
}
