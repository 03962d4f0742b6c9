//! `replica pull`: the machine that is to have a copy fetches it.

use crate::harness::compare::{Except, Tree};
use crate::harness::mount::names;
use crate::harness::run::wait;
use crate::harness::{Cmd, Mounted, Run, Sandbox, noise, one_of_everything, sys, wait_for, write};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const RECOVERED: Except = Except {
    ctime: true,
    mtime: false,
    holes: false,
    dir_links: false,
};

struct World {
    mounted: Mounted,
    /// Last: the mount goes before its folder.
    sandbox: Sandbox,
}

impl World {
    fn new(name: &str) -> World {
        let sandbox = Sandbox::new(name);
        write(sandbox.join("password"), "correct horse\n");
        let mounted = sandbox.mount("");
        one_of_everything(&sandbox.work());
        World { mounted, sandbox }
    }

    fn join(&self, name: &str) -> PathBuf {
        self.sandbox.join(name)
    }

    fn with_password(&self, command: Cmd) -> Cmd {
        let rsh = self.join("rsh");
        let command = command.env("REWINDFS_RSH", rsh).arg("--password-file");
        command.arg(self.join("password"))
    }

    fn backup(&self) {
        let command = Cmd::rewindfs().arg("backup").arg(self.sandbox.work());
        self.with_password(command.arg("--to").arg(self.join("place")))
            .run()
            .ok();
    }

    fn pull_command(&self, source: &str, more: &[&str]) -> Cmd {
        let command = Cmd::rewindfs().args(["replica", "pull", source, "--to"]);
        self.with_password(command.arg(self.join("pulled")))
            .args(more)
    }

    fn pull(&self, source: &Path) -> Run {
        self.pull_command(source.to_str().expect("text"), &[]).run()
    }

    /// What comes back of the copy is what is there now.
    fn comes_back(&self, name: &str) {
        let now = Tree::read(&self.sandbox.work());
        let again = self.join(name);
        let recover = Cmd::rewindfs().arg("recover").arg(self.join("pulled"));
        self.with_password(recover.arg("--to").arg(&again))
            .run()
            .ok();
        now.must_equal(&Tree::read(&again), RECOVERED, name);
    }
}

#[test]
fn a_copy_of_a_place_is_fetched_goes_on_and_is_a_place_like_any_other() {
    let world = World::new("pull-place");
    world.backup();
    world.pull(&world.join("place")).ok().says("pulled: 1 set");
    world.pull(&world.join("place")).ok().says("nothing new");
    world.comes_back("one");
    write(world.mounted.join("large"), noise(1, 40 << 20));
    world.backup();
    // Killed at any moment: what is named is there.
    for n in 0..6 {
        let mut child = world
            .pull_command(world.join("place").to_str().expect("text"), &[])
            .spawn();
        std::thread::sleep(Duration::from_millis(60 * n));
        let _ = child.kill();
        wait(&mut child, Duration::from_secs(10)).expect("its end");
        let verify = Cmd::rewindfs()
            .arg("backups")
            .arg(world.join("pulled"))
            .arg("--verify");
        world.with_password(verify).run().ok();
    }
    world.pull(&world.join("place")).ok();
    world.comes_back("two");
    let list = |name: &str| {
        let list = Cmd::rewindfs().arg("backups").arg(world.join(name));
        world.with_password(list).run().ok().lines().len()
    };
    assert_eq!(list("pulled"), list("place"));
    // An object of other bytes is none of it.
    write(world.mounted.join("more"), noise(2, 100_000));
    world.backup();
    let newest = format!(
        "ls -t {}/packs/*/* | head -n 1",
        world.join("place").display()
    );
    let pack = PathBuf::from(Cmd::sh(&newest).run().ok().out.trim());
    let bytes = fs::read(&pack).expect("a pack");
    write(&pack, vec![1; bytes.len()]);
    world.pull(&world.join("place")).exits(2).says("is damaged");
    write(&pack, &bytes);
    world.pull(&world.join("place")).ok().says("1 set");
    world.comes_back("three");
    // What was set back is not followed.
    let last = format!("ls {}/heads/* | tail -n 1", world.join("place").display());
    let last = PathBuf::from(Cmd::sh(&last).run().ok().out.trim());
    fs::rename(&last, world.join("head")).expect("mv");
    world
        .pull(&world.join("place"))
        .exits(2)
        .says("is no copy of");
    fs::rename(world.join("head"), &last).expect("mv");
    world.pull(&world.join("place")).ok().says("nothing new");
    let to = world.join("elsewhere");
    fs::create_dir(&to).expect("mkdir");
    write(to.join("mine"), "x");
    let other = Cmd::rewindfs()
        .args(["replica", "pull"])
        .arg(world.join("place"));
    let other = world.with_password(other.arg("--to").arg(&to)).run();
    other.exits(2).says("choose an empty place");
}

