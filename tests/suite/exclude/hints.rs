//! A folder that makes most of what is recorded is told of once, with the command that leaves it out.

use super::{SIGNATURE, make, status};
use crate::harness::{Cmd, Mounted, Sandbox, noise, text, wait_for, write};
use serde_json::Value;

const OFTEN: &str = "interval=100ms,settle=20ms";
const HEAVY: &str = "heavy=1M";

fn hints(mounted: &Mounted) -> Vec<Value> {
    let status = status(&mounted.dir);
    status["hints"].as_array().expect("a list").clone()
}

fn fill(mounted: &Mounted, folder: &str, seed: u64) {
    make(mounted.join(folder));
    for n in 0..8 {
        let bytes = noise(seed * 100 + n, 150_000);
        write(mounted.join(&format!("{folder}/{n}.o")), bytes);
    }
    mounted.sync();
}

fn lines_of(sandbox: &Sandbox) -> usize {
    let log = text(sandbox.store().join("log"));
    log.lines()
        .filter(|line| line.contains(" % of what"))
        .count()
}

#[test]
fn a_folder_that_makes_most_is_told_of_once_with_the_command() {
    let sandbox = Sandbox::new("exclude-hint");
    let program = sandbox.program();
    // What was there before is no sign of what goes on.
    make(sandbox.work().join("photos"));
    write(sandbox.work().join("photos/large"), noise(1, 4_000_000));
    let mounted = sandbox.mount_with(OFTEN, HEAVY);
    mounted.settled();
    make(mounted.join("src"));
    write(mounted.join("src/main"), noise(2, 300_000));
    mounted.sync();
    assert_eq!(hints(&mounted), Vec::<Value>::new());
    fill(&mounted, "app/it's out", 1);
    wait_for("the hint", || !hints(&mounted).is_empty());
    let all = hints(&mounted);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["folder"], "app/it's out");
    let (bytes, of) = (all[0]["bytes"].as_u64(), all[0]["of_bytes"].as_u64());
    assert!(of >= Some(1 << 20) && bytes < of, "{all:?}");
    let told = all[0]["text"].as_str().expect("text");
    Cmd::rewindfs()
        .arg("status")
        .arg(&mounted.dir)
        .run()
        .says("app/it's out made ");
    // Names are not for everybody.
    let nobody = Cmd::new("setpriv").args(["--reuid=65534", "--clear-groups"]);
    let nobody = nobody.arg(&program).arg("status").arg(&mounted.dir);
    let run = nobody.arg("--json").run();
    assert_eq!(run.json()[0]["hints"], Value::Array(Vec::new()));
    assert!(!run.out.contains("app"), "{}", run.out);
    // Once, also after a mount.
    wait_for("the line in the log", || lines_of(&sandbox) > 0);
    fill(&mounted, "app/it's out", 2);
    assert_eq!(lines_of(&sandbox), 1);
    mounted.umount().ok();
    let mounted = sandbox.mount_with(OFTEN, HEAVY);
    fill(&mounted, "app/it's out", 3);
    fill(&mounted, "app/it's out", 4);
    assert_eq!((lines_of(&sandbox), hints(&mounted).len()), (1, 1));
    // As it is told.
    let command = told
        .split("leave it out: rewindfs ")
        .nth(1)
        .expect("a command");
    let program = program.display();
    Cmd::sh(&format!("{program} {command}"))
        .run()
        .ok()
        .says("it's out");
    assert_eq!(hints(&mounted), Vec::<Value>::new());
    mounted.snapshot("without");
    super::left_out_in(&mounted, "without", "app/it's out");
}

#[test]
fn of_a_cache_the_whole_is_told_and_its_tag_is_enough() {
    let sandbox = Sandbox::new("exclude-hint-cache");
    let mounted = sandbox.mount_with(OFTEN, HEAVY);
    mounted.settled();
    make(mounted.join("target/debug/deps"));
    write(mounted.join("target/CACHEDIR.TAG"), SIGNATURE);
    fill(&mounted, "target/debug/deps", 1);
    wait_for("the hint", || !hints(&mounted).is_empty());
    let all = hints(&mounted);
    assert_eq!(all[0]["folder"], "target");
    let told = all[0]["text"].as_str().expect("text");
    assert!(told.ends_with("--exclude-caches"), "{told}");
    super::policy(&mounted.dir, &["--exclude-caches"]).ok();
    assert_eq!(hints(&mounted), Vec::<Value>::new());
}
