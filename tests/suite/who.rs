//! Who may: root, the owner of the directory, members of the group that was named, and nobody of
//! these, on a mount by root: through `.snapshots`, and by the commands without sudo.

use crate::harness::run::wait_for;
use crate::harness::{Cmd, Mounted, Run, Sandbox, sys, text, write};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

const OWNER: u32 = 1234;
const MEMBER: u32 = 1235;
const GROUP: u32 = 2345;
const NOBODY: u32 = 65534;

/// A directory of an ordinary user, mounted by root.
struct Scene {
    // In this order: the mount goes before its folder.
    mounted: Mounted,
    program: PathBuf,
    _sandbox: Sandbox,
}

fn scene(name: &str, options: &str) -> Scene {
    let sandbox = Sandbox::new(name);
    write(sandbox.work().join("file"), "one");
    for path in [sandbox.work(), sandbox.work().join("file")] {
        chown(path, Some(OWNER), Some(OWNER)).expect("chown");
    }
    fs::set_permissions(sandbox.work(), PermissionsExt::from_mode(0o755)).expect("chmod");
    let mounted = sandbox.mount(options);
    let program = sandbox.program();
    Scene {
        mounted,
        program,
        _sandbox: sandbox,
    }
}

impl Scene {
    /// A command of the program in the directory, by a user with these groups.
    fn by(&self, uid: u32, groups: &str, line: &str) -> Run {
        let groups = match groups {
            "" => "--clear-groups".to_owned(),
            groups => format!("--groups={groups}"),
        };
        Cmd::new("setpriv")
            .args([format!("--reuid={uid}"), format!("--regid={uid}"), groups])
            .arg(&self.program)
            .args(line.split(' '))
            .env("HOME", "/nonexistent")
            .within(&self.mounted.point)
            .run()
    }

    fn owner(&self, line: &str) -> Run {
        self.by(OWNER, "", line)
    }
}

#[test]
fn the_owner_of_the_directory_needs_no_sudo() {
    let scene = scene("owner", "");
    scene.owner("snapshot . mine").ok();
    let store = scene.mounted.dir.with_file_name(".work.rewind");
    let mode = fs::metadata(&store).expect("the store").mode() & 0o7777;
    assert_eq!(mode, 0o700, "the store stays closed to him");
    scene.owner("list .").ok().says("mine");
    scene.owner("status .").ok().says("snapshots");
    // Of all that is mounted: others may have their problems.
    scene
        .owner("status")
        .says(&format!("{}: mounted since", scene.mounted.point.display()));
    scene.owner("hold . mine --reason audit").ok();
    scene.owner("delete . mine").exits(2).says("is held");
    scene.owner("release . mine").ok();
    scene.owner("delete . mine").ok();
    scene.owner("undelete . mine").ok();
    scene.owner("sync .").ok();
    write(scene.mounted.join("file"), "two");
    scene.owner("diff . mine live").exits(1).says("M\tfile");
    scene.owner("log file").ok();
    scene.owner("cat file --at mine").ok().says("one");
    scene
        .owner("restore file --at mine")
        .ok()
        .says("restored 1");
    assert_eq!(text(scene.mounted.join("file")), "one");
    let log = scene.owner("list . --log").ok().out;
    for deed in ["made", "held", "released", "deleted", "undeleted"] {
        let told = log.lines().any(|line| {
            line.contains(deed) && line.contains("mine") && line.contains(&OWNER.to_string())
        });
        assert!(told, "who {deed} it is kept:\n{log}");
    }
    // What would destroy history at once, or end it, is not his.
    for line in [
        "delete . mine --now",
        "policy . --keep-all 0",
        "prune .",
        "umount .",
    ] {
        scene.owner(line).exits(2);
    }
    for line in [
        "purge file --yes",
        "purge file --dry-run",
        "verify . --repair",
    ] {
        scene.owner(line).exits(2).says("may not");
    }
    scene.owner("verify .").ok();
    scene.owner("list . --size").ok().says("mine");
    scene.owner("list .").ok().says("mine");
    assert_eq!(text(scene.mounted.past("mine", "file")), "one");
}

#[test]
fn the_directory_has_one_owner_the_one_it_has_now() {
    let scene = scene("new-owner", "");
    scene.owner("snapshot . before").ok();
    chown(&scene.mounted.point, Some(MEMBER), None).expect("chown");
    scene.owner("snapshot . after").exits(2).says("may not");
    let mine = sys::as_user(OWNER, OWNER, &[OWNER], || {
        fs::create_dir(scene.mounted.past("again", ""))
    });
    assert_eq!(sys::errno(&mine), libc::EACCES);
    scene.by(MEMBER, "", "snapshot . after").ok();
    assert_eq!(
        scene.mounted.snapshots(),
        ["after", "before", "first", "latest"]
    );
}

