//! Bringing replicas up to date: a thread for each.

use super::{NOTHING, News, Nobody, PAUSE, ask};
use crate::archive::{ArchiveError, Beat, Feed, Plan, Repository};
use crate::cli::daemon::beat_every;
use crate::cli::error::Error;
use crate::cli::scheduled::Delivery;
use crate::control::client::Client;
use crate::control::folder::Folder;
use crate::control::request::{Answer, Request};
use crate::control::when::When;
use crate::format::replica::{Replica, ReplicaMode};
use crate::limits;
use crate::time::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// One replica, and who attends to it.
pub(super) struct Ward {
    replica: Replica,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ward {
    /// Waits for its end.
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Those that are new or were changed begin, those that are gone end. Whoever is not changed goes on.
pub(super) fn reconcile(
    wards: &mut Vec<Ward>,
    replicas: Vec<Replica>,
    folder: &Arc<Folder>,
    news: &Arc<News>,
) {
    wards.retain(|ward| {
        let stays = replicas.contains(&ward.replica);
        ward.stop.store(!stays, Ordering::Release);
        stays
    });
    for replica in replicas {
        if wards.iter().any(|ward| ward.replica == replica) {
            continue;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let attendant = Attendant {
            replica: replica.clone(),
            folder: Arc::clone(folder),
            news: Arc::clone(news),
            stop: Arc::clone(&stop),
            repository: None,
            beats_at: None,
        };
        let thread = thread::Builder::new().spawn(move || attendant.attend());
        wards.push(Ward {
            replica,
            stop,
            thread: thread.ok(),
        });
    }
}

/// Whoever attends to one replica.
struct Attendant {
    replica: Replica,
    folder: Arc<Folder>,
    news: Arc<News>,
    stop: Arc<AtomicBool>,
    repository: Option<Repository>,
    /// When the next sign of life is to be left there.
    beats_at: Option<Instant>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Push,
    Beat,
    /// There never will be anything.
    Nothing,
}

impl Attendant {
    fn attend(mut self) {
        let mut sent = NOTHING;
        let mut last: Option<Instant> = None;
        let mut pause = limits::REPLICA_FIRST_PAUSE;
        loop {
            let due = self.wait(sent, last);
            let recorded = self.news.state.lock().recorded;
            let done = match due {
                // Whoever looks from outside need not wait to learn that it has ended.
                Due::Nothing => {
                    if self.news.is_ending() && self.repository.is_some() {
                        let _ = self.beat(true);
                    }
                    return;
                }
                Due::Push => {
                    last = Some(Instant::now());
                    self.push()
                }
                Due::Beat => self.beat(false),
            };
            let trouble = match done {
                Ok(()) => {
                    if due == Due::Push {
                        sent = recorded;
                    }
                    pause = limits::REPLICA_FIRST_PAUSE;
                    None
                }
                // Somebody makes a backup to the same place by hand.
                Err(Error::Archive(ArchiveError::Busy)) => {
                    self.rest(PAUSE);
                    continue;
                }
                Err(_) if self.stop.load(Ordering::Acquire) => return,
                Err(error) => Some(error.to_string()),
            };
            let failed = trouble.is_some();
            let url = self.replica.url.clone();
            // A daemon that can't be told now is told the next time, or has ended.
            let told = Request::ReplicaTold {
                url,
                trouble,
                there: (!failed).then_some(sent),
            };
            let _ = ask(&self.folder, &told);
            if failed {
                self.repository = None;
                last = None;
                if self.news.state.lock().ending {
                    return;
                }
                self.rest(pause);
                pause = (pause * 2).min(limits::REPLICA_LAST_PAUSE);
            }
        }
    }

    /// Until there is something to do.
    fn wait(&self, sent: (u64, When), last: Option<Instant>) -> Due {
        let mut state = self.news.state.lock();
        loop {
            let behind = state.recorded != sent && state.recorded.0 > 0;
            let since = last.map(|last| last.elapsed());
            let (due, rest) = match self.replica.mode {
                ReplicaMode::Passive { every } => {
                    let every = Duration::from_secs(every);
                    let rest = since.map_or(Duration::ZERO, |since| every.saturating_sub(since));
                    // Then it is as an active one for a while.
                    let is_urgent = state.is_in_danger();
                    let due = rest.is_zero() && !state.ending;
                    (behind && (due || is_urgent), rest)
                }
                ReplicaMode::Active | ReplicaMode::Synchronous { .. } => (behind, PAUSE),
            };
            if self.stop.load(Ordering::Acquire) || (state.ending && !due) {
                return Due::Nothing;
            }
            if due {
                return Due::Push;
            }
            let silent = self.beats_at.is_none_or(|at| at <= Instant::now());
            if silent && self.repository.is_some() {
                return Due::Beat;
            }
            let rest = rest.clamp(Duration::from_millis(10), PAUSE);
            self.news.changed.wait_for(&mut state, rest);
        }
    }

    /// Leaves a sign of life, so that it is found from outside when there are none any more.
    fn beat(&mut self, ended: bool) -> Result<(), Error> {
        let Ok(Answer::Status(status)) = ask(&self.folder, &Request::Status) else {
            return Ok(());
        };
        let feed = Client::connect(&self.folder).and_then(|client| client.export(None, &Nobody));
        let feed = feed.map_err(|error| Error::Usage(error.to_string()));
        let facts = feed?.facts()?;
        let Some(repository) = &self.repository else {
            return Ok(());
        };
        // Where the place was taken away, none is begun.
        repository.is_the_same()?;
        let every = beat_every();
        let said = repository.beat(&Beat {
            store: facts.store,
            host: facts.host,
            dir: facts.dir,
            at: Timestamp::now(),
            every: every.as_secs().max(1),
            recorded: status.last_recorded.map(|recorded| recorded.0),
            problems: status.problems.len() as u64,
            ended,
        })?;
        self.beats_at = Some(Instant::now() + every.max(Duration::from_secs(said)));
        Ok(())
    }

    /// A pause that ends with the replica.
    fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let danger = self.news.state.lock().danger;
        while Instant::now() < until && !self.stop.load(Ordering::Acquire) {
            let mut state = self.news.state.lock();
            if state.ending || state.danger != danger {
                return;
            }
            self.news.changed.wait_for(&mut state, PAUSE.min(pause));
        }
    }

    /// Sends what is recorded now and not there.
    fn push(&mut self) -> Result<(), Error> {
        let feed = Client::connect(&self.folder).and_then(|client| client.export(None, &Nobody));
        let mut feed = feed.map_err(|error| Error::Usage(error.to_string()))?;
        let (limit, stop) = (self.replica.limit, Arc::clone(&self.stop));
        let news = Arc::clone(&self.news);
        // The end of the mount waits for it, and that for nobody.
        let free = move || stop.load(Ordering::Acquire) || news.is_urgent();
        let delivery = Delivery {
            url: &self.replica.url,
            password: &self.replica.password,
            plan: Plan::replica(Duration::from_secs(self.replica.keep)),
            rate: Some(Box::new(move || limit.filter(|_| !free()))),
            progress: &|_| (),
            cancelled: &|| self.stop.load(Ordering::Acquire),
        };
        delivery.run(&mut feed, &mut self.repository)?;
        Ok(())
    }
}
