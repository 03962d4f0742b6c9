//! The report of `status`: what a person wants to know of his history, in his words, and what he
//! should see to.

use super::drills::{self, Drills};
use super::error::Error;
use super::hooks;
use super::missing::{self, Around};
use super::mounts::Mounts;
use super::replicas::{self, Replication};
use super::report::{
    AlarmKind, AlarmLine, Checked, CopyLine, History, LeftOut, NotRecorded, ReplicaLine,
    ScheduleLine, Status, Store, Unreadable, Unrecorded,
};
use super::schedules;
use super::service::Service;
use super::when::When;
use crate::format::alarm::{self, Alarm};
use crate::format::keeping::{HintRecord, RulesRecord};
use crate::format::record::{FromBefore, Gap, LostReason};
use crate::id::Epoch;
use crate::limits;
use crate::store::Store as OpenStore;
use crate::time::{TimeZone, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{fs, io, thread};

/// Stretches without history that are shown, the newest ones.
const UNRECORDED_MAX: usize = 100;
/// Mount points that are named.
const MOUNTS_MAX: usize = 100;
/// Alarms that are shown, the newest ones.
const ALARMS_MAX: usize = 100;
/// Epochs that are read at once while they are counted.
const COUNT_PIECE: usize = 10_000;
/// How long recorder and store may take to tell their state; then it is said that they do not
/// answer.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// Makes the report.
///
/// # Errors
/// When the store can't be read.
pub fn report(service: &Service) -> Result<Status, Error> {
    let mut problems = Vec::new();
    let recorder = match service.recorder.clone() {
        Some(recorder) => {
            let status = in_time(move || recorder.status());
            if status.is_none() {
                problems.push("the recorder does not answer".to_owned());
            }
            status
        }
        None => None,
    };
    // A store that can't be read is what a person asks about: it must not keep this from him.
    let told = match ask_store(service) {
        Some(told) => told,
        None => {
            // Once that is why nothing is recorded, it is said as such.
            if service.store.open_gap().is_none() {
                problems.push("the store does not answer".to_owned());
            }
            FromStore::silent(service)
        }
    };
    problems.extend(told.error);
    let counted = told.counted;
    let alarms = told.alarms;
    let hints = super::left_out::hints(service, &told.rules, &told.hints);
    let mut left_out = left_out(told.gaps, told.from_before, recorder.as_ref());
    left_out.excluded = super::left_out::told(service, &told.rules);
    if recorder.is_none() {
        // What was not to be imported is told apart from what could not be recorded.
        let known = left_out.files_from_before;
        left_out.files_left_out = counted.files_left_out.saturating_sub(known);
    }
    let store = told.store;
    let mounted = service.mount.as_ref().map(|mount| mount.describe());
    // What was asked for (`-o nohistory`) needs nobody.
    let wanted = mounted.as_ref().is_none_or(|mounted| mounted.recording);
    if wanted {
        let zone = TimeZone::system();
        let now = Timestamp::now();
        let news = left_out.unrecorded.iter().filter(|time| is_news(time, now));
        problems.extend(news.map(|time| in_words(time, &zone)));
    }
    problems.extend(alarms.iter().filter_map(alarm_in_words));
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
    problems.extend(told.copies.iter().filter_map(fenced));
    problems.extend(told.replicas.iter().filter_map(replicas::problem));
    problems.extend(hooks::problems(&service.replication));
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    let late = |line| schedules::problem(line, now, &zone);
    problems.extend(told.schedules.iter().filter_map(late));
    problems.extend(drill_problems(&told.copies, &told.replicas));
    let filling = super::filling::line(service);
    if let Some(line) = &filling {
        problems.extend(super::filling::problems(line, mounted.is_some()));
    }
    let checked = told.checked;
    if let Some(checked) = checked.filter(|checked| checked.problems > 0) {
        problems.push(format!(
            "the store is damaged, {} problems were found: verify names them",
            checked.problems
        ));
    }
    let mut status = Status {
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
            seconds: status.pending_since.map_or(0, |since| since.as_secs()),
            states: status.pending_states,
            scan: status.scan.map(Into::into),
        }),
        left_out,
        missing: Vec::new(),
        alarms,
        hints,
        history: counted.history,
        store,
        checked,
        copies: told.copies,
        replicas: told.replicas,
        schedules: told.schedules,
        filling,
        problems,
    };
    let around = around(service);
    status.missing = missing::list(&status, recorder.as_ref(), &around);
    Ok(status)
}

