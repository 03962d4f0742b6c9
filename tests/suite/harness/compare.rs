//! A whole tree as one value: names, content, attributes, xattrs with ACLs, symlinks, hard links,
//! holes. Read with plain system calls, so that a plain copy and a snapshot can be compared entry by
//! entry.

use super::sys;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// One entry, without inode number, atime and block count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: char,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u64,
    pub rdev: u64,
    /// Of directories 0: file systems count differently.
    pub size: u64,
    pub mtime: (i64, i64),
    pub ctime: (i64, i64),
    /// Hash of the content.
    pub content: Option<String>,
    pub target: Option<Vec<u8>>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Start and end of each stretch of data.
    pub data: Vec<(u64, u64)>,
    /// The first name of the same inode.
    pub same_as: Option<Vec<u8>>,
}

/// A tree, by path from its root ("" is the root itself).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    pub entries: BTreeMap<Vec<u8>, Entry>,
}

/// What a comparison leaves out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Except {
    pub ctime: bool,
    pub mtime: bool,
    pub holes: bool,
    /// Link counts of directories.
    pub dir_links: bool,
}

impl Tree {
    /// Reads a tree. An entry `.snapshots` in the root is passed over.
    pub fn read(root: &Path) -> Tree {
        let mut tree = Tree::default();
        let mut inodes = BTreeMap::new();
        tree.add(root, Vec::new(), &mut inodes);
        tree
    }

    fn add(&mut self, path: &Path, name: Vec<u8>, inodes: &mut BTreeMap<u64, Vec<u8>>) {
        let entry = read_entry(path, &name, inodes);
        let is_dir = entry.kind == 'd';
        self.entries.insert(name.clone(), entry);
        if !is_dir {
            return;
        }
        let listing = fs::read_dir(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let mut children: Vec<Vec<u8>> = listing
            .map(|child| {
                let child = child.unwrap_or_else(|error| panic!("{path:?}: {error}"));
                child.file_name().into_vec()
            })
            .collect();
        children.sort();
        for child in children {
            if name.is_empty() && child == b".snapshots" {
                continue;
            }
            let mut full = name.clone();
            if !full.is_empty() {
                full.push(b'/');
            }
            full.extend_from_slice(&child);
            self.add(
                &path.join(std::ffi::OsStr::from_bytes(&child)),
                full,
                inodes,
            );
        }
    }

    /// Every difference, in words. Empty when the trees are the same.
    pub fn differences(&self, other: &Tree, except: Except) -> Vec<String> {
        let mut found = Vec::new();
        for (name, ours) in &self.entries {
            let shown = String::from_utf8_lossy(name);
            match other.entries.get(name) {
                None => found.push(format!("{shown}: only in the first")),
                Some(theirs) => {
                    for field in differing(ours, theirs, except) {
                        found.push(format!("{shown}: {field}"));
                    }
                }
            }
        }
        for name in other.entries.keys() {
            if !self.entries.contains_key(name) {
                found.push(format!(
                    "{}: only in the second",
                    String::from_utf8_lossy(name)
                ));
            }
        }
        found
    }

    /// Fails the test with the differences, if there are any.
    pub fn must_equal(&self, other: &Tree, except: Except, what: &str) {
        let found = self.differences(other, except);
        assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
    }
}

fn differing(a: &Entry, b: &Entry, except: Except) -> Vec<String> {
    let mut found = Vec::new();
    let mut look = |name: &str, left: String, right: String| {
        if left != right {
            found.push(format!("{name} {left} / {right}"));
        }
    };
    look("kind", a.kind.to_string(), b.kind.to_string());
    look("mode", format!("{:o}", a.mode), format!("{:o}", b.mode));
    look(
        "owner",
        format!("{}:{}", a.uid, a.gid),
        format!("{}:{}", b.uid, b.gid),
    );
    if !(a.kind == 'd' && except.dir_links) {
        look("links", a.nlink.to_string(), b.nlink.to_string());
    }
    look("device", a.rdev.to_string(), b.rdev.to_string());
    look("size", a.size.to_string(), b.size.to_string());
    if !except.mtime {
        look("mtime", format!("{:?}", a.mtime), format!("{:?}", b.mtime));
    }
    if !except.ctime {
        look("ctime", format!("{:?}", a.ctime), format!("{:?}", b.ctime));
    }
    look(
        "content",
        format!("{:?}", a.content),
        format!("{:?}", b.content),
    );
    look("target", lossy(&a.target), lossy(&b.target));
    look("xattrs", shown(&a.xattrs), shown(&b.xattrs));
    if !except.holes {
        look("data", format!("{:?}", a.data), format!("{:?}", b.data));
    }
    look("same inode", lossy(&a.same_as), lossy(&b.same_as));
    found
}

fn lossy(bytes: &Option<Vec<u8>>) -> String {
    match bytes {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => "-".into(),
    }
}

fn shown(xattrs: &[(Vec<u8>, Vec<u8>)]) -> String {
    let one = |(name, value): &(Vec<u8>, Vec<u8>)| {
        let value: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}={value}", String::from_utf8_lossy(name))
    };
    format!("{:?}", xattrs.iter().map(one).collect::<Vec<_>>())
}

