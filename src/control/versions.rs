//! `log` of a file: the contents that its name held, what became of it, and who did that.

use super::log::who;
use super::report::VersionLine;
use super::request::{Answer, RawPath};
use super::when::When;
use crate::format::record::{Content, Kind};
use crate::history::names::{self, Tenure};
use crate::history::{Found, HistoryError, path};
use crate::id::{Epoch, FileId};
use crate::limits;
use crate::store::{Store, View};

/// The versions since a time of what a path held, newest first; `folder`: it is, or was, one.
///
/// # Errors
/// When the store can't be read.
pub fn page(store: &Store, since: When, of: &RawPath) -> Result<Answer, HistoryError> {
    let view = store.view();
    let names: Vec<Vec<u8>> =
        of.0.split(|byte| *byte == b'/')
            .map(<[u8]>::to_vec)
            .collect();
    let tenures = match names.split_last() {
        Some((name, above)) if !of.0.is_empty() => {
            names::below(&view, &names::directory(&view, None, above)?, name)?
        }
        _ => Vec::new(),
    };
    let folder = of.0.is_empty() || tenures.iter().any(|one| one.kind == Kind::Dir);
    let mut lines = Vec::new();
    if !folder {
        changes(&view, &tenures, &mut lines)?;
    }
    lines.retain(|(_, line)| line.time.0 > since.0);
    lines.sort_by_key(|(at, line)| (*at, line.change != 'D' && line.change != 'R'));
    let more = lines.len() > limits::VERSIONS_TOLD;
    let lines = lines.into_iter().rev().take(limits::VERSIONS_TOLD);
    Ok(Answer::Versions {
        lines: lines.map(|(_, line)| line).collect(),
        folder,
        more,
    })
}

fn changes(
    view: &View<'_>,
    tenures: &[Tenure],
    lines: &mut Vec<(Epoch, VersionLine)>,
) -> Result<(), HistoryError> {
    let newest = view.newest_epoch()?.unwrap_or_default();
    for version in names::versions(view, tenures)? {
        let inode = &version.found.inode;
        // What takes the place of another, as most editors save, is a version of it.
        let begins = tenures.iter().any(|tenure| tenure.from == version.at)
            && !tenures.iter().any(|tenure| tenure.until == version.at);
        lines.push((
            version.at,
            VersionLine {
                time: When(version.time),
                change: if begins { 'A' } else { 'M' },
                path: RawPath(path::place(view, version.at, &version.found)?.unwrap_or_default()),
                bytes: (inode.kind == Kind::File).then_some(inode.size),
                is_lost: matches!(inode.content, Content::Lost(_)),
                who: authors(view, version.at, &version.found)?,
            },
        ));
    }
    let here = || tenures.iter().filter(|tenure| !tenure.elsewhere);
    for gone in here().filter(|tenure| tenure.until <= newest) {
        if here().any(|next| next.from == gone.until) {
            continue;
        }
        let before = Epoch(gone.until.0.saturating_sub(1));
        let (Some(header), Some(was)) =
            (view.header(gone.until)?, path::file(view, before, gone.id)?)
        else {
            continue;
        };
        let moved = match path::file(view, gone.until, gone.id)? {
            Some(found) => path::place(view, gone.until, &found)?,
            None => None,
        };
        lines.push((
            gone.until,
            VersionLine {
                time: When(header.time),
                change: if moved.is_some() { 'R' } else { 'D' },
                path: RawPath(moved.unwrap_or_default()),
                bytes: None,
                is_lost: false,
                who: authors(view, gone.until, &was)?,
            },
        ));
    }
    Ok(())
}

/// Who changed the name of a file, or the file, or a folder above it, in this epoch.
fn authors(
    view: &View<'_>,
    at: Epoch,
    found: &Found,
) -> Result<Vec<super::report::Who>, HistoryError> {
    // What a dropped state held is told by the next.
    let Some((epoch, ..)) = view.epochs(at, Epoch::MAX, 1)?.pop() else {
        return Ok(Vec::new());
    };
    let name_of = |one: &Found| (one.inode.parent, one.inode.name.clone());
    let (dir, name) = name_of(found);
    let mut places: Vec<(FileId, Option<Vec<u8>>)> = vec![(dir, Some(name)), (found.id, None)];
    let before = Epoch(at.0.saturating_sub(1));
    for above in path::ancestors(view, before, found)?.unwrap_or_default() {
        let (dir, name) = name_of(&above);
        places.push((dir, Some(name)));
    }
    for (id, name) in places {
        let mut told = Vec::new();
        for actor in view.authors(epoch, id, name.as_deref())? {
            told.extend(view.actor(actor)?.filter(|actor| actor.tgid != 0));
        }
        if !told.is_empty() {
            return Ok(told.iter().map(who).collect());
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::past::{Past, at, directory};

    fn ask(past: &Past, path: &str) -> (Vec<String>, bool) {
        ask_since(past, path, "2026-01-01T00:00")
    }

    fn ask_since(past: &Past, path: &str, since: &str) -> (Vec<String>, bool) {
        let answer = page(&past.store, When(at(since)), &RawPath(path.into())).expect("readable");
        let Answer::Versions { lines, folder, .. } = answer else {
            panic!("another answer");
        };
        let told = lines.iter().map(|line| {
            let path = String::from_utf8_lossy(&line.path.0);
            let bytes = line
                .bytes
                .map_or(String::new(), |bytes| format!(" {bytes}"));
            format!("{} {path}{bytes}", line.change)
        });
        (told.collect(), folder)
    }

    #[test]
    fn a_name_tells_its_contents_and_its_end() {
        let mut past = Past::new();
        past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            draft.put(2, 1, "src", directory());
            draft.bytes(3, 2, "a", b"one");
        });
        past.epoch("2026-11-20T10:01", |draft| draft.bytes(3, 2, "a", b"three"));
        past.epoch("2026-11-20T10:02", |draft| {
            draft.unname(2, "a");
            draft.bytes(3, 2, "b", b"three");
        });
        past.epoch("2026-11-20T10:03", |draft| draft.gone(3, 2, "b"));
        let (a, folder) = ask(&past, "src/a");
        assert!(!folder);
        assert_eq!(a, ["R src/b", "M src/a 5", "A src/a 3"]);
        assert_eq!(ask(&past, "src/b").0, ["D ", "M src/a 5", "A src/a 3"]);
        assert_eq!(ask(&past, "src"), (Vec::new(), true));
        assert_eq!(ask(&past, ""), (Vec::new(), true));
        assert_eq!(ask(&past, "never"), (Vec::new(), false));
        assert_eq!(
            ask_since(&past, "src/a", "2026-11-20T10:01:30").0,
            ["R src/b"]
        );
    }
}
