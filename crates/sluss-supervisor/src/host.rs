//! What is asked of the host: routes, firewall, and who is let by it.

use std::net::IpAddr;
use std::time::Duration;

use sluss_policy::Policy;

use crate::tunnel::tunnel_anyway;
use crate::{Action, DeadlineReason, Link, LinkId, Op, Portal, State, Time, Tunnel, Visitor};

const HOST_APPLY: Duration = Duration::from_secs(5);
const HOST_RETRY: Duration = Duration::from_secs(1);

/// Routes and firewall: what was asked for and what is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// The daemon has just started; its predecessor's rules may be there.
    Unknown,
    Applying {
        op: Op,
        rules: HostRules,
        deadline: Time,
    },
    Applied(HostRules),
    /// The last attempt to apply `rules` failed: what is there is not known.
    Failed {
        rules: HostRules,
        retry_at: Time,
    },
}

/// What routes and firewall shall be. Equal rules always make the same host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostRules {
    pub mode: HostMode,
    /// Gateways with an internal address on links that are not known to lead inside, as at home where somebody chose the
    /// same network: what the link needs of them, names and addresses, is not internal traffic. Sorted.
    pub routers: Vec<Router>,
    /// Whom a captive portal may be shown.
    pub opening: Option<Opening>,
}

/// What routes and firewall do with the internal prefixes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostMode {
    /// They lead nowhere.
    Closed,
    /// They leave by this link only; with its facts, since the routes are made of them.
    Inside { link: Link },
    /// They leave by the tunnel only.
    Tunnelled,
}

/// The next hop of a default route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Router {
    pub link: LinkId,
    pub address: IpAddr,
}

/// The way to a captive portal: TCP 80 and 443 and the link's resolver, for one visitor, on one link. The kernel itself is
/// to close it at `until`, whatever becomes of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Opening {
    pub link: LinkId,
    pub visitor: Visitor,
    pub until: Time,
}

impl Host {
    pub(crate) fn deadline(&self) -> Option<(Time, DeadlineReason)> {
        match self {
            Self::Applying { deadline, .. } => Some((*deadline, DeadlineReason::HostOverdue)),
            Self::Failed { retry_at, .. } => Some((*retry_at, DeadlineReason::HostRetry)),
            Self::Unknown | Self::Applied(_) => None,
        }
    }
}

impl State {
    pub(crate) fn host_answered(&mut self, op: Op, applied: bool, now: Time) {
        if let Host::Applying {
            op: waited_for,
            rules,
            ..
        } = &self.host
            && *waited_for == op
        {
            let rules = rules.clone();
            self.host = match applied {
                true => Host::Applied(rules),
                false => Host::Failed {
                    rules,
                    retry_at: now + HOST_RETRY,
                },
            };
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(&self.host, Host::Applied(rules) if rules.mode == HostMode::Closed)
    }

    pub(crate) fn decide_host(&mut self, policy: &Policy, now: Time, actions: &mut Vec<Action>) {
        let wanted = HostRules {
            mode: self.host_mode(policy),
            routers: self.routers(policy),
            opening: self.opening(),
        };
        let under_way = match &self.host {
            Host::Applied(rules) => *rules == wanted,
            Host::Applying {
                rules, deadline, ..
            } => *rules == wanted && *deadline > now,
            Host::Failed { rules, retry_at } => *rules == wanted && *retry_at > now,
            Host::Unknown => false,
        };
        if !under_way {
            let op = self.op();
            self.host = Host::Applying {
                op,
                rules: wanted.clone(),
                deadline: now + HOST_APPLY,
            };
            actions.push(Action::ApplyHost { op, rules: wanted });
        }
    }

    fn host_mode(&self, policy: &Policy) -> HostMode {
        let proof = self.location.verified().filter(|_| !tunnel_anyway(policy));
        match (&self.tunnel, proof) {
            (Tunnel::Up { .. }, _) => HostMode::Tunnelled,
            (Tunnel::Down { .. }, Some(verified)) => HostMode::Inside {
                link: verified.link.clone(),
            },
            (Tunnel::Down { .. }, None)
            | (Tunnel::Starting { .. } | Tunnel::Stopping { .. }, _) => HostMode::Closed,
        }
    }

    /// Only where the laptop counts as outside: before the verdict an internal address may be an internal router's.
    fn routers(&self, policy: &Policy) -> Vec<Router> {
        if self.location.outside_since().is_none() {
            return Vec::new();
        }
        let internal = |address: &IpAddr| policy.internal.iter().any(|net| net.contains(address));
        let mut routers: Vec<Router> = self
            .links
            .iter()
            .filter(|link| link.usable())
            .flat_map(|link| link.gateways.iter().map(|address| (&link.id, *address)))
            .filter(|(_, address)| internal(address))
            .map(|(link, address)| Router {
                link: link.clone(),
                address,
            })
            .collect();
        routers.sort();
        routers
    }

    fn opening(&self) -> Option<Opening> {
        match &self.portal {
            Portal::Open {
                portal,
                visitor,
                until,
                ..
            } => Some(Opening {
                link: portal.link.clone(),
                visitor: visitor.clone(),
                until: *until,
            }),
            Portal::Unknown
            | Portal::Checking { .. }
            | Portal::Clear { .. }
            | Portal::Found { .. } => None,
        }
    }
}
