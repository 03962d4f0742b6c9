//! Kinds of sets, and what of them comes back.

use super::*;
use std::collections::BTreeSet;

#[test]
fn every_kind_brings_back_every_state_and_what_was_deleted_stays_deleted() {
    for (seed, place) in [(1, Place::plain()), (2, Place::encrypted())] {
        let mut world = World::new(seed);
        let kinds = [
            Kind::Full,
            Kind::Incremental,
            Kind::Incremental,
            Kind::Differential,
            Kind::Incremental,
            Kind::Full,
            Kind::Differential,
            Kind::Differential,
            Kind::Incremental,
        ];
        let mut sets = Vec::new();
        for kind in kinds {
            for _ in 0..4 {
                world.step();
            }
            let set = send(&place, &world, kind);
            assert_eq!(set.kind == SetKind::Full, kind == Kind::Full);
            let files = &world.truth[&set.to];
            let bytes: usize = files.values().map(Vec::len).sum();
            assert_eq!(
                (set.files, set.data_bytes),
                (files.len() as u64, bytes as u64)
            );
            sets.push(set);
        }
        for set in &sets {
            let (_folder, outcome, store) = fetch(&place, set.number, false);
            let outcome = outcome.unwrap();
            assert!(outcome.is_whole && outcome.missing == 0, "{outcome:?}");
            check(&store, &world, Epoch::NONE, set.to);
        }
        // What a set needs: nothing, the one before, the full one.
        let base = |n: usize| sets[n].base;
        assert_eq!(base(0), None);
        assert_eq!(base(1), Some(sets[0].number));
        assert_eq!(base(2), Some(sets[1].number));
        assert_eq!(base(3), Some(sets[0].number));
        assert_eq!(base(4), Some(sets[3].number));
        assert_eq!(base(5), None);
        assert_eq!(base(7), Some(sets[5].number));
        // A full set shares no object with those before it.
        let names = |n: usize| -> BTreeSet<String> {
            sets[n].objects.iter().map(|object| object.name()).collect()
        };
        if place.secrecy != Secrecy::None {
            assert!(names(5).is_disjoint(&names(0)));
        }
    }
}

#[test]
fn a_file_that_was_deleted_between_two_sets_is_in_the_earlier_alone() {
    for kind in [Kind::Incremental, Kind::Differential] {
        let place = Place::encrypted();
        let mut world = World::new(3);
        world.write("kept", b"one");
        world.write("gone", b"two");
        let full = send(&place, &world, Kind::Full);
        world.write("kept", b"three");
        let between = send(&place, &world, kind);
        world.remove("gone");
        let last = send(&place, &world, kind);
        for (set, has) in [(full, true), (between, true), (last, false)] {
            let (_folder, outcome, store) = fetch(&place, set.number, false);
            outcome.unwrap();
            let found = store
                .view()
                .dirent_at(crate::id::FileId::ROOT, b"gone", set.to)
                .unwrap();
            let present =
                found.is_some_and(|(_, dirent)| dirent != crate::format::record::Dirent::Gone);
            assert_eq!(present, has, "{kind:?} {:?}", set.kind);
            check(&store, &world, Epoch::NONE, set.to);
        }
    }
}

/// What was pruned at the source between two sets must not make a deletion unknown.
#[test]
fn a_prune_between_two_sets_loses_no_deletion() {
    let place = Place::plain();
    let mut world = World::new(4);
    let first = world.write("gone", b"one");
    world.write("other", b"two");
    send(&place, &world, Kind::Full);
    let base = world.write("third", b"three");
    send(&place, &world, Kind::Incremental);
    let removed = world.remove("gone");
    world.write("other", b"four");
    for epoch in [first, Epoch(2), removed] {
        let _ = world.store.prune(epoch);
    }
    let kept = world.store.prune(base).unwrap_err().to_string();
    assert!(kept.contains("builds on it"), "{kept}");
    let set = send(&place, &world, Kind::Incremental);
    let (_folder, outcome, store) = fetch(&place, set.number, false);
    outcome.unwrap();
    world.check(&store, set.to);
    check(&store, &world, base, set.to);
}

#[test]
fn a_store_that_is_pruned_while_it_is_sent_sends_a_whole_history() {
    let place = Place::plain();
    let mut world = World::new(5);
    for _ in 0..40 {
        world.step();
    }
    let to = Epoch(40);
    let mut next = 3;
    let mut feed = Disturbed::new(feed(&world.store));
    feed.before_page = Box::new(|| {
        for _ in 0..5 {
            let _ = world.store.prune(Epoch(next));
            next += 1;
        }
    });
    let made = backup(&place.open(), &mut feed, plan(Kind::Full)).unwrap();
    let (_folder, outcome, store) = fetch(&place, made.set.unwrap().number, false);
    assert!(outcome.unwrap().is_whole);
    check(&store, &world, Epoch::NONE, to);
}

