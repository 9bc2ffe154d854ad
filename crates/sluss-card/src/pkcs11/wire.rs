//! What daemon and worker say to each other: one request, one response, in bounded frames.
//!
//! A frame is its payload's length, 32 bits big-endian, and the payload. Numbers inside are big-endian, byte strings and
//! lists have their length in front, 32 bits. Both ends are the same program: there are no versions.

mod codec;
mod coding;
mod message;

pub use message::{Fault, Key, PinState, Scheme, Token, Tries, Uses};
pub(super) use message::{Request, Response};

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

/// Hundreds of certificates stay below this; a longer frame is nonsense.
const LONGEST_FRAME: usize = 1024 * 1024;

/// Sends a payload of at most [`LONGEST_FRAME`].
pub(super) fn write_frame(stream: &mut (impl Write + ?Sized), payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|_| payload.len() <= LONGEST_FRAME)
        .ok_or(io::ErrorKind::InvalidInput)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(payload)?;
    stream.flush()
}

/// The next payload, or `UnexpectedEof` when the other end is gone.
pub(super) fn read_frame(stream: &mut (impl Read + ?Sized)) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut payload = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut payload)?;
    Ok(payload)
}

#[cfg(test)]
mod tests;
