//! What is sent through a tunnel, and how it is looked at when it comes out: every byte.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use sluss_platform::clock::boottime;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::cable::{Cable, PATIENCE, Way, udp_pair};

/// Bytes that are told apart by where they are.
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    const PERIOD: usize = 65_521;

    pub(crate) fn new() -> Pattern {
        let mut state = 1u64;
        let byte = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u8
        };
        Pattern((0..Pattern::PERIOD + 65_536).map(byte).collect())
    }

    /// The content of the `which`th message, `length` bytes long.
    pub(crate) fn message(&self, which: u64, length: usize) -> &[u8] {
        let at = (which as usize).wrapping_mul(7_919) % Pattern::PERIOD;
        &self.0[at..at + length]
    }
}

/// Lengths of 0 to `limit` bytes: all around what is special, and a spread of the rest.
pub(crate) fn lengths(mtu: u16, limit: usize) -> Vec<usize> {
    let mtu = usize::from(mtu);
    let special = [
        0,
        16,
        mtu / 2,
        mtu.saturating_sub(80),
        mtu - 52,
        mtu - 40,
        mtu - 28,
        mtu,
        2 * mtu,
        16_384,
        32_768,
        limit,
    ];
    let mut lengths: Vec<usize> = special
        .into_iter()
        .flat_map(|length| length.saturating_sub(2)..=length + 2)
        .chain((0..limit).step_by(limit / 40))
        .filter(|&length| length <= limit)
        .collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// Sends messages of these lengths over one TCP connection, and looks at what arrives.
pub(crate) fn tcp(way: Way<'_>, lengths: &[usize]) -> Result<()> {
    let pattern = Pattern::new();
    let listener = way.to.run(|| TcpListener::bind((way.address, 0)))?;
    let address = listener.local_addr()?;
    let mut sender = way
        .from
        .run(|| TcpStream::connect_timeout(&address, PATIENCE))
        .context("connect through the tunnel")?;
    sender.set_nodelay(true)?;
    let (mut receiver, _) = listener.accept()?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| {
            for (which, &length) in (0..).zip(lengths) {
                sender.write_all(pattern.message(which, length))?;
            }
            sender.shutdown(std::net::Shutdown::Write)
        });
        let mut got = vec![0; 65_536];
        for (which, &length) in (0..).zip(lengths) {
            receiver
                .read_exact(&mut got[..length])
                .with_context(|| format!("message {which} of {length} bytes"))?;
            ensure!(
                got[..length] == *pattern.message(which, length),
                "message {which} of {length} bytes differs"
            );
        }
        ensure!(receiver.read(&mut got)? == 0, "more came than was sent");
        sent.join().expect("no panic")?;
        Ok(())
    })
}

/// Sends one datagram of each of these lengths, and looks at what arrives, one after the other.
pub(crate) fn udp(way: Way<'_>, lengths: &[usize]) -> Result<()> {
    let pattern = Pattern::new();
    let (sender, receiver) = udp_pair(way)?;
    let mut got = vec![0; 65_536];
    for (which, &length) in (0..).zip(lengths) {
        sender.send(pattern.message(which, length))?;
        let came = receiver
            .recv(&mut got)
            .with_context(|| format!("datagram {which} of {length} bytes"))?;
        ensure!(
            got[..came] == *pattern.message(which, length),
            "datagram {which} of {length} bytes differs"
        );
    }
    Ok(())
}

/// Asks for an echo of each of these lengths (RFC 792, RFC 4443), and looks at what comes back.
pub(crate) fn echo(way: Way<'_>, lengths: &[usize]) -> Result<()> {
    let pattern = Pattern::new();
    let (domain, protocol, request) = match way.address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
    };
    let socket = way
        .from
        .run(|| Socket::new(domain, Type::DGRAM, Some(protocol)))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&SockAddr::from(SocketAddr::new(way.address, 0)))?;
    for (which, &length) in (0..).zip(lengths) {
        // Type, code, checksum and identifier, which are the kernel's to fill in, sequence number.
        let mut message = vec![request, 0, 0, 0, 0, 0, 0, which as u8];
        message.extend(pattern.message(which, length));
        socket.send(&message)?;
        let mut got = vec![0; message.len() + 1];
        let came = (&socket)
            .read(&mut got)
            .with_context(|| format!("echo {which} of {length} bytes"))?;
        ensure!(
            got[6..came] == message[6..],
            "echo {which} of {length} bytes differs"
        );
    }
    Ok(())
}

/// Sends `count` datagrams in bursts, never more than the receiver has acknowledged by a margin.
pub(crate) fn packets(way: Way<'_>, count: u64) -> Result<()> {
    const WINDOW: u64 = 120;
    let pattern = Pattern::new();
    let (sender, receiver) = udp_pair(way)?;
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| -> Result<()> {
            let (mut next, mut acknowledged) = (0u64, 0u64);
            let mut burst = Vec::new();
            let mut answer = [0; 8];
            while next < count {
                // The kernel cuts a burst into datagrams of this length, before or behind the TUN device.
                let length = 8 + (next as usize).wrapping_mul(2_654_435_761) % 1_350;
                let many = (1 + next % 40).min(count - next);
                burst.clear();
                for which in next..next + many {
                    burst.extend(which.to_be_bytes());
                    burst.extend(pattern.message(which, length - 8));
                }
                setsockopt(&sender, sockopt::UdpGsoSegment, &i32::try_from(length)?)?;
                sender.send(&burst)?;
                next += many;
                while next - acknowledged > WINDOW {
                    sender
                        .recv(&mut answer)
                        .context("no acknowledgement: packets were lost")?;
                    acknowledged = u64::from_be_bytes(answer);
                }
            }
            // Nothing may come to a socket that is gone.
            while acknowledged < (count - 1) / 40 * 40 {
                sender.recv(&mut answer)?;
                acknowledged = u64::from_be_bytes(answer);
            }
            Ok(())
        });
        let mut got = [0; 2_048];
        for which in 0..count {
            let (length, from) = receiver
                .recv_from(&mut got)
                .with_context(|| format!("packet {which} of {count}"))?;
            ensure!(
                length >= 8 && got[..8] == which.to_be_bytes(),
                "packet {which} did not come in its turn, but {length} bytes {:02x?}",
                &got[..length.min(16)]
            );
            ensure!(
                got[8..length] == *pattern.message(which, length - 8),
                "packet {which} differs"
            );
            if which % 40 == 0 {
                receiver.send_to(&which.to_be_bytes(), from)?;
            }
        }
        sent.join().expect("no panic")
    })
}

/// Question and answer through the tunnel, one at a time.
pub(crate) struct Echo {
    pub(crate) here: UdpSocket,
    there: UdpSocket,
    pub(crate) count: u64,
}

impl Echo {
    pub(crate) fn new(cable: &Cable) -> Result<Echo> {
        let (here, there) = udp_pair(cable.ways()[0])?;
        Ok(Echo {
            here,
            there,
            count: 0,
        })
    }

    /// One round trip, and how long it took.
    pub(crate) fn round(&mut self) -> Result<Duration> {
        self.count += 1;
        let (question, started) = (self.count.to_be_bytes(), boottime());
        let mut got = [0; 8];
        self.here.send(&question)?;
        let (length, from) = self
            .there
            .recv_from(&mut got)
            .context("the question was lost")?;
        ensure!(got[..length] == question, "another question");
        self.there.send_to(&got, from)?;
        let length = self.here.recv(&mut got).context("the answer was lost")?;
        ensure!(got[..length] == question, "another answer");
        Ok(boottime() - started)
    }
}
