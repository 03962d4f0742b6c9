//! Bad input: one clear line that names the thing, the reason and the next command; a code that is
//! not 0; nothing changed. The lines are in golden/messages.txt.

use crate::harness::loopfs::LoopFs;
use crate::harness::{Cmd, Run, Sandbox, golden, mount, write};
use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The lines of one test and where they came from.
struct Lines {
    sandbox: Sandbox,
    text: String,
}

impl Lines {
    fn new(name: &str) -> Lines {
        Lines {
            sandbox: Sandbox::new(name),
            text: String::new(),
        }
    }

    /// Everything around the working directory, to be compared; not what is in stores.
    fn around(&self) -> String {
        let script = "find . -not -path '*rewind/*' -not -path './store*/*' -xdev -printf '%p %y %s %m\\n' | sort";
        Cmd::sh(script).within(self.sandbox.path()).run().ok().out
    }

    /// Runs what must be refused and keeps what it said.
    fn refused(&mut self, case: &str, cmd: Cmd) {
        let before = self.around();
        let run = cmd.run();
        self.keep(case, &run);
        assert_eq!(before, self.around(), "{case} changed something");
    }

    fn keep(&mut self, case: &str, run: &Run) {
        assert_ne!(
            run.code, 0,
            "{case} was not refused:\n{}{}",
            run.out, run.err
        );
        assert_eq!(run.out, "", "{case}: refusals go to standard error");
        assert!(run.err.starts_with("rewindfs: "), "{case}: {}", run.err);
        let lines = run.err.trim_end().lines().count();
        assert!(lines == 1, "{case} says it in {lines} lines:\n{}", run.err);
        let said = run
            .err
            .replace(&self.sandbox.path().display().to_string(), "$T");
        self.text += &format!("## {case} ({})\n{}", run.code, mask(&said));
    }

    fn mount(&self, path: impl AsRef<Path>) -> Cmd {
        Cmd::rewindfs()
            .arg("mount")
            .arg(self.sandbox.path().join(path))
    }

    fn folder(&self, name: &str) -> PathBuf {
        let path = self.sandbox.join(name);
        fs::create_dir_all(&path).expect("mkdir");
        path
    }
}

/// Numbers of inodes and file systems differ from run to run.
fn mask(text: &str) -> String {
    let mut masked = String::new();
    let mut hide = false;
    for word in text.split_inclusive([' ', ')']) {
        let bare = word.trim_end_matches([' ', ')', ',', ':']);
        let is_number = !bare.is_empty() && bare.chars().all(|c| c.is_ascii_hexdigit());
        if hide && is_number {
            masked += &word.replacen(bare, "#", 1);
        } else {
            masked += word;
        }
        hide = matches!(
            bare,
            "inode" | "system" | "uid" | "pid" | "(pid" | "bash(pid"
        );
    }
    masked
}

#[test]
fn directories_that_can_not_be_mounted() {
    let mut lines = Lines::new("bad-dirs");
    lines.refused("missing", lines.mount("missing"));
    write(lines.sandbox.join("file"), "x");
    lines.refused("not a directory", lines.mount("file"));
    lines.refused("the root", Cmd::rewindfs().args(["mount", "/"]));
    lines.folder("real/.snapshots");
    lines.refused("a real .snapshots", lines.mount("real"));
    let mounted = lines.sandbox.mount("");
    lines.refused("mounted already", lines.mount("work"));
    fs::create_dir(mounted.join("inner")).expect("mkdir");
    lines.refused("inside another", lines.mount("work/inner"));
    lines.refused(
        "inside another, mounted elsewhere",
        lines.mount("work/inner").arg(lines.folder("beside")),
    );
    mounted.umount();
    lines.folder("outer/inner");
    lines.mount("outer/inner").run().ok();
    let inner = lines.sandbox.join("outer/inner");
    let mounted = mount::Mounted::found(inner.clone(), inner);
    lines.refused("around another", lines.mount("outer"));
    mounted.umount();
    lines.refused(
        "a mount point that is missing",
        lines.mount("work").arg(lines.sandbox.join("gone")),
    );
    lines.refused(
        "a mount point inside",
        lines.mount("work").arg(lines.folder("work/point")),
    );
    golden("messages-directories.txt", &lines.text);
}

