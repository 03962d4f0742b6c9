//! Owners, modes, extended attributes and times: what differs, and giving something those of then.

use super::folder::facts;
use super::item::{Facts, Xattrs};
use super::recorded::recorded_facts;
use crate::backing::{self, SetTime};
use crate::format::record::{Inode, Kind};
use crate::id::FileId;
use std::io;
use std::os::fd::BorrowedFd;

/// Whether anything but content and links differs. What is not of the kind (the mode of a symlink)
/// is not compared.
pub fn differ(then: &Facts, then_xattrs: &Xattrs, now: &Facts, now_xattrs: &Xattrs) -> bool {
    (then.kind != Kind::Symlink && then.mode != now.mode)
        || (then.uid, then.gid) != (now.uid, now.gid)
        || then.mtime != now.mtime
        || then_xattrs != now_xattrs
}

/// Gives what a descriptor refers to the attributes of then. Goes on after a failure; the answer
/// is the first, with what it was about.
///
/// The order: changing the owner clears setuid bits and capabilities, an ACL rules the mode, and
/// all of it changes times.
///
/// # Errors
/// What could not be set.
pub fn apply(fd: BorrowedFd<'_>, then: &Facts, xattrs: &Xattrs) -> Result<(), String> {
    let mut failed = None;
    let mut note = |what: &str, result: io::Result<()>| {
        if let Err(error) = result {
            failed.get_or_insert_with(|| format!("{what} can't be set: {error}"));
        }
    };
    let now = match backing::stat_fd(fd).and_then(|stat| facts(&stat)) {
        Ok(now) => now,
        Err(error) => return Err(error.to_string()),
    };
    let uid = (then.uid != now.uid).then_some(then.uid);
    let gid = (then.gid != now.gid).then_some(then.gid);
    if uid.is_some() || gid.is_some() {
        note("the owner", backing::chown_fd(fd, uid, gid));
    }
    let has = existing(fd);
    for (name, _) in has.iter().filter(|(name, _)| !holds(xattrs, name)) {
        note("an attribute", backing::remove_xattr(fd, name));
    }
    if then.kind != Kind::Symlink {
        let mode = backing::stat_fd(fd).map(|stat| stat.mode & 0o7777);
        if mode.ok() != Some(then.mode) {
            note("the mode", backing::chmod_fd(fd, then.mode));
        }
    }
    let has = existing(fd);
    for (name, value) in xattrs.iter().filter(|xattr| !has.contains(xattr)) {
        let what = format!("the attribute {}", String::from_utf8_lossy(name));
        note(&what, backing::set_xattr(fd, name, value, 0));
    }
    let mtime = backing::stat_fd(fd).map(|stat| stat.mtime);
    if mtime.ok() != Some(then.mtime) {
        let (atime, mtime) = (SetTime::At(then.atime), SetTime::At(then.mtime));
        note("the times", backing::utimens_fd(fd, atime, mtime));
    }
    failed.map_or(Ok(()), Err)
}

/// Gives a file that was just made the attributes that a state has of it.
///
/// # Errors
/// What could not be set.
pub fn set_attributes(fd: BorrowedFd<'_>, id: FileId, inode: &Inode) -> Result<(), String> {
    apply(fd, &recorded_facts(id, inode), &inode.xattrs)
}

fn holds(xattrs: &Xattrs, name: &[u8]) -> bool {
    xattrs.iter().any(|(other, _)| other == name)
}

/// What can't be read is set anew, and then says why it can't.
fn existing(fd: BorrowedFd<'_>) -> Xattrs {
    let names = backing::list_xattrs(fd).unwrap_or_default();
    let read = |name: Vec<u8>| Some((name.clone(), backing::get_xattr(fd, &name).ok()?));
    names.into_iter().filter_map(read).collect()
}
