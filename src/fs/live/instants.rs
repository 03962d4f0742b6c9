//! Tests of the live tree and its recorder together, without FUSE: the kernel lets nearly no two
//! operations on one file run at once, here they do.

use super::scene::{CALLER, Scene, new, until_done};
use crate::capture::{CaptureError, Patience, epoch};
use crate::fs::{SetAttributes, Stop, WaitsFor, Writer};
use crate::history::path;
use crate::id::Epoch;
use rustix::thread::gettid;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

fn number(variable: &str, usual: u64) -> u64 {
    let said = std::env::var(variable).ok();
    said.map_or(usual, |text| text.parse().expect("a number"))
}

#[test]
fn a_cut_touches_no_note_however_many_there_are() {
    for count in [10, 10_000] {
        let scene = Scene::new(|options| options.hooks.pending_weight = u64::MAX);
        // So the later cuts find earlier epochs that are still to be captured.
        scene.stop_capture();
        for round in 0..3 {
            let noted = epoch::entries_touched();
            for n in 0..count {
                scene.make(&format!("{round}-{n}"));
            }
            assert!(
                epoch::entries_touched() - noted >= count,
                "nothing is counted"
            );
            let (cuts, entries) = scene.recorder().cut_work();
            scene.cut(&format!("s{round}"));
            assert_eq!(scene.recorder().cut_work(), (cuts + 1, entries));
            assert_eq!(entries, 0);
        }
        scene.let_capture();
        scene.end();
    }
}

/// Several threads work on one file at once while snapshots are made one after another. One of them
/// writes `before`, empties `shared` and fills it, writes `after`; the others only change the mode
/// of `shared`, so that there is always somebody whom it waits for. An operation that took its epoch
/// before it got the lock would come behind one of a later epoch, and change what the earlier epoch
/// still needs.
#[test]
fn no_snapshot_holds_a_later_operation_without_an_earlier_one() {
    const SIZE: usize = 4096;
    let rounds = number("REWINDFS_ROUNDS", 300);
    let scene = Scene::new(|_| {});
    let [before, shared, after] = ["before", "shared", "after"].map(|name| scene.make(name));
    for (ino, len) in [(before, 8), (shared, SIZE), (after, 8)] {
        scene.write(ino, 0, &vec![0; len]);
    }
    let over = AtomicBool::new(false);
    let epochs: Vec<Epoch> = std::thread::scope(|scope| {
        let (scene, over) = (&scene, &over);
        scope.spawn(move || {
            let mut n = 0_u64;
            while !over.load(Ordering::Relaxed) {
                n += 1;
                scene.write(before, 0, &n.to_le_bytes());
                let empty = SetAttributes {
                    size: Some(0),
                    ..SetAttributes::default()
                };
                scene.set(shared, &empty);
                scene.write(shared, 0, &n.to_le_bytes().repeat(SIZE / 8));
                scene.write(after, 0, &n.to_le_bytes());
            }
        });
        for mode in [0o600, 0o640, 0o644] {
            scope.spawn(move || {
                let set = SetAttributes {
                    mode: Some(mode),
                    ..SetAttributes::default()
                };
                while !over.load(Ordering::Relaxed) {
                    scene.set(shared, &set);
                }
            });
        }
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let make = |n| {
                let made = scene
                    .recorder()
                    .snapshot(new(&format!("s{n}")), Patience::ENDLESS);
                made.expect("a snapshot").epoch
            };
            (0..rounds).map(make).collect()
        }));
        over.store(true, Ordering::Relaxed);
        made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let mut emptied = 0;
    for epoch in epochs {
        let value = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let first = value(&scene.content(epoch, "before"));
        let last = value(&scene.content(epoch, "after"));
        assert!(
            first == last || first == last + 1,
            "{epoch:?}: {first} {last}"
        );
        let all = scene.content(epoch, "shared");
        if all.is_empty() {
            emptied += 1;
            assert_eq!(first, last + 1, "{epoch:?}");
            continue;
        }
        assert_eq!(all.len(), SIZE, "{epoch:?}");
        let middle = value(&all[..8]);
        assert!(
            (last..=first).contains(&middle),
            "{epoch:?}: {first} {middle} {last}"
        );
        let whole = all.chunks(8).all(|piece| value(piece) == middle);
        assert!(whole, "{epoch:?}: a mixture");
    }
    println!("{rounds} snapshots, {emptied} of them between emptying and filling");
    scene.end();
}

