//! `restore`: what comes back is what was there, what it did can be taken back, and what it can't
//! do it says.

use crate::harness::compare::{Except, Tree};
use crate::harness::{
    Cmd, Mounted, Run, Sandbox, noise, one_of_everything, read, sys, text, wait_for, write,
};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Runs a test on a directory that is mounted and on one that is not. `before` makes what the
/// snapshot `then` holds.
fn both(name: &str, before: impl Fn(&Path), test: impl Fn(&Sandbox, Option<&Mounted>)) {
    for is_mounted in [true, false] {
        let sandbox = Sandbox::new(&format!("{name}-{is_mounted}"));
        let mounted = sandbox.mount("");
        before(&sandbox.work());
        mounted.snapshot("then");
        if is_mounted {
            test(&sandbox, Some(&mounted));
        } else {
            mounted.umount();
            test(&sandbox, None);
        }
    }
}

fn restore(work: &Path, line: &str) -> Run {
    Cmd::rewindfs()
        .arg("restore")
        .args(line.split(' '))
        .within(work)
        .run()
}

/// The command at the end of the last line.
fn take_back(run: &Run) -> String {
    let last = run.lines().last().expect("a last line").to_string();
    let (_, command) = last
        .split_once("; take it back: rewindfs ")
        .unwrap_or_else(|| panic!("no way back in: {last}"));
    command.to_string()
}

fn run_line(line: &str) -> Run {
    let program = env!("CARGO_BIN_EXE_rewindfs");
    Cmd::sh(&format!("{program} {line}")).run()
}

const LATER: Except = Except {
    ctime: true,
    mtime: false,
    holes: false,
    dir_links: false,
};

/// Changes something of every kind.
fn wreck(work: &Path) {
    write(work.join("text"), "other text that is longer\n");
    fs::remove_file(work.join("dangling")).expect("rm");
    fs::remove_dir_all(work.join("dir/deeper")).expect("rm -r");
    write(work.join("dir/deeper"), "a file where a directory was");
    fs::remove_file(work.join("fifo")).expect("rm");
    fs::create_dir(work.join("fifo")).expect("mkdir");
    write(work.join("fifo/inside"), "x");
    fs::remove_file(work.join("link")).expect("rm");
    symlink("elsewhere", work.join("link")).expect("symlink");
    write(work.join("setuid"), "changed");
    fs::remove_file(work.join("null")).expect("rm");
    sys::mknod(
        &work.join("null"),
        libc::S_IFCHR | 0o600,
        sys::makedev(1, 5),
    )
    .expect("mknod");
    let big = OpenOptions::new()
        .write(true)
        .open(work.join("dir/big"))
        .expect("open");
    big.write_all_at(b"changed in the middle", 300_000)
        .expect("write");
    write(work.join("sparse"), noise(3, 5_000_000));
    fs::set_permissions(work.join("empty"), PermissionsExt::from_mode(0o600)).expect("chmod");
    sys::set_xattr(&work.join("empty"), "user.new", b"x", 0).expect("xattr");
    std::os::unix::fs::lchown(work.join("other-owner"), Some(1), Some(1)).expect("chown");
    fs::create_dir_all(work.join("new/below")).expect("mkdir");
    write(work.join("new/below/file"), "new");
    Cmd::sh("setfacl -b dir && setfacl -b text")
        .within(work)
        .run()
        .ok();
}

#[test]
fn everything_comes_back_and_goes_again() {
    both("restore-all", one_of_everything, |sandbox, mounted| {
        let work = sandbox.work();
        let then = Tree::read(&work);
        wreck(&work);
        let wrecked = Tree::read(&work);
        let run = restore(&work, ". --at then --delete").ok();
        run.clone()
            .says(", 0 conflicts, not recoverable 0; take it back: ");
        Tree::read(&work).must_equal(&then, LATER, "restored / then");
        // Nothing is left to be done.
        restore(&work, ". --at then --delete")
            .ok()
            .says("restored 0, deleted 0");
        // And back again.
        run_line(&take_back(&run)).ok();
        Tree::read(&work).must_equal(&wrecked, LATER, "taken back / before");
        if let Some(mounted) = mounted {
            mounted.sync();
        }
    });
}

#[test]
fn a_folder_elsewhere_gets_the_same() {
    both("restore-target", one_of_everything, |sandbox, _| {
        let work = sandbox.work();
        let then = Tree::read(&work);
        wreck(&work);
        let wrecked = Tree::read(&work);
        let target = sandbox.join("target");
        let line = format!(". --at then --target {}", target.display());
        let run = restore(&work, &line).ok();
        assert!(!run.out.contains("take it back"), "{}", run.out);
        Tree::read(&target).must_equal(&then, LATER, "restored / then");
        Tree::read(&work).must_equal(&wrecked, Except::default(), "the directory itself");
        // What is there already is replaced by what differs, and only that.
        write(target.join("text"), "spoilt");
        restore(&work, &line).ok().says("restored 1 ");
        Tree::read(&target).must_equal(&then, LATER, "restored again / then");
    });
}

