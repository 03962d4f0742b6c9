//! What the reports hold: the lists and the status, as values. Their field names are those of
//! `--json` (docs/json.md), their words the user's; how they look on a terminal is the business
//! of `cli`.

use super::kept::LeftOutRule;
use super::request::RawPath;
use super::when::When;
use crate::format::hook::HookEvent;
use crate::format::record::{Gap, SnapshotMode};
use crate::format::replica::ReplicaMode;
use serde::{Deserialize, Serialize};

/// One line of `list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub kind: LineKind,
    /// The instant of the state: exact, and what `.snapshots/@TIME` takes.
    pub time: When,
    /// Nothing is known to be missing, or the first import was cut off.
    pub complete: bool,
    /// Nothing had been changed for 200 ms before.
    pub quiet: bool,
    /// Files whose content could not be recorded in this state.
    pub files_left_out: u64,
    /// Set for snapshots.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Named>,
    /// Set for a time in which nothing was recorded; `time` is its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unrecorded: Option<Unrecorded>,
}

/// One line of `log`: what one command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoingLine {
    /// Times of the first and of the last state that hold something of it.
    pub since: When,
    pub time: When,
    /// Its number in the list of `undo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Of `undo`: how many of the paths it would leave as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_undoable: Option<u64>,
    /// The run that it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunTold>,
    /// Absent where nobody knows, as of what was written through a mapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<Who>,
    /// How many processes took part.
    pub processes: u64,
    /// Paths that are different after it.
    pub added: u64,
    pub modified: u64,
    pub deleted: u64,
    pub renamed: u64,
    /// Of which only attributes are.
    pub attributes: u64,
    /// The first of the paths; bytes that are no text are replaced.
    pub example: String,
}

/// One change, as a message; `events` shows it in words of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// What to go on with behind it.
    pub token: String,
    /// Of the first state that has it.
    pub time: When,
    /// `A`, `M`, `D`, `R`, `T`, `m`
    pub change: char,
    pub path: RawPath,
    /// Of a renamed one.
    pub from: Option<RawPath>,
    /// Of a regular file.
    pub old_bytes: Option<u64>,
    pub new_bytes: Option<u64>,
    /// Empty where nobody knows.
    pub who: Vec<Who>,
}

/// A content that a name held, or the end of one, as a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionLine {
    /// Of the first state that has it.
    pub time: When,
    /// `A` and `M`: a content, `D`: it was deleted, `R`: it went to `path`.
    pub change: char,
    /// Where it stood at that time; empty when it was deleted.
    pub path: RawPath,
    /// Of a regular file.
    pub bytes: Option<u64>,
    /// The content was not recorded.
    pub is_lost: bool,
    /// Empty where nobody knows.
    pub who: Vec<Who>,
}

/// A path that was there, as a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindLine {
    pub path: RawPath,
    pub folder: bool,
    /// When it appeared.
    pub first: When,
    /// The newest state that has it.
    pub last: When,
    /// Which is the newest of all.
    pub is_there: bool,
}

/// A run: what a command and all that it started changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTold {
    pub run: u64,
    /// As somebody called it; may be empty.
    pub name: String,
    /// It was an undo.
    pub undoes: bool,
}

/// Who did something; nothing of it is proof, a process can call itself what it likes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    pub pid: u32,
    pub uid: u32,
    pub name: String,
    /// Its arguments; empty if it had gone before they could be read.
    pub command: Vec<String>,
    /// The nearest first, up to the leader of its session.
    pub ancestors: Vec<String>,
}

/// Whether a state has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineKind {
    Snapshot,
    Checkpoint,
    /// The tree as a mount, or the end of a time without history, found it.
    Scan,
    /// No state: nothing was recorded for a time.
    Unrecorded,
}

/// What a snapshot has beyond a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub name: String,
    pub mode: Mode,
    /// Of a differential one: the full one that it refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    pub message: String,
    pub tags: Vec<String>,
    pub held: bool,
    pub uid: u32,
}

