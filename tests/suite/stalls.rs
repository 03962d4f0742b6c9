//! Who waits for what: a writer whose old bytes are still to be recorded, whoever asks for a
//! snapshot, and nobody else. What is recorded is stopped by a hook (`REWINDFS_TEST`), so that it is
//! not a matter of luck who comes first.

use crate::harness::run::{wait, wait_for_at_most};
use crate::harness::{Cmd, Mounted, Sandbox, noise, read, sized, sys, text, wait_for, write};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PIECE: usize = 128 << 10;
const PIECES: usize = 32;

/// The one object of `status --json`, whatever the exit code.
fn status(mounted: &Mounted) -> Value {
    mounted.command("status").arg("--json").run().json()[0].clone()
}

fn being_recorded(mounted: &Mounted) -> u64 {
    let states = &status(mounted)["not_recorded"]["states"];
    states.as_u64().expect("a number")
}

fn log(sandbox: &Sandbox) -> String {
    text(sandbox.store().join("log"))
}

/// The log, once it has this: whoever logs does not wait until it is written.
fn log_with(sandbox: &Sandbox, what: &str) -> String {
    wait_for("the log", || log(sandbox).contains(what));
    log(sandbox)
}

fn lines_with(text: &str, what: &str) -> usize {
    text.lines().filter(|line| line.contains(what)).count()
}

#[test]
fn what_is_noted_and_not_recorded_is_bounded() {
    let sandbox = Sandbox::new("bounded-notes");
    for n in 0..300 {
        write(sandbox.work().join(format!("file{n}")), "text");
    }
    let hold = sandbox.join("hold");
    let hooks = format!("notes=200,hold={}", hold.display());
    let mounted = sandbox.mount_with("interval=1h,settle=1h", &hooks);
    mounted.settled();
    write(&hold, "");
    let changed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (point, changed) = (&mounted.point, &changed);
        scope.spawn(move || {
            for n in 0..300 {
                let mode = fs::Permissions::from_mode(0o600);
                fs::set_permissions(point.join(format!("file{n}")), mode).expect("chmod");
                changed.fetch_add(1, Ordering::SeqCst);
            }
        });
        let waiting = || status(&mounted)["mounted"]["waiting"] == 1;
        wait_for("who changes one file too many to wait", waiting);
        // Up to the bound, and at most the open state besides: nothing before it is recorded.
        let noted = changed.load(Ordering::SeqCst);
        assert!((100..=250).contains(&noted), "{noted}");
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(changed.load(Ordering::SeqCst), noted);
        let readers = Cmd::sh("cat file299 file1; ls | wc -l").within(point).run();
        assert_eq!(readers.ok().lines(), ["texttext300"]);
        fs::remove_file(&hold).expect("our folder");
    });
    assert_eq!(changed.load(Ordering::SeqCst), 300);
    mounted.snapshot("s");
    let mode = |name: &str| fs::metadata(mounted.past("s", name)).expect("there").mode();
    assert_eq!(
        (mode("file0") & 0o777, mode("file299") & 0o777),
        (0o600, 0o600)
    );
    mounted.umount();
}

