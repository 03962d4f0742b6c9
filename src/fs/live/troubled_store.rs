//! The live tree over a store that fails at every step there is, fills up, or does not answer: no
//! operation fails or waits, and history finds by itself what happened meanwhile.

use super::*;
use crate::capture::{CaptureError, NewSnapshot, Options, Patience};
use crate::format::record::SnapshotMode;
use crate::fs::{SetAttributes, Writer};
use crate::history::{History, path};
use crate::store::faulty::FaultyKv;
use crate::store::memory::MemoryKv;
use crate::store::{Store, StoreOptions};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A mounted directory without a mount, and the database below its store.
struct Scene {
    dir: TempDir,
    kv: Arc<FaultyKv>,
    store: Arc<Store>,
    live: Arc<Live>,
}

const CALLER: Context = Context {
    uid: 0,
    gid: 0,
    pid: 0,
    may_wait: true,
};
const BIG: usize = 20 << 20;

impl Scene {
    fn new(options: Options) -> Scene {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["old", "gone", "from", "over", "cut"] {
            std::fs::write(dir.path().join(name), name.repeat(100)).expect("a file");
        }
        std::fs::write(dir.path().join("big"), vec![7; BIG]).expect("a file");
        let kv = Arc::new(FaultyKv::new(Arc::new(MemoryKv::default())));
        let store = Store::on(kv.clone(), &StoreOptions::default()).expect("a store");
        let backing = crate::backing::Backing::open(dir.path()).expect("a directory");
        let recorder = Recorder::start(Arc::new(backing), store.clone(), options);
        let recorder = recorder.expect("a recorder");
        recorder.sync(Patience::ENDLESS).expect("the scan ends");
        let live = Live::new(recorder);
        Scene {
            dir,
            kv,
            store,
            live,
        }
    }

    fn ino(&self, name: &str) -> u64 {
        let entry = self.live.lookup(1, name.as_bytes()).expect("it is there");
        entry.attributes.expect("attributes").ino
    }

    fn overwrite(&self, name: &str, bytes: &[u8]) {
        let ino = self.ino(name);
        let written = self
            .live
            .write(&CALLER, ino, 0, bytes, Writer::Caller, false);
        let written = written.expect("a live operation neither fails nor waits");
        assert_eq!(written as usize, bytes.len());
    }

    fn truncate(&self, name: &str) {
        let set = SetAttributes {
            size: Some(0),
            ..SetAttributes::default()
        };
        let done = self.live.setattr(&CALLER, self.ino(name), &set);
        done.expect("a live operation neither fails nor waits");
    }

