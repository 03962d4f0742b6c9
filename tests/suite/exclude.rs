//! What is left out of history on purpose: folders and files by pattern, caches, large files. Nothing
//! of them is recorded, nothing that restores touches them, and what comes in or goes out is recorded
//! as that.

use crate::harness::mount::names;
use crate::harness::{Cmd, Mounted, Run, Sandbox, noise, sys, text, wait_for, write};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

mod below;
mod deaths;
mod hints;
mod random;
mod restores;

const SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55\n";

fn policy(dir: &Path, words: &[&str]) -> Run {
    Cmd::rewindfs().arg("policy").arg(dir).args(words).run()
}

fn status(dir: &Path) -> Value {
    let run = Cmd::rewindfs().arg("status").arg(dir).arg("--json").run();
    run.json().remove(0)
}

fn diff(dir: &Path, a: &str, b: &str) -> Vec<String> {
    let run = Cmd::rewindfs().arg("diff").arg(dir).args([a, b]).run();
    run.lines().iter().map(ToString::to_string).collect()
}

fn make(path: impl AsRef<Path>) {
    fs::create_dir_all(path).expect("mkdir");
}

/// A tree as cargo leaves it.
fn project(root: &Path) {
    make(root.join("target/debug/deps"));
    make(root.join("src"));
    write(root.join("src/main.rs"), "fn main() {}");
    write(root.join("target/debug/app"), noise(1, 100_000));
    write(root.join("target/debug/deps/app.o"), "object");
}

fn left_out_in(mounted: &Mounted, state: &str, folder: &str) {
    let past = mounted.past(state, folder);
    assert!(past.is_dir(), "{} is there", past.display());
    assert_eq!(names(&past), Vec::<String>::new(), "{state}: {folder}");
}

#[test]
fn a_folder_that_is_left_out_is_an_empty_folder_in_every_state_from_then_on() {
    let sandbox = Sandbox::new("exclude");
    project(&sandbox.work());
    let mounted = sandbox.mount("");
    mounted.snapshot("before");
    fs::set_permissions(mounted.join("target"), PermissionsExt::from_mode(0o710)).expect("chmod");
    policy(&mounted.dir, &["--exclude", "/target/"])
        .ok()
        .says("target");
    mounted.snapshot("after");
    left_out_in(&mounted, "after", "target");
    let mode = fs::metadata(mounted.past("after", "target"))
        .expect("stat")
        .mode();
    assert_eq!(mode & 0o7777, 0o710);
    assert_eq!(
        text(mounted.past("before", "target/debug/deps/app.o")),
        "object"
    );
    // Writing goes on, and nothing of it is in any state.
    write(mounted.join("target/debug/new"), "new");
    write(mounted.join("target/debug/app"), noise(2, 100_000));
    fs::remove_file(mounted.join("target/debug/deps/app.o")).expect("rm");
    write(mounted.join("src/lib.rs"), "lib");
    mounted.snapshot("later");
    left_out_in(&mounted, "later", "target");
    assert_eq!(text(mounted.past("later", "src/lib.rs")), "lib");
    assert_eq!(
        diff(&mounted.dir, "before", "later"),
        ["A\tsrc/lib.rs", "m\ttarget"]
    );
    // Named, with since when and why.
    let status = status(&mounted.dir);
    let rule = &status["left_out"]["excluded"][0];
    assert_eq!(rule["pattern"], "/target/");
    assert_eq!(rule["folders"][0], "target");
    let page = Cmd::rewindfs().arg("status").arg(&mounted.dir).run();
    page.says("what matches /target/, since ");
    Cmd::rewindfs()
        .arg("list")
        .arg(&mounted.dir)
        .arg("--log")
        .run()
        .says("leaves out /target/");
    // In again: all of it, at the next state.
    policy(&mounted.dir, &["--no-exclude", "/target/"]).ok();
    mounted.snapshot("again");
    assert_eq!(text(mounted.past("again", "target/debug/new")), "new");
    assert_eq!(
        fs::read(mounted.past("again", "target/debug/app")).expect("read"),
        noise(2, 100_000)
    );
    assert!(!mounted.past("again", "target/debug/deps/app.o").exists());
    left_out_in(&mounted, "later", "target");
    write(mounted.join("target/debug/deps/b.o"), "b");
    mounted.snapshot("watched");
    assert_eq!(text(mounted.past("watched", "target/debug/deps/b.o")), "b");
    Cmd::rewindfs().arg("verify").arg(&mounted.dir).run().ok();
    mounted.umount().ok();
}

