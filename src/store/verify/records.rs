//! Versions of files and names.

use super::super::cut::Interval;
use super::super::line::ChangeLine;
use super::super::purge::Tombstone;
use super::super::view::decode;
use super::super::{Result, StoreError, meta};
use super::{Problem, Verify};
use crate::format::key::{self, Family};
use crate::format::record::{Content, Dirent, EpochState, Inode, InodeVersion, LiveEntry};
use crate::id::{Epoch, FileId};

impl Verify<'_> {
    pub fn inodes(&mut self) {
        self.each(Family::Inodes, |verify, key, bytes| {
            let (id, epoch) = key::unpack_inode(key)?;
            let first = verify.part.is_first();
            let version: InodeVersion = match decode(Family::Inodes, key, bytes) {
                Err(_) if !first => return Ok(()),
                version => version?,
            };
            if let InodeVersion::Present(Inode {
                content: Content::Chunk(hash) | Content::List(hash),
                ..
            }) = version
            {
                verify.count(hash);
                if first && !verify.is_readable(hash)? {
                    verify.problem(Problem::Content { id, epoch, hash });
                }
            }
            if !first {
                return Ok(());
            }
            if let InodeVersion::Present(Inode {
                content: Content::Purged(hash),
                ..
            }) = version
                && !verify.purged.contains(&hash)
            {
                verify.problem(Problem::NoTombstone { id, epoch });
            }
            verify.report.read.versions += 1;
            if let Some(kept) = verify.line_missing(epoch, id, None)? {
                verify.problem(Problem::InodeLine { id, epoch, kept });
            }
            Ok(())
        });
    }

    /// The kept epoch that should have a line for a version and has none.
    fn line_missing(&self, epoch: Epoch, id: FileId, name: Option<&[u8]>) -> Result<Option<Epoch>> {
        // Facts of a scan that has no record yet stand under their own number.
        let kept = self.kept_from(epoch).map_or(epoch, |(kept, _)| kept);
        let line = self
            .store_view
            .raw(Family::Changes, &key::change(kept, id, name))?;
        Ok(line.is_none().then_some(kept))
    }

    pub fn dirents(&mut self) {
        self.each(Family::Dirents, |verify, key, bytes| {
            let (dir, name, epoch) = key::unpack_dirent(key)?;
            verify.report.read.versions += 1;
            let version: Dirent = decode(Family::Dirents, key, bytes)?;
            if let Some(kept) = verify.line_missing(epoch, dir, Some(name))? {
                let name = name.to_vec();
                verify.problem(Problem::DirentLine {
                    dir,
                    name,
                    epoch,
                    kept,
                });
            }
            let (Dirent::Present { id, kind }, Some((kept, record))) =
                (version, verify.kept_from(epoch))
            else {
                return Ok(());
            };
            if record.state != EpochState::Whole {
                return Ok(());
            }
            let inode = verify.store_view.inode_at(id, kept)?;
            let fits = |version: &InodeVersion| matches!(version, InodeVersion::Present(inode) if inode.kind == kind);
            if !inode.is_some_and(|(_, version)| fits(&version)) {
                verify.problem(Problem::Dangling {
                    dir,
                    id,
                    epoch: kept,
                });
            }
            Ok(())
        });
    }

    /// What was purged, by the tombstones that say so.
    pub fn tombstones(&mut self) {
        let prefix = key::meta_prefix(meta::PURGED);
        let view = self.store_view;
        let mut scan = match view.prefix(Family::Meta, &prefix) {
            Ok(scan) => scan,
            Err(error) => return self.problem(error),
        };
        while let Some((key, bytes)) = scan.item() {
            match (
                key::unpack_meta(meta::PURGED, key),
                decode::<Tombstone>(Family::Meta, key, bytes),
            ) {
                (Ok(_), Ok(tombstone)) if tombstone.is_sound() => {
                    self.purged.extend(tombstone.contents);
                }
                (Ok(number), _) => self.problem(Problem::Tombstone { number }),
                (Err(error), _) => self.problem(StoreError::from(error)),
            }
            if let Err(error) = scan.step() {
                return self.problem(error);
            }
        }
    }

    /// Records that nothing is counted of: that they can be read.
    pub fn others(&mut self) {
        let pruning: Option<Interval> = match self.store_view.get(Family::Meta, meta::PRUNING) {
            Ok(pruning) => pruning,
            Err(error) => return self.problem(error),
        };
        let mut last = pruning.map_or(Epoch::NONE, |interval| interval.epoch);
        self.each(Family::Changes, |verify, key, bytes| {
            let (epoch, ..) = key::unpack_change(key)?;
            let is_kept = verify
                .kept_from(epoch)
                .is_some_and(|(kept, _)| kept == epoch);
            if epoch != last && epoch <= verify.sum.0 && !is_kept && !verify.report.blind {
                last = epoch;
                verify.problem(Problem::NoEpoch { epoch });
            }
            ChangeLine::unpack(key, bytes).map(drop)
        });
        // What an earlier program wrote of an actor is for who shows it.
        self.each(Family::Actors, |_, key, _| {
            key::unpack_actor(key)?;
            Ok(())
        });
        self.each(Family::Live, |_, key, bytes| {
            key::unpack_live(key)?;
            decode::<LiveEntry>(Family::Live, key, bytes).map(drop)
        });
    }
}
