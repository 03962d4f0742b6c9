//! Repair over the damage matrix: what the live files have is as it was, what nothing has is given
//! up in the versions that it touches, the rest is as before, and verify finds nothing any more.

use super::matrix::{CHUNK, GONE, LIST, OTHER, Pruned, pruned};
use super::*;
use crate::store::faulty::FaultyKv;
use crate::store::memory::End;
use crate::store::repair::{Mender, NoMender, Repaired};
use crate::store::verify::Problem;

/// The live files: what they held when they were recorded.
struct Files;

impl Mender for Files {
    fn read(&self, id: FileId, offset: u64, len: u32) -> Option<Vec<u8>> {
        let bytes: &[u8] = match id {
            CHUNK => b"chunk",
            LIST => b"piece",
            _ => return None,
        };
        let from = usize::try_from(offset).unwrap();
        Some(bytes[from..].iter().copied().take(len as usize).collect())
    }

    fn lists(&self, id: FileId) -> Vec<ChunkList> {
        let bytes = self.read(id, 0, 5);
        let list = |bytes: Vec<u8>| ChunkList {
            cutting: Cutting::Fixed,
            pieces: vec![Piece::Data {
                len: 5,
                hash: Hash::of(&bytes),
            }],
        };
        bytes.map(list).into_iter().collect()
    }
}

fn repair(stage: &Pruned, mender: &dyn Mender) -> Repaired {
    stage.store.repair(mender, true, 7, &|_| true).unwrap()
}

/// All versions of all files and names, but for the files that are named.
fn versions(store: &Store, but: &[FileId]) -> Vec<String> {
    let view = store.view();
    let mut all = Vec::new();
    for id in [FileId::ROOT, CHUNK, LIST, GONE, OTHER] {
        if !but.contains(&id) {
            all.push(format!("{id} {:?}", view.inode_versions(id).unwrap()));
        }
    }
    for name in ["chunk", "list", "gone", "other"] {
        let versions = view.dirent_versions(FileId::ROOT, name.as_bytes());
        all.push(format!("{name} {:?}", versions.unwrap()));
    }
    all
}

fn reads(store: &Store, hash: Hash, is_list: bool) -> bool {
    store.cache.lock().clear();
    let view = store.view();
    if is_list {
        let list = view.list(hash);
        return list.is_ok_and(|list| list.pieces.len() == 1);
    }
    view.chunk(hash).is_ok()
}

/// Each kind of damage to each kind of record.
fn each_damage(test: impl Fn(&Pruned, &'static str, &str)) {
    let count = pruned().records().len();
    for n in 0..count {
        let value = {
            let stage = pruned();
            let (_, family, key) = stage.records().swap_remove(n);
            stage.value(family, &key)
        };
        let mut kinds = vec![("deleted".to_owned(), None)];
        for len in [0, 1, value.len() / 2, value.len() - 1] {
            kinds.push((format!("cut to {len}"), Some(value[..len].to_vec())));
        }
        for bit in (0..value.len() * 8).step_by(7) {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            kinds.push((format!("bit {bit}"), Some(flipped)));
        }
        for (kind, value) in kinds {
            let stage = pruned();
            let (what, family, key) = stage.records().swap_remove(n);
            stage.kv.damage(family, &key, value);
            test(&stage, what, &kind);
        }
    }
}

/// The files that a damaged record is about.
fn touched(what: &str) -> &'static [FileId] {
    match what {
        "chunk" | "version of a pruned epoch" => &[CHUNK],
        "list" => &[LIST],
        "tombstone of a file" => &[GONE],
        _ => &[],
    }
}

#[test]
fn what_nothing_has_is_given_up_and_nothing_else() {
    each_damage(|stage, what, kind| {
        let intact = pruned();
        repair(stage, &NoMender);
        assert_sound(&stage.store);
        let but = touched(what);
        let names = |name: &&String| !what.contains("name") || !name.starts_with(['c', 'g']);
        let now = versions(&stage.store, but);
        let was = versions(&intact.store, but);
        assert_eq!(
            now.iter().filter(names).collect::<Vec<_>>(),
            was.iter().filter(names).collect::<Vec<_>>(),
            "{what} {kind}"
        );
        // The chunk of a version that is lost is named by nothing, and went.
        if what != "version of a pruned epoch" {
            stage.others_are_read(what);
        }
        // What is recorded from now on builds on what is there.
        let next = Commit {
            inodes: vec![(OTHER, inode(Content::Empty, 7))],
            ..whole(7)
        };
        stage.store.commit(next).unwrap();
        assert_sound(&stage.store);
    });
}

