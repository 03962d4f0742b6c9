//! The place does not answer any more, or lacks something.

use super::*;
use crate::harness::sys::errno;

fn large(work: &Path) {
    fs::create_dir(work.join("dir")).expect("mkdir");
    write(work.join("dir/unread"), noise(1, 500_000));
    write(work.join("dir/emptied"), noise(3, 500_000));
    write(work.join("dir/removed"), noise(4, 500_000));
}

#[test]
fn without_its_place_what_is_here_works_and_it_goes_on_when_that_is_back() {
    let world = World::new("hot-gone", &[&large, &simple]);
    let mounted = world.held("somebody waits for it");
    assert_eq!(text(mounted.join("dir-1/deeper/leaf")), "leaf 1");
    let away = world.source.join("away");
    fs::rename(world.place(), &away).expect("mv");
    let unread = || fs::read(mounted.join("dir/unread"));
    assert_eq!(errno(&unread()), libc::EIO);
    // All else works.
    assert_eq!(read(mounted.join("dir-1/file-2")), noise(12, 20_000));
    assert_eq!(
        fs::metadata(mounted.join("dir/unread"))
            .expect("stat")
            .len(),
        500_000
    );
    write(mounted.join("dir/made"), "made");
    write(mounted.join("dir/emptied"), "new");
    fs::remove_file(mounted.join("dir/removed")).expect("rm");
    fs::rename(mounted.join("dir/unread"), mounted.join("dir/moved")).expect("mv");
    mounted.snapshot("meanwhile");
    wait_for("what was emptied and removed to count no more", || {
        filling(&mounted).is_some_and(|left| left["files"] == 1)
    });
    let status = mounted.command("status").run().exits(1);
    status
        .says("nothing comes from file://")
        .says("1 file, 500000 bytes");
    let told = filling(&mounted).expect("it is under way");
    assert!(told["trouble"].is_string(), "{told}");
    let log = text(world.store().join("log"));
    assert!(!log.contains("the disk of the live files fails"), "{log}");
    fs::rename(away, world.place()).expect("mv");
    world.let_go();
    wait_until_all_is_here(&mounted);
    mounted.command("status").run().ok();
    assert_eq!(read(mounted.join("dir/moved")), noise(1, 500_000));
    assert_eq!(text(mounted.join("dir/emptied")), "new");
    assert!(!mounted.join("dir/removed").exists());
    for n in [1, 3, 4] {
        let name = ["unread", "", "emptied", "removed"][n - 1];
        assert_eq!(
            read(mounted.past("sent", &format!("dir/{name}"))),
            noise(n as u64, 500_000)
        );
    }
    mounted.umount();
}

/// An object that is lost costs the files that need it, and is asked for again.
#[test]
fn an_object_that_is_missing_is_named_and_comes_when_it_is_there_again() {
    let world = World::new("hot-missing", &[&large, &simple]);
    let listed = Cmd::sh("ls -1S */* | head -1").within(world.place().join("packs"));
    let pack = listed.run().ok().lines()[0].to_owned();
    let bytes = read(world.place().join("packs").join(&pack));
    let mounted = world.held("");
    let mut wrong = bytes.clone();
    wrong[500] ^= 1;
    write(world.place().join("packs").join(&pack), wrong);
    world.let_go();
    wait_for("the others", || {
        let told = filling(&mounted).expect("it is under way");
        told["lost"].as_array().is_some_and(|lost| lost.len() == 1) && told["files"] == 3
    });
    let status = mounted.command("status").run().exits(1);
    status.says("can't be had").says(&pack);
    assert_eq!(errno(&fs::read(mounted.join("dir/unread"))), libc::EIO);
    assert_eq!(read(mounted.join("dir-3/file-4")), noise(34, 20_000));
    mounted.try_umount().exits(2).says("3 files");
    write(world.place().join("packs").join(&pack), bytes);
    wait_until_all_is_here(&mounted);
    mounted.command("status").run().ok();
    world
        .whole
        .must_equal(&Tree::read(&world.dir()), RECOVERED, "the directory");
    mounted.umount();
}
