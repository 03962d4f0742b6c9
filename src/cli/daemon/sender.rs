//! The process that brings replicas up to date: there while there are any. It asks this one for what
//! is to be sent, and has the connections to providers and the passwords, so that these stay out of the
//! process that serves the mount; when this one ends, that one does (its standard input ends).

use crate::control::replicas::Replication;
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
    ending: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
}

impl Sender {
    /// Begins to look after the replicas of a store.
    pub fn start(folder: PathBuf, store: Arc<Store>, replication: Arc<Replication>) -> Sender {
        let ending = Arc::new(AtomicBool::new(false));
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
    }
}

fn keep(folder: &PathBuf, store: &Store, replication: &Replication, ending: &AtomicBool) {
    let mut child: Option<Child> = None;
    let mut pause = limits::REPLICA_FIRST_PAUSE;
    let mut not_before = Instant::now();
    while !ending.load(Ordering::Acquire) {
        let seen = replication.generation();
        let wanted = store.replicas().is_ok_and(|replicas| !replicas.is_empty());
        if let Some(running) = &mut child
            && let Ok(Some(status)) = running.try_wait()
        {
            if wanted {
                log::warn!("who sends to the replicas has ended ({status}) and is started again");
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
    stop(child, limits::REPLICA_END);
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
            log::error!("nothing is sent to replicas: {error}");
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
