//! What is to be left out of history, as a user says it: patterns as in .gitignore, folders that
//! call themselves caches, files of more than a size. Knows paths, and nothing of any file.

use crate::limits;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The file in a folder that says: what is here can be made again (<https://bford.info/cachedir/>).
pub const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
/// What it begins with; without that it says nothing.
pub const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// What a folder or file has that is left out: in a view of the past, there; in the mount, now. With
/// `/NAME`, or `/NAME/` for a folder, after it, a folder of the mount has it if that name in it is
/// left out. It is not listed, so that no program copies it.
pub const LEFT_OUT_XATTR: &[u8] = b"user.rewindfs.left-out";

/// What is left out. Nothing, unless somebody says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// As lines of a .gitignore in the root of the tree: the last one that matches decides.
    pub patterns: Vec<String>,
    /// Folders with a valid CACHEDIR.TAG.
    pub caches: bool,
    /// The content of larger files, bytes.
    pub max_file_bytes: Option<u64>,
}

/// Why a pattern can't be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    #[error("the pattern {pattern:?} can't be read: {reason}")]
    Unreadable { pattern: String, reason: String },
    #[error("the pattern {pattern:?} matches nothing: it is empty, or a comment")]
    Nothing { pattern: String },
    #[error("a pattern has at most {} bytes", limits::PATTERN_MAX)]
    TooLong,
    #[error("there can be at most {} patterns", limits::PATTERNS_MAX)]
    TooMany,
}

/// Rules that are ready to be asked.
#[derive(Debug)]
pub struct Matcher {
    rules: Rules,
    patterns: Gitignore,
    /// The folders whose names decide about what is below them; `None`: any may.
    above: Option<Gitignore>,
}

impl Default for Matcher {
    fn default() -> Matcher {
        Matcher {
            rules: Rules::default(),
            patterns: Gitignore::empty(),
            above: Some(Gitignore::empty()),
        }
    }
}

impl Matcher {
    /// Makes rules ready.
    ///
    /// # Errors
    /// A pattern that can't be read, or has no meaning.
    pub fn new(rules: Rules) -> Result<Matcher, BadPattern> {
        if rules.patterns.len() > limits::PATTERNS_MAX {
            return Err(BadPattern::TooMany);
        }
        let mut all = GitignoreBuilder::new("");
        for pattern in &rules.patterns {
            check(pattern)?;
            // Each was read by itself.
            let _ = all.add_line(None, pattern);
        }
        let patterns = all.build().map_err(|error| BadPattern::Unreadable {
            pattern: rules.patterns.join(" "),
            reason: error.to_string(),
        })?;
        let above = above(&rules.patterns);
        Ok(Matcher {
            rules,
            patterns,
            above,
        })
    }

    /// What it was made of.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether anything at all may be left out.
    pub fn is_empty(&self) -> bool {
        self.rules == Rules::default()
    }

    /// Whether the name of a folder may decide about what is below it, beyond that all below a
    /// folder that is left out is left out with it.
    pub fn is_deep(&self) -> bool {
        self.above.as_ref().is_none_or(|above| !above.is_empty())
    }

    /// Whether that of the folder with this path does.
    pub fn decides_below(&self, path: &[u8]) -> bool {
        let matches = |above: &Gitignore| above.matched(OsStr::from_bytes(path), true).is_ignore();
        self.above.as_ref().is_none_or(matches)
    }

    /// The pattern by which this path, from the root of the tree, is left out; the folders above
    /// it are not looked at.
    pub fn pattern_for(&self, path: &[u8], is_dir: bool) -> Option<&str> {
        if self.rules.patterns.is_empty() || path.is_empty() {
            return None;
        }
        match self.patterns.matched(OsStr::from_bytes(path), is_dir) {
            Match::Ignore(glob) => Some(glob.original()),
            Match::Whitelist(_) | Match::None => None,
        }
    }

    /// The same, and the folders above it are looked at, the topmost first.
    pub fn pattern_for_all(&self, path: &[u8], is_dir: bool) -> Option<&str> {
        let above = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let mut above = above.filter_map(|(end, _)| self.pattern_for(&path[..end], true));
        above.next().or_else(|| self.pattern_for(path, is_dir))
    }

    /// Whether the content of a file of so many bytes is left out.
    pub fn is_too_large(&self, bytes: u64) -> bool {
        self.rules.max_file_bytes.is_some_and(|most| bytes > most)
    }
}

/// The pattern that a folder at this path matches, and nothing else; `None`: its path is no text.
pub fn of_folder(path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    let mut pattern = "/".to_owned();
    for letter in path.chars() {
        match letter {
            '\n' | '\r' => return None,
            '*' | '?' | '[' | '\\' | '{' | '}' => pattern.extend(['\\', letter]),
            _ => pattern.push(letter),
        }
    }
    pattern.push('/');
    check(&pattern).is_ok().then_some(pattern)
}

