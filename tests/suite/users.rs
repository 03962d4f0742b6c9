//! Several users on a mount made by root: what they may do, what they own, and whose space they
//! use. Permissions, quotas and reserves are the caller's, not the daemon's.

use crate::harness::compare::Tree;
use crate::harness::loopfs::LoopFs;
use crate::harness::run::wait_for;
use crate::harness::twin::twins;
use crate::harness::{Cmd, Mounted, Sandbox, sys, text, write};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

const USER: u32 = 1234;
const OTHER: u32 = 1235;
const GROUP: u32 = 2345;

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
}

/// Runs as a user, on a side that both may enter.
fn by<T: Send>(uid: u32, groups: &[u32], work: impl FnOnce() -> T + Send) -> T {
    sys::as_user(uid, uid, groups, move || {
        sys::umask(0o022);
        work()
    })
}

#[test]
fn who_makes_a_file_owns_it() {
    twins("owners", "", |side| {
        set_mode(&side.root, 0o777);
        fs::create_dir(side.join("shared")).expect("mkdir");
        chown(side.join("shared"), None, Some(GROUP)).expect("chown");
        set_mode(side.join("shared"), 0o2777);
        for (uid, dir) in [
            (USER, ""),
            (OTHER, "shared/"),
            (USER, "shared/"),
            (0, "shared/"),
        ] {
            let root = side.root.clone();
            let name = |what: &str| root.join(format!("{dir}{what}-{uid}"));
            by(uid, &[uid], || {
                write(name("file"), "x");
                fs::create_dir(name("dir")).expect("mkdir");
                write(name("dir").join("inner"), "x");
                symlink("x", name("link")).expect("symlink");
                sys::mknod(&name("fifo"), libc::S_IFIFO | 0o644, 0).expect("mkfifo");
                fs::hard_link(name("file"), name("second")).expect("link");
                set_mode(name("file"), 0o2755);
            });
        }
    });
}

#[test]
fn permissions_are_the_callers() {
    twins("permissions", "", |side| {
        set_mode(&side.root, 0o755);
        fs::create_dir(side.join("mine")).expect("mkdir");
        chown(side.join("mine"), Some(USER), Some(USER)).expect("chown");
        fs::create_dir(side.join("closed")).expect("mkdir");
        write(side.join("closed/file"), "x");
        set_mode(side.join("closed"), 0o700);
        write(side.join("secret"), "x");
        set_mode(side.join("secret"), 0o600);
        fs::create_dir(side.join("sticky")).expect("mkdir");
        set_mode(side.join("sticky"), 0o1777);
        write(side.join("sticky/roots"), "x");
        let root = side.root.clone();
        let results = by(USER, &[USER], || {
            let at = |name: &str| root.join(name);
            vec![
                sys::errno(&fs::read(at("secret"))),
                sys::errno(&fs::write(at("secret"), "y")),
                sys::errno(&fs::read(at("closed/file"))),
                sys::errno(&fs::read_dir(at("closed"))),
                sys::errno(&fs::symlink_metadata(at("closed/none"))),
                sys::errno(&File::create(at("new"))),
                sys::errno(&File::create(at("mine/new"))),
                sys::errno(&fs::remove_file(at("sticky/roots"))),
                sys::errno(&fs::rename(at("sticky/roots"), at("sticky/stolen"))),
                sys::errno(&fs::remove_file(at("secret"))),
                sys::errno(&fs::set_permissions(
                    at("secret"),
                    PermissionsExt::from_mode(0o777),
                )),
                sys::errno(&chown(at("mine/new"), Some(OTHER), None)),
                sys::errno(&chown(at("mine/new"), None, Some(GROUP))),
                sys::errno(&sys::set_times(&at("secret"), (1, 1), (1, 1))),
                sys::errno(&sys::set_xattr(&at("secret"), "user.x", b"1", 0)),
                sys::errno(&sys::set_xattr(&at("mine/new"), "user.x", b"1", 0)),
                sys::errno(&sys::set_xattr(&at("mine/new"), "trusted.x", b"1", 0)),
                sys::errno(&sys::access(&at("secret"), libc::R_OK)),
                sys::errno(&sys::access(&at("mine/new"), libc::W_OK)),
                sys::errno(&sys::mknod(
                    &at("mine/dev"),
                    libc::S_IFCHR,
                    sys::makedev(1, 3),
                )),
                sys::errno(&fs::hard_link(at("secret"), at("mine/hard"))),
            ]
        });
        side.note("errors of an ordinary user", results);
    });
}

