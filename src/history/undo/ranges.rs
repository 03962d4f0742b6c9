//! The bytes of a file that a doing alone wrote, where others wrote elsewhere in it.

use super::{Planner, Result};
use crate::format::ranges::RangeSet;
use crate::format::record::{Inode, Kind};
use crate::history::Found;
use crate::history::doings::Span;

impl Planner<'_, '_> {
    /// What of a file has to become what it was `then`, so that all that others wrote since stays;
    /// `None`: that can't be told apart.
    pub(super) fn own_bytes(
        &self,
        span: Span,
        then: &Found,
        now: &Found,
    ) -> Result<Option<RangeSet>> {
        let attributes = |inode: &Inode| (inode.mode, inode.uid, inode.gid, inode.xattrs.clone());
        let is_file = then.inode.kind == Kind::File && now.inode.kind == Kind::File;
        let missing = then.inode.content.is_missing() || now.inode.content.is_missing();
        if !is_file || missing || attributes(&then.inode) != attributes(&now.inode) {
            return Ok(None);
        }
        let (mut own, mut others) = (RangeSet::default(), RangeSet::default());
        for (epoch, written) in self.view.writings(then.id, (span.first, self.at))? {
            for one in written {
                match self.touched.is_by(one.by, epoch) {
                    true => own.add(&one.bytes),
                    false => others.add(&one.bytes),
                }
            }
        }
        let apart = !own.is_empty() && !own.meets(&others);
        Ok(apart.then_some(own))
    }
}
