//! `backup`, `backups`, `recover`: a directory is sent elsewhere and comes back on a machine that has
//! nothing but the place and the password.

mod key;
mod mend;
mod parts;
pub mod resume;

use crate::harness::compare::{Except, Tree};
use crate::harness::mount::names;
use crate::harness::run::wait;
use crate::harness::{
    Cmd, Mounted, Run, Sandbox, noise, one_of_everything, read, sized, sys, text, wait_for, write,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PASSWORD: &str = "correct horse";

/// What a machine that lost everything still has.
const RECOVERED: Except = Except {
    ctime: true,
    mtime: false,
    holes: false,
    dir_links: false,
};

fn place(sandbox: &Sandbox) -> PathBuf {
    sandbox.join("elsewhere")
}

fn with_password(command: Cmd) -> Cmd {
    command.env("REWINDFS_PASSWORD", PASSWORD)
}

fn backup(sandbox: &Sandbox, more: &[&str]) -> Run {
    let command = Cmd::rewindfs().arg("backup").arg(sandbox.work());
    with_password(command.arg("--to").arg(place(sandbox)).args(more)).run()
}

fn recover(sandbox: &Sandbox, to: &Path, more: &[&str]) -> Run {
    let command = Cmd::rewindfs().arg("recover").arg(place(sandbox));
    with_password(command.arg("--to").arg(to).args(more)).run()
}

fn mount(dir: &Path) -> Mounted {
    Cmd::rewindfs().arg("mount").arg(dir).run().ok();
    Mounted::found(dir.to_owned(), dir.to_owned())
}

#[test]
fn a_purge_says_which_places_still_have_it() {
    let sandbox = Sandbox::new("elsewhere-purge");
    let mounted = sandbox.mount("");
    write(mounted.join("secret"), "token = abc");
    mounted.sync();
    let purge = |name: &str, how: &[&str]| {
        let purge = Cmd::rewindfs().arg("purge").arg(mounted.join(name));
        purge.args(how).run().ok()
    };
    let kept = format!(
        "{} has it too, in sets up to 1 (",
        place(&sandbox).display()
    );
    let before = purge("secret", &["--dry-run"]);
    assert!(!before.out.contains("has it too"), "{}", before.out);
    backup(&sandbox, &[]).ok();
    purge("secret", &["--dry-run"]).says(&kept);
    let report = &purge("secret", &["--dry-run", "--json"]).json()[0];
    assert_eq!(report["copies"][0]["set"], 1);
    // What came later was not sent.
    write(mounted.join("another"), "token = def");
    let later = purge("another", &["--dry-run"]);
    assert!(!later.out.contains("has it too"), "{}", later.out);
    purge("secret", &["--yes"]).says(&kept);
    mounted.umount();
}

#[test]
fn a_directory_and_its_past_come_back_from_full_and_incremental_sets() {
    let sandbox = Sandbox::new("elsewhere");
    // No states but those that are asked for: they are counted below.
    let mounted = sandbox.mount("interval=1h");
    one_of_everything(&sandbox.work());
    write(mounted.join("changes"), "one");
    write(mounted.join("goes"), "gone soon");
    mounted.snapshot("first-set");
    mounted.snapshot("passing");
    let first = Tree::read(&sandbox.work());
    backup(&sandbox, &[]).ok().says("set 1, full: ");
    write(mounted.join("changes"), "two");
    fs::remove_file(mounted.join("goes")).expect("rm");
    fs::remove_dir(mounted.past("passing", "")).expect("rmdir");
    write(mounted.join("large"), noise(1, 3 << 20));
    mounted.snapshot("second-set");
    let second = Tree::read(&sandbox.work());
    backup(&sandbox, &["--incremental"])
        .ok()
        .says("set 2, incremental (needs set 1): ");
    backup(&sandbox, &[])
        .ok()
        .says("nothing has happened since set 2");
    let listed = with_password(Cmd::rewindfs().arg("backups").arg(place(&sandbox)));
    listed
        .run()
        .ok()
        .says("   1  full")
        .says("   2  incremental  needs 1");
    let status = mounted.command("status").run().ok();
    status.says("set 2 at file://").says("all that is recorded");
    write(mounted.join("later"), "not sent");
    mounted.sync();
    mounted
        .command("status")
        .run()
        .ok()
        .says("is on this disk alone");

    // Another machine: no store, no directory.
    let other = Sandbox::new("elsewhere-again");
    let again = other.join("again");
    recover(&sandbox, &again, &[])
        .ok()
        .says("recovered: ")
        .says("from set 2");
    second.must_equal(&Tree::read(&again), RECOVERED, "the directory");
    let there = mount(&again);
    there.settled();
    let checkpoints = there.checkpoints().len();
    second.must_equal(
        &Tree::read(&there.past("second-set", "")),
        RECOVERED,
        "second-set",
    );
    first.must_equal(
        &Tree::read(&there.past("first-set", "")),
        RECOVERED,
        "first-set",
    );
    // A name that was taken away before the last set, and can be given back there as well.
    assert!(!there.past("passing", "").exists());
    there.command("undelete").arg("passing").run().ok();
    assert!(there.past("passing", "goes").exists());
    assert!(!there.join("goes").exists() && there.past("first-set", "goes").exists());
    // The first look finds what was written, not something else.
    let status = there.command("status").arg("--json").run().ok();
    assert_eq!(status.json()[0]["not_recorded"]["files"], 0);
    assert!(checkpoints <= 4, "{checkpoints}");
    // It goes on: a change is a state, and is sent behind the others.
    write(there.join("changes"), "three");
    there.sync();
    let more = Cmd::rewindfs()
        .arg("backup")
        .arg(&again)
        .arg("--to")
        .arg(place(&sandbox));
    with_password(more)
        .run()
        .ok()
        .says("set 3, incremental (needs set 2)");
    // The one that was there before is told, and sends nothing more.
    let late = backup(&sandbox, &[]).exits(2);
    late.says("is continued by another store")
        .says("nothing was sent");
    there
        .command("verify")
        .arg("--data")
        .run()
        .ok()
        .says("no problem found");
    there.umount();
    mounted.umount();
}

#[test]
fn each_kind_of_set_brings_back_its_state_also_of_an_unmounted_directory() {
    let sandbox = Sandbox::new("elsewhere-kinds");
    sandbox.mount("").umount();
    let mut trees = Vec::new();
    let kinds: [&[&str]; 6] = [
        &["--full"],
        &["--differential"],
        &["--incremental"],
        &["--mixed", "--full-every", "2"],
        &["--mixed", "--full-every", "2"],
        &["--differential"],
    ];
    for (n, kind) in kinds.into_iter().enumerate() {
        write(
            sandbox.work().join(format!("file-{n}")),
            noise(n as u64, 70_000),
        );
        if n > 0 {
            fs::remove_file(sandbox.work().join(format!("file-{}", n - 1))).expect("rm");
        }
        trees.push(Tree::read(&sandbox.work()));
        backup(&sandbox, &[kind, &["--verify", "read"]].concat()).ok();
    }
    let listed = with_password(
        Cmd::rewindfs()
            .arg("backups")
            .arg(place(&sandbox))
            .arg("--json"),
    );
    let listed = listed.run().ok().json();
    let kinds: Vec<&str> = listed
        .iter()
        .map(|line| line["kind"].as_str().expect("kind"))
        .collect();
    assert_eq!(
        kinds,
        [
            "full",
            "differential",
            "incremental",
            "full",
            "differential",
            "differential"
        ]
    );
    for (n, tree) in trees.iter().enumerate() {
        let to = sandbox.join(&format!("set-{n}"));
        let number = (n + 1).to_string();
        recover(&sandbox, &to, &["--set", &number]).ok();
        tree.must_equal(&Tree::read(&to), RECOVERED, &format!("set {number}"));
    }
    // A state between two sets, by its time.
    let time = listed[2]["time"].as_str().expect("a time");
    let to = sandbox.join("by-time");
    recover(&sandbox, &to, &["--at", &format!("@{time}")])
        .ok()
        .says("from set 3");
    trees[2].must_equal(&Tree::read(&to), RECOVERED, "by its time");
}

#[test]
fn what_is_asked_wrongly_does_nothing_and_says_what_to_do() {
    let sandbox = Sandbox::new("elsewhere-wrong");
    let mounted = sandbox.mount("");
    write(
        mounted.join("a-secret-name"),
        "a secret content that is long enough",
    );
    let plain = |args: &[&str]| {
        let command = Cmd::rewindfs().arg("backup").arg(sandbox.work());
        command.arg("--to").arg(place(&sandbox)).args(args).run()
    };
    plain(&[])
        .exits(2)
        .says("needs a password")
        .says("--no-encryption");
    assert!(!place(&sandbox).exists());
    backup(&sandbox, &[]).ok();
    plain(&[]).exits(12).says("is encrypted");
    let wrong = sandbox.join("wrong");
    write(&wrong, "something else\n");
    let wrong = wrong.to_str().expect("text");
    plain(&["--password-file", wrong])
        .exits(12)
        .says("the password is wrong");
    let right = sandbox.join("right");
    write(&right, format!("{PASSWORD}\n"));
    plain(&["--password-file", right.to_str().expect("text")]).ok();
    let command = format!("printf '%s' '{PASSWORD}'");
    plain(&["--password-command", &command]).ok();
    plain(&["--password-command", "exit 3"])
        .exits(2)
        .says("password command failed");
    // Nothing of it can be read there.
    let secrets = ["a-secret-name", "a secret content"];
    for secret in secrets {
        let found = Cmd::new("grep")
            .args(["-rlF", secret])
            .arg(place(&sandbox))
            .run();
        found.exits(1);
    }
    // Somebody else's folder, and no repository.
    let foreign = sandbox.join("foreign");
    fs::create_dir(&foreign).expect("mkdir");
    write(foreign.join("notes"), "mine");
    let to_foreign = Cmd::rewindfs()
        .arg("backup")
        .arg(sandbox.work())
        .arg("--to")
        .arg(&foreign);
    with_password(to_foreign)
        .run()
        .exits(2)
        .says("is not empty and holds no backups");
    let list = Cmd::rewindfs().arg("backups").arg(&foreign);
    with_password(list).run().exits(10).says("holds no backups");
    let url = Cmd::rewindfs().args(["backups", "ftp://example.org/x"]);
    with_password(url)
        .run()
        .exits(2)
        .says("is no place for backups");
    // A directory in which something is, a history that goes on.
    let full = sandbox.join("full");
    fs::create_dir(&full).expect("mkdir");
    write(full.join("mine"), "mine");
    recover(&sandbox, &full, &[]).exits(2).says("is not empty");
    assert_eq!(text(full.join("mine")), "mine");
    recover(&sandbox, &sandbox.work(), &[])
        .exits(2)
        .says("is there already");
    recover(&sandbox, &sandbox.join("none"), &["--set", "9"])
        .exits(2)
        .says("has no set 9");
    let outside = recover(&sandbox, &sandbox.join("none"), &["../up"]);
    outside.exits(2).says("from the top of the directory");
    mounted.umount();
}

/// Others are not given what only root and who mounted may read, and are not told where it went.
#[test]
fn nobody_else_sends_the_directory_or_learns_where_it_went() {
    let sandbox = Sandbox::new("elsewhere-who");
    fs::set_permissions(sandbox.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let mounted = sandbox.mount("");
    write(mounted.join("file"), "x");
    backup(&sandbox, &[]).ok();
    let (work, program) = (sandbox.work(), sandbox.program());
    let (told, sent) = sys::as_user(65534, 65534, &[], || {
        let status = Cmd::new(&program)
            .arg("status")
            .arg("--json")
            .arg(&work)
            .run();
        let to = Cmd::new(&program)
            .arg("backup")
            .arg(&work)
            .arg("--to")
            .arg("/var/tmp/never");
        (status, to.arg("--no-encryption").run())
    });
    let told = told.ok().json();
    assert_eq!(told[0]["copies"][0]["url"], "");
    assert_eq!(told[0]["copies"][0]["set"], 1);
    sent.exits(2).says("may not do this");
    assert!(!Path::new("/var/tmp/never").exists());
    mounted.umount();
}

#[test]
fn what_is_missing_there_is_named_and_the_rest_comes_back() {
    let sandbox = Sandbox::new("elsewhere-broken");
    let mounted = sandbox.mount("");
    write(mounted.join("first"), noise(1, 50_000));
    backup(&sandbox, &[]).ok();
    write(mounted.join("second"), noise(2, 50_000));
    backup(&sandbox, &[]).ok();
    let packs = Cmd::new("find").arg(place(&sandbox).join("packs")).args([
        "-type",
        "f",
        "-printf",
        "%T@ %p\\n",
    ]);
    let packs = packs.run().ok();
    let mut packs: Vec<String> = packs
        .lines()
        .iter()
        .map(|line| (*line).to_owned())
        .collect();
    packs.sort();
    let newest = packs
        .last()
        .and_then(|line| line.split_once(' '))
        .expect("a pack")
        .1
        .to_owned();
    let name = Path::new(&newest)
        .file_name()
        .expect("a name")
        .to_str()
        .expect("text")
        .to_owned();
    let bytes = read(&newest);
    fs::remove_file(&newest).expect("rm");
    let listed = with_password(Cmd::rewindfs().arg("backups").arg(place(&sandbox)));
    listed.run().exits(1).says("BROKEN").says(&name);
    let to = sandbox.join("whole");
    let refused = recover(&sandbox, &to, &[]).exits(2);
    refused.says(&name).says("--set 1").says("--partial");
    assert!(!to.exists());
    recover(&sandbox, &to, &["--set", "1"]).ok();
    assert_eq!(read(to.join("first")), noise(1, 50_000));
    let to = sandbox.join("partial");
    recover(&sandbox, &to, &["--partial"])
        .exits(3)
        .says(&name)
        .says("recovered in part");
    assert_eq!(read(to.join("first")), noise(1, 50_000));
    assert!(!to.join("second").exists());
    // Of the right length and not the right bytes.
    let mut flipped = bytes.clone();
    flipped[100] ^= 1;
    write(&newest, &flipped);
    let listed = with_password(
        Cmd::rewindfs()
            .arg("backups")
            .arg(place(&sandbox))
            .arg("--verify"),
    );
    listed.run().exits(1).says(&name);
    let to = sandbox.join("flipped");
    recover(&sandbox, &to, &[])
        .exits(2)
        .says(&name)
        .says("damaged");
    // With the object as it was, the same command goes on.
    write(&newest, &bytes);
    recover(&sandbox, &to, &[]).ok();
    assert_eq!(read(to.join("second")), noise(2, 50_000));
    mounted.umount();
}

/// A directory under load is sent again and again; then folder and store are gone. What comes back
/// is a state that was there, and nothing that was recorded before the last set is missing.
#[test]
fn after_the_loss_of_all_of_it_a_state_comes_back_that_was_there() {
    let sandbox = Sandbox::new("elsewhere-disaster");
    let mounted = sandbox.mount("interval=100ms");
    let work = sandbox.work();
    // Each round is a file that says how far it is, after the files of the round.
    let script = "for n in $(seq 1 100000); do for k in 1 2 3 4; do echo $n > f$k.new; \
                  mv f$k.new f$k; done; echo $n > done.new; mv done.new done; done";
    let mut load = Cmd::sh(script).within(&work).spawn();
    wait_for("the first round", || work.join("done").exists());
    let rounds = sized(6, 3);
    let mut sent = 0;
    for _ in 0..rounds {
        std::thread::sleep(Duration::from_millis(300));
        let before: u64 = text(work.join("done")).trim().parse().expect("a number");
        backup(&sandbox, &[]).ok();
        sent = before;
    }
    sys::kill(i32::try_from(load.id()).expect("a pid"), libc::SIGKILL);
    wait(&mut load, Duration::from_secs(10));
    mounted.kill();
    fs::remove_dir_all(sandbox.work()).expect("rm -r");
    fs::remove_dir_all(sandbox.store()).expect("rm -r");
    let to = sandbox.join("again");
    recover(&sandbox, &to, &["--mount"]).ok();
    let again = Mounted::found(to.clone(), to.clone());
    again.settled();
    let done: u64 = text(again.join("done")).trim().parse().expect("a number");
    assert!(done >= sent, "{done} of {sent}");
    for k in 1..=4 {
        let round: u64 = text(again.join(&format!("f{k}")))
            .trim()
            .parse()
            .expect("a number");
        assert!(
            round == done || round == done + 1,
            "f{k}: {round}, done: {done}"
        );
    }
    again.command("verify").arg("--data").run().ok();
    again.umount();
}

/// What stands in a directory, and what an earlier recovery was for, decide whether one goes on.
#[test]
fn a_recovery_touches_nothing_that_is_not_its_own() {
    let sandbox = Sandbox::new("elsewhere-own");
    sandbox.mount("").umount();
    write(sandbox.work().join("ours"), noise(1, 40_000));
    backup(&sandbox, &[]).ok();
    let other = Sandbox::new("elsewhere-own-other");
    other.mount("").umount();
    write(other.work().join("theirs"), noise(2, 40_000));
    let also = Cmd::rewindfs()
        .arg("backup")
        .arg(other.work())
        .arg("--to")
        .arg(place(&other));
    with_password(also).run().ok();

    // A few paths that could not be had leave nothing behind that would open a full directory.
    let home = sandbox.join("home");
    fs::create_dir(&home).expect("mkdir");
    write(home.join("mine"), "precious");
    recover(&sandbox, &home, &["--at", "nosuch", "ours"]).exits(2);
    recover(&sandbox, &home, &[]).exits(2).says("is not empty");
    assert_eq!(text(home.join("mine")), "precious");
    // The same store for another directory.
    let store = sandbox.join("shared");
    let store = store.to_str().expect("text");
    recover(
        &sandbox,
        &sandbox.join("new"),
        &["--store", store, "--at", "nosuch"],
    )
    .exits(2);
    recover(&sandbox, &home, &["--store", store])
        .exits(2)
        .says("is not empty");
    assert_eq!(text(home.join("mine")), "precious");

    // What was begun from one place is not gone on with from another.
    let to = sandbox.join("mixed");
    recover(&sandbox, &to, &["--at", "nosuch"]).exits(2);
    let theirs = Cmd::rewindfs()
        .arg("recover")
        .arg(place(&other))
        .arg("--to")
        .arg(&to);
    with_password(theirs).run().ok();
    assert_eq!(names(&to), ["theirs"]);
    Cmd::rewindfs()
        .args(["verify", "--data"])
        .arg(&to)
        .run()
        .ok();

    // What somebody puts there while it is cut off stays.
    let to = sandbox.join("cut-off");
    recover(&sandbox, &to, &["--at", "nosuch"]).exits(2);
    fs::create_dir_all(&to).expect("mkdir");
    write(to.join("mine"), "precious");
    write(to.join(".rewindfs-restore-1-2"), "half");
    recover(&sandbox, &to, &["--at", "nosuch"]).exits(2);
    assert_eq!(text(to.join("mine")), "precious");
    assert!(!to.join(".rewindfs-restore-1-2").exists());
    recover(&sandbox, &to, &[]).exits(2).says("is not empty");
    assert_eq!(text(to.join("mine")), "precious");
}

#[test]
fn a_place_that_is_not_the_one_it_was_is_not_begun_anew_in_silence() {
    let sandbox = Sandbox::new("elsewhere-replaced");
    let mounted = sandbox.mount("");
    write(mounted.join("file"), "x");
    backup(&sandbox, &[]).ok();
    let away = sandbox.join("away");
    fs::rename(place(&sandbox), &away).expect("mv");
    // As where a volume is not mounted.
    backup(&sandbox, &[])
        .exits(2)
        .says("held the backups")
        .says("--new");
    fs::create_dir(place(&sandbox)).expect("mkdir");
    backup(&sandbox, &[]).exits(2).says("and now holds none");
    assert!(names(&place(&sandbox)).is_empty());
    let other = Sandbox::new("elsewhere-replaced-other");
    other.mount("").umount();
    let begun = Cmd::rewindfs()
        .arg("backup")
        .arg(other.work())
        .arg("--to")
        .arg(place(&sandbox));
    with_password(begun).run().ok();
    backup(&sandbox, &[]).exits(2).says("and now holds others");
    fs::remove_dir_all(place(&sandbox)).expect("rm");
    backup(&sandbox, &["--new"]).ok().says("set 1, full");
    let status = mounted.command("status").arg("--json").run().ok().json();
    assert_eq!(status[0]["copies"].as_array().expect("a list").len(), 1);
    // A copy in what it is a copy of.
    for inside in [
        sandbox.work().join("inside"),
        sandbox.store().join("inside"),
    ] {
        let command = Cmd::rewindfs()
            .arg("backup")
            .arg(sandbox.work())
            .arg("--to")
            .arg(&inside);
        with_password(command)
            .run()
            .exits(2)
            .says("would be lost with it");
        assert!(!inside.exists());
    }
    mounted.umount();
}
