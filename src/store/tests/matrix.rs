//! The damage matrix: {delete, truncate, flip a bit} x {chunk, list, version, name, epoch,
//! snapshot}, each in a store whose history was pruned. Verify finds it and goes on; what it does
//! not touch is still read.

use super::*;
use crate::store::verify::Problem;

/// The files of the model store: one of a chunk, one of a list, one that is gone.
pub(super) const CHUNK: FileId = FileId(10);
pub(super) const LIST: FileId = FileId(11);
pub(super) const GONE: FileId = FileId(12);
pub(super) const OTHER: FileId = FileId(13);

pub(super) struct Pruned {
    pub kv: Arc<MemoryKv>,
    pub store: Arc<Store>,
    pub chunk: Hash,
    pub list: Hash,
}

/// Six epochs, of which the second to the fourth are pruned: what they wrote is seen at the fifth.
pub(super) fn pruned() -> Pruned {
    let kv = Arc::new(MemoryKv::default());
    let store = on(&kv);
    let name = |name: &str| name.as_bytes().to_vec();
    store
        .commit(Commit {
            inodes: vec![(GONE, inode(Content::Empty, 0))],
            dirents: vec![(FileId::ROOT, name("gone"), present(GONE))],
            snapshots: vec![("first".to_owned(), snapshot(&store, 1))],
            ..whole(1)
        })
        .unwrap();
    let mut relied = store.reliance();
    let chunk = store.put_chunk(&mut relied, b"chunk").unwrap();
    let piece = store.put_chunk(&mut relied, b"piece").unwrap();
    let pieces = vec![Piece::Data {
        len: 5,
        hash: piece,
    }];
    let cutting = Cutting::Fixed;
    let list = store
        .put_list(&mut relied, &ChunkList { cutting, pieces })
        .unwrap();
    store
        .commit(Commit {
            inodes: vec![
                (CHUNK, inode(Content::Chunk(chunk), 5)),
                (LIST, inode(Content::List(list), 5)),
            ],
            dirents: vec![
                (FileId::ROOT, name("chunk"), present(CHUNK)),
                (FileId::ROOT, name("list"), present(LIST)),
            ],
            reliances: vec![relied],
            ..whole(2)
        })
        .unwrap();
    store
        .commit(Commit {
            inodes: vec![(GONE, InodeVersion::Gone)],
            dirents: vec![(FileId::ROOT, name("gone"), Dirent::Gone)],
            ..whole(3)
        })
        .unwrap();
    for epoch in 4..=6 {
        store
            .commit(Commit {
                inodes: vec![(OTHER, inode(Content::Empty, epoch))],
                dirents: vec![(FileId::ROOT, name("other"), present(OTHER))],
                ..whole(epoch)
            })
            .unwrap();
    }
    for epoch in [4, 3, 2] {
        store.prune(Epoch(epoch)).unwrap();
    }
    store.put_snapshot("later", &snapshot(&store, 5)).unwrap();
    assert_sound(&store);
    Pruned {
        kv,
        store,
        chunk,
        list,
    }
}

impl Pruned {
    pub fn problems(&self) -> Vec<Problem> {
        self.store.verify(&|_| true).unwrap().problems
    }

    pub fn place(&self, hash: Hash) -> Vec<u8> {
        let entry = self.store.index_entry(hash).unwrap().unwrap();
        key::chunk(entry.number).to_vec()
    }

    /// Each kind of record, one that stands for it.
    pub fn records(&self) -> Vec<(&'static str, Family, Vec<u8>)> {
        let dirent = |name: &str, epoch| key::dirent(FileId::ROOT, name.as_bytes(), Epoch(epoch));
        vec![
            ("chunk", Family::Chunks, self.place(self.chunk)),
            ("list", Family::Chunks, self.place(self.list)),
            (
                "version of a pruned epoch",
                Family::Inodes,
                key::inode(CHUNK, Epoch(2)).to_vec(),
            ),
            (
                "tombstone of a file",
                Family::Inodes,
                key::inode(GONE, Epoch(3)).to_vec(),
            ),
            (
                "name of a pruned epoch",
                Family::Dirents,
                dirent("chunk", 2),
            ),
            ("tombstone of a name", Family::Dirents, dirent("gone", 3)),
            ("epoch", Family::Epochs, key::epoch(Epoch(5)).to_vec()),
            ("header", Family::Headers, key::epoch(Epoch(5)).to_vec()),
            (
                "header of a pruned epoch",
                Family::Headers,
                key::epoch(Epoch(3)).to_vec(),
            ),
        ]
    }

    pub fn value(&self, family: Family, key: &[u8]) -> Vec<u8> {
        let value = self.store.view().raw(family, key).unwrap();
        value.unwrap_or_else(|| panic!("no record {family} {key:?}"))
    }

    /// What is not damaged reads as before.
    pub fn others_are_read(&self, what: &str) {
        let view = self.store.view();
        let other = view.inode_at(OTHER, Epoch(6)).unwrap().unwrap().1;
        assert_eq!(other, inode(Content::Empty, 6), "{what}");
        let hash = if what == "chunk" {
            self.list
        } else {
            self.chunk
        };
        match what {
            "chunk" => drop(view.list(hash).unwrap()),
            _ => drop(view.chunk(hash).unwrap()),
        }
    }
}

