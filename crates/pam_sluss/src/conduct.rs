//! What the module does when it is called, whoever calls and whoever listens.

use sluss_ipc::Pin;

use crate::daemon::Recipient;
use crate::error::Error;
use crate::outlook::Prospect;
use crate::rules::{Arguments, Entrance};
use crate::stash::Stash;

/// One PAM transaction, as the module sees it.
pub(crate) trait Transaction {
    fn entrance(&self) -> Entrance<'_>;

    /// `PAM_AUTHTOK`: what was typed, as long as the person is being authenticated.
    fn typed(&self) -> Option<&[u8]>;

    /// Whose session it is.
    fn uid(&self) -> Option<u32>;

    /// Keeps the PIN until [`Transaction::take_back`] or the end of the transaction, which wipe it.
    fn put_by(&self, stash: Stash) -> Result<(), Error>;

    fn take_back(&self) -> Option<Pin>;
}

/// What PAM wants done with a user's credentials, where it concerns the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Somebody unlocked a screen: there is a session already.
    Renewed,
    Deleted,
}

/// What became of a call, for the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Nothing was to be done, for a reason that interests only who looks for one.
    Nothing(String),
    PutBy,
    HandedOver,
    Waited(Prospect),
}

/// The card has found a PIN right: it is put by, since PAM forgets it before the session opens.
pub(crate) fn authenticate(login: &impl Transaction, arguments: &Arguments) -> Result<Done, Error> {
    if let Err(reluctance) = login.entrance().admits(arguments) {
        return Ok(Done::Nothing(reluctance.to_string()));
    }
    let Some(typed) = login.typed() else {
        // A reader with a pin pad: nobody but the card has seen the PIN.
        return Ok(Done::Nothing("no PIN was typed".to_owned()));
    };
    login.put_by(Stash::new(typed)?)?;
    Ok(Done::PutBy)
}

/// The session opens: the PIN is handed over, and the login waits for the internal network if it is told to.
pub(crate) fn open_session(
    login: &impl Transaction,
    arguments: &Arguments,
    daemon: &impl Recipient,
) -> Result<Done, Error> {
    match hand_over(login, arguments, daemon)? {
        Handed::Not(reason) => Ok(Done::Nothing(reason)),
        Handed::Over { wait: None } => Ok(Done::HandedOver),
        Handed::Over { wait: Some(limit) } => Ok(Done::Waited(daemon.wait(limit)?)),
    }
}

/// A screen is unlocked, which opens no session; nobody wants to wait in front of their own desktop.
pub(crate) fn set_credentials(
    login: &impl Transaction,
    arguments: &Arguments,
    daemon: &impl Recipient,
    credentials: Credentials,
) -> Result<Done, Error> {
    match credentials {
        Credentials::Renewed => match hand_over(login, arguments, daemon)? {
            Handed::Not(reason) => Ok(Done::Nothing(reason)),
            Handed::Over { wait: _ } => Ok(Done::HandedOver),
        },
        Credentials::Deleted => {
            drop(login.take_back());
            Ok(Done::Nothing("the login is over".to_owned()))
        }
    }
}

enum Handed {
    Not(String),
    Over { wait: Option<std::time::Duration> },
}

/// Hands the PIN over, once: a second call finds nothing.
fn hand_over(
    login: &impl Transaction,
    arguments: &Arguments,
    daemon: &impl Recipient,
) -> Result<Handed, Error> {
    let Some(pin) = login.take_back() else {
        return Ok(Handed::Not("no PIN was put by".to_owned()));
    };
    if let Err(reluctance) = login.entrance().admits(arguments) {
        return Ok(Handed::Not(reluctance.to_string()));
    }
    let uid = login.uid().ok_or(Error::UnknownUser)?;
    let wait = daemon.hand_over(pin, uid)?;
    Ok(Handed::Over { wait })
}

#[cfg(test)]
mod tests;
