//! Opening a place for backups, with the password as it was given.

use super::args;
use super::error::Error;
use crate::archive::{ArchiveError, Objects, Repository, Secrecy, Secret};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// The environment variable that may hold the password.
const VARIABLE: &str = "REWINDFS_PASSWORD";

/// A place that is there, or with `create` one that is to be.
///
/// # Errors
/// It can't be reached, is none, or the password is missing or wrong.
pub fn open(url: &str, opening: &args::Opening, create: bool) -> Result<Repository, Error> {
    let secrecy = secrecy(opening)?;
    // Nothing is made for somebody who has not said how.
    let undecided = secrecy == Secrecy::Unsaid && create && !is_there(url);
    if undecided {
        return Err(ArchiveError::Undecided.into());
    }
    let objects = Arc::new(Objects::open(url, create)?);
    Ok(match create {
        true => Repository::open_or_create(objects, &secrecy)?,
        false => Repository::open(objects, &secrecy)?,
    })
}

/// Whether a folder is there, as far as that can be seen without making it.
fn is_there(url: &str) -> bool {
    url.contains("://") || Path::new(url).exists()
}

fn secrecy(opening: &args::Opening) -> Result<Secrecy, Error> {
    if opening.no_encryption {
        return Ok(Secrecy::None);
    }
    let bytes = if let Some(path) = &opening.password_file {
        std::fs::read(path).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?
    } else if let Some(command) = &opening.password_command {
        let output = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::inherit())
            .stderr(Stdio::inherit())
            .output();
        let output = output.map_err(|source| Error::System {
            action: "the password command can't be run",
            source,
        })?;
        if !output.status.success() {
            return Err(Error::Usage(format!(
                "the password command failed ({}); run it by itself: {command}",
                output.status
            )));
        }
        output.stdout
    } else if let Some(value) = std::env::var_os(VARIABLE) {
        value.into_vec()
    } else {
        return Ok(Secrecy::Unsaid);
    };
    let password = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let password = password.strip_suffix(b"\r").unwrap_or(password);
    if password.is_empty() {
        return Err(Error::Usage(
            "the password is empty; give another, or say --no-encryption".to_owned(),
        ));
    }
    Ok(Secrecy::Password(Secret(password.to_vec())))
}