#[test]
fn only_the_writer_to_what_is_not_recorded_yet_waits() {
    let sandbox = Sandbox::new("only-that-writer");
    let hold = sandbox.join("hold");
    let hooks = format!("stash=1M,hold={}", hold.display());
    let mounted = sandbox.mount_with("interval=1h,settle=1h", &hooks);
    write(mounted.join("big"), noise(1, PIECE * PIECES));
    for name in ["gone", "over"] {
        write(mounted.join(name), name);
    }
    fs::create_dir(mounted.join("dir")).expect("mkdir");
    write(&hold, "");
    let mut snapshot = mounted.command("snapshot").arg("s").spawn();
    wait_for("the snapshot's instant", || being_recorded(&mounted) == 1);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (point, done) = (&mounted.point, &done);
        scope.spawn(move || {
            let file = OpenOptions::new().write(true).open(point.join("big"));
            let file = file.expect("open");
            for n in 0..PIECES {
                let at = (n * PIECE) as u64;
                file.write_all_at(&vec![7; PIECE], at).expect("write");
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
        let waiting = || status(&mounted)["mounted"]["waiting"] == 1;
        let full = || done.load(Ordering::SeqCst) * PIECE >= 1 << 20;
        wait_for("the writer to wait", || full() && waiting());
        assert_eq!(
            done.load(Ordering::SeqCst) * PIECE,
            1 << 20,
            "the memory is full"
        );
        // All of this returns, or the command is killed and the test fails.
        let others = "echo x > elsewhere; echo y >> elsewhere; rm gone; echo new > n; mv n over; \
                      rmdir dir; mkdir dir; ls -l > /dev/null; cat over elsewhere";
        let run = Cmd::sh(others).within(&mounted.point).run().ok();
        assert_eq!(run.lines(), ["new", "x", "y"]);
        // More than 10 s: told once, with what it waits for.
        let told = || status(&mounted)["mounted"]["slow_operations"] == 1;
        wait_for_at_most(
            "the report of a slow operation",
            Duration::from_secs(25),
            told,
        );
        wait_for("the writer to wait still", waiting);
        assert!(done.load(Ordering::SeqCst) < PIECES);
        fs::remove_file(&hold).expect("our folder");
    });
    let ended = wait(&mut snapshot, Duration::from_secs(60)).expect("it ends");
    assert!(ended.success(), "{ended}");
    assert!(read(mounted.past("s", "big")) == noise(1, PIECE * PIECES));
    assert_eq!(text(mounted.past("s", "gone")), "gone");
    assert_eq!(text(mounted.past("s", "over")), "over");
    assert!(mounted.past("s", "dir").is_dir());
    assert!(!mounted.past("s", "elsewhere").exists());
    assert_eq!(read(mounted.join("big")), vec![7; PIECE * PIECES]);
    let status = status(&mounted);
    let waits = &status["mounted"]["waits"];
    let sum = |kind: &str| -> u64 {
        let classes = waits[kind].as_array().expect("a list");
        classes.iter().map(|n| n.as_u64().expect("a number")).sum()
    };
    // It may have to wait again while the rest is being recorded.
    assert!(sum("bytes") >= 1, "{waits}");
    assert_eq!((sum("states"), sum("removed")), (0, 0), "{waits}");
    let classes = waits["bytes"].as_array().expect("a list");
    let long: u64 = classes[13..]
        .iter()
        .map(|n| n.as_u64().expect("a number"))
        .sum();
    assert_eq!(long, 1, "one of more than 8 s: {waits}");
    let line = "(big) has not been answered for";
    let log = log_with(&sandbox, line);
    assert_eq!(lines_with(&log, line), 1, "{log}");
    assert_eq!(lines_with(&log, "write of inode"), 1, "{log}");
    let why = "it waits for what it would destroy to be recorded";
    assert_eq!(lines_with(&log, why), 1, "{log}");
}

#[test]
fn mkdir_gives_up_in_time_and_leaves_no_name() {
    let sandbox = Sandbox::new("mkdir-gives-up");
    let hold = sandbox.join("hold");
    write(sandbox.work().join("file"), "before");
    write(&hold, "");
    let hooks = format!("snapshot-wait=300ms,hold={}", hold.display());
    // The first import can't come to its end.
    let mounted = sandbox.mount_now_with("", &hooks);
    let make = |name: &str| sys::errno(&fs::create_dir(mounted.past(name, "")));
    assert_eq!(make("early"), libc::EAGAIN);
    let mut waits = mounted.command("snapshot").arg("patient").spawn();
    fs::remove_file(&hold).expect("our folder");
    let ended = wait(&mut waits, Duration::from_secs(60)).expect("it ends");
    assert!(ended.success(), "the command waits for the import: {ended}");
    mounted.settled();
    write(&hold, "");
    write(mounted.join("file"), "after");
    assert_eq!(make("late"), libc::EAGAIN);
    fs::remove_file(&hold).expect("our folder");
    mounted.sync();
    assert_eq!(mounted.snapshots(), ["first", "latest", "patient"]);
    let log = log_with(&sandbox, "the snapshot late was given up");
    for (name, why) in [
        ("early", "the first import is still under way"),
        ("late", "are still to be recorded"),
    ] {
        let line = log
            .lines()
            .find(|line| line.contains(&format!("the snapshot {name} was given up")));
        assert!(line.is_some_and(|line| line.contains(why)), "{name}: {log}");
    }
    // The name is free: for the command, which waits as long as it takes.
    mounted.command("snapshot").arg("late").run().ok();
    assert_eq!(text(mounted.past("late", "file")), "after");
}

#[test]
fn a_snapshot_that_is_interrupted_is_never_made() {
    let sandbox = Sandbox::new("interrupted");
    let hold = sandbox.join("hold");
    let hooks = format!("hold={}", hold.display());
    let mounted = sandbox.mount_with("interval=1h,settle=1h", &hooks);
    write(mounted.join("file"), "content");
    write(&hold, "");
    let mut snapshot = mounted.command("snapshot").arg("plain").spawn();
    wait_for("the snapshot's instant", || being_recorded(&mounted) == 1);
    sys::kill(i32::try_from(snapshot.id()).expect("a pid"), libc::SIGINT);
    let ended = wait(&mut snapshot, Duration::from_secs(60)).expect("it ends");
    assert_eq!(ended.code(), Some(130));
    // On a terminal it says meanwhile how far it is; there Ctrl-C is a character.
    let shown = sandbox.join("terminal");
    let line = format!(
        "{} snapshot {} tty",
        env!("CARGO_BIN_EXE_rewindfs"),
        mounted.point.display()
    );
    let script = Cmd::new("script").args(["-qefc", &line]).arg(&shown);
    let mut terminal = script.spawn_piped();
    wait_for("a line on the terminal", || {
        fs::read_to_string(&shown).is_ok_and(|text| text.contains("still to be recorded"))
    });
    use std::io::Write;
    let mut keyboard = terminal.stdin.take().expect("a pipe");
    keyboard.write_all(b"\x03").expect("a key");
    let ended = wait(&mut terminal, Duration::from_secs(60)).expect("it ends");
    assert_eq!(ended.code(), Some(130));
    assert!(
        text(&shown).contains("no snapshot was made"),
        "{}",
        text(&shown)
    );
    // All this happened while nothing could be recorded: so it was given up, not taken back.
    fs::remove_file(&hold).expect("our folder");
    mounted.sync();
    assert_eq!(mounted.snapshots(), ["first", "latest"]);
    mounted.snapshot("plain");
    assert_eq!(text(mounted.past("plain", "file")), "content");
}

#[test]
fn as_many_snapshots_at_once_as_there_are_event_loops_all_return() {
    // No machine has more event loops.
    const AT_ONCE: usize = 16;
    let sandbox = Sandbox::new("at-once");
    let mounted = sandbox.mount("");
    let files: Vec<File> = (0..AT_ONCE)
        .map(|n| {
            let path = mounted.join(&format!("mapped{n}"));
            write(&path, vec![0; 100_000]);
            let options = OpenOptions::new().read(true).write(true).open(path);
            options.expect("open")
        })
        .collect();
    let map = |file: &File| sys::Mapping::shared(file, 100_000).expect("mmap");
    let mut mappings: Vec<_> = files.iter().map(map).collect();
    for round in 0..sized(3_u8, 2) {
        for mapping in &mut mappings {
            mapping.bytes()[50_000] = round + 1;
        }
        let results: Vec<i32> = std::thread::scope(|scope| {
            let make = |n: usize| {
                let path = mounted.past(&format!("s{round}-{n}"), "");
                scope.spawn(move || sys::errno(&fs::create_dir(path)))
            };
            let all: Vec<_> = (0..AT_ONCE).map(make).collect();
            let ended = all
                .into_iter()
                .map(|thread| thread.join().expect("no panic"));
            ended.collect()
        });
        assert_eq!(results, [0; AT_ONCE]);
        for n in 0..AT_ONCE {
            let past = read(mounted.past(&format!("s{round}-{n}"), &format!("mapped{n}")));
            assert_eq!(past[50_000], round + 1);
        }
    }
}

/// Two of the clock, and at most one for each `settle` in which something is destroyed that stood.
#[test]
fn many_files_made_and_removed_cause_few_states() {
    let sandbox = Sandbox::new("few-states");
    let mounted = sandbox.mount("");
    mounted.sync();
    let before = mounted.checkpoints().len();
    let count = sized(10_000, 3_000);
    let began = Instant::now();
    for n in 0..count {
        write(mounted.join(&format!("f{n}")), "content");
    }
    for n in 0..count {
        fs::remove_file(mounted.join(&format!("f{n}"))).expect("unlink");
    }
    let states = mounted.checkpoints().len() - before;
    let tens = began.elapsed().as_secs() as usize / 10 + 1;
    println!("{states} states in {:?}", began.elapsed());
    assert!(
        states <= 5 * tens,
        "{states} states in {tens} times ten seconds"
    );
}

/// The worst that there is: at every moment a file goes that has stood for a little more than
/// `settle`, another is overwritten, and another that was appended to. Each such file must be in a
/// state, so there is one for each `settle`; there are never more.
#[test]
fn what_stood_and_goes_causes_one_state_for_each_settle_at_most() {
    const SETTLE: Duration = Duration::from_millis(500);
    const INTERVAL: Duration = Duration::from_secs(5);
    let sandbox = Sandbox::new("rolling");
    let mounted = sandbox.mount("settle=500ms");
    mounted.sync();
    let before = mounted.checkpoints().len();
    let began = Instant::now();
    let mut made = std::collections::VecDeque::new();
    let mut n = 0;
    while began.elapsed() < sized(Duration::from_secs(8), Duration::from_secs(4)) {
        for kind in ["removed", "over", "append"] {
            write(mounted.join(&format!("{kind}{n}")), "what stands");
        }
        made.push_back((n, Instant::now()));
        n += 1;
        let stood = |made: &&(i32, Instant)| made.1.elapsed() > SETTLE * 5 / 4;
        if let Some(&(old, _)) = made.front().filter(stood) {
            made.pop_front();
            fs::remove_file(mounted.join(&format!("removed{old}"))).expect("unlink");
            write(mounted.join(&format!("over{old}")), "something else");
            let path = mounted.join(&format!("append{old}"));
            let mut file = OpenOptions::new().append(true).open(path).expect("open");
            std::io::Write::write_all(&mut file, b", and more").expect("append");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let elapsed = began.elapsed();
    mounted.sync();
    let states = (mounted.checkpoints().len() - before) as u32;
    println!("{n} files of each kind: {states} states in {elapsed:?}");
    let times = |every: Duration| (elapsed.as_millis() / every.as_millis()) as u32;
    // And one for the beginning, and for the end.
    let most = times(SETTLE) + times(INTERVAL) + 2;
    assert!(
        states <= most,
        "{states} states in {elapsed:?}, at most {most}"
    );
    assert!(
        states >= times(SETTLE) / 4,
        "{states} states in {elapsed:?}"
    );
}

/// A thread that serves the mount would wait for another one, and that one perhaps for what the first
/// one holds: such a request is refused at once.
#[test]
fn a_thread_that_serves_the_mount_is_refused_in_it() {
    let sandbox = Sandbox::new("own-request");
    fs::create_dir(sandbox.work().join("folder")).expect("mkdir");
    write(sandbox.work().join("folder/probe"), "there");
    let path = sandbox.work().join("folder/probe");
    let mounted = sandbox.mount_with("", &format!("visit={}", path.display()));
    // The kernel keeps the folder above locked meanwhile: it must know this one already.
    assert!(mounted.join("folder").is_dir());
    write(mounted.join("probe"), "made");
    assert_eq!(text(mounted.join("probe")), "made");
    wait_for("the log", || log(&sandbox).contains("visited"));
    let told = log_with(
        &sandbox,
        "refused: lookup by a thread that serves this mount",
    );
    assert!(told.contains("Resource deadlock avoided"), "{told}");
    // Everybody else is served.
    assert_eq!(text(mounted.join("folder/probe")), "there");
}

#[test]
fn after_a_panic_history_stops_and_the_files_go_on() {
    let sandbox = Sandbox::new("panic");
    let mounted = sandbox.mount_with("", "panic=bad");
    write(mounted.join("good"), "before");
    let made = File::create_new(mounted.join("bad"));
    assert_eq!(sys::errno(&made), libc::EIO);
    write(mounted.join("good"), "after");
    write(mounted.join("new"), "new");
    assert_eq!(text(mounted.join("good")), "after");
    let made = fs::create_dir(mounted.past("s", ""));
    assert_eq!(sys::errno(&made), libc::EAGAIN);
    let run = mounted.command("status").run().exits(1);
    run.says("nothing is recorded since")
        .says(": an internal error; see the log");
    let log = log_with(&sandbox, "mknod of inode 1 panicked: answered EIO");
    assert!(log.contains("on purpose, as REWINDFS_TEST says"), "{log}");
    // Of the backtrace.
    assert!(log.contains("src/capture/deed.rs"), "{log}");
    mounted.umount();
    // It does not go on by itself: the next mount does, and finds what was changed.
    let mounted = sandbox.mount("");
    mounted.snapshot("s");
    assert_eq!(text(mounted.past("s", "good")), "after");
    assert_eq!(text(mounted.past("s", "new")), "new");
}
