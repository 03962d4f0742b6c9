//! Every message as it goes over the socket, and who understands whom.

use super::*;
use crate::control::drills::{DrillPhases, DrillReport};
use crate::control::hooks::run::HookCall;
use crate::control::kept::{
    Deed, DeletedLine, Group, LeavesOut, LeftOutRule, LogLine, Planned, PolicyReport, Pruned, Spans,
};
use crate::control::purged::{PurgeReport, PurgedCopy, PurgedVersion};
use crate::control::report::{
    AlarmKind, AlarmLine, Checked, CopyLine, DoingLine, EventLine, FindLine, HintLine, History,
    LeftOut, Line, LineKind, Missing, MissingKind, Mode, Mounted, Named, NotRecorded, RunTold,
    Scan, SizeLine, Status, Store, Unreadable, Unrecorded, VersionLine, Waits, Who,
};
use crate::control::report::{
    Drills, FillingLine, HookLine, LastDrill, ReplicaLine, ReplicaWay, ScheduleLine, Scheduled,
};
use crate::control::request::{
    Answer, Chosen, DeedLine, DiffLine, EventsFrom, FindPosition, Made, Position, Progress,
    RawPath, Reply, Request, StateFound, StepLine, Steps, Told, TroubleLine, User, Whose,
};
use crate::control::schedules::due::Turn;
use crate::control::verified::{Finding, Remedy, Verified};
use crate::control::when::When;
use crate::format::drill::DrillPlan;
use crate::format::hook::{Hook, HookEvent};
use crate::format::keeping::Policy;
use crate::format::record::Kind;
use crate::format::replica::{PasswordSource, Replica, ReplicaMode};
use crate::format::schedule::{BackupKind, Occasion, Schedule, Task};
use crate::time::Timestamp;

const NOON: When = When(Timestamp(1_795_169_703_123_456_789));

fn text() -> String {
    "x".to_owned()
}

fn raw() -> RawPath {
    RawPath(b"x\xff".to_vec())
}

fn doing() -> DoingLine {
    DoingLine {
        number: Some(1),
        not_undoable: Some(2),
        run: Some(RunTold {
            run: 3,
            name: text(),
            undoes: true,
        }),
        since: NOON,
        time: NOON,
        who: Some(Who {
            pid: 7,
            uid: 1000,
            name: text(),
            command: vec![text()],
            ancestors: vec![text()],
        }),
        processes: 1,
        added: 2,
        modified: 3,
        deleted: 4,
        renamed: 5,
        attributes: 6,
        example: text(),
    }
}

fn schedule() -> Schedule {
    Schedule {
        number: 1,
        task: Task::Backup {
            url: text(),
            kind: BackupKind::Mixed { full_every: 7 },
            password: PasswordSource::Command(text()),
        },
        occasion: Occasion::At(text()),
        window: "01:00-05:00".parse().ok(),
        limit: Some(1),
        added: NOON.0,
        by_uid: 1000,
    }
}

