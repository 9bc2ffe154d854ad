//! What the agent in the user's session is told: a PIN is wanted, or something is worth a notification.

use serde::{Deserialize, Serialize};

use crate::CardFault;

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
}
