//! One mount being served: from the first request to the last thread's end.

use crate::fs::{Fs, WaitsFor};
use crate::fuse::adapter::Adapter;
use crate::fuse::engine::Engine;
use crate::fuse::error::FuseError;
use crate::fuse::flusher::{Flush, Flusher, Scope};
use crate::fuse::mappers::Mappers;
use crate::fuse::mount::Mounted;
use crate::fuse::refused::Refused;
use crate::fuse::traffic::{Traffic, WAIT_CLASSES};
use crate::fuse::{Access, Options};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::path::Path;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// Event loops at least and at most.
const LOOPS: (usize, usize) = (4, 16);
/// What is dirty gets this long to be written before a mount is cut off by force.
const LAST_FLUSH: Duration = Duration::from_secs(3);
/// How often we look whether we are still mounted.
const LOOK: Duration = Duration::from_secs(1);

/// Whether the event loops have ended.
#[derive(Default)]
struct End {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl End {
    fn wait(&self, at_most: Option<Duration>) -> bool {
        let deadline = at_most.map(|time| Instant::now() + time);
        let mut ended = self.ended.lock();
        while !*ended {
            match deadline {
                None => self.changed.wait(&mut ended),
                Some(deadline) if self.changed.wait_until(&mut ended, deadline).timed_out() => {
                    break;
                }
                Some(_) => {}
            }
        }
        *ended
    }

    fn come(&self) {
        *self.ended.lock() = true;
        self.changed.notify_all();
    }
}

/// A mount and the threads that serve it. Dropping it changes nothing: the mount is served until
/// it is unmounted.
pub struct Session {
    mounted: Arc<Mounted>,
    engine: Arc<Engine<Fs>>,
    flusher: Arc<Mutex<Option<Arc<Flusher>>>>,
    end: Arc<End>,
    refused: Refused,
}

/// Serves a mount.
///
/// # Errors
/// The kernel's FUSE is too old or has gone; the system gives no more threads. Then it is
/// unmounted.
pub fn serve(fs: Arc<Fs>, mut mounted: Mounted, options: &Options) -> Result<Session, FuseError> {
    log_panics();
    let device = mounted
        .take_device()
        .ok_or_else(|| FuseError::Session(io::Error::other("this mount is served already")))?;
    let mounted = Arc::new(mounted);
    let started = start(fs, mounted.clone(), device, options);
    // The descriptor has gone with the attempt, and with it the connection.
    if started.is_err()
        && let Err(error) = mounted.detach()
    {
        log::error!(
            "{} could not be unmounted: {error}",
            mounted.path().display()
        );
    }
    started
}

fn start(
    fs: Arc<Fs>,
    mounted: Arc<Mounted>,
    device: std::os::fd::OwnedFd,
    options: &Options,
) -> Result<Session, FuseError> {
    let loops = options.loops.unwrap_or_else(usual_loops).max(1);
    let engine =
        Engine::start(fs, Arc::new(Traffic::default()), loops).map_err(FuseError::Session)?;
    let refused = Refused::default();
    let scope = Scope {
        only_uid: only_uid(options.access),
        open_files: options.writeback,
    };
    // With `-o writeback` nobody can tell mappings from what is written otherwise.
    let mappers = match options.writeback {
        true => None,
        false => Mappers::start(mounted.connection().number(), scope)
            .map_err(|error| log::warn!("whose mappings are written is not known: {error}"))
            .ok(),
    };
    let adapter = Adapter::new(engine.clone(), options.writeback, refused.clone(), mappers);
    let mut config = fuser::Config::default();
    config.n_threads = Some(loops);
    // Each loop opens the device once more, which not every container lets an ordinary user do.
    config.clone_fd = can_open_device();
    let acl = match options.access {
        Access::OwnerAndRoot => fuser::SessionACL::RootAndOwner,
        // The kernel itself keeps others out of an owner's mount; fuser would keep out its threads.
        Access::Owner | Access::Everyone => fuser::SessionACL::All,
    };
    let served = fuser::Session::from_fd(adapter, device, acl, config).and_then(|session| {
        let connection = mounted.connection();
        refused.start(session.notifier())?;
        let flusher = Flusher::start(session.notifier(), connection.number(), scope)?;
        Ok((session, flusher))
    });
    let (session, flusher) = match served {
        Ok(served) => served,
        Err(error) => {
            engine.stop();
            return Err(match error.kind() {
                io::ErrorKind::Unsupported => FuseError::TooOld,
                _ => FuseError::Session(error),
            });
        }
    };
    let notifier = session.notifier();
    engine.fs().watch_list(Some(Box::new(move |ino| {
        // Attributes only: nothing is waited for.
        if let Err(error) = notifier.inval_inode(fuser::INodeNo(ino), -1, 0) {
            log::debug!("inode {ino}: {error}");
        }
    })));
    let result = Session {
        mounted,
        engine,
        refused,
        flusher: Arc::new(Mutex::new(Some(Arc::new(flusher)))),
        end: Arc::new(End::default()),
    };
    result.run(session).map_err(FuseError::Session)?;
    result.watch().map_err(FuseError::Session)?;
    result.mounted.connection().set_read_ahead();
    Ok(result)
}

impl Session {
    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.mounted.path()
    }

