//! Fragments and path MTU: what a socket may have cut, and what the host knows of a way.

use std::io;
use std::net::SocketAddr;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::{getsockopt_impl, libc, setsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, Socket, Type};

/// Who may cut a datagram that is larger than the path's MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fragments {
    /// This host and, for IPv4, routers: WireGuard's ordinary datagrams.
    Allowed,
    /// Nobody; and what this host has heard about the path is not believed, for it may be old.
    Never,
}

/// For what is sent from now on. Takes the place of quinn-udp's "don't fragment".
pub(super) fn set_fragments(
    socket: &Socket,
    dual_stack: bool,
    fragments: Fragments,
) -> nix::Result<()> {
    let (ipv4, ipv6) = match fragments {
        Fragments::Allowed => (libc::IP_PMTUDISC_DONT, libc::IPV6_PMTUDISC_DONT),
        Fragments::Never => (libc::IP_PMTUDISC_PROBE, libc::IPV6_PMTUDISC_PROBE),
    };
    setsockopt(socket, Ipv4PathMtu, &ipv4)?;
    if dual_stack {
        setsockopt(socket, Ipv6PathMtu, &ipv6)?;
        setsockopt(
            socket,
            sockopt::Ipv6DontFrag,
            &(fragments == Fragments::Never),
        )?;
    }
    Ok(())
}

/// The largest UDP payload that this host believes to arrive there in one piece, for what carries `mark`: as much as the
/// first link takes, or less if a router has said so within the last ten minutes. Sends nothing.
pub(super) fn largest_whole(to: SocketAddr, mark: u32) -> io::Result<usize> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    if mark != 0 {
        socket.set_mark(mark)?;
    }
    socket.connect(&to.into())?;
    let (mtu, headers) = match to {
        SocketAddr::V4(_) => (getsockopt(&socket, sockopt::IpMtu)?, 20 + 8),
        SocketAddr::V6(_) => (getsockopt(&socket, Ipv6Mtu)?, 40 + 8),
    };
    Ok(usize::try_from(mtu).unwrap_or(0).saturating_sub(headers))
}

/// What the kernel says to a datagram that may not be cut and is larger than the first link takes.
pub(super) fn too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EMSGSIZE as i32)
}

sockopt_impl!(
    /// What IPv4 does when a datagram is larger than the path's MTU (ip(7)).
    Ipv4PathMtu,
    SetOnly,
    libc::IPPROTO_IP,
    libc::IP_MTU_DISCOVER,
    libc::c_int
);

sockopt_impl!(
    /// What IPv6 does when a datagram is larger than the path's MTU (ipv6(7)).
    Ipv6PathMtu,
    SetOnly,
    libc::IPPROTO_IPV6,
    libc::IPV6_MTU_DISCOVER,
    libc::c_int
);

sockopt_impl!(
    /// The path's MTU as the kernel knows it, of a connected socket (ipv6(7)).
    Ipv6Mtu,
    GetOnly,
    libc::IPPROTO_IPV6,
    libc::IPV6_MTU,
    libc::c_int
);
