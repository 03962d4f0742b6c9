//! `hook`: commands that are run before and after snapshots, and when something happens.

use crate::harness::{Cmd, Mounted, Run, Sandbox, sys, text, wait_for, write};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const OWNER: u32 = 1234;
const OTHER: u32 = 1235;

struct World {
    mounted: Mounted,
    /// Where hooks write what they were told.
    out: PathBuf,
    sandbox: Sandbox,
}

impl World {
    /// A directory of an ordinary user, mounted by root.
    fn new(name: &str) -> World {
        let sandbox = Sandbox::new(name);
        chown(sandbox.work(), Some(OWNER), Some(OWNER)).expect("chown");
        let out = sandbox.join("out");
        fs::create_dir(&out).expect("mkdir");
        fs::set_permissions(&out, PermissionsExt::from_mode(0o777)).expect("chmod");
        let mount = Cmd::rewindfs().arg("mount").arg(sandbox.work());
        let mount = mount.args(["-o", "interval=200ms,settle=50ms"]);
        mount.env("REWINDFS_PASSWORD", "secret").run().ok();
        let mounted = Mounted::found(sandbox.work(), sandbox.work());
        mounted.settled();
        World {
            mounted,
            out,
            sandbox,
        }
    }

    fn hook(&self, args: &[&str]) -> Run {
        let command = Cmd::rewindfs().arg("hook").arg(&self.mounted.dir);
        command.args(args).run()
    }

    /// Has what happened written into a file of that name.
    fn noted(&self, event: &str, to: &str) -> PathBuf {
        let path = self.out.join(to);
        // Two of them may be running at once.
        let command = format!("env > {0}.$$; mv {0}.$$ {0}", path.display());
        self.hook(&["set", event, &command]).ok();
        path
    }

    fn snapshot(&self, name: &str) -> Run {
        self.mounted.command("snapshot").arg(name).run()
    }

    fn line(&self, event: &str) -> Value {
        let lines = self.hook(&["list", "--json"]).json();
        let is = |line: &Value| line["event"] == event;
        lines.into_iter().find(is).unwrap_or_default()
    }
}

fn tells(path: &PathBuf, line: &str) {
    wait_for(line, || path.exists());
    let told = text(path);
    assert!(told.lines().any(|one| one == line), "{line} in {told}");
}

#[test]
fn what_is_done_before_a_snapshot_is_in_it_and_runs_as_the_owner() {
    let world = World::new("hooks-before");
    let dump = world.mounted.join("dump");
    let before = format!(
        "cat {0} > {1}/seen 2>&1; echo $REWINDFS_SNAPSHOT > {0}; id -u > {1}/uid",
        dump.display(),
        world.out.display()
    );
    write(&dump, "old\n");
    chown(&dump, Some(OWNER), Some(OWNER)).expect("chown");
    let set = world.hook(&["set", "before-snapshot", &before]);
    set.ok().says("is run as the owner of");
    let after = world.noted("after-snapshot", "after");
    world.snapshot("one").ok();
    assert_eq!(text(world.mounted.past("one", "dump")), "one\n");
    assert_eq!(text(world.out.join("seen")), "old\n");
    assert_eq!(text(world.out.join("uid")), format!("{OWNER}\n"));
    tells(&after, "REWINDFS_SNAPSHOT=one");
    tells(&after, "REWINDFS_RESULT=made");
    tells(&after, "REWINDFS_HOOK=after-snapshot");
    // Nothing of who mounted.
    assert!(!text(&after).contains("secret"), "{}", text(&after));
    fs::create_dir(world.mounted.past("two", "")).expect("mkdir");
    assert_eq!(text(world.mounted.past("two", "dump")), "two\n");
    let dir = format!("REWINDFS_DIR={}", world.mounted.dir.display());
    wait_for("the second", || text(&after).contains("SNAPSHOT=two"));
    tells(&after, &dir);
    world
        .hook(&["list"])
        .ok()
        .says("before-snapshot: ")
        .says("; last ");
    world
        .mounted
        .command("list")
        .arg("--log")
        .run()
        .says("hook before-snapshot: ");
    world.hook(&["remove", "before-snapshot"]).ok();
    world
        .hook(&["remove", "before-snapshot"])
        .exits(2)
        .says("there is no hook");
    world.snapshot("three").ok();
    assert_eq!(text(world.mounted.past("three", "dump")), "two\n");
    wait_for("the third", || text(&after).contains("SNAPSHOT=three"));
    // Without a mount the command itself runs it.
    let World {
        mounted, sandbox, ..
    } = world;
    mounted.umount().ok();
    fs::remove_file(&after).expect("rm");
    let snapshot = Cmd::rewindfs().arg("snapshot").arg(sandbox.work());
    snapshot.arg("four").run().ok();
    tells(&after, "REWINDFS_SNAPSHOT=four");
}

