//! Random operations on a real mount, with snapshots between them. Each snapshot is compared whole
//! with what a plain reading of the disk found at that moment; content that stood and was then
//! destroyed must be in some recorded state. Weighted to what confuses histories: rename, link,
//! truncate, names used again, changes while nobody looks, a daemon that dies.
//!
//! A failing seed prints the command that runs it again.

use crate::harness::compare::{Except, Tree};
use crate::harness::{Cmd, Mounted, Sandbox, noise, sized, sys, wait_for};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rewindfs::limits::RACY;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const OPERATIONS: usize = 2_000;
/// At least 20 snapshots in a run.
const SNAPSHOT_EVERY: usize = 90;
const OPTIONS: &str = "interval=1h,settle=40ms";
/// Time for content to stand: more than twice `settle`.
const STAND: Duration = Duration::from_millis(100);
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// An access ACL: owner rw, user 1234 rw, group r, mask rw, other nothing.
const ACL: &[u8] = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x06\0\xd2\x04\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x06\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";

#[test]
fn random_work_seeds_of_the_first_half() {
    run_seeds(1, sized(10, 1));
}

#[test]
fn random_work_seeds_of_the_second_half() {
    run_seeds(101, sized(10, 1));
}

fn run_seeds(first: u64, count: u64) {
    let seeds = match std::env::var("REWINDFS_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("REWINDFS_SEED is a number");
            seed..seed + 1
        }
        Err(_) => first..first + count,
    };
    for seed in seeds {
        let result = std::panic::catch_unwind(|| run_seed(seed));
        if let Err(panic) = result {
            eprintln!(
                "seed {seed} failed; again with:\n  REWINDFS_SEED={seed} cargo test --release \
                 --test suite -- model::random_work_seeds_of_the_first_half"
            );
            std::panic::resume_unwind(panic);
        }
    }
}

/// One run: where it works, what it did, what it must find again.
struct Model {
    rng: StdRng,
    /// What the operations work on: the mount, or the plain directory while it is not mounted.
    root: PathBuf,
    log: Vec<String>,
    /// Snapshots and what the disk looked like.
    states: Vec<(String, Tree)>,
    /// Snapshots that were deleted again.
    deleted: usize,
    /// Content that stood and was destroyed since the last look, with the operation.
    stood: Vec<(String, String)>,
    /// Recorded states that were read already, and the hashes of everything in them.
    read_states: HashSet<PathBuf>,
    recorded: HashSet<String>,
    /// Files that are kept open, some without a name by now.
    open: Vec<File>,
    version: u64,
}

fn run_seed(seed: u64) {
    let sandbox = Sandbox::new(&format!("model-{seed}"));
    let mut model = Model {
        rng: StdRng::seed_from_u64(seed),
        root: sandbox.work(),
        log: Vec::new(),
        states: Vec::new(),
        deleted: 0,
        stood: Vec::new(),
        read_states: HashSet::new(),
        recorded: HashSet::new(),
        open: Vec::new(),
        version: seed << 32,
    };
    let log_on_panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        model.run(&sandbox, seed);
    }));
    if let Err(panic) = log_on_panic {
        let from = model.log.len().saturating_sub(60);
        eprintln!(
            "the last operations of seed {seed}:\n  {}",
            model.log[from..].join("\n  ")
        );
        std::panic::resume_unwind(panic);
    }
}