#[test]
fn mixed_sets_are_full_every_so_often_and_differential_between() {
    let place = Place::plain();
    let mut world = World::new(6);
    let mut kinds = Vec::new();
    for _ in 0..7 {
        world.step();
        let made = backup(
            &place.open(),
            &mut feed(&world.store),
            plan(Kind::Mixed { full_every: 3 }),
        );
        kinds.push(made.unwrap().set.unwrap().kind);
    }
    use SetKind::{Differential, Full};
    assert_eq!(
        kinds,
        [
            Full,
            Differential,
            Differential,
            Full,
            Differential,
            Differential,
            Full
        ]
    );
}

#[test]
fn nothing_new_makes_no_set_and_nothing_to_build_on_a_full_one() {
    let place = Place::plain();
    let mut world = World::new(7);
    world.step();
    let made = backup(
        &place.open(),
        &mut feed(&world.store),
        plan(Kind::Incremental),
    )
    .unwrap();
    assert_eq!(made.full_because, Some("there is none yet"));
    assert_eq!(made.set.unwrap().kind, SetKind::Full);
    let again = backup(
        &place.open(),
        &mut feed(&world.store),
        plan(Kind::Incremental),
    )
    .unwrap();
    assert!(again.set.is_none() && again.newest == made.newest);
}

/// Heads that hold all sets come every 32: none is lost there.
#[test]
fn many_sets_are_all_listed_and_the_last_comes_back() {
    let place = Place::plain();
    let mut world = World::new(8);
    world.step();
    send(&place, &world, Kind::Full);
    for n in 0..70 {
        world.write("file-1", format!("{n}").as_bytes());
        send(
            &place,
            &world,
            if n % 7 == 0 {
                Kind::Full
            } else {
                Kind::Incremental
            },
        );
    }
    let catalog = place.open().catalog().unwrap();
    assert_eq!(catalog.sets.len(), 71);
    let (_folder, outcome, store) = fetch(&place, catalog.newest, false);
    assert!(outcome.unwrap().is_whole);
    check(&store, &world, Epoch::NONE, Epoch(71));
}

#[test]
fn who_goes_on_elsewhere_fences_who_was_there_before() {
    let place = Place::encrypted();
    let mut world = World::new(9);
    for _ in 0..5 {
        world.step();
    }
    let set = send(&place, &world, Kind::Full);
    // A copy of it that goes on, with both alive.
    let (_folder, outcome, store) = fetch(&place, set.number, false);
    outcome.unwrap();
    let mut copy = World::on(store, 10, None);
    copy.truth = world.truth.clone();
    // Whoever sends first goes on: as long as the copy has sent nothing, the first one may.
    world.step();
    send(&place, &world, Kind::Incremental);
    copy.step();
    let late = backup(
        &place.open(),
        &mut feed(&copy.store),
        plan(Kind::Incremental),
    );
    assert!(matches!(late, Err(ArchiveError::Fenced { .. })), "{late:?}");
    // Another copy, of the newest set.
    let newest = place.open().catalog().unwrap().newest;
    let (_folder, outcome, store) = fetch(&place, newest, false);
    outcome.unwrap();
    let mut copy = World::on(store, 11, None);
    copy.truth = world.truth.clone();
    copy.step();
    let taken = send(&place, &copy, Kind::Incremental);
    assert_eq!(place.open().catalog().unwrap().lineage, 2);
    world.step();
    let before = objects_of(&place);
    let refused = backup(
        &place.open(),
        &mut feed(&world.store),
        plan(Kind::Incremental),
    );
    assert!(
        matches!(refused, Err(ArchiveError::Fenced { .. })),
        "{refused:?}"
    );
    assert_eq!(objects_of(&place), before);
    // What it has not sent it still has, and can send elsewhere.
    let elsewhere = Place::plain();
    let fork = send_first(&elsewhere, &world);
    let (_folder, outcome, store) = fetch(&elsewhere, fork, false);
    assert!(outcome.unwrap().is_whole);
    check(&store, &world, Epoch::NONE, Epoch(7));
    let (_folder, outcome, store) = fetch(&place, taken.number, false);
    assert!(outcome.unwrap().is_whole);
    check(&store, &copy, Epoch::NONE, taken.to);
}

