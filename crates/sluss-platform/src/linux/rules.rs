//! The rules that lead to our own routing table, and those few that lead past it.
//!
//! ```text
//! 5010  fwmark M  lookup main                   the daemon's own sockets go the ordinary way,
//! 5011  fwmark M  unreachable                   or nowhere; never into the tunnel that they carry
//! 5012  udp 68 to 67  lookup main               a lease is renewed with whoever gave it
//! 5013  to ROUTER port 53  lookup main          a router, or what it names as its resolver, is asked for names
//! 5014  [of USER] tcp to 80, 443  lookup main   somebody visits a captive portal
//! 5020  lookup T                                everybody else meets T before any route that a network has pushed
//! ```
//!
//! The three in the middle only show a way. Who may take it, on which link and how long, is for the fence to say: a rule
//! knows no control groups, and nothing takes it off when the daemon is killed.

use std::net::IpAddr;

use nix::errno::Errno;
use rtnetlink::packet_route::IpProtocol;
use rtnetlink::packet_route::rule::{
    RuleAction, RuleAttribute, RuleMessage, RulePortRange, RuleUidRange,
};
use sluss_supervisor::Visitor;

use super::fence::{DNS, WEB};
use super::netlink::{Family, Netlink, collect, refused, unless};
use super::routes::{PROTOCOL, TABLE};
use crate::{HostConfig, MARK, Result};

const MAIN: u32 = 254;

/// What is `None` may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    priority: u32,
    mark: Option<u32>,
    to: Option<IpAddr>,
    user: Option<u32>,
    flow: Option<Flow>,
    then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Flow {
    protocol: IpProtocol,
    from_port: Option<u16>,
    to_port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Lookup(u32),
    Unreachable,
}

/// Makes the rules what `config` wants. The table that they lead to must be there already.
pub(super) async fn apply(netlink: &Netlink, config: &HostConfig) -> Result<()> {
    for family in Family::present() {
        let wanted = wanted(config, family);
        let found = rules(netlink, family).await?;
        for rule in &wanted {
            if !found.iter().any(|(it, _)| it.as_ref() == Some(rule)) {
                add(netlink, family, rule).await?;
            }
        }
        for (rule, message) in found {
            if !rule.is_some_and(|rule| wanted.contains(&rule)) {
                delete(netlink, message).await?;
            }
        }
    }
    Ok(())
}

/// Takes away every rule with our tag.
pub(super) async fn remove(netlink: &Netlink) -> Result<()> {
    for family in Family::present() {
        for (_, message) in rules(netlink, family).await? {
            delete(netlink, message).await?;
        }
    }
    Ok(())
}

/// Positive rules only: `not` would turn a whole selector round.
fn wanted(config: &HostConfig, family: Family) -> Vec<Rule> {
    let past = Rule {
        priority: 0,
        mark: None,
        to: None,
        user: None,
        flow: None,
        then: Then::Lookup(MAIN),
    };
    let marked = Rule {
        mark: Some(MARK),
        ..past
    };
    let mut rules = vec![
        Rule {
            priority: 5010,
            ..marked
        },
        Rule {
            priority: 5011,
            then: Then::Unreachable,
            ..marked
        },
        Rule {
            priority: 5020,
            then: Then::Lookup(TABLE),
            ..past
        },
    ];
    // IPv6 asks its DHCP servers from and at link-local addresses.
    if family == Family::V4 {
        let renewal = Flow {
            protocol: IpProtocol::Udp,
            from_port: Some(68),
            to_port: 67,
        };
        rules.push(Rule {
            priority: 5012,
            flow: Some(renewal),
            ..past
        });
    }
    for router in config.name_servers() {
        if Family::of(router.address) == family {
            rules.extend([IpProtocol::Udp, IpProtocol::Tcp].map(|protocol| Rule {
                priority: 5013,
                to: Some(router.address),
                flow: Some(Flow::to(protocol, DNS)),
                ..past
            }));
        }
    }
    if let Some(opening) = &config.rules.opening {
        let user = match opening.visitor {
            Visitor::Uid(user) => Some(user),
            Visitor::Cgroup(_) => None,
        };
        rules.extend(WEB.map(|port| Rule {
            priority: 5014,
            user,
            flow: Some(Flow::to(IpProtocol::Tcp, port)),
            ..past
        }));
    }
    rules
}

impl Flow {
    fn to(protocol: IpProtocol, to_port: u16) -> Flow {
        Flow {
            protocol,
            from_port: None,
            to_port,
        }
    }
}

