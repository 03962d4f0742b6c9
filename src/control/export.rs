//! A store that is sent elsewhere by another process: behind the answer to `Request::Export` the
//! connection speaks in frames, a question and its answer at a time. So what goes to a provider goes
//! by no thread and no memory of the daemon, and the daemon never sees a password.
//!
//! A frame is a length of four bytes, little endian, then a value (docs/format.md).

use super::service::Service;
use crate::archive::{ArchiveError, Facts, Feed, Local};
use crate::format::frame::{receive, send};
use crate::format::transfer::{Growth, RawChunk, RawRecord, Sent};
use crate::id::{Epoch, Hash};
use crate::limits;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// A question.
#[derive(Debug, Serialize, Deserialize)]
enum Want {
    Claim([u8; 16]),
    Facts,
    Growth(Epoch),
    Begin(Epoch),
    Page,
    Chunks(Vec<Hash>),
    Note(Sent),
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
enum Have {
    Claimed,
    /// Somebody else sends there.
    Taken,
    Facts(Facts),
    Growth(Growth),
    Begun(bool),
    Page(Option<Vec<RawRecord>>),
    Chunks(Vec<(Hash, Option<RawChunk>)>),
    Noted,
    Failed(String),
}

/// What is sent of a history that this process has open: its newest state, or another.
///
/// # Errors
/// Nothing is recorded yet, or that state is not kept.
pub fn feed(service: &Service, to: Option<u64>) -> Result<Local, super::error::Error> {
    let view = service.store.view();
    let to = match to {
        Some(to) => view.epoch(Epoch(to))?.map(|_| Epoch(to)),
        None => view.newest_epoch()?,
    };
    let to = to.ok_or_else(|| super::error::Error::NoState {
        reason: "nothing is recorded yet".to_owned(),
    })?;
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy().into_owned();
    let dir = service.dir.as_os_str().as_bytes().to_vec();
    Ok(Local::new(Arc::clone(&service.store), to, host, dir))
}

/// The repositories that somebody sends to. Two at once, to the same, would be in each other's way.
static CLAIMED: Mutex<Vec<[u8; 16]>> = Mutex::new(Vec::new());

/// Of one connection.
#[derive(Default)]
struct Claim(Option<[u8; 16]>);

impl Claim {
    fn take(&mut self, repository: [u8; 16]) -> bool {
        let mut all = CLAIMED.lock();
        if self.0 == Some(repository) {
            return true;
        }
        if self.0.is_some() || all.contains(&repository) {
            return false;
        }
        all.push(repository);
        self.0 = Some(repository);
        true
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(own) = self.0 {
            CLAIMED.lock().retain(|other| *other != own);
        }
    }
}

/// Answers questions until the other side has gone.
///
/// # Errors
/// The connection has ended, or nothing was asked for too long.
pub fn serve(stream: &UnixStream, mut feed: Local) -> io::Result<()> {
    let mut claim = Claim::default();
    stream.set_read_timeout(Some(limits::EXPORT_IDLE))?;
    stream.set_write_timeout(Some(limits::EXPORT_IDLE))?;
    loop {
        let want: Want = match receive(&mut &*stream) {
            Ok(want) => want,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let have = match want {
            Want::Claim(repository) => Ok(match claim.take(repository) {
                true => Have::Claimed,
                false => Have::Taken,
            }),
            Want::Facts => feed.facts().map(Have::Facts),
            Want::Growth(after) => feed.growth(after).map(Have::Growth),
            Want::Begin(after) => feed.begin(after).map(Have::Begun),
            Want::Page => feed.page().map(Have::Page),
            Want::Chunks(hashes) => feed.chunks(&hashes).map(Have::Chunks),
            Want::Note(sent) => feed.note(&sent).map(|()| Have::Noted),
        };
        let have = have.unwrap_or_else(|error| Have::Failed(error.to_string()));
        send(&mut &*stream, &have)?;
    }
}

/// The other end: a store that a daemon has open.
pub struct Remote {
    stream: UnixStream,
}

impl Remote {
    /// On a connection whose request was answered.
    ///
    /// # Errors
    /// The connection can't be set up.
    pub fn new(stream: UnixStream) -> io::Result<Remote> {
        stream.set_read_timeout(Some(limits::EXPORT_IDLE))?;
        stream.set_write_timeout(Some(limits::EXPORT_IDLE))?;
        Ok(Remote { stream })
    }

    fn ask(&mut self, want: &Want) -> Result<Have, ArchiveError> {
        let asked = send(&mut &self.stream, want).and_then(|()| receive(&mut &self.stream));
        match asked {
            Ok(Have::Failed(reason)) => Err(ArchiveError::Feed(reason)),
            Ok(have) => Ok(have),
            Err(error) => Err(ArchiveError::Feed(match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset => "the daemon has ended".to_owned(),
                _ => error.to_string(),
            })),
        }
    }
}

fn strange<T>(_: Have) -> Result<T, ArchiveError> {
    Err(ArchiveError::Feed(
        "the answer is one to another question".to_owned(),
    ))
}

impl Feed for Remote {
    fn claim(&mut self, repository: [u8; 16]) -> Result<(), ArchiveError> {
        match self.ask(&Want::Claim(repository))? {
            Have::Claimed => Ok(()),
            Have::Taken => Err(ArchiveError::Busy),
            other => strange(other),
        }
    }

