//! `events`: what happened, change by change, from where somebody left off. What he left off with is
//! a *token*: he keeps it, and need not understand it.

use super::error::Error;
use super::log::who;
use super::report::EventLine;
use super::request::{Answer, EventsFrom as From, RawPath};
use super::when::When;
use crate::history::events::{self, Event, Place};
use crate::history::path::is_below;
use crate::id::Epoch;
use crate::store::Store;

/// Bytes of one answer, about: far below what a message may have.
const PAGE_BYTES: usize = 512 << 10;

/// The next changes of what stands at a path, or below it.
///
/// # Errors
/// A token of another history, or none; a store that can't be read.
pub fn page(store: &Store, from: &From, under: &RawPath) -> Result<Answer, Error> {
    let view = store.view();
    let id = store.id()?.unwrap_or_default();
    let place = match from {
        From::Token(token) => parse(token, &id)?,
        From::Time(time) => events::start(&view, Some(time.0))?,
        From::Start => events::start(&view, None)?,
        From::Now => Place::after(view.newest_epoch()?.unwrap_or_default()),
    };
    let found = events::after(&view, place)?;
    let (mut lines, mut bytes) = (Vec::new(), 0);
    let (mut place, mut more) = (found.place, found.more);
    let mut all = found
        .all
        .into_iter()
        .filter(|event| concerns(event, &under.0));
    for event in all.by_ref() {
        let line = line(&event, &id);
        bytes += weight(&line);
        if bytes > PAGE_BYTES {
            place = event.place;
        }
        lines.push(line);
        if bytes > PAGE_BYTES {
            more |= all.next().is_some();
            break;
        }
    }
    Ok(Answer::Events {
        lines,
        token: text(place, &id),
        more,
    })
}

fn concerns(event: &Event, under: &[u8]) -> bool {
    let one = &event.difference;
    is_below(under, &one.path)
        || one
            .from
            .as_deref()
            .is_some_and(|from| is_below(under, from))
}

fn line(event: &Event, id: &[u8; 16]) -> EventLine {
    let one = &event.difference;
    EventLine {
        token: text(event.place, id),
        time: When(event.time),
        change: one.letter.sign(),
        path: RawPath(one.path.clone()),
        from: one.from.clone().map(RawPath),
        old_bytes: one.old_size,
        new_bytes: one.new_size,
        who: event.actors.iter().map(who).collect(),
    }
}

/// Bytes that a line takes in a message, about.
fn weight(line: &EventLine) -> usize {
    let who = |who: &super::report::Who| 200 + who.command.iter().map(String::len).sum::<usize>();
    200 + line.path.0.len()
        + line.from.as_ref().map_or(0, |from| from.0.len())
        + line.who.iter().map(who).sum::<usize>()
}

/// The first bytes of the history's id, then numbers: `5f3a91c2-1f-1e-7`.
fn text(place: Place, id: &[u8; 16]) -> String {
    let own: String = id[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let (epoch, base) = (place.epoch.0, place.base.0);
    match place.read {
        Some(read) => format!("{own}-{epoch:x}-{base:x}-{read:x}"),
        None => format!("{own}-{epoch:x}"),
    }
}

fn parse(token: &str, id: &[u8; 16]) -> Result<Place, Error> {
    let bad = |reason: &str| Error::NoState {
        reason: format!("'{token}' {reason}"),
    };
    let malformed = || bad("is no token: give the one of the last line that was read");
    let mut parts = token.split('-');
    let own = parts.next().unwrap_or_default();
    let mut numbers = Vec::new();
    for part in parts {
        let number = u64::from_str_radix(part, 16).map_err(|_| malformed())?;
        numbers.push(Epoch::try_from(number).map_err(|_| malformed())?);
    }
    let place = match numbers.as_slice() {
        [epoch] => Place::after(*epoch),
        [epoch, base, read] => Place {
            epoch: *epoch,
            base: *base,
            read: Some(read.0),
        },
        _ => return Err(malformed()),
    };
    if text(place, id).split('-').next() != Some(own) {
        return Err(bad("belongs to another history"));
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::past::{Past, at, directory};

    fn past() -> Past {
        let mut past = Past::new();
        past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            draft.put(2, 1, "src", directory());
            draft.bytes(3, 2, "a", b"a");
        });
        past.epoch("2026-11-20T10:01", |draft| {
            draft.bytes(4, 2, "b", b"b");
            draft.bytes(5, 1, "c", b"c");
            draft.gone(3, 2, "a");
        });
        past.epoch("2026-11-20T10:02", |draft| {
            draft.unname(1, "c");
            draft.bytes(5, 2, "d", b"c");
        });
        past
    }

    fn ask(past: &Past, from: &From, under: &[u8]) -> (Vec<String>, Vec<String>, String) {
        let answer = page(&past.store, from, &RawPath(under.to_vec())).expect("readable");
        let Answer::Events { lines, token, more } = answer else {
            panic!("another answer");
        };
        assert!(!more);
        let told = lines.iter().map(|line| {
            let path = String::from_utf8_lossy(&line.path.0);
            format!("{} {path}", line.change)
        });
        let tokens = lines.iter().map(|line| line.token.clone()).collect();
        (told.collect(), tokens, token)
    }

    #[test]
    fn every_token_leads_to_what_comes_behind_it() {
        let mut past = past();
        let (all, tokens, end) = ask(&past, &From::Start, b"");
        assert_eq!(all, ["A c", "D src/a", "A src/b", "R src/d"]);
        for (number, token) in tokens.iter().enumerate() {
            let (rest, _, _) = ask(&past, &From::Token(token.clone()), b"");
            assert_eq!(rest, all[number + 1..]);
        }
        assert!(ask(&past, &From::Token(end.clone()), b"").0.is_empty());
        assert!(ask(&past, &From::Now, b"").0.is_empty());
        let (later, _, _) = ask(&past, &From::Time(When(at("2026-11-20T10:01:30"))), b"");
        assert_eq!(later, ["R src/d"]);
        let (below, _, _) = ask(&past, &From::Start, b"src");
        assert_eq!(below, ["D src/a", "A src/b", "R src/d"]);
        past.epoch("2026-11-20T10:03", |draft| draft.gone(5, 2, "d"));
        assert_eq!(ask(&past, &From::Token(end.clone()), b"").0, ["D src/d"]);
    }

    #[test]
    fn what_a_dropped_state_held_is_told_by_the_next() {
        let past = past();
        let (_, tokens, _) = ask(&past, &From::Start, b"");
        past.store.prune(Epoch(2)).expect("dropped");
        // Told once more rather than never.
        let (rest, _, _) = ask(&past, &From::Token(tokens[0].clone()), b"");
        assert_eq!(rest, ["D src/a", "A src/b", "A src/d"]);
    }

    #[test]
    fn a_token_of_elsewhere_is_refused() {
        let past = past();
        let (_, _, token) = ask(&past, &From::Start, b"");
        let mut other = token.clone();
        other.replace_range(..1, if token.starts_with('0') { "1" } else { "0" });
        for bad in [
            other.as_str(),
            "",
            "x",
            "00000000-",
            "00000000-1-2",
            "00000000-ffffffffffffffff",
        ] {
            let answer = page(
                &past.store,
                &From::Token(bad.to_owned()),
                &RawPath::default(),
            );
            assert!(matches!(answer, Err(Error::NoState { .. })), "{bad}");
        }
    }
}
