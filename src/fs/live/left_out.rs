//! What a change costs in a folder that is left out: the look-up of a mark, counted.

use super::Live;
use crate::capture::{Mark, Options, Patience, Recorder};
use crate::fs::{Context, SetAttributes};
use crate::pattern::Rules;
use crate::store::Store;
use std::sync::Arc;

const CALLER: Context = Context {
    uid: 0,
    gid: 0,
    pid: 0,
    may_wait: true,
};

fn ino(live: &Live, parent: u64, name: &str) -> u64 {
    let entry = live.lookup(parent, name.as_bytes()).expect("a look-up");
    entry.attributes.expect("it is there").ino
}

#[test]
fn a_change_of_what_is_left_out_costs_the_look_up_of_its_mark() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(dir.path().join("out/deep")).expect("folders");
    std::fs::write(dir.path().join("out/deep/file"), vec![7; 100_000]).expect("a file");
    let store = Store::in_memory().expect("a store");
    let rules = Rules {
        patterns: vec!["/out/".to_owned()],
        ..Rules::default()
    };
    assert!(store.set_rules(&rules, 0).expect("a store"));
    let backing = Arc::new(crate::backing::Backing::open(dir.path()).expect("a directory"));
    let options = Options {
        settle: std::time::Duration::ZERO,
        interval: std::time::Duration::from_secs(3600),
        ..Options::default()
    };
    let recorder = Recorder::start(backing, store, options).expect("threads");
    recorder.sync(Patience::ENDLESS).expect("the scan ends");
    let live = Live::new(recorder.clone());
    let out = ino(&live, 1, "out");
    let deep = ino(&live, out, "deep");
    let file = ino(&live, deep, "file");
    let inode = recorder.inodes().get(file).expect("it was looked up");
    assert_eq!(recorder.mark(&inode), Mark::Out);
    let (cuts, marks) = (recorder.cut_work(), recorder.marks_made());
    for round in 0..100u8 {
        live.write(&CALLER, file, 0, &[round; 4096], false, false)
            .expect("a write");
        let set = SetAttributes {
            size: Some(50_000 + u64::from(round)),
            mode: Some(0o600),
            ..SetAttributes::default()
        };
        live.setattr(&CALLER, file, &set).expect("attributes");
    }
    assert_eq!(recorder.marks_made(), marks, "a mark is made once");
    live.mknod(&CALLER, deep, b"new", libc::S_IFREG | 0o644, 0, 0)
        .expect("a file");
    live.rename(&CALLER, deep, b"new", out, b"moved", 0)
        .expect("a rename");
    live.unlink(&CALLER, deep, b"file").expect("an unlink");
    live.write(&CALLER, file, 0, b"still open", false, false)
        .expect("a write");
    // No note, no cut, nothing stashed or kept.
    let status = recorder.status();
    assert_eq!((status.pending_files, status.pending_states), (0, 0));
    assert_eq!(status.pending_bytes, 0);
    assert_eq!(recorder.cut_work(), cuts);
    assert_eq!(recorder.inodes().kept_bytes(), 0);
    assert!(inode.track.is_idle());
    recorder.finish(&|_| {}).expect("all is recorded");
}
