//! Who is inside: processes that stand in a directory, or hold files in it.
//!
//! Before a mount they are those who will go on below it, unseen; before an unmount those who keep
//! it busy. The two look alike by their paths, so the device decides.

use crate::fuse::processes::{command, mappings, others, proc_file};
use rustix::fs::{AtFlags, CWD, StatxFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What a process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// It is its working directory.
    WorkingDirectory(PathBuf),
    /// It is its root directory.
    Root(PathBuf),
    /// It is open.
    Open(PathBuf),
    /// It is mapped.
    Mapped(PathBuf),
}

/// A process that is inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub pid: u32,
    pub command: String,
    /// At least one, each once.
    pub holds: Vec<Held>,
}

/// Who is inside, as far as we may see.
#[derive(Clone, Debug, Default)]
pub struct Inside {
    pub holders: Vec<Holder>,
    /// Processes of others at which we may not look.
    pub unseen: u64,
    /// The time was over before all had been looked at.
    pub cut_short: bool,
}

/// Processes but this one that are at or below `dir`, on the file system that `device` names
/// (major and minor number). Returns after `at_most`, with what is known by then.
///
/// # Errors
/// /proc can't be read.
pub fn inside(dir: &Path, device: (u32, u32), at_most: Duration) -> io::Result<Inside> {
    let deadline = Instant::now() + at_most;
    let pids = others()?;
    let dir = dir.to_path_buf();
    let (sender, looked) = mpsc::channel();
    // A thread of its own: a process that hangs in the kernel may make who looks at it hang.
    std::thread::Builder::new()
        .name("inside".to_string())
        .spawn(move || {
            let pids: Vec<u32> = pids.collect();
            // Mappings last, of all: only they wait for a lock of the process that is looked at.
            let links = pids.iter().map(|&pid| (pid, links(pid, &dir, device)));
            let maps = pids.iter().map(|&pid| (pid, mapped(pid, &dir, device)));
            for found in links.chain(maps) {
                if sender.send(found).is_err() {
                    return;
                }
            }
        })?;
    let mut holders: BTreeMap<u32, Vec<Held>> = BTreeMap::new();
    let mut unseen = BTreeSet::new();
    let mut cut_short = false;
    loop {
        match looked.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((pid, Ok(holds))) if !holds.is_empty() => {
                let known = holders.entry(pid).or_default();
                holds.into_iter().for_each(|held| push(known, held));
            }
            Ok((pid, Err(error))) if error.kind() == io::ErrorKind::PermissionDenied => {
                unseen.insert(pid);
            }
            // It holds nothing, or has gone.
            Ok(_) => {}
            Err(mpsc::RecvTimeoutError::Timeout) => {
                cut_short = true;
                break;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let holder = |(pid, holds)| Holder {
        pid,
        command: command(pid),
        holds,
    };
    Ok(Inside {
        holders: holders.into_iter().map(holder).collect(),
        unseen: unseen.len() as u64,
        cut_short,
    })
}

/// The device of a directory, for `inside`: to be asked before the mount for what lies below, and
/// after it for the mount.
///
/// # Errors
/// What the kernel answers.
pub fn device_of(path: &Path) -> io::Result<(u32, u32)> {
    let flags = AtFlags::STATX_DONT_SYNC;
    let statx = rustix::fs::statx(CWD, path, flags, StatxFlags::INO)?;
    Ok((statx.stx_dev_major, statx.stx_dev_minor))
}

/// Where it stands and what it has open.
fn links(pid: u32, dir: &Path, device: (u32, u32)) -> io::Result<Vec<Held>> {
    let mut holds = Vec::new();
    let link = |file: &Path| -> io::Result<Option<PathBuf>> {
        let target = std::fs::read_link(file)?;
        // The name first: asking a file that is not ours for its device may take for ever.
        let ours = target.starts_with(dir) && device_of(file).is_ok_and(|found| found == device);
        Ok(ours.then_some(target))
    };
    holds.extend(link(&proc_file(pid, "cwd"))?.map(Held::WorkingDirectory));
    holds.extend(link(&proc_file(pid, "root"))?.map(Held::Root));
    for descriptor in std::fs::read_dir(proc_file(pid, "fd"))?.flatten() {
        // Closed in the meantime, perhaps.
        if let Ok(Some(target)) = link(&descriptor.path()) {
            push(&mut holds, Held::Open(target));
        }
    }
    // Among the mappings, too, but there btrfs shows another device. The kernel's threads have none.
    if let Ok(Some(program)) = link(&proc_file(pid, "exe")) {
        push(&mut holds, Held::Mapped(program));
    }
    Ok(holds)
}

fn mapped(pid: u32, dir: &Path, device: (u32, u32)) -> io::Result<Vec<Held>> {
    let mut holds = Vec::new();
    for mapping in mappings(pid)? {
        if mapping.device == device && mapping.path.starts_with(dir) {
            push(&mut holds, Held::Mapped(mapping.path));
        }
    }
    Ok(holds)
}

fn push(holds: &mut Vec<Held>, held: Held) {
    if !holds.contains(&held) {
        holds.push(held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn who_stands_in_a_directory_or_has_a_file_open_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().canonicalize().expect("a path");
        std::fs::create_dir(path.join("sub")).expect("mkdir");
        std::fs::write(path.join("f"), b"").expect("written");
        // `cat` waits for its standard input, which is ours.
        let mut child = Command::new("cat")
            .current_dir(path.join("sub"))
            .stdin(Stdio::piped())
            .stdout(std::fs::File::create(path.join("f")).expect("opened"))
            .spawn()
            .expect("cat");
        let device = device_of(&path).expect("a device");
        let wait = Duration::from_secs(20);
        let holder = loop {
            let found = inside(&path, device, wait).expect("looked");
            assert!(!found.cut_short);
            let holder = found.holders.into_iter().find(|h| h.pid == child.id());
            // Until it has become `cat`, the child is a copy of this process.
            match holder {
                Some(holder) if holder.command == "cat" => break holder,
                _ => std::thread::yield_now(),
            }
        };
        let expected = [
            Held::WorkingDirectory(path.join("sub")),
            Held::Open(path.join("f")),
        ];
        assert_eq!(holder.holds, expected);
        let elsewhere = inside(&path, (0, 0), wait).expect("looked");
        assert!(elsewhere.holders.is_empty());
        let beside = PathBuf::from(format!("{}x", path.display()));
        assert!(
            inside(&beside, device, wait)
                .expect("looked")
                .holders
                .is_empty()
        );
        drop(child.stdin.take());
        child.wait().expect("ended");
    }

    #[test]
    fn a_program_that_runs_from_a_directory_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().canonicalize().expect("a path");
        std::fs::copy("/bin/cat", path.join("copy")).expect("copied");
        // A child that another test has just forked may hold the copy open for writing until it
        // becomes its own program.
        let mut child = loop {
            match Command::new(path.join("copy"))
                .stdin(Stdio::piped())
                .spawn()
            {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                    std::thread::yield_now();
                }
                other => break other.expect("it runs"),
            }
        };
        let device = device_of(&path).expect("a device");
        let held = loop {
            let found = inside(&path, device, Duration::from_secs(20)).expect("looked");
            let holder = found.holders.into_iter().find(|h| h.pid == child.id());
            match holder {
                Some(holder) if holder.command == "copy" => break holder.holds,
                _ => std::thread::yield_now(),
            }
        };
        assert_eq!(held, [Held::Mapped(path.join("copy"))]);
        drop(child.stdin.take());
        child.wait().expect("ended");
    }
}