fn requests() -> Vec<Request> {
    let after = Some(Position {
        epoch: 7,
        snapshot: 2,
    });
    vec![
        Request::Snapshot {
            name: text(),
            message: text(),
            mode: Mode::Full,
        },
        Request::List {
            checkpoints: true,
            after,
        },
        Request::Delete {
            name: text(),
            now: true,
        },
        Request::Undelete { name: text() },
        Request::Hold {
            name: text(),
            until: Some(NOON),
            reason: text(),
        },
        Request::Release {
            name: text(),
            reason: text(),
        },
        Request::Purge {
            paths: vec![RawPath(vec![b'x', 0xff])],
            hash: Some(text()),
            reason: text(),
            token: Some(text()),
        },
        Request::Sizes,
        Request::Deleted { after: Some(NOON) },
        Request::Log { after: None },
        Request::Policy {
            set: Some(Policy::default()),
            leave_out: Some(leaves_out()),
            reason: text(),
        },
        Request::Rules { epoch: 1 },
        Request::Prune {
            terms: Some(planned().terms()),
        },
        Request::Export { to: Some(7) },
        Request::Fill,
        Request::SetAlarm { files: 1000 },
        Request::SetFirst {
            patterns: vec![text()],
        },
        Request::SetReplica { replica: replica() },
        Request::RemoveReplica { url: text() },
        Request::Replicas,
        Request::News {
            than: 1,
            listed: NOON,
            generation: 2,
            danger: Some(NOON),
        },
        Request::ReplicaTold {
            url: text(),
            trouble: Some(text()),
            there: Some((1, NOON)),
        },
        Request::SetHook {
            hook: Hook {
                event: HookEvent::BeforeSnapshot,
                command: text(),
                timeout_ms: 7,
                aborts: true,
                added: NOON.0,
                by_uid: 1000,
            },
        },
        Request::RemoveHook {
            event: HookEvent::OnAlarm,
        },
        Request::Hooks,
        Request::HookEnded {
            number: 1,
            trouble: Some(text()),
        },
        Request::AddSchedule {
            schedule: schedule(),
        },
        Request::RemoveSchedule { number: 1 },
        Request::Schedules,
        Request::ScheduleTold {
            number: 1,
            told: Told::Done {
                began: NOON,
                epoch: 7,
                hasty: true,
            },
        },
        Request::Verify {
            percent: 5,
            repair: true,
        },
        Request::Rename {
            old: text(),
            new: text(),
        },
        Request::Sync,
        Request::State { name: text() },
        Request::Doings {
            since: NOON,
            under: RawPath(b"x\xff".to_vec()),
        },
        Request::Events {
            from: EventsFrom::Token(text()),
            under: RawPath(b"x\xff".to_vec()),
        },
        Request::Versions {
            since: NOON,
            of: RawPath(b"x\xff".to_vec()),
        },
        Request::Find {
            pattern: text(),
            under: RawPath(b"x".to_vec()),
            after: Some(FindPosition {
                dir: 1,
                name: RawPath(b"\xff".to_vec()),
            }),
        },
        Request::Events {
            from: EventsFrom::Now,
            under: RawPath::default(),
        },
        Request::Undoable {
            under: RawPath(b"x".to_vec()),
            viewer: 5,
        },
        Request::Undo {
            chosen: Chosen {
                whose: Whose::Number(1),
                since: Some(NOON),
            },
            under: RawPath(b"x".to_vec()),
            force: true,
            viewer: 5,
            at: Some(7),
            skip: 8,
        },
        Request::BeginRun {
            pid: 1,
            name: text(),
            command: RawPath(b"x\0".to_vec()),
            undoes: true,
        },
        Request::EndRun { run: 3 },
        Request::Diff {
            from: 1,
            to: 2,
            under: RawPath(vec![b'x', 0xff]),
            skip: 3,
        },
        Request::Drills,
        Request::DrillEnded {
            report: Box::new(drill()),
        },
        Request::SetDrills { plan: drill_plan() },
        Request::Status,
        Request::Unmount { force: true },
    ]
}

fn drill() -> DrillReport {
    DrillReport {
        url: text(),
        host: text(),
        began: NOON,
        ended: NOON,
        ok: false,
        problems: vec![text()],
        set: Some(1),
        state: Some(NOON),
        sample_percent: Some(5),
        seed: Some(6),
        files: 7,
        bytes: 8,
        fetched_bytes: 9,
        rto_ms: 10,
        phases: DrillPhases::default(),
        check: Some(1),
        kept_apart: Some(true),
        by_itself: true,
        log_fault: Some(text()),
    }
}

fn told_drills() -> Drills {
    Drills {
        every: Some(60),
        due: Some(NOON),
        overdue: true,
        last: Some(LastDrill {
            ended: NOON,
            ok: false,
            problem: text(),
            sample_percent: Some(5),
            rto_ms: 7,
        }),
        verified: Some(NOON),
    }
}

fn drill_plan() -> DrillPlan {
    DrillPlan {
        url: text(),
        every: 60,
        percent: 5,
    }
}

fn replica() -> Replica {
    Replica {
        url: text(),
        mode: ReplicaMode::Passive { every: 60 },
        password: PasswordSource::File(b"/x".to_vec()),
        limit: Some(1),
        keep: 60,
        added: NOON.0,
        by_uid: 1000,
    }
}

