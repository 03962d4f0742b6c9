//! Making, deleting and renaming snapshots with mkdir, rmdir and mv, and all that is refused.

use crate::harness::{Sandbox, mount, sys, text, wait_for, write};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};

#[test]
fn the_first_import_is_the_snapshot_first() {
    let sandbox = Sandbox::new("first");
    write(sandbox.work().join("file"), "content");
    let mounted = sandbox.mount_now("");
    wait_for("the first snapshot", || {
        mounted.past("first", "file").exists()
    });
    assert!(mounted.snapshots().contains(&"first".to_string()));
    assert_eq!(text(mounted.past("first", "file")), "content");
    mounted.umount();
    let mounted = sandbox.mount("");
    let firsts = mounted
        .snapshots()
        .into_iter()
        .filter(|name| name.starts_with("first"));
    assert_eq!(firsts.count(), 1, "made once");
}

#[test]
fn mkdir_rmdir_and_mv_make_delete_and_rename() {
    let sandbox = Sandbox::new("mkdir");
    let mounted = sandbox.mount("");
    write(mounted.join("file"), "one");
    mounted.snapshot("one");
    write(mounted.join("file"), "two");
    mounted.snapshot("two");
    assert_eq!(mounted.snapshots(), ["first", "latest", "one", "two"]);
    assert_eq!(text(mounted.past("one", "file")), "one");
    fs::rename(mounted.past("one", ""), mounted.past("eins", "")).expect("mv");
    assert_eq!(mounted.snapshots(), ["eins", "first", "latest", "two"]);
    assert_eq!(text(mounted.past("eins", "file")), "one");
    assert!(!mounted.past("one", "").exists());
    fs::remove_dir(mounted.past("eins", "")).expect("rmdir");
    assert_eq!(mounted.snapshots(), ["first", "latest", "two"]);
    assert!(!mounted.past("eins", "file").exists());
    mounted.umount();
    let mounted = sandbox.mount("");
    assert_eq!(mounted.snapshots(), ["first", "latest", "two"]);
}

#[test]
fn a_name_made_again_shows_the_new_state() {
    let sandbox = Sandbox::new("again");
    let mounted = sandbox.mount("");
    fs::create_dir(mounted.join("dir")).expect("mkdir");
    for n in 0..20 {
        write(mounted.join("dir/file"), format!("state {n}"));
        mounted.snapshot("same");
        assert_eq!(text(mounted.past("same", "dir/file")), format!("state {n}"));
        assert_eq!(mount::names(&mounted.past("same", "")), ["dir"]);
        fs::remove_dir(mounted.past("same", "")).expect("rmdir");
        assert!(!mounted.past("same", "dir/file").exists());
    }
}

#[test]
fn a_deleted_snapshot_stays_a_checkpoint() {
    let sandbox = Sandbox::new("deleted");
    let mounted = sandbox.mount("");
    write(mounted.join("file"), "kept for a day");
    mounted.snapshot("oops");
    write(mounted.join("file"), "other");
    fs::remove_dir(mounted.past("oops", "")).expect("rmdir");
    let found = mounted.checkpoints().into_iter().any(|state| {
        fs::read_to_string(state.join("file")).is_ok_and(|text| text == "kept for a day")
    });
    assert!(found);
}

#[test]
fn existing_and_impossible_names_are_refused() {
    let sandbox = Sandbox::new("names");
    let mounted = sandbox.mount("");
    mounted.snapshot("taken");
    let make = |name: &str| sys::errno(&fs::create_dir(mounted.past(name, "")));
    assert_eq!(make("taken"), libc::EEXIST);
    assert_eq!(make("latest"), libc::EEXIST);
    assert_eq!(make(&"x".repeat(256)), libc::ENAMETOOLONG);
    for name in ["live", ".hidden", "@10:15", "@x", "a\nb", "tab\there"] {
        let errno = make(name);
        assert!(
            [libc::EINVAL, libc::EEXIST, libc::EROFS, libc::EPERM].contains(&errno),
            "{name:?}: {errno}"
        );
    }
    let long = make(&"x".repeat(201));
    assert!([libc::EINVAL, libc::ENAMETOOLONG].contains(&long), "{long}");
    assert_eq!(make("with blank and \u{fc}mlaut"), 0);
    let move_to = |name: &str| {
        sys::errno(&fs::rename(
            mounted.past("taken", ""),
            mounted.past(name, ""),
        ))
    };
    for name in ["first", "latest", "@10:15", ".hidden", "live"] {
        assert_ne!(move_to(name), 0, "{name}");
    }
    assert_eq!(
        sys::errno(&fs::remove_dir(mounted.past("none", ""))),
        libc::ENOENT
    );
    let snapshots = ["first", "latest", "taken", "with blank and \u{fc}mlaut"];
    assert_eq!(mounted.snapshots(), snapshots);
}

