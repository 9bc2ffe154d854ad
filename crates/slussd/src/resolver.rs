//! Where the gateway is, asked anew on each network: its names, by that network's own resolvers, outside the tunnel.
//!
//! The sockets are bound to the link and marked, as those of the probes are: the system's resolver may already answer from
//! inside, and one inside cannot be asked before the tunnel is there. A resolver that lies gains nothing, for whoever answers
//! at the address has to have the gateway's key; it can only lead astray, as a network that drops packets can. So nothing is
//! done about lies but what keeps them harmless: bounds, and policy's own addresses, which are called after those that were found.

pub mod addresses;
pub mod nat64;
mod question;
mod server;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use ipnet::IpNet;
use sluss_platform::resolvers;
use sluss_policy::{Endpoint, Host, HostName};
use sluss_supervisor::Link;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::debug;

use addresses::{Families, Objection, in_order, objection, reached};
use nat64::Nat64Prefix;
use question::{Answer, Family, Question};
use server::Server;

/// How long a name may take that has no other addresses to be called by: a slow phone network's worth.
const PATIENCE: Duration = Duration::from_secs(3);

/// The same where policy has a fallback.
const PATIENCE_WITH_FALLBACK: Duration = Duration::from_secs(1);

/// What the other servers, and the other family, get once one has answered (RFC 8305, 3, has 50 ms, for a person who waits).
const AFTER_ANSWER: Duration = Duration::from_millis(300);

/// What is needed to ask on any network.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// What no resolver's answer may lead to.
    pub internal: Vec<IpNet>,
    /// Where the network's resolvers stand if no service knows them.
    pub resolv_conf: PathBuf,
}

/// Where the gateway is, as the present network tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Groups of addresses, the best first: one for each priority, and policy's own addresses for the names that were found.
    /// Within a group in the order of calls, each address once in all.
    pub groups: Vec<Vec<SocketAddr>>,
    /// For each endpoint, in policy's order.
    pub located: Vec<Located>,
    /// Who was asked.
    pub servers: Vec<SocketAddr>,
}

/// What became of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// As they are called on this network; none if it could not be found.
    pub addresses: Vec<SocketAddr>,
    pub how: How,
}

/// How an endpoint's addresses were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Policy writes them.
    Literal,
    /// This resolver answered first.
    Resolved { by: SocketAddr },
    /// No resolver did, and policy has others.
    Fallback(Fault),
    /// No resolver did, and policy has no others.
    Failed(Fault),
}

/// Why a name has no address here; of several resolvers, what the last of these says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The network has handed out no resolver.
    NoResolver,
    /// None answers.
    NoAnswer,
    /// It says that it cannot, or will not.
    ResolverFailed,
    NoSuchName,
    /// There is the name, and no address of it.
    NoAddress,
    /// It leads to an address that cannot be the gateway's.
    Astray {
        to: IpAddr,
        why: Objection,
    },
}

/// The resolvers of some links, and what these speak.
struct Network<'a> {
    servers: Vec<Server>,
    families: Families,
    internal: &'a [IpNet],
}

/// At least one address, and who said so.
struct Found {
    addresses: Vec<IpAddr>,
    by: SocketAddr,
}

impl Resolver {
    /// Finds each endpoint, all names at once, on all these links at once: those that the tunnel's packets may take.
    ///
    /// Takes 3 s at most, and little more than a second where every name has a fallback. Stops when it is dropped.
    pub async fn resolve(&self, endpoints: &[Endpoint], links: &[Link]) -> Resolution {
        let network = self.network(links, &self.internal).await;
        let names = endpoints.iter().map(|endpoint| network.find(endpoint));
        let (found, nat64) = tokio::join!(join_all(names), network.nat64());
        let located = endpoints.iter().zip(found);
        let located: Vec<Located> = located
            .map(|(endpoint, found)| network.locate(endpoint, found, &nat64))
            .collect();
        let fallback = endpoints.iter().flat_map(Endpoint::written);
        let fallback = network.called(fallback, &nat64);
        Resolution {
            groups: groups(endpoints, &located, fallback, network.families),
            located,
            servers: network.servers.iter().map(|it| it.address).collect(),
        }
    }

