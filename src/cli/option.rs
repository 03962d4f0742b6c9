//! The list after `-o` of `mount`: `settle=2s,snapdir=visible`.

use super::quantity::{BadQuantity, parse_duration, parse_size};
use crate::limits;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Whether `.snapshots` shows in listings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Snapdir {
    /// There, but not listed.
    #[default]
    Hidden,
    /// Listed in the root.
    Visible,
    Disabled,
}

/// Who may use the mount besides the user who made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Root mounts for all, an ordinary user for himself.
    #[default]
    Usual,
    Root,
    All,
}

/// What can be said after `-o`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountOptions {
    pub settle: Duration,
    pub interval: Duration,
    pub snapdir: Snapdir,
    pub snapdir_name: String,
    pub writeback: bool,
    pub read_only: bool,
    pub access: Access,
    pub no_history: bool,
    /// Free bytes below which history stops; `None`: the default.
    pub min_free: Option<u64>,
    /// The group whose members may change the list of snapshots.
    pub snapshot_group: Option<u32>,
}

impl Default for MountOptions {
    fn default() -> MountOptions {
        MountOptions {
            settle: limits::SETTLE,
            interval: limits::INTERVAL,
            snapdir: Snapdir::Hidden,
            snapdir_name: ".snapshots".into(),
            writeback: false,
            read_only: false,
            access: Access::Usual,
            no_history: false,
            min_free: None,
            snapshot_group: None,
        }
    }
}

/// Why the list could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOption {
    #[error("-o {0} is unknown; known are {KNOWN}")]
    Unknown(String),
    #[error("-o {name}: {source}")]
    Quantity { name: String, source: BadQuantity },
    #[error("-o {name} needs a value: {name}={example}")]
    NoValue {
        name: &'static str,
        example: &'static str,
    },
    #[error("-o {0} takes no value")]
    Value(String),
    #[error("-o snapdir={0} is unknown; known are hidden, visible, disabled")]
    Snapdir(String),
    #[error("-o snapdirname={0}: {1}; write for example .snapshots")]
    SnapdirName(String, &'static str),
    #[error("-o snapshot_group={0}: there is no such group; those that are there: getent group")]
    NoGroup(String),
    #[error("-o interval: must be at least 100ms")]
    ShortInterval,
}

/// What can be said, with examples: for `--help`, and for the answer to a mistake.
pub const KNOWN: &str = "settle=1s, interval=5s, snapdir=hidden|visible|disabled, \
    snapdirname=.snapshots, writeback, ro, allow_other, allow_root, nohistory, min-free=5G, \
    snapshot_group=GROUP";

/// A clock that ticks faster would only cut empty states.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

impl MountOptions {
    /// Reads one or more lists; what comes later wins.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse<'a>(lists: impl IntoIterator<Item = &'a str>) -> Result<MountOptions, BadOption> {
        let mut options = MountOptions::default();
        for item in lists.into_iter().flat_map(|list| list.split(',')) {
            if !item.is_empty() {
                options.set(item)?;
            }
        }
        if options.interval < INTERVAL_MIN {
            return Err(BadOption::ShortInterval);
        }
        Ok(options)
    }

    fn set(&mut self, item: &str) -> Result<(), BadOption> {
        let (name, value) = match item.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (item, None),
        };
        let needed = |name, example| value.ok_or(BadOption::NoValue { name, example });
        let quantity = |source| BadOption::Quantity {
            name: name.to_owned(),
            source,
        };
        match name {
            "settle" => self.settle = parse_duration(needed("settle", "1s")?).map_err(quantity)?,
            "interval" => {
                self.interval = parse_duration(needed("interval", "5s")?).map_err(quantity)?;
            }
            "min-free" => {
                self.min_free = Some(parse_size(needed("min-free", "5G")?).map_err(quantity)?);
            }
            "snapshot_group" => {
                self.snapshot_group = Some(group(needed("snapshot_group", "staff")?)?);
            }
            "snapdir" => self.snapdir = parse_snapdir(needed("snapdir", "hidden")?)?,
            "snapdirname" => {
                self.snapdir_name = parse_name(needed("snapdirname", ".snapshots")?)?;
            }
            _ => self.set_flag(name, value)?,
        }
        Ok(())
    }

    fn set_flag(&mut self, name: &str, value: Option<&str>) -> Result<(), BadOption> {
        match name {
            "writeback" => self.writeback = true,
            "ro" => self.read_only = true,
            "allow_other" => self.access = Access::All,
            "allow_root" => self.access = Access::Root,
            "nohistory" => self.no_history = true,
            _ => return Err(BadOption::Unknown(name.to_owned())),
        }
        match value {
            Some(_) => Err(BadOption::Value(name.to_owned())),
            None => Ok(()),
        }
    }
}

