//! `replica`: copies elsewhere that keep themselves up to date, and what is there when the disk is
//! not any more.

use crate::harness::compare::{Except, Tree};
use crate::harness::{
    Cmd, Mounted, Run, Sandbox, one_of_everything, script_at, sized, sys, text, wait_for, write,
};
use jiff::Timestamp;
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const RECOVERED: Except = Except {
    ctime: true,
    mtime: false,
    holes: false,
    dir_links: false,
};

struct World {
    mounted: Mounted,
    password: PathBuf,
    /// Last: the mount goes before its folder.
    sandbox: Sandbox,
}

impl World {
    fn new(name: &str, options: &str) -> World {
        let sandbox = Sandbox::new(name);
        let password = sandbox.join("password");
        write(&password, "correct horse\n");
        let mounted = sandbox.mount(options);
        World {
            sandbox,
            mounted,
            password,
        }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.sandbox.join(name)
    }

    fn replica(&self, what: &str, more: &[&str]) -> Run {
        let command = Cmd::rewindfs().arg("replica").arg(what);
        command.arg(&self.mounted.dir).args(more).run()
    }

    fn add(&self, name: &str, more: &[&str]) -> Run {
        let command = Cmd::rewindfs().arg("replica").arg("add");
        let command = command.arg(&self.mounted.dir).arg(self.place(name));
        let command = command.arg("--password-file").arg(&self.password);
        command.args(more).run()
    }

    fn recover(&self, name: &str, to: &Path) -> Run {
        let command = Cmd::rewindfs().arg("recover").arg(self.place(name));
        let command = command.arg("--password-file").arg(&self.password);
        command.arg("--to").arg(to).run()
    }

    fn status(&self) -> Value {
        let run = self.mounted.command("status").arg("--json").run();
        run.json().remove(0)
    }

    /// What status says of one of the replicas.
    fn line(&self, name: &str) -> Value {
        let status = self.status();
        let all = status["replicas"].as_array().cloned().unwrap_or_default();
        let ends = |line: &Value| line["url"].as_str().is_some_and(|url| url.ends_with(name));
        all.into_iter().find(ends).unwrap_or_default()
    }

    fn is_up_to_date(&self, name: &str) -> bool {
        let line = self.line(name);
        !line["time"].is_null() && line["states_behind"] == 0 && line["trouble"].is_null()
    }

    fn caught_up(&self, name: &str) {
        self.mounted.sync();
        wait_for("the replica", || self.is_up_to_date(name));
    }

    /// Waits until a synchronous one has caught up: who sends says so a moment after it has sent.
    fn is_waited_for(&self) {
        let log = self.sandbox.store().join("log");
        wait_for("the replica to keep up", || {
            text(&log).contains("keeps up: it is waited for")
        });
    }

    /// The newest sign of life at a place, once it is another one than that: whoever begins to send
    /// there leaves one after what he sends, and then none for minutes.
    fn beaten(&self, name: &str, before: &str) -> String {
        let newest = || {
            let all = fs::read_dir(self.place(name).join("beats")).into_iter();
            let names = all.flatten().flatten().map(|entry| entry.file_name());
            let names = names.map(|name| name.to_string_lossy().into_owned());
            // One that is just being written has another name.
            let last = names.filter(|name| !name.contains('#')).max();
            last.unwrap_or_default()
        };
        wait_for("a sign of life", || newest() != before);
        newest()
    }

    /// The process that sends.
    fn sender(&self) -> Option<i32> {
        let daemon = self.mounted.daemons()[0];
        children(daemon).into_iter().find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == b"attend")
        })
    }
}

fn children(of: i32) -> Vec<i32> {
    let all = fs::read_dir("/proc").expect("/proc");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let behind = stat.rsplit(')').next().unwrap_or_default();
        behind.split_whitespace().nth(1) == Some(&of.to_string())
    })
    .collect()
}

