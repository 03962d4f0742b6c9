//! REWINDFS_TEST: what the tests of this program set for a daemon, read once when it starts. A list
//! like that of `-o`; docs/architecture.md has it. Whoever sets it by mistake is told so.

use super::super::quantity::{parse_duration, parse_size};
use crate::capture::Hooks;
use crate::limits;
use std::path::PathBuf;
use std::time::Duration;

const VARIABLE: &str = "REWINDFS_TEST";

/// What is set in the environment, or nothing.
pub fn hooks() -> Hooks {
    match std::env::var(VARIABLE) {
        Ok(list) => {
            log::warn!("{VARIABLE}={list}: this is for tests, history may be lost");
            parse(&list)
        }
        Err(_) => Hooks::default(),
    }
}

/// Between two signs of life at a replica.
pub fn beat_every() -> Duration {
    let list = std::env::var(VARIABLE).unwrap_or_default();
    let mut times = list
        .split(',')
        .filter_map(|item| item.strip_prefix("beat="));
    let said = times.next().and_then(|time| parse_duration(time).ok());
    said.unwrap_or(limits::BEAT_EVERY)
}

fn parse(list: &str) -> Hooks {
    let mut hooks = Hooks::default();
    for item in list.split(',') {
        let understood = match item.split_once('=') {
            Some(("hold", path)) => set(&mut hooks.hold, Some(Some(PathBuf::from(path)))),
            Some(("stash", size)) => set(&mut hooks.stash_bytes, parse_size(size).ok()),
            Some(("heavy", size)) => set(&mut hooks.heavy_bytes, parse_size(size).ok()),
            Some(("kept", size)) => set(&mut hooks.kept_bytes, parse_size(size).ok()),
            Some(("notes", number)) => set(&mut hooks.pending_weight, number.parse().ok()),
            Some(("snapshot-wait", time)) => {
                set(&mut hooks.snapshot_wait, parse_duration(time).ok())
            }
            Some(("late", time)) => set(&mut hooks.late, parse_duration(time).ok()),
            Some(("scrub-every", time)) => set(&mut hooks.scrub_every, parse_duration(time).ok()),
            Some(("scrub-quiet", time)) => set(&mut hooks.scrub_quiet, parse_duration(time).ok()),
            Some(("visit", path)) => set(&mut hooks.visit, Some(Some(PathBuf::from(path)))),
            // Of the process that sends.
            Some(("beat", time)) => parse_duration(time).is_ok(),
            Some(("fetch", path)) => set(&mut hooks.fetch, Some(Some(PathBuf::from(path)))),
            Some(("panic", name)) => set(&mut hooks.panic_at, Some(Some(name.into()))),
            _ => false,
        };
        if !understood {
            log::warn!("{VARIABLE}: {item} is not understood");
        }
    }
    hooks
}

fn set<T>(place: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            *place = value;
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_always() {
        let hooks =
            parse("stash=1M,hold=/x/y,snapshot-wait=2s,late=3ms,panic=bad,notes=9,kept=nonsense");
        assert_eq!(hooks.stash_bytes, 1 << 20);
        assert_eq!(hooks.hold, Some(PathBuf::from("/x/y")));
        assert_eq!(hooks.snapshot_wait, Duration::from_secs(2));
        assert_eq!(hooks.late, Duration::from_millis(3));
        assert_eq!(hooks.panic_at.as_deref(), Some(b"bad".as_slice()));
        assert_eq!(hooks.pending_weight, 9);
        assert_eq!(hooks.kept_bytes, limits::KEPT_BYTES);
    }
}
