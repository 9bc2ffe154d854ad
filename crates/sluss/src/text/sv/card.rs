//! What the command says in Swedish about cards, and what it was refused.

use sluss_ipc::{Algorithm, CardFault, KeyMode, Refusal, RequestFault, Role};

use super::Swedish;
use crate::text::{Advice, Text as _, enroll::EnrollText as _};

pub(super) fn fault(fault: CardFault) -> &'static str {
    match fault {
        CardFault::NotEnrolled => "den här datorn är inte bunden till något kort",
        CardFault::OtherCard => "det är inte den här datorns kort",
        CardFault::NoKey => "det har ingen nyckel för tunneln",
        CardFault::Unsupported => "den sortens kort stöds inte",
        CardFault::Nonsense => "dess svar är obegripliga",
        CardFault::Silent => "det svarar inte",
        CardFault::InUse => "ett annat program använder det",
        CardFault::MiddlewareFailed => "mellanvaran (PKCS#11) som talar med det fungerar inte",
        CardFault::NoCertificate => "det har inget certifikat som policyn godtar",
        CardFault::SeveralCertificates => "det har flera certifikat som policyn godtar",
        CardFault::CertificateUnreadable => "dess certifikat går inte att läsa",
        CardFault::CertificateExpired => "dess certifikat har gått ut",
        CardFault::CertificateNotYetValid => "dess certifikat gäller inte än",
        CardFault::CertificateRevoked => "dess certifikat är återkallat",
        CardFault::CertificateUntrusted => {
            "dess certifikat har en utfärdare som policyn inte nämner"
        }
        CardFault::CertificateWrongUsage => "dess certifikat är till för något annat",
        CardFault::CertificateWrongSubject => "dess certifikat gäller någon annan",
        CardFault::RevocationUnknown => "det går inte att säga om dess certifikat är återkallat",
    }
}

pub(super) fn key_mode(mode: KeyMode, algorithm: Algorithm) -> String {
    let place = match mode {
        KeyMode::Held => "i kortet",
        KeyMode::Sealed => "förseglad till kortet",
    };
    format!("{place} ({})", algorithm.name())
}

pub(super) fn refusal(text: &Swedish, refusal: Refusal) -> String {
    match refusal {
        Refusal::NotAllowed { needs: Role::Admin } => "Det får bara root göra.".to_owned(),
        Refusal::NotAllowed {
            needs: Role::Operator | Role::Observer,
        } => "Det får bara den göra som sitter vid datorn.".to_owned(),
        Refusal::ByPolicy => "Policyn tillåter inte det.".to_owned(),
        Refusal::NoCard => "Det finns inget kort att låsa upp.".to_owned(),
        Refusal::CardUnusable { fault } => {
            format!("Kortet kan inte användas: {}.", text.card_fault(fault))
        }
        Refusal::WrongPin {
            tries_left: Some(tries),
        } => {
            format!("Fel PIN-kod. {}", text.tries_left(tries))
        }
        Refusal::WrongPin { tries_left: None } => "Fel PIN-kod.".to_owned(),
        Refusal::PinFormat => "Så ser kortets PIN-kod inte ut; inget försök gick åt.".to_owned(),
        Refusal::FactoryPin => {
            "Det är den PIN-kod som kortet levererades med. Byt den först; inget försök gick åt."
                .to_owned()
        }
        Refusal::NoPinPad => "Läsaren har inga knappar för PIN-koden.".to_owned(),
        Refusal::PinCancelled => {
            "Ingen PIN-kod skrevs på läsaren; inget försök gick åt.".to_owned()
        }
        Refusal::LastTry => {
            "Ett PIN-försök är kvar, och det används inte utan ditt medgivande (--last-try)."
                .to_owned()
        }
        Refusal::PinBlocked => {
            format!(
                "PIN-koden är spärrad. {}",
                text.advice(&Advice::UnblockCard)
            )
        }
        Refusal::Enrolment { fault } => text.enrolment_fault(fault),
        Refusal::CardFailed => "Kortet fungerade inte eller drogs ut.".to_owned(),
        Refusal::CardTimeout => "Kortet svarade inte i tid.".to_owned(),
        Refusal::NoPortal => "Nätet begär ingen inloggning.".to_owned(),
        Refusal::PortalSpent { renewable: true } => {
            "Tiden för inloggningssidan är ute; `sluss portal --renew` öppnar den en gång till."
                .to_owned()
        }
        Refusal::PortalSpent { renewable: false } => {
            "Inloggningssidan har varit öppen så länge den får på det här nätet.".to_owned()
        }
        Refusal::PortalFailed => "Vägen till inloggningssidan kunde inte öppnas.".to_owned(),
        Refusal::Busy => "slussd är upptagen med en annan begäran av samma slag.".to_owned(),
        Refusal::BadRequest { fault } => {
            let fault = match fault {
                RequestFault::Oversized => "den var för lång",
                RequestFault::Malformed => "dess version är kanske en annan",
                RequestFault::Truncated => "den var avhuggen",
                RequestFault::OutOfTurn => "den kom i otid",
            };
            format!("slussd förstod inte begäran: {fault}.")
        }
        Refusal::TooManyConnections => "Du har för många anslutningar till slussd.".to_owned(),
    }
}