    /// One of each operation that destroys something.
    fn work(&self) {
        let live = &self.live;
        self.overwrite("old", b"new");
        live.mknod(&CALLER, 1, b"made", libc::S_IFREG | 0o644, 0, 0)
            .expect("mknod");
        let mut noise = Vec::with_capacity(500_000);
        let mut seed = 1_u64;
        while noise.len() < noise.capacity() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.push((seed >> 56) as u8);
        }
        self.overwrite("made", &noise);
        live.unlink(&CALLER, 1, b"gone").expect("unlink");
        live.rename(&CALLER, 1, b"from", 1, b"over", 0)
            .expect("rename");
        self.truncate("cut");
        live.mkdir(&CALLER, 1, b"folder", 0o755, 0).expect("mkdir");
    }

    fn snapshot(&self, name: &str) -> Result<crate::format::record::Snapshot, CaptureError> {
        let new = NewSnapshot {
            name: name.to_owned(),
            message: String::new(),
            mode: SnapshotMode::Incremental,
            by_uid: 0,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        self.live
            .recorder()
            .snapshot(new, Patience::until(deadline))
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.dir.path()).expect("a folder");
        let mut files = BTreeMap::new();
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                files.insert(name.into_owned(), std::fs::read(&path).expect("read"));
            }
        }
        files
    }

    /// A snapshot now is what the disk is now.
    fn must_be_recorded(&self, name: &str) {
        let epoch = self.snapshot(name).expect("a snapshot").epoch;
        let history = History::new(self.store.clone());
        let view = history.view();
        let files = self.files();
        let listed = view
            .list_at(FileId::ROOT, epoch, None, usize::MAX)
            .expect("read");
        let entries = std::fs::read_dir(self.dir.path()).expect("a folder");
        assert_eq!(listed.len(), entries.count());
        for (name, bytes) in files {
            let found = path::child(&view, epoch, FileId::ROOT, name.as_bytes());
            let found = found.expect("read").expect("recorded");
            let mut out = Vec::new();
            let (content, size) = (found.inode.content, found.inode.size);
            history
                .read(&view, content, size, 0, u32::MAX, &mut out)
                .expect("read");
            assert!(out == bytes, "{name} differs");
        }
    }

    fn wait_for(&self, what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < end, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn is_stopped(&self) -> bool {
        self.live.recorder().status().stopped.is_some()
    }

    /// The cause has gone: history goes on by itself.
    fn must_resume(&self, reason: &str) {
        self.kv.mend();
        self.wait_for("history to go on", || !self.is_stopped());
        self.must_be_recorded("after");
        let gaps = self.store.gaps().expect("read");
        assert!(gaps.iter().all(|gap| gap.reason == reason), "{gaps:?}");
        let last = gaps.last().expect("the time without history is recorded");
        assert!(last.to.is_some_and(|to| to >= last.from));
    }

    fn end(&self) {
        let ended = self.live.recorder().finish(&|_| {});
        ended.expect("all is recorded");
    }
}

/// Never by the clock: what is cut is cut by the test.
fn options() -> Options {
    Options {
        interval: Duration::from_secs(3600),
        ..Options::default()
    }
}

/// Breaks the store at its n-th step; false if the work is done in fewer.
fn break_at(n: u64, reason: &str, break_it: impl Fn(&FaultyKv, u64)) -> bool {
    let scene = Scene::new(options());
    break_it(&scene.kv, n);
    scene.work();
    let recorded = scene.live.recorder().sync(Patience::ENDLESS).is_ok();
    // The store may fail after that, by its own doing.
    if recorded && !scene.is_stopped() {
        scene.kv.mend();
        scene.must_be_recorded("untouched");
        scene.end();
        return false;
    }
    scene.wait_for("the stop", || scene.is_stopped());
    scene.overwrite("big", b"while nothing is recorded");
    assert!(matches!(
        scene.snapshot("refused"),
        Err(CaptureError::Stopped(_))
    ));
    scene.must_resume(reason);
    scene.end();
    true
}

/// Every n, some at a time: each waits until history is tried again.
fn break_everywhere(reason: &'static str, break_it: fn(&FaultyKv, u64)) -> u64 {
    let mut n = 0;
    loop {
        let rounds: Vec<_> = (n..n + 8)
            .map(|n| std::thread::spawn(move || break_at(n, reason, break_it)))
            .collect();
        let broke: Vec<bool> = rounds
            .into_iter()
            .map(|round| round.join().expect("a round that went well"))
            .collect();
        n += broke.iter().filter(|broke| **broke).count() as u64;
        if !broke.iter().all(|broke| *broke) {
            return n;
        }
    }
}

#[test]
fn a_disk_that_fills_at_any_step_stops_history_alone() {
    let steps = break_everywhere("the disk is full", |kv, n| kv.fill_after(n));
    assert!(steps >= 4, "only {steps} writes");
}

#[test]
fn a_write_that_fails_at_any_step_stops_history_alone() {
    let steps = break_everywhere("the disk of the store fails", |kv, n| kv.fail_after(n));
    assert!(steps >= 4, "only {steps} writes");
}

