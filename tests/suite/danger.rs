//! What is only here is sent elsewhere when something is about to go wrong.

use crate::harness::loopfs::LoopFs;
use crate::harness::mount::has_ended;
use crate::harness::{Cmd, Mounted, Sandbox, noise, sys, text, wait_for, write};
use crate::repair::damage_content;
use crate::trouble::{bad_disk, mount_at};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// What is done is recorded soon.
const QUICK: &str = "interval=200ms,settle=50ms";

/// A directory with a passive replica, a yearly backup, and a snapshot that waits for trouble; all
/// that is recorded is there.
struct World {
    mounted: Mounted,
    password: PathBuf,
    sandbox: Sandbox,
}

impl World {
    fn new(name: &str) -> World {
        let sandbox = Sandbox::new(name);
        let mounted = sandbox.mount(QUICK);
        World::of(sandbox, mounted)
    }

    fn of(sandbox: Sandbox, mounted: Mounted) -> World {
        let password = sandbox.join("password");
        write(&password, "correct horse\n");
        let world = World {
            mounted,
            password,
            sandbox,
        };
        let replica = Cmd::rewindfs().arg("replica").arg("add");
        let replica = replica
            .arg(&world.mounted.dir)
            .arg(world.sandbox.join("copy"));
        let replica = replica.args(["--mode", "passive", "--limit", "1K", "--password-file"]);
        replica.arg(&world.password).run().ok();
        let backup = Cmd::rewindfs().arg("schedule").arg(&world.mounted.dir);
        let backup = backup.args([
            "add",
            "--at",
            "yearly",
            "--window",
            "00:00-00:01",
            "--backup",
        ]);
        let backup = backup.arg(world.sandbox.join("sets"));
        backup
            .arg("--password-file")
            .arg(&world.password)
            .run()
            .ok();
        let snapshot = Cmd::rewindfs().arg("schedule").arg(&world.mounted.dir);
        let snapshot = snapshot.args(["add", "--on", "trouble", "--snapshot", "trouble"]);
        snapshot.run().ok();
        wait_for("the replica", || {
            !world.status()["replicas"][0]["time"].is_null()
        });
        write(world.mounted.join("a"), "a");
        world.mounted.sync();
        world
    }

    fn status(&self) -> Value {
        let run = self.mounted.command("status").arg("--json").run();
        run.json().remove(0)
    }

    fn is_sent(&self) -> bool {
        let status = self.status();
        status["replicas"][0]["states_behind"] == 0
            && !status["schedules"][0]["succeeded"].is_null()
    }

    /// Both places have the file.
    fn has_come(sandbox: &Sandbox, name: &str, holds: &str) {
        for place in ["copy", "sets"] {
            let to = sandbox.join("again");
            let recover = Cmd::rewindfs().arg("recover").arg(sandbox.join(place));
            let recover = recover.arg("--password-file").arg(sandbox.join("password"));
            recover.arg("--to").arg(&to).arg(name).run().ok();
            assert_eq!(text(to.join(name)), holds, "{place}");
            fs::remove_dir_all(&to).expect("rm -r");
        }
    }
}

#[test]
fn a_machine_that_is_told_to_end_sends_what_is_only_there() {
    let world = World::new("danger-term");
    assert!(!world.is_sent());
    write(world.mounted.join("late"), "late");
    let pid = world.mounted.daemons()[0];
    sys::kill(pid, libc::SIGTERM);
    wait_for("the end of the mount", || has_ended(pid));
    World::has_come(&world.sandbox, "late", "late");
    let log = text(world.sandbox.store().join("log"));
    assert!(log.contains("SIGTERM: what is only here is sent"), "{log}");
    assert!(
        log.contains("all that is recorded is at the replicas"),
        "{log}"
    );
    world.mounted.forget();
}

