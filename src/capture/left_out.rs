//! What is left out of history, to be told: the folders by name, and to who is not told the rules
//! whether what he asks for is.

use super::Recorder;
use super::rules::has_tag;
use crate::format::record::Kind;
use crate::inodes::Inode;
use crate::pattern::Matcher;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Folders named at most as left out.
const NAMED_MAX: usize = 100;

/// Folders that are left out, by number, pinned, since their paths are found when they are asked for;
/// and the pattern, if there is one.
pub(super) type Folders = BTreeMap<u64, (Arc<Inode>, Option<String>)>;

/// A folder that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOutFolder {
    pub path: String,
    /// The pattern; `None`: it has a valid CACHEDIR.TAG.
    pub pattern: Option<String>,
}

impl Recorder {
    /// A folder is met that is left out.
    pub(super) fn note_folder(&self, inode: &Arc<Inode>, pattern: Option<String>) {
        let mut folders = self.rules.folders.lock();
        let is_known = folders.contains_key(&inode.ino);
        if is_known || folders.len() < NAMED_MAX {
            self.inodes.pin(inode);
            let before = folders.insert(inode.ino, (inode.clone(), pattern));
            drop(folders);
            self.unpin_all(before.map(|(before, _)| before));
        }
    }

    /// A folder has gone.
    pub(super) fn forget_folder(&self, inode: &Inode) {
        if self.rules.is_used() && inode.kind == Kind::Dir {
            let known = self.rules.folders.lock().remove(&inode.ino);
            self.unpin_all(known.map(|(known, _)| known));
        }
    }

    pub(super) fn unpin_all(&self, folders: impl IntoIterator<Item = Arc<Inode>>) {
        for folder in folders {
            self.inodes.unpin(&folder);
        }
    }

    /// The folders that are left out, in order of their paths of now, `NAMED_MAX` at most.
    pub fn left_out_folders(&self) -> Vec<LeftOutFolder> {
        let folders = self.rules.folders.lock();
        let rules = self.rules.matcher();
        let told = |(inode, noted): &(Arc<Inode>, Option<String>)| {
            let path = self.inodes.path_of(inode).join(&b'/');
            // It may have been moved to where another one leaves it out.
            let pattern = rules.pattern_for(&path, true).map(ToOwned::to_owned);
            LeftOutFolder {
                path: String::from_utf8_lossy(&path).into_owned(),
                pattern: pattern.or_else(|| noted.clone()),
            }
        };
        let mut all: Vec<_> = folders.values().map(told).collect();
        drop(folders);
        all.sort_by(|one, other| one.path.cmp(&other.path));
        all
    }

    /// Whether what stands there, or could, is left out by the rules as they were said last, or lies
    /// in a folder that is. `asked` is empty: the file itself, of the root whether there are rules at
    /// all. Else it is `/NAME`, or of a folder `/NAME/`: what bears that name in this folder.
    pub fn leaves_out(&self, inode: &Arc<Inode>, asked: &[u8]) -> bool {
        let rules = self.rules.said();
        match asked.strip_prefix(b"/") {
            _ if rules.is_empty() => false,
            None => asked.is_empty() && self.leaves_out_itself(&rules, inode),
            Some(name) => self.leaves_out_name(&rules, inode, name),
        }
    }

    fn leaves_out_itself(&self, rules: &Matcher, inode: &Arc<Inode>) -> bool {
        match inode.kind {
            Kind::Dir if Arc::ptr_eq(inode, self.inodes.root()) => true,
            Kind::Dir => {
                let path = self.inodes.path_of(inode).join(&b'/');
                rules.pattern_for_all(&path, true).is_some() || self.is_in_cache(rules, inode)
            }
            // By which of its names it was asked for, only the folder can tell.
            Kind::File => self
                .look(inode)
                .is_ok_and(|look| rules.is_too_large(look.stat.size)),
            _ => false,
        }
    }

    fn leaves_out_name(&self, rules: &Matcher, folder: &Arc<Inode>, name: &[u8]) -> bool {
        let is_dir = name.ends_with(b"/");
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let mut path = self.inodes.path_of(folder);
        path.push(name.to_vec());
        let by_pattern = rules.pattern_for_all(&path.join(&b'/'), is_dir).is_some();
        by_pattern || self.is_in_cache(rules, folder)
    }

    fn is_in_cache(&self, rules: &Matcher, folder: &Arc<Inode>) -> bool {
        let mut at = Some(folder.clone());
        while rules.rules().caches
            && let Some(folder) = at.take_if(|folder| !Arc::ptr_eq(folder, self.inodes.root()))
        {
            if self.has_tag(&folder) {
                return true;
            }
            at = folder.place().map(|place| place.parent);
        }
        false
    }

    /// Whether a folder says by a valid CACHEDIR.TAG that it is a cache.
    pub(super) fn has_tag(&self, folder: &Arc<Inode>) -> bool {
        let read = || -> io::Result<bool> {
            let path = folder.path(self.inodes.backing().root())?;
            has_tag(path.as_fd())
        };
        read().unwrap_or(false)
    }
}
