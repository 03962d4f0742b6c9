//! The daemon dies without a warning, or things change while it is not there: nothing that was
//! acknowledged is lost, what was listed stays whole, and the next mount finds the rest.

use crate::harness::compare::{Except, Tree};
use crate::harness::loopfs::LoopFs;
use crate::harness::{
    Boot, Cmd, Mounted, Sandbox, mount, noise, read, sized, source_files, sys, text, wait_for,
    write,
};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[test]
fn what_was_acknowledged_survives_the_daemon() {
    let sandbox = Sandbox::new("kill-writes");
    for round in 0..sized(6, 3) {
        let mounted = sandbox.mount("");
        let acknowledged = AtomicU64::new(0);
        let path = mounted.join(&format!("log{round}"));
        std::thread::scope(|scope| {
            let (path, acknowledged) = (&path, &acknowledged);
            scope.spawn(move || {
                let file = OpenOptions::new().append(true).create(true).open(path);
                let Ok(mut file) = file else {
                    return;
                };
                for n in 1.. {
                    if file.write_all(format!("{n}\n").as_bytes()).is_err() {
                        return;
                    }
                    acknowledged.store(n, Ordering::SeqCst);
                }
            });
            wait_for("some writes", || {
                acknowledged.load(Ordering::SeqCst) > 300 * (round + 1)
            });
            mounted.kill();
        });
        let last = acknowledged.load(Ordering::SeqCst);
        let lines = text(sandbox.work().join(format!("log{round}")));
        let count = lines.lines().count() as u64;
        assert!(count >= last, "{count} lines of {last}");
        let mounted = sandbox.mount("");
        assert_eq!(text(&path), lines);
        mounted.snapshot(&format!("after{round}"));
        assert_eq!(
            text(mounted.past(&format!("after{round}"), &format!("log{round}"))),
            lines
        );
        mounted.umount();
    }
}

#[test]
fn states_are_whole_after_many_deaths() {
    let sandbox = Sandbox::new("kill-states");
    let mut states: Vec<(String, Tree)> = Vec::new();
    for round in 0..sized(12, 4_u64) {
        let mounted = sandbox.mount("interval=100ms");
        for n in 0..40 {
            let path = mounted.join(&format!("d{}/f{}", n % 3, n % 7));
            fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
            write(&path, noise(round * 100 + n, 30_000));
            if n % 5 == 0 {
                let _ = fs::rename(&path, mounted.join(&format!("moved{}", n % 4)));
            }
            if n == 20 + round {
                let name = format!("s{round}");
                states.push((name.clone(), Tree::read(&mounted.point)));
                mounted.snapshot(&name);
            }
        }
        mounted.kill();
        let mounted = sandbox.mount("");
        for (name, state) in &states {
            let past = Tree::read(&mounted.past(name, ""));
            state.must_equal(&past, Except::default(), name);
        }
        // Every state that is listed can be read to its last byte.
        for state in mounted.checkpoints() {
            Tree::read(&state);
        }
        let live = Tree::read(&mounted.point);
        mounted.snapshot(&format!("found{round}"));
        let found = Tree::read(&mounted.past(&format!("found{round}"), ""));
        live.must_equal(&found, Except::default(), "what the scan found");
        mounted.umount();
    }
}