#[test]
fn mounts_below_are_refused_by_name_or_accepted() {
    let mut lines = Lines::new("mounts-below");
    let below = lines.folder("work/below");
    Cmd::new("mount")
        .args(["-t", "tmpfs", "none"])
        .arg(&below)
        .run()
        .ok();
    write(below.join("in-tmpfs"), "x");
    lines.refused("mounts below", lines.mount("work"));
    lines.mount("work").arg("--cross-mounts=hide").run().ok();
    let mounted = mount::Mounted::found(lines.sandbox.work(), lines.sandbox.work());
    assert!(mount::names(&mounted.join("below")).is_empty());
    mounted.umount();
    Cmd::new("umount").arg(&below).run().ok();
    golden("messages-below.txt", &lines.text);
}

#[test]
fn file_systems_on_which_not_all_holds() {
    let mut lines = Lines::new("bad-fs");
    let overlay = lines.folder("overlay");
    for name in ["low", "up", "tmp"] {
        lines.folder(name);
    }
    let options = "lowerdir=low,upperdir=up,workdir=tmp";
    Cmd::new("mount")
        .args(["-t", "overlay", "overlay", "-o", options])
        .arg(&overlay)
        .within(lines.sandbox.path())
        .run()
        .ok();
    fs::create_dir(overlay.join("dir")).expect("mkdir");
    lines.refused("on overlay", lines.mount("overlay/dir"));
    Cmd::new("umount").arg(&overlay).run().ok();
    let point = lines.folder("fuse");
    let served = fuser::spawn_mount(OnlyRoot, &point, &fuser::Config::default());
    let served = served.expect("a FUSE file system of another kind");
    lines.refused("on FUSE", lines.mount("fuse"));
    drop(served);
    golden("messages-file-systems.txt", &lines.text);
}

/// A FUSE file system that is not ours, and has nothing in it.
struct OnlyRoot;

impl fuser::Filesystem for OnlyRoot {
    fn getattr(
        &self,
        _req: &fuser::Request,
        ino: fuser::INodeNo,
        _fh: Option<fuser::FileHandle>,
        reply: fuser::ReplyAttr,
    ) {
        let then = std::time::UNIX_EPOCH;
        let attributes = fuser::FileAttr {
            ino,
            size: 0,
            blocks: 0,
            atime: then,
            mtime: then,
            ctime: then,
            crtime: then,
            kind: fuser::FileType::Directory,
            perm: 0o755,
            nlink: 2,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        };
        reply.attr(&Duration::from_secs(1), &attributes);
    }
}

#[test]
fn places_where_no_history_can_lie() {
    let mut lines = Lines::new("bad-places");
    let disk = LoopFs::new(&lines.sandbox, "disk", "ext4", 16, &[]);
    lines.refused("another file system", lines.mount("disk"));
    lines.refused(
        "a store inside",
        lines
            .mount("work")
            .arg("--store")
            .arg(lines.sandbox.work().join("store")),
    );
    let locked = lines.folder("locked-parent/dir");
    chown(&locked, Some(65_534), Some(65_534)).expect("chown");
    fs::set_permissions(
        lines.sandbox.join("locked-parent"),
        PermissionsExt::from_mode(0o555),
    )
    .expect("chmod");
    let program = lines.sandbox.program();
    let as_nobody = |args: &[&str]| {
        Cmd::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(args)
    };
    let dir = locked.display().to_string();
    lines.refused("a parent that is not writable", as_nobody(&["mount", &dir]));
    let path = lines.sandbox.join("file");
    write(&path, "not a store\n");
    lines.refused(
        "a store that is a file",
        lines.mount("work").arg("--store").arg(&path),
    );
    let other = lines.folder("documents");
    write(other.join("letter"), "x");
    lines.refused(
        "a store that is not ours",
        lines.mount("work").arg("--store").arg(&other),
    );
    std::os::unix::fs::symlink(&other, lines.sandbox.join("link")).expect("symlink");
    let link = lines.sandbox.join("link");
    lines.refused(
        "a store that is a symlink",
        lines.mount("work").arg("--store").arg(link),
    );
    drop(disk);
    golden("messages-places.txt", &lines.text);
}

