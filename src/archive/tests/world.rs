//! A store with a history that is known.

use crate::format::record::*;
use crate::id::*;
use crate::store::{Commit, Store};
use crate::time::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;

type Files = BTreeMap<Vec<u8>, (FileId, Vec<u8>)>;

/// Files in one directory, and what they were at each epoch.
pub struct World {
    pub store: Arc<Store>,
    pub truth: BTreeMap<Epoch, BTreeMap<Vec<u8>, Vec<u8>>>,
    now: Files,
    random: StdRng,
    newest: u64,
    _folder: Option<tempfile::TempDir>,
}

fn inode(kind: Kind, content: Content, size: u64, name: &[u8]) -> InodeVersion {
    InodeVersion::Present(Inode {
        kind,
        mode: 0o755,
        uid: 1,
        gid: 2,
        rdev: 0,
        atime: FileTime::default(),
        mtime: FileTime::default(),
        ctime: FileTime::default(),
        nlink: 1,
        size,
        content,
        target: Vec::new(),
        xattrs: Vec::new(),
        parent: FileId::ROOT,
        name: name.to_vec(),
    })
}

impl World {
    pub fn new(seed: u64) -> World {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Store::create(&path, crate::store::StoreOptions::default()).unwrap();
        World::on(store, seed, Some(folder))
    }

    /// Goes on with a store.
    pub fn on(store: Arc<Store>, seed: u64, folder: Option<tempfile::TempDir>) -> World {
        let newest = store
            .view()
            .newest_epoch()
            .unwrap()
            .map_or(0, |epoch| epoch.0);
        let mut world = World {
            store,
            truth: BTreeMap::new(),
            now: Files::new(),
            random: StdRng::seed_from_u64(seed),
            newest,
            _folder: folder,
        };
        if newest > 0 {
            let at = Epoch(newest);
            for (name, id, _) in world.names(&world.store, at) {
                let bytes = content(&world.store, id, at);
                world.now.insert(name, (id, bytes));
            }
        }
        world
    }

    fn names(&self, store: &Store, at: Epoch) -> Vec<(Vec<u8>, FileId, Kind)> {
        store
            .view()
            .list_at(FileId::ROOT, at, None, usize::MAX)
            .unwrap()
    }

    /// Writes, removes and renames a few files, and records that.
    pub fn step(&mut self) -> Epoch {
        let before = self.now.clone();
        for _ in 0..self.random.random_range(1..6) {
            let name = format!("file-{}", self.random.random_range(0..12)).into_bytes();
            match self.random.random_range(0..10) {
                0..=5 => {
                    let id = match self.now.get(&name) {
                        Some((id, _)) => *id,
                        None => self.store.new_file_id().unwrap(),
                    };
                    let length = match self.random.random_range(0..4) {
                        0 => 0,
                        1 => self.random.random_range(1..100),
                        _ => self.random.random_range(1..60_000),
                    };
                    // Some of it is the same as elsewhere.
                    let few = self.random.random_range(0..3);
                    let bytes = (0..length).map(|n: usize| (n / 7 + few) as u8).collect();
                    self.now.insert(name, (id, bytes));
                }
                6..=8 => {
                    self.now.remove(&name);
                }
                _ => {
                    if let Some(file) = self.now.remove(&name) {
                        let other = format!("moved-{}", self.random.random_range(0..9));
                        self.now.insert(other.into_bytes(), file);
                    }
                }
            }
        }
        self.record(&before)
    }

    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Epoch {
        let before = self.now.clone();
        let id = match self.now.get(name.as_bytes()) {
            Some((id, _)) => *id,
            None => self.store.new_file_id().unwrap(),
        };
        self.now
            .insert(name.as_bytes().to_vec(), (id, bytes.to_vec()));
        self.record(&before)
    }

    pub fn remove(&mut self, name: &str) -> Epoch {
        let before = self.now.clone();
        self.now.remove(name.as_bytes()).expect("a file");
        self.record(&before)
    }

