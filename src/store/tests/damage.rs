//! Damage: verify finds it, names it, and the rest is still read.

use super::*;
use crate::store::verify::Problem;

/// A store with a file of one chunk, one of a list, a name and a snapshot; and its chunk and list.
fn store() -> (Arc<MemoryKv>, Arc<Store>, Hash, Hash) {
    let kv = Arc::new(MemoryKv::default());
    let store = on(&kv);
    let mut relied = store.reliance();
    let chunk = store.put_chunk(&mut relied, b"chunk").unwrap();
    let piece = store.put_chunk(&mut relied, b"piece").unwrap();
    let list = ChunkList {
        cutting: Cutting::Fixed,
        pieces: vec![Piece::Data {
            len: 5,
            hash: piece,
        }],
    };
    let list = store.put_list(&mut relied, &list).unwrap();
    store
        .commit(Commit {
            inodes: vec![
                (FileId(10), inode(Content::Chunk(chunk), 5)),
                (FileId(11), inode(Content::List(list), 5)),
            ],
            dirents: vec![
                (FileId::ROOT, b"a".to_vec(), present(FileId(10))),
                (FileId::ROOT, b"b".to_vec(), present(FileId(11))),
            ],
            snapshots: vec![("first".to_owned(), snapshot(&store, 1))],
            reliances: vec![relied],
            ..whole(1)
        })
        .unwrap();
    store.commit(whole(2)).unwrap();
    assert_sound(&store);
    (kv, store, chunk, list)
}

fn problems(store: &Store) -> Vec<Problem> {
    store.verify(&|_| true).unwrap().problems
}

/// All keys of a family.
fn keys(store: &Store, family: Family) -> Vec<Vec<u8>> {
    let view = store.view();
    let mut scan = view.from(family, &[]).unwrap();
    let mut keys = Vec::new();
    while let Some((key, _)) = scan.item() {
        keys.push(key.to_vec());
        scan.step().unwrap();
    }
    keys
}

#[test]
fn every_record_that_is_deleted_is_missed() {
    let families = [
        Family::Inodes,
        Family::Dirents,
        Family::Index,
        Family::Chunks,
        Family::Headers,
    ];
    for family in families {
        let count = keys(&store().1, family).len();
        assert!(count > 0);
        for n in 0..count {
            let (kv, store, ..) = store();
            let key = keys(&store, family).swap_remove(n);
            kv.damage(family, &key, None);
            assert!(!problems(&store).is_empty(), "{family} {n}");
        }
    }
}

#[test]
fn every_bit_that_is_flipped_is_found() {
    let families = [
        Family::Inodes,
        Family::Dirents,
        Family::Index,
        Family::Chunks,
        Family::Headers,
    ];
    for family in families {
        let (kv, store, ..) = store();
        for key in keys(&store, family) {
            let value = store.view().raw(family, &key).unwrap().unwrap();
            for bit in 0..value.len() * 8 {
                let mut flipped = value.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                kv.damage(family, &key, Some(flipped));
                assert!(!problems(&store).is_empty(), "{family} bit {bit}");
            }
            kv.damage(family, &key, Some(value));
            assert_sound(&store);
        }
    }
}

#[test]
fn a_damaged_chunk_is_never_read_and_hides_no_other() {
    let (kv, store, chunk, list) = store();
    let number = store.index_entry(chunk).unwrap().unwrap().number;
    let envelope = crate::format::value::pack_chunk(b"other");
    kv.damage(Family::Chunks, &key::chunk(number), Some(envelope));
    assert!(matches!(
        store.view().chunk(chunk),
        Err(StoreError::WrongHash { .. })
    ));
    assert!(store.view().list(list).is_ok());
    let problems = problems(&store);
    let named = |id, hash| {
        problems.iter().any(|problem| {
            matches!(problem, Problem::Content { id: i, hash: h, .. } if *i == id && *h == hash)
        })
    };
    assert!(named(FileId(10), chunk), "{problems:?}");
    assert!(!named(FileId(11), list), "{problems:?}");
}

#[test]
fn a_snapshot_without_its_epoch_is_found() {
    let (kv, store, ..) = store();
    kv.damage(Family::Epochs, &key::epoch(Epoch(1)), None);
    let problems = problems(&store);
    assert!(
        problems
            .iter()
            .any(|problem| matches!(problem, Problem::Snapshot { .. }))
    );
}
