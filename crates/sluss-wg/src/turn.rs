//! What one call of [`crate::Device::handle`] has at hand: what all peers share, the clocks, and the sink.

use core::time::Duration;
use std::collections::BTreeMap;

use x25519_dalek::StaticSecret;

use crate::crypto::Rng;
use crate::time::Stamps;
use crate::{
    Config, DhId, Event, InboundUpdate, Now, OutboundUpdate, Output, PeerId, PublicKey, Sink,
    Tai64n, Time, Timing,
};
use crate::{inbound, outbound};

/// What all peers of a device share.
pub(crate) struct Shared {
    pub(crate) public_key: PublicKey,
    pub(crate) timing: Timing,
    pub(crate) rng: Rng,
    stamps: Stamps,
    /// Whose handshake or session each of our indices is.
    indices: BTreeMap<u32, PeerId>,
    requests: BTreeMap<DhId, Owner>,
    last_request: u64,
}

/// Who waits for a Diffie-Hellman.
#[derive(Clone, Copy)]
pub(crate) enum Owner {
    Initiator(PeerId),
    Responder,
}

/// A Diffie-Hellman that the holder of the static key has been asked for.
pub(crate) struct Request {
    pub(crate) id: DhId,
    pub(crate) until: Time,
}

impl Shared {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            public_key: config.public_key,
            timing: config.timing,
            rng: Rng::new(config.seed),
            stamps: Stamps::new(config.stamp_floor),
            indices: BTreeMap::new(),
            requests: BTreeMap::new(),
            last_request: 0,
        }
    }

    pub(crate) fn peer_with_index(&self, index: u32) -> Option<PeerId> {
        self.indices.get(&index).copied()
    }

    /// Who asked for this; nobody if it was abandoned, answered before, or never asked.
    pub(crate) fn settle(&mut self, id: DhId) -> Option<Owner> {
        self.requests.remove(&id)
    }

    #[cfg(test)]
    pub(crate) fn indices_in_use(&self) -> usize {
        self.indices.len()
    }

    #[cfg(test)]
    pub(crate) fn requests_open(&self) -> usize {
        self.requests.len()
    }
}

/// One call's view.
pub(crate) struct Turn<'a, S> {
    pub(crate) shared: &'a mut Shared,
    pub(crate) now: Now,
    pub(crate) out: &'a mut S,
}

impl<S: Sink> Turn<'_, S> {
    pub(crate) fn now(&self) -> Time {
        self.now.boot
    }

    pub(crate) fn timing(&self) -> &Timing {
        &self.shared.timing
    }

    pub(crate) fn request(&mut self, owner: Owner, with: PublicKey) -> Request {
        self.shared.last_request += 1;
        let request = Request {
            id: DhId(self.shared.last_request),
            until: self.now() + self.timing().dh_timeout,
        };
        self.shared.requests.insert(request.id, owner);
        self.out.output(Output::Dh {
            id: request.id,
            with,
            deadline: request.until,
        });
        request
    }

    pub(crate) fn abandon(&mut self, request: &Request) {
        self.shared.requests.remove(&request.id);
    }

    /// A random index that no handshake or session of ours has.
    pub(crate) fn claim_index(&mut self, peer: PeerId) -> u32 {
        loop {
            let index = self.shared.rng.word();
            if let std::collections::btree_map::Entry::Vacant(free) =
                self.shared.indices.entry(index)
            {
                free.insert(peer);
                return index;
            }
        }
    }

    pub(crate) fn free_index(&mut self, index: u32) {
        self.shared.indices.remove(&index);
    }

    pub(crate) fn ephemeral(&mut self) -> StaticSecret {
        StaticSecret::from(*self.shared.rng.draw())
    }

    pub(crate) fn stamp(&mut self) -> Tai64n {
        let (stamp, persist) = self.shared.stamps.next(self.now.wall);
        if let Some(up_to) = persist {
            self.out.output(Output::PersistStamp { up_to });
        }
        stamp
    }

    /// REKEY-TIMEOUT from now, with jitter (whitepaper 6.1).
    pub(crate) fn retransmit_at(&mut self) -> Time {
        let fraction = f64::from(self.shared.rng.word()) / f64::from(u32::MAX);
        self.now()
            + self.timing().rekey_timeout
            + Duration::from_secs_f64(self.timing().jitter.as_secs_f64() * fraction)
    }

    pub(crate) fn outbound(&mut self, letter: outbound::Letter) {
        self.out.output(Output::Outbound(OutboundUpdate(letter)));
    }

    pub(crate) fn inbound(&mut self, letter: inbound::Letter) {
        self.out.output(Output::Inbound(InboundUpdate(letter)));
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.out.output(Output::Event(event));
    }
}
