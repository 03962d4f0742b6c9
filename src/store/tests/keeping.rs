//! Names that are taken away and come back, holds, the log, and what a prune frees.

use super::*;

fn named(store: &Store, name: &str, epoch: u64) {
    store.put_snapshot(name, &snapshot(store, epoch)).unwrap();
}

fn hold(until: Option<Timestamp>) -> Hold {
    Hold {
        by_uid: 7,
        since: Timestamp::now(),
        until,
        reason: "audit".to_owned(),
    }
}

fn ends_in(seconds: u64) -> Option<Timestamp> {
    Some(Timestamp::now().plus(std::time::Duration::from_secs(seconds)))
}

#[test]
fn a_deleted_name_comes_back_with_all_it_had() {
    on_both(|store| {
        store.commit(whole(1)).unwrap();
        store.commit(whole(2)).unwrap();
        named(store, "a", 1);
        let before = store.view().snapshot("a").unwrap();
        store.remove_snapshot("a", 8).unwrap();
        let deleted = store.view().deleted().unwrap();
        assert_eq!(deleted.len(), 1);
        assert_eq!((deleted[0].name.as_str(), deleted[0].by_uid), ("a", 8));
        store.undelete_snapshot("a", 9).unwrap();
        assert_eq!(store.view().snapshot("a").unwrap(), before);
        assert!(store.view().deleted().unwrap().is_empty());
        assert!(matches!(
            store.undelete_snapshot("a", 9),
            Err(StoreError::NotDeleted { .. })
        ));
        // Twice under one name: the one that went last comes back.
        store.remove_snapshot("a", 8).unwrap();
        named(store, "a", 2);
        assert!(matches!(
            store.undelete_snapshot("a", 9),
            Err(StoreError::NameTaken { .. })
        ));
        store.remove_snapshot("a", 8).unwrap();
        store.undelete_snapshot("a", 9).unwrap();
        let back = store.view().snapshot("a").unwrap().unwrap();
        assert_eq!(back.epoch, Epoch(2));
        assert_sound(store);
    });
}

#[test]
fn what_was_deleted_a_moment_ago_is_not_pruned_and_then_goes_with_its_note() {
    on_both(|store| {
        store.commit(whole(1)).unwrap();
        store.commit(whole(2)).unwrap();
        named(store, "a", 1);
        store.remove_snapshot("a", 8).unwrap();
        let deleted = store.view().deleted().unwrap()[0].time;
        let before = Timestamp(deleted.0 - 1);
        let name = "a".to_owned();
        match store.prune_old(Epoch(1), before, &|| true) {
            Err(StoreError::Kept { reason, .. }) => assert_eq!(reason, Kept::Deleted { name }),
            other => panic!("{other:?}"),
        }
        store.prune_old(Epoch(1), deleted, &|| true).unwrap();
        assert!(store.view().deleted().unwrap().is_empty());
        assert!(matches!(
            store.undelete_snapshot("a", 9),
            Err(StoreError::NotDeleted { .. })
        ));
        assert_sound(store);
    });
}

#[test]
fn a_hold_ends_when_it_is_released_and_one_with_a_date_then_and_not_before() {
    on_both(|store| {
        store.commit(whole(1)).unwrap();
        named(store, "a", 1);
        assert!(matches!(
            store.release_snapshot("a", "why", 7),
            Err(StoreError::NotHeld { .. })
        ));
        store.hold_snapshot("a", hold(None)).unwrap();
        assert!(matches!(
            store.remove_snapshot("a", 7),
            Err(StoreError::Held { .. })
        ));
        store.release_snapshot("a", "why", 7).unwrap();
        let far = ends_in(1000);
        store.hold_snapshot("a", hold(far)).unwrap();
        let dated = |result: Result<()>| matches!(result, Err(StoreError::HeldUntil { .. }));
        assert!(dated(store.release_snapshot("a", "why", 0)));
        assert!(dated(store.hold_snapshot("a", hold(None))));
        assert!(dated(store.hold_snapshot("a", hold(ends_in(10)))));
        store.hold_snapshot("a", hold(ends_in(2000))).unwrap();
        // A new name is no way around it.
        store.rename_snapshot("a", "b", 7).unwrap();
        assert!(matches!(
            store.remove_snapshot("b", 7),
            Err(StoreError::Held { .. })
        ));
        named(store, "c", 1);
        let past = Some(Timestamp(Timestamp::now().0 - 1));
        store.hold_snapshot("c", hold(past)).unwrap();
        store.remove_snapshot("c", 7).unwrap();
    });
}

