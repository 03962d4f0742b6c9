//! A snapshot that is asked for while a scan goes on that then fails: it has not seen what the name
//! is to stand for, so the name is not given.

use super::{CaptureError, Hooks, NewSnapshot, Options, Patience, Recorder};
use crate::backing::Backing;
use crate::format::record::{EpochState, SnapshotMode};
use crate::id::{Epoch, FileId};
use crate::store::faulty::FaultyKv;
use crate::store::memory::MemoryKv;
use crate::store::{Store, StoreOptions};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FILES: usize = 30;
/// More writes than the search for so many takes.
const STEPS: u64 = 64;

fn snapshot(recorder: &Recorder, name: &str) -> Result<Epoch, CaptureError> {
    let new = NewSnapshot {
        name: name.to_owned(),
        message: String::new(),
        mode: SnapshotMode::Incremental,
        by_uid: 0,
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let made = recorder.snapshot(new, Patience::until(deadline))?;
    Ok(made.epoch)
}

fn must_hold_all(store: &Store, epoch: Epoch) {
    let view = store.view();
    let record = view.epoch(epoch).expect("read").expect("an epoch");
    assert_eq!(record.state, EpochState::Whole);
    let names = view.list_at(FileId::ROOT, epoch, None, usize::MAX);
    assert_eq!(names.expect("read").len(), FILES);
}

/// Asks for a snapshot while the first import is held, and lets it fail after `left` writes. Says
/// whether the snapshot was made.
fn ask_and_fail(dir: &Path, hold: &Path, left: u64) -> bool {
    fs::write(hold, "").expect("a file");
    let kv = Arc::new(FaultyKv::new(Arc::new(MemoryKv::default())));
    let store = Store::on(kv.clone(), &StoreOptions::default()).expect("a store");
    let options = Options {
        hooks: Hooks {
            hold: Some(hold.to_owned()),
            ..Hooks::default()
        },
        ..Options::default()
    };
    let backing = Backing::open(dir).expect("a directory");
    let recorder = Recorder::start(Arc::new(backing), store.clone(), options);
    let recorder = recorder.expect("a recorder");
    let asked = std::thread::scope(|scope| {
        let asked = scope.spawn(|| snapshot(&recorder, "asked"));
        let deadline = Instant::now() + Duration::from_secs(60);
        // It was cut, and is captured or waits for the scan: nothing that it holds has been seen.
        while recorder.cut_work().0 == 0 {
            assert!(Instant::now() < deadline, "no cut");
            std::thread::sleep(Duration::from_millis(1));
        }
        kv.fail_after(left);
        fs::remove_file(hold).expect("removed");
        asked.join().expect("no panic")
    });
    match &asked {
        Ok(epoch) => must_hold_all(&store, *epoch),
        Err(CaptureError::Stopped(_) | CaptureError::Store(_)) => {
            kv.mend();
            let named = store.view().snapshot("asked").expect("read");
            assert!(named.is_none(), "{named:?} after {left} writes");
            let deadline = Instant::now() + Duration::from_secs(60);
            while !recorder.trouble.is_recording() {
                assert!(Instant::now() < deadline, "history does not go on");
                std::thread::sleep(Duration::from_millis(10));
            }
            // The same name is free, and then it stands for all that there is.
            let epoch = snapshot(&recorder, "asked").expect("a snapshot");
            must_hold_all(&store, epoch);
        }
        Err(other) => panic!("{other}"),
    }
    kv.mend();
    let _ = recorder.finish(&|_| {});
    asked.is_ok()
}

#[test]
fn a_scan_that_fails_gives_no_name_to_who_waits_for_it() {
    let temporary = tempfile::tempdir().expect("a folder");
    let dir = temporary.path().join("dir");
    fs::create_dir(&dir).expect("mkdir");
    for n in 0..FILES {
        fs::write(dir.join(format!("f{n}")), format!("content {n}")).expect("a file");
    }
    let hold = temporary.path().join("hold");
    let mut failed = 0;
    for left in 0.. {
        if ask_and_fail(&dir, &hold, left) {
            break;
        }
        failed += 1;
    }
    assert!(failed >= 3, "only {failed} steps to fail at");
}

/// Changes the tree while nobody looks, lets the next start's search for changes fail after `left`
/// writes, and starts once more. Says whether the search had failed.
fn fail_and_start_again(root: &Path, left: u64) -> bool {
    let dir = root.join(format!("dir{left}"));
    fs::create_dir(&dir).expect("mkdir");
    let kv = Arc::new(FaultyKv::new(Arc::new(MemoryKv::default())));
    let start = || {
        let store = Store::on(kv.clone(), &StoreOptions::default())?;
        let backing = Arc::new(Backing::open(&dir).expect("a directory"));
        let recorder = Recorder::start(backing, store.clone(), Options::default())?;
        Ok::<_, CaptureError>((store, recorder))
    };
    let (_, recorder) = start().expect("a recorder");
    snapshot(&recorder, "before").expect("a snapshot");
    recorder.finish(&|_| {}).expect("an end");
    for n in 0..FILES {
        fs::write(dir.join(format!("f{n}")), format!("content {n}")).expect("a file");
    }
    kv.fail_after(left);
    let failed = match start() {
        Ok((_, recorder)) => {
            let asked = snapshot(&recorder, "asked");
            // It dies as it is: nothing tries again.
            kv.fail_after(0);
            let _ = recorder.finish(&|_| {});
            asked.is_err()
        }
        Err(_) => true,
    };
    kv.mend();
    let (store, recorder) = start().expect("a recorder");
    let epoch = snapshot(&recorder, "after").expect("a snapshot");
    must_hold_all(&store, epoch);
    recorder.finish(&|_| {}).expect("an end");
    failed
}

#[test]
fn after_a_scan_that_was_cut_off_and_one_that_found_nothing_more_there_is_a_state_to_name() {
    let temporary = tempfile::tempdir().expect("a folder");
    let root = temporary.path();
    // Each mostly waits.
    let failed: Vec<bool> = std::thread::scope(|scope| {
        let start = |left| scope.spawn(move || fail_and_start_again(root, left));
        let started: Vec<_> = (0..STEPS).map(start).collect();
        let ended = started.into_iter().map(|one| one.join());
        ended.map(|one| one.expect("no panic")).collect()
    });
    let steps = failed.iter().filter(|failed| **failed).count();
    assert!((3..failed.len()).contains(&steps), "{failed:?}");
}
