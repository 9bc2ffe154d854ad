//! Cryptokey routing: which peer owns an address, by longest prefix (whitepaper 2).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::PeerId;

/// All peers' allowed IPs, built once per change and then only read.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedIps {
    v4: Levels,
    v6: Levels,
}

impl AllowedIps {
    /// Gives `net` to `peer`; of two peers with the same network the later has it.
    pub(crate) fn insert(&mut self, net: IpNet, peer: PeerId) {
        let (levels, bits) = match net {
            IpNet::V4(_) => (&mut self.v4, 32),
            IpNet::V6(_) => (&mut self.v6, 128),
        };
        levels.insert(number(net.network()), bits - net.prefix_len(), peer);
    }

    /// The peer with the longest prefix that contains `address`.
    pub(crate) fn lookup(&self, address: IpAddr) -> Option<PeerId> {
        match address {
            IpAddr::V4(_) => self.v4.lookup(number(address)),
            IpAddr::V6(_) => self.v6.lookup(number(address)),
        }
    }
}

/// One sorted list of networks per prefix length in use, the longest prefix first: a few binary searches, no hashing.
#[derive(Clone, Debug, Default)]
struct Levels(Vec<Level>);

#[derive(Clone, Debug)]
struct Level {
    host_bits: u8,
    networks: Vec<(u128, PeerId)>,
}

impl Levels {
    fn insert(&mut self, network: u128, host_bits: u8, peer: PeerId) {
        let at = self
            .0
            .binary_search_by_key(&host_bits, |level| level.host_bits)
            .unwrap_or_else(|at| {
                self.0.insert(
                    at,
                    Level {
                        host_bits,
                        networks: Vec::new(),
                    },
                );
                at
            });
        let networks = &mut self.0[at].networks;
        match networks.binary_search_by_key(&network, |&(network, _)| network) {
            Ok(at) => networks[at].1 = peer,
            Err(at) => networks.insert(at, (network, peer)),
        }
    }

    fn lookup(&self, address: u128) -> Option<PeerId> {
        self.0.iter().find_map(|level| {
            let network = address & u128::MAX.checked_shl(level.host_bits.into()).unwrap_or(0);
            let at = level
                .networks
                .binary_search_by_key(&network, |&(network, _)| network)
                .ok()?;
            Some(level.networks[at].1)
        })
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}
