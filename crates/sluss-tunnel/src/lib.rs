//! Packets, fast: TUN to UDP and back in batches, with segmentation offload, on two run-to-completion threads.
//!
//! ```text
//!            outbound thread                                   inbound thread
//!  TUN ──► frame ─► Segments ─► Run ─► Lane::seal ──► UDP ──► Inbound::open ─► Coalescer ──► TUN
//!                                  ▲                   │             │
//!                                  └──── updates ◄── Device ◄── notices, commands, handshake messages
//! ```
//!
//! The outbound thread owns [`sluss_wg::Outbound`], the inbound thread [`sluss_wg::Inbound`] and [`sluss_wg::Device`].
//! They share no state: what one must tell the other is a letter in a [`mailbox`], sent at edges and never per packet.
//! Packets are sealed and opened where they lie. There is no lock, allocation, log or clock read per packet.
//!
//! The operating system is behind the traits of [`io`]; `sluss-platform` has the real ones.

mod checksum;
mod coalesce;
mod control;
mod frame;
mod inbound;
pub mod io;
mod mailbox;
mod outbound;
mod packet;
mod path_mtu;
mod run;
mod segment;
mod sync;
mod tunnel;

pub use io::{Clock, Io, Offload, Readiness, Received, Segmenting, Tun, Udp, Waiter, Waker};
pub use path_mtu::{Discovery, PathMtu, Verdict};
pub use tunnel::{Command, Conditions, Event, Key, Lost, Offloads, Stats, Tunnel, start};

/// Why a tunnel cannot run, or runs no more. The network is never the reason: it comes and goes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody removed the device, or its driver gave up.
    #[error("the TUN device is gone: {0}")]
    TunGone(#[source] std::io::Error),
    /// The host cannot wait for packets or time.
    #[error("the host cannot wait for packets: {0}")]
    Wait(#[source] std::io::Error),
    /// The host has no room for another thread.
    #[error("the host cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// A mistake of ours. The tunnel is shut rather than half open.
    #[error("a thread of the tunnel panicked")]
    Panicked,
}
