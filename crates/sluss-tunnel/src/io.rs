//! What the tunnel needs of an operating system: a TUN device, a UDP socket, a way to wait, a clock.
//!
//! Each is one system call or two, never blocks (but for [`Waiter::wait`]), and works on batches: a super-packet, or a
//! run of datagrams. So a call through `dyn` costs nothing that could be measured.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The operating system, for one tunnel.
pub struct Io {
    pub tun: Arc<dyn Tun>,
    pub udp: Arc<dyn Udp>,
    pub clock: Arc<dyn Clock>,
    /// Where the thread that reads the TUN device waits.
    pub outbound: Box<dyn Waiter>,
    /// Where the thread that reads the UDP socket waits.
    pub inbound: Box<dyn Waiter>,
}

/// Which super-packets a TUN device gives and takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// None: a frame is a packet.
    None,
    /// TCP: a frame is a `struct virtio_net_hdr` (virtio 1.2, 5.1.6) and a packet or TCP super-packet.
    Tcp,
    /// TCP and UDP: as [`Offload::Tcp`], and UDP super-packets too.
    TcpAndUdp,
}

/// A TUN device, without blocking.
pub trait Tun: Send + Sync {
    /// What its frames may be; the same for as long as it lives.
    fn offload(&self) -> Offload;

    /// Bytes of the largest packet, which its owner may change at any time.
    ///
    /// # Errors
    /// The device is gone.
    fn mtu(&self) -> io::Result<u16>;

    /// Reads one frame and returns its length.
    ///
    /// # Errors
    /// `WouldBlock` if there is none. Any other: the device is gone.
    fn recv(&self, frame: &mut [u8]) -> io::Result<usize>;

    /// Writes one frame, whose parts lie where they lie.
    ///
    /// # Errors
    /// The frame is lost, as when the device is down. Whether it is gone, [`Tun::recv`] tells.
    fn send(&self, frame: &[IoSlice<'_>]) -> io::Result<()>;
}

/// Datagrams of one sender that came in one buffer, end to end.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// IPv4 senders as IPv4 addresses, whatever the socket.
    pub from: SocketAddr,
    /// Bytes in the buffer.
    pub length: usize,
    /// Bytes of each datagram but the last, which may be shorter.
    pub stride: usize,
}

impl Default for Received {
    /// Nothing, from nobody: to be overwritten.
    fn default() -> Received {
        Received {
            from: SocketAddr::from(([0; 4], 0)),
            length: 0,
            stride: 0,
        }
    }
}

/// Whether runs of datagrams leave in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segmenting {
    /// The kernel or the network card cuts them.
    Offloaded,
    /// The path of today does not take them: its MTU is smaller than the datagrams, or its network card cannot. Tried
    /// again when the network has changed.
    Refused,
    /// This kernel cannot.
    Unsupported,
}

/// A UDP socket, without blocking.
pub trait Udp: Send + Sync {
    /// Sends datagrams of `stride` bytes each, the last perhaps shorter, to one address: as many as one system call
    /// takes, which is the first alone where the kernel or the path cannot segment. Returns how many bytes went.
    ///
    /// # Errors
    /// `WouldBlock` if nothing was sent: wait until the socket is writable and send again. Any other: the network does not
    /// take them, as when it is not there just now.
    fn send(&self, to: SocketAddr, datagrams: &[u8], stride: usize) -> io::Result<usize>;

    /// Receives into the buffers, one run of datagrams each; describes them in `received`, and returns their number.
    ///
    /// # Errors
    /// `WouldBlock` if there are none. Any other is about one datagram, not about the socket.
    fn recv(&self, buffers: &mut [IoSliceMut<'_>], received: &mut [Received]) -> io::Result<usize>;

    /// Sends one datagram that nobody may cut into fragments, neither this host nor a router, even if this host believes
    /// that the path is narrower. Says whether it went; if not, it is larger than the first link takes.
    ///
    /// # Errors
    /// As [`Udp::send`].
    fn send_whole(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<bool>;

    /// What this host believes to be the largest datagram, headers left out, that arrives there whole: by the first link,
    /// and by what routers have told. `None` if there is no way there.
    fn largest_whole(&self, to: SocketAddr) -> Option<usize>;

    /// Whether runs leave in one piece, as far as is known today.
    fn segmenting(&self) -> Segmenting;

    /// Whether the kernel joins datagrams that have come.
    fn joins(&self) -> bool;

    /// The network changed: what the old path could not do may be tried again.
    fn path_changed(&self);
}

/// What a thread waits for, besides its [`Waker`] and its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    TunReadable,
    UdpReadable,
    UdpWritable,
}

/// One thread's place to wait.
pub trait Waiter: Send {
    /// Sleeps until the readiness, a wake, or the deadline (time since boot, which passes while the machine sleeps).
    ///
    /// May return early and without a reason.
    ///
    /// # Errors
    /// The operating system cannot wait: the tunnel must end.
    fn wait(&mut self, readiness: Readiness, deadline: Option<Duration>) -> io::Result<()>;

    /// What ends this waiter's present or next sleep.
    fn waker(&self) -> Arc<dyn Waker>;
}

/// Ends the sleep of one [`Waiter`], from any thread.
pub trait Waker: Send + Sync {
    fn wake(&self);
}

/// Time, read once per batch.
pub trait Clock: Send + Sync {
    /// Since boot, time asleep included (`CLOCK_BOOTTIME`).
    fn boottime(&self) -> Duration;

    /// Since 1970, as the user set it: for WireGuard's timestamps alone.
    fn wall(&self) -> Duration;
}