#[test]
fn a_folder_that_is_left_out_is_named_by_where_it_stands_now() {
    let sandbox = Sandbox::new("exclude-renamed");
    for folder in ["a/b/node_modules", "old"] {
        make(sandbox.work().join(folder));
        write(sandbox.work().join(folder).join("x"), "x");
    }
    let mounted = sandbox.mount("");
    let rules = ["node_modules", "/old/", "/new/"];
    for rule in rules {
        policy(&mounted.dir, &["--exclude", rule]).ok();
    }
    mounted.snapshot("before");
    let folders =
        |rule: usize| status(&mounted.dir)["left_out"]["excluded"][rule]["folders"].clone();
    assert_eq!(folders(0), serde_json::json!(["a/b/node_modules"]));
    let to = |from: &str, to: &str| fs::rename(mounted.join(from), mounted.join(to)).expect(from);
    // A folder above it, and itself, without a look at it afterwards.
    to("a/b", "a/c");
    assert_eq!(folders(0), serde_json::json!(["a/c/node_modules"]));
    to("a", "d");
    to("d/c/node_modules", "node_modules");
    assert_eq!(folders(0), serde_json::json!(["node_modules"]));
    let page = Cmd::rewindfs().arg("status").arg(&mounted.dir).run();
    page.says("on purpose: node_modules/");
    // From one rule to another.
    assert_eq!(folders(1), serde_json::json!(["old"]));
    to("old", "new");
    assert_eq!(folders(1), serde_json::json!([]));
    assert_eq!(folders(2), serde_json::json!(["new"]));
    fs::remove_dir_all(mounted.join("node_modules")).expect("rm -r");
    assert_eq!(folders(0), serde_json::json!([]));
}

#[test]
fn what_is_changed_after_a_move_that_failed_is_recorded() {
    let sandbox = Sandbox::new("exclude-failed-move");
    make(sandbox.work().join("plain"));
    make(sandbox.work().join("out/full/x"));
    let mounted = sandbox.mount("interval=1h,settle=1h");
    policy(&mounted.dir, &["--exclude", "/out/"]).ok();
    mounted.snapshot("before");
    let plain = mounted.join("plain");
    let mode = |mode| fs::set_permissions(&plain, PermissionsExt::from_mode(mode)).expect("chmod");
    mode(0o777);
    let failed = fs::rename(&plain, mounted.join("out/full"));
    assert_eq!(sys::errno(&failed), libc::ENOTEMPTY);
    mode(0o700);
    mounted.snapshot("after");
    let recorded = fs::metadata(mounted.past("after", "plain")).expect("stat");
    assert_eq!(recorded.mode() & 0o7777, 0o700);
}

#[test]
fn what_a_rule_took_away_nobody_deleted_and_what_comes_back_nobody_made() {
    let sandbox = Sandbox::new("exclude-doings");
    project(&sandbox.work());
    let mounted = sandbox.mount("");
    mounted.snapshot("before");
    policy(&mounted.dir, &["--exclude", "/target/"]).ok();
    mounted.snapshot("later");
    let log = || {
        let log = Cmd::rewindfs().arg("log");
        log.arg(mounted.join("target/debug")).run().out
    };
    assert!(!log().contains("deleted"), "{}", log());
    write(mounted.join("target/debug/new"), "new");
    policy(&mounted.dir, &["--no-exclude", "/target/"]).ok();
    mounted.snapshot("again");
    assert!(!log().contains("added"), "{}", log());
    assert_eq!(diff(&mounted.dir, "later", "again"), Vec::<String>::new());
    let events = Cmd::rewindfs().arg("events").arg(&mounted.dir).run().ok();
    assert!(!events.out.contains("target/debug"), "{}", events.out);
}

