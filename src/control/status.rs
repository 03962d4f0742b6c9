//! The report of `status`: what a person wants to know of his history, in his words, and what he
//! should see to.

use super::error::Error;
use super::report::{History, LeftOut, NotRecorded, Status, Store, Unreadable, Unrecorded};
use super::service::Service;
use super::when::When;
use crate::format::record::LostReason;
use crate::id::Epoch;
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
    let counted = count(service)?;
    let left_out = left_out(service, recorder.as_ref(), counted.files_left_out)?;
    let store = store(service, &counted)?;
    let mounted = service.mount.as_ref().map(|mount| mount.describe());
    // What was asked for (`-o nohistory`) needs nobody.
    let wanted = mounted.as_ref().is_none_or(|mounted| mounted.recording);
    if wanted && let Some(reason) = recorder.as_ref().and_then(|status| status.stopped.as_ref()) {
        problems.push(format!("history is not being recorded: {reason}"));
    }
    if left_out.files_left_out > 0 {
        let files = files(left_out.files_left_out);
        problems.push(format!("the content of {files} could not be recorded"));
    }
    if !left_out.unreadable.is_empty() {
        let files = files(left_out.unreadable.len() as u64);
        problems.push(format!("{files} can't be read"));
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
            scan: status.scan.map(Into::into),
        }),
        left_out,
        history: counted.history,
        store,
        copies: Vec::new(),
        problems,
    })
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
) -> Result<LeftOut, Error> {
    let mut unrecorded: Vec<Unrecorded> = service
        .store
        .gaps()?
        .into_iter()
        .map(|(_, gap)| Unrecorded {
            from: When(gap.from),
            to: gap.to.map(When),
            reason: gap.reason,
        })
        .collect();
    let surplus = unrecorded.len().saturating_sub(UNRECORDED_MAX);
    unrecorded.drain(..surplus);
    let unreadable = recorder.map_or(&[][..], |status| status.unreadable.as_slice());
    Ok(LeftOut {
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
    })
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
    }
}

fn store(service: &Service, counted: &Counted) -> Result<Store, Error> {
    let (free_bytes, file_system_bytes) = service.store.free_space()?;
    Ok(Store {
        path: lossy(&service.store_path),
        bytes: bytes_on_disk(&service.store_path).unwrap_or(0),
        recorded_bytes: counted.recorded_bytes,
        new_bytes: counted.new_bytes,
        stored_bytes: counted.stored_bytes,
        free_bytes,
        file_system_bytes,
    })
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
