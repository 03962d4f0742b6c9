//! `mnt-examples/quickstart.sh`, the first thing that a newcomer types: as root and as an ordinary
//! user, with and without DIR, with things missing, and with a result that is not as it should
//! be. The build is not repeated: `cargo` is a stand-in, and the program is the one under test.

use crate::harness::{Cmd, Mounted, Run, Sandbox, mount, script_at, text, write};
use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::time::Duration;

const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/// A folder in which the script finds what it needs.
struct Stage {
    sandbox: Sandbox,
}

impl Stage {
    fn new(name: &str) -> Stage {
        let stage = Stage {
            sandbox: Sandbox::new(name),
        };
        stage.tool("bin/cargo", "#!/bin/sh\necho \"cargo $*\" >&2\n");
        fs::create_dir_all(stage.release()).expect("mkdir");
        let program = stage.sandbox.program();
        fs::rename(program, stage.release().join("rewindfs")).expect("mv");
        let script = stage.sandbox.join("mnt-examples/quickstart.sh");
        fs::create_dir_all(script.parent().expect("a parent")).expect("mkdir");
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/mnt-examples/quickstart.sh");
        fs::copy(own, script).expect("the script");
        let home = stage.sandbox.join("home");
        fs::create_dir_all(home.join("tmp")).expect("mkdir");
        for folder in [&home, &home.join("tmp")] {
            chown(folder, Some(65_534), Some(65_534)).expect("chown");
        }
        stage
    }

    fn release(&self) -> PathBuf {
        self.sandbox.join("target/release")
    }

    fn tool(&self, name: &str, script: &str) {
        let path = self.sandbox.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        script_at(&path, script);
    }

    /// The script with its arguments, behind what it runs in.
    fn script(&self, within: &[&str], args: &[&str]) -> Run {
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = self.sandbox.join("bin");
        Cmd::new("env")
            .args(within)
            .args(["bash", "mnt-examples/quickstart.sh"])
            .args(args)
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("CARGO_TARGET_DIR", self.sandbox.join("target"))
            .env("HOME", self.sandbox.join("home"))
            .env("TMPDIR", self.sandbox.join("home/tmp"))
            .within(self.sandbox.path())
            .limit(Duration::from_secs(120))
            .run()
    }

    /// The demonstration left nothing behind.
    fn must_be_clean(&self) {
        let left = mount::below(self.sandbox.path());
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(
            mount::names(&self.sandbox.join("home/tmp")),
            Vec::<String>::new()
        );
    }
}

fn as_nobody() -> Vec<&'static str> {
    let mut within = vec!["setpriv"];
    within.extend(NOBODY);
    within
}

#[test]
fn it_shows_what_it_does_twice_in_a_row_and_leaves_nothing() {
    let stage = Stage::new("quickstart");
    for within in [Vec::new(), Vec::new(), as_nobody()] {
        let run = stage.script(&within, &[]).ok();
        for shown in [
            "about 13 minutes",
            "$ cargo build --release",
            "$ rewindfs mount .",
            "$ mkdir .snapshots/before-refactor",
            "$ cp -a .snapshots/latest/notes .",
            "$ rewindfs umount project",
            "byte for byte",
        ] {
            assert!(run.out.contains(shown), "no {shown:?} in\n{}", run.out);
        }
        stage.must_be_clean();
    }
}

