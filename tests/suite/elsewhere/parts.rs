//! A part of a state comes back without the rest, or before it.

use super::{backup, place, recover, with_password};
use crate::harness::compare::Tree;
use crate::harness::mount::names;
use crate::harness::{Cmd, Sandbox, noise, text, write};
use std::fs;

#[test]
fn single_paths_come_back_with_the_packs_that_they_need_and_no_history() {
    let sandbox = Sandbox::new("elsewhere-paths");
    sandbox.mount("").umount();
    fs::create_dir(sandbox.work().join("dir")).expect("mkdir");
    for n in 0..5 {
        write(
            sandbox.work().join(format!("dir/file-{n}")),
            noise(n, 70_000),
        );
        backup(&sandbox, &[]).ok();
    }
    let to = sandbox.join("only");
    recover(&sandbox, &to, &["--jobs", "0", "dir/file-3"])
        .exits(2)
        .says("a number from 1 to 64");
    let told = recover(&sandbox, &to, &["--json", "--jobs", "2", "dir/file-3"]).ok();
    let told = told.json();
    let summary = told.last().expect("a summary");
    assert_eq!(
        (&summary["packs_fetched"], &summary["restored"]),
        (&1.into(), &2.into())
    );
    assert_eq!(names(&to.join("dir")), ["file-3"]);
    assert_eq!(
        fs::read(to.join("dir/file-3")).expect("a file"),
        noise(3, 70_000)
    );
    let beside = names(sandbox.path());
    assert!(
        !beside.iter().any(|name| name.starts_with(".only")),
        "{beside:?}"
    );
    // Something of the set that these paths do not need may be missing.
    let listed = Cmd::sh("ls -1t */* | tail -1")
        .within(place(&sandbox).join("packs"))
        .run();
    let first = place(&sandbox).join("packs").join(listed.ok().lines()[0]);
    fs::remove_file(first).expect("rm");
    recover(&sandbox, &sandbox.join("more"), &["dir/file-4"]).ok();
    let lost = recover(&sandbox, &sandbox.join("lost"), &["dir/file-0"]);
    lost.exits(2).says("has no object packs/");
    let none = recover(&sandbox, &sandbox.join("none"), &["dir/none"]);
    none.exits(3).says("it was not there then");
}

#[test]
fn what_is_wanted_first_is_there_first_and_the_rest_follows() {
    let sandbox = Sandbox::new("elsewhere-first");
    sandbox.mount("").umount();
    for (seed, dir) in [(0, "db"), (10, "other")] {
        fs::create_dir(sandbox.work().join(dir)).expect("mkdir");
        for n in 0..3 {
            write(
                sandbox.work().join(format!("{dir}/file-{n}")),
                noise(seed + n, 70_000),
            );
        }
        backup(&sandbox, &[]).ok();
    }
    // The pack of what is not wanted first can't be had: the wanted ones are there all the same.
    let listed = Cmd::sh("ls -1t */* | head -1")
        .within(place(&sandbox).join("packs"))
        .run();
    let newest = place(&sandbox).join("packs").join(listed.ok().lines()[0]);
    let bytes = fs::read(&newest).expect("a pack");
    let mut flipped = bytes.clone();
    flipped[99] ^= 1;
    write(&newest, &flipped);
    let whole = Tree::read(&sandbox.work());
    let to = sandbox.join("again");
    recover(&sandbox, &to, &["--first", "db/"])
        .exits(2)
        .says("damaged");
    assert_eq!(names(&to), ["db"]);
    assert_eq!(
        fs::read(to.join("db/file-2")).expect("a file"),
        noise(2, 70_000)
    );
    write(&newest, &bytes);
    let told = recover(&sandbox, &to, &["--first", "db/", "--json"])
        .ok()
        .json();
    let summary = told.last().expect("a summary");
    assert!(
        summary["phases"]["first_seconds"].as_f64().expect("a time") > 0.0,
        "{summary}"
    );
    whole.must_equal(&Tree::read(&to), super::RECOVERED, "the directory");
    // What the directory itself says of it came with the data.
    let policy = |args: &[&str]| {
        let policy = Cmd::rewindfs().arg("policy").arg(sandbox.work());
        policy.args(args).run()
    };
    policy(&["--first", "/other/", "--first", "*.none"])
        .ok()
        .says("recovered first      /other/, *.none");
    policy(&["--no-first", "*.none"]).ok();
    policy(&["--no-first", "*.none"])
        .exits(2)
        .says("nothing comes first by");
    let log = Cmd::rewindfs().arg("list").arg(sandbox.work());
    log.arg("--log")
        .run()
        .ok()
        .says("set the policy: /other/ first");
    backup(&sandbox, &[]).ok();
    let packs = || {
        let listed = Cmd::sh("ls -1tr */* | head -1");
        listed.within(place(&sandbox).join("packs")).run()
    };
    let oldest = place(&sandbox).join("packs").join(packs().ok().lines()[0]);
    let bytes = fs::read(&oldest).expect("a pack");
    let mut flipped = bytes.clone();
    flipped[99] ^= 1;
    write(&oldest, &flipped);
    let third = sandbox.join("third");
    recover(&sandbox, &third, &[]).exits(2).says("damaged");
    assert_eq!(names(&third), ["other"]);
    write(&oldest, &bytes);
    recover(&sandbox, &third, &[]).ok();
    let again = Cmd::rewindfs().arg("policy").arg(&third).run();
    again.ok().says("recovered first      /other/");
    recover(&sandbox, &sandbox.join("bad"), &["--first", ""])
        .exits(2)
        .says("matches nothing");
}

