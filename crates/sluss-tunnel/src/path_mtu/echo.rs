//! What is sent to learn whether a size passes, and how its answer is known.
//!
//! No gateway answers WireGuard's own messages on demand, but each that forwards packets is a router, and answers one that
//! has no hop left: an ICMP echo request with a TTL of 1 is met by an echo reply if its address is the gateway's own, and by
//! "time exceeded" if not (RFC 1812, 5.3.1; RFC 4443, 3.3). So it does not matter which internal address is asked.

use std::net::IpAddr;

use crate::checksum::Sum;
use crate::packet::{
    IPV4_CHECKSUM, IPV4_FRAGMENT, IPV4_HEADER, IPV4_LENGTH, IPV4_PROTOCOL, IPV4_SOURCE,
    IPV6_HEADER, IPV6_NEXT_HEADER, IPV6_SOURCE, be16, put,
};

const ICMPV4: u8 = 1;
const ICMPV6: u8 = 58;

/// Type, code, checksum, identifier, sequence number (RFC 792, RFC 4443).
const ICMP_HEADER: usize = 8;

/// An echo request: the header, and as many random bytes once more.
const ECHO: usize = 2 * ICMP_HEADER;

const DONT_FRAGMENT: u8 = 0x40;

/// An echo request that has been sent.
///
/// Its identifier, sequence number and payload are random, and so its checksum is, too: who has not seen it cannot answer it.
#[derive(Clone, Copy)]
pub(super) struct Echo {
    from: IpAddr,
    to: IpAddr,
    icmp: [u8; ECHO],
}

impl Echo {
    pub(super) fn new(from: IpAddr, to: IpAddr, random: [u8; 12]) -> Self {
        let mut icmp = [0; ECHO];
        icmp[0] = if from.is_ipv4() { 8 } else { 128 };
        icmp[4..].copy_from_slice(&random);
        let mut echo = Self { from, to, icmp };
        let sum = match (from, to) {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let addresses = [from.octets(), to.octets()].concat();
                Sum::default().add_pseudo_header(&addresses, ICMPV6, ECHO)
            }
            (IpAddr::V4(_), _) | (_, IpAddr::V4(_)) => Sum::default(),
        };
        put(&mut echo.icmp, 2, sum.add(&icmp).checksum());
        echo
    }

    /// The whole IP packet.
    pub(super) fn packet(&self) -> Vec<u8> {
        let mut packet = match (self.from, self.to) {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut header = [0; IPV6_HEADER];
                header[0] = 0x60;
                header[5] = ECHO as u8;
                header[IPV6_NEXT_HEADER] = ICMPV6;
                header[7] = 1;
                put(&mut header, IPV6_SOURCE, from.octets());
                put(&mut header, IPV6_SOURCE + 16, to.octets());
                header.to_vec()
            }
            (from, to) => {
                let mut header = [0; IPV4_HEADER];
                header[0] = 0x45;
                header[IPV4_LENGTH + 1] = (IPV4_HEADER + ECHO) as u8;
                header[IPV4_FRAGMENT] = DONT_FRAGMENT;
                header[8] = 1;
                header[IPV4_PROTOCOL] = ICMPV4;
                put(&mut header, IPV4_SOURCE, v4(from));
                put(&mut header, IPV4_SOURCE + 4, v4(to));
                let sum = Sum::default().add(&header);
                put(&mut header, IPV4_CHECKSUM, sum.checksum());
                header.to_vec()
            }
        };
        packet.extend(self.icmp);
        packet
    }

    /// Whether the packet answers this request: as its reply, or as an error that quotes it.
    ///
    /// It came authenticated from the gateway, so its checksums and addresses have nothing to add.
    pub(super) fn is_answered_by(&self, packet: &[u8]) -> bool {
        let Some((protocol, icmp)) = icmp(packet) else {
            return false;
        };
        let (reply, errors) = match protocol {
            ICMPV4 => (0, [3, 11]),
            _ => (129, [1, 3]),
        };
        if icmp[0] == reply {
            return icmp.len() >= ECHO && icmp[4..ECHO] == self.icmp[4..];
        }
        // The quote is the request's own header and what follows it, of which routers must give eight bytes at least.
        errors.contains(&icmp[0])
            && self::icmp(&icmp[ICMP_HEADER..]).is_some_and(|(quoted, request)| {
                quoted == protocol && request[..ICMP_HEADER] == self.icmp[..ICMP_HEADER]
            })
    }
}