#[test]
fn nothing_below_changes_the_past() {
    let sandbox = Sandbox::new("read-only");
    let mounted = sandbox.mount("");
    fs::create_dir(mounted.join("dir")).expect("mkdir");
    write(mounted.join("dir/file"), "content");
    write(mounted.join("dir/second"), "content");
    mounted.snapshot("s");
    let at = |name: &str| mounted.past("s", name);
    let errors = [
        ("create", sys::errno(&File::create_new(at("dir/new")))),
        ("write", {
            // Linux does not ask us about open(2) any more: what fails is the write.
            let opened = OpenOptions::new().write(true).open(at("dir/file"));
            sys::errno(&opened.and_then(|file| file.write_at(b"x", 0)))
        }),
        ("truncate", sys::errno(&File::create(at("dir/file")))),
        ("unlink", sys::errno(&fs::remove_file(at("dir/file")))),
        ("mkdir", sys::errno(&fs::create_dir(at("dir/sub")))),
        ("rmdir", sys::errno(&fs::remove_dir(at("dir")))),
        (
            "rename",
            sys::errno(&fs::rename(at("dir/file"), at("dir/other"))),
        ),
        (
            "exchange",
            sys::errno(&sys::renameat2(
                &at("dir/file"),
                &at("dir/second"),
                libc::RENAME_EXCHANGE,
            )),
        ),
        ("symlink", sys::errno(&symlink("x", at("dir/link")))),
        (
            "mknod",
            sys::errno(&sys::mknod(&at("dir/fifo"), libc::S_IFIFO | 0o600, 0)),
        ),
        (
            "chmod",
            sys::errno(&fs::set_permissions(
                at("dir/file"),
                PermissionsExt::from_mode(0o777),
            )),
        ),
        (
            "chown",
            sys::errno(&chown(at("dir/file"), Some(1), Some(1))),
        ),
        (
            "utimens",
            sys::errno(&sys::set_times(&at("dir/file"), (1, 1), (1, 1))),
        ),
        (
            "setxattr",
            sys::errno(&sys::set_xattr(&at("dir/file"), "user.a", b"1", 0)),
        ),
        (
            "removexattr",
            sys::errno(&sys::remove_xattr(&at("dir/file"), "user.a")),
        ),
        (
            "link inside",
            sys::errno(&fs::hard_link(at("dir/file"), at("dir/hard"))),
        ),
        (
            "file in .snapshots",
            sys::errno(&File::create_new(mounted.join(".snapshots/file"))),
        ),
        (
            "symlink in .snapshots",
            sys::errno(&symlink("x", mounted.join(".snapshots/link"))),
        ),
        (
            "chmod of .snapshots",
            sys::errno(&fs::set_permissions(
                mounted.join(".snapshots"),
                PermissionsExt::from_mode(0o777),
            )),
        ),
        (
            "rmdir of .snapshots",
            sys::errno(&fs::remove_dir(mounted.join(".snapshots"))),
        ),
        (
            "rename of .snapshots",
            sys::errno(&fs::rename(mounted.join(".snapshots"), mounted.join("x"))),
        ),
        (
            "unlink of latest",
            sys::errno(&fs::remove_file(mounted.join(".snapshots/latest"))),
        ),
        (
            "mkdir in .checkpoints",
            sys::errno(&fs::create_dir(mounted.join(".snapshots/.checkpoints/x"))),
        ),
    ];
    for (what, errno) in errors {
        let right = match what {
            "rename of .snapshots" => [libc::EROFS, libc::EXDEV, libc::EBUSY].contains(&errno),
            "rmdir of .snapshots" => [libc::EROFS, libc::EBUSY].contains(&errno),
            _ => errno == libc::EROFS,
        };
        assert!(right, "{what}: errno {errno}");
    }
    let border = [
        (
            "link out",
            sys::errno(&fs::hard_link(at("dir/file"), mounted.join("hard"))),
        ),
        (
            "link in",
            sys::errno(&fs::hard_link(mounted.join("dir/file"), at("dir/hard"))),
        ),
        (
            "rename out",
            sys::errno(&fs::rename(at("dir/file"), mounted.join("stolen"))),
        ),
        (
            "rename in",
            sys::errno(&fs::rename(mounted.join("dir/file"), at("dir/given"))),
        ),
        (
            "a snapshot out",
            sys::errno(&fs::rename(at(""), mounted.join("stolen"))),
        ),
        (
            "a folder in",
            sys::errno(&fs::rename(
                mounted.join("dir"),
                mounted.join(".snapshots/new"),
            )),
        ),
    ];
    for (what, errno) in border {
        assert_eq!(errno, libc::EXDEV, "{what}");
    }
    assert_eq!(text(at("dir/file")), "content");
    assert_eq!(text(mounted.join("dir/file")), "content");
    assert_eq!(mount::names(&mounted.point), ["dir"]);
}