#[test]
fn an_active_one_has_what_is_recorded_soon_after() {
    let world = World::new("replica-active", "interval=200ms,settle=50ms");
    one_of_everything(&world.sandbox.work());
    world
        .add("copy", &[])
        .ok()
        .says("is brought up to date after each change");
    world.caught_up("copy");
    for n in 0..5 {
        write(world.mounted.join("changes"), format!("{n}"));
        world.mounted.snapshot(&format!("s{n}"));
    }
    world.caught_up("copy");
    assert_eq!(world.line("copy")["mode"], "active");
    world
        .replica("list", &[])
        .ok()
        .says("(active): all that is recorded");
    world.mounted.command("status").run().says("replicas");
    world
        .mounted
        .command("list")
        .arg("--log")
        .run()
        .says("copy");
    let now = Tree::read(&world.sandbox.work());
    let again = world.place("again");
    world.recover("copy", &again).ok();
    now.must_equal(&Tree::read(&again), RECOVERED, "what came back");
    world
        .replica("remove", &[world.place("copy").to_str().unwrap()])
        .ok();
    wait_for("the end of who sends", || world.sender().is_none());
    assert_eq!(world.status()["replicas"], Value::Null);
}

#[test]
fn what_goes_wrong_is_said_and_it_goes_on_by_itself() {
    let world = World::new("replica-trouble", "interval=200ms,settle=50ms");
    world.add("copy", &[]).ok();
    // A second one, which is never reached, keeps nobody waiting.
    world.add("never", &[]).ok();
    world.caught_up("copy");
    world.caught_up("never");
    for name in ["copy", "never"] {
        world.beaten(name, "");
    }
    fs::rename(world.place("never"), world.place("never-away")).expect("mv");
    fs::rename(world.place("copy"), world.place("away")).expect("mv");
    write(world.mounted.join("a"), "a");
    world.mounted.sync();
    wait_for("the trouble", || !world.line("copy")["trouble"].is_null());
    let status = world.mounted.command("status").run().exits(1);
    status.says("is not up to date").says("/copy");
    world.replica("list", &[]).exits(1).says("behind");
    // Nothing was begun anew where others were.
    assert!(!world.place("copy").exists());
    fs::rename(world.place("away"), world.place("copy")).expect("mv");
    wait_for("the replica", || world.is_up_to_date("copy"));
    assert!(!world.is_up_to_date("never"));
    let again = world.place("again");
    world.recover("copy", &again).ok();
    assert_eq!(text(again.join("a")), "a");
    // Who is not told where they are is told that something is wrong.
    world
        .replica("remove", &["nowhere"])
        .exits(2)
        .says("there is no replica at");
}

#[test]
fn a_passive_one_waits_for_its_time_or_for_who_asks() {
    // Nothing is cut but by who asks for it.
    let world = World::new("replica-passive", "interval=1h,settle=50ms");
    world
        .add("copy", &["--every", "5m"])
        .exits(2)
        .says("--mode passive");
    world
        .add("copy", &["--mode", "passive", "--every", "1h"])
        .ok();
    world.caught_up("copy");
    write(world.mounted.join("a"), "a");
    world.mounted.sync();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(world.line("copy")["states_behind"], 1);
    assert_eq!(world.line("copy")["bytes_behind"], 1);
    world.replica("push", &[]).ok().says("copy: ");
    assert!(world.is_up_to_date("copy"));
    // Another time: said the same way, and of force at once.
    world
        .add("copy", &["--mode", "passive", "--every", "1m"])
        .ok();
    assert_eq!(world.line("copy")["every"], 60);
    world
        .add("other", &["--mode", "passive"])
        .ok()
        .says("every 1h");
}

#[test]
fn without_a_password_for_the_night_none_is_added() {
    let world = World::new("replica-password", "");
    let add = Cmd::rewindfs()
        .arg("replica")
        .arg("add")
        .arg(&world.mounted.dir);
    let add = add.arg(world.place("copy")).env("REWINDFS_PASSWORD", "x");
    add.run().exits(2).says("--password-file");
    assert!(!world.place("copy").exists());
    let inside = world.mounted.join("inside");
    let add = Cmd::rewindfs()
        .arg("replica")
        .arg("add")
        .arg(&world.mounted.dir);
    let add = add.arg(&inside).arg("--no-encryption");
    add.run().exits(2).says("would be lost with it");
    world.add("copy", &[]).ok();
    world.caught_up("copy");
    write(&world.password, "another\n");
    write(world.mounted.join("a"), "a");
    let pid = world.sender().expect("somebody sends");
    sys::kill(pid, libc::SIGKILL);
    wait_for("another one", || {
        world.sender().is_some_and(|other| other != pid)
    });
    wait_for("the trouble", || {
        let trouble = world.line("copy")["trouble"].to_string();
        trouble.contains("password")
    });
}

