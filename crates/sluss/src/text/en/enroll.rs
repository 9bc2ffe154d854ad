//! What `sluss enroll` says in English.

use sluss_ipc::enroll::{EnrolmentFault, KeyFault};

use super::English;
use crate::text::{Text as _, enroll::EnrollText};

impl EnrollText for English {
    fn enrolment_fault(&self, fault: EnrolmentFault) -> String {
        match fault {
            EnrolmentFault::NoSuchCard => "That card is in no reader.",
            EnrolmentFault::NoSuchKey => "The card has no such key. See `sluss enroll --survey`.",
            EnrolmentFault::CannotMake => "The card cannot make such a key there.",
            EnrolmentFault::KeyExists => {
                "There is a key already, and it would be lost. To lose it, say --replace."
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
}