/// Two places, of which one lacks something, or is not there at all.
#[test]
fn what_one_place_does_not_give_comes_from_the_other() {
    let sandbox = Sandbox::new("elsewhere-also");
    sandbox.mount("").umount();
    let also = sandbox.join("also");
    let url = also.to_str().expect("text").to_owned();
    for n in 0..3 {
        write(sandbox.work().join(format!("file-{n}")), noise(n, 70_000));
        backup(&sandbox, &[]).ok();
        let command = Cmd::rewindfs()
            .arg("backup")
            .arg(sandbox.work())
            .arg("--to");
        with_password(command.arg(&also)).run().ok();
    }
    let whole = Tree::read(&sandbox.work());
    let some = Cmd::sh("find packs -type f | head -2 | xargs rm");
    some.within(place(&sandbox)).run().ok();
    recover(&sandbox, &sandbox.join("alone"), &[])
        .exits(2)
        .says("missing or cut off");
    let to = sandbox.join("one");
    recover(&sandbox, &to, &["--also", &url]).ok();
    whole.must_equal(
        &Tree::read(&to),
        super::RECOVERED,
        "with what the other has",
    );
    // The first place is gone; one that can't be reached is told of.
    fs::remove_dir_all(place(&sandbox)).expect("rm");
    let to = sandbox.join("two");
    recover(&sandbox, &to, &["--also", "/nowhere", "--also", &url])
        .ok()
        .says("the others are asked");
    whole.must_equal(&Tree::read(&to), super::RECOVERED, "from the other alone");
    recover(&sandbox, &sandbox.join("none"), &["--also", "/nowhere"]).exits(2);
}

/// A name that was taken away before the newest set was made is found in an older one.
#[test]
fn a_name_that_only_earlier_sets_know_names_its_state() {
    let sandbox = Sandbox::new("elsewhere-names");
    let mounted = sandbox.mount("");
    write(mounted.join("file"), "one");
    mounted.snapshot("early");
    backup(&sandbox, &[]).ok();
    write(mounted.join("file"), "two");
    mounted
        .command("delete")
        .args(["early", "--now"])
        .run()
        .exits(1);
    mounted.snapshot("late");
    backup(&sandbox, &[]).ok();
    mounted.umount();
    let to = sandbox.join("again");
    recover(&sandbox, &to, &["--at", "early"])
        .ok()
        .says("from set 1");
    assert_eq!(text(to.join("file")), "one");
    let to = sandbox.join("newer");
    recover(&sandbox, &to, &["--at", "late"])
        .ok()
        .says("from set 2");
    assert_eq!(text(to.join("file")), "two");
}

/// What history leaves out is not there after a recovery, and is called that.
#[test]
fn what_was_left_out_is_told_as_that() {
    let sandbox = Sandbox::new("elsewhere-left-out");
    let mounted = sandbox.mount("");
    mounted
        .command("policy")
        .args(["--exclude", "cache/"])
        .run()
        .ok();
    fs::create_dir(mounted.join("cache")).expect("mkdir");
    write(mounted.join("cache/file"), "x");
    write(mounted.join("file"), "x");
    backup(&sandbox, &[]).ok();
    mounted.umount();
    let to = sandbox.join("again");
    let told = recover(&sandbox, &to, &[]).ok();
    told.says("left out: cache").says("left out of history 1");
    let command = Cmd::rewindfs()
        .arg("recover")
        .arg(place(&sandbox))
        .arg("--json");
    let told = with_password(command.arg("--to").arg(sandbox.join("json")))
        .run()
        .ok()
        .json();
    assert_eq!(told.last().expect("a summary")["left_out"], 1);
}
