//! What restores and takes back leaves alone what is left out: now, in the state, by pattern, as a
//! cache, or for its size.

use super::{SIGNATURE, left_out_in, make, policy, project};
use crate::harness::{Cmd, Mounted, Run, Sandbox, noise, read, text, write};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

#[test]
fn nothing_that_restores_touches_what_is_left_out() {
    let sandbox = Sandbox::new("exclude-restore");
    project(&sandbox.work());
    let mounted = sandbox.mount("");
    mounted.snapshot("before");
    policy(
        &mounted.dir,
        &["--exclude", "/target/", "--exclude", "*.log"],
    )
    .ok();
    write(mounted.join("src/run.log"), "log");
    write(mounted.join("src/extra.rs"), "extra");
    write(mounted.join("target/debug/new"), "new");
    fs::remove_file(mounted.join("target/debug/app")).expect("rm");
    mounted.snapshot("during");
    assert!(!mounted.past("during", "src/run.log").exists());
    let restore = |at: &str, dir: &Path| {
        let run = Cmd::rewindfs()
            .arg("restore")
            .arg(dir)
            .args(["--at", at, "--delete"]);
        run.run().ok()
    };
    let untouched = |what: &str, dir: &Path| {
        assert_eq!(text(dir.join("target/debug/new")), "new", "{what}");
        assert!(!dir.join("target/debug/app").exists(), "{what}");
        assert_eq!(text(dir.join("src/run.log")), "log", "{what}");
    };
    restore("before", &mounted.dir).says("kept: target: it is left out of history (/target/)");
    untouched("to a state from before", &mounted.dir);
    assert!(!mounted.join("src/extra.rs").exists());
    restore("during", &mounted.dir).says("kept: src/run.log: it is left out of history (*.log)");
    untouched("to a state of then", &mounted.dir);
    // Not left out any more: the states of then do not know what was there.
    policy(
        &mounted.dir,
        &["--no-exclude", "/target/", "--no-exclude", "*.log"],
    )
    .ok();
    restore("during", &mounted.dir).says("kept: target: ");
    untouched("after the rule had gone", &mounted.dir);
    let dir = mounted.dir.clone();
    mounted.umount().ok();
    restore("during", &dir).says("kept: target: ");
    untouched("without a mount", &dir);
}

#[test]
fn an_undo_leaves_alone_what_is_left_out_since() {
    let sandbox = Sandbox::new("exclude-undo");
    project(&sandbox.work());
    make(sandbox.work().join("cache"));
    write(sandbox.work().join("cache/file"), "old");
    let mounted = sandbox.mount("interval=100ms,settle=50ms");
    mounted.settled();
    let script = "echo new > src/main.rs; echo new > cache/file; rm -r target/debug/deps; \
                  echo new > target/new";
    Cmd::sh(script).within(&mounted.point).run().ok();
    mounted.sync();
    write(mounted.join("cache/CACHEDIR.TAG"), SIGNATURE);
    policy(&mounted.dir, &["--exclude", "/target/", "--exclude-caches"]).ok();
    mounted.snapshot("without");
    left_out_in(&mounted, "without", "target");
    left_out_in(&mounted, "without", "cache");
    let undo = Cmd::rewindfs()
        .arg("undo")
        .arg(&mounted.dir)
        .args(["--since", "1h", "--force"])
        .run();
    assert_eq!(
        text(mounted.join("src/main.rs")),
        "fn main() {}",
        "{}",
        undo.out
    );
    assert_eq!(text(mounted.join("target/new")), "new\n");
    assert!(!mounted.join("target/debug/deps").exists());
    assert_eq!(text(mounted.join("cache/file")), "new\n");
    mounted.umount().ok();
}

fn restore(mounted: &Mounted, words: &[&str]) -> Run {
    let mut command = Cmd::rewindfs().arg("restore");
    for (i, word) in words.iter().enumerate() {
        let is_path = i == 0 && !word.starts_with('-');
        command = match is_path {
            true => command.arg(mounted.join(word)),
            false => command.arg(word),
        };
    }
    let command = match words[0].starts_with('-') {
        true => command.arg(&mounted.dir),
        false => command,
    };
    command.run()
}

