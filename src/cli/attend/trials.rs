//! Drills that run by themselves: one at a time, each in its turn, with what the machine has to spare.

use super::{News, ask};
use crate::cli::args;
use crate::cli::command::drill::{Worker, usual};
use crate::control::drills::{self, DrillReport};
use crate::control::folder::Folder;
use crate::control::report::Status;
use crate::control::request::{Answer, Request};
use crate::format::drill::DrillPlan;
use crate::format::replica::Replica;
use crate::time::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is looked whether one is due, at least.
const LOOK: Duration = Duration::from_secs(60);
/// When it is looked again where nothing has come yet.
const NOTHING_YET: Duration = Duration::from_secs(2);
/// And at most.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Tries each replica when it is its time, until the daemon ends.
pub(super) fn keep(folder: &Arc<Folder>, store: &Path, news: &Arc<News>) {
    loop {
        let generation = news.state.lock().generation;
        let pause = match next(folder) {
            Some((due, replica, plan)) => {
                let now = Timestamp::now();
                if due <= now {
                    try_it(folder, store, news, &replica, &plan);
                    LOOK_AGAIN
                } else {
                    due.since(now).clamp(LOOK_AGAIN, LOOK)
                }
            }
            None => LOOK,
        };
        let until = Instant::now() + pause;
        let mut state = news.state.lock();
        while Instant::now() < until && state.generation == generation {
            if state.ending {
                return;
            }
            news.changed.wait_until(&mut state, until);
        }
        if state.ending {
            return;
        }
    }
}

/// The replica that is to be tried next; none where nothing is yet.
fn next(folder: &Folder) -> Option<(Timestamp, Replica, DrillPlan)> {
    let Ok(Answer::Replicas { replicas, .. }) = ask(folder, &Request::Replicas) else {
        return None;
    };
    let Ok(Answer::Drills { reports, plans, .. }) = ask(folder, &Request::Drills) else {
        return None;
    };
    let there = status(folder)?.replicas;
    let mut all = Vec::new();
    for replica in replicas {
        let is_there = |line: &crate::control::report::ReplicaLine| {
            line.url == replica.url && line.time.is_some()
        };
        let plan = drills::plan_of(&plans, &replica.url);
        let last = reports
            .iter()
            .rev()
            .find(|report| report.url == replica.url);
        if let Some(mut due) = drills::due(&plan, replica.added, last) {
            if !there.iter().any(is_there) {
                due = due.max(Timestamp::now().plus(NOTHING_YET));
            }
            all.push((due, replica, plan));
        }
    }
    all.into_iter().min_by_key(|(due, ..)| *due)
}

fn status(folder: &Folder) -> Option<Box<Status>> {
    match ask(folder, &Request::Status) {
        Ok(Answer::Status(status)) => Some(status),
        _ => None,
    }
}

fn try_it(folder: &Folder, store: &Path, news: &Arc<News>, replica: &Replica, plan: &DrillPlan) {
    let Some(status) = status(folder) else { return };
    let mut away = vec![PathBuf::from(&status.dir), store.to_owned()];
    if let Some(mounted) = &status.mounted {
        away.push(PathBuf::from(&mounted.mountpoint));
    }
    away.dedup();
    let began = Timestamp::now();
    let worker = Worker {
        url: &replica.url,
        opening: args::Opening::of(&replica.password),
        away,
        folders: usual(store),
        sample: (plan.percent < 100).then_some(plan.percent),
        seed: None,
        check: &[],
        attended: true,
    };
    let report = match worker.run(&|| news.state.lock().ending) {
        Ok((Some(report), _)) => report,
        // The mount has gone: another time.
        Ok((None, _)) => return,
        Err(error) => DrillReport::failed(&replica.url, began, error.to_string()),
    };
    if !report.ok {
        log::warn!(
            "the drill of {} failed: {}",
            report.url,
            report.problems.join("; ")
        );
    }
    // A daemon that can't be told now has ended; the drill is due again.
    let report = Box::new(report);
    let _ = ask(folder, &Request::DrillEnded { report });
}
