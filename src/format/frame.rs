//! Frames on a pipe or a socket: a length of four bytes, little endian, then a value.

use super::value;
use crate::limits;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};

/// Sends one value.
///
/// # Errors
/// When the other side has gone.
pub fn send<T: Serialize>(to: &mut impl Write, value: &T) -> io::Result<()> {
    let body = value::pack(value);
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&body)?;
    to.flush()
}

/// Receives one value.
///
/// # Errors
/// `UnexpectedEof` when the other side has gone; `InvalidData` for what can't be one.
pub fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > limits::EXPORT_FRAME {
        let text = format!("a message of {length} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut body = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut body)?;
    value::unpack(&body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
