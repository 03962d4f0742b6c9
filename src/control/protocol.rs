//! What both sides say first, and by what they know whether they understand each other.
//!
//! 1. The first message is understood by every version, so that a refusal can be said.
//! 2. Any change of a message raises `PROTOCOL`. `protocol.txt` holds the messages of this number,
//!    and its test accepts no others: a program that was rebuilt in the meantime notices that the
//!    daemon is an older one, although both call themselves by the same version.

use super::error::Error;
use serde::{Deserialize, Serialize};

/// Number of the messages in `request`, `report` and `error`, and of the frames in `export`.
pub const PROTOCOL: u32 = 10;

/// First message of both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the program; both must have the same.
    pub rewindfs: String,
    /// `PROTOCOL`; 0 of programs that did not say it yet.
    #[serde(default)]
    pub protocol: u32,
}

impl Hello {
    /// Of this program.
    pub fn own() -> Hello {
        Hello {
            rewindfs: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
        }
    }

    /// Why a daemon and a program must not go on, if they must not.
    pub fn difference(daemon: &Hello, program: &Hello) -> Option<Error> {
        let shown = |hello: &Hello| {
            if daemon.rewindfs == program.rewindfs {
                format!("{} (protocol {})", hello.rewindfs, hello.protocol)
            } else {
                hello.rewindfs.clone()
            }
        };
        (daemon != program).then(|| Error::Version {
            daemon: shown(daemon),
            program: shown(program),
        })
    }
}

#[cfg(test)]
mod tests;
