//! A store whose disk really hangs: frozen, so that every write waits, or stopped altogether, so that
//! reading waits too. Live operations go on, commands say what is wrong, and history goes on by
//! itself when the disk does.

use crate::harness::compare::{Except, Tree};
use crate::harness::loopfs::LoopFs;
use crate::harness::mount::{Mounted, names};
use crate::harness::run::wait_for_at_most;
use crate::harness::{Cmd, Sandbox, noise, sys, text, wait_for, write};
use crate::trouble::{is_stopped, not_recorded, status};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PIECE: usize = 1 << 20;
const PIECES: usize = 16;
/// How long a store must hang until it is given up, and some more.
const HANG: Duration = Duration::from_secs(14);
/// How long a command may take while the store hangs: to be given up, and what a busy machine adds.
const BOUND: Duration = Duration::from_secs(30);

/// A file system that can be frozen; never left so.
pub struct Freezer(pub PathBuf);

impl Freezer {
    pub fn set(&self, frozen: bool) {
        let flag = if frozen { "-f" } else { "-u" };
        Cmd::new("fsfreeze").arg(flag).arg(&self.0).run().ok();
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = Cmd::new("fsfreeze").arg("-u").arg(&self.0).run();
    }
}

/// Processes that can be stopped; never left so.
struct Stopper(Vec<i32>);

impl Stopper {
    fn set(&self, stopped: bool) {
        for &pid in &self.0 {
            sys::kill(
                pid,
                if stopped {
                    libc::SIGSTOP
                } else {
                    libc::SIGCONT
                },
            );
        }
    }
}

