//! Mounting and taking it off: who stands in the way, signals, and that a caller gets its pipe
//! back.

use crate::harness::{Cmd, Mounted, Sandbox, mount, run, sys, text, wait_for, write};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::process::Child;
use std::time::Duration;

/// A process that stands in a directory until it is ended.
struct Standing(Child);

impl Standing {
    fn within(dir: &std::path::Path) -> Standing {
        let mut shell = Cmd::new("bash")
            .args(["-c", "echo here; read line"])
            .within(dir)
            .spawn_piped();
        let mut line = String::new();
        let out = shell.stdout.as_mut().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("read");
        assert_eq!(line, "here\n");
        Standing(shell)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.kill();
        let _ = run::wait(&mut self.0, Duration::from_secs(10));
    }
}

#[test]
fn who_stands_inside_before_the_mount_is_named() {
    let sandbox = Sandbox::new("inside-before");
    let shell = Standing::within(&sandbox.work());
    write(sandbox.work().join("open"), "x");
    let _held = File::open(sandbox.work().join("open")).expect("open");
    let run = Cmd::rewindfs().arg("mount").arg(sandbox.work()).run().ok();
    let _mounted = Mounted::found(sandbox.work(), sandbox.work());
    let me = std::process::id().to_string();
    run.says(&shell.pid())
        .says("bash")
        .says("cd \"$PWD\"")
        .says(&me);
}

#[test]
fn the_calling_shell_is_named_first() {
    let sandbox = Sandbox::new("calling-shell");
    let script = format!(
        "{} mount . && cd \"$PWD\" && ls .snapshots >/dev/null; echo shell $$",
        env!("CARGO_BIN_EXE_rewindfs")
    );
    let _other = Standing::within(&sandbox.work());
    let run = Cmd::new("bash")
        .args(["-c", &script])
        .within(sandbox.work())
        .run()
        .ok();
    let _mounted = Mounted::found(sandbox.work(), sandbox.work());
    let pid = run
        .out
        .lines()
        .find_map(|line| line.strip_prefix("shell "))
        .expect("its pid");
    let both = format!("{}{}", run.err, run.out);
    let named: Vec<&str> = both.lines().filter(|line| line.contains("bash")).collect();
    assert!(
        named.first().is_some_and(|line| line.contains(pid)),
        "{both}"
    );
}

#[test]
fn strict_refuses_when_somebody_stands_inside() {
    let sandbox = Sandbox::new("strict");
    let shell = Standing::within(&sandbox.work());
    let run = Cmd::rewindfs()
        .arg("mount")
        .arg(sandbox.work())
        .arg("--strict")
        .run()
        .exits(2);
    run.says(&shell.pid());
    assert!(mount::at(&sandbox.work()).is_none());
    assert!(!sandbox.store().exists(), "nothing was changed");
}

#[test]
fn a_busy_mount_stays_and_says_who_uses_it() {
    let sandbox = Sandbox::new("busy");
    let mounted = sandbox.mount("");
    let shell = Standing::within(&mounted.point);
    write(mounted.join("file"), "x");
    let file = File::open(mounted.join("file")).expect("open");
    let run = mounted.try_umount().exits(2);
    run.clone().says(&shell.pid()).says("bash");
    run.says(&std::process::id().to_string());
    assert!(mount::at(&mounted.point).is_some());
    assert_eq!(text(mounted.join("file")), "x", "it goes on serving");
    mounted.snapshot("still-there");
    drop(file);
    drop(shell);
    mounted.umount();
}

#[test]
fn force_takes_it_off_whoever_uses_it() {
    let sandbox = Sandbox::new("force");
    let mounted = sandbox.mount("");
    let _shell = Standing::within(&mounted.point);
    write(mounted.join("file"), "content");
    let mut file = File::open(mounted.join("file")).expect("open");
    Cmd::rewindfs()
        .arg("umount")
        .arg(&mounted.point)
        .arg("--force")
        .run()
        .ok();
    mounted.must_be_gone();
    let error = File::open("/proc/self/fd/0").and_then(|_| file.read(&mut [0; 1]).map(drop));
    let cached_or_dead = [0, libc::ENOTCONN, libc::ECONNABORTED, libc::EIO];
    assert!(cached_or_dead.contains(&sys::errno(&error)));
    let meta = file.metadata();
    assert!([0, libc::ENOTCONN].contains(&sys::errno(&meta)));
    mounted.forget();
    assert_eq!(text(sandbox.work().join("file")), "content");
    let mounted = sandbox.mount("");
    assert_eq!(text(mounted.join("file")), "content");
}

