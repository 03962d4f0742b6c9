//! Whose a directory was and what it allowed, from one change of that to the next; and in which
//! directory it stood. A directory has a version for every time that a name in it changed, but its
//! owner and mode hardly ever change: so this is short, and it is kept and continued.

use super::{History, Result};
use crate::format::record::{Inode, InodeVersion};
use crate::id::{Epoch, FileId};
use crate::limits;
use crate::store::View;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The extended attribute that is a POSIX ACL.
pub const ACL: &[u8] = b"system.posix_acl_access";

/// What decides who may do something with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// It has an ACL, so the mode alone does not tell.
    pub acl: bool,
}

impl From<&Inode> for Rights {
    fn from(inode: &Inode) -> Rights {
        Rights {
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            acl: inode.xattrs.iter().any(|(name, _)| name == ACL),
        }
    }
}

/// From an epoch on, until the next stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub from: Epoch,
    /// `None`: it was not there.
    pub rights: Option<Rights>,
    /// The directory in which it stood.
    pub parent: FileId,
}

/// Of one file, ascending.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// Later versions are not in it.
    upto: Epoch,
    stretches: Vec<Stretch>,
}

impl Course {
    /// Those that reach into the time from `from` up to, not including, `until`, each with its
    /// part of it.
    pub fn between(
        &self,
        from: Epoch,
        until: Epoch,
    ) -> impl DoubleEndedIterator<Item = (Epoch, Epoch, Stretch)> {
        let ends = self.stretches.iter().skip(1).map(|next| next.from);
        let ends = ends.chain(std::iter::once(Epoch::MAX));
        let all: Vec<_> = self.stretches.iter().copied().zip(ends).collect();
        all.into_iter().filter_map(move |(stretch, end)| {
            let (begin, end) = (stretch.from.max(from), end.min(until));
            (begin < end).then_some((begin, end, stretch))
        })
    }
}

impl History {
    /// The course of a file as far as the picture goes. The first time costs a pass over its
    /// versions, later ones what came since.
    ///
    /// # Errors
    /// The store's.
    pub fn course(&self, view: &View<'_>, id: FileId) -> Result<Arc<Course>> {
        let newest = view.newest_epoch()?.unwrap_or(Epoch::NONE);
        let known = self.courses.lock().get(&id);
        let mut course = match known {
            Some(known) if known.upto >= newest => return Ok(known),
            Some(known) => Course::clone(&known),
            None => Course::default(),
        };
        let versions = view.inode_versions_between(id, course.upto, newest)?;
        for (from, version) in versions.into_iter().rev() {
            let (rights, parent) = match &version {
                InodeVersion::Present(inode) => (Some(Rights::from(inode)), inode.parent),
                InodeVersion::Gone => (None, FileId::default()),
            };
            let same = |last: &Stretch| (last.rights, last.parent) == (rights, parent);
            if !course.stretches.last().is_some_and(same) {
                course.stretches.push(Stretch {
                    from,
                    rights,
                    parent,
                });
            }
        }
        course.upto = newest;
        let course = Arc::new(course);
        let weight = 1 + course.stretches.len();
        self.courses.lock().put(id, course.clone(), weight);
        Ok(course)
    }

    /// Shows `look` the rights of every directory that was above the file `id` at some time from
    /// `from` up to, not including, `until`. False: not all of them are known.
    ///
    /// # Errors
    /// The store's.
    pub fn above(
        &self,
        view: &View<'_>,
        id: FileId,
        (from, until): (Epoch, Epoch),
        look: &mut dyn FnMut(&Rights),
    ) -> Result<bool> {
        let mut seen = BTreeSet::new();
        let mut open = vec![(id, from, until)];
        let mut whole = true;
        while let Some((id, from, until)) = open.pop() {
            if id == FileId::ROOT {
                continue;
            }
            let course = self.course(view, id)?;
            let mut known = false;
            for (from, until, stretch) in course.between(from, until) {
                if stretch.rights.is_none() {
                    continue;
                }
                known = true;
                let parent = stretch.parent;
                if !seen.insert((parent, from, until)) {
                    continue;
                }
                if seen.len() > limits::DEPTH_MAX {
                    return Ok(false);
                }
                let above = self.course(view, parent)?;
                let mut there = false;
                for (_, _, stretch) in above.between(from, until) {
                    if let Some(rights) = &stretch.rights {
                        there = true;
                        look(rights);
                    }
                }
                whole &= there;
                open.push((parent, from, until));
            }
            whole &= known;
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::past::{Past, directory};

    #[test]
    fn a_course_tells_every_change_and_goes_on() {
        let mut past = Past::new();
        let with = |mode| Inode {
            mode,
            ..directory()
        };
        past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            draft.put(2, 1, "a", with(0o755));
        });
        for second in 1..5 {
            past.epoch(&format!("2026-11-20T10:00:0{second}"), |draft| {
                draft.put(2, 1, "a", with(0o755));
            });
        }
        let history = History::new(past.store.clone());
        let course = |from, until| {
            let view = history.view();
            let course = history.course(&view, FileId(2)).expect("readable");
            let all = course.between(Epoch(from), Epoch(until));
            all.map(|(from, until, stretch)| {
                let mode = stretch.rights.expect("there").mode;
                (from.0, until.0, mode)
            })
            .collect::<Vec<_>>()
        };
        assert_eq!(course(0, 9), [(1, 9, 0o755)]);
        past.epoch("2026-11-20T10:01", |draft| {
            draft.put(2, 1, "a", with(0o700));
        });
        past.epoch("2026-11-20T10:02", |draft| {
            draft.put(2, 1, "a", with(0o755));
        });
        assert_eq!(course(3, 8), [(3, 6, 0o755), (6, 7, 0o700), (7, 8, 0o755)]);
        assert_eq!(course(7, 8), [(7, 8, 0o755)]);
    }

    #[test]
    fn everything_that_ever_stood_above_is_looked_at() {
        let mut past = Past::new();
        let with = |mode| Inode {
            mode,
            ..directory()
        };
        past.epoch("2026-11-20T10:00", |draft| {
            draft.root(with(0o751));
            draft.put(2, 1, "a", with(0o752));
            draft.put(3, 2, "b", with(0o753));
            draft.put(4, 1, "c", with(0o754));
        });
        past.epoch("2026-11-20T10:01", |draft| {
            draft.unname(2, "b");
            draft.put(3, 4, "b", with(0o753));
        });
        past.epoch("2026-11-20T10:02", |draft| {
            draft.put(2, 1, "a", with(0o750));
        });
        let history = History::new(past.store.clone());
        let above = |from, until| {
            let mut modes = BTreeSet::new();
            let time = (Epoch(from), Epoch(until));
            let whole = history.above(&history.view(), FileId(3), time, &mut |rights| {
                modes.insert(rights.mode & 7);
            });
            assert!(whole.expect("readable"));
            modes.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(above(1, 2), [1, 2]);
        assert_eq!(above(2, 4), [1, 4]);
        assert_eq!(above(1, 4), [1, 2, 4]);
        let nobody = history.above(
            &history.view(),
            FileId(77),
            (Epoch(1), Epoch(2)),
            &mut |_| {},
        );
        assert!(!nobody.expect("readable"));
    }
}