#[test]
fn an_operation_that_waits_for_a_file_does_not_keep_a_snapshot_from_being_made() {
    let scene = Scene::new(|_| {});
    let ino = scene.make("file");
    let inode = scene.live.inodes.get(ino).expect("it is known");
    let waiting = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let guard = inode.io.lock();
        let writer = scope.spawn(|| {
            let attempt = || {
                waiting.store(true, Ordering::SeqCst);
                let answer = scene
                    .live
                    .write(&CALLER, ino, 0, b"x", Writer::Caller, false);
                assert!(!matches!(answer, Err(Stop::Park(what)) if what != WaitsFor::File));
                answer
            };
            until_done(attempt)
        });
        while !waiting.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        let made = scene.recorder().snapshot(new("s"), Patience::ENDLESS);
        assert!(
            scene
                .content(made.expect("a snapshot").epoch, "file")
                .is_empty()
        );
        drop(guard);
        assert_eq!(writer.join().expect("no panic"), Ok(1));
    });
    scene.end();
}

/// Whether a thread of this process sleeps: in an operation that can go on, it waits for a lock.
fn sleeps(tid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat"));
    stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|s| s.starts_with('S')))
}

/// Whoever waited for a lock while a state was cut comes after that state: others may have changed
/// the file in the next one meanwhile.
#[test]
fn an_operation_belongs_to_the_state_that_is_open_when_it_has_its_locks() {
    const ROUNDS: usize = 20;
    let scene = Scene::new(|_| {});
    scene.stop_capture();
    let mut cut = Vec::new();
    for round in 0..ROUNDS {
        let ino = scene.make(&format!("file{round}"));
        cut.push(scene.open(ino));
        let [file, root] = [ino, 1].map(|ino| scene.live.inodes.get(ino).expect("it is known"));
        let waiting = [0; 2].map(AtomicI32::new);
        let began =
            |of: usize| waiting[of].store(gettid().as_raw_nonzero().get(), Ordering::SeqCst);
        std::thread::scope(|scope| {
            let (scene, began) = (&scene, &began);
            let guards = [file.io.lock(), root.io.lock()];
            scope.spawn(move || {
                began(0);
                scene.write(ino, 0, b"late");
            });
            scope.spawn(move || {
                began(1);
                scene.make(&format!("late{round}"));
            });
            while !waiting.iter().all(|tid| sleeps(tid.load(Ordering::SeqCst))) {
                std::thread::yield_now();
            }
            scene.cut(&format!("s{round}"));
            drop(guards);
        });
    }
    scene.let_capture();
    scene.recorder().sync(Patience::ENDLESS).expect("recorded");
    let view = scene.store.view();
    for (round, epoch) in cut.into_iter().enumerate() {
        let content = scene.content(epoch, &format!("file{round}"));
        assert_eq!(content, b"", "round {round}: written after the cut");
        let late = format!("late{round}");
        let found = path::walk(&view, epoch, [late.as_bytes()]).expect("a store");
        assert!(found.is_none(), "round {round}: made after the cut");
        assert_eq!(scene.content(Epoch::MAX, &format!("file{round}")), b"late");
    }
    scene.end();
}

