//! Linux: netlink for rules, routes and links, nftables for the fence, timerfd for the clock.

mod bus;
pub mod clock;
mod fence;
pub mod files;
mod host;
pub mod links;
pub mod logind;
mod media;
mod neighbours;
pub mod net;
mod netlink;
pub mod process;
pub mod resolvers;
mod routes;
mod rules;
pub mod secret;
mod tun;
mod tun_link;
mod udp;
pub mod units;
mod wait;
pub mod worker;

pub use host::Host;
pub use tun::TunDevice;
pub use udp::{UdpOffload, UdpSocket};
pub use wait::tunnel_io;
