//! The kernel's table of mounts, as far as we must know it: where our mounts are, which store
//! each of them has, and what lies below a directory. Reads /proc/self/mountinfo only, so it
//! never waits for a file system that does not answer.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The file-system type under which our mounts stand in the table.
pub const TYPE: &str = "fuse.rewindfs";

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub id: u64,
    /// The mount on which this one stands.
    pub parent: u64,
    /// `st_dev` of what is on it, as (major, minor); minor is the FUSE connection.
    pub device: (u32, u32),
    pub point: PathBuf,
    pub kind: String,
    /// What was mounted; of our mounts the path of the store.
    pub source: OsString,
}

impl Mount {
    /// Whether it is one of ours.
    pub fn is_ours(&self) -> bool {
        self.kind == TYPE
    }

    /// The store of one of our mounts.
    pub fn store(&self) -> PathBuf {
        PathBuf::from(&self.source)
    }
}

/// The table, in the order of mounting: of two on one point the later is on top.
#[derive(Clone, Debug, Default)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Reads the table of this process.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn read() -> io::Result<Mounts> {
        Ok(Mounts::parse(&fs::read("/proc/self/mountinfo")?))
    }

    /// Lines that can't be understood are left out.
    fn parse(table: &[u8]) -> Mounts {
        Mounts(
            table
                .split(|&byte| byte == b'\n')
                .filter_map(parse_line)
                .collect(),
        )
    }

    /// The mount on which an absolute path without `..` lies.
    pub fn of(&self, path: &Path) -> Option<&Mount> {
        // Later lines cover earlier ones of the same length: `max_by_key` takes the last.
        self.0
            .iter()
            .filter(|mount| path.starts_with(&mount.point))
            .max_by_key(|mount| mount.point.as_os_str().len())
    }

    /// What is mounted on exactly this path, the top one.
    pub fn at(&self, path: &Path) -> Option<&Mount> {
        self.0.iter().rfind(|mount| mount.point == path)
    }

    /// Mounts strictly below a path.
    pub fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Mount> {
        self.0
            .iter()
            .filter(move |mount| mount.point != path && mount.point.starts_with(path))
    }

    /// Mounts around a path, the path itself not among them, innermost first.
    pub fn around<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Mount> {
        path.ancestors()
            .skip(1)
            .filter_map(|ancestor| self.at(ancestor))
    }

    /// All mounts of ours.
    pub fn ours(&self) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(|mount| mount.is_ours())
    }
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = std::str::from_utf8(fields.next()?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let _root = fields.next()?;
    let point = PathBuf::from(OsString::from_vec(unescape(fields.next()?)));
    // Options and optional fields end in a lone dash.
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = String::from_utf8_lossy(rest.next()?).into_owned();
    let source = OsString::from_vec(unescape(rest.next()?));
    Some(Mount {
        id,
        parent,
        device: (major.parse().ok()?, minor.parse().ok()?),
        point,
        kind,
        source,
    })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// The table writes space, tab, newline and backslash as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = |digit: u8| {
            (b'0'..=b'7')
                .contains(&digit)
                .then(|| u32::from(digit - b'0'))
        };
        if let (b'\\', [a, b, c, after @ ..]) = (first, tail)
            && let (Some(a), Some(b), Some(c)) = (octal(*a), octal(*b), octal(*c))
            && let Ok(byte) = u8::try_from(a * 64 + b * 8 + c)
        {
            plain.push(byte);
            rest = after;
        } else {
            plain.push(*first);
            rest = tail;
        }
    }
    plain
}

/// A path made absolute by its text alone: no file system is asked, so a dead mount on the way
/// does not matter. `None` when the path has `..`, which only the file system can resolve.
pub fn absolute(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    let climbs = absolute
        .components()
        .any(|part| part.as_os_str().as_bytes() == b"..");
    (!climbs).then_some(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        40 27 0:50 / /home/a\\040b/proj rw - fuse.rewindfs /home/a\\040b/.proj.rewind rw,user_id=0\n\
        41 40 0:51 / /home/a\\040b/proj/sub rw - tmpfs tmpfs rw\n\
        42 40 0:52 / /home/a\\040b/proj rw master:1 shared:2 - fuse.rewindfs /s rw\n\
        broken line\n";

    #[test]
    fn a_path_is_found_on_the_topmost_mount_of_its_point() {
        let mounts = Mounts::parse(TABLE);
        let on = |path: &str| mounts.of(Path::new(path)).map(|mount| mount.id);
        assert_eq!(on("/etc/passwd"), Some(27));
        assert_eq!(on("/proc"), Some(22));
        assert_eq!(on("/processes"), Some(27));
        assert_eq!(on("/home/a b/proj/x"), Some(42));
        assert_eq!(on("/home/a b/proj/sub/x"), Some(41));
    }

    #[test]
    fn escapes_are_undone_in_points_and_sources() {
        let mounts = Mounts::parse(TABLE);
        let ours: Vec<PathBuf> = mounts.ours().map(Mount::store).collect();
        assert_eq!(ours, [Path::new("/home/a b/.proj.rewind"), Path::new("/s")]);
        assert_eq!(unescape(b"\\134x\\04"), b"\\x\\04");
        assert_eq!(unescape(b"\\777"), b"\\777");
    }

    #[test]
    fn below_and_around_leave_out_the_directory_itself() {
        let mounts = Mounts::parse(TABLE);
        let below: Vec<u64> = mounts
            .below(Path::new("/home/a b/proj"))
            .map(|m| m.id)
            .collect();
        assert_eq!(below, [41]);
        let around: Vec<u64> = mounts
            .around(Path::new("/home/a b/proj/sub"))
            .map(|m| m.id)
            .collect();
        assert_eq!(around, [42, 27]);
    }

    #[test]
    fn only_a_path_without_dot_dot_is_made_absolute_by_text() {
        assert_eq!(absolute(Path::new("/a/./b/")), Some(PathBuf::from("/a/b/")));
        assert_eq!(absolute(Path::new("/a/../b")), None);
    }
}
