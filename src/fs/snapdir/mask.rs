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
//!
//! The same table, asked for read (r) as well as for search, says what a folder of `.history` may
//! show, which stands for a directory at many instants (`kept_by_all`).

use crate::format::record::Inode;
pub use crate::history::course::{ACL, Rights};

/// What a directory may allow, as the bit of "other".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Read = 4,
    Search = 1,
}

/// The bits of "owner", "group" and "other".
const CLASSES: [u32; 3] = [0o700, 0o070, 0o007];

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
    pub fn of<'a>(top: &Inode, ancestors: impl Iterator<Item = &'a Inode>) -> Mask {
        let ancestors: Vec<Rights> = ancestors.map(Rights::from).collect();
        if ancestors.iter().all(open_to_all) {
            return Mask::NONE;
        }
        let top = Rights::from(top);
        let mut kept = CLASSES.iter().fold(0, |all, class| all | class);
        for above in &ancestors {
            kept &= kept_by_all((top.uid, top.gid), above, Right::Search);
        }
        match top.acl {
            true => Mask {
                keep: Mask::ALL.keep | kept & 0o700,
                ..Mask::ALL
            },
            false => Mask {
                keep: Mask::ALL.keep | kept,
                hide_acl: false,
            },
        }
    }
}

/// The bits of the classes of what belongs to (uid, gid) in which nobody can be whom `above` did
/// not grant this right: the table at the head of this file.
pub fn kept_by_all(owner: (u32, u32), above: &Rights, right: Right) -> u32 {
    let (uid, gid) = owner;
    let other = right as u32;
    let by_owner = above.mode & other << 6 != 0;
    let by_group = above.mode & other << 3 != 0;
    let by_others = above.mode & other != 0;
    let owner_may = match above.uid == uid {
        true => by_owner,
        false => !above.acl && by_group && by_others,
    };
    let its_owner_may = above.uid == uid || by_owner;
    let group_may = !above.acl && its_owner_may && by_group && (above.gid == gid || by_others);
    let others_may = !above.acl && its_owner_may && (above.gid == gid || by_group) && by_others;
    let [owner, group, others] = CLASSES;
    let mut kept = 0;
    for (may, class) in [(owner_may, owner), (group_may, group), (others_may, others)] {
        if may {
            kept |= class;
        }
    }
    kept
}

fn open_to_all(above: &Rights) -> bool {
    above.mode & 0o111 == 0o111 && !above.acl
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
