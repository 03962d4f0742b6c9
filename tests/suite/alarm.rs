//! The alarm: who destroys many files at once, or makes them unreadable, is named, and the state
//! before is held. Work of every day raises none, or one a day.

use crate::harness::{Cmd, Mounted, Run, Sandbox, noise, text, wait_for, write};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

const OWNER: u32 = 1234;
/// What a command does is in one state, however long it takes.
const WHOLE: &str = "interval=1h";

fn fill(folder: &Path, files: u64) {
    fs::create_dir_all(folder).expect("mkdir");
    for number in 0..files {
        let line = format!("file {number} of a text that can be compressed well\n");
        write(folder.join(format!("f{number}")), line.repeat(60));
    }
}

fn alarms(mounted: &Mounted) -> Vec<Value> {
    let run = mounted.command("status").arg("--json").run();
    let status = run.json().remove(0);
    let alarms = status["alarms"].as_array().expect("a list").clone();
    assert_eq!(run.code, i32::from(!alarms.is_empty()), "{}", run.out);
    alarms
}

/// A line of the shell in the mount, then all of it is recorded.
fn sh(mounted: &Mounted, line: &str) -> Run {
    let run = Cmd::sh(line).within(&mounted.point).run().ok();
    mounted.sync();
    run
}

fn policy(mounted: &Mounted, args: &str) -> Run {
    mounted.command("policy").args(args.split(' ')).run()
}

fn word<'a>(alarm: &'a Value, field: &str) -> &'a str {
    alarm[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} in {alarm}"))
}

#[test]
fn who_deletes_much_is_named_and_the_state_before_is_held() {
    let sandbox = Sandbox::new("alarm");
    fill(&sandbox.work().join("photos/trip"), 60);
    fill(&sandbox.work().join("other"), 60);
    let mounted = sandbox.mount(WHOLE);
    policy(&mounted, "--alarm 50")
        .ok()
        .says("alarm                from 50 files on");
    sh(&mounted, "echo last > photos/trip/note");
    sh(&mounted, "rm -rf photos/trip");
    let found = alarms(&mounted);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(word(&found[0], "kind"), "destroyed");
    assert_eq!(word(&found[0], "name"), "rm");
    assert_eq!(word(&found[0], "folder"), "photos/trip");
    assert_eq!(found[0]["files"], 61);
    let held = word(&found[0], "snapshot").to_owned();
    assert_eq!(text(mounted.past(&held, "photos/trip/note")), "last\n");
    // Nobody takes it away before its time.
    let busy = fs::remove_dir(mounted.past(&held, "")).expect_err("held");
    assert_eq!(busy.raw_os_error(), Some(libc::EBUSY));
    mounted.command("release").arg(&held).run().exits(2);
    let seen = |mounted: &Mounted| {
        mounted
            .command("status")
            .run()
            .exits(1)
            .says("alarm of")
            .says(&held);
        let log = mounted.command("list").arg("--log").run().ok();
        log.says("alarm: rm (pid ")
            .says("deleted or overwrote 61 files in photos/trip");
    };
    seen(&mounted);
    // A thread of its own writes it down.
    wait_for("the line in the log", || {
        text(sandbox.store().join("log")).contains("alarm: rm (pid ")
    });
    // The same by the same in the same folder is said once a day; elsewhere it is news.
    fill(&mounted.join("photos/trip"), 60);
    mounted.sync();
    sh(&mounted, "rm -rf photos/trip");
    assert_eq!(alarms(&mounted).len(), 1);
    mounted.umount();
    let mounted = sandbox.mount_now(WHOLE);
    seen(&mounted);
    fill(&mounted.join("photos/trip"), 60);
    mounted.sync();
    sh(&mounted, "rm -rf photos/trip");
    assert_eq!(alarms(&mounted).len(), 1, "it is known after a mount, too");
    sh(&mounted, "for f in other/*; do truncate -s 3 $f; done");
    let found = alarms(&mounted);
    assert_eq!(
        found.len(),
        2,
        "a loop of processes is one actor: {found:?}"
    );
    assert_eq!(word(&found[1], "name"), "truncate");
    mounted.umount();
}

#[test]
fn half_of_a_folder_is_much_and_less_is_not() {
    let sandbox = Sandbox::new("alarm-half");
    fill(&sandbox.work().join("small"), 150);
    for sub in ["a", "b", "c"] {
        fill(&sandbox.work().join("large").join(sub), 150);
    }
    fill(&sandbox.work().join("much"), 700);
    let mounted = sandbox.mount(WHOLE);
    sh(&mounted, "rm -rf small");
    assert!(
        alarms(&mounted).is_empty(),
        "a small folder is emptied every day"
    );
    sh(
        &mounted,
        "ls -d large/a/* large/b/* | head -n 220 | xargs rm",
    );
    assert!(alarms(&mounted).is_empty(), "less than half");
    sh(&mounted, "find large -delete");
    let found = alarms(&mounted);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (word(&found[0], "name"), word(&found[0], "folder")),
        ("find", "large")
    );
    assert_eq!(found[0]["files"], 230);
    mounted.umount();
}

