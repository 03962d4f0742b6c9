//! `drill`: whether what is elsewhere comes back is tried, without what this machine has.

use crate::harness::run::wait;
use crate::harness::{
    Cmd, Mounted, Run, Sandbox, noise, one_of_everything, sys, text, wait_for, write,
};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod alone;
mod pull;

struct World {
    mounted: Mounted,
    /// Last: the mount goes before its folder.
    sandbox: Sandbox,
}

impl World {
    /// A directory whose backup is in `copy`.
    fn new(name: &str) -> World {
        let sandbox = Sandbox::new(name);
        write(sandbox.join("password"), "correct horse\n");
        fs::create_dir(sandbox.join("room")).expect("mkdir");
        let mounted = sandbox.mount("");
        one_of_everything(&sandbox.work());
        for n in 0..40 {
            write(mounted.join(&format!("file-{n}")), noise(n, 3000));
        }
        write(mounted.join("large"), noise(99, 3 << 20));
        let world = World { mounted, sandbox };
        world.backup();
        world
    }

    fn copy(&self) -> PathBuf {
        self.sandbox.join("copy")
    }

    fn with_password(&self, command: Cmd) -> Cmd {
        let command = command.arg("--password-file");
        let command = command.arg(self.sandbox.join("password"));
        command.env("XDG_STATE_HOME", self.sandbox.join("state"))
    }

    fn backup(&self) {
        let command = Cmd::rewindfs().arg("backup").arg(self.sandbox.work());
        self.with_password(command.arg("--to").arg(self.copy()))
            .run()
            .ok();
    }

    fn drill_command(&self, what: &Path, more: &[&str]) -> Cmd {
        let command = self.with_password(Cmd::rewindfs().arg("drill").arg(what));
        command
            .arg("--to")
            .arg(self.sandbox.join("room"))
            .args(more)
    }

    /// Of the directory.
    fn drill(&self, more: &[&str]) -> Run {
        self.drill_command(&self.mounted.dir, more).run()
    }

    /// Of the place.
    fn drill_place(&self, more: &[&str]) -> Run {
        self.drill_command(&self.copy(), more).run()
    }

    fn list(&self) -> Run {
        self.mounted.command("drill").arg("--list").run()
    }

    /// What drills have left.
    fn left(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.sandbox.join("room")).expect("a folder");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    }

    /// The objects of a kind, the largest first.
    fn objects(&self, kind: &str) -> Vec<PathBuf> {
        let line = format!(
            "find {}/{kind} -type f -printf '%s %p\\n' | sort -rn | cut -d' ' -f2-",
            self.copy().display()
        );
        Cmd::sh(&line)
            .run()
            .ok()
            .lines()
            .iter()
            .map(PathBuf::from)
            .collect()
    }
}

