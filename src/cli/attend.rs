//! The process that does what a mounted directory is to do by itself: it brings replicas up to date
//! (`replica`), makes backups and snapshots when it is their turn (`clock`), fetches what a recovery
//! has still to bring (`filling`), and runs hooks. A thread for each: one that is slow, or can't be reached, keeps no
//! other waiting. It learns from the daemon what is new, and tells it what goes wrong; it ends when the
//! daemon does.

mod clock;
mod filling;
mod replica;
mod trials;

use super::args;
use super::error::Error;
use super::exit::Exit;
use crate::control::client::{Client, ClientError, Wait};
use crate::control::folder::Folder;
use crate::control::hooks::run::{HookCall, end_all, run as run_to_its_end};
use crate::control::request::{Answer, Progress, Request};
use crate::control::when::When;
use crate::limits;
use crate::time::Timestamp;
use clock::Clock;
use parking_lot::{Condvar, Mutex};
use replica::{Ward, reconcile};
use std::io::Read;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

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
    /// Since when something is about to go wrong, the last time.
    danger: Option<When>,
    /// Of the list of replicas, and of what is to be tried when.
    generation: u64,
    ending: bool,
}

impl Newest {
    /// Whether something began to go wrong a short while ago.
    fn is_in_danger(&self) -> bool {
        let since = self.danger.map(|since| Timestamp::now().since(since.0));
        since.is_some_and(|since| since < limits::URGENT)
    }
}

impl News {
    /// Whether no limit is kept any more.
    fn is_urgent(&self) -> bool {
        let state = self.state.lock();
        state.ending || state.is_in_danger()
    }

    fn is_ending(&self) -> bool {
        self.state.lock().ending
    }
}

/// `attend`.
pub fn run(args: &args::Attend) -> Result<Exit, Error> {
    let folder = Folder::open(&args.store).map_err(crate::control::open::OpenError::from)?;
    let folder = Arc::new(folder);
    end_with_the_daemon();
    let news = Arc::new(News {
        state: Mutex::new(Newest {
            recorded: NOTHING,
            danger: None,
            generation: 0,
            ending: false,
        }),
        changed: Condvar::new(),
    });
    let trials = {
        let (folder, news, store) = (Arc::clone(&folder), Arc::clone(&news), args.store.clone());
        thread::Builder::new().spawn(move || trials::keep(&folder, &store, &news))
    };
    let fills = Arc::clone(&folder);
    thread::spawn(move || filling::attend(&fills));
    let mut wards: Vec<Ward> = Vec::new();
    let clock = Clock::start(&folder, &news);
    let (mut recorded, mut generation, mut danger) = (NOTHING, u64::MAX, None);
    loop {
        let (than, listed) = recorded;
        let news_since = Request::News {
            than,
            listed,
            generation,
            danger,
        };
        let (newest, now, newest_danger, calls, ending) = match ask(&folder, &news_since) {
            Ok(Answer::News {
                newest,
                listed,
                generation,
                danger,
                calls,
                ending,
            }) => ((newest, listed), generation, danger, calls, ending),
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
            clock.look();
            generation = read;
        }
        calls.into_iter().for_each(|call| run_hook(call, &folder));
        if newest_danger != danger && !ending {
            // What was noted is recorded now, and so is news in a moment.
            let folder = Arc::clone(&folder);
            let _ = thread::Builder::new().spawn(move || ask(&folder, &Request::Sync));
        }
        (recorded, danger) = (newest, newest_danger);
        *news.state.lock() = Newest {
            recorded,
            danger,
            generation,
            ending,
        };
        news.changed.notify_all();
        if ending {
            break;
        }
    }
    wards.iter_mut().for_each(Ward::join);
    clock.join();
    end_all(limits::HOOKS_END);
    if let Ok(trials) = trials {
        let _ = trials.join();
    }
    Ok(Exit::Done)
}

/// On a thread of its own: a hook that hangs keeps nobody else waiting.
fn run_hook(call: HookCall, folder: &Arc<Folder>) {
    let folder = Arc::clone(folder);
    let number = call.number;
    let failed = {
        let folder = Arc::clone(&folder);
        move |reason: String| {
            let trouble = Some(reason);
            let _ = ask(&folder, &Request::HookEnded { number, trouble });
        }
    };
    let work = move || {
        let trouble = run_to_its_end(&call).err();
        // A daemon that can't be told has ended.
        let _ = ask(&folder, &Request::HookEnded { number, trouble });
    };
    if let Err(error) = thread::Builder::new().spawn(work) {
        failed(format!("it can't be run: {error}"));
    }
}

/// The daemon holds the other end of standard input, and nobody else does.
fn end_with_the_daemon() {
    thread::spawn(|| {
        let _ = std::io::stdin().lock().read(&mut [0]);
        end_all(Duration::ZERO);
        std::process::exit(0);
    });
}

fn ask(folder: &Folder, request: &Request) -> Result<Answer, ClientError> {
    Client::connect(folder)?.ask(request, &Nobody)
}
