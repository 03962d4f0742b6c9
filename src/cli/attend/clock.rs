//! Doing what is done by itself when it is its turn. Whose turn it is the daemon says, which has the
//! store; only whether a command succeeds is looked at here.

use super::{News, Nobody, ask};
use crate::archive::ArchiveError;
use crate::cli::error::Error;
use crate::cli::scheduled::{self, Delivery};
use crate::control::client::{Client, ClientError};
use crate::control::folder::Folder;
use crate::control::request::{Answer, Request, Told};
use crate::control::schedules::due::{Turn, rate};
use crate::control::when::When;
use crate::format::schedule::{Occasion, Schedule, Task};
use crate::limits;
use crate::time::{TimeZone, Timestamp};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often it is looked whose turn it is.
const LOOK: Duration = Duration::from_millis(500);

/// Looks, and begins what is to be done.
pub(super) struct Clock {
    /// There may be something to do; while there is not, nobody is asked.
    wanted: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Clock {
    pub(super) fn start(folder: &Arc<Folder>, news: &Arc<News>) -> Clock {
        let wanted = Arc::new(AtomicBool::new(true));
        let looking = Looking {
            folder: Arc::clone(folder),
            news: Arc::clone(news),
            wanted: Arc::clone(&wanted),
            under_way: Arc::default(),
            probes: HashMap::new(),
        };
        Clock {
            wanted,
            thread: thread::Builder::new().spawn(move || looking.run()).ok(),
        }
    }

    /// The list is another one.
    pub(super) fn look(&self) {
        self.wanted.store(true, Ordering::Release);
    }

    /// Waits for its end.
    pub(super) fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Looking {
    folder: Arc<Folder>,
    news: Arc<News>,
    wanted: Arc<AtomicBool>,
    under_way: Arc<Mutex<HashSet<u64>>>,
    /// By number: commands whose success is waited for.
    probes: HashMap<u64, Arc<Probe>>,
}

impl Looking {
    fn run(mut self) {
        loop {
            let is_last = self.news.is_ending();
            if self.wanted.load(Ordering::Acquire) {
                self.look();
            }
            if is_last {
                break;
            }
            let mut state = self.news.state.lock();
            if !state.ending {
                self.news.changed.wait_for(&mut state, LOOK);
            }
        }
        // What is under way and not in a hurry stops by itself. What was recorded meanwhile goes out, too.
        while !self.under_way.lock().is_empty() {
            while !self.under_way.lock().is_empty() {
                thread::sleep(Duration::from_millis(20));
            }
            self.look();
        }
    }

    fn look(&mut self) {
        // What ends while it is asked is not begun again because of an answer from before.
        let under_way = self.under_way.lock().clone();
        let Ok(Answer::Schedules { schedules }) = ask(&self.folder, &Request::Schedules) else {
            return;
        };
        if schedules.is_empty() {
            self.wanted.store(false, Ordering::Release);
        }
        let is_there = |number: &u64| schedules.iter().any(|(one, _)| one.number == *number);
        self.probes.retain(|number, probe| {
            let stays = is_there(number);
            probe.ended.store(!stays, Ordering::Release);
            stays
        });
        let rest = schedules.into_iter();
        for (schedule, turn) in rest.filter(|(one, _)| !under_way.contains(&one.number)) {
            let hasty = match turn {
                Turn::Now { hasty, .. } => hasty,
                Turn::Later { .. } if self.has_succeeded(&schedule) => false,
                Turn::Later { .. } | Turn::Waits { .. } => continue,
            };
            // No state is made any more when the mount has gone.
            let is_sent = matches!(schedule.task, Task::Backup { .. });
            if self.news.is_ending() && !(hasty && is_sent) {
                continue;
            }
            self.begin(schedule, hasty);
        }
    }

    /// Whether the command that it waits for has succeeded since it was asked the last time.
    fn has_succeeded(&mut self, schedule: &Schedule) -> bool {
        let Occasion::Success(command) = &schedule.occasion else {
            return false;
        };
        let number = schedule.number;
        let probe = self
            .probes
            .entry(number)
            .or_insert_with(|| Probe::start(command.clone()));
        let zone = TimeZone::system();
        let window = schedule.window.filter(|_| schedule.limit.is_none());
        let waits = window.is_some_and(|window| !window.is_open(Timestamp::now(), &zone));
        !waits && probe.succeeded.swap(false, Ordering::AcqRel)
    }

    fn begin(&self, schedule: Schedule, hasty: bool) {
        let number = schedule.number;
        if !self.under_way.lock().insert(number) {
            return;
        }
        let turn = Doing {
            schedule,
            hasty,
            folder: Arc::clone(&self.folder),
            news: Arc::clone(&self.news),
            probe: self.probes.get(&number).cloned(),
        };
        let under_way = Arc::clone(&self.under_way);
        let started = thread::Builder::new().spawn(move || {
            turn.run();
            under_way.lock().remove(&number);
        });
        if started.is_err() {
            self.under_way.lock().remove(&number);
        }
    }
}

/// Something that is being done.
struct Doing {
    schedule: Schedule,
    hasty: bool,
    folder: Arc<Folder>,
    news: Arc<News>,
    probe: Option<Arc<Probe>>,
}

impl Doing {
    fn run(&self) {
        let number = self.schedule.number;
        let tell = |told| {
            // A daemon that can't be told has ended, and the next one does it again.
            let _ = ask(&self.folder, &Request::ScheduleTold { number, told });
        };
        tell(Told::Began);
        let began = When(Timestamp::now());
        let told = match self.work() {
            Ok(epoch) => Told::Done {
                began,
                epoch,
                hasty: self.hasty,
            },
            // The end of the mount: it is due when it is mounted again.
            Err(Error::Archive(ArchiveError::Interrupted)) => return,
            Err(error) => {
                if let Some(probe) = &self.probe {
                    // What it was due for has happened, and it is to be done all the same.
                    probe.succeeded.store(true, Ordering::Release);
                }
                Told::Failed {
                    reason: error.to_string(),
                }
            }
        };
        tell(told);
    }

    fn ask(&self, request: &Request) -> Result<Answer, Error> {
        ask(&self.folder, request).map_err(|error| match error {
            ClientError::Answered(refusal) if refusal.is_interrupt() => {
                ArchiveError::Interrupted.into()
            }
            error => Error::Usage(error.to_string()),
        })
    }

    fn work(&self) -> Result<u64, Error> {
        match &self.schedule.task {
            Task::Snapshot { name, keep } => {
                let ask = |request| self.ask(&request);
                let made = scheduled::snapshot(self.schedule.number, name, *keep, &ask);
                made.map(|(_, epoch)| epoch)
            }
            Task::Backup {
                url,
                kind,
                password,
            } => {
                if !self.news.is_ending() {
                    self.ask(&Request::Sync)?;
                }
                let feed =
                    Client::connect(&self.folder).and_then(|client| client.export(None, &Nobody));
                let mut feed = feed.map_err(|error| Error::Usage(error.to_string()))?;
                let (schedule, news) = (self.schedule.clone(), Arc::clone(&self.news));
                let hasty = self.hasty;
                let zone = TimeZone::system();
                let delivery = Delivery {
                    url,
                    password,
                    plan: scheduled::plan(*kind, hasty),
                    rate: Some(Box::new(move || {
                        let free = hasty || news.is_urgent();
                        rate(&schedule, Timestamp::now(), &zone).filter(|_| !free)
                    })),
                    progress: &|_| (),
                    cancelled: &|| self.news.is_ending() && !hasty,
                };
                delivery.run(&mut feed, &mut None).map(|(epoch, _)| epoch)
            }
        }
    }
}

/// A command that is run again and again until it succeeds, after it has failed.
struct Probe {
    succeeded: AtomicBool,
    ended: AtomicBool,
}

impl Probe {
    fn start(command: String) -> Arc<Probe> {
        let probe = Arc::new(Probe {
            succeeded: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let own = Arc::clone(&probe);
        // Without a thread it never succeeds, which is seen where its turn is shown.
        let _ = thread::Builder::new().spawn(move || {
            let mut before = false;
            while !own.ended.load(Ordering::Acquire) {
                let now = succeeds(&command);
                if now && !before {
                    own.succeeded.store(true, Ordering::Release);
                }
                before = now;
                let until = Instant::now() + limits::PROBE_EVERY;
                while Instant::now() < until && !own.ended.load(Ordering::Acquire) {
                    thread::sleep(LOOK);
                }
            }
        });
        probe
    }
}

/// One that takes too long has failed, and is ended with all that it started.
fn succeeds(command: &str) -> bool {
    let started = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    let Ok(mut child) = started else {
        return false;
    };
    let until = Instant::now() + limits::PROBE_WAIT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(20)),
            _ => {
                if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
                    let _ =
                        rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
                let _ = child.wait();
                return false;
            }
        }
    }
}