#[test]
fn a_path_that_was_asked_for_is_left_alone_in_what_is_left_out() {
    let sandbox = Sandbox::new("exclude-asked");
    project(&sandbox.work());
    make(sandbox.work().join("cache/deep"));
    write(sandbox.work().join("cache/deep/file"), "old");
    let mounted = sandbox.mount("");
    mounted.snapshot("before");
    write(mounted.join("cache/CACHEDIR.TAG"), SIGNATURE);
    policy(&mounted.dir, &["--exclude", "/target/", "--exclude-caches"]).ok();
    mounted.snapshot("during");
    left_out_in(&mounted, "during", "cache");
    write(mounted.join("cache/deep/file"), "new");
    write(mounted.join("cache/deep/more"), "more");
    let untouched = |what: &str| {
        assert_eq!(text(mounted.join("cache/deep/file")), "new", "{what}");
        assert_eq!(text(mounted.join("cache/deep/more")), "more", "{what}");
    };
    let cache = "it is left out of history (CACHEDIR.TAG)";
    restore(&mounted, &["cache/deep/file", "--at", "before"]).says(cache);
    restore(&mounted, &["cache/deep", "--at", "before", "--delete"]).says(cache);
    untouched("in a cache of now");
    // The state does not know what was there.
    restore(&mounted, &["cache/deep/more", "--at", "during", "--delete"]).says("left out");
    policy(&mounted.dir, &["--no-exclude-caches"]).ok();
    fs::remove_file(mounted.join("cache/CACHEDIR.TAG")).expect("rm");
    restore(&mounted, &["cache/deep/more", "--at", "during", "--delete"])
        .says("kept: cache/deep/more: its folder was left out of that state");
    untouched("of a state that left it out");
    // What has gone is not made again either.
    fs::remove_dir_all(mounted.join("target")).expect("rm -r");
    restore(&mounted, &["target/debug/app", "--at", "before"]).says("(/target/)");
    assert!(!mounted.join("target").exists());
    // Beside it all goes as ever.
    write(mounted.join("src/main.rs"), "other");
    restore(&mounted, &["src/main.rs", "--at", "before"]).ok();
    assert_eq!(text(mounted.join("src/main.rs")), "fn main() {}");
}

#[test]
fn a_file_whose_content_no_state_holds_is_never_replaced_or_removed() {
    let sandbox = Sandbox::new("exclude-large-restore");
    write(sandbox.work().join("grows"), "small");
    write(sandbox.work().join("plain"), "plain");
    let mounted = sandbox.mount("interval=100ms,settle=50ms");
    policy(&mounted.dir, &["--max-file-size", "100K"]).ok();
    mounted.snapshot("before");
    let large = noise(1, 200_000);
    write(sandbox.join("large"), &large);
    let script = "cp ../large new; cat ../large > grows; cat ../large > other; mv other plain";
    Cmd::sh(script).within(&mounted.point).run().ok();
    mounted.snapshot("after");
    let untouched = |what: &str| {
        for name in ["new", "grows", "plain"] {
            assert_eq!(read(mounted.join(name)), large, "{what}: {name}");
        }
    };
    restore(&mounted, &["--at", "before", "--delete"]).says("kept: new: its content is left out");
    untouched("a restore of all");
    restore(&mounted, &["grows", "--at", "before"]).says("kept: grows");
    untouched("a restore of one");
    let undo = Cmd::rewindfs().arg("undo").arg(&mounted.dir);
    let undo = undo.args(["--since", "1h", "--force"]).run();
    untouched(&undo.out);
    // The rule has gone, and a state holds it: now it can be taken back.
    policy(&mounted.dir, &["--max-file-size", "none"]).ok();
    mounted.snapshot("held");
    restore(&mounted, &["--at", "before", "--delete"]).ok();
    assert_eq!(text(mounted.join("grows")), "small");
    assert!(!mounted.join("new").exists());
}

#[test]
fn a_folder_that_is_left_out_stays_where_what_is_around_it_goes() {
    let sandbox = Sandbox::new("exclude-around");
    write(sandbox.work().join("file"), "file");
    let mounted = sandbox.mount("");
    mounted.snapshot("before");
    policy(&mounted.dir, &["--exclude", "node_modules"]).ok();
    make(mounted.join("app/node_modules/x"));
    write(mounted.join("app/node_modules/x/index"), "x");
    write(mounted.join("app/main"), "main");
    let was = fs::metadata(mounted.join("app/node_modules")).expect("stat");
    mounted.snapshot("after");
    left_out_in(&mounted, "after", "app/node_modules");
    restore(&mounted, &["--at", "before", "--delete"]).says("kept: app/node_modules");
    assert!(!mounted.join("app/main").exists());
    assert_eq!(text(mounted.join("app/node_modules/x/index")), "x");
    let is = fs::metadata(mounted.join("app/node_modules")).expect("stat");
    assert_eq!((was.ino(), was.mtime()), (is.ino(), is.mtime()));
}

/// Of `his`, a folder of a user who owns nothing else.
const HIM: u32 = 65_534;

