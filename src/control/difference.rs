//! What differs between two states, page by page, so that a message stays small however much that
//! is. Each page is found anew: there is nothing that would have to be kept for who may not come back.

use super::error::Error;
use super::request::{Answer, DiffLine, RawPath};
use crate::history::diff::{self, Difference};
use crate::history::path::is_below;
use crate::id::Epoch;
use crate::store::Store;

/// Bytes of paths in one answer: far below what a message may have.
const PAGE_BYTES: usize = 512 << 10;

/// One page.
///
/// # Errors
/// When the store can't be read.
pub fn page(
    store: &Store,
    from: u64,
    to: u64,
    under: &RawPath,
    skip: u64,
) -> Result<Answer, Error> {
    let found = diff::between(&store.view(), Epoch(from), Epoch(to))?;
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    let mut wanted = found.into_iter().filter(|one| concerns(one, &under.0));
    let (mut lines, mut bytes) = (Vec::new(), 0);
    for one in wanted.by_ref().skip(skip) {
        bytes += one.path.len() + one.from.as_ref().map_or(0, Vec::len) + size_of::<DiffLine>();
        lines.push(line(one));
        if bytes > PAGE_BYTES {
            break;
        }
    }
    let more = wanted.next().is_some();
    Ok(Answer::Diff { lines, more })
}

fn concerns(one: &Difference, under: &[u8]) -> bool {
    is_below(under, &one.path)
        || one
            .from
            .as_deref()
            .is_some_and(|from| is_below(under, from))
}

fn line(one: Difference) -> DiffLine {
    DiffLine {
        change: one.letter.sign(),
        path: RawPath(one.path),
        from: one.from.map(RawPath),
        old_bytes: one.old_size,
        new_bytes: one.new_size,
    }
}