#[test]
fn supplementary_groups_count() {
    twins("groups", "", |side| {
        set_mode(&side.root, 0o755);
        fs::create_dir(side.join("team")).expect("mkdir");
        chown(side.join("team"), None, Some(GROUP)).expect("chown");
        set_mode(side.join("team"), 0o770);
        write(side.join("team/plan"), "the plan");
        chown(side.join("team/plan"), None, Some(GROUP)).expect("chown");
        set_mode(side.join("team/plan"), 0o640);
        let root = side.root.clone();
        let act = |uid: u32| {
            let at = |name: &str| root.join(name);
            let new = at(&format!("team/by-{uid}"));
            [
                sys::errno(&fs::read(at("team/plan"))),
                sys::errno(&fs::write(at("team/plan"), "mine")),
                sys::errno(&fs::write(&new, "new")),
                sys::errno(&chown(&new, None, Some(GROUP))),
                sys::errno(&fs::set_permissions(
                    &new,
                    PermissionsExt::from_mode(0o2755),
                )),
                sys::errno(&fs::create_dir(at(&format!("team/dir-{uid}")))),
            ]
        };
        side.note("member", by(USER, &[USER, GROUP], || act(USER)));
        side.note("stranger", by(OTHER, &[OTHER], || act(OTHER)));
    });
}

#[test]
fn acls_decide_for_named_users() {
    twins("acl-users", "", |side| {
        set_mode(&side.root, 0o755);
        write(side.join("file"), "x");
        set_mode(side.join("file"), 0o600);
        let line = format!("setfacl -m u:{USER}:r,g:{GROUP}:rw file");
        Cmd::sh(&line).within(&side.root).run().ok();
        let file = side.join("file");
        let both = || {
            let writing = OpenOptions::new().append(true).open(&file);
            (sys::errno(&fs::read(&file)), sys::errno(&writing))
        };
        side.note("the named user", by(USER, &[USER], both));
        side.note("the named group", by(OTHER, &[OTHER, GROUP], both));
        side.note("nobody of them", by(OTHER, &[OTHER], both));
    });
}

/// Writes until it fails; how far it came in MiB, and why it stopped.
fn fill(path: &Path) -> (u64, i32) {
    let mut file = match File::create(path) {
        Ok(file) => file,
        Err(error) => return (0, error.raw_os_error().unwrap_or(-1)),
    };
    let piece = vec![0x5a; 256 << 10];
    let mut written = 0;
    loop {
        match file.write(&piece) {
            Ok(len) => written += len as u64,
            Err(error) => return (written >> 20, error.raw_os_error().unwrap_or(-1)),
        }
        if written > 200 << 20 {
            return (written >> 20, 0);
        }
    }
}

/// How far root and an owner come in a directory, one after the other, each on an empty disk.
fn limits(root: &Path) -> [(u64, i32); 2] {
    [USER, 0].map(|uid| {
        let path = root.join(format!("filler-{uid}"));
        let result = by(uid, &[uid], || fill(&path));
        remove_for_good(&path);
        result
    })
}

/// ext4 gives the blocks back when its journal commits, not before, and not while a process that
/// another test is just starting still has the descriptor.
fn remove_for_good(path: &Path) {
    fs::remove_file(path).expect("unlink");
    let disk = path
        .ancestors()
        .find(|dir| dir.ends_with("disk"))
        .expect("the small disk");
    wait_for("the space to come back", || {
        Cmd::new("sync").arg("-f").arg(disk).run().ok();
        let stat = rustix::fs::statvfs(disk).expect("statvfs");
        stat.f_bfree * stat.f_frsize > 50 << 20
    });
}

