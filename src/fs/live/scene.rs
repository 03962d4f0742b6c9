//! What the tests of the live tree and its recorder together, without FUSE, have in common: a
//! directory with its history in memory, and captures that can be stopped.

use super::Live;
use crate::capture::epoch::Held;
use crate::capture::{
    CaptureError, ContentChange, Hooks, NewSnapshot, Options, Patience, Recorder,
};
use crate::format::record::SnapshotMode;
use crate::fs::{Answer, Context, SetAttributes, Stop, Writer};
use crate::history::{History, path};
use crate::id::Epoch;
use crate::pattern::Rules;
use crate::store::Store;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) const CALLER: Context = Context {
    uid: 0,
    gid: 0,
    pid: 0,
    may_wait: true,
};

/// A directory with its history in memory.
pub(super) struct Scene {
    pub live: Arc<Live>,
    pub store: Arc<Store>,
    /// Where the files are.
    pub dir: PathBuf,
    hold: PathBuf,
    _dirs: [tempfile::TempDir; 2],
}

impl Scene {
    /// The clock is out of the way: only the test cuts.
    pub fn new(options: impl FnOnce(&mut Options)) -> Scene {
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let hold = dirs[1].path().join("hold");
        let mut all = Options {
            settle: Duration::from_secs(3600),
            interval: Duration::from_secs(3600),
            hooks: Hooks {
                hold: Some(hold.clone()),
                ..Hooks::default()
            },
            ..Options::default()
        };
        options(&mut all);
        let backing = crate::backing::Backing::open(dirs[0].path()).expect("a directory");
        let store = Store::in_memory().expect("a store");
        let recorder = Recorder::start(Arc::new(backing), store.clone(), all).expect("threads");
        recorder.sync(Patience::ENDLESS).expect("the scan ends");
        Scene {
            live: Live::new(recorder),
            store,
            dir: dirs[0].path().to_owned(),
            hold,
            _dirs: dirs,
        }
    }

    pub fn recorder(&self) -> &Recorder {
        self.live.recorder()
    }

    pub fn stop_capture(&self) {
        std::fs::write(&self.hold, "").expect("our folder");
    }

    pub fn let_capture(&self) {
        std::fs::remove_file(&self.hold).expect("our folder");
    }

    /// Other rules, from the next state on.
    pub fn leave_out(&self, rules: &Rules) {
        assert!(self.store.set_rules(rules, "", 0).expect("a store"));
        self.recorder().rules_changed().expect("a store");
    }

    pub fn make(&self, name: &str) -> u64 {
        let entry = until_done(|| {
            self.live
                .mknod(&CALLER, 1, name.as_bytes(), libc::S_IFREG | 0o644, 0, 0)
        });
        entry.expect("a file").attributes.expect("its number").ino
    }

    pub fn write(&self, ino: u64, at: u64, data: &[u8]) {
        let written = until_done(|| {
            self.live
                .write(&CALLER, ino, at, data, Writer::Caller, false)
        });
        assert_eq!(written, Ok(data.len() as u32));
    }

    pub fn set(&self, ino: u64, set: &SetAttributes) {
        until_done(|| self.live.setattr(&CALLER, ino, set)).expect("attributes");
    }

    /// Cuts, and does not wait for what follows.
    pub fn cut(&self, name: &str) {
        let cuts = self.recorder().cut_work().0;
        let patience = Patience {
            until: None,
            cancelled: &|| self.recorder().cut_work().0 > cuts,
        };
        let made = self.recorder().snapshot(new(name), patience);
        assert!(matches!(made, Err(CaptureError::Cancelled)), "{made:?}");
    }

    pub fn end(self) {
        self.recorder().finish(&|_| {}).expect("all is recorded");
    }

    /// The open epoch, of which a change of the file is now.
    pub fn open(&self, ino: u64) -> Epoch {
        let held = self.change(ino).expect("history is kept");
        held.body.number
    }

    /// What an operation holds that is about to change a file.
    pub fn change(&self, ino: u64) -> Option<Arc<Held>> {
        let inode = self.live.inodes.get(ino).expect("it is known");
        let actor = self.recorder().actor(0, 0);
        let change = ContentChange::Range(0..1);
        self.recorder()
            .content(&inode, &change, &actor)
            .expect("it need not wait")
    }

    /// Whether a file had content that was not recorded.
    pub fn is_left_out(&self, at: Epoch, name: &str) -> bool {
        let view = self.store.view();
        let found = path::walk(&view, at, [name.as_bytes()]).expect("a store");
        found.is_some_and(|found| found.inode.is_left_out())
    }

    pub fn content(&self, at: Epoch, name: &str) -> Vec<u8> {
        let view = self.store.view();
        let found = path::walk(&view, at, [name.as_bytes()]).expect("a store");
        let inode = found.expect("it is there").inode;
        let mut content = Vec::new();
        History::new(self.store.clone())
            .read(&view, inode.content, inode.size, 0, 1 << 20, &mut content)
            .expect("its content");
        content
    }
}

pub(super) fn new(name: &str) -> NewSnapshot {
    NewSnapshot {
        name: name.to_owned(),
        message: String::new(),
        mode: SnapshotMode::Incremental,
        by_uid: 0,
    }
}

/// As the pool does it: again and again while it has to wait.
pub(super) fn until_done<T>(operation: impl Fn() -> Answer<T>) -> Answer<T> {
    loop {
        match operation() {
            Err(Stop::Park(_)) => std::thread::yield_now(),
            answer => return answer,
        }
    }
}