#[test]
fn who_has_only_the_state_before_is_told_of_all_that_is_there_again() {
    let sandbox = Sandbox::new("exclude-delta");
    project(&sandbox.work());
    let mounted = sandbox.mount("");
    policy(&mounted.dir, &["--exclude", "/target/"]).ok();
    mounted.snapshot("later");
    policy(&mounted.dir, &["--no-exclude", "/target/"]).ok();
    mounted.snapshot("again");
    policy(&mounted.dir, &["--exclude", "/target/"]).ok();
    mounted.snapshot("out");
    let changes = |state: &str| mounted.point.join(".snapshots/.incremental").join(state);
    assert_eq!(
        text(changes("again").join(".changes")),
        "A\ttarget/debug\nA\ttarget/debug/app\nA\ttarget/debug/deps\nA\ttarget/debug/deps/app.o\n"
    );
    assert_eq!(
        text(changes("again").join("target/debug/deps/app.o")),
        "object"
    );
    assert_eq!(text(changes("out").join(".changes")), "");
}

#[test]
fn what_crosses_the_border_is_recorded_as_that() {
    let sandbox = Sandbox::new("exclude-moves");
    let work = sandbox.work();
    make(work.join("out/folder/deep"));
    make(work.join("in/folder/deep"));
    for side in ["out", "in"] {
        write(work.join(side).join("file"), side);
        write(work.join(side).join("other"), side);
        write(work.join(side).join("folder/deep/file"), side);
    }
    let mounted = sandbox.mount("");
    policy(
        &mounted.dir,
        &["--exclude", "/out/", "--exclude", "hidden*"],
    )
    .ok();
    mounted.snapshot("start");
    let to = |from: &str, to: &str| {
        fs::rename(mounted.join(from), mounted.join(to)).unwrap_or_else(|e| panic!("{from}: {e}"));
    };
    // Files.
    to("out/file", "in/came");
    to("in/file", "out/went");
    mounted.snapshot("files");
    assert_eq!(text(mounted.past("files", "in/came")), "out");
    assert!(!mounted.past("files", "in/file").exists());
    write(mounted.join("in/came"), "changed");
    mounted.snapshot("changed");
    assert_eq!(text(mounted.past("changed", "in/came")), "changed");
    // Folders, and what is done in them at once.
    to("out/folder", "in/came folder");
    write(mounted.join("in/came folder/deep/new"), "new");
    mounted.snapshot("came");
    assert_eq!(
        text(mounted.past("came", "in/came folder/deep/file")),
        "out"
    );
    assert_eq!(text(mounted.past("came", "in/came folder/deep/new")), "new");
    to("in/folder", "out/went folder");
    mounted.snapshot("went");
    assert!(!mounted.past("went", "in/folder").exists());
    assert_eq!(text(mounted.past("came", "in/folder/deep/file")), "in");
    left_out_in(&mounted, "went", "out");
    // By its name alone.
    to("in/came folder", "in/hidden folder");
    to("in/other", "in/hidden file");
    write(mounted.join("in/hidden folder/deep/more"), "more");
    mounted.snapshot("hidden");
    left_out_in(&mounted, "hidden", "in/hidden folder");
    assert_eq!(
        names(&mounted.past("hidden", "in")),
        ["came", "hidden folder"]
    );
    to("in/hidden folder", "in/shown folder");
    to("in/hidden file", "in/shown file");
    mounted.snapshot("shown");
    assert_eq!(
        text(mounted.past("shown", "in/shown folder/deep/more")),
        "more"
    );
    assert_eq!(text(mounted.past("shown", "in/shown file")), "in");
    // One for the other.
    write(mounted.join("out/swap"), "out");
    make(mounted.join("out/swap folder"));
    write(mounted.join("out/swap folder/x"), "out");
    for (a, b) in [
        ("out/swap", "in/shown file"),
        ("out/swap folder", "in/shown folder"),
    ] {
        sys::renameat2(&mounted.join(a), &mounted.join(b), libc::RENAME_EXCHANGE).expect("swap");
    }
    mounted.snapshot("swapped");
    assert_eq!(text(mounted.past("swapped", "in/shown file")), "out");
    assert_eq!(names(&mounted.past("swapped", "in/shown folder")), ["x"]);
    // There and back again.
    to("in/came", "out/came");
    write(mounted.join("out/came"), "while out");
    to("out/came", "in/came");
    mounted.snapshot("back");
    assert_eq!(text(mounted.past("back", "in/came")), "while out");
    assert_eq!(text(mounted.past("changed", "in/came")), "changed");
    Cmd::rewindfs().arg("verify").arg(&mounted.dir).run().ok();
    // What a mount finds is the same.
    let before = diff(&mounted.dir, "back", "live");
    assert_eq!(before, Vec::<String>::new());
    mounted.umount().ok();
    let mounted = sandbox.mount("");
    assert_eq!(diff(&mounted.dir, "back", "live"), Vec::<String>::new());
}