/// What is to be seen of a mount from outside.
fn around(service: &Service) -> Around {
    let Some(mount) = &service.mount else {
        return Around::default();
    };
    let point = PathBuf::from(mount.describe().mountpoint);
    let mut mounts: Vec<String> = Mounts::read().map_or_else(
        |_| Vec::new(),
        |mounts| {
            mounts
                .below(&point)
                .map(|mount| lossy(&mount.point))
                .collect()
        },
    );
    mounts.truncate(MOUNTS_MAX);
    Around {
        below: mount.below(),
        mounts,
    }
}

/// How far the background check is, and what it found; `None`: none has begun, or that can't be read.
fn checked(store: &OpenStore) -> Option<Checked> {
    let scrub = store.scrub_state().ok()?;
    (scrub.begun.is_some() || scrub.ended.is_some()).then(|| Checked {
        ended: scrub.ended.map(When),
        problems: scrub.known_problems(),
        under_way_bytes: scrub.begun.map(|_| scrub.bytes),
    })
}

/// Alarms of the last week, oldest first.
fn alarms(store: &OpenStore) -> Result<Vec<AlarmLine>, Error> {
    let week = i64::try_from(limits::ALARM_HELD.as_nanos()).unwrap_or(i64::MAX);
    let since = Timestamp(Timestamp::now().0.saturating_sub(week));
    let all = store.alarms(since)?;
    let surplus = all.len().saturating_sub(ALARMS_MAX);
    let line = |(time, uid, name, alarm): (Timestamp, u32, String, Alarm)| AlarmLine {
        time: When(time),
        kind: match alarm.kind {
            alarm::AlarmKind::Destroyed => AlarmKind::Destroyed,
            alarm::AlarmKind::Scrambled => AlarmKind::Scrambled,
        },
        files: alarm.files,
        folder: String::from_utf8_lossy(&alarm.folder).into_owned(),
        pid: alarm.tgid,
        uid,
        name: String::from_utf8_lossy(&alarm.comm).into_owned(),
        text: crate::capture::alarm_words(&alarm, uid),
        snapshot: Some(name).filter(|name| !name.is_empty()),
        before: alarm.before.map(When),
        until: alarm.until.map(When),
    };
    Ok(all.into_iter().skip(surplus).map(line).collect())
}

