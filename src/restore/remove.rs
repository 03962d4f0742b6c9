//! Removing what was not there then: name by name, through descriptors, never out of the tree.

use super::item::{Item, Source};
use super::tally::Change;
use super::tree::Tree;
use crate::backing;
use crate::format::record::Kind;
use crate::limits;
use std::io;

impl Tree<'_> {
    /// Removes `name` from a directory with all that is in it. False: something of it stays, and
    /// why was told.
    pub(super) fn remove(&self, dir: &Item, name: &[u8], path: &[u8], depth: usize) -> bool {
        let kept = |reason: &str| {
            self.keep(path, reason);
            false
        };
        if self.options.snapdir.as_deref() == Some(name) {
            return kept("the past itself");
        }
        let item = match self.live.child(dir, name) {
            Ok(Some(item)) => item,
            Ok(None) => return true,
            Err(fault) => return self.conflict(path, &fault.to_string()),
        };
        if item.facts.dev != self.options.device {
            return kept("another file system is mounted there");
        }
        let (kind, now) = (item.facts.kind, Some(&item));
        if let Some(reason) = self.left_out(Some(dir), path, kind, now) {
            return kept(&reason);
        }
        if item.facts.kind == Kind::Dir && !self.empty(&item, path, depth) {
            return false;
        }
        if !self.options.dry_run
            && let Err(error) = unlink(dir, name, item.facts.kind)
        {
            return self.conflict(path, &format!("it can't be removed: {error}"));
        }
        self.tell.change(Change::Deleted, path);
        self.count(|tally| tally.deleted += 1);
        true
    }

    fn empty(&self, item: &Item, path: &[u8], depth: usize) -> bool {
        if depth > limits::RESTORE_DEPTH {
            return self.conflict(path, "it lies too deep");
        }
        let names = match self.live.names(item) {
            Ok(names) => names,
            Err(fault) => return self.conflict(path, &fault.to_string()),
        };
        let mut all = true;
        for name in names {
            if self.tell.interrupted() {
                return false;
            }
            all &= self.remove(
                item,
                &name,
                &crate::history::path::join(path, &name),
                depth + 1,
            );
        }
        all
    }
}

fn unlink(dir: &Item, name: &[u8], kind: Kind) -> io::Result<()> {
    let fd = dir.fd().map_err(io::Error::other)?;
    match kind {
        Kind::Dir => backing::rmdir_at(fd, name),
        _ => backing::unlink_at(fd, name),
    }
}
