//! Pruning: the plan is made from what the store holds, and carried out. In the background by a
//! thread of its own: dropping an epoch may take many batches, and a commit waits for one of them at
//! the most; between batches commits go first.
//!
//! 1. What goes was in a plan, and the store asks once more: a name, a pin, a scan keep an epoch
//!    whatever the plan says.
//! 2. The newest of those that go is dropped first: so the lines of change of each are moved once,
//!    to the next epoch that stays, and not from one to the next of those that go.

use super::Recorder;
use crate::format::keeping::Policy;
use crate::id::Epoch;
use crate::limits;
use crate::retention::{self, Drop, Named, Plan, State};
use crate::store::{Store, StoreError, View};
use crate::time::Timestamp;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often the thread looks whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a batch gives way to commits at most: history that is made all the time must not keep
/// old history from going.
const GIVE_WAY: Duration = Duration::from_secs(1);

/// A plan with what it frees.
#[derive(Clone, Debug)]
pub struct Sketch {
    pub plan: Plan,
    pub policy: Policy,
    /// Stored bytes of chunks that go with it.
    pub bytes: u64,
    /// False: there is too much to count, and it is at least this.
    pub exact: bool,
    /// What the chunks and records take now.
    pub live_bytes: u64,
    /// States that go for the size of the store alone.
    pub for_size: usize,
    /// Bytes that the store is too large even then.
    pub excess: u64,
}

/// What was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    pub states: u64,
    /// Stored bytes of chunks.
    pub bytes: u64,
}

/// What the background did, for `status`.
#[derive(Clone, Debug, Default)]
pub struct PruneStatus {
    pub total: Dropped,
    /// When checkpoints were last dropped because the disk is almost full, and before which instant
    /// these had ended.
    pub cut_off: Option<(Timestamp, Timestamp)>,
    /// The store stays larger than the policy allows by so many bytes.
    pub excess: u64,
}

/// The affairs of the thread.
#[derive(Default)]
pub(super) struct Pruner {
    /// Bytes that are missing on the disk.
    short: Mutex<u64>,
    /// Somebody changed the policy.
    wanted: std::sync::atomic::AtomicBool,
    status: Mutex<PruneStatus>,
}

/// All listed states as the plan sees them.
fn states(view: &View<'_>) -> Result<Vec<State>, StoreError> {
    let mut named: BTreeMap<Epoch, Named> = BTreeMap::new();
    for deleted in view.deleted()? {
        let at = named.entry(deleted.snapshot.epoch);
        let newest = at.or_insert(Named::Deleted { at: deleted.time });
        if let Named::Deleted { at } = newest {
            *at = deleted.time.max(*at);
        }
    }
    for sent in view.sent()? {
        named.insert(sent.epoch, Named::Sent);
        named.insert(sent.full_epoch, Named::Sent);
    }
    for (_, snapshot) in view.snapshots()? {
        for epoch in snapshot.base.into_iter().chain([snapshot.epoch]) {
            named.insert(epoch, Named::Snapshot);
        }
    }
    let epochs = view.epochs(Epoch::NONE, Epoch::MAX, usize::MAX)?;
    let states = epochs.into_iter().map(|(epoch, _, header)| State {
        epoch,
        time: header.time,
        named: named.get(&epoch).copied(),
    });
    Ok(states.collect())
}

/// What would go by the policy in force, with what it would free.
///
/// # Errors
/// A store that can't be read; `Interrupted` when `go_on` says no.
pub fn sketch(
    store: &Store,
    policy: &Policy,
    now: Timestamp,
    go_on: &dyn Fn() -> bool,
) -> Result<Sketch, StoreError> {
    let view = store.view();
    let plan = retention::plan(&states(&view)?, policy, now);
    drop(view);
    weighed(store, plan, policy, go_on)
}

/// Adds to a plan what goes for the size, and what all of it frees.
fn weighed(
    store: &Store,
    mut plan: Plan,
    policy: &Policy,
    go_on: &dyn Fn() -> bool,
) -> Result<Sketch, StoreError> {
    let live_bytes = store.live_bytes(go_on)?;
    let spare = match policy.max_bytes {
        Some(max) if live_bytes > max => plan.spare(),
        _ => Vec::new(),
    };
    let weights = store.weigh(&plan.dropped(), &spare, go_on)?;
    let over = |freed: u64| {
        let left = live_bytes.saturating_sub(freed);
        left.saturating_sub(policy.max_bytes.unwrap_or(u64::MAX))
    };
    let (mut bytes, mut for_size) = (weights.dropped, 0);
    while over(bytes) > 0 && for_size < spare.len() {
        bytes = weights.further[for_size];
        for_size += 1;
    }
    plan.shrink(for_size, Drop::Size);
    if over(bytes) > 0 {
        plan.show_floor();
    }
    Ok(Sketch {
        plan,
        policy: *policy,
        bytes,
        exact: weights.exact,
        live_bytes,
        for_size,
        excess: over(bytes),
    })
}

/// The plan of an instant, without weighing it; `for_size` states go besides.
///
/// # Errors
/// A store that can't be read.
pub fn plan_of(
    store: &Store,
    policy: &Policy,
    now: Timestamp,
    for_size: usize,
) -> Result<Plan, StoreError> {
    let mut plan = retention::plan(&states(&store.view())?, policy, now);
    plan.shrink(for_size, Drop::Size);
    Ok(plan)
}

