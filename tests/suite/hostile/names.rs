//! Promise 8 for names: nobody learns one that he could not have listed. Somebody who is nobody, and a
//! member of the group that may change the list of snapshots, search every view, report and listing for
//! the names in a folder that is closed to them, of now and of long ago.

use crate::harness::{Cmd, Mounted, Sandbox, sized, sys, write};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const ALICE: u32 = 1234;
const NOBODY: u32 = 65534;
const GROUP: u32 = 2345;

/// Names that only Alice and root may list, and where each of them is to be found by these.
const SECRETS: [(&str, &str); 10] = [
    ("plan-now", "now"),
    ("plan-gone", "renamed, then removed"),
    ("plan-moved", "its later name"),
    ("plan-deep", "a folder"),
    ("plan-lost", "gone with the folder above"),
    ("plan-many", "what an alarm is of"),
    ("plan-tool", "the script that raised it"),
    ("plan-rule", "what is left out"),
    ("plan-shadow", "covers our name"),
    ("plan-purged", "was purged"),
];

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
}

fn secrets(sandbox: &Sandbox) -> Mounted {
    let work = sandbox.work();
    set_mode(&work, 0o755);
    for closed in ["alice", "alice-gone"] {
        for folder in [
            "plan-deep",
            "plan-many",
            "plan-rule",
            "plan-shadow/.snapshots",
        ] {
            fs::create_dir_all(work.join(closed).join(folder)).expect("mkdir");
        }
        for name in [
            "plan-now",
            "plan-gone",
            "plan-purged",
            "plan-deep/plan-lost",
        ] {
            write(work.join(closed).join(name), format!("{closed} {name}"));
        }
        for number in 0..30 {
            write(
                work.join(closed).join(format!("plan-many/{number}")),
                "much",
            );
        }
        set_mode(&work.join(closed), 0o700);
    }
    let tool = work.join("alice/plan-tool");
    write(&tool, "#!/usr/bin/perl\nunlink glob 'plan-many/*';\n");
    set_mode(&tool, 0o755);
    write(work.join("open"), "for all");
    let give = format!("chown -R {ALICE}:{ALICE} alice alice-gone");
    Cmd::sh(&give).within(&work).run().ok();
    let mounted = sandbox.mount(&format!(
        "settle=50ms,interval=100ms,snapshot_group={GROUP}"
    ));
    let policy = ["--alarm", "20", "--exclude", "/alice/plan-rule/"];
    mounted.command("policy").args(policy).run().ok();
    mounted.snapshot("then");
    fs::rename(
        mounted.join("alice/plan-gone"),
        mounted.join("alice/plan-moved"),
    )
    .expect("mv");
    mounted.sync();
    fs::remove_file(mounted.join("alice/plan-purged")).expect("rm");
    let purge = Cmd::rewindfs()
        .arg("purge")
        .arg(mounted.join("alice/plan-purged"));
    purge.args(["--yes", "--reason", "a test"]).run().ok();
    let him = ["--reuid", "1234", "--regid", "1234", "--clear-groups"];
    let tool = Cmd::new("setpriv").args(him).arg("./plan-tool");
    tool.within(mounted.join("alice")).run().ok();
    mounted.sync();
    fs::remove_file(mounted.join("alice/plan-moved")).expect("rm");
    fs::remove_dir_all(mounted.join("alice-gone")).expect("rm -r");
    mounted.snapshot("later");
    mounted.sync();
    mounted
        .command("snapshot")
        .args(["whole", "--full"])
        .run()
        .ok();
    mounted.command("delete").arg("later").run().ok();
    mounted
}

