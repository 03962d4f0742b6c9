//! Replicas, as the daemon knows them: which there are, how far each is, and what whoever brings
//! them up to date (a process of its own, `cli::attend`) has to say. No connection to a provider is
//! here, and no password.

use super::drills::{self, Drills};
use super::error::Error;
use super::hooks::Calls;
use super::report::ReplicaLine;
use super::request::Answer;
use super::schedules::Scheduling;
use super::service::{Service, Watch};
use super::when::When;
use crate::capture::{Followed, Reached};
use crate::format::replica::{PasswordSource, Replica, ReplicaMode};
use crate::id::Epoch;
use crate::limits;
use crate::store::Store;
use crate::time::Timestamp;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often it is looked whether something new is recorded.
const LOOK: Duration = Duration::from_millis(20);
/// How long a question for news may wait for its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What changes while replicas are attended to.
#[derive(Default)]
pub struct Replication {
    state: Mutex<State>,
    changed: Condvar,
    /// There are replicas or schedules.
    wanted: AtomicBool,
    /// Commands that are to be run.
    pub(super) calls: Calls,
    /// And what is done by itself.
    pub(super) scheduling: Scheduling,
}

#[derive(Default)]
struct State {
    /// Another number whenever the list of replicas is another one.
    generation: u64,
    /// The mount has gone: what is recorded is sent, then nothing more.
    ending: bool,
    /// Something is about to go wrong: since when, and what.
    danger: Option<(Timestamp, String)>,
    /// By place: why nothing can be sent there, and since when.
    troubles: HashMap<String, (String, Timestamp)>,
}

impl Replication {
    /// The list of replicas has changed.
    pub fn listed(&self) {
        self.state.lock().generation += 1;
        self.changed.notify_all();
    }

    /// From now on only what is recorded already is to be sent.
    pub fn end(&self) {
        self.state.lock().ending = true;
        self.changed.notify_all();
    }

    /// Whether there are replicas or schedules.
    pub fn set_wanted(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Release);
    }

    /// Something is about to go wrong: what is only here is to be sent at once.
    pub fn in_danger(&self, what: &str) {
        if self.wanted.load(Ordering::Acquire) {
            ::log::warn!("{what}: what is only here is sent elsewhere at once");
        }
        self.state.lock().danger = Some((Timestamp::now(), what.to_owned()));
        self.changed.notify_all();
    }

    /// Whether something began to go wrong a short while ago.
    pub fn is_in_danger(&self) -> bool {
        let since = self.danger().map(|since| Timestamp::now().since(since));
        let is_wanted = self.wanted.load(Ordering::Acquire);
        is_wanted && since.is_some_and(|since| since < limits::URGENT)
    }

    /// Since when something is about to go wrong.
    pub(super) fn danger(&self) -> Option<Timestamp> {
        self.state.lock().danger.as_ref().map(|(since, _)| *since)
    }

    /// The number of the list.
    pub fn generation(&self) -> u64 {
        self.state.lock().generation
    }

    /// Waits for another list, or the time.
    pub fn wait(&self, seen: u64, at_most: Duration) {
        let mut state = self.state.lock();
        if state.generation == seen && !state.ending {
            self.changed.wait_for(&mut state, at_most);
        }
    }

    fn tell(&self, url: &str, trouble: Option<String>) {
        let mut state = self.state.lock();
        match trouble {
            Some(reason) => {
                let since = state.troubles.get(url).map(|(_, since)| *since);
                let since = since.unwrap_or_else(Timestamp::now);
                if !state.troubles.contains_key(url) {
                    ::log::warn!("the replica at {url} can't be brought up to date: {reason}");
                }
                state.troubles.insert(url.to_owned(), (reason, since));
            }
            None => {
                if state.troubles.remove(url).is_some() {
                    ::log::info!("the replica at {url} is brought up to date again");
                }
            }
        }
    }
}

