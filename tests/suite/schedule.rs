//! `schedule`: backups and snapshots that are made by themselves.

use crate::harness::{Cmd, Mounted, Run, Sandbox, text, wait_for, write};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const QUICK: &str = "interval=200ms,settle=50ms";

struct World {
    mounted: Mounted,
    password: PathBuf,
    /// Last: the mount goes before its folder.
    sandbox: Sandbox,
}

impl World {
    fn new(name: &str) -> World {
        let sandbox = Sandbox::new(name);
        let password = sandbox.join("password");
        write(&password, "correct horse\n");
        let mounted = sandbox.mount(QUICK);
        World {
            mounted,
            password,
            sandbox,
        }
    }

    fn schedule(&self, more: &[&str]) -> Run {
        schedule(&self.sandbox, more)
    }

    /// Adds a backup to a place of that name.
    fn backup(&self, name: &str, when: &[&str]) -> Run {
        backup(&self.sandbox, name, when)
    }

    fn status(&self) -> Value {
        let run = self.mounted.command("status").arg("--json").run();
        run.json().remove(0)
    }

    /// What status says of one of them.
    fn line(&self, number: u64) -> Value {
        let status = self.status();
        let all = status["schedules"].as_array().cloned().unwrap_or_default();
        let is = |line: &Value| line["number"] == number;
        all.into_iter().find(is).unwrap_or_default()
    }

    fn sets(&self, name: &str) -> usize {
        sets(&self.sandbox, name)
    }

    /// What a file of a backup holds.
    fn came_back(&self, name: &str, file: &str) -> Option<String> {
        let to = self.sandbox.join("again");
        let recover = Cmd::rewindfs().arg("recover").arg(self.sandbox.join(name));
        let recover = recover.arg("--password-file").arg(&self.password);
        recover.arg("--to").arg(&to).run().ok();
        let held = to.join(file).exists().then(|| text(to.join(file)));
        fs::remove_dir_all(&to).expect("rm -r");
        fs::remove_dir_all(self.sandbox.join(".again.rewind")).expect("rm -r");
        held
    }
}

fn schedule(sandbox: &Sandbox, more: &[&str]) -> Run {
    let command = Cmd::rewindfs().arg("schedule").arg(sandbox.work());
    command.args(more).run()
}

fn backup(sandbox: &Sandbox, name: &str, when: &[&str]) -> Run {
    let (place, password) = (sandbox.join(name), sandbox.join("password"));
    let command = Cmd::rewindfs().arg("schedule").arg(sandbox.work());
    let command = command.args(["add", "--backup"]).arg(place);
    let command = command.arg("--password-file").arg(password);
    command.args(when).run()
}

fn sets(sandbox: &Sandbox, name: &str) -> usize {
    let command = Cmd::rewindfs().arg("backups").arg(sandbox.join(name));
    let command = command.arg("--password-file").arg(sandbox.join("password"));
    command.arg("--json").run().ok().json().len()
}

#[test]
fn a_backup_is_made_by_itself_and_what_was_missed_is_caught_up() {
    let world = World::new("schedule-every");
    write(world.mounted.join("a"), "one");
    world
        .backup("copy", &["--every", "2s"])
        .ok()
        .says("schedule 1: backup to file://")
        .says("every 2s");
    wait_for("the first", || !world.line(1)["succeeded"].is_null());
    assert_eq!(world.came_back("copy", "a").as_deref(), Some("one"));
    write(world.mounted.join("a"), "two");
    let before = world.line(1)["succeeded"].clone();
    wait_for("another", || world.line(1)["succeeded"] != before);
    wait_for("the change", || {
        world.came_back("copy", "a").as_deref() == Some("two")
    });
    let list = world.schedule(&["list"]).ok().says("  1  backup to");
    // By when that is: another one may be due, or under way.
    let stands = ["; next ", "; due since ", "; under way since "];
    assert!(
        stands.iter().any(|how| list.out.contains(how)),
        "{}",
        list.out
    );
    world
        .mounted
        .command("list")
        .arg("--log")
        .run()
        .says("schedule 1: backup to");
    let World {
        mounted,
        password,
        sandbox,
    } = world;
    mounted.umount().ok();
    // Its time comes while nobody is there.
    write(sandbox.work().join("a"), "three");
    std::thread::sleep(Duration::from_secs(3));
    let mounted = sandbox.mount(QUICK);
    let world = World {
        mounted,
        password,
        sandbox,
    };
    wait_for("what was missed", || {
        world.came_back("copy", "a").as_deref() == Some("three")
    });
    world.schedule(&["remove", "1"]).ok();
    assert_eq!(world.status()["schedules"], Value::Null);
    world
        .mounted
        .command("list")
        .arg("--log")
        .run()
        .says("no schedule 1 any more");
    world
        .schedule(&["remove", "1"])
        .exits(2)
        .says("there is no schedule 1");
}

