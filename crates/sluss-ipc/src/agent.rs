//! What the agent in the user's session is told: a PIN is wanted, or something is worth a notification.

use serde::{Deserialize, Serialize};

use crate::{CardFault, DownReason, Key, Portal, Status, Tunnel, Warning};

/// Names one prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PromptId(pub u64);

/// The card wants its PIN.
///
/// Open until it is withdrawn, declined, or answered by [`crate::Request::Unlock`]. An answer that is refused with
/// [`crate::Refusal::PinFormat`] or [`crate::Refusal::Busy`] leaves it open, since the card has seen nothing; after any
/// other the daemon prompts anew if it still wants a PIN. A new prompt takes the place of an open one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    pub id: PromptId,
    /// The serial number, from the card.
    pub serial: String,
    /// The reader's name, from the reader.
    pub reader: String,
    /// Told from two left; None if there are more, or the card does not tell.
    pub tries_left: Option<u8>,
    /// A wrong PIN would block the card: to be asked for, and given with [`crate::Request::Unlock`], only with the user's
    /// explicit consent.
    pub last_try: bool,
    /// The PIN is typed on the reader: [`crate::Request::Unlock`] without a PIN starts that.
    pub pin_pad: bool,
    pub reason: PromptReason,
}

/// Why the PIN is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptReason {
    /// The tunnel needs the card.
    Needed,
    /// The PIN before this one was wrong, or the card could not check it.
    Again,
    /// The card was unlocked, and another program or the laptop's sleep has undone that.
    CardReset,
}

/// Something that the user at the keyboard should know although no window of ours is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// The tunnel is open.
    Connected {
        /// The name that policy gives the gateway.
        gateway: String,
    },
    /// The tunnel was open and is not needed any more: the laptop is inside.
    Inside,
    /// The tunnel was open, and the card was pulled.
    CardPulled,
    /// The card was pulled; put back in time it keeps the tunnel open.
    CardMissed,
    /// A card is in that cannot serve.
    CardUnusable { fault: CardFault },
    /// No PIN tries are left.
    CardBlocked,
    /// The host's smart card service does not answer.
    NoCardService,
    /// Handshakes are sent and none is answered.
    GatewaySilent {
        /// The name that policy gives the gateway.
        gateway: String,
    },
    /// The tunnel's device, socket or worker failed; it is tried again.
    TunnelFailed,
    /// The network wants a login before it lets anything through.
    LoginPage,
}

/// Chooses what is worth a notification: few, and none twice in a row.
///
/// A notice speaks of a state and not of a change, so a newer one may take the place of the one on the screen.
#[derive(Debug, Default)]
pub struct Notices {
    /// What was said last, while it is still so.
    told: Option<Notice>,
}

/// What a state is worth.
enum Worth {
    Telling(Notice),
    /// Only to somebody who was connected: nobody is told each morning that there is no card yet.
    TellingIfConnected(Notice),
    /// The user knows: it was asked for, or a prompt asks for it.
    Nothing,
    /// It passes: what was said last may be so again in a moment.
    Waiting,
}

impl Notices {
    /// What the user is to be told of `status`, the first or the next that there is.
    pub fn observe(&mut self, status: &Status) -> Option<Notice> {
        let notice = match worth(status) {
            Worth::Waiting => return None,
            Worth::Nothing => None,
            Worth::Telling(notice) => Some(notice),
            Worth::TellingIfConnected(notice) => {
                let is_news = self.told.as_ref().is_some_and(Notice::is_of_a_tunnel);
                (is_news || self.told.as_ref() == Some(&notice)).then_some(notice)
            }
        };
        if self.told == notice {
            return None;
        }
        self.told.clone_from(&notice);
        notice
    }
}

impl Notice {
    fn is_of_a_tunnel(&self) -> bool {
        match self {
            Self::Connected { .. } | Self::CardMissed | Self::GatewaySilent { .. } => true,
            Self::Inside
            | Self::CardPulled
            | Self::CardUnusable { .. }
            | Self::CardBlocked
            | Self::NoCardService
            | Self::TunnelFailed
            | Self::LoginPage => false,
        }
    }
}

fn worth(status: &Status) -> Worth {
    let gateway = || {
        status
            .gateway
            .as_ref()
            .map(|gateway| gateway.name.clone())
            .unwrap_or_default()
    };
    let is_silent = status.warnings.contains(&Warning::GatewaySilent);
    if status.warnings.contains(&Warning::CardMissed) {
        return Worth::Telling(Notice::CardMissed);
    }
    let carries = status.tunnel == Tunnel::Up && !is_silent;
    match status.portal {
        Portal::Found { .. } if !carries => return Worth::Telling(Notice::LoginPage),
        Portal::Open { .. } if !carries => return Worth::Waiting,
        Portal::Absent | Portal::Found { .. } | Portal::Open { .. } => {}
    }
    let down = match status.tunnel {
        Tunnel::Up | Tunnel::Starting if is_silent => {
            return Worth::Telling(Notice::GatewaySilent { gateway: gateway() });
        }
        Tunnel::Up => return Worth::Telling(Notice::Connected { gateway: gateway() }),
        Tunnel::Starting | Tunnel::Stopping => return Worth::Waiting,
        Tunnel::Down { reason } => reason,
    };
    match down {
        DownReason::NotNeeded => Worth::TellingIfConnected(Notice::Inside),
        DownReason::Deciding | DownReason::NoNetwork => Worth::Waiting,
        DownReason::StoppedByUser | DownReason::NotEnrolled => Worth::Nothing,
        DownReason::DeviceFailed | DownReason::SocketFailed | DownReason::WorkerFailed => {
            Worth::Telling(Notice::TunnelFailed)
        }
        DownReason::NoCard | DownReason::KeyLocked => match status.key {
            Key::NoService => Worth::Telling(Notice::NoCardService),
            Key::Absent => Worth::TellingIfConnected(Notice::CardPulled),
            Key::Unusable { fault } => Worth::Telling(Notice::CardUnusable { fault }),
            Key::Blocked => Worth::Telling(Notice::CardBlocked),
            Key::Locked
            | Key::AwaitingPin
            | Key::Declined
            | Key::Withdrawn
            | Key::Verifying
            | Key::Unlocked => Worth::Nothing,
        },
    }
}

#[cfg(test)]
mod tests;
