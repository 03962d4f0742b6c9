//! Put, commit, read back: what every caller does.

use super::*;

const A: FileId = FileId(10);

#[test]
fn what_is_committed_is_read_as_of_its_epoch() {
    on_both(|store| {
        let mut relied = store.reliance();
        let one = store.put_chunk(&mut relied, b"one").unwrap();
        store
            .commit(Commit {
                inodes: vec![(A, inode(Content::Chunk(one), 3))],
                dirents: vec![(FileId::ROOT, b"a".to_vec(), present(A))],
                reliances: vec![relied],
                ..whole(1)
            })
            .unwrap();
        let mut relied = store.reliance();
        let two = store.put_chunk(&mut relied, b"two!").unwrap();
        store
            .commit(Commit {
                inodes: vec![(A, inode(Content::Chunk(two), 4))],
                reliances: vec![relied],
                ..whole(2)
            })
            .unwrap();
        store
            .commit(Commit {
                inodes: vec![(A, InodeVersion::Gone)],
                dirents: vec![(FileId::ROOT, b"a".to_vec(), Dirent::Gone)],
                ..whole(4)
            })
            .unwrap();

        let view = store.view();
        let content = |at| match view.inode_at(A, Epoch(at)).unwrap() {
            Some((epoch, InodeVersion::Present(inode))) => Some((epoch.0, inode.content)),
            Some((epoch, InodeVersion::Gone)) => Some((epoch.0, Content::Empty)),
            None => None,
        };
        assert_eq!(content(0), None);
        assert_eq!(content(1), Some((1, Content::Chunk(one))));
        assert_eq!(content(3), Some((2, Content::Chunk(two))));
        assert_eq!(content(u64::MAX), Some((4, Content::Empty)));
        assert_eq!(&*view.chunk(one).unwrap(), b"one");
        assert_eq!(&*view.chunk(two).unwrap(), b"two!");
        let list = |at| view.list_at(FileId::ROOT, Epoch(at), None, 9).unwrap();
        assert_eq!(list(0), []);
        assert_eq!(list(3), [(b"a".to_vec(), A, Kind::File)]);
        assert_eq!(list(4), []);
        let versions = view.inode_versions(A).unwrap();
        let epochs: Vec<u64> = versions.iter().map(|(epoch, _)| epoch.0).collect();
        assert_eq!(epochs, [4, 2, 1]);
        assert_eq!(view.dirent_versions(FileId::ROOT, b"a").unwrap().len(), 2);
        assert_eq!(view.newest_epoch().unwrap(), Some(Epoch(4)));
        assert_eq!(view.oldest_epoch().unwrap(), Some(Epoch(1)));
        assert_eq!(store.last_epoch().unwrap(), (Epoch(4), Timestamp(4_000)));
        for epoch in [1, 2, 4].map(Epoch) {
            let header = view.header(epoch).unwrap().unwrap();
            assert_eq!(header.state, counted_state(store, epoch));
        }
    });
}

#[test]
fn lines_of_change_are_added_when_they_are_missing() {
    on_both(|store| {
        let actors = vec![ActorId(3)];
        let line = Change::Dirent {
            name: b"a".to_vec(),
            actors: actors.clone(),
        };
        store
            .commit(Commit {
                inodes: vec![(A, inode(Content::Empty, 0))],
                dirents: vec![(FileId::ROOT, b"a".to_vec(), present(A))],
                changes: vec![(FileId::ROOT, line.clone())],
                ..whole(1)
            })
            .unwrap();
        let created = Change::Inode {
            what: What::CREATED,
            actors: Vec::new(),
            written: Vec::new(),
        };
        assert_eq!(
            store.view().changes(Epoch(1)).unwrap(),
            [(FileId::ROOT, line), (A, created)]
        );
    });
}

#[test]
fn times_ascend_whatever_the_clock_does() {
    on_both(|store| {
        store.commit(whole(5)).unwrap();
        let mut back = whole(6);
        back.record = Some((record(EpochState::Whole), Timestamp(3), Timestamp(3)));
        store.commit(back).unwrap();
        let view = store.view();
        let header = view.header(Epoch(6)).unwrap().unwrap();
        assert_eq!(header.time, Timestamp(5_001));
        assert_eq!(header.wall, Timestamp(3));
        assert_eq!(view.epoch_at_time(Timestamp(4_999)).unwrap(), None);
        assert_eq!(
            view.epoch_at_time(Timestamp(5_000)).unwrap(),
            Some(Epoch(5))
        );
        assert_eq!(
            view.epoch_at_time(Timestamp(9_000)).unwrap(),
            Some(Epoch(6))
        );
    });
}

