//! The tunnel's UDP socket: both address families, marked, with segmentation and receive offload where the kernel has it.

mod path;

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use sluss_tunnel::{Received, Segmenting, Udp};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use self::path::Fragments;
use crate::{Error, Result};

/// What the kernel may queue in each direction: some 20 ms at 3 Gbit/s. It takes memory only while it is in use.
const QUEUE_BYTES: usize = 8 << 20;

/// A UDP socket for WireGuard, bound to no address and no interface: it goes where the routes go.
pub struct UdpSocket {
    socket: Socket,
    state: UdpSocketState,
    dual_stack: bool,
    /// Whether the kernel has segmentation offload.
    can_segment: bool,
    /// Whether it also works on the path of today. quinn-udp's own note of that never comes back.
    segments: AtomicBool,
}

/// What a kernel may do for a UDP socket. [`UdpSocket::bind`] takes all that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOffload {
    /// Cut what is sent in one piece into datagrams (UDP_SEGMENT).
    pub send: bool,
    /// Join datagrams that have come (UDP_GRO).
    pub receive: bool,
}

impl UdpSocket {
    /// Binds `port`, or any if it is 0, and marks what will be sent. A mark needs CAP_NET_ADMIN.
    ///
    /// # Errors
    /// [`Error::System`] if the port is taken, or the right to mark is missing.
    pub fn bind(port: u16, mark: Option<u32>) -> Result<UdpSocket> {
        let (socket, dual_stack) = open(port).map_err(Error::system("open the tunnel's socket"))?;
        if let Some(mark) = mark {
            set_mark(&socket, mark)?;
        }
        enlarge_queues(&socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))
            .map_err(Error::system("prepare the tunnel's socket"))?;
        // Undoes quinn-udp's "don't fragment". A path may be narrower than the tunnel's MTU assumes.
        path::set_fragments(&socket, dual_stack, Fragments::Allowed)
            .map_err(Error::system("let the tunnel's datagrams be fragmented"))?;
        let can_segment = state.max_gso_segments() > 1;
        Ok(UdpSocket {
            can_segment,
            segments: AtomicBool::new(can_segment),
            socket,
            state,
            dual_stack,
        })
    }

    /// Does without some of what the kernel has, from now on.
    ///
    /// # Errors
    /// [`Error::System`] if the kernel will not change the socket.
    pub fn limit(&mut self, offload: UdpOffload) -> Result<()> {
        if !offload.receive {
            // A kernel that has no such option does not join datagrams.
            match setsockopt(&self.socket, sockopt::UdpGroSegment, &false) {
                Ok(()) | Err(Errno::ENOPROTOOPT) => {}
                Err(error) => return Err(Error::system("take datagrams one by one")(error)),
            }
        }
        if !offload.send {
            self.can_segment = false;
            self.segments.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Marks what will be sent from now on; 0 is no mark. Needs CAP_NET_ADMIN.
    ///
    /// # Errors
    /// [`Error::System`] if the right is missing.
    pub fn set_mark(&self, mark: u32) -> Result<()> {
        set_mark(&self.socket, mark)
    }

    /// The port that it is bound to.
    pub fn port(&self) -> Result<u16> {
        let address = self
            .socket
            .local_addr()
            .map_err(Error::system("ask the tunnel's socket for its port"))?;
        Ok(address.as_socket().map_or(0, |address| address.port()))
    }

    fn transmit(&self, to: SocketAddr, datagrams: &[u8], stride: usize) -> io::Result<usize> {
        let transmit = Transmit {
            destination: if self.dual_stack { to_ipv6(to) } else { to },
            ecn: None,
            contents: datagrams,
            segment_size: Some(stride),
            src_ip: None,
        };
        self.state
            .try_send(UdpSockRef::from(&self.socket), &transmit)?;
        Ok(datagrams.len())
    }
}

impl Udp for UdpSocket {
    fn send(&self, to: SocketAddr, datagrams: &[u8], stride: usize) -> io::Result<usize> {
        let first = &datagrams[..stride.min(datagrams.len())];
        if first.len() == datagrams.len() || !self.segments.load(Ordering::Relaxed) {
            return self.transmit(to, first, stride);
        }
        match self.transmit(to, datagrams, stride) {
            Err(error) if cannot_segment(&error) => {
                self.segments.store(false, Ordering::Relaxed);
                self.transmit(to, first, stride)
            }
            sent => sent,
        }
    }

    fn recv(&self, buffers: &mut [IoSliceMut<'_>], received: &mut [Received]) -> io::Result<usize> {
        let mut metas = [RecvMeta::default(); quinn_udp::BATCH_SIZE];
        let count = self
            .state
            .recv(UdpSockRef::from(&self.socket), buffers, &mut metas)?;
        for (received, meta) in received.iter_mut().zip(&metas[..count]) {
            *received = Received {
                from: canonical(meta.addr),
                length: meta.len,
                stride: meta.stride,
            };
        }
        Ok(count)
    }

    // The option is the socket's, and this socket is the inbound thread's too: a handshake message that it sends meanwhile
    // cannot be cut either, and is far too small to mind.
    fn send_whole(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<bool> {
        let sent = path::set_fragments(&self.socket, self.dual_stack, Fragments::Never)
            .map_err(io::Error::from)
            .and_then(|()| self.transmit(to, datagram, datagram.len()));
        // Whatever became of it: data may be cut.
        path::set_fragments(&self.socket, self.dual_stack, Fragments::Allowed)?;
        match sent {
            Err(error) if path::too_large(&error) => Ok(false),
            sent => sent.map(|_| true),
        }
    }

    fn largest_whole(&self, to: SocketAddr) -> Option<usize> {
        let mark = self.socket.mark().ok()?;
        path::largest_whole(to, mark).ok()
    }

    fn segmenting(&self) -> Segmenting {
        match (self.can_segment, self.segments.load(Ordering::Relaxed)) {
            (true, true) => Segmenting::Offloaded,
            (true, false) => Segmenting::Refused,
            (false, _) => Segmenting::Unsupported,
        }
    }

    fn joins(&self) -> bool {
        getsockopt(&self.socket, sockopt::UdpGroSegment).unwrap_or(false)
    }

    fn path_changed(&self) {
        self.segments.store(self.can_segment, Ordering::Relaxed);
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket for both families, or for IPv4 alone where the kernel has no IPv6.
fn open(port: u16) -> io::Result<(Socket, bool)> {
    let dual_stack = || {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_only_v6(false)?;
        bind(socket, (Ipv6Addr::UNSPECIFIED, port).into())
    };
    match dual_stack() {
        Err(error) if no_ipv6(&error) => {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            Ok((bind(socket, (Ipv4Addr::UNSPECIFIED, port).into())?, false))
        }
        socket => Ok((socket?, true)),
    }
}

fn set_mark(socket: &Socket, mark: u32) -> Result<()> {
    socket
        .set_mark(mark)
        .map_err(Error::system("mark the tunnel's socket"))
}

fn bind(socket: Socket, address: SocketAddr) -> io::Result<Socket> {
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

fn no_ipv6(error: &io::Error) -> bool {
    [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL]
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// Asks for more than `net.core.rmem_max` allows, which takes CAP_NET_ADMIN; without it, for as much as there is.
fn enlarge_queues(socket: &Socket) {
    if setsockopt(socket, sockopt::RcvBufForce, &QUEUE_BYTES).is_err() {
        let _ = socket.set_recv_buffer_size(QUEUE_BYTES);
    }
    if setsockopt(socket, sockopt::SndBufForce, &QUEUE_BYTES).is_err() {
        let _ = socket.set_send_buffer_size(QUEUE_BYTES);
    }
}

/// What the kernel says when segments are larger than the path's MTU (they cannot be fragmented), or when the network
/// card's driver cannot segment after all (udp(7), UDP_SEGMENT).
fn cannot_segment(error: &io::Error) -> bool {
    [Errno::EINVAL, Errno::EMSGSIZE, Errno::EIO]
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

fn to_ipv6(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into(),
        SocketAddr::V6(_) => address,
    }
}

/// IPv4 as IPv4; the scope of a link-local address stays.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(ip) => SocketAddr::from((ip, v6.port())),
            None => SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
        },
        SocketAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a run of datagrams to the loopback address, and returns what arrives as (from, datagram).
    fn exchange(to: &str, run: &[u8], stride: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let sender = UdpSocket::bind(0, None).expect("a socket");
        let receiver = UdpSocket::bind(0, None).expect("a socket");
        let to = SocketAddr::new(
            to.parse().expect("an address"),
            receiver.port().expect("a port"),
        );
        let mut rest = run;
        while !rest.is_empty() {
            rest = &rest[sender.send(to, rest, stride).expect("room")..];
        }
        let mut arrived = Vec::new();
        let mut buffers = [(); 4].map(|()| vec![0; 65_535]);
        while arrived.len() < run.len().div_ceil(stride) {
            let mut received = [Received::default(); 4];
            let mut slices = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
            let count = receiver
                .recv(&mut slices, &mut received)
                .expect("loopback delivers at once");
            for (buffer, message) in buffers.iter().zip(&received[..count]) {
                let datagrams = buffer[..message.length].chunks(message.stride);
                arrived.extend(datagrams.map(|datagram| (message.from, datagram.to_vec())));
            }
        }
        let port = sender.port().expect("a port");
        assert!(
            arrived
                .iter()
                .all(|(from, _)| from.ip() == to.ip() && from.port() == port)
        );
        arrived
    }

    #[test]
    fn a_run_arrives_as_the_datagrams_it_was_made_of() {
        let run: Vec<u8> = (0..10_500u32).map(|i| (i % 251) as u8).collect();
        for to in ["127.0.0.1", "::1"] {
            let arrived = exchange(to, &run, 1_000);
            assert_eq!(arrived.len(), 11, "to {to}");
            assert!(
                arrived
                    .iter()
                    .map(|(_, datagram)| datagram.as_slice())
                    .eq(run.chunks(1_000))
            );
        }
    }

    #[test]
    fn what_may_not_be_cut_goes_whole_or_not_at_all() {
        let socket = UdpSocket::bind(0, None).expect("a socket");
        // The loopback device takes 65,536 bytes, one more than an IPv4 packet can have.
        for (to, largest) in [("127.0.0.1", 65_535 - 28), ("::1", 65_536 - 48)] {
            let to = SocketAddr::new(to.parse().expect("an address"), 9);
            assert_eq!(socket.largest_whole(to), Some(largest));
            assert!(socket.send_whole(to, &[0; 60_000]).expect("loopback"));
        }
    }

    #[test]
    fn an_empty_socket_says_so() {
        let socket = UdpSocket::bind(0, None).expect("a socket");
        let mut buffer = [0; 10];
        let received = socket.recv(
            &mut [IoSliceMut::new(&mut buffer)],
            &mut [Received::default()],
        );
        assert_eq!(
            received.expect_err("nothing there").kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    fn a_port_in_use_is_an_error() {
        let first = UdpSocket::bind(0, None).expect("a socket");
        assert!(UdpSocket::bind(first.port().expect("a port"), None).is_err());
    }
}
