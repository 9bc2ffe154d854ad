//! Packet capture in a network of the lab, stamped by the kernel: the judge outside the daemon.

use std::collections::HashMap;
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimeout, ReceiveTimestampns};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
    recvmsg, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::netns::Netns;

const UDP: u8 = 17;
const TCP: u8 = 6;
/// How much of a datagram is kept.
const DATAGRAM: usize = 128;
/// The same of a TCP segment.
const SEGMENT: usize = 4096;
/// `PACKET_OUTGOING` of linux/if_packet.h.
const OUTGOING: u8 = 4;

/// An IP packet that passed an interface.
#[derive(Clone, Debug)]
pub struct Packet {
    /// When, as in [`crate::moment`].
    pub at: Duration,
    pub interface: Arc<str>,
    pub outgoing: bool,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// IP protocol number; extension headers of IPv6 are not followed.
    pub protocol: u8,
    /// Source and destination port of TCP and UDP, else 0.
    pub ports: (u16, u16),
    /// How a UDP datagram begins, or all of a short one: first comes the message type, if it is WireGuard.
    pub datagram: Box<[u8]>,
    /// How the content of a TCP segment begins: all of a TLS greeting, or of a short HTTP request.
    pub segment: Box<[u8]>,
    /// Length with IP header, in bytes.
    pub length: usize,
}

impl Packet {
    /// WireGuard transport data (type 4) from or to a port.
    pub fn is_transport_data(&self, port: u16) -> bool {
        self.is_wireguard(port, 4)
    }

    /// A WireGuard handshake response (type 2) from or to a port: a handshake that the responder accepted.
    pub fn is_handshake_response(&self, port: u16) -> bool {
        self.is_wireguard(port, 2)
    }

    fn is_wireguard(&self, port: u16, kind: u8) -> bool {
        self.protocol == UDP
            && (self.ports.0 == port || self.ports.1 == port)
            && self.datagram.first() == Some(&kind)
    }
}

/// Captures from its start until it is dropped, on all interfaces of one network.
pub struct Capture {
    packets: Arc<Mutex<Vec<Packet>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Starts to keep the packets that `wanted` lets through. When this returns, none is missed.
    pub fn start(
        netns: &Netns,
        wanted: impl Fn(&Packet) -> bool + Send + 'static,
    ) -> Result<Capture> {
        let socket = netns
            .run(open)
            .with_context(|| format!("capture in {}", netns.name()))?;
        let packets = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let names = Names::of(netns)?;
        let thread = std::thread::spawn({
            let (packets, stop) = (Arc::clone(&packets), Arc::clone(&stop));
            move || record(&socket, names, wanted, &packets, &stop)
        });
        Ok(Capture {
            packets,
            stop,
            thread: Some(thread),
        })
    }

    /// What has been captured so far.
    pub fn packets(&self) -> Vec<Packet> {
        self.kept().clone()
    }

    pub fn last(&self) -> Option<Packet> {
        self.kept().last().cloned()
    }

    /// The first packet at or after a moment.
    pub fn first_since(&self, moment: Duration) -> Option<Packet> {
        self.kept()
            .iter()
            .find(|packet| packet.at >= moment)
            .cloned()
    }

    pub fn count(&self) -> usize {
        self.kept().len()
    }

    /// Forgets what was captured.
    pub fn clear(&self) {
        self.kept().clear();
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Packet>> {
        self.packets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Interface names by index; interfaces that come later are called by their number.
struct Names(HashMap<usize, Arc<str>>);

impl Names {
    fn of(netns: &Netns) -> Result<Names> {
        netns.run(|| {
            let interfaces = nix::net::if_::if_nameindex()?;
            Ok(Names(
                interfaces
                    .iter()
                    .map(|i| (i.index() as usize, i.name().to_string_lossy().into()))
                    .collect(),
            ))
        })
    }

    fn of_index(&mut self, index: usize) -> Arc<str> {
        Arc::clone(
            self.0
                .entry(index)
                .or_insert_with(|| index.to_string().into()),
        )
    }
}

/// A cooked packet socket for every protocol: the link header is gone, whatever kind of link it is.
fn open() -> nix::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Packet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )?;
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    // So that the thread sees in time that it is to stop.
    setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(50))?;
    // In a user namespace the limit holds; the default is enough for all but floods.
    let _ = setsockopt(&socket, RcvBufForce, &(16 << 20));
    Ok(socket)
}

fn record(
    socket: &OwnedFd,
    mut names: Names,
    wanted: impl Fn(&Packet) -> bool,
    packets: &Mutex<Vec<Packet>>,
    stop: &AtomicBool,
) {
    let mut buffer = vec![0; 1 << 16];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    while !stop.load(Ordering::Relaxed) {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let (at, link, length) = match recvmsg::<LinkAddr>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::empty(),
        ) {
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            // ENETDOWN: an interface went; the others go on.
            Err(Errno::ENETDOWN) => continue,
            Err(_) => return,
            Ok(message) => {
                let Some(link) = message.address else {
                    continue;
                };
                let at = message
                    .cmsgs()
                    .ok()
                    .and_then(|mut control| control.find_map(timestamp));
                (at.unwrap_or_else(crate::moment::now), link, message.bytes)
            }
        };
        let outgoing = link.pkttype() == OUTGOING;
        if let Some(packet) = parse(
            &buffer[..length],
            at,
            names.of_index(link.ifindex()),
            outgoing,
        ) && wanted(&packet)
        {
            packets
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(packet);
        }
    }
}

fn timestamp(message: ControlMessageOwned) -> Option<Duration> {
    if let ControlMessageOwned::ScmTimestampns(at) = message {
        Some(at.into())
    } else {
        None
    }
}

/// Reads what a judge needs from an IP packet; `None` for anything else (ARP, truncated).
fn parse(bytes: &[u8], at: Duration, interface: Arc<str>, outgoing: bool) -> Option<Packet> {
    let (source, destination, protocol, payload): (IpAddr, IpAddr, u8, &[u8]) =
        match bytes.first()? >> 4 {
            4 => {
                let header = usize::from(bytes[0] & 0x0f) * 4;
                let address = |at: usize| {
                    Some(Ipv4Addr::from(
                        <[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?,
                    ))
                };
                (
                    address(12)?.into(),
                    address(16)?.into(),
                    *bytes.get(9)?,
                    bytes.get(header..)?,
                )
            }
            6 => {
                let address = |at: usize| {
                    Some(Ipv6Addr::from(
                        <[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?,
                    ))
                };
                (
                    address(8)?.into(),
                    address(24)?.into(),
                    *bytes.get(6)?,
                    bytes.get(40..)?,
                )
            }
            _ => return None,
        };
    let port = |at: usize| {
        Some(u16::from_be_bytes(
            payload.get(at..at + 2)?.try_into().ok()?,
        ))
    };
    let ports = if matches!(protocol, TCP | UDP) {
        (port(0)?, port(2)?)
    } else {
        (0, 0)
    };
    let datagram = match payload.get(8..) {
        Some(datagram) if protocol == UDP => &datagram[..datagram.len().min(DATAGRAM)],
        Some(_) | None => &[],
    };
    let header = payload
        .get(12)
        .map_or(0, |offset| usize::from(offset >> 4) * 4);
    let segment = match payload.get(header..) {
        Some(segment) if protocol == TCP => &segment[..segment.len().min(SEGMENT)],
        Some(_) | None => &[],
    };
    Some(Packet {
        at,
        interface,
        outgoing,
        source,
        destination,
        protocol,
        ports,
        datagram: datagram.into(),
        segment: segment.into(),
        length: bytes.len(),
    })
}
