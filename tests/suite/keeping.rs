//! What is kept and what goes: names that are taken away by accident, holds, the log, the policy,
//! and pruning with its plan, mounted and not.

use crate::harness::{Cmd, Mounted, Run, Sandbox, noise, text, write};
use serde_json::Value;
use std::fs;
use std::path::Path;

const NOTHING: &str = "policy --keep-all 0 --keep-hourly 0 --keep-daily 0 --keep-weekly 0";

/// `COMMAND DIR ARGS...` from the words of a line.
fn command(dir: &Path, line: &str) -> Run {
    let mut words = line.split(' ');
    let name = words.next().expect("a command");
    Cmd::rewindfs().arg(name).arg(dir).args(words).run()
}

fn names(run: Run) -> Vec<String> {
    let lines = run.ok().json();
    let name = |line: &Value| line["name"].as_str().expect("a name").to_string();
    lines.iter().map(name).collect()
}

fn number(value: &Value, field: &str) -> u64 {
    value[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field} in {value}"))
}

/// Each of these goes wild in the folder of the states; what it says does not matter.
const RAMPAGES: [&str; 7] = [
    "rm -rf .snapshots",
    "rm -rf .snapshots/*",
    "find .snapshots -delete",
    "find .snapshots -depth -exec rm -rf {} +",
    "git init -q . 2> /dev/null; git clean -fdx; rm -rf .git",
    "mkdir -p ../empty; rsync -a --delete --force ../empty/ .snapshots/",
    "python3 -c 'import shutil; shutil.rmtree(\".snapshots\", ignore_errors=True)'",
];

/// The same beside the mounted directory: all of it, what is mounted too.
const FROM_ABOVE: [&str; 5] = [
    "rm -rf work",
    "find work -delete",
    "mkdir -p empty; rsync -a --delete --force empty/ work/",
    "git init -q . 2> /dev/null; git clean -fdxq work; rm -rf .git",
    "python3 -c 'import shutil; shutil.rmtree(\"work\", ignore_errors=True)'",
];

/// Never anywhere but in a folder of this test: what is not there is not entered.
fn rampage(dir: &Path, line: &str) {
    let text = dir.to_str().expect("UTF-8");
    assert!(text.contains("/rewindfs-rampage-"), "{text}");
    let script = format!(
        "cd '{text}' || exit 1; case $PWD in */rewindfs-rampage-*) ;; *) exit 1 ;; esac; {line}"
    );
    Cmd::new("bash").args(["-c", &script]).within(dir).run();
}

fn all_come_back(mounted: &Mounted, after: &str) {
    for (name, content) in [("one", "1"), ("two", "2")] {
        if !mounted.past(name, "").exists() {
            let deleted = names(command(&mounted.dir, "list --deleted --json"));
            assert!(deleted.contains(&name.to_string()), "{after}: {deleted:?}");
            command(&mounted.dir, &format!("undelete {name}")).ok();
        }
        let path = mounted.past(name, "folder/file");
        assert_eq!(text(path), content, "{after}");
    }
    assert_eq!(text(mounted.past("held", "folder/file")), "2", "{after}");
}

#[test]
fn no_rampage_destroys_a_state() {
    let sandbox = Sandbox::new("rampage");
    fs::create_dir(sandbox.work().join("folder")).expect("mkdir");
    write(sandbox.work().join("folder/file"), "1");
    let mounted = sandbox.mount("snapdir=visible");
    mounted.snapshot("one");
    write(mounted.join("folder/file"), "2");
    mounted.snapshot("two");
    mounted.snapshot("held");
    command(&mounted.dir, "hold held --reason audit").ok();
    let states = mounted.join(".snapshots");
    for line in RAMPAGES {
        rampage(&mounted.point, line);
        all_come_back(&mounted, line);
        // From inside: in the folder of the states, and in a state.
        let inside = line.replace(".snapshots", ".");
        rampage(&states, &inside);
        all_come_back(&mounted, &format!("{line}, inside"));
        rampage(&mounted.past("one", ""), &inside);
        all_come_back(&mounted, &format!("{line}, inside a state"));
    }
    for line in FROM_ABOVE {
        rampage(sandbox.path(), line);
        assert!(!mounted.join("folder/file").exists(), "it did go wild");
        all_come_back(&mounted, line);
        fs::create_dir_all(mounted.join("folder")).expect("mkdir");
        write(mounted.join("folder/file"), "3");
    }
    mounted.umount();
    let mounted = sandbox.mount_now("");
    all_come_back(&mounted, "the next mount");
}

