//! The end of a scan: it and all epochs that waited for it get their states and seals, in order,
//! and are listed from then on.

use super::commit::{exchange_dirent, exchange_inode, put_sum, unpack_sum};
use super::kv::{Batch, Durability};
use super::view::{View, decode};
use super::{Result, SnapshotAction, Store, StoreError, meta};
use crate::format::key::{self, Family};
use crate::format::lthash::{self, LtHash};
use crate::format::record::*;
use crate::format::value;
use crate::id::*;
use crate::limits;
use crate::time::Timestamp;

impl Store {
    /// The scan `scan` and everything that waited for it become Whole: computes their state
    /// hashes and seals in order. (`state` Partial for a scan that was cut off.)
    ///
    /// # Errors
    /// No epoch waits for this scan; an epoch before it waits for another; or the store can't be
    /// written.
    pub fn finish_scan(&self, scan: Epoch, state: EpochState) -> Result<()> {
        self.end_scan(scan, state, None)
    }

    /// The same for a scan that is whole and gets a name, in the same batch: it is never listed
    /// without it.
    ///
    /// # Errors
    /// As `finish_scan`; the name is taken.
    pub fn finish_scan_named(&self, scan: Epoch, name: &str, snapshot: &Snapshot) -> Result<()> {
        self.end_scan(scan, EpochState::Whole, Some((name, snapshot)))
    }

    fn end_scan(
        &self,
        scan: Epoch,
        state: EpochState,
        named: Option<(&str, &Snapshot)>,
    ) -> Result<()> {
        self.writable()?;
        let mut committer = self.committer.lock();
        self.check_folder()?;
        let view = self.view();
        let waiting = view.waiting_on(scan, committer.sealed)?;
        let mut batch = Batch::default();
        let mut sum = committer.sum.clone();
        let mut seal = committer.seal;
        let mut sealed = committer.sealed;
        for (epoch, record) in waiting {
            match view.delta(epoch)? {
                Some(delta) => {
                    sum.join(&delta);
                    batch.delete(Family::Meta, key::meta(meta::DELTA, epoch.0));
                }
                None => view.recount(epoch, &mut sum)?,
            }
            let mut header = match view.header(epoch)? {
                Some(header) => header,
                None => Header {
                    time: view.fitting_time(epoch, Timestamp::now())?,
                    wall: Timestamp::now(),
                    lineage: committer.lineage,
                    state: Hash::default(),
                    seal: Hash::default(),
                },
            };
            header.state = sum.state();
            header.seal = lthash::seal(seal, epoch, &header);
            seal = header.seal;
            sealed = epoch;
            let record = EpochRecord { state, ..record };
            let epoch_key = key::epoch(epoch);
            batch.put(Family::Epochs, epoch_key, value::pack(&record));
            batch.put(Family::Headers, epoch_key, value::pack(&header));
        }
        put_sum(&mut batch, sealed, &sum);
        let mut listed = None;
        if let Some((name, snapshot)) = named {
            self.name_epoch(&mut batch, name, snapshot)?;
            let made = SnapshotAction::Made;
            listed = Some(self.note_list_change(&mut batch, snapshot.by_uid, name, made)?);
        }
        self.write(batch, Durability::Synced)?;
        if let Some(changed) = listed {
            self.list_changed(changed);
        }
        committer.sealed = sealed;
        committer.seal = seal;
        committer.sum = sum;
        Ok(())
    }

    /// Scans that nobody goes on with are cut off, with what waited for them: those of a dead
    /// process, or of a time when the store could not be written.
    ///
    /// # Errors
    /// A store that can't be read or written.
    pub fn cut_off_scans(&self) -> Result<()> {
        loop {
            let sealed = self.committer.lock().sealed;
            let Some(scan) = self.view().unfinished_scan(sealed)? else {
                return Ok(());
            };
            self.finish_scan(scan, EpochState::Partial)?;
        }
    }

    /// The highest epoch number in use by anything in the store (also abandoned facts) and the
    /// time of the last header.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn last_epoch(&self) -> Result<(Epoch, Timestamp)> {
        let view = self.view();
        let mut last = Epoch::NONE;
        if let Some((key, _)) = view.last(Family::Changes, &[], &[])? {
            last = last.max(key::unpack_change(&key)?.0);
        }
        let mut time = Timestamp::default();
        if let Some((key, bytes)) = view.last(Family::Headers, &[], &[])? {
            let header: Header = decode(Family::Headers, &key, &bytes)?;
            last = last.max(key::unpack_epoch(Family::Headers, &key)?);
            time = header.time;
        }
        for delta in view.deltas()? {
            last = last.max(delta);
        }
        Ok((last, time))
    }
}

