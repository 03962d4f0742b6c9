//! States by time: `@TIME`, `.checkpoints`, and what is no time at all.

use crate::harness::{Cmd, Sandbox, mount, sys, text, wait_for, write};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn every_state_is_found_with_ls() {
    let sandbox = Sandbox::new("checkpoints");
    let mounted = sandbox.mount("interval=1h");
    for n in 0..5 {
        write(mounted.join("file"), n.to_string());
        mounted.snapshot(&format!("s{n}"));
    }
    let all = mounted.join(".snapshots/.checkpoints");
    for day in mount::names(&all) {
        let digits: Vec<usize> = day.split('-').map(str::len).collect();
        assert_eq!(digits, [4, 2, 2], "{day}");
        for time in mount::names(&all.join(&day)) {
            let (seconds, millis) = time.split_once('.').expect("HH-MM-SS.mmm");
            let digits: Vec<usize> = seconds.split('-').map(str::len).collect();
            assert_eq!((digits, millis.len() >= 3), (vec![2, 2, 2], true), "{time}");
        }
    }
    let found: BTreeSet<String> = mounted
        .checkpoints()
        .iter()
        .filter_map(|state| fs::read_to_string(state.join("file")).ok())
        .collect();
    assert_eq!(found, (0..5).map(|n| n.to_string()).collect());
    let listed = mounted
        .command("list")
        .args(["--checkpoints", "--json"])
        .run()
        .ok();
    assert_eq!(
        listed.json().len(),
        mounted.checkpoints().len(),
        "the command line shows the same"
    );
}

#[test]
fn the_time_that_list_prints_names_that_very_state() {
    let sandbox = Sandbox::new("list-times");
    let mounted = sandbox.mount("interval=1h");
    for n in 0..8 {
        write(mounted.join("file"), n.to_string());
        mounted.snapshot(&format!("s{n}"));
    }
    let listed = mounted.command("list").arg("--json").run().ok();
    let mut seen = 0;
    for snapshot in listed.json() {
        let name = snapshot["name"].as_str().expect("a name");
        let time = snapshot["time"].as_str().expect("a time");
        let Some(n) = name.strip_prefix('s') else {
            continue;
        };
        let time = time.trim_start_matches('@');
        let path = mounted.join(&format!(".snapshots/@{time}/file"));
        assert_eq!(text(path), n, "{name} at {time}");
        seen += 1;
    }
    assert_eq!(seen, 8);
}

#[test]
fn relative_times_follow_the_clock() {
    let sandbox = Sandbox::new("relative");
    let mounted = sandbox.mount("");
    write(mounted.join("file"), "one");
    mounted.snapshot("one");
    std::thread::sleep(Duration::from_millis(3_500));
    let began = Instant::now();
    write(mounted.join("file"), "two");
    mounted.snapshot("two");
    let past = mounted.join(".snapshots/@3s/file");
    let then = text(&past);
    // Three seconds ago may be after the second change by now.
    let late = began.elapsed() >= Duration::from_secs(3);
    assert!(then == "one" || late, "{then} after {:?}", began.elapsed());
    wait_for("@3s to be the second state", || text(&past) == "two");
    let meta = fs::symlink_metadata(mounted.join(".snapshots/@3s")).expect("lstat");
    assert!(meta.is_symlink(), "a spelling is a symlink");
    let canonical = fs::canonicalize(mounted.join(".snapshots/@3s")).expect("realpath");
    let name = canonical
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    assert!(
        name.starts_with('@') || mounted.snapshots().contains(&name),
        "{name}"
    );
}

#[test]
fn spellings_of_one_time_lead_to_one_state() {
    let sandbox = Sandbox::new("spellings");
    let mounted = sandbox.mount("interval=1h");
    write(mounted.join("file"), "then");
    mounted.snapshot("then");
    // The end of this very second, after which nothing changes.
    let stamp = |format: &str| {
        let run = Cmd::new("date")
            .args(["-u", "-d", "+2 seconds", format])
            .run()
            .ok();
        run.out.trim().to_string()
    };
    let formats = [
        "+%Y-%m-%dT%H:%M:%SZ",
        "+%Y-%m-%dT%H-%M-%SZ",
        "+%Y-%m-%dT%H:%M:%S.5Z",
        "+%Y-%m-%dT%H:%M:%S+00:00",
        "+%Y-%m-%dT%H:%M:%S",
        "+GMT-%Y.%m.%d-%H.%M.%S",
    ];
    let spellings: Vec<String> = formats.iter().map(|format| stamp(format)).collect();
    std::thread::sleep(Duration::from_secs(3));
    for spelling in &spellings {
        let path = mounted.join(&format!(".snapshots/@{spelling}"));
        assert_eq!(text(path.join("file")), "then", "{spelling}");
        let is_link = fs::symlink_metadata(&path).expect("lstat").is_symlink();
        assert_eq!(is_link, !spelling.starts_with("GMT"), "{spelling}");
    }
    let first = fs::canonicalize(mounted.join(&format!(".snapshots/@{}", spellings[0])));
    let second = fs::canonicalize(mounted.join(&format!(".snapshots/@{}", spellings[1])));
    assert_eq!(first.expect("realpath"), second.expect("realpath"));
}

#[test]
fn before_the_first_after_the_last_and_nonsense_are_not_there() {
    let sandbox = Sandbox::new("no-time");
    let mounted = sandbox.mount("");
    for name in [
        "@2001-01-01",
        "@2999-01-01",
        "@2h",
        "@yesterday",
        "@",
        "@nonsense",
        "@25:61",
        "@2026-13-45",
        "@-5m",
        "@GMT-2001.01.01-00.00.00",
        "@99999999999999999999s",
    ] {
        let found = fs::symlink_metadata(mounted.join(".snapshots").join(name));
        assert_eq!(sys::errno(&found), libc::ENOENT, "{name}");
    }
    let run = mounted.command("status").run();
    assert!(run.code == 0, "{run:?}");
}

#[test]
fn a_working_directory_in_a_state_stays_where_it_is() {
    let sandbox = Sandbox::new("cwd");
    fs::create_dir(sandbox.work().join("dir")).expect("mkdir");
    let mounted = sandbox.mount("");
    write(mounted.join("dir/file"), "old\n");
    mounted.snapshot("old");
    let script = "cd .snapshots/latest/dir; echo new > ../../../dir/file; mkdir ../../newer;
        cat file; cd -P .; /bin/pwd; cat file";
    let run = Cmd::sh(script).within(&mounted.point).run().ok();
    let expected = format!("old\n{}\nold\n", mounted.past("old", "dir").display());
    assert_eq!(run.out, expected);
    assert!(Path::new(&mounted.past("newer", "dir/file")).exists());
}