    fn record(&mut self, before: &Files) -> Epoch {
        self.newest += 1;
        let epoch = Epoch(self.newest);
        let time = Timestamp(1_000_000_000 * i64::try_from(self.newest).unwrap());
        let mut commit = Commit {
            epoch,
            ..Commit::default()
        };
        let mut relied = self.store.reliance();
        if self.newest == 1 {
            let root = inode(Kind::Dir, Content::Empty, 0, b"");
            commit.inodes.push((FileId::ROOT, root));
        }
        for (name, (id, bytes)) in &self.now {
            let was = before.get(name);
            if was == Some(&(*id, bytes.clone())) {
                continue;
            }
            let content = match bytes.len() {
                0 => Content::Empty,
                1..=20_000 => Content::Chunk(self.store.put_chunk(&mut relied, bytes).unwrap()),
                _ => {
                    let pieces = bytes.chunks(16_384).map(|piece| Piece::Data {
                        len: piece.len() as u32,
                        hash: self.store.put_chunk(&mut relied, piece).unwrap(),
                    });
                    let list = ChunkList {
                        cutting: Cutting::Fixed,
                        pieces: pieces.collect(),
                    };
                    Content::List(self.store.put_list(&mut relied, &list).unwrap())
                }
            };
            let version = inode(Kind::File, content, bytes.len() as u64, name);
            commit.inodes.push((*id, version));
            let kind = Kind::File;
            let present = Dirent::Present { id: *id, kind };
            if was.is_none_or(|(other, _)| other != id) {
                commit.dirents.push((FileId::ROOT, name.clone(), present));
            }
        }
        for (name, (id, _)) in before {
            if !self.now.contains_key(name) {
                commit
                    .dirents
                    .push((FileId::ROOT, name.clone(), Dirent::Gone));
            }
            if !self.now.values().any(|(other, _)| other == id) {
                commit.inodes.push((*id, InodeVersion::Gone));
            }
        }
        commit.record = Some((
            EpochRecord {
                state: EpochState::Whole,
                kind: EpochKind::Checkpoint,
                quiet: true,
                unseen_mappings: false,
                statistics: EpochStatistics::default(),
            },
            time,
            time,
        ));
        commit.reliances.push(relied);
        self.store.commit(commit).unwrap();
        let names = self.now.iter();
        let truth = names
            .map(|(name, (_, bytes))| (name.clone(), bytes.clone()))
            .collect();
        self.truth.insert(epoch, truth);
        epoch
    }

    pub fn name(&mut self, name: &str, epoch: Epoch) {
        let snapshot = Snapshot {
            id: self.store.new_snapshot_id().unwrap(),
            epoch,
            time: Timestamp(5),
            mode: SnapshotMode::Full,
            base: None,
            hold: None,
            tags: Vec::new(),
            message: String::new(),
            by_uid: 7,
        };
        self.store.put_snapshot(name, &snapshot).unwrap();
    }

    /// That a store has what was there.
    pub fn check(&self, store: &Arc<Store>, at: Epoch) {
        let names = self.names(store, at).into_iter();
        let found: BTreeMap<Vec<u8>, Vec<u8>> = names
            .map(|(name, id, _)| (name, content(store, id, at)))
            .collect();
        let expected = &self.truth[&at];
        assert!(
            found.keys().eq(expected.keys()),
            "names at {at}: {:?}",
            found.keys()
        );
        for (name, bytes) in &found {
            assert!(
                bytes == &expected[name],
                "content of {} at {at}",
                String::from_utf8_lossy(name)
            );
        }
    }
}

fn content(store: &Arc<Store>, id: FileId, at: Epoch) -> Vec<u8> {
    let view = store.view();
    let Some((_, InodeVersion::Present(inode))) = view.inode_at(id, at).unwrap() else {
        panic!("{id} is not there at {at}");
    };
    match inode.content {
        Content::Empty => Vec::new(),
        Content::Chunk(hash) => view.chunk(hash).unwrap().to_vec(),
        Content::List(hash) => {
            let list = view.list(hash).unwrap();
            let pieces = list.pieces.iter().map(|piece| match piece {
                Piece::Data { hash, .. } => view.chunk(*hash).unwrap().to_vec(),
                Piece::Hole { len } => vec![0; usize::try_from(*len).unwrap()],
            });
            pieces.collect::<Vec<_>>().concat()
        }
        other => panic!("{other:?}"),
    }
}