#[test]
fn events_begin_it() {
    let world = World::new("schedule-events");
    world.backup("named", &["--on", "snapshot"]).ok();
    world
        .backup("bytes", &["--on", "bytes:100K", "--full"])
        .ok();
    let sign = world.sandbox.join("flag");
    let command = format!("success:test -e {}", sign.display());
    world.backup("sign", &["--on", &command]).ok();
    world.backup("commit", &["--on", "commit"]).ok();
    write(world.mounted.join("a"), "a");
    world.mounted.sync();
    wait_for("a commit", || !world.line(4)["succeeded"].is_null());
    for number in 1..4 {
        assert_eq!(world.line(number)["succeeded"], Value::Null, "{number}");
    }
    world.mounted.snapshot("s");
    wait_for("a snapshot", || !world.line(1)["succeeded"].is_null());
    write(world.mounted.join("b"), "b".repeat(150_000));
    world.mounted.sync();
    wait_for("bytes", || !world.line(2)["succeeded"].is_null());
    assert_eq!(world.line(3)["succeeded"], Value::Null);
    write(&sign, "");
    wait_for("a command", || !world.line(3)["succeeded"].is_null());
    assert_eq!(world.sets("sign"), 1);
    assert_eq!(world.sets("bytes"), 1);
}

#[test]
fn snapshots_are_made_and_so_many_stay() {
    let world = World::new("schedule-snapshots");
    world.mounted.snapshot("by-hand");
    let add = [
        "add",
        "--snapshot",
        "auto-%Y",
        "--every",
        "1s",
        "--keep",
        "2",
    ];
    world.schedule(&add).ok().says("of which 2 stay");
    let made = || {
        let mut names = world.mounted.snapshots();
        names.retain(|name| name.starts_with("auto-"));
        names
    };
    let log = || world.mounted.command("list").arg("--log").run().out;
    wait_for("three of them", || log().matches("made auto-").count() >= 3);
    wait_for("the older ones to go", || {
        log().matches("deleted auto-").count() >= 1
    });
    wait_for("two of them", || made().len() == 2);
    world.schedule(&["remove", "1"]).ok();
    assert!(world.mounted.snapshots().contains(&"by-hand".to_owned()));
}

/// A part of the day that is not now.
fn closed() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let hour = now.expect("a clock").as_secs() / 3600 % 24;
    format!("{:02}:00-{:02}:30", (hour + 3) % 24, (hour + 4) % 24)
}

#[test]
fn outside_its_window_it_waits_and_says_so() {
    let world = World::new("schedule-window");
    let when = ["--every", "1s", "--window", &closed()];
    world.backup("copy", &when).ok();
    wait_for("its turn", || !world.line(1)["waits_until"].is_null());
    world
        .schedule(&["list"])
        .ok()
        .says("waits for its window until");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(world.sets("copy"), 0);
    // Who does not want to wait says so; then nothing is due.
    world
        .schedule(&["run", "1"])
        .ok()
        .says("schedule 1: file://");
    assert_eq!(world.sets("copy"), 1);
    // One that may go on slowly does not wait.
    let when = [&when[..], &["--limit", "1M"]].concat();
    world
        .backup("slow", &when)
        .ok()
        .says("outside of that at most");
    wait_for("it", || !world.line(2)["succeeded"].is_null());
}

