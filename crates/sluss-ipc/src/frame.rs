//! Length-prefixed JSON frames, as a calculation: any stream, blocking or not, can carry them.

use std::{io, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{Error, Request, Response};

const HEADER: usize = size_of::<u32>();

/// What may travel in a frame, and how long its JSON may be.
pub trait Message: Serialize + DeserializeOwned {
    /// The longest JSON in bytes.
    const LIMIT: usize;
}

impl Message for Request {
    const LIMIT: usize = 4 * 1024;
}

impl Message for Response {
    const LIMIT: usize = 64 * 1024;
}

/// The frame of `message`: header and JSON, wiped when dropped.
pub fn encode<M: Message>(message: &M) -> Result<Zeroizing<Vec<u8>>, Error> {
    // Never grown: a reallocation would leave a copy of a PIN behind.
    let mut frame = Zeroizing::new(vec![0; HEADER + M::LIMIT]);
    let mut rest = &mut frame[HEADER..];
    serde_json::to_writer(&mut rest, message).map_err(|error| match error.io_error_kind() {
        Some(_) => Error::TooLong { limit: M::LIMIT },
        None => Error::Io(io::Error::other(error)),
    })?;
    let length = M::LIMIT - rest.len();
    frame[..HEADER].copy_from_slice(&(length as u32).to_be_bytes());
    frame.truncate(HEADER + length);
    Ok(frame)
}

/// Puts frames together from whatever pieces a stream delivers.
///
/// The reader fills [`Decoder::space`] and says how much with [`Decoder::advance`]. The space ends where the frame
/// ends, so nothing is read ahead: memory is bounded by one frame, the bytes of a PIN lie nowhere but in here, and they
/// are wiped with the frame. A dropped read loses nothing. After an error the stream cannot be understood any more.
pub struct Decoder<M> {
    buffer: Zeroizing<Vec<u8>>,
    filled: usize,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Decoder<M> {
    pub fn new() -> Self {
        Self {
            buffer: Zeroizing::new(vec![0; HEADER]),
            filled: 0,
            message: PhantomData,
        }
    }

    /// Where the next bytes of the stream go. Never empty.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// Whether a frame has begun and not ended: a stream that ends here is [`Error::Truncated`].
    pub fn is_mid_frame(&self) -> bool {
        self.filled > 0
    }

    /// Takes note that the first `count` bytes of [`Decoder::space`] are filled; a message if that completes one.
    ///
    /// # Panics
    /// If `count` is larger than the space was.
    pub fn advance(&mut self, count: usize) -> Result<Option<M>, Error> {
        assert!(
            count <= self.buffer.len() - self.filled,
            "more bytes than there was space for"
        );
        self.filled += count;
        if self.filled < self.buffer.len() {
            return Ok(None);
        }
        if self.buffer.len() == HEADER {
            self.begin()?;
            return Ok(None);
        }
        let message =
            serde_json::from_slice(&self.buffer[HEADER..]).map_err(|error| Error::Malformed {
                column: error.column(),
            });
        *self = Self::new();
        message.map(Some)
    }

    /// The header is complete: makes room for what it announces.
    fn begin(&mut self) -> Result<(), Error> {
        let length = self.buffer[..HEADER]
            .iter()
            .fold(0, |length, byte| length << 8 | u32::from(*byte));
        match length as usize {
            // No message is empty, and a space must not be.
            0 => Err(Error::Malformed { column: 0 }),
            fits if fits <= M::LIMIT => {
                let mut buffer = Zeroizing::new(vec![0; HEADER + fits]);
                buffer[..HEADER].copy_from_slice(&self.buffer);
                self.buffer = buffer;
                Ok(())
            }
            _ => Err(Error::Oversized {
                length,
                limit: M::LIMIT,
            }),
        }
    }
}

impl<M: Message> Default for Decoder<M> {
    fn default() -> Self {
        Self::new()
    }
}