fn status() -> Status {
    let scan = Some(Scan {
        first: true,
        files: 10,
        bytes: 2048,
    });
    Status {
        dir: "/p".into(),
        mounted: Some(Mounted {
            mountpoint: "/p".into(),
            since: NOON,
            pid: 7,
            version: "0.1.0".into(),
            read_only: false,
            writeback: true,
            recording: true,
            waiting: 1,
            slow_operations: 2,
            waits: Waits {
                file: vec![0, 3],
                ..Waits::default()
            },
        }),
        dead: false,
        last_recorded: Some(NOON),
        not_recorded: Some(NotRecorded {
            files: 3,
            bytes: 4096,
            states: 1,
            seconds: 2,
            scan,
        }),
        left_out: LeftOut {
            unreadable: vec![Unreadable {
                path: text(),
                reason: text(),
            }],
            files_left_out: 1,
            shadowed: vec![text()],
            unrecorded: vec![Unrecorded {
                from: NOON,
                to: None,
                reason: text(),
            }],
            files_from_before: 7,
            bytes_from_before: 8,
            excluded: vec![left_out_rule()],
        },
        missing: vec![Missing {
            kind: MissingKind::Unreadable,
            what: text(),
            since: Some(NOON),
            until: None,
            why: text(),
            cure: text(),
            files: Some(1),
            bytes: None,
        }],
        hints: vec![HintLine {
            time: NOON,
            folder: "x".into(),
            bytes: 3,
            of_bytes: 4,
            text: "x".into(),
        }],
        alarms: vec![AlarmLine {
            time: NOON,
            kind: AlarmKind::Scrambled,
            files: 12,
            folder: text(),
            pid: 7,
            uid: 1000,
            name: text(),
            text: text(),
            snapshot: Some(text()),
            before: Some(NOON),
            until: Some(NOON),
        }],
        history: History {
            snapshots: 2,
            held: 1,
            checkpoints: 3,
            since: Some(NOON),
        },
        store: Store {
            path: "/.p.rewind".into(),
            bytes: 1,
            recorded_bytes: 2,
            new_bytes: 3,
            stored_bytes: 4,
            free_bytes: 5,
            file_system_bytes: 6,
        },
        checked: Some(Checked {
            ended: Some(NOON),
            problems: 1,
            under_way_bytes: Some(2),
        }),
        replicas: vec![ReplicaLine {
            drills: told_drills(),
            url: text(),
            mode: ReplicaWay::Passive,
            every: Some(60),
            limit: Some(1),
            keep: 60,
            encrypted: true,
            time: Some(NOON),
            sent: Some(NOON),
            states_behind: 1,
            bytes_behind: 2,
            seconds_behind: 3,
            trouble: Some(text()),
            trouble_since: Some(NOON),
        }],
        filling: Some(FillingLine {
            places: vec![text()],
            began: NOON,
            files: 1,
            bytes: 2,
            is_filled: false,
            rest_bytes: Some(3),
            rest_seconds: Some(4),
            trouble: Some(text()),
            trouble_since: Some(NOON),
            lost: vec![text()],
            fault: Some(text()),
        }),
        copies: vec![CopyLine {
            drills: Default::default(),
            url: text(),
            set: 1,
            sent: NOON,
            time: NOON,
            behind_since: Some(NOON),
            fenced: Some(NOON),
        }],
        schedules: vec![ScheduleLine {
            number: 1,
            what: Scheduled::Backup,
            text: text(),
            url: Some(text()),
            window: Some(text()),
            limit: Some(1),
            added: NOON,
            uid: 1000,
            next: Some(NOON),
            due_since: Some(NOON),
            waits_until: Some(NOON),
            under_way_since: Some(NOON),
            succeeded: Some(NOON),
            trouble: Some(text()),
            trouble_since: Some(NOON),
        }],
        problems: vec![text()],
    }
}

