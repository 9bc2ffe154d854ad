//! What `sluss agent` asks and tells, in each language.

use sluss_ipc::{Notice, Prompt};

/// The words of prompts and notifications.
pub(crate) trait AgentText {
    /// What stands above the field for the PIN.
    fn prompt(&self, prompt: &Prompt) -> String;
    /// The same for a PIN that is typed on the reader.
    fn prompt_on_pad(&self, prompt: &Prompt) -> String;
    /// The question before the last try.
    fn prompt_last_try(&self) -> &'static str;
    fn button(&self, button: Button) -> &'static str;
    /// A notification's first line, and the rest. Names from outside stand in the first line only: the rest may be read as
    /// markup.
    fn notice(&self, notice: &Notice) -> (String, &'static str);
    /// The same for a PIN that cannot be asked for here.
    fn unaskable(&self) -> (String, &'static str);
    fn no_notifications(&self, error: &str) -> String;
}

/// What stands on a button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Button {
    Ok,
    Cancel,
    SpendLastTry,
    Again,
}
