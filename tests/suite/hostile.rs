//! A hostile user on a mount made by root: he swaps directories for symlinks under the daemon's
//! hands, through the mount and behind its back. The daemon is root and touches nothing outside its
//! directory.

mod names;

use crate::harness::{Cmd, Mounted, Sandbox, sized, sys, text, write};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const MALLORY: u32 = 1236;
/// What stands outside, for root alone.
const OUTSIDE: &str = "root keeps this outside of the tree";
/// What stands inside, and nobody touches.
const QUIET: &str = "this stays as it is";
const FILES: [&str; 3] = ["passwd", "shadow", "key"];

/// Inode number, mode, mtime, ctime and content of a file.
type Look = (u64, u32, i64, i64, String);

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
}

/// A folder outside with files that root alone may read, and what it looks like.
fn outside(sandbox: &Sandbox) -> (PathBuf, Vec<Look>) {
    let folder = sandbox.join("outside");
    fs::create_dir(&folder).expect("mkdir");
    for name in FILES {
        write(folder.join(name), format!("{OUTSIDE}: {name}\n"));
        set_mode(&folder.join(name), 0o600);
    }
    let looks = look(&folder);
    (folder, looks)
}

fn look(folder: &Path) -> Vec<Look> {
    FILES
        .map(|name| {
            let path = folder.join(name);
            let stat = fs::symlink_metadata(&path).expect("still there");
            (
                stat.ino(),
                stat.mode(),
                stat.mtime(),
                stat.ctime_nsec(),
                text(&path),
            )
        })
        .to_vec()
}

/// One round of swaps in `root`: a directory with files that becomes a symlink to what lies
/// outside, a file that does, and back. Whatever fails fails.
fn swap(root: &Path, outside: &Path, round: u64) {
    let (d, aside) = (root.join("d"), root.join(format!("aside{}", round % 3)));
    let _ = fs::create_dir(&d);
    for name in FILES {
        let _ = fs::write(d.join(name), format!("mine {round}"));
    }
    let _ = fs::rename(&d, &aside);
    let _ = symlink(outside, &d);
    let _ = fs::read_dir(&d).map(Iterator::count);
    let _ = fs::write(d.join(FILES[0]), "overwritten");
    let _ = fs::remove_file(&d);
    let _ = fs::remove_file(aside.join(FILES[1]));
    let _ = symlink(outside.join(FILES[1]), aside.join(FILES[1]));
    let _ = fs::hard_link(outside.join(FILES[2]), aside.join("linked"));
    let _ = sys::renameat2(&aside, &d, libc::RENAME_EXCHANGE);
    let _ = fs::rename(&aside, &d);
    if round.is_multiple_of(7) {
        let _ = fs::remove_dir_all(&d);
    }
}

/// Copies a state to another place, as root would.
fn copy_out(mounted: &Mounted, target: &Path) {
    let line = format!(
        "rm -rf '{0}'; cp -a .snapshots/latest/home '{0}' || true",
        target.display()
    );
    Cmd::sh(&line).within(&mounted.point).run().ok();
}

/// The files of all states that hold a text.
fn holding(mounted: &Mounted, text: &str) -> Vec<String> {
    let search = format!("grep -rslaF '{text}' .snapshots/ .snapshots/.checkpoints/ || true");
    let limit = Duration::from_secs(280);
    let found = Cmd::sh(&search).within(&mounted.point).limit(limit).run();
    found.ok().lines().into_iter().map(str::to_owned).collect()
}

#[test]
fn swapped_directories_lead_roots_daemon_nowhere() {
    let sandbox = Sandbox::new("swaps");
    set_mode(&sandbox.work(), 0o755);
    let home = sandbox.work().join("home");
    fs::create_dir(&home).expect("mkdir");
    chown(&home, Some(MALLORY), Some(MALLORY)).expect("chown");
    write(sandbox.work().join("quiet"), QUIET);
    let (folder, before) = outside(&sandbox);
    let ended = AtomicBool::new(false);
    let rounds = AtomicU64::new(0);
    std::thread::scope(|threads| {
        // Behind the daemon's back as well as through the mount.
        for root in [home.clone(), sandbox.join("view/home")] {
            let (folder, ended, rounds) = (&folder, &ended, &rounds);
            threads.spawn(move || {
                sys::as_user(MALLORY, MALLORY, &[MALLORY], || {
                    while !ended.load(Ordering::Relaxed) {
                        swap(&root, folder, rounds.fetch_add(1, Ordering::Relaxed));
                    }
                });
            });
        }
        // A panic below must end the threads above, or the scope waits for them.
        let end = End(&ended);
        for mount in 0..sized(4, 2) {
            let mounted = sandbox.mount_beside("interval=100ms,settle=50ms");
            for snapshot in 0..sized(10, 4) {
                mounted.snapshot(&format!("s{mount}-{snapshot}"));
                copy_out(&mounted, &sandbox.join("copied"));
            }
            mounted.sync();
            if mount % 2 == 1 {
                mounted.kill();
            } else {
                mounted.command("umount").arg("--force").run().ok();
                mounted.must_be_gone();
                mounted.forget();
            }
        }
        drop(end);
    });
    assert!(rounds.load(Ordering::Relaxed) > 100, "he was at work");
    assert_eq!(look(&folder), before, "what lies outside is as it was");
    let mounted = sandbox.mount_beside("");
    mounted.settled();
    assert_eq!(holding(&mounted, OUTSIDE), Vec::<String>::new());
    assert!(
        !holding(&mounted, QUIET).is_empty(),
        "the search finds what is there"
    );
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
