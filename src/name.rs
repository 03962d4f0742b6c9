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