fn send_first(place: &Place, world: &World) -> u64 {
    let made = backup(&place.open(), &mut feed(&world.store), plan(Kind::Full)).unwrap();
    made.set.unwrap().number
}

#[test]
fn of_two_that_publish_at_the_same_time_one_is_refused() {
    let place = Place::plain();
    let mut world = World::new(12);
    world.step();
    let set = send(&place, &world, Kind::Full);
    let repository = place.open();
    let catalog = repository.catalog().unwrap();
    repository
        .publish(&mut catalog.clone(), 1, set.clone())
        .unwrap();
    let second = repository.publish(&mut catalog.clone(), 1, set);
    assert!(
        matches!(second, Err(ArchiveError::Raced { .. })),
        "{second:?}"
    );
}

#[test]
fn what_was_cut_short_is_no_set_and_is_removed_by_the_next() {
    let place = Place::encrypted();
    let mut world = World::new(13);
    for _ in 0..5 {
        world.step();
    }
    let mut dying = Disturbed::new(feed(&world.store));
    // The last page never comes.
    dying.at_end = Box::new(|| Err(ArchiveError::Feed("died".to_owned())));
    let ended = backup(&place.open(), &mut dying, plan(Kind::Full));
    assert!(matches!(ended, Err(ArchiveError::Feed(_))), "{ended:?}");
    assert!(place.open().catalog().unwrap().sets.is_empty());
    assert!(
        objects_of(&place)
            .iter()
            .any(|path| relative(&place, path).starts_with("segments/"))
    );
    let made = backup(&place.open(), &mut feed(&world.store), plan(Kind::Full)).unwrap();
    assert!(made.garbage > 0, "{made:?}");
    let named = made.set.unwrap().objects.len();
    // The marker, a key, a head.
    assert_eq!(objects_of(&place).len(), named + 3);
}

#[test]
fn places_and_passwords_are_what_they_were_said_to_be() {
    let place = Place::encrypted();
    let mut world = World::new(14);
    world.write(
        "a-secret-name",
        b"a secret content, long enough to be found",
    );
    send(&place, &world, Kind::Full);
    let open = |secrecy: &Secrecy| Repository::open(place.objects(), secrecy).map(drop);
    let wrong = Secrecy::Password(Secret(b"wrong".to_vec()));
    assert!(matches!(
        open(&wrong),
        Err(ArchiveError::WrongPassword { .. })
    ));
    assert!(matches!(
        open(&Secrecy::Unsaid),
        Err(ArchiveError::NoPassword { .. })
    ));
    assert!(matches!(
        open(&Secrecy::None),
        Err(ArchiveError::NoPassword { .. })
    ));
    open(&place.secrecy).unwrap();
    let has = |place: &Place, what: &[u8]| {
        objects_of(place).iter().any(|path| {
            let bytes = std::fs::read(path).unwrap();
            bytes.windows(what.len()).any(|window| window == what)
        })
    };
    assert!(!has(&place, b"a-secret-name") && !has(&place, b"a secret content"));

    let plain = Place::plain();
    world.write("b", b"x");
    send_first(&plain, &world);
    assert!(has(&plain, b"a-secret-name") && has(&plain, b"a secret content"));
    let given = Repository::open(plain.objects(), &wrong).map(drop);
    assert!(matches!(given, Err(ArchiveError::NotEncrypted { .. })));

    let empty = Place::plain();
    let unsaid = Repository::open_or_create(empty.objects(), &Secrecy::Unsaid).map(drop);
    assert!(matches!(unsaid, Err(ArchiveError::Undecided)));
    std::fs::write(empty.path("notes.txt"), "mine").unwrap();
    let foreign = Repository::open_or_create(empty.objects(), &Secrecy::None).map(drop);
    assert!(matches!(foreign, Err(ArchiveError::Foreign { .. })));
    assert!(!empty.path("rewindfs").exists());
}

/// Two heads of one number, from two copies of the place: the next one says which it continues.
#[test]
fn a_head_that_does_not_continue_the_one_before_it_is_refused() {
    let place = Place::encrypted();
    let mut world = World::new(15);
    world.step();
    let set = send(&place, &world, Kind::Full);
    let repository = place.open();
    let catalog = repository.catalog().unwrap();
    repository
        .publish(&mut catalog.clone(), 1, set.clone())
        .unwrap();
    let head = place.path("heads/00000000000000000002");
    let other = std::fs::read(&head).unwrap();
    std::fs::remove_file(&head).unwrap();
    repository
        .publish(&mut catalog.clone(), 1, set.clone())
        .unwrap();
    repository
        .publish(&mut repository.catalog().unwrap(), 1, set)
        .unwrap();
    assert_eq!(repository.catalog().unwrap().newest, 3);
    std::fs::write(&head, other).unwrap();
    let refused = repository.catalog().unwrap_err().to_string();
    assert!(refused.contains("heads/00000000000000000003"), "{refused}");
}

