//! An ordinary user: mounts with fusermount3, sees the mount alone, and gets every file recorded,
//! also those that he may not open a second time.

use crate::harness::mount;
use crate::harness::{Cmd, Mounted, Run, Sandbox, read, sys, text, wait_for};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

/// Every Debian has him; fusermount3 wants a user with a name.
const NOBODY: u32 = 65_534;

/// A sandbox of that user, with a copy of the program that he can reach.
struct Home {
    sandbox: Sandbox,
    program: PathBuf,
}

impl Home {
    fn new(name: &str) -> Home {
        let sandbox = Sandbox::new(name);
        let device = fs::metadata("/dev/fuse").expect("/dev/fuse").permissions();
        assert!(
            device.mode() & 0o006 == 0o006,
            "ordinary users may not open /dev/fuse here: chmod 666 /dev/fuse"
        );
        let program = sandbox.program();
        for path in [sandbox.path().to_path_buf(), sandbox.work()] {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("chown");
        }
        Home { sandbox, program }
    }

    /// A command line of the shell, run by the user in his working directory.
    fn sh(&self, line: &str) -> Run {
        Cmd::new("setpriv")
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "bash",
                "-euo",
                "pipefail",
            ])
            .args(["-c", line])
            .env("HOME", self.sandbox.path())
            .env("R", &self.program)
            .env("W", self.sandbox.work())
            .within(self.sandbox.path())
            .run()
    }

    fn mount(&self) -> Mounted {
        self.mount_with("")
    }

    fn mount_with(&self, options: &str) -> Mounted {
        self.sh(&format!("$R mount $W {options}")).ok();
        let mounted = Mounted::found(self.sandbox.work(), self.sandbox.work());
        self.sh("$R sync $W").ok();
        mounted
    }

    /// The mount is his: root can't see it, and unmounting is his as well.
    fn umount(&self, mounted: Mounted) {
        self.sh("$R umount $W").ok();
        mounted.must_be_gone();
        mounted.forget();
    }
}

#[test]
fn an_ordinary_user_mounts_works_and_unmounts() {
    let home = Home::new("user");
    home.sh("echo one > $W/file; mkdir $W/dir").ok();
    let mounted = home.mount();
    home.sh("cd $W; echo two > file; mkdir .snapshots/second; echo three > file")
        .ok();
    let run = home
        .sh("cd $W; cat .snapshots/first/file .snapshots/second/file file")
        .ok();
    assert_eq!(run.out, "one\ntwo\nthree\n");
    let run = home.sh("$R list $W").ok();
    run.says("second");
    home.sh("cd $W; cp .snapshots/first/file file; cat file")
        .ok()
        .says("one");
    home.umount(mounted);
    assert_eq!(read(home.sandbox.work().join("file")), b"one\n");
}

#[test]
fn under_his_own_mount_everything_is_his_and_nothing_another_ones() {
    let home = Home::new("user-may");
    home.sh("echo one > $W/file; $R mount $W -o snapshot_group=12345")
        .ok();
    let mounted = Mounted::found(home.sandbox.work(), home.sandbox.work());
    home.sh(
        "echo more > $W/more; $R sync $W; stat -c '%a %U %g' $W/.snapshots; $R snapshot $W mine; $R hold $W mine
         if rmdir $W/.snapshots/mine; then exit 9; fi
         echo two > $W/file; $R sync $W
         $R release $W mine; $R delete $W mine --now; mkdir $W/.snapshots/again
         $R policy $W --keep-all 1h; $R prune $W; $R list $W --log",
    )
    .ok()
    .says("775 nobody 12345");
    for line in [
        "ls work",
        "ls work/.snapshots",
        "./rewindfs list work",
        "./rewindfs snapshot work x",
    ] {
        let line = format!("setpriv --reuid=1234 --regid=12345 --clear-groups {line}");
        let run = Cmd::sh(&line).within(home.sandbox.path()).run();
        assert_ne!(run.code, 0, "{line}: {}", run.out);
    }
    home.umount(mounted);
}

