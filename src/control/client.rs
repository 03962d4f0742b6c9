//! The other side of the door: asks a daemon and waits for it, within bounds.

use super::door;
use super::error::Error;
use super::export::Remote;
use super::filling::Line;
use super::folder::Folder;
use super::mounts::Mount;
use super::protocol::Hello;
use super::request::{Answer, Progress, Reply, Request};
use super::socket::NAME;
use super::wire;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::UCred;
use rustix::process::{PidfdFlags, pidfd_open};
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a daemon may be silent: it reports twice a second on what takes long.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long it may take to say its version: a thread of its own does nothing else.
const HELLO_WAIT: Duration = Duration::from_secs(10);

/// Why a daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens: not mounted, or the daemon has died.
    #[error("no daemon answers")]
    NoDaemon,
    #[error("the socket of the daemon belongs to somebody else: {0}")]
    Refused(io::Error),
    #[error("the daemon (pid {pid}) does not answer")]
    Silent { pid: u32 },
    #[error("the daemon ended before it answered")]
    Ended,
    #[error("the connection to the daemon failed: {0}")]
    Io(io::Error),
    #[error(transparent)]
    Answered(#[from] Error),
}

/// A connection over which one request can be made.
pub struct Client {
    stream: UnixStream,
    pid: u32,
    /// Readable when the daemon has ended; `None` if the kernel gave none.
    process: Option<OwnedFd>,
}

/// What happens while a request is under way.
pub trait Wait {
    /// The daemon says how far it is.
    fn progress(&self, progress: &Progress);
    /// Whether the person has had enough. Asked about ten times a second.
    fn interrupted(&self) -> bool;
}

impl Client {
    /// Connects, and compares versions.
    ///
    /// # Errors
    /// `NoDaemon` when nobody listens; `Answered(Version)` with an open connection lost, but see
    /// `pid_of`.
    pub fn connect(folder: &Folder) -> Result<Client, ClientError> {
        Client::reach(folder)?.greet()
    }

    /// The same through the door that root's daemons have for everybody.
    ///
    /// # Errors
    /// `NoDaemon` when there is none, or it is not root's.
    pub fn knock(mount: &Mount) -> Result<Client, ClientError> {
        Client::at(&door::path(mount), true)?.greet()
    }

    fn greet(self) -> Result<Client, ClientError> {
        let client = self;
        wire::send(&mut &client.stream, &Hello::own()).map_err(|error| client.explain(error))?;
        let hello: Hello =
            wire::receive(&mut &client.stream).map_err(|error| client.explain(error))?;
        client.set_patience(SILENCE_MAX).map_err(ClientError::Io)?;
        match Hello::difference(&hello, &Hello::own()) {
            Some(error) => Err(ClientError::Answered(error)),
            None => Ok(client),
        }
    }

    /// Connects without a word: enough to know who is there.
    ///
    /// # Errors
    /// `NoDaemon` when nobody listens.
    pub fn reach(folder: &Folder) -> Result<Client, ClientError> {
        Client::at(&folder.inside(NAME), false)
    }

    fn at(path: &Path, of_root: bool) -> Result<Client, ClientError> {
        let stream = UnixStream::connect(path).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT | libc::ECONNREFUSED) => ClientError::NoDaemon,
            Some(libc::EACCES | libc::EPERM) => ClientError::Refused(error),
            _ => ClientError::Io(error),
        })?;
        let setting = || -> io::Result<UCred> {
            stream.set_read_timeout(Some(HELLO_WAIT))?;
            stream.set_write_timeout(Some(HELLO_WAIT))?;
            Ok(rustix::net::sockopt::socket_peercred(&stream)?)
        };
        let other = setting().map_err(ClientError::Io)?;
        if of_root && !other.uid.is_root() {
            return Err(ClientError::NoDaemon);
        }
        let pid = other.pid;
        Ok(Client {
            pid: pid.as_raw_nonzero().get().unsigned_abs(),
            process: pidfd_open(pid, PidfdFlags::empty()).ok(),
            stream,
        })
    }

    fn set_patience(&self, at_most: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(at_most))?;
        self.stream.set_write_timeout(Some(at_most))
    }

    /// The process that listens.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends the request and waits for the result.
    ///
    /// # Errors
    /// What the daemon answered, or why it did not. `Answered(Interrupted)` when `wait` said so
    /// and the daemon did not finish within `limits`' grace.
    pub fn ask(&self, request: &Request, wait: &dyn Wait) -> Result<Answer, ClientError> {
        wire::send(&mut &self.stream, request).map_err(|error| self.explain(error))?;
        let mut silent = Duration::ZERO;
        let mut given_up = None;
        loop {
            if readable(&self.stream, LOOK_EVERY) {
                silent = Duration::ZERO;
                match wire::receive(&mut &self.stream).map_err(|error| self.explain(error))? {
                    Reply::Progress(progress) => wait.progress(&progress),
                    Reply::Result(result) => return Ok(result?),
                }
                if given_up.is_none() {
                    continue;
                }
            }
            silent += LOOK_EVERY;
            if silent > SILENCE_MAX {
                return Err(ClientError::Silent { pid: self.pid });
            }
            if given_up.is_none() && wait.interrupted() {
                // Nothing more will be asked for: the daemon takes back what it makes.
                let _ = self.stream.shutdown(Shutdown::Write);
                given_up = Some(std::time::Instant::now());
            }
            if given_up.is_some_and(|since| since.elapsed() > INTERRUPT_WAIT) {
                return Err(ClientError::Answered(Error::Interrupted));
            }
        }
    }

    /// Asks for what another place needs to have this history.
    ///
    /// # Errors
    /// As `ask`.
    pub fn export(self, to: Option<u64>, wait: &dyn Wait) -> Result<Remote, ClientError> {
        self.ask(&Request::Export { to }, wait)?;
        Remote::new(self.stream).map_err(ClientError::Io)
    }

    /// Brings what a recovery has still to bring.
    ///
    /// # Errors
    /// As `ask`.
    pub fn fill(self, wait: &dyn Wait) -> Result<Line, ClientError> {
        self.ask(&Request::Fill, wait)?;
        Line::new(self.stream).map_err(ClientError::Io)
    }

    /// Waits until the daemon has ended. False: it has not within the bound.
    pub fn wait_for_end(&self, at_most: Duration) -> bool {
        match &self.process {
            Some(process) => readable(process, at_most),
            // Without a pidfd the closing of its end of the socket must do.
            None => {
                let _ = self.stream.set_read_timeout(Some(at_most));
                let end: io::Result<Reply> = wire::receive(&mut &self.stream);
                end.is_err_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
            }
        }
    }

    fn explain(&self, error: io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ClientError::Silent { pid: self.pid }
            }
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset => ClientError::Ended,
            _ => ClientError::Io(error),
        }
    }
}

/// How often a person's interruption is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long an interrupted command waits for the daemon to take back what it was making.
const INTERRUPT_WAIT: Duration = Duration::from_secs(5);

/// Whether there is something to read, or the other side has gone, within a bound.
fn readable(descriptor: &impl std::os::fd::AsFd, at_most: Duration) -> bool {
    let bound = Timespec {
        tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(at_most.subsec_nanos()),
    };
    let mut set = [PollFd::new(descriptor, PollFlags::IN)];
    poll(&mut set, Some(&bound)).unwrap_or(0) > 0
}
