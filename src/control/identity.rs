//! Which directory a history belongs to: comparing, and saying it to a person. The identity is
//! taken of the directory's root by `backing` and kept in the store.

use crate::format::record::RootIdentity;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether both are one directory. Where it was mounted is not compared: a directory may be
/// renamed. A birth time that one of them lacks says nothing.
pub fn same(a: &RootIdentity, b: &RootIdentity) -> bool {
    let same_birth = match (a.birth, b.birth) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    };
    a.fsid == b.fsid && a.ino == b.ino && same_birth
}

/// `/home/me/proj with inode 1234 on file system 1122334455667788`.
pub fn describe(identity: &RootIdentity) -> String {
    let path = Path::new(OsStr::from_bytes(&identity.path)).display();
    format!(
        "{path} with inode {} on file system {}",
        identity.ino, identity.fsid
    )
}

/// The same of another one, and how it differs if its numbers do not: inode numbers are given
/// again.
pub fn describe_other(own: &RootIdentity, kept: &RootIdentity) -> String {
    let told = describe(own);
    if (own.ino, &own.fsid) != (kept.ino, &kept.fsid) {
        return told;
    }
    let age = if own.birth > kept.birth {
        "later"
    } else {
        "earlier"
    };
    format!("{told}, made {age}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::FileTime;

    fn identity(ino: u64, birth: Option<i64>, path: &str) -> RootIdentity {
        RootIdentity {
            fsid: "1122334455667788".into(),
            ino,
            birth: birth.map(|sec| FileTime { sec, nsec: 0 }),
            path: path.into(),
        }
    }

    #[test]
    fn a_renamed_directory_is_the_same_and_a_recreated_one_is_not() {
        let was = identity(7, Some(1), "/a");
        assert!(same(&was, &identity(7, Some(1), "/b")));
        assert!(!same(&was, &identity(8, Some(1), "/a")));
        assert!(!same(&was, &identity(7, Some(2), "/a")));
        assert!(same(&was, &identity(7, None, "/a")));
    }

    #[test]
    fn it_is_told_by_path_inode_and_file_system() {
        let told = describe(&identity(7, None, "/a b"));
        assert_eq!(told, "/a b with inode 7 on file system 1122334455667788");
        let kept = identity(7, Some(1), "/a");
        assert_eq!(
            describe_other(&identity(7, Some(2), "/a"), &kept),
            "/a with inode 7 on file system 1122334455667788, made later"
        );
        assert_eq!(
            describe_other(&identity(8, Some(2), "/a"), &kept),
            "/a with inode 8 on file system 1122334455667788"
        );
    }
}
