//! Put, commit, read back: what every caller does.

use super::*;
use crate::store::memory::End;

const A: FileId = FileId(10);
const B: FileId = FileId(11);

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
        };
        assert_eq!(
            store.view().changes(Epoch(1)).unwrap(),
            [(FileId::ROOT, line), (A, created)]
        );
    });
}

#[test]
fn a_chunk_is_written_once_and_counted_by_who_names_it() {
    on_both(|store| {
        let mut relied = store.reliance();
        let hash = store.put_chunk(&mut relied, b"same").unwrap();
        let mut other = store.reliance();
        assert_eq!(store.put_chunk(&mut other, b"same").unwrap(), hash);
        assert_eq!(sizes(store), (0, 1));
        store
            .commit(Commit {
                inodes: vec![
                    (A, inode(Content::Chunk(hash), 4)),
                    (B, inode(Content::Chunk(hash), 4)),
                ],
                reliances: vec![relied, other],
                ..whole(1)
            })
            .unwrap();
        assert_eq!(refs(store, hash), Some(2));
        let mut relied = store.reliance();
        store.put_chunk(&mut relied, b"same").unwrap();
        assert_eq!(sizes(store), (1, 1));
    });
}

#[test]
fn a_list_counts_its_pieces_and_never_meets_a_file_of_its_bytes() {
    on_both(|store| {
        let mut relied = store.reliance();
        let piece = store.put_chunk(&mut relied, b"piece").unwrap();
        let pieces = vec![
            Piece::Data {
                len: 5,
                hash: piece,
            },
            Piece::Hole { len: 1 << 40 },
            Piece::Data {
                len: 5,
                hash: piece,
            },
        ];
        let list = ChunkList {
            cutting: Cutting::Fixed,
            pieces,
        };
        let hash = store.put_list(&mut relied, &list).unwrap();
        let bytes = crate::format::value::pack_list(&list);
        let file = store.put_chunk(&mut relied, &bytes).unwrap();
        assert_ne!(file, hash);
        store
            .commit(Commit {
                inodes: vec![
                    (A, inode(Content::List(hash), 10 + (1 << 40))),
                    (B, inode(Content::Chunk(file), bytes.len() as u64)),
                ],
                reliances: vec![relied],
                ..whole(1)
            })
            .unwrap();
        assert_eq!(refs(store, hash), Some(1));
        assert_eq!(refs(store, file), Some(1));
        assert_eq!(refs(store, piece), Some(2));
        assert_eq!(*store.view().list(hash).unwrap(), list);
        assert!(matches!(
            store.view().chunk(hash),
            Err(StoreError::WrongHash { .. })
        ));
    });
}

#[test]
fn an_abandoned_capture_leaves_nothing() {
    on_both(|store| {
        let mut relied = store.reliance();
        store.put_chunk(&mut relied, b"nobody").unwrap();
        assert_eq!(sizes(store), (0, 1));
        drop(relied);
        assert_eq!(sizes(store), (0, 0));
    });
}