/// A directory on a small ext4 that keeps 30 % for root, mounted with its store elsewhere.
fn on_a_small_disk(sandbox: &Sandbox, options: &str, work: impl FnOnce(&Mounted, &Path)) {
    let disk = LoopFs::new(sandbox, "disk", "ext4", 64, &["-m", "30"]);
    let (dir, plain) = (disk.path().join("dir"), disk.path().join("plain"));
    for path in [&dir, &plain] {
        fs::create_dir(path).expect("mkdir");
        set_mode(path, 0o777);
    }
    let mut cmd = Cmd::rewindfs().arg("mount").arg(&dir);
    cmd = cmd.arg("--store").arg(sandbox.join("store"));
    if !options.is_empty() {
        cmd = cmd.args(["-o", options]);
    }
    cmd.run().ok();
    let mounted = Mounted::found(dir.clone(), dir);
    work(&mounted, &plain);
    mounted.umount();
}

#[test]
fn the_reserve_is_for_root_alone() {
    let sandbox = Sandbox::new("reserve");
    // Without history nothing else uses the disk: the figures must be those of the plain disk.
    on_a_small_disk(&sandbox, "nohistory", |mounted, plain| {
        let [owner, root] = limits(plain);
        assert_eq!((owner.1, root.1), (libc::ENOSPC, libc::ENOSPC));
        assert!(
            (33..=36).contains(&owner.0),
            "the plain disk gives an owner {owner:?}"
        );
        assert!(
            (51..=56).contains(&root.0),
            "the plain disk gives root {root:?}"
        );
        let [our_owner, our_root] = limits(&mounted.point);
        assert_eq!((our_owner.1, our_root.1), (libc::ENOSPC, libc::ENOSPC));
        assert!(
            our_owner.0.abs_diff(owner.0) <= 1,
            "{our_owner:?}, plain {owner:?}"
        );
        assert!(
            our_root.0.abs_diff(root.0) <= 1,
            "{our_root:?}, plain {root:?}"
        );
    });
}

#[test]
fn the_reserve_holds_with_history_and_through_mappings() {
    let sandbox = Sandbox::new("reserve-mapped");
    on_a_small_disk(&sandbox, "", |mounted, plain| {
        let [owner, _] = limits(plain);
        let path = mounted.join("filler");
        let (filled, errno) = by(USER, &[USER], || fill(&path));
        assert_eq!(errno, libc::ENOSPC);
        assert!(filled.abs_diff(owner.0) <= 1, "{filled}, plain {owner:?}");
        remove_for_good(&path);
        mounted.sync();
    });
}

#[test]
fn kernel_write_back_is_charged_to_the_owner() {
    let sandbox = Sandbox::new("reserve-writeback");
    on_a_small_disk(&sandbox, "nohistory,writeback", |mounted, plain| {
        let [owner, _] = limits(plain);
        let path = mounted.join("filler");
        let stored = by(USER, &[USER], || {
            let mut file = File::create(&path).expect("create");
            let piece = vec![0x5a; 1 << 20];
            let mut failed = None;
            for _ in 0..60 {
                if let Err(error) = file.write_all(&piece).and_then(|()| file.sync_all()) {
                    failed = error.raw_os_error();
                    break;
                }
            }
            assert_eq!(failed, Some(libc::ENOSPC));
            file
        });
        let blocks = std::os::unix::fs::MetadataExt::blocks(&stored.metadata().expect("stat"));
        let stored_mib = (blocks * 512) >> 20;
        assert!(
            stored_mib <= owner.0 + 1,
            "{stored_mib} MiB stored, plain {owner:?}"
        );
    });
}

