//! What runs by itself: drills of replicas, signs of life; and what is told of them, here and from
//! another machine.

use crate::harness::mount::names;
use crate::harness::{Cmd, Mounted, Run, Sandbox, sys, wait_for, write};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

struct World {
    mounted: Mounted,
    /// Last: the mount goes before its folder.
    sandbox: Sandbox,
}

impl World {
    /// With a replica in `copy`.
    fn new(name: &str, hooks: &str, add: &[&str]) -> World {
        let sandbox = Sandbox::new(name);
        write(sandbox.join("password"), "correct horse\n");
        let mounted = sandbox.mount_with("interval=200ms,settle=50ms", hooks);
        write(mounted.join("file"), "content");
        // The first set has it.
        mounted.sync();
        let world = World { mounted, sandbox };
        world.add(add).ok();
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

    fn add(&self, more: &[&str]) -> Run {
        let command = Cmd::rewindfs()
            .arg("replica")
            .arg("add")
            .arg(&self.mounted.dir);
        self.with_password(command.arg(self.copy()))
            .args(more)
            .run()
    }

    fn status(&self) -> Value {
        let run = self.mounted.command("status").arg("--json").run();
        run.json().remove(0)
    }

    fn line(&self) -> Value {
        self.status()["replicas"][0].clone()
    }

    /// From anywhere.
    fn place(&self) -> (Run, Value) {
        let command = || Cmd::rewindfs().arg("status").arg(self.copy());
        let json = self.with_password(command().arg("--json")).run();
        (self.with_password(command()).run(), json.json().remove(0))
    }

    fn backups(&self, more: &[&str]) -> Run {
        let command = Cmd::rewindfs().arg("backups").arg(self.copy());
        self.with_password(command).args(more).run()
    }
}

#[test]
fn replicas_are_tried_by_themselves_and_one_that_fails_is_a_problem() {
    let world = World::new(
        "drill-alone",
        "",
        &["--drill-every", "2s", "--drill-sample", "100"],
    );
    wait_for("a drill", || !world.line()["drills"]["last"].is_null());
    let line = world.line();
    assert_eq!(line["drills"]["last"]["ok"], true, "{line}");
    assert_eq!(line["drills"]["every"], 2);
    assert!(!line["drills"]["verified"].is_null());
    world
        .mounted
        .command("status")
        .run()
        .ok()
        .says("; tried ")
        .says("usable again after");
    let list = world
        .mounted
        .command("drill")
        .args(["--list", "--json"])
        .run()
        .ok();
    let first = &list.json()[0];
    assert_eq!(
        (&first["by_itself"], &first["kept_apart"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    // What is there does not come back any more, though it is still written to.
    let pack = format!("find {}/packs -type f | head -n 1", world.copy().display());
    let pack = PathBuf::from(Cmd::sh(&pack).run().ok().out.trim());
    let bytes = fs::read(&pack).expect("a pack");
    write(&pack, vec![0; bytes.len()]);
    wait_for("a drill that fails", || {
        world.line()["drills"]["last"]["ok"] == false
    });
    let status = world.mounted.command("status").run().exits(1);
    status
        .says("did not come back as it should")
        .says("rewindfs drill DIR");
    // Where it is and what is wrong with it is for the owner alone.
    let (work, program) = (world.sandbox.work(), world.sandbox.program());
    let told = sys::as_user(65534, 65534, &[], || {
        Cmd::new(&program).arg("status").arg(&work).run()
    });
    let told = told.exits(1).says("what is at elsewhere did not come back");
    assert!(
        !told.out.contains("/copy") && !told.out.contains("packs"),
        "{}",
        told.out
    );
    write(&pack, &bytes);
    wait_for("a drill that is right", || {
        world.line()["drills"]["last"]["ok"] == true
    });
    world.mounted.command("status").run().ok();
    // Other terms hold at once; and none runs in a place that is none any more.
    world.add(&["--drill-every", "0"]).ok();
    wait_for("other terms", || world.line()["drills"]["every"].is_null());
    let url = world.copy();
    let remove = Cmd::rewindfs()
        .args(["replica", "remove"])
        .arg(&world.mounted.dir);
    remove.arg(&url).run().ok();
    world.add(&[]).ok();
    assert_eq!(world.line()["drills"]["every"], 7 * 24 * 3600);
}

#[test]
fn who_sends_is_heard_at_the_place_and_missed_when_it_is_silent() {
    // It is silent after three that did not come: long enough for a slow machine.
    let world = World::new("drill-beat", "beat=5s", &[]);
    let beat = || world.place().1["heartbeat"].clone();
    wait_for("a sign of life", || !beat().is_null());
    let first = beat()["at"].as_str().expect("a time").to_owned();
    // Though nothing is changed.
    wait_for("another", || beat()["at"].as_str() > Some(&first));
    let mut beats = names(&world.copy().join("beats"));
    // One that is just being written has another name.
    beats.retain(|name| !name.contains('#'));
    assert!(beats.len() <= 3, "{beats:?}");
    let (page, json) = world.place();
    page.ok()
        .says(", encrypted")
        .says("heartbeat")
        .says("drill         never");
    assert!(json["sets"].as_u64() >= Some(1), "{json}");
    assert_eq!(json["newest"]["files"], 1);
    assert_eq!(json["heartbeat"]["silent"], false);
    assert!(json["recoverable_to"].as_str() >= json["recoverable_from"].as_str());
    assert!(json["verified"].is_null());
    // Every object is read, and that is remembered there.
    world.backups(&["--verify"]).ok().says("  read 2");
    world.backups(&[]).ok().says("  read 2");
    assert!(!world.place().1["verified"].is_null());
    let drill = Cmd::rewindfs().arg("drill").arg(world.copy());
    let drill = world
        .with_password(drill)
        .arg("--to")
        .arg(world.sandbox.path());
    drill.args(["--", "false"]).run().exits(1);
    world
        .place()
        .0
        .exits(1)
        .says("FAILED")
        .says("the check command failed");
    let drill = Cmd::rewindfs().arg("drill").arg(world.copy());
    let drill = world
        .with_password(drill)
        .arg("--to")
        .arg(world.sandbox.path());
    drill.run().ok();
    world.place().0.ok().says(": right, usable again after");
    // It dies, and nobody there can say so.
    let World { mounted, sandbox } = world;
    let (password, copy, state) = (
        sandbox.join("password"),
        sandbox.join("copy"),
        sandbox.join("state"),
    );
    mounted.kill();
    let status = || {
        let command = Cmd::rewindfs()
            .arg("status")
            .arg(&copy)
            .env("XDG_STATE_HOME", &state);
        command.arg("--password-file").arg(&password).run()
    };
    wait_for("its silence", || status().code == 1);
    status().says("is silent since").says("every 5s");
    // Taken off in order, it says so.
    let mounted = sandbox.mount_with("", "beat=1s");
    wait_for("a sign of life", || status().code == 0);
    mounted.umount().ok();
    status().says("unmounted then");
    wait_for("its silence", || status().code == 1);
    status().says("it is not mounted since");
}