impl Model {
    fn run(&mut self, sandbox: &Sandbox, seed: u64) {
        // Something to import.
        for _ in 0..60 {
            self.operation();
        }
        // Three of four runs look at the disk beside the mount, one only through it.
        let beside = !seed.is_multiple_of(4);
        let mut mounted = self.mount(sandbox, beside);
        for n in 0..OPERATIONS {
            if n % SNAPSHOT_EVERY == SNAPSHOT_EVERY - 1 {
                self.snapshot(&mounted, sandbox, beside);
            }
            if n == OPERATIONS / 3 || n == OPERATIONS * 4 / 5 {
                mounted = self.while_nobody_looks(mounted, sandbox, beside);
            }
            if n == OPERATIONS * 3 / 5 {
                mounted = self.changed_in_disguise(mounted, sandbox, beside);
            }
            if n == OPERATIONS / 2 && seed % 2 == 1 {
                mounted = self.death_of_the_daemon(mounted, sandbox, beside);
            }
            if self.rng.random_ratio(1, 60) {
                self.stand_and_destroy();
            } else {
                self.operation();
            }
        }
        self.snapshot(&mounted, sandbox, beside);
        self.open.clear();
        let seen = Tree::read(&mounted.point);
        mounted.umount();
        seen.must_equal(
            &Tree::read(&sandbox.work()),
            Except::default(),
            "mount / disk at the end",
        );
        let mounted = self.mount(sandbox, beside);
        for (name, state) in &self.states {
            let past = Tree::read(&mounted.past(name, ""));
            state.must_equal(
                &past,
                Except::default(),
                &format!("{name} after the last mount"),
            );
        }
    }

    fn mount(&mut self, sandbox: &Sandbox, beside: bool) -> Mounted {
        let mounted = if beside {
            sandbox.mount_beside(OPTIONS)
        } else {
            sandbox.mount(OPTIONS)
        };
        self.root = mounted.point.clone();
        // What has no name may go whenever somebody says so.
        let nothing = [
            "--keep-all",
            "--keep-hourly",
            "--keep-daily",
            "--keep-weekly",
        ];
        let nothing = nothing.into_iter().flat_map(|span| [span, "0"]);
        mounted.command("policy").args(nothing).run().ok();
        mounted
    }

    /// Makes a snapshot, compares it, and looks for what was destroyed.
    fn snapshot(&mut self, mounted: &Mounted, sandbox: &Sandbox, beside: bool) {
        let name = format!("s{}", self.states.len() + self.deleted);
        let truth = if beside {
            sandbox.work()
        } else {
            mounted.point.clone()
        };
        let state = Tree::read(&truth);
        self.log.push(format!("snapshot {name}"));
        if self.states.len().is_multiple_of(3) {
            mounted.command("snapshot").arg(&name).run().ok();
        } else {
            mounted.snapshot(&name);
        }
        let past = Tree::read(&mounted.past(&name, ""));
        state.must_equal(&past, Except::default(), &format!("disk / {name}"));
        if beside {
            let live = Tree::read(&mounted.point);
            state.must_equal(&live, Except::default(), &format!("disk / mount at {name}"));
        }
        self.states.push((name, state));
        self.look_for_what_stood(mounted);
        self.prune(mounted);
    }

    /// Drops all that has no name, or a state in the middle with its name. What is kept is compared
    /// whole at the end, as without it.
    fn prune(&mut self, mounted: &Mounted) {
        if self.rng.random_bool(0.3) {
            self.log.push("prune".to_owned());
            mounted.command("prune").run().ok();
        }
        if self.states.len() > 3 && self.rng.random_bool(0.3) {
            let at = self.rng.random_range(0..self.states.len() - 1);
            let (name, _) = self.states.remove(at);
            self.deleted += 1;
            self.log.push(format!("delete {name} --now"));
            mounted.command("delete").args([&name, "--now"]).run();
            let past = mounted.past(&name, "");
            assert!(!past.exists(), "{name} was deleted");
        }
        let verify = mounted.command("verify").arg("--data").run().ok();
        verify.says("no problem found");
    }

    fn look_for_what_stood(&mut self, mounted: &Mounted) {
        if self.stood.is_empty() {
            return;
        }
        for state in mounted.checkpoints() {
            if self.read_states.insert(state.clone()) {
                let tree = Tree::read(&state);
                let hashes = tree.entries.into_values().filter_map(|entry| entry.content);
                self.recorded.extend(hashes);
            }
        }
        for (content, operation) in std::mem::take(&mut self.stood) {
            let found = self.recorded.contains(&content);
            assert!(
                found,
                "content {content} stood, and is gone after: {operation}"
            );
        }
    }

