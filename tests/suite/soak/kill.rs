//! The daemon dies at any moment: while it starts, during the first import, while it looks for what
//! changed, during snapshots, while much is removed, in plain work.

use super::check::{self, Asked, Looked, Session, Truth};
use super::model::{Model, Taste};
use super::record::{Load, Record, is_death};
use super::{random, rounds};
use crate::harness::mount::{self, daemons_of, has_ended};
use crate::harness::run::wait;
use crate::harness::{Cmd, Mounted, Sandbox, sys, wait_for};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const WRITERS: usize = 3;
const SETTLE: Duration = Duration::from_millis(100);

/// What is going on when the daemon dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum During {
    Import,
    Snapshot,
    Delete,
    Drift,
    Plain,
}

/// A new store is begun with each turn of these, so that a round stays short.
const TURN: [During; 5] = [
    During::Import,
    During::Snapshot,
    During::Delete,
    During::Drift,
    During::Plain,
];

struct Kill {
    sandbox: Sandbox,
    truth: Truth,
    random: StdRng,
    looked: Looked,
}

#[test]
fn nothing_is_lost_and_every_state_is_whole_whenever_the_daemon_dies() {
    let mut random = random("kill");
    let rounds = rounds(15, 5);
    let mut looked = Looked::default();
    let mut turn: Option<Kill> = None;
    for round in 0..rounds {
        let during = TURN[usize::try_from(round).expect("a number") % TURN.len()];
        let began = Instant::now();
        if during == During::Import {
            turn = Some(Kill::new(&mut random));
        }
        let kill = turn.as_mut().expect("a turn begins with an import");
        kill.round(during);
        let now = kill.looked;
        println!(
            "round {round}: {during:?}: {now:?} in {:?}",
            began.elapsed()
        );
        looked.states += now.states;
        looked.partial += now.partial;
        looked.snapshots += now.snapshots;
        looked.stood += now.stood;
    }
    println!("{rounds} kills: {looked:?}");
    assert!(looked.states as u64 > rounds, "states were looked at");
}

impl Kill {
    fn new(random: &mut StdRng) -> Kill {
        let mut kill = Kill {
            sandbox: Sandbox::new("kill"),
            truth: Truth::default(),
            random: StdRng::seed_from_u64(random.random()),
            looked: Looked::default(),
        };
        for writer in 0..WRITERS {
            let name = format!("w{writer}");
            let dir = kill.sandbox.work().join(&name);
            fs::create_dir(&dir).expect("mkdir");
            kill.truth.records.push(Record::of(&name, &dir));
        }
        // Something to be imported.
        kill.work_unmounted(Taste::Mixed, 150);
        crate::harness::source_files(&kill.sandbox.join("work/other"), 300);
        kill
    }

    /// The writers work in the directory itself, while nobody looks.
    fn work_unmounted(&mut self, taste: Taste, at_most: usize) {
        let stop = AtomicBool::new(false);
        let work = self.sandbox.work();
        for record in &mut self.truth.records {
            let load = Load {
                taste,
                settle: Duration::ZERO,
                session: usize::MAX,
                at_most,
                stop: &stop,
            };
            let dir = work.join(&record.name);
            record.work(&load, &dir, &mut self.random);
        }
    }

    fn options(&mut self) -> String {
        let interval = self.random.random_range(100..1500);
        format!("settle={}ms,interval={interval}ms", SETTLE.as_millis())
    }

    fn round(&mut self, during: During) {
        if during == During::Drift {
            self.work_unmounted(Taste::Mixed, 80);
        }
        let options = self.options();
        let begin = Timestamp::now();
        let at_start = matches!(during, During::Import | During::Drift);
        if at_start && self.random.random_bool(0.5) {
            self.kill_at_start(&options);
        } else if at_start {
            let mounted = self.sandbox.mount_now(&options);
            let after = Duration::from_micros(self.random.random_range(0..400_000));
            self.load_and_kill(mounted, Taste::Mixed, after, false);
        } else {
            let mounted = self.sandbox.mount(&options);
            let after = Duration::from_micros(self.random.random_range(0..1_200_000));
            let taste = match during {
                During::Delete => Taste::Remove,
                _ => Taste::Mixed,
            };
            self.load_and_kill(mounted, taste, after, during == During::Snapshot);
        }
        let end = Timestamp::now();
        self.truth.sessions.push(Session { begin, end });
        self.recover(&options);
    }

