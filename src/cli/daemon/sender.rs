//! The process that brings replicas up to date, does what is done by itself, and fetches what a recovery
//! has still to bring: there while there is any of that. It asks this one for what
//! is to be sent, and has the connections to providers and the passwords, so that these stay out of the
//! process that serves the mount; when this one ends, that one does (its standard input ends).

use crate::capture::Recorder;
use crate::control::danger::{self, Signs};
use crate::control::hooks::happenings::Happenings;
use crate::control::replicas::{self, Replication};
use crate::limits;
use crate::store::Store;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often it is looked whether the process is still there.
const LOOK: Duration = Duration::from_millis(500);

/// Sees to it that the process is there.
pub struct Sender {
    replication: Arc<Replication>,
    store: Arc<Store>,
    ending: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
}

impl Sender {
    /// Begins to look after the replicas of a store.
    pub fn start(
        dir: String,
        folder: PathBuf,
        store: Arc<Store>,
        replication: Arc<Replication>,
        recorder: Arc<Recorder>,
    ) -> Sender {
        let ending = Arc::new(AtomicBool::new(false));
        {
            let (store, ending) = (Arc::clone(&store), Arc::clone(&ending));
            let replication = Arc::clone(&replication);
            let look = move || watch(&dir, &recorder, &store, &replication, &ending);
            // It may wait for a store that hangs: nobody waits for its end.
            if let Err(error) = thread::Builder::new().name("danger".into()).spawn(look) {
                log::error!("nobody looks for signs of trouble: no thread: {error}");
            }
        }
        let own = Arc::clone(&store);
        let keep = {
            let (replication, ending) = (Arc::clone(&replication), Arc::clone(&ending));
            move || keep(&folder, &store, &replication, &ending)
        };
        let keeper = thread::Builder::new().name("sender".into()).spawn(keep);
        if let Err(error) = &keeper {
            log::error!("nothing is sent to replicas: no thread: {error}");
        }
        Sender {
            replication,
            store: own,
            ending,
            keeper: keeper.ok(),
        }
    }

    /// What is recorded is sent, within a bound; then nothing more.
    pub fn end(mut self) {
        self.ending.store(true, Ordering::Release);
        self.replication.end();
        if let Some(keeper) = self.keeper.take() {
            // It only panics if this program is wrong, and that was told.
            let _ = keeper.join();
        }
        if self.replication.is_in_danger() {
            match replicas::behind(&self.store, &self.replication) {
                behind if behind.is_empty() => {
                    log::info!("all that is recorded is at the replicas")
                }
                behind => log::warn!("not all that is recorded is at {}", behind.join(", ")),
            }
        }
    }
}

fn keep(folder: &PathBuf, store: &Store, replication: &Replication, ending: &AtomicBool) {
    let mut child: Option<Child> = None;
    let mut pause = limits::REPLICA_FIRST_PAUSE;
    let mut not_before = Instant::now();
    while !ending.load(Ordering::Acquire) {
        let seen = replication.generation();
        let wanted = is_wanted(store);
        replication.set_wanted(wanted && has_places(store));
        if let Some(running) = &mut child
            && let Ok(Some(status)) = running.try_wait()
        {
            if wanted {
                log::warn!(
                    "who speaks to the places elsewhere has ended ({status}) and is started again"
                );
                not_before = Instant::now() + pause;
                pause = (pause * 2).min(limits::REPLICA_LAST_PAUSE);
            }
            child = None;
        }
        match (wanted, child.is_some()) {
            (true, false) if Instant::now() >= not_before => child = start(folder),
            (false, true) => stop(child.take(), Duration::ZERO),
            _ => {}
        }
        replication.wait(seen, LOOK);
    }
    let patience = match replication.is_in_danger() {
        true => limits::DANGER_END,
        false => limits::REPLICA_END,
    };
    stop(child, patience);
}

/// Looks for signs of trouble, and for what hooks are to be told, where there is somebody to be told.
fn watch(
    dir: &str,
    recorder: &Recorder,
    store: &Store,
    replication: &Replication,
    ending: &AtomicBool,
) {
    let mut before = Signs::seen(recorder, store, Signs::default());
    let mut happenings = Happenings::now(dir, store);
    while !ending.load(Ordering::Acquire) {
        if has_places(store) {
            danger::look(recorder, store, replication, &mut before);
        }
        happenings.look(recorder, store, replication);
        thread::sleep(limits::DANGER_LOOK);
    }
}

/// Whether there is anything for it to do.
fn is_wanted(store: &Store) -> bool {
    has_places(store) || store.hooks().is_ok_and(|all| !all.is_empty())
}

/// Whether something is sent elsewhere, or done by itself.
fn has_places(store: &Store) -> bool {
    let replicas = store.replicas().is_ok_and(|all| !all.is_empty());
    let schedules = || store.schedules().is_ok_and(|all| !all.is_empty());
    replicas || schedules() || store.is_filling()
}

fn start(folder: &PathBuf) -> Option<Child> {
    let started = Command::new("/proc/self/exe")
        .arg("attend")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match started {
        Ok(child) => Some(child),
        Err(error) => {
            log::error!("nothing is sent or fetched: {error}");
            None
        }
    }
}

/// Waits for its end for a while, then ends it: what it has sent in part is garbage there, and the
/// next one begins anew.
fn stop(child: Option<Child>, patience: Duration) {
    let Some(mut child) = child else {
        return;
    };
    let until = Instant::now() + patience;
    while Instant::now() < until {
        match child.try_wait() {
            Ok(None) => thread::sleep(Duration::from_millis(20)),
            _ => return,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}
