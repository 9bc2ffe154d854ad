//! What `sluss enroll` says in English.

use std::io;

use sluss_ipc::{
    CardKind, KeyMode,
    enroll::{Bound, CandidateKey, Enrolled, EnrolmentFault, FoundKey, KeyFault},
};
use sluss_policy::{Signature, SignatureFault, Unsigned};

use super::English;
use crate::{
    enroll::{Loss, Plan, Signed, Undecided},
    text::{
        Text as _,
        enroll::{EnrollText, in_groups, other_cards},
        plain,
    },
};

impl EnrollText for English {
    fn enrolment_fault(&self, fault: EnrolmentFault) -> String {
        match fault {
            EnrolmentFault::NoSuchCard => "That card is in no reader.",
            EnrolmentFault::NoSuchKey => "The card has no such key. See `sluss enroll --survey`.",
            EnrolmentFault::CannotMake => "The card cannot make such a key there.",
            EnrolmentFault::KeyExists => {
                "There is a key already, or the card does not tell whether there is, and it would be lost. To lose it, say --replace."
            }
            EnrolmentFault::AlreadyBound => {
                "This laptop is bound to another key, and the binding would be lost. To lose it, say --replace."
            }
            EnrolmentFault::Unfit { fault } => {
                return format!("That key cannot serve: {}.", self.key_fault(fault));
            }
            EnrolmentFault::AdminPinNeeded => {
                "To make a key the card wants its administrator's PIN or key."
            }
            EnrolmentFault::WrongAdminPin {
                tries_left: Some(tries),
            } => return format!("Wrong administrator's PIN. {}", self.tries_left(tries)),
            EnrolmentFault::WrongAdminPin { tries_left: None } => {
                "Wrong administrator's PIN or key."
            }
            EnrolmentFault::AdminPinBlocked => {
                "The administrator's PIN is blocked: this card makes no more keys."
            }
            EnrolmentFault::AdminPinFormat => {
                "No administrator's PIN or key of this card looks like that; no try was spent."
            }
            EnrolmentFault::BadName => "The laptop cannot have that name.",
            EnrolmentFault::BadAddress => {
                "That is no address of one host with its prefix length, such as 10.20.255.7/32."
            }
            EnrolmentFault::Unproven => {
                "The card does not compute what its public key promises; nothing was written."
            }
            EnrolmentFault::PolicyFiles => {
                "A file that the policy names for cards cannot be used; the daemon's log says which, and why."
            }
            EnrolmentFault::NotWritten => {
                "The daemon could not write its state; its log says why. What held before holds now."
            }
        }
        .to_owned()
    }

    fn key_fault(&self, fault: KeyFault) -> String {
        match fault {
            KeyFault::Unsupported => "it is of a kind that cannot open a tunnel".to_owned(),
            KeyFault::Forbidden => "the policy does not allow such keys".to_owned(),
            KeyFault::Certificate { fault } => self.card_fault(fault).to_owned(),
        }
    }

    fn place(&self, key: &CandidateKey) -> String {
        let made = || key.makes.first().map(|made| made.name());
        match (&key.found, made()) {
            (
                FoundKey::Fit {
                    mode,
                    algorithm,
                    subject,
                    signs: _,
                },
                _,
            ) => {
                let how = match mode {
                    KeyMode::Held => "can hold the tunnel's key",
                    KeyMode::Sealed => "the tunnel's key can be sealed to it",
                };
                let whose = subject
                    .as_deref()
                    .map(|subject| format!(", {}", plain(subject)));
                format!("{}, {how}{}", algorithm.name(), whose.unwrap_or_default())
            }
            (FoundKey::Unfit { fault }, _) => {
                format!("cannot serve: {}", self.key_fault(*fault))
            }
            (FoundKey::Empty, Some(made)) => format!("no key; {made} can be made (--make)"),
            (FoundKey::Empty, None) => "no key".to_owned(),
        }
    }

    fn bound(&self, bound: Option<&Bound>) -> String {
        match bound {
            Some(bound) => format!(
                "This laptop is bound to card {}, key {}, with {}.",
                plain(&bound.serial),
                plain(&bound.key),
                plain(&bound.addresses.join(" and "))
            ),
            None => "This laptop is bound to no card.".to_owned(),
        }
    }

    fn undecided(&self, undecided: &Undecided<'_>) -> String {
        match undecided {
            Undecided::NoCard([]) => "There is no card in any reader that could serve.".to_owned(),
            Undecided::NoCard(others) => format!(
                "There is no card in any reader that could serve. {}.",
                other_cards(others, self)
            ),
            Undecided::NoSuchCard => "That card is in no reader.".to_owned(),
            Undecided::NoSuchKey => "The card has no such key.".to_owned(),
            Undecided::SeveralCards(serials) => format!(
                "There are several cards: take all but one out, or say which with --card: {}",
                plain(&serials.join(", "))
            ),
            Undecided::CouldMake(plan) => format!(
                "The card {} has no key for the tunnel yet. To make one, say --make.",
                plain(&plan.card.serial)
            ),
            Undecided::Unfit(faults) if faults.is_empty() => {
                "The card has no key for the tunnel, and cannot make one.".to_owned()
            }
            Undecided::Unfit(faults) => {
                let faults = faults
                    .iter()
                    .map(|(key, fault)| format!("{}: {}", plain(key), self.key_fault(*fault)));
                let faults: Vec<String> = faults.collect();
                format!("No key of the card can serve: {}.", faults.join("; "))
            }
            Undecided::CannotMake => {
                "The card cannot make a key that the policy allows.".to_owned()
            }
        }
    }