#[test]
fn text_that_becomes_noise_raises_it() {
    let sandbox = Sandbox::new("alarm-noise");
    for folder in ["inplace", "renamed", "dense"] {
        fill(&sandbox.work().join(folder), 12);
    }
    for number in 0..12 {
        write(
            sandbox.work().join(format!("dense/f{number}")),
            noise(number, 4000),
        );
    }
    let mounted = sandbox.mount(WHOLE);
    let script = |body: &str| format!("python3 -c '\nimport os\nfor i in range(12):\n {body}'");
    // What was incompressible before, and what is text again, tells nothing.
    sh(
        &mounted,
        &script("open(f\"dense/f{i}\", \"r+b\").write(os.urandom(4000))"),
    );
    sh(
        &mounted,
        &script("open(f\"inplace/f{i}\", \"r+b\").write(b\"other text \" * 250)"),
    );
    assert!(alarms(&mounted).is_empty());
    sh(
        &mounted,
        &script("open(f\"inplace/f{i}\", \"r+b\").write(os.urandom(4000))"),
    );
    let found = alarms(&mounted);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(word(&found[0], "kind"), "scrambled");
    assert_eq!(word(&found[0], "folder"), "inplace");
    let held = word(&found[0], "snapshot");
    assert!(text(mounted.past(held, "inplace/f3")).starts_with("other text"));
    // Beside, and renamed over it.
    let body = "open(\"t\", \"wb\").write(os.urandom(4000)); os.rename(\"t\", f\"renamed/f{i}\")";
    sh(
        &mounted,
        &script(body).replace("python3", "exec -a crypt python3"),
    );
    let found = alarms(&mounted);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[1]["files"], 12);
    mounted.umount();
}

#[test]
fn what_destroys_nothing_raises_none() {
    let sandbox = Sandbox::new("alarm-none");
    fill(&sandbox.work().join("dir"), 80);
    let mounted = sandbox.mount(WHOLE);
    policy(&mounted, "--alarm 40").ok();
    sh(&mounted, "for f in dir/*; do echo more >> $f; done");
    sh(
        &mounted,
        "for f in dir/*; do chmod 600 $f; mv $f $f.moved; done",
    );
    sh(
        &mounted,
        "mkdir new; for i in {1..90}; do echo $i > new/$i; done; rm -r new",
    );
    assert!(alarms(&mounted).is_empty());
    policy(&mounted, "--alarm off")
        .ok()
        .says("alarm                off");
    sh(&mounted, "rm -r dir");
    assert!(alarms(&mounted).is_empty());
    for wrong in ["--alarm 0", "--alarm many"] {
        policy(&mounted, wrong)
            .exits(2)
            .says("write for example 1000");
    }
    mounted
        .command("list")
        .arg("--log")
        .run()
        .ok()
        .says("set the policy: no alarm");
    mounted.umount();
}

/// A policy by which nothing is kept but the newest state.
#[test]
fn a_state_that_would_be_pruned_is_held_all_the_same() {
    let sandbox = Sandbox::new("alarm-prune");
    fill(&sandbox.work().join("dir"), 60);
    let mounted = sandbox.mount(WHOLE);
    policy(
        &mounted,
        "--alarm 50 --keep-all 0 --keep-hourly 0 --keep-daily 0 --keep-weekly 0",
    )
    .ok();
    sh(&mounted, "echo last > dir/note");
    mounted.command("prune").run().ok();
    sh(&mounted, "rm -rf dir");
    mounted.command("prune").run().ok();
    let found = alarms(&mounted);
    let held = word(&found[0], "snapshot");
    assert_eq!(text(mounted.past(held, "dir/note")), "last\n");
    mounted.umount();
}

#[test]
fn under_a_mount_by_root_everybody_hears_of_it_and_only_some_the_folder() {
    let sandbox = Sandbox::new("alarm-users");
    let dir = sandbox.work().join("mine/private");
    fill(&dir, 60);
    for path in [sandbox.work().join("mine"), dir.clone()] {
        chown(&path, Some(OWNER), Some(OWNER)).expect("chown");
    }
    chown(sandbox.work(), Some(OWNER), Some(OWNER)).expect("chown");
    fs::set_permissions(
        sandbox.work().join("mine"),
        PermissionsExt::from_mode(0o700),
    )
    .expect("chmod");
    let mounted = sandbox.mount(WHOLE);
    policy(&mounted, "--alarm 50").ok();
    let program = sandbox.program();
    let by = |uid: u32, line: &str| {
        Cmd::new("setpriv")
            .args([
                format!("--reuid={uid}"),
                format!("--regid={uid}"),
                "--clear-groups".into(),
            ])
            .args(["bash", "-c", line])
            .env("R", &program)
            .within(&mounted.point)
            .run()
    };
    by(OWNER, "$R policy . --alarm off").exits(2);
    by(OWNER, "rm -r mine/private").ok();
    mounted.sync();
    let found = alarms(&mounted);
    assert_eq!(found[0]["uid"], OWNER);
    let owner = by(OWNER, "$R status .").exits(1);
    owner.says("mine/private");
    let nobody = by(65534, "$R status .; $R status . --json; $R list .");
    let nobody = nobody.says("deleted or overwrote 60 files");
    assert!(!nobody.out.contains("private"), "{}", nobody.out);
    mounted.umount();
}