#[test]
fn when_the_power_goes_it_is_sent_and_the_mount_stays() {
    let world = World::new("danger-power");
    write(world.mounted.join("late"), "late");
    sys::kill(world.mounted.daemons()[0], libc::SIGPWR);
    wait_for("what is only here", || world.is_sent());
    World::has_come(&world.sandbox, "late", "late");
    assert_eq!(text(world.mounted.join("late")), "late");
    wait_for("the snapshot", || {
        world.mounted.snapshots().contains(&"trouble".to_owned())
    });
}

#[test]
fn an_alarm_is_trouble() {
    let world = World::new("danger-alarm");
    for number in 0..60 {
        write(
            world.mounted.join(&format!("f{number}")),
            "content ".repeat(20),
        );
    }
    world.mounted.sync();
    let policy = world.mounted.command("policy").args(["--alarm", "50"]);
    policy.run().ok();
    assert!(!world.is_sent());
    Cmd::sh("rm -f f*").within(&world.mounted.point).run().ok();
    wait_for("what is only here", || world.is_sent());
    World::has_come(&world.sandbox, "a", "a");
}

#[test]
fn a_disk_that_can_not_read_is_trouble() {
    let sandbox = Sandbox::new("danger-disk");
    let disk = bad_disk(&sandbox);
    let store = sandbox.join("store");
    let store = ["-o", QUICK, "--store", store.to_str().expect("text")];
    let (_, mounted) = mount_at(&disk.path().join("work"), &store);
    mounted.settled();
    let world = World::of(sandbox, mounted);
    let unread = fs::read(world.mounted.join("bad"));
    assert_eq!(sys::errno(&unread), libc::EIO);
    wait_for("what is only here", || world.is_sent());
    World::has_come(&world.sandbox, "good", "good");
    wait_for("the line in the log", || {
        text(world.sandbox.join("store/log")).contains("the disk of the live files fails")
    });
    let World { mounted, .. } = world;
    mounted.umount();
    drop(disk);
}

#[test]
fn what_the_check_of_the_store_finds_is_trouble() {
    let world = World::new("danger-check");
    write(world.mounted.join("large"), noise(1, 3 << 20));
    world.mounted.snapshot("large");
    assert!(!world.is_sent());
    let World {
        sandbox, mounted, ..
    } = world;
    mounted.umount();
    // Opened once more, so that all lies in files, not in the log of the database.
    sandbox.mount(QUICK).umount();
    damage_content(&sandbox);
    let mounted = sandbox.mount_with(QUICK, "scrub-every=0s,scrub-quiet=0s");
    let told = || text(sandbox.store().join("log")).contains("a check has found problems");
    wait_for("what was found", told);
    // The window of the backup is far: nothing but trouble has it run.
    wait_for("the backup", || {
        let status = mounted.command("status").arg("--json").run();
        !status.json()[0]["schedules"][0]["succeeded"].is_null()
    });
    mounted.umount();
}

#[test]
fn a_disk_that_is_almost_full_is_trouble() {
    let sandbox = Sandbox::new("danger-full");
    let disk = LoopFs::new(&sandbox, "disk", "ext4", 1024, &["-m", "0"]);
    let options = format!("{QUICK},min-free=400M");
    let store = disk.path().join("store");
    let store = ["-o", &options, "--store", store.to_str().expect("text")];
    let (_, mounted) = mount_at(&sandbox.work(), &store);
    mounted.settled();
    let world = World::of(sandbox, mounted);
    assert!(!world.is_sent());
    // History goes on, but not for long: less than a quarter more than what is left to others.
    let free = rustix::fs::statvfs(disk.path()).expect("statvfs");
    let free = free.f_bavail * free.f_frsize;
    let file = fs::File::create(disk.path().join("others")).expect("a file");
    sys::fallocate(&file, 0, 0, free - (450 << 20)).expect("room");
    wait_for("what is only here", || world.is_sent());
    World::has_come(&world.sandbox, "a", "a");
    assert_eq!(
        world.status()["left_out"]["unrecorded"],
        serde_json::json!([])
    );
    let World { mounted, .. } = world;
    mounted.umount();
    drop(disk);
}
