//! Sets that keep a replica up to date: whatever takes the place of whatever, the newest state and the
//! past that the store keeps come back, few sets are needed for it, and little is asked of the place.

use super::faulty::Faulty;
use super::*;
use crate::archive::object::FULL_HEAD;
use crate::time::Timestamp;
use std::time::Duration;

const CONTINUOUS: Kind = Kind::Continuous {
    keep: Duration::ZERO,
};

fn noise(bytes: usize) -> Vec<u8> {
    let mut seed = 7_u64;
    let next = |_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    (0..bytes).map(next).collect()
}

fn push(repository: &Repository, world: &World) -> SetRecord {
    let made = backup(repository, &mut feed(&world.store), plan(CONTINUOUS)).unwrap();
    made.set.expect("something has happened")
}

/// What comes back of a set is the history that the store keeps.
fn comes_back(place: &Place, set: u64, world: &World) {
    let (_folder, outcome, store) = fetch(place, set, false);
    let outcome = outcome.unwrap();
    assert!(outcome.is_whole && outcome.missing == 0, "{outcome:?}");
    let to = place.open().catalog().unwrap().sets[&set].to;
    let view = store.view();
    for (epoch, ..) in view.epochs(Epoch::NONE, Epoch::MAX, 1000).unwrap() {
        world.check(&store, epoch);
    }
    assert_eq!(view.newest_epoch().unwrap(), Some(to));
}

#[test]
fn many_sets_after_each_other_need_few_and_all_comes_back() {
    let place = Place::encrypted();
    let mut world = World::new(61);
    world.write("big", &noise(3 << 20));
    let mut repository = place.open();
    let first = push(&repository, &world);
    let big = first.of_kind(ObjectKind::Pack).next().unwrap().name();
    let (mut asked, mut fulls, mut longest) = (None, 0, 0);
    for n in 1..=150_u64 {
        world.step();
        if n == 40 {
            let made = backup(
                &repository,
                &mut feed(&world.store),
                plan(Kind::Incremental),
            );
            asked = made.unwrap().set;
            continue;
        }
        if n % 50 == 0 {
            // The process begins anew.
            repository = place.open();
        }
        let set = push(&repository, &world);
        fulls += usize::from(set.kind == SetKind::Full);
        let catalog = repository.catalog().unwrap();
        let chain = repository.chain(&catalog, set.number).unwrap();
        longest = longest.max(chain.len());
        if n % 15 == 0 {
            comes_back(&place, set.number, &world);
            // Of what is recorded only some states are kept.
            for epoch in (1..=n).filter(|epoch| epoch % 4 != 0) {
                let epoch = Epoch(epoch);
                let sent = world.store.all_sent().unwrap();
                let is_base = |sent: &Sent| sent.epoch == epoch || sent.full_epoch == epoch;
                if world.store.view().epoch(epoch).unwrap().is_some() && !sent.iter().any(is_base) {
                    world.store.prune(epoch).unwrap();
                }
            }
        }
    }
    assert!(longest <= 16, "{longest} sets are needed");
    assert!((1..=20).contains(&fulls), "{fulls} full sets");
    let catalog = place.open().catalog().unwrap();
    assert!(catalog.sets.len() < 80, "{} sets", catalog.sets.len());
    let held = place.open().held().unwrap();
    assert!(
        held.names().count() < 300,
        "{} objects",
        held.names().count()
    );
    let heads = std::fs::read_dir(place.path("heads")).unwrap().count();
    assert!(heads <= 64, "{heads} heads");
    let asked = asked.unwrap().number;
    assert!(catalog.sets[&asked].asked);
    comes_back(&place, asked, &world);
    comes_back(&place, catalog.newest, &world);
    // What is large was sent once.
    let newest = repository.chain(&catalog, catalog.newest).unwrap();
    assert!(newest[0].number > 1, "it took the place of the first");
    let objects = newest.iter().flat_map(|set| &set.objects);
    assert!(objects.map(ObjectRecord::name).any(|name| name == big));
}

#[test]
fn a_set_that_nobody_asked_for_costs_few_requests() {
    let place = Place::plain();
    let mut world = World::new(62);
    world.step();
    place.open();
    let faulty = Faulty::new(place.folder.path(), 0, 0);
    let repository = Repository::open(faulty.objects(true), &place.secrecy).unwrap();
    push(&repository, &world);
    let mut all = 0;
    for n in 0..60_u64 {
        world.write("file", n.to_string().as_bytes());
        faulty.forget_counts();
        let set = push(&repository, &world);
        let looks = set.number.is_multiple_of(FULL_HEAD);
        let lists = faulty.count("list", "packs");
        assert_eq!(lists > 0, looks, "{lists} lists at {}", set.number);
        all += ["packs", "indexes", "segments", "heads", "rewindfs"]
            .map(|folder| {
                faulty.count("get", folder)
                    + faulty.count("list", folder)
                    + faulty.count("put", folder)
            })
            .iter()
            .sum::<u64>();
    }
    // Three objects and a head, each put and looked for, the head also before and read back, the marker
    // read twice; now and then indexes of what is taken the place of.
    assert!(all < 60 * 15, "{all} requests for 60 sets");
}

