//! Modes, owners, times, extended attributes and ACLs, compared with a plain directory.

use crate::harness::twin::twins;
use crate::harness::{Cmd, Sandbox, sys, wait_for, write};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("stat").mode() & 0o7777
}

#[test]
fn modes_of_files_and_directories() {
    twins("chmod", "", |side| {
        write(side.join("file"), "x");
        fs::create_dir(side.join("dir")).expect("mkdir");
        for bits in [0, 0o777, 0o4755, 0o2755, 0o1777, 0o7777, 0o644] {
            for name in ["file", "dir"] {
                let path = side.join(name);
                let result = fs::set_permissions(&path, PermissionsExt::from_mode(bits));
                side.saw(&format!("chmod {bits:o} {name}"), result);
                side.note("mode", mode(&path));
            }
        }
        let result = fs::set_permissions(side.join("gone"), PermissionsExt::from_mode(0o600));
        side.saw("chmod of nothing", result);
    });
}

#[test]
fn umask_is_applied_once() {
    twins("umask", "", |side| {
        let root = side.root.clone();
        for mask in [0, 0o022, 0o077, 0o777] {
            sys::with_umask(mask, || {
                let name = |what: &str| root.join(format!("{what}-{mask:o}"));
                drop(sys::open(
                    &name("file"),
                    libc::O_CREAT | libc::O_WRONLY,
                    0o666,
                ));
                fs::create_dir(name("dir")).expect("mkdir");
                sys::mknod(&name("fifo"), libc::S_IFIFO | 0o666, 0).expect("mkfifo");
            });
        }
    });
}

#[test]
fn owners_and_the_bits_that_go_with_them() {
    twins("chown", "", |side| {
        for (name, bits) in [("plain", 0o644), ("setuid", 0o6755), ("locking", 0o2644)] {
            write(side.join(name), "x");
            let path = side.join(name);
            fs::set_permissions(&path, PermissionsExt::from_mode(bits)).expect("chmod");
            for (uid, gid) in [
                (Some(1234), None),
                (None, Some(2345)),
                (Some(0), Some(0)),
                (None, None),
            ] {
                let result = chown(&path, uid, gid);
                side.saw(&format!("{name} to {uid:?} {gid:?}"), result);
                side.note("mode", mode(&path));
            }
        }
        symlink("plain", side.join("link")).expect("symlink");
        let result = lchown(side.join("link"), Some(77), Some(88));
        side.saw("a symlink itself", result);
    });
}

#[test]
fn writing_takes_setuid_away_as_beside_the_mount() {
    twins("killpriv", "", |side| {
        let root = side.root.clone();
        fs::set_permissions(&root, PermissionsExt::from_mode(0o777)).expect("chmod");
        let mut modes = Vec::new();
        for by in [0, 1234] {
            for how in ["write", "truncate", "O_TRUNC", "fallocate", "chown"] {
                let path = root.join(format!("{how}-{by}"));
                write(&path, "content");
                chown(&path, Some(by), Some(by)).expect("chown");
                fs::set_permissions(&path, PermissionsExt::from_mode(0o6777)).expect("chmod");
                sys::as_user(by, by, &[by], || match how {
                    "O_TRUNC" => drop(File::create(&path).expect("open")),
                    "chown" => drop(chown(&path, None, Some(by))),
                    _ => {
                        let mut file = OpenOptions::new().write(true).open(&path).expect("open");
                        match how {
                            "write" => file.write_all(b"x").expect("write"),
                            "truncate" => file.set_len(3).expect("truncate"),
                            _ => sys::fallocate(&file, 0, 0, 100).expect("fallocate"),
                        }
                    }
                });
                modes.push((how, by, format!("{:o}", mode(&path))));
            }
        }
        side.note("modes", modes);
    });
}