/// A group by its name or its number.
fn group(value: &str) -> Result<u32, BadOption> {
    if let Ok(number) = value.parse() {
        return Ok(number);
    }
    match nix::unistd::Group::from_name(value) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => Err(BadOption::NoGroup(value.to_owned())),
    }
}

fn parse_snapdir(value: &str) -> Result<Snapdir, BadOption> {
    match value {
        "hidden" => Ok(Snapdir::Hidden),
        "visible" => Ok(Snapdir::Visible),
        "disabled" => Ok(Snapdir::Disabled),
        _ => Err(BadOption::Snapdir(value.to_owned())),
    }
}

fn parse_name(value: &str) -> Result<String, BadOption> {
    let fault = if value.is_empty() {
        Some("it is empty")
    } else if matches!(value, "." | "..") {
        Some("that name has a meaning of its own")
    } else if value.contains('/') || value.chars().any(char::is_control) {
        Some("it contains '/' or control characters")
    } else if value.len() > limits::NAME_MAX {
        Some("it is too long")
    } else {
        None
    };
    match fault {
        Some(fault) => Err(BadOption::SnapdirName(value.to_owned(), fault)),
        None => Ok(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(MountOptions::parse([]), Ok(MountOptions::default()));
        assert_eq!(MountOptions::parse([""]), Ok(MountOptions::default()));
    }

    #[test]
    fn each_option_is_read() {
        let list = "settle=500ms,interval=1h,snapdir=visible,snapdirname=.past,writeback,ro";
        let more = "allow_other,nohistory,min-free=1G,snapshot_group=root";
        let options = MountOptions::parse([list, more]).unwrap();
        assert_eq!(
            options,
            MountOptions {
                settle: Duration::from_millis(500),
                interval: Duration::from_secs(3600),
                snapdir: Snapdir::Visible,
                snapdir_name: ".past".into(),
                writeback: true,
                read_only: true,
                access: Access::All,
                no_history: true,
                min_free: Some(1 << 30),
                snapshot_group: Some(0),
            }
        );
    }

    #[test]
    fn mistakes_name_the_option_and_what_is_known() {
        for (list, message) in [
            (
                "sttle=1s",
                "-o sttle is unknown; known are settle=1s, interval=5s, \
                 snapdir=hidden|visible|disabled, snapdirname=.snapshots, writeback, ro, \
                 allow_other, allow_root, nohistory, min-free=5G, snapshot_group=GROUP",
            ),
            ("settle", "-o settle needs a value: settle=1s"),
            (
                "settle=soon",
                "-o settle: 'soon' is not a duration; write for example 500ms, 1s, 2m or 1h",
            ),
            ("ro=1", "-o ro takes no value"),
            (
                "snapdir=no",
                "-o snapdir=no is unknown; known are hidden, visible, disabled",
            ),
            (
                "snapdirname=a/b",
                "-o snapdirname=a/b: it contains '/' or control characters; write for example \
                 .snapshots",
            ),
            (
                "snapshot_group=no such group",
                "-o snapshot_group=no such group: there is no such group; those that are there: \
                 getent group",
            ),
            ("interval=1ms", "-o interval: must be at least 100ms"),
        ] {
            assert_eq!(
                MountOptions::parse([list]).unwrap_err().to_string(),
                message
            );
        }
    }
}
