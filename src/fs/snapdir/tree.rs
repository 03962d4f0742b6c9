//! Inside a state: directories, files and everything else as they were.

use super::SnapDir;
use super::errno::STALE;
use super::listing::{DOTS, Emit, Item};
use super::mask::{ACL, Mask};
use super::node::Node;
use crate::format::record::{Content, Inode, Kind};
use crate::fs::{Answer, Attributes, Stop};
use crate::history::{Found, path};
use crate::id::{Epoch, FileId};
use crate::limits;
use crate::pattern::Rules;
use crate::store::View;
use std::sync::Arc;

/// A directory of a state under the number by which the kernel knows it.
#[derive(Clone, Copy)]
pub(super) struct Directory {
    pub ino: u64,
    pub dir: FileId,
    pub epoch: Epoch,
}

/// `st_blocks` counts in these.
const BLOCK: u64 = 512;
/// Space is taken in these.
const PAGE: u64 = 4096;
/// Entries of a listing whose records are read in one pass: a reply may end within them.
const LOOKED_AT: usize = 32;

impl SnapDir {
    pub(super) fn lookup_in_state(
        &self,
        view: &View<'_>,
        parent: u64,
        dir: FileId,
        epoch: Epoch,
        name: &[u8],
    ) -> Answer<Option<(Node, Option<Found>)>> {
        is_kept(view, epoch)?;
        let found = path::child(view, epoch, dir, name)?;
        Ok(found.map(|found| {
            let node = node_of(
                parent,
                name,
                epoch,
                found.id,
                found.version,
                found.inode.kind,
            );
            (node, Some(found))
        }))
    }

    /// What a node is in its state; `None` for one that is in no state.
    pub(super) fn found(&self, view: &View<'_>, node: &Node) -> Answer<Option<Found>> {
        let found = match *node {
            Node::View { dir, epoch, .. }
            | Node::Dir { dir, epoch, .. }
            | Node::Delta { dir, epoch, .. }
            | Node::DeltaDir { dir, epoch, .. } => {
                is_kept(view, epoch)?;
                path::file(view, epoch, dir)?
            }
            Node::File { id, version } | Node::Version { id, version, .. } => {
                path::version(view, version, id)?
            }
            _ => return Ok(None),
        };
        found.ok_or(STALE).map(Some)
    }

    /// The content and the size of a regular file.
    pub(super) fn content(&self, view: &View<'_>, ino: u64) -> Answer<(Content, u64)> {
        let node = self.node(ino)?;
        match self.found(view, &node)?.map(|found| found.inode) {
            Some(inode) if inode.kind == Kind::File => Ok((inode.content, inode.size)),
            Some(inode) if inode.kind != Kind::Dir => Err(Stop::Errno(libc::EINVAL)),
            _ => Err(Stop::Errno(libc::EISDIR)),
        }
    }

    /// The extended attributes that a node shows.
    pub(super) fn xattrs(&self, ino: u64) -> Answer<Vec<(Vec<u8>, Vec<u8>)>> {
        let node = self.node(ino)?;
        let view = self.history.view();
        let Some(found) = self.found(&view, &node)? else {
            return Ok(Vec::new());
        };
        let hide_acl = match *node {
            Node::View { epoch, .. } | Node::Delta { epoch, .. } => {
                self.mask(&view, epoch, &found)?.hide_acl
            }
            _ => false,
        };
        let mut xattrs = found.inode.xattrs;
        xattrs.retain(|(name, _)| !hide_acl || name != ACL);
        Ok(xattrs)
    }

    /// Whether its state does not have what is in it: the names of a folder, the content of a file;
    /// or, of the root of a state, anything that somebody wants left out.
    pub(super) fn is_left_out(&self, ino: u64) -> Answer<bool> {
        let node = self.node(ino)?;
        let view = self.history.view();
        let Some(found) = self.found(&view, &node)? else {
            return Ok(false);
        };
        if found.id != FileId::ROOT {
            return Ok(found.inode.is_left_out());
        }
        let rules = view
            .rules_at(Epoch::MAX)
            .map_err(|_| Stop::Errno(libc::EIO))?;
        let then = match *node {
            Node::View { epoch, .. } => view.rules_at(epoch).map_err(|_| Stop::Errno(libc::EIO))?,
            _ => Rules::default(),
        };
        Ok(!(rules == Rules::default() && then == Rules::default()))
    }

    /// What the top of a view has to hide of `found`.
    pub(super) fn mask(&self, view: &View<'_>, epoch: Epoch, found: &Found) -> Answer<Mask> {
        let Some(ancestors) = path::ancestors(view, epoch, found)? else {
            log::error!(
                "the place of directory {} at {epoch} is not known",
                found.id
            );
            return Ok(Mask::ALL);
        };
        let inodes = ancestors.iter().map(|above| &above.inode);
        Ok(Mask::of(&found.inode, inodes))
    }

