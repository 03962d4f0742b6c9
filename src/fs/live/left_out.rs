//! What is left out, without FUSE: what a change of it costs, counted, and what becomes of what is
//! under way when the rules change.

use super::Live;
use super::scene::{CALLER, Scene, new};
use crate::capture::{Mark, Options, Patience, Recorder};
use crate::fs::{SetAttributes, Writer};
use crate::pattern::Rules;
use crate::store::Store;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn ino(live: &Live, parent: u64, name: &str) -> u64 {
    let entry = live
        .lookup(&super::scene::CALLER, parent, name.as_bytes())
        .expect("a look-up");
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
    assert!(store.set_rules(&rules, "", 0).expect("a store"));
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
        live.write(&CALLER, file, 0, &[round; 4096], Writer::Caller, false)
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
    live.write(&CALLER, file, 0, b"still open", Writer::Caller, false)
        .expect("a write");
    // No note, no cut, nothing stashed or kept.
    let status = recorder.status();
    assert_eq!((status.pending_files, status.pending_states), (0, 0));
    assert_eq!(status.pending_bytes, 0);
    assert_eq!(recorder.cut_work(), cuts);
    assert_eq!(recorder.inodes().kept().taken(), 0);
    assert!(inode.track.is_idle());
    recorder.finish(&|_| {}).expect("all is recorded");
}

fn smaller(max: u64) -> Rules {
    Rules {
        max_file_bytes: Some(max),
        ..Rules::default()
    }
}

#[test]
fn a_scan_by_new_rules_waits_for_who_changes_what_was_left_out() {
    let scene = Scene::new(|_| {});
    scene.leave_out(&Rules {
        patterns: vec!["*.out".to_owned()],
        ..Rules::default()
    });
    scene.recorder().sync(Patience::ENDLESS).expect("recorded");
    let ino = scene.make("file.out");
    scene.write(ino, 0, b"old");
    let held = scene.change(ino);
    scene.leave_out(&Rules::default());
    // It would have ended by then.
    let begun = Instant::now();
    while scene.recorder().status().scan.is_some() && begun.elapsed() < Duration::from_millis(300) {
        std::thread::yield_now();
    }
    std::fs::write(scene.dir.join("file.out"), "new").expect("the change");
    drop(held);
    let made = scene.recorder().snapshot(new("s"), Patience::ENDLESS);
    let made = made.expect("a snapshot").epoch;
    assert_eq!(scene.content(made, "file.out"), b"new");
    scene.end();
}

#[test]
fn what_was_small_is_kept_although_it_has_become_too_large() {
    let scene = Scene::new(|_| {});
    scene.leave_out(&smaller(100));
    scene.recorder().sync(Patience::ENDLESS).expect("recorded");
    let ino = scene.make("file");
    scene.stop_capture();
    scene.write(ino, 0, &[b'a'; 50]);
    let small = scene.open(ino);
    scene.cut("small");
    scene.write(ino, 50, &[b'b'; 200]);
    let large = scene.open(ino);
    scene.cut("large");
    scene.write(ino, 0, &[b'c'; 50]);
    scene.let_capture();
    scene.recorder().sync(Patience::ENDLESS).expect("recorded");
    assert_eq!(scene.content(small, "file"), [b'a'; 50]);
    assert!(scene.is_left_out(large, "file"));
    scene.end();
}

#[test]
fn a_state_from_before_new_rules_is_by_the_old_ones() {
    let scene = Scene::new(|_| {});
    scene.leave_out(&smaller(100));
    scene.recorder().sync(Patience::ENDLESS).expect("recorded");
    let [large, small] = ["large", "small"].map(|name| scene.make(name));
    scene.stop_capture();
    scene.write(large, 0, &[b'a'; 200]);
    scene.write(small, 0, &[b'a'; 50]);
    let by_old = scene.open(large);
    scene.cut("old");
    // Nothing of the large one is preserved.
    for (ino, byte) in [(large, b'b'), (small, b'b')] {
        scene.write(ino, 0, &[byte; 20]);
    }
    scene.leave_out(&Rules::default());
    scene.let_capture();
    scene.recorder().sync(Patience::ENDLESS).expect("recorded");
    assert!(scene.is_left_out(by_old, "large"));
    assert_eq!(scene.content(by_old, "small"), [b'a'; 50]);
    let made = scene.recorder().snapshot(new("s"), Patience::ENDLESS);
    let by_new = made.expect("a snapshot").epoch;
    let all = [[b'b'; 20].as_slice(), &[b'a'; 180]].concat();
    assert_eq!(scene.content(by_new, "large"), all);
    // The other way round: what was asked for before is there.
    scene.stop_capture();
    scene.write(small, 0, &[b'c'; 50]);
    let by_old = scene.open(small);
    scene.cut("again");
    scene.leave_out(&smaller(10));
    scene.write(small, 0, &[b'd'; 50]);
    scene.let_capture();
    scene.recorder().sync(Patience::ENDLESS).expect("recorded");
    assert_eq!(scene.content(by_old, "small"), [b'c'; 50]);
    scene.end();
}
