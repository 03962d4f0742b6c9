//! Prune: what is kept reads the same before and after, and nothing that nobody needs is left.

use super::model::Model;
use super::*;

const A: FileId = FileId(10);

#[test]
fn random_commits_and_prunes_against_the_model() {
    for seed in 0..40 {
        let options = StoreOptions {
            // Every second time, all but the smallest prunes take several batches.
            prune_lines: if seed % 2 == 0 { 999 } else { 2 },
            ..StoreOptions::default()
        };
        let store = Store::on(Arc::new(MemoryKv::default()), &options).unwrap();
        let mut model = Model::new(seed);
        for step in 0..120 {
            model.step(&store).unwrap();
            if step % 8 == 0 {
                model.check(&store);
                assert_sound(&store);
            }
        }
        model.check(&store);
        assert_sound(&store);
    }
}

/// A prune in many batches, stopped at each of its steps: there others commit, and every other
/// epoch reads whole; sometimes it is broken off there, and the next one goes on.
#[test]
fn commits_and_readers_at_every_step_of_a_prune() {
    use std::cell::RefCell;
    let options = StoreOptions {
        prune_lines: 1,
        ..StoreOptions::default()
    };
    let mut steps = 0;
    for seed in 0..30 {
        let store = Store::on(Arc::new(MemoryKv::default()), &options).unwrap();
        let model = RefCell::new(Model::new(seed));
        for _ in 0..20 {
            model.borrow_mut().commit(&store).unwrap();
        }
        model.borrow_mut().scan(&store).unwrap();
        for round in 0..12 {
            let Some(epoch) = model.borrow_mut().may_go(&store) else {
                break;
            };
            let mut seen = RefCell::new(0);
            let result = store.prune_old(epoch, Timestamp(i64::MAX), &|| {
                let mut model = model.borrow_mut();
                model.check_all_but(&store, epoch);
                model.commit(&store).unwrap();
                model.check_all_but(&store, epoch);
                *seen.borrow_mut() += 1;
                round % 3 != 0 || *seen.borrow() < 3
            });
            steps += *seen.get_mut();
            let mut model = model.borrow_mut();
            match result {
                Ok(_) => drop(model.kept.remove(&epoch)),
                Err(StoreError::Interrupted) => {
                    if store.view().epoch(epoch).unwrap().is_none() {
                        model.kept.remove(&epoch);
                    }
                }
                Err(error) => panic!("{error}"),
            }
            model.check_all_but(&store, Epoch::NONE);
        }
        store.finish_prune(&|| true).unwrap();
        model.borrow().check(&store);
        assert_sound(&store);
    }
    assert!(steps > 500, "{steps}");
}

#[test]
fn random_commits_and_prunes_on_disk() {
    let mut disk = OnDisk::new();
    let mut model = Model::new(1);
    for _ in 0..4 {
        for _ in 0..60 {
            model.step(disk.store()).unwrap();
        }
        model.check(disk.store());
        assert_sound(disk.store());
        disk.reopen();
        model.check(disk.store());
        assert_sound(disk.store());
    }
}

#[test]
fn a_file_of_one_epoch_leaves_nothing_when_that_is_pruned() {
    on_both(|store| {
        store.commit(whole(1)).unwrap();
        let mut relied = store.reliance();
        let hash = store.put_chunk(&mut relied, b"short").unwrap();
        store
            .commit(Commit {
                inodes: vec![(A, inode(Content::Chunk(hash), 5))],
                dirents: vec![(FileId::ROOT, b"a".to_vec(), present(A))],
                reliances: vec![relied],
                ..whole(2)
            })
            .unwrap();
        store
            .commit(Commit {
                inodes: vec![(A, InodeVersion::Gone)],
                dirents: vec![(FileId::ROOT, b"a".to_vec(), Dirent::Gone)],
                ..whole(3)
            })
            .unwrap();
        let pruned = store.prune(Epoch(2)).unwrap();
        assert_eq!(pruned.versions, 4);
        assert_eq!(pruned.chunk_bytes, 10);
        assert_eq!(sizes(store), (0, 0));
        let view = store.view();
        assert_eq!(view.inode_versions(A).unwrap(), []);
        assert_eq!(view.dirent_versions(FileId::ROOT, b"a").unwrap(), []);
        assert_eq!(view.changes(Epoch(3)).unwrap(), []);
        assert!(view.header(Epoch(2)).unwrap().is_some());
        assert_eq!(
            view.epoch_at_time(Timestamp(2_500)).unwrap(),
            Some(Epoch(1))
        );
        assert_sound(store);
    });
}

#[test]
fn what_has_to_be_kept_is_not_pruned() {
    on_both(|store| {
        store
            .commit(Commit {
                snapshots: vec![("named".to_owned(), snapshot(store, 1))],
                ..whole(1)
            })
            .unwrap();
        store.commit(whole(2)).unwrap();
        store.commit(whole(3)).unwrap();
        let waiting = EpochState::Waiting { on: Epoch(4) };
        store.commit(at(4, waiting)).unwrap();
        let pin = store.pin(Epoch(2)).unwrap();
        let why = |epoch| match store.prune(Epoch(epoch)) {
            Err(StoreError::Kept { reason, .. }) => reason,
            other => panic!("{other:?}"),
        };
        let name = "named".to_owned();
        assert_eq!(why(1), Kept::Named { name });
        assert_eq!(why(2), Kept::Pinned);
        assert_eq!(why(3), Kept::Newest);
        assert_eq!(why(4), Kept::Waiting);
        drop(pin);
        store.prune(Epoch(2)).unwrap();
        assert!(matches!(
            store.prune(Epoch(2)),
            Err(StoreError::NoEpoch { .. })
        ));
        assert!(store.pin(Epoch(2)).is_err());
        assert_sound(store);
    });
}

