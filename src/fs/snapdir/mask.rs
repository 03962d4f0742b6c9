//! Who may enter the past of a directory that is not the root of the tree.
//!
//! In the live tree of an instant, who came to a directory T had walked through every directory
//! above it. Who enters T by T's own `.snapshots` has walked through the directories of *today*,
//! which may be open where those of then were closed. So T is shown without the permissions of
//! everybody who could have been denied search (x) by one of its ancestors at that instant.
//!
//! The rule. T belongs to (u, g); an ancestor A has mode m and belongs to (v, h). A class of T
//! keeps its bits iff every A lets everybody pass who could be in that class:
//!
//! | class of T | who is in it | A lets all of them pass if |
//! |---|---|---|
//! | owner | uid = u | v = u: m has u+x. Else: m has g+x and o+x |
//! | group | uid != u, g among the groups | (v = u or m has u+x) and m has g+x and (h = g or m has o+x) |
//! | other | uid != u, g not among them | (v = u or m has u+x) and (h = g or m has g+x) and m has o+x |
//!
//! Proof, by the class of A in which the kernel puts a caller: it is *owner* iff his uid is v, else
//! *group* iff h is among his groups, else *other*, and A lets him pass iff m has x for that class.
//! Owner of T: if v = u he is A's owner; else he is not, and may be in h or not: both must pass.
//! Group of T: if v = u he is not A's owner; else he may be, so u+x is needed. If not its owner: if
//! h = g he is in A's group; else he may be in h or not: both must pass. Other of T: the same, but
//! if h = g he is not in A's group, so g+x is not needed. What is not known of a caller (his other
//! groups) is taken both ways, so no one is let in who was kept out; some who were let in are kept
//! out here, and have the root's `.snapshots`, where each directory is asked for itself.
//!
//! ACLs. An entry of A's ACL can deny anybody but A's owner (his entry is m's u bits): of an A with
//! an ACL only the case v = u of the owner's row counts. If T itself has an ACL, its entries speak
//! of people of whom no class tells: either every A has no ACL and m has a+x (then nobody was ever
//! denied and T is shown as it was), or T is shown without its ACL and with nothing for group and
//! other (without the ACL, one whom it denied would be among the others). The owner's entry is the
//! same with and without an ACL. Root passes everywhere, here as there (CAP_DAC_OVERRIDE).

use crate::format::record::Inode;

/// The extended attribute that is a POSIX ACL.
pub const ACL: &[u8] = b"system.posix_acl_access";

const X_OWNER: u32 = 0o100;
const X_GROUP: u32 = 0o010;
const X_OTHER: u32 = 0o001;
const X_ALL: u32 = X_OWNER | X_GROUP | X_OTHER;

/// How the top of a view is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Mode bits that it keeps.
    pub keep: u32,
    pub hide_acl: bool,
}

impl Mask {
    /// As it was.
    pub const NONE: Mask = Mask {
        keep: 0o7777,
        hide_acl: false,
    };
    /// For root only.
    pub const ALL: Mask = Mask {
        keep: 0o7000,
        hide_acl: true,
    };

    /// The mask of the directory `top`, which had these `ancestors`.
    pub fn of<'a>(top: &Inode, ancestors: impl Iterator<Item = &'a Inode> + Clone) -> Mask {
        if ancestors.clone().all(open_to_all) {
            return Mask::NONE;
        }
        let keeps = |rule: fn(&Inode, &Inode) -> bool| ancestors.clone().all(|a| rule(top, a));
        let mut mask = Mask::ALL;
        if keeps(owner_passes) {
            mask.keep |= 0o700;
        }
        if has_acl(top) {
            return mask;
        }
        mask.hide_acl = false;
        if keeps(group_passes) {
            mask.keep |= 0o070;
        }
        if keeps(others_pass) {
            mask.keep |= 0o007;
        }
        mask
    }
}

fn has_acl(inode: &Inode) -> bool {
    inode.xattrs.iter().any(|(name, _)| name == ACL)
}

fn open_to_all(above: &Inode) -> bool {
    above.mode & X_ALL == X_ALL && !has_acl(above)
}

fn owner_passes(top: &Inode, above: &Inode) -> bool {
    if above.uid == top.uid {
        above.mode & X_OWNER != 0
    } else {
        !has_acl(above) && above.mode & X_GROUP != 0 && above.mode & X_OTHER != 0
    }
}

fn group_passes(top: &Inode, above: &Inode) -> bool {
    !has_acl(above)
        && (above.uid == top.uid || above.mode & X_OWNER != 0)
        && above.mode & X_GROUP != 0
        && (above.gid == top.gid || above.mode & X_OTHER != 0)
}

