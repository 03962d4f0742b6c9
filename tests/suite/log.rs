//! `log`: what was done to a file or folder, when, and by which command.

use crate::harness::{Cmd, Mounted, Run, Sandbox, write};
use std::fs;

fn scene() -> (Sandbox, Mounted) {
    let sandbox = Sandbox::new("log");
    fs::create_dir(sandbox.work().join("src")).expect("mkdir");
    for n in 0..40 {
        write(sandbox.work().join(format!("src/f{n}")), "content");
    }
    write(sandbox.work().join("notes"), "old\n");
    let mounted = sandbox.mount("interval=100ms,settle=50ms");
    (sandbox, mounted)
}

fn log(mounted: &Mounted, path: &str) -> Run {
    let line = Cmd::rewindfs().arg("log").arg(mounted.dir.join(path));
    line.run().ok()
}

/// The name of who did it, and the counts of what was added, modified, deleted, renamed.
fn told(line: &serde_json::Value) -> (String, [u64; 4]) {
    let count = |field: &str| line[field].as_u64().expect("a number");
    let who = line["who"]["name"].as_str().unwrap_or("?").to_owned();
    (who, ["added", "modified", "deleted", "renamed"].map(count))
}

#[test]
fn the_log_names_who_did_what_newest_first() {
    let (_sandbox, mounted) = scene();
    Cmd::new("rm")
        .args(["-rf", "src"])
        .within(&mounted.point)
        .run()
        .ok();
    mounted.sync();
    Cmd::new("sed")
        .args(["-i", "s/old/new/", "notes"])
        .within(&mounted.point)
        .run()
        .ok();
    let json = |path: &str| {
        let mut cmd = Cmd::rewindfs().arg("log").arg(mounted.dir.join(path));
        cmd = cmd.args(["--json", "--since", "1h"]);
        let run = cmd.run().ok();
        run.json().iter().map(told).collect::<Vec<_>>()
    };
    let sed = ("sed".to_owned(), [0, 1, 0, 0]);
    let rm = ("rm".to_owned(), [0, 0, 41, 0]);
    assert_eq!(json("notes"), std::slice::from_ref(&sed));
    // It need not be there any more.
    assert_eq!(json("src"), std::slice::from_ref(&rm));
    assert_eq!(json("src/f7"), [("rm".to_owned(), [0, 0, 1, 0])]);
    let all = json("");
    assert_eq!(&all[..2], [sed, rm]);
    let shown = log(&mounted, "");
    assert!(shown.out.contains("modified: notes\n"), "{}", shown.out);
    assert!(shown.out.contains("  41 deleted\n"), "{}", shown.out);
    mounted.umount();
}

#[test]
fn a_command_line_is_told_also_when_nothing_is_mounted() {
    let (sandbox, mounted) = scene();
    let script = "echo one > first; sleep 0.5; mv src 'new src'; echo two > second";
    Cmd::new("sh")
        .args(["-c", script, "an-agent"])
        .within(&mounted.point)
        .run()
        .ok();
    mounted.sync();
    let before = log(&mounted, "");
    assert!(
        before.out.contains("echo one > first; sleep 0.5"),
        "{}",
        before.out
    );
    let dir = mounted.dir.clone();
    mounted.umount();
    let after = Cmd::rewindfs().arg("log").arg(&dir).run().ok();
    assert_eq!(after.out, before.out);
    drop(sandbox);
}

#[test]
fn a_bad_time_and_a_path_without_history_are_refused() {
    let (sandbox, mounted) = scene();
    let bad = mounted.command("log").args(["--since", "soon"]);
    bad.run().exits(2).says("soon");
    Cmd::rewindfs()
        .arg("log")
        .arg(sandbox.path())
        .run()
        .exits(10)
        .says("not in a rewindfs directory");
    mounted.umount();
}
