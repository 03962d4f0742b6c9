//! A folder gets another name, and by that another rule decides about what is below it, though none
//! decides about the folder itself.

use super::{diff, left_out_in, make, policy};
use crate::harness::mount::names;
use crate::harness::{Cmd, Mounted, Sandbox, sys, text, write};
use std::fs;

/// The state is what is there, and verify finds nothing wrong.
fn is_whole(mounted: &Mounted, state: &str) {
    assert_eq!(diff(&mounted.dir, state, "live"), Vec::<String>::new());
    Cmd::rewindfs().arg("verify").arg(&mounted.dir).run().ok();
}

fn to(mounted: &Mounted, from: &str, to: &str) {
    fs::rename(mounted.join(from), mounted.join(to)).unwrap_or_else(|e| panic!("{from}: {e}"));
}

/// A folder with a log and a program in `build`, each deep enough for the rules below.
fn fill(mounted: &Mounted, folder: &str) {
    make(mounted.join(folder).join("deep/build"));
    make(mounted.join(folder).join("build"));
    for (name, what) in [
        ("a.log", "log"),
        ("deep/b.log", "deep log"),
        ("deep/text", "text"),
        ("build/app", "app"),
        ("deep/build/app", "deep app"),
    ] {
        write(mounted.join(folder).join(name), what);
    }
}

#[test]
fn files_are_left_out_by_the_new_name_of_a_folder_above_them() {
    let sandbox = Sandbox::new("exclude-below-files");
    let mounted = sandbox.mount("");
    policy(&mounted.dir, &["--exclude", "/out/**/*.log"]).ok();
    fill(&mounted, "in");
    mounted.snapshot("in");
    assert_eq!(text(mounted.past("in", "in/deep/b.log")), "deep log");
    to(&mounted, "in", "out");
    mounted.snapshot("out");
    assert_eq!(names(&mounted.past("out", "out")), ["build", "deep"]);
    assert_eq!(names(&mounted.past("out", "out/deep")), ["build", "text"]);
    assert_eq!(text(mounted.past("in", "in/deep/b.log")), "deep log");
    is_whole(&mounted, "out");
    // What is written meanwhile is in no state, and is in the next one after the way back.
    write(mounted.join("out/deep/b.log"), "while out");
    to(&mounted, "out", "in");
    mounted.snapshot("back");
    assert_eq!(text(mounted.past("back", "in/deep/b.log")), "while out");
    assert_eq!(text(mounted.past("back", "in/a.log")), "log");
    is_whole(&mounted, "back");
    write(mounted.join("in/deep/b.log"), "watched");
    mounted.snapshot("watched");
    assert_eq!(text(mounted.past("watched", "in/deep/b.log")), "watched");
}

#[test]
fn folders_are_left_out_by_the_new_name_of_a_folder_above_them() {
    let sandbox = Sandbox::new("exclude-below-folders");
    let mounted = sandbox.mount("");
    for rule in ["/app/build/", "/far/*/deep/build/"] {
        policy(&mounted.dir, &["--exclude", rule]).ok();
    }
    fill(&mounted, "draft");
    make(mounted.join("far"));
    mounted.snapshot("draft");
    assert_eq!(text(mounted.past("draft", "draft/build/app")), "app");
    to(&mounted, "draft", "app");
    mounted.snapshot("app");
    left_out_in(&mounted, "app", "app/build");
    assert_eq!(text(mounted.past("app", "app/deep/build/app")), "deep app");
    is_whole(&mounted, "app");
    // From below one rule to below another, by a move into another folder.
    to(&mounted, "app", "far/app");
    mounted.snapshot("far");
    assert_eq!(text(mounted.past("far", "far/app/build/app")), "app");
    left_out_in(&mounted, "far", "far/app/deep/build");
    is_whole(&mounted, "far");
    to(&mounted, "far/app", "draft");
    mounted.snapshot("again");
    assert_eq!(
        text(mounted.past("again", "draft/deep/build/app")),
        "deep app"
    );
    is_whole(&mounted, "again");
}

#[test]
fn folders_that_change_places_change_what_is_left_out_below_them() {
    let sandbox = Sandbox::new("exclude-below-exchange");
    let mounted = sandbox.mount("");
    policy(&mounted.dir, &["--exclude", "/app/build/"]).ok();
    fill(&mounted, "app");
    fill(&mounted, "draft");
    write(mounted.join("draft/build/app"), "draft");
    mounted.snapshot("before");
    left_out_in(&mounted, "before", "app/build");
    let (app, draft) = (mounted.join("app"), mounted.join("draft"));
    sys::renameat2(&app, &draft, libc::RENAME_EXCHANGE).expect("exchange");
    mounted.snapshot("after");
    left_out_in(&mounted, "after", "app/build");
    assert_eq!(text(mounted.past("after", "draft/build/app")), "app");
    assert_eq!(text(mounted.past("before", "draft/build/app")), "draft");
    is_whole(&mounted, "after");
}
