//! Commands that are run when something happens: which there are, and calling them. Of a mounted
//! directory they are run by a process of its own (`cli::attend`): what is to be run lies in a queue until
//! that process takes it.
//!
//! 1. Nobody waits for one but who makes a snapshot for the one before it, and he for so long only.
//! 2. A call that lies in the queue already is not added again: of what happens often, the newest is told.
//! 3. A hook before a snapshot runs alone: who makes another one meanwhile waits for it.

pub mod happenings;
pub mod run;

use super::error::Error;
use super::replicas::Replication;
use super::report::HookLine;
use super::request::Answer;
use super::service::Service;
use super::when::When;
use crate::capture::{Patience, Quiesce, Recorder};
use crate::format::hook::{Hook, HookEvent};
use crate::store::Store;
use crate::time::Timestamp;
use parking_lot::{Condvar, Mutex};
use run::HookCall;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Calls that wait to be taken; beyond, the oldest go.
const QUEUE: usize = 100;
/// Of those who wait in the mount, so many at most: its other threads serve what the hook reads there.
const IN_THE_MOUNT: usize = 2;
/// How often somebody who waits looks whether he still wants to.
const LOOK: Duration = Duration::from_millis(50);
/// Longer than a hook may take it is waited for, for the way there and back.
const ON_THE_WAY: Duration = Duration::from_secs(5);
/// What is left to make the snapshot of the time that somebody has.
const FOR_THE_SNAPSHOT: Duration = Duration::from_secs(2);

/// What is to be run, and what came of it.
#[derive(Default)]
pub struct Calls {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    last: u64,
    queue: VecDeque<HookCall>,
    /// By number, of those that somebody waits for; `Some`: it has ended.
    awaited: HashMap<u64, Option<Result<(), String>>>,
    /// When each was run last, and why it failed.
    outcomes: HashMap<HookEvent, (Timestamp, Option<String>)>,
    /// By number: what was taken from the queue.
    taken: HashMap<u64, HookEvent>,
    before_is_running: bool,
    /// Who makes a directory in `.snapshots`, and holds a thread of the mount.
    in_the_mount: usize,
}

impl Calls {
    /// Takes what is to be run.
    pub(super) fn take(&self) -> Vec<HookCall> {
        let mut state = self.state.lock();
        let calls: Vec<HookCall> = state.queue.drain(..).collect();
        // Who took them has ended without a word.
        if state.taken.len() > QUEUE {
            state.taken.clear();
        }
        for call in &calls {
            state.taken.insert(call.number, call.event);
        }
        calls
    }

    /// Whether there is any.
    pub(super) fn any(&self) -> bool {
        !self.state.lock().queue.is_empty()
    }

    fn add(&self, mut call: HookCall, is_awaited: bool) -> u64 {
        let mut state = self.state.lock();
        state.last += 1;
        call.number = state.last;
        if call.event != HookEvent::BeforeSnapshot && call.event != HookEvent::AfterSnapshot {
            state.queue.retain(|other| other.event != call.event);
        }
        if state.queue.len() >= QUEUE {
            state.queue.pop_front();
        }
        if is_awaited {
            state.awaited.insert(call.number, None);
        }
        let number = call.number;
        state.queue.push_back(call);
        self.changed.notify_all();
        number
    }

    /// It has ended.
    pub(super) fn ended(&self, number: u64, trouble: Option<String>) {
        let mut state = self.state.lock();
        let Some(event) = state.taken.remove(&number) else {
            return;
        };
        note(&mut state, event, trouble.clone());
        if let Some(outcome) = state.awaited.get_mut(&number) {
            *outcome = Some(trouble.map_or(Ok(()), Err));
        }
        self.changed.notify_all();
    }