#[test]
fn a_read_that_fails_at_any_step_stops_history_alone() {
    let steps = break_everywhere("the disk of the store fails", |kv, n| {
        kv.fail_reads_after(n);
    });
    assert!(steps >= 2, "only {steps} reads");
}

#[test]
fn a_store_that_does_not_answer_keeps_nobody_waiting() {
    let scene = Scene::new(Options {
        settle: Duration::ZERO,
        ..options()
    });
    scene.overwrite("big", &vec![8; 1 << 20]);
    scene
        .live
        .recorder()
        .sync(Patience::ENDLESS)
        .expect("recorded");
    scene.kv.hold(true);
    // With such a `settle` each cuts, and the first keeps the committer in the store.
    scene.overwrite("old", b"1");
    scene.overwrite("old", b"2");
    scene.wait_for("a call that lasts", || {
        scene.store.longest_call() >= limits::STORE_SLOW
    });
    for round in 0..16 {
        scene.overwrite("old", &[b'a' + round]);
    }
    scene.overwrite("big", &vec![9; BIG]);
    scene.truncate("big");
    scene.live.unlink(&CALLER, 1, b"big").expect("unlink");
    scene.wait_for("history to stop", || scene.is_stopped());
    scene.overwrite("old", b"nothing is kept of this");
    let lasting = scene.store.open_gap().expect("known at once");
    assert_eq!(lasting.reason, "the store does not answer");
    scene.kv.hold(false);
    scene.must_resume("the store does not answer");
    scene.end();
}

/// What a state holds of `big`, or `None` if its content was lost.
fn big_in(history: &History, epoch: crate::id::Epoch) -> Option<Vec<u8>> {
    let view = history.view();
    let found = path::child(&view, epoch, FileId::ROOT, b"big");
    let inode = found.expect("read").expect("recorded").inode;
    let mut out = Vec::new();
    let (mut at, size) = (0, inode.size);
    while at < size {
        let mut piece = Vec::new();
        let read = history.read(&view, inode.content, size, at, 1 << 20, &mut piece);
        if read.is_err() {
            return None;
        }
        at += piece.len() as u64;
        out.append(&mut piece);
    }
    Some(out)
}

#[test]
fn what_is_destroyed_while_it_is_read_is_lost_and_never_half_recorded() {
    let scene = Scene::new(Options {
        settle: Duration::ZERO,
        hooks: crate::capture::Hooks {
            stash_bytes: 4096,
            ..crate::capture::Hooks::default()
        },
        ..options()
    });
    scene.kv.hold(true);
    // Two states that hold other bytes of it, both still to be recorded; a capture of the first
    // is stopped in the midst.
    scene.overwrite("big", &[8; 2000]);
    scene.overwrite("old", b"1");
    scene.overwrite("old", b"2");
    scene.overwrite("big", &[8; 3000]);
    scene.overwrite("old", b"3");
    scene.wait_for("a call that lasts", || {
        scene.store.longest_call() >= limits::STORE_SLOW
    });
    let ino = scene.ino("big");
    scene.wait_for("the writer to go on without it", || {
        let bytes = vec![9; BIG];
        let written = scene
            .live
            .write(&CALLER, ino, 0, &bytes, Writer::Caller, false);
        written.is_ok_and(|written| written as usize == BIG)
    });
    assert!(!scene.is_stopped(), "the store has not hung for so long");
    scene.kv.hold(false);
    scene
        .live
        .recorder()
        .sync(Patience::ENDLESS)
        .expect("recorded");
    let history = History::new(scene.store.clone());
    let states = history
        .view()
        .epochs(crate::id::Epoch::NONE, crate::id::Epoch::MAX, 100)
        .expect("read");
    let start = |eights: usize| {
        let mut bytes = vec![7; BIG];
        bytes[..eights].fill(8);
        bytes
    };
    let real = [start(0), start(2000), start(3000), vec![9; BIG]];
    let mut lost = 0;
    for (epoch, ..) in states {
        match big_in(&history, epoch) {
            Some(bytes) => assert!(real.contains(&bytes), "a state that never was"),
            None => lost += 1,
        }
    }
    assert!(lost > 0, "nothing was destroyed");
    scene.end();
}

