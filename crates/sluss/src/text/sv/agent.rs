//! What `sluss agent` says in Swedish.

use sluss_ipc::{Notice, Prompt, PromptReason};

use super::Swedish;
use crate::text::{
    Text as _,
    agent::{AgentText, Button},
    plain,
};

impl AgentText for Swedish {
    fn prompt(&self, prompt: &Prompt) -> String {
        let why = match prompt.reason {
            PromptReason::Needed | PromptReason::Again => "",
            PromptReason::CardReset => {
                "Ett annat program, eller datorns vila, har låst kortet igen.\n"
            }
        };
        format!(
            "{why}Tunneln behöver PIN-koden till ditt kort {}, som sitter i läsaren {}.",
            plain(&prompt.serial),
            plain(&prompt.reader)
        )
    }

    fn prompt_on_pad(&self, prompt: &Prompt) -> String {
        format!(
            "Skriv PIN-koden till ditt kort {} på läsaren {}.",
            plain(&prompt.serial),
            plain(&prompt.reader)
        )
    }

    fn prompt_last_try(&self) -> &'static str {
        "Ett PIN-försök är kvar. Om nästa PIN-kod är fel spärras kortet."
    }

    fn button(&self, button: Button) -> &'static str {
        match button {
            Button::Ok => "OK",
            Button::Cancel => "Avbryt",
            Button::SpendLastTry => "Använd det sista försöket",
            Button::Again => "Försök igen",
        }
    }

    fn notice(&self, notice: &Notice) -> (String, &'static str) {
        match notice {
            Notice::Connected { gateway } => (
                format!("Ansluten till {}", plain(gateway)),
                "Det interna nätet kan nås.",
            ),
            Notice::Inside => (
                "På det interna nätet".to_owned(),
                "Tunneln är stängd, eftersom den inte behövs.",
            ),
            Notice::CardPulled => (
                "Frånkopplad".to_owned(),
                "Kortet drogs ut. Sätt tillbaka det för att ansluta igen.",
            ),
            Notice::CardMissed => (
                "Kortet drogs ut".to_owned(),
                "Sätt tillbaka det, annars stängs tunneln om en stund.",
            ),
            Notice::CardUnusable { fault } => (
                format!("Kortet kan inte användas: {}", self.card_fault(*fault)),
                "`sluss card` säger mer.",
            ),
            Notice::CardBlocked => (
                "Kortet är spärrat".to_owned(),
                "Be den som gav ut kortet att häva spärren.",
            ),
            Notice::NoCardService => (
                "Inget kort kan läsas".to_owned(),
                "Kortläsartjänsten (pcscd) måste startas.",
            ),
            Notice::GatewaySilent { gateway } => (
                format!("{} svarar inte", plain(gateway)),
                "Nätverket spärrar kanske tunneln; pröva ett annat nätverk.",
            ),
            Notice::LoginPage => (
                "Nätverket kräver först en inloggning".to_owned(),
                "`sluss status` säger hur du kommer till sidan.",
            ),
            Notice::TunnelFailed => (
                "Tunneln slutade fungera".to_owned(),
                "Den prövas igen. `sluss why` säger mer.",
            ),
        }
    }

    fn unaskable(&self) -> (String, &'static str) {
        (
            "PIN-koden behövs, och kan inte efterfrågas här".to_owned(),
            "Ange den med `sluss unlock`.",
        )
    }

    fn no_notifications(&self, error: &str) -> String {
        format!("aviseringar kan inte visas: {}", plain(error))
    }
}
