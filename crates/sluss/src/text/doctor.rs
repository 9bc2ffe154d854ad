//! What `sluss doctor` says of each check, in each language.

use sluss_ipc::doctor::{Seen, Support, Verdict};

/// The words of the doctor; a part of [`super::Text`].
pub(crate) trait DoctorText {
    /// One word for the first column.
    fn verdict(&self, verdict: Verdict) -> &'static str;
    /// What was seen, in a sentence.
    fn seen(&self, seen: &Seen) -> String;
    /// What to do about it.
    fn cure(&self, seen: &Seen) -> Cure;
    /// What stands before the part of a cure that is the user's.
    fn to_the_user(&self) -> &'static str;
    /// What stands before the part of a cure that is the IT department's.
    fn to_it(&self) -> &'static str;
    /// The last line.
    fn doctor_summary(&self, failed: usize, warnings: usize) -> String;
    /// Whom to turn to, one line each.
    fn support(&self, support: &Support) -> Vec<String>;
}

/// What to do: some of it by the user, some by those who look after the network and the policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cure {
    pub(crate) user: Option<String>,
    pub(crate) it: Option<String>,
}

impl Cure {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn user(what: impl Into<String>) -> Self {
        Self {
            user: Some(what.into()),
            it: None,
        }
    }

    pub(crate) fn it(what: impl Into<String>) -> Self {
        Self {
            user: None,
            it: Some(what.into()),
        }
    }

    pub(crate) fn both(user: impl Into<String>, it: impl Into<String>) -> Self {
        Self {
            user: Some(user.into()),
            it: Some(it.into()),
        }
    }
}