#[test]
fn while_one_file_is_recorded_for_long_others_are_kept_without_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    let hold = folder.path().join("hold");
    let scene = Scene::new(Options {
        settle: Duration::ZERO,
        hooks: crate::capture::Hooks {
            hold: Some(hold.clone()),
            ..crate::capture::Hooks::default()
        },
        ..options()
    });
    let states = || {
        let (none, all) = (crate::id::Epoch::NONE, crate::id::Epoch::MAX);
        scene
            .store
            .view()
            .epochs(none, all, 1000)
            .expect("read")
            .len()
    };
    let before = states();
    std::fs::write(&hold, "").expect("a file");
    for round in 0..100_u8 {
        // Each destroys what the one before has written.
        scene.overwrite("old", &[round; 300]);
    }
    std::fs::remove_file(&hold).expect("our file");
    scene
        .live
        .recorder()
        .sync(Patience::ENDLESS)
        .expect("recorded");
    assert!(states() >= before + 100, "{} states", states() - before);
    scene.end();
}

#[test]
fn a_full_memory_keeps_nobody_waiting_for_a_store_that_does_not_answer() {
    let scene = Scene::new(Options {
        settle: Duration::ZERO,
        hooks: crate::capture::Hooks {
            stash_bytes: 8 << 20,
            ..crate::capture::Hooks::default()
        },
        ..options()
    });
    scene.kv.hold(true);
    scene.overwrite("big", &[8; 2000]);
    scene.overwrite("old", b"1");
    scene.overwrite("old", b"2");
    scene.wait_for("a call that lasts", || {
        scene.store.longest_call() >= limits::STORE_SLOW
    });
    // More than the memory that there is as long as the store answers.
    let (ino, piece) = (scene.ino("big"), vec![9; 1 << 20]);
    for at in 0..20 {
        let written = scene
            .live
            .write(&CALLER, ino, at << 20, &piece, Writer::Caller, false);
        let written = written.expect("a live operation neither fails nor waits");
        assert_eq!(written as usize, piece.len());
    }
    assert!(!scene.is_stopped(), "the store has not hung for so long");
    scene.kv.hold(false);
    scene
        .live
        .recorder()
        .sync(Patience::ENDLESS)
        .expect("recorded");
    scene.must_be_recorded("all");
    assert_eq!(scene.live.recorder().status().lost_files, 0);
    scene.end();
}

#[test]
fn beyond_the_bound_of_notes_nobody_waits_for_a_store_that_does_not_answer() {
    let scene = Scene::new(Options {
        settle: Duration::ZERO,
        hooks: crate::capture::Hooks {
            pending_weight: 10 * limits::EPOCH_WEIGHT,
            ..crate::capture::Hooks::default()
        },
        ..options()
    });
    scene.kv.hold(true);
    scene.overwrite("old", b"1");
    scene.overwrite("old", b"2");
    scene.wait_for("a call that lasts", || {
        scene.store.longest_call() >= limits::STORE_SLOW
    });
    let (old, over) = (scene.ino("old"), scene.ino("over"));
    for round in 0..50_u8 {
        // The first cuts, the second notes one more file.
        for ino in [old, over] {
            let written = scene
                .live
                .write(&CALLER, ino, 0, &[round; 300], Writer::Caller, false);
            assert_eq!(written, Ok(300), "round {round}");
        }
    }
    assert!(!scene.is_stopped(), "the store has not hung for so long");
    scene.kv.hold(false);
    scene
        .live
        .recorder()
        .sync(Patience::ENDLESS)
        .expect("recorded");
    scene.must_be_recorded("all");
    assert_eq!(scene.live.recorder().status().lost_files, 0);
    scene.end();
}