#[test]
fn times_before_1970_and_far_ahead() {
    twins("times", "", |side| {
        write(side.join("file"), "x");
        fs::create_dir(side.join("dir")).expect("mkdir");
        symlink("file", side.join("link")).expect("symlink");
        let times = [
            ((0, 0), (0, 1)),
            ((-1, 0), (-1, 500_000_000)),
            ((-2, 999_999_999), (-86_400 * 365, 1)),
            ((-2_147_483_648, 0), (4_294_967_296, 5)),
            ((10_413_792_000, 123_456_789), (1, 999_999_999)),
        ];
        for name in ["file", "dir", "link"] {
            for (atime, mtime) in times {
                let path = side.join(name);
                let result = sys::set_times(&path, atime, mtime);
                side.saw(&format!("{name} {atime:?} {mtime:?}"), result);
                let meta = fs::symlink_metadata(&path).expect("stat");
                side.note("mtime", (meta.mtime(), meta.mtime_nsec()));
                side.note("atime", (meta.atime(), meta.atime_nsec()));
            }
        }
        let path = side.join("file");
        sys::set_times(&path, (100, 1), (200, 2)).expect("utimens");
        sys::set_times(&path, sys::OMIT, (300, 3)).expect("utimens");
        let meta = fs::metadata(&path).expect("stat");
        side.note("omitted", (meta.atime(), meta.atime_nsec(), meta.mtime()));
        sys::set_times(&path, sys::NOW, sys::OMIT).expect("utimens");
        let meta = fs::metadata(&path).expect("stat");
        side.note(
            "now and omitted",
            (meta.atime() > 1_700_000_000, meta.mtime()),
        );
        let result = sys::set_times(&path, (0, 1_500_000_000), (0, 0));
        side.note("impossible", sys::errno(&result));
    });
}

#[test]
fn times_survive_into_a_snapshot_and_a_remount() {
    let sandbox = Sandbox::new("times-past");
    let mounted = sandbox.mount("");
    write(mounted.join("old"), "x");
    sys::set_times(
        &mounted.join("old"),
        (-1_000, 1),
        (-2_000_000_000, 999_999_999),
    )
    .expect("utimens");
    let seen = |path: &Path| {
        let meta = fs::metadata(path).expect("stat");
        (meta.mtime(), meta.mtime_nsec())
    };
    mounted.snapshot("then");
    assert_eq!(
        seen(&mounted.past("then", "old")),
        (-2_000_000_000, 999_999_999)
    );
    mounted.umount();
    assert_eq!(
        seen(&sandbox.work().join("old")),
        (-2_000_000_000, 999_999_999)
    );
    let mounted = sandbox.mount("");
    assert_eq!(
        seen(&mounted.past("then", "old")),
        (-2_000_000_000, 999_999_999)
    );
}

#[test]
fn times_move_when_something_happens() {
    let sandbox = Sandbox::new("times-move");
    let mounted = sandbox.mount("");
    let path = mounted.join("file");
    write(&path, "one");
    let stamp = |path: &Path| {
        let meta = fs::symlink_metadata(path).expect("stat");
        (
            (meta.mtime(), meta.mtime_nsec()),
            (meta.ctime(), meta.ctime_nsec()),
        )
    };
    // The clock of file times may tick only every few milliseconds: repeat until it has.
    let moves = |what: &str, path: &Path, mtime: bool, act: &mut dyn FnMut()| {
        let before = stamp(path);
        wait_for(what, || {
            act();
            let now = stamp(path);
            now.1 > before.1 && (!mtime || now.0 > before.0)
        });
    };
    let file = OpenOptions::new().write(true).open(&path).expect("open");
    moves("write", &path, true, &mut || {
        (&file).write_all(b"x").expect("write");
    });
    moves("truncate", &path, true, &mut || {
        file.set_len(10).expect("truncate");
        file.set_len(11).expect("truncate");
    });
    moves("chmod", &path, false, &mut || {
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("chmod");
    });
    moves("link", &path, false, &mut || {
        let _ = fs::remove_file(mounted.join("second"));
        fs::hard_link(&path, mounted.join("second")).expect("link");
    });
    moves("unlink of the other name", &path, false, &mut || {
        let _ = fs::hard_link(&path, mounted.join("second"));
        fs::remove_file(mounted.join("second")).expect("unlink");
    });
    moves(
        "a new name in the directory",
        &mounted.point,
        true,
        &mut || {
            write(mounted.join("new"), "x");
            fs::remove_file(mounted.join("new")).expect("unlink");
        },
    );
    moves("xattr", &path, false, &mut || {
        sys::set_xattr(&path, "user.a", b"1", 0).expect("setxattr");
    });
    let before = stamp(&path).0;
    fs::read(&path).expect("read");
    assert_eq!(stamp(&path).0, before, "reading changes no mtime");
}

