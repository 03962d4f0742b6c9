//! What live operations cost, counted: the system calls that the event loops make for each. A new
//! one is a cost for everybody who works in the tree: whoever needs it raises the number here.

use crate::harness::calls::{Calls, counted};
use crate::harness::mount::Mounted;
use crate::harness::{Sandbox, write};
use std::fs;

const FILES: u64 = 200;
/// What is asked and answered, and who wakes whom: counted by itself.
const TRAFFIC: [i64; 4] = [
    libc::SYS_read,
    libc::SYS_writev,
    libc::SYS_futex,
    libc::SYS_sched_yield,
];

/// Calls for each file, in hundredths: requests, and all others.
/// Once in a second /proc is asked who it is: the bounds below leave room for that, not for one more
/// call for each file.
fn for_each(calls: &Calls) -> (u64, u64) {
    let requests = calls.get(&libc::SYS_writev).copied().unwrap_or(0);
    let others = calls
        .iter()
        .filter(|(number, _)| !TRAFFIC.contains(number))
        .map(|(_, count)| *count);
    (requests * 100 / FILES, others.sum::<u64>() * 100 / FILES)
}

fn count(mount: &Mounted, what: &str, at_most: (u64, u64), work: impl FnOnce()) {
    let [daemon] = mount.daemons()[..] else {
        panic!("one process serves it")
    };
    let calls = counted(daemon, "fuser-", work);
    let (requests, others) = for_each(&calls);
    println!("{what}: {requests} and {others}: {calls:?}");
    assert!(
        requests <= at_most.0 && others <= at_most.1,
        "{what}: {requests} requests and {others} other calls for 100 files, not {at_most:?}: {calls:?}"
    );
}

#[test]
fn a_file_takes_no_more_system_calls_than_it_must() {
    let sandbox = Sandbox::new("cost");
    let mount = sandbox.mount("");
    mount.settled();
    let (from, to) = (mount.join("from"), mount.join("to"));
    fs::create_dir(&from).expect("a folder");
    let path = |n: u64| from.join(format!("file-{n:04}"));
    write(from.join("first"), "what is the first costs more");
    count(&mount, "to make and write", (520, 780), || {
        for n in 0..FILES {
            write(path(n), "some bytes");
        }
    });
    let look = || {
        for n in 0..FILES {
            fs::metadata(path(n)).expect("it is there");
        }
    };
    count(&mount, "to look after a write", (110, 110), look);
    count(&mount, "to look again", (5, 5), look);
    count(&mount, "to read what was written", (110, 260), || {
        for n in 0..FILES {
            assert_eq!(fs::read(path(n)).expect("it is there"), b"some bytes");
        }
    });
    fs::rename(&from, &to).expect("it can be moved");
    fs::rename(&to, &from).expect("and back");
    count(&mount, "to rename", (310, 570), || {
        for n in 0..FILES {
            fs::rename(path(n), from.join(format!("renamed-{n}"))).expect("it can be renamed");
        }
    });
    count(&mount, "to remove", (210, 670), || {
        for n in 0..FILES {
            fs::remove_file(from.join(format!("renamed-{n}"))).expect("it can be removed");
        }
    });
}

#[test]
fn what_is_looked_at_in_a_snapshot_is_asked_for_once() {
    let sandbox = Sandbox::new("cost");
    let dir = sandbox.work();
    fs::create_dir_all(dir.join("folder")).expect("a folder");
    for n in 0..FILES {
        write(dir.join(format!("folder/file-{n:04}")), "some bytes");
    }
    let mount = sandbox.mount("");
    mount.settled();
    let folder = mount.past("first", "folder");
    // By its path each: `.snapshots` may change at any time, all else is in the caches.
    count(&mount, "to look by path", (250, 150), || {
        for n in 0..FILES {
            fs::metadata(folder.join(format!("file-{n:04}"))).expect("it is there");
        }
    });
}
