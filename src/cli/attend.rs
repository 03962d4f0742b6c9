//! The process that brings the replicas of a mounted directory up to date. A thread for each: one
//! that is slow, or can't be reached, keeps no other waiting. It learns from the daemon what is new,
//! and tells it what goes wrong; it ends when the daemon does.

use super::args;
use super::elsewhere;
use super::error::Error;
use super::exit::Exit;
use crate::archive::{ArchiveError, Backup, Feed, Plan, Repository};
use crate::control::client::{Client, ClientError, Wait};
use crate::control::folder::Folder;
use crate::control::request::{Answer, Progress, Request};
use crate::control::when::When;
use crate::format::replica::{Replica, ReplicaMode};
use crate::limits;
use crate::time::Timestamp;
use parking_lot::{Condvar, Mutex};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long the daemon is left alone after it could not be asked.
const PAUSE: Duration = Duration::from_millis(500);

/// Before anything is recorded.
const NOTHING: (u64, When) = (0, When(Timestamp(0)));

/// Nobody waits for the answers, and nobody interrupts.
struct Nobody;

impl Wait for Nobody {
    fn progress(&self, _: &Progress) {}

    fn interrupted(&self) -> bool {
        false
    }
}

/// What the daemon said last.
struct News {
    state: Mutex<Newest>,
    changed: Condvar,
}

#[derive(Clone, Copy)]
struct Newest {
    /// The newest state, and the last change of the list of names.
    recorded: (u64, When),
    ending: bool,
}

/// One replica, and who attends to it.
struct Ward {
    replica: Replica,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// `attend`.
pub fn run(args: &args::Attend) -> Result<Exit, Error> {
    let folder = Folder::open(&args.store).map_err(crate::control::open::OpenError::from)?;
    let folder = Arc::new(folder);
    end_with_the_daemon();
    let news = Arc::new(News {
        state: Mutex::new(Newest {
            recorded: NOTHING,
            ending: false,
        }),
        changed: Condvar::new(),
    });
    let mut wards: Vec<Ward> = Vec::new();
    let (mut recorded, mut generation) = (NOTHING, u64::MAX);
    loop {
        let (than, listed) = recorded;
        let news_since = Request::News {
            than,
            listed,
            generation,
        };
        let (newest, now, ending) = match ask(&folder, &news_since) {
            Ok(Answer::News {
                newest,
                listed,
                generation,
                ending,
            }) => ((newest, listed), generation, ending),
            Ok(_) | Err(ClientError::NoDaemon) => return Ok(Exit::Done),
            Err(_) => {
                thread::sleep(PAUSE);
                continue;
            }
        };
        if now != generation
            && let Ok(Answer::Replicas {
                replicas,
                generation: read,
            }) = ask(&folder, &Request::Replicas)
        {
            reconcile(&mut wards, replicas, &folder, &news);
            generation = read;
        }
        recorded = newest;
        *news.state.lock() = Newest { recorded, ending };
        news.changed.notify_all();
        if ending {
            break;
        }
    }
    for ward in &mut wards {
        if let Some(thread) = ward.thread.take() {
            let _ = thread.join();
        }
    }
    Ok(Exit::Done)
}

/// The daemon holds the other end of standard input, and nobody else does.
fn end_with_the_daemon() {
    thread::spawn(|| {
        let _ = std::io::stdin().lock().read(&mut [0]);
        std::process::exit(0);
    });
}

fn ask(folder: &Folder, request: &Request) -> Result<Answer, ClientError> {
    Client::connect(folder)?.ask(request, &Nobody)
}

/// Those that are new or were changed begin, those that are gone end. Whoever is not changed goes on.
fn reconcile(
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
}

impl Attendant {
    fn attend(mut self) {
        let mut sent = NOTHING;
        let mut last: Option<Instant> = None;
        let mut pause = limits::REPLICA_FIRST_PAUSE;
        while self.wait(sent, last) {
            last = Some(Instant::now());
            let recorded = self.news.state.lock().recorded;
            let trouble = match self.push() {
                Ok(()) => {
                    sent = recorded;
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

    /// Until there is something to do. False: there never will be.
    fn wait(&self, sent: (u64, When), last: Option<Instant>) -> bool {
        let mut state = self.news.state.lock();
        loop {
            let behind = state.recorded != sent && state.recorded.0 > 0;
            let since = last.map(|last| last.elapsed());
            let (due, rest) = match self.replica.mode {
                ReplicaMode::Passive { every } => {
                    let every = Duration::from_secs(every);
                    let rest = since.map_or(Duration::ZERO, |since| every.saturating_sub(since));
                    (behind && rest.is_zero() && !state.ending, rest)
                }
                ReplicaMode::Active | ReplicaMode::Synchronous { .. } => (behind, PAUSE),
            };
            if self.stop.load(Ordering::Acquire) || (state.ending && !due) {
                return false;
            }
            if due {
                return true;
            }
            let rest = rest.clamp(Duration::from_millis(10), PAUSE);
            self.news.changed.wait_for(&mut state, rest);
        }
    }

    /// A pause that ends with the replica.
    fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.stop.load(Ordering::Acquire) {
            let mut state = self.news.state.lock();
            if state.ending {
                return;
            }
            self.news.changed.wait_for(&mut state, PAUSE.min(pause));
        }
    }

    /// Sends what is recorded now and not there.
    fn push(&mut self) -> Result<(), Error> {
        let feed = Client::connect(&self.folder).and_then(|client| client.export(None, &Nobody));
        let mut feed = feed.map_err(|error| Error::Usage(error.to_string()))?;
        let facts = feed.facts()?;
        let repository = match self.repository.take() {
            Some(repository) => repository,
            None => {
                let opening = args::Opening::of(&self.replica.password);
                elsewhere::open_or_create(&self.replica.url, &opening, &facts.sent, false)?
            }
        };
        let repository = self.repository.insert(repository);
        let backup = Backup {
            repository,
            plan: Plan::REPLICA,
            progress: &|_| (),
            cancelled: &|| self.stop.load(Ordering::Acquire),
        };
        backup.run(&mut feed, facts)?;
        Ok(())
    }
}
