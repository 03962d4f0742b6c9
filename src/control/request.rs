//! What can be asked of a history, and what is answered: plain values that go over the socket to
//! the daemon of a mounted directory, or straight into the handlers for an unmounted one.

use super::drills::DrillReport;
use super::error::Error;
use super::hooks::run::HookCall;
use super::kept::{DeletedLine, LeavesOut, LogLine, Planned, PolicyReport, Pruned, Terms};
use super::purged::PurgeReport;
use super::report::{
    DoingLine, EventLine, FindLine, HookLine, Line, Mode, Scan, SizeLine, Status, Unrecorded,
    VersionLine,
};
use super::schedules::due::Turn;
use super::verified::Verified;
use super::when::When;
use crate::format::drill::DrillPlan;
use crate::format::hook::{Hook, HookEvent};
use crate::format::keeping::Policy;
use crate::format::record::Kind;
use crate::format::replica::Replica;
use crate::format::schedule::Schedule;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    Snapshot {
        name: String,
        message: String,
        mode: Mode,
    },
    /// One page of the list: what comes after a position, up to `PAGE` lines.
    List {
        checkpoints: bool,
        after: Option<Position>,
    },
    /// `now`: its state goes at once, too.
    Delete {
        name: String,
        now: bool,
    },
    /// Gives back the name of a snapshot that was deleted.
    Undelete {
        name: String,
    },
    Hold {
        name: String,
        until: Option<When>,
        reason: String,
    },
    Release {
        name: String,
        reason: String,
    },
    /// What each snapshot added, and what deleting it would free.
    Sizes,
    /// One page of the deleted snapshots.
    Deleted {
        after: Option<When>,
    },
    /// One page of the log of the list.
    Log {
        after: Option<When>,
    },
    /// Shows, or sets, what is kept for how long, and what is left out.
    Policy {
        set: Option<Policy>,
        leave_out: Option<LeavesOut>,
        reason: String,
    },
    /// What is left out now, and was when a state was made.
    Rules {
        epoch: u64,
    },
    /// From how many files on, that one actor destroys at once, there is an alarm; 0: never.
    SetAlarm {
        files: u64,
    },
    /// What is to be there first when it is recovered.
    SetFirst {
        patterns: Vec<String>,
    },
    /// What a purge of these files, or of these bytes, would remove; with the token of that plan,
    /// its execution.
    Purge {
        paths: Vec<RawPath>,
        hash: Option<String>,
        reason: String,
        token: Option<String>,
    },
    /// Checks the store; of its chunks, hashes so many percent. `repair`: all, and mends it.
    Verify {
        percent: u8,
        repair: bool,
    },
    /// The plan; with terms its execution.
    Prune {
        terms: Option<Terms>,
    },
    Rename {
        old: String,
        new: String,
    },
    Sync,
    /// Which state a name means. A time in it is exact (`@2026-11-20T10:15:03.123456789Z`): what a
    /// person wrote depends on where he is.
    State {
        name: String,
    },
    /// What was done since a time to what stands at a path or below it, and by whom.
    Doings {
        since: When,
        under: RawPath,
    },
    /// The contents that the name of a file held since a time.
    Versions {
        since: When,
        of: RawPath,
    },
    /// What happened, in its order: one page.
    Events {
        from: EventsFrom,
        under: RawPath,
    },
    /// Every name that ever matched: those of the next names of the store.
    Find {
        pattern: String,
        under: RawPath,
        after: Option<FindPosition>,
    },
    /// The recent doings that can be taken back, by number.
    Undoable {
        under: RawPath,
        /// The session from which somebody looks: a number means what was shown there.
        viewer: u32,
    },
    /// What has to be done to take something back: one page.
    Undo {
        chosen: Chosen,
        under: RawPath,
        force: bool,
        viewer: u32,
        /// The state for which the pages before were planned.
        at: Option<u64>,
        /// Steps and troubles to be passed over: those of the pages before.
        skip: u64,
    },
    /// What `pid` and its descendants change from now on is a run.
    BeginRun {
        pid: u32,
        name: String,
        /// Each argument ended by 0x00.
        command: RawPath,
        undoes: bool,
    },
    EndRun {
        run: u64,
    },
    /// What differs between two states, in bytewise order of the paths: one page.
    Diff {
        from: u64,
        to: u64,
        /// Only what stands at this path or below it, in one of the two.
        under: RawPath,
        /// Differences to be passed over: those of the pages before.
        skip: u64,
    },
    /// Behind the answer, the connection gives what another place needs to have this history: up to a
    /// state, or the newest (`export.rs`).
    Export {
        to: Option<u64>,
    },
    /// Behind the answer, the connection takes what a recovery has still to bring (`filling.rs`).
    Fill,
    /// Adds a replica, or changes the one at its place.
    SetReplica {
        replica: Replica,
    },
    RemoveReplica {
        url: String,
    },
    /// All replicas, with what it takes to open them.
    Replicas,
    /// Answered as soon as something newer than an epoch is recorded or the list of replicas is another
    /// one, or after a few seconds.
    News {
        than: u64,
        /// Of the list of names.
        listed: When,
        generation: u64,
        danger: Option<When>,
    },
    /// Why a replica can't be brought up to date; nothing: it can.
    ReplicaTold {
        url: String,
        trouble: Option<String>,
        /// The state, and the list of names, that are there now.
        there: Option<(u64, When)>,
    },
    /// The log of drills, and how often each replica is tried.
    Drills,
    /// Adds a line to that log.
    DrillEnded {
        report: Box<DrillReport>,
    },
    /// How often what is at a place is tried by itself.
    SetDrills {
        plan: DrillPlan,
    },
    /// Does something by itself from now on.
    AddSchedule {
        schedule: Schedule,
    },
    RemoveSchedule {
        number: u64,
    },
    /// Runs a command when something happens, in place of the one that was run then.
    SetHook {
        hook: Hook,
    },
    RemoveHook {
        event: HookEvent,
    },
    /// All commands that are run when something happens.
    Hooks,
    /// One that was told with the news has ended; nothing: it did what it should.
    HookEnded {
        number: u64,
        trouble: Option<String>,
    },
    /// All that is done by itself, and whose turn it is.
    Schedules,
    /// How it goes with something that is done by itself.
    ScheduleTold {
        number: u64,
        told: Told,
    },
    Status,
    Unmount {
        force: bool,
    },
}

