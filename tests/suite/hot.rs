//! `recover --hot`: a directory that is in use while it is recovered.

mod changes;
mod gone;
mod killed;
mod ordered;

use crate::harness::compare::{Except, Tree};
use crate::harness::mount::names;
use crate::harness::{
    Cmd, Mounted, Run, Sandbox, noise, one_of_everything, read, sys, text, wait_for, write,
};
use crate::metrics;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const PASSWORD: &str = "correct horse";

const RECOVERED: Except = Except {
    ctime: true,
    mtime: false,
    holes: true,
    dir_links: false,
};

/// A directory that was sent elsewhere, and the machine on which it comes back.
struct World {
    source: Sandbox,
    again: Sandbox,
    whole: Tree,
}

impl World {
    /// `sets`: each makes its files, which come in a pack of their own.
    fn new(name: &str, sets: &[&dyn Fn(&Path)]) -> World {
        let source = Sandbox::new(name);
        let again = Sandbox::new(&format!("{name}-again"));
        source.mount("").umount();
        let send = || {
            let backup = Cmd::rewindfs().arg("backup").arg(source.work());
            let backup = backup.arg("--to").arg(source.join("elsewhere"));
            backup.env("REWINDFS_PASSWORD", PASSWORD).run().ok();
        };
        for set in sets {
            set(&source.work());
            send();
        }
        let mounted = source.mount("");
        mounted.snapshot("sent");
        mounted.umount();
        send();
        write(again.join("password"), PASSWORD);
        let whole = Tree::read(&source.work());
        World {
            source,
            again,
            whole,
        }
    }

    fn place(&self) -> PathBuf {
        self.source.join("elsewhere")
    }

    fn dir(&self) -> PathBuf {
        self.again.join("again")
    }

    /// While this file is there nothing is fetched, or with text in it only what somebody waits for.
    fn hold(&self, text: &str) {
        write(self.again.join("hold"), text);
    }

    fn let_go(&self) {
        fs::remove_file(self.again.join("hold")).expect("rm");
    }

    fn command(&self) -> Cmd {
        let hold = self.again.join("hold");
        let hooks = format!("fetch={},scrub-quiet=1h", hold.display());
        Cmd::rewindfs().env("REWINDFS_TEST", hooks)
    }

    fn recover(&self, more: &[&str]) -> Run {
        let command = self.command().arg("recover").arg(self.place());
        let command = command.arg("--to").arg(self.dir()).arg("--hot");
        let command = command
            .arg("--password-file")
            .arg(self.again.join("password"));
        command.args(more).run()
    }

    /// Held back from the beginning.
    fn held(&self, text: &str) -> Mounted {
        self.hold(text);
        self.recover(&[]).ok().says("in use: ");
        self.found()
    }

    fn found(&self) -> Mounted {
        Mounted::found(self.dir(), self.dir())
    }

    fn mount(&self) -> Mounted {
        self.command().arg("mount").arg(self.dir()).run().ok();
        self.found()
    }

    /// Below the mount.
    fn store(&self) -> PathBuf {
        self.again.join(".again.rewind")
    }
}

fn filling(mounted: &Mounted) -> Option<Value> {
    let status = mounted.command("status").arg("--json").run();
    let filling = status.json()[0]["filling"].clone();
    (!filling.is_null()).then_some(filling)
}

fn wait_until_all_is_here(mounted: &Mounted) {
    wait_for("all of it", || filling(mounted).is_none());
}

fn simple(work: &Path) {
    for n in 0..4 {
        let dir = work.join(format!("dir-{n}"));
        fs::create_dir_all(dir.join("deeper")).expect("mkdir");
        for m in 0..5 {
            write(dir.join(format!("file-{m}")), noise(n * 10 + m, 20_000));
        }
        write(dir.join("deeper/leaf"), format!("leaf {n}"));
    }
}

#[test]
fn it_is_usable_at_once_and_whole_in_the_end() {
    let large = noise(99, 3 << 20);
    let world = World::new(
        "hot",
        &[
            &|work| {
                one_of_everything(work);
                write(work.join("touched"), noise(1, 100_000));
            },
            &|work| {
                simple(work);
                write(work.join("large"), &large);
            },
        ],
    );
    let mounted = world.held("somebody waits for it");
    // Names, attributes and sizes of all of it, and no content but of what is asked for.
    let found = Cmd::sh("find . | sort").within(world.dir()).run().ok();
    let expected = Cmd::sh("find . | sort").within(world.source.work()).run();
    assert_eq!(found.out, expected.ok().out);
    assert_eq!(
        fs::metadata(mounted.join("large")).expect("stat").len(),
        3 << 20
    );
    let left = filling(&mounted).expect("it is under way");
    assert!(left["bytes"].as_u64() > Some(3 << 20), "{left}");
    // Whoever reads gets the bytes at once, though the rest is held back.
    assert_eq!(read(mounted.join("touched")), noise(1, 100_000));
    assert_eq!(
        fs::metadata(world.source.work().join("touched"))
            .expect("stat")
            .len(),
        fs::metadata(mounted.join("touched")).expect("stat").len()
    );
    // It can't be left like that.
    let refused = mounted.try_umount().exits(2);
    refused.says("without content").says("--force");
    let status = mounted.command("status").run().ok();
    status.says("recovering    ").says("without content yet");
    // A snapshot has what is to come, and reading it brings it.
    mounted.snapshot("meanwhile");
    assert_eq!(
        text(mounted.past("meanwhile", "dir-1/deeper/leaf")),
        "leaf 1"
    );
    let verified = mounted.command("verify").run().exits(2);
    verified.says("still being recovered");
    world.let_go();
    wait_until_all_is_here(&mounted);
    world
        .whole
        .must_equal(&Tree::read(&world.dir()), RECOVERED, "the directory");
    let past = Tree::read(&mounted.past("meanwhile", ""));
    world.whole.must_equal(&past, RECOVERED, "the snapshot");
    let verify = mounted.command("verify").arg("--data").run().ok();
    verify.says("no problem found");
    mounted.umount();
    world.whole.must_equal(
        &Tree::read(&world.dir()),
        RECOVERED,
        "what lies on the disk",
    );
    // Nothing of that was a change.
    let mounted = world.mount();
    mounted.settled();
    let changed = mounted.command("diff").args(["sent", "live"]).run().ok();
    assert_eq!(changed.out, "");
    mounted.umount();
}

