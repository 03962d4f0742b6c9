//! A place on another machine that has this program: `ssh HOST rewindfs serve --stdio FOLDER` answers
//! on its standard output what is asked on its standard input, a frame each. It knows
//! objects by name and nothing of what is in them: the password does not go there.

use super::ArchiveError;
use super::objects::Objects;
use crate::format::frame;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use url::Url;

/// Number of these messages.
const SPEECH: u32 = 2;
/// How another machine is reached, unless somebody says otherwise. One that is gone is noticed.
const SSH: &str = "ssh -o BatchMode=yes -o ServerAliveInterval=15 -o ServerAliveCountMax=4";
/// The environment variable that says otherwise.
pub const VARIABLE: &str = "REWINDFS_RSH";

/// A question.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Ask {
    Hello {
        speech: u32,
        create: bool,
    },
    Put {
        name: String,
        bytes: Vec<u8>,
    },
    Get(String),
    Length(String),
    List(String),
    Delete(String),
    /// In place of bytes that are damaged.
    Mend {
        name: String,
        bytes: Vec<u8>,
    },
    /// So many bytes of an object, behind so many others.
    Range {
        name: String,
        from: u64,
        bytes: u64,
    },
}

/// An answer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Tell {
    Hello { speech: u32 },
    Put(bool),
    Bytes(Vec<u8>),
    Length(u64),
    List(Vec<(String, u64)>),
    Deleted,
    Missing,
    Failed(String),
}

/// The other machine, as the one who asks sees it.
pub(super) struct Remote {
    command: Vec<String>,
    create: bool,
    line: Mutex<Option<Line>>,
}

struct Line {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
}

impl Drop for Line {
    fn drop(&mut self) {
        // It has nothing to finish: what was answered is done, and nothing else was promised.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Remote {
    /// The way to `ssh://[USER@]HOST[:PORT]/FOLDER`; `/~/` before it: from that user's home.
    pub(super) fn new(url: &Url, create: bool) -> std::result::Result<Remote, String> {
        Ok(Remote {
            command: command(url, "--stdio")?,
            create,
            line: Mutex::new(None),
        })
    }
}

/// What is run to have this program answer there, as it is told how.
pub(super) fn command(url: &Url, how: &str) -> std::result::Result<Vec<String>, String> {
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or("write ssh://HOST/FOLDER")?;
    if url.password().is_some() {
        return Err("a secret in a URL is seen by everybody; use a key".to_owned());
    }
    let folder = percent_decoded(url.path()).ok_or("its path is no text")?;
    let folder = match folder.strip_prefix("/~/") {
        Some(below) => below.to_owned(),
        None => folder,
    };
    if folder.trim_matches('/').is_empty() {
        return Err("write ssh://HOST/FOLDER".to_owned());
    }
    // What ssh would take for an option is no host.
    if host.starts_with('-') || url.username().starts_with('-') {
        return Err("that is no host".to_owned());
    }
    let shell = std::env::var(VARIABLE).ok();
    let shell = shell.filter(|shell| !shell.trim().is_empty());
    let words = shell.as_deref().unwrap_or(SSH).split_whitespace();
    let mut command: Vec<String> = words.map(str::to_owned).collect();
    if let Some(port) = url.port() {
        command.extend(["-p".to_owned(), port.to_string()]);
    }
    command.push(match url.username() {
        "" => host.to_owned(),
        user => format!("{user}@{host}"),
    });
    // A shell reads this on the other side.
    let quoted = folder.replace('\'', "'\\''");
    command.push(format!("rewindfs serve {how} '{quoted}'"));
    Ok(command)
}

impl Remote {
    fn connect(&self) -> io::Result<Line> {
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut line = Line { child, to, from };
        let hello = Ask::Hello {
            speech: SPEECH,
            create: self.create,
        };
        match line.ask(&hello)? {
            Tell::Hello { speech: SPEECH } => Ok(line),
            Tell::Failed(reason) => Err(io::Error::other(reason)),
            _ => Err(io::Error::other(
                "the program there is of another version: install the same one",
            )),
        }
    }