#[test]
fn who_sends_ends_with_the_daemon_and_begins_with_it() {
    let world = World::new("replica-ends", "interval=1h,settle=50ms");
    world.add("copy", &[]).ok();
    world.caught_up("copy");
    let sender = world.sender().expect("somebody sends");
    let World {
        sandbox,
        mounted,
        password,
    } = world;
    write(mounted.join("late"), "late");
    // What the end of the mount records is sent, too.
    mounted.umount().ok();
    wait_for("the end of who sends", || {
        !Path::new(&format!("/proc/{sender}")).exists()
    });
    let again = sandbox.join("again");
    let recover = Cmd::rewindfs().arg("recover").arg(sandbox.join("copy"));
    let recover = recover.arg("--password-file").arg(&password);
    recover.arg("--to").arg(&again).run().ok();
    assert_eq!(text(again.join("late")), "late");
    let mounted = sandbox.mount("interval=200ms,settle=50ms");
    write(mounted.join("later"), "later");
    mounted.sync();
    let world = World {
        sandbox,
        mounted,
        password,
    };
    wait_for("the replica", || world.is_up_to_date("copy"));
    let sender = world.sender().expect("somebody sends");
    world.mounted.kill();
    wait_for("the end of who sends", || {
        !Path::new(&format!("/proc/{sender}")).exists()
    });
}

#[test]
fn another_machine_needs_nothing_but_this_program() {
    let sandbox = Sandbox::new("replica-ssh");
    let password = sandbox.join("password");
    write(&password, "correct horse\n");
    // As ssh does it: the host, then what a shell there is to run.
    let rsh = sandbox.join("rsh");
    let log = sandbox.join("rsh-log");
    let bin = Path::new(env!("CARGO_BIN_EXE_rewindfs"))
        .parent()
        .expect("a folder")
        .display()
        .to_string();
    let text_of = format!(
        "#!/bin/sh\necho \"$1\" >> {}\nshift\nPATH={bin}:$PATH exec sh -c \"$*\"\n",
        log.display()
    );
    script_at(&rsh, &text_of);
    let there = sandbox.join("nas it's");
    let url = format!("ssh://me@nas{}/nas%20it's", sandbox.join("").display());
    let url = url.replace("//nas%20", "/nas%20");
    let with = |command: Cmd| {
        command
            .env("REWINDFS_RSH", &rsh)
            .arg("--password-file")
            .arg(&password)
    };
    let mount = Cmd::rewindfs().arg("mount").arg(sandbox.work());
    mount.env("REWINDFS_RSH", &rsh).run().ok();
    let mounted = Mounted::found(sandbox.work(), sandbox.work());
    one_of_everything(&sandbox.work());
    // Who only looks makes nothing.
    with(Cmd::rewindfs().arg("backups").arg(&url))
        .run()
        .exits(10)
        .says("holds no backups");
    assert!(!there.exists());
    let add = Cmd::rewindfs()
        .arg("replica")
        .arg("add")
        .arg(&mounted.dir)
        .arg(&url);
    with(add).run().ok();
    mounted.sync();
    wait_for("the replica", || {
        let run = mounted.command("status").arg("--json").run();
        let line = run.json()[0]["replicas"][0].clone();
        !line["time"].is_null() && line["states_behind"] == 0
    });
    assert!(there.join("heads").exists());
    assert!(text(&log).lines().all(|host| host == "me@nas"));
    let now = Tree::read(&sandbox.work());
    let again = sandbox.join("again");
    let recover = Cmd::rewindfs()
        .arg("recover")
        .arg(&url)
        .arg("--to")
        .arg(&again);
    with(recover).run().ok();
    now.must_equal(&Tree::read(&again), RECOVERED, "what came back");
    with(Cmd::rewindfs().arg("backups").arg(&url).arg("--verify"))
        .run()
        .ok();
    // Nobody there: said in one line.
    script_at(&rsh, "#!/bin/sh\nexit 255\n");
    with(Cmd::rewindfs().arg("backups").arg(&url))
        .run()
        .exits(2)
        .says("ended");
    mounted.umount();
}