/// One line of `list --size`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeLine {
    pub name: String,
    pub time: When,
    pub mode: Mode,
    /// Versions of files that no snapshot before it shows, and their lengths.
    pub files: u64,
    pub bytes: u64,
    /// What of these bytes was new, compressed, in the store.
    pub stored_bytes: u64,
    /// Stored bytes that come free when it alone is deleted.
    pub frees_bytes: u64,
}

/// How a snapshot's content was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Full,
    Incremental,
    Differential,
}

impl From<Mode> for SnapshotMode {
    fn from(mode: Mode) -> SnapshotMode {
        match mode {
            Mode::Full => SnapshotMode::Full,
            Mode::Incremental => SnapshotMode::Incremental,
            Mode::Differential => SnapshotMode::Differential,
        }
    }
}

impl From<SnapshotMode> for Mode {
    fn from(mode: SnapshotMode) -> Mode {
        match mode {
            SnapshotMode::Full => Mode::Full,
            SnapshotMode::Incremental => Mode::Incremental,
            SnapshotMode::Differential => Mode::Differential,
        }
    }
}

/// The answer to `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The working directory.
    pub dir: String,
    /// `None`: not mounted, or its daemon has died.
    pub mounted: Option<Mounted>,
    /// A mount is there, but the daemon that served it has died.
    pub dead: bool,
    /// The newest state that is kept; `None` before the first.
    pub last_recorded: Option<When>,
    /// `None` when not mounted: what changed since is found by the next mount.
    pub not_recorded: Option<NotRecorded>,
    pub left_out: LeftOut,
    /// All that history does not have, in one list.
    pub missing: Vec<Missing>,
    /// Of the last week, the newest last, at most 100.
    pub alarms: Vec<AlarmLine>,
    /// Of the last day: folders that made most of what was recorded, and are not left out.
    pub hints: Vec<HintLine>,
    pub history: History,
    pub store: Store,
    /// The background check; absent before the first has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked: Option<Checked>,
    /// Backups elsewhere.
    pub copies: Vec<CopyLine>,
    /// Copies elsewhere that are kept up to date.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub replicas: Vec<ReplicaLine>,
    /// What is done by itself, and when.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub schedules: Vec<ScheduleLine>,
    /// A recovery that is under way while the directory is in use.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub filling: Option<FillingLine>,
    /// What a person should see to, one sentence each.
    pub problems: Vec<String>,
}

/// A recovery that is under way while the directory is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillingLine {
    /// Empty for who is not told.
    pub places: Vec<String>,
    pub began: When,
    /// Files without their content, and its bytes, about.
    pub files: u64,
    pub bytes: u64,
    /// All files are here; chunks of the past may still be to come.
    pub is_filled: bool,
    /// Bytes that are still to be fetched, and in about how many seconds they will be here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest_seconds: Option<u64>,
    /// Why nothing comes, and since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble_since: Option<When>,
    /// Objects that can't be had, and why.
    pub lost: Vec<String>,
    /// The first thing that could not be made as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// When a replica is brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplicaWay {
    Active,
    Passive,
    Synchronous,
}

impl From<ReplicaMode> for ReplicaWay {
    fn from(mode: ReplicaMode) -> ReplicaWay {
        match mode {
            ReplicaMode::Active => ReplicaWay::Active,
            ReplicaMode::Passive { .. } => ReplicaWay::Passive,
            ReplicaMode::Synchronous { .. } => ReplicaWay::Synchronous,
        }
    }
}

