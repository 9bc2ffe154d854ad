//! The tunnel's UDP socket: both address families, marked, with segmentation and receive offload where the kernel has it.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use sluss_tunnel::{Received, Udp};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{Error, Result};

/// What the kernel may queue in each direction: some 20 ms at 3 Gbit/s. It takes memory only while it is in use.
const QUEUE_BYTES: usize = 8 << 20;

/// A UDP socket for WireGuard, bound to no address and no interface: it goes where the routes go.
pub struct UdpSocket {
    socket: Socket,
    state: UdpSocketState,
    dual_stack: bool,
    /// Whether the kernel segments, on the path of today. quinn-udp's own note of it never comes back.
    segments: AtomicBool,
}

impl UdpSocket {
    /// Binds `port`, or any if it is 0, and marks what will be sent. A mark needs CAP_NET_ADMIN.
    ///
    /// # Errors
    /// [`Error::System`] if the port is taken, or the right to mark is missing.
    pub fn bind(port: u16, mark: Option<u32>) -> Result<UdpSocket> {
        let (socket, dual_stack) = open(port).map_err(Error::system("open the tunnel's socket"))?;
        if let Some(mark) = mark {
            socket
                .set_mark(mark)
                .map_err(Error::system("mark the tunnel's socket"))?;
        }
        enlarge_queues(&socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))
            .map_err(Error::system("prepare the tunnel's socket"))?;
        allow_fragments(&socket, dual_stack)
            .map_err(Error::system("let the tunnel's datagrams be fragmented"))?;
        Ok(UdpSocket {
            segments: AtomicBool::new(state.max_gso_segments() > 1),
            socket,
            state,
            dual_stack,
        })
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

    fn recv(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> io::Result<usize> {
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

    fn path_changed(&self) {
        // `max_gso_segments` falls to 1 with the path of the moment, `gro_segments` tells of the kernel alone; both came
        // with UDP offload, so the latter stands for what may be tried again.
        self.segments
            .store(self.state.gro_segments() > 1, Ordering::Relaxed);
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

nix::setsockopt_impl!(
    Ipv4PathMtuDiscovery,
    libc::IPPROTO_IP,
    libc::IP_MTU_DISCOVER,
    libc::c_int,
    sockopt::SetStruct<'_, libc::c_int>
);