#[test]
fn what_is_gone_with_its_folders_comes_back_alone() {
    let before = |work: &Path| {
        fs::create_dir_all(work.join("a/b/c")).expect("mkdir");
        fs::set_permissions(work.join("a/b"), PermissionsExt::from_mode(0o751)).expect("chmod");
        write(work.join("a/b/c/wanted"), "wanted");
        write(work.join("a/b/other"), "other");
    };
    both("restore-gone", before, |sandbox, _| {
        let work = sandbox.work();
        fs::remove_dir_all(work.join("a")).expect("rm -r");
        let run = restore(&work, "a/b/c/wanted --at then").ok();
        assert_eq!(text(work.join("a/b/c/wanted")), "wanted");
        assert!(!work.join("a/b/other").exists());
        assert_eq!(
            fs::metadata(work.join("a/b")).expect("stat").mode() & 0o777,
            0o751
        );
        run_line(&take_back(&run)).ok();
        assert!(
            !work.join("a").exists(),
            "the folders that were made go too"
        );
    });
}

#[test]
fn a_dry_run_says_all_and_changes_nothing() {
    both("restore-dry", one_of_everything, |sandbox, _| {
        let work = sandbox.work();
        wreck(&work);
        let wrecked = Tree::read(&work);
        let run = restore(&work, ". --at then --delete --dry-run").ok();
        Tree::read(&work).must_equal(&wrecked, Except::default(), "after a dry run");
        for line in [
            "M\ttext",
            "A\tdangling",
            "T\tdir/deeper",
            "T\tfifo",
            "D\tfifo/inside",
            "M\tlink",
            "M\tnull",
            "M\tdir/big",
            "m\tempty",
            "m\tother-owner",
            "D\tnew/below/file",
            "D\tnew",
        ] {
            assert!(run.lines().contains(&line), "{line}:\n{}", run.out);
        }
        let last = run.lines().last().copied().unwrap_or_default();
        assert!(last.starts_with("would restore ") && last.ends_with("nothing was changed"));
        let done = restore(&work, ". --at then --delete --json").ok().json();
        let of_dry = run.lines().len() - 1;
        assert_eq!(done.len() - 1, of_dry, "a dry run promises what is done");
    });
}

#[test]
fn files_are_changed_in_place_and_only_where_they_differ() {
    let sandbox = Sandbox::new("restore-place");
    let work = sandbox.work();
    write(work.join("big"), noise(1, 8 << 20));
    let mounted = sandbox.mount("");
    mounted.snapshot("then");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(work.join("big"))
        .expect("open");
    let inode = file.metadata().expect("stat").ino();
    file.write_all_at(b"x", 5_000_000).expect("write");
    let run = restore(&work, "big --at then --json").ok().json();
    let summary = run.last().expect("a summary");
    assert_eq!(summary["written_bytes"], 4096, "{summary}");
    assert_eq!(fs::metadata(work.join("big")).expect("stat").ino(), inode);
    let mut byte = [0];
    file.read_exact_at(&mut byte, 5_000_000).expect("read");
    assert_eq!(
        byte[0],
        noise(1, 8 << 20)[5_000_000],
        "who has it open sees it"
    );
}

#[test]
fn links_are_as_they_were() {
    let before = |work: &Path| {
        write(work.join("one"), "shared");
        fs::hard_link(work.join("one"), work.join("two")).expect("link");
        write(work.join("three"), "three");
        write(work.join("four"), "four");
    };
    both("restore-links", before, |sandbox, _| {
        let work = sandbox.work();
        let then = Tree::read(&work);
        // Two become separate, three and four become one.
        fs::remove_file(work.join("two")).expect("rm");
        write(work.join("two"), "apart");
        fs::remove_file(work.join("four")).expect("rm");
        fs::hard_link(work.join("three"), work.join("four")).expect("link");
        write(work.join("three"), "both");
        restore(&work, ". --at then").ok();
        Tree::read(&work).must_equal(&then, LATER, "restored / then");
    });
}

