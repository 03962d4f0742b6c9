//! One mount of the program under test: finds its connection and its daemon, ends it in every way
//! that a test wants, and takes it off whatever happens. A mount that does not answer is aborted
//! after a while, so that the test fails instead of hanging.

use super::run::{Cmd, Run, wait_for};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// After this long a mount is taken to be stuck and is aborted.
const STUCK: Duration = Duration::from_secs(300);
/// The same in a quick run.
const STUCK_QUICK: Duration = Duration::from_secs(100);

/// A line of /proc/thread-self/mountinfo: a test may have a mount namespace of its own.
#[derive(Clone, Debug)]
pub struct MountEntry {
    pub point: PathBuf,
    pub minor: u32,
    pub kind: String,
    pub source: String,
}

impl MountEntry {
    /// Takes it off, without waiting for anybody.
    pub fn remove(&self) {
        if self.kind.starts_with("fuse") {
            abort(self.minor);
        }
        let _ = Cmd::new("umount").arg("-l").arg(&self.point).run();
    }
}

/// Everything that is mounted, in the order of mounting.
pub fn table() -> Vec<MountEntry> {
    let text = fs::read("/proc/thread-self/mountinfo").expect("mountinfo");
    text.split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
            let dash = fields.iter().position(|field| *field == b"-")?;
            let device = String::from_utf8_lossy(fields.get(2)?).into_owned();
            let (_, minor) = device.split_once(':')?;
            Some(MountEntry {
                point: PathBuf::from(std::ffi::OsString::from_vec(unescape(fields.get(4)?))),
                minor: minor.parse().ok()?,
                kind: String::from_utf8_lossy(fields.get(dash + 1)?).into_owned(),
                source: String::from_utf8_lossy(fields.get(dash + 2)?).into_owned(),
            })
        })
        .collect()
}

/// What is mounted below a folder or at it, the innermost first.
pub fn below(folder: &Path) -> Vec<MountEntry> {
    let mut found: Vec<MountEntry> = table()
        .into_iter()
        .filter(|entry| entry.point.starts_with(folder))
        .collect();
    found.reverse();
    found
}