#[test]
fn what_a_replica_drops_of_itself_goes_from_its_copy_and_one_far_behind_catches_up() {
    let world = World::new("pull-dropped");
    let add = Cmd::rewindfs()
        .args(["replica", "add"])
        .arg(&world.mounted.dir);
    let add = add
        .arg(world.join("place"))
        .args(["--mode", "passive", "--every", "1d"]);
    world.with_password(add).run().ok();
    let push = |n: usize| {
        write(world.mounted.join("changes"), format!("{n}"));
        let push = Cmd::rewindfs()
            .args(["replica", "push"])
            .arg(&world.mounted.dir);
        push.run().ok();
    };
    let objects = |name: &str| {
        let place = world.join(name);
        let find = "find heads packs indexes segments -type f | sort";
        Cmd::sh(find).within(place).run().ok().out
    };
    wait_for("the first set", || world.join("place/heads").exists());
    wait_for("the end of another push", || {
        let push = Cmd::rewindfs()
            .args(["replica", "push"])
            .arg(&world.mounted.dir);
        push.run().code == 0
    });
    push(0);
    world.pull(&world.join("place")).ok();
    assert_eq!(objects("pulled"), objects("place"));
    // So many that the heads that the copy has are not there any more.
    for n in 1..=70 {
        push(n);
    }
    assert!(!world.join("place/heads/00000000000000000001").exists());
    world.pull(&world.join("place")).ok();
    assert_eq!(objects("pulled"), objects("place"));
    world.comes_back("one");
    push(71);
    world.pull(&world.join("place")).ok().says("1 set");
    assert_eq!(objects("pulled"), objects("place"));
    world.comes_back("two");
}

#[test]
fn a_directory_on_another_machine_is_fetched_through_ssh_and_followed() {
    let world = World::new("pull-ssh");
    world.sandbox.rsh();
    let url = format!("ssh://me@old{}", world.sandbox.work().display());
    world
        .pull_command(&url, &[])
        .run()
        .ok()
        .says("pulled: set 1");
    world.comes_back("one");
    let status = world.mounted.command("status").run().ok();
    status.says("set 1 at pulled://").says("/pulled, as of");
    write(world.mounted.join("changes"), "two");
    world
        .pull_command(&url, &[])
        .run()
        .ok()
        .says("pulled: set 2");
    world.pull_command(&url, &[]).run().ok().says("nothing new");
    world.comes_back("two");
    // Again and again, also over a time in which nobody answers.
    let mut child = world
        .pull_command(&url, &["--watch", "--every", "1s"])
        .spawn();
    let heads = || {
        let all = names(&world.join("pulled/heads")).into_iter();
        // One that is just being written has another name.
        all.filter(|name| !name.contains('#')).count()
    };
    // Each change is one call: never two sets.
    let change = |name: &str| fs::create_dir(world.mounted.join(name)).expect("mkdir");
    change("three");
    wait_for("the copy", || heads() == 3);
    let (rsh, tried) = (world.join("rsh"), world.join("tried"));
    let silent = world.join("silent");
    let script = format!("#!/bin/sh\ntouch {}\nexit 255\n", tried.display());
    write(&silent, script);
    fs::set_permissions(&silent, fs::Permissions::from_mode(0o755)).expect("chmod");
    // By one name for the other: somebody may be about to run it.
    sys::renameat2(&silent, &rsh, libc::RENAME_EXCHANGE).expect("swap");
    // What was begun before that has ended then.
    wait_for("a try", || tried.exists());
    change("four");
    fs::remove_file(&tried).expect("rm");
    wait_for("another", || tried.exists());
    assert_eq!(heads(), 3);
    sys::renameat2(&silent, &rsh, libc::RENAME_EXCHANGE).expect("swap");
    wait_for("the copy", || heads() == 4);
    sys::kill(i32::try_from(child.id()).expect("a pid"), libc::SIGTERM);
    let ended = wait(&mut child, Duration::from_secs(20)).expect("its end");
    assert_eq!(ended.code(), Some(130));
    world.comes_back("three");
    // Where there is neither a place nor a history.
    let nothing = format!("ssh://me@old{}", world.join("nothing").display());
    world
        .pull_command(&nothing, &[])
        .run()
        .exits(2)
        .says("nothing was answered");
}
