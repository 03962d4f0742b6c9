//! What the daemon is told when it starts, and what it tells while it does.

use super::super::option::MountOptions;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// A mount that was checked and is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    #[serde(with = "path")]
    pub dir: PathBuf,
    #[serde(with = "path")]
    pub mountpoint: PathBuf,
    #[serde(with = "path")]
    pub store: PathBuf,
    pub new_store: bool,
    /// Where to leave a file that points to the store; no path: nowhere.
    #[serde(with = "path")]
    pub pointer: PathBuf,
    pub adopt: bool,
    /// What was said of content from before the first mount.
    pub import: Option<Import>,
    pub options: MountOptions,
    /// Where the figures can be asked for.
    pub metrics: Option<SocketAddr>,
}

/// What `--import` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Import {
    /// Record all that is there, also what an earlier mount left out
    All,
    /// Record only what changes from now on
    Changes,
}

/// What the daemon says before it is on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// A line for the person who mounts; all goes on.
    Warning(String),
    /// The mount is usable.
    Ready,
    /// It is not, and nothing was changed.
    Failed { message: String, exit: u8 },
}

/// Paths as numbers: they need not be text.
mod path {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().as_bytes().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        Ok(PathBuf::from(OsString::from_vec(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn a_path_that_is_no_text_reaches_the_daemon() {
        let path = PathBuf::from(OsString::from_vec(b"/a\xff b".to_vec()));
        let job = Job {
            dir: path.clone(),
            mountpoint: path,
            store: "/s".into(),
            new_store: true,
            pointer: PathBuf::new(),
            adopt: false,
            import: Some(Import::Changes),
            options: MountOptions::default(),
            metrics: Some(([127, 0, 0, 1], 9753).into()),
        };
        let mut pipe = Vec::new();
        crate::control::wire::send(&mut pipe, &job).unwrap();
        let told: Job = crate::control::wire::receive(&mut pipe.as_slice()).unwrap();
        assert_eq!(told, job);
    }
}
