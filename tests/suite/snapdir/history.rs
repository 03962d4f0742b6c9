//! `.history`: what a name held, whichever program saved it.

use crate::harness::{Cmd, Mounted, Sandbox, mount, sys, text, write};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

const SAVES: usize = 5;
const FOR_TESTS: &str = "settle=50ms,interval=1h";

fn folder(mounted: &Mounted, path: &str) -> PathBuf {
    mounted.join(".snapshots/.history").join(path)
}

/// What the versions of a name hold, oldest first.
fn versions(mounted: &Mounted, path: &str) -> Vec<String> {
    let folder = folder(mounted, path);
    let mut names = mount::names(&folder);
    names.retain(|name| !folder.join(name).is_dir());
    let texts = names.iter().map(|name| text(folder.join(name)));
    texts.map(|text| text.trim_end().to_owned()).collect()
}

fn saves() -> Vec<String> {
    (1..=SAVES).map(|save| format!("save {save}")).collect()
}

/// One way to save `text` in a file of the folder `src`.
type Saver = fn(&Mounted, &str);

fn run(mounted: &Mounted, line: &str) {
    Cmd::sh(line).within(mounted.join("src")).run().ok();
}

fn vim(mounted: &Mounted, text: &str) {
    let line = format!(
        "vim.tiny -u NONE -es -c 'set nocp writebackup backupcopy=no' -c '%s/.*/{text}/' -c wq vim.rs"
    );
    run(mounted, &line);
}

fn sed(mounted: &Mounted, text: &str) {
    run(mounted, &format!("sed -i 's/.*/{text}/' sed.rs"));
}

fn rsync(mounted: &Mounted, text: &str) {
    let line = format!("echo '{text}' > ../../source.rs && rsync -I ../../source.rs rsync.rs");
    run(mounted, &line);
}

/// As editors do that are careful: a new file, synced, renamed over the old one.
fn editor(mounted: &Mounted, text: &str) {
    let temporary = mounted.join("src/.editor.rs.tmp");
    write(&temporary, text);
    let file = fs::File::open(&temporary).expect("open");
    file.sync_all().expect("fsync");
    fs::rename(&temporary, mounted.join("src/editor.rs")).expect("rename");
}

fn in_place(mounted: &Mounted, text: &str) {
    run(mounted, &format!("echo '{text}' > place.rs"));
}

fn git(mounted: &Mounted, text: &str) {
    let tag = text.replace(' ', "-");
    Cmd::sh(&format!("git checkout -q {tag}"))
        .within(mounted.join("src/repository"))
        .run()
        .ok();
}

/// A repository beside the tree, with a tag for each save.
fn repository(sandbox: &Sandbox) {
    let line = "git init -q repository && cd repository && git config user.name a && \
        git config user.email a@b && for n in 1 2 3 4 5; do echo save $n > git.rs; git add git.rs; \
        git commit -q -m $n; git tag save-$n; done; git rm -q git.rs; git commit -q -m none; \
        git tag none; git checkout -q save-1";
    Cmd::sh(line).within(sandbox.work().join("src")).run().ok();
}

#[test]
fn five_saves_are_five_versions_whoever_saves_them() {
    let sandbox = Sandbox::new("history");
    fs::create_dir(sandbox.work().join("src")).expect("mkdir");
    repository(&sandbox);
    let savers: [(&str, Saver); 6] = [
        ("vim.rs", vim),
        ("sed.rs", sed),
        ("rsync.rs", rsync),
        ("editor.rs", editor),
        ("place.rs", in_place),
        ("repository/git.rs", git),
    ];
    for (name, _) in &savers[..5] {
        write(sandbox.work().join("src").join(name), "save 1\n");
    }
    let mounted = sandbox.mount(FOR_TESTS);
    for text in &saves()[1..] {
        for (_, save) in &savers {
            save(&mounted, text);
        }
        mounted.sync();
    }
    for (name, _) in &savers {
        let path = format!("src/{name}");
        assert_eq!(versions(&mounted, &path), saves(), "{name}");
        let live = text(mounted.join(&path));
        assert_eq!(live.trim_end(), format!("save {SAVES}"));
        fs::rename(mounted.join(&path), mounted.join(&format!("{path}.md"))).expect("rename");
    }
    mounted.sync();
    fs::rename(mounted.join("src"), mounted.join("lib")).expect("rename");
    mounted.sync();
    for (name, _) in &savers {
        for path in [format!("lib/{name}.md"), format!("lib/{name}")] {
            assert_eq!(versions(&mounted, &path), saves(), "{path}");
        }
        assert_eq!(versions(&mounted, &format!("src/{name}")), saves());
    }
    // To and fro: a content that comes back is a version again.
    let checkout = |tag: &str| {
        let line = format!("git checkout -q -f {tag}");
        Cmd::sh(&line)
            .within(mounted.join("lib/repository"))
            .run()
            .ok();
        mounted.sync();
    };
    for tag in ["save-2", "none", "save-5"] {
        checkout(tag);
    }
    let mut expected = saves();
    expected.extend([2, 5].map(|save| format!("save {save}")));
    assert_eq!(versions(&mounted, "lib/repository/git.rs"), expected);
}

