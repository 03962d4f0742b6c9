//! The one list of what history does not have: what, since when, why, and what to do. For everything
//! that `status` knows of, also what is left out on purpose; so nothing is missing in silence.

use super::kept::LeftOutRule;
use super::report::{Missing, MissingKind, NotRecorded, Status};
use super::request::User;
use super::when::When;
use crate::capture;
use std::path::Path;

/// Folders that are named of each rule about what is left out.
const FOLDERS_NAMED: usize = 5;

/// What is seen of a mount from outside.
#[derive(Default)]
pub struct Around {
    /// Processes that stand in the directory below the mount, or have files of it open there.
    pub below: Vec<User>,
    /// Other file systems that are mounted in it.
    pub mounts: Vec<String>,
}

/// Makes the list from a report that is otherwise complete.
pub fn list(status: &Status, recorder: Option<&capture::Status>, around: &Around) -> Vec<Missing> {
    let dir = Path::new(&status.dir).display().to_string();
    let mut list = Vec::new();
    list.extend(not_yet(status, &dir));
    for time in &status.left_out.unrecorded {
        list.push(Missing {
            since: Some(time.from),
            until: time.to,
            cure: match time.to {
                Some(_) => "what was changed is in the state that follows it".to_owned(),
                None => "it goes on by itself when that is over".to_owned(),
            },
            ..entry(MissingKind::Unrecorded, "what was changed", &time.reason)
        });
    }
    list.extend(processes(status, around));
    let mounted = status.mounted.as_ref().map(|mounted| mounted.since);
    for point in &around.mounts {
        list.push(Missing {
            since: mounted,
            cure: "mount it by itself to have its history".to_owned(),
            ..entry(
                MissingKind::Mount,
                point,
                "another file system is mounted there",
            )
        });
    }
    list.extend(unreadable(status, recorder));
    list.extend(shadowed(status, recorder));
    let left_out = &status.left_out;
    if left_out.files_from_before > 0 {
        list.push(Missing {
            files: Some(left_out.files_from_before),
            bytes: Some(left_out.bytes_from_before),
            cure: format!("to record it: rewindfs umount {dir}; rewindfs mount --import all {dir}"),
            ..entry(
                MissingKind::FromBefore,
                "content from before the first mount",
                "it was not to be imported, and was not changed since",
            )
        });
    }
    list.extend(left_out.excluded.iter().map(|rule| excluded(rule, &dir)));
    if let Some(checked) = status.checked.filter(|checked| checked.problems > 0) {
        let why = match checked.problems {
            1 => "a check of the store found a problem".to_owned(),
            more => format!("checks of the store found {more} problems"),
        };
        list.push(Missing {
            cure: format!("rewindfs verify {dir} names it, and mends it with --repair"),
            ..entry(MissingKind::Damaged, "what is damaged in the store", &why)
        });
    }
    list
}

fn entry(kind: MissingKind, what: &str, why: &str) -> Missing {
    Missing {
        kind,
        what: what.to_owned(),
        since: None,
        until: None,
        why: why.to_owned(),
        cure: String::new(),
        files: None,
        bytes: None,
    }
}

/// Changes that are on their way, and the scan.
fn not_yet(status: &Status, dir: &str) -> Vec<Missing> {
    let Some(waiting) = &status.not_recorded else {
        return if status.dead || status.mounted.is_some() {
            Vec::new()
        } else {
            let why = "it is not mounted";
            vec![Missing {
                since: status.last_recorded,
                cure: format!("rewindfs mount {dir} finds it as it is then"),
                ..entry(MissingKind::NotMounted, "what was changed", why)
            }]
        };
    };
    let NotRecorded { files, bytes, .. } = *waiting;
    let mut list = Vec::new();
    if files > 0 {
        list.push(Missing {
            since: status.last_recorded,
            files: Some(files),
            bytes: Some(bytes),
            cure: format!("rewindfs sync {dir} waits for it"),
            ..entry(MissingKind::NotYet, "changes", "they are not recorded yet")
        });
    }
    if let Some(scan) = &waiting.scan {
        let why = match scan.first {
            true => "the first import is under way",
            false => "it is looked for what was changed before the mount",
        };
        list.push(Missing {
            since: status.mounted.as_ref().map(|mounted| mounted.since),
            files: Some(scan.files),
            bytes: Some(scan.bytes),
            cure: format!("rewindfs sync {dir} waits for it"),
            ..entry(MissingKind::Scan, "what was not looked at so far", why)
        });
    }
    list
}

fn processes(status: &Status, around: &Around) -> Vec<Missing> {
    let since = status.mounted.as_ref().map(|mounted| mounted.since);
    let one = |user: &User| Missing {
        since,
        cure: match user.holds.starts_with("stands in") {
            true => "there type: cd \"$PWD\"".to_owned(),
            false => "end it, or let it open its files anew".to_owned(),
        },
        ..entry(
            MissingKind::Process,
            &format!("what {} (pid {}) changes", user.command, user.pid),
            &format!("it {} below the mount", user.holds),
        )
    };
    around.below.iter().map(one).collect()
}