fn planned() -> Planned {
    Planned {
        now: NOON,
        keeps: 1,
        drops: 2,
        frees_bytes: 3,
        exact: true,
        live_bytes: 4,
        max_bytes: Some(5),
        excess_bytes: 6,
        for_size: 7,
        groups: vec![Group {
            keep: true,
            reason: text(),
            states: 1,
            oldest: NOON,
            newest: NOON,
        }],
    }
}

fn leaves_out() -> LeavesOut {
    LeavesOut {
        patterns: vec![text()],
        caches: true,
        larger_than: Some(1),
    }
}

fn left_out_rule() -> LeftOutRule {
    LeftOutRule {
        pattern: Some(text()),
        caches: false,
        larger_than: None,
        since: NOON,
        uid: 1000,
        folders: vec![text()],
    }
}

/// What is kept and what goes, and whether it is sound.
fn answers_about_keeping() -> Vec<Answer> {
    let spans = Spans::from(Policy::default());
    vec![
        Answer::Deleted {
            freed_bytes: Some(1),
            kept: Some(text()),
        },
        Answer::DeletedPage {
            lines: vec![DeletedLine {
                name: text(),
                time: NOON,
                deleted: NOON,
                kept_until: NOON,
                uid: 1000,
                message: text(),
            }],
            next: Some(NOON),
        },
        Answer::LogPage {
            lines: vec![LogLine {
                time: NOON,
                uid: 1000,
                deed: Deed::Policy,
                name: text(),
                to: Some(text()),
                until: Some(NOON),
                reason: Some(text()),
                states: Some(1),
                alarm: Some(3),
                folder: Some(text()),
                bytes: Some(2),
                policy: Some(spans),
                first: Some(vec![text()]),
                left_out: Some(leaves_out()),
                mended: Some(3),
                given_up: Some(4),
                versions: Some(5),
            }],
            next: None,
        },
        Answer::Policy(Box::new(PolicyReport {
            policy: spans,
            alarm: Some(1000),
            left_out: vec![left_out_rule()],
            first: vec![text()],
            plan: planned(),
        })),
        Answer::Rules {
            now: leaves_out(),
            then: leaves_out(),
        },
        Answer::Plan(Box::new(planned())),
        Answer::Pruned(Pruned {
            states: 1,
            bytes: 2,
        }),
        Answer::Sizes {
            lines: vec![SizeLine {
                name: text(),
                time: NOON,
                mode: Mode::Full,
                files: 1,
                bytes: 2,
                stored_bytes: 3,
                frees_bytes: 4,
            }],
            exact: true,
        },
        Answer::Purge(Box::new(PurgeReport {
            versions: 1,
            copies: vec![PurgedCopy {
                url: text(),
                set: 3,
                sent: NOON,
            }],
            lines: vec![PurgedVersion {
                path: text(),
                bytes: 2,
                states: 3,
                first_state: Some(NOON),
                last_state: None,
            }],
            freed_bytes: 4,
            shared_pieces: 5,
            shared_bytes: 6,
            shared_with: vec![text()],
            live: vec![text()],
            token: text(),
            done: true,
            wiped: true,
        })),
        Answer::Verified(Box::new(Verified {
            states: 1,
            versions: 2,
            chunks: 3,
            chunk_bytes: 4,
            hashed_percent: 5,
            repaired_states: 6,
            problems: 1,
            mended: 7,
            given_up: 8,
            findings: vec![Finding {
                problem: text(),
                repair: Some(Remedy::GivenUp),
                path: Some(text()),
                first_state: Some(NOON),
                last_state: None,
            }],
        })),
    ]
}