#[test]
fn another_user_makes_and_deletes_none() {
    let sandbox = Sandbox::new("other-user");
    chown(sandbox.work(), Some(1234), Some(1234)).expect("chown");
    fs::set_permissions(sandbox.work(), PermissionsExt::from_mode(0o777)).expect("chmod");
    let mounted = sandbox.mount("");
    mounted.snapshot("roots");
    let results = sys::as_user(1235, 1235, &[1235], || {
        [
            sys::errno(&fs::create_dir(mounted.past("his", ""))),
            sys::errno(&fs::remove_dir(mounted.past("roots", ""))),
            sys::errno(&fs::rename(
                mounted.past("roots", ""),
                mounted.past("his", ""),
            )),
        ]
    });
    for errno in results {
        assert!([libc::EPERM, libc::EACCES].contains(&errno), "{results:?}");
    }
    let owner = sys::as_user(1234, 1234, &[1234], || {
        [
            sys::errno(&fs::create_dir(mounted.past("owners", ""))),
            sys::errno(&fs::rename(
                mounted.past("owners", ""),
                mounted.past("own", ""),
            )),
            sys::errno(&fs::remove_dir(mounted.past("own", ""))),
        ]
    });
    assert_eq!(owner, [0; 3], "the owner of the directory may");
    let meta = fs::metadata(mounted.join(".snapshots")).expect("stat");
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o755, 1234));
    assert_eq!(mounted.snapshots(), ["first", "latest", "roots"]);
}

#[test]
fn a_snapshot_is_made_anywhere_and_deleted_in_the_root_alone() {
    let sandbox = Sandbox::new("anywhere");
    fs::create_dir_all(sandbox.work().join("a/b")).expect("mkdir");
    let mounted = sandbox.mount("");
    write(mounted.join("top"), "x");
    fs::create_dir(mounted.join("a/b/.snapshots/deep")).expect("mkdir");
    assert!(
        mounted.past("deep", "top").exists(),
        "it is of the whole tree"
    );
    let path = mounted.join("a/.snapshots/deep");
    assert!(path.join("b").exists());
    assert_eq!(sys::errno(&fs::remove_dir(&path)), libc::EROFS);
    let other = mounted.join("a/.snapshots/other");
    assert_eq!(sys::errno(&fs::rename(&path, &other)), libc::EROFS);
    fs::remove_dir(mounted.past("deep", "")).expect("rmdir");
}

#[test]
fn two_at_once_while_a_mapping_is_dirty_both_return() {
    let sandbox = Sandbox::new("two-at-once");
    let mounted = sandbox.mount("");
    let path = mounted.join("mapped");
    write(&path, vec![0; 100_000]);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .expect("open");
    let mut mapping = sys::Mapping::shared(&file, 100_000).expect("mmap");
    for round in 0..5_u8 {
        mapping.bytes()[50_000] = round + 1;
        let results: Vec<i32> = std::thread::scope(|scope| {
            let make = |n: usize| {
                let path = mounted.past(&format!("s{round}-{n}"), "");
                scope.spawn(move || sys::errno(&fs::create_dir(path)))
            };
            let both = [make(0), make(1)];
            both.map(|thread| thread.join().expect("no panic")).to_vec()
        });
        assert_eq!(results, [0, 0]);
        for n in 0..2 {
            let past = fs::read(mounted.past(&format!("s{round}-{n}"), "mapped")).expect("read");
            assert_eq!(past[50_000], round + 1);
        }
    }
}

#[test]
fn two_of_one_name_are_one_and_an_error() {
    let sandbox = Sandbox::new("same-name");
    let mounted = sandbox.mount("");
    for round in 0..10 {
        write(mounted.join("file"), round.to_string());
        let path = mounted.past(&format!("s{round}"), "");
        let mut results: Vec<i32> = std::thread::scope(|scope| {
            let make = || scope.spawn(|| sys::errno(&fs::create_dir(&path)));
            [make(), make(), make()]
                .map(|thread| thread.join().expect("no panic"))
                .to_vec()
        });
        results.sort();
        assert_eq!(results, [0, libc::EEXIST, libc::EEXIST]);
    }
}