    /// Unmounts, changes things behind the program's back, mounts again.
    fn while_nobody_looks(&mut self, mounted: Mounted, sandbox: &Sandbox, beside: bool) -> Mounted {
        self.open.clear();
        mounted.umount();
        self.root = sandbox.work();
        self.log.push("unmounted".into());
        for _ in 0..40 {
            self.operation();
        }
        self.open.clear();
        self.log.push("mounted".into());
        self.mount(sandbox, beside)
    }

    /// Changes files while nobody looks so that as little as possible shows: the same size, the
    /// same time of change, a new file in place of the old. Before that everything has come to rest
    /// and was looked at again, so that only a comparison of its attributes can tell that a file
    /// was changed.
    fn changed_in_disguise(
        &mut self,
        mounted: Mounted,
        sandbox: &Sandbox,
        beside: bool,
    ) -> Mounted {
        self.open.clear();
        // Whatever chance has left of the tree, there is one for each disguise.
        let own = [0, 1, 2, 3].map(|n| format!("quiet{n}"));
        for name in &own {
            let bytes = self.fresh(3_000);
            let _ = fs::remove_dir_all(mounted.join(name));
            fs::write(mounted.join(name), bytes).expect("a file in the root");
        }
        mounted.umount();
        self.root = sandbox.work();
        let changed = newest_change(&self.root);
        wait_for("everything to come to rest", || {
            SystemTime::now() > changed + RACY + Duration::from_millis(100)
        });
        self.mount(sandbox, beside).umount();
        self.root = sandbox.work();
        for n in 0..12 {
            let path = match own.get(n) {
                Some(name) => self.root.join(name),
                None => match self.some_file(|meta| meta.len() > 0) {
                    Some(path) => path,
                    None => break,
                },
            };
            let disguise = n % own.len();
            let result = self.change_in_disguise(&path, disguise);
            let line = format!(
                "disguised {disguise} {}: {}",
                self.shown(&path),
                sys::errno(&result)
            );
            self.log.push(line);
        }
        self.log.push("mounted".into());
        let mounted = self.mount(sandbox, beside);
        self.snapshot(&mounted, sandbox, beside);
        mounted
    }

    fn change_in_disguise(&mut self, path: &Path, disguise: usize) -> io::Result<()> {
        let before = fs::metadata(path)?;
        let times = (
            (before.atime(), before.atime_nsec()),
            (before.mtime(), before.mtime_nsec()),
        );
        let len = usize::try_from(before.len()).map_err(io::Error::other)?;
        match disguise {
            // Same size and time, in place.
            0 => {
                let at = self.rng.random_range(0..len);
                let bytes = self.fresh((len - at).min(100));
                let file = OpenOptions::new().write(true).open(path)?;
                file.write_all_at(&bytes, at as u64)?;
                sys::set_times(path, times.0, times.1)
            }
            // Same size.
            1 => {
                let bytes = self.fresh(len);
                let file = OpenOptions::new().write(true).open(path)?;
                file.write_all_at(&bytes, 0)
            }
            // Same time.
            2 => {
                let bytes = self.fresh(len + 10);
                fs::write(path, bytes)?;
                sys::set_times(path, times.0, times.1)
            }
            // Another file in its place, of the same size and time.
            _ => {
                let from = self.root.join("replacement");
                let bytes = self.fresh(len);
                fs::write(&from, bytes)?;
                fs::rename(&from, path)?;
                sys::set_times(path, times.0, times.1)
            }
        }
    }

    fn death_of_the_daemon(
        &mut self,
        mounted: Mounted,
        sandbox: &Sandbox,
        beside: bool,
    ) -> Mounted {
        self.open.clear();
        // Settled content of before its death is not what this is about.
        mounted.sync();
        for _ in 0..20 {
            self.operation();
        }
        self.open.clear();
        self.log.push("killed".into());
        mounted.kill();
        self.mount(sandbox, beside)
    }