/// What a person should know of an alarm; nothing when it is not news any more.
fn alarm_in_words(alarm: &AlarmLine) -> Option<String> {
    let age = Timestamp::now().since(alarm.time.0);
    (age <= limits::ALARM_NEWS).then(|| {
        let at = alarm.time.0.local(&TimeZone::system());
        match &alarm.snapshot {
            Some(name) => format!(
                "alarm of {at}: {}; the state before is held: {name}",
                alarm.text
            ),
            None => format!("alarm of {at}: {}", alarm.text),
        }
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

/// What `ask` answers, or `None` when that takes too long: `status` is asked when something is
/// wrong, so it must not hang with it.
fn in_time<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = mpsc::channel();
    thread::Builder::new()
        .name("status".into())
        .spawn(move || {
            // Nobody listens any more when it comes too late.
            let _ = tell.send(ask());
        })
        .ok()?;
    told.recv_timeout(ANSWER_WAIT).ok()
}

/// What is read from the store's folder.
struct FromStore {
    counted: Counted,
    /// Why it could not be read.
    error: Option<String>,
    gaps: Vec<Gap>,
    from_before: FromBefore,
    alarms: Vec<AlarmLine>,
    rules: Vec<RulesRecord>,
    checked: Option<Checked>,
    copies: Vec<CopyLine>,
    replicas: Vec<ReplicaLine>,
    schedules: Vec<ScheduleLine>,
    hints: Vec<HintRecord>,
    store: Store,
}

impl FromStore {
    fn read(store: &OpenStore, path: &Path, replication: &Replication) -> FromStore {
        let (counted, error) = match count(store) {
            Ok(counted) => (counted, None),
            Err(error) => (Counted::default(), Some(error.to_string())),
        };
        let gaps = store.gaps();
        let end = store.drills_end().unwrap_or_default();
        let drills = Drills::read(&path.join(drills::FILE), end).unwrap_or_default();
        FromStore {
            gaps: gaps.unwrap_or_else(|_| store.open_gap().into_iter().collect()),
            from_before: store.from_before().unwrap_or_default(),
            alarms: alarms(store).unwrap_or_default(),
            rules: store.rules().unwrap_or_default(),
            checked: checked(store),
            copies: copies(store, &drills).unwrap_or_default(),
            replicas: replicas::lines(store, replication, &drills).unwrap_or_default(),
            schedules: schedules::lines(store, replication).unwrap_or_default(),
            hints: store.hints().unwrap_or_default(),
            store: space(store, path, &counted),
            counted,
            error,
        }
    }

    /// What is known of one that does not answer.
    fn silent(service: &Service) -> FromStore {
        FromStore {
            counted: Counted::default(),
            error: None,
            gaps: service.store.open_gap().into_iter().collect(),
            from_before: FromBefore::default(),
            alarms: Vec::new(),
            rules: Vec::new(),
            checked: None,
            copies: Vec::new(),
            replicas: Vec::new(),
            schedules: Vec::new(),
            hints: Vec::new(),
            store: Store {
                path: lossy(&service.store_path),
                ..Store::default()
            },
        }
    }
}

/// `None`: it does not answer. One that has not for a while is not even asked: each question would
/// keep a thread.
fn ask_store(service: &Service) -> Option<FromStore> {
    if service.store.longest_call() >= ANSWER_WAIT {
        return None;
    }
    let (store, path) = (Arc::clone(&service.store), service.store_path.clone());
    let replication = Arc::clone(&service.replication);
    in_time(move || FromStore::read(&store, &path, &replication))
}

/// What was sent elsewhere, and since when something is not there.
fn copies(store: &OpenStore, drills: &Drills) -> Result<Vec<CopyLine>, Error> {
    let view = store.view();
    let now = Timestamp::now();
    let mut copies = Vec::new();
    for sent in view.sent()? {
        let Some(header) = view.header(sent.epoch)? else {
            continue;
        };
        let newer = view.epochs(sent.epoch.next(), Epoch::MAX, 1)?;
        copies.push(CopyLine {
            drills: drills::told(drills, &sent.url, None, now),
            url: sent.url,
            set: sent.set,
            sent: When(sent.time),
            time: When(header.time),
            behind_since: newer.first().map(|(.., header)| When(header.time)),
            fenced: sent.fenced.map(When),
        });
    }
    Ok(copies)
}

/// A replica is a copy too: it is told of once.
fn drill_problems(copies: &[CopyLine], replicas: &[ReplicaLine]) -> Vec<String> {
    let is_replica = |copy: &&CopyLine| replicas.iter().any(|line| line.url == copy.url);
    let others = copies.iter().filter(|copy| !is_replica(copy));
    let others = others.filter(|copy| copy.fenced.is_none());
    let all = replicas.iter().map(|line| (&line.url, &line.drills));
    let all = all.chain(others.map(|copy| (&copy.url, &copy.drills)));
    all.filter_map(|(url, told)| drills::problem(url, told))
        .collect()
}

/// Nobody notices by himself that a copy is not one of this directory any more.
fn fenced(copy: &CopyLine) -> Option<String> {
    let since = copy.fenced?.0.local(&TimeZone::system());
    Some(format!(
        "since {since} another store goes on where the backups of this one went: nothing more was \
         sent there; send it elsewhere: rewindfs replica add DIR URL --fork, or rewindfs backup DIR --to URL"
    ))
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

fn count(store: &OpenStore) -> Result<Counted, Error> {
    let view = store.view();
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
    gaps: Vec<Gap>,
    from_before: FromBefore,
    recorder: Option<&crate::capture::Status>,
) -> LeftOut {
    let mut unrecorded: Vec<Unrecorded> = gaps.into_iter().map(Into::into).collect();
    let surplus = unrecorded.len().saturating_sub(UNRECORDED_MAX);
    unrecorded.drain(..surplus);
    let unreadable = recorder.map_or(&[][..], |status| status.unreadable.as_slice());
    LeftOut {
        unreadable: unreadable
            .iter()
            .map(|file| Unreadable {
                path: file.path.clone(),
                reason: why(file.reason).to_owned(),
            })
            .collect(),
        files_left_out: recorder.map_or(0, |status| status.lost_files),
        shadowed: recorder
            .map_or_else(Vec::new, |status| status.shadowed.keys().cloned().collect()),
        unrecorded,
        files_from_before: from_before.files,
        bytes_from_before: from_before.bytes,
        excluded: Vec::new(),
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
        LostReason::LeftOut => "it is left out, as the policy says",
    }
}

fn space(store: &OpenStore, path: &Path, counted: &Counted) -> Store {
    let (free_bytes, file_system_bytes) = store.free_space().unwrap_or((0, 0));
    Store {
        path: lossy(path),
        bytes: bytes_on_disk(path).unwrap_or(0),
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