fn answers() -> Vec<Answer> {
    let line = |snapshot| Line {
        kind: LineKind::Checkpoint,
        time: NOON,
        complete: true,
        quiet: false,
        files_left_out: 1,
        snapshot,
        unrecorded: None,
    };
    let named = Named {
        name: text(),
        mode: Mode::Full,
        base: Some(text()),
        message: text(),
        tags: vec![text()],
        held: true,
        uid: 1000,
    };
    vec![
        Answer::Snapshot(Made {
            name: text(),
            time: NOON,
            mode: Mode::Incremental,
            base: Some(text()),
            files_left_out: 1,
            changed_by_themselves: Some(vec![text()]),
            late: Some(text()),
            before: Some(text()),
        }),
        Answer::Page {
            lines: vec![line(None), line(Some(named))],
            next: None,
        },
        Answer::Done,
        Answer::State(StateFound {
            epoch: 1,
            time: NOON,
            partial: false,
            unrecorded: Some(Unrecorded {
                from: NOON,
                to: None,
                reason: text(),
            }),
            snapdir: Some(text()),
        }),
        Answer::Found {
            lines: vec![FindLine {
                path: RawPath(b"x\xff".to_vec()),
                folder: true,
                first: NOON,
                last: NOON,
                is_there: true,
            }],
            next: None,
        },
        Answer::Events {
            lines: vec![EventLine {
                token: text(),
                time: NOON,
                change: 'R',
                path: RawPath(b"x\xff".to_vec()),
                from: Some(RawPath(b"y".to_vec())),
                old_bytes: Some(1),
                new_bytes: None,
                who: Vec::new(),
            }],
            token: text(),
            more: true,
        },
        Answer::Versions {
            lines: vec![VersionLine {
                time: NOON,
                change: 'M',
                path: RawPath(b"x\xff".to_vec()),
                bytes: Some(7),
                is_lost: true,
                who: Vec::new(),
            }],
            folder: false,
            more: true,
        },
        Answer::Doings {
            lines: vec![doing()],
            more: true,
        },
        Answer::Undoable {
            lines: vec![doing()],
            more: true,
            writeback: true,
        },
        Answer::Undo {
            at: 7,
            what: vec![doing()],
            steps: [
                DeedLine::Remove,
                DeedLine::Rename { to: raw() },
                DeedLine::Link { of: raw() },
                DeedLine::Times {
                    epoch: 6,
                    time: NOON,
                    past: raw(),
                },
                DeedLine::Restore {
                    epoch: 6,
                    time: NOON,
                    past: raw(),
                },
                DeedLine::Bytes {
                    epoch: 6,
                    time: NOON,
                    past: raw(),
                    ranges: vec![(4096, 8192), (9000, u64::MAX)],
                },
            ]
            .map(|deed| StepLine {
                path: raw(),
                kind: Kind::File,
                deed,
                expected: Some((1, 2, 3)),
            })
            .to_vec(),
            troubles: vec![TroubleLine {
                path: raw(),
                reason: text(),
                lost: true,
            }],
            unchanged: 1,
            incomplete: Some(NOON),
            writeback: true,
            snapdir: Some(text()),
            more: true,
        },
        Answer::Run { run: 3 },
        Answer::Diff {
            lines: vec![DiffLine {
                change: 'R',
                path: RawPath(vec![b'x', 0xff]),
                from: Some(RawPath(vec![b'y'])),
                old_bytes: Some(1),
                new_bytes: None,
            }],
            more: true,
        },
        Answer::Replicas {
            replicas: vec![replica()],
            generation: 1,
        },
        Answer::Synced { late: Some(text()) },
        Answer::Hooks {
            lines: vec![HookLine {
                event: HookEvent::BeforeSnapshot,
                command: text(),
                timeout_ms: 7,
                aborts: true,
                added: NOON,
                uid: 1000,
                ran: Some(NOON),
                trouble: Some(text()),
            }],
        },
        Answer::Added { number: 1 },
        Answer::Schedules {
            schedules: vec![(
                schedule(),
                Turn::Waits {
                    since: NOON,
                    until: NOON,
                },
            )],
        },
        Answer::News {
            newest: 1,
            listed: NOON,
            generation: 2,
            danger: Some(NOON),
            calls: vec![HookCall {
                number: 1,
                event: HookEvent::OnGap,
                command: text(),
                uid: 1000,
                gid: 1000,
                by_uid: 1000,
                timeout_ms: 7,
                variables: vec![(text(), text())],
            }],
            ending: true,
        },
        Answer::Drills {
            reports: vec![drill()],
            fault: Some(text()),
            plans: vec![drill_plan()],
        },
        Answer::Status(Box::new(status())),
    ]
}