/// Everything that somebody can see, in one text. The script itself names nothing but what anybody
/// may list; of what he typed himself, only what he is told of others counts.
const SEARCH: &str = r#"
    cd "$MOUNT" || exit 9
    find .
    find . -exec getfattr -h -d -m - {} +
    ls -laR /run/rewindfs
    for top in .snapshots alice/.snapshots alice-gone/.snapshots; do
        find $top/ $top/latest/ $top/.checkpoints $top/@1s/ $top/.history $top/.incremental \
            $top/.differential
        for state in then whole; do
            for below in . alice alice-gone; do
                ls -laR $top/$state/$below $top/.history/$below
                getfattr -R -h -d -m - $top/$state/$below
            done
            cat $top/.incremental/$state/.changes $top/.differential/$state/.changes
        done
    done 2> /dev/null
    while read -r command; do
        set -f
        echo "== $command"
        timeout 60 "$PROGRAM" $command
    done 2>&1 <<'END'
        list .
        list . --json
        list . --checkpoints --json
        list . --deleted --json
        list . --log
        list . --log --json
        list . --size
        status .
        status . --json
        log . --by actor
        log . --by time
        log . --by file
        log . --json
        find . *
        find . * --json
        diff . then whole
        diff . then live --json
        events .
        undo .
        undo . --last --dry-run
        verify .
        verify . --data --json
        verify . --repair
        prune . --dry-run
        policy .
        policy . --json
        purge . --dry-run
        restore . --at then --dry-run
        restore . --at then --dry-run --json
        bisect . --good then --bad whole -- true
        run . -- true
        sync .
        undelete . later
        hold . whole
        release . whole
        snapshot . mine
        snapshot . mine-too --full
        umount .
END
    for path in alice alice/plan-now alice-gone; do
        for command in "log $path" "cat $path --at then" "restore $path --at then --dry-run" \
            "purge $path --dry-run"; do
            timeout 60 "$PROGRAM" $command 2>&1 | grep -v "$path"
        done
    done
    true
"#;

fn seen_by(uid: u32, groups: &str, mounted: &Mounted, program: &Path) -> String {
    let mut cmd = Cmd::new("setpriv")
        .args([format!("--reuid={uid}"), format!("--regid={uid}")])
        .args([groups, "--", "bash", "-c", SEARCH]);
    cmd = cmd.env("PROGRAM", program).env("MOUNT", &mounted.point);
    let run = cmd.limit(Duration::from_secs(280)).run();
    run.lines().join("\n")
}

fn must_not_know(seen: &str, who: &str) {
    assert!(
        seen.contains("then/open") && seen.contains("./alice"),
        "{who} sees what is for all: {seen}"
    );
    for (secret, what) in SECRETS {
        // With the command in whose answer it is.
        let mut lines = Vec::new();
        let mut command = "";
        for line in seen.lines() {
            command = if line.starts_with("== ") {
                line
            } else {
                command
            };
            if line.contains(secret) {
                lines.push((command, line));
            }
        }
        assert!(
            lines.is_empty(),
            "{who} was told of {secret}, {what}: {lines:#?}"
        );
    }
}

#[test]
fn nobody_learns_a_name_that_he_could_not_list() {
    let sandbox = Sandbox::new("names");
    let mounted = secrets(&sandbox);
    let program = sandbox.program();
    let seen = seen_by(NOBODY, "--clear-groups", &mounted, &program);
    must_not_know(&seen, "nobody");
    if sized(true, false) {
        let group = format!("--groups={GROUP}");
        let seen = seen_by(NOBODY, &group, &mounted, &program);
        assert!(seen.contains("snapshot mine of"), "he may: {seen}");
        must_not_know(&seen, "a member of the group");
    }
    // What he guesses is not confirmed either.
    let asked = |path: &str, name: &str| {
        let asked = sys::as_user(NOBODY, NOBODY, &[NOBODY], || {
            sys::get_xattr(&mounted.join(path), name.as_bytes())
        });
        sys::errno(&asked)
    };
    let mark = "user.rewindfs.left-out/plan-rule/";
    assert_eq!(asked("alice", mark), libc::EACCES);
    assert_eq!(
        asked("alice/plan-rule", "user.rewindfs.left-out"),
        libc::EACCES
    );
    assert_eq!(asked("", mark), libc::ENODATA);
    // The same search finds all of them where it may: it is not blind.
    let seen = seen_by(0, "--clear-groups", &mounted, &program);
    for (secret, what) in SECRETS {
        assert!(
            seen.contains(secret),
            "root is told of {secret}, {what}: {seen}"
        );
    }
}
