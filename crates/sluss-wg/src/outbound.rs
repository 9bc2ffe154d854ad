//! The sending half: routes a packet to a peer, seals it in place, and keeps it while there is no session.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::activity::Activity;
use crate::allowed_ips::AllowedIps;
use crate::session::Sending;
use crate::{HEADER, Notice, PeerId, TAG, Time, Timing, packet};

/// Packets that wait for a session at most, per peer; then the oldest goes.
const STAGED: usize = 128;

/// Owned by the thread that reads TUN. Made by [`crate::Device::new`].
pub struct Outbound {
    timing: Timing,
    mtu: usize,
    routes: Arc<AllowedIps>,
    peers: BTreeMap<PeerId, Road>,
}

/// A letter from control, for [`Outbound::apply`]. Opaque: it carries keys.
pub struct OutboundUpdate(pub(crate) Letter);

pub(crate) enum Letter {
    Peer {
        peer: PeerId,
        activity: Arc<Activity>,
    },
    Removed(PeerId),
    Routes(Arc<AllowedIps>),
    Endpoint {
        peer: PeerId,
        to: SocketAddr,
    },
    /// From now on this session seals. `confirm`: the peer waits for a first packet on it, so send one in any case.
    Session {
        peer: PeerId,
        sending: Box<Sending>,
        confirm: bool,
    },
    Keepalive(PeerId),
    /// No session is coming. What waits is dropped, and the next packet asks again.
    DropStaged(PeerId),
    /// The session's key is wiped.
    Wipe(PeerId),
}

/// A datagram that lies ready in the front of the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    pub peer: PeerId,
    pub to: SocketAddr,
    /// Length of the datagram, which starts at offset 0 of the buffer.
    pub len: usize,
}

/// Why a packet was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSealed {
    #[error("not an IP packet")]
    NotIp,
    #[error("no peer owns the destination address")]
    NoRoute,
    #[error("kept until there is a session with the peer")]
    Staged(PeerId),
    #[error("the buffer has too little room behind the packet")]
    NoRoom,
}

impl Outbound {
    pub(crate) fn new(timing: Timing, mtu: u16) -> Self {
        Self {
            timing,
            mtu: mtu.into(),
            routes: Arc::default(),
            peers: BTreeMap::new(),
        }
    }

    /// The peer that owns the destination address.
    pub fn route(&self, destination: IpAddr) -> Option<PeerId> {
        self.routes.lookup(destination)
    }

    /// Length of the datagram that carries a packet of `len` bytes. Packets of the same length give datagrams of the same
    /// length, as UDP segmentation needs.
    pub fn datagram_len(&self, len: usize) -> usize {
        datagram_len(len, self.mtu)
    }

