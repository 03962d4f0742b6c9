//! What is left out on purpose, for people: each rule with when and by whom it was made, and what
//! it leaves out now.

use super::error::Error;
use super::kept::LeftOutRule;
use super::report::HintLine;
use super::service::Service;
use super::when::When;
use crate::capture::{LeftOutFolder, hint_words};
use crate::format::keeping::{HintRecord, RulesRecord};
use crate::limits;
use crate::pattern::{Matcher, Rules};
use crate::time::Timestamp;

/// The rules in force, in their order; of a mounted directory with the folders that each leaves out.
///
/// # Errors
/// When the store can't be read.
pub fn rules(service: &Service) -> Result<Vec<LeftOutRule>, Error> {
    Ok(told(service, &service.store.rules()?))
}

/// The same of rules that were read.
pub(super) fn told(service: &Service, records: &[RulesRecord]) -> Vec<LeftOutRule> {
    let recorder = service.recorder.as_ref();
    let folders = recorder.map_or_else(Vec::new, |recorder| recorder.left_out_folders());
    with_folders(records, &folders)
}

/// What was told of folders that make most of what is recorded, as long as it is news and they are
/// not left out.
pub(super) fn hints(
    service: &Service,
    rules: &[RulesRecord],
    hints: &[HintRecord],
) -> Vec<HintLine> {
    let rules = rules.last().map(|last| last.rules.clone());
    let matcher = Matcher::new(rules.unwrap_or_default()).unwrap_or_default();
    let now = Timestamp::now();
    let dir = service.dir.to_string_lossy();
    let news = hints.iter().filter(|hint| {
        let is_out = hint.is_cache && matcher.rules().caches
            || matcher.pattern_for_all(&hint.folder, true).is_some();
        now.since(hint.time) < limits::HINT_NEWS && !is_out
    });
    let line = |hint: &HintRecord| HintLine {
        time: When(hint.time),
        folder: String::from_utf8_lossy(&hint.folder).into_owned(),
        bytes: hint.bytes,
        of_bytes: hint.total,
        text: hint_words(hint, &dir),
    };
    news.map(line).collect()
}

fn with_folders(records: &[RulesRecord], folders: &[LeftOutFolder]) -> Vec<LeftOutRule> {
    let Some(last) = records.last() else {
        return Vec::new();
    };
    let named = |pattern: Option<&str>| {
        let by_it = |folder: &&LeftOutFolder| folder.pattern.as_deref() == pattern;
        let paths = folders.iter().filter(by_it);
        paths.map(|folder| folder.path.clone()).collect()
    };
    let mut all = Vec::new();
    for pattern in &last.rules.patterns {
        let (since, uid) = since(records, |rules| rules.patterns.contains(pattern));
        all.push(LeftOutRule {
            pattern: Some(pattern.clone()),
            caches: false,
            larger_than: None,
            since,
            uid,
            folders: named(Some(pattern)),
        });
    }
    if last.rules.caches {
        let (since, uid) = since(records, |rules| rules.caches);
        all.push(LeftOutRule {
            pattern: None,
            caches: true,
            larger_than: None,
            since,
            uid,
            folders: named(None),
        });
    }
    if let Some(most) = last.rules.max_file_bytes {
        let (since, uid) = since(records, |rules| rules.max_file_bytes == Some(most));
        all.push(LeftOutRule {
            pattern: None,
            caches: false,
            larger_than: Some(most),
            since,
            uid,
            folders: Vec::new(),
        });
    }
    all
}

/// When, without a break until now, it was first said, and by whom.
fn since(records: &[RulesRecord], said: impl Fn(&Rules) -> bool) -> (When, u32) {
    let mut newest_first = records.iter().rev();
    let first = newest_first
        .by_ref()
        .take_while(|record| said(&record.rules))
        .last();
    first.map_or((When(crate::time::Timestamp(0)), 0), |record| {
        (When(record.time), record.by_uid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(time: i64, uid: u32, patterns: &[&str], caches: bool) -> RulesRecord {
        RulesRecord {
            rules: Rules {
                patterns: patterns.iter().map(ToString::to_string).collect(),
                caches,
                max_file_bytes: None,
            },
            time: Timestamp(time),
            by_uid: uid,
            from: None,
        }
    }

    #[test]
    fn a_rule_is_as_old_as_its_last_beginning() {
        let records = [
            record(1, 10, &["a", "b"], false),
            record(2, 11, &["b"], true),
            record(3, 12, &["b", "a"], true),
        ];
        let folder = |path: &str, pattern: Option<&str>| LeftOutFolder {
            path: path.to_owned(),
            pattern: pattern.map(ToOwned::to_owned),
        };
        let folders = [folder("x/a", Some("a")), folder("cache", None)];
        let told = with_folders(&records, &folders);
        let of = |rule: &LeftOutRule| (rule.pattern.clone(), rule.since.0.0, rule.uid);
        let all: Vec<_> = told.iter().map(of).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(all, [(text("b"), 1, 10), (text("a"), 3, 12), (None, 2, 11)]);
        assert_eq!(told[1].folders, ["x/a"]);
        assert_eq!(told[2].folders, ["cache"]);
    }
}
