//! The live tree over a store that fails at every step there is, or fills up, or (`hanging`) does not
//! answer: no operation fails or waits, and history finds by itself what happened meanwhile.

mod hanging;

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
        let scene = Scene::importing(options, |_| {});
        scene
            .live
            .recorder()
            .sync(Patience::ENDLESS)
            .expect("the scan ends");
        scene
    }

    /// The first import has begun; with more in the directory than usual.
    fn importing(options: Options, fill: impl FnOnce(&std::path::Path)) -> Scene {
        let dir = tempfile::tempdir().expect("a folder");
        fill(dir.path());
        for name in ["old", "gone", "from", "over", "cut"] {
            std::fs::write(dir.path().join(name), name.repeat(100)).expect("a file");
        }
        std::fs::write(dir.path().join("big"), vec![7; BIG]).expect("a file");
        let kv = Arc::new(FaultyKv::new(Arc::new(MemoryKv::default())));
        let store = Store::on(kv.clone(), &StoreOptions::default()).expect("a store");
        let backing = crate::backing::Backing::open(dir.path()).expect("a directory");
        let recorder = Recorder::start(Arc::new(backing), store.clone(), options);
        let recorder = recorder.expect("a recorder");
        let live = Live::new(recorder);
        Scene {
            dir,
            kv,
            store,
            live,
        }
    }

    fn ino(&self, name: &str) -> u64 {
        let entry = self
            .live
            .lookup(&CALLER, 1, name.as_bytes())
            .expect("it is there");
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