    /// Where a server on the internet is, as this link's network tells it: what it says is believed, a portal's word too.
    pub async fn addresses(&self, host: &Host, link: &Link) -> Vec<IpAddr> {
        let network = self.network(std::slice::from_ref(link), &[]).await;
        let written = async || match host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => match network.look_up(name, PATIENCE_WITH_FALLBACK).await {
                Ok(found) => found.addresses,
                Err(_) => Vec::new(),
            },
        };
        let (addresses, nat64) = tokio::join!(written(), network.nat64());
        let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
        let addresses = network.called(addresses, &nat64);
        addresses.iter().map(SocketAddr::ip).collect()
    }

    async fn network<'a>(&self, links: &[Link], internal: &'a [IpNet]) -> Network<'a> {
        let known = links.iter().map(async |link| {
            let addresses = resolvers::of(&link.id, &self.resolv_conf).await;
            let link = &link.id.name;
            let server = move |address| Server {
                link: link.clone(),
                address,
            };
            addresses.into_iter().map(server)
        });
        Network {
            servers: join_all(known).await.into_iter().flatten().collect(),
            families: Families::of(links),
            internal,
        }
    }
}

impl Network<'_> {
    /// `None` if there is no name to look up.
    async fn find(&self, endpoint: &Endpoint) -> Option<Result<Found, Fault>> {
        let patience = match endpoint.fallback.as_slice() {
            [] => PATIENCE,
            _ => PATIENCE_WITH_FALLBACK,
        };
        match &endpoint.host {
            Host::Address(_) => None,
            Host::Name(name) => Some(self.look_up(name, patience).await),
        }
    }

    fn locate(
        &self,
        endpoint: &Endpoint,
        found: Option<Result<Found, Fault>>,
        nat64: &[Nat64Prefix],
    ) -> Located {
        let written = || self.called(endpoint.written(), nat64);
        let (addresses, how) = match found {
            None => (written(), How::Literal),
            Some(Ok(Found { addresses, by })) => {
                let port = |ip| SocketAddr::new(ip, endpoint.port);
                let addresses = self.called(addresses.into_iter().map(port), nat64);
                (addresses, How::Resolved { by })
            }
            Some(Err(fault)) if endpoint.fallback.is_empty() => (Vec::new(), How::Failed(fault)),
            Some(Err(fault)) => (written(), How::Fallback(fault)),
        };
        Located { addresses, how }
    }

    fn called(
        &self,
        addresses: impl Iterator<Item = SocketAddr>,
        nat64: &[Nat64Prefix],
    ) -> Vec<SocketAddr> {
        let reached = addresses.flat_map(|address| {
            let reached = reached(address.ip(), self.families, nat64);
            let port = address.port();
            reached.into_iter().map(move |ip| SocketAddr::new(ip, port))
        });
        in_order(reached, self.families)
    }

    /// The prefixes of this network's NAT64, where it may be needed and a DNS64 gives them away.
    async fn nat64(&self) -> Vec<Nat64Prefix> {
        if !self.families.only_v6() {
            return Vec::new();
        }
        let name: HostName = nat64::WELL_KNOWN_NAME.parse().expect("it is one");
        let until = Instant::now() + PATIENCE_WITH_FALLBACK;
        match self.first_answer(&name, Family::V6, until).await {
            Ok(found) => Nat64Prefix::discover(&found.addresses),
            Err(_) => Vec::new(),
        }
    }

    /// Both families at once. The slower one is waited for a little, unless the faster one's addresses are of no use alone.
    async fn look_up(&self, name: &HostName, patience: Duration) -> Result<Found, Fault> {
        let mut until = Instant::now() + patience;
        let v6 = self.first_answer(name, Family::V6, until);
        let v4 = self.first_answer(name, Family::V4, until);
        tokio::pin!(v6, v4);
        // A family that the link does not have is not asked about: what is told is what came of the other one.
        let mut six = (!self.families.v6).then_some(Err(Fault::NoAnswer));
        let mut four = None;
        while six.is_none() || four.is_none() {
            tokio::select! {
                it = &mut v6, if six.is_none() => six = Some(it),
                it = &mut v4, if four.is_none() => four = Some(it),
                () = sleep_until(until) => break,
            }
            let enough = match (&six, &four) {
                (Some(Ok(_)), _) => true,
                (_, Some(Ok(_))) => !self.families.only_v6(),
                (_, _) => false,
            };
            if enough {
                until = until.min(Instant::now() + AFTER_ANSWER);
            }
        }
        let silent = Err(Fault::NoAnswer);
        match (six.unwrap_or(silent), four) {
            (Ok(six), Some(Ok(four))) if !self.families.only_v6() => Ok(Found {
                addresses: [six.addresses, four.addresses].concat(),
                by: six.by,
            }),
            (Ok(found), _) | (Err(_), Some(Ok(found))) => Ok(found),
            (Err(six), Some(Err(four))) => Err(six.max(four)),
            (Err(six), None) => Err(six),
        }
    }

    /// The first useful answer of any server. Who answers nothing, or nothing useful, holds nobody up for long.
    async fn first_answer(
        &self,
        name: &HostName,
        family: Family,
        mut until: Instant,
    ) -> Result<Found, Fault> {
        if self.servers.is_empty() {
            return Err(Fault::NoResolver);
        }
        let asking = self.servers.iter().map(async |server| {
            let question = Question::new(name, family, random_id()?);
            let answer = server::ask(server, &question).await?;
            io::Result::Ok((server.address, answer))
        });
        let mut asking: FuturesUnordered<_> = asking.collect();
        let mut fault = Fault::NoAnswer;
        loop {
            let (by, answer) = match timeout_at(until, asking.next()).await {
                Ok(Some(Ok(answer))) => answer,
                Ok(Some(Err(error))) => {
                    debug!(%name, %error, "a resolver cannot be asked");
                    continue;
                }
                Ok(None) | Err(_) => return Err(fault),
            };
            debug!(%name, %by, ?answer, "a resolver answers");
            match self.judge(answer) {
                Ok(addresses) => return Ok(Found { addresses, by }),
                Err(worse) => fault = fault.max(worse),
            }
            until = until.min(Instant::now() + AFTER_ANSWER);
        }
    }

    /// What is left of an answer.
    fn judge(&self, answer: Answer) -> Result<Vec<IpAddr>, Fault> {
        let mut addresses = match answer {
            Answer::Addresses(addresses) => addresses,
            Answer::NoAddress => return Err(Fault::NoAddress),
            Answer::NoSuchName => return Err(Fault::NoSuchName),
            Answer::Failed | Answer::Truncated => return Err(Fault::ResolverFailed),
        };
        let mut astray = Fault::NoAddress;
        addresses.retain(|address| match objection(*address, self.internal) {
            Some(why) => {
                astray = Fault::Astray { to: *address, why };
                false
            }
            None => true,
        });
        match addresses.as_slice() {
            [] => Err(astray),
            _ => Ok(addresses),
        }
    }
}

fn groups(
    endpoints: &[Endpoint],
    located: &[Located],
    fallback: Vec<SocketAddr>,
    families: Families,
) -> Vec<Vec<SocketAddr>> {
    let mut by_priority: BTreeMap<u8, Vec<SocketAddr>> = BTreeMap::new();
    for (endpoint, located) in endpoints.iter().zip(located) {
        let group = by_priority.entry(endpoint.priority).or_default();
        group.extend(&located.addresses);
    }
    let groups = by_priority.into_values().chain([fallback]);
    let mut called = Vec::new();
    groups
        .map(|mut group| {
            group.retain(|address| !called.contains(address));
            called.extend(&group);
            in_order(group, families)
        })
        .filter(|group| !group.is_empty())
        .collect()
}

fn random_id() -> io::Result<u16> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    Ok(u16::from_be_bytes(id))
}

#[cfg(test)]
mod tests;