#[test]
fn stores_of_others_and_moved_directories() {
    let mut lines = Lines::new("bad-stores");
    lines.sandbox.mount("").umount();
    let work = lines.sandbox.work();
    // Somebody has the store open.
    let find = Cmd::sh("find .work.rewind -name LOCK")
        .within(lines.sandbox.path())
        .run()
        .ok();
    let lock_path = lines
        .sandbox
        .join(find.out.trim_end().lines().next().expect("a LOCK"));
    let lock = OpenOptions::new()
        .write(true)
        .open(lock_path)
        .expect("open");
    // SAFETY: a zeroed flock is a valid one: the whole file.
    let taken = unsafe {
        let mut range: libc::flock = std::mem::zeroed();
        range.l_type = libc::F_WRLCK as libc::c_short;
        libc::fcntl(lock.as_raw_fd(), libc::F_SETLK, &range)
    };
    assert_eq!(taken, 0);
    lines.refused("locked", lines.mount("work"));
    lines.refused("locked, list", Cmd::rewindfs().arg("list").arg(&work));
    drop(lock);
    // Another directory came to this place.
    fs::rename(&work, lines.sandbox.join("old")).expect("mv");
    lines.folder("work");
    lines.refused("an empty directory in its place", lines.mount("work"));
    write(work.join("file"), "x");
    lines.refused("another directory in its place", lines.mount("work"));
    let other = lines.folder("other");
    let store = lines.sandbox.store();
    lines.refused(
        "the store of another",
        Cmd::rewindfs()
            .arg("mount")
            .arg(&other)
            .arg("--store")
            .arg(&store),
    );
    let run = lines.mount("work").arg("--adopt").run();
    run.ok();
    let mounted = mount::Mounted::found(work.clone(), work);
    mounted.settled();
    mounted.umount();
    golden("messages-stores.txt", &lines.text);
}

#[test]
fn stores_that_can_not_be_read() {
    let mut lines = Lines::new("bad-store");
    lines.sandbox.mount("").umount();
    let store = lines.sandbox.store();
    let list = |lines: &Lines| Cmd::rewindfs().arg("list").arg(lines.sandbox.work());
    fs::set_permissions(&store, PermissionsExt::from_mode(0o755)).expect("chmod");
    lines.refused("open to others", lines.mount("work"));
    fs::set_permissions(&store, PermissionsExt::from_mode(0o700)).expect("chmod");
    chown(&store, Some(1234), Some(1234)).expect("chown");
    lines.refused("of another user", lines.mount("work"));
    lines.refused("of another user, list", list(&lines));
    chown(&store, Some(0), Some(0)).expect("chown");
    let program = lines.sandbox.program();
    let as_nobody = Cmd::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["list", &lines.sandbox.work().display().to_string()]);
    lines.refused("closed to who asks", as_nobody);
    let format = fs::read_to_string(store.join("format")).expect("a format");
    write(store.join("format"), "rewindfs store 4000000000\n");
    lines.refused("of a newer format", lines.mount("work"));
    lines.refused("of a newer format, list", list(&lines));
    write(store.join("format"), "no format at all\n");
    lines.refused("of no format", lines.mount("work"));
    fs::remove_file(store.join("format")).expect("rm");
    lines.refused("without its format", lines.mount("work"));
    // Nothing was changed by all that.
    write(store.join("format"), format);
    lines.sandbox.mount("").umount();
    fs::rename(&store, lines.sandbox.join("kept")).expect("mv");
    write(&store, "relative/path\n");
    lines.refused("a pointer that is none", lines.mount("work"));
    write(&store, "");
    lines.refused("a pointer that is empty", lines.mount("work"));
    write(&store, "/missing/store\n");
    lines.refused("a pointer to nothing, list", list(&lines));
    golden("messages-unreadable.txt", &lines.text);
}

#[test]
fn commands_where_there_is_no_history() {
    let mut lines = Lines::new("no-store");
    for command in ["list", "snapshot", "sync", "status", "umount"] {
        let cmd = Cmd::rewindfs().arg(command).arg(lines.sandbox.work());
        lines.refused(&format!("{command} without a history"), cmd);
        let cmd = Cmd::rewindfs()
            .arg(command)
            .arg(lines.sandbox.join("missing"));
        lines.refused(&format!("{command} of nothing"), cmd);
    }
    for command in [["delete", "x", ""], ["rename", "x", "y"]] {
        let args = command[1..].iter().filter(|arg| !arg.is_empty());
        let cmd = Cmd::rewindfs()
            .arg(command[0])
            .arg(lines.sandbox.work())
            .args(args);
        lines.refused(&format!("{} without a history", command[0]), cmd);
    }
    golden("messages-no-history.txt", &lines.text);
}

#[test]
fn names_that_no_snapshot_may_have() {
    let mut lines = Lines::new("bad-names");
    let mounted = lines.sandbox.mount("");
    let long = "x".repeat(201);
    let names = [
        "", ".hidden", "@10:15", "a/b", "a\nb", "latest", "live", "first", &long,
    ];
    for name in names {
        let cmd = mounted.command("snapshot").arg(name);
        let shown = if name.len() > 100 { "too long" } else { name };
        lines.refused(&format!("snapshot {shown:?}"), cmd);
        let cmd = mounted.command("rename").args(["first", name]);
        if name != "first" {
            lines.refused(&format!("rename to {shown:?}"), cmd);
        }
    }
    lines.refused("delete of nothing", mounted.command("delete").arg("gone"));
    lines.refused("delete of latest", mounted.command("delete").arg("latest"));
    assert_eq!(mounted.snapshots(), ["first", "latest"]);
    mounted.umount();
    golden("messages-names.txt", &lines.text);
}

