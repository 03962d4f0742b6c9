//! `.snapshots` on a store in memory, without FUSE: what the kernel would ask, and what it would
//! get.

mod browsing;
mod changing;
mod cost;
mod delta;
mod hostile;
mod listing;
mod past;

use super::node::Place;
use super::*;
use crate::capture::{CaptureError, NewSnapshot};
use crate::format::record::{EpochState, Inode, LostReason, Piece, Snapshot};
use crate::fs::live::LiveDir;
use crate::fs::{DirPlusSink, DirSink};
use crate::history::past::{Past, at, directory, file, symlink};
use crate::id::{FileId, SnapshotId};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

const OWNER: u32 = 1000;
/// Of the group GROUP.
const MEMBER: u32 = 1001;
const GROUP: u32 = 3000;
const SRC: u64 = 20;
/// What a `.snapshots` without states lists.
const OURS: [&str; 6] = [
    ".",
    "..",
    ".checkpoints",
    ".history",
    ".incremental",
    ".differential",
];

/// The live half: directories by nodeid, a clock, and a recorder that only knows the list.
#[derive(Clone)]
struct Stage {
    past: Arc<Mutex<Past>>,
    live: Arc<Mutex<BTreeMap<u64, LiveDir>>>,
    now: Timestamp,
}

impl Host for Stage {
    fn describe(&self, ino: u64) -> Answer<LiveDir> {
        let live = self.live.lock();
        let found = live.get(&ino).ok_or(STALE)?;
        Ok(LiveDir {
            id: found.id,
            path: found.path.clone(),
            attributes: found.attributes,
        })
    }

    fn snapshot(&self, new: NewSnapshot, _: Instant) -> Result<Snapshot, CaptureError> {
        if new.name == "slow" {
            return Err(CaptureError::TimedOut);
        }
        let mut past = self.past.lock();
        if past.store.view().snapshot(&new.name)?.is_some() {
            return Err(CaptureError::Exists(new.name));
        }
        past.epoch("2026-11-20T10:19", |draft| {
            draft.snapshot(&new.name);
        });
        let made = past.store.view().snapshot(&new.name)?;
        Ok(made.expect("just made"))
    }

    fn delete(&self, name: &str, by_uid: u32) -> Result<(), CaptureError> {
        if name == "held" {
            return Err(CaptureError::Held(name.to_owned()));
        }
        Ok(self.past.lock().store.remove_snapshot(name, by_uid)?)
    }

    fn rename(&self, old: &str, new: &str, by_uid: u32) -> Result<(), CaptureError> {
        let past = self.past.lock();
        Ok(past.store.rename_snapshot(old, new, by_uid)?)
    }

