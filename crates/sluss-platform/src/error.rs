//! What can go wrong between the daemon and the machine, and whose fault it is.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

/// An operation on the host that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused: a right that is missing, or a feature that this kernel does not have.
    #[error("cannot {doing}: {cause}")]
    System {
        /// Completes "cannot …".
        doing: Cow<'static, str>,
        cause: io::Error,
    },

    /// The firewall program did not accept the ruleset, or could not be run.
    #[error("firewall: {0}")]
    Firewall(String),

    /// An interface that should exist does not; it was taken away while in use.
    #[error("there is no interface {0}")]
    NoInterface(String),

    /// A service on the system bus refused, or did not answer.
    #[error("cannot {doing}: {cause}")]
    Bus {
        /// Completes "cannot …".
        doing: Cow<'static, str>,
        cause: zbus::Error,
    },

    /// A file that decides what the daemon does could have been written by somebody else.
    #[error("{}: refused: {why}", path.display())]
    Untrusted { path: PathBuf, why: &'static str },

    /// A file could not be read or written.
    #[error("{}: {cause}", path.display())]
    File { path: PathBuf, cause: io::Error },
}

impl Error {
    /// For `map_err` on what the kernel was asked to do: "cannot `doing`".
    pub(crate) fn system<E: Into<io::Error>>(
        doing: impl Into<Cow<'static, str>>,
    ) -> impl FnOnce(E) -> Error {
        move |cause| Error::System {
            doing: doing.into(),
            cause: cause.into(),
        }
    }
}
