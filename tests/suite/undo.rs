//! `undo`: what a command did is taken back, what others did stays, and what can't be taken back is
//! said by name.

use crate::harness::compare::{Except, Tree};
use crate::harness::{Cmd, Mounted, Run, Sandbox, script_at, text, wait_for, write};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

const LATER: Except = Except {
    ctime: true,
    mtime: false,
    holes: false,
    dir_links: false,
};

fn undo(mounted: &Mounted, line: &str) -> Run {
    let words = line.split(' ').filter(|word| !word.is_empty());
    Cmd::rewindfs()
        .arg("undo")
        .arg(&mounted.dir)
        .args(words)
        .run()
}

/// A tree of 40 files in two folders, recorded and old enough to be kept whatever happens.
fn scene(name: &str) -> (Sandbox, Mounted) {
    scene_with(name, "interval=100ms,settle=50ms")
}

fn scene_with(name: &str, options: &str) -> (Sandbox, Mounted) {
    let sandbox = Sandbox::new(name);
    fs::create_dir_all(sandbox.work().join("src/deep")).expect("mkdir");
    for n in 0..20 {
        write(
            sandbox.work().join(format!("src/f{n}")),
            format!("file {n}\n"),
        );
        write(
            sandbox.work().join(format!("src/deep/g{n}")),
            format!("deep {n}\n"),
        );
    }
    write(sandbox.work().join("notes"), "old\n");
    let mounted = sandbox.mount(options);
    mounted.settled();
    (sandbox, mounted)
}

fn agent(mounted: &Mounted, script: &str) {
    Cmd::sh(script).within(&mounted.point).run().ok();
}

/// The tree without what another process works on.
fn tree(mounted: &Mounted) -> Tree {
    Tree::read(&mounted.point)
}

fn pause() {
    std::thread::sleep(Duration::from_millis(300));
}

#[test]
fn alone_it_changes_nothing_and_says_what_to_type() {
    let (_sandbox, mounted) = scene("undo-list");
    agent(&mounted, "rm -rf src");
    mounted.sync();
    agent(&mounted, "sed -i s/old/new/ notes");
    let after = tree(&mounted);
    let list = undo(&mounted, "").ok();
    let lines = list.lines();
    assert!(lines[0].starts_with(" 1  "), "{}", list.out);
    assert!(
        lines[0].contains(" > sed -i s/old/new/ notes  modified: notes"),
        "{}",
        list.out
    );
    assert!(lines[1].starts_with(" 2  "), "{}", list.out);
    assert!(
        lines[1].contains(" > rm -rf src  42 deleted"),
        "{}",
        list.out
    );
    let dir = mounted.dir.display();
    assert!(
        list.out.contains(&format!("rewindfs undo {dir} 1\n")),
        "{}",
        list.out
    );
    let dry = undo(&mounted, "2 --dry-run").ok();
    assert!(dry.out.contains("A\tsrc/deep/g7\n"), "{}", dry.out);
    assert!(dry.out.contains("would restore 42, delete 0, unchanged 0, 0 conflicts, not recoverable 0; nothing was changed"), "{}", dry.out);
    tree(&mounted).must_equal(&after, Except::default(), "looking changed something");
    mounted.umount();
}

#[test]
fn what_rm_took_comes_back_and_goes_again() {
    let (_sandbox, mounted) = scene("undo-rm");
    let before = tree(&mounted);
    agent(&mounted, "rm -rf src");
    let removed = tree(&mounted);
    // Whoever stands in a folder that is gone, or in any other.
    let done = undo(&mounted, "--last").ok();
    tree(&mounted).must_equal(&before, LATER, "what was removed is not as it was");
    let last = done.lines().last().expect("a line").to_string();
    let way = format!(
        "take it back: rewindfs undo {} --last",
        mounted.dir.display()
    );
    assert!(
        last.starts_with("restored 42 ") && last.ends_with(&way),
        "{last}"
    );
    undo(&mounted, "--last").ok();
    tree(&mounted).must_equal(&removed, LATER, "the undo was not taken back");
    undo(&mounted, "--last").ok();
    tree(&mounted).must_equal(&before, LATER, "nor the undo of the undo");
    mounted.umount();
}

