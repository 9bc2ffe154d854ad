//! What `sluss enroll` says, in each language.

use sluss_ipc::enroll::{EnrolmentFault, KeyFault};

/// The words of enrolment; a part of [`super::Text`].
pub(crate) trait EnrollText {
    fn enrolment_fault(&self, fault: EnrolmentFault) -> String;
    fn key_fault(&self, fault: KeyFault) -> String;
}