#[test]
fn no_link_leads_out_of_the_tree() {
    let before = |work: &Path| {
        fs::create_dir(work.join("dir")).expect("mkdir");
        write(work.join("dir/file"), "inside");
        write(work.join("name"), "content");
    };
    both("restore-out", before, |sandbox, _| {
        let work = sandbox.work();
        let outside = sandbox.join("outside");
        fs::create_dir(&outside).expect("mkdir");
        write(outside.join("file"), "must stay");
        fs::remove_dir_all(work.join("dir")).expect("rm -r");
        symlink(&outside, work.join("dir")).expect("symlink");
        fs::remove_file(work.join("name")).expect("rm");
        symlink(outside.join("file"), work.join("name")).expect("symlink");
        // By its path it is outside; and from above, the link is what is replaced.
        restore(&work, "dir/file --at then")
            .exits(10)
            .says("not in a rewindfs directory");
        restore(&work, "name --at then").ok();
        assert_eq!(text(outside.join("file")), "must stay");
        assert_eq!(text(work.join("name")), "content");
        restore(&work, ". --at then --delete").ok();
        assert_eq!(text(outside.join("file")), "must stay");
        assert!(
            !fs::symlink_metadata(work.join("dir"))
                .expect("stat")
                .is_symlink()
        );
        assert_eq!(text(work.join("dir/file")), "inside");
    });
}

#[test]
fn what_is_missing_is_never_called_done() {
    let before = |work: &Path| write(work.join("file"), "content");
    both("restore-missing", before, |sandbox, _| {
        let work = sandbox.work();
        restore(&work, "never --at then")
            .exits(3)
            .says("not recoverable: never: ");
        write(work.join("new"), "new");
        let run = restore(&work, "new --at then")
            .exits(3)
            .says("with --delete it is removed");
        assert!(!run.out.contains("take it back"), "{}", run.out);
        assert_eq!(text(work.join("new")), "new");
        fs::remove_file(work.join("file")).expect("rm");
        fs::create_dir(work.join("file")).expect("mkdir");
        write(work.join("file/inside"), "x");
        restore(&work, "file --at then")
            .exits(3)
            .says("1 conflict, ");
        assert_eq!(text(work.join("file/inside")), "x");
        restore(&work, "file --at nothing").exits(2).says("nothing");
        restore(&work, "file --at @2001-01-01")
            .exits(2)
            .says("before the first");
        restore(&work, "file --at live").exits(2).says("live");
        restore(&work, "file new --at then --delete")
            .ok()
            .says("restored 1 ");
        assert!(!work.join("new").exists());
        assert_eq!(text(work.join("file")), "content");
    });
}

#[test]
fn overwrite_says_what_happens_to_what_is_there() {
    let before = |work: &Path| {
        write(work.join("same-look"), "aaaa");
        write(work.join("missing"), "missing");
        write(work.join("longer"), "short");
    };
    both("restore-overwrite", before, |sandbox, _| {
        let work = sandbox.work();
        let time = fs::metadata(work.join("same-look")).expect("stat");
        let time = (time.mtime(), time.mtime_nsec());
        write(work.join("same-look"), "bbbb");
        sys::set_times(&work.join("same-look"), time, time).expect("utimens");
        fs::remove_file(work.join("missing")).expect("rm");
        write(work.join("longer"), "longer than it was");
        restore(&work, ". --at then --overwrite never")
            .ok()
            .says("kept 2");
        assert_eq!(text(work.join("missing")), "missing");
        assert_eq!(text(work.join("longer")), "longer than it was");
        restore(&work, ". --at then --overwrite if-changed").ok();
        assert_eq!(text(work.join("longer")), "short");
        assert_eq!(text(work.join("same-look")), "bbbb", "it looks the same");
        restore(&work, ". --at then --overwrite always").ok();
        assert_eq!(text(work.join("same-look")), "aaaa");
    });
}

#[test]
fn a_user_restores_what_he_may_read_and_write() {
    let sandbox = Sandbox::new("restore-user");
    let work = sandbox.work();
    fs::create_dir(work.join("his")).expect("mkdir");
    write(work.join("his/file"), "his");
    write(work.join("his/secret"), "of root");
    write(work.join("roots"), "of root");
    for (name, mode) in [("his/secret", 0o600), ("roots", 0o644)] {
        fs::set_permissions(work.join(name), PermissionsExt::from_mode(mode)).expect("chmod");
    }
    for name in ["his", "his/file"] {
        std::os::unix::fs::chown(work.join(name), Some(4321), Some(4321)).expect("chown");
    }
    let mounted = sandbox.mount("");
    mounted.snapshot("then");
    for name in ["his/file", "his/secret", "roots"] {
        write(work.join(name), "changed");
    }
    let program = sandbox.program();
    let as_him = |line: &str| {
        let setpriv = Cmd::new("setpriv").args(["--reuid=4321", "--regid=4321", "--clear-groups"]);
        setpriv
            .arg(&program)
            .args(line.split(' '))
            .within(&work)
            .run()
    };
    as_him("restore his/file --at then").ok();
    assert_eq!(text(work.join("his/file")), "his");
    let run = as_him("restore roots his/secret --at then").exits(3);
    run.clone().says("conflict: roots: ");
    assert!(run.out.contains("restored 0,"), "{}", run.out);
    assert_eq!(text(work.join("roots")), "changed");
    assert_eq!(text(work.join("his/secret")), "changed");
    as_him("restore his/file --at nothing")
        .exits(2)
        .says("nothing");
}

