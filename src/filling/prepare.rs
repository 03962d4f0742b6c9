//! The first step, before anything is mounted: how much there is to come, and the names without which
//! nothing can be shown. Of files with several names all folders that hold them get their names now:
//! later a name of one could not be found by another.

use super::error::FillError;
use super::names::{Links, Listed, Names};
use crate::backing::Backing;
use crate::format::filling::Unfilled;
use crate::format::record::{Content, Dirent, InodeVersion, Kind};
use crate::id::{Epoch, FileId};
use crate::inodes::Inodes;
use crate::restore;
use crate::store::{Marks, Store};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What is to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Files with content, and its bytes.
    pub files: u64,
    pub bytes: u64,
    /// Names that are not made: the state does not have what they held.
    pub lost: u64,
    /// Attributes that could not be set.
    pub faults: u64,
}

/// Makes the first names of a state in a directory, and marks what is to come.
///
/// # Errors
/// What can't be read or made; done again, it goes on.
pub fn prepare(store: &Store, backing: Arc<Backing>, at: Epoch) -> Result<Prepared, FillError> {
    let mut prepared = Prepared::default();
    let mut several = HashMap::new();
    let mut above = HashMap::new();
    store.each_file_at(at, &mut |id, inode| {
        match inode.kind {
            Kind::Dir => {
                above.insert(id, inode.parent);
            }
            Kind::File if matches!(inode.content, Content::Chunk(_) | Content::List(_)) => {
                prepared.files += 1;
                prepared.bytes += inode.size;
            }
            _ => {}
        }
        if inode.kind != Kind::Dir && inode.nlink > 1 {
            several.insert(id, 0_u64);
        }
    })?;
    let now = folders_of(store, at, several, &above)?;
    let inodes = Inodes::new(backing)?;
    let view = store.view();
    let mut names = Names {
        inodes: &inodes,
        view: &view,
        epoch: at,
        links: now.links,
    };
    let root = Arc::clone(inodes.root());
    if let Some((_, InodeVersion::Present(record))) = view.inode_at(FileId::ROOT, at)? {
        let set = restore::set_attributes(inodes.backing().root(), FileId::ROOT, &record);
        prepared.faults += u64::from(set.is_err());
    }
    let mut done: Vec<(u64, Listed)> = Vec::new();
    let mut stack = vec![(root, FileId::ROOT)];
    while let Some((directory, id)) = stack.pop() {
        let listed = names.list(&directory, id)?;
        prepared.lost += listed.lost;
        prepared.faults += listed.faults.len() as u64;
        for (name, id) in &listed.folders {
            if now.folders.contains(id) {
                let (inode, _) = inodes.find_new(&directory, name)?;
                stack.push((inode, *id));
            }
        }
        done.push((directory.ino, listed));
    }
    inodes.backing().sync()?;
    let mut marks = Marks::default();
    for (_, listed) in &done {
        let made = listed.marks.iter().map(|(ino, mark)| (*ino, Some(*mark)));
        marks.marks.extend(made);
        marks.live.extend(&listed.live);
    }
    marks.live.extend(names.linked()?);
    // These have their names by now.
    for (ino, _) in &done {
        marks.marks.push((*ino, None::<Unfilled>));
    }
    store.mark(&marks, true)?;
    Ok(prepared)
}

struct Now {
    links: Links,
    folders: HashSet<FileId>,
}

/// The folders that hold files with several names, and those that they are in.
fn folders_of(
    store: &Store,
    at: Epoch,
    mut several: HashMap<FileId, u64>,
    above: &HashMap<FileId, FileId>,
) -> Result<Now, FillError> {
    let mut now = Now {
        links: Links::new(),
        folders: HashSet::new(),
    };
    if several.is_empty() {
        return Ok(now);
    }
    let mut names = Vec::new();
    store.each_name_at(at, &mut |dir, _, dirent| {
        if let Dirent::Present { id, .. } = *dirent
            && let Some(count) = several.get_mut(&id)
        {
            *count += 1;
            names.push((dir, id));
        }
    })?;
    several.retain(|_, count| *count > 1);
    for (mut dir, id) in names {
        if !several.contains_key(&id) {
            continue;
        }
        while now.folders.insert(dir)
            && let Some(parent) = above.get(&dir)
        {
            dir = *parent;
        }
    }
    now.links = several.into_keys().map(|id| (id, None)).collect();
    Ok(now)
}