#[test]
fn what_was_purged_is_not_taken_over() {
    let place = Place::plain();
    let mut world = World::new(65);
    // They go into one pack.
    world.write("kept", b"it stays");
    let made = world.write("secret", &noise(2 << 20));
    let repository = place.open();
    let first = push(&repository, &world);
    let pack = first.of_kind(ObjectKind::Pack).next().unwrap().name();
    let root = crate::id::FileId::ROOT;
    let named = world.store.view().list_at(root, made, None, 9).unwrap();
    let secret = named.iter().find(|(name, ..)| name == b"secret").unwrap().1;
    let target = crate::store::purge::Target::Files([secret].into());
    let plan = world.store.plan_purge(&target, &|| true).unwrap();
    world.store.purge(&plan, "leaked", 0, &|| true).unwrap();
    world.remove("secret");
    // Until there is a full set in the place of the first.
    for n in 0..100 {
        world.step();
        let set = push(&repository, &world);
        if set.kind == SetKind::Full {
            assert!(set.objects.iter().all(|object| object.name() != pack));
            let (_folder, outcome, _store) = fetch(&place, set.number, false);
            let outcome = outcome.unwrap();
            assert!(outcome.is_whole && outcome.missing == 0, "{outcome:?}");
            return;
        }
        assert!(n < 99, "none was full");
    }
}

#[test]
fn what_is_gone_from_a_place_is_noticed_and_sent_again() {
    let place = Place::plain();
    let mut world = World::new(63);
    world.write("big", &noise(2 << 20));
    let repository = place.open();
    push(&repository, &world);
    world.step();
    push(&repository, &world);
    std::fs::remove_dir_all(place.path("packs")).unwrap();
    for _ in 0..40 {
        world.step();
        push(&repository, &world);
    }
    let newest = repository.catalog().unwrap().newest;
    comes_back(&place, newest, &world);
}

#[test]
fn somebody_else_who_writes_meanwhile_is_noticed() {
    let place = Place::plain();
    let mut world = World::new(64);
    let (one, other) = (place.open(), place.open());
    for n in 0..40 {
        world.step();
        push(if n % 3 == 0 { &other } else { &one }, &world);
    }
    let newest = one.catalog().unwrap().newest;
    assert_eq!(newest, 40);
    comes_back(&place, newest, &world);
}

#[test]
fn sets_go_but_for_some_of_each_time_and_those_that_were_asked_for() {
    let hour = 3600 * 1_000_000_000_i64;
    let set = |number: u64, made: i64, base: Option<u64>, asked: bool| {
        let record = SetRecord {
            number,
            kind: if base.is_some() {
                SetKind::Incremental
            } else {
                SetKind::Full
            },
            base,
            store: [1; 16],
            host: String::new(),
            dir: Vec::new(),
            after: Epoch::NONE,
            to: Epoch(number),
            time: Timestamp(made),
            made: Timestamp(made),
            state: Hash([0; 32]),
            seal: Hash([0; 32]),
            files: 0,
            data_bytes: 0,
            set_bytes: 0,
            asked,
            objects: Vec::new(),
        };
        (number, record)
    };
    let now = 1_000_000 * hour;
    let mut catalog = Catalog {
        sets: [
            // Sixty days old, and asked for; what it needs.
            set(1, now - 1500 * hour, None, false),
            set(2, now - 1450 * hour, Some(1), true),
            set(3, now - 1440 * hour, Some(1), false),
            // Of one day, ten days ago.
            set(4, now - 240 * hour, None, false),
            set(5, now - 239 * hour, Some(4), false),
            set(6, now - 238 * hour, None, false),
            // Of today: two of one hour, one of another.
            set(7, now - 5 * hour + 1, Some(6), false),
            set(8, now - 5 * hour + 2, Some(6), false),
            set(9, now - 2 * hour, Some(8), false),
            // The last, and what the next will build on.
            set(10, now, Some(6), false),
        ]
        .into(),
        ..Catalog::default()
    };
    let numbers = |catalog: &Catalog| catalog.sets.keys().copied().collect::<Vec<_>>();
    let month = Duration::from_secs(30 * 24 * 3600);
    catalog.drop_superseded(Some(10), month, Timestamp(now));
    assert_eq!(numbers(&catalog), [1, 2, 6, 8, 9, 10]);
    catalog.drop_superseded(Some(10), Duration::ZERO, Timestamp(now + 100 * hour));
    assert_eq!(numbers(&catalog), [1, 2, 6, 10]);
}