/// The FUSE mount that covers a path, if one does.
pub fn at(point: &Path) -> Option<MountEntry> {
    table()
        .into_iter()
        .rev()
        .find(|entry| entry.point == point && entry.kind.starts_with("fuse"))
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match (first, octal) {
            (b'\\', Some(byte)) => {
                plain.push(byte);
                rest = &tail[3..];
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

fn abort(minor: u32) {
    let _ = fs::write(format!("/sys/fs/fuse/connections/{minor}/abort"), "1");
}

/// A live mount. Dropped in a test that goes well, it is unmounted as a user would do it.
pub struct Mounted {
    /// The working directory.
    pub dir: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    minor: u32,
    /// Who served it in the beginning. The number of the connection can't be asked for later: the
    /// kernel gives it to another mount as soon as this one has gone.
    served_by: Vec<i32>,
    ended: bool,
    /// Dropped with the mount: ends the watch.
    _watch: mpsc::Sender<()>,
}

impl Mounted {
    /// Takes charge of the mount that is at `point` now.
    pub fn found(dir: PathBuf, point: PathBuf) -> Mounted {
        let Some(entry) = at(&point) else {
            panic!("nothing of ours is mounted at {}", point.display());
        };
        let (watch, gone) = mpsc::channel::<()>();
        let minor = entry.minor;
        let mut served_by = daemons_of(&dir, None);
        if served_by.is_empty() {
            served_by = daemons_of(&dir, Some(minor));
        }
        let stuck = super::sized(STUCK, STUCK_QUICK);
        std::thread::spawn(move || {
            if gone.recv_timeout(stuck) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("a mount was stuck for {stuck:?} and is aborted");
                abort(minor);
            }
        });
        Mounted {
            dir,
            point,
            minor,
            served_by,
            ended: false,
            _watch: watch,
        }
    }

    /// A path in the mount.
    pub fn join(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// A path in the snapshot of this name.
    pub fn past(&self, state: &str, name: &str) -> PathBuf {
        self.point.join(".snapshots").join(state).join(name)
    }

    /// A command of the program about this directory.
    pub fn command(&self, name: &str) -> Cmd {
        Cmd::rewindfs().arg(name).arg(&self.point)
    }

    /// Waits until the import is done and everything so far is recorded.
    pub fn settled(&self) {
        self.sync();
        let first = self.past("first", "");
        if self.point.join(".snapshots").exists() {
            wait_for("the snapshot `first`", || first.exists());
        }
    }

    /// Everything that was done before is recorded when this returns.
    pub fn sync(&self) {
        self.command("sync")
            .limit(Duration::from_secs(300))
            .run()
            .ok();
    }

    /// Makes a snapshot as most users do.
    pub fn snapshot(&self, name: &str) {
        let path = self.past(name, "");
        fs::create_dir(&path).unwrap_or_else(|error| panic!("mkdir {}: {error}", path.display()));
    }

    /// The names that `ls .snapshots` shows.
    pub fn snapshots(&self) -> Vec<String> {
        let mut names = names(&self.point.join(".snapshots"));
        names.retain(|name| !name.starts_with('.'));
        names
    }

    /// The folder of every recorded state, oldest first.
    pub fn checkpoints(&self) -> Vec<PathBuf> {
        let all = self.point.join(".snapshots/.checkpoints");
        let mut found = Vec::new();
        for day in names(&all) {
            let states = names(&all.join(&day)).into_iter();
            // Not a state, but a time without one.
            for time in states.filter(|name| !name.ends_with(".not-recorded")) {
                found.push(all.join(&day).join(time));
            }
        }
        found
    }

    /// The daemon's process ids (one, unless something is wrong); then those of whoever else has files of the
    /// store open, as the process has that brings replicas up to date.
    pub fn daemons(&self) -> Vec<i32> {
        let mut pids = daemons_of(&self.dir, None);
        for &pid in &self.served_by {
            if !pids.contains(&pid) && is_daemon(Path::new(&format!("/proc/{pid}"))) {
                pids.push(pid);
            }
        }
        // Numbers begin anew at the largest: the first process need not have the smallest.
        pids.sort_by_key(|pid| !has_connection(*pid));
        pids
    }

    /// Ends the daemon without a warning and takes the dead mount off.
    pub fn kill(mut self) {
        self.kill_daemon();
        self.ended = true;
        abort(self.minor);
        Cmd::new("umount").arg("-l").arg(&self.point).run().ok();
    }

    /// Ends the daemon without a warning; the dead mount stays.
    pub fn kill_and_leave(mut self) {
        self.kill_daemon();
        self.ended = true;
    }

    fn kill_daemon(&self) {
        let daemons = self.daemons();
        assert!(!daemons.is_empty(), "no daemon to be killed");
        for pid in &daemons {
            super::sys::kill(*pid, libc::SIGKILL);
        }
        // Until its last thread has gone it holds the lock of the store.
        wait_for("the end of the daemon", || {
            daemons.iter().all(|pid| has_ended(*pid)) && self.daemons().is_empty()
        });
    }

    /// Unmounts as a user does; the daemon must go.
    pub fn umount(mut self) -> Run {
        self.ended = true;
        let run = self.try_umount().ok();
        self.must_be_gone();
        run
    }

    /// `rewindfs umount`, whatever it says.
    pub fn try_umount(&self) -> Run {
        self.command("umount").limit(Duration::from_secs(300)).run()
    }

    /// Fails the test unless mount and daemon are gone.
    pub fn must_be_gone(&self) {
        assert!(at(&self.point).is_none(), "still mounted");
        wait_for("the end of the daemon", || self.daemons().is_empty());
    }

    /// For tests that end the mount by other means.
    pub fn forget(mut self) {
        self.ended = true;
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if std::thread::panicking() {
            abort(self.minor);
            let _ = Cmd::new("umount").arg("-l").arg(&self.point).run();
            for pid in self.daemons() {
                super::sys::kill(pid, libc::SIGKILL);
            }
        } else {
            self.try_umount().ok();
            self.must_be_gone();
        }
    }
}

/// Process ids of the daemons that serve something in the sandbox of a directory: they hold its
/// connection, or files of a store in the sandbox.
pub fn daemons_of(dir: &Path, minor: Option<u32>) -> Vec<i32> {
    let is_sandbox = |path: &&Path| {
        let name = path.file_name().unwrap_or_default();
        name.as_bytes().starts_with(b"rewindfs-")
    };
    let sandbox = dir.ancestors().find(is_sandbox).unwrap_or(dir);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if is_daemon(&entry.path()) && serves(&entry.path(), sandbox, minor) {
            found.push(pid);
        }
    }
    found
}

/// Whether a process answers requests of the kernel.
fn has_connection(pid: i32) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let mut targets = descriptors
        .flatten()
        .filter_map(|one| fs::read_link(one.path()).ok());
    targets.any(|target| target == Path::new("/dev/fuse"))
}

/// Not of one that has ended: then there is no program any more.
fn is_daemon(process: &Path) -> bool {
    fs::read_link(process.join("exe")).is_ok_and(|program| program.ends_with("rewindfs"))
}

fn serves(process: &Path, sandbox: &Path, minor: Option<u32>) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    let connection = minor.map(|minor| format!("fuse_connection:\t{minor}\n"));
    descriptors.flatten().any(|descriptor| {
        let target = fs::read_link(descriptor.path()).unwrap_or_default();
        let info = process.join("fdinfo").join(descriptor.file_name());
        let of_connection = |wanted: &String| {
            target == Path::new("/dev/fuse")
                && fs::read_to_string(&info).is_ok_and(|info| info.contains(wanted))
        };
        target.starts_with(sandbox) || connection.as_ref().is_some_and(of_connection)
    })
}

/// Whether a process that was killed holds nothing any more: its last thread has gone, or is a
/// zombie that nobody has waited for.
pub fn has_ended(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, |tasks| tasks.count());
    threads <= 1 && !is_daemon(Path::new(&format!("/proc/{pid}")))
}

/// The names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut names: Vec<String> = entries
        .map(|entry| {
            let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
            entry.file_name().to_string_lossy().into_owned()
        })
        .collect();
    names.sort();
    names
}
