//! A store that is sent elsewhere, or gets back from there what it has lost, by another process: behind
//! the answer to `Request::Export` the connection speaks in frames, a question and its answer at a
//! time. So what goes to a provider goes by no thread and no memory of the daemon, and the daemon never
//! sees a password.
//!
//! A frame is a length of four bytes, little endian, then a value (docs/format.md).

use super::protocol::PROTOCOL;
use super::service::Service;
use crate::archive::{ArchiveError, Facts, Feed, Local};
use crate::format::frame::{receive, send};
use crate::format::transfer::{Growth, RawChunk, RawRecord, Sent};
use crate::id::{Epoch, Hash};
use crate::limits;
use crate::store::repair::{GivenSet, Lacking};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

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
    LacksRecords,
    HasSet(GivenSet),
    PutBackRecords(Vec<RawRecord>),
    Settle,
    Lost,
    PutBack(Vec<RawChunk>),
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
    /// The answer to what takes long is yet to come.
    Working,
    LacksRecords(Lacking),
    HasSet(bool),
    Lost(Vec<Hash>),
    /// So many were taken, or removed again.
    PutBack(u64),
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
    let alone = service.mount.is_none();
    Ok(Local::new(Arc::clone(&service.store), to, host, dir).alone(alone))
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
            Want::LacksRecords => {
                let lacking = feed.lacks_records(&working(stream));
                lacking.map(Have::LacksRecords)
            }
            Want::HasSet(set) => feed.has_set(&set).map(Have::HasSet),
            Want::PutBackRecords(records) => feed.put_back_records(records).map(Have::PutBack),
            Want::Settle => feed.settle().map(Have::PutBack),
            Want::Lost => feed.lost(&working(stream)).map(Have::Lost),
            Want::PutBack(chunks) => feed.put_back(&chunks).map(Have::PutBack),
            want => give(&mut feed, want),
        };
        let have = have.unwrap_or_else(|error| Have::Failed(error.to_string()));
        send(&mut &*stream, &have)?;
    }
}

/// Tells the other side now and then that it is worked on; false when that has gone.
fn working(stream: &UnixStream) -> impl Fn() -> bool {
    let told = Cell::new(Instant::now());
    move || {
        if told.get().elapsed() < limits::EXPORT_TOLD {
            return true;
        }
        told.set(Instant::now());
        send(&mut &*stream, &Have::Working).is_ok()
    }
}

/// What is asked by somebody who only takes.
fn give(feed: &mut dyn Feed, want: Want) -> Result<Have, ArchiveError> {
    match want {
        Want::Claim(repository) => match feed.claim(repository) {
            Ok(()) => Ok(Have::Claimed),
            Err(ArchiveError::Busy) => Ok(Have::Taken),
            Err(error) => Err(error),
        },
        Want::Facts => feed.facts().map(Have::Facts),
        Want::Growth(after) => feed.growth(after).map(Have::Growth),
        Want::Begin(after) => feed.begin(after).map(Have::Begun),
        Want::Page => feed.page().map(Have::Page),
        Want::Chunks(hashes) => feed.chunks(&hashes).map(Have::Chunks),
        Want::Note(sent) => feed.note(&sent).map(|()| Have::Noted),
        Want::LacksRecords
        | Want::HasSet(_)
        | Want::PutBackRecords(_)
        | Want::Settle
        | Want::Lost
        | Want::PutBack(_) => Err(ArchiveError::Feed("it is given here, not taken".to_owned())),
    }
}

/// Answers, for another machine, what a feed that is here has. First the number of these messages.
///
/// # Errors
/// The line has ended in the middle of a question.
pub fn relay(feed: &mut dyn Feed, mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    send(&mut to, &PROTOCOL)?;
    loop {
        let want: Want = match receive(&mut from) {
            Ok(want) => want,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let have = give(feed, want);
        let have = have.unwrap_or_else(|error| Have::Failed(error.to_string()));
        send(&mut to, &have)?;
    }
}

/// The other end: a store that a daemon has open.
pub struct Remote {
    stream: UnixStream,
    /// On another machine the name of a place here means nothing: this stands before it.
    fetched_by: Option<String>,
}

impl Remote {
    /// On a connection whose request was answered.
    ///
    /// # Errors
    /// The connection can't be set up.
    pub fn new(stream: UnixStream) -> io::Result<Remote> {
        stream.set_read_timeout(Some(limits::EXPORT_IDLE))?;
        stream.set_write_timeout(Some(limits::EXPORT_IDLE))?;
        Ok(Remote {
            stream,
            fetched_by: None,
        })
    }

    /// To another machine, which answers as `relay` does; there it is noted who fetches.
    ///
    /// # Errors
    /// Nobody answers there, or a program of another version.
    pub fn over(stream: UnixStream, fetched_by: String) -> io::Result<Remote> {
        let remote = Remote {
            fetched_by: Some(fetched_by),
            ..Remote::new(stream)?
        };
        match receive::<u32>(&mut &remote.stream) {
            Ok(PROTOCOL) => Ok(remote),
            Ok(_) => Err(io::Error::other(
                "the program there is of another version: install the same one",
            )),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(io::Error::other("nothing was answered"))
            }
            Err(error) => Err(error),
        }
    }

    fn ask(&mut self, want: &Want) -> Result<Have, ArchiveError> {
        self.ask_long(want, &|| true)
    }

    fn ask_long(&mut self, want: &Want, go_on: &dyn Fn() -> bool) -> Result<Have, ArchiveError> {
        let mut asked = send(&mut &self.stream, want).and_then(|()| receive(&mut &self.stream));
        while let Ok(Have::Working) = asked {
            if !go_on() {
                return Err(ArchiveError::Interrupted);
            }
            asked = receive(&mut &self.stream);
        }
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
        let mut sent = sent.clone();
        if let Some(start) = &self.fetched_by {
            let path = sent.url.strip_prefix("file://").unwrap_or(&sent.url);
            sent.url = format!("{start}{path}");
        }
        match self.ask(&Want::Note(sent))? {
            Have::Noted => Ok(()),
            other => strange(other),
        }
    }

    fn lacks_records(&mut self, go_on: &dyn Fn() -> bool) -> Result<Lacking, ArchiveError> {
        match self.ask_long(&Want::LacksRecords, go_on)? {
            Have::LacksRecords(lacking) => Ok(lacking),
            other => strange(other),
        }
    }

    fn has_set(&mut self, set: &GivenSet) -> Result<bool, ArchiveError> {
        match self.ask(&Want::HasSet(set.clone()))? {
            Have::HasSet(has) => Ok(has),
            other => strange(other),
        }
    }

    fn put_back_records(&mut self, records: Vec<RawRecord>) -> Result<u64, ArchiveError> {
        match self.ask(&Want::PutBackRecords(records))? {
            Have::PutBack(taken) => Ok(taken),
            other => strange(other),
        }
    }

    fn settle(&mut self) -> Result<u64, ArchiveError> {
        match self.ask(&Want::Settle)? {
            Have::PutBack(removed) => Ok(removed),
            other => strange(other),
        }
    }

    fn lost(&mut self, go_on: &dyn Fn() -> bool) -> Result<Vec<Hash>, ArchiveError> {
        match self.ask_long(&Want::Lost, go_on)? {
            Have::Lost(hashes) => Ok(hashes),
            other => strange(other),
        }
    }

    fn put_back(&mut self, chunks: &[RawChunk]) -> Result<u64, ArchiveError> {
        match self.ask(&Want::PutBack(chunks.to_vec()))? {
            Have::PutBack(taken) => Ok(taken),
            other => strange(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
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