/// `rm` goes on while the budget lasts; then it waits for a capture, and nobody else does.
#[test]
fn who_removes_more_than_may_be_kept_waits_for_a_capture() {
    let scene = Scene::new(|options| options.hooks.kept_bytes = 100_000);
    for n in 0..4 {
        let ino = scene.make(&format!("f{n}"));
        scene.write(ino, 0, &[7; 40_960]);
    }
    scene.stop_capture();
    scene.cut("s");
    let remove = |n: usize| {
        let name = format!("f{n}");
        scene.live.unlink(&CALLER, 1, name.as_bytes())
    };
    assert_eq!([remove(0), remove(1)], [Ok(()), Ok(())]);
    assert_eq!(remove(2), Err(Stop::Park(WaitsFor::Removed)));
    let other = scene.make("other");
    scene.write(other, 0, b"goes on");
    let rename = scene.live.rename(&CALLER, 1, b"other", 1, b"f3", 0);
    assert_eq!(
        rename,
        Err(Stop::Park(WaitsFor::Removed)),
        "it replaces one"
    );
    scene.let_capture();
    assert_eq!(until_done(|| remove(2)), Ok(()));
    scene.recorder().sync(Patience::ENDLESS).expect("recorded");
    assert_eq!(scene.live.inodes.kept().taken(), 0);
    scene.end();
}

#[test]
fn a_snapshot_that_is_given_up_leaves_no_name() {
    let scene = Scene::new(|_| {});
    let ino = scene.make("file");
    scene.stop_capture();
    scene.write(ino, 0, b"content");
    let gone = AtomicBool::new(false);
    let cancelled = || gone.load(Ordering::SeqCst);
    let patience = Patience {
        until: None,
        cancelled: &cancelled,
    };
    let made = std::thread::scope(|scope| {
        let snapshot = || scene.recorder().snapshot(new("s"), patience);
        let cuts = scene.recorder().cut_work().0;
        let made = scope.spawn(snapshot);
        while scene.recorder().cut_work().0 == cuts {
            std::thread::yield_now();
        }
        gone.store(true, Ordering::SeqCst);
        made.join().expect("no panic")
    });
    assert!(matches!(made, Err(CaptureError::Cancelled)), "{made:?}");
    scene.let_capture();
    scene.recorder().sync(Patience::ENDLESS).expect("recorded");
    assert!(scene.store.view().snapshot("s").expect("a store").is_none());
    // The name is free.
    scene
        .recorder()
        .snapshot(new("s"), Patience::ENDLESS)
        .expect("a snapshot");
    scene.end();
}

#[test]
fn what_is_asked_for_after_the_end_is_refused_at_once() {
    let scene = Scene::new(|_| {});
    let ino = scene.make("file");
    scene.recorder().finish(&|_| {}).expect("recorded");
    let at_most = Patience {
        until: Some(Instant::now() + Duration::from_secs(20)),
        cancelled: &|| false,
    };
    let made = scene.recorder().snapshot(new("s"), at_most);
    assert!(matches!(made, Err(CaptureError::Cancelled)), "{made:?}");
    scene.recorder().sync(at_most).expect("all is recorded");
    scene.write(ino, 0, b"later");
    let synced = scene.recorder().sync(at_most);
    assert!(matches!(synced, Err(CaptureError::Cancelled)), "{synced:?}");
}

#[test]
fn after_a_panic_nothing_is_recorded_and_the_files_go_on() {
    let scene = Scene::new(|options| options.hooks.panic_at = Some(b"bad".to_vec()));
    let make = || {
        scene
            .live
            .mknod(&CALLER, 1, b"bad", libc::S_IFREG | 0o644, 0, 0)
    };
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(make));
    assert!(panicked.is_err());
    scene.recorder().internal_error();
    let ino = scene.make("good");
    scene.write(ino, 0, b"goes on");
    let status = scene.recorder().status();
    assert!(
        status
            .stopped
            .is_some_and(|why| why.contains("an internal error"))
    );
    let made = scene.recorder().snapshot(new("s"), Patience::ENDLESS);
    assert!(matches!(made, Err(CaptureError::Stopped(_))), "{made:?}");
    assert!(scene.recorder().finish(&|_| {}).is_err());
}
