//! A part of a state: the contents of what stands at and below paths, and the paths that patterns
//! match.

use crate::format::record::{Content, Kind};
use crate::history::path::{self, Found, join};
use crate::history::{History, HistoryError};
use crate::id::{Epoch, Hash};
use crate::limits;
use crate::pattern::Matcher;
use crate::restore::Asked;
use crate::store::View;
use std::collections::HashSet;

/// The contents of files at and below paths, as chunks and lists.
///
/// # Errors
/// The store's, as of what follows.
pub fn contents(
    history: &History,
    at: Epoch,
    paths: &[Asked],
) -> Result<HashSet<Hash>, HistoryError> {
    let view = history.view();
    let mut wanted = HashSet::new();
    for path in paths {
        let Some(top) = path::walk(&view, at, path.iter().map(Vec::as_slice))? else {
            continue;
        };
        let mut dirs = Vec::new();
        let mut take = |dirs: &mut Vec<Found>, found: Found| match found.inode.content {
            _ if found.inode.kind == Kind::Dir => dirs.push(found),
            Content::Chunk(hash) | Content::List(hash) => {
                wanted.insert(hash);
            }
            _ => {}
        };
        take(&mut dirs, top);
        while let Some(dir) = dirs.pop() {
            each(&view, at, &dir, |_, child| take(&mut dirs, child))?;
        }
    }
    Ok(wanted)
}

/// The paths that patterns match; what is below such a folder comes with it.
pub fn matching(
    history: &History,
    at: Epoch,
    patterns: &Matcher,
) -> Result<Vec<Asked>, HistoryError> {
    let view = history.view();
    let mut matched = Vec::new();
    let root = path::walk(&view, at, [])?;
    let mut dirs: Vec<(Vec<u8>, Found)> = root.into_iter().map(|root| (Vec::new(), root)).collect();
    while let Some((above, dir)) = dirs.pop() {
        each(&view, at, &dir, |name, child| {
            let path = join(&above, name);
            let is_dir = child.inode.kind == Kind::Dir;
            if patterns.pattern_for(&path, is_dir).is_some() {
                matched.push(
                    path.split(|byte| *byte == b'/')
                        .map(<[u8]>::to_vec)
                        .collect(),
                );
            } else if is_dir {
                dirs.push((path, child));
            }
        })?;
    }
    Ok(matched)
}

pub(super) fn each(
    view: &View<'_>,
    at: Epoch,
    dir: &Found,
    mut found: impl FnMut(&[u8], Found),
) -> Result<(), HistoryError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = view.list_at(dir.id, at, after.as_deref(), limits::DIR_PAGE)?;
        let is_last = page.len() < limits::DIR_PAGE;
        for (name, id, _) in &page {
            if let Some(child) = path::file(view, at, *id)? {
                found(name, child);
            }
        }
        if is_last {
            return Ok(());
        }
        after = page.into_iter().next_back().map(|(name, ..)| name);
    }
}