    /// The way to `peer`, if there is a session that may send. Decides everything that is the same for a whole batch:
    /// age of the session, rekey notice, timers. Whoever asks for a lane is about to send data.
    ///
    /// `None` if packets must wait: hand them to [`Outbound::stage`].
    pub fn lane(&mut self, peer: PeerId, now: Time, notices: &mut Vec<Notice>) -> Option<Lane<'_>> {
        let timing = &self.timing;
        let road = self.peers.get_mut(&peer)?;
        let (Some(to), true) = (road.to, road.is_open(now, timing)) else {
            road.ask(Notice::SessionWanted(peer), now, timing, notices);
            return None;
        };
        if road
            .sending
            .as_ref()
            .is_some_and(|sending| sending.is_due(now, timing))
        {
            road.ask(Notice::RekeyDue(peer), now, timing, notices);
        }
        if road.activity.awaits_reply(now) {
            notices.push(Notice::Stirred(peer));
        }
        let Road {
            sending,
            staged,
            activity,
            ..
        } = road;
        Some(Lane {
            to,
            now,
            sending: sending.as_mut()?,
            staged,
            activity,
            mtu: self.mtu,
            timing,
        })
    }

    /// Keeps copies of a batch of packets, laid out as for [`Lane::seal`], until there is a session; of more than 128 the
    /// oldest are dropped.
    pub fn stage(&mut self, peer: PeerId, bytes: &[u8], packets: &[usize]) {
        if let Some(road) = self.peers.get_mut(&peer) {
            stage(&mut road.staged, bytes, packets, self.mtu);
        }
    }

    /// Routes, seals or stages one packet: [`Outbound::route`], [`Outbound::lane`] and [`Lane::seal`] in one, for callers
    /// that have no batch. The IP packet is `buffer[HEADER..HEADER + len]`, with [`crate::TAIL`] bytes of room behind it.
    ///
    /// # Errors
    /// Says what became of the packet instead.
    pub fn seal(
        &mut self,
        buffer: &mut [u8],
        len: usize,
        now: Time,
        notices: &mut Vec<Notice>,
    ) -> Result<Sealed, NotSealed> {
        let packet = buffer
            .get(HEADER..)
            .and_then(|rest| rest.get(..len))
            .ok_or(NotSealed::NoRoom)?;
        let destination = packet::destination(packet).ok_or(NotSealed::NotIp)?;
        let peer = self.route(destination).ok_or(NotSealed::NoRoute)?;
        match self.lane(peer, now, notices) {
            Some(mut lane) => match lane.seal(buffer, &[len])? {
                0 => Err(NotSealed::Staged(peer)),
                len => Ok(Sealed {
                    peer,
                    to: lane.to(),
                    len,
                }),
            },
            None => {
                self.stage(peer, buffer, &[len]);
                Err(NotSealed::Staged(peer))
            }
        }
    }

    /// Seals one packet that looks like one of `size` bytes from outside, to learn whether such a datagram arrives. The rest is
    /// padding, which the receiver drops. It is not data: it awaits no answer, and asks for no session.
    ///
    /// Returns where to send it. `None` if no session may send now, or `size` is less than the packet's.
    pub fn seal_probe(
        &mut self,
        peer: PeerId,
        packet: &[u8],
        size: usize,
        now: Time,
    ) -> Option<(SocketAddr, Vec<u8>)> {
        let timing = &self.timing;
        let road = self.peers.get_mut(&peer)?;
        let to = road.to.filter(|_| road.is_open(now, timing))?;
        let mut datagram = vec![0; HEADER + size + TAG];
        datagram[HEADER..HEADER + size]
            .get_mut(..packet.len())?
            .copy_from_slice(packet);
        road.sending
            .as_mut()?
            .seal(1, [&mut datagram[..]].into_iter());
        road.activity.sent(datagram.len(), now);
        Some((to, datagram))
    }

    /// Carries out what control decided, and hands each datagram that this sets free (staged packets, keepalives) to `send`.
    pub fn apply(
        &mut self,
        update: OutboundUpdate,
        now: Time,
        notices: &mut Vec<Notice>,
        send: &mut impl FnMut(SocketAddr, &[u8]),
    ) {
        match update.0 {
            Letter::Peer { peer, activity } => {
                self.peers.insert(
                    peer,
                    Road {
                        to: None,
                        sending: None,
                        staged: VecDeque::new(),
                        asked: None,
                        activity,
                    },
                );
            }
            Letter::Removed(peer) => {
                self.peers.remove(&peer);
            }
            Letter::Routes(routes) => self.routes = routes,
            Letter::Endpoint { peer, to } => self.with_road(peer, |road| road.to = Some(to)),
            Letter::Session {
                peer,
                sending,
                confirm,
            } => {
                self.with_road(peer, |road| {
                    road.sending = Some(sending);
                    road.asked = None;
                });
                let is_first_sent = self.release(peer, now, notices, send);
                if confirm && !is_first_sent {
                    self.keepalive(peer, now, notices, send);
                }
            }
            Letter::Keepalive(peer) => self.keepalive(peer, now, notices, send),
            Letter::DropStaged(peer) => self.with_road(peer, |road| {
                road.staged.clear();
                road.asked = None;
            }),
            Letter::Wipe(peer) => self.with_road(peer, |road| {
                road.sending = None;
                road.asked = None;
            }),
        }
    }

    pub fn mtu(&self) -> u16 {
        self.mtu.try_into().unwrap_or(u16::MAX)
    }

    /// The tunnel's MTU, beyond which padding never reaches.
    pub fn set_mtu(&mut self, mtu: u16) {
        self.mtu = mtu.into();
    }

    fn with_road(&mut self, peer: PeerId, act: impl FnOnce(&mut Road)) {
        if let Some(road) = self.peers.get_mut(&peer) {
            act(road);
        }
    }

    /// Sends what was staged; says whether anything was.
    fn release(
        &mut self,
        peer: PeerId,
        now: Time,
        notices: &mut Vec<Notice>,
        send: &mut impl FnMut(SocketAddr, &[u8]),
    ) -> bool {
        let Some(road) = self
            .peers
            .get_mut(&peer)
            .filter(|road| !road.staged.is_empty())
        else {
            return false;
        };
        let waiting = core::mem::take(&mut road.staged);
        let Some(mut lane) = self.lane(peer, now, notices) else {
            self.with_road(peer, |road| road.staged = waiting);
            return false;
        };
        let mut buffer = Vec::new();
        for packet in waiting {
            buffer.clear();
            buffer.resize(HEADER, 0);
            buffer.extend_from_slice(&packet);
            buffer.resize(HEADER + packet.len() + crate::TAIL, 0);
            match lane.seal(&mut buffer, &[packet.len()]) {
                // Its counters ran out: the packet waits again, for the next session.
                Ok(0) | Err(_) => {}
                Ok(len) => send(lane.to(), &buffer[..len]),
            }
        }
        true
    }

    /// Sends an empty packet: proof of life, of address, and of a new session (whitepaper 6.5). Nobody answers it.
    fn keepalive(
        &mut self,
        peer: PeerId,
        now: Time,
        notices: &mut Vec<Notice>,
        send: &mut impl FnMut(SocketAddr, &[u8]),
    ) {
        let Some(road) = self.peers.get_mut(&peer) else {
            return;
        };
        let (Some(to), true) = (road.to, road.is_open(now, &self.timing)) else {
            return road.ask(Notice::SessionWanted(peer), now, &self.timing, notices);
        };
        // An open road has a session with a counter left.
        if let Some(sending) = &mut road.sending {
            let mut datagram = [0; HEADER + TAG];
            sending.seal(1, [&mut datagram[..]].into_iter());
            road.activity.sent(datagram.len(), now);
            send(to, &datagram);
        }
    }
}