impl Drop for Stopper {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// A mount that says all that it can say, so that many lines go to a log on the disk that hangs.
fn mount_talking(sandbox: &Sandbox, store: &Path) -> Mounted {
    write(sandbox.work().join("big"), noise(1, PIECE * PIECES));
    for n in 0..40 {
        write(sandbox.work().join(format!("f{n}")), noise(n, 9_000));
    }
    let mount = Cmd::rewindfs().arg("mount").arg(sandbox.work());
    let mount = mount.arg("--store").arg(store);
    let mount = mount.args(["-o", "settle=50ms,interval=200ms"]);
    let mount = mount.env("RUST_LOG", "rewindfs=debug");
    mount.env("REWINDFS_TEST", "stash=64M").run().ok();
    let mounted = Mounted::found(sandbox.work(), sandbox.work());
    mounted.settled();
    mounted
}

/// Every kind of operation that destroys something. The longest, and what it was.
fn work_for(mounted: &Mounted, time: Duration) -> (Duration, String) {
    let mut longest = (Duration::ZERO, String::new());
    let mut timed = |name: &str, work: &mut dyn FnMut() -> std::io::Result<()>| {
        let began = Instant::now();
        work().unwrap_or_else(|error| panic!("{name}: {error}"));
        if began.elapsed() > longest.0 {
            longest = (began.elapsed(), name.to_owned());
        }
    };
    let end = Instant::now() + time;
    let file = |name: String| {
        let path = mounted.join(&name);
        OpenOptions::new().write(true).open(path)
    };
    let piece = noise(7, PIECE);
    let mut round = 0_u64;
    // A short time is not over before enough was done, however slow the machine is.
    let least = if time < HANG { 21 } else { 0 };
    while Instant::now() < end || round < least {
        let n = round % 40;
        timed("write", &mut || {
            file(format!("f{n}"))?.write_all_at(&round.to_le_bytes(), 5)
        });
        timed("large write", &mut || {
            let at = (round as usize % PIECES * PIECE) as u64;
            file("big".to_owned())?.write_all_at(&piece, at)
        });
        timed("truncate", &mut || {
            file(format!("f{}", (n + 7) % 40))?.set_len(round % 9_000)
        });
        timed("create", &mut || {
            fs::write(mounted.join("new"), round.to_string())
        });
        timed("rename", &mut || {
            fs::rename(
                mounted.join("new"),
                mounted.join(&format!("f{}", (n + 20) % 40)),
            )
        });
        timed("mkdir", &mut || fs::create_dir(mounted.join("dir")));
        timed("rmdir", &mut || fs::remove_dir(mounted.join("dir")));
        timed("link", &mut || {
            fs::hard_link(mounted.join("f3"), mounted.join("link"))
        });
        timed("unlink", &mut || fs::remove_file(mounted.join("link")));
        timed("chmod", &mut || {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::Permissions::from_mode(0o600 + (round % 8) as u32);
            fs::set_permissions(mounted.join("f5"), mode)
        });
        timed("fsync", &mut || file(format!("f{n}"))?.sync_all());
        timed("read", &mut || fs::read(mounted.join("f9")).map(drop));
        round += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(round > 20, "{round} rounds in {time:?}");
    longest
}

/// How many operations had to wait for so long at least, by what the daemon counted: class n holds
/// those below 2^n milliseconds.
pub fn waited(report: &serde_json::Value, from_class: usize) -> u64 {
    let waits = report["mounted"]["waits"].as_object().expect("an object");
    let of = |kind: &str| {
        let classes = waits[kind].as_array().expect("a list");
        let long = classes.iter().skip(from_class);
        long.map(|n| n.as_u64().expect("a number")).sum::<u64>()
    };
    of("bytes") + of("states") + of("removed")
}

fn answered(what: &str, began: Instant) {
    let took = began.elapsed();
    println!("{what} answered after {took:?}");
    assert!(took < BOUND, "{what} took {took:?}");
}

/// Nothing of the store's tables is to be had but from its disk.
fn forget_tables(store: &Path) {
    for name in names(&store.join("rocks")) {
        if name.ends_with(".sst") {
            let file = fs::File::open(store.join("rocks").join(name));
            let file = file.expect("a table");
            file.sync_all().expect("fsync");
            sys::drop_cache(&file);
        }
    }
}

/// Hangs the store under work; `reads`: what reads it hangs too.
fn hang(mounted: &Mounted, set: &dyn Fn(bool), reads: bool) {
    set(true);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| work_for(mounted, HANG));
        // Before it is known that the store hangs, and then.
        std::thread::sleep(Duration::from_secs(2));
        let began = Instant::now();
        let told = mounted.command("status").run();
        answered("status", began);
        if reads {
            let said = told.exits(1);
            said.says("the store does not answer");
            let began = Instant::now();
            let verified = mounted.command("verify").arg("--data").run().exits(2);
            answered("verify", began);
            assert_eq!(verified.err.lines().count(), 1, "{}", verified.err);
            let why = "the store failed: it does not answer; see: rewindfs status";
            assert!(verified.err.contains(why), "{}", verified.err);
        }
        let (longest, what) = worker
            .join()
            .expect("a live operation neither fails nor hangs");
        println!("the longest of the live operations: {what}, {longest:?}");
    });
    wait_for("the stop", || is_stopped(&status(mounted)));
    let began = Instant::now();
    let report = status(mounted);
    answered("status", began);
    let reason = &report["left_out"]["unrecorded"];
    let last = reason
        .as_array()
        .and_then(|all| all.last())
        .expect("a time");
    assert_eq!(last["reason"], "the store does not answer", "{report}");
    // 128 ms are the next bound that is counted above 100 ms. The machine may have held one or two
    // up, and none until the store is given up.
    let waits = &report["mounted"]["waits"];
    assert!(waited(&report, 8) <= 2, "{waits}");
    assert_eq!(waited(&report, 14), 0, "{waits}");
    let began = Instant::now();
    let made = mounted.command("snapshot").arg("refused").run();
    answered("snapshot", began);
    assert_ne!(made.code, 0);
    assert_eq!(made.err.lines().count(), 1, "{}", made.err);
    let began = Instant::now();
    let made = fs::create_dir(mounted.past("refused", ""));
    assert!(made.is_err());
    answered("mkdir .snapshots/NAME", began);
    work_for(mounted, Duration::from_secs(1));
    set(false);
    wait_for_at_most("history to go on", Duration::from_secs(90), || {
        !is_stopped(&status(mounted))
    });
    mounted.sync();
    mounted.snapshot("after");
    Tree::read(&mounted.point).must_equal(
        &Tree::read(&mounted.past("after", "")),
        Except::default(),
        "live / after",
    );
    assert_eq!(not_recorded(mounted).len(), 1);
    mounted
        .command("status")
        .run()
        .exits(1)
        .says("the store does not answer");
    let verified = mounted
        .command("verify")
        .limit(Duration::from_secs(300))
        .run();
    verified.ok();
}

#[test]
fn a_store_on_a_frozen_disk_holds_nobody_up() {
    let sandbox = Sandbox::new("frozen");
    let disk = LoopFs::new(&sandbox, "disk", "ext4", 512, &["-m", "0"]);
    let store = disk.path().join("store");
    let mounted = mount_talking(&sandbox, &store);
    let freezer = Freezer(disk.path().to_owned());
    hang(&mounted, &|frozen| freezer.set(frozen), false);
    let log = text(store.join("log"));
    assert!(
        log.contains("nothing is recorded from now on: the store does not answer"),
        "{log}"
    );
    mounted.umount();
}

/// The disk of the store is a file system of another process, which is stopped: not even a name is
/// looked up any more.
#[test]
fn a_store_of_which_nothing_answers_holds_nobody_up() {
    let other = Sandbox::new("stopped-disk");
    let disk = other.mount("nohistory");
    let stopper = Stopper(disk.daemons());
    assert_eq!(stopper.0.len(), 1);
    let sandbox = Sandbox::new("stopped");
    let mounted = mount_talking(&sandbox, &disk.join("store"));
    forget_tables(&disk.join("store"));
    hang(&mounted, &|stopped| stopper.set(stopped), true);
    mounted.umount();
    disk.umount();
}
