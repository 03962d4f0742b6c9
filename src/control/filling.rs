//! What is still to come of a recovery is fetched by another process: behind the answer to
//! `Request::Fill` the connection speaks in frames (`format::frame`), a question and its answer at a
//! time. So neither the daemon nor its memory knows a provider or a password.

use super::report::FillingLine;
use super::service::Service;
use super::when::When;
use crate::filling::{Filler, Left, News};
use crate::format::filling::Filling;
use crate::format::frame::{receive, send};
use crate::format::transfer::RawChunk;
use crate::id::Hash;
use crate::limits;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long a question for news may wait for its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Objects that can't be had and are named.
const NAMED_MAX: usize = 5;

/// What the other process says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Tell {
    /// It begins; all that was asked for is asked for again.
    Begin,
    /// What is asked for now?
    Next,
    /// Some chunks.
    Chunks(Vec<RawChunk>),
    /// All chunks of this pack, an object of this name, were given.
    Pack(Hash, String),
    /// So many bytes are still to be fetched, in so many seconds.
    Far(u64, Option<u64>),
    /// An object can't be had, with these chunks.
    Lost {
        name: String,
        chunks: Vec<Hash>,
        reason: String,
    },
    /// Why nothing comes; nothing: it does.
    Trouble(Option<String>),
    /// That was all.
    All,
}

/// What it is told.
#[derive(Debug, Serialize, Deserialize)]
pub enum Told {
    /// What is to come, and the packs that are here; nothing is.
    Begun(Option<(Filling, Vec<Hash>)>),
    News {
        now: Vec<Hash>,
        soon: Vec<Hash>,
    },
    Taken,
    Failed(String),
}

/// Answers until the other side has gone.
///
/// # Errors
/// The connection has ended, or nothing was said for too long.
pub fn serve(stream: &UnixStream, filler: Option<&Filler>) -> io::Result<()> {
    stream.set_read_timeout(Some(limits::EXPORT_IDLE))?;
    stream.set_write_timeout(Some(limits::EXPORT_IDLE))?;
    loop {
        let said: Tell = match receive(&mut &*stream) {
            Ok(said) => said,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let answer = match filler {
            Some(filler) => answer(filler, said),
            None => Told::Begun(None),
        };
        send(&mut &*stream, &answer)?;
    }
}

fn answer(filler: &Filler, said: Tell) -> Told {
    let wants = filler.wants();
    let taken = |result: Result<(), crate::store::StoreError>| match result {
        Ok(()) => Told::Taken,
        Err(error) => Told::Failed(super::error::sentence(&error)),
    };
    match said {
        Tell::Begin => match (filler.filling(), filler.here()) {
            (Some(filling), Ok(here)) => {
                wants.begin_anew();
                Told::Begun(Some((filling, here)))
            }
            (None, _) => Told::Begun(None),
            (_, Err(error)) => Told::Failed(super::error::sentence(&error)),
        },
        Tell::Next => {
            let News { now, soon } = wants.next(ANSWER_WITHIN);
            Told::News { now, soon }
        }
        Tell::Chunks(chunks) => taken(filler.take(None, &chunks)),
        Tell::Pack(pack, name) => {
            wants.found(&name);
            taken(filler.take(Some(pack), &[]))
        }
        Tell::Far(bytes, seconds) => {
            wants.far(bytes, seconds);
            Told::Taken
        }
        Tell::Lost {
            name,
            chunks,
            reason,
        } => {
            wants.lose(name, &chunks, &reason);
            Told::Taken
        }
        Tell::Trouble(trouble) => {
            wants.tell(trouble);
            filler.wake();
            Told::Taken
        }
        Tell::All => {
            wants.finish();
            Told::Taken
        }
    }
}

/// The other end.
pub struct Line(UnixStream);

impl Line {
    /// On a connection whose request was answered.
    ///
    /// # Errors
    /// The connection can't be set up.
    pub fn new(stream: UnixStream) -> io::Result<Line> {
        stream.set_read_timeout(Some(limits::EXPORT_IDLE))?;
        stream.set_write_timeout(Some(limits::EXPORT_IDLE))?;
        Ok(Line(stream))
    }

    /// Says something.
    ///
    /// # Errors
    /// The daemon has ended, or can't do what it was told.
    pub fn say(&mut self, said: &Tell) -> io::Result<Told> {
        send(&mut &self.0, said)?;
        match receive(&mut &self.0)? {
            Told::Failed(reason) => Err(io::Error::other(reason)),
            told => Ok(told),
        }
    }
}

/// What `status` says of it.
pub(super) fn line(service: &Service) -> Option<FillingLine> {
    if let Some(filler) = &service.filling {
        return filler.left().map(|left| of_left(&left));
    }
    let filling = service.store.filling().ok().flatten()?;
    Some(of(&filling))
}

fn of(filling: &Filling) -> FillingLine {
    FillingLine {
        places: filling.places.clone(),
        began: When(filling.began),
        files: filling.files,
        bytes: filling.bytes,
        is_filled: false,
        rest_bytes: None,
        rest_seconds: None,
        trouble: None,
        trouble_since: None,
        lost: Vec::new(),
        fault: None,
    }
}

fn of_left(left: &Left) -> FillingLine {
    let going = &left.going;
    FillingLine {
        is_filled: left.is_filled,
        rest_bytes: going.rest_bytes,
        rest_seconds: going.rest_seconds,
        trouble: going.trouble.as_ref().map(|(reason, _)| reason.clone()),
        trouble_since: going.trouble.as_ref().map(|(_, since)| When(*since)),
        lost: going
            .lost
            .iter()
            .map(|(name, reason)| format!("{name}: {reason}"))
            .collect(),
        fault: left.fault.clone(),
        ..of(&left.filling)
    }
}

/// What a person should see to.
pub(super) fn problems(line: &FillingLine, is_mounted: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let places = line.places.join(" and ");
    let left = match line.is_filled || line.files == 0 {
        true => "the past is not whole yet".to_owned(),
        false => format!(
            "{}, {} bytes, are still without content",
            files(line.files),
            line.bytes
        ),
    };
    if let Some(reason) = &line.trouble {
        problems.push(format!(
            "nothing comes from {places}: {reason}; {left}; it goes on by itself when that is mended"
        ));
    }
    if !line.lost.is_empty() {
        let named = line.lost[..line.lost.len().min(NAMED_MAX)].join(", ");
        let objects = match line.lost.len() {
            1 => "an object".to_owned(),
            count => format!("{count} objects"),
        };
        problems.push(format!(
            "{objects} can't be had from {places}, and what needs it stays empty: {named}"
        ));
    }
    if let Some(fault) = &line.fault {
        problems.push(format!("not all could be recovered as it was: {fault}"));
    }
    if !is_mounted && problems.is_empty() {
        problems.push(format!(
            "the recovery from {places} is not at its end: {left}; it goes on when it is mounted"
        ));
    }
    problems
}

pub(super) fn files(count: u64) -> String {
    match count {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    }
}
