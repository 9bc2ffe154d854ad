//! What the command says in English about cards, and what it was refused.

use sluss_ipc::{Algorithm, CardFault, KeyMode, Refusal, RequestFault, Role};

use super::English;
use crate::text::{Advice, Text as _, enroll::EnrollText as _};

pub(super) fn fault(fault: CardFault) -> &'static str {
    match fault {
        CardFault::NotEnrolled => "this laptop is bound to no card",
        CardFault::OtherCard => "not the card of this laptop",
        CardFault::NoKey => "no key for the tunnel",
        CardFault::Unsupported => "of a kind that is not supported",
        CardFault::Nonsense => "its answers make no sense",
        CardFault::Silent => "it does not answer",
        CardFault::InUse => "another program uses it",
        CardFault::MiddlewareFailed => "the middleware (PKCS#11) that speaks to it has failed",
        CardFault::NoCertificate => "no certificate that the policy asks for",
        CardFault::SeveralCertificates => "several certificates that the policy would take",
        CardFault::CertificateUnreadable => "its certificate cannot be read",
        CardFault::CertificateExpired => "its certificate has expired",
        CardFault::CertificateNotYetValid => "its certificate is not yet valid",
        CardFault::CertificateRevoked => "its certificate is revoked",
        CardFault::CertificateUntrusted => {
            "its certificate is from an issuer that the policy does not name"
        }
        CardFault::CertificateWrongUsage => "its certificate is for another use",
        CardFault::CertificateWrongSubject => "its certificate is for somebody else",
        CardFault::RevocationUnknown => "whether its certificate is revoked cannot be said",
    }
}

pub(super) fn key_mode(mode: KeyMode, algorithm: Algorithm) -> String {
    let place = match mode {
        KeyMode::Held => "held in the card",
        KeyMode::Sealed => "sealed to the card",
    };
    format!("{place} ({})", algorithm.name())
}

pub(super) fn refusal(text: &English, refusal: Refusal) -> String {
    match refusal {
        Refusal::NotAllowed { needs: Role::Admin } => "Only root may do this.".to_owned(),
        Refusal::NotAllowed {
            needs: Role::Operator | Role::Observer,
        } => "Only the user at the keyboard may do this.".to_owned(),
        Refusal::ByPolicy => "The policy does not allow this.".to_owned(),
        Refusal::NoCard => "There is no card to unlock.".to_owned(),
        Refusal::CardUnusable { fault } => {
            format!("The card cannot be used: {}.", text.card_fault(fault))
        }
        Refusal::WrongPin {
            tries_left: Some(tries),
        } => format!("Wrong PIN. {}", text.tries_left(tries)),
        Refusal::WrongPin { tries_left: None } => "Wrong PIN.".to_owned(),
        Refusal::PinFormat => "No PIN of this card looks like that; no try was spent.".to_owned(),
        Refusal::FactoryPin => {
            "This is the PIN that the card was delivered with. Change it first; no try was spent."
                .to_owned()
        }
        Refusal::NoPinPad => "The reader has no pin pad.".to_owned(),
        Refusal::PinCancelled => "No PIN was typed on the reader; no try was spent.".to_owned(),
        Refusal::LastTry => {
            "One PIN try is left, and it is not spent without your consent (--last-try).".to_owned()
        }
        Refusal::PinBlocked => {
            format!("The PIN is blocked. {}", text.advice(&Advice::UnblockCard))
        }
        Refusal::Enrolment { fault } => text.enrolment_fault(fault),
        Refusal::CardFailed => "The card failed, or was pulled.".to_owned(),
        Refusal::CardTimeout => "The card did not answer in time.".to_owned(),
        Refusal::NoPortal => "The network asks for no login.".to_owned(),
        Refusal::PortalSpent { renewable: true } => {
            "The time for the login page is over; `sluss portal --renew` opens it once more."
                .to_owned()
        }
        Refusal::PortalSpent { renewable: false } => {
            "The login page was open for as long as it may be on this network.".to_owned()
        }
        Refusal::PortalFailed => "The way to the login page could not be opened.".to_owned(),
        Refusal::Busy => "The daemon is busy with another request of this kind.".to_owned(),
        Refusal::BadRequest { fault } => {
            let fault = match fault {
                RequestFault::Oversized => "it was too long",
                RequestFault::Malformed => "its version may be another",
                RequestFault::Truncated => "it was cut short",
                RequestFault::OutOfTurn => "it came out of turn",
            };
            format!("The daemon did not understand the request: {fault}.")
        }
        Refusal::TooManyConnections => "You have too many connections to the daemon.".to_owned(),
    }
}
