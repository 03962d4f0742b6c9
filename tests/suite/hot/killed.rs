//! Killed at any moment, it goes on.

use super::*;
use crate::harness::run::wait;
use std::time::Duration;

/// The process that fetches.
fn fetcher(mounted: &Mounted) -> Option<i32> {
    let daemon = *mounted.daemons().first()?;
    let children = fs::read_to_string(format!("/proc/{daemon}/task/{daemon}/children"));
    let all = fs::read_dir(format!("/proc/{daemon}/task")).ok()?;
    let mut found: Vec<i32> = Vec::new();
    for task in all.flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<i32>().ok()),
        );
    }
    drop(children);
    found.into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"attend")
    })
}

#[test]
fn killed_at_any_moment_it_goes_on() {
    let make = |set: u64, work: &Path| {
        let dir = work.join(format!("set-{set}"));
        fs::create_dir_all(dir.join("deep/er")).expect("mkdir");
        for n in 0..30 {
            write(dir.join(format!("file-{n}")), noise(set * 100 + n, 30_000));
        }
        write(dir.join("deep/er/leaf"), noise(set, 300_000));
        fs::hard_link(dir.join("file-1"), dir.join("deep/linked")).expect("link");
    };
    let sets = (0..6).map(|set| move |work: &Path| make(set, work));
    let sets: Vec<_> = sets.collect();
    let sets: Vec<&dyn Fn(&Path)> = sets.iter().map(|set| set as &dyn Fn(&Path)).collect();
    let world = World::new("hot-killed", &sets);
    // While it begins.
    for round in 0..4_u64 {
        let command = world.command().arg("recover").arg(world.place());
        let command = command.arg("--to").arg(world.dir()).arg("--hot");
        let command = command
            .arg("--password-file")
            .arg(world.again.join("password"));
        let mut child = command.spawn();
        std::thread::sleep(Duration::from_millis(60 * (round + 1)));
        sys::kill(i32::try_from(child.id()).expect("a pid"), libc::SIGKILL);
        wait(&mut child, Duration::from_secs(10));
        if world.store().exists() {
            break;
        }
    }
    let mut mounted = match world.store().exists() {
        true => {
            // Its daemon may be on its way; a mount that is there is used.
            wait_for("an end", || {
                crate::harness::mount::at(&world.dir()).is_some()
                    || world.command().arg("mount").arg(world.dir()).run().code == 0
            });
            world.found()
        }
        false => {
            world.recover(&[]).ok();
            world.found()
        }
    };
    for round in 0..6_u64 {
        std::thread::sleep(Duration::from_millis(150 * round));
        match round % 3 {
            0 => {
                if let Some(pid) = fetcher(&mounted) {
                    sys::kill(pid, libc::SIGKILL);
                }
            }
            1 => {
                mounted.kill();
                mounted = world.mount();
            }
            _ => {
                if let Some(pid) = fetcher(&mounted) {
                    sys::kill(pid, libc::SIGKILL);
                }
                mounted.kill();
                mounted = world.mount();
            }
        }
        // What is read is right at any time.
        let path = format!("set-{round}/file-{}", round * 3);
        assert_eq!(
            read(mounted.join(&path)),
            noise(round * 100 + round * 3, 30_000)
        );
    }
    wait_until_all_is_here(&mounted);
    world
        .whole
        .must_equal(&Tree::read(&world.dir()), RECOVERED, "the directory");
    mounted.command("verify").arg("--data").run().ok();
    mounted.umount();
    world.whole.must_equal(
        &Tree::read(&world.dir()),
        RECOVERED,
        "what lies on the disk",
    );
}

/// A daemon that was killed is followed by one that scans: what has no content yet, and folders without
/// names, are not taken for what the directory holds.
#[test]
fn no_scan_takes_what_is_empty_for_what_is_there() {
    let world = World::new(
        "hot-scanned",
        &[&simple, &|work| {
            fs::create_dir(work.join("late")).expect("mkdir");
            write(work.join("late/large"), noise(7, 1 << 20));
        }],
    );
    let mounted = world.held("");
    assert_eq!(names(&mounted.join("dir-2")).len(), 6);
    fs::set_permissions(
        mounted.join("dir-2/file-3"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .expect("chmod");
    mounted.kill();
    let mounted = world.mount();
    mounted.settled();
    mounted.snapshot("after");
    mounted.kill();
    let mounted = world.mount();
    mounted.settled();
    let full = mounted
        .command("snapshot")
        .arg("all")
        .arg("--full")
        .run()
        .ok();
    assert!(!full.out.contains("changed"), "{}", full.out);
    let changed = mounted.command("diff").args(["sent", "all"]).run().exits(1);
    assert_eq!(changed.lines(), ["m\tdir-2/file-3"], "{}", changed.out);
    world.let_go();
    wait_until_all_is_here(&mounted);
    for state in ["after", "all"] {
        assert_eq!(read(mounted.past(state, "late/large")), noise(7, 1 << 20));
        assert_eq!(read(mounted.past(state, "dir-2/file-3")), noise(23, 20_000));
        assert_eq!(text(mounted.past(state, "dir-3/deeper/leaf")), "leaf 3");
    }
    assert_eq!(read(mounted.join("dir-2/file-3")), noise(23, 20_000));
    mounted.command("verify").arg("--data").run().ok();
    mounted.umount();
}
