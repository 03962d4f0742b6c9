//! Texts that are agreed on, in files. `REWINDFS_BLESS=1` writes them anew; then read the
//! difference before you commit it.

use std::fs;
use std::path::Path;

/// Fails the test unless the text is that of the file in `golden/`.
pub fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/suite/golden")
        .join(name);
    if std::env::var_os("REWINDFS_BLESS").is_some() {
        fs::write(&path, text).expect("the golden file is written");
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let mut different = Vec::new();
    let (mut old, mut new) = (expected.lines(), text.lines());
    loop {
        match (old.next(), new.next()) {
            (None, None) => break,
            (old, new) if old == new => {}
            (old, new) => different.push(format!("- {}\n  + {}", shown(old), shown(new))),
        }
    }
    assert!(
        different.is_empty(),
        "not as in {}:\n  {}",
        path.display(),
        different.join("\n  ")
    );
}

fn shown(line: Option<&str>) -> &str {
    line.unwrap_or("(nothing)")
}
