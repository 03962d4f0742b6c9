//! States, the chain of headers, and the names of snapshots.

use super::super::commit::{exchange_dirent, exchange_inode};
use super::super::view::{decode, is_listed};
use super::super::{Result, SnapshotAction, SnapshotEvent, meta};
use super::{Problem, Verify};
use crate::format::key::{self, Family};
use crate::format::lthash::{self, LtHash};
use crate::format::record::*;
use crate::id::*;
use crate::limits;
use std::collections::{BTreeSet, HashSet};

impl Verify<'_> {
    /// Counts the states of all listed epochs in one pass over the records for as many epochs as
    /// fit into memory: each version is added where it is first seen, and taken out where it is
    /// superseded; the sums up to an epoch are its state.
    pub fn states(&mut self) {
        let listed: Vec<Epoch> = self
            .kept
            .iter()
            .filter(|(epoch, record)| is_listed(record) && *epoch <= self.sealed)
            .map(|(epoch, _)| *epoch)
            .collect();
        for epochs in listed.chunks(limits::VERIFY_EPOCHS) {
            if self.stopped {
                return;
            }
            self.states_of(epochs);
        }
    }

    fn states_of(&mut self, epochs: &[Epoch]) {
        let mut steps = vec![LtHash::default(); epochs.len() + 1];
        let last = epochs.len();
        let from = |epoch: Epoch| epochs.partition_point(|listed| *listed < epoch);
        let mut newer: Option<(FileId, Epoch)> = None;
        self.quietly(Family::Inodes, |key, bytes| {
            let (id, epoch) = key::unpack_inode(key)?;
            let superseded = newer.filter(|(other, _)| *other == id);
            newer = Some((id, epoch));
            let version: InodeVersion = decode(Family::Inodes, key, bytes)?;
            let (first, end) = (from(epoch), superseded.map_or(last, |(_, at)| from(at)));
            if first < end {
                exchange_inode(&mut steps[first], id, None, Some(&version));
                exchange_inode(&mut steps[end], id, Some(&version), None);
            }
            Ok(())
        });
        let mut newer: Option<(FileId, Vec<u8>, Epoch)> = None;
        self.quietly(Family::Dirents, |key, bytes| {
            let (dir, name, epoch) = key::unpack_dirent(key)?;
            let is_same =
                |(other, its, _): &&(FileId, Vec<u8>, Epoch)| *other == dir && its == name;
            let superseded = newer.as_ref().filter(is_same).map(|(.., at)| *at);
            newer = Some((dir, name.to_vec(), epoch));
            let version: Dirent = decode(Family::Dirents, key, bytes)?;
            let (first, end) = (from(epoch), superseded.map_or(last, from));
            if first < end {
                exchange_dirent(&mut steps[first], dir, name, None, Some(&version));
                exchange_dirent(&mut steps[end], dir, name, Some(&version), None);
            }
            Ok(())
        });
        if self.stopped {
            return;
        }
        let mut sum = LtHash::default();
        for (epoch, step) in epochs.iter().zip(&steps) {
            sum.join(step);
            self.report.epochs += 1;
            self.counting = Some(sum.state());
            self.state(*epoch, sum.state());
        }
        if epochs.last() == Some(&self.sum.0) {
            let epoch = self.sum.0;
            if sum.state() != self.sum.1.state() {
                self.problem(Problem::Sum { epoch });
            }
            self.newest = Some(sum);
        }
    }

    /// The state of one epoch, listed or not; `None` if not everything can be read.
    pub fn count_state(&mut self, epoch: Epoch) -> Option<Hash> {
        let (problems, blind) = (self.report.problems_found, self.report.blind);
        self.counting = None;
        self.states_of(&[epoch]);
        self.report.problems_found = problems;
        (self.report.blind == blind)
            .then_some(self.counting)
            .flatten()
    }

    fn state(&mut self, epoch: Epoch, counted: Hash) {
        let header = match self.store_view.header(epoch) {
            Ok(header) => header,
            // It is told of with the headers.
            Err(error) if error.is_damage() => return,
            Err(error) => return self.problem(error),
        };
        let Some(header) = header else {
            return self.problem(Problem::NoHeader { epoch });
        };
        let left = self.mended.get(&epoch).and_then(|mended| mended.state);
        self.report.mended += u64::from(left.is_some());
        if counted != left.unwrap_or(header.state) {
            self.problem(Problem::State { epoch, counted });
        }
    }

    /// Calls `each` for the records of a family that can be read and decoded; the others were told
    /// of before, and here are not there.
    fn quietly(&mut self, family: Family, mut each: impl FnMut(&[u8], &[u8]) -> Result<()>) {
        let found = self.report.problems_found;
        let listed = self.report.problems.len();
        self.each(family, |_, key, bytes| each(key, bytes));
        self.report.problems_found = found;
        self.report.problems.truncate(listed);
    }

    pub fn headers(&mut self) {
        let mut before = (Hash::default(), i64::MIN);
        self.each(Family::Headers, |verify, key, bytes| {
            let epoch = key::unpack_epoch(Family::Headers, key)?;
            let header: Header = decode(Family::Headers, key, bytes)?;
            if epoch > verify.sealed {
                return Ok(());
            }
            let seal = lthash::seal(before.0, epoch, &header);
            let anew = verify.mended.get(&epoch).and_then(|mended| mended.seal);
            if (header.seal != seal && anew != Some(header.seal)) || header.time.0 <= before.1 {
                verify.problem(Problem::Seal { epoch });
            }
            before = (header.seal, header.time.0);
            Ok(())
        });
    }

    pub fn snapshots(&mut self) {
        let mut names = HashSet::new();
        self.each(Family::Snapshots, |verify, key, bytes| {
            let name = key::unpack_snapshot(key)?.to_owned();
            names.insert(name.clone());
            let snapshot: Snapshot = decode(Family::Snapshots, key, bytes)?;
            let epoch = snapshot.epoch;
            if verify.store_view.epoch(epoch)?.is_none() {
                verify.problem(Problem::Snapshot { name, epoch });
            }
            Ok(())
        });
        if !self.stopped && !self.report.blind {
            self.lost_names(&names);
        }
    }

    /// Names that were given, as the log says, and not taken away, and are not there.
    fn lost_names(&mut self, names: &HashSet<String>) {
        let mut given = BTreeSet::new();
        let prefix = key::meta_prefix(meta::SNAPSHOT_LOG);
        let until = key::after_prefix(&prefix);
        self.each_between(Family::Meta, (&prefix, &until), |_, key, bytes| {
            let line: SnapshotEvent = decode(Family::Meta, key, bytes)?;
            match line.action {
                SnapshotAction::Removed => {
                    given.remove(&line.name);
                }
                SnapshotAction::Renamed { to } => {
                    given.remove(&line.name);
                    given.insert(to);
                }
                // Lines that are about no snapshot have no name.
                _ => {
                    given.insert(line.name);
                }
            }
            Ok(())
        });
        given.remove("");
        if self.report.blind {
            return;
        }
        for name in given {
            if !names.contains(&name) {
                self.problem(Problem::LostName { name });
            }
        }
    }
}
