//! How large a packet may be so that it reaches the gateway in one piece: asked inside the tunnel, whenever it may have
//! changed.
//!
//! This is datagram packetization layer path MTU discovery (RFC 8899), with a gateway that knows nothing of it. A probe is
//! small, and looks large outside: WireGuard's receivers drop what lies behind the packet's end, so padding may be of any
//! size. It leaves as nobody may cut it, and what answers it ([`echo`]) is as small as the probe. Only the way out is asked.
//!
//! ```text
//! ceiling ─ answered ► Confirmed
//!    └ silence ─ small ─ silence ► Unanswered
//!                  └ answered ─ told ─ answered ─ a little more ► Reduced
//!                                └ silence ─ floor ─ answered ─ halves of what is left ► Reduced
//!                                              └ silence ─ floor in fragments ─ answered ► Fragmented
//!                                                                └ silence ► TooNarrow
//! ```
//!
//! "Told" is what the host has learnt from routers: a hint that saves the search. Where somebody answers, nothing is
//! believed without an answer, so a forged hint does no more harm than to be tried.

mod echo;

use std::net::IpAddr;
use std::time::Duration;

use blake2::{Blake2s256, Digest};
use sluss_wg::{PeerId, Time};

use self::echo::Echo;

/// PROBE_TIMER: how long an answer is waited for (RFC 8899, 5.1.1: not less than a second where the round trip is unknown).
const PROBE_TIMER: Duration = Duration::from_secs(1);

/// MAX_PROBES: a size that is not answered so many times does not pass (RFC 8899, 5.1.2).
const MAX_PROBES: u8 = 3;

/// The search ends when so few bytes are in question.
const CLOSE_ENOUGH: u16 = 8;

/// What to look for, and whom to ask.
pub struct Discovery {
    pub peer: PeerId,
    /// Our address in the tunnel.
    pub from: IpAddr,
    /// An address of the same family that the peer owns, or has a route to.
    pub to: IpAddr,
    /// MIN_PLPMTU: never go below. With IPv6 in the tunnel 1,280 bytes, which every IPv6 link must take.
    pub floor: u16,
    /// MAX_PLPMTU: the tunnel's MTU, as long as the path allows it.
    pub ceiling: u16,
    /// 32 bytes of the system's randomness, so that nobody can guess a probe and answer it unseen.
    pub seed: [u8; 32],
}

/// What is known of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMtu {
    /// The MTU that the tunnel should have, in bytes of an inner packet.
    pub mtu: u16,
    pub verdict: Verdict,
    /// When the path was last found to be so.
    pub at: Time,
}

/// How [`PathMtu::mtu`] was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is known of this path yet.
    Untested,
    /// Packets as large as they may be at all arrive in one piece.
    Confirmed,
    /// Only smaller ones do; this size does.
    Reduced,
    /// It cannot be smaller, and arrives in fragments.
    Fragmented,
    /// It cannot be smaller, and does not arrive. Only small packets do.
    TooNarrow,
    /// The gateway answers no probe, be it ever so small: this is what the host believes.
    Unanswered,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    SessionEstablished,
    /// The laptop or the gateway is elsewhere: nothing that was known need be so.
    PathChanged,
    /// The first link does not take a datagram as large as this probe's.
    Refused(ProbeId),
    /// There was no session to send it with, or no network.
    Unsent(ProbeId),
    /// [`Prober::deadline`] has come.
    Tick,
}

/// Names a probe of one [`Prober`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProbeId(u64);

/// What the outbound thread is to send.
pub(crate) struct Probe {
    pub(crate) id: ProbeId,
    pub(crate) peer: PeerId,
    pub(crate) packet: Vec<u8>,
    /// Bytes of the packet that it is to look like.
    pub(crate) size: u16,
    /// Whether nobody may cut it.
    pub(crate) whole: bool,
}

/// Path-MTU discovery with one peer.
pub(crate) struct Prober {
    discovery: Discovery,
    known: PathMtu,
    search: Option<Search>,
    last_probe: u64,
}

/// A search under way.
struct Search {
    aim: Aim,
    tries: u8,
    /// When the last probe counts as lost.
    until: Time,
    /// The largest size that was answered.
    passed: Option<u16>,
    /// The smallest size that was given up.
    failed: Option<u16>,
    /// A late answer is an answer.
    sent: Vec<(Aim, Echo)>,
}

/// What a probe is to show.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// The largest size passes.
    Ceiling,
    /// The size in use, which is not the largest, still passes.
    InUse(u16),
    /// The largest size passes again, while a smaller one is known to.
    Raise,
    /// There is somebody who answers.
    Small,
    /// What the host was told passes.
    Told(u16),
    Floor,
    Between(u16),
    /// The smallest size passes at least in fragments.
    Fragments,
}

