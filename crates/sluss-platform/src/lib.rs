//! The operating system behind one interface: TUN, UDP sockets, addresses, routes, firewall, link watcher, clock.
//!
//! What the machine shall be like is a value, [`HostConfig`]; [`Host::apply`] makes it so. What the machine is like
//! comes as whole snapshots from [`links::Watcher`]. Everything else here is a small thing that only the operating
//! system can do: tell time since boot, open a socket that no route can capture, read a file that no user can bend.

mod error;
mod host;
#[cfg(target_os = "linux")]
mod linux;

pub use error::Error;
pub use host::{HostConfig, TunConfig};
#[cfg(target_os = "linux")]
pub use linux::*;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The firewall mark of the daemon's own sockets: the tunnel's UDP socket and the probes ("SL").
///
/// Marked traffic uses the ordinary routes, never the tunnel, and passes the fence. Setting a mark takes
/// CAP_NET_ADMIN, so no ordinary user can borrow the exemption.
pub const MARK: u32 = 0x534c;
