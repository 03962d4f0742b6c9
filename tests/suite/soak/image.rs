//! The file system that the power is taken from, and the images of it that are left.

use super::disk::Disk;
use crate::harness::Cmd;
use rand::rngs::StdRng;
use std::fs;
use std::path::{Path, PathBuf};

const MIB: u64 = 384;

/// What the image of the file system lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A disk that has all that was ever sent to it.
    Sent,
    /// A disk that forgets what was not flushed.
    Flushed,
}

/// An ext4, mounted.
pub struct Victim {
    pub point: PathBuf,
    image: PathBuf,
    // Dropped last: the file system on it has to go first.
    disk: Option<Disk>,
}

impl Victim {
    /// Makes it, with its files in `folder`, which has reflinks; mounts below `points`.
    pub fn new(kind: Kind, folder: &Path, points: &Path) -> Victim {
        let disk =
            (kind == Kind::Flushed).then(|| Disk::new(folder, &points.join("platter"), MIB << 20));
        let image = match &disk {
            Some(disk) => disk.file(),
            None => {
                let image = folder.join("image");
                let file = fs::File::create(&image).expect("an image");
                file.set_len(MIB << 20).expect("an image");
                image
            }
        };
        let mkfs = Cmd::new("mkfs.ext4").args(["-qF", "-E", "nodiscard,lazy_itable_init=0"]);
        mkfs.arg(&image).run().ok();
        let point = points.join("disk");
        mount(&image, &point);
        Victim { point, image, disk }
    }

    /// Cuts the power off, for a copy: the file system goes on. How many writes are lost that were
    /// sent and not flushed.
    pub fn cut(&self, to: &Path, random: &mut StdRng) -> usize {
        match &self.disk {
            Some(disk) => disk.cut(to, random),
            None => {
                reflink(&self.image, to);
                0
            }
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Never lazily while the disk is served by this process: it would go away below it.
        let umount = Cmd::new("umount").arg(&self.point).run();
        if umount.code != 0 {
            Cmd::new("umount").arg("-l").arg(&self.point).run();
        }
    }
}

/// What a power cut left, mounted as after the next boot. The file goes with it.
pub struct Left {
    pub point: PathBuf,
    image: PathBuf,
}

impl Left {
    pub fn mount(image: &Path, points: &Path) -> Left {
        let point = points.join("left");
        mount(image, &point);
        Left {
            point,
            image: image.to_owned(),
        }
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        Cmd::new("umount").arg("-l").arg(&self.point).run();
        let _ = fs::remove_file(&self.image);
    }
}

fn mount(image: &Path, point: &Path) {
    fs::create_dir_all(point).expect("a mount point");
    let cmd = Cmd::new("mount").args(["-t", "ext4", "-o", "loop"]);
    cmd.arg(image).arg(point).run().ok();
}

/// A copy of a file as it is at one instant.
pub fn reflink(from: &Path, to: &Path) {
    let cp = Cmd::new("cp").arg("--reflink=always");
    cp.arg(from).arg(to).run().ok();
}