fn unreadable(status: &Status, recorder: Option<&capture::Status>) -> Vec<Missing> {
    let left_out = &status.left_out;
    let since = |path: &str| -> Option<When> {
        let mut known = recorder?.unreadable.iter();
        known
            .find(|file| file.path == path)
            .map(|file| When(file.since))
    };
    let mut list: Vec<Missing> = left_out
        .unreadable
        .iter()
        .map(|file| Missing {
            since: since(&file.path),
            cure: "when it can be read, its next change brings it in".to_owned(),
            ..entry(MissingKind::Unreadable, &file.path, &file.reason)
        })
        .collect();
    let named = left_out.unreadable.len() as u64;
    if left_out.files_left_out > named {
        list.push(Missing {
            files: Some(left_out.files_left_out - named),
            cure: "reading them in a state is an error; the log of the store names them".to_owned(),
            ..entry(
                MissingKind::Unreadable,
                "the content of files in the newest state",
                "it could not be recorded",
            )
        });
    }
    list
}

fn shadowed(status: &Status, recorder: Option<&capture::Status>) -> Vec<Missing> {
    let since = |path: &str| recorder.and_then(|recorder| recorder.shadowed.get(path).copied());
    let one = |path: &String| Missing {
        since: since(path).map(When),
        cure: "use that of the folder above, or mount with -o snapdirname=NAME".to_owned(),
        ..entry(
            MissingKind::Shadowed,
            &format!("the view of the past in {path}"),
            "the folder has an entry of that name itself",
        )
    };
    status.left_out.shadowed.iter().map(one).collect()
}

/// What is left out on purpose: since when by which rule, and what that is.
fn excluded(rule: &LeftOutRule, dir: &str) -> Missing {
    let (what, option) = match (&rule.pattern, rule.larger_than) {
        (Some(pattern), _) => (
            format!("what matches {pattern}"),
            format!("--no-exclude '{}'", pattern.replace('\'', r"'\''")),
        ),
        (None, Some(most)) => (
            format!("the content of files of more than {most} bytes"),
            "--max-file-size none".to_owned(),
        ),
        (None, None) => (
            "what is in folders with a CACHEDIR.TAG".to_owned(),
            "--no-exclude-caches".to_owned(),
        ),
    };
    let mut why = "it is left out on purpose".to_owned();
    if !rule.folders.is_empty() {
        let named = rule.folders.iter().take(FOLDERS_NAMED);
        let named: Vec<String> = named.map(|path| format!("{path}/")).collect();
        why += &format!(": {}", named.join(", "));
        let more = rule.folders.len().saturating_sub(FOLDERS_NAMED);
        if more > 0 {
            why += &format!(" and {more} more");
        }
    }
    Missing {
        since: Some(rule.since),
        cure: format!("to record it: rewindfs policy {dir} {option}"),
        ..entry(MissingKind::Excluded, &what, &why)
    }
}

impl Missing {
    /// Without names of files and processes: for those who may not know them.
    pub fn censor(&mut self) {
        let what = match self.kind {
            MissingKind::Unreadable => "a file",
            MissingKind::Shadowed => "the view of the past in a folder",
            MissingKind::Mount => "a folder",
            MissingKind::Process => "what a process changes",
            MissingKind::Excluded => "what a rule names",
            _ => return,
        };
        self.what = what.to_owned();
        match self.kind {
            MissingKind::Process => self.why = "it works below the mount".to_owned(),
            MissingKind::Excluded => {
                self.why = "it is left out on purpose".to_owned();
                self.cure.clear();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn rule(pattern: Option<&str>, larger_than: Option<u64>, folders: usize) -> LeftOutRule {
        LeftOutRule {
            pattern: pattern.map(ToOwned::to_owned),
            caches: pattern.is_none() && larger_than.is_none(),
            larger_than,
            since: When(Timestamp(7)),
            uid: 0,
            folders: (0..folders).map(|number| format!("f{number}")).collect(),
        }
    }

    #[test]
    fn what_is_left_out_on_purpose_is_named_with_its_folders_and_its_way_back() {
        let one = excluded(&rule(Some("*'s/"), None, 7), "/p");
        assert_eq!(one.what, "what matches *'s/");
        assert_eq!(
            one.why,
            "it is left out on purpose: f0/, f1/, f2/, f3/, f4/ and 2 more"
        );
        assert_eq!(
            one.cure,
            r"to record it: rewindfs policy /p --no-exclude '*'\''s/'"
        );
        assert_eq!(one.since, Some(When(Timestamp(7))));
        let large = excluded(&rule(None, Some(9), 0), "/p");
        assert_eq!(large.what, "the content of files of more than 9 bytes");
        assert!(large.cure.ends_with("--max-file-size none"), "{large:?}");
        let caches = excluded(&rule(None, None, 1), "/p");
        assert!(caches.what.contains("CACHEDIR.TAG"), "{caches:?}");
        assert!(caches.cure.ends_with("--no-exclude-caches"), "{caches:?}");
    }

    #[test]
    fn patterns_and_folders_are_not_for_everybody() {
        let mut one = excluded(&rule(Some("/secret/"), None, 2), "/p");
        one.censor();
        let told = format!("{one:?}");
        assert!(!told.contains("secret") && !told.contains("f0"), "{told}");
        assert_eq!(one.since, Some(When(Timestamp(7))));
    }
}