    /// What `stat` showed; `ino` is still to be filled in.
    pub(super) fn recorded(&self, view: &View<'_>, inode: &Inode) -> Attributes {
        let (data_bytes, blksize) = match inode.kind {
            Kind::File => {
                // A list that can't be read is said to be whole: who reads the file gets the error.
                let data_bytes = self.history.data_bytes(view, inode.content, inode.size);
                (data_bytes.unwrap_or(inode.size), limits::BLKSIZE)
            }
            Kind::Dir => (inode.size, PAGE as u32),
            _ => (0, PAGE as u32),
        };
        Attributes {
            ino: 0,
            kind: inode.kind,
            mode: inode.mode,
            nlink: inode.nlink,
            uid: inode.uid,
            gid: inode.gid,
            // The kernel's encoding has 32 bits: 12 of the major and 20 of the minor number.
            rdev: (inode.rdev & u64::from(u32::MAX)) as u32,
            size: inode.size,
            blocks: data_bytes.div_ceil(PAGE) * (PAGE / BLOCK),
            blksize,
            atime: inode.atime,
            mtime: inode.mtime,
            ctime: inode.ctime,
        }
    }

    /// The cookie of an entry is the number of entries up to it, dots included.
    pub(super) fn list_state(
        &self,
        view: &View<'_>,
        place: Directory,
        offset: u64,
        plus: bool,
        emit: Emit<'_>,
    ) -> Answer<()> {
        let mut count = offset.saturating_sub(DOTS);
        if self.cursors.is_end(place.ino, count) {
            return Ok(());
        }
        is_kept(view, place.epoch)?;
        let Some(mut after) = self.name_before(view, place, count)? else {
            return Ok(());
        };
        loop {
            let page = view.list_at(place.dir, place.epoch, after.as_deref(), limits::DIR_PAGE)?;
            for names in page.chunks(LOOKED_AT) {
                let mut found = children(view, place.epoch, names, plus)?.into_iter();
                for (name, id, kind) in names {
                    let found = match is_looked_at(*kind, plus) {
                        true => found.next(),
                        false => None,
                    };
                    let item = child_item(place, count, name, *id, *kind, found);
                    let taken = match item {
                        Some(item) => emit(item)?,
                        None => true,
                    };
                    if !taken {
                        if let Some(last) = &after {
                            self.cursors.put(place.ino, count, last);
                        }
                        return Ok(());
                    }
                    count += 1;
                    after = Some(name.as_slice().into());
                }
            }
            if page.len() < limits::DIR_PAGE {
                self.cursors.ends(place.ino, count);
                return Ok(());
            }
        }
    }

    /// The name of the last of the first `count` entries. The outer `None`: there are fewer; the
    /// inner: 0.
    fn name_before(
        &self,
        view: &View<'_>,
        place: Directory,
        count: u64,
    ) -> Answer<Option<Option<Arc<[u8]>>>> {
        if count == 0 {
            return Ok(Some(None));
        }
        if let Some(name) = self.cursors.get(place.ino, count) {
            return Ok(Some(Some(name)));
        }
        let mut passed = 0;
        let mut after: Option<Vec<u8>> = None;
        while passed < count {
            let wanted = usize::try_from(count - passed).unwrap_or(usize::MAX);
            let limit = wanted.min(limits::DIR_PAGE);
            let mut page = view.list_at(place.dir, place.epoch, after.as_deref(), limit)?;
            passed += page.len() as u64;
            match page.pop() {
                Some((name, _, _)) => after = Some(name),
                None => return Ok(None),
            }
        }
        Ok(Some(after.map(Arc::from)))
    }
}

/// In a plain listing a directory need not be looked at: its number follows from its name.
fn is_looked_at(kind: Kind, plus: bool) -> bool {
    plus || kind != Kind::Dir
}

/// Those of `names` that are looked at, in their order.
fn children(
    view: &View<'_>,
    epoch: Epoch,
    names: &[(Vec<u8>, FileId, Kind)],
    plus: bool,
) -> Answer<Vec<Option<Found>>> {
    let looked_at = names
        .iter()
        .filter(|(_, _, kind)| is_looked_at(*kind, plus))
        .map(|(_, id, _)| *id);
    let ids: Vec<FileId> = looked_at.collect();
    Ok(path::files(view, epoch, &ids)?)
}

/// An entry of a listing; `found`: what was found where it was looked at. `None`: the records do
/// not say what it is; that must not hide the others.
fn child_item<'a>(
    place: Directory,
    count: u64,
    name: &'a [u8],
    id: FileId,
    kind: Kind,
    found: Option<Option<Found>>,
) -> Option<Item<'a>> {
    if let Some(None) = found {
        log::error!("file {id} is listed at {} without a record", place.epoch);
        return None;
    }
    let found = found.flatten();
    let version = found.as_ref().map_or(Epoch::NONE, |found| found.version);
    Some(Item {
        cookie: DOTS + count + 1,
        name,
        node: node_of(place.ino, name, place.epoch, id, version, kind),
        kind,
        found,
    })
}

pub(super) fn node_of(
    parent: u64,
    name: &[u8],
    epoch: Epoch,
    id: FileId,
    version: Epoch,
    kind: Kind,
) -> Node {
    match kind {
        Kind::Dir => Node::Dir {
            parent,
            name: name.into(),
            dir: id,
            epoch,
        },
        _ => Node::File { id, version },
    }
}

/// What a state reaches may have been pruned with it.
pub(super) fn is_kept(view: &View<'_>, epoch: Epoch) -> Answer<()> {
    match view.epoch(epoch)? {
        Some(_) => Ok(()),
        None => Err(STALE),
    }
}
