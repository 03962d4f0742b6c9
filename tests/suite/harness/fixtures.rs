//! Things to put into a working directory.

use super::run::Cmd;
use super::sys;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

/// Bytes that do not compress and differ by seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Reads a file or fails the test with its path.
pub fn read(path: impl AsRef<Path>) -> Vec<u8> {
    let path = path.as_ref();
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reads a file as text or fails the test with its path.
pub fn text(path: impl AsRef<Path>) -> String {
    String::from_utf8(read(path)).expect("text")
}

/// Writes a file or fails the test with its path.
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// A tree with one of everything that a file system can hold.
pub fn one_of_everything(root: &Path) {
    fs::create_dir_all(root.join("dir/deeper")).expect("mkdir");
    write(root.join("empty"), "");
    write(root.join("text"), "some text\n");
    write(root.join("dir/big"), noise(1, 700_000));
    write(root.join("dir/deeper/leaf"), "leaf");
    fs::hard_link(root.join("dir/deeper/leaf"), root.join("other-name")).expect("link");
    symlink("dir/big", root.join("link")).expect("symlink");
    symlink("nowhere/at/all", root.join("dangling")).expect("symlink");
    sys::mknod(&root.join("fifo"), libc::S_IFIFO | 0o640, 0).expect("mkfifo");
    sys::mknod(&root.join("socket"), libc::S_IFSOCK | 0o600, 0).expect("socket");
    sys::mknod(
        &root.join("null"),
        libc::S_IFCHR | 0o666,
        sys::makedev(1, 3),
    )
    .expect("mknod");
    sys::mknod(
        &root.join("block"),
        libc::S_IFBLK | 0o600,
        sys::makedev(7, 99),
    )
    .expect("mknod");
    sparse(&root.join("sparse"));
    write(root.join("other-owner"), "theirs");
    std::os::unix::fs::lchown(root.join("other-owner"), Some(1234), Some(2345)).expect("chown");
    write(root.join("setuid"), "#!/bin/sh\n");
    fs::set_permissions(root.join("setuid"), PermissionsExt::from_mode(0o6755)).expect("chmod");
    fs::set_permissions(root.join("dir"), PermissionsExt::from_mode(0o3775)).expect("chmod");
    sys::set_xattr(&root.join("text"), "user.colour", b"red\0and more", 0).expect("xattr");
    sys::set_xattr(&root.join("dir"), "user.empty", b"", 0).expect("xattr");
    sys::set_xattr(&root.join("link"), "trusted.on-link", b"x", 0).expect("xattr");
    for line in ["u:1234:rw,g:2345:r text", "-d -m u:1234:rwx dir"] {
        let line = match line.strip_prefix("-d") {
            Some(rest) => format!("setfacl -d{rest}"),
            None => format!("setfacl -m {line}"),
        };
        Cmd::sh(&line).within(root).run().ok();
    }
    write(
        root.join(std::ffi::OsStr::new("a name\nwith everything \u{fc}")),
        "x",
    );
    sys::set_times(&root.join("text"), (-5, 250_000_000), (-86_400, 1)).expect("utimens");
    sys::set_times(&root.join("link"), (1, 2), (3, 4)).expect("utimens");
}

/// A file of 4 MiB with data at three places.
pub fn sparse(path: &Path) {
    let file = File::create(path).expect("create");
    file.set_len(4 << 20).expect("truncate");
    file.write_all_at(&noise(7, 10_000), 65_536).expect("write");
    file.write_all_at(&noise(8, 4_096), 1 << 20).expect("write");
    file.write_all_at(b"end", (4 << 20) - 3).expect("write");
}

/// A small tree of source files, as many as asked for.
pub fn source_files(root: &Path, count: usize) {
    for n in 0..count {
        let dir = root.join(format!("src/part{}", n % 10));
        fs::create_dir_all(&dir).expect("mkdir");
        let body = format!("// file {n}\nfn f{n}() {{}}\n").repeat(1 + n % 40);
        write(dir.join(format!("f{n}.rs")), body);
    }
}

/// A script that can be run at once: copied by another process, since a descriptor of ours, open for
/// writing in a fork of another test, would make it "text file busy".
pub fn script_at(path: &Path, script: &str) {
    let source = path.with_extension("source");
    write(&source, script);
    let install = Cmd::new("install").args(["-m", "755"]);
    install.arg(&source).arg(path).run().ok();
    fs::remove_file(source).expect("rm");
}
