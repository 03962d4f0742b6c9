//! Operations on names: make, link, rename, remove.

use super::Live;
use crate::backing;
use crate::capture::{NameChange, Touch};
use crate::format::record::Kind;
use crate::fs::{Answer, Context, Entry};
use crate::inodes::Inode;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// renameat2 flags that Linux has.
const EXCHANGE: u32 = libc::RENAME_EXCHANGE;
const WHITEOUT: u32 = libc::RENAME_WHITEOUT;

/// A name that an operation is about.
struct Spot<'a> {
    directory: &'a Arc<Inode>,
    name: &'a [u8],
    /// What stands there, pinned.
    child: Option<Arc<Inode>>,
    /// Links that the child has.
    links: u32,
}

impl Live {
    /// A file that is neither a folder nor a symlink.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn mknod(
        &self,
        cx: &Context,
        parent: u64,
        name: &[u8],
        mode: u32,
        umask: u32,
        rdev: u32,
    ) -> Answer<Entry> {
        let regular = matches!(mode & libc::S_IFMT, 0 | libc::S_IFREG);
        self.make(cx, parent, name, |directory| {
            backing::as_caller(cx.uid, cx.gid, Some(umask), false, || {
                // Who makes a file is about to write to it: that takes a descriptor anyway.
                if regular {
                    return backing::create_at(directory, name, mode & 0o7777).map(Some);
                }
                let device = super::device_from_kernel(rdev);
                backing::mknod_at(directory, name, mode, device).map(|()| None)
            })
        })
    }

    /// A folder.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn mkdir(
        &self,
        cx: &Context,
        parent: u64,
        name: &[u8],
        mode: u32,
        umask: u32,
    ) -> Answer<Entry> {
        self.make(cx, parent, name, |directory| {
            backing::as_caller(cx.uid, cx.gid, Some(umask), false, || {
                backing::mkdir_at(directory, name, mode).map(|()| None)
            })
        })
    }

    /// A symlink.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn symlink(&self, cx: &Context, parent: u64, name: &[u8], target: &[u8]) -> Answer<Entry> {
        self.make(cx, parent, name, |directory| {
            backing::as_caller(cx.uid, cx.gid, None, false, || {
                backing::symlink_at(target, directory, name).map(|()| None)
            })
        })
    }

    fn make(
        &self,
        cx: &Context,
        parent: u64,
        name: &[u8],
        make: impl FnOnce(BorrowedFd<'_>) -> io::Result<Option<OwnedFd>>,
    ) -> Answer<Entry> {
        let directory = self.directory(parent)?;
        self.before_change(cx, &[&directory])?;
        let path = self.path(&directory)?;
        let _locks = self.lock(cx, &[&directory])?;
        let names = [NameChange {
            directory: &directory,
            name,
            before: None,
        }];
        let deed = self.recorder.names(&names, &[], self.actor(cx))?;
        let made = make(path.as_fd()).and_then(|descriptor| {
            let (inode, stat) = self.inodes.find_new(&directory, name)?;
            Ok((descriptor, inode, stat))
        });
        match made {
            Ok((descriptor, inode, stat)) => {
                if let Some(descriptor) = descriptor {
                    let denied = stat.mode & 0o600 != 0o600 && !self.inodes.backing().is_root();
                    self.inodes.adopt_data(&inode, descriptor, denied);
                }
                deed.created(&inode);
                deed.settle(&directory, name, Some(&inode));
                Ok(self.hand_out(&inode, &stat))
            }
            Err(error) => {
                // When it exists, the name is not ours to speak of: the capture looks.
                if error.raw_os_error() != Some(libc::EEXIST) {
                    deed.undone(&names);
                }
                Err(error.into())
            }
        }
    }

    /// Another name for a file.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn link(&self, cx: &Context, ino: u64, parent: u64, name: &[u8]) -> Answer<Entry> {
        let inode = self.inode(ino)?;
        let directory = self.directory(parent)?;
        self.before_change(cx, &[&inode, &directory])?;
        let (file, into) = (self.path(&inode)?, self.path(&directory)?);
        let _locks = self.lock(cx, &[&inode, &directory])?;
        let names = [NameChange {
            directory: &directory,
            name,
            before: None,
        }];
        let touched = [Touch {
            inode: &inode,
            dies: false,
        }];
        let deed = self.recorder.names(&names, &touched, self.actor(cx))?;
        match backing::link_fd_at(file.as_fd(), into.as_fd(), name) {
            Ok(()) => {
                deed.linked(&inode, &directory, name);
                deed.settle(&directory, name, Some(&inode));
                // The newest name is the one that stays: who links a file into its place then
                // removes the old one.
                let recorded = self.recorder.records_name(&directory, name, inode.kind);
                if recorded || self.recorder.mark(&inode).is_out() {
                    self.inodes.set_place(&inode, Some((&directory, name)));
                }
                self.inodes.pin(&inode);
                let stat = self
                    .stat(&inode)
                    .inspect_err(|_| self.inodes.unpin(&inode))?;
                Ok(self.hand_out(&inode, &stat))
            }
            Err(error) => {
                if error.raw_os_error() != Some(libc::EEXIST) {
                    deed.undone(&names);
                }
                Err(error.into())
            }
        }
    }

    /// Removes the name of a file that is no folder.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn unlink(&self, cx: &Context, parent: u64, name: &[u8]) -> Answer<()> {
        self.remove(cx, parent, name, backing::unlink_at)
    }

    /// Removes an empty folder.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn rmdir(&self, cx: &Context, parent: u64, name: &[u8]) -> Answer<()> {
        self.remove(cx, parent, name, backing::rmdir_at)
    }

    fn remove(
        &self,
        cx: &Context,
        parent: u64,
        name: &[u8],
        remove: fn(BorrowedFd<'_>, &[u8]) -> io::Result<()>,
    ) -> Answer<()> {
        let directory = self.directory(parent)?;
        let path = self.path(&directory)?;
        let (child, stat) = self.inodes.find(&directory, name)?;
        let spot = Spot {
            directory: &directory,
            name,
            child: Some(child.clone()),
            links: stat.nlink,
        };
        let result = self.remove_spot(cx, &spot, &child, || remove(path.as_fd(), name));
        self.inodes.unpin(&child);
        result
    }

    fn remove_spot(
        &self,
        cx: &Context,
        spot: &Spot<'_>,
        child: &Arc<Inode>,
        remove: impl FnOnce() -> io::Result<()>,
    ) -> Answer<()> {
        self.before_change(cx, &[spot.directory, child])?;
        let actor = self.remover(cx);
        let _locks = self.lock(cx, &[spot.directory, child])?;
        let dies = spot.dies();
        if dies {
            self.recorder.may_remove(child)?;
            self.inodes.keep_descriptor(child)?;
        }
        let names = [spot.change()];
        let touched = [Touch { inode: child, dies }];
        let deed = self.recorder.names(&names, &touched, actor)?;
        match remove() {
            Ok(()) => {
                deed.settle(spot.directory, spot.name, None);
                if dies {
                    self.unfilled_died(child);
                    deed.died(child);
                } else {
                    self.left(child, spot.directory, spot.name);
                }
                Ok(())
            }
            Err(error) => {
                deed.undone(&names);
                Err(error.into())
            }
        }
    }

    /// A file with several names lost this one.
    fn left(&self, child: &Arc<Inode>, directory: &Arc<Inode>, name: &[u8]) {
        let there = child
            .place()
            .is_some_and(|place| Arc::ptr_eq(&place.parent, directory) && place.name == name);
        if there {
            self.inodes.set_place(child, None);
        }
    }

    /// Moves, replaces or exchanges; `flags` as renameat2 has them.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn rename(
        &self,
        cx: &Context,
        parent: u64,
        name: &[u8],
        to: u64,
        to_name: &[u8],
        flags: u32,
    ) -> Answer<()> {
        let (from, into) = (self.directory(parent)?, self.directory(to)?);
        let source = self.spot(&from, name)?;
        let target = match self.spot(&into, to_name) {
            Ok(target) => target,
            Err(stop) => {
                self.release(&source);
                return Err(stop);
            }
        };
        let result = self.rename_spots(cx, &source, &target, flags);
        self.release(&source);
        self.release(&target);
        result
    }

    fn spot<'a>(&self, directory: &'a Arc<Inode>, name: &'a [u8]) -> Answer<Spot<'a>> {
        match self.inodes.find(directory, name) {
            Ok((child, stat)) => Ok(Spot {
                directory,
                name,
                child: Some(child),
                links: stat.nlink,
            }),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(Spot {
                directory,
                name,
                child: None,
                links: 0,
            }),
            Err(error) => Err(error.into()),
        }
    }

    fn release(&self, spot: &Spot<'_>) {
        if let Some(child) = &spot.child {
            self.inodes.unpin(child);
        }
    }

    fn rename_spots(
        &self,
        cx: &Context,
        source: &Spot<'_>,
        target: &Spot<'_>,
        flags: u32,
    ) -> Answer<()> {
        let (from, into) = (self.path(source.directory)?, self.path(target.directory)?);
        let rename =
            || backing::rename_at(from.as_fd(), source.name, into.as_fd(), target.name, flags);
        let Some(moved) = &source.child else {
            return Ok(rename()?);
        };
        let mut concerned = vec![source.directory, target.directory, moved];
        concerned.extend(&target.child);
        self.before_change(cx, &concerned)?;
        let actor = match &target.child {
            Some(_) => self.remover(cx),
            None => self.actor(cx),
        };
        let _locks = self.lock(cx, &concerned)?;
        // Two names of one file: Linux does nothing then.
        if target
            .child
            .as_ref()
            .is_some_and(|other| Arc::ptr_eq(other, moved))
        {
            return Ok(rename()?);
        }
        let exchange = flags & EXCHANGE != 0;
        let names = [source.change(), target.change()];
        if self.folders_cross(source, target, exchange) {
            return self.rename_unnoted(source, target, exchange, rename);
        }
        let mut touched = vec![Touch {
            inode: moved,
            dies: self.leaves(source, target),
        }];
        if let Some(other) = &target.child {
            let dies = !exchange && target.dies();
            if dies {
                self.recorder.may_remove(other)?;
                self.inodes.keep_descriptor(other)?;
            }
            let dies = dies || exchange && self.leaves(target, source);
            touched.push(Touch { inode: other, dies });
        }
        let deed = self.recorder.names(&names, &touched, actor)?;
        if let Err(error) = rename() {
            deed.undone(&names);
            return Err(error.into());
        }
        deed.moved(moved, target.directory, target.name, source.links);
        deed.settle(target.directory, target.name, Some(moved));
        self.inodes
            .set_place(moved, Some((target.directory, target.name)));
        if exchange {
            if let Some(other) = &target.child {
                deed.moved(other, source.directory, source.name, target.links);
                deed.settle(source.directory, source.name, Some(other));
                self.inodes
                    .set_place(other, Some((source.directory, source.name)));
            }
            self.rules_below(source, target);
            return Ok(());
        }
        if flags & WHITEOUT != 0 {
            let (whiteout, _) = self.inodes.find_new(source.directory, source.name)?;
            deed.created(&whiteout);
            deed.settle(source.directory, source.name, Some(&whiteout));
            self.inodes.unpin(&whiteout);
        } else {
            deed.settle(source.directory, source.name, None);
        }
        if let Some(other) = &target.child {
            if target.dies() {
                self.unfilled_died(other);
                deed.died(other);
            } else {
                self.left(other, target.directory, target.name);
            }
        }
        self.rules_below(source, target);
        Ok(())
    }

    /// A folder comes, by its new name, to be left out, or not to be any more.
    fn folders_cross(&self, source: &Spot<'_>, target: &Spot<'_>, exchange: bool) -> bool {
        let crosses = |from: &Spot<'_>, to: &Spot<'_>| {
            let moved = from.child.as_ref();
            moved.is_some_and(|moved| self.recorder.folder_crosses(moved, to.directory, to.name))
        };
        crosses(source, target) || exchange && crosses(target, source)
    }

    /// A file that is recorded, and is left out by its new name.
    fn leaves(&self, from: &Spot<'_>, to: &Spot<'_>) -> bool {
        from.child.as_ref().is_some_and(|moved| {
            moved.kind != Kind::Dir
                && from.links <= 1
                && self
                    .recorder
                    .records_name(from.directory, from.name, moved.kind)
                && !self
                    .recorder
                    .records_name(to.directory, to.name, moved.kind)
        })
    }

    /// Moves what a scan then records, whole and at one instant.
    fn rename_unnoted(
        &self,
        source: &Spot<'_>,
        target: &Spot<'_>,
        exchange: bool,
        rename: impl FnOnce() -> io::Result<()>,
    ) -> Answer<()> {
        let names = [source.change(), target.change()];
        let mut inodes = vec![source.directory, target.directory];
        inodes.extend(source.child.iter().chain(&target.child));
        let dies = !exchange && target.dies();
        if let Some(other) = target.child.as_ref().filter(|_| dies) {
            self.recorder.may_remove(other)?;
            self.inodes.keep_descriptor(other)?;
        }
        let _held = self.recorder.keep_all(&inodes, &names);
        rename()?;
        if let Some(other) = &target.child {
            match (exchange, dies) {
                (true, _) => {
                    let place = Some((source.directory, source.name));
                    self.inodes.set_place(other, place);
                }
                (false, true) => {
                    self.unfilled_died(other);
                    self.recorder.died_unnoted(other);
                }
                (false, false) => self.left(other, target.directory, target.name),
            }
        }
        if let Some(moved) = &source.child {
            let place = Some((target.directory, target.name));
            self.inodes.set_place(moved, place);
        }
        self.recorder.folder_has_moved();
        Ok(())
    }

    /// A folder has another name, and what is below it may be left out by that.
    fn rules_below(&self, source: &Spot<'_>, target: &Spot<'_>) {
        let is_folder = |spot: &Spot<'_>| {
            let child = spot.child.as_ref();
            child.is_some_and(|child| child.kind == Kind::Dir)
        };
        let decides = |spot: &Spot<'_>| self.recorder.decides_below(spot.directory, spot.name);
        if (is_folder(source) || is_folder(target)) && (decides(source) || decides(target)) {
            self.recorder.folder_has_moved();
        }
    }
}

impl<'a> Spot<'a> {
    fn change(&self) -> NameChange<'a> {
        NameChange {
            directory: self.directory,
            name: self.name,
            before: self.child.clone(),
        }
    }

    /// Whether the file dies with this name.
    fn dies(&self) -> bool {
        self.links <= 1
            || self
                .child
                .as_ref()
                .is_some_and(|child| child.kind == Kind::Dir)
    }
}
