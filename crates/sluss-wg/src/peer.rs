//! One peer in control: its handshake, its sessions, and the timers of whitepaper section 6.

mod initiator;
mod sessions;
mod whereabouts;

use core::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;

use self::initiator::Attempt;
use self::sessions::Slots;
use self::whereabouts::Whereabouts;
use crate::activity::Activity;
use crate::cookie::Jar;
use crate::message::CookieReply;
use crate::noise::{Claimed, Received};
use crate::session::Session;
use crate::turn::Turn;
use crate::{
    Deadline, Event, Output, PeerConfig, PeerId, PeerStatus, PresharedKey, PublicKey, Reason, Role,
    SharedSecret, Sink, Tai64n, Time, outbound,
};

/// One initiation in this time is answered at most (whitepaper 5.1 wants flood protection; the kernel allows 50 a second).
const FLOOD: Duration = Duration::from_millis(20);

pub(crate) struct Peer {
    id: PeerId,
    pub(crate) public_key: PublicKey,
    pub(crate) allowed_ips: Vec<IpNet>,
    preshared_key: PresharedKey,
    whereabouts: Whereabouts,
    jar: Jar,

    static_static: Option<StaticStatic>,
    attempt: Option<Attempt>,
    last_initiation: Option<Time>,
    /// Initiations that nobody answered since the last session.
    unanswered: u32,
    answered: Option<Answered>,

    slots: Slots,
    last_handshake: Option<Time>,
    zero_at: Option<Time>,

    activity: Arc<Activity>,
    /// When to look at the activity cells again, while there is traffic.
    look_at: Option<Time>,
    persistent: Option<Persistent>,
}

/// DH of the two static keys: the same for ever, so it is asked for once.
struct StaticStatic {
    secret: SharedSecret,
    /// A handshake has succeeded with it. Until then it may be a card's mistake.
    is_proven: bool,
}

/// The newest initiation of the peer that we answered.
struct Answered {
    stamp: Tai64n,
    at: Time,
}

struct Persistent {
    every: Duration,
    due: Time,
}

impl Peer {
    pub(crate) fn new<S: Sink>(id: PeerId, public_key: PublicKey, turn: &mut Turn<'_, S>) -> Self {
        let activity = Arc::new(Activity::default());
        turn.outbound(outbound::Letter::Peer {
            peer: id,
            activity: Arc::clone(&activity),
        });
        Self {
            id,
            public_key,
            allowed_ips: Vec::new(),
            preshared_key: PresharedKey::none(),
            whereabouts: Whereabouts::default(),
            jar: Jar::new(&public_key),
            static_static: None,
            attempt: None,
            last_initiation: None,
            unanswered: 0,
            answered: None,
            slots: Slots::default(),
            last_handshake: None,
            zero_at: None,
            activity,
            look_at: None,
            persistent: None,
        }
    }

    pub(crate) fn configure<S: Sink>(&mut self, config: PeerConfig, turn: &mut Turn<'_, S>) {
        let PeerConfig {
            public_key: _,
            preshared_key,
            endpoints,
            allowed_ips,
            persistent_keepalive,
        } = config;
        self.preshared_key = preshared_key.unwrap_or_else(PresharedKey::none);
        self.allowed_ips = allowed_ips;
        self.set_keepalive(persistent_keepalive, turn);
        if let Some(to) = endpoints.first() {
            self.whereabouts.list(endpoints);
            self.whereabouts.turn_to(to);
            turn.outbound(outbound::Letter::Endpoint { peer: self.id, to });
        }
    }

    pub(crate) fn set_keepalive<S: Sink>(&mut self, every: Option<Duration>, turn: &Turn<'_, S>) {
        self.persistent = every.map(|every| Persistent {
            every,
            due: turn.now() + every,
        });
    }

