//! Promise 9: nothing is missing from history in silence. One list in `status` names what is missing,
//! why, and since when; everybody is told the same, without names.

use crate::harness::run::wait_for;
use crate::harness::{Cmd, Mounted, Sandbox, write};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};

const NOBODY: &str = "65534";

/// A process that stands in a folder until the test ends.
struct Standing(Child);

impl Drop for Standing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Another file system in a folder of the mount; it goes before the mount does.
struct Other<'a>(&'a Path);

impl Drop for Other<'_> {
    fn drop(&mut self) {
        Cmd::new("umount").arg("-l").arg(self.0).run();
    }
}

fn told(mounted: &Mounted, program: &Path, uid: &str) -> Value {
    let who = ["--reuid", uid, "--regid", uid, "--clear-groups"];
    let status = Cmd::new("setpriv").args(who).arg(program).arg("status");
    let run = status.arg(&mounted.point).arg("--json").run();
    run.json().remove(0)
}

/// Of each kind the first entry.
fn list(status: &Value) -> BTreeMap<String, Value> {
    let all = status["missing"].as_array().expect("a list").iter().rev();
    let kind = |one: &Value| one["kind"].as_str().expect("a kind").to_owned();
    all.map(|one| (kind(one), one.clone())).collect()
}

#[test]
fn whatever_is_missing_is_in_one_list_with_its_reason_and_since_when() {
    let sandbox = Sandbox::new("missing");
    let work = sandbox.work();
    for folder in ["his-output", "his-project/.snapshots", "his-disk"] {
        fs::create_dir_all(work.join(folder)).expect("mkdir");
    }
    write(work.join("file"), "one");
    let mut sleep = Command::new("sleep");
    let _inside = Standing(sleep.arg("1000").current_dir(&work).spawn().expect("sleep"));
    let mounted = sandbox.mount("");
    let sound = list(&told(&mounted, &sandbox.program(), "0"));
    assert_eq!(sound.keys().collect::<Vec<_>>(), ["process", "shadowed"]);
    mounted
        .command("policy")
        .args(["--exclude", "/his-output/"])
        .run()
        .ok();
    mounted.sync();
    mounted.kill();
    write(work.join("file"), "two");
    let mounted = sandbox.mount("interval=1h,settle=1h");
    let disk = mounted.join("his-disk");
    Cmd::new("mount")
        .args(["-t", "tmpfs", "none"])
        .arg(&disk)
        .run()
        .ok();
    let _disk = Other(&disk);
    write(mounted.join("file"), "three");
    let program = sandbox.program();
    wait_for("the change to be counted", || {
        list(&told(&mounted, &program, "0")).contains_key("not_yet")
    });
    let full = list(&told(&mounted, &program, "0"));
    let disk_name = disk.display().to_string();
    // Kind, what, why.
    let kinds = [
        (
            "excluded",
            "what matches /his-output/",
            "on purpose: his-output/",
        ),
        (
            "mount",
            disk_name.as_str(),
            "another file system is mounted there",
        ),
        ("not_yet", "changes", "they are not recorded yet"),
        ("process", "what sleep (pid ", "it stands in"),
        (
            "shadowed",
            "the view of the past in his-project",
            "an entry of that name",
        ),
        (
            "unrecorded",
            "what was changed",
            "rewindfs ended without an unmount",
        ),
    ];
    assert_eq!(full.len(), kinds.len(), "{full:#?}");
    let page = mounted.command("status").run();
    for (kind, what, why) in kinds {
        let one = &full[kind];
        let text = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
        assert!(text("what").starts_with(what), "{one}");
        assert!(text("why").contains(why), "{one}");
        assert!(
            text("since").ends_with('Z') && !text("cure").is_empty(),
            "{one}"
        );
        page.clone().says(what).says(why);
    }
    assert!(full["unrecorded"]["until"].is_string());
    // By where it stands now, and no longer than it is there.
    let theirs = |folder: &str| {
        let status = told(&mounted, &program, "0");
        status["left_out"]["shadowed"] == serde_json::json!([folder])
    };
    fs::rename(mounted.join("his-project"), mounted.join("his-other")).expect("mv");
    assert!(theirs("his-other"));
    fs::rename(mounted.join("his-other"), mounted.join("his-project")).expect("mv");
    assert!(theirs("his-project"));
    // Everybody hears of all of it, and of no name.
    let status = told(&mounted, &program, NOBODY);
    let for_all = list(&status);
    assert_eq!(
        for_all.keys().collect::<Vec<_>>(),
        full.keys().collect::<Vec<_>>()
    );
    for (kind, one) in &for_all {
        assert_eq!(one["since"], full[kind]["since"], "{one}");
        let why = one["why"].as_str().expect("why");
        assert!(!why.is_empty() && !one["what"].as_str().expect("what").is_empty());
    }
    let text = status.to_string();
    assert!(!text.contains("his-") && !text.contains("sleep"), "{text}");
    fs::remove_dir(mounted.join("his-project/.snapshots")).expect("rmdir");
    assert!(!list(&told(&mounted, &program, "0")).contains_key("shadowed"));
}
