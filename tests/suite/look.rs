//! `events`, `find` and `bisect`: looking through the past.

use crate::harness::{Cmd, Mounted, Sandbox, write};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

fn scene(name: &str) -> (Sandbox, Mounted) {
    let sandbox = Sandbox::new(name);
    fs::create_dir(sandbox.work().join("src")).expect("mkdir");
    write(sandbox.work().join("src/a.rs"), "a");
    write(sandbox.work().join("notes"), "old\n");
    // Nothing is recorded but when a test says so: its scripts are not cut in two.
    let mounted = sandbox.mount("interval=1h,settle=1h");
    (sandbox, mounted)
}

fn change(line: &Value) -> String {
    let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
    match line["from"].as_str() {
        Some(from) => format!("{} {from} > {}", text("change"), text("path")),
        None => format!("{} {}", text("change"), text("path")),
    }
}

fn events(mounted: &Mounted, args: &[&str]) -> Vec<Value> {
    mounted.command("events").args(args).run().ok().json()
}

#[test]
fn events_tell_each_change_once_and_who_made_it() {
    let (_sandbox, mounted) = scene("events");
    let script = "rm src/a.rs; printf x > \"$(printf 'odd\\377\\nname')\"";
    let by = |script: &str| {
        let cmd = Cmd::new("sh").args(["-c", script]);
        cmd.within(&mounted.point).run().ok();
        mounted.sync();
    };
    by(script);
    by("mv src lib; chmod 600 notes");
    let all = events(&mounted, &[]);
    let told: Vec<String> = all.iter().map(change).collect();
    assert_eq!(
        told,
        [
            "A odd\u{fffd}\nname",
            "D src/a.rs",
            "R src > lib",
            "m notes"
        ]
        .map(str::to_owned)
    );
    // Any byte of a name comes through.
    let hex: String = b"odd\xff\nname"
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(all[0]["path_hex"], Value::String(hex));
    assert!(
        mounted
            .point
            .join(OsStr::from_bytes(b"odd\xff\nname"))
            .exists()
    );
    assert_eq!(all[1]["who"][0]["name"], "rm");
    assert_eq!(all[1]["old_bytes"], 1);
    // From each token on comes what stands behind it, and nothing before.
    for (number, line) in all.iter().enumerate() {
        let token = line["token"].as_str().expect("a token");
        let rest = events(&mounted, &["--since", token]);
        assert_eq!(rest, all[number + 1..]);
    }
    assert_eq!(events(&mounted, &["--since", "1h"]), all);
    let below = Cmd::rewindfs().arg("events").arg(mounted.join("lib"));
    assert_eq!(below.run().ok().json().len(), 1);
    let bad = mounted.command("events").args(["--since", "12345678-zz"]);
    bad.run().exits(2).says("is no token");
    let dir = mounted.dir.clone();
    mounted.umount();
    let unmounted = Cmd::rewindfs().arg("events").arg(&dir);
    assert_eq!(unmounted.run().ok().json(), all);
    let follow = Cmd::rewindfs().arg("events").arg(&dir).arg("--follow");
    follow.run().exits(2).says("is not mounted");
}

#[test]
fn who_follows_is_told_as_it_happens() {
    let (_sandbox, mounted) = scene("follow");
    let mut child = mounted.command("events").arg("--follow").spawn_piped();
    let out = child.stdout.take().expect("piped");
    let (lines, told) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let line: Value = serde_json::from_str(&line).expect("JSON");
            if lines.send(change(&line)).is_err() {
                return;
            }
        }
    });
    // It tells from its beginning on, whenever that is.
    let mut round = 0;
    let first = loop {
        round += 1;
        write(mounted.join(&format!("new{round}")), "x");
        mounted.sync();
        if let Ok(line) = told.recv_timeout(Duration::from_millis(700)) {
            break line;
        }
        assert!(round < 30, "nothing is told");
    };
    assert!(first.starts_with("A new"), "{first}");
    fs::remove_file(mounted.join("notes")).expect("rm");
    mounted.sync();
    let limit = Duration::from_secs(20);
    while told.recv_timeout(limit).expect("told") != "D notes" {}
    child.kill().expect("killed");
    child.wait().expect("ended");
    reader.join().expect("read");
    mounted.umount();
}