    /// Takes leave of the peer, or of everything secret that we share with it because the card has left.
    pub(crate) fn forget<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        self.static_static = None;
        self.jar.forget();
        self.drop_attempt(turn);
        self.drop_sessions(turn);
        turn.outbound(outbound::Letter::DropStaged(self.id));
    }

    pub(crate) fn has_static_static(&self) -> bool {
        self.static_static.is_some()
    }

    pub(crate) fn learn_static_static(&mut self, secret: SharedSecret) {
        self.static_static.get_or_insert(StaticStatic {
            secret,
            is_proven: false,
        });
    }

    /// An initiation claims to be from this peer. Needs [`Peer::has_static_static`].
    pub(crate) fn accept_claim<S: Sink>(
        &mut self,
        claimed: Claimed,
        from: SocketAddr,
        turn: &mut Turn<'_, S>,
    ) {
        let received = self
            .static_static
            .as_ref()
            .and_then(|cached| claimed.authenticate(&cached.secret));
        match received {
            Some(received) => self.answer(received, from, turn),
            None => self.doubt_static_static(),
        }
    }

    pub(crate) fn accept_cookie<S: Sink>(&mut self, reply: &CookieReply, turn: &Turn<'_, S>) {
        self.jar.accept(reply, turn.now());
    }

    /// Answers an authentic initiation that came from `from`, unless it is a replay or one of a flood (whitepaper 5.1).
    fn answer<S: Sink>(&mut self, received: Received, from: SocketAddr, turn: &mut Turn<'_, S>) {
        let now = turn.now();
        let is_new = self.answered.as_ref().is_none_or(|last| {
            received.stamp > last.stamp && now.saturating_since(last.at) >= FLOOD
        });
        if !is_new {
            return;
        }
        self.answered = Some(Answered {
            stamp: received.stamp,
            at: now,
        });
        self.prove_static_static();

        let (index, remote, ephemeral) = (
            turn.claim_index(self.id),
            received.sender(),
            turn.ephemeral(),
        );
        let Ok((message, keys)) = received.respond(&ephemeral, self.preshared_key.bytes(), index)
        else {
            return turn.free_index(index);
        };
        let mut datagram = message.datagram();
        self.jar.sign(&mut datagram, now);
        // The answer goes to where the question came from, but the endpoint stays: it follows transport packets only.
        turn.out.output(Output::Send { to: from, datagram });
        self.install(
            Session {
                index,
                remote,
                role: Role::Responder,
                born: now,
            },
            &keys,
            turn,
        );
    }

    /// An authentic packet came from elsewhere, on the session with our index `receiver`. What comes late on a session of the
    /// past does not count: with several gateways it may be another's.
    pub(crate) fn roam<S: Sink>(
        &mut self,
        receiver: u32,
        from: SocketAddr,
        turn: &mut Turn<'_, S>,
    ) {
        if !self.is_past(receiver) {
            self.turn_to(from, turn);
        }
    }

    /// Packets go there from now on.
    fn turn_to<S: Sink>(&mut self, to: SocketAddr, turn: &mut Turn<'_, S>) {
        if self.whereabouts.turn_to(to) {
            turn.outbound(outbound::Letter::Endpoint { peer: self.id, to });
            turn.event(Event::EndpointChanged {
                peer: self.id,
                endpoint: to,
            });
        }
    }

    pub(crate) fn status(&self) -> PeerStatus {
        let (received, sent) = self.activity.totals();
        PeerStatus {
            id: self.id,
            public_key: self.public_key,
            endpoint: self.whereabouts.in_use(),
            endpoints: self.whereabouts.status(),
            last_handshake: self.last_handshake,
            unanswered: self.unanswered,
            received,
            sent,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let at = |at, reason| Deadline { at, reason };
        [
            self.attempt.as_ref().map(Attempt::deadline),
            self.look_at.map(|look| at(look, Reason::Keepalive)),
            self.persistent
                .as_ref()
                .map(|persistent| at(persistent.due, Reason::PersistentKeepalive)),
            self.zero_at.map(|zero| at(zero, Reason::Zeroing)),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|deadline| deadline.at)
    }

    pub(crate) fn tick<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        let now = turn.now();
        self.tick_attempt(turn);
        if self.look_at.is_some_and(|look| look <= now) {
            self.look(turn);
        }
        self.keep_alive(turn);
        // whitepaper 6.3: after three times REJECT-AFTER-TIME without a new session, all keys are wiped
        if self.zero_at.is_some_and(|zero| zero <= now) {
            self.drop_sessions(turn);
            turn.event(Event::Forgotten { peer: self.id });
        }
    }

    /// Whitepaper 6.5's persistent keepalive: as much silence as configured. Traffic moves it on when it comes due, not before.
    fn keep_alive<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        let now = turn.now();
        let Some(persistent) = self
            .persistent
            .as_mut()
            .filter(|persistent| persistent.due <= now)
        else {
            return;
        };
        let last = self.activity.last_traversal();
        let due = last.map_or(persistent.due, |last| last + persistent.every);
        if due > now {
            persistent.due = due;
        } else {
            persistent.due = now + persistent.every;
            turn.outbound(outbound::Letter::Keepalive(self.id));
        }
    }

    /// Acts on what is due in the activity cells, and says when to look again.
    pub(crate) fn look<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        let now = turn.now();
        let keepalive = turn.timing().keepalive;
        let answer = keepalive + turn.timing().rekey_timeout;
        // whitepaper 6.5: data came, and nothing was sent for KEEPALIVE-TIMEOUT: send a keepalive
        if self
            .activity
            .owes_since()
            .is_some_and(|since| since + keepalive <= now)
        {
            self.activity.settle_owes();
            turn.outbound(outbound::Letter::Keepalive(self.id));
        }
        // whitepaper 6.5: data was sent, and nothing came for KEEPALIVE-TIMEOUT + REKEY-TIMEOUT: start a new handshake
        if self
            .activity
            .awaits_since()
            .is_some_and(|since| since + answer <= now)
        {
            self.activity.settle_awaits();
            self.want_session(turn);
        }
        let due = [
            self.activity.owes_since().map(|at| at + keepalive),
            self.activity.awaits_since().map(|at| at + answer),
        ];
        self.look_at = match due.into_iter().flatten().min() {
            // Not later than a cell that is set in this very moment could need.
            Some(due) => Some(due.min(now + keepalive)),
            None if self.activity.unwatch() => None,
            None => Some(now + keepalive),
        };
    }

    fn prove_static_static(&mut self) {
        if let Some(cached) = &mut self.static_static {
            cached.is_proven = true;
        }
    }

    /// What has never worked is not kept: it may be wrong, and would be wrong for ever.
    fn doubt_static_static(&mut self) {
        self.static_static.take_if(|cached| !cached.is_proven);
    }
}