#[test]
fn a_held_snapshot_is_busy_and_one_with_a_date_until_then() {
    let sandbox = Sandbox::new("hold");
    let mounted = sandbox.mount("");
    mounted.snapshot("a");
    mounted.snapshot("b");
    let dir = mounted.dir.clone();
    command(&dir, "hold a --reason audit").ok();
    command(&dir, "hold b --until 30d").ok();
    for name in ["a", "b"] {
        let error = fs::remove_dir(mounted.past(name, "")).expect_err("held");
        assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
        command(&dir, &format!("delete {name}"))
            .exits(2)
            .says("is held");
        command(&dir, &format!("delete {name} --now")).exits(2);
    }
    command(&dir, "release b")
        .exits(2)
        .says("no command ends that before");
    command(&dir, "hold b")
        .exits(2)
        .says("no command ends that before");
    command(&dir, "hold b --until 2d").exits(2);
    command(&dir, "hold a --until yesterday")
        .exits(2)
        .says("would have ended already");
    command(&dir, "hold a --until soon")
        .exits(2)
        .says("is not a day");
    command(&dir, "release a").ok();
    command(&dir, "release a").exits(2).says("is not held");
    fs::remove_dir(mounted.past("a", "")).expect("released");
    mounted.umount();
    command(&dir, "delete b").exits(2).says("is held");
    command(&dir, "undelete a").ok();
    command(&dir, "undelete a").exits(2).says("list --deleted");
    let log = command(&dir, "list --log --json").ok().json();
    let deeds: Vec<&str> = log
        .iter()
        .filter_map(|line| line["deed"].as_str())
        .collect();
    assert_eq!(
        deeds,
        [
            "made",
            "made",
            "made",
            "held",
            "held",
            "released",
            "deleted",
            "undeleted"
        ]
    );
    command(&dir, "list --log")
        .ok()
        .says("held a: audit")
        .says("uid 0");
}

#[test]
fn what_is_deleted_now_goes_unless_something_else_needs_it() {
    let sandbox = Sandbox::new("delete-now");
    let mounted = sandbox.mount("");
    write(mounted.join("file"), "a secret");
    mounted.snapshot("a");
    write(mounted.join("file"), "other");
    mounted.snapshot("b");
    let dir = mounted.dir.clone();
    command(&dir, "delete a --now")
        .ok()
        .says("its state is gone");
    assert_eq!(names(command(&dir, "list --deleted --json")), [""; 0]);
    command(&dir, "undelete a").exits(2);
    command(&dir, "delete b --now")
        .exits(1)
        .says("it is the newest");
    let found = mounted
        .checkpoints()
        .into_iter()
        .any(|state| fs::read_to_string(state.join("file")).is_ok_and(|text| text == "a secret"));
    assert!(!found);
    command(&dir, "undelete b").ok();
    assert_eq!(text(mounted.past("b", "file")), "other");
}

/// States with one MiB of their own each; the third of them has a name.
fn history(mounted: &Mounted) {
    for n in 0..8 {
        write(mounted.join("big"), noise(n, 1 << 20));
        write(mounted.join("small"), n.to_string());
        command(&mounted.dir, "sync").ok();
        if n == 2 {
            mounted.snapshot("named");
        }
    }
}

fn disk_bytes(store: &Path) -> u64 {
    let run = Cmd::new("du").arg("-sb").arg(store).run().ok();
    let first = run.out.split_whitespace().next().expect("a number");
    first.parse().expect("a number")
}

fn prunes_as_planned(dir: &Path) {
    let checkpoints = || command(dir, "list --checkpoints --json").ok().json();
    let before = checkpoints();
    let at_first = command(dir, "prune --dry-run --json").ok().json();
    assert_eq!(number(&at_first[0], "drops"), 0, "all are of today");
    command(dir, NOTHING).ok().says("would go by it now");
    assert_eq!(
        checkpoints(),
        before,
        "what was kept before stays for a day"
    );
    let plan = command(dir, "prune --dry-run --json").ok().json().remove(0);
    assert!(number(&plan, "drops") >= 6, "{plan}");
    assert!(number(&plan, "frees_bytes") > 5 << 20, "{plan}");
    assert_eq!(checkpoints(), before, "a dry run drops nothing");
    let done = command(dir, "prune --json").ok().json().remove(0);
    assert_eq!(done["states"], plan["drops"]);
    assert_eq!(done["bytes"], plan["frees_bytes"], "to the byte");
    let left = checkpoints();
    assert_eq!(
        left.len() as u64 + number(&done, "states"),
        before.len() as u64
    );
    command(dir, "prune")
        .ok()
        .says("0 of ")
        .says("dropped 0 checkpoints");
    command(dir, "list --log")
        .ok()
        .says("dropped ")
        .says("set the policy: all 0s");
}

