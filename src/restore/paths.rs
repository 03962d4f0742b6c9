//! What was asked for, and the way to it: one path after the other, each from the top of the tree.

use super::item::{Fault, Item, Source};
use super::tally::{Change, Tally, Tell, Trouble};
use super::tree::{Dir, Place, Tree};
use super::{Folder, item};
use crate::format::record::Kind;
use crate::history::path::join;
use crate::pattern::Matcher;
use crate::time::Timestamp;
use std::sync::Arc;

/// What to do with what is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// Whatever differs; contents are compared.
    Always,
    /// The same, but equal size and modification time prove that a content is equal.
    IfChanged,
    /// Nothing: only what is missing is made.
    Never,
}

/// How to restore.
#[derive(Clone, Debug)]
pub struct Options {
    /// Removes what was not there then.
    pub delete: bool,
    /// Changes nothing, says all.
    pub dry_run: bool,
    pub overwrite: Overwrite,
    /// Writes into files that are there, since all of it is recorded; otherwise they are replaced.
    pub in_place: bool,
    /// The name under which the past is shown: never removed.
    pub snapdir: Option<Vec<u8>>,
    /// The instant of the state, if the target is the directory that it is of: what has not been
    /// changed since well before it need not be read.
    pub since: Option<Timestamp>,
    /// The file system of the target.
    pub device: u64,
    /// What is left out now, and was when the state was made: none of it is touched.
    pub left_out: LeftOut,
}

/// What history leaves out of the target, if that is the directory that it is of.
#[derive(Clone, Debug, Default)]
pub struct LeftOut {
    pub now: Arc<Matcher>,
    pub then: Arc<Matcher>,
    /// Neither is told to this user: the mount says of each file whether it is left out now.
    pub asks: bool,
}

impl LeftOut {
    /// By which pattern a path is left out, now or then, by itself or with a folder above it.
    pub(super) fn pattern_for(&self, path: &[u8], is_dir: bool) -> Option<&str> {
        let now = self.now.pattern_for_all(path, is_dir);
        now.or_else(|| self.then.pattern_for_all(path, is_dir))
    }

    /// Whether folders that call themselves caches are left out.
    pub(super) fn caches(&self) -> bool {
        self.now.rules().caches || self.then.rules().caches
    }
}

/// A path, as names from the top of the tree down; none for the whole tree.
pub type Asked = Vec<Vec<u8>>;

/// Restores paths. The answer also says by which paths it can be taken back: those that were
/// asked for, or where a directory had to be made for one, that directory.
pub fn restore(
    source: &dyn Source,
    live: &Folder,
    asked: &[Asked],
    options: &Options,
    tell: &dyn Tell,
) -> (Tally, Vec<Asked>) {
    let tree = Tree::new(source, live, options, tell);
    let mut touched = Vec::new();
    tree.with_workers(|| {
        for path in asked {
            if tell.interrupted() {
                break;
            }
            touched.push(one(&tree, path));
        }
    });
    (tree.tally(), touched)
}

/// Restores one path; returns the part of it by which that can be taken back.
fn one(tree: &Tree<'_>, path: &Asked) -> Asked {
    let shown = path.join(&b'/');
    if tree.keeps_below(path) {
        return path.clone();
    }
    let found = match item::walk(tree.source, path) {
        Ok(found) => found,
        Err(fault) => {
            tree.lost(&shown, &fault);
            return path.clone();
        }
    };
    let top = match tree.live.top() {
        Ok(top) => top,
        Err(fault) => {
            tree.conflict(&shown, &fault.to_string());
            return path.clone();
        }
    };
    match found {
        Some(item) => lead(tree, path, top, item),
        None => {
            gone(tree, path, top);
            path.clone()
        }
    }
}

/// It was not there then.
fn gone(tree: &Tree<'_>, path: &Asked, top: Item) {
    let shown = path.join(&b'/');
    let Some((name, above)) = path.split_last() else {
        return;
    };
    let mut dir = Some(top);
    for part in above {
        dir = match dir {
            Some(dir) if dir.facts.kind == Kind::Dir => match tree.live.child(&dir, part) {
                Ok(child) => child,
                Err(fault) => {
                    tree.conflict(&shown, &fault.to_string());
                    return;
                }
            },
            other => other,
        };
    }
    let now = match dir.filter(|dir| dir.facts.kind == Kind::Dir) {
        Some(dir) => tree.live.child(&dir, name).map(|child| child.map(|_| dir)),
        None => Ok(None),
    };
    match now {
        Ok(Some(dir)) if tree.options.delete => {
            tree.remove(&dir, name, &shown, 0);
        }
        Ok(None) if tree.options.delete => tree.count(|tally| tally.unchanged += 1),
        Ok(Some(_)) => {
            let reason = "it was not there then (with --delete it is removed)";
            tree.trouble(Trouble::NotRecoverable, &shown, reason);
        }
        Ok(None) => tree.trouble(Trouble::NotRecoverable, &shown, "it was not there then"),
        Err(fault) => {
            tree.conflict(&shown, &fault.to_string());
        }
    }
}

/// Goes down to it, makes the directories that are missing, and restores it there.
fn lead(tree: &Tree<'_>, path: &Asked, top: Item, item: Item) -> Asked {
    let Some((name, above)) = path.split_last() else {
        let dir = Arc::new(Dir::existing(tree, Some(top), Vec::new()));
        tree.root(dir, item);
        return Vec::new();
    };
    let mut touched = path.clone();
    let mut dir = Arc::new(Dir::existing(tree, Some(top), Vec::new()));
    for (depth, part) in above.iter().enumerate() {
        let shown = join(&dir.path, part);
        let below = match way(tree, &dir, path, depth, &shown) {
            Ok((below, made)) => {
                if made && touched.len() > depth + 1 {
                    touched.truncate(depth + 1);
                }
                below
            }
            Err(Fault::Foreign) => return touched,
            Err(fault) => {
                tree.conflict(&shown, &fault.to_string());
                return touched;
            }
        };
        dir = Arc::new(below);
    }
    let place = Place {
        dir,
        name: name.clone(),
        depth: above.len(),
    };
    tree.entry(place, item);
    touched
}

/// The directory `path[depth]` in `dir`; whether it was made. `Foreign`: told already.
fn way<'t>(
    tree: &Tree<'t>,
    dir: &Arc<Dir<'t>>,
    path: &Asked,
    depth: usize,
    shown: &[u8],
) -> Result<(Dir<'t>, bool), Fault> {
    let child = match &dir.live {
        Some(live) => tree.live.child(live, &path[depth])?,
        None => None,
    };
    match child {
        Some(child) if child.facts.kind == Kind::Dir => {
            Ok((Dir::existing(tree, Some(child), shown.to_vec()), false))
        }
        Some(_) => {
            let reason = "it is no directory now, and was one then; restore it first";
            tree.conflict(shown, reason);
            Err(Fault::Foreign)
        }
        None => {
            let then = item::walk(tree.source, &path[..=depth])?.ok_or(Fault::Foreign)?;
            // Who asks could not ask of it before the folders above it were there.
            if let Some(reason) = tree.left_out(dir.live.as_ref(), shown, Kind::Dir, None) {
                tree.keep(shown, &reason);
                return Err(Fault::Foreign);
            }
            let made = tree.make_dir(dir, &path[depth], shown, &then)?;
            tree.changed(Change::Added, shown);
            Ok((made, true))
        }
    }
}
