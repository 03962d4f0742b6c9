//! Older kernels: the program under a filter that answers ENOSYS to every system call that came
//! later, and with the flags of FUSE masked off that came later. What an older kernel does
//! otherwise can't be shown here.

use crate::harness::compare::{Except, Tree};
use crate::harness::{Cmd, Mounted, Sandbox, one_of_everything, source_files, sys, text, write};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

/// A kernel: the first system call that it lacks, and the first flag of INIT.
struct Kernel {
    name: &'static str,
    first_missing_call: u32,
    first_missing_flag: u32,
}

const KERNELS: [Kernel; 3] = [
    Kernel {
        name: "6.1",
        first_missing_call: 451, // cachestat
        first_missing_flag: 34,  // CREATE_SUPP_GROUP
    },
    Kernel {
        name: "5.10",
        first_missing_call: 441, // epoll_pwait2
        first_missing_flag: 28,  // HANDLE_KILLPRIV_V2
    },
    Kernel {
        name: "5.4",
        first_missing_call: 436, // close_range
        first_missing_flag: 26,  // MAP_ALIGNMENT
    },
];

fn program(kernel: &Kernel) -> Cmd {
    Cmd::rewindfs()
        .env(
            "REWINDFS_INIT_FLAGS_BELOW",
            kernel.first_missing_flag.to_string(),
        )
        .on_older_kernel(kernel.first_missing_call)
}

fn mount(kernel: &Kernel, sandbox: &Sandbox) -> Mounted {
    program(kernel).arg("mount").arg(sandbox.work()).run().ok();
    let mounted = Mounted::found(sandbox.work(), sandbox.work());
    mounted.settled();
    mounted
}

#[test]
fn the_filter_hides_newer_calls() {
    // The shell asks for fchmodat2 (452) by number through perl and tells the errno.
    let ask = "perl -e '$p = \"/nowhere\"; syscall(452, -100, $p, 0, 0); print $!+0'";
    let plain = Cmd::sh(ask).run().ok();
    assert_eq!(plain.out, libc::ENOENT.to_string());
    let older = Cmd::sh(ask).on_older_kernel(451).run().ok();
    assert_eq!(older.out, libc::ENOSYS.to_string());
}

#[test]
fn live_operations_and_states_on_older_kernels() {
    for kernel in &KERNELS {
        let sandbox = Sandbox::new(&format!("kernel-{}", kernel.name));
        one_of_everything(&sandbox.work());
        source_files(&sandbox.work(), 100);
        let then = Tree::read(&sandbox.work());
        let mounted = mount(kernel, &sandbox);
        then.must_equal(
            &Tree::read(&mounted.past("first", "")),
            Except::default(),
            kernel.name,
        );
        change(&mounted);
        mounted.snapshot("changed");
        let live = Tree::read(&mounted.point);
        let past = Tree::read(&mounted.past("changed", ""));
        live.must_equal(&past, Except::default(), kernel.name);
        fs::remove_dir_all(mounted.join("made")).expect("removed");
        fs::copy(mounted.past("changed", "made/file"), mounted.join("back")).expect("copied");
        assert_eq!(text(mounted.join("back")), "0123XX6789");
        program(kernel).arg("list").arg(&mounted.dir).run().ok();
        mounted.umount();
        // While nothing is mounted, and by a store that another run made.
        write(sandbox.work().join("between"), "between");
        let mounted = mount(kernel, &sandbox);
        mounted.snapshot("later");
        assert_eq!(text(mounted.past("later", "between")), "between");
        then.must_equal(
            &Tree::read(&mounted.past("first", "")),
            Except::default(),
            kernel.name,
        );
        mounted.umount();
    }
}

/// One of each kind of change.
fn change(mounted: &Mounted) {
    let made = mounted.join("made");
    fs::create_dir(&made).expect("mkdir");
    let path = made.join("file");
    write(&path, "0123456789");
    let file = OpenOptions::new().read(true).write(true).open(&path);
    let file = file.expect("opened");
    file.write_all_at(b"XX", 4).expect("written");
    file.sync_all().expect("fsync");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).expect("chmod");
    assert_eq!(fs::metadata(&path).expect("stat").mode() & 0o7777, 0o4751);
    sys::as_user(1000, 1000, &[], || {
        let refused = OpenOptions::new().append(true).open(&path);
        assert_eq!(sys::errno(&refused), libc::EACCES);
    });
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4777)).expect("chmod");
    sys::as_user(1000, 1000, &[], || {
        let file = OpenOptions::new().write(true).open(&path).expect("opened");
        file.write_all_at(b"0", 0).expect("written");
    });
    // Also without HANDLE_KILLPRIV_V2 a write by somebody else takes setuid away.
    assert_eq!(fs::metadata(&path).expect("stat").mode() & 0o7777, 0o777);
    fs::hard_link(&path, made.join("link")).expect("link");
    std::os::unix::fs::symlink("file", made.join("symlink")).expect("symlink");
    fs::rename(made.join("link"), made.join("other")).expect("rename");
    sys::renameat2(
        &made.join("other"),
        &made.join("symlink"),
        libc::RENAME_EXCHANGE,
    )
    .expect("exchange");
    sys::set_xattr(&path, "user.colour", b"blue", 0).expect("setxattr");
    let sparse = File::create(made.join("sparse")).expect("made");
    sparse.set_len(1 << 20).expect("truncate");
    sparse.write_all_at(&[7; 4096], 512 << 10).expect("written");
    sys::fallocate(
        &sparse,
        libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
        512 << 10,
        4096,
    )
    .expect("punch");
    let mut mapping = sys::Mapping::shared(&file, 10).expect("mmap");
    mapping.bytes()[9] = b'9';
    fs::copy(&path, made.join("copy")).expect("copied");
}

#[test]
fn a_kernel_that_is_too_old_is_refused_in_words() {
    let sandbox = Sandbox::new("kernel-old");
    write(sandbox.work().join("file"), "x");
    let refused = Cmd::rewindfs()
        .env("REWINDFS_INIT_FLAGS_BELOW", "24")
        .arg("mount")
        .arg(sandbox.work())
        .run();
    assert_ne!(refused.code, 0);
    refused.says("needs Linux 5.4 or newer");
    assert_eq!(text(sandbox.work().join("file")), "x");
}
