//! Linux: netlink for rules, routes and links, nftables for the fence, timerfd for the clock.

pub mod clock;
mod fence;
pub mod files;
mod host;
pub mod links;
pub mod net;
mod netlink;
pub mod process;
mod routes;
mod tun_link;

pub use host::Host;
