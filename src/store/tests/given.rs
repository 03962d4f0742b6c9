//! What is lost comes back from what was sent: over the damage matrix, all of it, and nothing that was
//! pruned since.

use super::matrix::{CHUNK, GONE, LIST, OTHER, Pruned, pruned};
use super::*;
use crate::format::transfer::{RawChunk, RawRecord, Sent};
use crate::store::purge::Target;
use crate::store::repair::{GivenSet, Lacking, NoMender};

/// What was sent of a store.
struct Copy {
    records: Vec<RawRecord>,
    chunks: Vec<RawChunk>,
    set: GivenSet,
}

fn send(store: &Arc<Store>, to: u64) -> Copy {
    let mut export = store.export(Epoch::NONE, Epoch(to)).unwrap();
    let mut records = Vec::new();
    while let Some(page) = export.page().unwrap() {
        records.extend(page);
    }
    let view = store.view();
    let mut hashes = Vec::new();
    let mut index = view.from(Family::Index, &[]).unwrap();
    while let Some((key, _)) = index.item() {
        hashes.push(key::unpack_index(key).unwrap());
        index.step().unwrap();
    }
    drop(index);
    let chunks = store.raw_chunks(&hashes).unwrap();
    let seal = view.header(Epoch(to)).unwrap().unwrap().seal;
    let set = GivenSet {
        repository: [5; 16],
        number: 1,
        to: Epoch(to),
        seal,
    };
    drop(view);
    let note = Sent {
        repository: set.repository,
        url: "file:///copy".to_owned(),
        set: 1,
        epoch: set.to,
        full_set: 1,
        full_epoch: set.to,
        time: Timestamp(1),
        lists: store.lists_hash(set.to).unwrap(),
        recovered: false,
        fenced: None,
    };
    store.note_sent(&note).unwrap();
    Copy {
        records,
        chunks: chunks.into_iter().filter_map(|(_, chunk)| chunk).collect(),
        set,
    }
}

/// What `Other::mend` does; how many records were lost.
fn mend(store: &Store, sent: &Copy) -> u64 {
    let (lacking, mut given) = store.lacks_records(true, &|| true).unwrap();
    let mut records = 0;
    if lacking == Lacking::Records && store.has_set(&sent.set).unwrap() {
        records = store.put_back_records(&sent.records, &mut given).unwrap();
        records -= store.settle(given).unwrap();
    }
    loop {
        let lost = store.lost(&|| true).unwrap();
        let chunks: Vec<RawChunk> = sent
            .chunks
            .iter()
            .filter(|chunk| lost.contains(&chunk.hash))
            .cloned()
            .collect();
        if store.put_back_lost(&chunks).unwrap() == 0 {
            return records;
        }
    }
}

fn all(store: &Store) -> Vec<(Family, Vec<u8>, Vec<u8>)> {
    let view = store.view();
    let mut all = Vec::new();
    for family in [
        Family::Inodes,
        Family::Dirents,
        Family::Changes,
        Family::Headers,
        Family::Actors,
    ] {
        let mut scan = view.from(family, &[]).unwrap();
        while let Some((key, value)) = scan.item() {
            all.push((family, key.to_vec(), value.to_vec()));
            scan.step().unwrap();
        }
    }
    all
}

fn damages(value: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut kinds = vec![None];
    kinds.extend([0, 1, value.len() / 2, value.len() - 1].map(|len| Some(value[..len].to_vec())));
    kinds.extend((0..value.len() * 8).step_by(7).map(|bit| {
        let mut flipped = value.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        Some(flipped)
    }));
    kinds
}

#[test]
fn whatever_is_lost_comes_back_as_it_was() {
    let intact = pruned();
    let mut damaged = all(&intact.store);
    for hash in [intact.chunk, intact.list] {
        let key = intact.place(hash);
        damaged.push((
            Family::Chunks,
            key.clone(),
            intact.value(Family::Chunks, &key),
        ));
    }
    let mut came = 0;
    for (family, key, value) in damaged {
        for n in 0..damages(&value).len() {
            // Each has times of its own, and so another chain.
            let stage = pruned();
            let (sent, was) = (send(&stage.store, 6), all(&stage.store));
            let kind = damages(&stage.value(family, &key)).swap_remove(n);
            stage.kv.damage(family, &key, kind.clone());
            let found = stage.problems().len();
            came += mend(&stage.store, &sent);
            let repaired = stage.store.repair(&NoMender, true, 0, &|_| true).unwrap();
            let what = format!(
                "{family} {key:?} {kind:?}: {found} problems, {:?}",
                repaired.fixed
            );
            assert_eq!(repaired.given_up, 0, "{what}");
            assert_sound(&stage.store);
            // Lines of change say who did it: a bit of that is not told from what it was.
            if found > 0 && family != Family::Changes && family != Family::Actors {
                assert_eq!(all(&stage.store), was, "{what}");
            }
            assert!(stage.store.view().chunk(stage.chunk).is_ok(), "{what}");
            assert!(stage.store.view().list(stage.list).is_ok(), "{what}");
        }
    }
    assert!(came > 50, "{came} records");
}

#[test]
fn what_was_pruned_since_does_not_come_back() {
    let Pruned { store, kv, .. } = pruned();
    let sent = send(&store, 6);
    // What the sixth epoch was sent with is kept; nothing shows how the others were any more.
    store.remove_snapshot("first", 0).unwrap();
    store.remove_snapshot("later", 0).unwrap();
    for epoch in [1, 5] {
        store.prune(Epoch(epoch)).unwrap();
    }
    let was = all(&store);
    assert!(store.view().inode_versions(GONE).unwrap().is_empty());
    let lost = key::inode(LIST, Epoch(2));
    kv.damage(Family::Inodes, &lost, None);
    assert_eq!(mend(&store, &sent), 1);
    let repaired = store.repair(&NoMender, true, 0, &|_| true).unwrap();
    assert_eq!(repaired.given_up, 0, "{:?}", repaired.fixed);
    assert_sound(&store);
    assert_eq!(all(&store), was);
    assert!(store.view().inode_versions(GONE).unwrap().is_empty());
    assert_eq!(store.view().inode_versions(OTHER).unwrap().len(), 1);
}

#[test]
fn what_was_purged_does_not_come_back_and_another_history_gives_nothing() {
    let stage = pruned();
    let sent = send(&stage.store, 6);
    let target = Target::Files([CHUNK].into());
    let plan = stage.store.plan_purge(&target, &|| true).unwrap();
    stage.store.purge(&plan, "why", 0, &|| true).unwrap();
    let was = all(&stage.store);
    let other = key::inode(OTHER, Epoch(6));
    stage.kv.damage(Family::Inodes, &other, None);
    mend(&stage.store, &sent);
    assert_eq!(all(&stage.store), was);
    assert!(stage.store.view().chunk(stage.chunk).is_err());
    // The same numbers, and another past.
    let mut strange = sent;
    strange.set.seal = Hash([9; 32]);
    strange.set.number = 2;
    stage.kv.damage(Family::Inodes, &other, None);
    assert_eq!(mend(&stage.store, &strange), 0);
}
