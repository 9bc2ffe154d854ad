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
            endpoints: self.endpoint.take().into(),
            allowed_ips: self.allowed_ips.clone(),
            persistent_keepalive: seconds.map(|seconds| Duration::from_secs(seconds.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Parser;

    /// The example of the page that describes the protocol.
    const EXAMPLE: &str = "\
private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a
fwmark=0
listen_port=12912
replace_peers=true
public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33
preshared_key=188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52
replace_allowed_ips=true
allowed_ip=192.168.4.4/32
endpoint=[abcd:23::33%2]:51820
public_key=58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376
replace_allowed_ips=true
allowed_ip=192.168.4.6/32
persistent_keepalive_interval=111
endpoint=182.122.22.19:3233
public_key=662e14fd594556f522604703340351258903b64f35553763f19426ab2a515c58
endpoint=5.152.198.39:51820
replace_allowed_ips=true
allowed_ip=192.168.4.10/32
allowed_ip=192.168.4.11/32
public_key=e818b58db5274087fcc1be5dc728cf53d3b5726b4cef6b9bab8f8f8c2452c25c
remove=true
";

    /// Carries out what is about peers in a request that is in order.
    fn apply(peers: &mut Peers, request: &str) {
        let mut parser = Parser::default();
        let mut selection = Selection::default();
        for line in request.lines() {
            match parser.line(line).expect("in order") {
                Setting::PrivateKey(_) | Setting::ListenPort(_) | Setting::Fwmark(_) => {}
                Setting::ReplacePeers => peers.clear(),
                Setting::PublicKey(key) => selection = peers.select(key, None),
                setting => peers.set(&mut selection, setting),
            }
        }
    }

    /// Peers as their first byte, endpoint, keepalive, and allowed IPs.
    fn seen(peers: &Peers) -> Vec<(u8, Option<String>, u16, Vec<String>)> {
        let peers = peers.iter().map(|(key, peer)| {
            (
                key.0[0],
                peer.endpoint.map(|endpoint| endpoint.to_string()),
                peer.persistent_keepalive,
                peer.allowed_ips.iter().map(IpNet::to_string).collect(),
            )
        });
        peers.collect()
    }

    #[test]
    fn the_example_of_the_page_is_understood() {
        let mut peers = Peers::default();
        let stranger = "public_key=".to_owned() + &"aa".repeat(32);
        apply(&mut peers, &stranger);
        apply(&mut peers, EXAMPLE);
        let net = |text: &str| format!("192.168.4.{text}/32");
        assert_eq!(
            seen(&peers),
            [
                (
                    0x58,
                    Some("182.122.22.19:3233".to_owned()),
                    111,
                    vec![net("6")]
                ),
                (
                    0x66,
                    Some("5.152.198.39:51820".to_owned()),
                    0,
                    vec![net("10"), net("11")]
                ),
                (
                    0xb8,
                    Some("[abcd:23::33%2]:51820".to_owned()),
                    0,
                    vec![net("4")]
                ),
            ]
        );
    }

    /// An engine that already runs must drop the peer, and have it anew: its session is over.
    #[test]
    fn a_peer_that_is_replaced_by_itself_is_another() {
        let key = "11".repeat(32);
        let mut peers = Peers::default();
        apply(&mut peers, &format!("public_key={key}"));
        peers.take_changes();
        apply(
            &mut peers,
            &format!("replace_peers=true\npublic_key={key}\nallowed_ip=::/0"),
        );
        let key = PublicKey([0x11; 32]);
        assert!(peers.take_changes() == [Change::Removed(key), Change::Changed(key)]);
    }

    /// An engine moves addresses itself, in one step, if it hears of the peer that gains and of no other.
    #[test]
    fn only_the_peer_that_gains_an_address_has_changed() {
        let (a, b) = ("11".repeat(32), "22".repeat(32));
        let mut peers = Peers::default();
        apply(
            &mut peers,
            &format!("public_key={a}\nallowed_ip=10.0.0.0/8\npublic_key={b}"),
        );
        peers.take_changes();
        apply(
            &mut peers,
            &format!("public_key={b}\nallowed_ip=10.1.2.3/8"),
        );
        assert!(peers.take_changes() == [Change::Changed(PublicKey([0x22; 32]))]);
        assert_eq!(
            seen(&peers),
            [
                (0x11, None, 0, vec![]),
                (0x22, None, 0, vec!["10.0.0.0/8".to_owned()])
            ]
        );
    }
}