#[test]
fn a_file_with_a_name_that_is_recorded_is_recorded() {
    let sandbox = Sandbox::new("exclude-links");
    make(sandbox.work().join("out"));
    write(sandbox.work().join("both"), "1");
    fs::hard_link(sandbox.work().join("both"), sandbox.work().join("out/both")).expect("link");
    write(sandbox.work().join("out/first"), "2");
    fs::hard_link(
        sandbox.work().join("out/first"),
        sandbox.work().join("out/second"),
    )
    .expect("link");
    let mounted = sandbox.mount("");
    policy(&mounted.dir, &["--exclude", "/out/"]).ok();
    mounted.snapshot("start");
    // By the name that is not recorded.
    write(mounted.join("out/both"), "changed");
    write(mounted.join("out/first"), "nobody sees");
    mounted.snapshot("changed");
    assert_eq!(text(mounted.past("changed", "both")), "changed");
    assert_eq!(text(mounted.past("start", "both")), "1");
    left_out_in(&mounted, "changed", "out");
    // A name that is recorded comes later.
    fs::hard_link(mounted.join("out/second"), mounted.join("third")).expect("link");
    mounted.snapshot("linked");
    assert_eq!(text(mounted.past("linked", "third")), "nobody sees");
    write(mounted.join("out/first"), "everybody sees");
    mounted.snapshot("seen");
    assert_eq!(text(mounted.past("seen", "third")), "everybody sees");
    Cmd::rewindfs().arg("verify").arg(&mounted.dir).run().ok();
}

#[test]
fn a_cache_is_what_has_a_valid_tag_as_long_as_it_has_it() {
    let sandbox = Sandbox::new("exclude-caches");
    let work = sandbox.work();
    for folder in ["cache", "forged", "plain"] {
        make(work.join(folder));
        write(work.join(folder).join("file"), folder);
    }
    write(work.join("cache/CACHEDIR.TAG"), SIGNATURE);
    write(
        work.join("forged/CACHEDIR.TAG"),
        "Signature: something else entirely, and long enough",
    );
    let mounted = sandbox.mount("");
    policy(&mounted.dir, &["--exclude-caches"]).ok();
    mounted.snapshot("start");
    left_out_in(&mounted, "start", "cache");
    assert_eq!(text(mounted.past("start", "forged/file")), "forged");
    let restore = ["--at", "start", "--delete"];
    write(mounted.join("cache/more"), "more");
    Cmd::rewindfs()
        .arg("restore")
        .arg(&mounted.dir)
        .args(restore)
        .run()
        .ok();
    assert_eq!(text(mounted.join("cache/more")), "more");
    // A tag comes, one is mended, one is broken, one goes.
    write(mounted.join("plain/CACHEDIR.TAG"), SIGNATURE);
    write(mounted.join("forged/CACHEDIR.TAG"), SIGNATURE);
    let seen = |name: &str, folder: &str, count: usize| {
        let mut round = 0;
        wait_for(&format!("{folder} to hold {count} names"), || {
            round += 1;
            let state = format!("{name}{round}");
            mounted.snapshot(&state);
            names(&mounted.past(&state, folder)).len() == count
        });
    };
    seen("plain", "plain", 0);
    seen("forged", "forged", 0);
    write(mounted.join("forged/CACHEDIR.TAG"), "no more");
    fs::remove_file(mounted.join("cache/CACHEDIR.TAG")).expect("rm");
    seen("broken", "forged", 2);
    seen("gone", "cache", 2);
    // As cargo makes its own: elsewhere, and then moved into its place.
    make(mounted.join("tmp"));
    write(mounted.join("tmp/CACHEDIR.TAG"), SIGNATURE);
    fs::rename(mounted.join("tmp"), mounted.join("target")).expect("mv");
    write(mounted.join("target/object"), "object");
    seen("cargo", "target", 0);
    policy(&mounted.dir, &["--no-exclude-caches"]).ok();
    mounted.snapshot("all");
    assert_eq!(text(mounted.past("all", "target/object")), "object");
    assert_eq!(text(mounted.past("all", "plain/file")), "plain");
}

