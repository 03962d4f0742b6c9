//! What was done, and by whom: the doings of history, each with what it came to below a path.

use super::report::{DoingLine, Who};
use super::request::{Answer, RawPath};
use super::undo::run_told;
use super::when::When;
use crate::format::record::{Actor, Run};
use crate::history::HistoryError;
use crate::history::diff::Letter;
use crate::history::doings::{self, Doing};
use crate::history::net::{self, Net};
use crate::history::path::is_below;
use crate::limits;
use crate::store::Store;

/// The newest doings since a time that changed something under a path, `limits::DOINGS_TOLD` at
/// most.
///
/// # Errors
/// When the store can't be read.
pub fn page(store: &Store, since: When, under: &RawPath) -> Result<Answer, HistoryError> {
    let view = store.view();
    let found = doings::since(&view, since.0)?;
    let runs = store.runs().map_err(HistoryError::from)?;
    let mut lines = Vec::new();
    let mut more = found.cut_off.is_some();
    for doing in &found.all {
        let mut nets = net::of(&view, &doing.touched)?;
        nets.retain(|net| {
            is_below(&under.0, &net.path)
                || net
                    .from
                    .as_deref()
                    .is_some_and(|from| is_below(&under.0, from))
        });
        if nets.is_empty() {
            continue;
        }
        if lines.len() == limits::DOINGS_TOLD {
            more = true;
            break;
        }
        lines.push(line(doing, &nets, &runs));
    }
    Ok(Answer::Doings { lines, more })
}

/// What is told of a doing that came to this.
pub(super) fn line(doing: &Doing, nets: &[Net], runs: &[(u64, Run)]) -> DoingLine {
    let count = |letter| nets.iter().filter(|net| net.letter == letter).count() as u64;
    DoingLine {
        since: When(doing.from),
        time: When(doing.to),
        number: None,
        not_undoable: None,
        run: run_told(doing, runs),
        who: doing.who.as_ref().map(who),
        processes: doing.processes as u64,
        added: count(Letter::Added),
        modified: count(Letter::Modified) + count(Letter::Type),
        deleted: count(Letter::Deleted),
        renamed: count(Letter::Renamed),
        attributes: count(Letter::Attributes),
        example: nets.first().map(|net| lossy(&net.path)).unwrap_or_default(),
    }
}

pub(super) fn who(actor: &Actor) -> Who {
    // Each argument is ended by a zero, but for one that was cut off.
    let whole = actor.command.strip_suffix(&[0]).unwrap_or(&actor.command);
    let arguments = whole.split(|byte| *byte == 0).map(lossy);
    Who {
        pid: actor.tgid,
        uid: actor.uid,
        name: lossy(&actor.comm),
        command: match whole {
            [] => Vec::new(),
            _ => arguments.collect(),
        },
        ancestors: actor
            .ancestors
            .iter()
            .map(|(_, comm)| lossy(comm))
            .collect(),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