#[test]
fn a_synchronous_one_has_it_when_fsync_sync_and_snapshot_return() {
    let world = World::new("replica-synchronous", "interval=1h,settle=1h");
    let timeout = ["--mode", "synchronous", "--sync-timeout", "30s"];
    world
        .add("copy", &["--strict"])
        .exits(2)
        .says("--mode synchronous");
    world.add("copy", &timeout).ok();
    world.caught_up("copy");
    assert_eq!(world.line("copy")["mode"], "synchronous");
    // Each at once: nothing else would be cut or sent within the hour.
    let recovered = |name: &str| {
        let again = world.place(name);
        world.recover("copy", &again).ok();
        again
    };
    world.is_waited_for();
    let path = world.mounted.join("fsync");
    let file = File::create(&path).expect("create");
    (&file).write_all(b"fsync").expect("write");
    file.sync_all().expect("fsync");
    assert_eq!(text(recovered("one").join("fsync")), "fsync");
    write(world.mounted.join("sync"), "sync");
    world.mounted.sync();
    assert_eq!(text(recovered("two").join("sync")), "sync");
    write(world.mounted.join("snapshot"), "snapshot");
    world
        .mounted
        .command("snapshot")
        .arg("by-command")
        .run()
        .ok();
    assert_eq!(text(recovered("three").join("snapshot")), "snapshot");
    // A name without a change is something that is there, too.
    world.mounted.snapshot("by-mkdir");
    let other = Sandbox::new("replica-synchronous-again");
    let again = other.join("again");
    world.recover("copy", &again).ok();
    Cmd::rewindfs().arg("mount").arg(&again).run().ok();
    let there = Mounted::found(again.clone(), again);
    assert!(there.past("by-mkdir", "snapshot").exists());
    there.umount().ok();
    // Many at once share cuts.
    let before = world.mounted.checkpoints().len();
    let all = Barrier::new(40);
    std::thread::scope(|scope| {
        for n in 0..40 {
            let path = world.mounted.join(&format!("many{n}"));
            let all = &all;
            scope.spawn(move || {
                let file = File::create(path).expect("create");
                (&file).write_all(b"many").expect("write");
                all.wait();
                file.sync_all().expect("fsync");
            });
        }
    });
    let cuts = world.mounted.checkpoints().len() - before;
    assert!((1..=30).contains(&cuts), "{cuts} states for 40 files");
    let again = recovered("five");
    assert!((0..40).all(|n| text(again.join(format!("many{n}"))) == "many"));
}

#[test]
fn a_synchronous_one_that_is_away_is_waited_for_once_and_a_strict_one_never_passed_over() {
    let world = World::new("replica-late", "interval=200ms,settle=50ms");
    let set = |timeout: &str, more: &[&str]| {
        let mode = ["--mode", "synchronous", "--sync-timeout", timeout];
        world.add("copy", &[&mode[..], more].concat()).ok();
    };
    // Far longer than what is done at once takes.
    set("10s", &[]);
    world.caught_up("copy");
    world.mounted.sync();
    world.is_waited_for();
    let beat = world.beaten("copy", "");
    fs::rename(world.place("copy"), world.place("away")).expect("mv");
    let fsync = |name: &str| {
        let began = Instant::now();
        let file = File::create(world.mounted.join(name)).expect("create");
        (&file).write_all(b"x").expect("write");
        (file.sync_all(), began.elapsed())
    };
    let (done, took) = fsync("first");
    done.expect("said and done");
    assert!((10..50).contains(&took.as_secs()), "{took:?}");
    // From now on as an active one.
    let (done, took) = fsync("second");
    done.expect("at once");
    assert!(took < Duration::from_secs(10), "{took:?}");
    fs::rename(world.place("away"), world.place("copy")).expect("mv");
    wait_for("the replica", || world.is_up_to_date("copy"));
    world.mounted.command("sync").run().ok();
    let there = || {
        wait_for("the replica", || {
            world.mounted.command("sync").run().code == 0
        });
    };
    set("30s", &["--strict"]);
    there();
    let beat = world.beaten("copy", &beat);
    let (done, _) = fsync("third");
    done.expect("it is there");
    set("2s", &["--strict"]);
    there();
    world.beaten("copy", &beat);
    fs::rename(world.place("copy"), world.place("away")).expect("mv");
    let (done, _) = fsync("fourth");
    assert_eq!(done.expect_err("refused").raw_os_error(), Some(libc::EIO));
    world
        .mounted
        .command("sync")
        .run()
        .exits(2)
        .says("but not at file://");
    // It is recorded all the same.
    fs::rename(world.place("away"), world.place("copy")).expect("mv");
    wait_for("the replica", || world.is_up_to_date("copy"));
    let again = world.place("again");
    world.recover("copy", &again).ok();
    assert_eq!(text(again.join("fourth")), "x");
    set("30s", &["--strict"]);
    there();
    let (done, _) = fsync("fifth");
    done.expect("it is there again");
}

