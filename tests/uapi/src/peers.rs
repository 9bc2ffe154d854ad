//! What is configured about the peers, and what a request changes about it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use sluss_wg::{PeerConfig, PresharedKey, PublicKey, Time};

use crate::protocol::{Secret, Setting};

/// All peers.
#[derive(Default)]
pub struct Peers {
    known: BTreeMap<PublicKey, Peer>,
    changes: Vec<Change>,
}

/// One peer as it is configured.
#[derive(Default)]
pub struct Peer {
    pub preshared_key: Option<Secret>,
    /// Seconds; 0 for never.
    pub persistent_keepalive: u16,
    pub allowed_ips: Vec<IpNet>,
    /// Where the peer is, if the engine has not been told; the engine follows it from there.
    pub endpoint: Option<SocketAddr>,
    /// Something is to be sent to it at once.
    pub is_wanted: bool,
    pub past: Past,
}

/// What engines before this one have had to do with a peer.
#[derive(Default)]
pub struct Past {
    pub received: u64,
    pub sent: u64,
    pub last_handshake: Option<Time>,
}

/// What an engine has not been told yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is another, or new.
    Changed(PublicKey),
    Removed(PublicKey),
}

/// The peer that a request is about.
#[derive(Clone, Copy, Default)]
pub enum Selection {
    /// One that is to be left alone: ourselves, one that is removed, one that is only to be updated but is not there.
    #[default]
    Nobody,
    /// `is_new`: this request brought it.
    Peer { key: PublicKey, is_new: bool },
}

impl Peers {
    pub fn iter(&self) -> impl Iterator<Item = (&PublicKey, &Peer)> {
        self.known.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&PublicKey, &mut Peer)> {
        self.known.iter_mut()
    }

    pub fn peer_mut(&mut self, key: &PublicKey) -> Option<&mut Peer> {
        self.known.get_mut(key)
    }

    /// What changed since this was last asked, in its order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    pub fn remove(&mut self, key: &PublicKey) {
        if self.known.remove(key).is_some() {
            self.note(Change::Removed(*key));
        }
    }

    pub fn clear(&mut self) {
        let keys = std::mem::take(&mut self.known).into_keys();
        self.changes.extend(keys.map(Change::Removed));
    }

    /// The peer that the next settings are about. `own` is nobody's.
    pub fn select(&mut self, key: PublicKey, own: Option<PublicKey>) -> Selection {
        if own == Some(key) {
            return Selection::Nobody;
        }
        let is_new = !self.known.contains_key(&key);
        if is_new {
            self.known.insert(key, Peer::default());
            self.note(Change::Changed(key));
        }
        Selection::Peer { key, is_new }
    }

    /// Carries out one setting of the selected peer. Those of the device are not for here.
    pub fn set(&mut self, selection: &mut Selection, setting: Setting) {
        let Selection::Peer { key, is_new } = *selection else {
            return;
        };
        match setting {
            Setting::UpdateOnly if !is_new => return,
            Setting::UpdateOnly | Setting::Remove => {
                self.remove(&key);
                *selection = Selection::Nobody;
                return;
            }
            // An address belongs to whoever claimed it last.
            Setting::AllowedIp(net) => {
                for peer in self.known.values_mut() {
                    peer.allowed_ips.retain(|other| *other != net);
                }
            }
            _ => {}
        }
        let Some(peer) = self.known.get_mut(&key) else {
            return;
        };
        match setting {
            Setting::PresharedKey(secret) => peer.preshared_key = secret,
            Setting::Endpoint(endpoint) => peer.endpoint = Some(endpoint),
            Setting::PersistentKeepalive(seconds) => {
                peer.is_wanted |= peer.persistent_keepalive == 0 && seconds != 0;
                peer.persistent_keepalive = seconds;
            }
            Setting::ReplaceAllowedIps => peer.allowed_ips.clear(),
            Setting::AllowedIp(net) => peer.allowed_ips.push(net),
            Setting::DisallowedIp(net) => peer.allowed_ips.retain(|other| *other != net),
            Setting::PrivateKey(_)
            | Setting::ListenPort(_)
            | Setting::Fwmark(_)
            | Setting::ReplacePeers
            | Setting::PublicKey(_)
            | Setting::UpdateOnly
            | Setting::Remove
            | Setting::ProtocolVersion => return,
        }
        self.note(Change::Changed(key));
    }

    fn note(&mut self, change: Change) {
        if self.changes.last() != Some(&change) {
            self.changes.push(change);
        }
    }
}

impl Peer {
    /// For the engine, which now knows the endpoint.
    pub fn config(&mut self, key: PublicKey) -> PeerConfig {
        let seconds = Some(self.persistent_keepalive).filter(|seconds| *seconds != 0);
        PeerConfig {
            public_key: key,
            preshared_key: self
                .preshared_key
                .as_deref()
                .copied()
                .map(PresharedKey::new),
            endpoint: self.endpoint.take(),
            allowed_ips: self.allowed_ips.clone(),
            persistent_keepalive: seconds.map(|seconds| Duration::from_secs(seconds.into())),
        }
    }
}