#[test]
fn a_directory_comes_back_where_neither_it_nor_its_store_can_be_seen() {
    let world = World::new("drill");
    let (work, store) = (world.sandbox.work(), world.sandbox.store());
    let check = format!(
        "test -f file-7 && test -s large && test ! -e {store}/format && test ! -e {work}/file-7 \
         && test -z \"$(ls -A {work})\" && stat -c %a .. > {out}",
        store = store.display(),
        work = work.display(),
        out = world.sandbox.join("mode").display(),
    );
    let run = world.drill(&["--", "sh", "-c", &check]).ok();
    run.says("came back as recorded").says("usable again after");
    assert_eq!(text(world.sandbox.join("mode")).trim(), "700");
    assert_eq!(world.left(), Vec::<PathBuf>::new());
    // It was not taken away from anybody else.
    assert!(world.mounted.join("file-7").exists() && store.join("format").exists());
    let report = world.drill(&["--json"]).ok().json().remove(0);
    assert_eq!(
        (&report["ok"], &report["kept_apart"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    assert!(report["files"].as_u64().expect("files") > 41, "{report}");
    assert!(
        report["bytes"].as_u64().expect("bytes") > 3 << 20,
        "{report}"
    );
    let phases = &report["phases"];
    let sum: u64 = ["list_ms", "fetch_ms", "verify_ms", "write_ms", "check_ms"]
        .iter()
        .map(|phase| phases[phase].as_u64().expect("a phase"))
        .sum();
    assert!(report["rto_ms"].as_u64().expect("rto") >= sum, "{report}");
    let lines = world.list().ok();
    assert_eq!(lines.lines().len(), 2, "{}", lines.out);
    // It needs no mount, and the log goes on.
    let World { mounted, sandbox } = world;
    mounted.umount().ok();
    let drill = Cmd::rewindfs().arg("drill").arg(sandbox.work());
    let drill = drill.arg("--password-file").arg(sandbox.join("password"));
    drill.arg("--to").arg(sandbox.join("room")).run().ok();
    let list = Cmd::rewindfs()
        .arg("drill")
        .arg(sandbox.work())
        .arg("--list");
    assert_eq!(list.run().ok().lines().len(), 3);
}

#[test]
fn what_does_not_come_back_is_found_and_stays_in_the_log() {
    let world = World::new("drill-fails");
    world
        .drill(&["--", "false"])
        .exits(1)
        .says("the check command failed");
    world.list().exits(1).says("FAILED");
    let pack = world.objects("packs").remove(0);
    let bytes = fs::read(&pack).expect("a pack");
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    write(&pack, &flipped);
    let name = pack
        .file_name()
        .expect("a name")
        .to_str()
        .expect("hexadecimal");
    world.drill(&[]).exits(1).says("FAILED").says(name);
    fs::remove_file(&pack).expect("rm");
    world
        .drill(&[])
        .exits(1)
        .says(name)
        .says("missing or cut off");
    assert_eq!(world.left(), Vec::<PathBuf>::new());
    write(&pack, &bytes);
    world.drill(&[]).ok();
    let list = world.list().ok();
    assert_eq!(list.lines().len(), 4, "{}", list.out);
    let from = world.sandbox.join("nowhere");
    world
        .drill(&["--from", from.to_str().expect("text")])
        .exits(1)
        .says("FAILED");
}

#[test]
fn a_place_is_tried_from_any_machine_and_the_log_is_that_of_the_user() {
    let world = World::new("drill-place");
    let drill = Cmd::rewindfs().arg("drill").arg(world.copy());
    let run = world.with_password(drill).run();
    run.ok().says("came back as recorded");
    let password = world.sandbox.join("password");
    write(&password, "another\n");
    world.drill_place(&[]).exits(12).says("password");
    write(&password, "correct horse\n");
    let list = Cmd::rewindfs().arg("drill").arg(world.copy()).arg("--list");
    let list = list
        .env("XDG_STATE_HOME", world.sandbox.join("state"))
        .run();
    assert_eq!(list.exits(1).lines().len(), 2);
    let log = world.sandbox.join("state/rewindfs/drills");
    let mode = fs::metadata(&log).expect("a log").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // How it ends is noted beside it: what was cut off is missed.
    let whole = text(&log);
    let first = whole.lines().next().expect("a line").len() + 1;
    write(&log, &whole[..first]);
    let list = || {
        let list = Cmd::rewindfs().arg("drill").arg(world.copy()).arg("--list");
        list.env("XDG_STATE_HOME", world.sandbox.join("state"))
            .run()
    };
    list()
        .exits(1)
        .says("of 2 lines of the log of drills only 1");
    write(&log, &whole);
    assert!(!list().out.contains("of 2 lines"));
    // Nothing of it is in the store of a directory.
    world.list().ok().says("there were none yet");
    world
        .drill(&["--to", world.mounted.dir.to_str().expect("text")])
        .exits(2)
        .says("choose another --to FOLDER");
}

#[test]
fn a_sample_is_of_some_files_and_the_same_with_the_same_number() {
    let world = World::new("drill-sample");
    let tried = |seed: &str| {
        let names = world.sandbox.join("names");
        let check = format!("find . -type f | sort > {}", names.display());
        let more = [
            "--json", "--sample", "20", "--seed", seed, "--", "sh", "-c", &check,
        ];
        let report = world.drill(&more).ok().json().remove(0);
        assert_eq!(report["sample_percent"], 20);
        let names = text(&names);
        let count = names.lines().count() as u64;
        assert!((1..40).contains(&count), "{names}");
        assert_eq!(report["files"].as_u64(), Some(count));
        names
    };
    let one = tried("1");
    assert_eq!(one, tried("1"));
    assert_ne!(one, tried("2"));
    assert_eq!(world.left(), Vec::<PathBuf>::new());
}

#[test]
fn of_a_sample_only_what_it_needs_is_fetched() {
    let world = World::new("drill-part");
    for n in 0..128 {
        let noise = noise(1000 + n, 256 << 10);
        write(world.mounted.join(&format!("noise-{n}")), noise);
    }
    world.backup();
    let more = ["--json", "--sample", "5", "--seed", "1"];
    let there = format!("ssh://host{}", world.copy().display());
    for place in [world.copy(), there.into()] {
        let drill = world.drill_command(&place, &more);
        let drill = drill.env("REWINDFS_RSH", world.sandbox.rsh());
        let report = drill.run().ok().json().remove(0);
        let (bytes, fetched) = (&report["bytes"], &report["fetched_bytes"]);
        let (bytes, fetched) = (
            bytes.as_u64().expect("bytes"),
            fetched.as_u64().expect("bytes"),
        );
        assert!(bytes > 1 << 20 && fetched >= bytes, "{report}");
        assert!(fetched < (32 << 20) * 15 / 100, "{report}");
    }
}

#[test]
fn what_a_drill_leaves_that_is_killed_the_next_one_clears() {
    let world = World::new("drill-killed");
    let under_way = world.sandbox.join("under-way");
    let check = format!("touch {}; sleep 1000", under_way.display());
    let mut child = world
        .drill_command(&world.mounted.dir, &["--", "sh", "-c", &check])
        .spawn();
    wait_for("the check command", || under_way.exists());
    let left = world.left();
    assert_eq!(left.len(), 1);
    // One that is at work is not in the way of another.
    world.drill(&[]).ok();
    assert_eq!(world.left(), left);
    child.kill().expect("kill");
    assert!(wait(&mut child, Duration::from_secs(60)).is_some());
    assert!(left[0].join("files/file-7").exists());
    wait_for("the end of its processes", || {
        world.drill(&[]).ok();
        world.left().is_empty()
    });
    // Only those that ended are told of.
    assert!(world.list().ok().lines().len() >= 2);
    // One that is interrupted clears by itself.
    fs::remove_file(&under_way).expect("rm");
    let mut child = world
        .drill_command(&world.copy(), &["--", "sh", "-c", &check])
        .spawn();
    wait_for("the check command", || under_way.exists());
    sys::kill(i32::try_from(child.id()).expect("a pid"), libc::SIGINT);
    let status = wait(&mut child, Duration::from_secs(60)).expect("an end");
    assert_eq!(status.code(), Some(130));
    assert_eq!(world.left(), Vec::<PathBuf>::new());
}

#[test]
fn who_changes_the_log_is_noticed_by_verify_too() {
    let world = World::new("drill-log");
    world.drill(&["--", "false"]).exits(1);
    world.drill(&[]).ok();
    world.mounted.command("verify").run().ok();
    let log = world.sandbox.store().join("drills");
    let whole = text(&log);
    write(&log, whole.replacen("\"ok\":false", "\"ok\":true", 1));
    world.list().exits(1).says("line 2 of the log of drills");
    world
        .mounted
        .command("verify")
        .run()
        .exits(1)
        .says("line 2 of the log of drills");
    // The failure is taken out, and what is after it: a later drill does not hide that.
    write(&log, "");
    world.list().exits(1).says("of 2 lines");
    world.drill(&[]).ok();
    world.list().exits(1).says("of 2 lines");
    world
        .mounted
        .command("verify")
        .run()
        .exits(1)
        .says("of 2 lines");
}
