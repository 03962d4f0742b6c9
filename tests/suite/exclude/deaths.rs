//! The daemon dies at each step of a change of what is left out: the next mount ends it, and nothing
//! that was recorded before is lost.

use super::{SIGNATURE, diff, left_out_in, make, policy, project};
use crate::harness::mount::names;
use crate::harness::{Cmd, Mounted, Sandbox, noise, read, sized, text, write};
use std::fs;
use std::time::Duration;

#[test]
fn a_rule_is_kept_whenever_the_daemon_dies_and_can_be_made_without_one() {
    let sandbox = Sandbox::new("exclude-kept");
    project(&sandbox.work());
    let mounted = sandbox.mount("");
    mounted.snapshot("before");
    policy(&mounted.dir, &["--exclude", "/target/"]).ok();
    mounted.kill();
    let mounted = sandbox.mount("");
    mounted.snapshot("after");
    left_out_in(&mounted, "after", "target");
    mounted.umount().ok();
    policy(
        &sandbox.work(),
        &["--no-exclude", "/target/", "--exclude", "/src"],
    )
    .ok();
    policy(&sandbox.work(), &["--no-exclude", "/never"])
        .exits(2)
        .says("the patterns: /src");
    policy(&sandbox.work(), &["--exclude", "# nothing"])
        .exits(2)
        .says("matches nothing");
    let mounted = sandbox.mount("");
    mounted.snapshot("turned");
    left_out_in(&mounted, "turned", "src");
    assert_eq!(
        text(mounted.past("turned", "target/debug/deps/app.o")),
        "object"
    );
}

/// What is there is recorded, whole, and the first state still holds what it held.
fn all_is_well(mounted: &Mounted, state: &str) {
    mounted.snapshot(state);
    assert_eq!(diff(&mounted.dir, state, "live"), Vec::<String>::new());
    assert_eq!(
        text(mounted.past("before", "target/debug/deps/app.o")),
        "object"
    );
    assert_eq!(
        read(mounted.past("before", "target/debug/app")),
        noise(1, 100_000)
    );
    Cmd::rewindfs().arg("verify").arg(&mounted.dir).run().ok();
}

#[test]
fn a_daemon_that_dies_before_the_first_state_by_a_rule_is_recorded() {
    let sandbox = Sandbox::new("exclude-deaths");
    project(&sandbox.work());
    let hold = sandbox.join("hold");
    let hooks = format!("hold={}", hold.display());
    let mounted = sandbox.mount_with("", &hooks);
    mounted.snapshot("before");
    // Nothing is captured any more: the scan by the new rule waits for what is noted.
    write(&hold, "");
    write(mounted.join("target/debug/deps/app.o"), "changed");
    write(mounted.join("src/main.rs"), "changed");
    policy(&mounted.dir, &["--exclude", "/target/"]).ok();
    write(mounted.join("target/debug/deps/new.o"), "new");
    fs::rename(mounted.join("src/main.rs"), mounted.join("target/moved.rs")).expect("mv");
    mounted.kill();
    fs::remove_file(&hold).expect("rm");
    let mounted = sandbox.mount_with("", &hooks);
    all_is_well(&mounted, "excluded");
    left_out_in(&mounted, "excluded", "target");
    assert_eq!(
        names(&mounted.past("excluded", "src")),
        Vec::<String>::new()
    );
    assert_eq!(text(mounted.join("target/moved.rs")), "changed");
    // The other way round.
    write(&hold, "");
    policy(&mounted.dir, &["--no-exclude", "/target/"]).ok();
    write(mounted.join("target/debug/deps/new.o"), "newer");
    mounted.kill();
    fs::remove_file(&hold).expect("rm");
    let mounted = sandbox.mount("");
    all_is_well(&mounted, "included");
    assert_eq!(
        text(mounted.past("included", "target/debug/deps/new.o")),
        "newer"
    );
    left_out_in(&mounted, "excluded", "target");
}

#[test]
fn a_daemon_that_dies_while_a_folder_crosses_loses_nothing_of_it() {
    let sandbox = Sandbox::new("exclude-deaths-moves");
    project(&sandbox.work());
    make(sandbox.work().join("in/folder/deep"));
    write(sandbox.work().join("in/folder/deep/file"), "in");
    let hold = sandbox.join("hold");
    let hooks = format!("hold={}", hold.display());
    let mounted = sandbox.mount_with("", &hooks);
    mounted.snapshot("before");
    policy(&mounted.dir, &["--exclude", "/target/"]).ok();
    mounted.snapshot("start");
    write(&hold, "");
    fs::rename(mounted.join("in/folder"), mounted.join("target/folder")).expect("mv");
    fs::rename(mounted.join("target/debug"), mounted.join("in/debug")).expect("mv");
    write(mounted.join("in/debug/more"), "more");
    write(mounted.join("target/folder/deep/file"), "out");
    mounted.kill();
    fs::remove_file(&hold).expect("rm");
    let mounted = sandbox.mount("");
    all_is_well(&mounted, "moved");
    left_out_in(&mounted, "moved", "target");
    assert!(!mounted.past("moved", "in/folder").exists());
    assert_eq!(text(mounted.past("moved", "in/debug/more")), "more");
    assert_eq!(text(mounted.past("moved", "in/debug/deps/app.o")), "object");
    assert_eq!(text(mounted.past("start", "in/folder/deep/file")), "in");
    // A tag that nobody has looked at yet.
    policy(&mounted.dir, &["--exclude-caches"]).ok();
    write(mounted.join("in/debug/CACHEDIR.TAG"), SIGNATURE);
    mounted.kill();
    let mounted = sandbox.mount("");
    all_is_well(&mounted, "tagged");
    left_out_in(&mounted, "tagged", "in/debug");
    fs::remove_file(mounted.join("in/debug/CACHEDIR.TAG")).expect("rm");
    mounted.kill();
    let mounted = sandbox.mount("");
    all_is_well(&mounted, "untagged");
    assert_eq!(text(mounted.past("untagged", "in/debug/more")), "more");
}

#[test]
fn rules_come_and_go_while_daemons_die_at_any_moment() {
    let sandbox = Sandbox::new("exclude-deaths-any");
    project(&sandbox.work());
    sandbox.mount("").snapshot("before");
    for round in 0..sized(12_u64, 5) {
        let mounted = sandbox.mount("interval=100ms,settle=20ms");
        let is_out = round % 2 == 0;
        let word = if is_out { "--exclude" } else { "--no-exclude" };
        write(mounted.join("target/debug/app"), noise(round + 10, 80_000));
        policy(&mounted.dir, &[word, "/target/"]).ok();
        for n in 0..30 {
            write(mounted.join(&format!("target/f{}", n % 5)), noise(n, 9000));
            write(mounted.join(&format!("src/f{}", n % 5)), noise(n, 9000));
            let (from, to) = (format!("target/f{}", n % 5), format!("src/m{}", n % 3));
            if n % 4 == 0 {
                fs::rename(mounted.join(&from), mounted.join(&to)).expect("mv");
            }
            if n % 7 == 0 {
                fs::rename(mounted.join(&to), mounted.join(&from)).ok();
            }
        }
        // At another moment each time.
        std::thread::sleep(Duration::from_millis(round * 17));
        mounted.kill();
        let mounted = sandbox.mount("");
        let state = format!("after{round}");
        all_is_well(&mounted, &state);
        match is_out {
            true => left_out_in(&mounted, &state, "target"),
            false => assert_eq!(
                names(&mounted.past(&state, "target")),
                names(&mounted.join("target"))
            ),
        }
        mounted.umount().ok();
    }
}
