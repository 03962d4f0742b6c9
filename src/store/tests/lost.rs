//! A family of which every record is lost: verify says what is missing, a repair brings back what
//! the others tell, names what it gives up, and what is recorded from then on is sound.

use super::matrix::{CHUNK, LIST, Pruned, pruned};
use super::*;
use crate::store::repair::{NoMender, Remedy, Repaired};
use crate::store::verify::Problem;

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

/// Opens the store without a family, repairs it, and records something.
fn without(family: Family) -> (Pruned, Arc<Store>, Repaired) {
    let stage = pruned();
    for key in keys(&stage.store, family) {
        stage.kv.damage(family, &key, None);
    }
    let store = on(&stage.kv);
    let found = store.verify(&|_| true).unwrap().problems;
    assert!(!found.is_empty(), "{family} is missing, and nothing is");
    let repaired = store.repair(&NoMender, true, 7, &|_| true).unwrap();
    let left = &repaired.report.problems;
    assert!(left.is_empty(), "{family}: {left:?}");
    assert_sound(&store);
    let (last, _) = store.last_epoch().unwrap();
    store.commit(whole(last.0 + 1)).unwrap();
    store.commit(whole(last.0 + 2)).unwrap();
    assert_sound(&store);
    assert_sound(&on(&stage.kv));
    (stage, store, repaired)
}

fn content(store: &Store, id: FileId) -> Content {
    let (_, version) = store.view().inode_at(id, Epoch(6)).unwrap().unwrap();
    match version {
        InodeVersion::Present(inode) => inode.content,
        InodeVersion::Gone => panic!("{id} is there"),
    }
}

#[test]
fn the_names_of_snapshots_are_missed_and_named() {
    let (_, store, repaired) = without(Family::Snapshots);
    for name in ["first", "later"] {
        let is_it =
            |problem: &Problem| matches!(problem, Problem::LostName { name: n } if n == name);
        let fixed = repaired.fixed.iter().find(|(problem, _)| is_it(problem));
        assert_eq!(fixed.unwrap().1, Remedy::GivenUp, "{name}");
    }
    // Their states are there as before.
    for epoch in [1, 5, 6] {
        assert!(store.view().epoch(Epoch(epoch)).unwrap().is_some());
    }
}

#[test]
fn one_name_that_is_lost_is_missed_and_those_that_were_taken_away_are_not() {
    let stage = pruned();
    let store = &stage.store;
    store.put_snapshot("a", &snapshot(store, 5)).unwrap();
    store.rename_snapshot("a", "b", 7).unwrap();
    store.put_snapshot("c", &snapshot(store, 5)).unwrap();
    store.remove_snapshot("c", 7).unwrap();
    assert_sound(store);
    stage.kv.damage(Family::Snapshots, key::snapshot("b"), None);
    let problems = stage.problems();
    assert!(
        matches!(&problems[..], [Problem::LostName { name }] if name == "b"),
        "{problems:?}"
    );
}

#[test]
fn versions_of_files_are_given_up_by_name_and_not_taken_for_others() {
    let (_, store, repaired) = without(Family::Inodes);
    assert!(repaired.given_up > 0);
    for id in [CHUNK, LIST] {
        assert!(matches!(content(&store, id), Content::Damaged(_)), "{id}");
    }
    let names = store.view().list_at(FileId::ROOT, Epoch(6), None, 9);
    assert_eq!(names.unwrap().len(), 3);
}

#[test]
fn the_index_comes_back_from_the_chunks() {
    let (stage, store, repaired) = without(Family::Index);
    assert_eq!(repaired.given_up, 0, "{:?}", repaired.fixed);
    assert_eq!(content(&store, CHUNK), Content::Chunk(stage.chunk));
    assert_eq!(&*store.view().chunk(stage.chunk).unwrap(), b"chunk");
}

#[test]
fn lines_of_change_and_states_come_back_from_the_versions() {
    let (stage, store, _) = without(Family::Changes);
    assert_eq!(content(&store, LIST), Content::List(stage.list));
    let (stage, store, _) = without(Family::Epochs);
    assert_eq!(content(&store, LIST), Content::List(stage.list));
    let names: Vec<String> = (store.view().snapshots().unwrap().into_iter())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["first", "later"]);
}

#[test]
fn headers_begin_anew_and_names_of_files_are_given_up() {
    let (stage, store, repaired) = without(Family::Headers);
    assert!(repaired.given_up > 0);
    assert_eq!(content(&store, LIST), Content::List(stage.list));
    let (_, _, repaired) = without(Family::Dirents);
    assert!(repaired.given_up > 0);
}

#[test]
fn content_that_is_lost_as_a_whole_is_given_up() {
    let (_, store, repaired) = without(Family::Chunks);
    assert!(repaired.given_up > 0);
    for id in [CHUNK, LIST] {
        assert!(matches!(content(&store, id), Content::Damaged(_)), "{id}");
    }
    assert_eq!(sizes(&store), (0, 0));
}

#[test]
fn a_header_that_is_lost_is_the_newest() {
    let stage = pruned();
    let newest = key::epoch(Epoch(6));
    stage.kv.damage(Family::Headers, &newest, None);
    let store = on(&stage.kv);
    assert!(!store.verify(&|_| true).unwrap().problems.is_empty());
    store.repair(&NoMender, true, 7, &|_| true).unwrap();
    assert_sound(&store);
    store.commit(whole(7)).unwrap();
    assert_sound(&store);
}