#[test]
fn everybody_may_ask_what_is_recorded_and_nothing_else() {
    let scene = scene("nobody", "");
    scene.owner("snapshot . mine").ok();
    let nobody = |line: &str| scene.by(NOBODY, "", line);
    nobody("list .").ok().says("mine");
    nobody("list . --deleted").ok();
    nobody("status .").ok().says("snapshots");
    nobody("cat file --at mine").ok().says("one");
    nobody("diff . mine first").exits(2).says("diff -r");
    for line in [
        "snapshot . his",
        "delete . mine",
        "undelete . mine",
        "rename . mine his",
        "hold . mine",
        "release . mine",
        "list . --log",
        "sync .",
        "log file",
        "verify .",
        "policy .",
        "prune . --dry-run",
    ] {
        nobody(line).exits(2).says("may not");
    }
    nobody("restore file --at mine --dry-run").ok();
    assert_eq!(scene.mounted.snapshots(), ["first", "latest", "mine"]);
}

#[test]
fn a_group_may_change_the_list_of_snapshots() {
    let scene = scene("group", &format!("snapshot_group={GROUP}"));
    let states = scene.mounted.join(".snapshots");
    let look = fs::metadata(&states).expect("stat");
    assert_eq!((look.mode() & 0o7777, look.gid()), (0o775, GROUP));
    let change = |name: &str, groups: &[u32], uid: u32| {
        let (made, renamed) = (states.join(name), states.join(format!("{name}2")));
        sys::as_user(uid, uid, groups, move || {
            [
                sys::errno(&fs::create_dir(&made)),
                sys::errno(&fs::rename(&made, &renamed)),
                sys::errno(&fs::remove_dir(&renamed)),
            ]
        })
    };
    assert_eq!(change("his", &[MEMBER, GROUP], MEMBER), [0; 3]);
    assert_eq!(change("mine", &[OWNER], OWNER), [0; 3]);
    let refused = [libc::EACCES, libc::ENOENT, libc::ENOENT];
    assert_eq!(change("other", &[NOBODY], NOBODY)[0], refused[0]);
    // A file of another name, and what stands in the past, is no more his than it was.
    let member = sys::as_user(MEMBER, MEMBER, &[MEMBER, GROUP], || {
        sys::errno(&fs::write(states.join("first/file"), "x"))
    });
    assert!([libc::EACCES, libc::EROFS].contains(&member), "{member}");
    let group = GROUP.to_string();
    let member = |line: &str| scene.by(MEMBER, &group, line);
    member("snapshot . theirs").ok();
    member("hold . theirs").ok();
    member("release . theirs").ok();
    member("rename . theirs ours").ok();
    member("delete . ours").ok();
    member("undelete . ours").ok();
    member("list . --log").ok().says(&MEMBER.to_string());
    for line in ["sync .", "log file", "delete . ours --now", "umount ."] {
        member(line).exits(2);
    }
    scene
        .by(NOBODY, "", "snapshot . his")
        .exits(2)
        .says("may not");
    scene
        .by(NOBODY, "7", "snapshot . his")
        .exits(2)
        .says("may not");
}

#[test]
fn a_crowd_of_strangers_keeps_nobody_out() {
    use std::os::unix::net::UnixStream;
    let scene = scene("crowd", "");
    let device = fs::metadata(&scene.mounted.point).expect("stat").dev();
    let prefix = format!("{}-{}-", libc::major(device), libc::minor(device));
    let mut doors = fs::read_dir("/run/rewindfs")
        .expect("the doors")
        .map(|entry| entry.expect("an entry").path());
    let door = doors
        .find(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(&prefix))
        })
        .expect("its door");
    let crowd = sys::as_user(NOBODY, NOBODY, &[NOBODY], || {
        let connect = |_| UnixStream::connect(&door);
        (0..100).map(connect).collect::<Vec<_>>()
    });
    assert!(crowd.iter().filter(|stream| stream.is_ok()).count() > 40);
    scene.owner("snapshot . mine").ok();
    Cmd::rewindfs()
        .args(["list", "."])
        .within(&scene.mounted.point)
        .run()
        .ok()
        .says("mine");
    drop(crowd);
    let own = fs::symlink_metadata(&door).expect("the door").ino();
    scene.mounted.umount();
    // Another mount may have been given the number, and have its own door there.
    wait_for("the door to go with the mount", || {
        fs::symlink_metadata(&door).map_or(true, |found| found.ino() != own)
    });
}
