//! Paths and names in messages, such that a command in one can be typed as it stands.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// As a shell reads it back: bare when nothing in it is special, else in single quotes; with
/// control characters or bytes that are no text in `$'...'`.
pub fn quote(text: impl AsRef<OsStr>) -> String {
    let bytes = text.as_ref().as_bytes();
    let bare = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:,@%=~^".contains(byte);
    let tilde_first = bytes.first() == Some(&b'~');
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(bare) && !tilde_first => text.to_owned(),
        Ok(text) if !text.chars().any(char::is_control) => {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
        _ => dollar(bytes),
    }
}

/// As git shows a path.
pub use crate::name::git_quoted as git;

fn dollar(bytes: &[u8]) -> String {
    let mut text = String::from("$'");
    for &byte in bytes {
        match byte {
            b'\'' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text += &format!("\\x{byte:02x}"),
        }
    }
    text + "'"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for (text, quoted) in [
            (&b"plain/path-1.0"[..], "plain/path-1.0"),
            (b"", "''"),
            (b"a b", "'a b'"),
            (b"it's", "'it'\\''s'"),
            (b"~me", "'~me'"),
            (b"line\nbreak", "$'line\\x0abreak'"),
            (b"\xff", "$'\\xff'"),
            ("\u{e9}".as_bytes(), "'\u{e9}'"),
        ] {
            assert_eq!(quote(OsStr::from_bytes(text)), quoted);
        }
    }
}
