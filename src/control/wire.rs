//! Messages on the socket: a length of four bytes, little endian, then JSON. JSON because the
//! first message must be understood by every version of the other side, and because what is
//! sent is small.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};

/// Longest message, bytes. A page of the list and a status stay far below.
pub const MESSAGE_MAX: u32 = 4 << 20;

/// Sends one message.
///
/// # Errors
/// When the other side has gone, or the message is too long.
pub fn send<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|&length| length <= MESSAGE_MAX)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"))?;
    let mut framed = length.to_le_bytes().to_vec();
    framed.extend_from_slice(&body);
    to.write_all(&framed)?;
    to.flush()
}

/// Receives one message.
///
/// # Errors
/// `UnexpectedEof` when the other side has gone; `InvalidData` for what can't be one.
pub fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > MESSAGE_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message of {length} bytes"),
        ));
    }
    let mut body = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut body)?;
    if body.len() as u64 != u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::error::Error;
    use crate::control::protocol::Hello;
    use crate::control::request::{Reply, Request};

    #[test]
    fn messages_come_back_as_they_were() {
        let mut pipe = Vec::new();
        let request = Request::Rename {
            old: "a \u{e9}\n".into(),
            new: "b".into(),
        };
        let reply = Reply::Result(Err(Error::NoSnapshot { name: "x".into() }));
        send(&mut pipe, &request).unwrap();
        send(&mut pipe, &reply).unwrap();
        let mut from = pipe.as_slice();
        assert_eq!(receive::<Request>(&mut from).unwrap(), request);
        assert_eq!(receive::<Reply>(&mut from).unwrap(), reply);
        assert_eq!(
            receive::<Reply>(&mut from).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_read() {
        let bytes = (MESSAGE_MAX + 1).to_le_bytes();
        let error = receive::<Hello>(&mut bytes.as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_first_message_is_fixed_for_all_versions() {
        let mut pipe = Vec::new();
        let hello = Hello {
            rewindfs: "0.1.0".into(),
            protocol: 7,
        };
        send(&mut pipe, &hello).unwrap();
        assert_eq!(pipe, b"\x21\0\0\0{\"rewindfs\":\"0.1.0\",\"protocol\":7}");
    }
}