#[test]
fn a_commit_that_names_an_unknown_chunk_writes_nothing() {
    on_both(|store| {
        let hash = Hash::of(b"never put");
        let error = store
            .commit(Commit {
                inodes: vec![(A, inode(Content::Chunk(hash), 4))],
                ..whole(1)
            })
            .unwrap_err();
        assert!(matches!(error, StoreError::Missing { .. }));
        assert!(!store.is_poisoned());
        assert_eq!(store.last_epoch().unwrap().0, Epoch::NONE);
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
fn a_store_is_found_again_as_it_was_left() {
    let mut disk = OnDisk::new();
    let gap = Gap {
        from: Timestamp(1),
        to: None,
        reason: "full".to_owned(),
    };
    let synced = Synced {
        epoch: Epoch(1),
        boot: [1; 16],
        clean: true,
    };
    let live = LiveEntry {
        id: A,
        birth: None,
        size: 3,
        mtime: FileTime::default(),
        ctime: FileTime::default(),
        looked: FileTime::default(),
        epoch: Epoch(1),
    };
    let (file, id) = {
        let store = disk.store();
        let mut relied = store.reliance();
        let hash = store.put_chunk(&mut relied, b"here").unwrap();
        store
            .commit(Commit {
                inodes: vec![(A, inode(Content::Chunk(hash), 4))],
                live: vec![(77, Some(live))],
                reliances: vec![relied],
                ..whole(1)
            })
            .unwrap();
        store.put_gap(1, &gap).unwrap();
        store.set_synced(synced).unwrap();
        (store.new_file_id().unwrap(), store.id().unwrap())
    };
    let lineage = |disk: &OnDisk| {
        let view = disk.store().view();
        view.header(view.newest_epoch().unwrap().unwrap())
            .unwrap()
            .unwrap()
            .lineage
    };
    let before = lineage(&disk);
    disk.reopen();
    let store = disk.store();
    assert_eq!(store.id().unwrap(), id);
    assert!(store.new_file_id().unwrap() > file);
    assert_eq!(store.gaps().unwrap(), [(1, gap)]);
    assert_eq!(store.synced().unwrap(), Some(synced));
    assert_eq!(store.live(77).unwrap(), Some(live));
    assert_eq!(&*store.view().chunk(Hash::of(b"here")).unwrap(), b"here");
    store.commit(whole(2)).unwrap();
    assert_ne!(lineage(&disk), before);
    let (free, size) = disk.store().free_space().unwrap();
    assert!(free > 0 && free <= size);
}

#[test]
fn a_second_opener_is_told_that_it_is_locked() {
    let disk = OnDisk::new();
    let error = Store::open(&disk.path(), StoreOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
}

/// Set for the process that another test starts.
const CHILD: &str = "REWINDFS_TEST_STORE";

#[test]
fn another_process_is_told_that_it_is_locked() {
    let mut disk = OnDisk::new();
    let path = disk.path();
    let finds_it_locked = || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::basics::as_another_process"])
            .env(CHILD, &path)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    };
    assert!(finds_it_locked());
    disk.store = None;
    assert!(!finds_it_locked());
}

/// What the other process does: it succeeds if the store is locked.
#[test]
fn as_another_process() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let error = Store::open(path.as_ref(), StoreOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
}

#[test]
fn what_is_no_store_is_told_apart() {
    use std::os::unix::fs::PermissionsExt;
    let open = |path: &std::path::Path| Store::open(path, StoreOptions::default()).unwrap_err();
    let mut disk = OnDisk::new();
    disk.store = None;
    let path = disk.path();
    let missing = path.with_file_name("missing");
    assert!(matches!(open(&missing), StoreError::NotAStore { .. }));
    let link = path.with_file_name("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(open(&link), StoreError::NotAStore { .. }));
    let wide = std::fs::Permissions::from_mode(0o750);
    std::fs::set_permissions(&path, wide).unwrap();
    assert!(matches!(
        open(&path),
        StoreError::Exposed { mode: 0o750, .. }
    ));
    let narrow = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&path, narrow).unwrap();
    std::fs::write(path.join("format"), "rewindfs store 2\n").unwrap();
    let newer = open(&path);
    assert!(matches!(newer, StoreError::NewerFormat { found: 2, .. }));
    std::fs::write(path.join("format"), "something else\n").unwrap();
    assert!(matches!(open(&path), StoreError::NotAStore { .. }));
    std::fs::remove_file(path.join("format")).unwrap();
    assert!(matches!(open(&path), StoreError::NotAStore { .. }));
    std::fs::write(path.join("format"), "rewindfs store 1\n").unwrap();
    std::fs::remove_dir_all(path.join("rocks")).unwrap();
    assert!(matches!(open(&path), StoreError::Damaged { .. }));
    std::fs::write(path.join("file"), "").unwrap();
    let error = Store::create(&path, StoreOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::NotEmpty { .. }));
}

#[test]
fn a_store_that_was_half_made_is_made_and_a_used_one_is_not() {
    let mut disk = OnDisk::new();
    disk.store = None;
    std::fs::remove_file(disk.path().join("format")).unwrap();
    let store = Store::create(&disk.path(), StoreOptions::default()).unwrap();
    store.commit(whole(1)).unwrap();
    drop(store);
    std::fs::remove_file(disk.path().join("format")).unwrap();
    let error = Store::create(&disk.path(), StoreOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::NotEmpty { .. }));
    std::fs::write(disk.path().join("format"), "rewindfs store 1\n").unwrap();
    disk.reopen();
    assert_eq!(disk.store().last_epoch().unwrap().0, Epoch(1));
}

#[test]
fn facts_and_the_epoch_itself_are_one_state() {
    on_both(|store| {
        let mut relied = store.reliance();
        let first = store.put_chunk(&mut relied, b"first").unwrap();
        let second = store.put_chunk(&mut relied, b"second").unwrap();
        let facts = |hash, reliances| Commit {
            epoch: Epoch(1),
            inodes: vec![(A, inode(Content::Chunk(hash), 5))],
            reliances,
            ..Commit::default()
        };
        store.commit(facts(first, Vec::new())).unwrap();
        let by = Change::Inode {
            what: What::CONTENT,
            actors: vec![ActorId(4)],
        };
        store
            .commit(Commit {
                changes: vec![(A, by)],
                record: whole(1).record,
                ..facts(second, vec![relied])
            })
            .unwrap();
        assert_eq!((refs(store, first), refs(store, second)), (None, Some(1)));
        assert_eq!(sizes(store), (1, 1));
        let view = store.view();
        let header = view.header(Epoch(1)).unwrap().unwrap();
        assert_eq!(header.state, counted_state(store, Epoch(1)));
        let line = Change::Inode {
            what: What::CREATED.with(What::CONTENT),
            actors: vec![ActorId(4)],
        };
        assert_eq!(view.changes(Epoch(1)).unwrap(), [(A, line)]);
        assert_sound(store);
    });
}

#[test]
fn a_store_that_was_removed_takes_no_commit() {
    let disk = OnDisk::new();
    disk.store().commit(whole(1)).unwrap();
    std::fs::rename(disk.path(), disk.path().with_file_name("moved")).unwrap();
    disk.store().commit(whole(2)).unwrap();
    std::fs::remove_dir_all(disk.path().with_file_name("moved")).unwrap();
    let error = disk.store().commit(whole(3)).unwrap_err();
    assert!(matches!(error, StoreError::Removed));
    assert!(disk.store().is_poisoned());
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

#[test]
fn scans_and_what_waits_for_them_are_sealed_in_order() {
    on_both(|store| {
        let scan = Epoch(1);
        let waiting = EpochState::Waiting { on: scan };
        store.commit(at(1, waiting)).unwrap();
        let facts = |epoch: u64, inodes, dirents| Commit {
            epoch: Epoch(epoch),
            inodes,
            dirents,
            ..Commit::default()
        };
        let name = |name: &[u8], version| (FileId::ROOT, name.to_vec(), version);
        store
            .commit(facts(
                1,
                vec![(A, inode(Content::Empty, 0))],
                vec![name(b"a", present(A))],
            ))
            .unwrap();
        // Before the scan came to b it was removed, and a written.
        store
            .commit(Commit {
                inodes: vec![
                    (B, InodeVersion::Gone),
                    (A, inode(Content::Lost(LostReason::Gap), 9)),
                ],
                dirents: vec![name(b"b", Dirent::Gone)],
                ..at(2, waiting)
            })
            .unwrap();
        store.commit(at(3, waiting)).unwrap();
        store
            .commit(facts(
                1,
                vec![(B, inode(Content::Empty, 0)), (A, inode(Content::Empty, 1))],
                vec![name(b"b", present(B))],
            ))
            .unwrap();
        assert_eq!(store.view().newest_epoch().unwrap(), None);
        assert_eq!(store.view().epoch_at_time(Timestamp(9_000)).unwrap(), None);
        let error = store.commit(whole(4)).unwrap_err();
        assert!(matches!(error, StoreError::OutOfOrder { .. }));
        let mut again = at(1, waiting);
        again.record.as_mut().unwrap().0.statistics.inodes = 3;
        store.commit(again).unwrap();

        store.finish_scan(scan, EpochState::Whole).unwrap();
        store.commit(whole(4)).unwrap();
        let view = store.view();
        let epochs = view.epochs(Epoch::NONE, Epoch::MAX, 9).unwrap();
        assert_eq!(epochs.len(), 4);
        assert_eq!(epochs[0].1.statistics.inodes, 3);
        let mut seal = Hash::default();
        for (epoch, record, header) in epochs {
            assert_eq!(record.state, EpochState::Whole);
            assert_eq!(header.state, counted_state(store, epoch), "{epoch}");
            assert_eq!(
                header.seal,
                crate::format::lthash::seal(seal, epoch, &header)
            );
            seal = header.seal;
        }
        let list = view.list_at(FileId::ROOT, Epoch(1), None, 9).unwrap();
        assert_eq!(list.len(), 2);
        let list = view.list_at(FileId::ROOT, Epoch(2), None, 9).unwrap();
        assert_eq!(list.len(), 1);
        assert!(matches!(
            store.finish_scan(scan, EpochState::Whole),
            Err(StoreError::NoEpoch { .. })
        ));
    });
}

#[test]
fn a_scan_of_a_dead_process_is_partial() {
    let kv = Arc::new(MemoryKv::default());
    let store = on(&kv);
    let waiting = EpochState::Waiting { on: Epoch(1) };
    store
        .commit(Commit {
            epoch: Epoch(1),
            inodes: vec![(A, inode(Content::Empty, 0))],
            ..Commit::default()
        })
        .unwrap();
    assert_eq!(store.last_epoch().unwrap().0, Epoch(1));
    store
        .commit(Commit {
            inodes: vec![(A, InodeVersion::Gone)],
            ..at(2, waiting)
        })
        .unwrap();
    let store = on(&Arc::new(kv.after(End::Power)));
    let view = store.view();
    let epochs = view.epochs(Epoch::NONE, Epoch::MAX, 9).unwrap();
    assert_eq!(epochs.len(), 2);
    for (epoch, record, header) in epochs {
        assert_eq!(record.state, EpochState::Partial);
        assert_eq!(header.state, counted_state(&store, epoch));
    }
    assert_eq!(store.view().deltas().unwrap(), []);
}
