//! `log` of a file: the contents that its name held, with what each can be copied from.

use super::Lines;
use super::doings::{doer, nobody_known};
use crate::cli::error::Error;
use crate::cli::past::{Past, Paths};
use crate::cli::quote::quote;
use crate::cli::reach;
use crate::control::report::{VersionLine, Who};
use crate::control::request::{Answer, RawPath, Request};
use crate::control::when::When;
use crate::time::{TimeZone, Timestamp};
use serde::Serialize;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Whether there are older ones; `None`: it is a folder, or has no versions.
pub(super) fn of(
    past: &Past,
    paths: &Paths,
    under: &RawPath,
    since: Timestamp,
    out: &mut Lines,
) -> Result<Option<bool>, Error> {
    let request = Request::Versions {
        since: When(since),
        of: under.clone(),
    };
    let Answer::Versions {
        lines,
        folder,
        more,
    } = past.ask(request, "log")?
    else {
        return Err(reach::strange(&paths.place));
    };
    if folder {
        return Ok(None);
    }
    for line in &lines {
        let copy = copy_from(&paths.root, line);
        let shown = Shown {
            time: line.time,
            change: line.change,
            path: String::from_utf8_lossy(&line.path.0),
            bytes: line.bytes,
            copy: copy.as_deref().map(Path::to_string_lossy),
            who: &line.who,
        };
        out.put(&shown, |zone| text(line, copy.as_deref(), zone))?;
    }
    Ok(Some(more))
}

/// Where the content stands, while it is mounted.
fn copy_from(root: &Path, line: &VersionLine) -> Option<PathBuf> {
    let is_content = matches!(line.change, 'A' | 'M') && !line.is_lost;
    let past = || root.join(format!(".snapshots/@{}", line.time));
    is_content.then(|| past().join(OsStr::from_bytes(&line.path.0)))
}

fn text(line: &VersionLine, copy: Option<&Path>, zone: &TimeZone) -> String {
    let who = line.who.first().map_or_else(nobody_known, doer);
    let others = match line.who.len() {
        0 | 1 => String::new(),
        count => format!(" ({count} processes)"),
    };
    let what = match (line.change, line.bytes) {
        ('D', _) => "deleted".to_owned(),
        ('R', _) => format!("renamed to {}", quote(OsStr::from_bytes(&line.path.0))),
        (_, Some(bytes)) => format!("{bytes} bytes"),
        _ => "a link".to_owned(),
    };
    let from = match copy {
        Some(copy) => format!("  {}", quote(copy)),
        None if line.is_lost => "  its content was not recorded".to_owned(),
        None => String::new(),
    };
    format!("{}  {who}{others}  {what}{from}", line.time.0.local(zone))
}

/// A line of `--json`.
#[derive(Serialize)]
struct Shown<'a> {
    time: When,
    change: char,
    path: std::borrow::Cow<'a, str>,
    bytes: Option<u64>,
    copy: Option<std::borrow::Cow<'a, str>>,
    who: &'a [Who],
}