#[test]
fn a_store_that_was_half_made_is_made_by_the_next_mount() {
    let sandbox = Sandbox::new("half-made");
    write(sandbox.work().join("file"), "x");
    // As a daemon leaves it that dies before the database has its first file, or after the last.
    let rocks = sandbox.store().join("rocks");
    Cmd::sh("install -d -m 700 . rocks")
        .within_new(sandbox.store())
        .run()
        .ok();
    sandbox.mount("").umount();
    fs::remove_dir_all(sandbox.store()).expect("rm -r");
    Cmd::sh(
        "install -d -m 700 . rocks; touch stopped format.new rocks/LOCK rocks/IDENTITY rocks/000004.dbtmp",
    )
    .within_new(sandbox.store())
    .run()
    .ok();
    let mounted = sandbox.mount("");
    assert_eq!(text(mounted.past("first", "file")), "x");
    mounted.umount();
    // What is not ours is not taken over.
    fs::remove_dir_all(sandbox.store()).expect("rm -r");
    Cmd::sh("install -d -m 700 . rocks; echo basalt > rocks/collection")
        .within_new(sandbox.store())
        .run()
        .ok();
    let refused = Cmd::rewindfs().arg("mount").arg(sandbox.work()).run();
    refused.exits(2).says("is not a store");
    assert_eq!(text(rocks.join("collection")), "basalt\n");
    let left = mount::names(&rocks);
    assert_eq!(left, ["collection"]);
}

#[test]
fn an_import_that_was_cut_off_is_done_by_the_next_mount() {
    let sandbox = Sandbox::new("kill-import");
    source_files(&sandbox.work(), sized(3_000, 800));
    write(sandbox.work().join("big"), noise(1, 30 << 20));
    let then = Tree::read(&sandbox.work());
    for millis in [0, 30, 100] {
        let mounted = sandbox.mount_now("");
        // A time, not a wait: this is when it dies.
        std::thread::sleep(Duration::from_millis(millis));
        mounted.kill();
    }
    let mounted = sandbox.mount("");
    then.must_equal(
        &Tree::read(&mounted.past("first", "")),
        Except::default(),
        "disk / first",
    );
}

#[test]
fn directories_that_are_removed_during_the_import_are_in_it() {
    let sandbox = Sandbox::new("rmdir-import");
    let dirs = sized(3_000, 1_500);
    for n in 0..dirs {
        fs::create_dir(sandbox.work().join(format!("d{n}"))).expect("mkdir");
    }
    let mounted = sandbox.mount_now("");
    for n in 0..dirs {
        fs::remove_dir(mounted.join(&format!("d{n}"))).expect("rmdir");
    }
    mounted.settled();
    assert_eq!(mount::names(&mounted.past("first", "")).len(), dirs);
    let left_out = mounted.command("status").arg("--json").run().ok().json();
    let unrecorded = &left_out[0]["left_out"]["unrecorded"];
    assert_eq!(unrecorded.as_array().map(Vec::len), Some(0), "{unrecorded}");
}

#[test]
fn an_unmount_during_the_import_is_quick_and_the_next_mount_goes_on() {
    let sandbox = Sandbox::new("umount-import");
    source_files(&sandbox.work(), sized(3_000, 800));
    let then = Tree::read(&sandbox.work());
    let mounted = sandbox.mount_now("");
    mounted.umount();
    let mounted = sandbox.mount("");
    then.must_equal(
        &Tree::read(&mounted.past("first", "")),
        Except::default(),
        "disk / first",
    );
}

#[test]
fn a_dead_mount_is_named_and_taken_off() {
    let sandbox = Sandbox::new("dead");
    write(sandbox.work().join("file"), "x");
    let mounted = sandbox.mount("");
    mounted.kill_and_leave();
    // Who asks before the last descriptor of the daemon is closed gets another error.
    wait_for("a dead mount", || {
        sys::errno(&fs::read_dir(sandbox.work())) == libc::ENOTCONN
    });
    let status = Cmd::rewindfs()
        .arg("status")
        .arg(sandbox.work())
        .run()
        .exits(1);
    status.says("rewindfs umount");
    Cmd::rewindfs().arg("umount").arg(sandbox.work()).run().ok();
    assert!(mount::at(&sandbox.work()).is_none());
    assert_eq!(read(sandbox.work().join("file")), b"x");
    // Mounting over it does the same.
    sandbox.mount("").kill_and_leave();
    let mounted = sandbox.mount("");
    assert_eq!(mount::below(sandbox.path()).len(), 1, "the dead one is off");
    assert_eq!(text(mounted.past("first", "file")), "x");
}

