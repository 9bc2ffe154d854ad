//! What can go wrong between the daemon and the machine, and whose fault it is.

use std::io;
use std::path::PathBuf;

/// An operation on the host that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a system call: a right that is missing, or a feature that this kernel does not have.
    #[error("{doing}: {source}")]
    System {
        doing: &'static str,
        source: io::Error,
    },

    /// The kernel refused a change of rules, routes, addresses or links, or to tell about them.
    #[error("{doing}: {source}")]
    Netlink {
        doing: String,
        source: rtnetlink::Error,
    },

    /// The firewall program did not accept the ruleset, or could not be run.
    #[error("firewall: {0}")]
    Firewall(String),

    /// An interface that should exist does not; it was taken away while in use.
    #[error("there is no interface {0}")]
    NoInterface(String),

    /// A file that decides what the daemon does could have been written by somebody else.
    #[error("{}: refused: {why}", path.display())]
    Untrusted { path: PathBuf, why: &'static str },

    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

impl Error {
    /// For `map_err` on a system call.
    pub(crate) fn system<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Error {
        move |source| Error::System {
            doing,
            source: source.into(),
        }
    }
}