fn others_pass(top: &Inode, above: &Inode) -> bool {
    !has_acl(above)
        && (above.uid == top.uid || above.mode & X_OWNER != 0)
        && (above.gid == top.gid || above.mode & X_GROUP != 0)
        && above.mode & X_OTHER != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::{Content, FileTime, Kind};
    use crate::id::FileId;

    fn directory(uid: u32, gid: u32, mode: u32) -> Inode {
        Inode {
            kind: Kind::Dir,
            mode,
            uid,
            gid,
            rdev: 0,
            atime: FileTime::default(),
            mtime: FileTime::default(),
            ctime: FileTime::default(),
            nlink: 2,
            size: 4096,
            content: Content::Empty,
            target: Vec::new(),
            xattrs: Vec::new(),
            parent: FileId::ROOT,
            name: Vec::new(),
        }
    }

    fn with_acl(mut inode: Inode) -> Inode {
        inode.xattrs.push((ACL.to_vec(), vec![2, 0, 0, 0]));
        inode
    }

    /// A caller: uid 1..=3, any set of the groups 1..=3.
    fn callers() -> impl Iterator<Item = (u32, [bool; 4])> {
        (1..=3).flat_map(|uid| {
            (0..8_u32).map(move |set| {
                let member = |group: u32| set & (1 << (group - 1)) != 0;
                (uid, [false, member(1), member(2), member(3)])
            })
        })
    }

    /// What the kernel grants without ACLs: three bits.
    fn granted(inode: &Inode, mode: u32, (uid, groups): (u32, [bool; 4])) -> u32 {
        if inode.uid == uid {
            mode >> 6 & 7
        } else if groups[inode.gid as usize] {
            mode >> 3 & 7
        } else {
            mode & 7
        }
    }

    fn ancestors() -> Vec<Inode> {
        let mut all = Vec::new();
        for bits in 0..8 {
            let mode = (bits & 4) << 4 | (bits & 2) << 2 | (bits & 1);
            for uid in 1..=2 {
                for gid in 1..=2 {
                    all.push(directory(uid, gid, mode));
                }
            }
        }
        all
    }

    #[test]
    fn nobody_enters_who_was_kept_out_by_a_directory_above() {
        let top = directory(1, 1, 0o777);
        for one in ancestors() {
            for other in ancestors() {
                let above = [one.clone(), other.clone()];
                let shown = top.mode & Mask::of(&top, above.iter()).keep;
                for caller in callers() {
                    let passed = above.iter().all(|a| granted(a, a.mode, caller) & 1 != 0);
                    let may = granted(&top, shown, caller);
                    assert!(passed || may == 0, "{caller:?} {one:?} {other:?}");
                }
            }
        }
    }

    /// With one ancestor the rule is exact: a class loses its bits only if somebody in it was
    /// denied.
    #[test]
    fn no_class_loses_more_than_it_must() {
        let top = directory(1, 1, 0o777);
        for above in ancestors() {
            let mask = Mask::of(&top, [&above].into_iter());
            assert!(!mask.hide_acl);
            for (class, shift) in [(6, 6), (3, 3), (0, 0)] {
                let mut in_class = callers().filter(|caller| {
                    let bits = granted(&top, 7 << class, *caller);
                    bits == 7
                });
                let all_passed = in_class.all(|c| granted(&above, above.mode, c) & 1 != 0);
                assert_eq!(mask.keep >> shift & 7 == 7, all_passed, "{class} {above:?}");
            }
        }
    }

    #[test]
    fn ordinary_trees_are_shown_as_they_were() {
        let top = directory(1, 1, 0o2775);
        let ordinary = [
            directory(1, 1, 0o755),
            directory(0, 0, 0o755),
            directory(0, 0, 0o711),
        ];
        assert_eq!(Mask::of(&top, ordinary.iter()), Mask::NONE);
        assert_eq!(
            Mask::of(&with_acl(top.clone()), ordinary.iter()),
            Mask::NONE
        );
        assert_eq!(Mask::of(&top, [].iter()), Mask::NONE);
        // Alice's closed home: she enters, nobody else.
        let home = directory(1, 1, 0o700);
        assert_eq!(Mask::of(&top, [&home].into_iter()).keep, 0o7700);
    }

    #[test]
    fn an_acl_above_lets_only_the_owner_of_both_pass() {
        let above = with_acl(directory(1, 1, 0o777));
        assert_eq!(
            Mask::of(&directory(1, 1, 0o777), [&above].into_iter()).keep,
            0o7700
        );
        assert_eq!(
            Mask::of(&directory(2, 1, 0o777), [&above].into_iter()).keep,
            0o7000
        );
    }

    #[test]
    fn an_acl_of_the_top_is_hidden_with_all_that_it_ruled() {
        let top = with_acl(directory(1, 1, 0o777));
        let closed = directory(1, 1, 0o750);
        let mask = Mask::of(&top, [&closed].into_iter());
        assert!(mask.hide_acl);
        assert_eq!(mask.keep, 0o7700);
    }
}
