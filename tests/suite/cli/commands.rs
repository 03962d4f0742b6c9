//! Each command on a mounted directory and on one that is not: the same answers.

use crate::harness::{Cmd, Run, Sandbox, text, write};
use std::fs;
use std::path::{Path, PathBuf};

/// Runs a test on a directory that is mounted and on one that is not.
fn both(name: &str, test: impl Fn(&Sandbox, &dyn Fn(&str) -> Run)) {
    let sandbox = Sandbox::new(&format!("{name}-mounted"));
    write(sandbox.work().join("file"), "content");
    let mounted = sandbox.mount("");
    test(&sandbox, &|line| command(&sandbox.work(), line));
    mounted.umount();
    let sandbox = Sandbox::new(&format!("{name}-unmounted"));
    write(sandbox.work().join("file"), "content");
    sandbox.mount("").umount();
    test(&sandbox, &|line| command(&sandbox.work(), line));
}

/// `COMMAND DIR ARGS...` from the words of a line.
fn command(dir: &Path, line: &str) -> Run {
    let mut words = line.split(' ');
    let name = words.next().expect("a command");
    Cmd::rewindfs().arg(name).arg(dir).args(words).run()
}

fn names(run: Run) -> Vec<String> {
    let lines = run.ok().json();
    let name = |line: &serde_json::Value| line["name"].as_str().expect("a name").to_string();
    lines.iter().map(name).collect()
}

#[test]
fn snapshot_list_rename_and_delete() {
    both("commands", |_, run| {
        assert_eq!(names(run("list --json")), ["first"]);
        run("snapshot one").ok();
        run("snapshot two --message because").ok();
        assert_eq!(names(run("list --json")), ["first", "one", "two"]);
        run("list").ok().says("because").says("two");
        run("rename one eins").ok();
        run("delete two").ok();
        assert_eq!(names(run("list --json")), ["first", "eins"]);
        run("snapshot eins").exits(2).says("eins").says("exists");
        run("delete two").exits(2).says("two");
        run("rename eins first").exits(2).says("exists");
        run("rename gone other").exits(2).says("gone");
        assert_eq!(names(run("list --json")), ["first", "eins"]);
    });
}

#[test]
fn a_snapshot_of_the_command_line_holds_the_state() {
    both("state", |sandbox, run| {
        for n in 0..5 {
            write(sandbox.work().join("file"), n.to_string());
            run(&format!("snapshot s{n}")).ok();
        }
        let mounted = sandbox.work().join(".snapshots").exists();
        let guard = (!mounted).then(|| sandbox.mount(""));
        for n in 0..5 {
            let path = sandbox.work().join(format!(".snapshots/s{n}/file"));
            assert_eq!(text(path), n.to_string());
        }
        drop(guard);
    });
}

#[test]
fn a_snapshot_without_a_name_is_named_by_its_time() {
    both("unnamed", |_, run| {
        run("snapshot").ok();
        let names = names(run("list --json"));
        let name = names.last().expect("a snapshot");
        let shape: String = name
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        assert_eq!(shape, "0000-00-00T00-00-00.000Z");
    });
}

#[test]
fn sync_and_status_and_checkpoints() {
    both("status", |sandbox, run| {
        write(sandbox.work().join("file"), "changed");
        run("sync").ok();
        let checkpoints = run("list --checkpoints --json").ok().json();
        assert!(!checkpoints.is_empty());
        let times: Vec<&str> = checkpoints
            .iter()
            .map(|line| line["time"].as_str().expect("a time"))
            .collect();
        let mut sorted = times.clone();
        sorted.sort();
        assert_eq!(times, sorted, "oldest first, as they were made");
        let status = run("status").ok();
        for word in ["recorded", "not recorded", "history", "store", "copies"] {
            assert!(
                status.out.to_lowercase().contains(word),
                "{word}:\n{}",
                status.out
            );
        }
        for word in ["epoch", "stash", "inode", "capture", "pending"] {
            assert!(
                !status.out.contains(word),
                "{word} is ours alone:\n{}",
                status.out
            );
        }
        status.says("none: protects against people and programs");
        let json = run("status --json").ok().json();
        assert_eq!(json.len(), 1);
    });
}

