//! What `sluss agent` says in English.

use sluss_ipc::{Notice, Prompt, PromptReason};

use super::English;
use crate::text::{
    Text as _,
    agent::{AgentText, Button},
    plain,
};

impl AgentText for English {
    fn prompt(&self, prompt: &Prompt) -> String {
        let why = match prompt.reason {
            PromptReason::Needed | PromptReason::Again => "",
            PromptReason::CardReset => {
                "Another program, or the laptop's sleep, has locked the card again.\n"
            }
        };
        format!(
            "{why}The tunnel needs the PIN of your card {}, which is in the reader {}.",
            plain(&prompt.serial),
            plain(&prompt.reader)
        )
    }

    fn prompt_on_pad(&self, prompt: &Prompt) -> String {
        format!(
            "Type the PIN of your card {} on the reader {}.",
            plain(&prompt.serial),
            plain(&prompt.reader)
        )
    }

    fn prompt_last_try(&self) -> &'static str {
        "One PIN try is left. If the next PIN is wrong, the card is blocked."
    }

    fn button(&self, button: Button) -> &'static str {
        match button {
            Button::Ok => "OK",
            Button::Cancel => "Cancel",
            Button::SpendLastTry => "Spend the last try",
            Button::Again => "Try again",
        }
    }

    fn notice(&self, notice: &Notice) -> (String, &'static str) {
        match notice {
            Notice::Connected { gateway } => (
                format!("Connected to {}", plain(gateway)),
                "The internal network can be reached.",
            ),
            Notice::Inside => (
                "On the internal network".to_owned(),
                "The tunnel is closed, since it is not needed.",
            ),
            Notice::CardPulled => (
                "Disconnected".to_owned(),
                "The card was pulled. Put it back to connect again.",
            ),
            Notice::CardMissed => (
                "The card was pulled".to_owned(),
                "Put it back, or the tunnel closes in a moment.",
            ),
            Notice::CardUnusable { fault } => (
                format!("The card cannot be used: {}", self.card_fault(*fault)),
                "`sluss card` says more.",
            ),
            Notice::CardBlocked => (
                "The card is blocked".to_owned(),
                "Have it unblocked by those who issued it.",
            ),
            Notice::NoCardService => (
                "No card can be read".to_owned(),
                "The smart card service (pcscd) must be started.",
            ),
            Notice::GatewaySilent { gateway } => (
                format!("{} does not answer", plain(gateway)),
                "This network may block the tunnel; try another network.",
            ),
            Notice::LoginPage => (
                "The network wants a login first".to_owned(),
                "`sluss status` says how to get to its page.",
            ),
            Notice::TunnelFailed => (
                "The tunnel failed".to_owned(),
                "It is tried again. `sluss why` says more.",
            ),
        }
    }

    fn unaskable(&self) -> (String, &'static str) {
        (
            "The PIN is needed, and cannot be asked for here".to_owned(),
            "Give it with `sluss unlock`.",
        )
    }

    fn no_notifications(&self, error: &str) -> String {
        format!("notifications cannot be shown: {}", plain(error))
    }
}