/// User quotas are not in every kernel; a quota group of btrfs is.
#[test]
fn a_quota_is_an_error_of_the_caller() {
    let sandbox = Sandbox::new("quota");
    let disk = LoopFs::new(&sandbox, "disk", "btrfs", 200, &[]);
    let dir = disk.path().join("dir");
    let script = "btrfs subvolume create dir && btrfs quota enable . && btrfs qgroup limit 10M dir";
    Cmd::sh(script).within(disk.path()).run().ok();
    set_mode(&dir, 0o777);
    let fill_synced = |path: &Path| {
        by(USER, &[USER], || {
            let mut file = File::create(path).expect("create");
            let piece = crate::harness::noise(1, 1 << 20);
            for n in 0..30 {
                let result = file.write_all(&piece).and_then(|()| file.sync_all());
                if let Err(error) = result {
                    return (n, error.raw_os_error().unwrap_or(-1));
                }
            }
            (30, 0)
        })
    };
    let free = || {
        let sync = "sync -f .; btrfs filesystem sync .";
        Cmd::sh(sync).within(disk.path()).run().ok();
        let stat = rustix::fs::statvfs(disk.path()).expect("statvfs");
        stat.f_bfree * stat.f_frsize
    };
    let before = free();
    let plain = fill_synced(&dir.join("plain"));
    assert_eq!(plain.1, libc::EDQUOT, "the plain disk");
    fs::remove_file(dir.join("plain")).expect("unlink");
    // Not while a process that another test is just starting still has the descriptor.
    wait_for("the space to come back", || free() + (4 << 20) > before);
    let mut cmd = Cmd::rewindfs().arg("mount").arg(&dir);
    cmd = cmd.arg("--store").arg(sandbox.join("store"));
    cmd.run().ok();
    let mounted = Mounted::found(dir.clone(), dir);
    let ours = fill_synced(&mounted.join("ours"));
    assert_eq!(ours.1, libc::EDQUOT);
    let difference: i32 = ours.0 - plain.0;
    assert!(difference.abs() <= 1, "{ours:?}, plain {plain:?}");
}

#[test]
fn other_file_systems_serve_as_well() {
    for (kind, mib) in [("xfs", 320), ("btrfs", 200)] {
        let sandbox = Sandbox::new(kind);
        let disk = LoopFs::new(&sandbox, "disk", kind, mib, &[]);
        let dir = disk.path().join("dir");
        fs::create_dir(&dir).expect("mkdir");
        crate::harness::one_of_everything(&dir);
        let plain = Tree::read(&dir);
        let mut cmd = Cmd::rewindfs().arg("mount").arg(&dir);
        cmd = cmd.arg("--store").arg(sandbox.join("store"));
        cmd.run().ok();
        let mounted = Mounted::found(dir.clone(), dir);
        mounted.settled();
        let seen = Tree::read(&mounted.point);
        plain.must_equal(&seen, Default::default(), kind);
        let past = Tree::read(&mounted.past("first", ""));
        plain.must_equal(&past, Default::default(), kind);
        mounted.umount();
    }
}

#[test]
fn a_user_of_his_own_sees_the_past_as_himself() {
    let sandbox = Sandbox::new("user-past");
    let mounted = sandbox.mount("");
    set_mode(&mounted.point, 0o777);
    write(mounted.join("open"), "for all");
    write(mounted.join("secret"), "for root");
    set_mode(mounted.join("secret"), 0o600);
    mounted.snapshot("then");
    set_mode(mounted.join("secret"), 0o644);
    let read_as = |path: std::path::PathBuf| -> io::Result<String> {
        by(USER, &[USER], move || fs::read_to_string(path))
    };
    assert_eq!(
        read_as(mounted.past("then", "open")).expect("read"),
        "for all"
    );
    let error = read_as(mounted.past("then", "secret"));
    assert_eq!(sys::errno(&error), libc::EACCES, "its mode then counts");
    assert_eq!(text(mounted.past("then", "secret")), "for root");
}