/// How it goes with something that is done by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    Began,
    /// Its beginning, and the newest state of then. `hasty`: out of turn.
    Done {
        began: When,
        epoch: u64,
        hasty: bool,
    },
    Failed {
        reason: String,
    },
}

/// Lines in one answer to `List`: bounds the message.
pub const PAGE: usize = 1000;

impl Request {
    /// Whether it needs the live directory, not only the store.
    pub fn records(&self) -> bool {
        matches!(self, Request::Snapshot { .. } | Request::Sync)
    }
}

/// How far `find` has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindPosition {
    /// Number of the directory.
    pub dir: u64,
    pub name: RawPath,
}

/// Where `events` begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventsFrom {
    /// Behind the change that came with this token.
    Token(String),
    /// With what happened after this time.
    Time(When),
    /// With what happens from now on.
    Now,
    /// With all that is kept.
    Start,
}

/// What is to be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    pub whose: Whose,
    /// Only what was done since then.
    pub since: Option<When>,
}

/// Whose changes are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whose {
    /// Of the list that was shown.
    Number(u64),
    Everybody,
    /// Processes of this name, and what descends from them.
    Command(String),
    Pid(u32),
    /// By its number or name, of several the newest.
    Run(String),
    /// The newest run, or doing that deleted or overwrote something.
    Last,
}

/// A place in the list, which is in order of time, then in that in which names were given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    pub epoch: u64,
    /// Number of the snapshot; 0 for the state itself.
    pub snapshot: u64,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Snapshot(Made),
    /// `next` is where the next page begins, `None` at the end.
    Page {
        lines: Vec<Line>,
        next: Option<Position>,
    },
    Done,
    State(StateFound),
    /// `more`: there are others behind these.
    Diff {
        lines: Vec<DiffLine>,
        more: bool,
    },
    /// The newest first; `more`: there are older ones.
    Undoable {
        lines: Vec<DoingLine>,
        more: bool,
        /// The kernel writes for everybody: who changed a content can't be known.
        writeback: bool,
    },
    Undo {
        at: u64,
        /// What is taken back, on the first page.
        what: Vec<DoingLine>,
        steps: Vec<StepLine>,
        troubles: Vec<TroubleLine>,
        unchanged: u64,
        /// What was done before this time is too much to be looked through.
        incomplete: Option<When>,
        writeback: bool,
        /// The name under which the mount shows the past; `None`: it does not, or there is none.
        snapdir: Option<String>,
        more: bool,
    },
    Run {
        run: u64,
    },
    /// The newest first; `more`: there are older ones.
    Doings {
        lines: Vec<DoingLine>,
        more: bool,
    },
    /// The newest first; `more`: there are older ones; `folder`: it is one, and has no versions.
    Versions {
        lines: Vec<VersionLine>,
        folder: bool,
        more: bool,
    },
    /// In their order. `token`: from where to go on, also when there are none; `more`: at once.
    Events {
        lines: Vec<EventLine>,
        token: String,
        more: bool,
    },
    /// `next` is where the next page begins, `None` at the end; a page may be empty.
    Found {
        lines: Vec<FindLine>,
        next: Option<FindPosition>,
    },
    Deleted {
        /// With `now`: what came free.
        freed_bytes: Option<u64>,
        /// With `now`: why the state stays all the same.
        kept: Option<String>,
    },
    DeletedPage {
        lines: Vec<DeletedLine>,
        next: Option<When>,
    },
    LogPage {
        lines: Vec<LogLine>,
        next: Option<When>,
    },
    Policy(Box<PolicyReport>),
    Rules {
        now: LeavesOut,
        then: LeavesOut,
    },
    Plan(Box<Planned>),
    Pruned(Pruned),
    Verified(Box<Verified>),
    Purge(Box<PurgeReport>),
    /// False: there is too much to count, and it is at least so much.
    Sizes {
        lines: Vec<SizeLine>,
        exact: bool,
    },
    Replicas {
        replicas: Vec<Replica>,
        generation: u64,
    },
    Hooks {
        lines: Vec<HookLine>,
    },
    /// The number of what was added.
    Added {
        number: u64,
    },
    Schedules {
        schedules: Vec<(Schedule, Turn)>,
    },
    News {
        newest: u64,
        listed: When,
        generation: u64,
        /// Since when something is about to go wrong, the last time.
        danger: Option<When>,
        /// What is to be run now.
        calls: Vec<HookCall>,
        /// The mount has gone: what is recorded is all that there will be.
        ending: bool,
    },
    /// All is recorded. `late`: the synchronous replicas where it is not yet.
    Synced {
        late: Option<String>,
    },
    /// The oldest first. `fault`: what is wrong with the log.
    Drills {
        reports: Vec<DrillReport>,
        fault: Option<String>,
        plans: Vec<DrillPlan>,
    },
    Status(Box<Status>),
}