#[test]
fn one_that_fails_aborts_or_is_noted() {
    let world = World::new("hooks-fail");
    let after = world.noted("after-snapshot", "after");
    let fails = "echo no database >&2; exit 3";
    world.hook(&["set", "before-snapshot", fails]).ok();
    world
        .snapshot("one")
        .exits(2)
        .says("the hook before-snapshot failed")
        .says("no database");
    tells(&after, "REWINDFS_RESULT=failed");
    let refused = fs::create_dir(world.mounted.past("two", ""));
    assert_eq!(sys::errno(&refused), libc::ECANCELED);
    assert!(!world.mounted.snapshots().contains(&"one".to_owned()));
    assert!(!world.mounted.snapshots().contains(&"two".to_owned()));
    assert!(
        world.line("before-snapshot")["trouble"]
            .to_string()
            .contains("no database")
    );
    let status = world.mounted.command("status").run().exits(1);
    status.says("the hook before-snapshot failed the last time");
    let note = ["set", "before-snapshot", fails, "--on-failure", "note"];
    world.hook(&note).ok();
    world.snapshot("three").ok();
    fs::create_dir(world.mounted.past("four", "")).expect("mkdir");
    let list = world.mounted.command("list").run().ok();
    assert_eq!(list.out.matches("no database").count(), 2, "{}", list.out);
    world.hook(&["set", "before-snapshot", "true"]).ok();
    world.snapshot("five").ok();
    world.mounted.command("status").run().ok();
}

#[test]
fn one_that_hangs_or_waits_for_the_snapshot_keeps_nobody_for_long() {
    let world = World::new("hooks-hang");
    let began = Instant::now();
    let hang = ["set", "before-snapshot", "sleep 3600", "--timeout", "500ms"];
    world.hook(&hang).ok();
    let refused = world.snapshot("one").exits(2);
    // The second by who waits for it, when it is not begun in time.
    let late = ["took more than 500 ms", "took too long and was given up"];
    assert!(
        late.iter().any(|why| refused.err.contains(why)),
        "{}",
        refused.err
    );
    // It looks at what the kernel has locked until the snapshot is made: that can't come about.
    let inside = format!("ls {}", world.mounted.point.join(".snapshots").display());
    world
        .hook(&["set", "before-snapshot", &inside, "--timeout", "1s"])
        .ok();
    for name in ["two", "three"] {
        let refused = fs::create_dir(world.mounted.past(name, ""));
        let errno = sys::errno(&refused);
        assert!([libc::ECANCELED, libc::EAGAIN].contains(&errno), "{errno}");
    }
    // Nor if it makes a directory there itself.
    let itself = format!(
        "mkdir {}",
        world.mounted.point.join(".snapshots/own").display()
    );
    world
        .hook(&["set", "before-snapshot", &itself, "--timeout", "1s"])
        .ok();
    let refused = fs::create_dir(world.mounted.past("four", ""));
    assert!(refused.is_err());
    world.hook(&["set", "before-snapshot", "true"]).ok();
    assert!(began.elapsed() < Duration::from_secs(60));
    // Nor does one that is running when the mount is taken off outlive it.
    let left = world.out.join("left");
    let lasts = format!("echo $$ > {}; sleep 3600", left.display());
    world
        .hook(&["set", "after-snapshot", &lasts, "--timeout", "1h"])
        .ok();
    world.snapshot("last").ok();
    wait_for("it", || left.exists() && !text(&left).is_empty());
    // Now, since the next ones write it anew.
    let pid = text(&left).trim().to_owned();
    // Nobody is left who waits, and the mount serves.
    fs::create_dir(world.mounted.past("five", "")).expect("mkdir");
    write(world.mounted.join("a"), "a");
    world.snapshot("six").ok();
    assert_eq!(text(world.mounted.past("six", "a")), "a");
    world.mounted.umount().ok();
    wait_for("its end", || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    });
}

