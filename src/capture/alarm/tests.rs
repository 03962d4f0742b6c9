//! Who is one actor, what counts, and for how long.

use super::*;

fn actor(tgid: u32, comm: &str, ancestors: &[(u32, &str)]) -> Actor {
    let ancestors = ancestors.iter();
    Actor {
        tgid,
        start: 0,
        boot: [0; 16],
        uid: 1000,
        comm: comm.into(),
        command: Vec::new(),
        run: 0,
        ancestors: ancestors
            .map(|(pid, comm)| (*pid, comm.as_bytes().to_vec()))
            .collect(),
    }
}

#[test]
fn what_one_command_and_one_shell_start_is_one_actor() {
    let typed = |tgid| Key::of(&actor(tgid, "rm", &[(5, "bash")]));
    assert_eq!(typed(7), typed(8), "a loop in a shell");
    let found = |tgid| Key::of(&actor(tgid, "rm", &[(6, "find"), (5, "bash")]));
    assert_eq!(found(7), found(8));
    assert_ne!(typed(7), found(7));
    assert_eq!(found(7).job(), b"find");
    let other = Key::of(&actor(7, "rm", &[(9, "bash")]));
    assert_ne!(typed(7), other, "another terminal");
}

#[test]
fn below_is_by_whole_names() {
    assert!(is_at_or_below(b"a/b", b"a") && is_at_or_below(b"a", b"a"));
    assert!(is_at_or_below(b"a", b""));
    assert!(!is_at_or_below(b"ab", b"a") && !is_at_or_below(b"", b"a"));
}

#[test]
fn one_file_counts_once_however_often_it_is_saved() {
    let folder = FileId(1);
    let mut step = Step {
        time: Timestamp(0),
        epoch: Epoch(1),
        files: 2,
        folders: HashMap::from([(folder, 2)]),
        known: HashMap::from([(FileId(7), folder), (FileId(8), folder)]),
    };
    step.forget(&HashMap::from([(FileId(8), folder), (FileId(9), folder)]));
    assert_eq!((step.files, step.folders[&folder]), (1, 1));
    step.forget(&HashMap::from([(FileId(8), folder)]));
    assert_eq!(step.files, 1);
}

#[test]
fn what_was_done_long_ago_does_not_count() {
    let mut course = Course::default();
    let at = |seconds: i64| Timestamp(seconds * 1_000_000_000);
    for second in [0, 4, 8] {
        let step = || Step {
            time: at(second),
            epoch: Epoch(1),
            files: 10,
            folders: HashMap::new(),
            known: HashMap::new(),
        };
        course.destroyed.push_back(step());
        course.scrambled.push_back(step());
    }
    course.age(at(13));
    assert_eq!(Course::total(&course.destroyed), 20);
    assert_eq!(Course::total(&course.scrambled), 30);
    course.age(at(1_000_000));
    assert!(course.is_over());
}

#[test]
fn a_process_has_no_name_for_everybody() {
    let alarm = Alarm {
        kind: AlarmKind::Destroyed,
        files: 12,
        folder: b"secret".to_vec(),
        tgid: 7,
        comm: b"secret (pid 3".to_vec(),
        job: Vec::new(),
        before: None,
        until: None,
    };
    let words = words(&alarm, 1000);
    assert!(
        words.starts_with("secret (pid 3 (pid 7, uid 1000)"),
        "{words}"
    );
    assert_eq!(
        words_for_all(&words),
        "a process (pid 7, uid 1000) deleted or overwrote 12 files"
    );
    assert_eq!(words_for_all("somebody unknown x"), "somebody unknown x");
}
