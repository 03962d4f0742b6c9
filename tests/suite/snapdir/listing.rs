//! What `ls` shows where, and that it is never out of date.

use crate::harness::{Cmd, Sandbox, mount, sys, text, wait_for, write};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[test]
fn a_listing_is_right_after_the_command_line_made_a_snapshot() {
    let sandbox = Sandbox::new("cli-listing");
    let mounted = sandbox.mount("");
    for n in 0..10 {
        let name = format!("s{n}");
        let before = mounted.snapshots();
        assert!(!before.contains(&name));
        assert!(fs::metadata(mounted.past(&name, "")).is_err());
        mounted.command("snapshot").arg(&name).run().ok();
        assert!(
            fs::metadata(mounted.past(&name, "")).is_ok(),
            "no cached negative entry"
        );
        let mut expected = before;
        expected.push(name);
        expected.sort();
        assert_eq!(mounted.snapshots(), expected);
    }
    mounted.command("rename").args(["s3", "moved"]).run().ok();
    assert!(mounted.snapshots().contains(&"moved".into()));
    assert!(!mounted.past("s3", "").exists());
    mounted.command("delete").arg("moved").run().ok();
    assert!(!mounted.snapshots().contains(&"moved".into()));
    assert!(!mounted.past("moved", "").exists());
}

#[test]
fn a_listing_is_right_for_who_stands_in_it() {
    let sandbox = Sandbox::new("stands-in");
    let mounted = sandbox.mount("");
    let list = || {
        let run = Cmd::new("ls").within(mounted.join(".snapshots")).run().ok();
        run.out
    };
    assert_eq!(list(), "first\nlatest\n");
    mounted.command("snapshot").arg("more").run().ok();
    assert_eq!(list(), "first\nlatest\nmore\n");
}

#[test]
fn two_paths_to_one_directory_keep_two_working_directories() {
    let sandbox = Sandbox::new("two-paths");
    fs::create_dir_all(sandbox.work().join("sub/deeper")).expect("mkdir");
    write(sandbox.work().join("sub/deeper/file"), "content");
    let mounted = sandbox.mount("");
    mounted.snapshot("A");
    let paths = [
        mounted.join(".snapshots/A/sub/deeper"),
        mounted.join("sub/.snapshots/A/deeper"),
        mounted.join("sub/deeper/.snapshots/A"),
    ];
    let mut shells: Vec<_> = paths
        .iter()
        .map(|path| Cmd::new("bash").within(path).spawn_piped())
        .collect();
    for _ in 0..2 {
        for (shell, path) in shells.iter_mut().zip(&paths) {
            let input = shell.stdin.as_mut().expect("a pipe");
            writeln!(input, "/bin/pwd; cat file; echo; ls").expect("write");
            input.flush().expect("flush");
            let mut output = BufReader::new(shell.stdout.as_mut().expect("a pipe"));
            let mut lines = Vec::new();
            for _ in 0..3 {
                let mut line = String::new();
                output.read_line(&mut line).expect("read");
                lines.push(line.trim_end().to_string());
            }
            assert_eq!(lines, [&path.display().to_string(), "content", "file"]);
        }
    }
    for mut shell in shells {
        drop(shell.stdin.take());
        shell.wait().expect("the end of the shell");
    }
}

#[test]
fn every_directory_has_its_own() {
    let sandbox = Sandbox::new("each-dir");
    fs::create_dir_all(sandbox.work().join("a/b")).expect("mkdir");
    write(sandbox.work().join("a/b/file"), "old");
    let mounted = sandbox.mount("");
    write(mounted.join("a/b/file"), "new");
    assert_eq!(text(mounted.join("a/b/.snapshots/first/file")), "old");
    assert_eq!(text(mounted.join("a/.snapshots/first/b/file")), "old");
    // A directory that was renamed shows itself as it was, not its new path.
    fs::rename(mounted.join("a/b"), mounted.join("moved")).expect("mv");
    assert_eq!(text(mounted.join("moved/.snapshots/first/file")), "old");
    // Inside a snapshot there is none.
    assert!(!mounted.join(".snapshots/first/.snapshots").exists());
    assert!(!mounted.join(".snapshots/first/a/.snapshots").exists());
    assert!(!mounted.join(".snapshots/.snapshots").exists());
}

#[test]
fn a_folder_that_was_removed_and_made_again_shows_its_past() {
    let sandbox = Sandbox::new("made-again");
    fs::create_dir(sandbox.work().join("src")).expect("mkdir");
    write(sandbox.work().join("src/main"), "lost and found");
    let mounted = sandbox.mount("");
    fs::remove_dir_all(mounted.join("src")).expect("rm -rf");
    fs::create_dir(mounted.join("src")).expect("mkdir");
    assert_eq!(
        text(mounted.join("src/.snapshots/first/main")),
        "lost and found"
    );
}