fn errors() -> Vec<Error> {
    let users = vec![User {
        pid: 7,
        command: "bash".into(),
        holds: text(),
    }];
    vec![
        Error::BadPattern { reason: text() },
        Error::BadName { reason: text() },
        Error::Exists { name: text() },
        Error::NoSnapshot { name: text() },
        Error::NoDoing { reason: text() },
        Error::NoState { reason: text() },
        Error::Held { name: text() },
        Error::HeldUntil {
            name: text(),
            until: NOON,
        },
        Error::NotHeld { name: text() },
        Error::PastHold { until: NOON },
        Error::NotDeleted { name: text() },
        Error::NeverThere { path: text() },
        Error::PurgeFolder { path: text() },
        Error::PurgeLink { path: text() },
        Error::PlanChanged,
        Error::NoFull,
        Error::NoReplica { url: text() },
        Error::Hook { reason: text() },
        Error::NoHook { event: text() },
        Error::BadHook { reason: text() },
        Error::NoSchedule { number: 1 },
        Error::BadSchedule { reason: text() },
        Error::NotElsewhere { places: text() },
        Error::Unfilled { files: 1, bytes: 2 },
        Error::PruneInterrupted { states: 1 },
        Error::VerifyInterrupted,
        Error::TimedOut { what: text() },
        Error::Stopped { reason: text() },
        Error::Interrupted,
        Error::NotAllowed { uid: 1 },
        Error::Version {
            daemon: text(),
            program: text(),
        },
        Error::Busy { users },
        Error::NotMounted,
        Error::Unmount { reason: text() },
        Error::Overloaded,
        Error::Malformed { reason: text() },
        Error::Store { reason: text() },
        Error::Directory { reason: text() },
    ]
}

/// Who adds a kind of message does not get past here: it must be added above as well.
fn is_above(request: &Request, answer: &Answer, error: &Error) {
    match request {
        Request::Snapshot { .. } | Request::List { .. } | Request::Delete { .. } => {}
        Request::Rename { .. } | Request::Sync | Request::Status => {}
        Request::State { .. } | Request::Diff { .. } | Request::Doings { .. } => {}
        Request::Events { .. } | Request::Find { .. } | Request::Versions { .. } => {}
        Request::Unmount { .. } | Request::Undelete { .. } | Request::Hold { .. } => {}
        Request::Release { .. } | Request::Deleted { .. } | Request::Log { .. } => {}
        Request::Rules { .. } => {}
        Request::Policy { .. } | Request::Prune { .. } | Request::Verify { .. } => {}
        Request::Export { .. } | Request::Fill => {}
        Request::SetReplica { .. } | Request::RemoveReplica { .. } | Request::Replicas => {}
        Request::News { .. } | Request::ReplicaTold { .. } => {}
        Request::AddSchedule { .. } | Request::RemoveSchedule { .. } => {}
        Request::Schedules | Request::ScheduleTold { .. } => {}
        Request::SetHook { .. } | Request::RemoveHook { .. } => {}
        Request::Hooks | Request::HookEnded { .. } => {}
        Request::SetAlarm { .. } | Request::SetFirst { .. } => {}
        Request::Drills | Request::DrillEnded { .. } | Request::SetDrills { .. } => {}
        Request::Undoable { .. } | Request::Undo { .. } => {}
        Request::BeginRun { .. } | Request::EndRun { .. } => {}
        Request::Purge { .. } | Request::Sizes => {}
    }
    match answer {
        Answer::Snapshot(_) | Answer::Page { .. } | Answer::Done | Answer::Status(_) => {}
        Answer::Deleted { .. } | Answer::DeletedPage { .. } | Answer::LogPage { .. } => {}
        Answer::Rules { .. } | Answer::Drills { .. } => {}
        Answer::Hooks { .. } => {}
        Answer::Added { .. } | Answer::Schedules { .. } => {}
        Answer::Replicas { .. } | Answer::News { .. } | Answer::Synced { .. } => {}
        Answer::State(_) | Answer::Diff { .. } => {}
        Answer::Doings { .. } | Answer::Events { .. } | Answer::Found { .. } => {}
        Answer::Versions { .. } => {}
        Answer::Undoable { .. } | Answer::Undo { .. } | Answer::Run { .. } => {}
        Answer::Policy(_) | Answer::Plan(_) | Answer::Pruned(_) | Answer::Verified(_) => {}
        Answer::Purge(_) | Answer::Sizes { .. } => {}
    }
    match error {
        Error::BadName { .. } | Error::Exists { .. } | Error::NoSnapshot { .. } => {}
        Error::NoState { .. } | Error::NoDoing { .. } | Error::BadPattern { .. } => {}
        Error::Held { .. } | Error::TimedOut { .. } | Error::Stopped { .. } => {}
        Error::Interrupted | Error::NotAllowed { .. } | Error::Version { .. } => {}
        Error::Busy { .. } | Error::NotMounted | Error::Unmount { .. } => {}
        Error::Overloaded | Error::Malformed { .. } | Error::Store { .. } => {}
        Error::Directory { .. } | Error::HeldUntil { .. } | Error::NotHeld { .. } => {}
        Error::PastHold { .. } | Error::NotDeleted { .. } => {}
        Error::PruneInterrupted { .. } | Error::VerifyInterrupted => {}
        Error::NeverThere { .. }
        | Error::PurgeFolder { .. }
        | Error::PurgeLink { .. }
        | Error::PlanChanged => {}
        Error::Hook { .. } | Error::NoHook { .. } | Error::BadHook { .. } => {}
        Error::NoSchedule { .. } | Error::BadSchedule { .. } => {}
        Error::NoFull | Error::NoReplica { .. } | Error::NotElsewhere { .. } => {}
        Error::Unfilled { .. } => {}
    }
}

