//! A store in memory with a past that a test makes up, epoch by epoch.

use crate::format::ranges::RangeSet;
use crate::format::record::*;
use crate::id::*;
use crate::store::{Commit, Reliance, Store};
use crate::time::{TimeZone, Timestamp, parse};
use std::sync::Arc;

/// An instant from its canonical form or a shorter one.
pub fn at(text: &str) -> Timestamp {
    parse(text, Timestamp(0), &TimeZone::UTC).expect("a valid time")
}

/// The store, and the number of the next epoch.
pub struct Past {
    pub store: Arc<Store>,
    next: Epoch,
}

/// An epoch under way.
pub struct Draft<'a> {
    past: &'a Past,
    commit: Commit,
    relied: Reliance,
}

impl Past {
    pub fn new() -> Past {
        Past::on(Store::in_memory().expect("memory"))
    }

    /// On a store that is empty.
    pub fn on(store: Arc<Store>) -> Past {
        let next = Epoch(1);
        Past { store, next }
    }

    /// Commits an epoch with what `write` puts into it.
    pub fn epoch(&mut self, time: &str, write: impl FnOnce(&mut Draft<'_>)) -> Epoch {
        self.epoch_in(time, EpochState::Whole, write)
    }

    /// The same, but it waits for itself until `finish_scan`.
    pub fn scan(&mut self, time: &str, write: impl FnOnce(&mut Draft<'_>)) -> Epoch {
        let on = self.next;
        self.epoch_in(time, EpochState::Waiting { on }, write)
    }

    fn epoch_in(
        &mut self,
        time: &str,
        state: EpochState,
        write: impl FnOnce(&mut Draft<'_>),
    ) -> Epoch {
        let epoch = self.next;
        self.next = epoch.next();
        let mut draft = Draft {
            past: self,
            commit: Commit {
                epoch,
                ..Commit::default()
            },
            relied: self.store.reliance(),
        };
        write(&mut draft);
        let Draft {
            mut commit, relied, ..
        } = draft;
        let record = EpochRecord {
            state,
            kind: EpochKind::Checkpoint,
            quiet: true,
            unseen_mappings: false,
            statistics: EpochStatistics::default(),
        };
        commit.record = Some((record, at(time), at(time)));
        commit.reliances.push(relied);
        self.store.commit(commit).expect("committed");
        epoch
    }

    /// Hands out a number that no epoch will ever have.
    pub fn skip_epoch(&mut self) {
        self.next = self.next.next();
    }
}

/// A directory of root's, open to all.
pub fn directory() -> Inode {
    Inode {
        kind: Kind::Dir,
        mode: 0o755,
        uid: 0,
        gid: 0,
        rdev: 0,
        atime: FileTime { sec: 1, nsec: 1 },
        mtime: FileTime { sec: 2, nsec: 2 },
        ctime: FileTime { sec: 3, nsec: 3 },
        nlink: 2,
        size: 4096,
        content: Content::Empty,
        target: Vec::new(),
        xattrs: Vec::new(),
        parent: FileId(0),
        name: Vec::new(),
    }
}

/// A regular file of root's with this content.
pub fn file(content: Content, size: u64) -> Inode {
    Inode {
        kind: Kind::File,
        mode: 0o644,
        nlink: 1,
        size,
        content,
        ..directory()
    }
}

/// A symlink.
pub fn symlink(target: &str) -> Inode {
    Inode {
        kind: Kind::Symlink,
        mode: 0o777,
        nlink: 1,
        size: target.len() as u64,
        target: target.into(),
        ..directory()
    }
}

impl Draft<'_> {
    /// A version of the root.
    pub fn root(&mut self, inode: Inode) {
        let version = InodeVersion::Present(inode);
        self.commit.inodes.push((FileId::ROOT, version));
    }

    /// A version of a file under its (first) name.
    pub fn put(&mut self, id: u64, dir: u64, name: &str, inode: Inode) {
        let kind = inode.kind;
        self.again(id, dir, name, inode);
        self.name(id, dir, name, kind);
    }

    /// A version of a file that keeps its name.
    pub fn again(&mut self, id: u64, dir: u64, name: &str, mut inode: Inode) {
        inode.parent = FileId(dir);
        inode.name = name.into();
        self.commit
            .inodes
            .push((FileId(id), InodeVersion::Present(inode)));
    }

    /// A name of a file.
    pub fn name(&mut self, id: u64, dir: u64, name: &str, kind: Kind) {
        let present = Dirent::Present {
            id: FileId(id),
            kind,
        };
        self.commit
            .dirents
            .push((FileId(dir), name.into(), present));
    }

    /// A name is gone.
    pub fn unname(&mut self, dir: u64, name: &str) {
        let dirent = (FileId(dir), name.into(), Dirent::Gone);
        self.commit.dirents.push(dirent);
    }

    /// A file is gone with its name.
    pub fn gone(&mut self, id: u64, dir: u64, name: &str) {
        self.commit.inodes.push((FileId(id), InodeVersion::Gone));
        self.unname(dir, name);
    }

    /// A regular file that is one chunk.
    pub fn bytes(&mut self, id: u64, dir: u64, name: &str, bytes: &[u8]) {
        let content = match bytes {
            [] => Content::Empty,
            _ => Content::Chunk(self.chunk(bytes)),
        };
        self.put(id, dir, name, file(content, bytes.len() as u64));
    }

    /// A chunk of these bytes.
    pub fn chunk(&mut self, bytes: &[u8]) -> Hash {
        let chunk = self.past.store.put_chunk(&mut self.relied, bytes);
        chunk.expect("stored")
    }

    /// A list of these pieces.
    pub fn list(&mut self, pieces: Vec<Piece>) -> Content {
        let list = ChunkList {
            cutting: Cutting::Fixed,
            pieces,
        };
        let stored = self.past.store.put_list(&mut self.relied, &list);
        Content::List(stored.expect("stored"))
    }

    /// All that was written so far was done by these, whose records are written as well.
    pub fn done_by(&mut self, actors: &[(u64, Actor)]) {
        let ids: Vec<ActorId> = actors.iter().map(|(id, _)| ActorId(*id)).collect();
        for (file, _) in &self.commit.inodes {
            let change = Change::Inode {
                what: What::CONTENT,
                actors: ids.clone(),
                written: Vec::new(),
            };
            self.commit.changes.push((*file, change));
        }
        for (directory, name, _) in &self.commit.dirents {
            let change = Change::Dirent {
                name: name.clone(),
                actors: ids.clone(),
            };
            self.commit.changes.push((*directory, change));
        }
        let records = actors
            .iter()
            .map(|(id, actor)| (ActorId(*id), actor.clone()));
        self.commit.actors.extend(records);
    }

    /// Who wrote what of a file, of those who did it.
    pub fn wrote(&mut self, file: u64, shares: &[(u64, std::ops::Range<u64>)]) {
        for (id, change) in &mut self.commit.changes {
            let Change::Inode { written, .. } = change else {
                continue;
            };
            if *id != FileId(file) {
                continue;
            }
            for (by, range) in shares {
                let mut bytes = RangeSet::default();
                bytes.insert(range.clone());
                let by = ActorId(*by);
                written.push(Written { by, bytes });
            }
        }
    }

    /// Gives the epoch a name.
    pub fn snapshot(&mut self, name: &str) -> SnapshotId {
        self.named(name, SnapshotMode::Incremental)
    }

    /// The same, as a full one.
    pub fn full_snapshot(&mut self, name: &str) -> SnapshotId {
        self.named(name, SnapshotMode::Full)
    }

    fn named(&mut self, name: &str, mode: SnapshotMode) -> SnapshotId {
        let id = self.past.store.new_snapshot_id().expect("an id");
        let snapshot = Snapshot {
            id,
            epoch: self.commit.epoch,
            time: Timestamp(0),
            mode,
            base: None,
            hold: None,
            tags: Vec::new(),
            message: String::new(),
            by_uid: 0,
        };
        self.commit.snapshots.push((name.into(), snapshot));
        id
    }
}