impl Prober {
    pub(crate) fn new(discovery: Discovery, now: Time) -> Self {
        Self {
            known: PathMtu {
                mtu: discovery.ceiling,
                verdict: Verdict::Untested,
                at: now,
            },
            discovery,
            search: None,
            last_probe: 0,
        }
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.discovery.peer
    }

    pub(crate) fn known(&self) -> PathMtu {
        self.known
    }

    /// Whether [`Prober::accept`] wants to see what comes.
    pub(crate) fn is_waiting(&self) -> bool {
        self.search.is_some()
    }

    /// When [`Input::Tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.search.as_ref().map(|search| search.until)
    }

    /// One turn. `told` is the largest packet that the host believes to pass.
    pub(crate) fn handle(
        &mut self,
        input: Input,
        now: Time,
        told: impl FnOnce() -> Option<u16>,
    ) -> Option<Probe> {
        match input {
            Input::SessionEstablished => match (&self.search, self.known.verdict) {
                // What was asked may have been asked in vain, before the session was there.
                (Some(search), _) => self.aim(search.aim, now),
                (None, Verdict::Reduced) => self.begin(Aim::InUse(self.known.mtu), now),
                (None, Verdict::Unanswered) => self.begin(Aim::Small, now),
                (
                    None,
                    Verdict::Untested
                    | Verdict::Confirmed
                    | Verdict::Fragmented
                    | Verdict::TooNarrow,
                ) => self.begin(Aim::Ceiling, now),
            },
            Input::PathChanged => {
                self.known.verdict = Verdict::Untested;
                self.known.at = now;
                self.begin(Aim::Ceiling, now)
            }
            Input::Refused(id) if self.is_last(id) => self.give_up(now, told),
            Input::Unsent(id) if self.is_last(id) => {
                self.search = None;
                None
            }
            // It has been overtaken.
            Input::Refused(_) | Input::Unsent(_) => None,
            Input::Tick => {
                let search = self.search.as_ref().filter(|search| search.until <= now)?;
                if search.tries < MAX_PROBES {
                    self.send(now)
                } else {
                    self.give_up(now, told)
                }
            }
        }
    }

    /// Whether the packet, which came from the peer, is an answer and nobody else's business; and what to send next.
    pub(crate) fn accept(
        &mut self,
        packet: &[u8],
        now: Time,
        told: impl FnOnce() -> Option<u16>,
    ) -> (bool, Option<Probe>) {
        let Some(search) = &mut self.search else {
            return (false, None);
        };
        let mut sent = search.sent.iter();
        let Some(&(shown, _)) = sent.find(|(_, echo)| echo.is_answered_by(packet)) else {
            return (false, None);
        };
        search.passed = search.passed.max(self.discovery.size(shown));
        // Its earlier probes, or their answers, were lost.
        if search.failed <= search.passed {
            search.failed = None;
        }
        let is_shown = match search.aim {
            Aim::Small => true,
            Aim::Fragments => shown == Aim::Fragments || search.passed.is_some(),
            aim => self.discovery.size(aim) <= search.passed,
        };
        let next = is_shown.then(|| self.advance(now, told)).flatten();
        (true, next)
    }

    fn begin(&mut self, aim: Aim, now: Time) -> Option<Probe> {
        self.search = Some(Search {
            aim,
            tries: 0,
            until: now,
            passed: None,
            failed: None,
            sent: Vec::new(),
        });
        self.send(now)
    }

    fn aim(&mut self, aim: Aim, now: Time) -> Option<Probe> {
        let search = self.search.as_mut()?;
        search.aim = aim;
        search.tries = 0;
        self.send(now)
    }

    fn send(&mut self, now: Time) -> Option<Probe> {
        self.last_probe += 1;
        let random = self.random();
        let search = self.search.as_mut()?;
        let echo = Echo::new(self.discovery.from, self.discovery.to, random);
        search.tries += 1;
        search.until = now + PROBE_TIMER;
        search.sent.push((search.aim, echo));
        let packet = echo.packet();
        Some(Probe {
            id: ProbeId(self.last_probe),
            peer: self.discovery.peer,
            size: self.discovery.size(search.aim).unwrap_or(match search.aim {
                Aim::Fragments => self.discovery.floor,
                _ => packet.len() as u16,
            }),
            whole: search.aim != Aim::Fragments,
            packet,
        })
    }

    /// The aim is reached: what next?
    fn advance(&mut self, now: Time, told: impl FnOnce() -> Option<u16>) -> Option<Probe> {
        let search = self.search.as_ref()?;
        let ceiling = self.discovery.ceiling;
        if search.passed >= Some(ceiling) {
            return self.conclude(Verdict::Confirmed, ceiling, now);
        }
        match search.aim {
            Aim::Ceiling | Aim::Raise => self.conclude(Verdict::Confirmed, ceiling, now),
            Aim::InUse(_) => self.aim(Aim::Raise, now),
            Aim::Small if search.failed.is_none() => self.aim(Aim::Ceiling, now),
            Aim::Small => self.descend(now, told),
            Aim::Told(size) => {
                self.learn(Verdict::Reduced, size, now);
                // What was told may be old. If so, a little more passes.
                self.narrow_from(size + CLOSE_ENOUGH, now)
            }
            Aim::Floor => {
                // Works from now on, and better in a moment.
                self.learn(Verdict::Reduced, self.discovery.floor, now);
                self.narrow(now)
            }
            Aim::Between(_) => self.narrow(now),
            Aim::Fragments if search.passed.is_some() => self.narrow(now),
            Aim::Fragments => self.conclude(Verdict::Fragmented, self.discovery.floor, now),
        }
    }

    /// The aim is missed: what next?
    fn give_up(&mut self, now: Time, told: impl FnOnce() -> Option<u16>) -> Option<Probe> {
        let discovery = &self.discovery;
        let search = self.search.as_mut()?;
        if let Some(size) = discovery.size(search.aim) {
            search.failed = Some(search.failed.map_or(size, |failed| failed.min(size)));
        }
        match search.aim {
            Aim::Ceiling | Aim::InUse(_) => self.aim(Aim::Small, now),
            Aim::Raise => self.conclude(Verdict::Reduced, self.known.mtu, now),
            Aim::Small => {
                let mtu = match self.known.verdict {
                    Verdict::Untested | Verdict::Unanswered => told()
                        .unwrap_or(discovery.ceiling)
                        .clamp(discovery.floor, discovery.ceiling),
                    // What passed here before is the better guess.
                    Verdict::Confirmed
                    | Verdict::Reduced
                    | Verdict::Fragmented
                    | Verdict::TooNarrow => self.known.mtu,
                };
                self.conclude(Verdict::Unanswered, mtu, now)
            }
            Aim::Told(_) => self.aim(Aim::Floor, now),
            Aim::Floor => self.aim(Aim::Fragments, now),
            Aim::Between(_) => self.narrow(now),
            Aim::Fragments => self.conclude(Verdict::TooNarrow, discovery.floor, now),
        }
    }

    /// From a size that does not pass to one that may.
    fn descend(&mut self, now: Time, told: impl FnOnce() -> Option<u16>) -> Option<Probe> {
        let (passed, failed) = self.bounds()?;
        if self.search.as_ref()?.passed.is_some() {
            return self.narrow(now);
        }
        match told() {
            Some(size) if passed < size && size < failed => self.aim(Aim::Told(size), now),
            _ => self.aim(Aim::Floor, now),
        }
    }

    /// Halves what is in question, or ends the search.
    fn narrow(&mut self, now: Time) -> Option<Probe> {
        let (passed, failed) = self.bounds()?;
        self.narrow_from(passed + failed.saturating_sub(passed) / 2, now)
    }

    fn narrow_from(&mut self, size: u16, now: Time) -> Option<Probe> {
        let (passed, failed) = self.bounds()?;
        if failed.saturating_sub(passed) <= CLOSE_ENOUGH {
            return self.conclude(Verdict::Reduced, passed, now);
        }
        self.aim(Aim::Between(size), now)
    }

    /// The largest size that has passed, or may; the smallest that has not, or may not.
    fn bounds(&self) -> Option<(u16, u16)> {
        let search = self.search.as_ref()?;
        Some((
            search.passed.unwrap_or(self.discovery.floor),
            search.failed.unwrap_or(self.discovery.ceiling),
        ))
    }

    fn conclude(&mut self, verdict: Verdict, mtu: u16, now: Time) -> Option<Probe> {
        self.learn(verdict, mtu, now);
        self.search = None;
        None
    }

    fn learn(&mut self, verdict: Verdict, mtu: u16, now: Time) {
        self.known = PathMtu {
            mtu,
            verdict,
            at: now,
        };
    }

    fn is_last(&self, probe: ProbeId) -> bool {
        probe == ProbeId(self.last_probe)
    }

    /// New for each probe.
    fn random(&self) -> [u8; 12] {
        let hash = Blake2s256::new()
            .chain_update(self.discovery.seed)
            .chain_update(self.last_probe.to_le_bytes())
            .finalize();
        std::array::from_fn(|at| hash[at])
    }
}

impl Discovery {
    /// The size that an aim asks about, if it is about one that arrives in one piece.
    fn size(&self, aim: Aim) -> Option<u16> {
        match aim {
            Aim::Ceiling | Aim::Raise => Some(self.ceiling),
            Aim::InUse(size) | Aim::Told(size) | Aim::Between(size) => Some(size),
            Aim::Floor => Some(self.floor),
            Aim::Small | Aim::Fragments => None,
        }
    }
}

#[cfg(test)]
mod tests;
