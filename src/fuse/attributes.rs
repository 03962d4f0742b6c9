//! Attributes and times between our words and fuser's.

use crate::format::record::{FileTime, Kind};
use crate::fs::{Attributes, Entry, SetTime};
use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// fuser's name of a type.
pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Dir => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

/// fuser's form of attributes.
pub(super) fn file_attr(attributes: &Attributes) -> FileAttr {
    FileAttr {
        ino: INodeNo(attributes.ino),
        size: attributes.size,
        blocks: attributes.blocks,
        atime: system_time(attributes.atime),
        mtime: system_time(attributes.mtime),
        ctime: system_time(attributes.ctime),
        crtime: UNIX_EPOCH,
        kind: file_type(attributes.kind),
        perm: (attributes.mode & 0o7777) as u16,
        nlink: attributes.nlink,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: attributes.rdev,
        blksize: attributes.blksize,
        flags: 0,
    }
}

/// How long the kernel may keep attributes. Not at all those of a setuid or setgid file: with
/// HANDLE_KILLPRIV_V2 a write clears these bits in the backing directory, and the kernel, which is
/// not told, would go on running the changed file with them.
pub(super) fn attr_ttl(attributes: &Attributes, ttl: Duration) -> Duration {
    if attributes.kind == Kind::File && attributes.mode & 0o6000 != 0 {
        Duration::ZERO
    } else {
        ttl
    }
}

/// The same of an entry.
pub(super) fn entry_attr_ttl(entry: &Entry) -> Duration {
    let attributes = entry.attributes.as_ref();
    attributes.map_or(entry.attr_ttl, |attributes| {
        attr_ttl(attributes, entry.attr_ttl)
    })
}

/// The attributes of an entry; a negative one has the node id 0, which is all that the kernel
/// looks at.
pub(super) fn entry_attr(entry: &Entry) -> FileAttr {
    entry.attributes.as_ref().map_or(
        FileAttr {
            ino: INodeNo(0),
            size: 0,
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: FileType::RegularFile,
            perm: 0,
            nlink: 0,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 0,
            flags: 0,
        },
        file_attr,
    )
}

/// What SETATTR says of one time.
pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(time_as_sent(time)),
    }
}

/// A time for a reply. fuser turns it into seconds and nanoseconds as it should.
fn system_time(time: FileTime) -> SystemTime {
    let seconds = Duration::from_secs(time.sec.unsigned_abs());
    let whole = if time.sec < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    };
    whole
        .and_then(|whole| whole.checked_add(Duration::from_nanos(time.nsec.into())))
        .unwrap_or(UNIX_EPOCH)
}

/// The seconds and nanoseconds that the kernel sent. For times before 1970 fuser 0.18 subtracts
/// the nanoseconds instead of adding them: its result is 1970 - (|seconds| + nanoseconds), from
/// which both can be read off again.
fn time_as_sent(time: SystemTime) -> FileTime {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => FileTime {
            sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            nsec: after.subsec_nanos(),
        },
        Err(before) => {
            let before = before.duration();
            FileTime {
                sec: 0i64
                    .checked_sub_unsigned(before.as_secs())
                    .unwrap_or(i64::MIN),
                nsec: before.subsec_nanos(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What fuser 0.18 makes of a time that comes from the kernel (its time.rs).
    fn as_fuser_decodes(sec: i64, nsec: u32) -> SystemTime {
        if sec >= 0 {
            UNIX_EPOCH + Duration::new(sec.unsigned_abs(), nsec)
        } else {
            UNIX_EPOCH - Duration::new(sec.unsigned_abs(), nsec)
        }
    }

    /// What fuser 0.18 sends of a time (its time.rs).
    fn as_fuser_encodes(time: SystemTime) -> (i64, u32) {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => (after.as_secs() as i64, after.subsec_nanos()),
            Err(before) => {
                let (sec, nsec) = (
                    before.duration().as_secs(),
                    before.duration().subsec_nanos(),
                );
                match (sec, nsec) {
                    (sec, _) if sec > i64::MAX as u64 => (i64::MIN, 0),
                    (sec, 0) => (-(sec as i64), 0),
                    (sec, nsec) => (-(sec as i64) - 1, 1_000_000_000 - nsec),
                }
            }
        }
    }

    #[test]
    fn times_survive_both_ways_through_fuser() {
        let times = [
            (-2, 500_000_000),
            (-1, 0),
            (-1, 1),
            (-1, 999_999_999),
            (0, 0),
            (0, 1),
            (1_700_000_000, 123_456_789),
            (-62_135_596_800, 7),
            (i64::MAX, 999_999_999),
            (i64::MIN + 1, 0),
            (i64::MIN, 0),
        ];
        for (sec, nsec) in times {
            let time = FileTime { sec, nsec };
            assert_eq!(time_as_sent(as_fuser_decodes(sec, nsec)), time);
            assert_eq!(as_fuser_encodes(system_time(time)), (sec, nsec));
        }
    }

    #[test]
    fn the_bits_that_a_write_may_clear_are_not_kept() {
        let day = Duration::from_secs(86_400);
        let ttl = |kind, mode| {
            let attributes = Attributes {
                ino: 5,
                kind,
                mode,
                nlink: 1,
                uid: 0,
                gid: 0,
                rdev: 0,
                size: 0,
                blocks: 0,
                blksize: 4096,
                atime: FileTime::default(),
                mtime: FileTime::default(),
                ctime: FileTime::default(),
            };
            attr_ttl(&attributes, day)
        };
        assert_eq!(ttl(Kind::File, 0o755), day);
        assert_eq!(ttl(Kind::File, 0o4755), Duration::ZERO);
        assert_eq!(ttl(Kind::File, 0o2644), Duration::ZERO);
        assert_eq!(ttl(Kind::Dir, 0o2755), day);
    }

    #[test]
    fn a_negative_entry_has_no_node() {
        let entry = Entry {
            attributes: None,
            entry_ttl: Duration::from_secs(1),
            attr_ttl: Duration::ZERO,
        };
        assert_eq!(entry_attr(&entry).ino, INodeNo(0));
    }
}