    fn facts(&mut self) -> Result<Facts, ArchiveError> {
        match self.ask(&Want::Facts)? {
            Have::Facts(facts) => Ok(facts),
            other => strange(other),
        }
    }

    fn growth(&mut self, after: Epoch) -> Result<Growth, ArchiveError> {
        match self.ask(&Want::Growth(after))? {
            Have::Growth(growth) => Ok(growth),
            other => strange(other),
        }
    }

    fn begin(&mut self, after: Epoch) -> Result<bool, ArchiveError> {
        match self.ask(&Want::Begin(after))? {
            Have::Begun(kept) => Ok(kept),
            other => strange(other),
        }
    }

    fn page(&mut self) -> Result<Option<Vec<RawRecord>>, ArchiveError> {
        match self.ask(&Want::Page)? {
            Have::Page(page) => Ok(page),
            other => strange(other),
        }
    }

    fn chunks(&mut self, hashes: &[Hash]) -> Result<Vec<(Hash, Option<RawChunk>)>, ArchiveError> {
        match self.ask(&Want::Chunks(hashes.to_vec()))? {
            Have::Chunks(chunks) => Ok(chunks),
            other => strange(other),
        }
    }

    fn note(&mut self, sent: &Sent) -> Result<(), ArchiveError> {
        match self.ask(&Want::Note(sent.clone()))? {
            Have::Noted => Ok(()),
            other => strange(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use std::io::Write;
    use std::thread;

    #[test]
    fn one_at_a_time_sends_to_a_repository_and_others_elsewhere() {
        let store = Store::in_memory().unwrap();
        let connect = || {
            let local = Local::new(Arc::clone(&store), Epoch(1), String::new(), Vec::new());
            let (here, there) = UnixStream::pair().unwrap();
            let server = thread::spawn(move || serve(&there, local));
            (Remote::new(here).unwrap(), server)
        };
        let ((mut one, server), (mut two, _two), (mut three, _three)) =
            (connect(), connect(), connect());
        let id = [0x51; 16];
        one.claim(id).unwrap();
        one.claim(id).unwrap();
        assert!(matches!(two.claim(id), Err(ArchiveError::Busy)));
        three.claim([0x52; 16]).unwrap();
        // Whoever has gone keeps nobody waiting.
        drop(one);
        server.join().unwrap().unwrap();
        two.claim(id).unwrap();
        // One connection is for one place.
        assert!(matches!(three.claim(id), Err(ArchiveError::Busy)));
        assert!(matches!(three.claim([0x53; 16]), Err(ArchiveError::Busy)));
    }

    #[test]
    fn questions_are_answered_and_what_is_none_ends_it() {
        let store = Store::in_memory().unwrap();
        let local = Local::new(Arc::clone(&store), Epoch(1), "h".to_owned(), b"/d".to_vec());
        let (here, there) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || serve(&there, local));
        let mut remote = Remote::new(here.try_clone().unwrap()).unwrap();
        assert_eq!(
            remote.chunks(&[Hash([1; 32])]).unwrap(),
            [(Hash([1; 32]), None)]
        );
        assert_eq!(remote.page().unwrap(), None);
        // There is no epoch 1.
        let error = remote.facts().unwrap_err();
        assert!(matches!(error, ArchiveError::Feed(_)), "{error}");
        (&here).write_all(&[0xff; 8]).unwrap();
        let ended = server.join().unwrap().unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::InvalidData);
        drop(here);
        let error = remote.page().unwrap_err().to_string();
        assert!(error.contains("daemon has ended"), "{error}");
    }
}