/// Reads one pattern.
///
/// # Errors
/// What is wrong with it.
pub fn check(pattern: &str) -> Result<(), BadPattern> {
    if pattern.len() > limits::PATTERN_MAX {
        return Err(BadPattern::TooLong);
    }
    let unreadable = |reason: String| BadPattern::Unreadable {
        pattern: pattern.to_owned(),
        reason,
    };
    if pattern.contains(['\n', '\r', '\0']) {
        return Err(unreadable("it has more than one line".to_owned()));
    }
    let mut one = GitignoreBuilder::new("");
    one.add_line(None, pattern)
        .map_err(|error| unreadable(error.to_string()))?;
    let one = one.build().map_err(|error| unreadable(error.to_string()))?;
    if one.is_empty() {
        return Err(BadPattern::Nothing {
            pattern: pattern.to_owned(),
        });
    }
    Ok(())
}

/// What stands above the last name of a pattern: of `a/b/c` these are `/a` and `/a/b`, of `c` nothing,
/// of `**/c` any folder.
fn above(patterns: &[String]) -> Option<Gitignore> {
    let mut all = GitignoreBuilder::new("");
    for pattern in patterns {
        let pattern = pattern.trim_start_matches('!');
        let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
        let pattern = pattern.trim_end_matches('/');
        if pattern.contains("**") && pattern.contains('/') {
            return None;
        }
        for (end, _) in pattern.match_indices('/') {
            all.add_line(None, &format!("/{}", &pattern[..end])).ok()?;
        }
    }
    all.build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(patterns: &[&str]) -> Matcher {
        let patterns = patterns.iter().map(ToString::to_string).collect();
        let rules = Rules {
            patterns,
            ..Rules::default()
        };
        Matcher::new(rules).unwrap()
    }

    #[test]
    fn patterns_mean_what_they_mean_to_git() {
        let rules = matcher(&["/target/", "*.o", "!keep.o", "a/**/b", "node_modules"]);
        let out = |path: &str, is_dir| rules.pattern_for(path.as_bytes(), is_dir).is_some();
        assert!(out("target", true));
        assert!(!out("target", false));
        assert!(!out("sub/target", true));
        assert!(out("x.o", false) && out("sub/x.o", false));
        assert!(!out("keep.o", false));
        assert!(out("a/b", true) && out("a/x/y/b", false));
        assert!(out("node_modules", true) && out("deep/node_modules", true));
        assert!(!out("", true));
    }

    #[test]
    fn a_folder_decides_about_what_is_below_it_where_a_pattern_names_it() {
        let decide = |patterns: &[&str], path: &str| {
            let rules = matcher(patterns);
            rules.is_deep() && rules.decides_below(path.as_bytes())
        };
        assert!(!decide(&["/target/", "*.o", "!keep"], "target"));
        let deep = ["/one/t*/three/", "!/else/x"];
        for path in ["one", "one/two", "else"] {
            assert!(decide(&deep, path), "{path}");
        }
        for path in ["two", "one/two/three", "one/other", "else/x", "x/one"] {
            assert!(!decide(&deep, path), "{path}");
        }
        assert!(decide(&["a/**/b"], "anything") && decide(&["**/b"], "any/thing"));
    }

    #[test]
    fn a_folder_has_a_pattern_of_its_own() {
        for folder in [
            "a/b", "it's", "#x", "!x", "[1]", "a*?", "b\\s", "{a,b}", " x ", "\u{e4}",
        ] {
            let pattern = of_folder(folder.as_bytes()).expect(folder);
            let rules = matcher(&[&pattern]);
            assert!(
                rules.pattern_for(folder.as_bytes(), true).is_some(),
                "{pattern}"
            );
            assert_eq!(rules.pattern_for(b"1", true), None, "{pattern}");
            assert_eq!(rules.pattern_for(b"a", true), None, "{pattern}");
            assert_eq!(rules.pattern_for(b"b/a/b", true), None, "{pattern}");
        }
        assert_eq!(of_folder(b"\xff"), None);
        assert_eq!(of_folder(b"a\nb"), None);
    }

    #[test]
    fn what_is_below_a_folder_goes_with_it() {
        let rules = matcher(&["/target/"]);
        let all = |path: &str| rules.pattern_for_all(path.as_bytes(), false);
        assert_eq!(all("target/debug/x"), Some("/target/"));
        assert_eq!(all("other/target/x"), None);
        assert_eq!(rules.pattern_for(b"target/debug/x", false), None);
    }

    #[test]
    fn a_path_that_is_no_text_is_matched_all_the_same() {
        let rules = matcher(&["*.o"]);
        assert!(rules.pattern_for(b"\xff\xfe.o", false).is_some());
        assert!(rules.pattern_for(b"\xff\xfe.c", false).is_none());
    }

    #[test]
    fn a_pattern_that_can_mean_nothing_is_refused() {
        for pattern in ["", "# note", "a\nb", "[z-a]"] {
            assert!(check(pattern).is_err(), "{pattern:?}");
        }
        assert_eq!(check(&"x".repeat(5000)), Err(BadPattern::TooLong));
        assert!(check("\\#note").is_ok());
    }
}
