//! The door of a daemon: a unix socket in the folder of its store. One thread takes the
//! connections, each gets a thread of its own, one request and one result.
//!
//! 1. Who speaks is what the kernel says, never what he says; what he may, `access.rs`.
//! 2. Whoever may not change the list of snapshots shares few connections with all of his kind: he
//!    keeps nobody else out.
//! 3. Nothing on a connection waits for ever: reading, writing and the number of connections
//!    are bounded. Carrying out a request may take long; then the other side hears so.
//! 4. A request that a store keeps waiting is answered without it, whatever becomes of the thread
//!    that carries it out.

use super::access::Who;
use super::door::Door;
use super::error::Error;
use super::export;
use super::filling;
use super::folder::Folder;
use super::protocol::Hello;
use super::request::{Answer, Progress, Reply, Request};
use super::service::{Service, Watch};
use super::wire;
use crate::backing::Peer;
use crate::limits;
use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Name of the socket in the folder of the store.
pub const NAME: &str = "socket";
/// Requests that are served at once; more are refused.
const CONNECTIONS_MAX: usize = 32;
/// Of these, how many may be of those who only may ask for the list and the status.
const GUESTS_MAX: usize = 4;
/// Connections of theirs that are told that there are too many; of more nobody takes notice.
const GUESTS_TOLD: usize = 8;
/// How long the other side may take to send or take one message.
const MESSAGE_WAIT: Duration = Duration::from_secs(10);
/// How often the listener looks whether it should end.
const LISTEN_PIECE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// How often it is looked whether a request waits for a store that hangs.
const HANG_LOOK: Duration = Duration::from_millis(200);

/// The open door.
pub struct Server {
    shared: Arc<Shared>,
    listening: Option<thread::JoinHandle<()>>,
}

struct Shared {
    service: Arc<Service>,
    keeper: Keeper,
    closing: AtomicBool,
    connections: Mutex<Connections>,
    ended: Condvar,
}

/// Connections that are being served.
#[derive(Default)]
struct Connections {
    all: usize,
    guests: usize,
}

/// To whom the list of snapshots of a directory belongs, besides root and the daemon's user.
pub struct Keeper {
    /// The owner of the root of the working directory, now.
    pub owner: Box<dyn Fn() -> u32 + Send + Sync>,
    /// `-o snapshot_group`.
    pub group: Option<u32>,
}

impl Server {
    /// Opens the door. The caller holds the lock of the store, so what stands there already is
    /// the socket of a daemon that has died.
    ///
    /// # Errors
    /// When the socket can't be made.
    pub fn open(
        folder: &Folder,
        door: Option<Door>,
        service: Arc<Service>,
        keeper: Keeper,
    ) -> io::Result<Server> {
        let path = folder.inside(NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            service,
            keeper,
            closing: AtomicBool::new(false),
            connections: Mutex::default(),
            ended: Condvar::new(),
        });
        let listening = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("control".into())
                .spawn(move || listen(&listener, door.as_ref(), &shared))?
        };
        Ok(Server {
            shared,
            listening: Some(listening),
        })
    }

    /// Takes no more requests and lets those under way end, for a bounded time.
    pub fn close(mut self, at_most: Duration) {
        self.shared.closing.store(true, Ordering::Relaxed);
        if let Some(listening) = self.listening.take() {
            // It looks at `closing` five times a second and never panics over a connection.
            let _ = listening.join();
        }
        let deadline = Instant::now() + at_most;
        let mut connections = self.shared.connections.lock();
        while connections.all > 0 {
            if self
                .shared
                .ended
                .wait_until(&mut connections, deadline)
                .timed_out()
            {
                log::warn!("{} requests were still under way", connections.all);
                return;
            }
        }
    }
}