#[test]
fn it_is_hidden_visible_or_disabled() {
    let sandbox = Sandbox::new("snapdir");
    fs::create_dir(sandbox.work().join("dir")).expect("mkdir");
    let mounted = sandbox.mount("");
    assert_eq!(mount::names(&mounted.point), ["dir"]);
    assert!(mounted.join(".snapshots").exists());
    mounted.umount();
    let mounted = sandbox.mount("snapdir=visible");
    assert_eq!(mount::names(&mounted.point), [".snapshots", "dir"]);
    assert!(
        mount::names(&mounted.join("dir")).is_empty(),
        "in the root alone"
    );
    let number = |listing: &Path| {
        let entry = fs::read_dir(listing)
            .expect("ls")
            .flatten()
            .find(|e| e.file_name() == ".snapshots");
        std::os::unix::fs::DirEntryExt::ino(&entry.expect("listed"))
    };
    let seen = fs::metadata(mounted.join(".snapshots"))
        .expect("stat")
        .ino();
    assert_eq!(number(&mounted.point), seen);
    mounted.umount();
    let mounted = sandbox.mount("snapdir=disabled");
    assert!(!mounted.join(".snapshots").exists());
    fs::create_dir(mounted.join(".snapshots")).expect("an ordinary name now");
    fs::remove_dir(mounted.join(".snapshots")).expect("rmdir");
    mounted.umount();
    let mounted = sandbox.mount_now("snapdirname=.past");
    wait_for("the scan", || mounted.join(".past/first").exists());
    assert!(mounted.join("dir/.past/first").exists());
    assert!(!mounted.join(".snapshots").exists());
}

#[test]
fn an_entry_of_that_name_is_served_and_ours_is_not() {
    let sandbox = Sandbox::new("shadowed");
    fs::create_dir_all(sandbox.work().join("project/.snapshots")).expect("mkdir");
    write(sandbox.work().join("project/.snapshots/theirs"), "real");
    fs::create_dir(sandbox.work().join("beside")).expect("mkdir");
    let mounted = sandbox.mount("");
    assert_eq!(
        mount::names(&mounted.join("project/.snapshots")),
        ["theirs"]
    );
    assert_eq!(mount::names(&mounted.join("project")), [".snapshots"]);
    write(mounted.join("project/.snapshots/more"), "also real");
    assert!(mounted.join("beside/.snapshots/first").exists());
    mounted.snapshot("s");
    assert_eq!(text(mounted.past("s", "project/.snapshots/theirs")), "real");
    assert_eq!(
        text(mounted.past("s", "project/.snapshots/more")),
        "also real"
    );
    mounted.command("status").run().says("project");
    fs::remove_dir_all(mounted.join("project/.snapshots")).expect("rm");
    assert!(
        mounted.join("project/.snapshots/first").exists(),
        "ours is back"
    );
}

#[test]
fn latest_follows() {
    let sandbox = Sandbox::new("latest");
    let mounted = sandbox.mount("");
    let latest = || fs::read_link(mounted.join(".snapshots/latest")).expect("readlink");
    assert_eq!(latest(), Path::new("first"));
    for n in 0..5 {
        write(mounted.join("file"), n.to_string());
        mounted.snapshot(&format!("s{n}"));
        assert_eq!(latest(), Path::new(&format!("s{n}")));
        assert_eq!(text(mounted.past("latest", "file")), n.to_string());
    }
    mounted.command("snapshot").arg("by-command").run().ok();
    assert_eq!(latest(), Path::new("by-command"));
    fs::remove_dir(mounted.past("by-command", "")).expect("rmdir");
    assert_eq!(latest(), Path::new("s4"));
    fs::rename(mounted.past("s4", ""), mounted.past("renamed", "")).expect("mv");
    assert_eq!(latest(), Path::new("renamed"));
}

#[test]
fn inode_numbers_in_the_past_are_stable() {
    let sandbox = Sandbox::new("past-inodes");
    fs::create_dir(sandbox.work().join("dir")).expect("mkdir");
    write(sandbox.work().join("dir/file"), "x");
    let numbers = |mounted: &mount::Mounted| {
        ["", "first", "first/dir", "first/dir/file"].map(|name| {
            fs::metadata(mounted.join(".snapshots").join(name))
                .expect("stat")
                .ino()
        })
    };
    let mounted = sandbox.mount("");
    let seen = numbers(&mounted);
    let live = fs::metadata(mounted.join("dir/file")).expect("stat").ino();
    assert!(!seen.contains(&live), "not the number of the living file");
    let mut distinct = seen.to_vec();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), seen.len());
    Cmd::sh("echo 2 > /proc/sys/vm/drop_caches").run().ok();
    assert_eq!(numbers(&mounted), seen);
    mounted.umount();
    let mounted = sandbox.mount("");
    assert_eq!(numbers(&mounted), seen);
}

#[test]
fn tools_that_walk_a_tree_do_not_walk_the_past() {
    let sandbox = Sandbox::new("walkers");
    write(sandbox.work().join("file"), "needle\n");
    let mounted = sandbox.mount("");
    for n in 0..3 {
        mounted.snapshot(&format!("s{n}"));
    }
    let script = "find . | wc -l; grep -r needle . | wc -l; tar c . | tar t | wc -l;
        git init -q .; git add -A; git status --short | wc -l";
    let run = Cmd::sh(script).within(&mounted.point).run().ok();
    assert_eq!(
        run.out.split_whitespace().collect::<Vec<_>>(),
        ["2", "1", "2", "1"]
    );
    Cmd::sh("rm -rf ./* .git").within(&mounted.point).run().ok();
    assert_eq!(text(mounted.past("s0", "file")), "needle\n");
    assert_eq!(
        sys::errno(&fs::metadata(mounted.join("file"))),
        libc::ENOENT
    );
}
