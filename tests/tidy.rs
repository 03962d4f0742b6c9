//! The architecture as a test: which layer may know which, that every file says what it is, and
//! that every invariant names a test that exists.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each layer and what it may `use`, as in docs/architecture.md. A layer that is not here does not
/// exist.
const LAYERS: [(&str, &[&str]); 19] = [
    ("id", &[]),
    ("limits", &[]),
    ("name", &["limits"]),
    ("pattern", &["limits"]),
    ("time", &["limits", "name"]),
    ("backing", &["format", "id", "limits", "name", "time"]),
    ("format", &["id", "limits", "name", "pattern", "time"]),
    (
        "store",
        &["format", "id", "limits", "name", "pattern", "time"],
    ),
    ("archive", &["format", "id", "limits", "store", "time"]),
    ("retention", &["format", "id", "limits", "name", "time"]),
    (
        "inodes",
        &["backing", "format", "id", "limits", "name", "store", "time"],
    ),
    (
        "capture",
        &[
            "backing",
            "format",
            "id",
            "inodes",
            "limits",
            "name",
            "pattern",
            "retention",
            "store",
            "time",
        ],
    ),
    (
        "history",
        &[
            "capture", "format", "id", "limits", "name", "pattern", "store", "time",
        ],
    ),
    (
        "restore",
        &[
            "backing", "format", "history", "id", "limits", "pattern", "time",
        ],
    ),
    (
        "fs",
        &[
            "backing", "capture", "format", "history", "id", "inodes", "limits", "name", "pattern",
            "store", "time",
        ],
    ),
    (
        "filling",
        &[
            "backing", "capture", "format", "fs", "history", "id", "inodes", "limits", "pattern",
            "restore", "store", "time",
        ],
    ),
    (
        "control",
        &[
            "archive",
            "backing",
            "capture",
            "filling",
            "format",
            "fs",
            "history",
            "id",
            "inodes",
            "limits",
            "name",
            "pattern",
            "retention",
            "store",
            "time",
        ],
    ),
    (
        "fuse",
        &[
            "backing", "control", "format", "fs", "id", "limits", "name", "time",
        ],
    ),
    (
        "cli",
        &[
            "archive",
            "backing",
            "capture",
            "control",
            "filling",
            "format",
            "fs",
            "fuse",
            "history",
            "id",
            "inodes",
            "limits",
            "name",
            "pattern",
            "restore",
            "retention",
            "store",
            "time",
        ],
    ),
];

/// Crates that one layer alone may know.
const CRATES: [(&str, &[&str]); 3] = [
    ("rocksdb", &["store"]),
    ("fuser", &["fuse"]),
    ("object_store", &["archive"]),
];

/// Layers that may hold `unsafe`.
const UNSAFE: [&str; 1] = ["backing"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Files of src with their layer; lib.rs and main.rs have none.
fn layered() -> Vec<(PathBuf, String, String)> {
    let src = root().join("src");
    let mut files = Vec::new();
    for path in rust_files(&src) {
        let inner = path.strip_prefix(&src).expect("below src");
        let first = inner
            .iter()
            .next()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let layer = first.trim_end_matches(".rs").to_string();
        let text = fs::read_to_string(&path).expect("a source file");
        if layer != "lib" && layer != "main" {
            files.push((inner.to_path_buf(), layer, text));
        }
    }
    files
}

/// The code without comments and without what stands between quotes.
fn code(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        let line = line.trim_start();
        let bare = line.split("//").next().unwrap_or("");
        code.push_str(bare);
        code.push('\n');
    }
    code
}