#[test]
fn any_path_inside_will_do() {
    let sandbox = Sandbox::new("inside");
    fs::create_dir_all(sandbox.work().join("a/b")).expect("mkdir");
    let mounted = sandbox.mount("");
    let list = |from: PathBuf, dir: &str| {
        let run = Cmd::rewindfs()
            .args(["list", dir, "--json"])
            .within(from)
            .run();
        names(run)
    };
    let expected = ["first"];
    assert_eq!(list(sandbox.work(), "."), expected);
    assert_eq!(list(sandbox.work().join("a/b"), "."), expected);
    assert_eq!(list(sandbox.path().to_path_buf(), "work/a"), expected);
    mounted.umount();
    assert_eq!(list(sandbox.work().join("a/b"), "."), expected);
    assert_eq!(list(sandbox.path().to_path_buf(), "work/a"), expected);
}

#[test]
fn a_name_in_the_place_of_the_directory_is_understood() {
    let sandbox = Sandbox::new("mean");
    let mounted = sandbox.mount("");
    let run = Cmd::rewindfs()
        .args(["snapshot", "before-refactor"])
        .within(&mounted.point)
        .run()
        .exits(2);
    assert_eq!(
        run.err.trim_end(),
        "rewindfs: before-refactor is not in a rewindfs directory; did you mean: \
         rewindfs snapshot . before-refactor"
    );
}

#[test]
fn the_store_is_found_by_pointer_option_and_environment() {
    let sandbox = Sandbox::new("store");
    let store = sandbox.join("elsewhere");
    let run = Cmd::rewindfs()
        .arg("mount")
        .arg(sandbox.work())
        .arg("--store")
        .arg(&store)
        .run()
        .ok();
    run.says("new history in");
    let mounted = crate::harness::Mounted::found(sandbox.work(), sandbox.work());
    mounted.settled();
    mounted.umount();
    let pointer = text(sandbox.store());
    assert_eq!(pointer.trim_end(), store.display().to_string());
    assert_eq!(names(command(&sandbox.work(), "list --json")), ["first"]);
    fs::remove_file(sandbox.store()).expect("rm");
    command(&sandbox.work(), "list --json").exits(10);
    let list = || {
        Cmd::rewindfs()
            .arg("list")
            .arg(sandbox.work())
            .arg("--json")
    };
    assert_eq!(names(list().arg("--store").arg(&store).run()), ["first"]);
    assert_eq!(names(list().env("REWINDFS_STORE", &store).run()), ["first"]);
}

#[test]
fn a_renamed_directory_finds_its_history() {
    let sandbox = Sandbox::new("renamed");
    write(sandbox.work().join("file"), "content");
    sandbox.mount("").umount();
    let moved = sandbox.join("moved");
    fs::rename(sandbox.work(), &moved).expect("mv");
    Cmd::rewindfs().arg("mount").arg(&moved).run().ok();
    let mounted = crate::harness::Mounted::found(moved.clone(), moved);
    assert_eq!(text(mounted.past("first", "file")), "content");
}

#[test]
fn help_completions_and_manual() {
    let help = Cmd::rewindfs().arg("--help").run().ok();
    assert!(help.lines().len() <= 24, "one screen:\n{}", help.out);
    for name in [
        "mount", "umount", "snapshot", "list", "diff", "cat", "restore", "delete", "rename",
        "sync", "status",
    ] {
        assert!(help.out.contains(name), "{name}");
        Cmd::rewindfs().args([name, "--help"]).run().ok().says(name);
    }
    let sandbox = Sandbox::new("man");
    for (shell, check) in [("bash", "bash -n"), ("zsh", "cat"), ("fish", "cat")] {
        let run = Cmd::rewindfs().args(["completions", shell]).run().ok();
        let script = sandbox.join(shell);
        write(&script, &run.out);
        assert!(run.out.contains("snapshot"));
        Cmd::sh(&format!("{check} {}", script.display())).run().ok();
    }
    Cmd::rewindfs()
        .arg("man")
        .arg(sandbox.join("man"))
        .run()
        .ok();
    let pages = crate::harness::mount::names(&sandbox.join("man"));
    assert!(pages.contains(&"rewindfs.1".into()), "{pages:?}");
    assert!(pages.len() >= 9, "{pages:?}");
    let version = Cmd::rewindfs().arg("--version").run().ok();
    assert_eq!(
        version.out.trim_end(),
        format!("rewindfs {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn status_without_a_directory_lists_every_mount() {
    let (one, two) = (Sandbox::new("all-one"), Sandbox::new("all-two"));
    let (_a, _b) = (one.mount(""), two.mount(""));
    // Also of those of other tests, some of which hang.
    let limit = std::time::Duration::from_secs(300);
    let run = Cmd::rewindfs().arg("status").limit(limit).run();
    for sandbox in [&one, &two] {
        run.clone().says(&sandbox.work().display().to_string());
    }
}