#[test]
fn before_the_mount_answers_nothing_comes_but_records() {
    let sizes = [1_000, 400_000];
    let fetched = sizes.map(|size| {
        let world = World::new(
            &format!("hot-records-{size}"),
            &[&|work| {
                for n in 0..20 {
                    write(work.join(format!("file-{n}")), noise(n, size));
                }
            }],
        );
        world.hold("");
        let packs = crate::elsewhere::resume::Opened::watch(&world.place().join("packs"));
        let told = world.recover(&["--json"]).ok().json();
        let told = told.last().expect("a summary").clone();
        assert_eq!(packs.take(), Vec::<String>::new());
        let mounted = world.found();
        mounted.command("umount").arg("--force").run().ok();
        mounted.must_be_gone();
        mounted.forget();
        assert_eq!(told["left_bytes"], 20 * size);
        told["fetched_bytes"].as_u64().expect("bytes")
    });
    assert!(fetched[1] < fetched[0] * 3 / 2, "{fetched:?}");
}

#[test]
fn a_monitor_sees_what_is_still_without_content() {
    let one = |work: &Path| write(work.join("one"), noise(9, 100_000));
    let world = World::new("hot-metrics", &[&simple, &one]);
    let mounted = world.held("somebody waits for it");
    mounted.command("umount").arg("--force").run().ok();
    mounted.must_be_gone();
    mounted.forget();
    let port = metrics::port();
    let mount = world.command().arg("mount").arg(world.dir());
    mount.arg("--metrics").arg(port.to_string()).run().ok();
    let mounted = world.found();
    assert_eq!(metrics::figure(port, "rewindfs_filling_files"), 25.0);
    assert!(metrics::figure(port, "rewindfs_filling_bytes") > 400_000.0);
    assert_eq!(metrics::figure(port, "rewindfs_filling_trouble"), 0.0);
    assert_eq!(read(mounted.join("one")), noise(9, 100_000));
    // Its bytes are told before they are in the file.
    wait_for("its file to be filled", || {
        metrics::figure(port, "rewindfs_filling_files") < 25.0
    });
    assert_eq!(metrics::figure(port, "rewindfs_filling_files"), 24.0);
    wait_for("what is to be fetched", || {
        metrics::figures(port).contains("\nrewindfs_filling_rest_bytes ")
    });
    world.let_go();
    wait_until_all_is_here(&mounted);
    assert!(!metrics::figures(port).contains("rewindfs_filling"));
    mounted.umount();
}

#[test]
fn what_was_begun_so_is_not_ended_otherwise() {
    let world = World::new("hot-otherwise", &[&simple]);
    let mounted = world.held("");
    mounted.command("umount").arg("--force").run().ok();
    mounted.must_be_gone();
    mounted.forget();
    let cold = Cmd::rewindfs().arg("recover").arg(world.place());
    let cold = cold
        .arg("--to")
        .arg(world.dir())
        .env("REWINDFS_PASSWORD", PASSWORD);
    cold.run().exits(2).says("is there already");
    world
        .recover(&[])
        .exits(2)
        .says("goes on when it is mounted");
    let backup = Cmd::rewindfs().arg("backup").arg(world.dir());
    let backup = backup
        .arg("--to")
        .arg(world.again.join("other"))
        .arg("--no-encryption");
    backup.run().exits(2).says("still being recovered");
    let status = Cmd::rewindfs()
        .arg("status")
        .arg(world.dir())
        .run()
        .exits(1);
    status.says("it goes on when it is mounted");
    world.let_go();
    let mounted = world.mount();
    wait_until_all_is_here(&mounted);
    world
        .whole
        .must_equal(&Tree::read(&world.dir()), RECOVERED, "the directory");
    assert!(
        world.store().exists()
            && !names(world.again.path())
                .iter()
                .any(|name| name.ends_with(".recovering"))
    );
    mounted.umount();
}
