//! The same work on a mount and on a plain directory of the same file system: what the calls
//! returned must be the same, and what they left behind too. That is promise 1 as a test.

use super::compare::{Except, Tree};
use super::mount::Mounted;
use super::sandbox::Sandbox;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

/// Where one of the two works, and what its calls returned.
pub struct Side {
    pub root: PathBuf,
    log: Vec<String>,
}

impl Side {
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Writes down what a call returned; errors by their number.
    pub fn saw<T: Debug>(&mut self, what: &str, result: io::Result<T>) {
        let result = match result {
            Ok(value) => format!("{value:?}"),
            Err(error) => format!("errno {:?}", error.raw_os_error()),
        };
        self.log.push(format!("{what}: {result}"));
    }

    /// Writes down anything else that both must agree in.
    pub fn note(&mut self, what: &str, value: impl Debug) {
        self.log.push(format!("{what}: {value:?}"));
    }
}

/// Runs `work` on both sides and compares. Times differ by nature; a test that sets them notes
/// what it sees.
pub fn twins(name: &str, options: &str, work: impl Fn(&mut Side)) {
    let sandbox = Sandbox::new(name);
    let plain_root = sandbox.join("plain");
    std::fs::create_dir(&plain_root).expect("mkdir");
    let mounted = sandbox.mount(options);
    twins_at(&mounted, &plain_root, work);
    let seen = Tree::read(&mounted.point);
    let point = mounted.point.clone();
    mounted.umount();
    let left = Tree::read(&point);
    // In writeback mode the kernel keeps the times; the disk may be a tick of its clock behind.
    let writeback = options.contains("writeback");
    let except = Except {
        mtime: writeback,
        ctime: writeback,
        ..Except::default()
    };
    seen.must_equal(&left, except, "through the mount / on the disk");
}

/// The same on a mount and a plain directory that exist already.
pub fn twins_at(mounted: &Mounted, plain_root: &Path, work: impl Fn(&mut Side)) {
    let mut plain = Side {
        root: plain_root.to_path_buf(),
        log: Vec::new(),
    };
    let mut ours = Side {
        root: mounted.point.clone(),
        log: Vec::new(),
    };
    work(&mut plain);
    work(&mut ours);
    let mut different = Vec::new();
    for (n, expected) in plain.log.iter().enumerate() {
        match ours.log.get(n) {
            Some(found) if found == expected => {}
            found => different.push(format!("plain {expected} / mount {found:?}")),
        }
    }
    assert!(different.is_empty(), "\n  {}", different.join("\n  "));
    let except = Except {
        ctime: true,
        mtime: true,
        ..Except::default()
    };
    let (expected, found) = (Tree::read(plain_root), Tree::read(&mounted.point));
    expected.must_equal(&found, except, "plain directory / mount");
}