impl Service {
    pub(super) fn set_replica(&self, mut replica: Replica, uid: u32) -> Result<Answer, Error> {
        replica.by_uid = uid;
        replica.added = Timestamp::now();
        self.store.put_replica(&replica)?;
        self.replication.tell(&replica.url, None);
        self.follow_replicas()?;
        self.replication.listed();
        Ok(Answer::Done)
    }

    pub(super) fn remove_replica(&self, url: &str, uid: u32) -> Result<Answer, Error> {
        if !self.store.remove_replica(url, uid)? {
            return Err(Error::NoReplica {
                url: url.to_owned(),
            });
        }
        self.replication.tell(url, None);
        self.follow_replicas()?;
        self.replication.listed();
        Ok(Answer::Done)
    }

    pub(super) fn replicas(&self) -> Result<Answer, Error> {
        let generation = self.replication.generation();
        Ok(Answer::Replicas {
            replicas: self.store.replicas()?,
            generation,
        })
    }

    /// Waits until something newer than an epoch is recorded, or the list is another one.
    pub(super) fn news(
        &self,
        (than, listed): (u64, When),
        (generation, danger): (u64, Option<When>),
        watch: &Watch<'_>,
    ) -> Result<Answer, Error> {
        let until = Instant::now() + ANSWER_WITHIN;
        loop {
            // First the list: a name that comes in between is not taken for one that was sent.
            let names = When(self.store.snapshots_changed());
            let newest = self.store.view().newest_epoch()?.unwrap_or(Epoch::NONE).0;
            let state = self.replication.state.lock();
            let (now, ending) = (state.generation, state.ending);
            let newest_danger = state.danger.as_ref().map(|(since, _)| When(*since));
            drop(state);
            let is_news = newest > than || names.0 > listed.0 || now != generation;
            let calls = self.replication.calls.any();
            let is_news = is_news || newest_danger != danger || calls || ending;
            if is_news || Instant::now() >= until || (watch.cancelled)() {
                return Ok(Answer::News {
                    newest,
                    listed: names,
                    generation: now,
                    danger: newest_danger,
                    calls: self.replication.calls.take(),
                    ending,
                });
            }
            std::thread::sleep(LOOK);
        }
    }

    pub(super) fn replica_told(
        &self,
        url: &str,
        trouble: Option<String>,
        there: Option<(u64, When)>,
    ) -> Result<Answer, Error> {
        self.replication.tell(url, trouble);
        if let (Some(recorder), Some((epoch, listed))) = (&self.recorder, there) {
            let reached = Reached {
                epoch: Epoch::try_from(epoch).unwrap_or(Epoch::NONE),
                listed: listed.0,
            };
            recorder.is_elsewhere(url, reached)?;
        }
        Ok(Answer::Done)
    }

    /// From now on the synchronous ones among the replicas are waited for.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn follow_replicas(&self) -> Result<(), Error> {
        let Some(recorder) = &self.recorder else {
            return Ok(());
        };
        let followed = |replica: Replica| match replica.mode {
            ReplicaMode::Synchronous { timeout_ms, strict } => Some(Followed {
                url: replica.url,
                at_most: Duration::from_millis(timeout_ms),
                strict,
            }),
            ReplicaMode::Active | ReplicaMode::Passive { .. } => None,
        };
        let all = self.store.replicas()?.into_iter().filter_map(followed);
        recorder.elsewhere().follow(all.collect());
        Ok(())
    }
}

/// Which replicas are late or in trouble, and how that is said.
pub(super) fn late(store: &Store, replication: &Replication) -> Vec<(String, String)> {
    let lines = lines(store, replication, &Drills::default()).unwrap_or_default();
    let told = |line: ReplicaLine| problem(&line).map(|text| (line.url, text));
    lines.into_iter().filter_map(told).collect()
}

/// Which replicas lack something, in a few words each.
pub fn behind(store: &Store, replication: &Replication) -> Vec<String> {
    let lines = lines(store, replication, &Drills::default()).unwrap_or_default();
    let behind = lines.iter().filter(|line| line.states_behind > 0);
    behind
        .map(|line| format!("{} ({} states)", line.url, line.states_behind))
        .collect()
}