/// Names change while the tree stands still: that is something new, and comes back.
#[test]
fn a_name_that_was_given_or_taken_away_since_makes_a_set() {
    let place = Place::plain();
    let mut world = World::new(16);
    let epoch = world.step();
    world.name("one", epoch);
    send(&place, &world, Kind::Full);
    world.name("two", epoch);
    let two = send(&place, &world, Kind::Incremental);
    assert_eq!((two.after, two.to), (epoch, epoch));
    world.store.rename_snapshot("one", "uno", 0).unwrap();
    let renamed = send(&place, &world, Kind::Incremental);
    // Younger than what is sent: neither its name nor the line about it goes out.
    let later = world.step();
    world.name("late", later);
    world.store.rename_snapshot("late", "later", 0).unwrap();
    let mut old = Local::new(
        Arc::clone(&world.store),
        epoch,
        "h".to_owned(),
        b"/d".to_vec(),
    );
    let full = backup(&place.open(), &mut old, plan(Kind::Full))
        .unwrap()
        .set
        .unwrap();
    for (set, names) in [
        (&two, vec!["one", "two"]),
        (&renamed, vec!["two", "uno"]),
        (&full, vec!["two", "uno"]),
    ] {
        let (_folder, outcome, store) = fetch(&place, set.number, false);
        outcome.unwrap();
        let found = store.view().snapshots().unwrap().into_iter();
        assert_eq!(found.map(|(name, _)| name).collect::<Vec<_>>(), names);
        check(&store, &world, Epoch::NONE, epoch);
    }
}

/// A name that only earlier sets know is found in the newest of these.
#[test]
fn the_names_of_each_set_are_told() {
    let place = Place::encrypted();
    let mut world = World::new(19);
    for _ in 0..30 {
        world.step();
    }
    world.name("early", Epoch(30));
    let first = send(&place, &world, Kind::Full);
    world.store.rename_snapshot("early", "late", 0).unwrap();
    world.step();
    let second = send(&place, &world, Kind::Incremental);
    let repository = place.open();
    assert!(first.of_kind(ObjectKind::Segment).count() > 2);
    assert_eq!(repository.names(&first).unwrap(), ["early"]);
    assert_eq!(repository.names(&second).unwrap(), ["late"]);
}

/// Somebody else's next set must not remove what one that is under way has sent.
#[test]
fn of_two_that_send_at_the_same_time_one_is_refused_and_the_other_whole() {
    let place = Place::plain();
    let mut world = World::new(17);
    world.step();
    send(&place, &world, Kind::Full);
    world.step();
    let mut first = Disturbed::new(feed(&world.store));
    first.at_end = Box::new(|| {
        // All that this one sends is there; now the other one begins and ends.
        std::thread::sleep(std::time::Duration::from_millis(300));
        send(&place, &world, Kind::Full);
        Ok(())
    });
    let refused = backup(&place.open(), &mut first, plan(Kind::Incremental));
    let pulled = matches!(
        refused,
        Err(ArchiveError::Pulled { .. } | ArchiveError::Raced { .. })
    );
    assert!(pulled, "{refused:?}");
    let repository = place.open();
    let catalog = repository.catalog().unwrap();
    assert_eq!(catalog.sets.len(), 2);
    let sets: Vec<&SetRecord> = catalog.sets.values().collect();
    repository.check(&sets).unwrap();
}

/// A place that is moved away while it is written to.
#[test]
fn a_place_that_went_meanwhile_has_no_set() {
    let place = Place::encrypted();
    let mut world = World::new(18);
    world.step();
    let repository = place.open();
    let mut moving = Disturbed::new(feed(&world.store));
    moving.is_lost = true;
    moving.before_begin = Box::new(|| {
        let away = place.folder.path().with_extension("away");
        std::fs::rename(place.folder.path(), away).unwrap();
    });
    let refused = backup(&repository, &mut moving, plan(Kind::Full));
    assert!(
        matches!(refused, Err(ArchiveError::Pulled { .. })),
        "{refused:?}"
    );
    std::fs::remove_dir_all(place.folder.path().with_extension("away")).unwrap();
}
