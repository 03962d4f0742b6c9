//! `.incremental` and `.differential`: laid over the state before, with what is listed as deleted
//! taken away, they give the state.

use crate::harness::compare::{Except, Tree};
use crate::harness::{Cmd, Mounted, Sandbox, mount, sys, text, write};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

const BOB: u32 = 1235;

fn before(root: &Path) {
    for dir in [
        "src/deep",
        "moved/inside",
        "removed/all",
        "still",
        "closed",
        "swap",
        "again/deep",
    ] {
        fs::create_dir_all(root.join(dir)).expect("mkdir");
    }
    for name in [
        "src/a",
        "src/deep/b",
        "moved/inside/c",
        "removed/all/d",
        "removed/e",
        "still/f",
        "closed/g",
        "swap/h",
        "again/deep/i",
        "kind",
        "mode",
        "strange \u{e4}\n\"name\"",
    ] {
        write(root.join(name), name);
    }
    chown(root.join("closed"), Some(1234), Some(1234)).expect("chown");
    fs::set_permissions(root.join("closed"), PermissionsExt::from_mode(0o700)).expect("chmod");
    symlink("src/a", root.join("link")).expect("symlink");
}

fn change(root: &Path) {
    write(root.join("src/a"), "changed");
    write(root.join("src/deep/new"), "new");
    write(root.join("closed/secret-plan"), "hers");
    fs::rename(root.join("moved"), root.join("here")).expect("mv");
    fs::remove_dir_all(root.join("removed")).expect("rm -r");
    fs::remove_file(root.join("kind")).expect("rm");
    fs::create_dir(root.join("kind")).expect("mkdir");
    fs::set_permissions(root.join("mode"), PermissionsExt::from_mode(0o600)).expect("chmod");
    fs::remove_file(root.join("link")).expect("rm");
    symlink("src/deep", root.join("link")).expect("symlink");
    // Another folder takes its place, and one comes back as it was.
    fs::rename(root.join("swap"), root.join("swapped")).expect("mv");
    fs::create_dir(root.join("swap")).expect("mkdir");
    write(root.join("swap/other"), "other");
    let copy = "cp -a again again.new && rm -r again && mv again.new again";
    Cmd::sh(copy).within(root).run().ok();
    // As editors save.
    write(root.join("tmp"), "replaced");
    let strange = root.join("strange \u{e4}\n\"name\"");
    fs::rename(root.join("tmp"), strange).expect("mv");
}

/// What git's quoting means.
fn plain(quoted: &str) -> PathBuf {
    let line = "printf '%b' \"$1\"";
    let Some(inner) = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return PathBuf::from(quoted);
    };
    // printf writes octal with a leading 0, and needs no backslash before a quote.
    let text = inner
        .replace("\\\"", "\"")
        .replace("\\303\\244", "\\0303\\0244");
    let run = Cmd::new("bash")
        .args(["-c", line, "bash", &text])
        .run()
        .ok();
    PathBuf::from(run.out)
}

/// Lays a view over `target`, then takes away what its list names as gone.
fn lay_over(mounted: &Mounted, view: &str, target: &Path) {
    let view = mounted.join(&format!(".snapshots/{view}"));
    let list = text(view.join(".changes"));
    let copy = format!(
        "cp -a --remove-destination '{}/.' '{}'",
        view.display(),
        target.display()
    );
    let remove = |letters: &[&str]| {
        for line in list.lines().rev() {
            let fields: Vec<&str> = line.split('\t').collect();
            let path = target.join(plain(fields[1]));
            match path.symlink_metadata() {
                Ok(look) if letters.contains(&fields[0]) => match look.is_dir() {
                    true => fs::remove_dir_all(&path),
                    false => fs::remove_file(&path),
                },
                _ => Ok(()),
            }
            .expect("removed");
        }
    };
    // Another type is in the way of cp, and what was renamed may have left its name to another.
    remove(&["T", "R"]);
    Cmd::sh(&copy).run().ok();
    remove(&["D"]);
    // The times of folders from which something was taken away.
    Cmd::sh(&copy).run().ok();
}

#[test]
fn laid_over_the_state_before_they_give_the_state() {
    let sandbox = Sandbox::new("delta");
    before(&sandbox.work());
    let mounted = sandbox.mount("settle=50ms,interval=1h");
    change(&mounted.point);
    mounted.snapshot("second");
    write(mounted.join("src/a"), "again");
    fs::remove_dir_all(mounted.join("here")).expect("rm -r");
    mounted.snapshot("third");
    for (base, view, state) in [
        ("first", ".incremental/second", "second"),
        ("second", ".incremental/third", "third"),
        ("second", ".incremental/latest", "third"),
        ("first", ".differential/third", "third"),
    ] {
        let target = sandbox.join("target");
        let copy = format!("cp -a .snapshots/{base} '{}'", target.display());
        Cmd::sh(&copy).within(&mounted.point).run().ok();
        lay_over(&mounted, view, &target);
        let except = Except {
            ctime: true,
            holes: true,
            dir_links: true,
            ..Except::default()
        };
        let (wanted, made) = (Tree::read(&mounted.past(state, "")), Tree::read(&target));
        wanted.must_equal(&made, except, view);
        fs::remove_dir_all(&target).expect("rm -r");
    }
    let list = |view: &str| text(mounted.join(&format!(".snapshots/{view}/.changes")));
    assert_eq!(
        list(".incremental/second"),
        "A\tclosed/secret-plan\nR\tmoved\there\nT\tkind\nM\tlink\nm\tmode\nD\tremoved\n\
         D\tremoved/all\nD\tremoved/all/d\nD\tremoved/e\nM\tsrc/a\nA\tsrc/deep/new\n\
         M\t\"strange \\303\\244\\n\\\"name\\\"\"\nA\tswap\nA\tswap/other\nR\tswap\tswapped\n"
    );
    let second = mount::names(&mounted.join(".snapshots/.incremental/second"));
    assert!(!second.contains(&"again".to_owned()), "{second:?}");
    assert_eq!(
        mount::names(&mounted.join(".snapshots/.incremental/third")),
        ["src"]
    );
}

#[test]
fn the_list_is_for_the_owner_and_folders_for_whom_they_were_open() {
    let sandbox = Sandbox::new("delta-who");
    let work = sandbox.work();
    fs::set_permissions(&work, PermissionsExt::from_mode(0o755)).expect("chmod");
    before(&work);
    let mounted = sandbox.mount("");
    change(&mounted.point);
    mounted.snapshot("second");
    let view = mounted.join(".snapshots/.incremental/second");
    let seen = sys::as_user(BOB, BOB, &[BOB], || {
        (
            sys::errno(&fs::read(view.join(".changes"))),
            sys::errno(&fs::read_dir(view.join("closed")).map(Iterator::count)),
            sys::errno(&fs::read(view.join("src/a"))),
            sys::errno(&fs::write(view.join("x"), "x")),
        )
    });
    assert_eq!(seen.0, libc::EACCES);
    assert_eq!(seen.1, libc::EACCES);
    assert_eq!(seen.2, 0);
    assert_ne!(seen.3, 0);
    assert_eq!(sys::errno(&fs::write(view.join("x"), "x")), libc::EROFS);
    let size = fs::metadata(view.join(".changes")).expect("stat").len();
    assert_eq!(size, text(view.join(".changes")).len() as u64);
}