#[test]
fn a_restore_is_part_of_the_past() {
    let sandbox = Sandbox::new("restore-past");
    let work = sandbox.work();
    write(work.join("file"), "first");
    let mounted = sandbox.mount("");
    mounted.snapshot("then");
    write(work.join("file"), "young: not a second old");
    let run = restore(&work, "file --at then").ok();
    assert_eq!(text(work.join("file")), "first");
    run_line(&take_back(&run)).ok();
    assert_eq!(text(work.join("file")), "young: not a second old");
    let found = || {
        let states = mounted.checkpoints();
        let has = |state: &PathBuf| read(state.join("file")) == b"young: not a second old";
        states.iter().any(has)
    };
    wait_for("the state before the restore", found);
}

#[test]
fn cat_prints_what_a_file_held() {
    let before = |work: &Path| {
        fs::create_dir(work.join("dir")).expect("mkdir");
        write(work.join("dir/file"), "then\n");
        write(work.join("big"), noise(5, 3_000_000));
    };
    both("cat", before, |sandbox, _| {
        let work = sandbox.work();
        fs::remove_dir_all(work.join("dir")).expect("rm -r");
        write(work.join("big"), "now");
        let cat = |line: &str| {
            Cmd::rewindfs()
                .arg("cat")
                .args(line.split(' '))
                .within(&work)
                .run()
        };
        assert_eq!(cat("dir/file --at then").ok().out, "then\n");
        let program = env!("CARGO_BIN_EXE_rewindfs");
        let line = format!(
            "{program} cat big --at then | cmp - {}",
            sandbox.join("big").display()
        );
        write(sandbox.join("big"), noise(5, 3_000_000));
        Cmd::sh(&line).within(&work).run().ok();
        cat("dir --at then").exits(2).says("directory");
        cat("dir/gone --at then")
            .exits(2)
            .says("dir/gone: as it was then: ");
    });
}

#[test]
fn diff_says_what_differs_by_name() {
    let before = |work: &Path| {
        fs::create_dir_all(work.join("src/deep")).expect("mkdir");
        for name in ["src/a.rs", "src/b.rs", "src/deep/c.rs", "mode", "gone"] {
            write(work.join(name), format!("first\nthe file {name}\nlast\n"));
        }
    };
    both("diff", before, |sandbox, _| {
        let work = sandbox.work();
        let diff = |line: &str| {
            let run = Cmd::rewindfs()
                .arg("diff")
                .args(line.split(' '))
                .within(&work);
            run.limit(std::time::Duration::from_secs(120)).run()
        };
        diff(". then then").ok();
        diff(". then live").ok();
        // As an editor saves: a new file under the old name.
        write(work.join("src/a.rs.new"), "first\nchanged\nlast\n");
        fs::rename(work.join("src/a.rs.new"), work.join("src/a.rs")).expect("mv");
        fs::rename(work.join("src/b.rs"), work.join("src/moved.rs")).expect("mv");
        fs::rename(work.join("src/deep"), work.join("src/deeper")).expect("mv");
        fs::set_permissions(work.join("mode"), PermissionsExt::from_mode(0o600)).expect("chmod");
        fs::remove_file(work.join("gone")).expect("rm");
        write(work.join("new"), "new\n");
        let run = diff(". then live").exits(1);
        assert_eq!(
            run.lines(),
            [
                "D\tgone",
                "m\tmode",
                "A\tnew",
                "M\tsrc/a.rs",
                "R\tsrc/deep\tsrc/deeper",
                "R\tsrc/b.rs\tsrc/moved.rs",
            ]
        );
        let run = diff(". then live src").exits(1);
        assert_eq!(run.lines().len(), 3, "{}", run.out);
        let patch = diff(". then live src/a.rs -u").exits(1).out;
        assert_eq!(
            patch,
            "--- a/src/a.rs\n+++ b/src/a.rs\n@@ -1,3 +1,3 @@\n first\n\
             -the file src/a.rs\n+changed\n last\n"
        );
        diff(". then live --stat").exits(1).says(
            "1 added, 1 modified, 1 deleted, 2 renamed, 0 of another type, 1 in attributes only",
        );
        let lines = diff(". live then new --json").exits(1).json();
        assert_eq!(lines[0]["change"], "D", "the other way round");
        diff(". then nothing").exits(2).says("nothing");
    });
}