    fn ask(&self, ask: &Ask) -> std::result::Result<Tell, String> {
        let mut held = self.line.lock();
        let line = match held.take() {
            Some(line) => Ok(line),
            None => self.connect(),
        };
        let asked = line.and_then(|mut line| line.ask(ask).map(|told| (line, told)));
        match asked {
            Ok((_, Tell::Failed(reason))) => Err(reason),
            Ok((line, told)) => {
                *held = Some(line);
                Ok(told)
            }
            // The next question takes a new line.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe
                ) =>
            {
                Err(format!("{} ended", self.command.join(" ")))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    pub(super) fn put(&self, name: &str, bytes: Vec<u8>) -> Told<bool> {
        let name = name.to_owned();
        match self.ask(&Ask::Put { name, bytes })? {
            Tell::Put(put) => Ok(Some(put)),
            other => strange(&other),
        }
    }

    pub(super) fn mend(&self, name: &str, bytes: Vec<u8>) -> Told<()> {
        let name = name.to_owned();
        match self.ask(&Ask::Mend { name, bytes })? {
            Tell::Put(_) => Ok(Some(())),
            other => strange(&other),
        }
    }

    pub(super) fn get(&self, name: &str) -> Told<Vec<u8>> {
        match self.ask(&Ask::Get(name.to_owned()))? {
            Tell::Bytes(bytes) => Ok(Some(bytes)),
            other => strange(&other),
        }
    }

    pub(super) fn get_range(&self, name: &str, range: Range<u64>) -> Told<Vec<u8>> {
        let name = name.to_owned();
        let (from, bytes) = (range.start, range.end - range.start);
        match self.ask(&Ask::Range { name, from, bytes })? {
            Tell::Bytes(bytes) => Ok(Some(bytes)),
            other => strange(&other),
        }
    }

    pub(super) fn length(&self, name: &str) -> Told<u64> {
        match self.ask(&Ask::Length(name.to_owned()))? {
            Tell::Length(bytes) => Ok(Some(bytes)),
            other => strange(&other),
        }
    }

    pub(super) fn list(&self, folder: &str) -> Told<Vec<(String, u64)>> {
        match self.ask(&Ask::List(folder.to_owned()))? {
            Tell::List(names) => Ok(Some(names)),
            other => strange(&other),
        }
    }

    pub(super) fn delete(&self, name: &str) -> Told<()> {
        match self.ask(&Ask::Delete(name.to_owned()))? {
            Tell::Deleted => Ok(Some(())),
            other => strange(&other),
        }
    }
}

/// `None`: there is no such object.
pub(super) type Told<T> = std::result::Result<Option<T>, String>;

fn strange<T>(told: &Tell) -> Told<T> {
    match told {
        Tell::Missing => Ok(None),
        _ => Err("the answer is one to another question".to_owned()),
    }
}

impl Line {
    fn ask(&mut self, ask: &Ask) -> io::Result<Tell> {
        frame::send(&mut self.to, ask)?;
        frame::receive(&mut self.from)
    }
}

fn percent_decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// Answers for the objects in a folder until nobody asks any more. `append_only`: what is there stays;
/// whoever wants something removed is told that it is.
///
/// # Errors
/// The pipes fail, or what comes is no question.
pub fn serve(
    folder: &Path,
    append_only: bool,
    mut from: impl Read,
    mut to: impl Write,
) -> io::Result<()> {
    let mut objects = None;
    loop {
        let ask: Ask = match frame::receive(&mut from) {
            Ok(ask) => ask,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let told = match ask {
            Ask::Hello { speech, create } if speech == SPEECH => {
                match Objects::in_folder(folder, create) {
                    Ok(opened) => {
                        objects = Some(opened);
                        Tell::Hello { speech: SPEECH }
                    }
                    // It is not made by somebody who only looks.
                    Err(_) if !create && !folder.exists() => Tell::Hello { speech: SPEECH },
                    Err(error) => Tell::Failed(error.to_string()),
                }
            }
            Ask::Hello { .. } => Tell::Hello { speech: SPEECH },
            ask => match &objects {
                Some(objects) => answer(objects, append_only, ask),
                None if matches!(ask, Ask::List(_)) => Tell::List(Vec::new()),
                None => Tell::Missing,
            },
        };
        frame::send(&mut to, &told)?;
    }
}

fn answer(objects: &Objects, append_only: bool, ask: Ask) -> Tell {
    let named = match &ask {
        Ask::Put { name, .. }
        | Ask::Mend { name, .. }
        | Ask::Range { name, .. }
        | Ask::Get(name)
        | Ask::Length(name)
        | Ask::Delete(name) => is_name(name),
        Ask::List(folder) => folder.is_empty() || is_name(folder),
        Ask::Hello { .. } => false,
    };
    if !named {
        return Tell::Failed("that is no name of an object".to_owned());
    }
    let told = match ask {
        Ask::Put { name, bytes } => objects.put(&name, bytes).map(Tell::Put),
        Ask::Get(name) => objects.get(&name).map(Tell::Bytes),
        Ask::Range { name, from, bytes } => {
            let range = from..from.saturating_add(bytes);
            return match objects.get_range(&name, range) {
                Some(bytes) => Tell::Bytes(bytes),
                None => Tell::Missing,
            };
        }
        Ask::Length(name) => objects.length(&name).map(Tell::Length),
        Ask::List(folder) => objects.list(&folder).map(Tell::List),
        Ask::Mend { .. } if append_only => {
            return Tell::Failed("what is there is not changed".to_owned());
        }
        Ask::Mend { name, bytes } => objects.mend(&name, bytes).map(|()| Tell::Put(true)),
        Ask::Delete(_) if append_only => Ok(Tell::Deleted),
        Ask::Delete(name) => objects.delete(&name).map(|()| Tell::Deleted),
        Ask::Hello { .. } => Ok(Tell::Deleted),
    };
    told.unwrap_or_else(|error| match error {
        ArchiveError::Missing { .. } => Tell::Missing,
        ArchiveError::Provider { reason, .. } => Tell::Failed(reason),
        error => Tell::Failed(error.to_string()),
    })
}

/// Whether it is a name as repositories have them: it leads nowhere else.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    name.len() < 200 && name.split('/').count() <= 3 && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(folder: &Path, append_only: bool, asks: &[Ask]) -> Vec<Tell> {
        let (mut from, mut to) = (Vec::new(), Vec::new());
        for ask in asks {
            frame::send(&mut from, ask).unwrap();
        }
        serve(folder, append_only, from.as_slice(), &mut to).unwrap();
        let mut rest = to.as_slice();
        asks.iter()
            .map(|_| frame::receive(&mut rest).unwrap())
            .collect()
    }

    fn hello(create: bool) -> Ask {
        Ask::Hello {
            speech: SPEECH,
            create,
        }
    }

    fn put(name: &str, bytes: &[u8]) -> Ask {
        Ask::Put {
            name: name.to_owned(),
            bytes: bytes.to_vec(),
        }
    }

    fn range(name: &str, from: u64, bytes: u64) -> Ask {
        Ask::Range {
            name: name.to_owned(),
            from,
            bytes,
        }
    }

    #[test]
    fn objects_are_put_once_and_read_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("there");
        let nothing = [
            hello(false),
            Ask::Get("rewindfs".into()),
            Ask::List("".into()),
        ];
        let answers = told(&there, false, &nothing);
        assert_eq!(answers[1..], [Tell::Missing, Tell::List(Vec::new())]);
        assert!(!there.exists());
        let asks = [
            hello(true),
            put("packs/ab/1", b"one"),
            put("packs/ab/1", b"two"),
            Ask::Get("packs/ab/1".into()),
            range("packs/ab/1", 1, 2),
            range("packs/ab/1", 2, 2),
            Ask::Length("packs/ab/1".into()),
            Ask::List("packs".into()),
            Ask::Delete("packs/ab/1".into()),
            Ask::Get("packs/ab/1".into()),
        ];
        let expected = [
            Tell::Hello { speech: SPEECH },
            Tell::Put(true),
            Tell::Put(false),
            Tell::Bytes(b"one".to_vec()),
            Tell::Bytes(b"ne".to_vec()),
            // Not all of that is there.
            Tell::Missing,
            Tell::Length(3),
            Tell::List(vec![("packs/ab/1".to_owned(), 3)]),
            Tell::Deleted,
            Tell::Missing,
        ];
        assert_eq!(told(&there, false, &asks), expected);
    }

