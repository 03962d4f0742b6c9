//! What comes first of a directory that is in use while it is recovered.

use super::*;
use crate::elsewhere::resume::Opened;

/// Files of a pack of their own.
fn part(name: &'static str) -> impl Fn(&Path) {
    move |work: &Path| {
        fs::create_dir_all(work.join(name)).expect("mkdir");
        for n in 0..3 {
            let seed = name.bytes().map(u64::from).sum::<u64>() + n;
            write(work.join(format!("{name}/file-{n}")), noise(seed, 30_000));
        }
    }
}

fn packs(place: &Path) -> Vec<String> {
    let line = "find packs -type f -printf '%f\n' | sort";
    let found = Cmd::sh(line).within(place).run().ok();
    found.lines().into_iter().map(str::to_owned).collect()
}

/// The packs in the order in which they were first opened, where `db`, which was sent last, is wanted
/// first.
fn order(name: &str, stored: bool) -> (Vec<String>, String) {
    let parts = ["one", "two", "three", "four", "db"].map(part);
    let all: Vec<&dyn Fn(&Path)> = parts[..4].iter().map(|part| part as _).collect();
    let world = World::new(name, &all);
    let before = packs(&world.place());
    // What is kept with the records comes with the next set.
    parts[4](&world.source.work());
    let mounted = world.source.mount("");
    if stored {
        let policy = mounted.command("policy").args(["--first", "db/"]);
        policy.run().ok();
    }
    mounted.snapshot("last");
    mounted.umount();
    let backup = Cmd::rewindfs().arg("backup").arg(world.source.work());
    let backup = backup.arg("--to").arg(world.place());
    backup.env("REWINDFS_PASSWORD", PASSWORD).run().ok();
    let of_db: Vec<String> = packs(&world.place())
        .into_iter()
        .filter(|pack| !before.contains(pack))
        .collect();
    let [of_db] = &of_db[..] else {
        panic!("{of_db:?}");
    };
    world.hold("somebody waits for it");
    let more = match stored {
        true => &["--jobs", "1"][..],
        false => &["--jobs", "1", "--first", "db/"][..],
    };
    let opened = Opened::watch(&world.place().join("packs"));
    world.recover(more).ok();
    let mounted = world.found();
    for part in ["one", "two"] {
        read(mounted.join(&format!("{part}/file-0")));
    }
    // Meanwhile it is known what is wanted: nothing outside tells when.
    std::thread::sleep(std::time::Duration::from_secs(3));
    world.let_go();
    wait_until_all_is_here(&mounted);
    assert_eq!(
        Tree::read(&world.source.work()).differences(&Tree::read(&world.dir()), RECOVERED),
        Vec::<String>::new()
    );
    mounted.umount();
    let mut order: Vec<String> = Vec::new();
    for pack in opened.take() {
        if !order.contains(&pack) {
            order.push(pack);
        }
    }
    (order, of_db.clone())
}

#[test]
fn what_is_said_to_come_first_comes_before_the_rest() {
    for (name, stored) in [("hot-first", false), ("hot-policy-first", true)] {
        let (order, of_db) = order(name, stored);
        // Behind what somebody waited for.
        assert_eq!(order.len(), 5, "{name}: {order:?}");
        assert_eq!(order[2], of_db, "{name}: {order:?}");
    }
}
