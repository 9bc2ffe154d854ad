//! What `sluss enroll` says, in each language.

use std::io;

use sluss_ipc::{
    CardKind,
    enroll::{Bound, CandidateKey, Enrolled, EnrolmentFault, KeyFault, OtherCard},
};
use sluss_policy::SignatureFault;

use super::{Text, plain};
use crate::enroll::{Loss, Plan, Signed, Undecided};

/// The words of enrolment; a part of [`super::Text`].
pub(crate) trait EnrollText {
    fn enrolment_fault(&self, fault: EnrolmentFault) -> String;
    fn key_fault(&self, fault: KeyFault) -> String;

    /// What there is in a place for a key.
    fn place(&self, key: &CandidateKey) -> String;
    fn bound(&self, bound: Option<&Bound>) -> String;
    fn undecided(&self, undecided: &Undecided<'_>) -> String;

    fn plan(&self, plan: &Plan<'_>) -> String;
    /// To be answered as [`super::Text::is_consent`] has it.
    fn ask_make(&self, plan: &Plan<'_>) -> String;
    fn loss(&self, loss: Loss<'_>) -> String;
    fn ask_serial(&self) -> &'static str;
    fn other_serial(&self) -> &'static str;
    fn say_replace(&self, serial: &str) -> String;
    fn ask_address(&self) -> &'static str;
    fn no_address(&self) -> &'static str;
    fn no_preshared_key(&self, file: &str) -> String;
    /// None if such a card lets its user make keys.
    fn ask_admin_pin(&self, kind: CardKind) -> Option<&'static str>;

    fn enrolled(&self, enrolled: &Enrolled) -> String;
    fn saved(&self, file: &str) -> String;
    fn cannot_save(&self, file: &str, error: &io::Error) -> String;

    /// What a request is and who has signed it, in lines.
    fn verified(&self, signed: &Signed<'_>) -> String;
    fn signature_fault(&self, fault: SignatureFault) -> &'static str;
}

/// Which reader holds something else, and what is the matter with that.
pub(crate) fn other_card(other: &OtherCard, text: &dyn Text) -> String {
    format!("{}: {}", plain(&other.reader), text.card_fault(other.fault))
}

/// As [`other_card`] has them, behind one another.
pub(crate) fn other_cards(others: &[OtherCard], text: &dyn Text) -> String {
    let others: Vec<String> = others.iter().map(|other| other_card(other, text)).collect();
    others.join("; ")
}

/// Bytes in hexadecimal, in groups that can be read out over the telephone.
pub(crate) fn in_groups(bytes: &[u8]) -> String {
    let groups: Vec<String> = bytes
        .chunks(2)
        .map(|group| group.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    groups.join(" ")
}
