//! `events`: what happened, one JSON line a change; with `--follow` as it happens.

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::past::{Past, Paths};
use super::super::reach;
use super::time_of;
use crate::control::report::{EventLine, Who};
use crate::control::request::{Answer, EventsFrom, RawPath, Request};
use crate::control::when::When;
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, Write, stdout};
use std::thread;
use std::time::Duration;

/// How often somebody who follows is told: what happens is recorded every few seconds.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// `events DIR`.
pub fn run(args: &args::Events) -> Result<Exit, Error> {
    let dir = &args.dir;
    let paths = Paths::find(std::slice::from_ref(&dir.dir), dir.store.said().as_deref())?;
    if args.follow && paths.place.mount.is_none() {
        return Err(Error::NothingToFollow(paths.root));
    }
    let past = Past::open(&paths.place, &paths.root, false)?;
    let under = paths.asked.first().map(|names| names.join(&b'/'));
    let under = RawPath(under.unwrap_or_default());
    let mut from = match &args.since {
        Some(text) => start(text)?,
        None if args.follow => EventsFrom::Now,
        None => EventsFrom::Start,
    };
    if past.is_mounted() && !args.follow {
        // What was done just now is to be told.
        past.record()?;
    }
    let mut out = io::BufWriter::new(stdout().lock());
    loop {
        let request = Request::Events {
            from: from.clone(),
            under: under.clone(),
        };
        let Answer::Events { lines, token, more } = past.ask(request, "events")? else {
            return Err(reach::strange(&paths.place));
        };
        for line in &lines {
            serde_json::to_writer(&mut out, &Shown::of(line)).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        out.flush()?;
        from = EventsFrom::Token(token);
        if !more {
            if !args.follow {
                return Ok(Exit::Done);
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// A token has what no time has: letters and digits up to the first `-`, eight of them.
fn start(text: &str) -> Result<EventsFrom, Error> {
    let first = text.split('-').next().unwrap_or_default();
    let is_token = first.len() == 8 && first.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_token && text.len() > 8 {
        return Ok(EventsFrom::Token(text.to_owned()));
    }
    Ok(EventsFrom::Time(When(time_of(text)?)))
}

/// A line as it is printed: names as text, and in hexadecimal digits where they are no text.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    token: &'a str,
    time: When,
    change: char,
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_hex: Option<String>,
    old_bytes: Option<u64>,
    new_bytes: Option<u64>,
    who: &'a [Who],
}

impl Shown<'_> {
    pub(super) fn of(line: &EventLine) -> Shown<'_> {
        let (path, path_hex) = shown_path(&line.path);
        let (from, from_hex) = line.from.as_ref().map(shown_path).unzip();
        Shown {
            token: &line.token,
            time: line.time,
            change: line.change,
            path,
            path_hex,
            from,
            from_hex: from_hex.flatten(),
            old_bytes: line.old_bytes,
            new_bytes: line.new_bytes,
            who: &line.who,
        }
    }
}

/// A path as text, and in hexadecimal digits when it is no text.
pub(super) fn shown_path(path: &RawPath) -> (Cow<'_, str>, Option<String>) {
    if path.0.is_empty() {
        return (Cow::Borrowed("."), None);
    }
    let digits = || path.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let hex = std::str::from_utf8(&path.0).is_err().then(digits);
    (String::from_utf8_lossy(&path.0), hex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn any_byte_of_a_name_comes_through() {
        let line = EventLine {
            token: "5f3a91c2-1f".into(),
            time: When(Timestamp(1_795_169_703_123_456_789)),
            change: 'R',
            path: RawPath(b"a\xff\n".to_vec()),
            from: Some(RawPath("\u{e9}".into())),
            old_bytes: Some(1),
            new_bytes: Some(2),
            who: Vec::new(),
        };
        assert_eq!(
            serde_json::to_string(&Shown::of(&line)).unwrap(),
            "{\"token\":\"5f3a91c2-1f\",\"time\":\"2026-11-20T10:15:03.123456789Z\",\"change\":\"R\",\
             \"path\":\"a\u{fffd}\\n\",\"path_hex\":\"61ff0a\",\"from\":\"\u{e9}\",\"old_bytes\":1,\
             \"new_bytes\":2,\"who\":[]}"
        );
    }

    #[test]
    fn a_token_is_told_from_a_time() {
        assert!(matches!(start("5f3a91c2-1f"), Ok(EventsFrom::Token(_))));
        assert!(matches!(start("20261120-1f-1-2"), Ok(EventsFrom::Token(_))));
        assert!(matches!(start("2026-11-20"), Ok(EventsFrom::Time(_))));
        assert!(matches!(start("5m"), Ok(EventsFrom::Time(_))));
        assert!(start("nonsense").is_err());
    }
}