    #[test]
    fn where_things_are_only_added_nothing_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let asks = [
            hello(true),
            put("heads/1", b"one"),
            Ask::Delete("heads/1".into()),
            Ask::Get("heads/1".into()),
        ];
        let answers = told(folder.path(), true, &asks);
        assert_eq!(answers[2..], [Tell::Deleted, Tell::Bytes(b"one".to_vec())]);
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("there");
        std::fs::write(folder.path().join("secret"), b"secret").unwrap();
        for name in [
            "../secret",
            "/etc/passwd",
            "packs/../../secret",
            "a//b",
            ".",
            "",
            "A",
        ] {
            let asks = [hello(true), Ask::Get(name.into()), put(name, b"x")];
            for told in &told(&there, false, &asks)[1..] {
                assert!(matches!(told, Tell::Failed(_)), "{name}: {told:?}");
            }
        }
        // What is no question ends it.
        let bytes = [9, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255];
        assert!(serve(&there, false, bytes.as_slice(), Vec::new()).is_err());
    }

    #[test]
    fn the_other_machine_is_reached_as_the_url_says() {
        let command =
            |url: &str| Remote::new(&Url::parse(url).unwrap(), false).map(|remote| remote.command);
        let reached = command("ssh://me@nas:2222/srv/it's%20b").unwrap();
        let expected = [
            "-p",
            "2222",
            "me@nas",
            "rewindfs serve --stdio '/srv/it'\\''s b'",
        ];
        assert_eq!(reached[reached.len() - 4..], expected);
        let home = command("ssh://nas/~/b").unwrap();
        assert_eq!(home.last().unwrap(), "rewindfs serve --stdio 'b'");
        for bad in [
            "ssh://nas",
            "ssh://nas/",
            "ssh://me:x@nas/b",
            "ssh://-oProxy/b",
        ] {
            assert!(command(bad).is_err(), "{bad}");
        }
    }
}
