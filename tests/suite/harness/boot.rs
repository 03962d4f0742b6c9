//! Another boot of the machine, as far as a program can tell: a boot id of our own, in a mount
//! namespace of our own, seen by one thread and by what it starts.

use super::mount;
use super::run::Cmd;
use super::sys;
use std::fs;
use std::path::{Path, PathBuf};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// See the module.
pub struct Boot {
    id: PathBuf,
}

impl Boot {
    /// Runs something in a thread that has a boot id of its own, kept in `folder`. What is mounted
    /// by it is seen by it alone.
    pub fn private<T: Send>(folder: &Path, work: impl FnOnce(&Boot) -> T + Send) -> T {
        let boot = Boot {
            id: folder.join("boot_id"),
        };
        let result = std::thread::scope(|scope| {
            let begin = || {
                sys::unshare_mounts();
                Cmd::new("mount").args(["--make-rprivate", "/"]).run().ok();
                let_go_of_others();
                boot.again();
                let bind = Cmd::new("mount").arg("--bind").arg(&boot.id).arg(BOOT_ID);
                bind.run().ok();
                work(&boot)
            };
            scope.spawn(begin).join()
        });
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The machine was started again.
    pub fn again(&self) {
        let digits = format!("{:032x}", rand::random::<u128>());
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| &digits[range]);
        fs::write(&self.id, format!("{}\n", parts.join("-"))).expect("a boot id");
    }
}

/// A copy of a mount of somebody else's would keep it alive when he takes it off.
fn let_go_of_others() {
    for entry in mount::table().into_iter().rev() {
        let passing = entry.kind.starts_with("fuse.") || entry.kind == "fuse";
        if passing || entry.source.starts_with("/dev/loop") {
            Cmd::new("umount").arg("-l").arg(&entry.point).run();
        }
    }
}