#[test]
fn every_kind_of_record_that_is_deleted_is_missed() {
    for n in 0..pruned().records().len() {
        let stage = pruned();
        let (what, family, key) = stage.records().swap_remove(n);
        stage.kv.damage(family, &key, None);
        assert!(!stage.problems().is_empty(), "{what}");
        stage.others_are_read(what);
    }
}

#[test]
fn every_kind_of_record_that_is_cut_short_is_found() {
    for n in 0..pruned().records().len() {
        let stage = pruned();
        let (what, family, key) = stage.records().swap_remove(n);
        let value = stage.value(family, &key);
        for len in 0..value.len() {
            stage.kv.damage(family, &key, Some(value[..len].to_vec()));
            assert!(!stage.problems().is_empty(), "{what} of {len} bytes");
        }
        stage.others_are_read(what);
    }
}

/// Of the record of an epoch only what decides about its being read is told from what it was: the
/// database's own checksums cover the rest.
#[test]
fn every_bit_that_is_flipped_in_a_record_of_a_pruned_history_is_found() {
    let stage = pruned();
    for (what, family, key) in stage.records() {
        if what == "epoch" {
            continue;
        }
        let value = stage.value(family, &key);
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            stage.kv.damage(family, &key, Some(flipped));
            assert!(!stage.problems().is_empty(), "{what} bit {bit}");
        }
        stage.others_are_read(what);
        stage.kv.damage(family, &key, Some(value));
        assert_sound(&stage.store);
    }
}

#[test]
fn a_snapshot_that_can_not_be_read_or_names_nothing_is_found() {
    let stage = pruned();
    let key = key::snapshot("later").to_vec();
    let value = stage.value(Family::Snapshots, &key);
    for len in 0..value.len() {
        stage
            .kv
            .damage(Family::Snapshots, &key, Some(value[..len].to_vec()));
        assert!(!stage.problems().is_empty(), "{len} bytes");
    }
    let lost = crate::format::value::pack(&plain_snapshot(4));
    stage.kv.damage(Family::Snapshots, &key, Some(lost));
    assert!(matches!(
        stage.problems()[..],
        [Problem::Snapshot {
            epoch: Epoch(4),
            ..
        }]
    ));
    stage.others_are_read("snapshot");
}

#[test]
fn a_problem_does_not_end_the_search() {
    let stage = pruned();
    for (_, family, key) in stage.records() {
        stage.kv.damage(family, &key, Some(vec![0xff; 3]));
    }
    let problems = stage.problems();
    let has = |is: fn(&Problem) -> bool| problems.iter().any(is);
    assert!(has(|problem| matches!(problem, Problem::Chunk { .. })));
    assert!(has(|problem| matches!(problem, Problem::State { .. })));
    assert!(has(|problem| matches!(problem, Problem::Damage(_))));
    assert!(problems.len() >= stage.records().len(), "{problems:#?}");
}

#[test]
fn without_hashing_what_is_missing_is_found_and_with_a_sample_what_is_in_it() {
    let stage = pruned();
    let key = stage.place(stage.chunk);
    let other = crate::format::value::pack_chunk(b"other");
    let found = |percent, seed| {
        let depth = crate::store::Depth {
            hashed_percent: percent,
            seed,
        };
        let report = stage.store.verify_to(depth, &|_| true).unwrap();
        assert!(report.finished);
        report.problems_found > 0
    };
    stage.kv.damage(Family::Chunks, &key, Some(other));
    assert!(!found(0, 0), "it is there");
    assert!(found(100, 0));
    let hits = (0..200).filter(|seed| found(50, *seed)).count();
    assert!((50..150).contains(&hits), "{hits} of 200 with half of all");
    stage.kv.damage(Family::Chunks, &key, None);
    assert!(found(0, 0));
}

/// On disk, behind the database's back: a bit anywhere in a file of it is found, or the store does
/// not open and says that it is damaged.
#[test]
fn bits_that_flip_on_disk_are_found() {
    let mut disk = OnDisk::new();
    let mut model = super::model::Model::new(3);
    for _ in 0..60 {
        model.step(disk.store()).unwrap();
    }
    for family in Family::ALL {
        disk.store().kv.flush(family).unwrap();
    }
    assert_sound(disk.store());
    disk.store = None;
    let files = std::fs::read_dir(disk.path().join("rocks")).unwrap();
    let files = files.map(|entry| entry.unwrap().file_name());
    let mut tried = 0;
    for file in files.filter(|name| name.to_string_lossy().ends_with(".sst")) {
        // The first block holds records; somewhere further is an index, a filter, or nothing.
        for part in [0, 3] {
            let copy = tempfile::tempdir().unwrap();
            let store = copy.path().join("store");
            let copied = std::process::Command::new("cp")
                .arg("-a")
                .args([&disk.path(), &store])
                .status();
            assert!(copied.unwrap().success());
            let path = store.join("rocks").join(&file);
            let mut damaged = std::fs::read(&path).unwrap();
            let at = damaged.len().checked_div(part).unwrap_or(7);
            damaged[at] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            match Store::open(&store, StoreOptions::default()) {
                Ok(store) => {
                    let report = store.verify(&|_| true).unwrap();
                    assert!(part > 0 || report.problems_found > 0, "{file:?}");
                    tried += 1;
                }
                Err(error) => assert!(error.is_damage(), "{error}"),
            }
        }
    }
    assert!(tried >= 4, "{tried} files were damaged and opened");
}
