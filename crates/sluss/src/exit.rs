//! How the command ends: the exit codes, and what is said when it went wrong.

use std::{io, process::ExitCode};

use sluss_ipc::Refusal;

use crate::text::Text;

/// The exit codes that scripts may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    /// It was asked for and is not so.
    NotSo = 1,
    Usage = 2,
    NoDaemon = 3,
    /// The policy, or the caller's role, forbids it.
    Refused = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The daemon answered something that was not asked for.
#[derive(Debug, thiserror::Error)]
#[error("the daemon gave another answer than was asked for")]
pub(crate) struct StrangeAnswer;

/// The daemon said no.
#[derive(Debug, thiserror::Error)]
#[error("refused: {0:?}")]
pub(crate) struct Refused(pub(crate) Refusal);

/// Says on standard error what went wrong, and gives the code for it.
pub(crate) fn explain(error: &anyhow::Error, text: &dyn Text) -> Exit {
    if let Some(Refused(refusal)) = error.downcast_ref() {
        eprintln!("sluss: {}", text.refusal(*refusal));
        return match refusal {
            Refusal::NotAllowed { .. } | Refusal::ByPolicy => Exit::Refused,
            Refusal::NoCard
            | Refusal::CardUnusable { .. }
            | Refusal::WrongPin { .. }
            | Refusal::PinFormat
            | Refusal::FactoryPin
            | Refusal::NoPinPad
            | Refusal::PinCancelled
            | Refusal::Enrolment { .. }
            | Refusal::LastTry
            | Refusal::PinBlocked
            | Refusal::CardFailed
            | Refusal::CardTimeout
            | Refusal::NoPortal
            | Refusal::PortalSpent { .. }
            | Refusal::PortalFailed
            | Refusal::Busy
            | Refusal::BadRequest { .. }
            | Refusal::TooManyConnections => Exit::NotSo,
        };
    }
    if let Some(error) = error.downcast_ref::<sluss_ipc::Error>() {
        eprintln!("sluss: {}", text.no_daemon(error));
        return Exit::NoDaemon;
    }
    if error.is::<StrangeAnswer>() {
        eprintln!("sluss: {}", text.strange_answer());
        return Exit::NoDaemon;
    }
    match error.downcast_ref::<io::Error>() {
        // Whoever read our output has read enough, as in `sluss monitor | head -1`.
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        _ => {
            eprintln!("sluss: {error:#}");
            Exit::NotSo
        }
    }
}
