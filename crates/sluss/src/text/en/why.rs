//! Where the laptop is and why, in English.

use sluss_ipc::{
    BeaconKind, DownReason, Endpoint, EndpointState, Evidence, Link, Location, LocationRules,
    Medium, Outcome, OutsideReason, Portal, Resolution, ResolutionFault, Tunnel, Warning, Why,
};

use super::English;
use crate::text::{
    Text as _, on_links, plain,
    why::{
        WhyText, by_outcome, enumerate, host, moment, named, resolution_fault, seen_and_own,
        silent_for,
    },
};

impl WhyText for English {
    fn whereabouts(&self, why: &Why) -> String {
        let since = why
            .location_age_ms
            .map_or_else(String::new, |age| format!(", for {} now", self.span(age)));
        match &why.location {
            Location::Offline => "There is no network.".to_owned(),
            Location::Asleep => "The laptop is going to sleep, or has just woken.".to_owned(),
            Location::Settling if why.warnings.contains(&Warning::LinkFlapping) => {
                "A network link comes and goes, and it is decided where you are when that has stopped."
                    .to_owned()
            }
            Location::Settling => {
                "The network is changing, so it is not yet known where you are.".to_owned()
            }
            Location::Probing => {
                "It is being found out whether you are on the internal network.".to_owned()
            }
            Location::Inside {
                link: Some(link),
                beacon: Some(beacon),
            } => format!(
                "You are on the internal network{since}: the beacon {} proved it on {}.",
                plain(beacon),
                plain(link)
            ),
            Location::Inside { .. } => {
                format!("You are on the internal network{since}, as a beacon proved.")
            }
            Location::Outside { reason, .. } => match reason {
                OutsideReason::NoBeacon => {
                    "You count as outside the internal network, since the policy names no beacon that could prove you inside."
                        .to_owned()
                }
                OutsideReason::NoProof => {
                    format!("You are outside the internal network{since}.")
                }
                OutsideReason::WeakProof => format!(
                    "You count as outside the internal network{since}: a server proved its key, but the policy asks for a beacon, which also shows whether anybody is in between."
                ),
                OutsideReason::TooFewProofs { proved, needed } => format!(
                    "You count as outside the internal network{since}: {proved} of the {needed} beacons that the policy asks for proved itself."
                ),
                OutsideReason::NotConfirmed => format!(
                    "You count as outside the internal network{since}: a beacon proved itself once, and then not again."
                ),
                OutsideReason::ProbeOverdue => format!(
                    "You count as outside the internal network{since}: the search for beacons did not end in time."
                ),
            },
        }
    }

    fn testimony(&self, evidence: &[&Evidence], rules: Option<LocationRules>, all: bool) -> String {
        let Some(first) = evidence.first() else {
            return String::new();
        };
        let groups = by_outcome(evidence);
        let silent = groups
            .iter()
            .all(|(outcome, _)| *outcome != Outcome::Proved);
        let clauses: Vec<String> = groups
            .iter()
            .map(|(outcome, group)| {
                let names: Vec<String> = group.iter().map(|it| named(it)).collect();
                let names = enumerate(&names, "and", |n| format!("{n} others"));
                let did = match (outcome, rules) {
                    (Outcome::Proved, _) if group[0].kind == BeaconKind::Tls => {
                        "proved its key".to_owned()
                    }
                    (Outcome::NoAnswer, Some(rules)) => format!(
                        "gave no answer within {}",
                        self.short_span(rules.probe_timeout_ms)
                    ),
                    (outcome, _) => self.outcome(*outcome),
                };
                format!("{names} {did}")
            })
            .collect();
        let nobody = if silent && all {
            " no beacon answered"
        } else {
            ""
        };
        format!(
            "On {}{nobody}, {}: {}.",
            plain(&first.link),
            self.ago(first.age_ms),
            clauses.join(", ")
        )
    }

    fn doubt(&self, evidence: &Evidence) -> String {
        let beacon = named(evidence);
        let on = format!(
            "On {}, {},",
            plain(&evidence.link),
            self.ago(evidence.age_ms)
        );
        match evidence.outcome {
            Outcome::Relayed { seen, own } => {
                let (from, own) = seen_and_own(seen, own);
                format!(
                    "{on} {beacon} proved its key, but it was asked from {from} and not from this laptop's {own}: somebody relays, or translates addresses, in between. \
                     If this is an office of yours, IT adds {} to `nat` of this beacon in the policy, or sets up a beacon in this building.",
                    seen.ip()
                )
            }
            Outcome::WrongKey => format!(
                "{on} somebody at the address of {beacon} showed another key: this is another network, or the beacon has a new key that the policy does not name yet."
            ),
            Outcome::Expired {
                not_after_unix_s,
                clock_unix_s,
            } => format!(
                "{on} {beacon} showed a certificate that was valid until {}, while this laptop's clock says {}: the certificate must be renewed, or the clock is wrong.",
                moment(not_after_unix_s),
                moment(clock_unix_s)
            ),
            Outcome::NotYetValid {
                not_before_unix_s,
                clock_unix_s,
            } => format!(
                "{on} {beacon} showed a certificate that is valid from {}, while this laptop's clock says {}: the clock is wrong, or the certificate is.",
                moment(not_before_unix_s),
                moment(clock_unix_s)
            ),
            Outcome::NotTls => {
                format!("{on} something that is no beacon answered at the address of {beacon}.")
            }
            Outcome::NotABeacon => format!(
                "{on} {beacon} proved its key, but does not speak as a beacon does: it may be another server, which the policy must call `kind = \"tls\"`."
            ),
            Outcome::Proved | Outcome::Refused | Outcome::Unreachable | Outcome::NoAnswer => {
                format!("{on} {beacon} {}.", self.outcome(evidence.outcome))
            }
        }
    }

