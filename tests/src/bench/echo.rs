//! Round trips through a tunnel: ICMP echo, which the other end's kernel answers.

use std::io::Read;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use super::contestant::Tunnel;

/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(1);

/// An answer that takes longer counts as one that took so long.
const PATIENCE: Duration = Duration::from_millis(500);

/// RFC 792: type, code, checksum, identifier, sequence; then as much as `ping` sends.
const LENGTH: usize = 64;
const REQUEST: u8 = 8;
const REPLY: u8 = 0;
const IP_HEADER: usize = 20;

/// Every round trip that was made in a while, the shortest first.
pub fn measure(tunnel: &Tunnel, span: Duration) -> Result<Vec<Duration>> {
    let [from, to] = &tunnel.ends;
    let mut socket = from.network.run(|| -> Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        socket.connect(&SocketAddr::from((to.address, 0)).into())?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    })?;
    let started = Instant::now();
    let mut trips = Vec::new();
    let mut sequence = 0;
    while started.elapsed() < span {
        sequence += 1;
        trips.push(trip(&mut socket, sequence)?);
        thread::sleep(PAUSE);
    }
    trips.sort_unstable();
    Ok(trips)
}

/// Waits until the other end answers.
pub fn until_answered(tunnel: &Tunnel) -> Result<()> {
    let trips = measure(tunnel, Duration::from_millis(1))?;
    if trips.iter().all(|trip| *trip < PATIENCE) {
        return Ok(());
    }
    // The first may be lost beside the handshake.
    let trips = measure(tunnel, Duration::from_secs(5))?;
    ensure!(
        trips.first().context("no round trip")? < &PATIENCE,
        "no echo"
    );
    Ok(())
}

/// The value that a share of the sorted values does not exceed.
pub fn percentile(sorted: &[Duration], share: f64) -> Option<Duration> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

fn trip(socket: &mut Socket, sequence: u16) -> Result<Duration> {
    let request = request(sequence);
    let sent = Instant::now();
    socket.send(&request)?;
    let mut packet = [0; IP_HEADER + LENGTH];
    while sent.elapsed() < PATIENCE {
        match socket.read(&mut packet) {
            Ok(length) if length == packet.len() => {
                let reply = &packet[IP_HEADER..];
                if reply[0] == REPLY && reply[4..] == request[4..] {
                    return Ok(sent.elapsed());
                }
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(PATIENCE)
}

fn request(sequence: u16) -> [u8; LENGTH] {
    let mut message = [0x5a; LENGTH];
    message[..4].copy_from_slice(&[REQUEST, 0, 0, 0]);
    message[6..8].copy_from_slice(&sequence.to_be_bytes());
    let (words, _) = message.as_chunks::<2>();
    let mut sum: u32 = words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    message[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let hundred: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&hundred, 0.5), Some(Duration::from_millis(50)));
        assert_eq!(percentile(&hundred, 0.99), Some(Duration::from_millis(99)));
        assert_eq!(
            percentile(&hundred[..1], 0.99),
            Some(Duration::from_millis(1))
        );
        assert_eq!(percentile(&[], 0.5), None);
    }
}
