//! What one place does not give, another one does.

use super::faulty::Faulty;
use super::*;
use crate::limits;

struct Two {
    world: World,
    one: Place,
    other: Place,
    last: SetRecord,
}

/// The same history in two places that know nothing of each other.
fn two() -> Two {
    let (one, other) = (Place::plain(), Place::encrypted());
    let mut world = World::new(41);
    let mut last = None;
    for n in 0..4 {
        for _ in 0..3 {
            world.step();
        }
        let made = backup(
            &one.open(),
            &mut feed(&world.store),
            plan(Kind::Incremental),
        );
        last = made.unwrap().set;
        if n % 2 == 1 {
            let made = backup(
                &other.open(),
                &mut feed(&world.store),
                plan(Kind::Incremental),
            );
            made.unwrap();
        }
    }
    let last = last.unwrap();
    Two {
        world,
        one,
        other,
        last,
    }
}

fn gather_with(
    repository: &Repository,
    number: u64,
    others: &[Other<'_>],
) -> (Result<Outcome>, Arc<Store>) {
    let catalog = repository.catalog().unwrap();
    let store = Store::in_memory().unwrap();
    let gather = Gather {
        source: Source::new(repository, others),
        catalog: &catalog,
        number,
        store: &store,
        partial: false,
        records_only: false,
        is_part: false,
        progress: &|_| (),
        cancelled: &|| false,
        jobs: Jobs::default(),
    };
    let outcome = gather.begin().and_then(|mut gathering| {
        gathering.rest()?;
        gathering.end()
    });
    (outcome, store)
}

fn packs(set: &SetRecord) -> Vec<String> {
    set.of_kind(ObjectKind::Pack)
        .map(ObjectRecord::name)
        .collect()
}

#[test]
fn what_is_missing_or_wrong_in_one_place_comes_from_another() {
    let Two {
        world,
        one,
        other,
        last,
    } = two();
    let catalog = one.open().catalog().unwrap();
    let all: Vec<String> = catalog.sets.values().flat_map(packs).collect();
    std::fs::remove_file(one.path(&all[0])).unwrap();
    let bytes = std::fs::read(one.path(&all[1])).unwrap();
    std::fs::write(one.path(&all[1]), &bytes[..bytes.len() / 2]).unwrap();
    let mut flipped = std::fs::read(one.path(&all[2])).unwrap();
    flipped[40] ^= 1;
    std::fs::write(one.path(&all[2]), flipped).unwrap();
    let repository = one.open();
    let (alone, _) = gather_with(&repository, last.number, &[]);
    assert!(alone.unwrap_err().is_of_object());
    let elsewhere = other.open();
    let sets = elsewhere.catalog().unwrap();
    let (outcome, store) = gather_with(&repository, last.number, &[Other::new(&elsewhere, &sets)]);
    let outcome = outcome.unwrap();
    assert!(outcome.is_whole && outcome.missing == 0, "{outcome:?}");
    check(&store, &world, Epoch::NONE, last.to);
}

/// A place that says nothing is waited for a few times, not for each object.
#[test]
fn a_place_that_does_not_answer_costs_time_and_not_the_recovery() {
    let Two {
        world,
        one,
        other,
        last,
    } = two();
    let faulty = Faulty::new(one.folder.path(), 0, 0);
    let objects = Arc::into_inner(faulty.objects(false)).unwrap();
    let silent = one
        .open()
        .over(Arc::new(objects.patient_for(limits::PATIENCE)));
    faulty.be_silent_of("packs");
    let (alone, _) = gather_with(&silent, last.number, &[]);
    let alone = alone.unwrap_err().to_string();
    assert!(alone.contains("no answer in 1 s"), "{alone}");
    let elsewhere = other.open();
    let sets = elsewhere.catalog().unwrap();
    let others = [Other::new(&elsewhere, &sets)];
    let (outcome, store) = gather_with(&silent, last.number, &others);
    assert!(outcome.unwrap().is_whole);
    check(&store, &world, Epoch::NONE, last.to);
}

/// A copy of a place has the same records, too.
#[test]
fn records_that_are_missing_come_from_a_copy_of_the_place() {
    let Two {
        world, one, last, ..
    } = two();
    let copy = Place::plain();
    for path in objects_of(&one) {
        let to = copy.path(relative(&one, &path));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&path, to).unwrap();
    }
    for object in &last.objects {
        std::fs::remove_file(one.path(&object.name())).unwrap();
    }
    let (repository, elsewhere) = (one.open(), copy.open());
    let (alone, _) = gather_with(&repository, last.number, &[]);
    assert!(alone.unwrap_err().is_of_object());
    let sets = elsewhere.catalog().unwrap();
    let (outcome, store) = gather_with(&repository, last.number, &[Other::new(&elsewhere, &sets)]);
    assert!(outcome.unwrap().is_whole);
    check(&store, &world, Epoch::NONE, last.to);
}

#[test]
fn passwords_come_and_go_and_the_last_one_stays() {
    let place = Place::encrypted();
    let repository = place.open();
    let other = Secret(b"other".to_vec());
    let open =
        |password: &Secret| Repository::open(place.objects(), &Secrecy::Password(password.clone()));
    let first = repository.passwords().unwrap()[0].name.clone();
    let last = repository.remove_password(&first);
    assert!(
        matches!(last, Err(ArchiveError::LastPassword { .. })),
        "{last:?}"
    );
    let changed = repository.change_password(&other).unwrap();
    assert!(open(&Secret(b"secret".to_vec())).is_err());
    let again = open(&other).unwrap();
    assert_eq!(again.id, repository.id);
    let slots = again.passwords().unwrap();
    assert!(slots.len() == 1 && slots[0].is_given && slots[0].name == changed);
}
