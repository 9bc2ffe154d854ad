//! What the halves tell control: notices at edges, and per-peer cells that control reads when a timer is due.
//!
//! The timers of whitepaper 6.4 and 6.5 depend on every packet, but control must not hear of every packet. So the halves
//! keep two cells per peer, "since when do we owe a packet" and "since when do we await one", and control looks at them
//! when the earlier of their timeouts could have run out. It is woken for that once: when a cell is set while nobody
//! watches. As long as there is traffic it looks about every ten seconds; two looks after the last packet, never again.

use core::time::Duration;
use std::net::SocketAddr;

use crate::sync::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use crate::{PeerId, Time};

/// Something that [`crate::Device`] must know, told once when it becomes so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A packet waits for a session. Told again after REKEY-TIMEOUT while packets keep coming.
    SessionWanted(PeerId),
    /// The session in use has reached REKEY-AFTER-TIME or REKEY-AFTER-MESSAGES (whitepaper 6.2).
    RekeyDue(PeerId),
    /// The first packet came on a session that we answered for: from now on it may send (whitepaper 6.3).
    Confirmed { peer: PeerId, receiver: u32 },
    /// An authenticated packet, newer than all before it on its session, came from another address (whitepaper 2.1).
    Roamed {
        peer: PeerId,
        receiver: u32,
        from: SocketAddr,
    },
    /// A peer that was quiet has traffic again: its keepalive timers need watching.
    Stirred(PeerId),
}

/// One peer's cells, shared by control and the two halves.
#[derive(Default)]
pub(crate) struct Activity {
    /// Data came at this time, and nothing has been sent since.
    owes: Cell,
    /// Data was sent at this time, and nothing has come since.
    awaits: Cell,
    watched: AtomicBool,
    inbound: Traffic,
    outbound: Traffic,
}

/// Written by one half only; on its own cache line, so that the halves do not slow each other down.
#[derive(Default)]
#[repr(align(64))]
struct Traffic {
    bytes: AtomicU64,
    last: Cell,
}

impl Activity {
    /// Something was sent.
    pub(crate) fn sent(&self, bytes: usize, now: Time) {
        self.outbound.count(bytes, now);
        self.owes.clear();
    }

    /// Data is about to be sent. Says whether somebody must begin to watch.
    #[must_use]
    pub(crate) fn awaits_reply(&self, now: Time) -> bool {
        self.awaits.begin(now) && self.watch()
    }

    /// Something authentic came.
    pub(crate) fn received(&self, bytes: usize, now: Time) {
        self.inbound.count(bytes, now);
        self.awaits.clear();
    }

    /// It was data. Says whether somebody must begin to watch.
    #[must_use]
    pub(crate) fn owes_reply(&self, now: Time) -> bool {
        self.owes.begin(now) && self.watch()
    }

    pub(crate) fn owes_since(&self) -> Option<Time> {
        self.owes.time()
    }

    pub(crate) fn awaits_since(&self) -> Option<Time> {
        self.awaits.time()
    }

    /// Control has acted on what was owed, or it no longer matters.
    pub(crate) fn settle_owes(&self) {
        self.owes.clear();
    }

    /// Control has acted on what was awaited, or it no longer matters.
    pub(crate) fn settle_awaits(&self) {
        self.awaits.clear();
    }

    /// Stops watching, unless a half set a cell meanwhile and will not tell because it thought that it was watched.
    pub(crate) fn unwatch(&self) -> bool {
        // A swap, since that sees the cell of a half that thought so.
        self.watched.swap(false, SeqCst);
        let was_in_time = self.owes.time().is_none() && self.awaits.time().is_none();
        was_in_time || !self.watch()
    }

    /// When anything authentic last went either way.
    pub(crate) fn last_traversal(&self) -> Option<Time> {
        self.inbound.last.time().max(self.outbound.last.time())
    }

    /// Bytes received and sent.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (
            self.inbound.bytes.load(Relaxed),
            self.outbound.bytes.load(Relaxed),
        )
    }

    /// Whether it was not watched before.
    fn watch(&self) -> bool {
        !self.watched.swap(true, SeqCst)
    }
}

impl Traffic {
    /// Not a read-modify-write: only one half ever writes here.
    fn count(&self, bytes: usize, now: Time) {
        self.bytes
            .store(self.bytes.load(Relaxed) + bytes as u64, Relaxed);
        self.last.set(now);
    }
}

/// A time, or none, as nanoseconds since boot.
#[derive(Default)]
struct Cell(AtomicU64);

impl Cell {
    fn time(&self) -> Option<Time> {
        match self.0.load(SeqCst) {
            0 => None,
            nanos => Some(Time::since_boot(Duration::from_nanos(nanos))),
        }
    }

    /// Loads first: within a batch nothing changes, and a load does not take the cache line from the other half.
    fn clear(&self) {
        if self.0.load(Relaxed) != 0 {
            self.0.store(0, SeqCst);
        }
    }

    fn set(&self, now: Time) {
        self.0.store(nanos(now), Relaxed);
    }

    /// Sets an empty cell; says whether it was empty.
    fn begin(&self, now: Time) -> bool {
        self.0.load(Relaxed) == 0
            && self
                .0
                .compare_exchange(0, nanos(now), SeqCst, Relaxed)
                .is_ok()
    }
}

/// Zero means "none"; nothing happens in the first nanosecond after boot.
fn nanos(time: Time) -> u64 {
    u64::try_from(time.elapsed_since_boot().as_nanos())
        .unwrap_or(u64::MAX)
        .max(1)
}
