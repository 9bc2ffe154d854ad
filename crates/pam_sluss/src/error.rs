//! Why a PIN does not reach the daemon. All of it goes to the log, none of it to whoever logs in.

use sluss_ipc::Pin;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The administrator's: it may have been meant to forbid something, so nothing is handed over.
    #[error("unknown argument {0:?}; there are services=NAME,... and debug")]
    UnknownArgument(String),
    /// The stack's: the module was reached without a PIN.
    #[error("what was typed is no PIN of a card: 1 to {} bytes are", Pin::MAX)]
    NotAPin,
    /// The host's.
    #[error("no memory that stays out of swap and dumps")]
    NoMemory(#[source] nix::Error),
    #[error("the host does not know the user")]
    UnknownUser,
    #[error("PAM does not keep the PIN (code {0})")]
    NotKept(i32),
    /// The daemon's.
    #[error("the PIN was not handed over: {0}")]
    Daemon(#[from] sluss_ipc::Error),
    #[error(
        "the daemon takes PINs from root, and from the user at the keyboard; this process is neither's"
    )]
    NotAllowed,
    #[error("the daemon answered something else")]
    Nonsense,
}
