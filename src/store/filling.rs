//! A store whose directory is in use while it is recovered: all records are here, chunks are still to
//! come, and the directory is without some of what it is to hold.
//!
//! 1. Nothing that was recorded is dropped while chunks are still to come: what has not come can't be
//!    counted. References are made up at the end, from the records.
//! 2. A mark goes when what it stands for is on the disk, never before; who takes it away has synced
//!    the directory. A file is marked as begun, durably, before the first byte is written to it.

use super::kv::{Batch, Durability};
use super::view::decode;
use super::{Result, Store, StoreError, meta};
use crate::format::filling::{Filling, Unfilled};
use crate::format::key::{self, Family};
use crate::format::record::{Dirent, Inode, InodeVersion, LiveEntry};
use crate::format::value;
use crate::id::{Epoch, FileId};
use std::path::Path;
use std::sync::atomic::Ordering;

/// Marks that change, and what is to be known with them.
#[derive(Debug, Default)]
pub struct Marks {
    /// By inode number; `None`: it is as it is to be, or has gone.
    pub marks: Vec<(u64, Option<Unfilled>)>,
    pub live: Vec<(u64, Option<LiveEntry>)>,
    /// How much is left then.
    pub filling: Option<Filling>,
}

impl Marks {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.live.is_empty() && self.filling.is_none()
    }
}

impl Store {
    /// What is still to come, if anything is.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn filling(&self) -> Result<Option<Filling>> {
        self.meta(meta::FILLING)
    }

    /// The same of a store that this process does not have open, and another one may have.
    ///
    /// # Errors
    /// It is no store, or can't be read.
    pub fn peek_is_filling(dir: &Path) -> Result<bool> {
        let folder = super::folder::Folder::open(dir)?;
        let bytes = super::rocks::peek(&folder.database(), Family::Meta, meta::FILLING)?;
        Ok(bytes.is_some())
    }

    /// Whether anything is still to come.
    pub fn is_filling(&self) -> bool {
        self.filling.load(Ordering::Acquire)
    }

    pub(super) fn load_filling(&self) -> Result<()> {
        let is_filling = self.filling()?.is_some();
        self.filling.store(is_filling, Ordering::Release);
        Ok(())
    }

    /// That nothing is still to come.
    ///
    /// # Errors
    /// `Filling`.
    pub fn check_filled(&self) -> Result<()> {
        match self.is_filling() {
            true => Err(StoreError::Filling),
            false => Ok(()),
        }
    }

    /// What comes will come, from there.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn begin_filling(&self, filling: &Filling) -> Result<()> {
        self.put_meta(meta::FILLING, filling)?;
        self.filling.store(true, Ordering::Release);
        Ok(())
    }

    /// All marks.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn each_unfilled(&self, each: &mut dyn FnMut(u64, Unfilled)) -> Result<()> {
        let view = self.view();
        let mut scan = view.prefix(Family::Meta, &key::meta_prefix(meta::UNFILLED))?;
        while let Some((key, bytes)) = scan.item() {
            let number = key::unpack_meta(meta::UNFILLED, key)?;
            each(number, decode(Family::Meta, key, bytes)?);
            scan.step()?;
        }
        Ok(())
    }

    /// All files of a state.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn each_file_at(&self, at: Epoch, each: &mut dyn FnMut(FileId, &Inode)) -> Result<()> {
        let view = self.view();
        let mut scan = view.from(Family::Inodes, &[])?;
        let mut last = None;
        while let Some((key, bytes)) = scan.item() {
            let (id, epoch) = key::unpack_inode(key)?;
            // The newest version comes first.
            if epoch <= at && last != Some(id) {
                last = Some(id);
                if let InodeVersion::Present(inode) = decode(Family::Inodes, key, bytes)? {
                    each(id, &inode);
                }
            }
            scan.step()?;
        }
        Ok(())
    }

    /// All names of a state: the folder, the name, and what stands there.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn each_name_at(
        &self,
        at: Epoch,
        each: &mut dyn FnMut(FileId, &[u8], &Dirent),
    ) -> Result<()> {
        let view = self.view();
        let mut scan = view.from(Family::Dirents, &[])?;
        let mut last = None;
        while let Some((key, bytes)) = scan.item() {
            let (dir, name, epoch) = key::unpack_dirent(key)?;
            if epoch <= at && last.as_ref() != Some(&(dir, name.to_vec())) {
                let dirent: Dirent = decode(Family::Dirents, key, bytes)?;
                if matches!(dirent, Dirent::Present { .. }) {
                    each(dir, name, &dirent);
                }
                last = Some((dir, name.to_vec()));
            }
            scan.step()?;
        }
        Ok(())
    }

    /// Changes marks. `synced`: it outlasts the power.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn mark(&self, marks: &Marks, synced: bool) -> Result<()> {
        self.writable()?;
        self.check_folder()?;
        let mut batch = Batch::default();
        for (ino, mark) in &marks.marks {
            let key = key::meta(meta::UNFILLED, *ino);
            match mark {
                Some(mark) => batch.put(Family::Meta, key, value::pack(mark)),
                None => batch.delete(Family::Meta, key),
            }
        }
        super::commit::put_live(&mut batch, &marks.live);
        if let Some(filling) = &marks.filling {
            batch.put(Family::Meta, meta::FILLING, value::pack(filling));
        }
        let durability = match synced {
            true => Durability::Synced,
            false => Durability::Unsynced,
        };
        self.write(batch, durability)
    }

    /// All records are here, their chunks are not: what is newer builds on them. Whether they are those
    /// of the state that the header says.
    ///
    /// # Errors
    /// `NoEpoch` if the last epoch did not come; a store that can't be written.
    pub fn received_records(&self, to: Epoch) -> Result<bool> {
        let mut committer = self.committer.lock();
        self.seal_received(&mut committer, to)
    }

    /// All has come: counts what names it, and forgets that anything was still to come. The answer is
    /// how many chunks are named and not here; then it is not forgotten.
    ///
    /// # Errors
    /// A store that can't be read or written.
    pub fn end_filling(&self) -> Result<u64> {
        let _committer = self.committer.lock();
        let missing = self.count_received()?;
        if missing > 0 {
            return Ok(missing);
        }
        let mut batch = self.forget_received()?;
        let mut old = Vec::new();
        self.each_unfilled(&mut |ino, _| old.push(ino))?;
        for ino in old {
            batch.delete(Family::Meta, key::meta(meta::UNFILLED, ino));
        }
        batch.delete(Family::Meta, meta::FILLING);
        self.write(batch, Durability::Synced)?;
        self.filling.store(false, Ordering::Release);
        Ok(0)
    }
}
