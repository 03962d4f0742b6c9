//! The meeting of the two halves: the file system that is put together for a mount, and the
//! mount as the handlers of requests see it.

use super::super::error::Error;
use super::super::option::{Access, MountOptions, Snapdir};
use super::insiders::{self, insiders};
use super::job::Job;
use crate::capture::{self, Recorder};
use crate::control::protocol::Hello;
use crate::control::report;
use crate::control::request::User;
use crate::control::service;
use crate::control::when::When;
use crate::fs::live::Live;
use crate::fs::snapdir::{SnapDir, SnapDirOptions};
use crate::fs::{Fs, WaitsFor};
use crate::fuse::{self, Session};
use crate::history::History;
use crate::id::{Epoch, FileId};
use crate::store::Store;
use crate::time::Timestamp;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The live tree, and the past in it unless that is not wanted.
pub fn file_system(
    recorder: &Arc<Recorder>,
    store: &Arc<Store>,
    options: &MountOptions,
    owner: u32,
) -> Arc<Fs> {
    let live = Live::new(Arc::clone(recorder));
    let snapdir = (options.snapdir != Snapdir::Disabled).then(|| {
        SnapDir::new(
            History::new(Arc::clone(store)),
            Arc::clone(recorder),
            Arc::clone(&live),
            SnapDirOptions {
                visible: options.snapdir == Snapdir::Visible,
                name: options.snapdir_name.clone().into_bytes(),
                owner_uid: owner,
                group: options.snapshot_group,
                snapshot_wait: recorder.hooks().snapshot_wait,
            },
        )
    });
    Fs::new(live, snapdir)
}

/// A mount that stands.
pub struct Mounting {
    session: Session,
    fs: Arc<Fs>,
    shown: report::Mounted,
    mountpoint: PathBuf,
    snapdir: Option<String>,
    /// The directory, and the device that it is on below the mount.
    dir: PathBuf,
    backing: Option<(u32, u32)>,
}

impl Mounting {
    /// Mounts and begins to serve.
    ///
    /// # Errors
    /// When the kernel, or fusermount3, refuses.
    pub fn begin(job: &Job, fs: Arc<Fs>, recorder: &Recorder) -> Result<Mounting, Error> {
        let options = fuse_options(&job.options);
        // The store stands in the table of mounts as what was mounted: so any command finds it
        // from a path in the mount alone.
        let backing = fuse::device_of(&job.dir).ok();
        let mounted = fuse::mount(&job.store, &job.mountpoint, &options)?;
        let session = fuse::serve(Arc::clone(&fs), mounted, &options)?;
        recorder.set_flusher(Arc::new(Flusher(session.flusher())));
        Ok(Mounting {
            session,
            fs,
            shown: report::Mounted {
                mountpoint: job.mountpoint.to_string_lossy().into_owned(),
                since: When(Timestamp::now()),
                pid: std::process::id(),
                version: Hello::own().rewindfs,
                read_only: job.options.read_only,
                writeback: job.options.writeback,
                recording: !job.options.no_history,
                waiting: 0,
                slow_operations: 0,
                waits: report::Waits::default(),
            },
            mountpoint: job.mountpoint.clone(),
            snapdir: (job.options.snapdir != Snapdir::Disabled)
                .then(|| job.options.snapdir_name.clone()),
            dir: job.dir.clone(),
            backing,
        })
    }

    /// Returns when the mount has gone, whoever took it off.
    pub fn wait(&self) {
        self.session.wait();
    }
}

impl service::Mounting for Mounting {
    fn describe(&self) -> report::Mounted {
        let waits = |what| self.session.waits(what).map_or_else(Vec::new, Vec::from);
        report::Mounted {
            waiting: self.session.parked() as u64,
            slow_operations: self.session.slow_operations(),
            waits: report::Waits {
                file: waits(WaitsFor::File),
                bytes: waits(WaitsFor::Bytes),
                states: waits(WaitsFor::States),
                removed: waits(WaitsFor::Removed),
            },
            ..self.shown.clone()
        }
    }

    fn snapdir(&self) -> Option<String> {
        self.snapdir.clone()
    }

    fn users(&self) -> Vec<User> {
        insiders(&self.mountpoint)
    }

    fn below(&self) -> Vec<User> {
        self.backing
            .map(|device| insiders::on_device(&self.dir, device))
            .unwrap_or_default()
    }

    fn unmount(&self) -> io::Result<()> {
        self.session.unmount()
    }

    fn drop_caches(&self, versions: &[(FileId, Epoch)]) {
        if !self.session.drop_pages(&self.fs.past_of(versions)) {
            log::warn!("the kernel may keep pages of purged content until the mount is taken off");
        }
    }

    fn force(&self) -> io::Result<()> {
        self.session.force()
    }
}

/// Flushes mapped files for the recorder, which knows nothing of FUSE.
struct Flusher(Arc<dyn fuse::Flush>);

impl capture::Flush for Flusher {
    fn flush(&self, at_most: Duration) -> bool {
        self.0.flush(at_most).is_nothing()
    }
}

fn fuse_options(options: &MountOptions) -> fuse::Options {
    fuse::Options {
        writeback: options.writeback,
        read_only: options.read_only,
        access: match options.access {
            Access::Usual if rustix::process::geteuid().is_root() => fuse::Access::Everyone,
            Access::Usual => fuse::Access::Owner,
            Access::Root => fuse::Access::OwnerAndRoot,
            Access::All => fuse::Access::Everyone,
        },
        ..fuse::Options::default()
    }
}