/// One difference between two states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffLine {
    /// `A`, `M`, `D`, `R`, `T`, `m`
    pub change: char,
    pub path: RawPath,
    /// Of a renamed one.
    pub from: Option<RawPath>,
    /// Of a regular file.
    pub old_bytes: Option<u64>,
    pub new_bytes: Option<u64>,
}

/// One step of an undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepLine {
    pub path: RawPath,
    pub kind: Kind,
    pub deed: DeedLine,
    /// Size, and seconds and nanoseconds of the modification time, of the file that is there.
    pub expected: Option<(u64, i64, u32)>,
}

/// What is done to a path; a state by its number and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeedLine {
    Remove,
    Restore {
        epoch: u64,
        time: When,
        past: RawPath,
    },
    Times {
        epoch: u64,
        time: When,
        past: RawPath,
    },
    /// Ascending, from the first byte of each to the one after its last.
    Bytes {
        epoch: u64,
        time: When,
        past: RawPath,
        ranges: Vec<(u64, u64)>,
    },
    Rename {
        to: RawPath,
    },
    Link {
        of: RawPath,
    },
}

impl StepLine {
    /// About how much room it takes in a message.
    pub fn bytes(&self) -> usize {
        let other = match &self.deed {
            DeedLine::Restore { past, .. } | DeedLine::Times { past, .. } => past.0.len(),
            DeedLine::Bytes { past, ranges, .. } => past.0.len() + ranges.len() * 16,
            DeedLine::Rename { to } => to.0.len(),
            DeedLine::Link { of } => of.0.len(),
            DeedLine::Remove => 0,
        };
        self.path.0.len() + other + size_of::<StepLine>()
    }
}

/// What an undo leaves as it is, or does not bring back wholly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TroubleLine {
    pub path: RawPath,
    pub reason: String,
    /// The past does not have it.
    pub lost: bool,
}

/// A path from the root of the tree, any bytes: on the wire each byte is the character of its
/// number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawPath(pub Vec<u8>);

impl Serialize for RawPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().copied().map(char::from).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for RawPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawPath, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = text.chars().map(u8::try_from).collect::<Result<_, _>>();
        bytes.map(RawPath).map_err(serde::de::Error::custom)
    }
}

/// A state of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFound {
    pub epoch: u64,
    pub time: When,
    /// A scan was cut off: names may be missing in it that were there.
    pub partial: bool,
    /// The time that was named lies in one that history does not have: this is the state before.
    pub unrecorded: Option<Unrecorded>,
    /// The name under which the mount shows the past; `None`: it does not, or there is none.
    pub snapdir: Option<String>,
}

/// The snapshot that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub name: String,
    pub time: When,
    pub mode: Mode,
    /// Of a differential one: the full one that it refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    pub files_left_out: u64,
    /// Of a full one: files whose bytes had changed though size and times had not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_by_themselves: Option<Vec<String>>,
    /// The snapshot, on hold, that has what these files held before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The synchronous replicas where it is not yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub late: Option<String>,
}

/// How far a request is that takes long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Changed files and bytes that are still to be recorded.
    pub files: u64,
    pub bytes: u64,
    pub scan: Option<Scan>,
    /// Of a request that walks through the store.
    pub steps: Option<Steps>,
}

/// How far something is that is done step by step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    pub what: String,
    pub done: u64,
    /// 0: not known.
    pub of: u64,
}

/// A process that stands in the mounted directory or holds something of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub pid: u32,
    pub command: String,
    /// For example `stands in sub`, `has notes.txt open`.
    pub holds: String,
}

/// What the daemon sends after its hello: any number of the first, then the second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    Progress(Progress),
    Result(Result<Answer, Error>),
}