#[test]
fn no_more_is_sent_than_the_limit_says() {
    let world = World::new("schedule-limit");
    let noise = |name: &str| {
        Cmd::sh("head -c 600K /dev/urandom > \"$0\"")
            .arg(world.mounted.join(name))
            .run()
            .ok();
    };
    noise("a");
    world.mounted.sync();
    let asked = Instant::now();
    world
        .backup("copy", &["--every", "1d", "--limit", "200K"])
        .ok();
    wait_for("it", || !world.line(1)["succeeded"].is_null());
    // What is sent last, of at most two seconds, goes without a wait behind it.
    assert!(
        asked.elapsed() >= Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    // The next one is of tomorrow.
    wait_for("the end to be known", || {
        world.schedule(&["list"]).ok().out.contains("; next ")
    });
    let replica = Cmd::rewindfs().arg("replica").arg("add");
    let replica = replica
        .arg(&world.mounted.dir)
        .arg(world.sandbox.join("replica"));
    let replica = replica.arg("--password-file").arg(&world.password);
    let asked = Instant::now();
    replica.args(["--limit", "200K"]).run().ok();
    let there = || world.status()["replicas"][0].clone();
    wait_for("the replica", || !there()["time"].is_null());
    assert!(
        asked.elapsed() >= Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(there()["limit"], 200 << 10);
}

#[test]
fn what_fails_is_told_and_tried_again() {
    let world = World::new("schedule-fails");
    world.backup("copy", &["--on", "commit"]).ok();
    write(world.mounted.join("a"), "a");
    world.mounted.sync();
    // None that is under way may make the place anew below.
    wait_for("it, and the last of it", || {
        let line = world.line(1);
        let rests = line["due_since"].is_null() && line["under_way_since"].is_null();
        rests && !line["succeeded"].is_null()
    });
    fs::rename(world.sandbox.join("copy"), world.sandbox.join("away")).expect("mv");
    write(world.mounted.join("a"), "b");
    world.mounted.sync();
    wait_for("the trouble", || !world.line(1)["trouble"].is_null());
    let status = world.mounted.command("status").run().exits(1);
    status
        .says("schedule 1 (backup to file://")
        .says("has failed since")
        .says("it was last done at")
        .says("rewindfs schedule DIR run 1");
    // At times it is being tried.
    wait_for("its next try", || {
        let list = world.schedule(&["list"]).exits(1);
        list.out.contains("tried again")
    });
    world.schedule(&["run"]).exits(2).says("copy");
    fs::rename(world.sandbox.join("away"), world.sandbox.join("copy")).expect("mv");
    wait_for("another try", || world.line(1)["trouble"].is_null());
    assert_eq!(world.came_back("copy", "a").as_deref(), Some("b"));
}

#[test]
fn what_can_never_be_done_is_refused() {
    let world = World::new("schedule-refused");
    for (when, says) in [
        (&["--at", "sometimes"][..], "is not a calendar expression"),
        (&["--at", "*-02-30"], "never comes"),
        (&["--at", "1990-01-01 00:00"], "does not come any more"),
        (&["--every", "0s"], "is not a span of time"),
        (&["--on", "monday"], "is nothing that happens"),
        (&["--on", "success:"], "say which command"),
        (
            &["--window", "1-5", "--at", "daily"],
            "is not a part of the day",
        ),
        (&["--keep", "1", "--at", "daily"], "cannot be used with"),
        (&[], "required arguments"),
    ] {
        world.backup("copy", when).exits(2).says(says);
    }
    let snapshot = |name: &str, when: [&str; 2]| {
        world.schedule(&["add", "--snapshot", name, when[0], when[1]])
    };
    snapshot("s", ["--on", "snapshot"])
        .exits(2)
        .says("would never end");
    snapshot("a/b", ["--at", "daily"]).exits(2);
    let none = Cmd::rewindfs().arg("schedule").arg(world.sandbox.work());
    let none = none.args(["add", "--at", "daily", "--backup"]);
    let none = none
        .arg(world.sandbox.join("copy"))
        .env("REWINDFS_PASSWORD", "x");
    none.run().exits(2).says("--password-file");
    world
        .schedule(&["list"])
        .ok()
        .says("nothing is done by itself");
}