/// A copy elsewhere that is kept up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaLine {
    /// Empty for who is not told.
    pub url: String,
    pub mode: ReplicaWay,
    /// Of a passive one: seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Bytes a second that it may take of the line; absent: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// For how many seconds it keeps one of its sets for each day.
    pub keep: u64,
    pub encrypted: bool,
    /// The newest state that is there; absent: nothing is yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<When>,
    /// When it was brought up to date last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<When>,
    /// The lag: states that are not there, bytes that were read for them, and the age of the oldest.
    pub states_behind: u64,
    pub bytes_behind: u64,
    pub seconds_behind: u64,
    /// Why nothing can be sent, and since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble_since: Option<When>,
    #[serde(default)]
    pub drills: Drills,
}

/// Whether what is elsewhere comes back, as far as that was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drills {
    /// Seconds between two that run by themselves; absent: none does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub every: Option<u64>,
    /// When the next one is due.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub due: Option<When>,
    /// It should have run long ago.
    pub overdue: bool,
    /// The last one; absent: there was none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last: Option<LastDrill>,
    /// When all that was tried was right, last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verified: Option<When>,
}

/// The last drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastDrill {
    pub ended: When,
    pub ok: bool,
    /// What was not right; empty for who is not told.
    pub problem: String,
    /// Of the files, so many percent; absent: all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sample_percent: Option<u8>,
    pub rto_ms: u64,
}

/// A command that is run when something happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookLine {
    pub event: HookEvent,
    pub command: String,
    /// Milliseconds that it may take.
    pub timeout_ms: u64,
    /// If it fails, no snapshot is made.
    pub aborts: bool,
    pub added: When,
    /// Who set it.
    pub uid: u32,
    /// When it was run last, since the mount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ran: Option<When>,
    /// Why it failed then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What is done by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheduled {
    Backup,
    Snapshot,
}

/// Something that is done by itself, and how it stands with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleLine {
    pub number: u64,
    pub what: Scheduled,
    /// What and when, as a sentence; empty for who is not told.
    pub text: String,
    /// Of a backup: where to; absent for who is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The part of the day in which it may be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// Bytes a second that it may send; with a window, outside of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    pub added: When,
    /// Who added it.
    pub uid: u32,
    /// Its next time, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<When>,
    /// Its time has come, and it is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_since: Option<When>,
    /// It waits for its window, or to be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_until: Option<When>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under_way_since: Option<When>,
    /// When it was last begun and done; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<When>,
    /// Why it can't be done, and since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble_since: Option<When>,
}

/// What was sent elsewhere last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyLine {
    /// Empty for who is not told.
    pub url: String,
    pub set: u64,
    pub sent: When,
    /// The newest state that is there.
    pub time: When,
    /// The oldest state that is not there; absent: all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind_since: Option<When>,
    /// Since then another store goes on there, and nothing more is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fenced: Option<When>,
    #[serde(default)]
    pub drills: Drills,
}

/// A folder that made most of what was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HintLine {
    pub time: When,
    pub folder: String,
    /// Bytes that it took in the store, of so many in all.
    pub bytes: u64,
    pub of_bytes: u64,
    /// All of that, and what to type, as a sentence.
    pub text: String,
}

/// Somebody destroyed much at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmLine {
    pub time: When,
    pub kind: AlarmKind,
    pub files: u64,
    /// Below which nearly all of them stood, from the directory on; empty: the directory itself.
    pub folder: String,
    /// 0: nobody knows who it was.
    pub pid: u32,
    pub uid: u32,
    pub name: String,
    /// What was done and by whom, as a sentence.
    pub text: String,
    /// The snapshot under which the state before is held; absent: none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The instant of that state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<When>,
    /// Until when it is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<When>,
}

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlarmKind {
    /// Files were deleted, cut off or overwritten.
    Destroyed,
    /// Content became incompressible, as encryption makes it.
    Scrambled,
}

/// What the last check of all that is in the store found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// When it ended; `None`: the first is under way.
    pub ended: Option<When>,
    pub problems: u64,
    /// Stored bytes that the one under way has read; `None`: none is.
    pub under_way_bytes: Option<u64>,
}

