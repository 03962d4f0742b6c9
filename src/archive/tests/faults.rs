//! A place to which things happen: whatever is said, what is there is right or clearly not there, and
//! what comes back is what was sent.

use super::faulty::Faulty;
use super::*;

/// Tries after which something must have worked, however many calls fail.
const TRIES: u64 = 200;

fn errs_clearly(error: &ArchiveError, seed: u64) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.contains('\n'), "{seed}: {text}");
    assert!(
        !matches!(error, ArchiveError::Store(_)),
        "{seed}: the store is at fault: {text}"
    );
}

/// All sets that are listed are whole, and the newest is what the world was.
fn nothing_wrong_is_there(place: &Place, repository: &Repository, world: &World, seed: u64) {
    let catalog = repository
        .catalog()
        .unwrap_or_else(|error| panic!("{seed}: {error}"));
    let sets: Vec<&SetRecord> = catalog.sets.values().collect();
    let lacking = repository.held().unwrap().lacking(&sets);
    assert!(lacking.is_empty(), "{seed}: {lacking:?}");
    let Some(newest) = sets.last() else { return };
    let store = Store::in_memory().unwrap();
    let outcome = gather(repository, &catalog, newest.number, &store, false, &|| {
        false
    });
    let outcome =
        outcome.unwrap_or_else(|error| panic!("{seed}: {}: {error}", place.path("").display()));
    assert!(
        outcome.is_whole && outcome.missing == 0,
        "{seed}: {outcome:?}"
    );
    world.check(&store, newest.to);
}

/// A chain of sets is made, and comes back, over a place of which so many percent of all calls go
/// wrong.
fn survives(place: &Place, seed: u64, percent: u32, checks: bool) {
    let mut world = World::on(Store::in_memory().unwrap(), seed, None);
    world.step();
    // The repository itself was made in peace: its own making is tried elsewhere.
    let sound = place.open();
    let faulty = Faulty::new(place.folder.path(), seed, percent);
    let mut through = sound.over(faulty.objects(checks));
    let continuous = Kind::Continuous {
        keep: std::time::Duration::ZERO,
    };
    let kinds = [
        Kind::Full,
        Kind::Incremental,
        Kind::Differential,
        Kind::Incremental,
        Kind::Mixed { full_every: 3 },
        continuous,
        continuous,
        continuous,
        continuous,
    ];
    for (n, kind) in kinds.into_iter().enumerate() {
        for _ in 0..2 {
            world.step();
        }
        let confirm = [Confirm::Read, Confirm::Checksum, Confirm::None][n % 3];
        for attempt in 0.. {
            assert!(attempt < TRIES, "{seed}: nothing works");
            let plan = Plan {
                confirm,
                ..plan(kind)
            };
            let made = backup(&through, &mut feed(&world.store), plan);
            nothing_wrong_is_there(place, &sound, &world, seed);
            match made {
                Ok(_) => break,
                Err(error) => errs_clearly(&error, seed),
            }
            through = sound.over(faulty.objects(checks));
        }
    }
    // And back, through the same.
    let store = Store::in_memory().unwrap();
    for attempt in 0.. {
        assert!(attempt < TRIES, "{seed}: nothing comes back");
        let catalog = match through.catalog() {
            Ok(catalog) => catalog,
            Err(error) => {
                errs_clearly(&error, seed);
                continue;
            }
        };
        assert_eq!(catalog.newest, sound.catalog().unwrap().newest, "{seed}");
        let newest = *catalog.sets.keys().next_back().unwrap();
        match gather(&through, &catalog, newest, &store, false, &|| false) {
            Ok(outcome) => {
                assert!(
                    outcome.is_whole && outcome.missing == 0,
                    "{seed}: {outcome:?}"
                );
                let to = catalog.sets[&newest].to;
                check(&store, &world, Epoch::NONE, to);
                break;
            }
            Err(error) => errs_clearly(&error, seed),
        }
    }
}

#[test]
fn whatever_a_place_does_nothing_wrong_is_there_and_nothing_wrong_comes_back() {
    for seed in 0..120 {
        let percent = [2, 5, 15][seed as usize % 3];
        survives(&Place::plain(), seed, percent, seed % 2 == 0);
    }
    for seed in 1000..1004 {
        survives(&Place::encrypted(), seed, 10, seed % 2 == 0);
    }
}

/// Also while the repository is being made: it is one afterwards, or an empty place that becomes one.
#[test]
fn a_repository_that_was_made_while_things_went_wrong_is_one_or_is_made_again() {
    for seed in 0..200 {
        let place = Place::plain();
        let faulty = Faulty::new(place.folder.path(), seed, 40);
        let mut tries = 0;
        let id = loop {
            tries += 1;
            assert!(tries < TRIES, "{seed}");
            match Repository::open_or_create(faulty.objects(false), &Secrecy::None) {
                Ok(repository) => break repository.id,
                Err(error) => errs_clearly(&error, seed),
            }
        };
        assert_eq!(place.open().id, id, "{seed}");
    }
}
