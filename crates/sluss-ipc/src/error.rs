//! What can go wrong between daemon and command, and who is at fault.

use std::{io, path::PathBuf};

/// A failed exchange. No variant quotes what the peer sent: it may hold a PIN.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens at the socket.
    #[error("no daemon answers at {path}")]
    NoDaemon { path: PathBuf, source: io::Error },
    /// Somebody listens who is neither root, the service's account, nor the caller: a squatted socket.
    #[error("the socket {path} belongs to user {uid}, not to the daemon")]
    Impostor { path: PathBuf, uid: u32 },
    /// The peer hung up before it had answered.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer hung up in the middle of a frame.
    #[error("the peer closed the connection in the middle of a frame")]
    Truncated,
    /// The peer announced a frame that is longer than it may be; nothing was allocated for it.
    #[error("the peer announced a frame of {length} bytes, the limit is {limit}")]
    Oversized { length: u32, limit: usize },
    /// The frame is not the JSON of a known message.
    #[error("the peer sent a frame that is no message (column {column})")]
    Malformed { column: usize },
    /// The peer did not send, or take, a frame in time.
    #[error("the peer does not answer")]
    Silent,
    /// Our own message does not fit into a frame.
    #[error("the message is longer than {limit} bytes")]
    TooLong { limit: usize },
    /// The place of the socket is taken by something that is not a socket, which is left alone.
    #[error("{path} exists and is not a socket")]
    NotASocket { path: PathBuf },
    /// Another daemon listens at this very path.
    #[error("a daemon already listens at {path}")]
    InUse { path: PathBuf },
    /// The host refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}