#[test]
fn nobody_else_learns_where_they_are_or_changes_them() {
    let world = World::new("replica-who", "interval=1h,settle=50ms");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(world.sandbox.path(), mode).expect("chmod");
    world.add("secret-place", &[]).ok();
    world.caught_up("secret-place");
    fs::rename(world.place("secret-place"), world.place("away")).expect("mv");
    write(world.mounted.join("a"), "a");
    world.mounted.sync();
    wait_for("the trouble", || {
        !world.line("secret-place")["trouble"].is_null()
    });
    let (work, program) = (world.sandbox.work(), world.sandbox.program());
    let told = sys::as_user(65534, 65534, &[], || {
        let ask = |words: &[&str]| Cmd::new(&program).args(words).arg(&work).run();
        let to = Cmd::new(&program).args(["replica", "remove"]).arg(&work);
        [
            ask(&["status"]),
            ask(&["status", "--json"]),
            ask(&["replica", "list"]),
            ask(&["list", "--log"]),
            ask(&["replica", "push"]),
            to.arg("/never").run(),
        ]
    });
    for run in &told {
        let all = format!("{}{}", run.out, run.err);
        assert!(!all.contains("secret-place"), "{}: {all}", run.line);
        assert!(!all.contains("password"), "{}: {all}", run.line);
    }
    // That something is wrong is for everybody.
    assert_eq!(told[0].code, 1);
    told[0]
        .clone()
        .says("the replica at elsewhere is not up to date");
    assert_eq!(told[1].json()[0]["replicas"][0]["states_behind"], 1);
    for refused in &told[4..] {
        refused.clone().says("may not do this");
    }
    assert!(!world.line("secret-place").is_null());
}

/// Lines that are appended to several files in turn, each in one call; the number of the last that
/// was acknowledged.
fn append(dir: &Path, stop: &AtomicBool, last: &AtomicU64) {
    let open = |n| {
        let path = dir.join(format!("f{n}"));
        OpenOptions::new().create(true).append(true).open(path)
    };
    let mut files: Vec<File> = (0..7).map(|n| open(n).expect("open")).collect();
    let mut number = 0;
    while !stop.load(Ordering::Acquire) {
        number += 1;
        let file = &mut files[(number % 7) as usize];
        if file.write_all(format!("{number}\n").as_bytes()).is_err() {
            // The daemon is dead.
            return;
        }
        last.store(number, Ordering::Release);
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// The lines 1 to n and no others: the answer is n.
fn prefix_in(dir: &Path) -> u64 {
    let mut all: Vec<u64> = Vec::new();
    for n in 0..7 {
        let lines = fs::read_to_string(dir.join(format!("f{n}"))).unwrap_or_default();
        all.extend(
            lines
                .lines()
                .map(|line| line.parse::<u64>().expect("a line")),
        );
    }
    all.sort_unstable();
    let count = all.len() as u64;
    assert!(
        all.iter().copied().eq(1..=count),
        "lines are missing in between"
    );
    count
}

#[test]
fn after_the_disaster_there_is_a_state_that_was_there_not_older_than_the_lag() {
    for round in 0..sized(3, 1) {
        let world = World::new("replica-disaster", "interval=200ms,settle=50ms");
        world.add("copy", &[]).ok();
        world.caught_up("copy");
        let (stop, last) = (AtomicBool::new(false), AtomicU64::new(0));
        let dir = world.mounted.dir.clone();
        let World {
            sandbox,
            mounted,
            password,
        } = world;
        let mut marks: Vec<(Timestamp, u64)> = Vec::new();
        // What was acknowledged before the newest state that is there by what status says.
        let mut must = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| append(&dir, &stop, &last));
            let began = Instant::now();
            let until = began + Duration::from_millis(3000 + 700 * round);
            while Instant::now() < until || (must == 0 && began.elapsed().as_secs() < 60) {
                let acknowledged = last.load(Ordering::Acquire);
                marks.push((Timestamp::now(), acknowledged));
                let run = mounted.command("status").arg("--json").run();
                let line = &run.json()[0]["replicas"][0];
                let there = line["time"].as_str().expect("a time");
                let there: Timestamp = there.parse().expect("a time");
                let mut before = marks.iter().rev().filter(|(at, _)| *at <= there);
                must = before.next().map_or(0, |(_, number)| *number);
                std::thread::sleep(Duration::from_millis(50));
            }
            mounted.kill();
            stop.store(true, Ordering::Release);
        });
        // The disk is gone.
        fs::remove_dir_all(sandbox.work()).expect("wiped");
        fs::remove_dir_all(sandbox.join(".work.rewind")).expect("wiped");
        let again = sandbox.join("again");
        let recover = Cmd::rewindfs().arg("recover").arg(sandbox.join("copy"));
        let recover = recover.arg("--password-file").arg(&password);
        recover.arg("--to").arg(&again).run().ok();
        let found = prefix_in(&again);
        assert!(
            found >= must,
            "{found} of {}, at least {must}",
            last.load(Ordering::Acquire)
        );
        assert!(must > 0, "nothing came there");
        // It goes on there.
        Cmd::rewindfs().arg("mount").arg(&again).run().ok();
        let there = Mounted::found(again.clone(), again.clone());
        assert!(there.checkpoints().len() > 1);
        let verify = there.command("verify").arg("--data").run();
        verify.ok().says("no problem found");
        there.umount();
    }
}