#[test]
fn what_the_live_files_have_is_as_it_was() {
    each_damage(|stage, what, kind| {
        if !["chunk", "list"].contains(&what) {
            return;
        }
        let repaired = repair(stage, &Files);
        assert_eq!(repaired.given_up, 0, "{what} {kind}: {:?}", repaired.fixed);
        assert!(repaired.mended > 0, "{what} {kind}");
        assert!(reads(&stage.store, stage.chunk, false), "{what} {kind}");
        assert!(reads(&stage.store, stage.list, true), "{what} {kind}");
        let intact = pruned();
        assert_eq!(versions(&stage.store, &[]), versions(&intact.store, &[]));
        let report = stage.store.verify(&|_| true).unwrap();
        assert_eq!((report.problems_found, report.mended), (0, 0));
    });
}

#[test]
fn content_that_is_given_up_is_damaged_in_its_versions_and_their_states_are_the_same() {
    let stage = pruned();
    let key = stage.place(stage.chunk);
    stage.kv.damage(Family::Chunks, &key, None);
    let repaired = repair(&stage, &NoMender);
    let fixed = &repaired.fixed;
    assert!(
        fixed
            .iter()
            .any(|(problem, _)| matches!(problem, Problem::Content { id: CHUNK, .. })),
        "{fixed:?}"
    );
    let (_, version) = stage
        .store
        .view()
        .inode_at(CHUNK, Epoch(6))
        .unwrap()
        .unwrap();
    let InodeVersion::Present(file) = version else {
        panic!("it is there");
    };
    let before = crate::format::lthash::content_hash(&Content::Chunk(stage.chunk));
    assert_eq!(file.content, Content::Damaged(GivenUp(before)));
    assert_eq!(stage.store.verify(&|_| true).unwrap().mended, 0);
    let log = stage.store.snapshot_log().unwrap();
    let last = &log.last().unwrap().action;
    assert!(matches!(last, SnapshotAction::Repaired { given_up, .. } if *given_up >= 2));
}

#[test]
fn a_bit_that_is_flipped_in_a_record_whose_content_was_given_up_is_found() {
    let stage = pruned();
    let chunk = stage.place(stage.chunk);
    stage.kv.damage(Family::Chunks, &chunk, None);
    assert!(repair(&stage, &NoMender).given_up > 0);
    assert_sound(&stage.store);
    let key = key::inode(CHUNK, Epoch(2)).to_vec();
    let value = stage.value(Family::Inodes, &key);
    for bit in 0..value.len() * 8 {
        let mut flipped = value.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        stage.kv.damage(Family::Inodes, &key, Some(flipped));
        assert!(!stage.problems().is_empty(), "bit {bit}");
    }
    stage.kv.damage(Family::Inodes, &key, Some(value));
    assert_sound(&stage.store);
}

#[test]
fn an_index_entry_that_leads_astray_is_led_back_without_the_live_files() {
    for change in [
        (|entry: &mut IndexEntry| entry.refs += 5) as fn(&mut IndexEntry),
        |entry| entry.refs = 0,
        |entry| entry.number = ChunkNumber(entry.number.0 + 1000),
        |entry| entry.stored_bytes += 1,
        |entry| entry.is_list = !entry.is_list,
    ] {
        let stage = pruned();
        for hash in [stage.chunk, stage.list] {
            let mut entry = stage.store.index_entry(hash).unwrap().unwrap();
            change(&mut entry);
            let bytes = crate::format::value::pack(&entry);
            stage
                .kv
                .damage(Family::Index, &key::index(hash), Some(bytes));
        }
        let repaired = repair(&stage, &NoMender);
        assert_eq!(repaired.given_up, 0, "{:?}", repaired.fixed);
        assert_sound(&stage.store);
        assert!(reads(&stage.store, stage.chunk, false));
        assert!(reads(&stage.store, stage.list, true));
        assert_eq!(refs(&stage.store, stage.chunk), Some(1));
    }
}

#[test]
fn new_damage_is_found_in_a_state_that_was_repaired() {
    let stage = pruned();
    let version = key::inode(CHUNK, Epoch(2));
    stage.kv.damage(Family::Inodes, &version, Some(vec![9]));
    assert!(repair(&stage, &NoMender).given_up > 0);
    let report = stage.store.verify(&|_| true).unwrap();
    assert!(
        report.problems.is_empty() && report.mended > 0,
        "{report:?}"
    );
    let mut other = stage.value(Family::Inodes, &key::inode(OTHER, Epoch(6)));
    other[5] ^= 1;
    stage
        .kv
        .damage(Family::Inodes, &key::inode(OTHER, Epoch(6)), Some(other));
    assert!(!stage.problems().is_empty());
}

#[test]
fn a_sound_store_is_left_alone() {
    let stage = pruned();
    let before = versions(&stage.store, &[]);
    let lines = stage.store.snapshot_log().unwrap().len();
    let repaired = repair(&stage, &Files);
    assert_eq!((repaired.mended, repaired.given_up), (0, 0));
    assert_eq!(versions(&stage.store, &[]), before);
    assert_eq!(stage.store.snapshot_log().unwrap().len(), lines);
}

