//! The captive portal: whether one answers in place of others, and who may speak to it.

use crate::{LinkId, Op, Time};

/// Whether a captive portal stands between the laptop and the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Portal {
    /// Nobody looked, or nothing answered.
    Unknown,
    /// The first check at this place.
    Checking { op: Op, deadline: Time },
    /// The world answers.
    Clear { since: Time },
    Found {
        portal: CaptivePortal,
        check: Recheck,
        /// How often the user may still be let through.
        openings_left: u8,
    },
    /// The user asked to be let through, and is, until `until`.
    Open {
        portal: CaptivePortal,
        check: Recheck,
        openings_left: u8,
        visitor: Visitor,
        until: Time,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CaptivePortal {
    pub link: LinkId,
    /// The page to which it sends browsers, if it does: its own claim, for people.
    pub url: Option<String>,
    pub since: Time,
}

/// Whether a portal that was found is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recheck {
    /// When something happens.
    Idle,
    /// `step`: how many have been made since it was opened; the pause doubles with each.
    Due {
        at: Time,
        step: u8,
    },
    Running {
        op: Op,
        deadline: Time,
        step: u8,
    },
}

/// Who may speak to the portal, as the kernel can tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Visitor {
    /// All that this user runs.
    Uid(u32),
    /// What runs in this control group, by its path from the root of the hierarchy.
    Cgroup(String),
}

/// What came of one check on one link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortalCheck {
    pub link: LinkId,
    pub answer: PortalAnswer,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PortalAnswer {
    /// What the policy expects: nothing is in the way.
    Expected,
    /// Something else. `url`: the page to which it redirects.
    Intercepted { url: Option<String> },
    /// Nothing.
    Silent,
}