#[test]
fn a_capture_that_relies_on_a_chunk_keeps_it_over_a_prune() {
    on_both(|store| {
        let mut relied = store.reliance();
        let hash = store.put_chunk(&mut relied, b"shared").unwrap();
        store
            .commit(Commit {
                inodes: vec![(A, inode(Content::Chunk(hash), 6))],
                reliances: vec![relied],
                ..whole(1)
            })
            .unwrap();
        store
            .commit(Commit {
                inodes: vec![(A, inode(Content::Empty, 0))],
                ..whole(2)
            })
            .unwrap();
        let mut relied = store.reliance();
        assert!(store.rely(&mut relied, hash).unwrap());
        let mut abandoned = store.reliance();
        store.put_chunk(&mut abandoned, b"shared").unwrap();
        assert_eq!(store.prune(Epoch(1)).unwrap().chunk_bytes, 0);
        assert_eq!(refs(store, hash), None);
        assert_eq!(sizes(store), (0, 1));
        drop(abandoned);
        store
            .commit(Commit {
                inodes: vec![(A, inode(Content::Chunk(hash), 6))],
                reliances: vec![relied],
                ..whole(3)
            })
            .unwrap();
        assert_eq!(refs(store, hash), Some(1));
        assert_eq!(&*store.view().chunk(hash).unwrap(), b"shared");
        assert_sound(store);
        let mut relied = store.reliance();
        assert!(!store.rely(&mut relied, Hash::of(b"unknown")).unwrap());
    });
}

#[test]
fn a_view_from_before_a_prune_still_reads_it() {
    on_both(|store| {
        store
            .commit(Commit {
                inodes: vec![(A, inode(Content::Empty, 1))],
                ..whole(1)
            })
            .unwrap();
        store
            .commit(Commit {
                inodes: vec![(A, inode(Content::Empty, 2))],
                ..whole(2)
            })
            .unwrap();
        let before = store.view();
        store.prune(Epoch(1)).unwrap();
        assert!(before.inode_at(A, Epoch(1)).unwrap().is_some());
        assert_eq!(store.view().inode_at(A, Epoch(1)).unwrap(), None);
    });
}

#[test]
fn threads_that_put_while_others_commit_and_prune() {
    let store = Store::in_memory().unwrap();
    let epochs = std::sync::atomic::AtomicU64::new(1);
    let committing = parking_lot::Mutex::new(());
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (store, epochs, committing) = (&store, &epochs, &committing);
            scope.spawn(move || {
                for round in 0..200u64 {
                    let mut relied = store.reliance();
                    // Few contents for many: they are new, known and pruned all the time.
                    let plain = vec![u8::try_from(round % 5).unwrap(); 50];
                    let hash = store.put_chunk(&mut relied, &plain).unwrap();
                    if round % 7 == thread {
                        continue;
                    }
                    let turn = committing.lock();
                    let epoch = epochs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    store
                        .commit(Commit {
                            inodes: vec![(FileId(10 + thread), inode(Content::Chunk(hash), 50))],
                            reliances: vec![relied],
                            ..whole(epoch)
                        })
                        .unwrap();
                    drop(turn);
                    if epoch > 2 {
                        store.prune(Epoch(epoch - 1)).unwrap_or_default();
                    }
                }
            });
        }
    });
    assert_sound(&store);
    let (indexed, chunks) = sizes(&store);
    assert_eq!(indexed, chunks);
}

#[test]
fn the_lines_of_a_pruned_epoch_become_those_of_the_next() {
    on_both(|store| {
        let by = |what, actor| Change::Inode {
            what,
            actors: vec![ActorId(actor)],
            written: Vec::new(),
        };
        for (epoch, actor) in [(1, 1), (2, 2), (3, 2)] {
            let only_in_two = FileId(10 + epoch);
            store
                .commit(Commit {
                    inodes: vec![
                        (A, inode(Content::Empty, epoch)),
                        (only_in_two, inode(Content::Empty, 0)),
                    ],
                    changes: vec![(A, by(What::CONTENT, actor))],
                    ..whole(epoch)
                })
                .unwrap();
        }
        store.prune(Epoch(2)).unwrap();
        store.prune(Epoch(1)).unwrap();
        let changes = store.view().changes(Epoch(3)).unwrap();
        let ids: Vec<u64> = changes.iter().map(|(id, _)| id.0).collect();
        assert_eq!(ids, [10, 11, 12, 13]);
        let Change::Inode { what, actors, .. } = &changes[0].1 else {
            panic!("{changes:?}");
        };
        assert!(what.has(What::CREATED.with(What::CONTENT)));
        let actors: BTreeSet<ActorId> = actors.iter().copied().collect();
        assert_eq!(actors, BTreeSet::from([ActorId(1), ActorId(2)]));
        assert_eq!(store.view().inode_versions(A).unwrap().len(), 1);
        assert_sound(store);
    });
}