#[test]
fn a_piece_that_is_lost_takes_its_list_along_and_no_other_content() {
    let stage = pruned();
    let piece = match stage.store.view().list(stage.list).unwrap().pieces[0] {
        Piece::Data { hash, .. } => hash,
        Piece::Hole { .. } => panic!("it is data"),
    };
    let key = stage.place(piece);
    stage.kv.damage(Family::Chunks, &key, None);
    stage.store.cache.lock().clear();
    assert!(repair(&stage, &NoMender).given_up > 0);
    assert_sound(&stage.store);
    assert!(reads(&stage.store, stage.chunk, false));
    assert_eq!(sizes(&stage.store), (1, 1));
}

#[test]
fn an_index_that_is_lost_as_a_whole_is_found_again_by_the_chunks() {
    let stage = pruned();
    let before = sizes(&stage.store);
    let entries: Vec<Vec<u8>> = {
        let view = stage.store.view();
        let mut scan = view.from(Family::Index, &[]).unwrap();
        let mut keys = Vec::new();
        while let Some((key, _)) = scan.item() {
            keys.push(key.to_vec());
            scan.step().unwrap();
        }
        keys
    };
    for key in entries {
        stage.kv.damage(Family::Index, &key, None);
    }
    stage.store.cache.lock().clear();
    let repaired = repair(&stage, &NoMender);
    assert_eq!(repaired.given_up, 0, "{:?}", repaired.fixed);
    assert_sound(&stage.store);
    assert_eq!(sizes(&stage.store), before);
    assert!(reads(&stage.store, stage.list, true));
}

#[test]
fn dying_at_any_write_of_a_repair_leaves_what_the_next_one_mends() {
    for end in [End::Process, End::Power] {
        for n in 0.. {
            let stage = pruned();
            let line = key::change(Epoch(5), CHUNK, None);
            let damage = [
                (Family::Chunks, stage.place(stage.chunk), None),
                (Family::Chunks, stage.place(stage.list), Some(vec![7])),
                (Family::Changes, line, None),
                (Family::Headers, key::epoch(Epoch(5)).to_vec(), None),
            ];
            for (family, key, value) in damage {
                stage.kv.damage(family, &key, value);
            }
            let faulty = Arc::new(FaultyKv::new(Arc::clone(&stage.kv) as Arc<dyn kv::Kv>));
            let options = StoreOptions::default();
            let store = Store::on(Arc::clone(&faulty) as Arc<dyn kv::Kv>, &options).unwrap();
            faulty.die_after(n);
            let repaired = store.repair(&Files, true, 7, &|_| true);
            drop(store);
            let store = on(&Arc::new(stage.kv.after(end)));
            let again = store.repair(&Files, true, 7, &|_| true).unwrap();
            assert_sound(&store);
            assert!(reads(&store, stage.chunk, false), "write {n}");
            assert!(reads(&store, stage.list, true), "write {n}");
            let intact = pruned();
            assert_eq!(versions(&store, &[]), versions(&intact.store, &[]));
            if repaired.is_ok() {
                assert_eq!((again.mended, again.given_up), (0, 0));
                assert!(n > 5, "only {n} writes");
                break;
            }
        }
    }
}

#[test]
fn a_capture_under_way_never_loses_what_it_relies_on_to_a_repair() {
    let stage = pruned();
    let store = &stage.store;
    let mut relied = store.reliance();
    assert!(store.rely(&mut relied, stage.chunk).unwrap());
    let fresh = store.put_chunk(&mut relied, b"fresh").unwrap();
    // What nothing names yet looks like what nothing will name; and a count is wrong besides.
    let mut entry = store.index_entry(stage.chunk).unwrap().unwrap();
    entry.refs += 5;
    let bytes = crate::format::value::pack(&entry);
    let index = key::index(stage.chunk);
    stage.kv.damage(Family::Index, &index, Some(bytes));
    repair(&stage, &NoMender);
    let commit = Commit {
        inodes: vec![
            (OTHER, inode(Content::Chunk(fresh), 5)),
            (GONE, inode(Content::Chunk(stage.chunk), 5)),
        ],
        reliances: vec![relied],
        ..whole(7)
    };
    store.commit(commit).unwrap();
    assert_sound(store);
    assert_eq!(&*store.view().chunk(fresh).unwrap(), b"fresh");
    assert_eq!(refs(store, stage.chunk), Some(2));
}

#[test]
fn a_store_whose_index_can_not_be_read_in_places_opens_and_is_mended() {
    for value in [Vec::new(), vec![9; 3]] {
        let stage = pruned();
        for hash in [stage.chunk, stage.list] {
            let index = key::index(hash);
            stage.kv.damage(Family::Index, &index, Some(value.clone()));
        }
        let store = on(&stage.kv);
        assert!(!store.verify(&|_| true).unwrap().problems.is_empty());
        let repaired = store.repair(&NoMender, true, 7, &|_| true).unwrap();
        assert_eq!(repaired.given_up, 0, "{:?}", repaired.fixed);
        assert_sound(&store);
        assert!(reads(&store, stage.chunk, false));
        assert!(reads(&store, stage.list, true));
    }
}
