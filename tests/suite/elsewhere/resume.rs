//! A recovery that is killed goes on, and asks for nothing twice.

use super::{RECOVERED, backup, mount, place, recover, with_password};
use crate::harness::compare::Tree;
use crate::harness::mount::names;
use crate::harness::run::wait;
use crate::harness::{Cmd, Sandbox, noise, sized, sys, wait_for, write};
use rewindfs::id::Hash;
use rewindfs::store::{Store, StoreOptions};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

/// Says which files were opened, and how often.
pub struct Opened {
    fd: i32,
    names: HashMap<i32, String>,
}

impl Opened {
    /// From now on, of all files below a folder.
    pub fn watch(folder: &Path) -> Opened {
        // No memory of ours is touched by these calls but the names, which end with a zero.
        let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        assert!(fd >= 0);
        let mut opened = Opened {
            fd,
            names: HashMap::new(),
        };
        for file in files(folder) {
            let name = file.file_name().expect("a name").to_str().expect("text");
            let path = std::ffi::CString::new(file.as_os_str().as_bytes()).expect("no zero");
            let mark = unsafe { libc::inotify_add_watch(fd, path.as_ptr(), libc::IN_OPEN) };
            assert!(mark >= 0);
            opened.names.insert(mark, name.to_owned());
        }
        opened
    }

    /// What was opened since this was last asked.
    pub fn take(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut buffer = [0_u8; 1 << 16];
        loop {
            // At most as many bytes as there is room for.
            let read = unsafe { libc::read(self.fd, buffer.as_mut_ptr().cast(), buffer.len()) };
            let Ok(read @ 1..) = usize::try_from(read) else {
                return found;
            };
            // Of a file itself an event has no name: 16 bytes, the mark first.
            for event in buffer[..read].chunks_exact(16) {
                let mark = i32::from_ne_bytes(event[..4].try_into().expect("four"));
                found.extend(self.names.get(&mark).cloned());
            }
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // Nobody else has this descriptor.
        unsafe { libc::close(self.fd) };
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found
}

fn name(pack: &Hash) -> String {
    pack.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn begin(sandbox: &Sandbox, to: &Path) -> Child {
    let command = Cmd::rewindfs().arg("recover").arg(place(sandbox));
    with_password(command.arg("--to").arg(to)).spawn()
}

/// Killed at any moment, also while it writes files, the same command goes on, fetches no pack that
/// was here, and ends with the same.
#[test]
fn a_recovery_that_is_killed_goes_on_and_fetches_no_pack_twice() {
    let sandbox = Sandbox::new("elsewhere-killed");
    let mounted = sandbox.mount("");
    // Each set has a pack, and many files to be written.
    let sets = sized(12, 8);
    for set in 0..sets {
        for n in 0..40 {
            let name = format!("file-{set}-{n}");
            write(mounted.join(&name), noise(set * 100 + n, 60 << 10));
        }
        backup(&sandbox, &[]).ok();
    }
    let whole = Tree::read(&sandbox.work());
    mounted.umount();
    let opened = Opened::watch(&place(&sandbox).join("packs"));
    // One that ends before it was killed often enough has proved less: another one is begun.
    let enough = (0..5).any(|n| {
        let to = sandbox.join(&format!("again-{n}"));
        let enough = is_killed_often(&sandbox, &to, sets, &opened);
        whole.must_equal(&Tree::read(&to), RECOVERED, "the directory");
        assert!(!names(&to).iter().any(|name| name.starts_with(".rewindfs")));
        let again = mount(&to);
        again.command("verify").arg("--data").run().ok();
        again.umount();
        enough
    });
    assert!(enough, "killed too late, each time");
}

/// Kills it again and again, lets it end, and says whether it was killed also while it wrote.
fn is_killed_often(sandbox: &Sandbox, to: &Path, sets: u64, opened: &Opened) -> bool {
    let name_of = to.file_name().expect("a name").to_str().expect("text");
    let under_way = sandbox.join(&format!(".{name_of}.rewind.recovering"));
    let done = sandbox.join(&format!(".{name_of}.rewind"));
    let (mut here, mut killed_writing) = (HashSet::new(), 0);
    for round in 0..20_u64 {
        let written = || fs::read_dir(to).map_or(0, Iterator::count);
        let before = written();
        let mut child = begin(sandbox, to);
        // The first ones while packs come, the others when a few more files are there.
        if round < 8 {
            std::thread::sleep(Duration::from_millis(40 * (round + 1)));
        } else {
            wait_for("more files", || written() > before + 8 || done.exists());
        }
        sys::kill(i32::try_from(child.id()).expect("a pid"), libc::SIGKILL);
        wait(&mut child, Duration::from_secs(60));
        let again: Vec<String> = opened.take();
        let twice: Vec<_> = again.iter().filter(|pack| here.contains(*pack)).collect();
        assert!(twice.is_empty(), "round {round}: {twice:?}");
        if done.exists() {
            break;
        }
        if round >= 8 {
            assert_eq!(
                here.len(),
                usize::try_from(sets).expect("few"),
                "all packs are here"
            );
            killed_writing += 1;
        }
        if let Ok(store) = Store::open(&under_way, StoreOptions::default()) {
            here.extend(store.received_packs().expect("packs").iter().map(name));
        }
        if round == 7 {
            // From here on it is writing.
            let mut child = begin(sandbox, to);
            wait_for("a file", || written() > 0);
            sys::kill(i32::try_from(child.id()).expect("a pid"), libc::SIGKILL);
            wait(&mut child, Duration::from_secs(60));
            let twice: Vec<_> = opened.take();
            assert!(twice.iter().all(|pack| !here.contains(pack)), "{twice:?}");
            if done.exists() {
                break;
            }
            let store = Store::open(&under_way, StoreOptions::default()).expect("a store");
            here.extend(store.received_packs().expect("packs").iter().map(name));
        }
    }
    if !done.exists() {
        recover(sandbox, to, &[]).ok();
        assert_eq!(opened.take(), Vec::<String>::new());
    }
    killed_writing > 0
}
