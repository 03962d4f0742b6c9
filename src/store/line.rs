//! Lines of change: what of a file or a name changed since the kept epoch before, and by whom.
//!
//! A line without `written` is as the first programs wrote it. If it says that content changed, then
//! nothing is known of who wrote what: each of its actors may have written all of it.

use super::view::corrupt;
use super::{Result, StoreError};
use crate::format::key::Family;
use crate::format::ranges::RangeSet;
use crate::format::record::{What, Written};
use crate::format::value::{self, BadValue};
use crate::id::ActorId;

/// Ranges of a line; with more, who wrote what is not kept.
const RANGES_MAX: usize = 1024;

/// What stands under a key of `changes`; of a name, `what` is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ChangeLine {
    pub what: What,
    pub actors: Vec<ActorId>,
    pub written: Vec<Written>,
}

/// A line of which nobody knows who wrote what.
type Plain = (What, Vec<ActorId>);
type Full = (What, Vec<ActorId>, Vec<Written>);

impl ChangeLine {
    /// As bytes.
    pub fn pack(&self) -> Vec<u8> {
        match self.written.is_empty() {
            true => value::pack(&(self.what, &self.actors)),
            false => value::pack(&(self.what, &self.actors, &self.written)),
        }
    }

    /// From the bytes under a key. Strict both ways, so one form is not taken for the other.
    pub fn unpack(key: &[u8], bytes: &[u8]) -> Result<ChangeLine> {
        let bad = |source| -> StoreError { corrupt(Family::Changes, key, source) };
        let (what, actors, written) = match value::unpack::<Full>(bytes) {
            Ok((_, _, written)) if !written.iter().all(is_sound) || written.is_empty() => {
                return Err(bad(BadValue::Malformed));
            }
            Ok(full) => full,
            Err(error) => {
                let (what, actors): Plain = value::unpack(bytes).map_err(|_| bad(error))?;
                (what, actors, Vec::new())
            }
        };
        Ok(ChangeLine {
            what,
            actors,
            written,
        })
    }

    /// Takes in more of the same epoch.
    pub fn add(&mut self, what: What, actors: &[ActorId], written: &[Written]) {
        self.what = self.what.with(what);
        for actor in actors {
            if !self.actors.contains(actor) {
                self.actors.push(*actor);
            }
        }
        for one in written {
            match self.written.iter_mut().find(|known| known.by == one.by) {
                Some(known) => known.bytes.add(&one.bytes),
                None => self.written.push(one.clone()),
            }
        }
        let ranges: usize = self.written.iter().map(|one| one.bytes.count()).sum();
        if ranges > RANGES_MAX {
            self.written.clear();
        }
    }

    /// Takes in the line of another epoch.
    pub fn join(&mut self, other: &ChangeLine) {
        if !self.written.is_empty() || !other.written.is_empty() {
            self.written = self.who_wrote();
        }
        let written = match self.written.is_empty() {
            true => Vec::new(),
            false => other.who_wrote(),
        };
        self.add(other.what, &other.actors, &written);
    }

    /// Who wrote what, or may have.
    pub fn who_wrote(&self) -> Vec<Written> {
        if !self.written.is_empty() {
            return self.written.clone();
        }
        if !self.what.has(What::CONTENT) && !self.what.has(What::CREATED) {
            return Vec::new();
        }
        let nobody = [ActorId::default()];
        let actors = match self.actors.is_empty() {
            true => &nobody,
            false => &self.actors[..],
        };
        let all = |by: &ActorId| Written {
            by: *by,
            bytes: RangeSet::from(0),
        };
        actors.iter().map(all).collect()
    }
}

fn is_sound(one: &Written) -> bool {
    one.bytes.is_sound() && !one.bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(by: u64, ranges: &[(u64, u64)]) -> Written {
        let mut bytes = RangeSet::default();
        for &(start, end) in ranges {
            bytes.insert(start..end);
        }
        let by = ActorId(by);
        Written { by, bytes }
    }

    fn line(actors: &[u64], written: &[Written]) -> ChangeLine {
        ChangeLine {
            what: What::CONTENT,
            actors: actors.iter().map(|id| ActorId(*id)).collect(),
            written: written.to_vec(),
        }
    }

    #[test]
    fn golden_lines_of_both_forms() {
        let plain = line(&[300], &[]);
        let full = line(&[1, 300], &[written(300, &[(0, 1), (4096, u64::MAX)])]);
        let golden = [
            (plain, "010401ac02"),
            (full, "01040201ac0201ac020200018020ffffffffffffffffff01"),
        ];
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        for (line, expected) in &golden {
            let bytes = line.pack();
            assert_eq!(hex(&bytes), *expected);
            assert_eq!(ChangeLine::unpack(b"", &bytes).unwrap(), *line);
            for cut in 0..bytes.len() {
                let short = ChangeLine::unpack(b"", &bytes[..cut]);
                assert!(short.is_err() || short.unwrap() != *line, "{cut}");
            }
        }
        // Ranges that are none, and a list that is empty.
        for bytes in ["0104000101010505", "0104010100", "0104000101020007050a"] {
            let bytes: Vec<u8> = (0..bytes.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).unwrap())
                .collect();
            let read = ChangeLine::unpack(b"", &bytes);
            assert!(read.is_err(), "{read:?}");
        }
    }

    #[test]
    fn joined_lines_know_who_wrote_what_and_who_may_have() {
        let mut both = line(&[1], &[written(1, &[(0, 5)])]);
        both.join(&line(
            &[2, 1],
            &[written(2, &[(9, 12)]), written(1, &[(5, 6)])],
        ));
        assert_eq!(both.actors, [ActorId(1), ActorId(2)]);
        assert_eq!(
            both.written,
            [written(1, &[(0, 6)]), written(2, &[(9, 12)])]
        );
        // Of one of them nothing is known.
        both.join(&line(&[3], &[]));
        let all = written(3, &[(0, u64::MAX)]);
        assert_eq!(both.written[2], all);
        // Who only changed a mode wrote nothing.
        let mode = ChangeLine {
            what: What::ATTRIBUTES,
            ..line(&[4], &[])
        };
        both.join(&mode);
        assert_eq!(both.written.len(), 3);
        let mut unknown = line(&[], &[]);
        unknown.join(&line(&[], &[]));
        assert_eq!(unknown.written, []);
        assert_eq!(unknown.who_wrote(), [written(0, &[(0, u64::MAX)])]);
    }
}