/// The way to one peer.
struct Road {
    to: Option<SocketAddr>,
    sending: Option<Box<Sending>>,
    staged: VecDeque<Vec<u8>>,
    /// When control was last asked for a session. Asking again later makes up for whatever went wrong.
    asked: Option<Time>,
    activity: Arc<Activity>,
}

impl Road {
    fn is_open(&self, now: Time, timing: &Timing) -> bool {
        self.sending
            .as_ref()
            .is_some_and(|sending| sending.is_usable(now, timing))
    }

    fn ask(&mut self, notice: Notice, now: Time, timing: &Timing, notices: &mut Vec<Notice>) {
        if self
            .asked
            .is_none_or(|asked| now.saturating_since(asked) >= timing.rekey_timeout)
        {
            self.asked = Some(now);
            notices.push(notice);
        }
    }
}

fn stage(staged: &mut VecDeque<Vec<u8>>, bytes: &[u8], packets: &[usize], mtu: usize) {
    let mut start = 0;
    for &len in packets {
        if staged.len() >= STAGED {
            staged.pop_front();
        }
        staged.push_back(bytes[start + HEADER..start + HEADER + len].to_vec());
        start += datagram_len(len, mtu);
    }
}

/// The padded packet, between header and tag.
fn datagram_len(len: usize, mtu: usize) -> usize {
    // P' := P || 0..., up to a multiple of 16, but not beyond the MTU (whitepaper 5.4.6)
    let padded = len.next_multiple_of(16).min(mtu.max(len));
    HEADER + padded + TAG
}

/// One peer's way out for the length of a batch: its endpoint, and its session with room for more counters.
pub struct Lane<'a> {
    to: SocketAddr,
    now: Time,
    mtu: usize,
    timing: &'a Timing,
    sending: &'a mut Sending,
    staged: &'a mut VecDeque<Vec<u8>>,
    activity: &'a Activity,
}

impl Lane<'_> {
    /// Where this peer's datagrams go.
    pub fn to(&self) -> SocketAddr {
        self.to
    }

    /// Seals a batch of packets in place. Their datagrams lie end to end in `bytes`, the first at 0, each as long as
    /// [`Outbound::datagram_len`] says for the length in `packets`; each packet lies [`HEADER`] bytes into its datagram.
    ///
    /// Returns how many bytes of datagrams are ready, from the front. It is less than all if the session ran out of
    /// counters: the other packets are kept, as by [`Outbound::stage`].
    ///
    /// # Errors
    /// [`NotSealed::NoRoom`] if `bytes` is shorter than the datagrams; then nothing was done.
    pub fn seal(&mut self, bytes: &mut [u8], packets: &[usize]) -> Result<usize, NotSealed> {
        let mtu = self.mtu;
        let datagram_len = |&len: &usize| datagram_len(len, mtu);
        let (first, kept) = packets.split_at(self.sending.room(packets.len(), self.timing));
        let ready = first.iter().map(datagram_len).sum();
        let whole = ready + kept.iter().map(datagram_len).sum::<usize>();
        let bytes = bytes.get_mut(..whole).ok_or(NotSealed::NoRoom)?;
        let (mut room, rest) = bytes.split_at_mut(ready);

        let datagrams = first.iter().map(|&len| {
            let datagram = room
                .split_off_mut(..datagram_len(&len))
                .expect("the room is as long as all of them");
            datagram[HEADER + len..].fill(0);
            datagram
        });
        self.sending.seal(first.len(), datagrams);
        self.activity.sent(ready, self.now);

        stage(self.staged, rest, kept, mtu);
        Ok(ready)
    }
}
