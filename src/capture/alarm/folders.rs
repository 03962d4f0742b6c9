//! Where an alarm was: from the folders in which files lost their content to the one that says it
//! best, read in the state before.

use crate::format::record::{InodeVersion, Kind};
use crate::id::{Epoch, FileId};
use crate::limits;
use crate::store::{StoreError, View};
use std::collections::HashMap;

/// The folder in which a folder stood, and its name there.
fn above(
    view: &View<'_>,
    at: Epoch,
    folder: FileId,
) -> Result<Option<(FileId, Vec<u8>)>, StoreError> {
    Ok(match view.inode_at(folder, at)? {
        Some((_, InodeVersion::Present(inode))) if folder != FileId::ROOT => {
            Some((inode.parent, inode.name))
        }
        _ => None,
    })
}

/// From what went in each folder to what went in it and all below it.
pub(super) fn count_above(
    view: &View<'_>,
    at: Epoch,
    folders: &mut HashMap<FileId, u64>,
) -> Result<(), StoreError> {
    let mut parents = HashMap::new();
    for (folder, files) in folders.clone() {
        let mut here = folder;
        for _ in 0..limits::DEPTH_MAX {
            let parent = match parents.get(&here) {
                Some(parent) => *parent,
                None => {
                    let parent = above(view, at, here)?.map(|(parent, _)| parent);
                    parents.insert(here, parent);
                    parent
                }
            };
            let Some(parent) = parent else { break };
            *folders.entry(parent).or_default() += files;
            here = parent;
        }
    }
    Ok(())
}

/// The folders from the root down to this one.
fn path_of(view: &View<'_>, at: Epoch, folder: FileId) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut path = Vec::new();
    let mut here = folder;
    while let Some((parent, name)) = above(view, at, here)? {
        path.push(name);
        here = parent;
        if path.len() > limits::DEPTH_MAX {
            break;
        }
    }
    path.reverse();
    Ok(path)
}

/// The path of the deepest folder below which nearly all of it was done.
pub(super) fn deepest(
    view: &View<'_>,
    at: Epoch,
    folders: &HashMap<FileId, u64>,
    files: u64,
) -> Result<Vec<u8>, StoreError> {
    let mut best = Vec::new();
    for (folder, below) in folders {
        if *below * 10 >= files * 9 {
            let path = path_of(view, at, *folder)?;
            if path.len() > best.len() {
                best = path;
            }
        }
    }
    Ok(best.join(&b'/'))
}

/// The uppermost folder of which half of all files went, and how many those are.
pub(super) fn half_of_one(
    view: &View<'_>,
    at: Epoch,
    folders: &HashMap<FileId, u64>,
) -> Result<Option<(Vec<u8>, u64)>, StoreError> {
    let mut found: Option<(Vec<Vec<u8>>, u64)> = None;
    for (folder, files) in folders {
        if *files < limits::ALARM_FOLDER_FILES {
            continue;
        }
        let path = path_of(view, at, *folder)?;
        let higher = (found.as_ref()).is_none_or(|(other, _)| path.len() < other.len());
        if higher && !has_more_than(view, at, *folder, *files * 2)? {
            found = Some((path, *files));
        }
    }
    Ok(found.map(|(path, files)| (path.join(&b'/'), files)))
}

/// Whether more files than so many stood below a folder: looks at few more than that.
fn has_more_than(
    view: &View<'_>,
    at: Epoch,
    folder: FileId,
    most: u64,
) -> Result<bool, StoreError> {
    let mut folders = vec![folder];
    let (mut files, mut seen) = (0, 0);
    while let Some(folder) = folders.pop() {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = view.list_at(folder, at, after.as_deref(), limits::DIR_PAGE)?;
            for (_, id, kind) in &page {
                match kind {
                    Kind::Dir => folders.push(*id),
                    Kind::File => files += 1,
                    _ => {}
                }
                seen += 1;
                // Of a tree of folders without files there is an end, too.
                if files > most || seen > most * 4 {
                    return Ok(true);
                }
            }
            match page.last() {
                Some((name, ..)) if page.len() == limits::DIR_PAGE => after = Some(name.clone()),
                _ => break,
            }
        }
    }
    Ok(false)
}
