//! What the supervisor hears and what it says.

use std::time::Duration;

use crate::{Change, Evidence, HostRules, Link, Op, PortalCheck, Time, Visitor};

/// What happened. The first events after the start are [`Event::LinksChanged`] and, if a card is in, [`Event::CardInserted`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All physical links as they are now, usable or not, best first.
    LinksChanged(Vec<Link>),
    /// All beacons of all links asked, answered or given up.
    ProbeFinished {
        op: Op,
        evidence: Vec<Evidence>,
    },
    /// What each link answered to [`Action::CheckPortal`].
    PortalChecked {
        op: Op,
        checks: Vec<PortalCheck>,
    },
    /// The user asks to be let through to the captive portal. `renew`: for longer than the first time.
    PortalRequested {
        visitor: Visitor,
        renew: bool,
    },

    /// A card whose key can serve us. `verified`: it answers without a PIN, which another program or we ourselves
    /// before a restart have given it.
    CardInserted {
        serial: String,
        tries_left: u8,
        verified: bool,
    },
    /// A card that cannot serve us; also when a card that did no longer does.
    CardUnusable(crate::CardFault),
    /// The card, its reader or the whole card service is gone.
    CardRemoved,
    /// Another program or sleep has reset the card: it is there, but wants its PIN again.
    CardLocked,
    /// How many tries are left was read again, as after a right PIN, which restores them.
    TriesCounted {
        tries_left: u8,
    },

    /// There is a PIN, which the caller holds until [`Action::VerifyPin`] or [`Action::DiscardPin`].
    PinOffered {
        source: PinSource,
        last_try_consented: bool,
    },
    /// The card's answer to [`Action::VerifyPin`].
    PinChecked {
        op: Op,
        check: PinCheck,
    },
    /// The user closed the prompt of [`Action::AskPin`].
    PinDeclined {
        op: Op,
    },
    /// The user wants the keys wiped now: `sluss lock`.
    LockRequested,
    /// The screen was locked, or its user has left.
    SessionLocked,

    /// The tunnel's device and threads are there; handshakes begin.
    TunnelStarted {
        op: Op,
    },
    TunnelStartFailed {
        op: Op,
        why: LossReason,
    },
    TunnelStopped {
        op: Op,
    },
    /// A session with the gateway was made by the tunnel that `op` started.
    SessionEstablished {
        op: Op,
    },
    /// So many initiations in a row were not answered.
    HandshakeUnanswered {
        op: Op,
        attempts: u32,
    },
    /// The tunnel that `op` started ended by itself and has cleaned up.
    TunnelLost {
        op: Op,
        why: LossReason,
    },

    HostApplied {
        op: Op,
    },
    HostFailed {
        op: Op,
    },

    /// `sluss up`
    UserUp,
    /// `sluss down`; without effect where the policy forbids it.
    UserDown,
    /// The laptop is about to sleep.
    Suspending,
    Resumed,
    /// A deadline has come.
    Tick,
}

/// Why a tunnel did not start, or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LossReason {
    /// The TUN device could not be made or has vanished.
    Device,
    /// The UDP socket could not be made or has failed.
    Socket,
    /// The device binding is missing or does not fit.
    Binding,
    /// A thread ended that should not.
    Internal,
    /// The worker did not answer in time.
    Overdue,
}

/// Where a PIN comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinSource {
    /// The user typed it for us.
    User,
    /// The user will type it on the reader's own keys.
    Pad,
    /// The user typed it for somebody else, who hands it on: at login, or at the locked screen. It may be for another
    /// card, so it is tried while all tries are left, and only then. Where PINs are kept it renews the one that was wiped.
    Login,
}

/// What the card said to a PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinCheck {
    Accepted,
    Wrong {
        tries_left: u8,
    },
    /// Not tried: it would have been the last try, and the user had not consented; or policy forbids such a PIN.
    Withheld,
    /// Nothing was typed on the reader's keys: as if a prompt had been closed.
    Declined,
    Blocked,
    /// The card or the reader failed, or took too long. Whether the card counted a try is not known.
    Failed,
}

/// What is to be done. Whoever does it is given no choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask every beacon of the policy on each of these links, and answer by `deadline`.
    Probe {
        op: Op,
        links: Vec<Link>,
        deadline: Time,
    },
    /// Its answer is no longer of interest.
    CancelProbe { op: Op },
    /// Ask on each of these links for what the policy's `[portal]` says, and answer by `deadline`.
    CheckPortal {
        op: Op,
        links: Vec<Link>,
        deadline: Time,
    },
    /// Its answer is no longer of interest.
    CancelPortalCheck { op: Op },

    /// Prompt the user for the PIN. Answered by [`Event::PinOffered`] or [`Event::PinDeclined`], in the user's time.
    AskPin { op: Op },
    /// The prompt has become pointless: close it.
    CancelPin { op: Op },
    /// Give the card the PIN that was offered last, and wipe it.
    VerifyPin { op: Op, last_try_consented: bool },
    /// The PIN that was offered cannot be used now: wipe it.
    DiscardPin,
    /// Take the card's verified state back.
    LockCard,
    /// Wipe every session key and every cached secret of the card, now.
    ForgetKeys,
    /// Lock the session of the user at the screen.
    LockSession,

    /// Make the device, start the threads, begin the handshake.
    StartTunnel { op: Op },
    /// End the tunnel, started or starting. Also asked again when the answer fails to come.
    StopTunnel { op: Op },
    /// Something is different: send at once, so that the gateway learns the new address or a new handshake begins.
    RefreshTunnel { after: Change },
    /// The tunnel shall say so often that it is there: another link is in use, which is metered or is not. A tunnel starts
    /// with the policy's `tunnel.keepalive`.
    SetKeepalive { every: Option<Duration> },

    /// Make routes and firewall this. A later one overtakes an earlier one.
    ApplyHost { op: Op, rules: HostRules },
}