    /// Ends the daemon while `rewindfs mount` is still starting it.
    fn kill_at_start(&mut self, options: &str) {
        let work = self.sandbox.work();
        let cmd = Cmd::rewindfs()
            .arg("mount")
            .arg(&work)
            .args(["-o", options]);
        let mut starting = cmd.spawn();
        let after = Duration::from_micros(self.random.random_range(0..150_000));
        // A time, not a wait: this is when it dies.
        std::thread::sleep(after);
        let mut killed = Vec::new();
        let mut kill = || {
            for pid in daemons_of(&work, None) {
                sys::kill(pid, libc::SIGKILL);
                killed.push(pid);
            }
        };
        kill();
        let ended = wait(&mut starting, Duration::from_secs(60));
        assert!(
            ended.is_some(),
            "`rewindfs mount` ends when its daemon dies"
        );
        // One that was not there yet to be killed, or had nothing open yet.
        kill();
        wait_for("the end of the daemon", || {
            let begun = begun_for(&work);
            for pid in &begun {
                sys::kill(*pid, libc::SIGKILL);
            }
            killed.extend(&begun);
            begun.is_empty() && killed.iter().all(|pid| has_ended(*pid))
        });
    }

    fn load_and_kill(&mut self, mounted: Mounted, taste: Taste, after: Duration, often: bool) {
        let stop = AtomicBool::new(false);
        let session = self.truth.sessions.len();
        let snapshots = mounted.point.join(".snapshots");
        let point = mounted.point.clone();
        let seeds: Vec<u64> = (0..=WRITERS).map(|_| self.random.random()).collect();
        std::thread::scope(|scope| {
            for (record, seed) in self.truth.records.iter_mut().zip(&seeds) {
                let load = Load {
                    taste,
                    settle: SETTLE,
                    session,
                    at_most: usize::MAX,
                    stop: &stop,
                };
                let dir = point.join(&record.name);
                let mut random = StdRng::seed_from_u64(*seed);
                scope.spawn(move || record.work(&load, &dir, &mut random));
            }
            let asked = &mut self.truth.asked;
            let (stop, seed) = (&stop, seeds[WRITERS]);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed);
                let pause = if often { 30 } else { 400 };
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(random.random_range(0..pause)));
                    if !ask(asked, &snapshots, &mut random, true) {
                        return;
                    }
                }
            });
            // A time, not a wait: this is when it dies.
            std::thread::sleep(after);
            mounted.kill_and_leave();
            stop.store(true, Ordering::Relaxed);
        });
    }

    /// What a person would do next, and everything that can be checked.
    fn recover(&mut self, options: &str) {
        let work = self.sandbox.work();
        if mount::at(&work).is_some() && self.random.random_bool(0.5) {
            Cmd::rewindfs().arg("umount").arg(&work).run().ok();
            assert!(mount::at(&work).is_none(), "the dead mount is off");
        }
        let mounted = self.sandbox.mount(options);
        assert_eq!(mount::below(self.sandbox.path()).len(), 1, "one mount");
        for record in &mut self.truth.records {
            record.resolve(Model::read(&work.join(&record.name)).expect("the live tree"));
        }
        let listed = check::list(&work);
        let now = Instant::now();
        self.looked = self.truth.check(&mounted.point, &listed, now, now);
        self.check_newest(&mounted, &listed);
        mounted.umount();
        for record in &self.truth.records {
            let found = Model::read(&work.join(&record.name)).expect("the directory");
            assert_eq!(found.sum(), record.model.sum(), "the directory as mounted");
        }
        check::verify(&self.sandbox.store());
    }

    /// What was found by the mount after the death is recorded.
    fn check_newest(&self, mounted: &Mounted, listed: &[check::Listed]) {
        let newest = listed.last().expect("something is listed");
        for record in &self.truth.records {
            let state = mounted.past(&format!("@{}", newest.time), &record.name);
            let found = Model::read(&state).expect("the newest state");
            assert_eq!(found.sum(), record.model.sum(), "the newest state is now");
        }
    }
}

/// The daemons that were started for a directory, as far as they live.
fn begun_for(work: &Path) -> Vec<i32> {
    let all = fs::read_dir("/proc").expect("/proc");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.contains(&b"serve".as_slice()) && words.contains(&work.as_os_str().as_bytes())
    })
    .collect()
}

/// Makes a snapshot, or deletes one; false when the daemon has died.
pub fn ask(asked: &mut Vec<Asked>, snapshots: &Path, random: &mut StdRng, deletes: bool) -> bool {
    let old = asked
        .iter_mut()
        .rev()
        .take(5)
        .find(|old| old.deleted.is_none() && matches!(old.end, Some((_, true))));
    if deletes
        && let Some(old) = old
        && random.random_bool(0.2)
    {
        old.deleted = Some(false);
        return match fs::remove_dir(snapshots.join(&old.name)) {
            Ok(()) => {
                old.deleted = Some(true);
                true
            }
            Err(error) if is_death(&error) => false,
            Err(error) => panic!("rmdir of {}: {error}", old.name),
        };
    }
    let name = format!("s{}", asked.len());
    let begin = Instant::now();
    let result = fs::create_dir(snapshots.join(&name));
    let died = result.as_ref().is_err_and(is_death);
    let end = match &result {
        Ok(()) => Some((Instant::now(), true)),
        Err(_) if died => None,
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Some((Instant::now(), false)),
        Err(error) => panic!("mkdir of the snapshot {name}: {error}"),
    };
    asked.push(Asked {
        name,
        begin,
        end,
        deleted: None,
    });
    !died
}
