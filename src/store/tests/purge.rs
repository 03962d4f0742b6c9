//! Purge: content goes, states and the chain stay what they are, and damage to what is left is
//! found.

use super::matrix::{CHUNK, LIST, pruned};
use super::*;
use crate::store::purge::{PurgePlan, Target};

fn plan(store: &Store, files: &[FileId]) -> PurgePlan {
    let target = Target::Files(files.iter().copied().collect());
    store.plan_purge(&target, &|| true).unwrap()
}

#[test]
fn a_bit_that_is_flipped_in_a_purged_record_or_in_a_tombstone_is_found() {
    let stage = pruned();
    let headers = |epoch| stage.store.view().header(Epoch(epoch)).unwrap();
    let before: Vec<_> = (1..=6).map(headers).collect();
    let plan = plan(&stage.store, &[CHUNK, LIST]);
    assert_eq!((plan.versions.len(), plan.shared.len()), (2, 0));
    let freed = stage.store.purge(&plan, "why", 7, &|| true).unwrap();
    assert_eq!(freed, plan.freed_bytes);
    assert_eq!(sizes(&stage.store), (0, 0));
    assert_sound(&stage.store);
    assert_eq!((1..=6).map(headers).collect::<Vec<_>>(), before);
    assert_eq!(
        counted_state(&stage.store, Epoch(6)),
        before[5].unwrap().state
    );
    let tombstones = stage.store.tombstones().unwrap();
    assert_eq!((tombstones.len(), tombstones[0].contents.len()), (1, 2));
    let records = [
        (Family::Inodes, key::inode(CHUNK, Epoch(2)).to_vec()),
        (Family::Meta, key::meta(crate::store::meta::PURGED, 1)),
    ];
    for (family, key) in records {
        let value = stage.value(family, &key);
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            stage.kv.damage(family, &key, Some(flipped));
            assert!(!stage.problems().is_empty(), "{family} bit {bit}");
        }
        stage.kv.damage(family, &key, None);
        assert!(!stage.problems().is_empty(), "{family} deleted");
        stage.kv.damage(family, &key, Some(value));
        assert_sound(&stage.store);
    }
}

#[test]
fn a_state_on_hold_keeps_all_that_it_shows() {
    let stage = pruned();
    let hold = Hold {
        by_uid: 7,
        since: crate::time::Timestamp(1),
        until: None,
        reason: String::new(),
    };
    stage.store.hold_snapshot("later", hold).unwrap();
    let plan = plan(&stage.store, &[CHUNK]);
    let refused = stage.store.purge(&plan, "", 7, &|| true);
    assert!(
        matches!(refused, Err(StoreError::Held { .. })),
        "{refused:?}"
    );
    assert!(stage.store.tombstones().unwrap().is_empty());
    stage.store.view().chunk(stage.chunk).unwrap();
    stage.store.release_snapshot("later", "", 7).unwrap();
    stage.store.purge(&plan, "", 7, &|| true).unwrap();
    assert!(stage.store.view().chunk(stage.chunk).is_err());
    assert_sound(&stage.store);
}

#[test]
fn a_tombstone_that_is_lost_is_put_back_by_a_repair_without_its_reason() {
    let stage = pruned();
    let plan = plan(&stage.store, &[CHUNK]);
    stage.store.purge(&plan, "why", 7, &|| true).unwrap();
    let tombstone = key::meta(crate::store::meta::PURGED, 1);
    stage
        .kv
        .damage(Family::Meta, &tombstone, Some(vec![1, 2, 3]));
    let mender = crate::store::repair::NoMender;
    stage.store.repair(&mender, true, 7, &|_| true).unwrap();
    assert_sound(&stage.store);
    assert_eq!(stage.store.tombstones().unwrap().len(), 1);
}
