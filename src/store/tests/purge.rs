//! Purge: content goes, states and the chain stay what they are, and damage to what is left is
//! found.

use super::matrix::{CHUNK, LIST, OTHER, pruned};
use super::*;
use crate::store::faulty::FaultyKv;
use crate::store::memory::End;
use crate::store::purge::{PurgePlan, Purged, Target};

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
    let purged = stage.store.purge(&plan, "why", 7, &|| true).unwrap();
    let freed_bytes = plan.freed_bytes;
    assert_eq!(
        purged,
        Purged {
            freed_bytes,
            wiped: true
        }
    );
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

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    let mut block = blake3::hash(b"secret");
    while bytes.len() < len {
        bytes.extend_from_slice(block.as_bytes());
        block = blake3::hash(block.as_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Whether any file of a database holds these bytes.
fn files_hold(store: &Path, needle: &[u8]) -> bool {
    let files = std::fs::read_dir(store.join("rocks")).unwrap();
    let mut contents = files.filter_map(|file| std::fs::read(file.unwrap().path()).ok());
    contents.any(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
}

#[test]
fn dying_at_any_write_of_a_purge_leaves_a_sound_store_and_the_next_one_ends_it() {
    for end in [End::Process, End::Power] {
        for n in 0.. {
            let stage = pruned();
            let faulty = Arc::new(FaultyKv::new(Arc::clone(&stage.kv) as Arc<dyn kv::Kv>));
            // Each version in a batch of its own.
            let options = StoreOptions {
                prune_lines: 1,
                ..StoreOptions::default()
            };
            let store = Store::on(Arc::clone(&faulty) as Arc<dyn kv::Kv>, &options).unwrap();
            let first = plan(&store, &[CHUNK, LIST]);
            faulty.die_after(n);
            let purged = store.purge(&first, "why", 7, &|| true);
            drop(store);
            let store = on(&Arc::new(stage.kv.after(end)));
            assert_sound(&store);
            let left = plan(&store, &[CHUNK, LIST]);
            let gone = store.tombstones().unwrap().len();
            assert_eq!(left.versions.len() + gone, 2, "write {n}");
            for (id, hash) in [(CHUNK, stage.chunk), (LIST, stage.list)] {
                let is_left = left.versions.iter().any(|version| version.id == id);
                let is_there = store.view().index_entry(hash).unwrap().is_some();
                assert_eq!(is_left, is_there, "write {n}");
            }
            store.purge(&left, "again", 7, &|| true).unwrap();
            assert_sound(&store);
            assert_eq!(sizes(&store), (0, 0), "write {n}");
            let wiping = store.kv.get(Family::Meta, crate::store::meta::WIPING);
            assert_eq!(wiping.unwrap(), None, "write {n}");
            if purged.is_ok() {
                assert!(n > 3, "only {n} writes");
                break;
            }
        }
    }
}

#[test]
fn what_a_capture_under_way_relies_on_outlives_a_purge_and_goes_with_it() {
    for is_committed in [true, false] {
        let stage = pruned();
        let store = &stage.store;
        let mut relied = store.reliance();
        for hash in [stage.chunk, stage.list] {
            assert!(store.rely(&mut relied, hash).unwrap());
        }
        let both = plan(store, &[CHUNK, LIST]);
        store.purge(&both, "why", 7, &|| true).unwrap();
        assert_sound(store);
        if is_committed {
            let commit = Commit {
                inodes: vec![(OTHER, inode(Content::Chunk(stage.chunk), 5))],
                reliances: vec![relied],
                ..whole(7)
            };
            store.commit(commit).unwrap();
            assert_eq!(&*store.view().chunk(stage.chunk).unwrap(), b"chunk");
            assert_eq!(refs(store, stage.chunk), Some(1));
        } else {
            drop(relied);
            assert_eq!(sizes(store), (0, 0));
        }
        assert_sound(store);
    }
}

#[test]
fn nothing_goes_but_what_the_plan_names() {
    let stage = pruned();
    let mut other = plan(&stage.store, &[CHUNK]);
    // As if the version had been recorded again since.
    other.versions[0].content = Content::Chunk(Hash::of(b"another"));
    stage.store.purge(&other, "why", 7, &|| true).unwrap();
    assert_eq!(&*stage.store.view().chunk(stage.chunk).unwrap(), b"chunk");
    assert!(stage.store.tombstones().unwrap().is_empty());
    assert_sound(&stage.store);
}

#[test]
fn the_files_lose_the_bytes_when_the_last_one_who_reads_them_has_gone_or_the_next_process_comes() {
    for dies in [false, true] {
        let mut disk = OnDisk::new();
        let store = disk.store();
        let secret = noise(100_000);
        let needle = secret[5000..5032].to_vec();
        let mut relied = store.reliance();
        let hash = store.put_chunk(&mut relied, &secret).unwrap();
        store
            .commit(Commit {
                inodes: vec![(CHUNK, inode(Content::Chunk(hash), 100_000))],
                reliances: vec![relied],
                ..whole(1)
            })
            .unwrap();
        assert!(files_hold(&disk.path(), &needle));
        let reader = store.view();
        let purge = plan(store, &[CHUNK]);
        // It gives up waiting as soon as it has nothing else to do.
        let go_on = || store.tombstones().unwrap().is_empty();
        let purged = store.purge(&purge, "why", 7, &go_on).unwrap();
        assert!(!purged.wiped);
        assert_eq!(&*reader.chunk(hash).unwrap(), &*secret);
        store.reclaim(false, &|| true).unwrap();
        assert!(files_hold(&disk.path(), &needle));
        drop(reader);
        if dies {
            disk.reopen();
        }
        disk.store().reclaim(false, &|| true).unwrap();
        assert!(!files_hold(&disk.path(), &needle), "dies: {dies}");
        assert_sound(disk.store());
    }
}