#[test]
fn a_detached_mount_does_not_go_on_serving() {
    let sandbox = Sandbox::new("sigterm-busy");
    let mounted = sandbox.mount("");
    fs::create_dir(mounted.join("dir")).expect("mkdir");
    let shell = Standing::within(&mounted.join("dir"));
    let file = File::create(mounted.join("file")).expect("create");
    let [pid] = mounted.daemons()[..] else {
        panic!("one daemon, not {:?}", mounted.daemons());
    };
    sys::kill(pid, libc::SIGTERM);
    wait_for("the daemon to go", || mounted.daemons().is_empty());
    mounted.must_be_gone();
    let late = (&file).write(b"too late");
    assert!(late.is_err(), "a write after the end must not be swallowed");
    mounted.forget();
    drop(shell);
    assert_eq!(
        fs::metadata(sandbox.work().join("file"))
            .expect("stat")
            .len(),
        0
    );
}

#[test]
fn sigterm_unmounts_and_loses_nothing() {
    let sandbox = Sandbox::new("sigterm");
    let mounted = sandbox.mount("interval=1h");
    write(mounted.join("file"), "last words");
    let [pid] = mounted.daemons()[..] else {
        panic!("one daemon, not {:?}", mounted.daemons());
    };
    sys::kill(pid, libc::SIGTERM);
    wait_for("the daemon to go", || mounted.daemons().is_empty());
    mounted.must_be_gone();
    mounted.forget();
    // It was captured on the way out: no scan is needed to see it.
    let run = Cmd::rewindfs()
        .arg("list")
        .arg(sandbox.work())
        .args(["--checkpoints", "--json"])
        .run()
        .ok();
    assert!(run.json().len() >= 2, "{}", run.out);
}

#[test]
fn in_the_foreground_it_ends_with_the_signal() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let sandbox = Sandbox::new("foreground");
        let mut child = Cmd::rewindfs()
            .arg("mount")
            .arg(sandbox.work())
            .arg("--foreground")
            .spawn();
        wait_for("the mount", || mount::at(&sandbox.work()).is_some());
        let mounted = Mounted::found(sandbox.work(), sandbox.work());
        // Nobody says here when it is ready to answer.
        wait_for("an answer", || mounted.command("sync").run().code == 0);
        write(mounted.join("file"), "x");
        sys::kill(child.id() as i32, signal);
        let status = run::wait(&mut child, Duration::from_secs(90)).expect("it ends");
        assert!(status.success() || status.code() == Some(130), "{status:?}");
        mounted.must_be_gone();
        mounted.forget();
    }
}

#[test]
fn the_callers_pipe_is_given_back() {
    let sandbox = Sandbox::new("pipe");
    let program = env!("CARGO_BIN_EXE_rewindfs");
    let script = format!("out=$({program} mount work 2>&1 | cat); echo done");
    let run = Cmd::sh(&script)
        .within(sandbox.path())
        .limit(Duration::from_secs(120))
        .run()
        .ok();
    assert_eq!(run.out, "done\n");
    let _mounted = Mounted::found(sandbox.work(), sandbox.work());
}

#[test]
fn the_mount_is_usable_when_mount_returns() {
    let sandbox = Sandbox::new("usable");
    for n in 0..5 {
        let mounted = sandbox.mount_now("");
        write(mounted.join("file"), n.to_string());
        assert_eq!(text(mounted.join("file")), n.to_string());
        mounted.umount();
        assert_eq!(text(sandbox.work().join("file")), n.to_string());
    }
}

#[test]
fn mounted_elsewhere_it_serves_there() {
    let sandbox = Sandbox::new("elsewhere");
    write(sandbox.work().join("file"), "x");
    let mounted = sandbox.mount_beside("");
    assert_eq!(text(mounted.join("file")), "x");
    assert!(!sandbox.work().join(".snapshots").exists());
    mounted.snapshot("s");
    for dir in [&mounted.point, &mounted.dir] {
        Cmd::rewindfs().arg("list").arg(dir).run().ok().says("s");
    }
    Cmd::rewindfs().arg("umount").arg(&mounted.dir).run().ok();
    mounted.must_be_gone();
    mounted.forget();
}

#[test]
fn the_store_is_private() {
    let sandbox = Sandbox::new("private");
    let _mounted = sandbox.mount("");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("stat").mode();
    assert_eq!(mode(&sandbox.store()) & 0o7777, 0o700);
    for entry in fs::read_dir(sandbox.store()).expect("ls").flatten() {
        use std::os::unix::fs::FileTypeExt;
        if entry.file_type().expect("type").is_socket() {
            assert_eq!(mode(&entry.path()) & 0o777, 0o600, "{:?}", entry.path());
        }
    }
    let program = sandbox.program();
    for way in [sandbox.store().join("socket"), sandbox.store().join("db")] {
        let seen = sys::as_user(1234, 1234, &[1234], || fs::symlink_metadata(&way));
        assert_eq!(sys::errno(&seen), libc::EACCES, "{}", way.display());
    }
    let verify = sys::as_user(1234, 1234, &[1234], || {
        Cmd::new(&program)
            .arg("verify")
            .arg(sandbox.work())
            .run()
            .code
    });
    assert_ne!(
        verify, 0,
        "what tells of every file is not for another user"
    );
}