#[test]
fn options_that_are_unknown_or_impossible() {
    let mut lines = Lines::new("bad-options");
    let options = [
        "nonsense",
        "settle=soon",
        "settle",
        "interval=0",
        "interval=-1s",
        "snapdir=maybe",
        "ro=yes",
        "snapdirname=a/b",
        "snapdirname=",
        "settle=1s,bogus=2",
    ];
    for option in options {
        let cmd = lines.mount("work").args(["-o", option]);
        lines.refused(&format!("-o {option}"), cmd);
    }
    golden("messages-options.txt", &lines.text);
}

#[test]
fn machines_that_can_not_mount() {
    let mut lines = Lines::new("no-fuse");
    let program = env!("CARGO_BIN_EXE_rewindfs");
    // In a mount namespace of its own, so that nobody else misses the device.
    let script = format!(
        "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 &&
         exec {program} mount {}",
        lines.sandbox.work().display()
    );
    let cmd = Cmd::new("unshare").args(["-m", "bash", "-c", &script]);
    lines.refused("no /dev/fuse", cmd);
    let program = lines.sandbox.program();
    let home = lines.folder("home");
    let dir = lines.folder("home/dir");
    for folder in [&home, &dir] {
        chown(folder, Some(65_534), Some(65_534)).expect("chown");
    }
    let line = format!("{} mount {}", program.display(), dir.display());
    let nobody = format!("setpriv --reuid=65534 --regid=65534 --clear-groups {line}");
    let namespace = |script: String| Cmd::new("unshare").args(["-m", "bash", "-c", &script]);
    // All places where it is looked for.
    let hide = "for f in $(type -ap fusermount3); do mount --bind /dev/null $f || exit 9; done";
    lines.refused(
        "no fusermount3",
        namespace(format!("{hide}; exec {nobody}")),
    );
    let close = "mount -t tmpfs none /dev && mknod -m 600 /dev/fuse c 10 229 &&
         mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9";
    lines.refused(
        "a closed /dev/fuse",
        namespace(format!("{close} && exec {nobody}")),
    );
    let powerless = Cmd::new("setpriv")
        .args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"])
        .arg(env!("CARGO_BIN_EXE_rewindfs"))
        .arg("mount")
        .arg(lines.sandbox.work());
    lines.refused("no permission to mount", powerless);
    golden("messages-machine.txt", &lines.text);
}

/// What a newcomer types first to get rid of it, from the shell that stands in it.
#[test]
fn umount_from_within_says_what_to_type() {
    let mut lines = Lines::new("umount-within");
    let mounted = lines.sandbox.mount("");
    fs::create_dir_all(mounted.join("sub/deep")).expect("mkdir");
    write(mounted.join("file"), "x");
    let program = lines.sandbox.program();
    // Not the last command of its shell: that would take the shell's place.
    let within = |dir: PathBuf, before: &str| {
        let script = format!("{before}{} umount .; exit $?", program.display());
        Cmd::new("bash").args(["-c", &script]).within(dir)
    };
    let point = mounted.point.clone();
    lines.refused("the shell stands in it", within(point.clone(), ""));
    lines.refused(
        "the shell stands further below",
        within(point.join("sub/deep"), ""),
    );
    std::os::unix::fs::symlink("work/sub", lines.sandbox.join("link")).expect("symlink");
    let by_link = format!("cd {}/link; ", lines.sandbox.path().display());
    lines.refused(
        "the shell came by a link",
        within(lines.sandbox.path().to_path_buf(), &by_link),
    );
    lines.refused(
        "the shell has a file open, too",
        within(point.clone(), "exec 7< file; "),
    );
    golden("messages-umount.txt", &lines.text);
    // And that line does it.
    let (_, way) = lines.text.split_once("type: ").expect("a line to type");
    let way = way.lines().next().expect("a line");
    let way = way.replace("rewindfs", &program.display().to_string());
    let run = Cmd::sh(&format!("{way}; exit $?"))
        .within(&point)
        .run()
        .ok();
    assert_eq!((run.out.as_str(), run.err.as_str()), ("", ""));
    mounted.must_be_gone();
    mounted.forget();
}
