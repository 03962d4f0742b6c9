//! Scans: facts that come before their epoch, and what waits for them.

use super::*;
use crate::store::memory::End;

const A: FileId = FileId(10);
const B: FileId = FileId(11);

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
            written: Vec::new(),
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
            written: Vec::new(),
        };
        assert_eq!(view.changes(Epoch(1)).unwrap(), [(A, line)]);
        assert_sound(store);
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