#[test]
fn pruning_a_mounted_directory_does_what_the_plan_said() {
    let sandbox = Sandbox::new("prune-mounted");
    let mounted = sandbox.mount("interval=1h");
    history(&mounted);
    prunes_as_planned(&mounted.dir);
    assert_eq!(text(mounted.past("named", "small")), "2");
    assert_eq!(
        fs::read(mounted.past("named", "big")).expect("whole"),
        noise(2, 1 << 20)
    );
    assert_eq!(text(mounted.join("small")), "7");
    write(mounted.join("small"), "goes on");
    mounted.snapshot("after");
    assert_eq!(text(mounted.past("after", "small")), "goes on");
}

#[test]
fn pruning_an_unmounted_directory_gives_the_space_back() {
    let sandbox = Sandbox::new("prune-unmounted");
    let mounted = sandbox.mount("interval=1h");
    history(&mounted);
    let dir = mounted.dir.clone();
    mounted.umount();
    let before = disk_bytes(&sandbox.store());
    prunes_as_planned(&dir);
    // What the database logs at its opening is not history.
    let after = disk_bytes(&sandbox.store());
    assert!(before > after + (4 << 20), "{before} before, {after} after");
    let mounted = sandbox.mount("");
    assert_eq!(text(mounted.past("named", "small")), "2");
    assert_eq!(
        fs::read(mounted.past("named", "big")).expect("whole"),
        noise(2, 1 << 20)
    );
}

#[test]
fn a_store_that_is_too_large_says_so_and_what_is_young_stays() {
    let sandbox = Sandbox::new("size");
    let mounted = sandbox.mount("interval=1h");
    history(&mounted);
    let dir = mounted.dir.clone();
    command(&dir, "policy --max-size 1M").ok().says("1.0 MiB");
    let plan = command(&dir, "prune --dry-run")
        .exits(1)
        .says("0 of ")
        .says("larger than it may be")
        .says("the last 1h, however large it is")
        .says("snapshots  ");
    assert!(!plan.out.contains("all within"), "{}", plan.out);
    command(&dir, "policy --max-size none").ok().says("any");
    command(&dir, "policy --max-size 5X").exits(2).says("5X");
    command(&dir, "policy --keep-all 1.5d")
        .exits(2)
        .says("1.5d");
}

#[test]
fn verify_finds_damage_and_names_what_it_touches() {
    let sandbox = Sandbox::new("verify");
    let mounted = sandbox.mount("");
    history(&mounted);
    let dir = mounted.dir.clone();
    let sound = |depth: &str| {
        let line = format!("verify {depth} --json").replace("  ", " ");
        let report = command(&dir, &line).ok().json().remove(0);
        assert_eq!(number(&report, "problems"), 0, "{report}");
        assert!(number(&report, "chunks") > 8, "{report}");
        report
    };
    sound("--data");
    mounted.umount();
    assert_eq!(number(&sound("--data"), "hashed_percent"), 100);
    assert_eq!(number(&sound("--sample 10"), "hashed_percent"), 10);
    assert_eq!(number(&sound(""), "hashed_percent"), 0);
    command(&dir, "verify --sample 101").exits(2);
    command(&dir, "verify").ok().says("no problem found");
    // A bit in the largest file of the database, where the chunks are.
    let files = fs::read_dir(sandbox.store().join("rocks")).expect("the database");
    let sst = files
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|end| end == "sst"))
        .max_by_key(|path| fs::metadata(path).expect("its size").len())
        .expect("a file of records");
    let mut bytes = fs::read(&sst).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&sst, bytes).expect("writable");
    let run = command(&dir, "verify --data").exits(1);
    run.says("big: the content of a file can't be read; state");
    let report = command(&dir, "verify --data --json")
        .exits(1)
        .json()
        .remove(0);
    assert!(number(&report, "problems") > 0, "{report}");
}