    /// Lets everything stand, then destroys the content of one file.
    fn stand_and_destroy(&mut self) {
        let Some(path) = self.some_file(|meta| meta.len() > 0) else {
            return;
        };
        // Fresh bytes, last changed in the open epoch: only the hook in front can save them.
        let bytes = self.fresh(20_000);
        if fs::write(&path, &bytes).is_err() {
            return;
        }
        let content = blake3::hash(&bytes).to_hex()[..16].to_string();
        std::thread::sleep(STAND);
        let how = self.rng.random_range(0..7);
        let result = match how {
            0 => fs::remove_file(&path),
            1 => File::create(&path).map(drop),
            2 => OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|f| f.set_len(5)),
            3 => self.with_file(&path, |file, model| {
                file.write_all_at(&model.fresh(300), 1_000)
            }),
            4 => {
                let from = self.root.join("replacement");
                let bytes = self.fresh(50);
                fs::write(&from, bytes).and_then(|()| fs::rename(&from, &path))
            }
            5 => self.with_file(&path, |file, _| sys::fallocate(file, sys::PUNCH, 0, 8_192)),
            _ => self.with_file(&path, |file, _| {
                let mut mapping = sys::Mapping::shared(file, 20_000)?;
                mapping.bytes()[10_000..10_100].fill(0);
                mapping.sync()
            }),
        };
        let line = format!(
            "stood, then {how} of {}: {}",
            self.shown(&path),
            sys::errno(&result)
        );
        self.log.push(line.clone());
        if result.is_ok() {
            self.stood.push((content, line));
        }
    }

    /// One random operation. Errors are part of the game: the disk is the truth.
    fn operation(&mut self) {
        let path = match self.rng.random_ratio(3, 4) {
            true => self.existing_path(),
            false => self.some_path(),
        };
        let other = match self.rng.random_ratio(1, 3) {
            true => self.existing_path(),
            false => self.some_path(),
        };
        let (what, result) = match self.rng.random_range(0..120) {
            0..24 => ("rename", fs::rename(&path, &other)),
            24..28 => (
                "exchange",
                sys::renameat2(&path, &other, libc::RENAME_EXCHANGE),
            ),
            28..30 => (
                "noreplace",
                sys::renameat2(&path, &other, libc::RENAME_NOREPLACE),
            ),
            30..42 => ("link", fs::hard_link(&path, &other)),
            42..50 => ("unlink", fs::remove_file(&path)),
            50..54 => ("rmdir", fs::remove_dir(&path)),
            54..63 => ("mkdir", fs::create_dir(&path)),
            // Relative: an absolute one would lead around the mount.
            63..66 => ("symlink", symlink(self.shown(&other), &path)),
            66..80 => ("write", self.write_whole(&path)),
            80..88 => ("write at", self.with_file(&path, Model::write_somewhere)),
            88..92 => ("append", self.append(&path)),
            92..99 => ("truncate", self.with_file(&path, Model::truncate_somewhere)),
            99..101 => ("punch", self.with_file(&path, Model::punch_somewhere)),
            101..103 => ("copy", self.copy(&path, &other)),
            103..105 => ("mmap", self.with_file(&path, Model::store_somewhere)),
            105..112 => self.attributes(&path),
            112..114 => ("mkfifo", sys::mknod(&path, libc::S_IFIFO | 0o640, 0)),
            114..115 => ("rm -rf", fs::remove_dir_all(&path)),
            115..117 => ("open", self.keep_open(&path)),
            117..119 => ("write to an open one", self.use_open()),
            _ => ("tree", self.make_tree(&path)),
        };
        if result.is_ok() {
            self.log.push(format!(
                "{what} {} {}",
                self.shown(&path),
                self.shown(&other)
            ));
        }
    }

    fn attributes(&mut self, path: &Path) -> (&'static str, io::Result<()>) {
        let n = self.rng.random_range(0..1_000_u32);
        match n % 7 {
            0 => {
                let mode = PermissionsExt::from_mode(0o400 | n & 0o3777);
                // chmod follows symlinks, which lead back into the tree or nowhere.
                ("chmod", fs::set_permissions(path, mode))
            }
            1 => ("chown", lchown(path, Some(n), Some(n / 2))),
            2 => (
                "utimens",
                sys::set_times(path, (i64::from(n), 1), (-i64::from(n), 999_999_999)),
            ),
            3 | 4 => {
                let name = format!("user.{}", NAMES[n as usize % 3]);
                (
                    "setxattr",
                    sys::set_xattr(path, &name, format!("{n}").as_bytes(), 0),
                )
            }
            5 => ("removexattr", sys::remove_xattr(path, "user.a")),
            _ => (
                "setfacl",
                sys::set_xattr(path, "system.posix_acl_access", ACL, 0),
            ),
        }
    }

    fn write_whole(&mut self, path: &Path) -> io::Result<()> {
        if fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        }
        let len = self.some_len();
        let bytes = self.fresh(len);
        fs::write(path, bytes)
    }

    fn append(&mut self, path: &Path) -> io::Result<()> {
        let len = self.some_len() / 4;
        let bytes = self.fresh(len);
        self.with_file(path, |file, _| {
            let end = file.metadata()?.len();
            file.write_all_at(&bytes, end)
        })
    }

    fn write_somewhere(file: &File, model: &mut Model) -> io::Result<()> {
        let size = file.metadata()?.len();
        let at = model.rng.random_range(0..=size + 5_000);
        let len = model.some_len() / 2;
        let bytes = model.fresh(len);
        file.write_all_at(&bytes, at)
    }

    fn truncate_somewhere(file: &File, model: &mut Model) -> io::Result<()> {
        let size = file.metadata()?.len();
        file.set_len(model.rng.random_range(0..=size + 2_000))
    }

    fn punch_somewhere(file: &File, model: &mut Model) -> io::Result<()> {
        let size = file.metadata()?.len().max(10);
        let at = model.rng.random_range(0..size);
        sys::fallocate(file, sys::PUNCH, at, 1 + size / 3)
    }

    fn store_somewhere(file: &File, model: &mut Model) -> io::Result<()> {
        let size = file.metadata()?.len() as usize;
        if size == 0 {
            return Ok(());
        }
        let mut mapping = sys::Mapping::shared(file, size)?;
        let at = model.rng.random_range(0..size);
        let end = size.min(at + 500);
        let bytes = model.fresh(end - at);
        mapping.bytes()[at..end].copy_from_slice(&bytes);
        Ok(())
    }

    fn copy(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if !is_file(from) || !is_file(to) {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        let source = File::open(from)?;
        let target = OpenOptions::new().write(true).open(to)?;
        let size = source.metadata()?.len();
        let at = self.rng.random_range(0..=size);
        let to_at = self.rng.random_range(0..=size);
        sys::copy_range(&source, at as i64, &target, to_at as i64, size - at).map(drop)
    }

    fn keep_open(&mut self, path: &Path) -> io::Result<()> {
        if !is_file(path) {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if self.open.len() > 5 {
            self.open.remove(0);
        }
        self.open.push(file);
        Ok(())
    }

    fn use_open(&mut self) -> io::Result<()> {
        let Some(file) = self.open.choose(&mut self.rng) else {
            return Ok(());
        };
        let file = file.try_clone()?;
        Model::write_somewhere(&file, self)
    }

    fn make_tree(&mut self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)?;
        for name in NAMES {
            if self.rng.random_ratio(1, 2) {
                fs::create_dir(path.join(name))?;
                self.write_whole(&path.join(name).join("a"))?;
            } else {
                self.write_whole(&path.join(name))?;
            }
        }
        Ok(())
    }

    fn with_file(
        &mut self,
        path: &Path,
        work: impl FnOnce(&File, &mut Model) -> io::Result<()>,
    ) -> io::Result<()> {
        // Opening a fifo would wait for its other end.
        if !is_file(path) {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        work(&file, self)
    }

    /// Bytes that were never there before.
    fn fresh(&mut self, len: usize) -> Vec<u8> {
        self.version += 1;
        noise(self.version, len)
    }

    fn some_len(&mut self) -> usize {
        let most = *[0, 10, 500, 5_000, 5_000, 40_000, 200_000]
            .choose(&mut self.rng)
            .expect("not empty");
        self.rng.random_range(0..=most)
    }

    /// A path of one to three names; directories and files compete for the same names.
    fn some_path(&mut self) -> PathBuf {
        let mut path = self.root.clone();
        for _ in 0..self.rng.random_range(1..=3) {
            path.push(NAMES.choose(&mut self.rng).expect("not empty"));
        }
        path
    }

    /// A path that is there, if anything is: goes down from the root at random.
    fn existing_path(&mut self) -> PathBuf {
        let mut path = self.root.clone();
        for depth in 0..4 {
            let Ok(listing) = fs::read_dir(&path) else {
                return path;
            };
            let mut names: Vec<_> = listing.flatten().map(|entry| entry.file_name()).collect();
            names.sort();
            names.retain(|name| name != ".snapshots");
            let Some(name) = names.choose(&mut self.rng) else {
                break;
            };
            path.push(name);
            if depth > 0 && self.rng.random_ratio(1, 4) {
                break;
            }
        }
        if path == self.root {
            self.some_path()
        } else {
            path
        }
    }

    /// A regular file that is there, if a few tries find one.
    fn some_file(&mut self, right: impl Fn(&fs::Metadata) -> bool) -> Option<PathBuf> {
        for _ in 0..60 {
            let path = self.existing_path();
            let meta = fs::symlink_metadata(&path);
            if meta.is_ok_and(|meta| meta.is_file() && right(&meta)) {
                return Some(path);
            }
        }
        None
    }

    fn shown(&self, path: &Path) -> String {
        let short = path.strip_prefix(&self.root).unwrap_or(path);
        short.display().to_string()
    }
}

/// When something in a tree was last changed, by its ctime.
fn newest_change(root: &Path) -> SystemTime {
    let tree = Tree::read(root);
    let newest = tree.entries.values().map(|entry| entry.ctime).max();
    let (seconds, nanoseconds) = newest.expect("a root");
    let nanoseconds = u32::try_from(nanoseconds).expect("less than a second");
    let since = Duration::new(seconds.unsigned_abs(), nanoseconds);
    SystemTime::UNIX_EPOCH + since
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file())
}

