//! States, the chain of headers, and the names of snapshots.

use super::super::Result;
use super::super::commit::{exchange_dirent, exchange_inode};
use super::super::view::{decode, is_listed};
use super::{Problem, Verify};
use crate::format::key::{self, Family};
use crate::format::lthash::{self, LtHash};
use crate::format::record::*;
use crate::id::*;
use crate::limits;

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
            if let Err(error) = self.states_of(epochs) {
                self.problem(error);
            }
        }
    }

    fn states_of(&mut self, epochs: &[Epoch]) -> Result<()> {
        let mut steps = vec![LtHash::default(); epochs.len() + 1];
        let last = epochs.len();
        let from = |epoch: Epoch| epochs.partition_point(|listed| *listed < epoch);
        let mut newer: Option<(FileId, Epoch)> = None;
        let mut scan = self.store_view.from(Family::Inodes, &[])?;
        while let Some((key, bytes)) = scan.item() {
            let (id, epoch) = key::unpack_inode(key)?;
            let superseded = newer.filter(|(other, _)| *other == id);
            let version: Result<InodeVersion> = decode(Family::Inodes, key, bytes);
            // A record that can't be decoded was reported before; here it is one not there.
            if let Ok(version) = version {
                let (first, end) = (from(epoch), superseded.map_or(last, |(_, at)| from(at)));
                if first < end {
                    exchange_inode(&mut steps[first], id, None, Some(&version));
                    exchange_inode(&mut steps[end], id, Some(&version), None);
                }
            }
            newer = Some((id, epoch));
            scan.step()?;
        }
        let mut newer: Option<(FileId, Vec<u8>, Epoch)> = None;
        let mut scan = self.store_view.from(Family::Dirents, &[])?;
        while let Some((key, bytes)) = scan.item() {
            let (dir, name, epoch) = key::unpack_dirent(key)?;
            let superseded = newer.filter(|(other, its, _)| *other == dir && its == name);
            let version: Result<Dirent> = decode(Family::Dirents, key, bytes);
            if let Ok(version) = version {
                let (first, end) = (from(epoch), superseded.map_or(last, |(_, _, at)| from(at)));
                if first < end {
                    exchange_dirent(&mut steps[first], dir, name, None, Some(&version));
                    exchange_dirent(&mut steps[end], dir, name, Some(&version), None);
                }
            }
            newer = Some((dir, name.to_vec(), epoch));
            scan.step()?;
        }
        let mut sum = LtHash::default();
        for (epoch, step) in epochs.iter().zip(&steps) {
            sum.join(step);
            self.report.epochs += 1;
            match self.store_view.header(*epoch)? {
                Some(header) if header.state == sum.state() => {}
                Some(_) => self.problem(Problem::State { epoch: *epoch }),
                None => self.problem(Problem::NoHeader { epoch: *epoch }),
            }
        }
        Ok(())
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
            if header.seal != seal || header.time.0 <= before.1 {
                verify.problem(Problem::Seal { epoch });
            }
            before = (header.seal, header.time.0);
            Ok(())
        });
    }

    pub fn snapshots(&mut self) {
        self.each(Family::Snapshots, |verify, key, bytes| {
            let name = key::unpack_snapshot(key)?.to_owned();
            let snapshot: Snapshot = decode(Family::Snapshots, key, bytes)?;
            let epoch = snapshot.epoch;
            if verify.store_view.epoch(epoch)?.is_none() {
                verify.problem(Problem::Snapshot { name, epoch });
            }
            Ok(())
        });
    }
}
