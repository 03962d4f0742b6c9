//! What a restore leaves alone because history leaves it out, now or in the state that is restored:
//! it is not made, not changed and not removed, and that is told.

use super::folder;
use super::item::{self, Fault, Item};
use super::paths::{Asked, LeftOut};
use super::tree::Tree;
use crate::backing;
use crate::format::record::Kind;
use crate::pattern::{CACHE_SIGNATURE, CACHE_TAG};
use std::os::fd::AsFd;

impl Tree<'_> {
    /// Why what stands at a path, now or then, is not touched; `None`: it may be. `dir`: the folder
    /// that is above it now, if that is not known to be recorded.
    pub(super) fn left_out(
        &self,
        dir: Option<&Item>,
        path: &[u8],
        kind: Kind,
        now: Option<&Item>,
    ) -> Option<String> {
        let is_dir = kind == Kind::Dir;
        if self.options.left_out.asks {
            return asked(dir, path, kind, now).unwrap_or_else(|fault| {
                Some(format!("whether it is left out can't be asked: {fault}"))
            });
        }
        if let Some(pattern) = self.options.left_out.pattern_for(path, is_dir) {
            return Some(format!("it is left out of history ({pattern})"));
        }
        let cache = is_dir && self.options.left_out.caches() && now.is_some_and(is_cache);
        let cache = cache.then(|| "it is left out of history (CACHEDIR.TAG)".to_owned());
        cache.or_else(|| self.options.left_out.has_no_content(now?))
    }

    /// Whether a path lies in a folder that is left out, now or in the state.
    pub(super) fn keeps_below(&self, path: &Asked) -> bool {
        let reason = (1..path.len()).find_map(|count| {
            let above = &path[..count];
            let then = item::walk(self.source, above).ok().flatten();
            if then.is_some_and(|then| self.source.is_left_out(&then)) {
                return Some("its folder was left out of that state".to_owned());
            }
            let dir = item::walk(self.live, &above[..count - 1]).ok().flatten();
            let now = item::walk(self.live, above).ok().flatten();
            self.left_out(dir.as_ref(), &above.join(&b'/'), Kind::Dir, now.as_ref())
        });
        if let Some(reason) = &reason {
            self.keep(&path.join(&b'/'), reason);
        }
        reason.is_some()
    }

    /// A folder that was left out in the state has no names there: those of now stay.
    pub(super) fn keeps_inside(&self, item: &Item, now: Option<&Item>, path: &[u8]) -> bool {
        // Of the top it is said whether there are rules at all.
        let was = !path.is_empty() && self.source.is_left_out(item);
        let reason = match was {
            true => Some("its files were left out of that state".to_owned()),
            false => self.left_out(None, path, Kind::Dir, now),
        };
        if let Some(reason) = &reason {
            self.keep(path, reason);
        }
        reason.is_some()
    }
}

/// The same for who is not told the rules.
fn asked(
    dir: Option<&Item>,
    path: &[u8],
    kind: Kind,
    now: Option<&Item>,
) -> Result<Option<String>, Fault> {
    let mut is_out = false;
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let dir = dir.filter(|dir| dir.facts.kind == Kind::Dir);
    if let Some(dir) = dir {
        let end: &[u8] = if kind == Kind::Dir { b"/" } else { b"" };
        is_out = folder::leaves_out(dir.fd()?, &[b"/", name, end].concat())?;
    }
    let itself = now.filter(|now| matches!(now.facts.kind, Kind::Dir | Kind::File));
    if let Some(now) = itself.filter(|_| !path.is_empty()) {
        is_out = is_out || folder::leaves_out(now.fd()?, b"")?;
    }
    Ok(is_out.then(|| "it is left out of history".to_owned()))
}

impl LeftOut {
    /// Of a file of now whose content is in no state, because it is too large: that.
    pub(super) fn has_no_content(&self, now: &Item) -> Option<String> {
        let is_too_large = now.facts.kind == Kind::File && self.now.is_too_large(now.facts.size);
        is_too_large.then(|| "its content is left out of history (it is too large)".to_owned())
    }
}

/// Whether a folder of now says that it is a cache.
pub(super) fn is_cache(folder: &Item) -> bool {
    let read = || -> Option<bool> {
        let tag = backing::open_path_at(folder.fd().ok()?, CACHE_TAG).ok()?;
        let kind = Kind::from_mode(backing::stat_fd(tag.as_fd()).ok()?.mode);
        if kind != Some(Kind::File) {
            return Some(false);
        }
        let file = backing::reopen(tag.as_fd(), false).ok()?;
        let mut start = vec![0; CACHE_SIGNATURE.len()];
        let read = backing::pread(file.as_fd(), &mut start, 0).ok()?;
        Some(read == start.len() && start == CACHE_SIGNATURE)
    };
    read().unwrap_or(false)
}
