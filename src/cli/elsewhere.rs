//! Opening a place for backups, with the password as it was given.

use super::args;
use super::error::Error;
use super::exit::Exit;
use crate::archive::{self, ArchiveError, Objects, Repository, Secrecy, Secret};
use crate::format::transfer::Sent;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// The environment variable that may hold the password.
const VARIABLE: &str = "REWINDFS_PASSWORD";

/// A place that is there.
///
/// # Errors
/// It can't be reached, is none, or the password is missing or wrong.
pub fn open(url: &str, opening: &args::Opening) -> Result<Repository, Error> {
    let secrecy = secrecy(opening)?;
    let objects = Arc::new(Objects::open(url, false)?);
    Ok(Repository::open(objects, &secrecy)?)
}

/// A place that is there, or is made. One that held backups of this store must still hold them,
/// unless it is said that they begin anew.
///
/// # Errors
/// As `open`; `Replaced`.
pub fn open_or_create(
    url: &str,
    opening: &args::Opening,
    sent: &[Sent],
    new: bool,
) -> Result<Repository, Error> {
    let secrecy = secrecy(opening)?;
    let place = Objects::place_of(url)?;
    let known = sent.iter().find(|sent| sent.url == place).filter(|_| !new);
    let replaced = |now| ArchiveError::Replaced {
        place: place.clone(),
        now,
    };
    let is_folder = !url.contains("://") || url.starts_with("file:");
    let there = match Objects::open(url, false) {
        Err(ArchiveError::Url { .. }) if is_folder => None,
        objects => Some(Arc::new(objects?)),
    };
    let repository = match there {
        Some(objects) => match Repository::open(objects, &secrecy) {
            Err(ArchiveError::NoRepository { .. }) => None,
            opened => Some(opened?),
        },
        None => None,
    };
    if let Some(repository) = repository {
        return match known {
            Some(known) if known.repository != repository.id => Err(replaced("others").into()),
            _ => Ok(repository),
        };
    }
    if known.is_some() {
        return Err(replaced("none").into());
    }
    // Nothing is made for somebody who has not said how.
    if secrecy == Secrecy::Unsaid {
        return Err(ArchiveError::Undecided.into());
    }
    let objects = Arc::new(Objects::open(url, true)?);
    Ok(Repository::open_or_create(objects, &secrecy)?)
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

/// `serve --stdio`: the objects of a folder, for this program on another machine.
///
/// # Errors
/// What comes is no question, or the line fails.
pub fn serve(folder: &Path, append_only: bool) -> Result<Exit, Error> {
    let (from, to) = (std::io::stdin().lock(), std::io::stdout().lock());
    archive::serve(folder, append_only, from, to).map_err(|source| Error::System {
        action: "what was asked can't be answered",
        source,
    })?;
    Ok(Exit::Done)
}
