//! A small tree as a value, the operations on it, and its sum: two trees are the same if their sums
//! are. An operation is one system call that changes something, so that it is in a state or not.

use crate::harness::{noise, sys};
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// Bytes of a write whose chunks are too many for the log of the store (`LOGGED_CHUNKS`).
const LARGE: Range<usize> = 5_000_000..6_000_000;

/// One system call.
#[derive(Clone, Debug)]
pub enum Op {
    Create(String),
    Write {
        path: String,
        at: usize,
        len: usize,
        seed: u64,
    },
    Truncate {
        path: String,
        to: usize,
    },
    Rename {
        from: String,
        to: String,
    },
    Link {
        from: String,
        to: String,
    },
    Unlink(String),
    Mkdir(String),
    Rmdir(String),
    Chmod {
        path: String,
        mode: u32,
    },
    Fsync(String),
}

impl Op {
    /// Does it to the directory `root`.
    pub fn perform(&self, root: &Path) -> io::Result<()> {
        let open = |path: &String| OpenOptions::new().write(true).open(root.join(path));
        match self {
            Op::Create(path) => {
                let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY;
                sys::open(&root.join(path), flags, 0o644).map(drop)
            }
            Op::Write {
                path,
                at,
                len,
                seed,
            } => {
                let written = open(path)?.write_at(&noise(*seed, *len), *at as u64)?;
                // The kernel hands over a write(2) in pieces: one of them met a death.
                let cut_short = || io::Error::from_raw_os_error(libc::ECONNABORTED);
                (written == *len).then_some(()).ok_or_else(cut_short)
            }
            Op::Truncate { path, to } => open(path)?.set_len(*to as u64),
            Op::Rename { from, to } => fs::rename(root.join(from), root.join(to)),
            Op::Link { from, to } => fs::hard_link(root.join(from), root.join(to)),
            Op::Unlink(path) => fs::remove_file(root.join(path)),
            Op::Mkdir(path) => fs::DirBuilder::new().mode(0o755).create(root.join(path)),
            Op::Rmdir(path) => fs::remove_dir(root.join(path)),
            Op::Chmod { path, mode } => {
                fs::set_permissions(root.join(path), fs::Permissions::from_mode(*mode))
            }
            Op::Fsync(path) => File::open(root.join(path))?.sync_all(),
        }
    }
}

impl Op {
    /// Whether it changes the very file by this name, which it has afterwards.
    pub fn changes(&self, name: &str) -> bool {
        match self {
            Op::Create(path)
            | Op::Write { path, .. }
            | Op::Truncate { path, .. }
            | Op::Chmod { path, .. } => path == name,
            Op::Rename { to, .. } => to == name,
            Op::Link { from, to } => from == name || to == name,
            Op::Unlink(_) | Op::Mkdir(_) | Op::Rmdir(_) | Op::Fsync(_) => false,
        }
    }

    /// Whether it does something to a file by this name, or to a directory above it.
    pub fn touches(&self, path: &str) -> bool {
        let above = |other: &String| path == other || path.starts_with(&format!("{other}/"));
        match self {
            Op::Write { path, .. } | Op::Truncate { path, .. } | Op::Unlink(path) => above(path),
            Op::Rename { from, to } | Op::Link { from, to } => above(from) || above(to),
            _ => false,
        }
    }
}

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    pub content: Vec<u8>,
    pub hash: blake3::Hash,
    mode: u32,
    links: u32,
}

impl Plain {
    fn set(&mut self, content: Vec<u8>) {
        self.hash = blake3::hash(&content);
        self.content = content;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(u64),
}

/// A tree: names from its root, files by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    names: BTreeMap<String, Node>,
    files: BTreeMap<u64, Plain>,
}

impl Model {
    /// What is there.
    pub fn read(root: &Path) -> io::Result<Model> {
        let mut model = Model::default();
        model.read_into(root, "")?;
        Ok(model)
    }