    fn and_more(&self, count: usize) -> String {
        format!("`sluss status -v` has {count} more answers of beacons.")
    }

    fn portal(&self, portal: &Portal) -> Option<String> {
        let on = |page: &Option<sluss_ipc::PortalPage>| {
            page.as_ref()
                .map_or_else(String::new, |page| format!(" on {}", plain(&page.link)))
        };
        let at = |page: &Option<sluss_ipc::PortalPage>| {
            page.as_ref()
                .map_or_else(String::new, |page| format!(": {}", plain(&page.url)))
        };
        Some(match portal {
            Portal::Absent => return None,
            Portal::Found {
                page,
                may_open: true,
            } => format!(
                "The network{} wants a login first{}; `sluss portal` opens the page.",
                on(page),
                at(page)
            ),
            Portal::Found {
                page,
                may_open: false,
            } => format!("The network{} wants a login first{}.", on(page), at(page)),
            Portal::Open {
                page,
                left_ms,
                renewable,
            } => {
                let again = if *renewable {
                    " (once more with `sluss portal --renew`)"
                } else {
                    ""
                };
                format!(
                    "The network{} wants a login first{}; the way to the page is open for another {}{again}.",
                    on(page),
                    at(page),
                    self.span(*left_ms)
                )
            }
        })
    }

