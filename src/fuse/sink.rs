//! Directory entries on their way into a reply.

use crate::format::record::Kind;
use crate::fs::{Answer, DirPlusSink, DirSink, Entry};
use crate::fuse::attributes::{entry_attr, entry_attr_ttl, file_type};
use fuser::{Generation, INodeNo, ReplyDirectory, ReplyDirectoryPlus};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Names only.
pub(super) struct Plain<'a> {
    reply: &'a mut ReplyDirectory,
    any: bool,
}

impl<'a> Plain<'a> {
    pub fn new(reply: &'a mut ReplyDirectory) -> Self {
        Plain { reply, any: false }
    }

    /// The answer to the kernel, see `settle`.
    pub fn settle(&self, answer: Answer<()>) -> Answer<()> {
        settle(answer, self.any)
    }
}

impl DirSink for Plain<'_> {
    fn plain(&mut self, ino: u64, offset: u64, kind: Kind, name: &[u8]) -> bool {
        let name = OsStr::from_bytes(name);
        let full = self.reply.add(INodeNo(ino), offset, file_type(kind), name);
        self.any |= !full;
        !full
    }
}

/// Names with attributes.
pub(super) struct Plus<'a> {
    reply: &'a mut ReplyDirectoryPlus,
    any: bool,
}

impl<'a> Plus<'a> {
    pub fn new(reply: &'a mut ReplyDirectoryPlus) -> Self {
        Plus { reply, any: false }
    }

    /// The answer to the kernel, see `settle`.
    pub fn settle(&self, answer: Answer<()>) -> Answer<()> {
        settle(answer, self.any)
    }
}

impl DirPlusSink for Plus<'_> {
    fn plus(&mut self, offset: u64, name: &[u8], entry: &Entry) -> bool {
        let attr = entry_attr(entry);
        // fuser has one time to live for both.
        let ttl = entry.entry_ttl.min(entry_attr_ttl(entry));
        let name = OsStr::from_bytes(name);
        let full = self
            .reply
            .add(attr.ino, offset, name, &ttl, &attr, Generation(0));
        self.any |= !full;
        !full
    }
}

/// Entries that are in the reply have been counted as looked up, so they must arrive: an error (or
/// a wait) after them is left for the next request, which goes on where this one ended.
fn settle(answer: Answer<()>, any: bool) -> Answer<()> {
    if any { Ok(()) } else { answer }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{Stop, WaitsFor};

    #[test]
    fn an_error_after_entries_is_left_for_the_next_request() {
        assert_eq!(settle(Err(Stop::Errno(libc::EIO)), true), Ok(()));
        let parked = Err(Stop::Park(WaitsFor::File));
        assert_eq!(settle(parked, false), parked);
    }
}