fn listen(listener: &UnixListener, door: Option<&Door>, shared: &Arc<Shared>) {
    let doors: Vec<&UnixListener> = std::iter::once(listener)
        .chain(door.map(|door| &door.listener))
        .collect();
    while !shared.closing.load(Ordering::Relaxed) {
        let mut readable: Vec<PollFd<'_>> = doors
            .iter()
            .map(|door| PollFd::new(*door, PollFlags::IN))
            .collect();
        if poll(&mut readable, Some(&LISTEN_PIECE)).unwrap_or(0) == 0 {
            continue;
        }
        for door in &doors {
            match door.accept() {
                Ok((stream, _)) => admit(stream, shared),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    log::warn!("control socket: {error}");
                    // Descriptors may be short: give others time to close some.
                    thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }
}

/// Gives a connection its thread.
fn admit(stream: UnixStream, shared: &Arc<Shared>) {
    let peer = match Peer::of(stream.as_fd()) {
        Ok(peer) => peer,
        Err(error) => {
            log::warn!("who asks is not known: {error}");
            return;
        }
    };
    let who = Who::of(&peer, (shared.keeper.owner)(), shared.keeper.group);
    let is_guest = who == Who::Anybody;
    let overloaded = {
        let mut connections = shared.connections.lock();
        if is_guest && connections.guests >= GUESTS_TOLD {
            return;
        }
        let overloaded =
            connections.all >= CONNECTIONS_MAX || (is_guest && connections.guests >= GUESTS_MAX);
        connections.all += 1;
        connections.guests += usize::from(is_guest);
        overloaded
    };
    let leave = Leave(Arc::clone(shared), is_guest);
    let spawned = thread::Builder::new()
        .name("request".into())
        .spawn(move || {
            let shared = &leave.0;
            if let Err(error) = converse(stream, shared, (&peer, who), overloaded) {
                log::debug!("a control connection ended early: {error}");
            }
        });
    if let Err(error) = spawned {
        log::warn!("no thread for a request: {error}");
    }
}

/// Counts a connection out when its thread ends, also by a panic.
struct Leave(Arc<Shared>, bool);

impl Drop for Leave {
    fn drop(&mut self) {
        let mut connections = self.0.connections.lock();
        connections.all -= 1;
        connections.guests -= usize::from(self.1);
        drop(connections);
        self.0.ended.notify_all();
    }
}

fn converse(
    stream: UnixStream,
    shared: &Shared,
    (peer, who): (&Peer, Who),
    overloaded: bool,
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(MESSAGE_WAIT))?;
    stream.set_write_timeout(Some(MESSAGE_WAIT))?;
    let hello: Hello = wire::receive(&mut &stream)?;
    wire::send(&mut &stream, &Hello::own())?;
    let result = match refusal(&hello, overloaded) {
        Some(error) => Err(error),
        None => match wire::receive::<Request>(&mut &stream) {
            Ok(request) if !who.may(&request) => Err(Error::NotAllowed { uid: peer.uid }),
            Ok(Request::Export { to }) => match export::feed(&shared.service, to) {
                Ok(feed) => {
                    wire::send(&mut &stream, &Reply::Result(Ok(Answer::Done)))?;
                    return export::serve(&stream, feed);
                }
                Err(error) => Err(error),
            },
            Ok(Request::Fill) => {
                wire::send(&mut &stream, &Reply::Result(Ok(Answer::Done)))?;
                return filling::serve(&stream, shared.service.filling.as_deref());
            }
            Ok(request) => {
                return serve(&Arc::new(stream), shared, request, (peer.uid, who));
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Error::Malformed {
                reason: error.to_string(),
            }),
            Err(error) => return Err(error),
        },
    };
    wire::send(&mut &stream, &Reply::Result(result))
}

fn refusal(hello: &Hello, overloaded: bool) -> Option<Error> {
    Hello::difference(&Hello::own(), hello).or(overloaded.then_some(Error::Overloaded))
}

/// Carries a request out on another thread, so that a store that hangs keeps nobody waiting.
fn serve(
    stream: &Arc<UnixStream>,
    shared: &Shared,
    request: Request,
    (uid, who): (u32, Who),
) -> io::Result<()> {
    let asks_store = !matches!(request, Request::Status | Request::Unmount { .. });
    let hangs = {
        let store = Arc::clone(&shared.service.store);
        move || asks_store && store.longest_call() >= limits::STORE_HUNG
    };
    let (tell, told) = mpsc::channel();
    // Whoever has it may send: the thread, until it is given up.
    let voice = Arc::new(Mutex::new(Some(Arc::clone(stream))));
    if hangs() {
        drop(tell);
    } else {
        let (service, voice) = (Arc::clone(&shared.service), Arc::clone(&voice));
        let stream = Arc::clone(stream);
        thread::Builder::new()
            .name("handler".into())
            .spawn(move || {
                // Nobody listens any more when it was given up.
                let _ = tell.send(carry_out(&service, request, uid, &stream, &voice));
            })?;
    }
    let mut result = loop {
        match told.recv_timeout(HANG_LOOK) {
            Ok(result) => break result,
            Err(RecvTimeoutError::Timeout) if !hangs() => {}
            Err(RecvTimeoutError::Disconnected) if !hangs() => {
                let ended = io::Error::other("the thread of a request has panicked");
                return Err(ended);
            }
            Err(_) => {
                break Err(Error::Store {
                    reason: "it does not answer".to_owned(),
                });
            }
        }
    };
    if let Ok(answer) = &mut result {
        who.censor(answer);
    }
    voice.lock().take();
    wire::send(&mut &**stream, &Reply::Result(result))
}

fn carry_out(
    service: &Service,
    request: Request,
    uid: u32,
    stream: &UnixStream,
    voice: &Mutex<Option<Arc<UnixStream>>>,
) -> Result<Answer, Error> {
    let gone = AtomicBool::new(false);
    let progress = |progress: Progress| {
        if let Some(stream) = &*voice.lock()
            && wire::send(&mut &**stream, &Reply::Progress(progress)).is_err()
        {
            gone.store(true, Ordering::Relaxed);
        }
    };
    let cancelled =
        || gone.load(Ordering::Relaxed) || voice.lock().is_none() || has_hung_up(stream);
    let watch = Watch {
        progress: &progress,
        cancelled: &cancelled,
    };
    service.handle(request, uid, &watch)
}

/// Whether the other side has closed its sending half: how a command that was interrupted says
/// that it wants nothing more, and what the kernel says for one that was killed.
fn has_hung_up(stream: &UnixStream) -> bool {
    let mut hung_up = [PollFd::new(stream, PollFlags::RDHUP)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut hung_up, Some(&at_once)).unwrap_or(0) > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::client::{Client, ClientError, Wait};
    use crate::control::report;
    use crate::control::request::User;
    use crate::control::service;
    use crate::control::when::When;
    use crate::store::Store;
    use crate::time::Timestamp;
    use std::sync::atomic::AtomicU32;

    /// A mount that somebody uses, or not.
    struct Fake {
        users: Mutex<Vec<User>>,
        mounted: AtomicBool,
        /// How often it can't be taken off yet.
        busy: AtomicU32,
    }

    impl service::Mounting for Fake {
        fn describe(&self) -> report::Mounted {
            report::Mounted {
                mountpoint: "/p".into(),
                since: When(Timestamp(0)),
                pid: 7,
                version: "0".into(),
                read_only: false,
                writeback: false,
                recording: true,
                waiting: 0,
                slow_operations: 0,
                waits: report::Waits::default(),
            }
        }
        fn snapdir(&self) -> Option<String> {
            None
        }
        fn users(&self) -> Vec<User> {
            self.users.lock().clone()
        }
        fn below(&self) -> Vec<User> {
            Vec::new()
        }
        fn unmount(&self) -> io::Result<()> {
            let count = |busy: u32| busy.checked_sub(1);
            let order = Ordering::Relaxed;
            if self.busy.fetch_update(order, order, count).is_ok() {
                return Err(io::Error::from_raw_os_error(libc::EBUSY));
            }
            self.mounted.store(false, order);
            Ok(())
        }
        fn force(&self) -> io::Result<()> {
            self.unmount()
        }
        fn drop_caches(&self, _: &[(crate::id::FileId, crate::id::Epoch)]) {}
    }

    struct Patient;

    impl Wait for Patient {
        fn progress(&self, _: &Progress) {}
        fn interrupted(&self) -> bool {
            false
        }
    }

    fn keeper() -> Keeper {
        Keeper {
            owner: Box::new(|| 0),
            group: None,
        }
    }

    /// A daemon without a recorder, on a store in memory.
    struct Daemon {
        folder: tempfile::TempDir,
        mount: Arc<Fake>,
        server: Server,
    }

    impl Daemon {
        fn start() -> Daemon {
            let folder = tempfile::tempdir().unwrap();
            let mount = Arc::new(Fake {
                users: Mutex::default(),
                mounted: AtomicBool::new(true),
                busy: AtomicU32::new(0),
            });
            let service = Service {
                dir: "/p".into(),
                store_path: folder.path().to_owned(),
                store: Store::in_memory().unwrap(),
                recorder: None,
                mount: Some(mount.clone()),
                unmounting: Mutex::new(()),
                undo: Default::default(),
                diff: Default::default(),
                replication: Default::default(),
                filling: None,
            };
            let opened = Folder::open(folder.path()).unwrap();
            Daemon {
                server: Server::open(&opened, None, Arc::new(service), keeper()).unwrap(),
                folder,
                mount,
            }
        }

        fn ask(&self, request: &Request) -> Result<Answer, ClientError> {
            let folder = Folder::open(self.folder.path()).unwrap();
            Client::connect(&folder)?.ask(request, &Patient)
        }
    }

    fn refusal(result: Result<Answer, ClientError>) -> Error {
        match result {
            Err(ClientError::Answered(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests_are_answered_with_values_and_refusals() {
        let daemon = Daemon::start();
        let list = Request::List {
            checkpoints: true,
            after: None,
        };
        let Ok(Answer::Page { lines, next }) = daemon.ask(&list) else {
            panic!("a page");
        };
        assert!(lines.is_empty() && next.is_none());
        let delete = Request::Delete {
            name: "x".into(),
            now: false,
        };
        let gone = Error::NoSnapshot { name: "x".into() };
        assert_eq!(refusal(daemon.ask(&delete)), gone);
        let rename = Request::Rename {
            old: "x".into(),
            new: "@y".into(),
        };
        assert!(matches!(
            refusal(daemon.ask(&rename)),
            Error::BadName { .. }
        ));
        let Ok(Answer::Status(status)) = daemon.ask(&Request::Status) else {
            panic!("a status");
        };
        assert_eq!(status.dir, "/p");
        assert_eq!(status.mounted.map(|mounted| mounted.pid), Some(7));
        daemon.server.close(Duration::from_secs(10));
    }

    #[test]
    fn a_mount_in_use_is_left_alone_and_its_users_are_named() {
        let daemon = Daemon::start();
        let users = vec![User {
            pid: 8,
            command: "vi".into(),
            holds: "has notes open".into(),
        }];
        daemon.mount.users.lock().clone_from(&users);
        let unmount = |force| daemon.ask(&Request::Unmount { force });
        assert_eq!(refusal(unmount(false)), Error::Busy { users });
        assert!(daemon.mount.mounted.load(Ordering::Relaxed));
        assert_eq!(unmount(true).unwrap(), Answer::Done);
        assert!(!daemon.mount.mounted.load(Ordering::Relaxed));
        daemon.server.close(Duration::from_secs(10));
    }

    #[test]
    fn a_mount_that_is_busy_for_a_moment_is_taken_off_all_the_same() {
        let daemon = Daemon::start();
        daemon.mount.busy.store(3, Ordering::Relaxed);
        let unmount = daemon.ask(&Request::Unmount { force: false });
        assert_eq!(unmount.unwrap(), Answer::Done);
        assert!(!daemon.mount.mounted.load(Ordering::Relaxed));
        daemon.server.close(Duration::from_secs(10));
    }

    #[test]
    fn the_socket_is_for_its_owner_and_a_dead_one_is_replaced() {
        use std::os::unix::fs::MetadataExt;
        let daemon = Daemon::start();
        let path = daemon.folder.path().join(NAME);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        daemon.server.close(Duration::from_secs(10));
        let folder = Folder::open(daemon.folder.path()).unwrap();
        let nobody = Client::connect(&folder);
        assert!(matches!(nobody, Err(ClientError::NoDaemon)));
        // The dead socket is still there.
        assert!(path.exists());
        drop(UnixListener::bind(folder.inside("other")).unwrap());
        std::fs::rename(folder.inside("other"), &path).unwrap();
        let service = Service {
            dir: "/p".into(),
            store_path: path,
            store: Store::in_memory().unwrap(),
            recorder: None,
            mount: None,
            unmounting: Mutex::new(()),
            undo: Default::default(),
            diff: Default::default(),
            replication: Default::default(),
            filling: None,
        };
        let server = Server::open(&folder, None, Arc::new(service), keeper()).unwrap();
        let client = Client::connect(&folder).unwrap();
        let unmount = Request::Unmount { force: false };
        assert_eq!(refusal(client.ask(&unmount, &Patient)), Error::NotMounted);
        server.close(Duration::from_secs(10));
    }

    #[test]
    fn another_version_is_told_so_and_nonsense_does_not_hang_the_daemon() {
        let daemon = Daemon::start();
        let connect = || UnixStream::connect(daemon.folder.path().join(NAME)).unwrap();
        let stream = connect();
        let old = Hello {
            rewindfs: "0.0.1".into(),
            protocol: 0,
        };
        wire::send(&mut &stream, &old).unwrap();
        let hello: Hello = wire::receive(&mut &stream).unwrap();
        assert_eq!(hello, Hello::own());
        let Reply::Result(Err(Error::Version {
            daemon: ours,
            program,
        })) = wire::receive(&mut &stream).unwrap()
        else {
            panic!("a refusal");
        };
        assert_eq!((ours, program), (Hello::own().rewindfs, "0.0.1".into()));
        let stream = connect();
        wire::send(&mut &stream, &Hello::own()).unwrap();
        let _: Hello = wire::receive(&mut &stream).unwrap();
        wire::send(&mut &stream, &"nonsense").unwrap();
        let Reply::Result(Err(Error::Malformed { .. })) = wire::receive(&mut &stream).unwrap()
        else {
            panic!("a refusal");
        };
        assert!(daemon.ask(&Request::Status).is_ok());
        daemon.server.close(Duration::from_secs(10));
    }

    #[test]
    fn who_hangs_up_is_noticed() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert!(!has_hung_up(&ours));
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(has_hung_up(&ours));
    }
}
