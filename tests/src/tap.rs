//! The clear side of a tunnel, packet by packet: puts IP packets and super-packets into a device, and tells what comes out.

use std::net::{IpAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimeout};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvfrom, sendto,
    setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::{libc, setsockopt_impl, sockopt_impl};
use tun_rs::{VIRTIO_NET_HDR_GSO_UDP_L4, VIRTIO_NET_HDR_LEN, VirtioNetHdr, gso_split};

use crate::netns::Netns;

/// A packet, or a super-packet with what the header says about it.
#[derive(Clone)]
pub struct Frame {
    pub header: VirtioNetHdr,
    pub packet: Vec<u8>,
}

/// Where packets are put into a device, as if the kernel sent them.
pub struct Inlet {
    socket: OwnedFd,
    /// The device, for IPv4 and for IPv6.
    addresses: [LinkAddr; 2],
}

/// Where packets come out of a device.
pub struct Outlet {
    socket: OwnedFd,
    device: usize,
    buffer: Vec<u8>,
}

impl Inlet {
    /// Sends one packet of its own to each of `towards`, an IPv4 and an IPv6 address behind the device: what the kernel tells
    /// of those is how it is told which device is meant.
    pub fn open(network: &Netns, device: &str, towards: [IpAddr; 2]) -> Result<Inlet> {
        let open = || {
            let (seen, index) = (packet_socket(Some(SockProtocol::EthAll))?, index(device)?);
            let sender = UdpSocket::bind("[::]:0")?;
            let learn = |towards: IpAddr| -> Result<LinkAddr> {
                let towards = match towards {
                    IpAddr::V4(address) => address.to_ipv6_mapped().into(),
                    IpAddr::V6(_) => towards,
                };
                sender.send_to(&[], (towards, DISCARD))?;
                loop {
                    let (_, link) = recvfrom::<LinkAddr>(seen.as_raw_fd(), &mut [0; 128])?;
                    if let Some(link) = link.filter(|link| link.ifindex() == index) {
                        return Ok(link);
                    }
                }
            };
            let addresses = [learn(towards[0])?, learn(towards[1])?];
            // One that receives nothing.
            let socket = packet_socket(None)?;
            anyhow::Ok(Inlet { socket, addresses })
        };
        network
            .run(open)
            .with_context(|| format!("a way into {device} in {}", network.name()))
    }

    pub fn put(&self, frame: &Frame) -> Result<()> {
        let mut bytes = vec![0; VIRTIO_NET_HDR_LEN];
        frame.header.encode(&mut bytes)?;
        bytes.extend(&frame.packet);
        let is_v6 = frame.packet.first().is_some_and(|first| first >> 4 == 6);
        let address = &self.addresses[usize::from(is_v6)];
        sendto(self.socket.as_raw_fd(), &bytes, address, MsgFlags::empty())
            .with_context(|| format!("put in {:?}, {:02x?}", frame.header, frame.packet))?;
        Ok(())
    }
}

impl Outlet {
    pub fn open(network: &Netns, device: &str) -> Result<Outlet> {
        let open = || {
            let socket = packet_socket(Some(SockProtocol::EthAll))?;
            setsockopt(&socket, IgnoreOutgoing, &1)?;
            anyhow::Ok((socket, index(device)?))
        };
        let (socket, device) = network
            .run(open)
            .with_context(|| format!("a way out of {device} in {}", network.name()))?;
        Ok(Outlet {
            socket,
            device,
            buffer: vec![0; VIRTIO_NET_HDR_LEN + (1 << 17)],
        })
    }

    /// The next that came out of the device; `None` if nothing does for two seconds.
    pub fn take(&mut self) -> Result<Option<Frame>> {
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut self.buffer) {
                Ok((length, Some(link))) if link.ifindex() == self.device => {
                    return Ok(Some(Frame {
                        header: VirtioNetHdr::decode(&self.buffer[..length])?,
                        packet: self.buffer[VIRTIO_NET_HDR_LEN..length].to_vec(),
                    }));
                }
                Ok(_of_another) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Frame {
    pub fn of(packet: Vec<u8>) -> Frame {
        Frame {
            header: VirtioNetHdr::default(),
            packet,
        }
    }

    pub fn is_super(&self) -> bool {
        self.header.gso_type != 0
    }

    /// The packets that this is made of, as tun-rs cuts them.
    pub fn packets(mut self) -> Result<Vec<Vec<u8>>> {
        let mut header = self.header;
        if !self.is_super() {
            ensure!(header.flags & 1 == 0, "a partial checksum: {header:?}");
            return Ok(vec![self.packet]);
        }
        // What the kernel says there is the length of its first buffer.
        let transport = usize::from(header.csum_start);
        header.hdr_len = header.csum_start
            + match header.gso_type {
                VIRTIO_NET_HDR_GSO_UDP_L4 => 8,
                _ => u16::from(self.packet[transport + 12] >> 4) * 4,
            };
        let count = self.packet.len().div_ceil(header.gso_size.into());
        let mut packets = vec![vec![0; self.packet.len()]; count];
        let mut sizes = vec![0; count];
        let is_v6 = self.packet[0] >> 4 == 6;
        let count = gso_split(&mut self.packet, header, &mut packets, &mut sizes, 0, is_v6)
            .with_context(|| format!("cut {header:?}"))?;
        packets.truncate(count);
        for (packet, size) in packets.iter_mut().zip(sizes) {
            packet.truncate(size);
        }
        Ok(packets)
    }
}

/// RFC 863.
const DISCARD: u16 = 9;

fn packet_socket(protocol: Option<SockProtocol>) -> Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        protocol,
    )?;
    setsockopt(&socket, VnetHeader, &1)?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(2_000))?;
    // In a user namespace the limit holds; what is under way stays below it.
    let _ = setsockopt(&socket, RcvBufForce, &(64 << 20));
    Ok(socket)
}

fn index(device: &str) -> Result<usize> {
    Ok(usize::try_from(if_nametoindex(device)?)?)
}

/// Of linux/if_packet.h.
const PACKET_VNET_HDR: libc::c_int = 15;

sockopt_impl!(
    /// A `struct virtio_net_hdr` before each packet (packet(7)).
    VnetHeader,
    SetOnly,
    libc::SOL_PACKET,
    PACKET_VNET_HDR,
    libc::c_int
);

sockopt_impl!(
    /// Only what comes in (packet(7)).
    IgnoreOutgoing,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_IGNORE_OUTGOING,
    libc::c_int
);
