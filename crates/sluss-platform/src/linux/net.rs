//! Sockets that no route can capture.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpSocket, UdpSocket};

use crate::MARK;

/// A TCP socket that reaches `remote` by the interface `link` and by no other, tunnel or fence notwithstanding.
///
/// Bound to the interface, so that a route through our own tunnel cannot make the outside look like the inside; marked,
/// so that it passes the fence and the table that stand in everybody else's way.
pub fn probe_socket(link: &str, remote: IpAddr) -> io::Result<TcpSocket> {
    let socket = match remote {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind_device(Some(link.as_bytes()))?;
    SockRef::from(&socket).set_mark(MARK)?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// A UDP socket that hears `remote` alone, by the interface `link` alone, in the same manner.
pub fn query_socket(link: &str, remote: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(remote),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(link.as_bytes()))?;
    socket.set_mark(MARK)?;
    socket.connect(&remote.into())?;
    UdpSocket::from_std(socket.into())
}
