//! Captive portals: how one is found, and whether a user may go through it.

use std::fmt;

use crate::HttpAddress;
use crate::document::Document;
use crate::policy::quoted;
use crate::values::{boolean, label, text};

/// Section `[portal]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalRules {
    /// Fetched in the clear, so that whoever is in between may answer.
    pub probe: HttpAddress,
    pub expect: PortalAnswer,
    /// Whether `sluss portal` may let the user through to it.
    pub open: bool,
}

/// What the probe's own server says; anything else was said by somebody in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortalAnswer {
    /// Status 204.
    NoContent,
    /// Status 200, and a body that is this text, with nothing but white space around it.
    Text(String),
}

impl PortalRules {
    /// `None` without the section, or with a mistake that is left behind.
    pub(crate) fn build(document: &mut Document<'_>) -> Option<Self> {
        if !document.mentions("portal") {
            return None;
        }
        let probe = document.required("portal.probe", text(str::parse));
        let expect = document.optional("portal.expect", text(label));
        let open = document.optional("portal.open", boolean);
        Some(Self {
            probe: probe?,
            expect: expect.map_or(PortalAnswer::NoContent, |text| {
                PortalAnswer::Text(text.trim().to_owned())
            }),
            open: open.unwrap_or(true),
        })
    }
}

/// The section `[portal]`.
impl fmt::Display for PortalRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            probe,
            expect,
            open,
        } = self;
        writeln!(f, "[portal]\nprobe = \"{probe}\"")?;
        match expect {
            PortalAnswer::NoContent => {}
            PortalAnswer::Text(text) => writeln!(f, "expect = {}", quoted(text))?,
        }
        writeln!(f, "open = {open}")
    }
}
