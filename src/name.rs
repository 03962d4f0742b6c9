//! Names: what may be one, and nothing about where it leads.
//!
//! A snapshot's name is a folder of `.snapshots` and a word on a command line, so what has a
//! meaning of its own there (`latest`, `live`, `@TIME`, `NAME~2`, `.checkpoints`) can't be one.

/// Names that mean a state by themselves.
pub const RESERVED: [&str; 2] = ["latest", "live"];

/// Why a snapshot can't have the name that was asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadSnapshotName {
    #[error("a snapshot name must not be empty")]
    Empty,
    #[error("a snapshot name must not be longer than {max} bytes", max = crate::limits::SNAPSHOT_NAME_MAX)]
    TooLong,
    #[error("a snapshot name must not begin with '.' or '@'")]
    FirstCharacter,
    #[error("a snapshot name must not contain '/' or control characters")]
    Character,
    #[error("a snapshot name must be UTF-8")]
    NotUtf8,
    #[error("'{0}' has a meaning of its own and can't be a snapshot name")]
    Reserved(String),
    #[error(
        "'~' followed by a number at the end of a name counts back from a snapshot, so it can't be part of one"
    )]
    CountsBack,
}

/// Checks a snapshot name that a user gave.
///
/// # Errors
/// The reason, as a sentence for him.
pub fn check_snapshot_name(name: &[u8]) -> Result<&str, BadSnapshotName> {
    let name = std::str::from_utf8(name).map_err(|_| BadSnapshotName::NotUtf8)?;
    if name.is_empty() {
        return Err(BadSnapshotName::Empty);
    }
    if name.len() > crate::limits::SNAPSHOT_NAME_MAX {
        return Err(BadSnapshotName::TooLong);
    }
    if name.starts_with(['.', '@']) {
        return Err(BadSnapshotName::FirstCharacter);
    }
    if name.chars().any(|c| c == '/' || c.is_control()) {
        return Err(BadSnapshotName::Character);
    }
    if RESERVED.contains(&name) {
        return Err(BadSnapshotName::Reserved(name.to_owned()));
    }
    if let Some((_, count)) = name.rsplit_once('~')
        && !count.is_empty()
        && count.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(BadSnapshotName::CountsBack);
    }
    Ok(name)
}

/// Whether `name` can be an entry of a directory on Linux.
pub fn is_file_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= crate::limits::NAME_MAX
        && name != b"."
        && name != b".."
        && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// A path as git shows it: bare, or in double quotes with C escapes when something in it is
/// special.
pub fn git_quoted(path: &[u8]) -> String {
    let special = |byte: &u8| !(b' '..=b'~').contains(byte) || b"\"\\".contains(byte);
    if !path.iter().any(special) {
        return path.iter().copied().map(char::from).collect();
    }
    let mut text = String::from("\"");
    for &byte in path {
        let letter = match byte {
            7 => 'a',
            8 => 'b',
            b'\t' => 't',
            b'\n' => 'n',
            11 => 'v',
            12 => 'f',
            b'\r' => 'r',
            b'"' | b'\\' => char::from(byte),
            b' '..=b'~' => {
                text.push(char::from(byte));
                continue;
            }
            _ => {
                text += &format!("\\{byte:03o}");
                continue;
            }
        };
        text.push('\\');
        text.push(letter);
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_taken() {
        let long = "x".repeat(crate::limits::SNAPSHOT_NAME_MAX);
        for name in [
            "first", "v1.0", "a b", "before~", "a~b", "~x", "-x", "\u{e4}", &long,
        ] {
            assert_eq!(check_snapshot_name(name.as_bytes()), Ok(name));
        }
    }

    #[test]
    fn each_bad_name_has_its_reason() {
        let long = "x".repeat(crate::limits::SNAPSHOT_NAME_MAX + 1);
        let cases: [(&[u8], BadSnapshotName); 13] = [
            (b"", BadSnapshotName::Empty),
            (long.as_bytes(), BadSnapshotName::TooLong),
            (b".", BadSnapshotName::FirstCharacter),
            (b".checkpoints", BadSnapshotName::FirstCharacter),
            (b"@5m", BadSnapshotName::FirstCharacter),
            (b"a/b", BadSnapshotName::Character),
            (b"a\nb", BadSnapshotName::Character),
            (b"a\0", BadSnapshotName::Character),
            (b"a\x7f", BadSnapshotName::Character),
            (b"\xff", BadSnapshotName::NotUtf8),
            (b"latest", BadSnapshotName::Reserved("latest".into())),
            (b"live", BadSnapshotName::Reserved("live".into())),
            (b"v1~12", BadSnapshotName::CountsBack),
        ];
        for (name, reason) in cases {
            assert_eq!(check_snapshot_name(name), Err(reason));
        }
    }

    /// What `git diff --name-status` prints.
    #[test]
    fn paths_are_quoted_as_git_quotes_them() {
        let cases: [(&[u8], &str); 4] = [
            (b"a b/it's", "a b/it's"),
            (b"a\"b\\", "\"a\\\"b\\\\\""),
            (b"\x07\x08\t\n\x0b\x0c\r", "\"\\a\\b\\t\\n\\v\\f\\r\""),
            (b"\xc3\xa4\x01\x7f", "\"\\303\\244\\001\\177\""),
        ];
        for (path, quoted) in cases {
            assert_eq!(git_quoted(path), quoted);
        }
    }

    #[test]
    fn file_names() {
        let longest = [b'x'; crate::limits::NAME_MAX];
        for name in [&b"a"[..], b"...", b"\xff\n", &longest] {
            assert!(is_file_name(name));
        }
        let too_long = [b'x'; crate::limits::NAME_MAX + 1];
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0", &too_long] {
            assert!(!is_file_name(name));
        }
    }
}