    /// Runs it elsewhere, and waits for its end. `None`: it did not end in time.
    fn wait_for(
        &self,
        call: HookCall,
        until: Instant,
        gone: &dyn Fn() -> bool,
    ) -> Option<Result<(), String>> {
        let event = call.event;
        let number = self.add(call, true);
        let mut state = self.state.lock();
        loop {
            if let Some(Some(outcome)) = state.awaited.get(&number) {
                let outcome = outcome.clone();
                state.awaited.remove(&number);
                return Some(outcome);
            }
            if Instant::now() >= until || gone() {
                state.awaited.remove(&number);
                state.queue.retain(|call| call.number != number);
                note(&mut state, event, Some("it did not end in time".to_owned()));
                return None;
            }
            self.changed.wait_for(&mut state, LOOK);
        }
    }

    /// Waits until no other one before a snapshot is running. False: not in time, or too many wait
    /// in the mount.
    fn begin_before(&self, until: Instant, in_the_mount: bool, gone: &dyn Fn() -> bool) -> bool {
        let mut state = self.state.lock();
        if in_the_mount && state.in_the_mount >= IN_THE_MOUNT {
            return false;
        }
        state.in_the_mount += usize::from(in_the_mount);
        while state.before_is_running {
            if Instant::now() >= until || gone() {
                state.in_the_mount -= usize::from(in_the_mount);
                return false;
            }
            self.changed.wait_for(&mut state, LOOK);
        }
        state.before_is_running = true;
        true
    }

    fn end_before(&self, in_the_mount: bool) {
        let mut state = self.state.lock();
        state.in_the_mount -= usize::from(in_the_mount);
        state.before_is_running = false;
        self.changed.notify_all();
    }
}

fn note(state: &mut State, event: HookEvent, trouble: Option<String>) {
    if let Some(reason) = &trouble {
        ::log::warn!("the hook {} failed: {reason}", event.name());
    }
    state.outcomes.insert(event, (Timestamp::now(), trouble));
}

/// Something has happened: whoever is to be told is.
pub fn happened(
    store: &Store,
    replication: &Replication,
    recorder: &Recorder,
    event: HookEvent,
    variables: Vec<(String, String)>,
) {
    if let Some(call) = call_of(store, recorder, event, variables) {
        replication.calls.add(call, false);
    }
}

