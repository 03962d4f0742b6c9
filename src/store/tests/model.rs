//! A store beside the plainest model of one: a copy of the whole tree for each epoch.

use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

const FILES: u64 = 12;
const NAMES: [&[u8]; 5] = [b"a", b"ab", b"b", b"c", b"\xff"];

/// All files and names of an instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tree {
    pub files: BTreeMap<FileId, Inode>,
    pub names: BTreeMap<Vec<u8>, FileId>,
}

/// Random work on a store, and what must be there after it.
pub(super) struct Model {
    pub random: StdRng,
    pub tree: Tree,
    /// Epochs that were acknowledged and not pruned.
    pub kept: BTreeMap<Epoch, Tree>,
    next: u64,
    next_file: u64,
}

impl Model {
    pub fn new(seed: u64) -> Model {
        Model {
            random: StdRng::seed_from_u64(seed),
            tree: Tree::default(),
            kept: BTreeMap::new(),
            next: 1,
            next_file: 10,
        }
    }

    /// Content from a small stock, so that much is shared.
    fn content(&mut self, store: &Store, relied: &mut Reliance) -> Result<Content> {
        let bytes = |n: u8| vec![n; usize::from(n) * 7 + 1];
        Ok(match self.random.random_range(0..6) {
            0 => Content::Empty,
            1 => Content::Lost(LostReason::TooSlow),
            2 | 3 => {
                let n = self.random.random_range(0..6);
                Content::Chunk(store.put_chunk(relied, &bytes(n))?)
            }
            _ => {
                let mut pieces = vec![Piece::Hole {
                    len: self.random.random_range(1..3),
                }];
                for _ in 0..self.random.random_range(1..4) {
                    let plain = bytes(self.random.random_range(0..6));
                    let hash = store.put_chunk(relied, &plain)?;
                    let len = u32::try_from(plain.len()).unwrap();
                    pieces.push(Piece::Data { len, hash });
                }
                let cutting = Cutting::ContentDefined;
                Content::List(store.put_list(relied, &ChunkList { cutting, pieces })?)
            }
        })
    }

    /// Changes some files and names; what becomes of the tree is in `commit`.
    fn change(&mut self, store: &Arc<Store>, commit: &mut Commit, tree: &mut Tree) -> Result<()> {
        let mut relied = store.reliance();
        for _ in 0..self.random.random_range(0..6) {
            let name = NAMES[self.random.random_range(0..NAMES.len())].to_vec();
            let old = tree.names.get(&name).copied();
            let id = match old {
                Some(id) if self.random.random_bool(0.6) => id,
                _ => {
                    self.next_file += 1;
                    FileId(self.next_file % FILES + 10 + self.next_file / FILES * 100)
                }
            };
            if let Some(old) = old.filter(|old| *old != id) {
                tree.files.remove(&old);
                commit.inodes.push((old, InodeVersion::Gone));
            }
            if old.is_some() && self.random.random_bool(0.25) {
                tree.files.remove(&id);
                tree.names.remove(&name);
                commit.inodes.push((id, InodeVersion::Gone));
                commit.dirents.push((FileId::ROOT, name, Dirent::Gone));
                continue;
            }
            let content = self.content(store, &mut relied)?;
            let version = inode(content, self.random.random_range(0..9));
            if let InodeVersion::Present(inode) = &version {
                tree.files.insert(id, inode.clone());
            }
            tree.names.insert(name.clone(), id);
            commit.inodes.push((id, version));
            commit.dirents.push((FileId::ROOT, name, present(id)));
        }
        commit.reliances.push(relied);
        Ok(())
    }

    /// One commit, sometimes with a name.
    pub fn commit(&mut self, store: &Arc<Store>) -> Result<()> {
        let epoch = self.next;
        self.next += self.random.random_range(1..3);
        let mut commit = whole(epoch);
        let mut tree = self.tree.clone();
        self.change(store, &mut commit, &mut tree)?;
        if self.random.random_bool(0.1) {
            let name = format!("s{epoch}");
            let id = store.new_snapshot_id()?;
            let snapshot = Snapshot {
                id,
                ..super::plain_snapshot(epoch)
            };
            commit.snapshots.push((name, snapshot));
        }
        store.commit(commit)?;
        self.tree = tree;
        self.kept.insert(Epoch(epoch), self.tree.clone());
        Ok(())
    }