#[test]
fn extended_attributes_of_every_kind() {
    twins("xattrs", "", |side| {
        write(side.join("file"), "x");
        fs::create_dir(side.join("dir")).expect("mkdir");
        symlink("file", side.join("link")).expect("symlink");
        sys::mknod(&side.join("fifo"), libc::S_IFIFO | 0o600, 0).expect("mkfifo");
        let big = vec![7; 3_000];
        let huge = vec![7; 65_536];
        for name in ["file", "dir", "link", "fifo"] {
            let path = side.join(name);
            let mut set = |key: &str, value: &[u8], flags: i32| {
                let result = sys::set_xattr(&path, key, value, flags);
                side.saw(&format!("{name} {key} {flags} {}", value.len()), result);
            };
            set("user.a", b"1", 0);
            set("user.a", b"2", libc::XATTR_CREATE);
            set("user.a", b"22", libc::XATTR_REPLACE);
            set("user.b", b"3", libc::XATTR_REPLACE);
            set("user.empty", b"", 0);
            set("user.big", &big, 0);
            set("user.huge", &huge, 0);
            set("trusted.t", b"t\0t", 0);
            set("security.s", b"s", 0);
            set("nonsense", b"s", 0);
            set("system.nonsense", b"s", 0);
            set(&format!("user.{}", "n".repeat(250)), b"long", 0);
            set(&format!("user.{}", "n".repeat(251)), b"too long", 0);
            let list = sys::list_xattrs(&path);
            side.saw("list", list);
            for key in [
                "user.a",
                "user.none",
                "user.empty",
                "trusted.t",
                "security.s",
            ] {
                let value = sys::get_xattr(&path, key.as_bytes());
                side.saw(key, value);
            }
            let small = sys::get_xattr_sized(&path, "user.big", 10);
            side.saw("a small buffer", small);
            let size = sys::get_xattr_sized(&path, "user.big", 0);
            side.saw("its size", size);
            for key in ["user.a", "user.a", "trusted.t"] {
                let result = sys::remove_xattr(&path, key);
                side.saw(&format!("remove {key}"), result);
            }
        }
    });
}

#[test]
fn acls_and_their_inheritance() {
    twins("acls", "", |side| {
        let script = "
            umask 027
            mkdir dir; touch file
            setfacl -m u:1234:rw,g:2345:r,m::rw file
            setfacl -m d:u:1234:rwx,d:g::r-x,d:o::- dir
            touch dir/inherits; mkdir dir/sub; touch dir/sub/deeper
            chmod 640 file; chmod 700 dir/sub
            setfacl -m u:77:x dir/sub/deeper
            setfacl -x u:77 dir/sub/deeper
            mkdir bare; setfacl -m u:9:r bare; setfacl -b bare
            getfacl -nR . | grep -v '^$'";
        let run = Cmd::sh(script).within(&side.root).run();
        side.note("getfacl", (run.code, run.out, run.err));
    });
}

#[test]
fn a_setgid_directory_gives_its_group_on() {
    twins("setgid", "", |side| {
        fs::create_dir(side.join("dir")).expect("mkdir");
        chown(side.join("dir"), None, Some(2345)).expect("chown");
        fs::set_permissions(side.join("dir"), PermissionsExt::from_mode(0o2775)).expect("chmod");
        write(side.join("dir/file"), "x");
        fs::create_dir(side.join("dir/sub")).expect("mkdir");
        write(side.join("dir/sub/file"), "x");
        symlink("x", side.join("dir/link")).expect("symlink");
        sys::mknod(&side.join("dir/fifo"), libc::S_IFIFO | 0o660, 0).expect("mkfifo");
    });
}

#[test]
fn immutable_flags_are_passed_on() {
    twins("flags", "", |side| {
        write(side.join("file"), "x");
        let script = "chattr +i file; lsattr file | cut -c5; chattr -i file; lsattr file | cut -c5";
        let run = Cmd::sh(script).within(&side.root).run();
        side.note("flags", (run.code, run.out));
    });
}