/// Our rules; `None` for one that carries our tag and yet says what none of ours says.
async fn rules(netlink: &Netlink, family: Family) -> Result<Vec<(Option<Rule>, RuleMessage)>> {
    let dump = netlink.handle.rule().get(family.version()).execute();
    let ours = |rule: &RuleMessage| rule.attributes.contains(&RuleAttribute::Protocol(PROTOCOL));
    let found = collect("read our rules", dump).await?;
    Ok(found
        .into_iter()
        .filter(ours)
        .map(|it| (Rule::parse(&it), it))
        .collect())
}

async fn add(netlink: &Netlink, family: Family, rule: &Rule) -> Result<()> {
    let mut request = netlink.handle.rule().add();
    *request.message_mut() = rule.message(family);
    // The same rule without our tag, made by hand or by a test, does the same service.
    unless(Errno::EEXIST, request.execute().await)
        .map_err(refused(format!("add rule {}", rule.priority)))
}

async fn delete(netlink: &Netlink, message: RuleMessage) -> Result<()> {
    let request = netlink.handle.rule().del(message);
    unless(Errno::ENOENT, request.execute().await).map_err(refused("take a rule off"))
}

impl Rule {
    fn message(&self, family: Family) -> RuleMessage {
        use RuleAttribute as Is;

        let only = |port| RulePortRange {
            start: port,
            end: port,
        };
        let mut message = RuleMessage::default();
        message.header.family = family.address_family();
        let attributes = &mut message.attributes;
        attributes.extend([Is::Priority(self.priority), Is::Protocol(PROTOCOL)]);
        attributes.extend(self.mark.map(Is::FwMark));
        if let Some(address) = self.to {
            message.header.dst_len = if address.is_ipv4() { 32 } else { 128 };
            attributes.push(Is::Destination(address));
        }
        attributes.extend(self.user.map(|user| {
            Is::UidRange(RuleUidRange {
                start: user,
                end: user,
            })
        }));
        if let Some(flow) = self.flow {
            attributes.push(Is::IpProtocol(flow.protocol));
            attributes.extend(flow.from_port.map(only).map(Is::SourcePortRange));
            attributes.push(Is::DestinationPortRange(only(flow.to_port)));
        }
        match self.then {
            Then::Lookup(table) => {
                message.header.action = RuleAction::ToTable;
                attributes.push(Is::Table(table));
            }
            Then::Unreachable => message.header.action = RuleAction::Unreachable,
        }
        message
    }

    fn parse(message: &RuleMessage) -> Option<Rule> {
        use RuleAttribute as Is;

        let (mut priority, mut mark, mut table) = (None, None, None);
        let (mut to, mut user) = (None, None);
        let (mut protocol, mut from_port, mut to_port) = (None, None, None);
        for attribute in &message.attributes {
            match attribute {
                Is::Priority(value) => priority = Some(*value),
                Is::FwMark(value) => mark = Some(*value),
                Is::Table(value) => table = Some(*value),
                Is::Destination(address) => to = Some(*address),
                Is::UidRange(range) => user = Some(range.start),
                Is::IpProtocol(value) => protocol = Some(*value),
                Is::SourcePortRange(range) => from_port = Some(range.start),
                Is::DestinationPortRange(range) => to_port = Some(range.start),
                _ => {}
            }
        }
        let rule = Rule {
            priority: priority?,
            mark,
            to,
            user,
            flow: protocol.zip(to_port).map(|(protocol, to_port)| Flow {
                protocol,
                from_port,
                to_port,
            }),
            then: match message.header.action {
                RuleAction::ToTable => Then::Lookup(table?),
                RuleAction::Unreachable => Then::Unreachable,
                _ => return None,
            },
        };
        Some(rule)
    }
}

#[cfg(test)]
mod tests {
    use sluss_supervisor::{HostMode, HostRules, LinkId, Opening, Router, Time};

    use super::*;
    use crate::TunConfig;

    #[test]
    fn the_kernel_gives_back_what_it_was_given() {
        let link = LinkId {
            index: 3,
            name: "eth0".to_owned(),
        };
        let router = |address: &str| Router {
            link: link.clone(),
            address: address.parse().unwrap(),
        };
        let config = HostConfig {
            rules: HostRules {
                mode: HostMode::Closed,
                routers: vec![router("10.20.5.1"), router("fd20::1")],
                opening: Some(Opening {
                    link: link.clone(),
                    visitor: Visitor::Uid(1000),
                    until: Time::since_boot(std::time::Duration::from_secs(60)),
                }),
            },
            resolvers: Vec::new(),
            internal: Vec::new(),
            tun: TunConfig {
                name: TunConfig::NAME.to_owned(),
                addresses: Vec::new(),
                mtu: 1420,
            },
        };
        for (family, count) in [(Family::V4, 8), (Family::V6, 7)] {
            let rules = wanted(&config, family);
            assert_eq!(rules.len(), count, "{rules:?}");
            for rule in rules {
                assert_eq!(Rule::parse(&rule.message(family)), Some(rule));
            }
        }
    }
}