/// How far each replica is.
pub(super) fn lines(
    store: &Store,
    replication: &Replication,
    drills: &Drills,
) -> Result<Vec<ReplicaLine>, Error> {
    let view = store.view();
    let plans = store.drill_plans()?;
    let sent = view.sent()?;
    let now = Timestamp::now();
    let mut lines = Vec::new();
    for replica in store.replicas()? {
        let own = sent.iter().find(|sent| sent.url == replica.url);
        let after = own.map_or(Epoch::NONE, |sent| sent.epoch);
        let behind = view.epochs(after.next(), Epoch::MAX, limits::REPLICA_COUNTED)?;
        let since = behind.first().map(|(.., header)| header.time);
        let trouble = replication.state.lock().troubles.get(&replica.url).cloned();
        lines.push(ReplicaLine {
            mode: replica.mode.into(),
            every: match replica.mode {
                ReplicaMode::Passive { every } => Some(every),
                _ => None,
            },
            limit: replica.limit,
            keep: replica.keep,
            encrypted: replica.password != PasswordSource::None,
            time: match own {
                Some(sent) => view.header(sent.epoch)?.map(|header| When(header.time)),
                None => None,
            },
            sent: own.map(|sent| When(sent.time)),
            states_behind: behind.len() as u64,
            bytes_behind: behind
                .iter()
                .map(|(_, record, _)| record.statistics.hashed_bytes)
                .sum(),
            seconds_behind: since.map_or(0, |since| now.since(since).as_secs()),
            trouble: trouble.as_ref().map(|(reason, _)| reason.clone()),
            trouble_since: trouble.map(|(_, since)| When(since)),
            drills: {
                let plan = drills::plan_of(&plans, &replica.url);
                drills::told(drills, &replica.url, Some((&plan, replica.added)), now)
            },
            url: replica.url,
        });
    }
    Ok(lines)
}

/// What a person should see to.
pub(super) fn problem(line: &ReplicaLine) -> Option<String> {
    let patience = limits::REPLICA_LATE.as_secs() + line.every.unwrap_or(0);
    let late = line.states_behind > 0 && line.seconds_behind > patience;
    if !late && line.trouble.is_none() {
        return None;
    }
    let url = match &line.url[..] {
        "" => "elsewhere",
        url => url,
    };
    let behind = match line.seconds_behind {
        0 => String::new(),
        seconds => format!(", {} behind", in_words(seconds)),
    };
    let reason = match &line.trouble {
        Some(reason) => reason.clone(),
        None => "it is not brought up to date fast enough".to_owned(),
    };
    Some(format!(
        "the replica at {url} is not up to date{behind}: {reason}"
    ))
}

fn in_words(seconds: u64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

/// As a person writes it.
pub(super) fn mode_in_words(mode: ReplicaMode) -> String {
    match mode {
        ReplicaMode::Active => "active".to_owned(),
        ReplicaMode::Passive { every } => format!("passive, every {}", super::kept::span(every)),
        ReplicaMode::Synchronous { .. } => "synchronous".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::ReplicaWay;

    fn line(seconds_behind: u64, trouble: Option<&str>) -> ReplicaLine {
        ReplicaLine {
            url: "file:///b".to_owned(),
            mode: ReplicaWay::Passive,
            every: Some(3600),
            limit: None,
            keep: 60,
            encrypted: true,
            time: None,
            sent: None,
            states_behind: u64::from(seconds_behind > 0),
            bytes_behind: 0,
            seconds_behind,
            trouble: trouble.map(str::to_owned),
            trouble_since: None,
            drills: Default::default(),
        }
    }

    #[test]
    fn it_is_told_when_it_is_late_for_its_turn_or_in_trouble() {
        assert_eq!(problem(&line(0, None)), None);
        assert_eq!(problem(&line(3900, None)), None);
        let late = problem(&line(3901, None)).expect("told");
        assert!(late.contains("65 min behind: it is not brought"), "{late}");
        let troubled = problem(&line(0, Some("no route"))).expect("told");
        let expected = "the replica at file:///b is not up to date: no route";
        assert_eq!(troubled, expected);
    }
}