#[test]
fn a_sealed_epoch_is_not_written_again() {
    on_both(|store| {
        store.commit(whole(2)).unwrap();
        for epoch in [1, 2] {
            let error = store.commit(whole(epoch)).unwrap_err();
            assert!(matches!(error, StoreError::Sealed { .. }));
        }
    });
}

#[test]
fn what_is_put_away_is_not_in_the_log_of_the_database_any_more() {
    let mut disk = OnDisk::new();
    let log = |disk: &OnDisk| {
        let files = std::fs::read_dir(disk.path().join("rocks")).unwrap();
        let files = files.map(|file| file.unwrap());
        let logs = files.filter(|file| file.path().extension().is_some_and(|kind| kind == "log"));
        logs.map(|log| log.metadata().unwrap().len()).sum::<u64>()
    };
    disk.store().commit(whole(1)).unwrap();
    let little = log(&disk);
    disk.store().put_away().unwrap();
    assert_eq!(log(&disk), little);
    let inodes = (2..20_000).map(|id| (FileId(id), inode(Content::Empty, 0)));
    let commit = Commit {
        inodes: inodes.collect(),
        ..whole(2)
    };
    disk.store().commit(commit).unwrap();
    assert!(log(&disk) > limits::LOG_KEPT);
    disk.store().put_away().unwrap();
    assert!(log(&disk) < little, "{} bytes", log(&disk));
    disk.reopen();
    let view = disk.store().view();
    assert!(view.inode_at(FileId(19_999), Epoch(2)).unwrap().is_some());
}

#[test]
fn names_are_given_changed_and_taken() {
    on_both(|store| {
        let first = snapshot(store, 1);
        store
            .commit(Commit {
                snapshots: vec![("first".to_owned(), first.clone())],
                ..whole(1)
            })
            .unwrap();
        let changed = store.snapshots_changed();
        let second = snapshot(store, 1);
        assert_ne!(first.id, second.id);
        assert!(matches!(
            store.put_snapshot("first", &second),
            Err(StoreError::NameTaken { .. })
        ));
        assert!(matches!(
            store.put_snapshot("x", &snapshot(store, 9)),
            Err(StoreError::NoEpoch { .. })
        ));
        store.put_snapshot("second", &second).unwrap();
        assert!(store.snapshots_changed() > changed);
        store.rename_snapshot("first", "third", 8).unwrap();
        store.remove_snapshot("second", 9).unwrap();
        let names: Vec<String> = store
            .view()
            .snapshots()
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["third"]);
        let log = store.snapshot_log().unwrap();
        let uids: Vec<u32> = log.iter().map(|event| event.by_uid).collect();
        assert_eq!(uids, [7, 7, 8, 9]);
        assert!(matches!(
            store.remove_snapshot("second", 0),
            Err(StoreError::NoSnapshot { .. })
        ));
    });
}

#[test]
fn a_listing_goes_on_after_a_name_and_skips_the_dead() {
    on_both(|store| {
        let names: Vec<Vec<u8>> = (0..40).map(|n| format!("n{n:02}").into_bytes()).collect();
        for epoch in 1..=8 {
            let dirents = names
                .iter()
                .enumerate()
                .map(|(n, name)| {
                    let alive = n % 2 == 0 || epoch < 8;
                    let version = match alive {
                        true => present(FileId(n as u64 + 100)),
                        false => Dirent::Gone,
                    };
                    (FileId::ROOT, name.clone(), version)
                })
                .collect();
            store
                .commit(Commit {
                    dirents,
                    ..whole(epoch)
                })
                .unwrap();
        }
        let view = store.view();
        let list = |at, after: Option<&[u8]>, limit| -> Vec<Vec<u8>> {
            let names = view.list_at(FileId::ROOT, Epoch(at), after, limit).unwrap();
            names.into_iter().map(|(name, _, _)| name).collect()
        };
        assert_eq!(list(3, None, 99), names);
        let alive: Vec<Vec<u8>> = names.iter().step_by(2).cloned().collect();
        assert_eq!(list(8, None, 99), alive);
        assert_eq!(list(8, Some(b"n10"), 2), [b"n12", b"n14"]);
        assert_eq!(list(8, Some(b"n39"), 2), Vec::<Vec<u8>>::new());
        assert_eq!(view.list_at(FileId(2), Epoch(8), None, 9).unwrap(), []);
    });
}