#[test]
fn the_content_of_large_files_is_left_out_and_never_taken_for_empty() {
    let sandbox = Sandbox::new("exclude-large");
    write(sandbox.work().join("small"), "small");
    write(sandbox.work().join("large"), noise(3, 300_000));
    let mounted = sandbox.mount("");
    mounted.snapshot("before");
    policy(&mounted.dir, &["--max-file-size", "200K"])
        .ok()
        .says("larger than 200.0 KiB");
    mounted.snapshot("after");
    let past = mounted.past("after", "large");
    assert_eq!(fs::metadata(&past).expect("stat").len(), 300_000);
    assert_eq!(sys::errno(&fs::read(&past)), libc::EIO);
    // Nobody changed it.
    assert_eq!(diff(&mounted.dir, "before", "after"), Vec::<String>::new());
    let changes = mounted.point.join(".snapshots/.incremental/after");
    assert_eq!(text(changes.join(".changes")), "");
    assert_eq!(names(&changes), Vec::<String>::new());
    assert_eq!(
        fs::read(mounted.past("before", "large"))
            .expect("read")
            .len(),
        300_000
    );
    write(mounted.join("large"), noise(4, 400_000));
    mounted.snapshot("grown");
    assert_eq!(
        fs::metadata(mounted.past("grown", "large"))
            .expect("stat")
            .len(),
        400_000
    );
    let left_out = &status(&mounted.dir)["left_out"];
    assert_eq!(left_out["excluded"][0]["larger_than"], 204_800);
    assert_eq!(
        left_out["files_left_out"], 0,
        "nobody need do anything about it"
    );
    // What the past does not have leaves what is there.
    Cmd::rewindfs()
        .arg("restore")
        .arg(&mounted.dir)
        .args(["--at", "after", "--delete"])
        .run()
        .ok();
    assert_eq!(
        fs::read(mounted.join("large")).expect("read"),
        noise(4, 400_000)
    );
    fs::File::options()
        .write(true)
        .open(mounted.join("large"))
        .expect("open")
        .set_len(9)
        .expect("cut");
    mounted.snapshot("cut");
    assert_eq!(
        fs::read(mounted.past("cut", "large")).expect("read"),
        &noise(4, 400_000)[..9]
    );
    write(mounted.join("large"), noise(4, 400_000));
    policy(&mounted.dir, &["--max-file-size", "none"]).ok();
    mounted.snapshot("all");
    assert_eq!(
        fs::read(mounted.past("all", "large")).expect("read"),
        noise(4, 400_000)
    );
}

#[test]
fn only_who_mounted_says_what_is_left_out_and_only_the_owner_is_told() {
    let sandbox = Sandbox::new("exclude-users");
    let program = sandbox.program();
    chown(sandbox.work(), Some(1234), Some(1234)).expect("chown");
    project(&sandbox.work());
    let mounted = sandbox.mount("");
    let by = |uid: u32, command: &str, words: &[&str]| {
        let id = format!("--reuid={uid}");
        let run = Cmd::new("setpriv")
            .args([id.as_str(), "--clear-groups"])
            .arg(&program);
        run.arg(command).arg(&mounted.dir).args(words).run()
    };
    for uid in [65_534, 1234] {
        assert_ne!(by(uid, "policy", &["--exclude", "/target/"]).code, 0);
    }
    assert_eq!(
        status(&mounted.dir)["left_out"]["excluded"],
        Value::Array(Vec::new())
    );
    by(0, "policy", &["--exclude", "/src"]).ok();
    mounted.snapshot("without");
    let told = by(1234, "status", &["--json"]).json().remove(0);
    assert_eq!(told["left_out"]["excluded"][0]["pattern"], "/src");
    assert_eq!(told["left_out"]["excluded"][0]["uid"], 0);
    by(1234, "policy", &[]).says("what matches /src");
    // That something is missing everybody is told, but no names.
    let told = by(65_534, "status", &["--json"]).json().remove(0);
    let of_rule = |one: &&Value| one["kind"] == "excluded";
    let missing = told["missing"].as_array().expect("a list");
    assert_eq!(missing.iter().filter(of_rule).count(), 1, "{told}");
    assert!(!told.to_string().contains("src"), "{told}");
    assert_ne!(by(65_534, "policy", &[]).code, 0);
}