#[test]
fn a_directory_is_mounted_and_each_command_that_it_shows_works_as_it_stands() {
    let stage = Stage::new("quickstart-dir");
    for (within, name) in [
        (Vec::new(), "a dir, with 'signs"),
        (as_nobody(), "home/b c"),
    ] {
        let dir = stage.sandbox.join(name);
        fs::create_dir(&dir).expect("mkdir");
        write(dir.join("FILE"), "content");
        if !within.is_empty() {
            chown(&dir, Some(65_534), Some(65_534)).expect("chown");
        }
        let run = stage.script(&within, &[dir.to_str().expect("text")]).ok();
        let mounted = Mounted::found(dir.clone(), dir.clone());
        let shown: Vec<&str> = run
            .out
            .lines()
            .skip_while(|line| !line.starts_with("Mounted."))
            .filter_map(|line| line.strip_prefix("  "))
            .collect();
        assert_eq!(shown.len(), 4, "{}", run.out);
        let typed = |line: &str| {
            let words = ["bash", "-c", line];
            let all: Vec<&str> = within.iter().copied().chain(words).collect();
            let home = stage.sandbox.join("home");
            Cmd::new("env").args(all).within(home).run().ok()
        };
        let program = stage.release().join("rewindfs").display().to_string();
        typed(&format!("{program} sync {}", &shown[0]["ls ".len()..]));
        typed(shown[0]).says("first");
        typed(shown[1]);
        typed(&format!("test -e {}/FILE", &shown[1]["mkdir ".len()..]));
        typed(shown[2]);
        assert_eq!(text(stage.sandbox.join("home/FILE")), "content");
        fs::remove_file(stage.sandbox.join("home/FILE")).expect("rm");
        typed(shown[3]);
        mounted.must_be_gone();
        mounted.forget();
    }
}

#[test]
fn what_is_missing_is_said_in_one_line_that_can_be_typed() {
    let stage = Stage::new("quickstart-missing");
    // A folder with every program but some.
    let without = |tools: &str, user: &[&str]| {
        let line = format!(
            "rm -rf rest; mkdir rest; ln -sf $(find /usr/bin /usr/sbin -maxdepth 1 ! -type d) rest
             cd rest; rm -f {tools}"
        );
        Cmd::sh(&line).within(stage.sandbox.path()).run().ok();
        let path = ["bin", "rest"].map(|name| stage.sandbox.join(name).display().to_string());
        let path = format!("PATH={}", path.join(":"));
        let mut within = vec![path.as_str()];
        within.extend(user);
        stage.script(&within, &[])
    };
    let run = without("clang fusermount3 sudo", &as_nobody()).exits(1);
    let last = run.out.lines().last().expect("a line");
    assert_eq!(last, "  apt-get install -y clang fuse3");
    assert!(!run.out.contains("cargo build"), "{}", run.out);
    fs::rename(stage.sandbox.join("bin"), stage.sandbox.join("other")).expect("mv");
    let run = without("cargo", &[]).exits(1);
    fs::rename(stage.sandbox.join("other"), stage.sandbox.join("bin")).expect("mv");
    assert_eq!(
        run.err.lines().last(),
        Some("quickstart: cargo is missing: install Rust from https://rustup.rs")
    );
    // Root has it done. The stand-in writes down what it was asked for.
    stage.tool(
        "bin/apt-get",
        "#!/bin/sh\necho \"apt-get $*\" >> home/asked\n",
    );
    without("fusermount3", &[])
        .ok()
        .says("$ apt-get install -y fuse3");
    assert_eq!(
        text(stage.sandbox.join("home/asked")),
        "apt-get update -q\napt-get install -y fuse3\n"
    );
    stage.must_be_clean();
}

#[test]
fn help_and_nonsense() {
    let stage = Stage::new("quickstart-help");
    let run = stage.script(&[], &["--help"]).ok();
    assert!(run.out.contains("mounts it over DIR"), "{}", run.out);
    assert!(!run.out.contains("set -"), "{}", run.out);
    for args in [&["--nonsense"][..], &["a", "b"], &["missing"]] {
        let run = stage.script(&[], args).exits(1);
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
        assert_eq!(run.out, "");
    }
}

#[test]
fn a_wrong_result_ends_it_with_an_error() {
    let stage = Stage::new("quickstart-wrong");
    // What it restores is not what it was.
    stage.tool(
        "target/release/cp",
        "#!/bin/sh\n/bin/cp \"$@\" || exit\ncase $1 in .snapshots/*main.rs) echo more >> main.rs ;; esac\n",
    );
    let run = stage.script(&[], &[]);
    assert_ne!(run.code, 0, "{}", run.out);
    run.says("main.rs is not what it was");
    stage.must_be_clean();
    // A command that fails ends it, too.
    stage.tool("target/release/cp", "#!/bin/sh\nexit 3\n");
    let run = stage.script(&[], &[]);
    assert_ne!(run.code, 0, "{}", run.out);
    stage.must_be_clean();
}
