//! A store that does not answer, for a while or for long.

use super::*;

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
            pending_weight: 40 * limits::EPOCH_WEIGHT,
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

/// Files that are there when the first import begins, and how many of them may be kept for it.
const OLD_FILES: usize = 3000;
const KEPT: u64 = 20;

#[test]
fn a_store_that_hangs_during_the_first_import_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    let hold = folder.path().join("hold");
    std::fs::write(&hold, "").expect("a file");
    let hooks = crate::capture::Hooks {
        hold: Some(hold.clone()),
        scan_kept: KEPT,
        ..crate::capture::Hooks::default()
    };
    let name = |n: usize| format!("file{n}");
    let scene = Scene::importing(Options { hooks, ..options() }, |dir| {
        for n in 0..OLD_FILES {
            std::fs::write(dir.join(name(n)), n.to_string()).expect("a file");
        }
    });
    // It is found by the look-up, so the removal has something to keep.
    let remove = |n: usize| {
        scene.ino(&name(n));
        scene.live.unlink(&CALLER, 1, name(n).as_bytes())
    };
    scene.kv.hold(true);
    std::fs::remove_file(&hold).expect("our file");
    scene.wait_for("a call that lasts", || {
        scene.store.longest_call() >= limits::STORE_SLOW
    });
    for n in 0..OLD_FILES / 2 {
        remove(n).expect("a live operation neither fails nor waits");
    }
    assert!(!scene.is_stopped(), "the store has not hung for so long");
    scene.kv.hold(false);
    // Who goes on removing waits for a part of what was put off, not for all of it.
    let mut early = 0;
    for n in OLD_FILES / 2..OLD_FILES {
        scene.wait_for("one more to be removed", || remove(n).is_ok());
        early += u64::from(scene.live.recorder().kept_for_scan() > KEPT as usize + 1);
    }
    assert!(early > 0, "each waited until next to nothing was kept");
    scene
        .live
        .recorder()
        .sync(Patience::ENDLESS)
        .expect("recorded");
    let history = History::new(scene.store.clone());
    let view = history.view();
    let first = view.snapshot("first").expect("read").expect("it is whole");
    let listed = view
        .list_at(FileId::ROOT, first.epoch, None, usize::MAX)
        .expect("read");
    let there = listed.iter().filter(|(name, ..)| name.starts_with(b"file"));
    assert_eq!(there.count(), OLD_FILES, "what was there at the mount");
    drop(view);
    scene.must_be_recorded("after");
    assert_eq!(scene.live.recorder().status().lost_files, 0);
    scene.end();
}

#[test]
fn what_is_noted_for_a_store_that_does_not_answer_takes_no_memory_without_end() {
    let weight = 10 * limits::EPOCH_WEIGHT;
    let scene = Scene::new(Options {
        settle: Duration::ZERO,
        hooks: crate::capture::Hooks {
            pending_weight: weight,
            ..crate::capture::Hooks::default()
        },
        ..options()
    });
    scene.kv.hold(true);
    // The second cuts, and what it cuts is to be recorded.
    scene.overwrite("old", b"1");
    scene.overwrite("old", b"2");
    scene.wait_for("a call that lasts", || {
        scene.store.longest_call() >= limits::STORE_SLOW
    });
    let make = |n: u64| {
        let name = format!("new{n}");
        let kind = libc::S_IFREG | 0o644;
        scene.live.mknod(&CALLER, 1, name.as_bytes(), kind, 0, 0)
    };
    let refused = (0..10 * weight).find(|n| make(*n).is_err());
    let refused = refused.expect("a bound");
    let bound = weight * limits::NOTES_SLOW_TIMES;
    assert!(
        (weight..=bound).contains(&refused),
        "{refused} were noted, {bound} may be"
    );
    // Nobody waits for long: history stops when the store is more than slow.
    scene.wait_for("that one, too", || make(refused).is_ok());
    assert!(scene.is_stopped());
    scene.kv.hold(false);
    scene.must_resume("the store does not answer");
    scene.end();
}