#[test]
fn what_happens_is_told() {
    let world = World::new("hooks-events");
    let commit = world.noted("on-commit", "commit");
    let alarm = world.noted("on-alarm", "alarm");
    let lag = world.noted("on-lag", "lag");
    let drill = world.noted("on-drill", "drill");
    for number in 0..60 {
        write(
            world.mounted.join(&format!("f{number}")),
            "content ".repeat(20),
        );
    }
    world.mounted.sync();
    tells(&commit, "REWINDFS_HOOK=on-commit");
    world
        .mounted
        .command("policy")
        .args(["--alarm", "50"])
        .run()
        .ok();
    Cmd::sh("rm -f f*").within(&world.mounted.point).run().ok();
    tells(&alarm, "REWINDFS_HOOK=on-alarm");
    assert!(
        text(&alarm).contains("REWINDFS_REASON=rm "),
        "{}",
        text(&alarm)
    );
    let copy = world.sandbox.join("copy");
    let add = Cmd::rewindfs()
        .arg("replica")
        .arg("add")
        .arg(&world.mounted.dir);
    add.arg(&copy).arg("--no-encryption").run().ok();
    let drilled = Cmd::rewindfs().arg("drill").arg(&world.mounted.dir).run();
    tells(&drill, "REWINDFS_HOOK=on-drill");
    tells(
        &drill,
        if drilled.code == 0 {
            "REWINDFS_RESULT=ok"
        } else {
            "REWINDFS_RESULT=failed"
        },
    );
    assert!(!lag.exists());
    fs::rename(&copy, world.sandbox.join("away")).expect("mv");
    write(world.mounted.join("a"), "a");
    world.mounted.sync();
    tells(&lag, &format!("REWINDFS_PLACE=file://{}", copy.display()));
    let gap = world.noted("on-gap", "gap");
    let World {
        mounted, sandbox, ..
    } = world;
    mounted.umount().ok();
    let no_room = sandbox.mount_now("min-free=900000G");
    tells(&gap, "REWINDFS_RESULT=began");
    no_room.umount().ok();
}

#[test]
fn only_root_and_the_owner_set_one_and_only_for_themselves() {
    let world = World::new("hooks-users");
    let program = world.sandbox.program();
    let by = |uid: u32, args: &[&str]| {
        let uid = uid.to_string();
        let setpriv =
            Cmd::new("setpriv").args(["--reuid", &uid, "--regid", &uid, "--clear-groups"]);
        setpriv
            .arg(&program)
            .arg("hook")
            .arg(&world.mounted.dir)
            .args(args)
            .run()
    };
    let mark = world.out.join("mark");
    let command = format!("id -u > {}", mark.display());
    by(OTHER, &["set", "before-snapshot", &command])
        .exits(2)
        .says("may not do this");
    by(OTHER, &["list"]).exits(2).says("may not do this");
    by(OWNER, &["set", "before-snapshot", &command]).ok();
    world.snapshot("one").ok();
    assert_eq!(text(&mark), format!("{OWNER}\n"));
    // It is root's now: what the other one has set does not become root's.
    fs::remove_file(&mark).expect("rm");
    chown(&world.mounted.point, Some(0), Some(0)).expect("chown");
    world
        .snapshot("two")
        .exits(2)
        .says("who does not own the directory");
    assert!(!mark.exists());
    world.hook(&["set", "before-snapshot", &command]).ok();
    world.snapshot("three").ok();
    assert_eq!(text(&mark), "0\n");
    world
        .hook(&["set", "on-alarm", "true", "--on-failure", "note"])
        .exits(2)
        .says("for before-snapshot");
    world
        .hook(&["set", "on-alarm", " "])
        .exits(2)
        .says("say which command");
}
