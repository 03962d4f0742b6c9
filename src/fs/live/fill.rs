//! A live tree that is in use while it is recovered: what is still to come is asked for here, before
//! anything needs it.

use super::Live;
use crate::backing::{self, Stat};
use crate::fs::{Answer, Context, Stop};
use crate::id::Hash;
use crate::inodes::Inode;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Who brings what is still to come.
pub trait Fill: Send + Sync {
    /// Gives a folder its names.
    ///
    /// # Errors
    /// It has to wait, or what the caller gets; as of all that follow.
    fn list(&self, cx: &Context, directory: &Arc<Inode>) -> Answer<()>;
    /// Reads what a file is to hold, if it does not hold it yet; false: it does.
    fn read(
        &self,
        cx: &Context,
        inode: &Arc<Inode>,
        offset: u64,
        size: u32,
        out: &mut Vec<u8>,
    ) -> Answer<bool>;
    /// Before somebody writes to a file: it holds all that it is to hold, durably.
    fn write(&self, cx: &Context, inode: &Arc<Inode>) -> Answer<()>;
    /// Before names or attributes change: what was made of them is durable.
    fn change(&self, cx: &Context, inodes: &[&Arc<Inode>]) -> Answer<()>;
    /// Whether a file without its content may be emptied without it. Then `emptied` follows.
    fn may_empty(&self, cx: &Context, inode: &Arc<Inode>) -> Answer<bool>;
    /// It was, durably.
    fn emptied(&self, inode: &Arc<Inode>) -> Answer<()>;
    /// The last name of a file has gone.
    fn died(&self, inode: &Arc<Inode>);
    /// Something recorded is read whose bytes have not come: asks for them.
    fn want(&self, hash: Hash) -> Stop;
}

impl Live {
    /// Says who brings what is still to come.
    pub fn set_fill(&self, fill: Arc<dyn Fill>) {
        // There is one, and it is there before anything is served.
        let _ = self.fill.set(fill);
    }

    /// Who brings it, as long as anything is still to come.
    pub fn fill(&self) -> Option<&Arc<dyn Fill>> {
        match self.inodes.unfilled().is_used() {
            true => self.fill.get(),
            false => None,
        }
    }

    pub(super) fn is_unfilled(&self, inode: &Arc<Inode>) -> bool {
        self.inodes.unfilled().file(inode).is_some()
    }

    pub(super) fn is_unlisted(&self, inode: &Arc<Inode>) -> bool {
        let mark = self.inodes.unfilled().of(inode.ino);
        mark.is_some_and(|mark| mark.is_dir)
    }

    /// A file without its content takes no space, and is no file of zeros all the same.
    pub(super) fn blocks(&self, inode: &Inode, stat: &Stat) -> u64 {
        match self.inodes.unfilled().of(inode.ino) {
            Some(mark) if !mark.is_dir => stat.size.div_ceil(512),
            _ => stat.blocks,
        }
    }

    /// Gives a folder its names.
    pub(super) fn list(&self, cx: &Context, inode: &Arc<Inode>) -> Answer<()> {
        match self.fill() {
            Some(fill) if self.is_unlisted(inode) => fill.list(cx, inode),
            _ => Ok(()),
        }
    }

    /// The same for one that was just looked up; the answer is how it looks then.
    pub(super) fn list_first(&self, cx: &Context, inode: &Arc<Inode>, stat: Stat) -> Answer<Stat> {
        if !self.is_unlisted(inode) {
            return Ok(stat);
        }
        self.list(cx, inode)?;
        self.stat(inode)
    }

    pub(super) fn before_write(&self, cx: &Context, inode: &Arc<Inode>) -> Answer<()> {
        self.fill().map_or(Ok(()), |fill| fill.write(cx, inode))
    }

    pub(super) fn before_change(&self, cx: &Context, inodes: &[&Arc<Inode>]) -> Answer<()> {
        self.fill().map_or(Ok(()), |fill| fill.change(cx, inodes))
    }

    /// Whether the file is one that is emptied before it was filled.
    pub(super) fn before_setattr(
        &self,
        cx: &Context,
        inode: &Arc<Inode>,
        size: Option<u64>,
    ) -> Answer<bool> {
        let Some(fill) = self.fill() else {
            return Ok(false);
        };
        fill.change(cx, &[inode])?;
        match size {
            None => return Ok(false),
            Some(0) if self.is_unfilled(inode) && fill.may_empty(cx, inode)? => return Ok(true),
            Some(_) => fill.write(cx, inode)?,
        }
        Ok(false)
    }

    pub(super) fn emptied(&self, inode: &Arc<Inode>) -> Answer<()> {
        let Some(fill) = self.fill() else {
            return Ok(());
        };
        let file = self.inodes.data(inode, true)?;
        backing::fsync(file.as_fd(), false)?;
        fill.emptied(inode)
    }

    pub(super) fn unfilled_died(&self, inode: &Arc<Inode>) {
        if let Some(fill) = self.fill() {
            fill.died(inode);
        }
    }
}
