//! What the past does not have, and what must not be touched because of that.

use super::*;
use crate::backing;
use crate::format::record::{Content, LostReason};
use crate::history::History;
use crate::history::past::{self, Past, directory};
use crate::id::Epoch;
use parking_lot::Mutex;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Tell for Heard {
    fn change(&self, change: Change, path: &[u8]) {
        let path = String::from_utf8_lossy(path);
        self.0.lock().push(format!("{} {path}", change.letter()));
    }
    fn trouble(&self, trouble: Trouble, path: &[u8], _: &str) {
        let path = String::from_utf8_lossy(path);
        self.0.lock().push(format!("{trouble:?} {path}"));
    }
    fn kept(&self, path: &[u8], _: &str) {
        self.0
            .lock()
            .push(format!("kept {}", String::from_utf8_lossy(path)));
    }
    fn progress(&self, _: &Tally) {}
    fn interrupted(&self) -> bool {
        false
    }
}

/// Restores all of the state into a folder; what was heard, sorted.
fn run(past: &Past, at: Epoch, folder: &Path, in_place: bool) -> (Tally, Vec<String>) {
    let top = fs::File::open(folder).expect("a folder");
    let device = backing::stat_fd(top.as_fd()).expect("stat").dev;
    let options = Options {
        delete: true,
        dry_run: false,
        overwrite: Overwrite::Always,
        in_place,
        snapdir: Some(b".snapshots".to_vec()),
        since: None,
        left_out: LeftOut::default(),
        device,
    };
    let source = Recorded::new(History::new(past.store.clone()), at);
    let heard = Heard::default();
    let live = Folder::new(top.into());
    let (tally, _) = restore(&source, &live, &[Vec::new()], &options, &heard);
    let mut heard = heard.0.into_inner();
    heard.sort();
    (tally, heard)
}

/// As root: nothing else than what a test wants differs.
fn own(mut inode: crate::format::record::Inode) -> crate::format::record::Inode {
    inode.uid = rustix::process::geteuid().as_raw();
    inode.gid = rustix::process::getegid().as_raw();
    inode
}

#[test]
fn what_is_lost_leaves_what_is_there_and_hides_nothing_else() {
    for in_place in [true, false] {
        let mut past = Past::new();
        let at = past.epoch("2026-11-20T10:00", |draft| {
            draft.root(own(directory()));
            let lost = Content::Lost(LostReason::TooSlow);
            draft.put(2, 1, "lost", own(past::file(lost, 100)));
            draft.put(3, 1, "lost-and-a-folder-now", own(past::file(lost, 100)));
            let chunk = Content::Chunk(draft.chunk(b"content"));
            draft.put(4, 1, "there", own(past::file(chunk, 7)));
        });
        let folder = tempfile::tempdir().expect("a folder");
        let inside = |name: &str| folder.path().join(name);
        fs::write(inside("lost"), "what is there now").expect("write");
        fs::create_dir(inside("lost-and-a-folder-now")).expect("mkdir");
        fs::write(inside("lost-and-a-folder-now/file"), "x").expect("write");
        fs::create_dir(inside(".snapshots")).expect("mkdir");
        let (tally, heard) = run(&past, at, folder.path(), in_place);
        assert_eq!(
            heard,
            [
                "A there",
                "NotRecoverable lost",
                "NotRecoverable lost-and-a-folder-now",
                "kept .snapshots",
                "m "
            ]
        );
        assert_eq!((tally.not_recoverable, tally.kept), (2, 1));
        let now = |name: &str| fs::read_to_string(inside(name)).expect("readable");
        assert_eq!(now("lost"), "what is there now");
        assert_eq!(now("lost-and-a-folder-now/file"), "x");
        assert_eq!(now("there"), "content");
        let names = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(names, 4, "nothing half-made is left");
    }
}
