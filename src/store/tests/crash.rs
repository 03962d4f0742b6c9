//! The process dies, or the power goes, at every write there is: what was acknowledged is there,
//! and nothing is half there.

use super::faulty::FaultyKv;
use super::model::Model;
use super::*;
use crate::store::memory::End;

/// Random work until the n-th write, then what the next process finds.
fn die_at(n: u64, seed: u64, end: End) -> bool {
    let kv = Arc::new(MemoryKv::default());
    let faulty = Arc::new(FaultyKv::new(Arc::clone(&kv) as Arc<dyn kv::Kv>));
    // Half of all prunes take several batches.
    let options = StoreOptions {
        prune_lines: 4,
        ..StoreOptions::default()
    };
    let store = Store::on(Arc::clone(&faulty) as Arc<dyn kv::Kv>, &options).unwrap();
    let mut model = Model::new(seed);
    faulty.die_after(n);
    let mut steps = 0;
    while steps < 40 && model.step(&store).is_ok() {
        steps += 1;
    }
    let died = steps < 40;
    drop(store);
    let kv = Arc::new(kv.after(end));
    let store = on(&kv);
    assert_sound(&store);
    assert_eq!(store.meta::<Vec<u64>>(meta::PRUNING).unwrap(), None);
    let view = store.view();
    for (epoch, tree) in &model.kept {
        let listed = view.list_at(FileId::ROOT, *epoch, None, 99).unwrap();
        assert!(view.epoch(*epoch).unwrap().is_some(), "{epoch} is gone");
        let names: Vec<&Vec<u8>> = listed.iter().map(|(name, ..)| name).collect();
        assert_eq!(names, tree.names.keys().collect::<Vec<_>>());
    }
    // And it goes on.
    let (last, _) = store.last_epoch().unwrap();
    store.commit(whole(last.0 + 1)).unwrap();
    assert_sound(&store);
    died
}

#[test]
fn dying_at_any_write_loses_nothing_and_leaves_no_garbage() {
    for seed in 0..6 {
        for end in [End::Process, End::Power] {
            let mut n = 0;
            while die_at(n, seed, end) {
                n += 1;
            }
            assert!(n > 40, "only {n} writes");
        }
    }
}

#[test]
fn a_failed_write_poisons_until_it_is_reopened() {
    let kv = Arc::new(MemoryKv::default());
    let faulty = Arc::new(FaultyKv::new(Arc::clone(&kv) as Arc<dyn kv::Kv>));
    let options = StoreOptions::default();
    let store = Store::on(Arc::clone(&faulty) as Arc<dyn kv::Kv>, &options).unwrap();
    let mut relied = store.reliance();
    let hash = store.put_chunk(&mut relied, b"first").unwrap();
    let file = FileId(10);
    store
        .commit(Commit {
            inodes: vec![(file, inode(Content::Chunk(hash), 5))],
            reliances: vec![relied],
            ..whole(1)
        })
        .unwrap();
    let mut relied = store.reliance();
    let lost = store.put_chunk(&mut relied, b"second").unwrap();
    faulty.fail_after(0);
    assert!(store.commit(whole(2)).is_err());
    assert!(store.is_poisoned());
    faulty.fail_after(u64::MAX);
    assert!(matches!(store.commit(whole(2)), Err(StoreError::Poisoned)));
    assert_eq!(&*store.view().chunk(hash).unwrap(), b"first");
    store.reopen().unwrap();
    assert!(!store.is_poisoned());
    let stale = Commit {
        inodes: vec![(file, inode(Content::Chunk(lost), 6))],
        reliances: vec![relied],
        ..whole(2)
    };
    assert!(matches!(store.commit(stale), Err(StoreError::Stale)));
    assert_eq!(sizes(&store), (1, 1));
    let mut relied = store.reliance();
    let hash = store.put_chunk(&mut relied, b"second").unwrap();
    store
        .commit(Commit {
            inodes: vec![(file, inode(Content::Chunk(hash), 6))],
            reliances: vec![relied],
            ..whole(2)
        })
        .unwrap();
    assert_sound(&store);
}

#[test]
fn a_poisoned_store_on_disk_is_reopened() {
    let disk = OnDisk::new();
    disk.store().commit(whole(1)).unwrap();
    disk.store().poison();
    assert!(disk.store().commit(whole(2)).is_err());
    disk.store().reopen().unwrap();
    disk.store().commit(whole(2)).unwrap();
    assert_sound(disk.store());
}

/// Set for the process that another test kills: the folder of its store.
const CHILD: &str = "REWINDFS_TEST_CRASH";

#[test]
fn a_process_that_is_killed_leaves_a_sound_store_on_disk() {
    let mut disk = OnDisk::new();
    disk.store = None;
    for round in 0..6 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::crash::as_the_killed_process"])
            .arg("--nocapture")
            .env(CHILD, disk.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // It says each epoch that it knows to be committed; somewhere in that it is killed.
        let output = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut acknowledged = Vec::new();
        for line in std::io::BufRead::lines(output) {
            if let Some(epoch) = line.unwrap().strip_prefix("committed ") {
                acknowledged.push(Epoch(epoch.parse().unwrap()));
            }
            if acknowledged.len() == 20 + round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acknowledged.len() >= 20, "{acknowledged:?}");
        disk.reopen();
        assert_sound(disk.store());
        let view = disk.store().view();
        for epoch in acknowledged {
            assert!(view.epoch(epoch).unwrap().is_some(), "{epoch} is gone");
        }
        drop(view);
        disk.store = None;
    }
}

/// What the killed process does, until it is.
#[test]
fn as_the_killed_process() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let store = Store::open(path.as_ref(), StoreOptions::default()).unwrap();
    let (last, _) = store.last_epoch().unwrap();
    for epoch in last.0 + 1..last.0 + 100_000 {
        let mut relied = store.reliance();
        let plain: Vec<u8> = epoch.to_le_bytes().repeat(2000);
        let hash = store.put_chunk(&mut relied, &plain).unwrap();
        let mut abandoned = store.reliance();
        store.put_chunk(&mut abandoned, &plain[1..]).unwrap();
        store
            .commit(Commit {
                inodes: vec![(FileId(10), inode(Content::Chunk(hash), 16_000))],
                reliances: vec![relied],
                ..whole(epoch)
            })
            .unwrap();
        println!("committed {epoch}");
    }
}

#[test]
fn dying_at_the_end_of_a_scan_never_lists_it_without_its_name() {
    let scan = Epoch(1);
    for n in 0.. {
        let kv = Arc::new(MemoryKv::default());
        let faulty = Arc::new(FaultyKv::new(Arc::clone(&kv) as Arc<dyn kv::Kv>));
        let options = StoreOptions::default();
        let store = Store::on(Arc::clone(&faulty) as Arc<dyn kv::Kv>, &options).unwrap();
        store
            .commit(at(1, EpochState::Waiting { on: scan }))
            .unwrap();
        faulty.die_after(n);
        let done = store
            .finish_scan_named(scan, "first", &plain_snapshot(1))
            .is_ok();
        drop(store);
        let store = on(&Arc::new(kv.after(End::Power)));
        let view = store.view();
        let whole = view.epoch(scan).unwrap().unwrap().state == EpochState::Whole;
        assert_eq!(
            whole,
            view.snapshot("first").unwrap().is_some(),
            "write {n}"
        );
        assert_eq!(whole, done, "write {n}");
        if done {
            assert!(n > 0, "nothing was written");
            return;
        }
    }
}