fn read_entry(path: &Path, name: &[u8], inodes: &mut BTreeMap<u64, Vec<u8>>) -> Entry {
    let meta = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let kind = meta.file_type();
    let kind = match () {
        () if kind.is_dir() => 'd',
        () if kind.is_file() => 'f',
        () if kind.is_symlink() => 'l',
        () if kind.is_fifo() => 'p',
        () if kind.is_socket() => 's',
        () if kind.is_char_device() => 'c',
        () => 'b',
    };
    let same_as = match inodes.get(&meta.ino()) {
        Some(first) => Some(first.clone()),
        None => {
            inodes.insert(meta.ino(), name.to_vec());
            None
        }
    };
    let (content, data) = match kind {
        'f' => read_content(path, meta.len()),
        _ => (None, Vec::new()),
    };
    Entry {
        kind,
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        nlink: meta.nlink(),
        rdev: meta.rdev(),
        size: if kind == 'd' { 0 } else { meta.len() },
        mtime: (meta.mtime(), meta.mtime_nsec()),
        ctime: (meta.ctime(), meta.ctime_nsec()),
        content,
        target: (kind == 'l').then(|| {
            let target = fs::read_link(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            target.into_os_string().into_vec()
        }),
        xattrs: read_xattrs(path),
        data,
        same_as: same_as.filter(|_| kind != 'd'),
    }
}

fn read_xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let names = match sys::list_xattrs(path) {
        Ok(names) => names,
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Vec::new(),
        Err(error) => panic!("xattrs of {path:?}: {error}"),
    };
    names
        .into_iter()
        .map(|name| {
            let value = sys::get_xattr(path, &name)
                .unwrap_or_else(|error| panic!("xattr {name:?} of {path:?}: {error}"));
            (name, value)
        })
        .collect()
}

fn read_content(path: &Path, size: u64) -> (Option<String>, Vec<(u64, u64)>) {
    let mut file = File::open(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut data = Vec::new();
    let mut at = 0;
    while at < size {
        let Ok(start) = sys::seek(&file, at, libc::SEEK_DATA) else {
            break;
        };
        let end = sys::seek(&file, start, libc::SEEK_HOLE)
            .unwrap_or_else(|error| panic!("SEEK_HOLE in {path:?}: {error}"));
        data.push((start, end));
        at = end;
    }
    sys::seek(&file, 0, libc::SEEK_SET).expect("a file can be rewound");
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        let len = match file.read(&mut buffer) {
            Ok(len) => len,
            Err(error) => panic!("{path:?} at {total}: {error}"),
        };
        if len == 0 {
            break;
        }
        total += len as u64;
        hasher.update(&buffer[..len]);
    }
    assert_eq!(total, size, "{path:?}: bytes read and size");
    (Some(hasher.finalize().to_hex()[..16].to_string()), data)
}
