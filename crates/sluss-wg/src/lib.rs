//! WireGuard as a calculation: messages, handshake, cookies, transport keys, timers, allowed IPs; no I/O, no clock, no threads.
//!
//! "The whitepaper" is J. A. Donenfeld, *WireGuard: Next Generation Kernel Network Tunnel*, revision of 2020-06-01.
//!
//! # Three owners
//!
//! So that the packet path takes no lock, one interface is three values that live where they are used:
//!
//! | value | owns | lives in |
//! |---|---|---|
//! | [`Device`] | peers, handshakes, cookies, timers | the thread that reads UDP |
//! | [`Outbound`] | routes, sending keys and counters, packets that wait for a key | the thread that reads TUN |
//! | [`Inbound`] | receiving keys, replay windows, the source check | the thread that reads UDP |
//!
//! [`Device::handle`] takes an [`Input`] and writes [`Output`]s into a [`Sink`]. Two of them, [`Output::Outbound`] and
//! [`Output::Inbound`], are letters to the halves: the caller hands them to [`Outbound::apply`] and [`Inbound::apply`],
//! the latter before the next datagram is opened. The halves answer with [`Notice`]s, which go back in as
//! [`Input::Notice`]. A notice is an edge, never a packet: bulk traffic gives about one per ten seconds.
//!
//! # The private key is elsewhere
//!
//! No value here holds the static private key. Where the handshake needs it, [`Output::Dh`] asks for one Diffie-Hellman,
//! and [`Input::Dh`] brings the answer, microseconds later from a [`SoftwareKey`] or seconds later from a smart card.

mod activity;
mod allowed_ips;
mod config;
mod cookie;
mod crypto;
mod device;
mod endpoints;
mod exchange;
mod inbound;
mod key;
mod load;
mod message;
mod noise;
mod outbound;
mod packet;
mod peer;
mod replay;
mod session;
mod stack;
mod sync;
mod time;
mod turn;

pub use activity::Notice;
pub use config::{Config, Error, PeerConfig, Respond};
pub use device::Device;
pub use endpoints::Endpoints;
pub use exchange::{
    Deadline, DhId, EndpointStatus, Event, Input, Output, PeerId, PeerStatus, Reason, Role, Sink,
};
pub use inbound::{Dropped, Inbound, InboundUpdate, Opened, is_transport};
pub use key::{DhError, PresharedKey, PublicKey, SharedSecret, SoftwareKey};
pub use message::Datagram;
pub use outbound::{Lane, NotSealed, Outbound, OutboundUpdate, Sealed};
pub use stack::wipe_stack;
pub use time::{Now, Tai64n, Time, Timing};

/// Bytes that the caller leaves free in front of a packet for [`Outbound::seal`] (whitepaper 5.4.6: type, receiver, counter).
pub const HEADER: usize = 16;

/// Bytes that sealing adds behind the padded packet: the Poly1305 tag.
pub const TAG: usize = 16;

/// Room that sealing needs behind a packet at most: padding to the next multiple of 16, and the tag.
pub const TAIL: usize = 15 + TAG;