#[test]
fn files_that_deny_their_own_writer_are_written_and_recorded() {
    let home = Home::new("user-modes");
    let mounted = home.mount();
    // The shell makes the file and writes to it with one descriptor.
    home.sh("cd $W
         for mode in 0444 0000 0200 0400; do
             perl -e 'use Fcntl; umask 0;
                 sysopen(F, \"f\" . $ARGV[0], O_CREAT|O_EXCL|O_WRONLY, oct $ARGV[0]) or die $!;
                 syswrite(F, \"made as $ARGV[0]\\n\") or die $!; close F or die $!' $mode
         done
         echo kept > later; exec 5>>later; chmod 000 later; echo more >&5; exec 5>&-
         mkdir .snapshots/all")
        .ok();
    home.umount(mounted);
    let work = home.sandbox.work();
    for mode in ["0444", "0000", "0200", "0400"] {
        let content = String::from_utf8(read(work.join(format!("f{mode}")))).expect("text");
        assert_eq!(content, format!("made as {mode}\n"));
    }
    let mounted = home.mount();
    let run = home
        .sh("cd $W/.snapshots/all; stat -c '%a %s' f* later; cat f0444 f0400")
        .ok();
    assert_eq!(
        run.out,
        "0 13\n200 13\n400 13\n444 13\n0 10\nmade as 0444\nmade as 0400\n"
    );
    home.umount(mounted);
    // The others can be read by root alone: give all of it to root.
    let give = "chown -R root:root work .work.rewind";
    Cmd::sh(give).within(home.sandbox.path()).run().ok();
    let mounted = home.sandbox.mount("");
    assert_eq!(text(mounted.past("all", "f0000")), "made as 0000\n");
    assert_eq!(text(mounted.past("all", "f0200")), "made as 0200\n");
    assert_eq!(text(mounted.past("all", "later")), "kept\nmore\n");
}

#[test]
fn git_works_for_an_ordinary_user() {
    let home = Home::new("user-git");
    let mounted = home.mount();
    home.sh("cd $W
         git init -q .; git config user.email a@b; git config user.name A
         for n in $(seq 50); do echo $n > file$n; done
         git add .; git commit -qm first
         for n in $(seq 25); do echo changed $n > file$n; done
         git commit -qam second; git checkout -q HEAD~1; git checkout -q -
         git gc -q; git fsck --strict
         mkdir .snapshots/committed
         test -z \"$(git status --porcelain)\"")
        .ok();
    let run = home
        .sh("cp -a $W/.snapshots/committed copy; cd copy; git fsck --strict; git status --porcelain")
        .ok();
    assert_eq!(run.out, "");
    home.umount(mounted);
}

#[test]
fn others_are_refused_and_told_why() {
    let home = Home::new("user-others");
    let mounted = home.mount();
    let looked = fs::read_dir(&mounted.point);
    assert_eq!(sys::errno(&looked), libc::EACCES, "root sees nothing of it");
    let run = Cmd::new("setpriv")
        .args(["--reuid=1234", "--regid=1234", "--clear-groups"])
        .arg(&home.program)
        .arg("list")
        .arg(&mounted.point)
        .run();
    assert_ne!(run.code, 0);
    for word in ["allow_root", "allow_other", "/etc/fuse.conf"] {
        run.clone().says(word);
    }
    home.umount(mounted);
}

#[test]
fn allow_other_needs_the_administrator() {
    let home = Home::new("user-allow");
    let conf = fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    let allowed = conf.lines().any(|line| line.trim() == "user_allow_other");
    let run = home.sh("$R mount $W -o allow_other");
    if allowed {
        run.ok();
        let mounted = Mounted::found(home.sandbox.work(), home.sandbox.work());
        assert!(fs::read_dir(&mounted.point).is_ok());
        home.umount(mounted);
    } else {
        run.exits(2).says("user_allow_other").says("/etc/fuse.conf");
        assert!(mount::at(&home.sandbox.work()).is_none());
        wait_for("no daemon", || {
            mount::daemons_of(&home.sandbox.work(), None).is_empty()
        });
    }
}

#[test]
fn what_the_daemon_may_not_read_is_named_and_tried_again() {
    let home = Home::new("user-unreadable");
    home.sh("cd $W; printf closed > closed; chmod 0000 closed; printf foreign > foreign; echo open > open")
        .ok();
    let foreign = home.sandbox.work().join("foreign");
    chown(&foreign, Some(0), Some(0)).expect("chown");
    fs::set_permissions(&foreign, PermissionsExt::from_mode(0o600)).expect("chmod");
    let mounted = home.mount();
    let left_out = || {
        let report = home.sh("$R status $W --json || true").json().remove(0);
        let unreadable = report["left_out"]["unreadable"].as_array().cloned();
        let path = |one: &serde_json::Value| one["path"].as_str().map(str::to_owned);
        let mut paths: Vec<String> = unreadable.iter().flatten().filter_map(path).collect();
        paths.sort();
        paths
    };
    wait_for("the report", || left_out() == ["closed", "foreign"]);
    home.sh("$R status $W").exits(1).says("closed");
    let report = home.sh("$R status $W --json || true").json().remove(0);
    let missing = report["missing"].as_array().expect("a list").iter();
    let unreadable: Vec<_> = missing
        .filter(|one| one["kind"] == "unreadable" && one["since"].is_string())
        .map(|one| (one["what"].as_str(), one["why"].as_str()))
        .collect();
    let why = Some("the user who mounted may not read it");
    assert_eq!(unreadable, [(Some("closed"), why), (Some("foreign"), why)]);
    // By where they stand now.
    home.sh("mkdir $W/moved; mv $W/closed $W/moved/; mv $W/moved $W/away")
        .ok();
    assert_eq!(left_out(), ["away/closed", "foreign"]);
    home.sh("mv $W/away/closed $W; rmdir $W/away").ok();
    // With their attributes, and not as empty files.
    let run = home.sh("cd $W/.snapshots/first; stat -c '%n %a %s' closed foreign open");
    assert_eq!(run.ok().out, "closed 0 6\nforeign 600 7\nopen 644 5\n");
    for name in ["closed", "foreign"] {
        let line = format!("cat $W/.snapshots/first/{name}");
        home.sh(&line).exits(1).says("Permission denied");
    }
    // Its mode allows it now: it is read without being written to.
    home.sh("cd $W; chmod 0644 closed; mkdir .snapshots/later")
        .ok();
    let run = home.sh("cat $W/.snapshots/later/closed").ok();
    assert_eq!(run.out, "closed");
    wait_for("the report", || left_out() == ["foreign"]);
    home.umount(mounted);
}

#[test]
fn under_his_own_mount_much_that_goes_raises_the_alarm() {
    let home = Home::new("user-alarm");
    home.sh("mkdir $W/trip; for n in $(seq 60); do echo picture $n > $W/trip/p$n; done")
        .ok();
    // All of it is one state.
    let mounted = home.mount_with("-o interval=1h");
    home.sh("$R policy $W --alarm 50; rm -r $W/trip; $R sync $W")
        .ok();
    let run = home.sh("$R status $W --json || [ $? = 1 ]").ok();
    let alarm = run.json()[0]["alarms"][0].clone();
    let told = |field: &str| alarm[field].clone();
    assert_eq!((told("name"), told("folder")), ("rm".into(), "trip".into()));
    assert_eq!((told("files"), told("uid")), (60.into(), NOBODY.into()));
    let held = alarm["snapshot"].as_str().expect("a name");
    let run = home.sh(&format!("cat $W/.snapshots/{held}/trip/p7")).ok();
    assert_eq!(run.out, "picture 7\n");
    home.umount(mounted);
}

#[test]
fn he_says_what_is_left_out_and_it_is() {
    let home = Home::new("user-exclude");
    home.sh("mkdir -p $W/target $W/cache; echo o > $W/target/o; echo c > $W/cache/c")
        .ok();
    let mounted = home.mount();
    let tag = "Signature: 8a477f597d28d172789f06886806bc55";
    home.sh(&format!(
        "echo '{tag}' > $W/cache/CACHEDIR.TAG; mkdir $W/.snapshots/before
         $R policy $W --exclude /target/ --exclude-caches; mkdir $W/.snapshots/after
         echo new > $W/target/o; mv $W/target/o $W/came; mkdir $W/.snapshots/later"
    ))
    .ok();
    let run = home.sh("cd $W/.snapshots; ls after/* later/target; cat later/came before/target/o");
    assert_eq!(
        run.ok().out,
        "after/cache:\n\nafter/target:\n\nlater/target:\nnew\no\n"
    );
    home.sh("mkdir $W/target/x; $R restore $W --at before --delete")
        .ok()
        .says("kept: target");
    home.sh("test -d $W/target/x && test ! -e $W/target/o").ok();
    home.umount(mounted);
}
