//! Operations on attributes, extended attributes and flags.

use super::Live;
use crate::backing;
use crate::format::record::{Kind, What};
use crate::fs::{Answer, Attributes, Context, SetAttributes, SetTime, Stop};
use crate::pattern::LEFT_OUT_XATTR;
use std::os::fd::AsFd;

impl Live {
    /// Changes attributes in the order size, owner, mode, times.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn setattr(&self, cx: &Context, ino: u64, set: &SetAttributes) -> Answer<Attributes> {
        let inode = self.inode(ino)?;
        let empties = self.before_setattr(cx, &inode, set.size)?;
        let actor = match set.size {
            Some(_) => self.remover(cx),
            None => self.actor(cx),
        };
        let _lock = self.lock(cx, &[&inode])?;
        let path = self.path(&inode)?;
        if let Some(size) = set.size {
            if inode.kind != Kind::File {
                return Err(Stop::Errno(libc::EINVAL));
            }
            self.resize(cx, &inode, size, &actor)?;
            if empties {
                self.emptied(&inode)?;
            }
        }
        let others = set.mode.is_some()
            || set.uid.is_some()
            || set.gid.is_some()
            || set.atime.is_some()
            || set.mtime.is_some();
        if others {
            let _held = self.recorder.attributes(&inode, What::ATTRIBUTES, &actor)?;
            if set.uid.is_some() || set.gid.is_some() {
                backing::chown_fd(path.as_fd(), set.uid, set.gid)?;
            }
            if let Some(mode) = set.mode {
                self.keep_access(&inode, mode);
                backing::chmod_fd(path.as_fd(), mode & 0o7777)?;
            }
            if set.atime.is_some() || set.mtime.is_some() {
                backing::utimens_fd(path.as_fd(), time(set.atime), time(set.mtime))?;
            }
        }
        let stat = self.stat(&inode)?;
        Ok(self.attributes_of(&inode, &stat))
    }

    /// Before a chmod takes an ordinary user's own access away: what is open must stay usable.
    fn keep_access(&self, inode: &std::sync::Arc<crate::inodes::Inode>, mode: u32) {
        if self.inodes.backing().is_root() || inode.kind != Kind::File {
            return;
        }
        let denied = mode & 0o600 != 0o600;
        if denied {
            let writable = self.inodes.data(inode, true).is_ok();
            if !writable && self.inodes.data(inode, false).is_err() {
                return;
            }
        }
        self.inodes.pin_data(inode, denied);
    }

    /// Target of a symlink.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn readlink(&self, ino: u64) -> Answer<Vec<u8>> {
        let inode = self.inode(ino)?;
        Ok(backing::readlink_fd(self.path(&inode)?.as_fd())?)
    }

    /// Value of an extended attribute; of `LEFT_OUT_XATTR` whether history leaves something out, which
    /// the kernel lets those ask who may read the file, or list the folder.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn getxattr(&self, ino: u64, name: &[u8]) -> Answer<Vec<u8>> {
        let inode = self.inode(ino)?;
        if let Some(asked) = name.strip_prefix(LEFT_OUT_XATTR)
            && self.recorder.leaves_out(&inode, asked)
        {
            return Ok(b"1".to_vec());
        }
        Ok(backing::get_xattr(self.path(&inode)?.as_fd(), name)?)
    }

    /// Names of the extended attributes, each ended by a zero byte. Those that Linux shows to
    /// root alone are left out for others.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn listxattr(&self, cx: &Context, ino: u64) -> Answer<Vec<u8>> {
        let inode = self.inode(ino)?;
        let mut list = Vec::new();
        for name in backing::list_xattrs(self.path(&inode)?.as_fd())? {
            if cx.uid == 0 || !name.starts_with(b"trusted.") {
                list.extend_from_slice(&name);
                list.push(0);
            }
        }
        Ok(list)
    }

    /// Sets an extended attribute, as the caller: an ACL then clears what it must.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn setxattr(
        &self,
        cx: &Context,
        ino: u64,
        name: &[u8],
        value: &[u8],
        flags: i32,
    ) -> Answer<()> {
        self.change_xattr(cx, ino, |file| backing::set_xattr(file, name, value, flags))
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn removexattr(&self, cx: &Context, ino: u64, name: &[u8]) -> Answer<()> {
        self.change_xattr(cx, ino, |file| backing::remove_xattr(file, name))
    }

    fn change_xattr(
        &self,
        cx: &Context,
        ino: u64,
        change: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> std::io::Result<()>,
    ) -> Answer<()> {
        let inode = self.inode(ino)?;
        self.before_change(cx, &[&inode])?;
        let path = self.path(&inode)?;
        let _lock = self.lock(cx, &[&inode])?;
        let what = What::XATTRS.with(What::ATTRIBUTES);
        let _held = self.recorder.attributes(&inode, what, &self.actor(cx))?;
        Ok(backing::as_caller(cx.uid, cx.gid, None, false, || {
            change(path.as_fd())
        })?)
    }

    /// Reads or sets the flags of `chattr`; anything else is no ioctl of a file system.
    ///
    /// # Errors
    /// ENOTTY, or what the backing directory says.
    pub fn ioctl(&self, cx: &Context, ino: u64, command: u32, input: &[u8]) -> Answer<Vec<u8>> {
        let inode = self.inode(ino)?;
        if !matches!(inode.kind, Kind::File | Kind::Dir) {
            return Err(Stop::Errno(libc::ENOTTY));
        }
        if !input.is_empty() {
            // It may be one that denies us to write to the file.
            self.before_write(cx, &inode)?;
        }
        let file = self.inodes.data(&inode, false)?;
        let _lock = self.lock(cx, &[&inode])?;
        let _held = match input.is_empty() {
            true => None,
            false => self
                .recorder
                .attributes(&inode, What::ATTRIBUTES, &self.actor(cx))?,
        };
        Ok(backing::flags_ioctl(file.as_fd(), command, input)?)
    }

    /// Space of the backing file system.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn statfs(&self) -> Answer<backing::Space> {
        Ok(backing::space(self.root())?)
    }
}

fn time(set: Option<SetTime>) -> backing::SetTime {
    match set {
        None => backing::SetTime::Keep,
        Some(SetTime::Now) => backing::SetTime::Now,
        Some(SetTime::At(time)) => backing::SetTime::At(time),
    }
}