#[test]
fn of_two_that_go_on_the_one_that_was_left_behind_is_sent_elsewhere() {
    let world = World::new("replica-fork", "interval=200ms,settle=50ms");
    write(world.mounted.join("a"), "common");
    world.add("copy", &[]).ok();
    world.caught_up("copy");
    world
        .add("early", &["--fork"])
        .exits(2)
        .says("without --fork");
    // Somebody takes this one for lost, and goes on elsewhere; it is not.
    let other = Sandbox::new("replica-fork-again");
    let again = other.join("again");
    world.recover("copy", &again).ok();
    write(again.join("b"), "of the new one");
    let send = |dir: &Path| {
        let backup = Cmd::rewindfs().arg("backup").arg(dir);
        let backup = backup.arg("--to").arg(world.place("copy"));
        backup.arg("--password-file").arg(&world.password).run()
    };
    send(&again).ok();
    write(world.mounted.join("b"), "of the old one");
    world.mounted.snapshot("kept");
    wait_for("the trouble", || {
        let run = world.mounted.command("status").run();
        let said = format!("{}{}", run.out, run.err).contains("another store goes on");
        said && !world.line("copy")["trouble"].is_null()
    });
    let status = world.mounted.command("status").run().exits(1);
    status
        .says("another store goes on")
        .says("replica add DIR URL --fork");
    world
        .add("copy", &["--fork"])
        .exits(2)
        .says("choose another place");
    let elsewhere = world.add("elsewhere", &["--fork"]).ok();
    elsewhere
        .says("nothing more is sent to")
        .says("elsewhere is brought up to date");
    wait_for("the other place", || world.is_up_to_date("elsewhere"));
    world.mounted.command("status").run().ok();
    // Both go on, each at its place, and each has its own.
    write(world.mounted.join("c"), "of the old one");
    world.caught_up("elsewhere");
    write(again.join("c"), "of the new one");
    send(&again).ok();
    let (old, new) = (world.place("old"), world.place("new"));
    world.recover("elsewhere", &old).ok();
    world.recover("copy", &new).ok();
    for (dir, whose) in [(&old, "of the old one"), (&new, "of the new one")] {
        assert_eq!(text(dir.join("a")), "common");
        assert_eq!(text(dir.join("b")), whose);
        assert_eq!(text(dir.join("c")), whose);
    }
    let list = Cmd::rewindfs().arg("list").arg(&old).run().ok();
    list.says("kept");
}
