//! Several passwords, and new ones, for what was sent once.

use super::{backup, place};
use crate::harness::mount::names;
use crate::harness::{Cmd, Run, Sandbox, write};
use std::collections::BTreeSet;

fn key(sandbox: &Sandbox, action: &str, password: &str, more: &[&str]) -> Run {
    let command = Cmd::rewindfs()
        .args(["key", action])
        .arg(place(sandbox))
        .args(more);
    command.env("REWINDFS_PASSWORD", password).run()
}

fn opens(sandbox: &Sandbox, password: &str) -> bool {
    let command = Cmd::rewindfs().arg("backups").arg(place(sandbox));
    command.env("REWINDFS_PASSWORD", password).run().code == 0
}

fn all_objects(sandbox: &Sandbox) -> BTreeSet<String> {
    let found = Cmd::sh("find packs segments indexes heads -type f | xargs sha256sum");
    let found = found.within(place(sandbox)).run().ok();
    found
        .lines()
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}

#[test]
fn passwords_come_go_and_change_and_nothing_is_sent_again() {
    let sandbox = Sandbox::new("elsewhere-key");
    sandbox.mount("").umount();
    write(sandbox.work().join("file"), "x");
    backup(&sandbox, &[]).ok();
    let before = all_objects(&sandbox);
    let own = super::PASSWORD;
    let listed = key(&sandbox, "list", own, &["--json"]).ok().json();
    assert_eq!((listed.len(), &listed[0]["given"]), (1, &true.into()));
    let first = listed[0]["key"].as_str().expect("a name").to_owned();
    // The only one stays.
    key(&sandbox, "remove", own, &[&first])
        .exits(2)
        .says("the last password");
    key(&sandbox, "list", "wrong", &[])
        .exits(12)
        .says("the password is wrong");
    key(&sandbox, "add", "wrong", &[]).exits(12);
    key(&sandbox, "add", own, &[])
        .exits(2)
        .says("give the new password");
    let file = sandbox.join("new");
    write(&file, "second\n");
    let file = file.to_str().expect("text");
    key(&sandbox, "add", own, &["--new-password-file", file])
        .ok()
        .says("added: ");
    assert!(opens(&sandbox, own) && opens(&sandbox, "second"));
    assert_eq!(names(&place(&sandbox).join("keys")).len(), 2);
    // Change: the one that was given goes, the other stays.
    let changed = key(
        &sandbox,
        "change",
        "second",
        &["--new-password-command", "echo third", "--json"],
    );
    let changed = changed.ok().json();
    assert!(changed[0]["added"] != changed[0]["removed"], "{changed:?}");
    assert!(opens(&sandbox, own) && opens(&sandbox, "third") && !opens(&sandbox, "second"));
    // A password may be removed with itself, as long as another one stays.
    key(&sandbox, "remove", own, &[&first])
        .ok()
        .says("removed: ");
    assert!(!opens(&sandbox, own) && opens(&sandbox, "third"));
    key(&sandbox, "remove", "third", &["0000000000000000"])
        .exits(2)
        .says("has no password");
    let last = names(&place(&sandbox).join("keys"));
    // What can't be read is no password that would be left.
    write(place(&sandbox).join("keys/0123456789abcdef"), "damaged");
    key(&sandbox, "list", "third", &[]).exits(1).says("DAMAGED");
    key(&sandbox, "remove", "third", &[&last[0]])
        .exits(2)
        .says("the last password");
    key(&sandbox, "remove", "third", &["0123456789abcdef"]).ok();
    assert_eq!(all_objects(&sandbox), before);
    let plain = sandbox.join("plain");
    let command = Cmd::rewindfs()
        .arg("backup")
        .arg(sandbox.work())
        .arg("--no-encryption");
    command.arg("--to").arg(&plain).run().ok();
    let none = Cmd::rewindfs().args(["key", "list"]).arg(&plain).run();
    none.exits(2).says("is not encrypted");
}