    /// A capture that is given up.
    pub fn abandon(&mut self, store: &Arc<Store>) -> Result<()> {
        let mut commit = Commit::default();
        let mut tree = self.tree.clone();
        self.change(store, &mut commit, &mut tree)
    }

    /// A scan of the whole tree in two batches, with an epoch that waits for it.
    pub fn scan(&mut self, store: &Arc<Store>) -> Result<()> {
        let scan = Epoch(self.next);
        self.next += 2;
        let waiting = EpochState::Waiting { on: scan };
        store.commit(at(scan.0, waiting))?;
        let mut seen = self.tree.clone();
        let mut late = at(scan.0 + 1, waiting);
        let mut after = self.tree.clone();
        for part in 0..2 {
            let mut facts = Commit {
                epoch: scan,
                ..Commit::default()
            };
            let mut relied = store.reliance();
            for (id, file) in &mut seen.files {
                if id.0 % 2 != part {
                    continue;
                }
                file.content = self.content(store, &mut relied)?;
                let version = InodeVersion::Present(file.clone());
                facts.inodes.push((*id, version));
                after.files.insert(*id, file.clone());
            }
            facts.reliances.push(relied);
            store.commit(facts)?;
            if part == 0 {
                late.record.as_mut().unwrap().0.quiet = false;
                if let Some((name, id)) = after.names.pop_first() {
                    after.files.remove(&id);
                    late.inodes.push((id, InodeVersion::Gone));
                    late.dirents.push((FileId::ROOT, name, Dirent::Gone));
                }
                store.commit(std::mem::take(&mut late))?;
            }
        }
        store.finish_scan(scan, EpochState::Whole)?;
        after
            .files
            .retain(|id, _| after.names.values().any(|named| named == id));
        self.kept.insert(scan, seen);
        self.kept.insert(scan.next(), after.clone());
        self.tree = after;
        Ok(())
    }

    /// Drops a random epoch that may go.
    pub fn prune(&mut self, store: &Arc<Store>) -> Result<()> {
        let at = self.random.random_range(0..self.kept.len().max(1));
        let Some(epoch) = self.kept.keys().nth(at).copied() else {
            return Ok(());
        };
        let weight = store.weigh(&[epoch], &[], &|| true)?;
        match store.prune(epoch) {
            Ok(pruned) => {
                assert_eq!(weight.dropped, pruned.chunk_bytes, "{epoch}");
                self.kept.remove(&epoch);
                Ok(())
            }
            Err(StoreError::Kept { .. }) => Ok(()),
            // It may be gone, or not.
            Err(error) => {
                self.kept.remove(&epoch);
                Err(error)
            }
        }
    }

    /// Drops many at once, newest first, as a plan does; what it frees was said before.
    pub fn prune_many(&mut self, store: &Arc<Store>) -> Result<()> {
        let may_go = |random: &mut StdRng, epoch: &Epoch| {
            let named = store.view().snapshots().unwrap_or_default();
            let named = named.iter().any(|(_, named)| named.epoch == *epoch);
            !named && random.random_bool(0.4)
        };
        let last = self.kept.keys().next_back().copied();
        let all: Vec<Epoch> = self.kept.keys().copied().collect();
        let going: Vec<Epoch> = all
            .into_iter()
            .filter(|epoch| Some(*epoch) != last && may_go(&mut self.random, epoch))
            .collect();
        let (dropped, further) = going.split_at(self.random.random_range(0..=going.len()));
        // What goes in any case may lie before and behind what goes further.
        let (dropped, further) = if self.random.random_bool(0.5) {
            (dropped, further)
        } else {
            (further, dropped)
        };
        let weights = store.weigh(dropped, further, &|| true)?;
        assert!(weights.exact);
        let mut freed = 0;
        for epoch in dropped.iter().rev() {
            self.kept.remove(epoch);
            freed += store.prune(*epoch)?.chunk_bytes;
        }
        assert_eq!(weights.dropped, freed);
        for (epoch, weight) in further.iter().zip(&weights.further) {
            self.kept.remove(epoch);
            freed += store.prune(*epoch)?.chunk_bytes;
            assert_eq!(*weight, freed, "{epoch}");
        }
        Ok(())
    }

