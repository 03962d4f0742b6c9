//! `find`: every name that ever matched a pattern, page by page.

use super::error::Error;
use super::report::FindLine;
use super::request::{Answer, FindPosition, RawPath};
use super::when::When;
use crate::format::record::Kind;
use crate::history::find::{self, Sighting, Wanted};
use crate::history::path::join;
use crate::id::FileId;
use crate::store::{Store, View};
use globset::{GlobBuilder, GlobMatcher};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The sightings among the next names behind `after`.
///
/// # Errors
/// A pattern that is none; a store that can't be read.
pub fn page(
    store: &Store,
    pattern: &str,
    under: &RawPath,
    after: Option<FindPosition>,
) -> Result<Answer, Error> {
    let wanted = Pattern::new(pattern, &under.0)?;
    let after = match after {
        Some(FindPosition { dir, name }) => {
            let dir = FileId::try_from(dir).map_err(|error| Error::Malformed {
                reason: error.to_string(),
            })?;
            Some((dir, name.0))
        }
        None => None,
    };
    let view = store.view();
    let (found, next) = find::page(&view, after.as_ref(), &wanted)?;
    let lines = found.into_iter().map(|one| line(&view, one));
    Ok(Answer::Found {
        lines: lines.collect::<Result<_, _>>()?,
        next: next.map(|(dir, name)| FindPosition {
            dir: dir.0,
            name: RawPath(name),
        }),
    })
}

fn line(view: &View<'_>, one: Sighting) -> Result<FindLine, Error> {
    let time = |epoch| -> Result<When, Error> {
        let header = view.header(epoch)?.ok_or(Error::NoState {
            reason: "a state without a time".to_owned(),
        })?;
        Ok(When(header.time))
    };
    Ok(FindLine {
        path: RawPath(one.path),
        folder: one.kind == Kind::Dir,
        first: time(one.first)?,
        last: time(one.last)?,
        is_there: one.is_there,
    })
}

/// A pattern as for a shell: without a slash it means a name anywhere, else a path from the folder
/// that was given; `**` stands for any folders.
struct Pattern {
    matcher: GlobMatcher,
    under: Vec<u8>,
    is_path: bool,
}

impl Pattern {
    fn new(pattern: &str, under: &[u8]) -> Result<Pattern, Error> {
        let anchored = pattern.trim_start_matches("./").trim_start_matches('/');
        let glob = GlobBuilder::new(anchored)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| Error::BadName {
                reason: format!("'{pattern}' is no pattern: {}", error.kind()),
            })?;
        Ok(Pattern {
            matcher: glob.compile_matcher(),
            under: under.to_vec(),
            is_path: pattern.contains('/'),
        })
    }

    fn fits(&self, bytes: &[u8]) -> bool {
        self.matcher.is_match(OsStr::from_bytes(bytes))
    }
}

impl Wanted for Pattern {
    fn name(&self, name: &[u8]) -> bool {
        self.is_path || self.fits(name)
    }

    fn path(&self, path: &[u8]) -> bool {
        let below = match self.under.as_slice() {
            b"" => Some(path),
            under => path.strip_prefix(join(under, b"").as_slice()),
        };
        below.is_some_and(|below| !self.is_path || self.fits(below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_a_shell() {
        let fits = |pattern: &str, under: &str, path: &[u8]| {
            let pattern = Pattern::new(pattern, under.as_bytes()).expect("a pattern");
            let name = path.rsplit(|byte| *byte == b'/').next().expect("a name");
            pattern.name(name) && pattern.path(path)
        };
        assert!(fits("*.rs", "", b"src/deep/a.rs"));
        assert!(fits("*.rs", "src", b"src/deep/a.rs"));
        assert!(!fits("*.rs", "sr", b"src/a.rs"));
        assert!(!fits("*.rs", "", b"src/a.py"));
        assert!(fits("src/*.rs", "", b"src/a.rs"));
        assert!(!fits("src/*.rs", "", b"src/deep/a.rs"));
        assert!(fits("src/**/*.rs", "", b"src/deep/a.rs"));
        assert!(fits("/a.rs", "src", b"src/a.rs"));
        assert!(!fits("/a.rs", "src", b"src/deep/a.rs"));
        assert!(fits("{a,b}?", "", b"b1"));
        assert!(fits("*", "", b"odd\xff\n"));
        assert!(Pattern::new("[", b"").is_err());
    }
}