    fn is_member(&self, cx: &Context, group: u32) -> bool {
        cx.uid == MEMBER && group == GROUP
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}

fn live_dir(ino: u64, id: Option<u64>, path: &[&str]) -> LiveDir {
    LiveDir {
        id: id.map(FileId),
        path: path.iter().map(|name| name.as_bytes().to_vec()).collect(),
        attributes: Attributes {
            ino,
            kind: Kind::Dir,
            mode: 0o755,
            nlink: 2,
            uid: OWNER,
            gid: 100,
            rdev: 0,
            size: 0,
            blocks: 0,
            blksize: 4096,
            atime: FileTime::default(),
            mtime: FileTime::default(),
            ctime: FileTime::default(),
        },
    }
}

struct Scene {
    dir: Arc<SnapDir>,
    top: u64,
}

const ROOT_USER: Context = Context {
    uid: 0,
    gid: 0,
    pid: 1,
    may_wait: true,
};
const OTHER_USER: Context = Context {
    uid: 2000,
    ..ROOT_USER
};

/// 10:00 `first`: /src (id 2) with main.rs (id 3), link (4), a hard link /main.rs of 3. 10:05
/// main.rs is written. 10:10 `second`: src is renamed to lib, a new src (id 5) with new.rs (6).
fn scene() -> Scene {
    let mut past = Past::new();
    fill(&mut past);
    live_stage(past)
}

fn fill(past: &mut Past) {
    past.epoch("2026-11-20T10:00", |draft| {
        draft.root(directory());
        draft.put(2, 1, "src", directory());
        draft.bytes(3, 2, "main.rs", b"old");
        draft.name(3, 1, "main.rs", Kind::File);
        draft.put(4, 2, "link", symlink("main.rs"));
        draft.snapshot("first");
    });
    past.epoch("2026-11-20T10:05:00.5", |draft| {
        draft.bytes(3, 2, "main.rs", b"newer")
    });
    past.epoch("2026-11-20T10:10", |draft| {
        draft.unname(1, "src");
        draft.put(2, 1, "lib", directory());
        draft.put(5, 1, "src", directory());
        draft.bytes(6, 5, "new.rs", b"");
        draft.snapshot("second");
    });
}

fn live_stage(past: Past) -> Scene {
    let live = [
        (ROOT, live_dir(ROOT, Some(1), &[])),
        (SRC, live_dir(SRC, Some(5), &["src"])),
        (21, live_dir(21, Some(2), &["lib"])),
        (22, live_dir(22, None, &["unheard-of"])),
    ];
    on_stage(past, live)
}

fn on_stage<const N: usize>(past: Past, live: [(u64, LiveDir); N]) -> Scene {
    on_stage_with(past, live, None)
}

fn on_stage_with<const N: usize>(
    past: Past,
    live: [(u64, LiveDir); N],
    group: Option<u32>,
) -> Scene {
    let history = History::new(past.store.clone());
    let stage = Stage {
        past: Arc::new(Mutex::new(past)),
        live: Arc::new(Mutex::new(live.into_iter().collect())),
        now: at("2026-11-20T10:20"),
    };
    let options = SnapDirOptions {
        visible: false,
        name: b".snapshots".to_vec(),
        owner_uid: OWNER,
        group,
        snapshot_wait: Duration::from_secs(1),
    };
    let dir = SnapDir::with_host(history, Box::new(stage), options, TimeZone::UTC);
    // A hostile store may not even show its top.
    let top = dir.lookup_top(&ROOT_USER, ROOT).ok();
    let top = top.and_then(|entry| entry.attributes);
    let top = top.map_or(0, |attributes| attributes.ino);
    Scene { dir, top }
}

#[derive(Default)]
struct Plain {
    taken: Vec<(u64, u64, Kind, String)>,
    room: usize,
}

impl DirSink for Plain {
    fn plain(&mut self, ino: u64, offset: u64, kind: Kind, name: &[u8]) -> bool {
        let name = String::from_utf8_lossy(name).into_owned();
        let fits = self.taken.len() < self.room;
        if fits {
            self.taken.push((ino, offset, kind, name));
        }
        fits
    }
}

#[derive(Default)]
struct Plus {
    taken: Vec<(u64, u64, String)>,
    room: usize,
}

impl DirPlusSink for Plus {
    fn plus(&mut self, offset: u64, name: &[u8], entry: &Entry) -> bool {
        let name = String::from_utf8_lossy(name).into_owned();
        let ino = entry.attributes.expect("positive").ino;
        let fits = self.taken.len() < self.room;
        if fits {
            self.taken.push((ino, offset, name));
        }
        fits
    }
}

impl Scene {
    fn top_of(&self, host: u64) -> u64 {
        let entry = self.dir.lookup_top(&ROOT_USER, host).expect("a directory");
        entry.attributes.expect("positive").ino
    }

    fn lookup_top_attributes(&self) -> Attributes {
        let entry = self.dir.lookup_top(&ROOT_USER, ROOT);
        entry.expect("a directory").attributes.expect("positive")
    }

    fn lookup(&self, parent: u64, name: &str) -> Answer<Attributes> {
        let entry = self.dir.lookup(&ROOT_USER, parent, name.as_bytes())?;
        entry.attributes.ok_or(NO_ENTRY)
    }

    fn walk(&self, from: u64, path: &str) -> Attributes {
        let mut ino = from;
        let mut found = None;
        for name in path.split('/') {
            let attributes = self.lookup(ino, name).expect(path);
            ino = attributes.ino;
            found = Some(attributes);
        }
        found.expect("a path")
    }

    fn text(&self, path: &str) -> String {
        let mut out = Vec::new();
        let ino = self.walk(self.top, path).ino;
        let done = self.dir.read(&ROOT_USER, ino, 0, 100, &mut out);
        done.expect("readable");
        String::from_utf8(out).expect("text")
    }

    fn target(&self, parent: u64, name: &str) -> String {
        let ino = self.lookup(parent, name).expect("there").ino;
        let target = self.dir.readlink(&ROOT_USER, ino).expect("a symlink");
        String::from_utf8(target).expect("text")
    }

    /// All names, with a reply that holds `room` entries at a time.
    fn names(&self, ino: u64, room: usize) -> Vec<String> {
        let mut names = Vec::new();
        let mut offset = 0;
        loop {
            let mut sink = Plain {
                room,
                ..Plain::default()
            };
            let done = self.dir.readdir(&ROOT_USER, ino, offset, &mut sink);
            done.expect("a directory");
            match sink.taken.last() {
                Some((_, last, _, _)) => offset = *last,
                None => return names,
            }
            names.extend(sink.taken.into_iter().map(|(_, _, _, name)| name));
        }
    }
}

fn errno<T>(answer: Answer<T>) -> i32 {
    match answer {
        Err(Stop::Errno(errno)) => errno,
        Err(Stop::Park(_)) => panic!("parked"),
        Ok(_) => 0,
    }
}