/// The mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    pub mountpoint: String,
    pub since: When,
    pub pid: u32,
    pub version: String,
    pub read_only: bool,
    pub writeback: bool,
    /// False with `-o nohistory`.
    pub recording: bool,
    /// Operations that wait now.
    pub waiting: u64,
    /// Operations that were not answered within 10 s.
    pub slow_operations: u64,
    pub waits: Waits,
}

/// How often operations on the live files had to wait, by what they waited for: the number at
/// place n is that of waits of less than 2^n ms, the last one that of all longer ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// For another operation on the same file.
    pub file: Vec<u64>,
    /// Until what they destroy was recorded: more old bytes than are kept in memory.
    pub bytes: Vec<u64>,
    /// Because too many states were waiting to be recorded.
    pub states: Vec<u64>,
    /// Because removed files were not recorded yet, and took too much.
    pub removed: Vec<u64>,
}

/// What has changed and is not in the store yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotRecorded {
    pub files: u64,
    pub bytes: u64,
    /// States that are being recorded, or wait for that.
    pub states: u64,
    /// Age of the oldest change that is not recorded: what a loss now would cost.
    #[serde(default)]
    pub seconds: u64,
    /// `None`: no scan is under way.
    pub scan: Option<Scan>,
}

/// A walk through the whole directory that is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// The first import, not the comparison that each mount begins with.
    pub first: bool,
    pub files: u64,
    pub bytes: u64,
}

/// What history does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Files that can't be read, at most 100 of them.
    pub unreadable: Vec<Unreadable>,
    /// Files of the newest state whose content is not in it.
    pub files_left_out: u64,
    /// Directories whose own `.snapshots` hides ours.
    pub shadowed: Vec<String>,
    /// When nothing was recorded, newest last, at most 100.
    pub unrecorded: Vec<Unrecorded>,
    /// Files from before the first mount that were not to be imported (`--import changes`) and
    /// have not been changed since.
    pub files_from_before: u64,
    /// Their bytes.
    pub bytes_from_before: u64,
    /// What is left out on purpose, as the policy says.
    pub excluded: Vec<LeftOutRule>,
}

/// Something that history does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    pub kind: MissingKind,
    pub what: String,
    /// `None`: not known.
    pub since: Option<When>,
    /// `None`: it lasts.
    pub until: Option<When>,
    pub why: String,
    /// What to do; empty: nothing.
    pub cure: String,
    /// How much it is, where that is known; of a scan, what it has looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Why history does not have something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingKind {
    /// Changed, and not recorded yet.
    NotYet,
    /// A scan has not come to it.
    Scan,
    NotMounted,
    /// Nothing was recorded for a time.
    Unrecorded,
    /// A process works below the mount.
    Process,
    /// Another file system is mounted there.
    Mount,
    Unreadable,
    /// A real entry hides our `.snapshots`.
    Shadowed,
    /// From before the first mount.
    FromBefore,
    /// Left out on purpose.
    Excluded,
    /// A check found problems in the store.
    Damaged,
}

/// A file that can't be recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    pub path: String,
    pub reason: String,
}

/// A stretch of time that history does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unrecorded {
    pub from: When,
    /// `None`: it lasts.
    pub to: Option<When>,
    pub reason: String,
}

impl From<Gap> for Unrecorded {
    fn from(gap: Gap) -> Unrecorded {
        Unrecorded {
            from: When(gap.from),
            to: gap.to.map(When),
            reason: gap.reason,
        }
    }
}

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    pub snapshots: u64,
    pub held: u64,
    pub checkpoints: u64,
    /// The oldest state that is kept.
    pub since: Option<When>,
}

/// The store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Store {
    pub path: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes that were read to record what is in it.
    pub recorded_bytes: u64,
    /// Plain bytes of the chunks that were new.
    pub new_bytes: u64,
    /// The same, compressed.
    pub stored_bytes: u64,
    pub free_bytes: u64,
    pub file_system_bytes: u64,
}