    /// One of all these.
    pub fn step(&mut self, store: &Arc<Store>) -> Result<()> {
        match self.random.random_range(0..60) {
            59 => self.prune_many(store),
            n => self.step_of(store, n % 12),
        }
    }

    fn step_of(&mut self, store: &Arc<Store>, n: u32) -> Result<()> {
        match n {
            0..=5 => self.commit(store),
            6 => self.abandon(store),
            7 => self.scan(store),
            _ => self.prune(store),
        }
    }

    /// Every kept epoch reads as the model says, and the lists of changes cover the differences.
    pub fn check(&self, store: &Store) {
        let view = store.view();
        let listed = view.epochs(Epoch::NONE, Epoch::MAX, usize::MAX).unwrap();
        let listed: Vec<Epoch> = listed.into_iter().map(|(epoch, ..)| epoch).collect();
        let kept: Vec<Epoch> = self.kept.keys().copied().collect();
        assert_eq!(listed, kept);
        let mut before = Tree::default();
        for (epoch, tree) in &self.kept {
            assert_eq!(&read(&view, *epoch, &self.kept), tree, "{epoch}");
            self.check_changes(&view, *epoch, &before, tree);
            before = tree.clone();
        }
    }

    /// The next epoch that a prune may take: neither the newest nor one with a name.
    pub fn may_go(&mut self, store: &Store) -> Option<Epoch> {
        let named = store.view().snapshots().unwrap();
        let last = self.kept.keys().next_back().copied();
        let may = |epoch: &&Epoch| {
            Some(**epoch) != last && !named.iter().any(|(_, named)| named.epoch == **epoch)
        };
        let all: Vec<Epoch> = self.kept.keys().filter(may).copied().collect();
        let at = self.random.random_range(0..all.len().max(1));
        all.get(at).copied()
    }

    /// Every kept epoch but one, which is being pruned, reads as the model says.
    pub fn check_all_but(&self, store: &Store, pruned: Epoch) {
        let view = store.view();
        for (epoch, tree) in &self.kept {
            if *epoch != pruned {
                assert!(view.epoch(*epoch).unwrap().is_some(), "{epoch} is gone");
                assert_eq!(&read(&view, *epoch, &self.kept), tree, "{epoch}");
            }
        }
    }

    fn check_changes(&self, view: &View<'_>, epoch: Epoch, before: &Tree, tree: &Tree) {
        let mut files = BTreeSet::new();
        let mut names = BTreeSet::new();
        for (id, change) in view.changes(epoch).unwrap() {
            match change {
                Change::Inode { .. } => files.insert(id),
                Change::Dirent { name, .. } => names.insert(name),
            };
        }
        for id in before.files.keys().chain(tree.files.keys()) {
            if before.files.get(id) != tree.files.get(id) {
                assert!(files.contains(id), "{id} in {epoch}");
            }
        }
        for name in before.names.keys().chain(tree.names.keys()) {
            if before.names.get(name) != tree.names.get(name) {
                assert!(names.contains(name), "{name:?} in {epoch}");
            }
        }
    }
}

/// The tree as the store has it, its contents read.
fn read(view: &View<'_>, epoch: Epoch, kept: &BTreeMap<Epoch, Tree>) -> Tree {
    let mut tree = Tree::default();
    for (name, id, _) in view.list_at(FileId::ROOT, epoch, None, 999).unwrap() {
        tree.names.insert(name, id);
    }
    let ids: BTreeSet<FileId> = kept
        .values()
        .flat_map(|tree| tree.files.keys().copied())
        .collect();
    for id in ids {
        if let Some((_, InodeVersion::Present(inode))) = view.inode_at(id, epoch).unwrap() {
            match inode.content {
                Content::Chunk(hash) => drop(view.chunk(hash).unwrap()),
                Content::List(hash) => {
                    for piece in &view.list(hash).unwrap().pieces {
                        if let Piece::Data { hash, len } = piece {
                            assert_eq!(view.chunk(*hash).unwrap().len(), *len as usize);
                        }
                    }
                }
                Content::Empty | Content::Lost(_) | Content::Purged(_) | Content::Damaged(_) => {}
            }
            tree.files.insert(id, inode);
        }
    }
    tree
}