/// The protocol number and the ICMP message in a packet, at least its header.
fn icmp(packet: &[u8]) -> Option<(u8, &[u8])> {
    let (protocol, header) = match packet.first()? >> 4 {
        4 if packet.len() >= IPV4_HEADER => {
            // Of a packet in fragments only the first has the header.
            let offset = be16(packet, IPV4_FRAGMENT) & 0x1fff;
            let header = usize::from(packet[0] & 0x0f) * 4;
            (offset == 0).then_some((packet[IPV4_PROTOCOL], header))?
        }
        6 if packet.len() >= IPV6_HEADER => (packet[IPV6_NEXT_HEADER], IPV6_HEADER),
        _ => return None,
    };
    let message = packet.get(header..)?;
    let is_whole = message.len() >= ICMP_HEADER;
    (is_whole && (protocol == ICMPV4 || protocol == ICMPV6)).then_some((protocol, message))
}

fn v4(address: IpAddr) -> [u8; 4] {
    match address {
        IpAddr::V4(v4) => v4.octets(),
        // Never: both addresses of a request are of one family.
        IpAddr::V6(_) => [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(version: u8) -> Echo {
        let (from, to) = match version {
            4 => ("10.9.0.1", "10.1.2.3"),
            _ => ("fd09::1", "fd00::1:2:3"),
        };
        Echo::new(address(from), address(to), *b"twelve bytes")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// A packet of the other end around an ICMP message; its checksums are nobody's concern.
    fn around(version: u8, icmp: &[u8]) -> Vec<u8> {
        let mut packet = echo(version).packet();
        let header = packet.len() - ECHO;
        packet.truncate(header);
        packet.extend(icmp);
        packet
    }

    fn reply(version: u8, echo: &Echo) -> Vec<u8> {
        let mut icmp = echo.icmp;
        icmp[0] = if version == 4 { 0 } else { 129 };
        around(version, &icmp)
    }

    fn error(version: u8, kind: u8, quoted: &[u8]) -> Vec<u8> {
        around(version, &[&[kind, 0, 0, 0, 0, 0, 0, 0], quoted].concat())
    }

    /// What wireshark says of the same packets is the same.
    #[test]
    fn a_request_is_a_valid_packet_of_one_hop() {
        let v4 = echo(4).packet();
        assert_eq!(v4.len(), 36);
        assert!(Sum::default().add(&v4[..20]).is_valid());
        assert!(Sum::default().add(&v4[20..]).is_valid());
        assert_eq!(v4[8], 1);
        let v6 = echo(6).packet();
        assert_eq!(v6.len(), 56);
        let sum = Sum::default().add_pseudo_header(&v6[8..40], 58, 16);
        assert!(sum.add(&v6[40..]).is_valid());
        assert_eq!(v6[7], 1);
    }

    #[test]
    fn replies_and_errors_are_answers() {
        for (version, errors) in [(4, [3, 11]), (6, [1, 3])] {
            let echo = echo(version);
            assert!(echo.is_answered_by(&reply(version, &echo)));
            for kind in errors {
                let whole = echo.packet();
                assert!(echo.is_answered_by(&error(version, kind, &whole)));
                let least = &whole[..whole.len() - ICMP_HEADER];
                assert!(echo.is_answered_by(&error(version, kind, least)));
            }
        }
    }

    #[test]
    fn nothing_else_is() {
        for (version, time_exceeded, other) in [(4, 11, 5), (6, 3, 2)] {
            let echo = echo(version);
            assert!(!echo.is_answered_by(&echo.packet()), "the request itself");
            assert!(!echo.is_answered_by(&error(version, other, &echo.packet())));
            for at in 0..12 {
                let mut random = *b"twelve bytes";
                random[at] ^= 1;
                let stranger = Echo::new(echo.from, echo.to, random);
                assert!(!echo.is_answered_by(&reply(version, &stranger)));
                assert!(!echo.is_answered_by(&error(version, time_exceeded, &stranger.packet())));
            }
            for packet in [
                reply(version, &echo),
                error(version, time_exceeded, &echo.packet()),
            ] {
                for length in 0..packet.len() - ECHO / 2 {
                    assert!(!echo.is_answered_by(&packet[..length]), "{length} bytes");
                }
            }
        }
    }
}