/// A command line of the program, by him, in the mount.
fn as_him(mounted: &Mounted, program: &Path, words: &[&str]) -> Run {
    let id = HIM.to_string();
    let setpriv = Cmd::new("setpriv").args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    let run = setpriv.arg(program).args(words);
    run.within(&mounted.point).run()
}

fn his(mounted: &Mounted) {
    let give = format!("chown -hR {HIM}:{HIM} his");
    Cmd::sh(&give).within(&mounted.point).run().ok();
}

#[test]
fn who_is_not_told_what_is_left_out_restores_his_own_and_deletes_nothing() {
    let sandbox = Sandbox::new("exclude-guest");
    make(sandbox.work().join("his/target"));
    write(sandbox.work().join("his/file"), "his");
    let mounted = sandbox.mount("");
    his(&mounted);
    policy(&mounted.dir, &["--exclude", "target"]).ok();
    mounted.snapshot("then");
    // There he may not ask the root whether there are rules.
    fs::set_permissions(&mounted.point, PermissionsExt::from_mode(0o711)).expect("chmod");
    mounted.snapshot("closed");
    write(mounted.join("his/file"), "changed");
    write(mounted.join("his/target/new"), "new");
    let program = sandbox.program();
    for state in ["then", "closed"] {
        let words = ["restore", "his", "--at", state, "--delete"];
        as_him(&mounted, &program, &words)
            .exits(2)
            .says("without --delete");
    }
    as_him(&mounted, &program, &["restore", "his", "--at", "then"]).ok();
    assert_eq!(text(mounted.join("his/file")), "his");
    assert_eq!(text(mounted.join("his/target/new")), "new");
}

#[test]
fn who_is_not_told_what_is_left_out_restores_nothing_into_it() {
    let sandbox = Sandbox::new("exclude-guest-into");
    let work = sandbox.work();
    for folder in ["target/deep", "cache", "gone/target"] {
        make(work.join("his").join(folder));
    }
    let large = noise(1, 50_000);
    let files = [
        "file",
        "run.log",
        "gone.log",
        "target/deep/file",
        "target/went",
        "cache/file",
        "gone/target/file",
    ];
    for file in files {
        write(work.join("his").join(file), "old");
    }
    std::os::unix::fs::symlink("old", work.join("his/link.log")).expect("symlink");
    write(work.join("his/large"), "old");
    let mounted = sandbox.mount("");
    his(&mounted);
    mounted.snapshot("before");
    let at = |name: &str| mounted.join("his").join(name);
    write(at("cache/CACHEDIR.TAG"), SIGNATURE);
    let rules = [
        "--exclude",
        "target",
        "--exclude",
        "*.log",
        "--exclude-caches",
        "--max-file-size",
        "20K",
    ];
    policy(&mounted.dir, &rules).ok();
    for file in ["file", "run.log", "target/deep/file", "cache/file"] {
        write(at(file), "new");
    }
    write(at("large"), &large);
    fs::remove_file(at("link.log")).expect("rm");
    std::os::unix::fs::symlink("new", at("link.log")).expect("symlink");
    for file in ["gone.log", "target/went"] {
        fs::remove_file(at(file)).expect("rm");
    }
    fs::remove_dir_all(at("gone")).expect("rm -r");
    his(&mounted);
    // What he may write and not read: whether it is left out he is not told.
    fs::set_permissions(at("run.log"), PermissionsExt::from_mode(0o200)).expect("chmod");
    let untouched = |what: &str| {
        for file in ["run.log", "target/deep/file", "cache/file"] {
            assert_eq!(text(at(file)), "new", "{what}: {file}");
        }
        assert_eq!(read(at("large")), large, "{what}");
        let link = fs::read_link(at("link.log")).expect("a link");
        assert_eq!(link, Path::new("new"), "{what}");
        for file in ["gone.log", "target/went", "gone/target/file"] {
            assert!(!at(file).exists(), "{what}: {file}");
        }
    };
    let program = sandbox.program();
    let restore = |path: &str| as_him(&mounted, &program, &["restore", path, "--at", "before"]);
    for path in files {
        restore(&format!("his/{path}"));
    }
    assert_eq!(text(at("file")), "old");
    untouched("one by one");
    assert!(!at("gone/target").exists());
    write(at("file"), "new");
    let run = restore("his");
    for name in ["target", "cache", "large", "link.log", "gone.log"] {
        run.clone()
            .says(&format!("kept: his/{name}: it is left out of history"));
    }
    // Nor does that tell him a pattern.
    assert!(!run.out.contains("*.log"), "{}", run.out);
    assert_eq!(text(at("file")), "old");
    untouched("all");
}