    fn plan(&self, plan: &Plan<'_>) -> String {
        let card = format!(
            "{} card {} in {}",
            plan.card.kind.name(),
            plain(&plan.card.serial),
            plain(&plan.card.reader)
        );
        let verb = if plan.make { "new key" } else { "key" };
        format!(
            "{card}: {verb} {}, {}",
            plain(&plan.key.id),
            self.key_mode(plan.mode, plan.algorithm)
        )
    }

    fn ask_make(&self, plan: &Plan<'_>) -> String {
        format!(
            "The card {} has no key for the tunnel yet. Make one ({})? [yes/no] ",
            plain(&plan.card.serial),
            plan.algorithm.name()
        )
    }

    fn loss(&self, loss: Loss<'_>) -> String {
        match loss {
            Loss::Key(serial) => format!(
                "The key that is now on card {} will be lost for ever; without --make it is taken as it is.",
                plain(serial)
            ),
            Loss::Binding(serial) => format!(
                "This laptop is bound to card {}; it will not open the tunnel any more.",
                plain(serial)
            ),
        }
    }

    fn ask_serial(&self) -> &'static str {
        "Type the serial number of that card, if that is what you want: "
    }

    fn other_serial(&self) -> &'static str {
        "That is not its serial number. Nothing has been changed."
    }

    fn say_replace(&self, serial: &str) -> String {
        format!(
            "Nothing has been changed. To go on, say --replace={}",
            plain(serial)
        )
    }

    fn ask_address(&self) -> &'static str {
        "This laptop's address in the tunnel, such as 10.20.255.7/32: "
    }

    fn no_address(&self) -> &'static str {
        "Which address does this laptop have in the tunnel? Say --address."
    }

    fn no_preshared_key(&self, file: &str) -> String {
        format!(
            "{}: this is no preshared key, which `wg genpsk` makes.",
            plain(file)
        )
    }

    fn ask_admin_pin(&self, kind: CardKind) -> Option<&'static str> {
        match kind {
            CardKind::OpenPgp => Some("The card's administrator PIN (PW3): "),
            CardKind::Piv => Some("The card's management key, in hexadecimal: "),
            CardKind::Pkcs11 => None,
        }
    }

    fn enrolled(&self, enrolled: &Enrolled) -> String {
        let signed = match enrolled.signed {
            true => "The card has signed the request.",
            false => {
                "The card could not sign the request: bring it to the administrator so that nobody can change it on the way, or read the public key to them."
            }
        };
        format!("This laptop is bound to the card. {signed}")
    }

    fn saved(&self, file: &str) -> String {
        format!(
            "The request is saved as {}. Send it to the gateway's administrator.",
            plain(file)
        )
    }

    fn cannot_save(&self, file: &str, error: &io::Error) -> String {
        format!(
            "The laptop is bound, but the request cannot be saved as {}: {error}. Run the same command again with --out.",
            plain(file)
        )
    }

    fn verified(&self, signed: &Signed<'_>) -> String {
        let request = &signed.request.request;
        let card = &request.card;
        let mut lines = vec![
            format!(
                "Request of {}, made {}",
                plain(&request.device),
                request.made
            ),
            format!(
                "Card {}, key {} ({}, {})",
                plain(&card.serial),
                plain(&card.key),
                plain(&card.algorithm),
                card.mode
            ),
        ];
        if let Some(certificate) = &card.certificate {
            lines.push(format!(
                "Certificate of {} (look yourself whether you trust its issuer)",
                plain(&certificate.subject)
            ));
        }
        lines.push(match (&signed.signer, &signed.request.signature) {
            (Some(signer), _) => format!(
                "Signed by the card's key, SHA-256 {}",
                in_groups(&signer.fingerprint)
            ),
            (None, Signature::Absent(Unsigned::X25519)) => {
                "NOT SIGNED, since an X25519 key cannot sign: compare the public key with the laptop's.".to_owned()
            }
            (None, Signature::Absent(Unsigned::Refused) | Signature::Present { .. }) => {
                "NOT SIGNED, since the card does not let its key sign: compare the public key with the laptop's.".to_owned()
            }
        });
        lines.join("\n") + "\n"
    }

    fn signature_fault(&self, fault: SignatureFault) -> &'static str {
        match fault {
            SignatureFault::Wrong => {
                "The signature is WRONG: the request was changed, or signed by somebody else. Do not use it."
            }
            SignatureFault::OtherCertificate => {
                "The certificate is not that of the key that has signed, or names somebody else. Do not use the request."
            }
        }
    }
}