#[test]
fn every_deed_has_its_line_and_the_log_is_bounded() {
    let kv = Arc::new(MemoryKv::default());
    let store = on(&kv);
    store.commit(whole(1)).unwrap();
    named(&store, "a", 1);
    store.hold_snapshot("a", hold(None)).unwrap();
    store.release_snapshot("a", "why", 7).unwrap();
    store.remove_snapshot("a", 7).unwrap();
    store.undelete_snapshot("a", 7).unwrap();
    store.log_pruned(0, 3, 50).unwrap();
    store.log_pruned(0, 2, 7).unwrap();
    let policy = crate::format::keeping::Policy {
        max_bytes: Some(1),
        ..Default::default()
    };
    store.set_policy(policy, "", 7).unwrap();
    store.set_policy(policy, "", 7).unwrap();
    let log = store.snapshot_log().unwrap();
    let actions: Vec<&SnapshotAction> = log.iter().map(|line| &line.action).collect();
    assert!(matches!(
        actions[..],
        [
            SnapshotAction::Made,
            SnapshotAction::Held { .. },
            SnapshotAction::ReleasedFor { .. },
            SnapshotAction::Removed,
            SnapshotAction::Undeleted,
            SnapshotAction::Pruned {
                states: 5,
                bytes: 57,
                ..
            },
            SnapshotAction::PolicyFor { .. },
        ]
    ));
    assert_eq!(store.policy().unwrap().policy, policy);
    drop(store);
    let store = on(&kv);
    for n in 0..crate::limits::LOG_LINES {
        let (old, new) = if n % 2 == 0 { ("a", "x") } else { ("x", "a") };
        store.rename_snapshot(old, new, 7).unwrap();
    }
    let log = store.snapshot_log().unwrap();
    assert_eq!(log.len() as u64, crate::limits::LOG_LINES);
    assert!(matches!(log[0].action, SnapshotAction::Renamed { .. }));
}

/// Half of what is in the store goes: the disk has that much more room afterwards.
#[test]
fn space_comes_back_on_disk() {
    space_comes_back(false);
}

/// The same when a reader outlives the prune, and the database tidies up while he is there.
#[test]
fn space_comes_back_when_the_last_reader_has_gone() {
    space_comes_back(true);
}

fn space_comes_back(is_read: bool) {
    let disk = OnDisk::new();
    let store = disk.store();
    let mut random = 1u64;
    let mut noise = || {
        let mut bytes = Vec::with_capacity(64 << 10);
        while bytes.len() < 64 << 10 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            bytes.extend_from_slice(&random.to_be_bytes()[..4]);
        }
        bytes
    };
    for epoch in 1..=40 {
        let mut relied = store.reliance();
        let mut inodes = Vec::new();
        for file in 0..32 {
            let plain = noise();
            let hash = store.put_chunk(&mut relied, &plain).unwrap();
            inodes.push((FileId(10 + file), inode(Content::Chunk(hash), 64 << 10)));
        }
        store
            .commit(Commit {
                inodes,
                reliances: vec![relied],
                ..whole(epoch)
            })
            .unwrap();
    }
    let bytes_on_disk = || {
        let mut bytes = 0;
        for entry in std::fs::read_dir(disk.path().join("rocks")).unwrap() {
            let entry = entry.unwrap();
            if entry.path().extension().is_some_and(|end| end == "sst") {
                bytes += entry.metadata().unwrap().len();
            }
        }
        bytes
    };
    store.kv.flush(Family::Chunks).unwrap();
    let before = bytes_on_disk();
    assert!(before > 75 << 20, "{before}");
    let going: Vec<Epoch> = (1..=20).map(Epoch).collect();
    let weights = store.weigh(&going, &[], &|| true).unwrap();
    let reader = is_read.then(|| store.view());
    let mut freed = 0;
    for epoch in going.iter().rev() {
        freed += store.prune(*epoch).unwrap().chunk_bytes;
    }
    assert_eq!(weights.dropped, freed);
    assert!(freed > 38 << 20, "{freed}");
    if let Some(reader) = reader {
        store.reclaim(true, &|| true).unwrap();
        store.kv.reclaim(Family::Chunks, &[], &[]).unwrap();
        let still = bytes_on_disk();
        assert!(still > 75 << 20, "{before} {still}");
        drop(reader);
    }
    assert!(store.reclaim(true, &|| true).unwrap() > 0);
    let after = bytes_on_disk();
    let back = before.saturating_sub(after);
    assert!(back > freed / 100 * 95, "{freed} freed, {back} came back");
    println!("{before} bytes before, {freed} freed, {after} bytes after");
    assert_eq!(store.reclaim(true, &|| true).unwrap(), 0);
    assert_sound(store);
}