    /// The number of the connection, as in /sys/fs/fuse/connections.
    pub fn connection(&self) -> u32 {
        self.mounted.connection().number()
    }

    /// Drops the pages of these inodes below `.snapshots`; false if that took too long.
    pub fn drop_pages(&self, inos: &[u64]) -> bool {
        self.refused.drop_pages(inos)
    }

    /// Unmounts; returns when nothing is served any more.
    ///
    /// # Errors
    /// EBUSY while anybody uses it: then nothing has changed. EINVAL when it is not mounted.
    pub fn unmount(&self) -> io::Result<()> {
        self.mounted.unmount()?;
        self.wait();
        Ok(())
    }

    /// Unmounts though it is in use: what is dirty is written if that can be done at once, then the
    /// connection is cut. `wait` returns soon after.
    ///
    /// Who may not cut it (an ordinary user without the control file system of FUSE) leaves that to
    /// the end of the process: until then every request is refused, and `wait` returns.
    ///
    /// # Errors
    /// It can't be taken out of the tree.
    pub fn force(&self) -> io::Result<()> {
        if self.end.wait(Some(Duration::ZERO)) {
            return Ok(());
        }
        let unseen = self.flush(LAST_FLUSH);
        if !unseen.is_nothing() {
            log::warn!("before the forced unmount not all mapped files were written: {unseen:?}");
        }
        match self.mounted.detach() {
            // Somebody else has done it.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            other => other?,
        }
        cut(&self.mounted, &self.engine, &self.flusher, &self.end);
        Ok(())
    }

    /// Returns when all event loops and pools have ended, by whatever cause.
    pub fn wait(&self) {
        self.end.wait(None);
    }

    /// The same with a bound; true if they have ended.
    pub fn wait_for(&self, at_most: Duration) -> bool {
        self.end.wait(Some(at_most))
    }

    /// Requests that are being served now.
    pub fn in_flight(&self) -> u64 {
        self.engine.traffic().in_flight()
    }

    /// Those of them that wait for a capture, a commit or the like.
    pub fn parked(&self) -> usize {
        self.engine.parked()
    }

    /// How long operations on the live tree waited for this: class n counts those below 2^n ms.
    /// `None`: that is not counted.
    pub fn waits(&self, what: WaitsFor) -> Option<[u64; WAIT_CLASSES]> {
        self.engine.traffic().waits(what)
    }

    /// Operations that took longer than `limits::SLOW_OPERATION`, since the mount.
    pub fn slow_operations(&self) -> u64 {
        self.engine.traffic().slow()
    }