impl View<'_> {
    /// The epochs that become whole with a scan, itself among them, ascending.
    fn waiting_on(&self, scan: Epoch, sealed: Epoch) -> Result<Vec<(Epoch, EpochRecord)>> {
        let mut waiting = Vec::new();
        let mut other = None;
        // Facts of a scan that never got a record of its own.
        if self.epoch(scan)?.is_none() && self.delta(scan)?.is_some() {
            let record = EpochRecord {
                state: EpochState::Waiting { on: scan },
                kind: EpochKind::Scan,
                quiet: false,
                unseen_mappings: false,
                statistics: EpochStatistics::default(),
            };
            waiting.push((scan, record));
        }
        let mut epochs = self.from(Family::Epochs, &key::epoch(sealed.next()))?;
        while let Some((key, bytes)) = epochs.item() {
            let epoch = key::unpack_epoch(Family::Epochs, key)?;
            let record: EpochRecord = decode(Family::Epochs, key, bytes)?;
            if record.state == (EpochState::Waiting { on: scan }) {
                waiting.push((epoch, record));
            } else if other.is_none() {
                other = Some(epoch);
            }
            epochs.step()?;
        }
        waiting.sort_by_key(|(epoch, _)| *epoch);
        let Some((last, _)) = waiting.last() else {
            return Err(StoreError::NoEpoch { epoch: scan });
        };
        match other {
            Some(other) if other < *last => Err(StoreError::OutOfOrder {
                epoch: *last,
                waiting: other,
            }),
            _ => Ok(waiting),
        }
    }

    /// The oldest scan that is not finished.
    fn unfinished_scan(&self, sealed: Epoch) -> Result<Option<Epoch>> {
        let epochs = self.from(Family::Epochs, &key::epoch(sealed.next()))?;
        let waiting = match epochs.item() {
            Some((key, bytes)) => match decode::<EpochRecord>(Family::Epochs, key, bytes)?.state {
                EpochState::Waiting { on } => Some(on),
                EpochState::Whole | EpochState::Partial => None,
            },
            None => None,
        };
        let facts = self.deltas()?.into_iter().min();
        Ok(waiting.into_iter().chain(facts).min())
    }

    /// What the facts of an unfinished scan add to the sum.
    pub(super) fn delta(&self, epoch: Epoch) -> Result<Option<LtHash>> {
        let key = key::meta(meta::DELTA, epoch.0);
        let bytes: Option<Vec<u8>> = self.get(Family::Meta, &key)?;
        bytes.map(|bytes| unpack_sum(&key, &bytes)).transpose()
    }

    /// The epochs that have a delta.
    pub(super) fn deltas(&self) -> Result<Vec<Epoch>> {
        let mut scan = self.prefix(Family::Meta, &key::meta_prefix(meta::DELTA))?;
        let mut epochs = Vec::new();
        while let Some((key, _)) = scan.item() {
            epochs.push(Epoch(key::unpack_meta(meta::DELTA, key)?));
            scan.step()?;
        }
        Ok(epochs)
    }

    /// Brings a sum from the epoch before to this one, by its lines of change.
    fn recount(&self, epoch: Epoch, sum: &mut LtHash) -> Result<()> {
        let before = Epoch(epoch.0 - 1);
        let mut lines = self.prefix(Family::Changes, &key::epoch(epoch))?;
        while let Some((key, _)) = lines.item() {
            let (_, id, name) = key::unpack_change(key)?;
            match name {
                None => {
                    let old = self.inode_at(id, before)?.map(|(_, version)| version);
                    let new = self.inode_at(id, epoch)?.map(|(_, version)| version);
                    if old != new {
                        exchange_inode(sum, id, old.as_ref(), new.as_ref());
                    }
                }
                Some(name) => {
                    let old = self
                        .dirent_at(id, name, before)?
                        .map(|(_, version)| version);
                    let new = self.dirent_at(id, name, epoch)?.map(|(_, version)| version);
                    if old != new {
                        exchange_dirent(sum, id, name, old.as_ref(), new.as_ref());
                    }
                }
            }
            lines.step()?;
        }
        Ok(())
    }

    /// The time nearest to `wanted` that lies between those of the epochs before and after.
    pub(super) fn fitting_time(&self, epoch: Epoch, wanted: Timestamp) -> Result<Timestamp> {
        let mut time = wanted;
        let after = self.from(Family::Headers, &key::epoch(epoch.next()))?;
        if let Some((key, bytes)) = after.item() {
            let header: Header = decode(Family::Headers, key, bytes)?;
            time = time.min(header.time.minus(limits::TIME_STEP));
        }
        if let Some((key, bytes)) = self.last(Family::Headers, &[], &key::epoch(epoch))? {
            let header: Header = decode(Family::Headers, &key, &bytes)?;
            time = time.max(header.time.plus(limits::TIME_STEP));
        }
        Ok(time)
    }
}
