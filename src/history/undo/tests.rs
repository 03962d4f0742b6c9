//! What is planned, on pasts that are made up.

use super::*;
use crate::format::record::Actor;
use crate::history::doings::{self, Doing};
use crate::history::past::{Draft, Past, directory};
use crate::time::Timestamp;

fn process(tgid: u32, comm: &str) -> Actor {
    Actor {
        tgid,
        start: 1,
        boot: [1; 16],
        uid: 1000,
        comm: comm.as_bytes().to_vec(),
        command: Vec::new(),
        run: 0,
        ancestors: vec![(50, b"claude".to_vec()), (40, b"login".to_vec())],
    }
}

/// `src` with a.rs and b.rs, and notes; then what `rm` (the agent) and `vi` (another) do.
struct Story {
    past: Past,
    second: u32,
}

impl Story {
    fn begin() -> Story {
        let mut past = Past::new();
        past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            draft.put(2, 1, "src", directory());
            draft.bytes(3, 2, "a.rs", b"a");
            draft.bytes(4, 2, "b.rs", b"b");
            draft.bytes(5, 1, "notes", b"old");
            draft.done_by(&[(9, process(109, "git"))]);
        });
        Story { past, second: 0 }
    }

    fn by(mut self, actor: u64, comm: &str, write: impl FnOnce(&mut Draft<'_>)) -> Story {
        self.second += 1;
        let time = format!("2026-11-20T10:01:{:02}", self.second);
        let who = [(actor, process(100 + actor as u32, comm))];
        self.past.epoch(&time, |draft| {
            write(draft);
            draft.done_by(&who);
        });
        self
    }

    fn rm(self, write: impl FnOnce(&mut Draft<'_>)) -> Story {
        self.by(1, "rm", write)
    }

    fn vi(self, write: impl FnOnce(&mut Draft<'_>)) -> Story {
        self.by(2, "vi", write)
    }

    fn plan(&self, wish: &Wish) -> Plan {
        let view = self.past.store.view();
        let all = doings::since(&view, Timestamp(0)).expect("readable").all;
        let agent = |doing: &Doing| {
            doing
                .who
                .as_ref()
                .is_some_and(|who| who.comm == b"rm".as_slice())
        };
        let touched = doings::together(&all, &agent);
        let at = view.newest_epoch().expect("readable").expect("one");
        plan(&view, at, &touched, wish).expect("readable")
    }

    /// Steps and conflicts, in words.
    fn told(&self) -> (Vec<String>, Vec<String>) {
        tell(&self.plan(&Wish::default()))
    }
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn tell(plan: &Plan) -> (Vec<String>, Vec<String>) {
    let step = |step: &Step| {
        let path = text(&step.path);
        match &step.deed {
            Deed::Remove => format!("remove {path}"),
            Deed::Restore { before, past } => format!("restore {path} {}@{before}", text(past)),
            Deed::Bytes { before, ranges, .. } => {
                let ranges: Vec<_> = ranges.iter().collect();
                format!("bytes {path}@{before} {ranges:?}")
            }
            Deed::Times { before, .. } => format!("times {path}@{before}"),
            Deed::Rename { to } => format!("rename {path} {}", text(to)),
            Deed::Link { of } => format!("link {path} {}", text(of)),
        }
    };
    let conflict = |one: &Conflict| format!("{} {:?}", text(&one.path), one.reason);
    (
        plan.steps.iter().map(step).collect(),
        plan.conflicts.iter().map(conflict).collect(),
    )
}

#[test]
fn what_was_removed_comes_back_folders_first() {
    let story = Story::begin()
        .rm(|draft| {
            draft.gone(3, 2, "a.rs");
            draft.gone(4, 2, "b.rs");
        })
        .rm(|draft| draft.gone(2, 1, "src"));
    let (steps, conflicts) = story.told();
    assert_eq!(
        steps,
        [
            "restore src src@2",
            "restore src/a.rs src/a.rs@1",
            "restore src/b.rs src/b.rs@1",
        ]
    );
    assert_eq!(conflicts, [""; 0]);
    // Of a path below: what leads to it comes with it.
    let wish = Wish {
        under: b"src/a.rs".to_vec(),
        force: false,
    };
    let (steps, _) = tell(&story.plan(&wish));
    assert_eq!(steps, ["restore src src@2", "restore src/a.rs src/a.rs@1"]);
}

#[test]
fn what_others_did_since_or_meanwhile_stays() {
    let story = Story::begin()
        .rm(|draft| {
            draft.bytes(5, 1, "notes", b"new");
            draft.bytes(3, 2, "a.rs", b"agent");
            draft.bytes(6, 1, "made", b"made");
            draft.gone(4, 2, "b.rs");
        })
        .vi(|draft| {
            draft.bytes(3, 2, "a.rs", b"person");
            draft.bytes(6, 1, "made", b"and edited");
            draft.bytes(7, 2, "b.rs", b"another");
            draft.bytes(8, 2, "own", b"own");
        });
    let (steps, conflicts) = story.told();
    assert_eq!(steps, ["restore notes notes@1"]);
    assert_eq!(
        conflicts,
        [
            "src/b.rs ChangedSince",
            "made ChangedSince",
            "src/a.rs ChangedSince",
        ]
    );
    let wish = Wish {
        under: Vec::new(),
        force: true,
    };
    let (steps, conflicts) = tell(&story.plan(&wish));
    assert_eq!(
        steps,
        [
            "restore src/b.rs src/b.rs@1",
            "remove made",
            "restore notes notes@1",
            "restore src/a.rs src/a.rs@1",
        ]
    );
    assert_eq!(conflicts, [""; 0]);
}

#[test]
fn a_folder_that_was_renamed_goes_back_with_what_others_wrote_in_it() {
    let story = Story::begin()
        .rm(|draft| {
            draft.unname(1, "src");
            draft.put(2, 1, "lib", directory());
            draft.gone(4, 2, "b.rs");
        })
        .vi(|draft| draft.bytes(3, 2, "a.rs", b"person"));
    let (steps, conflicts) = story.told();
    assert_eq!(
        steps,
        [
            "rename lib src",
            "restore src/b.rs src/b.rs@1",
            "times src@1"
        ]
    );
    assert_eq!(conflicts, [""; 0]);
}

#[test]
fn a_file_that_was_renamed_over_another_brings_both_back() {
    let story = Story::begin().rm(|draft| {
        draft.unname(2, "a.rs");
        draft.gone(4, 2, "b.rs");
        draft.bytes(3, 2, "b.rs", b"a");
    });
    let (steps, conflicts) = story.told();
    assert_eq!(
        steps,
        ["rename src/b.rs src/a.rs", "restore src/b.rs src/b.rs@1"]
    );
    assert_eq!(conflicts, [""; 0]);
}

#[test]
fn two_that_changed_places_change_them_again() {
    let story = Story::begin().rm(|draft| {
        draft.bytes(3, 2, "b.rs", b"a");
        draft.bytes(4, 2, "a.rs", b"b");
    });
    let (steps, conflicts) = story.told();
    assert_eq!(steps.len(), 3, "{steps:?}");
    assert!(
        steps[0].starts_with("rename src/b.rs src/.rewindfs-undo-")
            || steps[0].starts_with("rename src/a.rs src/.rewindfs-undo-"),
        "{steps:?}"
    );
    assert_eq!(conflicts, [""; 0]);
}

#[test]
fn a_folder_that_was_made_goes_unless_others_put_something_into_it() {
    let made = |draft: &mut Draft<'_>| {
        draft.put(6, 1, "new", directory());
        draft.bytes(7, 6, "x", b"x");
        draft.put(8, 6, "deep", directory());
    };
    let (steps, conflicts) = Story::begin().rm(made).told();
    assert_eq!(steps, ["remove new/x", "remove new/deep", "remove new"]);
    assert_eq!(conflicts, [""; 0]);
    let story = Story::begin()
        .rm(made)
        .vi(|draft| draft.bytes(9, 8, "own", b"own"));
    let (steps, conflicts) = story.told();
    assert_eq!(steps, ["remove new/x"]);
    let left = |name: &str| format!("{:?}", Reason::NotEmpty(name.as_bytes().to_vec()));
    assert_eq!(
        conflicts,
        [
            format!("new/deep {}", left("own")),
            format!("new {}", left("deep"))
        ]
    );
}

#[test]
fn a_file_that_was_saved_by_replacing_it_gets_its_bytes_back() {
    let story = Story::begin().rm(|draft| {
        draft.gone(5, 1, "notes");
        draft.bytes(6, 1, "notes", b"sed was here");
    });
    let plan = story.plan(&Wish::default());
    assert_eq!(tell(&plan).0, ["restore notes notes@1"]);
    assert_eq!(plan.steps[0].expected.map(|looks| looks.size), Some(12));
}

#[test]
fn what_was_changed_and_then_removed_comes_back_as_it_was_before_both() {
    let story = Story::begin()
        .rm(|draft| draft.bytes(5, 1, "notes", b"spoilt"))
        .rm(|draft| draft.gone(5, 1, "notes"));
    assert_eq!(story.told().0, ["restore notes notes@1"]);
    // Of what another wrote in between nothing is lost, and it is said.
    let story = Story::begin()
        .rm(|draft| draft.bytes(5, 1, "notes", b"spoilt"))
        .vi(|draft| draft.bytes(5, 1, "notes", b"spoilt, but mine"))
        .rm(|draft| draft.gone(5, 1, "notes"));
    let (steps, conflicts) = story.told();
    assert_eq!(steps, ["restore notes notes@3"]);
    assert_eq!(conflicts, ["notes Older"]);
}

#[test]
fn a_name_of_a_file_that_has_others_becomes_a_link_again() {
    let story = Story::begin()
        .vi(|draft| draft.name(5, 2, "notes too", Kind::File))
        .rm(|draft| {
            draft.unname(1, "notes");
            let mut inode = crate::history::past::file(crate::format::record::Content::Empty, 0);
            inode.nlink = 1;
            draft.put(5, 2, "notes too", inode);
        });
    let (steps, _) = story.told();
    assert_eq!(steps[0], "link notes src/notes too");
}

/// `notes` with two times four bytes, of which rm and vi each write their own in one state, and then
/// vi these.
fn shared(later: Option<std::ops::Range<u64>>) -> Story {
    let mut story = Story::begin();
    let who = [(1, process(101, "rm")), (2, process(102, "vi"))];
    story.past.epoch("2026-11-20T10:00:30", |draft| {
        draft.bytes(5, 1, "notes", b"aaaabbbb");
        draft.done_by(&[(9, process(109, "git"))]);
    });
    story.past.epoch("2026-11-20T10:01:01", |draft| {
        draft.bytes(5, 1, "notes", b"AAAABBBB");
        draft.done_by(&who);
        draft.wrote(5, &[(1, 0..4), (2, 4..8)]);
    });
    if let Some(range) = later {
        story.past.epoch("2026-11-20T10:01:02", |draft| {
            draft.bytes(5, 1, "notes", b"AAxxBBBB");
            draft.done_by(&who[1..]);
            draft.wrote(5, &[(2, range)]);
        });
    }
    story
}

#[test]
fn bytes_that_others_wrote_elsewhere_in_a_file_stay() {
    let (steps, conflicts) = shared(None).told();
    assert_eq!(steps, ["bytes notes@2 [0..4]"]);
    assert_eq!(conflicts, [""; 0]);
    let (steps, _) = shared(Some(6..7)).told();
    assert_eq!(steps, ["bytes notes@2 [0..4]"]);
    let (steps, conflicts) = shared(Some(2..5)).told();
    assert_eq!(steps, [""; 0]);
    assert_eq!(conflicts, ["notes ChangedSince"]);
}

#[test]
fn where_nobody_knows_who_wrote_what_a_file_stays_whole() {
    let mut story = shared(None);
    // As a program before this one noted it.
    story.past.epoch("2026-11-20T10:01:05", |draft| {
        draft.bytes(5, 1, "notes", b"AAAABBBC");
        draft.done_by(&[(2, process(102, "vi"))]);
    });
    let (steps, conflicts) = story.told();
    assert_eq!(steps, [""; 0]);
    assert_eq!(conflicts, ["notes ChangedSince"]);
}

#[test]
fn what_is_as_before_again_needs_nothing() {
    let story = Story::begin()
        .rm(|draft| draft.bytes(5, 1, "notes", b"new"))
        .vi(|draft| draft.bytes(5, 1, "notes", b"old"));
    let plan = story.plan(&Wish::default());
    assert_eq!(tell(&plan), (vec![], vec![]));
    assert_eq!(plan.unchanged, 1);
}

#[test]
fn what_the_oldest_state_holds_is_never_taken_back() {
    let story = Story::begin().rm(|draft| draft.gone(4, 2, "b.rs"));
    let view = story.past.store.view();
    let at = view.newest_epoch().expect("readable").expect("one");
    let all = doings::split(&view, at, Timestamp(0), &|_, _, _| true).expect("readable");
    let touched = doings::together(&all.all, &|doing| doing.chosen);
    let plan = plan(&view, at, &touched, &Wish::default()).expect("readable");
    assert_eq!(tell(&plan).0, ["restore src/b.rs src/b.rs@1"]);
}
