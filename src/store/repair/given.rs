//! What is lost here, and what was made of this store elsewhere still has.
//!
//! 1. Of content the one who brings it is not believed: bytes are taken for the hash that is missing,
//!    and for nothing else.
//! 2. Of records those are taken that are not here, or can't be read: only from a set whose last state is
//!    kept here, of this history (`has_set`), so that what followed a version is here or comes along. Whether they
//!    are right says the state of each epoch, which the repair counts afterwards.
//! 3. What was pruned here since comes along as well, and is removed again (`settle`).

use super::super::import::check;
use super::super::kv::{Batch, Durability};
use super::super::refs::named;
use super::super::verify::{Depth, Problem, skip};
use super::super::view::View;
use super::super::{Result, Store};
use crate::format::key::{self, Family};
use crate::format::record::{Content, Dirent, InodeVersion, Piece};
use crate::format::transfer::{RawChunk, RawRecord, Sent};
use crate::format::value;
use crate::id::{Epoch, Hash};
use crate::limits;
use std::collections::{BTreeSet, HashSet};

/// Whether records are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Lacking {
    Nothing,
    /// Some are, and can be put back.
    Records,
    /// Some are, and nothing can be written in their place while others work with the store.
    InUse,
}

/// A set that was made of a store.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct GivenSet {
    pub repository: [u8; 16],
    pub number: u64,
    pub to: Epoch,
    pub seal: Hash,
}

/// Records that are put back.
#[derive(Debug, Default)]
pub struct Given {
    /// A state is not what its header says, or a header not what the next one says: what is here may
    /// be wrong.
    is_doubtful: bool,
    /// The database was built anew.
    is_rebuilt: bool,
    /// Versions of files and of names that were not here at all.
    absent: BTreeSet<(Family, Vec<u8>)>,
}

impl Store {
    /// Whether records are lost. `alone`: nobody else works with the store, and its database is built
    /// anew if it is damaged as such; until `settle`, what was lost is not yet stood in for.
    ///
    /// # Errors
    /// A store that can't be read or written.
    pub fn lacks_records(&self, alone: bool, go_on: &dyn Fn() -> bool) -> Result<(Lacking, Given)> {
        let depth = Depth {
            hashed_percent: 0,
            seed: 0,
        };
        let mut given = Given::default();
        let mut report = self.verify_to(depth, &|_| go_on())?;
        if report.blind && !alone {
            return Ok((Lacking::InUse, given));
        }
        // It was built anew when it was opened.
        given.is_rebuilt = self
            .salvaged
            .lock()
            .take()
            .is_some_and(|why| why.has_lost_records());
        if report.blind {
            self.rebuild()?;
            given.is_rebuilt = true;
            report = self.verify_to(depth, &|_| go_on())?;
        }
        // Only so many are kept: of more than these it is not known that they are all of content.
        let all = report.problems_found > report.problems.len() as u64;
        let is_of_records = |problem: &Problem| {
            !matches!(
                problem,
                Problem::Chunk { .. }
                    | Problem::Content { .. }
                    | Problem::References { .. }
                    | Problem::Unnamed { .. }
            )
        };
        let is_of_states =
            |problem: &Problem| matches!(problem, Problem::State { .. } | Problem::Seal { .. });
        given.is_doubtful = all || report.problems.iter().any(is_of_states);
        let any = all || report.problems.iter().any(is_of_records);
        Ok(match any || given.is_rebuilt {
            true => (Lacking::Records, given),
            false => (Lacking::Nothing, given),
        })
    }

