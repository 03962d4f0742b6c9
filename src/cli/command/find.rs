//! `find`: every name that ever matched a pattern, and from where to copy it.

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::past::{Past, Paths};
use super::super::quote::quote;
use super::super::reach;
use crate::control::report::FindLine;
use crate::control::request::{Answer, RawPath, Request};
use crate::control::when::When;
use crate::time::TimeZone;
use serde::Serialize;
use std::ffi::OsStr;
use std::io::{self, Write, stdout};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// `find DIR PATTERN`.
pub fn run(args: &args::Find) -> Result<Exit, Error> {
    let dir = &args.dir;
    let paths = Paths::find(std::slice::from_ref(&dir.dir), dir.store.said().as_deref())?;
    let past = Past::open(&paths.place, &paths.root, false)?;
    if past.is_mounted() {
        past.record()?;
    }
    let under = paths.asked.first().map(|names| names.join(&b'/'));
    let under = RawPath(under.unwrap_or_default());
    let zone = TimeZone::system();
    let mut out = io::BufWriter::new(stdout().lock());
    let mut any = false;
    let mut after = None;
    loop {
        let request = Request::Find {
            pattern: args.pattern.clone(),
            under: under.clone(),
            after,
        };
        let Answer::Found { lines, next } = past.ask(request, "find")? else {
            return Err(reach::strange(&paths.place));
        };
        for line in &lines {
            any = true;
            let copy = copy_from(&paths.root, line);
            if args.json {
                serde_json::to_writer(&mut out, &Shown::of(line, &copy))
                    .map_err(io::Error::from)?;
                writeln!(out)?;
            } else {
                writeln!(out, "{}", text(line, &copy, &zone))?;
            }
        }
        if next.is_none() {
            break;
        }
        after = next;
    }
    out.flush()?;
    if !any {
        eprintln!("rewindfs: no name in this history ever matched");
    }
    Ok(if any { Exit::Done } else { Exit::Differs })
}

/// Where it can be copied from, while it is mounted.
fn copy_from(root: &Path, line: &FindLine) -> PathBuf {
    let path = OsStr::from_bytes(&line.path.0);
    match line.is_there {
        true => root.join(path),
        false => root.join(format!(".snapshots/@{}", line.last)).join(path),
    }
}

fn text(line: &FindLine, copy: &Path, zone: &TimeZone) -> String {
    let last = match line.is_there {
        true => "now".to_owned(),
        false => line.last.0.local(zone),
    };
    let slash = if line.folder { "/" } else { "" };
    format!(
        "{}  {last:<26}  {}{slash}",
        line.first.0.local(zone),
        quote(copy)
    )
}

/// A line of `--json`.
#[derive(Serialize)]
struct Shown<'a> {
    path: std::borrow::Cow<'a, str>,
    kind: &'static str,
    first: When,
    last: When,
    is_there: bool,
    copy: String,
}

impl Shown<'_> {
    fn of<'a>(line: &'a FindLine, copy: &Path) -> Shown<'a> {
        Shown {
            path: String::from_utf8_lossy(&line.path.0),
            kind: if line.folder { "folder" } else { "file" },
            first: line.first,
            last: line.last,
            is_there: line.is_there,
            copy: copy.to_string_lossy().into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn a_line_says_when_and_from_where() {
        let line = FindLine {
            path: RawPath(b"src/my file".to_vec()),
            folder: false,
            first: When(Timestamp(1_795_169_703_123_456_789)),
            last: When(Timestamp(1_795_169_704_000_000_000)),
            is_there: false,
        };
        let copy = copy_from(Path::new("/p"), &line);
        assert_eq!(
            text(&line, &copy, &TimeZone::UTC),
            "2026-11-20 10:15:03 +00:00  2026-11-20 10:15:04 +00:00  \
             '/p/.snapshots/@2026-11-20T10:15:04.000000000Z/src/my file'"
        );
        let there = FindLine {
            is_there: true,
            folder: true,
            ..line
        };
        let copy = copy_from(Path::new("/p"), &there);
        assert!(
            text(&there, &copy, &TimeZone::UTC)
                .ends_with("now                         '/p/src/my file'/")
        );
    }
}
