//! Promise 8: who could not reach and read a file at an instant can't do it in the snapshot of that
//! instant, whichever way he enters it.

use crate::harness::{Mounted, Sandbox, mount, sys, write};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

const BOB: u32 = 1235;
const ALICE: u32 = 1234;

fn set_mode(path: PathBuf, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
}

/// A tree in which home/alice was closed when the snapshot `closed` was made, and is open now.
fn opened_later(sandbox: &Sandbox) -> Mounted {
    let work = sandbox.work();
    set_mode(work.clone(), 0o755);
    fs::create_dir_all(work.join("home/alice/pub/deep")).expect("mkdir");
    write(work.join("home/alice/pub/letter"), "private then");
    write(work.join("home/alice/pub/deep/diary"), "private then");
    for name in ["home/alice", "home/alice/pub", "home/alice/pub/letter"] {
        chown(work.join(name), Some(ALICE), Some(ALICE)).expect("chown");
    }
    set_mode(work.join("home/alice"), 0o700);
    let mounted = sandbox.mount("");
    mounted.snapshot("closed");
    set_mode(mounted.join("home/alice"), 0o755);
    mounted.snapshot("opened");
    mounted
}

fn as_bob(path: PathBuf) -> i32 {
    sys::as_user(BOB, BOB, &[BOB], move || {
        if path.is_dir() {
            sys::errno(&fs::read_dir(&path).map(|listing| listing.count()))
        } else {
            sys::errno(&fs::read(&path))
        }
    })
}

#[test]
fn nobody_gets_below_a_folder_that_was_closed_to_him() {
    let sandbox = Sandbox::new("closed");
    let mounted = opened_later(&sandbox);
    let ways = [
        ".snapshots/closed/home/alice/pub/letter",
        "home/.snapshots/closed/alice/pub/letter",
        "home/alice/.snapshots/closed/pub/letter",
        "home/alice/pub/.snapshots/closed/letter",
        "home/alice/pub/deep/.snapshots/closed/diary",
    ];
    for way in ways {
        assert_eq!(as_bob(mounted.join(way)), libc::EACCES, "{way}");
        let open = way.replace("closed", "opened");
        assert_eq!(as_bob(mounted.join(&open)), 0, "{open}");
    }
    for way in [
        "home/alice/.snapshots/closed",
        "home/alice/pub/.snapshots/closed",
    ] {
        assert_eq!(
            as_bob(mounted.join(way)),
            libc::EACCES,
            "no names either: {way}"
        );
    }
    // A history is of all moments: who was kept out of some has the states of the others.
    for way in [
        ".snapshots/.history/home/alice",
        ".snapshots/.history/home/alice/pub/letter",
        "home/.snapshots/.history/alice/pub",
        "home/alice/.snapshots/.history",
        "home/alice/pub/.snapshots/.history",
        "home/alice/pub/.snapshots/.history/letter",
        "home/alice/pub/deep/.snapshots/.history/diary",
    ] {
        assert_eq!(as_bob(mounted.join(way)), libc::EACCES, "{way}");
    }
    assert_eq!(as_bob(mounted.join(".snapshots/.history/home")), 0);
    // Alice could, and can.
    let versions = sys::as_user(ALICE, ALICE, &[ALICE], || {
        mount::names(&mounted.join("home/alice/pub/.snapshots/.history/letter"))
    });
    assert_eq!(versions.len(), 1);
    let alice = sys::as_user(ALICE, ALICE, &[ALICE], || {
        fs::read_to_string(mounted.join("home/alice/pub/.snapshots/closed/letter"))
    });
    assert_eq!(alice.expect("read"), "private then");
}

#[test]
fn checkpoints_and_times_are_no_way_in_either() {
    let sandbox = Sandbox::new("closed-times");
    let mounted = opened_later(&sandbox);
    let closed = mounted.past("closed", "");
    let mode = |state: &PathBuf| fs::metadata(state.join("home/alice")).expect("stat").mode();
    let mut tried = 0;
    for state in mounted.checkpoints() {
        if mode(&state) & 0o077 != 0 {
            continue;
        }
        let day = state
            .parent()
            .and_then(|day| day.file_name())
            .expect("a day");
        let time = state.file_name().expect("a time");
        let inside = mounted.join("home/alice/pub/.snapshots/.checkpoints");
        for way in [
            inside.join(day).join(time).join("letter"),
            state.join("home/alice/pub/letter"),
        ] {
            assert_eq!(as_bob(way.clone()), libc::EACCES, "{way:?}");
        }
        tried += 1;
    }
    assert!(tried > 0 && closed.exists());
}

#[test]
fn a_closed_directory_hides_whether_names_exist() {
    let sandbox = Sandbox::new("hidden-names");
    let mounted = opened_later(&sandbox);
    let base = mounted.join("home/alice/pub/.snapshots/closed");
    let errors = sys::as_user(BOB, BOB, &[BOB], || {
        ["letter", "no-such-name"].map(|name| sys::errno(&fs::symlink_metadata(base.join(name))))
    });
    assert_eq!(errors, [libc::EACCES; 2]);
}

#[test]
fn owners_and_acls_of_the_instant_hold() {
    let sandbox = Sandbox::new("acl-past");
    set_mode(sandbox.work(), 0o755);
    write(sandbox.work().join("report"), "figures");
    set_mode(sandbox.work().join("report"), 0o600);
    let mounted = sandbox.mount("");
    let acl = |line: &str| {
        crate::harness::Cmd::sh(line)
            .within(&mounted.point)
            .run()
            .ok()
    };
    acl("setfacl -m u:1235:r report");
    mounted.snapshot("shared");
    acl("setfacl -b report");
    mounted.snapshot("withdrawn");
    assert_eq!(as_bob(mounted.past("first", "report")), libc::EACCES);
    assert_eq!(as_bob(mounted.past("shared", "report")), 0);
    assert_eq!(as_bob(mounted.past("withdrawn", "report")), libc::EACCES);
    chown(mounted.join("report"), Some(BOB), None).expect("chown");
    mounted.snapshot("his");
    assert_eq!(as_bob(mounted.past("his", "report")), 0);
    assert_eq!(as_bob(mounted.past("withdrawn", "report")), libc::EACCES);
}

#[test]
fn the_tree_of_another_moment_gives_no_rights() {
    let sandbox = Sandbox::new("closed-now");
    let work = sandbox.work();
    set_mode(work.clone(), 0o755);
    fs::create_dir(work.join("dir")).expect("mkdir");
    write(work.join("dir/file"), "was open");
    let mounted = sandbox.mount("");
    set_mode(mounted.join("dir"), 0o700);
    // What he could read then he may read there; what is closed now stays closed.
    assert_eq!(as_bob(mounted.past("first", "dir/file")), 0);
    assert_eq!(as_bob(mounted.join("dir/file")), libc::EACCES);
    assert_eq!(
        as_bob(mounted.join("dir/.snapshots/first/file")),
        libc::EACCES
    );
    assert_eq!(mount::names(&mounted.past("first", "dir")), ["file"]);
}
