//! UDP through a tunnel: as many packets a second as arrive with less than one in a hundred lost.

use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{RcvBufForce, SndBufForce};
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg, setsockopt};

use super::contestant::Tunnel;

/// What may be lost of a burst that counts.
const LOSS: f64 = 0.01;

/// The first guess, in packets a second.
const START: f64 = 100_000.0;

/// The search ends when the next step would be smaller than this.
const CLOSE_ENOUGH: f64 = 1.06;

/// Packets in one system call.
const BATCH: usize = 64;

/// How long both sides rest between two calls, so that nobody is woken for a single packet.
const REST: Duration = Duration::from_micros(100);

/// When nothing has come for so long, the rest is lost.
const SILENCE: Duration = Duration::from_millis(30);

/// Room for what comes while the receiver rests.
const QUEUE_BYTES: usize = 32 << 20;

/// IPv4's and UDP's headers, which are part of a packet's length.
const HEADERS: usize = 28;

/// A burst, and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    pub sent: u64,
    pub received: u64,
    /// From the first packet sent to the last that arrived.
    pub elapsed: Duration,
    /// CPU time of both ends.
    pub cpu: Duration,
}

impl Burst {
    pub fn packets_per_second(&self) -> f64 {
        self.received as f64 / self.elapsed.as_secs_f64()
    }

    fn counts(&self) -> bool {
        self.received as f64 >= self.sent as f64 * (1.0 - LOSS)
    }
}

/// Searches for the highest rate at which packets of `length` bytes (of IP) arrive; `None` if they do at none.
/// `span` is the length of a burst: long, beside what queues on the way can hold.
pub fn search(tunnel: &Tunnel, length: usize, span: Duration) -> Result<Option<Burst>> {
    let course = Course::open(tunnel, length - HEADERS, span)?;
    let mut best: Option<Burst> = None;
    let (mut low, mut high): (f64, Option<f64>) = (START / 16.0, None);
    let mut rate = START;
    while high.is_none_or(|high| high / low > CLOSE_ENOUGH) {
        let mut burst = course.run(rate)?;
        if !burst.counts() {
            // Once may have been a moment in which somebody else had the processor.
            burst = course.run(rate)?;
        }
        // A generator at its limit would not get faster by being asked.
        let could_not = (burst.sent as f64) < 0.9 * rate * span.as_secs_f64();
        if burst.counts()
            && best.is_none_or(|best| burst.packets_per_second() > best.packets_per_second())
        {
            best = Some(burst);
        }
        if burst.counts() && !could_not {
            low = rate;
        } else {
            high = Some(rate);
        }
        rate = high.map_or(1.6 * low, |high| (low * high).sqrt());
    }
    Ok(best)
}

/// A socket at each side.
struct Course<'a> {
    tunnel: &'a Tunnel,
    sender: UdpSocket,
    receiver: UdpSocket,
    payload: usize,
    span: Duration,
}

impl<'a> Course<'a> {
    fn open(tunnel: &'a Tunnel, payload: usize, span: Duration) -> Result<Course<'a>> {
        let [from, to] = &tunnel.ends;
        let receiver = to.network.run(|| UdpSocket::bind((to.address, 0)))?;
        let sender = from.network.run(|| UdpSocket::bind((from.address, 0)))?;
        sender.connect(receiver.local_addr()?)?;
        receiver.set_nonblocking(true)?;
        setsockopt(&receiver, RcvBufForce, &QUEUE_BYTES)?;
        setsockopt(&sender, SndBufForce, &QUEUE_BYTES)?;
        Ok(Course {
            tunnel,
            sender,
            receiver,
            payload,
            span,
        })
    }

    fn run(&self, rate: f64) -> Result<Burst> {
        let cpu = || -> Result<Duration> {
            Ok(self.tunnel.ends[0].cpu_time()? + self.tunnel.ends[1].cpu_time()?)
        };
        let before = cpu()?;
        let started = Instant::now();
        let is_over = AtomicBool::new(false);
        let arrived = AtomicU64::new(0);
        let (sent, last) = thread::scope(|scope| {
            let reader = scope.spawn(|| self.read(&is_over, &arrived));
            let sent = self.write(rate, started);
            is_over.store(true, Ordering::Relaxed);
            let last = reader
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (sent, last)
        });
        Ok(Burst {
            sent,
            received: arrived.into_inner(),
            elapsed: last
                .unwrap_or(started)
                .max(started + Duration::from_nanos(1))
                - started,
            cpu: cpu()? - before,
        })
    }

    /// Sends at the rate for the length of a burst; gives how many packets the kernel took.
    fn write(&self, rate: f64, started: Instant) -> u64 {
        let payload = vec![0x5a; self.payload];
        let slices = [[IoSlice::new(&payload)]; BATCH];
        let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
        let (mut due, mut sent) = (0, 0);
        while started.elapsed() < self.span {
            let now = (rate * started.elapsed().as_secs_f64()) as u64;
            // What the kernel would not take is not made up for later: that would be a burst of another kind.
            while due < now {
                let count = BATCH.min((now - due) as usize);
                let batch = &slices[..count];
                let result = sendmmsg(
                    self.sender.as_raw_fd(),
                    &mut headers,
                    batch,
                    [None; BATCH],
                    [],
                    MsgFlags::MSG_DONTWAIT,
                );
                sent += result.map_or(0, |results| results.count() as u64);
                due += count as u64;
            }
            thread::sleep(REST);
        }
        sent
    }

    /// Counts what arrives until the burst is over and it is silent; gives when the last packet came.
    fn read(&self, is_over: &AtomicBool, arrived: &AtomicU64) -> Option<Instant> {
        // What a packet holds nobody wants to know.
        let mut room = [[0; 1]; BATCH];
        let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
        let mut last = None;
        let mut silent_since = Instant::now();
        loop {
            let mut slices = room.each_mut().map(|byte| [IoSliceMut::new(byte)]);
            let result = recvmmsg(
                self.receiver.as_raw_fd(),
                &mut headers,
                slices.iter_mut(),
                MsgFlags::MSG_DONTWAIT,
                None,
            );
            match result.map(Iterator::count) {
                Ok(count) if count > 0 => {
                    arrived.fetch_add(count as u64, Ordering::Relaxed);
                    silent_since = Instant::now();
                    last = Some(silent_since);
                }
                Ok(_) | Err(Errno::EAGAIN) => {
                    if is_over.load(Ordering::Relaxed) && silent_since.elapsed() > SILENCE {
                        return last;
                    }
                    thread::sleep(REST);
                }
                Err(_) => return last,
            }
        }
    }
}