/// What is to be run then, if anything is.
fn call_of(
    store: &Store,
    recorder: &Recorder,
    event: HookEvent,
    variables: Vec<(String, String)>,
) -> Option<HookCall> {
    let hook = hook_of(store, event)?;
    let root = recorder.root().ok()?;
    let own = [
        ("REWINDFS_HOOK", event.name().to_owned()),
        ("REWINDFS_TIME", Timestamp::now().to_string()),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    Some(HookCall {
        number: 0,
        event,
        command: hook.command,
        uid: root.uid,
        gid: root.gid,
        by_uid: hook.by_uid,
        timeout_ms: hook.timeout_ms,
        variables: own.into_iter().chain(variables).collect(),
    })
}

fn hook_of(store: &Store, event: HookEvent) -> Option<Hook> {
    let all = store.hooks().unwrap_or_default();
    all.into_iter().find(|hook| hook.event == event)
}

/// A variable of its environment.
pub fn variable(name: &str, value: impl ToString) -> (String, String) {
    (format!("REWINDFS_{name}"), value.to_string())
}

/// What is run before and after each snapshot.
pub struct Quiescing {
    pub store: Arc<Store>,
    /// What has it.
    pub recorder: Weak<Recorder>,
    /// Who runs it; `None`: this process does.
    pub replication: Option<Arc<Replication>>,
    pub dir: String,
}

impl Quiescing {
    fn call(&self, event: HookEvent, name: &str, uid: u32) -> Option<HookCall> {
        let variables = vec![
            variable("DIR", &self.dir),
            variable("SNAPSHOT", name),
            variable("UID", uid),
        ];
        call_of(&self.store, &*self.recorder.upgrade()?, event, variables)
    }
}

impl Quiesce for Quiescing {
    fn before(
        &self,
        name: &str,
        uid: u32,
        patience: &Patience<'_>,
    ) -> Result<Option<String>, Option<String>> {
        let Some(hook) = hook_of(&self.store, HookEvent::BeforeSnapshot) else {
            return Ok(None);
        };
        let Some(call) = self.call(HookEvent::BeforeSnapshot, name, uid) else {
            return Ok(None);
        };
        let own = Instant::now() + Duration::from_millis(hook.timeout_ms) + ON_THE_WAY;
        let whole = patience
            .until
            .and_then(|until| until.checked_sub(FOR_THE_SNAPSHOT));
        let until = whole.map_or(own, |whole| whole.min(own));
        let gone = || (patience.cancelled)();
        let outcome = match &self.replication {
            None => Some(run::run(&call)),
            Some(replication) => {
                let (calls, in_the_mount) = (&replication.calls, patience.until.is_some());
                match calls.begin_before(until, in_the_mount, &gone) {
                    true => {
                        let outcome = calls.wait_for(call, until, &gone);
                        calls.end_before(in_the_mount);
                        outcome
                    }
                    false => None,
                }
            }
        };
        let late = "it did not end in time".to_owned();
        match outcome {
            Some(Ok(())) => Ok(None),
            Some(Err(reason)) if hook.aborts => Err(Some(reason)),
            None if hook.aborts => Err(None),
            failed => {
                let reason = failed.and_then(Result::err).unwrap_or(late);
                Ok(Some(format!("(the before-snapshot hook failed: {reason})")))
            }
        }
    }

    fn after(&self, name: &str, uid: u32, made: bool) {
        let Some(mut call) = self.call(HookEvent::AfterSnapshot, name, uid) else {
            return;
        };
        let result = if made { "made" } else { "failed" };
        call.variables.push(variable("RESULT", result));
        match &self.replication {
            Some(replication) => {
                replication.calls.add(call, false);
            }
            None => {
                if let Err(reason) = run::run(&call) {
                    ::log::warn!("the hook after-snapshot failed: {reason}");
                }
            }
        }
    }
}

impl Service {
    pub(super) fn set_hook(&self, mut hook: Hook, uid: u32) -> Result<Answer, Error> {
        if hook.command.trim().is_empty() {
            let reason = "say which command is to be run".to_owned();
            return Err(Error::BadHook { reason });
        }
        if hook.aborts && hook.event != HookEvent::BeforeSnapshot {
            let reason =
                "there is nothing to abort: --on-failure is for before-snapshot".to_owned();
            return Err(Error::BadHook { reason });
        }
        hook.by_uid = uid;
        hook.added = Timestamp::now();
        self.store.put_hook(&hook)?;
        self.replication.listed();
        Ok(Answer::Done)
    }

    pub(super) fn remove_hook(&self, event: HookEvent, uid: u32) -> Result<Answer, Error> {
        if !self.store.remove_hook(event, uid)? {
            return Err(Error::NoHook {
                event: event.name().to_owned(),
            });
        }
        self.replication.calls.state.lock().outcomes.remove(&event);
        self.replication.listed();
        Ok(Answer::Done)
    }

    pub(super) fn hooks(&self) -> Result<Answer, Error> {
        let state = self.replication.calls.state.lock();
        let line = |hook: Hook| {
            let outcome = state.outcomes.get(&hook.event);
            HookLine {
                event: hook.event,
                command: hook.command,
                timeout_ms: hook.timeout_ms,
                aborts: hook.aborts,
                added: When(hook.added),
                uid: hook.by_uid,
                ran: outcome.map(|(time, _)| When(*time)),
                trouble: outcome.and_then(|(_, trouble)| trouble.clone()),
            }
        };
        let lines = self.store.hooks()?.into_iter().map(line).collect();
        Ok(Answer::Hooks { lines })
    }
}

/// What a person should see to. What the command said is not for everybody.
pub(super) fn problems(replication: &Replication) -> Vec<String> {
    let state = replication.calls.state.lock();
    let failed = state
        .outcomes
        .iter()
        .filter(|(_, (_, trouble))| trouble.is_some());
    let mut failed: Vec<HookEvent> = failed.map(|(event, _)| *event).collect();
    failed.sort();
    let text = |event: HookEvent| {
        let name = event.name();
        format!("the hook {name} failed the last time: rewindfs hook DIR list says why")
    };
    failed.into_iter().map(text).collect()
}