    fn tunnel_anyway(&self) -> &'static str {
        "The policy wants the tunnel here all the same."
    }

    fn why_tunnel(&self, why: &Why) -> String {
        let to_gateway = match &why.gateway {
            Some(gateway) => format!(" to {}", plain(&gateway.name)),
            None => String::new(),
        };
        let down = match why.tunnel {
            Tunnel::Up => {
                let handshake = why.traffic.and_then(|traffic| traffic.handshake_age_ms);
                return match handshake {
                    Some(age) => format!(
                        "The tunnel{to_gateway} is open; its last handshake was {}.",
                        self.ago(age)
                    ),
                    None => format!("The tunnel{to_gateway} is open."),
                };
            }
            Tunnel::Starting => return format!("The tunnel{to_gateway} is being opened."),
            Tunnel::Stopping => return "The tunnel is being shut.".to_owned(),
            Tunnel::Down { reason } => reason,
        };
        match down {
            DownReason::NotNeeded => "So no tunnel is needed.".to_owned(),
            DownReason::Deciding => "The tunnel stays shut until that is known.".to_owned(),
            DownReason::NoNetwork => "So the tunnel is shut.".to_owned(),
            DownReason::NoCard | DownReason::KeyLocked => {
                format!("The tunnel is shut: {}.", self.key(why.key))
            }
            DownReason::StoppedByUser => {
                "The tunnel is shut since you asked for it (`sluss down`).".to_owned()
            }
            DownReason::NotEnrolled => {
                "The tunnel is shut since this laptop is not enrolled.".to_owned()
            }
            DownReason::DeviceFailed => {
                "The tunnel is shut since its network device could not be used.".to_owned()
            }
            DownReason::SocketFailed => {
                "The tunnel is shut since its network socket could not be used.".to_owned()
            }
            DownReason::WorkerFailed => {
                "The tunnel is shut since a part of the daemon failed.".to_owned()
            }
        }
    }

    fn silence(&self, silent: &Endpoint, instead: Option<&Endpoint>) -> Option<String> {
        let since = self.span(silent_for(silent)?);
        let name = plain(&silent.name);
        Some(match instead {
            Some(other) => format!(
                "UDP to {name} has got no answer from this network for {since}, so {} is used.",
                plain(&other.name)
            ),
            None => format!("UDP to {name} gets no answer from this network, for {since} now."),
        })
    }

    fn unresolved(&self, endpoint: &Endpoint) -> Option<String> {
        let fault = self.resolution_fault(resolution_fault(endpoint)?);
        let name = host(endpoint);
        Some(match endpoint.addresses.first() {
            Some(address) => format!(
                "The name {name} could not be resolved here, since {fault}; {}, which the policy gives for this case, is used.",
                address.ip()
            ),
            None => format!("The name {name} could not be resolved here, since {fault}."),
        })
    }

    fn resolution_fault(&self, fault: ResolutionFault) -> String {
        match fault {
            ResolutionFault::NoResolver => "the network names no resolver".to_owned(),
            ResolutionFault::NoAnswer => "the resolver does not answer".to_owned(),
            ResolutionFault::NoSuchName => "the resolver knows no such name".to_owned(),
            ResolutionFault::NoAddress => "the resolver knows no address of it".to_owned(),
            ResolutionFault::ResolverFailed => "the resolver failed".to_owned(),
            ResolutionFault::Astray { to } => {
                format!("the resolver leads to {to}, where it cannot be")
            }
        }
    }

    fn outcome(&self, outcome: Outcome) -> String {
        match outcome {
            Outcome::Proved => "proved itself".to_owned(),
            Outcome::Relayed { seen, .. } => {
                format!("proved its key, but was asked from {}", seen.ip())
            }
            Outcome::WrongKey => "showed another key".to_owned(),
            Outcome::Expired {
                not_after_unix_s, ..
            } => format!(
                "showed a certificate that was valid until {}",
                moment(not_after_unix_s)
            ),
            Outcome::NotYetValid {
                not_before_unix_s, ..
            } => format!(
                "showed a certificate that is valid from {}",
                moment(not_before_unix_s)
            ),
            Outcome::NotTls => "is no beacon".to_owned(),
            Outcome::NotABeacon => "proved its key, but does not speak as a beacon does".to_owned(),
            Outcome::Refused => "refused the connection".to_owned(),
            Outcome::Unreachable => "could not be reached".to_owned(),
            Outcome::NoAnswer => "gave no answer".to_owned(),
        }
    }

    fn link_medium(&self, link: &Link) -> String {
        format!("{} ({})", plain(&link.name), medium(link.medium))
    }

    fn link(&self, link: &Link) -> String {
        let mut words = vec![medium(link.medium).to_owned()];
        words.extend(link.metered.then(|| "metered".to_owned()));
        words.extend(link.addresses.iter().map(ToString::to_string));
        format!("{}: {}", plain(&link.name), words.join(", "))
    }

    fn endpoint(&self, endpoint: &Endpoint) -> String {
        let state = match endpoint.state {
            EndpointState::Idle => "not called".to_owned(),
            EndpointState::Calling => "called".to_owned(),
            EndpointState::InUse => "in use".to_owned(),
            EndpointState::Silent { age_ms } => format!("no answer for {}", self.span(age_ms)),
        };
        let addresses: Vec<String> = endpoint
            .addresses
            .iter()
            .map(|address| address.ip().to_string())
            .collect();
        let addresses = addresses.join(", ");
        let way = match endpoint.resolution {
            Resolution::Literal => String::new(),
            Resolution::Pending => ", not resolved yet".to_owned(),
            Resolution::Resolved { age_ms } => {
                format!(", resolved to {addresses} {}", self.ago(age_ms))
            }
            Resolution::Fallback { fault, .. } => format!(
                ", {addresses} by the policy, since {}",
                self.resolution_fault(fault)
            ),
            Resolution::Failed { fault, .. } => {
                format!(", not resolved, since {}", self.resolution_fault(fault))
            }
        };
        format!("{}: {state}{way}", plain(&endpoint.name))
    }

    fn metered(&self, link: &Link) -> String {
        format!(
            "{} is metered: what is sent there may cost.",
            plain(&link.name)
        )
    }

    fn location(&self, location: &Location) -> String {
        match location {
            Location::Offline => "no network".to_owned(),
            Location::Asleep => "asleep".to_owned(),
            Location::Settling => "the network is changing".to_owned(),
            Location::Probing => "looking for the internal network".to_owned(),
            Location::Inside {
                link: Some(link),
                beacon: Some(beacon),
            } => {
                format!("inside: {} proved it on {}", plain(beacon), plain(link))
            }
            Location::Inside {
                link: Some(link),
                beacon: None,
            } => format!("inside on {}", plain(link)),
            Location::Inside { link: None, .. } => "inside".to_owned(),
            Location::Outside { reason, links } => {
                let on = on_links(links, "on", "and");
                match reason {
                    OutsideReason::NoBeacon => "outside: the policy names no beacon".to_owned(),
                    OutsideReason::NoProof => format!("outside: no beacon{on}"),
                    OutsideReason::WeakProof => {
                        format!("outside: a server{on}, but no beacon")
                    }
                    OutsideReason::TooFewProofs { proved, needed } => {
                        format!("outside: {proved} of {needed} beacons{on}")
                    }
                    OutsideReason::NotConfirmed => {
                        format!("outside: a beacon answered only once{on}")
                    }
                    OutsideReason::ProbeOverdue => {
                        format!("outside: the search{on} did not end")
                    }
                }
            }
        }
    }
}

impl English {
    /// Short enough that tenths of a second count.
    fn short_span(&self, ms: u64) -> String {
        match ms {
            0..10_000 if !ms.is_multiple_of(1_000) => {
                format!("{}.{} seconds", ms / 1_000, ms % 1_000 / 100)
            }
            _ => self.span(ms),
        }
    }
}

fn medium(medium: Medium) -> &'static str {
    match medium {
        Medium::Wired => "cable",
        Medium::Wireless { open: false } => "Wi-Fi",
        Medium::Wireless { open: true } => "Wi-Fi without a password",
        Medium::Mobile => "mobile",
    }
}
