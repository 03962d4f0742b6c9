//! What a store has lost comes back from where it was sent.

use super::{backup, place, with_password};
use crate::harness::{Cmd, Run, Sandbox, noise, write};
use std::fs;
use std::os::unix::fs::FileExt;

fn verify(sandbox: &Sandbox, more: &[&str]) -> Run {
    let command = Cmd::rewindfs().arg("verify").arg(sandbox.work()).args(more);
    with_password(command).run()
}

/// Bits flip in the largest file of the database, which holds content.
fn damage(sandbox: &Sandbox) {
    let entries = fs::read_dir(sandbox.store().join("rocks")).expect("the database");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "sst"));
    let largest = files.max_by_key(|path| fs::metadata(path).expect("there").len());
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(largest.expect("a file"));
    let file = file.expect("it opens");
    let size = file.metadata().expect("there").len();
    for part in [3, 9, 14] {
        let mut byte = [0];
        file.read_exact_at(&mut byte, size / 16 * part)
            .expect("a byte");
        file.write_all_at(&[byte[0] ^ 0x20], size / 16 * part)
            .expect("written");
    }
}

#[test]
fn what_the_store_has_lost_comes_back_from_where_it_was_sent() {
    for is_mounted in [false, true] {
        let sandbox = Sandbox::new(if is_mounted { "mend-mounted" } else { "mend" });
        let mounted = sandbox.mount("");
        write(mounted.join("goes"), noise(1, 3 << 20));
        mounted.snapshot("one");
        backup(&sandbox, &[]).ok();
        fs::remove_file(mounted.join("goes")).expect("rm");
        mounted.snapshot("two");
        mounted.umount();
        sandbox.mount("").umount();
        damage(&sandbox);
        let mounted = is_mounted.then(|| sandbox.mount(""));
        verify(&sandbox, &["--data"])
            .exits(1)
            .says("the content of a file can't be read");
        let url = place(&sandbox);
        let url = url.to_str().expect("text");
        let run = verify(&sandbox, &["--repair", "--from", url]);
        run.says("came back from file://");
        if let Some(mounted) = mounted {
            mounted.umount();
            verify(&sandbox, &["--repair"]);
        }
        verify(&sandbox, &["--data"]).ok().says("no problem found");
        let mounted = sandbox.mount("");
        let read = fs::read(mounted.past("one", "goes")).expect("it is there");
        assert!(read == noise(1, 3 << 20));
        mounted.umount();
    }
}

/// A bit flips in the first block of each file of the database with files, names or lines of change.
fn damage_records(sandbox: &Sandbox) -> usize {
    let entries = fs::read_dir(sandbox.store().join("rocks")).expect("the database");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let mut damaged = 0;
    for path in files.filter(|path| path.extension().is_some_and(|end| end == "sst")) {
        let mut bytes = fs::read(&path).expect("a file");
        // Each file says at its end of which family it is.
        let says = |name: &&str| {
            bytes
                .windows(name.len())
                .any(|part| part == name.as_bytes())
        };
        if !["inodes", "dirents", "changes"].iter().any(says) {
            continue;
        }
        bytes[60] ^= 0x10;
        fs::write(&path, bytes).expect("written");
        damaged += 1;
    }
    damaged
}

#[test]
fn records_that_are_lost_come_back_as_well() {
    let sandbox = Sandbox::new("mend-records");
    let mounted = sandbox.mount("");
    for n in 0..50 {
        write(mounted.join(&format!("file{n}")), noise(n, 3000));
    }
    mounted.snapshot("one");
    for n in 0..25 {
        fs::remove_file(mounted.join(&format!("file{n}"))).expect("rm");
        write(mounted.join(&format!("file{}", n + 25)), noise(n, 300));
    }
    mounted.snapshot("two");
    backup(&sandbox, &[]).ok();
    mounted.umount();
    sandbox.mount("").umount();
    let damaged = damage_records(&sandbox);
    assert!(damaged >= 3, "only {damaged} files");
    let url = place(&sandbox);
    let run = verify(
        &sandbox,
        &["--repair", "--from", url.to_str().expect("text")],
    );
    run.says("records").says("came back from file://");
    verify(&sandbox, &["--data"]).ok().says("no problem found");
    let mounted = sandbox.mount("");
    for n in 0..50 {
        let name = format!("file{n}");
        let read = fs::read(mounted.past("one", &name)).expect("it is there");
        assert!(read == noise(n, 3000), "{name} in the first");
        match fs::read(mounted.past("two", &name)) {
            Ok(read) => assert!(
                n >= 25 && read == noise(n - 25, 300),
                "{name} in the second"
            ),
            Err(error) => assert!(
                n < 25 && error.raw_os_error() == Some(libc::ENOENT),
                "{error}"
            ),
        }
    }
    mounted.umount();
}