#[test]
fn what_changed_while_nobody_looked_is_found() {
    let sandbox = Sandbox::new("drift");
    let work = sandbox.work();
    crate::harness::one_of_everything(&work);
    write(work.join("same-size"), noise(1, 5_000));
    write(work.join("same-times"), noise(2, 5_000));
    write(work.join("untouched"), noise(3, 5_000));
    sandbox.mount("").umount();
    // The same size and mtime again: only the ctime gives it away.
    let file = OpenOptions::new()
        .write(true)
        .open(work.join("same-size"))
        .expect("open");
    file.write_all_at(b"DIFFERENT", 100).expect("write");
    let script =
        "touch -r text ref; printf XX | dd of=same-times bs=1 seek=9 conv=notrunc status=none
        touch -r ref same-times; mv dir moved; mkdir dir; echo new > dir/big; rm other-name
        chmod 600 text; setfattr -n user.colour -v blue text; setfacl -b moved; ln untouched linked
        rm empty; mkdir empty; mkfifo empty/pipe; ln -sfn elsewhere dangling; truncate -s 100 sparse
        chown 99:98 other-owner; mv moved/big moved/bigger";
    Cmd::sh(script).within(&work).run().ok();
    let now = Tree::read(&work);
    let mounted = sandbox.mount("");
    now.must_equal(
        &Tree::read(&mounted.point),
        Except::default(),
        "disk / mount",
    );
    mounted.snapshot("found");
    now.must_equal(
        &Tree::read(&mounted.past("found", "")),
        Except::default(),
        "disk / snapshot",
    );
}

#[test]
fn changes_of_the_last_moment_before_a_mount_are_found() {
    let sandbox = Sandbox::new("racy");
    let path = sandbox.work().join("file");
    for n in 0..sized(12, 5) {
        write(&path, format!("{n:04}"));
        let mounted = sandbox.mount("");
        mounted.snapshot(&format!("s{n}"));
        assert_eq!(
            text(mounted.past(&format!("s{n}"), "file")),
            format!("{n:04}")
        );
        mounted.umount();
    }
}

#[test]
fn a_store_that_is_removed_stops_history_and_nothing_else() {
    let sandbox = Sandbox::new("store-gone");
    write(sandbox.work().join("file"), "x");
    let mounted = sandbox.mount("");
    fs::remove_dir_all(sandbox.store()).expect("rm -rf of the store");
    for n in 0..200 {
        write(mounted.join(&format!("f{n}")), noise(n, 10_000));
    }
    assert_eq!(read(mounted.join("f7")), noise(7, 10_000));
    let made = fs::create_dir(mounted.past("nowhere", ""));
    assert!(made.is_err(), "no snapshot without a store");
    let status = mounted.command("status").run().exits(2);
    status.says("is not there any more");
    let held = fs::File::open(mounted.join("f7")).expect("open");
    let refused = mounted.try_umount().exits(2);
    refused.says("it is in use by").says("f7");
    drop(held);
    mounted.umount();
    assert_eq!(read(sandbox.work().join("f7")), noise(7, 10_000));
}

#[test]
fn a_mount_without_its_store_can_be_forced_off() {
    let sandbox = Sandbox::new("store-gone-force");
    let mounted = sandbox.mount("");
    write(mounted.join("file"), "x");
    fs::remove_dir_all(sandbox.store()).expect("rm -rf of the store");
    let held = fs::File::open(mounted.join("file")).expect("open");
    mounted.command("umount").arg("--force").run().ok();
    mounted.must_be_gone();
    mounted.forget();
    drop(held);
    assert_eq!(text(sandbox.work().join("file")), "x");
}