#[test]
fn the_last_of_one_state_is_who_began_last() {
    let (_sandbox, mounted) = scene_with("undo-one-state", "interval=1h,settle=1h");
    let before = Tree::read(&mounted.join("src"));
    // Both are recorded as one state: what the shell made itself, and then a removal.
    let script = "for n in 1 2 3; do echo more$n > note$n; done; sleep 1; rm -rf src";
    agent(&mounted, script);
    mounted.sync();
    let done = undo(&mounted, "--last").ok();
    assert!(
        done.out.contains(" > rm -rf src  42 deleted"),
        "{}",
        done.out
    );
    assert_eq!(text(mounted.join("note3")), "more3\n");
    let after = Tree::read(&mounted.join("src"));
    after.must_equal(&before, LATER, "what was removed is not as it was");
    mounted.umount();
}

#[test]
fn a_number_means_what_was_shown() {
    let (_sandbox, mounted) = scene("undo-number");
    agent(&mounted, "rm src/f1");
    mounted.sync();
    undo(&mounted, "1")
        .exits(2)
        .says("look at the list: rewindfs undo");
    undo(&mounted, "").ok();
    agent(&mounted, "sed -i s/old/new/ notes");
    mounted.sync();
    undo(&mounted, "1").ok();
    assert_eq!(text(mounted.join("src/f1")), "file 1\n");
    assert_eq!(text(mounted.join("notes")), "new\n");
    undo(&mounted, "7").exits(2).says("there was no number 7");
    mounted.umount();
}

#[test]
fn what_others_changed_since_is_a_conflict_and_stays() {
    let (_sandbox, mounted) = scene("undo-conflict");
    agent(
        &mounted,
        "sed -i s/file/agent/ src/f1 src/f2; mkdir made; echo a > made/a",
    );
    mounted.sync();
    pause();
    let number = |wanted: &str| {
        let run = Cmd::rewindfs()
            .args(["undo", "--json"])
            .arg(&mounted.dir)
            .run()
            .ok();
        let line = run
            .json()
            .into_iter()
            .find(|line| line["who"]["name"] == wanted);
        line.expect("a doing")["number"].to_string()
    };
    // By this process.
    write(mounted.join("src/f1"), "a person's\n");
    write(mounted.join("made/own"), "a person's\n");
    let sed = number("sed");
    let run = undo(&mounted, &sed).exits(3);
    run.says("conflict: src/f1: it was changed since by suite");
    assert_eq!(text(mounted.join("src/f1")), "a person's\n");
    assert_eq!(text(mounted.join("src/f2")), "file 2\n");
    let run = undo(&mounted, "--since 1h --dry-run");
    assert!(run.out.contains("would take back"), "{}", run.out);
    let run = undo(&mounted, &number("mkdir")).exits(3);
    run.says("conflict: made: it has ");
    assert_eq!(text(mounted.join("made/own")), "a person's\n");
    undo(&mounted, &format!("{} --force", number("sed"))).ok();
    assert_eq!(text(mounted.join("src/f1")), "file 1\n");
    mounted.umount();
}

#[test]
fn below_a_path_only_what_is_there() {
    let (_sandbox, mounted) = scene("undo-below");
    let before = tree(&mounted);
    agent(&mounted, "rm -rf src; sed -i s/old/new/ notes");
    mounted.sync();
    let line = |path: &str, rest: &str| {
        let path = mounted.dir.join(path);
        Cmd::rewindfs()
            .arg("undo")
            .arg(path)
            .args(rest.split(' '))
            .run()
    };
    line("src/deep", "--since 1h").ok();
    assert_eq!(text(mounted.join("src/deep/g3")), "deep 3\n");
    assert!(!mounted.join("src/f3").exists());
    assert_eq!(text(mounted.join("notes")), "new\n");
    // In a folder that is gone, too.
    agent(&mounted, "rm -rf src");
    let program = env!("CARGO_BIN_EXE_rewindfs");
    let script = format!("mkdir gone && cd gone && rmdir ../gone && {program} undo . --since 1h");
    Cmd::sh(&script).within(&mounted.point).run();
    undo(&mounted, "--since 1h").ok();
    let except = Except {
        mtime: true,
        ..LATER
    };
    tree(&mounted).must_equal(&before, except, "not all came back");
    mounted.umount();
}

