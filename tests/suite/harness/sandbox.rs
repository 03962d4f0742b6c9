//! A folder for one test, with the working directory `work` in it. However the test ends, nothing
//! stays mounted below the folder, and the folder goes.

use super::mount::{self, Mounted};
use super::run::Cmd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use tempfile::TempDir;

/// See the module.
pub struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    /// Makes the folder; `name` only helps those who look at it.
    pub fn new(name: &str) -> Sandbox {
        prerequisites();
        let base = match std::env::var_os("REWINDFS_TEST_DIR") {
            Some(base) => PathBuf::from(base),
            None => std::env::temp_dir(),
        };
        let folder = tempfile::Builder::new()
            .prefix(&format!("rewindfs-{name}-"))
            .tempdir_in(&base)
            .unwrap_or_else(|error| panic!("no folder in {}: {error}", base.display()));
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))
            .expect("the folder is ours");
        let sandbox = Sandbox { folder };
        std::fs::create_dir(sandbox.work()).expect("the folder is ours");
        sandbox
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A command in place of ssh, for `ssh://` places on this machine: it takes the host, then what a
    /// shell there is to run.
    pub fn rsh(&self) -> PathBuf {
        let bin = Path::new(env!("CARGO_BIN_EXE_rewindfs")).parent();
        let line = format!(
            "#!/bin/sh\nshift\nPATH={}:$PATH exec sh -c \"$*\"\n",
            bin.expect("a folder").display()
        );
        let rsh = self.join("rsh");
        super::script_at(&rsh, &line);
        rsh
    }

    /// The working directory.
    pub fn work(&self) -> PathBuf {
        self.join("work")
    }

    /// Where its store lies unless said otherwise.
    pub fn store(&self) -> PathBuf {
        self.join(".work.rewind")
    }

    /// A copy of the program where every user can reach it. Made by another process: a descriptor
    /// of ours, open for writing in a fork of another test, would make it "text file busy".
    pub fn program(&self) -> PathBuf {
        let copy = self.join("rewindfs");
        let install = Cmd::new("install").args(["-m", "755", env!("CARGO_BIN_EXE_rewindfs")]);
        install.arg(&copy).run().ok();
        copy
    }

    /// Mounts over the working directory and waits until the first import is done.
    pub fn mount(&self, options: &str) -> Mounted {
        let mounted = self.mount_now(options);
        if !options.contains("nohistory") {
            mounted.settled();
        }
        mounted
    }

    /// Mounts over the working directory; its import may still go on.
    pub fn mount_now(&self, options: &str) -> Mounted {
        let mut cmd = Cmd::rewindfs().arg("mount").arg(self.work());
        if !options.is_empty() {
            cmd = cmd.args(["-o", options]);
        }
        cmd.run().ok();
        Mounted::found(self.work(), self.work())
    }

    /// The same with what REWINDFS_TEST sets for the daemon.
    pub fn mount_with(&self, options: &str, hooks: &str) -> Mounted {
        let mounted = self.mount_now_with(options, hooks);
        mounted.settled();
        mounted
    }

    /// The same; the import may still go on.
    pub fn mount_now_with(&self, options: &str, hooks: &str) -> Mounted {
        let mut cmd = Cmd::rewindfs().arg("mount").arg(self.work());
        if !options.is_empty() {
            cmd = cmd.args(["-o", options]);
        }
        cmd.env("REWINDFS_TEST", hooks).run().ok();
        Mounted::found(self.work(), self.work())
    }

    /// Mounts the working directory at `view`, so that it can be looked at directly as well.
    pub fn mount_beside(&self, options: &str) -> Mounted {
        let view = self.join("view");
        let _ = std::fs::create_dir(&view);
        let mut cmd = Cmd::rewindfs().arg("mount").arg(self.work()).arg(&view);
        if !options.is_empty() {
            cmd = cmd.args(["-o", options]);
        }
        cmd.run().ok();
        let mounted = Mounted::found(self.work(), view);
        mounted.settled();
        mounted
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for entry in mount::below(self.path()) {
            entry.remove();
        }
    }
}

/// What the suite cannot do without: said, never skipped.
fn prerequisites() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: takes nothing, cannot fail.
        let uid = unsafe { libc::geteuid() };
        assert!(
            uid == 0,
            "the suite needs root (mounts, loop devices, other users)"
        );
        assert!(
            Path::new("/dev/fuse").exists(),
            "/dev/fuse is missing: modprobe fuse, or in a container --device /dev/fuse"
        );
        if !Path::new("/sys/fs/fuse/connections").exists() {
            Cmd::new("mount")
                .args(["-t", "fusectl", "none", "/sys/fs/fuse/connections"])
                .run();
        }
    });
}