#[test]
fn versions_are_ordinary_files_with_their_times() {
    let sandbox = Sandbox::new("history-times");
    write(sandbox.work().join("a.rs"), "one\n");
    let mounted = sandbox.mount(FOR_TESTS);
    for text in ["two\n", "three\n"] {
        write(mounted.join("a.rs"), text);
        mounted.sync();
    }
    let folder = folder(&mounted, "a.rs");
    let names = mount::names(&folder);
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|name| name.ends_with("Z.rs")), "{names:?}");
    let by_time = Cmd::sh("ls -tr").within(&folder).run().ok();
    assert_eq!(by_time.lines(), names);
    for name in &names {
        // The time of the version leads to the state that has it.
        let shown = fs::metadata(folder.join(name)).expect("stat");
        let time = format!("date -u -d @{}.{:09}", shown.mtime(), shown.mtime_nsec());
        let format = "+%Y-%m-%dT%H:%M:%S.%NZ";
        let time = Cmd::sh(&format!("{time} {format}")).run().ok();
        let state = mounted.join(&format!(".snapshots/@{}/a.rs", time.out.trim()));
        assert_eq!(text(state), text(folder.join(name)), "{name}");
    }
    let line = format!("git diff --no-index --stat {} {}", names[0], names[2]);
    Cmd::sh(&line).within(&folder).run().exits(1);
    // A version that is looked up without a listing before it, by who knows its name.
    assert_eq!(text(folder.join(&names[1])), "two\n");
    for refused in [
        sys::errno(&fs::write(folder.join(&names[0]), "x")),
        sys::errno(&fs::write(folder.join("x"), "x")),
        sys::errno(&fs::remove_file(folder.join(&names[0]))),
        sys::errno(&fs::create_dir(folder.join("x"))),
        sys::errno(&fs::remove_dir(&folder)),
    ] {
        assert_eq!(refused, libc::EROFS);
    }
    assert_eq!(
        sys::errno(&fs::rename(folder.join(&names[0]), mounted.join("x"))),
        libc::EXDEV
    );
    // Somebody who stands in it sees what comes.
    let mut shell = Cmd::new("bash").within(&folder).spawn_piped();
    write(mounted.join("a.rs"), "four\n");
    mounted.sync();
    assert_eq!(mount::names(&folder).len(), 4);
    shell.kill().expect("killed");
    shell.wait().expect("waited for");
}

#[test]
fn deleted_names_are_listed_in_every_folder_for_who_could_list_them() {
    let sandbox = Sandbox::new("history-names");
    let work = sandbox.work();
    fs::set_permissions(&work, PermissionsExt::from_mode(0o755)).expect("chmod");
    fs::create_dir_all(work.join("dir/gone")).expect("mkdir");
    write(work.join("dir/gone/deep"), "deep");
    write(work.join("dir/was"), "was");
    write(work.join("dir/is"), "is");
    fs::create_dir(work.join("closed")).expect("mkdir");
    write(work.join("closed/was"), "was");
    chown(work.join("closed"), Some(1234), Some(1234)).expect("chown");
    fs::set_permissions(work.join("closed"), PermissionsExt::from_mode(0o700)).expect("chmod");
    let mounted = sandbox.mount(FOR_TESTS);
    mounted.sync();
    fs::remove_dir_all(mounted.join("dir/gone")).expect("rm -r");
    fs::remove_file(mounted.join("dir/was")).expect("rm");
    fs::remove_file(mounted.join("closed/was")).expect("rm");
    fs::set_permissions(mounted.join("closed"), PermissionsExt::from_mode(0o755)).expect("chmod");
    mounted.sync();
    let names = |path: &str| mount::names(&mounted.join(path));
    assert_eq!(names(".snapshots/.history"), ["closed", "dir"]);
    assert_eq!(names(".snapshots/.history/dir"), ["gone", "is", "was"]);
    assert_eq!(names("dir/.snapshots/.history"), ["gone", "is", "was"]);
    assert_eq!(names("dir/.snapshots/.history/gone"), ["deep"]);
    assert_eq!(versions(&mounted, "dir/gone/deep"), ["deep"]);
    let seen_by = |uid: u32| {
        sys::as_user(uid, uid, &[uid], || {
            sys::errno(&fs::read_dir(folder(&mounted, "closed")).map(Iterator::count))
        })
    };
    assert_eq!(seen_by(1235), libc::EACCES);
    assert_eq!(seen_by(1234), 0);
}