#[test]
fn it_is_refused_where_it_would_not_be_recorded() {
    let (sandbox, mounted) = scene("undo-unmounted");
    agent(&mounted, "rm -rf src");
    mounted.sync();
    let dir = mounted.dir.clone();
    mounted.umount();
    let line = |rest: &[&str]| {
        Cmd::rewindfs()
            .arg("undo")
            .arg(&dir)
            .args(rest.iter())
            .run()
    };
    assert!(line(&[]).ok().out.contains("rm -rf src  42 deleted"));
    let dry = line(&["--last", "--dry-run"]).ok();
    assert!(dry.out.contains("would restore 42"), "{}", dry.out);
    line(&["--last"])
        .exits(2)
        .says("is not mounted")
        .says("rewindfs mount ");
    assert!(!sandbox.work().join("src").exists());
}

fn has(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[test]
fn by_process_and_by_name_with_all_that_they_started() {
    let (sandbox, mounted) = scene("undo-who");
    let before = tree(&mounted);
    let script = sandbox.join("my-agent");
    script_at(
        &script,
        "#!/bin/sh\necho $$ > \"$1\"\nrm -r src/deep\nsh -c 'mv src/f1 src/moved; rm src/f2'\n",
    );
    let pid = sandbox.join("pid");
    let play = || {
        Cmd::new(&script)
            .arg(&pid)
            .within(&mounted.point)
            .run()
            .ok();
        mounted.sync();
        assert!(!has(&mounted.join("src/deep")) && has(&mounted.join("src/moved")));
    };
    play();
    undo(&mounted, "--command my-agent").ok();
    tree(&mounted).must_equal(&before, LATER, "by name");
    play();
    wait_for("its number", || pid.exists());
    let line = format!("--pid {}", text(&pid).trim());
    undo(&mounted, &line).ok();
    tree(&mounted).must_equal(&before, LATER, "by process");
    mounted.umount();
}

/// What an agent does to a tree with 500 texts and a repository in it.
const AGENT: &str = "
set -e
rm -rf src
sed -i s/text/spoilt/ many/t*
cd repo; git reset -q --hard; git clean -qfdx; cd ..
mv many many-moved
> notes
mkdir -p made/deep; echo x > made/deep/x
(setsid sh -c 'sleep 0.5; rm -r late' &)
sh -c 'exit 7'
";

/// A tree with all of that, and the files of somebody else in the same folders.
fn workplace(name: &str) -> (Sandbox, Mounted) {
    let (sandbox, mounted) = scene(name);
    let script = "
set -e
mkdir many late; for n in $(seq 500); do echo text $n > many/t$n; done; echo late > late/file
git init -q repo; cd repo
git config user.email a@b; git config user.name a
echo one > tracked; git add tracked; git commit -qm one
echo two > tracked; echo loose > loose; echo '*.o' > .gitignore; echo o > x.o
cd ..
echo mine > many/mine; echo mine > repo/tracked.mine; git -C repo add tracked.mine; git -C repo commit -qm mine
";
    agent(&mounted, script);
    mounted.settled();
    pause();
    (sandbox, mounted)
}

/// Edits files in the folders that the agent works in, whatever they are called by then; one that
/// is renamed between the look and the line is met again under its other name.
const PERSON: &str = "
for n in $(seq 40); do
  for dir in many many-moved; do [ -f $dir/mine ] && echo line $n >> $dir/mine || true; done
  echo line $n >> theirs
  sleep 0.05
done
true
";

fn without_theirs(mounted: &Mounted) -> Vec<(String, String)> {
    let script = "find . -type f -not -path './theirs' -not -path './many*/mine' | sort | xargs md5sum; find . -type d -printf '%p %m\\n' | sort; find . -type l";
    let run = Cmd::sh(script).within(&mounted.point).run().ok();
    run.lines()
        .iter()
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .collect()
}

#[test]
fn a_run_is_taken_back_whole_while_another_process_edits_in_the_same_folders() {
    let (_sandbox, mounted) = workplace("undo-run");
    let before = without_theirs(&mounted);
    let mut person = Cmd::sh(PERSON).within(&mounted.point).spawn();
    let run = Cmd::rewindfs().arg("run").arg(&mounted.dir);
    let run = run.args(["--name", "fix", "--", "sh", "-c", AGENT]);
    let run = run.within(&mounted.point).run().exits(7);
    run.says("take back what it did: rewindfs undo ");
    person.wait().expect("ended");
    wait_for("what outlives the command", || !has(&mounted.join("late")));
    mounted.sync();
    let wrecked = without_theirs(&mounted);
    assert_ne!(wrecked, before);
    let names = mounted.snapshots();
    assert!(
        names.contains(&"fix-before".to_owned()) && names.contains(&"fix-after".to_owned()),
        "{names:?}"
    );
    let list = undo(&mounted, "").ok();
    assert!(list.out.contains("run 1 (fix): "), "{}", list.out);
    undo(&mounted, "--run fix").ok();
    assert_eq!(without_theirs(&mounted), before);
    // A line is written twice by who meets the folder under both names.
    let mine = text(mounted.join("many/mine"));
    assert_eq!(mine.lines().collect::<BTreeSet<_>>().len(), 41, "{mine}");
    assert_eq!(text(mounted.join("theirs")).lines().count(), 40);
    undo(&mounted, "--last").ok();
    assert_eq!(without_theirs(&mounted), wrecked);
    mounted.umount();
}

#[test]
fn a_run_ends_as_its_command_does_and_gets_its_signals() {
    let (_sandbox, mounted) = scene("undo-signals");
    let run = |words: &[&str]| {
        Cmd::rewindfs()
            .arg("run")
            .arg(&mounted.dir)
            .arg("--")
            .args(words.iter())
    };
    run(&["true"]).run().ok();
    run(&["sh", "-c", "exit 42"]).run().exits(42);
    run(&["/nowhere/at-all"]).run().exits(127);
    let killed = run(&["sh", "-c", "kill -TERM $$"]).run();
    assert!(killed.says("is recorded").err.len() > 1);
    let script =
        "trap 'echo told > told; exit 9' TERM; echo begun > begun; while :; do sleep 0.1; done";
    let mut child = run(&["sh", "-c", script]).within(&mounted.point).spawn();
    wait_for("the command", || has(&mounted.join("begun")));
    crate::harness::sys::kill(i32::try_from(child.id()).expect("a pid"), libc::SIGTERM);
    let status = crate::harness::run::wait(&mut child, Duration::from_secs(60)).expect("ended");
    assert_eq!(status.code(), Some(9));
    assert_eq!(text(mounted.join("told")), "told\n");
    mounted.umount();
}

/// What is done as an agent in a session of its own.
fn agent_apart(sandbox: &Sandbox, mounted: &Mounted, script: &str) {
    let agent = sandbox.join("my-agent");
    script_at(&agent, &format!("#!/bin/bash\nset -eu\n{script}\n"));
    let run = Cmd::new("setsid").arg("--wait").arg(&agent);
    run.within(&mounted.point).run().ok();
}

/// Writes `byte` over a page of `data`, as a process of its own.
fn page(byte: char, number: u32) -> String {
    format!(
        "head -c 4096 /dev/zero | tr '\\0' {byte} | dd of=data bs=4096 seek={number} conv=notrunc 2> /dev/null\n"
    )
}

fn pages(mounted: &Mounted) -> String {
    let data = fs::read(mounted.join("data")).expect("read");
    let all_of = |page: &[u8]| page.iter().all(|byte| *byte == page[0]);
    assert!(data.chunks(4096).all(all_of), "torn");
    data.chunks(4096).map(|page| char::from(page[0])).collect()
}

#[test]
fn with_writeback_it_says_that_it_cannot_know() {
    let sandbox = Sandbox::new("undo-writeback");
    write(sandbox.work().join("notes"), "old\n");
    let mounted = sandbox.mount("writeback,interval=100ms,settle=50ms");
    mounted.settled();
    agent(&mounted, "echo new >> notes; sync notes");
    mounted.sync();
    let cannot =
        "who changed the content of a file is not known; take that back by its time: --since";
    undo(&mounted, "").ok().says(cannot);
    undo(&mounted, "--since 1h --dry-run").ok().says(cannot);
    assert_eq!(text(mounted.join("notes")), "old\nnew\n");
    undo(&mounted, "--since 1h").ok();
    assert_eq!(text(mounted.join("notes")), "old\n");
    mounted.umount();
}

#[test]
fn bytes_that_another_process_wrote_elsewhere_in_the_file_stay() {
    let sandbox = Sandbox::new("undo-bytes");
    write(sandbox.work().join("data"), "a".repeat(4 * 4096));
    // All of it is one state, until somebody asks for another.
    let mounted = sandbox.mount("interval=1h,settle=1h");
    mounted.sync();
    let other = |script: &str| agent(&mounted, script);
    agent_apart(&sandbox, &mounted, &(page('X', 1) + &page('X', 4)));
    other(&page('o', 2));
    mounted.sync();
    other(&page('p', 0));
    mounted.sync();
    assert_eq!(pages(&mounted), "pXoaX");
    undo(&mounted, "--command my-agent --dry-run").ok();
    assert_eq!(pages(&mounted), "pXoaX");
    let run = undo(&mounted, "--command my-agent").ok();
    run.says("restored 1 (4.0 KiB written), deleted 0, unchanged 0, 0 conflicts");
    assert_eq!(pages(&mounted), "paoa");
    undo(&mounted, "--last").ok();
    assert_eq!(pages(&mounted), "pXoaX");

    // Over each other, it is a conflict, and all of it stays.
    agent_apart(&sandbox, &mounted, &(page('Y', 0) + &page('Y', 3)));
    mounted.sync();
    other(&page('q', 0));
    mounted.sync();
    let list = undo(&mounted, "").ok();
    let run = undo(&mounted, "--command my-agent --since 1h").exits(3);
    run.says("conflict: data: it was changed since by ");
    assert_eq!(pages(&mounted), "qXoYX", "{}", list.out);
    mounted.umount();
}

#[test]
fn what_was_too_young_to_be_recorded_is_named_and_what_a_command_made_for_itself_is_not() {
    let sandbox = Sandbox::new("undo-young");
    for name in ["notes", "saved", "cut"] {
        write(sandbox.work().join(name), "old\n");
    }
    // All that follows counts as young, however slow the machine is.
    let mounted = sandbox.mount("interval=1h,settle=1h");
    mounted.sync();
    write(mounted.join("fresh"), "fresh\n");
    write(mounted.join("empty"), "");
    write(mounted.join("notes"), "newer\n");
    write(mounted.join("cut"), "newer\n");
    write(mounted.join("saved~"), "newer\n");
    fs::rename(mounted.join("saved~"), mounted.join("saved")).expect("saved as editors do");
    let script = "rm fresh empty notes saved; : > cut
echo own > t1; cp t1 t2; mv t1 t2; bash -c 'echo own > t3'; rm t2 t3; echo made > made";
    agent_apart(&sandbox, &mounted, script);
    let run = undo(&mounted, "--command my-agent").exits(3);
    let named: Vec<&str> = run
        .err
        .lines()
        .filter(|line| line.starts_with("not recoverable"))
        .collect();
    assert_eq!(named.len(), 4, "{}", run.err);
    for (line, name) in named.iter().zip(["cut", "fresh", "notes", "saved"]) {
        let begin = format!("not recoverable: {name}: it was destroyed ");
        let end = " s after it was written: too young to be recorded";
        assert!(line.starts_with(&begin) && line.ends_with(end), "{line}");
    }
    run.says("not recoverable 4");
    for name in ["notes", "saved"] {
        assert_eq!(text(mounted.join(name)), "old\n", "{name}");
    }
    assert!(!has(&mounted.join("made")) && !has(&mounted.join("t2")));

    // Who did nothing else stands in the list all the same.
    write(mounted.join("only"), "fresh\n");
    agent_apart(&sandbox, &mounted, "rm only");
    let list = undo(&mounted, "").ok();
    let first = list.lines()[0].to_string();
    assert!(
        first.contains(" > rm only  what it destroyed was too young to be recorded (of which 1 "),
        "{}",
        list.out
    );
    undo(&mounted, "1 --dry-run").exits(3);
    let run = undo(&mounted, "1").exits(3);
    run.says("not recoverable: only: it was destroyed ")
        .says("not recoverable 1");
    let dir = mounted.dir.clone();
    mounted.umount();
    // Nor is it forgotten.
    let line = ["undo", "--command", "rm", "--dry-run"];
    let run = Cmd::rewindfs().args(line).arg(&dir).run().exits(3);
    run.says("not recoverable: only: ");
}
