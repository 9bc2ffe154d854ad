//! Sealing and opening alone: the other part of the floor, measured in the same run.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use nix::time::ClockId;

use super::contestant::MTU;

/// As many packets as leave in one send.
const PACKETS: usize = 45;
const TAG: usize = 16;

/// IPv4's and TCP's headers, with the time stamps that Linux sends.
const HEADERS: usize = 52;

const SPAN: Duration = Duration::from_millis(300);

/// CPU time for one packet of [`MTU`] bytes.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub seal: Duration,
    pub open: Duration,
}

impl Cost {
    /// CPU seconds of both ends for 10^9 bytes that a TCP application receives.
    pub fn per_gigabyte(self) -> f64 {
        (self.seal + self.open).as_secs_f64() * 1e9 / (MTU - HEADERS) as f64
    }
}

/// On two processors at once, as when both ends are at work.
pub fn measure() -> Result<Cost> {
    let costs = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(seal_and_open));
        both.map(|one| one.join().map_err(|_| anyhow!("sealing panicked"))?)
    });
    let [one, other] = costs;
    let (one, other) = (one?, other?);
    Ok(Cost {
        seal: (one.seal + other.seal) / 2,
        open: (one.open + other.open) / 2,
    })
}

fn seal_and_open() -> Result<Cost> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).context("a key")?;
    let key = LessSafeKey::new(key);
    let mut packets = vec![[0x5a; MTU + TAG]; PACKETS];
    let started = Instant::now();
    let (mut seal, mut open) = (Duration::ZERO, Duration::ZERO);
    let mut count = 0;
    let mut counter = 0;
    while started.elapsed() < SPAN {
        let first = counter;
        let before = cpu_time()?;
        for packet in &mut packets {
            let (text, tag) = packet.split_at_mut(MTU);
            let made = key.seal_in_place_separate_tag(nonce(counter), Aad::empty(), text);
            tag.copy_from_slice(made.context("sealed")?.as_ref());
            counter += 1;
        }
        let between = cpu_time()?;
        for (packet, counter) in packets.iter_mut().zip(first..) {
            key.open_in_place(nonce(counter), Aad::empty(), packet)
                .context("opened")?;
        }
        open += cpu_time()? - between;
        seal += between - before;
        count += PACKETS as u32;
    }
    Ok(Cost {
        seal: seal / count,
        open: open / count,
    })
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn cpu_time() -> Result<Duration> {
    Ok(ClockId::CLOCK_THREAD_CPUTIME_ID.now()?.into())
}