/// Names behind each `crate::`, also those of `use crate::{a, b}`.
fn crate_names(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let is_part_of_a_word = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if is_part_of_a_word {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(group_names(group)),
            None => names.push(word(rest)),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The first names of a group, up to its closing brace.
fn group_names(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(word(group[start..at].trim_start()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(word(group[start..at].trim_start()));
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn every_layer_knows_only_those_below_it() {
    let table: BTreeMap<&str, &[&str]> = LAYERS.into_iter().collect();
    let mut wrong = Vec::new();
    for (path, layer, text) in layered() {
        let Some(below) = table.get(layer.as_str()) else {
            wrong.push(format!("src/{}: `{layer}` is no layer", path.display()));
            continue;
        };
        for name in crate_names(&code(&text)) {
            let is_layer = table.contains_key(name.as_str());
            if is_layer && name != layer && !below.contains(&name.as_str()) {
                wrong.push(format!(
                    "src/{}: `{layer}` must not know `{name}`",
                    path.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n  {}", wrong.join("\n  "));
}

#[test]
fn the_table_has_no_circles() {
    // Each layer stands behind all that it may know.
    let order: Vec<&str> = [
        "id",
        "limits",
        "name",
        "pattern",
        "time",
        "format",
        "backing",
        "store",
        "archive",
        "retention",
        "inodes",
        "capture",
        "history",
        "restore",
        "fs",
        "filling",
        "control",
        "fuse",
        "cli",
    ]
    .to_vec();
    let place = |layer: &str| order.iter().position(|known| *known == layer).expect(layer);
    for (layer, below) in LAYERS {
        for known in below {
            assert!(place(known) < place(layer), "{layer} knows {known}");
        }
    }
}

#[test]
fn crates_behind_a_layer_are_known_to_it_alone() {
    let mut wrong = Vec::new();
    for (path, layer, text) in layered() {
        let code = code(&text);
        for (name, layers) in CRATES {
            if code.contains(&format!("{name}::")) && !layers.contains(&layer.as_str()) {
                wrong.push(format!(
                    "src/{}: `{name}` belongs to {layers:?}",
                    path.display()
                ));
            }
        }
        let has_unsafe = code
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|w| w == "unsafe");
        if has_unsafe && !UNSAFE.contains(&layer.as_str()) {
            wrong.push(format!(
                "src/{}: `unsafe` belongs to {UNSAFE:?}",
                path.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "\n  {}", wrong.join("\n  "));
}

#[test]
fn every_file_says_what_it_is_in_ascii() {
    let mut wrong = Vec::new();
    let folders = ["src", "tests"].map(|folder| root().join(folder));
    for path in folders.iter().flat_map(|folder| rust_files(folder)) {
        let text = fs::read_to_string(&path).expect("a source file");
        let shown = path
            .strip_prefix(root())
            .expect("below the root")
            .display()
            .to_string();
        if !text.starts_with("//! ") {
            wrong.push(format!("{shown} does not open with `//!`"));
        }
        if let Some(n) = text.lines().position(|line| !line.is_ascii()) {
            wrong.push(format!("{shown}:{} is not ASCII", n + 1));
        }
        for bad in ["TODO", "FIXME", "todo!(", "unimplemented!("] {
            // This file has to name them.
            if text.contains(bad) && !shown.ends_with("tidy.rs") {
                wrong.push(format!("{shown} holds {bad}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n  {}", wrong.join("\n  "));
}

/// In docs/invariants.md each invariant is a heading or a line that begins with `I-1`, and names its
/// test as `module::test` or `test` between back quotes behind the word `test`.
#[test]
fn every_invariant_names_a_test_that_exists() {
    let path = root().join("docs/invariants.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut sources = String::new();
    for folder in ["src", "tests"] {
        for file in rust_files(&root().join(folder)) {
            sources += &fs::read_to_string(file).expect("a source file");
        }
    }
    let mut tests: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        let plain = line.trim_start_matches(['#', '|', '*', '-', ' ']);
        if let Some(rest) = plain.strip_prefix("I-") {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            if let Ok(number) = digits.parse() {
                tests.entry(number).or_default();
                current = Some(number);
            }
        }
        if let Some(number) = current {
            let quoted = line.split('`').skip(1).step_by(2);
            let last = |name: &str| name.rsplit("::").next().unwrap_or("").to_string();
            tests.entry(number).or_default().extend(quoted.map(last));
        }
    }
    assert!(
        tests.len() >= 15,
        "{path:?} has only {} invariants",
        tests.len()
    );
    let mut wrong = Vec::new();
    for (number, names) in tests {
        let exists = |name: &String| {
            let is_word = !name.is_empty() && word(name) == *name;
            is_word && sources.contains(&format!("fn {name}("))
        };
        if !names.iter().any(exists) {
            wrong.push(format!(
                "I-{number} names no test that exists, only {names:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "\n  {}", wrong.join("\n  "));
}

#[test]
fn the_checks_of_this_file_can_fail() {
    let code = code(
        "use crate::{store::{A, B}, fuse, id::X};\nlet a = crate::cli::b(); // crate::fs\nmycrate::fs();",
    );
    assert_eq!(crate_names(&code), ["store", "fuse", "id", "cli"]);
}
