//! A state as the store has it: for a directory that is not mounted, by who may open its store.

use super::item::{Bytes, Facts, Fault, Handle, Item, Source, Xattrs};
use crate::format::record::{Content, Inode, Kind};
use crate::history::{Found, History, Seek, path};
use crate::id::{Epoch, FileId};
use crate::limits;
use std::sync::Arc;

/// The state.
pub struct Recorded {
    history: Arc<History>,
    at: Epoch,
}

impl Recorded {
    /// The state `at` of a history.
    pub fn new(history: Arc<History>, at: Epoch) -> Recorded {
        Recorded { history, at }
    }
}

/// From what a state has of a file.
pub(super) fn recorded_facts(id: FileId, inode: &Inode) -> Facts {
    Facts {
        kind: inode.kind,
        mode: inode.mode,
        uid: inode.uid,
        gid: inode.gid,
        rdev: inode.rdev,
        atime: inode.atime,
        mtime: inode.mtime,
        ctime: inode.ctime,
        nlink: inode.nlink,
        size: inode.size,
        same: id.0,
        dev: 0,
    }
}

fn item(found: Found) -> Item {
    Item {
        facts: recorded_facts(found.id, &found.inode),
        handle: Handle::Recorded(Box::new(found)),
    }
}

fn found(item: &Item) -> Result<&Found, Fault> {
    match &item.handle {
        Handle::Recorded(found) => Ok(found),
        Handle::Open(_) => Err(Fault::Foreign),
    }
}

impl Source for Recorded {
    fn top(&self) -> Result<Item, Fault> {
        let root = path::file(&self.history.view(), self.at, FileId::ROOT)?;
        root.map(item)
            .ok_or_else(|| crate::history::HistoryError::NotKept { epoch: self.at }.into())
    }

    fn child(&self, dir: &Item, name: &[u8]) -> Result<Option<Item>, Fault> {
        let child = path::child(&self.history.view(), self.at, found(dir)?.id, name)?;
        Ok(child.map(item))
    }

    fn names(&self, dir: &Item) -> Result<Vec<Vec<u8>>, Fault> {
        let (view, id) = (self.history.view(), found(dir)?.id);
        let mut names: Vec<Vec<u8>> = Vec::new();
        loop {
            let after = names.last().map(Vec::as_slice);
            let page = view.list_at(id, self.at, after, limits::DIR_PAGE);
            let page = page.map_err(crate::history::HistoryError::from)?;
            let is_last = page.len() < limits::DIR_PAGE;
            names.extend(page.into_iter().map(|(name, _, _)| name));
            if is_last {
                return Ok(names);
            }
        }
    }

    fn xattrs(&self, item: &Item) -> Result<Xattrs, Fault> {
        Ok(found(item)?.inode.xattrs.clone())
    }

    fn target(&self, item: &Item) -> Result<Vec<u8>, Fault> {
        Ok(found(item)?.inode.target.clone())
    }

    fn is_left_out(&self, item: &Item) -> bool {
        found(item).is_ok_and(|found| found.inode.is_left_out())
    }

    fn open(&self, item: &Item) -> Result<Box<dyn Bytes + '_>, Fault> {
        let inode = &found(item)?.inode;
        let (content, size) = match inode.kind {
            Kind::File => (inode.content, inode.size),
            _ => return Err(Fault::Foreign),
        };
        Ok(Box::new(Pieces {
            history: &self.history,
            content,
            size,
        }))
    }
}

struct Pieces<'a> {
    history: &'a History,
    content: Content,
    size: u64,
}

impl Pieces<'_> {
    fn seek(&self, offset: u64, seek: Seek) -> Result<Option<u64>, Fault> {
        let view = self.history.view();
        Ok(self
            .history
            .seek(&view, self.content, self.size, offset, seek)?)
    }
}

impl Bytes for Pieces<'_> {
    fn read(&mut self, offset: u64, len: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
        out.clear();
        let view = self.history.view();
        self.history
            .read(&view, self.content, self.size, offset, len, out)?;
        Ok(())
    }

    fn data(&mut self, offset: u64) -> Result<Option<u64>, Fault> {
        self.seek(offset, Seek::Data)
    }

    fn hole(&mut self, offset: u64) -> Result<u64, Fault> {
        Ok(self.seek(offset, Seek::Hole)?.unwrap_or(self.size))
    }
}