#[test]
fn find_knows_every_name_that_ever_was_and_where_to_copy_it_from() {
    let (_sandbox, mounted) = scene("find");
    fs::rename(mounted.join("src"), mounted.join("lib")).expect("mv");
    mounted.sync();
    fs::remove_dir_all(mounted.join("lib")).expect("rm -r");
    mounted.sync();
    write(mounted.join("b.rs"), "b");
    mounted.sync();
    let found = |pattern: &str| -> Vec<(String, bool)> {
        let run = mounted.command("find").args([pattern, "--json"]).run();
        let mut found: Vec<_> = run
            .ok()
            .json()
            .iter()
            .map(|line| {
                let copy = line["copy"].as_str().expect("a path");
                if line["kind"] == "file" {
                    fs::read(copy).expect("it can be copied from there");
                }
                let path = line["path"].as_str().expect("a path").to_owned();
                (path, line["is_there"].as_bool().expect("a boolean"))
            })
            .collect();
        found.sort();
        found
    };
    let there = |path: &str| (path.to_owned(), true);
    let gone = |path: &str| (path.to_owned(), false);
    assert_eq!(
        found("*.rs"),
        [there("b.rs"), gone("lib/a.rs"), gone("src/a.rs")]
    );
    assert_eq!(found("src/*"), [gone("src/a.rs")]);
    assert_eq!(found("lib"), [gone("lib")]);
    // The last column is what cp takes.
    let shown = mounted.command("find").arg("src/a.rs").run().ok();
    let copy = shown.out.split_whitespace().last().expect("a path");
    let script = format!("cp {copy} got && cat got");
    let got = Cmd::sh(&script).within(&mounted.point).run().ok();
    assert_eq!(got.out, "a");
    mounted.command("find").arg("nothing*").run().exits(1);
    let bad = mounted.command("find").arg("[").run();
    bad.exits(2).says("is no pattern");
    mounted.umount();
}

/// Ten versions of a program in a folder; in the seventh, somebody else breaks it.
fn broken() -> (Sandbox, Mounted) {
    let (sandbox, mounted) = scene("bisect");
    for version in 1..=10 {
        let answer = if version < 7 { "right" } else { "wrong" };
        // What ends at once may be gone before its command line is read.
        let pause = if (6..=8).contains(&version) { 1 } else { 0 };
        let by = Cmd::new("sh").args([
            "-c",
            &format!("echo echo {answer} {version} > src/run; sleep {pause}"),
            &format!("author-{version}"),
        ]);
        by.within(&mounted.point).run().ok();
        mounted.snapshot(&format!("v{version}"));
    }
    (sandbox, mounted)
}

#[test]
fn bisect_names_the_change_that_broke_it_and_who_made_it() {
    let (_sandbox, mounted) = broken();
    let bisect = |args: &[&str]| {
        Cmd::rewindfs()
            .arg("bisect")
            .arg(&mounted.dir)
            .args(args)
            .run()
    };
    let ends = ["--good", "v1", "--bad", "latest", "--"];
    let test = "sh src/run | grep -q right && ! touch new 2> /dev/null";
    let run = bisect(&[&ends[..], &["sh", "-c", test]].concat()).ok();
    assert!(run.out.starts_with("first bad state: "), "{}", run.out);
    let run = run.says("M\tsrc/run").says("author-7");
    // About half of them each time, and both ends.
    let tries = run.err.matches("to try").count();
    assert!((2..=4).contains(&tries), "{}", run.err);
    assert!(run.err.contains("rewindfs: 1 state left, "), "{}", run.err);
    // In a copy the command may write, and finds what it wrote gone in the next.
    let test = "! test -e new && touch new && sh src/run | grep -q right";
    let run = bisect(&[&["--writable"], &ends[..], &["sh", "-c", test]].concat()).ok();
    run.says("author-7");
    assert!(!mounted.join("new").exists());
    // A folder is enough, and what can't be tried is gone around.
    let test = "case `cat run` in *[67]) exit 125;; esac; sh run | grep -q right";
    let folder = mounted.join("src");
    let cmd = Cmd::rewindfs().arg("bisect").arg(&folder).args(ends);
    let run = cmd.args(["sh", "-c", test]).run().exits(1);
    run.says("one of 3")
        .says("author-6")
        .says("author-7")
        .says("author-8");
    let dir = mounted.dir.clone();
    mounted.umount();
    let unmounted = Cmd::rewindfs().arg("bisect").arg(&dir);
    unmounted
        .args(ends)
        .arg("true")
        .run()
        .exits(2)
        .says("--writable");
    let test = "sh src/run | grep -q right";
    let unmounted = Cmd::rewindfs().arg("bisect").arg(&dir).arg("--writable");
    let run = unmounted.args(ends).args(["sh", "-c", test]).run().ok();
    run.says("author-7");
}

#[test]
fn bisect_refuses_what_would_name_the_wrong_change() {
    let (_sandbox, mounted) = broken();
    let bisect = |args: &[&str]| {
        Cmd::rewindfs()
            .arg("bisect")
            .arg(&mounted.dir)
            .args(args)
            .run()
    };
    bisect(&["--good", "v8", "--bad", "v2", "--", "true"])
        .exits(2)
        .says("is not older");
    bisect(&[
        "--good", "v8", "--bad", "v9", "--", "grep", "-q", "right", "src/run",
    ])
    .exits(2)
    .says("does not succeed in v8");
    bisect(&["--good", "v1", "--bad", "v2", "--", "true"])
        .exits(2)
        .says("does not fail in v2");
    bisect(&[
        "--good",
        "v1",
        "--bad",
        "v9",
        "--",
        "sh",
        "-c",
        "kill -9 $$",
    ])
    .exits(2)
    .says("125 that it can't tell");
    bisect(&["--good", "v1", "--bad", "v9", "--", "/no/such/program"])
        .exits(2)
        .says("/no/such/program");
    mounted.umount();
}