    /// What flushes the mapped files of this mount; does nothing once it has ended.
    pub fn flusher(&self) -> Arc<dyn Flush> {
        Arc::new(WhileServed(self.flusher.clone()))
    }

    fn flush(&self, at_most: Duration) -> crate::fuse::flusher::Unseen {
        WhileServed(self.flusher.clone()).flush(at_most)
    }

    /// Starts the thread that runs the event loops, and cleans up after them.
    fn run(&self, session: fuser::Session<Adapter>) -> io::Result<()> {
        let (engine, flusher, end) = (self.engine.clone(), self.flusher.clone(), self.end.clone());
        std::thread::Builder::new()
            .name("session".to_string())
            .spawn(move || {
                match session.run() {
                    Ok(()) => log::info!("unmounted"),
                    Err(error) => log::error!("the session has ended: {error}"),
                }
                // They hold the descriptor of the connection.
                flusher.lock().take();
                engine.fs().watch_list(None);
                engine.stop();
                end.come();
            })?;
        Ok(())
    }

    /// Starts the thread that looks whether somebody has detached the mount (`umount -l`): nobody
    /// may go on being served out of sight.
    fn watch(&self) -> io::Result<()> {
        let (mounted, engine) = (self.mounted.clone(), self.engine.clone());
        let (flusher, end) = (self.flusher.clone(), self.end.clone());
        std::thread::Builder::new()
            .name("mount-watch".to_string())
            .spawn(move || {
                while !end.wait(Some(LOOK)) {
                    // After a plain unmount the loops end by themselves: look twice.
                    if !mounted.is_attached() && !end.wait(Some(LOOK)) {
                        log::warn!("the mount was detached by somebody else");
                        cut(&mounted, &engine, &flusher, &end);
                        return;
                    }
                }
            })?;
        Ok(())
    }
}

/// Nobody is served any more.
fn cut(mounted: &Mounted, engine: &Engine<Fs>, flusher: &Mutex<Option<Arc<Flusher>>>, end: &End) {
    if let Err(error) = mounted.abort() {
        log::warn!("the connection ends with this process, it can't be cut before: {error}");
        engine.refuse_all();
        flusher.lock().take();
        engine.fs().watch_list(None);
        end.come();
    }
}

/// The flusher, as long as there is one.
struct WhileServed(Arc<Mutex<Option<Arc<Flusher>>>>);

impl Flush for WhileServed {
    fn flush(&self, at_most: Duration) -> crate::fuse::flusher::Unseen {
        let flusher = self.0.lock().clone();
        flusher.map_or_else(Default::default, |flusher| flusher.flush(at_most))
    }
}

fn usual_loops() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (2 * processors).clamp(LOOPS.0, LOOPS.1)
}

fn can_open_device() -> bool {
    std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .is_ok()
}

/// The only user who can have anything of the mount open or mapped.
fn only_uid(access: Access) -> Option<u32> {
    let uid = rustix::process::geteuid();
    (access == Access::Owner && !uid.is_root()).then(|| uid.as_raw())
}

/// Panics go to the log with their place; without a log on to whoever had asked for them before.
fn log_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let trace = std::backtrace::Backtrace::force_capture();
            log::error!("{panic}\n{trace}");
            // Standard error may be a file on the store's disk, which may hang.
            if !log::log_enabled!(log::Level::Error) {
                before(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_loops_is_bounded() {
        assert!((LOOPS.0..=LOOPS.1).contains(&usual_loops()));
    }

    #[test]
    fn the_end_is_waited_for_with_and_without_a_bound() {
        let end = Arc::new(End::default());
        assert!(!end.wait(Some(Duration::from_millis(1))));
        let other = end.clone();
        let waiter = std::thread::spawn(move || other.wait(None));
        end.come();
        assert!(waiter.join().expect("no panic"));
        assert!(end.wait(Some(Duration::ZERO)));
    }
}
