//! A small file system of its own on a loop device, for what a test may not do to the machine's:
//! fill it, set quotas, take another kind. Freed when dropped.

use super::run::Cmd;
use super::sandbox::Sandbox;
use std::fs::File;
use std::path::{Path, PathBuf};

/// See the module.
pub struct LoopFs {
    point: PathBuf,
}

impl LoopFs {
    /// Makes it with `mkfs.KIND OPTIONS` and mounts it as NAME below the sandbox.
    pub fn new(sandbox: &Sandbox, name: &str, kind: &str, mib: u64, mkfs: &[&str]) -> LoopFs {
        LoopFs::with_mount_options(sandbox, name, kind, mib, mkfs, "loop")
    }

    /// The same with options for mount(8).
    pub fn with_mount_options(
        sandbox: &Sandbox,
        name: &str,
        kind: &str,
        mib: u64,
        mkfs: &[&str],
        options: &str,
    ) -> LoopFs {
        let image = sandbox.join(&format!("{name}.image"));
        let file = File::create(&image).expect("an image");
        file.set_len(mib << 20).expect("an image");
        let quiet = if kind == "ext4" { "-qF" } else { "-q" };
        Cmd::new(format!("mkfs.{kind}"))
            .arg(quiet)
            .args(mkfs)
            .arg(&image)
            .run()
            .ok();
        LoopFs::of_image(sandbox, name, kind, options)
    }

    /// Mounts one that was made before, and freed.
    pub fn of_image(sandbox: &Sandbox, name: &str, kind: &str, options: &str) -> LoopFs {
        let image = sandbox.join(&format!("{name}.image"));
        let point = sandbox.join(name);
        std::fs::create_dir_all(&point).expect("a mount point");
        // mount(8) makes the loop device with autoclear: it is freed by umount.
        Cmd::new("mount")
            .args(["-t", kind, "-o", options])
            .arg(&image)
            .arg(&point)
            .run()
            .ok();
        LoopFs { point }
    }

    pub fn path(&self) -> &Path {
        &self.point
    }
}

impl Drop for LoopFs {
    fn drop(&mut self) {
        let _ = Cmd::new("umount").arg("-l").arg(&self.point).run();
    }
}