#[test]
fn a_stop_that_lasts_until_the_unmount_is_told() {
    let sandbox = Sandbox::new("stopped");
    write(sandbox.work().join("file"), "x");
    sandbox.mount("").umount();
    let mounted = sandbox.mount_now("min-free=1000000G");
    wait_for("the stop", || {
        let status = mounted.command("status").run().out;
        status.contains("nothing is recorded since") && status.contains("the disk is almost full")
    });
    write(mounted.join("unseen"), "y");
    mounted.umount();
    let status = || Cmd::rewindfs().arg("status").arg(sandbox.work()).run();
    let told = "what was changed from 20";
    let unmounted = status();
    assert!(unmounted.out.contains(told), "{}", unmounted.out);
    assert!(unmounted.out.contains("the disk is almost full"));
    let mounted = sandbox.mount("");
    mounted.snapshot("found");
    assert_eq!(text(mounted.past("found", "unseen")), "y");
    assert!(status().out.contains(told));
    mounted.umount();
}

/// A file that was overwritten in place, and recorded so, comes back from a power cut with its new
/// times and its old bytes. Nothing but the store's word that it was never synced tells.
fn old_bytes_under_new_times(name: &str, unmounted_between: bool) {
    let sandbox = Sandbox::new(name);
    Boot::private(sandbox.path(), |boot| {
        let fs = LoopFs::new(&sandbox, "disk", "ext4", 64, &[]);
        let work = fs.path().join("work");
        fs::create_dir(&work).expect("mkdir");
        let file = work.join("file");
        let (old, new) = (noise(1, 4096), noise(2, 4096));
        write(&file, &old);
        Cmd::new("sync").run().ok();
        let mount = || {
            Cmd::rewindfs().arg("mount").arg(&work).run().ok();
            let mounted = Mounted::found(work.clone(), work.clone());
            mounted.settled();
            mounted
        };
        let mut mounted = mount();
        if unmounted_between {
            mounted.umount();
            mounted = mount();
        }
        let opened = OpenOptions::new().write(true).open(&file).expect("open");
        opened.write_all_at(&new, 0).expect("write");
        drop(opened);
        mounted.snapshot("overwritten");
        assert_eq!(read(mounted.past("overwritten", "file")), new);
        // Old enough not to be read again for its times alone.
        std::thread::sleep(Duration::from_secs(3));
        mounted.command("sync").run().ok();
        mounted.kill();
        // Everything but the bytes reached the disk.
        let image = sandbox.join("disk.image");
        let off = || Cmd::new("umount").arg(fs.path()).run();
        wait_for("the disk to be free", || off().code == 0);
        // The daemon had a mount of its own, and its end is not that of its last descriptor.
        let device = || Cmd::new("losetup").arg("-j").arg(&image).run().out;
        wait_for("the end of the loop device", || device().is_empty());
        let disk = read(&image);
        let at: Vec<usize> = (0..disk.len())
            .step_by(1024)
            .filter(|at| disk[*at..].starts_with(&new))
            .collect();
        assert_eq!(at.len(), 1, "the file's block on the disk");
        let opened = OpenOptions::new().write(true).open(&image).expect("open");
        opened.write_all_at(&old, at[0] as u64).expect("write");
        drop(opened);
        boot.again();
        let options = ["-t", "ext4", "-o", "loop"];
        let cmd = Cmd::new("mount").args(options).arg(&image);
        cmd.arg(fs.path()).run().ok();
        assert_eq!(read(&file), old);
        let mounted = mount();
        mounted.snapshot("after");
        assert_eq!(
            read(mounted.past("after", "file")),
            old,
            "what is on the disk"
        );
        assert_eq!(read(mounted.past("overwritten", "file")), new);
        mounted.umount();
    });
}

#[test]
fn after_another_boot_what_was_never_synced_is_read_again() {
    old_bytes_under_new_times("power-first", false);
}

#[test]
fn after_another_boot_an_unmount_before_the_last_mount_proves_nothing() {
    old_bytes_under_new_times("power-later", true);
}
