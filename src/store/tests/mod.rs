//! Tests of the store as a whole, on the database in memory and on RocksDB.

mod alarms;
mod basics;
mod chunks;
mod crash;
mod damage;
mod given;
mod keeping;
mod lost;
mod matrix;
mod model;
mod opening;
mod prune;
mod purge;
mod repair;
mod replicas;
mod scans;

use super::memory::MemoryKv;
use super::*;
use crate::format::key::{self, Family};
use std::collections::BTreeSet;
use std::path::Path;

/// A store on RocksDB in a temporary folder.
pub(super) struct OnDisk {
    pub store: Option<Arc<Store>>,
    pub folder: tempfile::TempDir,
}

impl OnDisk {
    pub fn new() -> OnDisk {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&path(&folder), StoreOptions::default()).unwrap();
        OnDisk {
            store: Some(store),
            folder,
        }
    }

    pub fn store(&self) -> &Arc<Store> {
        self.store.as_ref().unwrap()
    }

    pub fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Store::open(&path(&self.folder), StoreOptions::default()).unwrap());
    }

    pub fn path(&self) -> std::path::PathBuf {
        path(&self.folder)
    }
}

fn path(folder: &tempfile::TempDir) -> std::path::PathBuf {
    Path::new(folder.path()).join("store")
}

/// Runs a test on both databases.
pub(super) fn on_both(test: impl Fn(&Arc<Store>)) {
    test(&Store::in_memory().unwrap());
    test(OnDisk::new().store());
}

pub(super) fn inode(content: Content, size: u64) -> InodeVersion {
    let time = FileTime { sec: 1, nsec: 2 };
    InodeVersion::Present(Inode {
        kind: Kind::File,
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        rdev: 0,
        atime: time,
        mtime: time,
        ctime: time,
        nlink: 1,
        size,
        content,
        target: Vec::new(),
        xattrs: vec![(b"user.a".to_vec(), b"b".to_vec())],
        parent: FileId::ROOT,
        name: b"name".to_vec(),
    })
}

pub(super) fn present(id: FileId) -> Dirent {
    Dirent::Present {
        id,
        kind: Kind::File,
    }
}

pub(super) fn record(state: EpochState) -> EpochRecord {
    EpochRecord {
        state,
        kind: EpochKind::Checkpoint,
        quiet: true,
        unseen_mappings: false,
        statistics: EpochStatistics::default(),
    }
}

pub(super) fn at(epoch: u64, state: EpochState) -> Commit {
    let time = Timestamp(1_000 * i64::try_from(epoch).unwrap());
    Commit {
        epoch: Epoch(epoch),
        record: Some((record(state), time, time)),
        ..Commit::default()
    }
}

pub(super) fn whole(epoch: u64) -> Commit {
    at(epoch, EpochState::Whole)
}

pub(super) fn plain_snapshot(epoch: u64) -> Snapshot {
    Snapshot {
        id: SnapshotId(0),
        epoch: Epoch(epoch),
        time: Timestamp(5),
        mode: SnapshotMode::Full,
        base: None,
        hold: None,
        tags: Vec::new(),
        message: String::new(),
        by_uid: 7,
    }
}

pub(super) fn snapshot(store: &Store, epoch: u64) -> Snapshot {
    Snapshot {
        id: store.new_snapshot_id().unwrap(),
        ..plain_snapshot(epoch)
    }
}

/// The state of an epoch counted from the records alone, in the plainest way.
pub(super) fn counted_state(store: &Store, epoch: Epoch) -> Hash {
    use crate::format::lthash::{LtHash, dirent_record, inode_record};
    let view = store.view();
    let mut sum = LtHash::default();
    let mut inodes = BTreeSet::new();
    let mut scan = view.from(Family::Inodes, &[]).unwrap();
    while let Some((key, _)) = scan.item() {
        inodes.insert(key::unpack_inode(key).unwrap().0);
        scan.step().unwrap();
    }
    for id in inodes {
        if let Some((_, InodeVersion::Present(inode))) = view.inode_at(id, epoch).unwrap() {
            sum.add(&inode_record(id, &inode));
        }
    }
    let mut names = BTreeSet::new();
    let mut scan = view.from(Family::Dirents, &[]).unwrap();
    while let Some((key, _)) = scan.item() {
        let (dir, name, _) = key::unpack_dirent(key).unwrap();
        names.insert((dir, name.to_vec()));
        scan.step().unwrap();
    }
    for (dir, name) in names {
        if let Some((_, dirent @ Dirent::Present { .. })) =
            view.dirent_at(dir, &name, epoch).unwrap()
        {
            sum.add(&dirent_record(dir, &name, &dirent));
        }
    }
    sum.state()
}

/// Verifies, and expects nothing.
pub(super) fn assert_sound(store: &Store) {
    let report = store.verify(&|_| true).unwrap();
    assert!(report.problems.is_empty(), "{:#?}", report.problems);
}

/// Index entries and chunks.
pub(super) fn sizes(store: &Store) -> (usize, usize) {
    let view = store.view();
    let count = |family| {
        let mut scan = view.from(family, &[]).unwrap();
        let mut count = 0;
        while scan.item().is_some() {
            count += 1;
            scan.step().unwrap();
        }
        count
    };
    (count(Family::Index), count(Family::Chunks))
}

pub(super) fn refs(store: &Store, hash: Hash) -> Option<u64> {
    let entry = store.view().index_entry(hash).unwrap();
    entry.map(|entry| entry.refs)
}

/// A store on a database that survives it.
pub(super) fn on(kv: &Arc<MemoryKv>) -> Arc<Store> {
    Store::on(Arc::clone(kv) as Arc<dyn kv::Kv>, &StoreOptions::default()).unwrap()
}