/// The comparison itself must be able to fail: a tree with one bit changed is not the same.
#[test]
fn the_comparison_sees_each_kind_of_difference() {
    let sandbox = Sandbox::new("compare");
    let script = "mkdir -p t/d; echo x > t/file; ln t/file t/hard; ln -s file t/soft; mkfifo t/fifo
        truncate -s 1M t/sparse; setfattr -n user.a -v 1 t/d";
    Cmd::sh(script).within(sandbox.path()).run().ok();
    let changes = [
        "echo y > t/file",
        "chmod 600 t/file",
        "chown 7 t/d",
        "touch -d 2001-01-01 t/d",
        "rm t/hard",
        "ln -sf other t/soft",
        "setfattr -n user.a -v 2 t/d",
        "mv t/fifo t/fifo2",
        "rm t/hard; cp -p t/file t/hard",
        "dd if=/dev/zero of=t/sparse bs=4k count=1 seek=3 conv=notrunc status=none",
        "mkdir t/new",
        "rm t/fifo; touch t/fifo",
        "truncate -s 2M t/sparse",
        "chmod 700 t",
    ];
    for change in changes {
        let before = Tree::read(&sandbox.join("t"));
        Cmd::sh("cp -a t kept").within(sandbox.path()).run().ok();
        Cmd::sh(change).within(sandbox.path()).run().ok();
        let after = Tree::read(&sandbox.join("t"));
        let except = Except {
            ctime: true,
            ..Except::default()
        };
        assert!(
            !before.differences(&after, except).is_empty(),
            "not seen: {change}"
        );
        Cmd::sh("rm -rf t; mv kept t")
            .within(sandbox.path())
            .run()
            .ok();
        let again = Tree::read(&sandbox.join("t"));
        before.must_equal(&again, except, "cp -a");
    }
}