    fn read_into(&mut self, dir: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let meta = fs::symlink_metadata(entry.path())?;
            if meta.is_dir() {
                self.names.insert(name.clone(), Node::Dir);
                self.read_into(&entry.path(), &format!("{name}/"))?;
                continue;
            }
            self.names.insert(name, Node::File(meta.ino()));
            if let Some(known) = self.files.get_mut(&meta.ino()) {
                known.links += 1;
                continue;
            }
            let content = fs::read(entry.path())?;
            if content.len() as u64 != meta.len() {
                return Err(io::Error::other("size and content differ"));
            }
            let plain = Plain {
                hash: blake3::hash(&content),
                content,
                mode: meta.mode() & 0o7777,
                links: 1,
            };
            self.files.insert(meta.ino(), plain);
        }
        Ok(())
    }

    /// Equal for equal trees alone.
    pub fn sum(&self) -> u128 {
        let mut sum = 0_u128;
        for (name, node) in &self.names {
            let mut hasher = blake3::Hasher::new();
            hasher.update(name.as_bytes());
            if let Node::File(number) = node {
                let plain = &self.files[number];
                hasher.update(&[0]).update(plain.hash.as_bytes());
                hasher.update(&plain.mode.to_le_bytes());
                hasher.update(&plain.links.to_le_bytes());
            }
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
            sum = sum.wrapping_add(u128::from_le_bytes(bytes));
        }
        sum
    }

    /// The regular files, each once.
    pub fn files(&self) -> impl Iterator<Item = &Plain> {
        self.files.values()
    }

    /// All names of a file.
    pub fn names_of(&self, number: u64) -> Vec<String> {
        let names = self.of(|node| *node == Node::File(number));
        names.into_iter().cloned().collect()
    }

    pub fn files_by_number(&self, number: u64) -> Option<&Plain> {
        self.files.get(&number)
    }

    /// Gives a file another content, as nobody did.
    pub fn replace(&mut self, path: &str, content: Vec<u8>) {
        let number = self.number(path).expect("a file");
        self.files.get_mut(&number).expect("a file").set(content);
    }

    pub fn file(&self, path: &str) -> Option<&Plain> {
        self.number(path).and_then(|number| self.files.get(&number))
    }

    /// The number of the file that has this name.
    pub fn number(&self, path: &str) -> Option<u64> {
        match self.names.get(path) {
            Some(Node::File(number)) => Some(*number),
            _ => None,
        }
    }

    /// The number of a file whose content an operation is going to end.
    pub fn ends(&self, op: &Op) -> Option<u64> {
        let last = |number: &u64| self.files[number].links == 1;
        match op {
            Op::Write { path, .. } | Op::Truncate { path, .. } => self.number(path),
            Op::Unlink(path) => self.number(path).filter(last),
            Op::Rename { from, to } if self.number(from) != self.number(to) => {
                self.number(to).filter(last)
            }
            _ => None,
        }
    }

    /// Does the operation here; the number of the file whose content it made.
    pub fn apply(&mut self, op: &Op) -> Option<u64> {
        match op {
            Op::Create(path) => {
                let number = self.files.keys().next_back().map_or(1, |last| last + 1);
                let plain = Plain {
                    content: Vec::new(),
                    hash: blake3::hash(b""),
                    mode: 0o644,
                    links: 1,
                };
                self.files.insert(number, plain);
                self.names.insert(path.clone(), Node::File(number));
            }
            Op::Write {
                path,
                at,
                len,
                seed,
            } => {
                let number = self.number(path).expect("a file");
                let plain = self.files.get_mut(&number).expect("a file");
                let mut content = std::mem::take(&mut plain.content);
                content.resize(content.len().max(at + len), 0);
                content[*at..at + len].copy_from_slice(&noise(*seed, *len));
                plain.set(content);
                return Some(number);
            }
            Op::Truncate { path, to } => {
                let number = self.number(path).expect("a file");
                let plain = self.files.get_mut(&number).expect("a file");
                let mut content = std::mem::take(&mut plain.content);
                content.resize(*to, 0);
                plain.set(content);
                return Some(number);
            }
            Op::Rename { from, to } => self.rename(from, to),
            Op::Link { from, to } => {
                let number = self.number(from).expect("a file");
                self.files.get_mut(&number).expect("a file").links += 1;
                self.names.insert(to.clone(), Node::File(number));
            }
            Op::Unlink(path) => self.drop_name(path),
            Op::Mkdir(path) => {
                self.names.insert(path.clone(), Node::Dir);
            }
            Op::Rmdir(path) => {
                self.names.remove(path);
            }
            Op::Chmod { path, mode } => {
                let number = self.number(path).expect("a file");
                self.files.get_mut(&number).expect("a file").mode = *mode;
            }
            Op::Fsync(_) => {}
        }
        None
    }

    fn rename(&mut self, from: &str, to: &str) {
        if self.number(from).is_some() && self.number(from) == self.number(to) {
            return;
        }
        self.drop_name(to);
        let below = format!("{from}/");
        let moved: Vec<String> = self
            .names
            .keys()
            .filter(|name| *name == from || name.starts_with(&below))
            .cloned()
            .collect();
        for name in moved {
            let node = self.names.remove(&name).expect("a name");
            self.names
                .insert(format!("{to}{}", &name[from.len()..]), node);
        }
    }

    fn drop_name(&mut self, path: &str) {
        if let Some(Node::File(number)) = self.names.remove(path) {
            let plain = self.files.get_mut(&number).expect("a file");
            plain.links -= 1;
            if plain.links == 0 {
                self.files.remove(&number);
            }
        }
    }

    /// Something that can be done to this tree.
    pub fn choose(&self, random: &mut StdRng, taste: Taste) -> Op {
        let files: Vec<&String> = self.of(|node| matches!(node, Node::File(_)));
        let dirs: Vec<&String> = self.of(|node| *node == Node::Dir);
        if files.len() < 4 {
            return Op::Create(self.new_name(random, &dirs));
        }
        let file = files[random.random_range(0..files.len())].clone();
        let size = self.file(&file).map_or(0, |plain| plain.content.len());
        let mut kind = random.random_range(0..100);
        if taste == Taste::Remove && random.random_bool(0.7) {
            kind = 70 + kind % 20;
        }
        if files.len() > 30 && kind < 14 {
            kind = 75;
        }
        match kind {
            0..14 => Op::Create(self.new_name(random, &dirs)),
            14..52 => {
                let inside = size > 0 && random.random_bool(0.6);
                let at = if inside {
                    random.random_range(0..size)
                } else {
                    size
                };
                let is_large = |plain: &Plain| plain.content.len() > LARGE.start / 2;
                let len = match random.random_range(0..100) {
                    0..5 => 1..400_000,
                    5..8 if taste == Taste::Sync && !self.files().any(is_large) => LARGE,
                    _ => 1..20_000,
                };
                Op::Write {
                    path: file,
                    at,
                    len: random.random_range(len),
                    seed: random.random(),
                }
            }
            52..60 => Op::Truncate {
                path: file,
                to: random.random_range(0..=size + 100),
            },
            60..64 => Op::Link {
                from: file,
                to: self.new_name(random, &dirs),
            },
            64..70 if taste == Taste::Sync => Op::Fsync(file),
            64..67 if dirs.len() < 6 => Op::Mkdir(self.new_name(random, &[])),
            67..70 => match self.empty_dir(random, &dirs) {
                Some(dir) => Op::Rmdir(dir),
                None => Op::Mkdir(self.new_name(random, &[])),
            },
            70..80 => Op::Unlink(file),
            80..90 => Op::Rename {
                from: file,
                to: files[random.random_range(0..files.len())].clone(),
            },
            90..94 if !dirs.is_empty() => Op::Rename {
                from: dirs[random.random_range(0..dirs.len())].clone(),
                to: self.new_name(random, &[]),
            },
            90..97 => Op::Rename {
                from: file,
                to: self.new_name(random, &dirs),
            },
            _ => Op::Chmod {
                path: file,
                mode: 0o600 | random.random_range(0..0o100),
            },
        }
    }

    fn of(&self, wanted: impl Fn(&Node) -> bool) -> Vec<&String> {
        let names = self.names.iter();
        names
            .filter(|(_, node)| wanted(node))
            .map(|(name, _)| name)
            .collect()
    }

    fn new_name(&self, random: &mut StdRng, dirs: &[&String]) -> String {
        loop {
            let name = format!("n{}", random.random_range(0..1_000_000));
            let name = match dirs.len() {
                0 => name,
                count if random.random_bool(0.6) => {
                    format!("{}/{name}", dirs[random.random_range(0..count)])
                }
                _ => name,
            };
            if !self.names.contains_key(&name) {
                return name;
            }
        }
    }

    fn empty_dir(&self, random: &mut StdRng, dirs: &[&String]) -> Option<String> {
        let empty = |dir: &&&String| {
            let below = format!("{dir}/");
            !self.names.keys().any(|name| name.starts_with(&below))
        };
        let found: Vec<_> = dirs.iter().filter(empty).collect();
        (!found.is_empty()).then(|| found[random.random_range(0..found.len())].to_string())
    }

    /// What is different, in words: for a failure.
    pub fn differences(&self, other: &Model) -> Vec<String> {
        let mut found = Vec::new();
        let names: std::collections::BTreeSet<_> =
            self.names.keys().chain(other.names.keys()).collect();
        for name in names {
            let show = |model: &Model| match model.names.get(name) {
                None => "-".to_owned(),
                Some(Node::Dir) => "directory".to_owned(),
                Some(Node::File(number)) => {
                    let plain = &model.files[number];
                    let hash = &plain.hash.to_hex()[..8];
                    let size = plain.content.len();
                    format!("{hash} {size} bytes {:o} x{}", plain.mode, plain.links)
                }
            };
            let (ours, theirs) = (show(self), show(other));
            if ours != theirs {
                found.push(format!("{name}: {ours} / {theirs}"));
            }
        }
        found
    }
}

/// What a writer likes to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taste {
    Mixed,
    /// Mostly removals and renames over.
    Remove,
    /// With calls of fsync, and now and then a large write.
    Sync,
}