    /// Whether the state of a set is kept here, with the same history before it: its header says so, or,
    /// should that be lost, the note of what was sent.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn has_set(&self, set: &GivenSet) -> Result<bool> {
        let view = self.view();
        if !matches!(view.epoch(set.to), Ok(Some(_))) {
            return Ok(false);
        }
        if let Ok(Some(header)) = view.header(set.to)
            && header.seal == set.seal
        {
            return Ok(true);
        }
        let is_it = |sent: &Sent| {
            (sent.repository, sent.set, sent.epoch) == (set.repository, set.number, set.to)
        };
        Ok(view.sent()?.iter().any(is_it))
    }

    /// Puts records back that are not here, or can't be read; the answer is how many.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn put_back_records(&self, records: &[RawRecord], given: &mut Given) -> Result<u64> {
        // Not behind a prune or a purge.
        let _turn = self.pruning.lock();
        let _committer = self.committer.lock();
        let view = self.view();
        let mut batch = Batch::default();
        for record in records {
            let Ok(family) = check(record) else { continue };
            let kept = match family {
                Family::Inodes | Family::Dirents | Family::Actors | Family::Headers => true,
                // Lines of a state that is not kept any more are those of the next one.
                Family::Changes => {
                    let (epoch, ..) = key::unpack_change(&record.key)?;
                    view.epoch(epoch)?.is_some()
                }
                _ => false,
            };
            if !kept {
                continue;
            }
            match view.raw(family, &record.key) {
                Ok(Some(here)) if here == record.value => continue,
                Ok(Some(ref here)) if !given.replaces(family, record, here) => continue,
                Ok(None) if matches!(family, Family::Inodes | Family::Dirents) => {
                    given.absent.insert((family, record.key.clone()));
                }
                _ => {}
            }
            batch.put(family, record.key.clone(), record.value.clone());
        }
        let count = batch.changes.len() as u64;
        self.write(batch, Durability::Unsynced)?;
        Ok(count)
    }

    /// When all has come: removes again what was not lost but pruned, and puts something in the place of
    /// what did not come. The answer is how many were removed.
    ///
    /// # Errors
    /// A store that can't be read or written.
    pub fn settle(&self, given: Given) -> Result<u64> {
        let _turn = self.pruning.lock();
        let mut removed = 0;
        // By their keys the newest comes first: the end of a file is not needed when nothing before it is.
        for (family, key) in given.absent.into_iter().rev() {
            let _committer = self.committer.lock();
            if is_needed(&self.view(), family, &key)? {
                continue;
            }
            let mut batch = Batch::default();
            batch.delete(family, key);
            self.write(batch, Durability::Unsynced)?;
            removed += 1;
        }
        if given.is_rebuilt {
            self.stand_for_root()?;
            self.name_the_nameless()?;
        }
        let _committer = self.committer.lock();
        self.write(Batch::default(), Durability::Synced)?;
        Ok(removed)
    }

    /// What versions name and nothing here has. All data is read for that, and, if anything is wrong with
    /// it, every version. Of a list that is lost it is not known what it names, before it is back.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn lost(&self, go_on: &dyn Fn() -> bool) -> Result<Vec<Hash>> {
        // Of the problems that it finds no more are kept than can be told, and of a chunk one only.
        let report = self.verify_to(Depth::DATA, &|_| go_on())?;
        if report.problems_found == 0 || !report.finished {
            return Ok(Vec::new());
        }
        let mut lost = HashSet::new();
        let mut seen = HashSet::new();
        let mut look = |hash: Hash| {
            let new = seen.insert(hash);
            if new && !self.is_whole(hash) {
                lost.insert(hash);
            }
            // What was seen is only to save time.
            if seen.len() >= limits::WEIGHED_HASHES {
                seen.clear();
            }
            new
        };
        let view = self.view();
        skip::readable(&view, Family::Inodes, |_, bytes| {
            let Ok(InodeVersion::Present(inode)) = value::unpack(bytes) else {
                return;
            };
            let Some((hash, is_list)) = named(&inode.content) else {
                return;
            };
            // Whoever has gone is asked again at the end.
            if !go_on() || !look(hash) || !is_list {
                return;
            }
            let Ok(list) = view.list(hash) else { return };
            for piece in &list.pieces {
                if let Piece::Data { hash, .. } = piece {
                    look(*hash);
                }
            }
        });
        Ok(lost.into_iter().collect())
    }

    /// Puts back what was lost; the answer is how much of it was what its name says. References are
    /// counted by the repair that follows.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn put_back_lost(&self, chunks: &[RawChunk]) -> Result<u64> {
        // Not behind a prune or a purge.
        let _turn = self.pruning.lock();
        let mut taken = 0;
        for chunk in chunks {
            let Ok(plain) = value::unpack_chunk(&chunk.envelope, limits::LIST_PLAIN_MAX) else {
                continue;
            };
            let hash = match chunk.is_list {
                true => value::list_hash(&plain),
                false => Hash::of(&plain),
            };
            if hash == chunk.hash && !self.is_whole(hash) {
                self.put_back(hash, &plain, chunk.is_list)?;
                taken += 1;
            }
        }
        Ok(taken)
    }
}

impl Given {
    /// Whether one takes the place of what is here under its key.
    fn replaces(&self, family: Family, record: &RawRecord, here: &[u8]) -> bool {
        let own = RawRecord::new(family, &record.key, here);
        if check(&own).is_err() {
            return true;
        }
        // What was purged, or given up, was so on purpose.
        let on_purpose = match value::unpack(here) {
            Ok(InodeVersion::Present(inode)) if family == Family::Inodes => {
                matches!(inode.content, Content::Purged(_) | Content::Damaged(_))
            }
            _ => false,
        };
        let is_fixed = matches!(family, Family::Inodes | Family::Dirents | Family::Headers);
        self.is_doubtful && is_fixed && !on_purpose
    }
}

/// Whether a kept state shows a version, or needs it to tell that something has gone.
fn is_needed(view: &View<'_>, family: Family, key: &[u8]) -> Result<bool> {
    let (epoch, is_end, all): (Epoch, bool, Vec<Epoch>) = match family {
        Family::Inodes => {
            let (id, epoch) = key::unpack_inode(key)?;
            let versions = view.inode_versions(id)?;
            let is_end = |(at, version): &(Epoch, InodeVersion)| {
                *at == epoch && matches!(version, InodeVersion::Gone)
            };
            let end = versions.iter().any(is_end);
            (epoch, end, versions.into_iter().map(|(at, _)| at).collect())
        }
        _ => {
            let (dir, name, epoch) = key::unpack_dirent(key)?;
            let versions = view.dirent_versions(dir, name)?;
            let is_end =
                |(at, dirent): &(Epoch, Dirent)| *at == epoch && matches!(dirent, Dirent::Gone);
            let end = versions.iter().any(is_end);
            (epoch, end, versions.into_iter().map(|(at, _)| at).collect())
        }
    };
    let next = all.iter().copied().filter(|at| *at > epoch).min();
    if is_end && !all.iter().any(|at| *at < epoch) {
        return Ok(false);
    }
    let kept = view.kept_from(epoch)?;
    Ok(next.is_none_or(|next| kept < next))
}
