//! Colours, where a person looks at a terminal and wants them.

use std::io::IsTerminal;

/// How good the news is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Changing,
    Bad,
}

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Colours,
}

impl Paint {
    /// Colours if `stream` is a terminal that knows them, and never with `NO_COLOR` (no-color.org).
    pub(crate) fn for_stream(stream: &impl IsTerminal) -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if stream.is_terminal() && !is_dumb && !is_set("NO_COLOR") {
            Self::Colours
        } else {
            Self::Plain
        }
    }

    pub(crate) fn apply(self, mood: Mood, words: &str) -> String {
        let colour = match (self, mood) {
            (Self::Plain, _) => return words.to_owned(),
            (Self::Colours, Mood::Good) => 32,
            (Self::Colours, Mood::Changing) => 33,
            (Self::Colours, Mood::Bad) => 31,
        };
        format!("\x1b[{colour}m{words}\x1b[0m")
    }
}
