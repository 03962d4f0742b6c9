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
    // Nothing is recorded but when a test says so: its scripts are not cut in two.
    let mounted = sandbox.mount("interval=1h,settle=1h");
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
    // It need not be there any more.
    assert_eq!(json("src"), std::slice::from_ref(&rm));
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
    let script = "echo one > first; sleep 2; mv src 'new src'; echo two > second";
    Cmd::new("sh")
        .args(["-c", script, "an-agent"])
        .within(&mounted.point)
        .run()
        .ok();
    mounted.sync();
    let before = log(&mounted, "");
    assert!(
        before.out.contains("echo one > first; sleep 2"),
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

#[test]
fn of_a_file_it_tells_the_versions_and_from_where_to_copy_them() {
    let (_sandbox, mounted) = scene();
    let by = |name: &str, script: &str| {
        let mut cmd = Cmd::new("sh");
        // Until its command line is read.
        cmd = cmd.args(["-c", &format!("{script}; sleep 1"), name]);
        cmd.within(&mounted.point).run().ok();
        mounted.sync();
    };
    by("first", "echo one >> notes");
    by("second", "echo three > new; mv new notes");
    by("third", "mv notes src/moved");
    let versions = |path: &str, more: &[&str]| {
        let mut cmd = Cmd::rewindfs().arg("log").arg(mounted.dir.join(path));
        cmd = cmd.arg("--json").args(more);
        cmd.run().ok().json()
    };
    let told = |line: &serde_json::Value| -> String {
        let command = line["who"][0]["command"]
            .as_array()
            .and_then(|all| all.last());
        let who = command.and_then(|one| one.as_str()).unwrap_or("?");
        let change = line["change"].as_str().expect("a letter");
        format!("{change} {who} {}", line["bytes"])
    };
    let notes = versions("notes", &[]);
    let all: Vec<String> = notes.iter().map(told).collect();
    assert_eq!(all.len(), 4, "{all:?}");
    assert!(
        all[0].starts_with("R ") && notes[0]["path"] == "src/moved",
        "{all:?}"
    );
    // What was renamed over it comes with the command that renamed it.
    assert!(
        all[1].starts_with("M ") && all[1].ends_with(" 6"),
        "{all:?}"
    );
    assert_eq!(all[2], "M first 8");
    assert_eq!(notes[3]["bytes"], 4);
    for (line, content) in [(1, "three\n"), (2, "old\none\n"), (3, "old\n")] {
        let copy = notes[line]["copy"].as_str().expect("a path");
        assert_eq!(fs::read_to_string(copy).expect("there"), content);
    }
    assert_eq!(notes[0]["copy"], serde_json::Value::Null);
    let moved = versions("src/moved", &[]);
    let sizes: Vec<_> = moved.iter().map(|line| line["bytes"].clone()).collect();
    assert_eq!(sizes, [6, 8, 4]);
    let shown = log(&mounted, "notes");
    let newest = shown.out.lines().next().expect("a line");
    assert!(newest.ends_with("  renamed to src/moved"), "{newest}");
    // By time each change, by file each path; the newest first.
    let times = versions("", &["--by", "time"]);
    assert_eq!(times[0]["change"], "R", "{times:?}");
    let (from, to) = (&times[0]["from"], &times[0]["path"]);
    assert_eq!(
        (from.as_str(), to.as_str()),
        (Some("notes"), Some("src/moved"))
    );
    let files = versions("", &["--by", "file"]);
    let notes = files
        .iter()
        .find(|line| line["path"] == "notes")
        .expect("it changed");
    assert_eq!(
        (&notes["changes"], &notes["change"]),
        (&2.into(), &"M".into())
    );
    let actors = versions("notes", &["--by", "actor", "--since", "1h"]);
    assert_eq!(actors.len(), 2, "{actors:?}");
    mounted.umount();
}