fn json(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("a message is JSON")
}

fn messages() -> String {
    is_above(&requests()[0], &answers()[0], &errors()[0]);
    let mut all = format!("protocol {PROTOCOL}\n{}\n", json(&Hello::own()));
    for request in requests() {
        all += &format!("{}\n", json(&request));
    }
    let progress = Reply::Progress(Progress {
        files: 1,
        bytes: 2,
        scan: None,
        steps: Some(Steps {
            what: text(),
            done: 1,
            of: 2,
        }),
    });
    all += &format!("{}\n", json(&progress));
    for answer in answers().into_iter().chain(answers_about_keeping()) {
        all += &format!("{}\n", json(&Reply::Result(Ok(answer))));
    }
    for error in errors() {
        all += &format!("{}\n", json(&Reply::Result(Err(error))));
    }
    all
}

/// `REWINDFS_BLESS=1` writes the file anew, but only for a number that is new.
#[test]
fn a_message_that_changes_raises_the_number() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/control/protocol.txt");
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    let now = messages();
    if kept == now {
        return;
    }
    let is_new = kept.lines().next() != now.lines().next();
    if is_new && std::env::var_os("REWINDFS_BLESS").is_some() {
        std::fs::write(path, now).expect("written");
        return;
    }
    for (old, new) in kept.lines().zip(now.lines()) {
        assert_eq!(
            old, new,
            "a message has changed: raise PROTOCOL, then bless"
        );
    }
    panic!("messages came or went: raise PROTOCOL, then bless");
}

#[test]
fn both_sides_must_be_of_one_version_and_one_protocol() {
    let own = Hello::own();
    assert_eq!(Hello::difference(&own, &own), None);
    let old: Hello = serde_json::from_str("{\"rewindfs\":\"0.0.1\"}").unwrap();
    let error = Hello::difference(&old, &own).unwrap().to_string();
    let program = &own.rewindfs;
    let expected = format!("the daemon is version 0.0.1, this program is {program}");
    assert_eq!(error, expected);
    let rebuilt = Hello {
        protocol: PROTOCOL + 1,
        ..own.clone()
    };
    let error = Hello::difference(&rebuilt, &own).unwrap().to_string();
    let expected = format!(
        "the daemon is version {program} (protocol {}), this program is {program} (protocol \
         {PROTOCOL})",
        PROTOCOL + 1
    );
    assert_eq!(error, expected);
}