/// Drops what a plan drops. `go_on` is asked before each state, and between the batches of a large
/// one, with the number of those done and of all.
///
/// # Errors
/// A store that can't be read or written; what was dropped before is dropped.
pub fn carry_out(
    store: &Store,
    plan: &Plan,
    go_on: &dyn Fn(u64, u64) -> bool,
) -> Result<Dropped, StoreError> {
    let dropped = plan.dropped();
    let all = dropped.len() as u64;
    let mut done = Dropped::default();
    for (epoch, n) in dropped.into_iter().rev().zip(0..) {
        let deleted_before = Timestamp::now().minus(limits::DELETED_KEPT);
        match store.prune_old(epoch, deleted_before, &|| go_on(n, all)) {
            Ok(pruned) => {
                done.states += 1;
                done.bytes += pruned.chunk_bytes;
            }
            // Somebody named it, or dropped it, since the plan was made.
            Err(StoreError::Kept { .. } | StoreError::NoEpoch { .. }) => {}
            Err(StoreError::Interrupted) => return Ok(done),
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

impl Recorder {
    /// What the background did.
    pub fn prune_status(&self) -> PruneStatus {
        self.pruner.status.lock().clone()
    }

    /// Looks for what may go at once, not at the next turn: the policy was changed.
    pub fn prune_soon(&self) {
        let wanted = &self.pruner.wanted;
        wanted.store(true, std::sync::atomic::Ordering::Release);
    }

    /// The disk lacks so many bytes.
    pub(super) fn short_of(&self, bytes: u64) {
        *self.pruner.short.lock() = bytes;
    }

    pub(super) fn prune_loop(&self) {
        if let Err(error) = rustix::process::setpriority_process(None, 19) {
            log::debug!("old states go at the usual priority: {error}");
        }
        let mut next = Instant::now() + limits::PRUNE_FIRST;
        let mut next_short = Instant::now();
        while !self.is_ending() {
            std::thread::sleep(LOOK_EVERY);
            if self.store.is_filling() {
                continue;
            }
            let wanted = &self.pruner.wanted;
            let due = wanted.swap(false, std::sync::atomic::Ordering::AcqRel);
            let short = *self.pruner.short.lock();
            let result = if short > 0 && Instant::now() >= next_short {
                next_short = Instant::now() + limits::PRUNE_SHORT_EVERY;
                self.make_room(short)
            } else if due || Instant::now() >= next {
                next = Instant::now() + limits::PRUNE_EVERY;
                self.prune_by_policy()
            } else {
                continue;
            };
            if let Err(error) = result {
                log::warn!("old states could not be dropped: {error}");
            }
        }
    }

    /// Whether to go on; commits go first.
    fn gives_way(&self) -> bool {
        let until = Instant::now() + GIVE_WAY;
        while self.pending_epochs() > 0 && !self.is_ending() && Instant::now() < until {
            let seen = self.signal.count();
            self.signal.wait(seen, LOOK_EVERY);
        }
        !self.is_ending()
    }

    /// What goes by the policy; what only the one before keeps stays for a while.
    fn prune_by_policy(&self) -> Result<(), StoreError> {
        let record = self.store.policy()?;
        let now = Timestamp::now();
        let own = rustix::process::geteuid().as_raw();
        self.store.forget_old_alarms(own)?;
        let mut plan = plan_of(&self.store, &record.policy, now, 0)?;
        let recent = now.since(record.changed) < limits::FORMER_KEPT;
        let former = record.former.filter(|_| recent);
        if let Some(former) = &former {
            plan.keep_also(&plan_of(&self.store, former, now, 0)?);
        }
        // The larger of two sizes holds, as long as both hold.
        let max = |policy: &Policy| policy.max_bytes.unwrap_or(u64::MAX);
        let max_bytes = former.as_ref().map_or(0, max).max(max(&record.policy));
        let (chunks, records) = self.store.stored_bytes()?;
        let mut excess = 0;
        if chunks + records > max_bytes {
            let policy = Policy {
                max_bytes: Some(max_bytes),
                ..record.policy
            };
            let sketch = weighed(&self.store, plan, &policy, &|| self.gives_way())?;
            plan = sketch.plan;
            excess = sketch.excess;
        }
        self.pruner.status.lock().excess = excess;
        self.drop_planned(&plan, excess > 0)
    }

    /// Drops the oldest states that have no name until there is room. It says what that costs.
    fn make_room(&self, short: u64) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let policy = self.store.policy()?.policy;
        let mut plan = plan_of(&self.store, &policy, now, 0)?;
        let spare = plan.spare();
        if spare.is_empty() {
            return self.drop_planned(&plan, true);
        }
        let go_on = || self.gives_way();
        let weights = self.store.weigh(&plan.dropped(), &spare, &go_on)?;
        let mut count = 0;
        while count < spare.len() && weights.dropped.max(freed(&weights.further, count)) < short {
            count += 1;
        }
        plan.shrink(count, Drop::Space);
        if let Some(cut_off) = plan.cut_off(Drop::Space) {
            let hours = now.since(cut_off).as_secs() / 3600;
            log::warn!("the disk is almost full: checkpoints older than {hours} h go");
            self.pruner.status.lock().cut_off = Some((now, cut_off));
        }
        self.drop_planned(&plan, true)
    }

    fn drop_planned(&self, plan: &Plan, all: bool) -> Result<(), StoreError> {
        let done = carry_out(&self.store, plan, &|_, _| self.gives_way())?;
        if done.states > 0 {
            let uid = rustix::process::geteuid().as_raw();
            self.store.log_pruned(uid, done.states, done.bytes)?;
            let mut status = self.pruner.status.lock();
            status.total.states += done.states;
            status.total.bytes += done.bytes;
            log::info!("{} states dropped, {} bytes", done.states, done.bytes);
        }
        self.store.reclaim(all, &|| self.gives_way())?;
        Ok(())
    }
}

/// What the first `count` of the further ones free.
fn freed(further: &[u64], count: usize) -> u64 {
    count.checked_sub(1).map_or(0, |i| further[i])
}
