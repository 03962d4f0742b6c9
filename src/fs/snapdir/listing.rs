//! What all listings have in common: ".", "..", cookies, and the two kinds of reply. What is listed
//! is in `top.rs`, `days.rs`, `tree.rs`, `past.rs` and
//! `delta.rs`.

use super::node::Node;
use super::{SnapDir, tree};
use crate::format::record::Kind;
use crate::fs::{Answer, Context, DirPlusSink, DirSink, Entry, Stop};
use crate::history::Found;
use crate::store::View;
use crate::time::Timestamp;
use std::time::Duration;

/// Cookies up to this one are those of "." and "..".
pub(super) const DOTS: u64 = 2;
/// Cookies of what is numbered by itself begin behind this one; between lie `.checkpoints`,
/// `latest` and the other folders of ours.
pub(super) const FIRST_COOKIE: u64 = 16;

/// An entry of a listing.
pub(super) struct Item<'a> {
    /// Where the listing goes on behind it.
    pub cookie: u64,
    pub name: &'a [u8],
    pub node: Node,
    pub kind: Kind,
    /// What the node is in its state, if that is known already.
    pub found: Option<Found>,
}

/// Takes an entry; false: the reply is full and it was not taken.
pub(super) type Emit<'a> = &'a mut dyn FnMut(Item<'_>) -> Answer<bool>;

/// A reply under way.
trait Reply {
    /// "." or "..", under the number of the directory that it means.
    fn dot(&mut self, ino: u64, cookie: u64, name: &[u8]) -> bool;
    fn item(&mut self, item: Item<'_>) -> Answer<bool>;
}

struct Plain<'a> {
    sink: &'a mut dyn DirSink,
}

impl Reply for Plain<'_> {
    fn dot(&mut self, ino: u64, cookie: u64, name: &[u8]) -> bool {
        self.sink.plain(ino, cookie, Kind::Dir, name)
    }

    fn item(&mut self, item: Item<'_>) -> Answer<bool> {
        let ino = item.node.proposal();
        Ok(self.sink.plain(ino, item.cookie, item.kind, item.name))
    }
}

struct Plus<'a> {
    dir: &'a SnapDir,
    view: &'a View<'a>,
    sink: &'a mut dyn DirPlusSink,
}

impl Reply for Plus<'_> {
    fn dot(&mut self, ino: u64, cookie: u64, name: &[u8]) -> bool {
        // The kernel takes nothing but the number from these two.
        let mut attributes = self.dir.made_up(Timestamp::default());
        attributes.ino = ino;
        let entry = Entry {
            attributes: Some(attributes),
            entry_ttl: Duration::ZERO,
            attr_ttl: Duration::ZERO,
        };
        self.sink.plus(cookie, name, &entry)
    }

    fn item(&mut self, item: Item<'_>) -> Answer<bool> {
        let entry = self.dir.entry(self.view, item.node, item.found)?;
        let taken = self.sink.plus(item.cookie, item.name, &entry);
        if let (false, Some(attributes)) = (taken, entry.attributes) {
            self.dir.forget(attributes.ino, 1);
        }
        Ok(taken)
    }
}

impl SnapDir {
    /// The entries of a directory behind the cookie `offset`.
    ///
    /// # Errors
    /// ENOTDIR, ESTALE.
    pub fn readdir(
        &self,
        cx: &Context,
        ino: u64,
        offset: u64,
        sink: &mut dyn DirSink,
    ) -> Answer<()> {
        self.may_ask(cx)?;
        let view = self.history.view();
        self.list(&view, ino, offset, false, &mut Plain { sink })
    }

    /// The same with attributes; each entry that is taken, but "." and "..", counts as a look-up.
    ///
    /// # Errors
    /// ENOTDIR, ESTALE.
    pub fn readdirplus(
        &self,
        cx: &Context,
        ino: u64,
        offset: u64,
        sink: &mut dyn DirPlusSink,
    ) -> Answer<()> {
        self.may_ask(cx)?;
        let view = &self.history.view();
        let mut reply = Plus {
            dir: self,
            view,
            sink,
        };
        self.list(view, ino, offset, true, &mut reply)
    }

    /// `plus`: every entry will be looked at.
    fn list(
        &self,
        view: &View<'_>,
        ino: u64,
        offset: u64,
        plus: bool,
        reply: &mut dyn Reply,
    ) -> Answer<()> {
        let node = self.node(ino)?;
        let parent = node.parent().ok_or(Stop::Errno(libc::ENOTDIR))?;
        let dots: [(u64, &[u8]); 2] = [(ino, b"."), (parent, b"..")];
        for (cookie, (ino, name)) in (1_u64..).zip(dots) {
            if cookie > offset && !reply.dot(ino, cookie, name) {
                return Ok(());
            }
        }
        let mut taken = offset < DOTS;
        let emit = &mut |item: Item<'_>| {
            let more = reply.item(item)?;
            taken |= more;
            Ok(more)
        };
        let done = match *node {
            Node::Top { host } => self.list_names(view, host, offset, emit),
            Node::Checkpoints { host } => self.list_days(view, host, offset, emit),
            Node::Day { host, day } => self.list_day(view, host, day, offset, emit),
            Node::View { dir, epoch, .. } | Node::Dir { dir, epoch, .. } => {
                let place = tree::Directory { ino, dir, epoch };
                self.list_state(view, place, offset, plus, emit)
            }
            Node::Past { host, ref path, .. } => {
                self.list_past(view, ino, (host, path), offset, emit)
            }
            Node::Deltas { host, since } => self.list_deltas(view, (host, since), offset, emit),
            Node::Delta {
                dir, epoch, base, ..
            }
            | Node::DeltaDir {
                dir, epoch, base, ..
            } => {
                let place = tree::Directory { ino, dir, epoch };
                self.list_delta(view, place, base, offset, plus, emit)
            }
            Node::Link { .. } | Node::File { .. } | Node::Version { .. } | Node::Changes { .. } => {
                Err(Stop::Errno(libc::ENOTDIR))
            }
        };
        // What was taken must reach the kernel: an error that stays comes again at the next call.
        match done {
            Err(_) if taken => Ok(()),
            done => done,
        }
    }
}
