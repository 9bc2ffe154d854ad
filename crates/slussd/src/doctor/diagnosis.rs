//! The judgement: what is known goes in, one finding for each check comes out. Nobody is asked, and no clock is read.

use std::net::{IpAddr, SocketAddr};

use sluss_ipc::doctor::{self, Check, ClockWitness, Finding, LinkFacts, Seen, Verdict};
use sluss_ipc::{
    CardFault, DownReason, EndpointState, Host, Key, Outcome, PathVerdict, Portal, PortalPage,
    Status, Tunnel, Warning,
};
use sluss_policy::{Endpoint, Policy};
use sluss_supervisor::PortalAnswer;

use super::{Date, Observed};
use crate::engine::words;
use crate::resolver::{How, Located};

/// A handshake is due every two minutes (whitepaper 6.2): after three, nothing can be heard any more.
const SESSION_LASTS_MS: u64 = 180_000;

/// Initiations without an answer that are no chance.
const MANY: u32 = 3;

/// Below this, a wrong PIN or two blocks the card.
const FEW_TRIES: u8 = 2;

/// As much as a server's answer may be late, or its clock off.
const CLOCK_TOLERANCE_S: u64 = 60;

/// What a diagnosis is made of.
pub(crate) struct Facts<'a> {
    /// As of now, with the evidence that was asked for anew.
    pub status: &'a Status,
    pub links: &'a [LinkFacts],
    pub policy: &'a Policy,
    pub observed: &'a Observed,
    /// Whether the fresh evidence is enough.
    pub proved: bool,
    /// Whether the laptop is bound to a card.
    pub enrolled: bool,
}

/// One finding for each check; a check that could not come out right because of another is not made.
pub(crate) fn diagnose(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for check in Check::ALL {
        let obstacle = needs(check, facts)
            .iter()
            .find_map(|need| obstacle(&findings, *need));
        findings.push(match obstacle {
            Some(because) => Finding::not_run(check, because),
            None => look(check, facts).of(check),
        });
    }
    findings
}

fn look(check: Check, facts: &Facts<'_>) -> Seen {
    match check {
        Check::Daemon => daemon(facts),
        Check::Link => doctor::link(facts.links),
        Check::Address => doctor::address(facts.links),
        Check::CaptivePortal => captive_portal(facts),
        Check::Clock => clock(facts),
        Check::Resolver => resolver(facts),
        Check::Beacon => beacon(facts),
        Check::Host => host(facts),
        Check::Enrolment => enrolment(facts),
        Check::Card => card(facts),
        Check::Pin => pin(facts),
        Check::GatewayUdp => gateway_udp(facts),
        Check::Handshake => handshake(facts),
        Check::PathMtu => path_mtu(facts),
        Check::InternalDns => internal_dns(facts),
    }
}

/// What has to be right before a check says anything.
fn needs(check: Check, facts: &Facts<'_>) -> &'static [Check] {
    let inside = inside_without_tunnel(facts);
    let is_down = matches!(facts.status.tunnel, Tunnel::Down { .. });
    match check {
        Check::Daemon | Check::Link | Check::Clock | Check::Host | Check::Enrolment => &[],
        Check::Address => &[Check::Link],
        Check::CaptivePortal | Check::Beacon => &[Check::Address],
        Check::Resolver => &[Check::Address, Check::CaptivePortal],
        Check::Card => &[Check::Enrolment],
        Check::Pin => &[Check::Enrolment, Check::Card],
        Check::GatewayUdp if inside => &[],
        Check::GatewayUdp if is_down => &[
            Check::Address,
            Check::CaptivePortal,
            Check::Host,
            Check::Enrolment,
            Check::Card,
            Check::Pin,
            Check::Resolver,
        ],
        // A session outlives a resolver, and a key that was locked meanwhile.
        Check::GatewayUdp => &[Check::Address, Check::CaptivePortal],
        Check::Handshake | Check::PathMtu => &[Check::GatewayUdp],
        Check::InternalDns if facts.policy.doctor.internal_name.is_none() => &[],
        Check::InternalDns if inside => &[Check::Address, Check::Host],
        Check::InternalDns => &[Check::GatewayUdp, Check::Handshake],
    }
}

/// The check that is to blame if `need` did not come out right.
fn obstacle(findings: &[Finding], need: Check) -> Option<Check> {
    let finding = findings.iter().find(|finding| finding.check == need)?;
    match (&finding.verdict, &finding.seen) {
        (_, Seen::NotRun { because }) => Some(*because),
        (Verdict::Failed, _) => Some(need),
        (Verdict::Ok | Verdict::Warning | Verdict::NotApplicable | Verdict::NotRun, _) => None,
    }
}

fn inside_without_tunnel(facts: &Facts<'_>) -> bool {
    facts.status.tunnel
        == Tunnel::Down {
            reason: DownReason::NotNeeded,
        }
}

fn daemon(facts: &Facts<'_>) -> Seen {
    match facts.status.tunnel {
        Tunnel::Down {
            reason: DownReason::StoppedByUser,
        } => Seen::StoppedByUser,
        Tunnel::Down { .. } | Tunnel::Starting | Tunnel::Up | Tunnel::Stopping => Seen::DaemonRuns,
    }
}

fn captive_portal(facts: &Facts<'_>) -> Seen {
    let Some(rules) = &facts.policy.portal else {
        return Seen::PortalNotLookedFor;
    };
    let answers = || facts.observed.portal.iter();
    let found = answers().find_map(|check| match &check.answer {
        PortalAnswer::Intercepted { url } => Some(PortalPage {
            link: check.link.name.clone(),
            url: rules.probe.to_string(),
            login: url.clone(),
        }),
        PortalAnswer::Expected | PortalAnswer::Silent => None,
    });
    match (found, &facts.status.portal) {
        (Some(page), Portal::Open { left_ms, .. }) => Seen::PortalOpen {
            page,
            left_ms: *left_ms,
        },
        (Some(page), Portal::Absent | Portal::Found { .. }) => Seen::PortalFound { page },
        (None, _) if answers().any(|check| check.answer == PortalAnswer::Expected) => {
            Seen::NoPortal
        }
        (None, _) => Seen::PortalUnknown,
    }
}

fn clock(facts: &Facts<'_>) -> Seen {
    let doubts = facts
        .status
        .evidence
        .iter()
        .find_map(|it| match it.outcome {
            Outcome::Expired {
                not_after_unix_s,
                clock_unix_s,
            } => Some((clock_unix_s, not_after_unix_s)),
            Outcome::NotYetValid {
                not_before_unix_s,
                clock_unix_s,
            } => Some((clock_unix_s, not_before_unix_s)),
            Outcome::Proved
            | Outcome::Relayed { .. }
            | Outcome::WrongKey
            | Outcome::NotTls
            | Outcome::NotABeacon
            | Outcome::Refused
            | Outcome::Unreachable
            | Outcome::NoAnswer => None,
        });
    if let Some((clock_unix_s, certificate_unix_s)) = doubts {
        return Seen::ClockOff {
            clock_unix_s,
            certificate_unix_s,
        };
    }
    // A bare key has no dates.
    let dated = |name: &str| {
        let beacons = facts.policy.beacons.iter();
        beacons
            .into_iter()
            .any(|it| it.name == name && !it.shows_key_alone())
    };
    let mut evidence = facts.status.evidence.iter();
    if evidence.any(|it| it.outcome == Outcome::Proved && dated(&it.beacon)) {
        return Seen::ClockAgrees {
            witness: ClockWitness::Certificate,
        };
    }
    let date = facts.observed.date;
    if let Some(Date { server, clock }) = date
        && server.abs_diff(clock) > CLOCK_TOLERANCE_S
    {
        return Seen::ClockDiffers {
            clock_unix_s: clock,
            server_unix_s: server,
        };
    }
    match facts.observed.clock_is_set {
        Some(true) => Seen::ClockAgrees {
            witness: ClockWitness::TimeService,
        },
        // A clock that runs well needs no service.
        Some(false) | None if date.is_some() => Seen::ClockAgrees {
            witness: ClockWitness::ProbeServer,
        },
        Some(false) => Seen::ClockNotSet,
        None => Seen::ClockUnwitnessed,
    }
}

fn beacon(facts: &Facts<'_>) -> Seen {
    let evidence = facts.status.evidence.clone();
    let silent = |outcome: Outcome| match outcome {
        Outcome::Refused | Outcome::Unreachable | Outcome::NoAnswer => true,
        Outcome::Proved
        | Outcome::Relayed { .. }
        | Outcome::WrongKey
        | Outcome::Expired { .. }
        | Outcome::NotYetValid { .. }
        | Outcome::NotTls
        | Outcome::NotABeacon => false,
    };
    match facts.status.rules {
        _ if facts.policy.beacons.is_empty() => Seen::NoBeaconKnown,
        _ if facts.proved => Seen::ProvedInside { evidence },
        Some(rules) if evidence.iter().any(|it| !silent(it.outcome)) => {
            Seen::BeaconInDoubt { evidence, rules }
        }
        Some(_) | None => Seen::NoBeaconHere { evidence },
    }
}

fn host(facts: &Facts<'_>) -> Seen {
    match facts.status.host {
        Host::Applying { .. } | Host::Applied { .. } => Seen::HostSet,
        Host::Unknown | Host::Failed { .. } => Seen::HostNotSet,
    }
}

fn enrolment(facts: &Facts<'_>) -> Seen {
    let unbound = facts.status.key
        == Key::Unusable {
            fault: CardFault::NotEnrolled,
        };
    match facts.status.tunnel {
        Tunnel::Down {
            reason: DownReason::NotEnrolled,
        } => Seen::NotEnrolled,
        Tunnel::Down { .. } | Tunnel::Starting | Tunnel::Up | Tunnel::Stopping
            if unbound || !facts.enrolled =>
        {
            Seen::NotEnrolled
        }
        Tunnel::Down { .. } | Tunnel::Starting | Tunnel::Up | Tunnel::Stopping => Seen::Enrolled,
    }
}

fn card(facts: &Facts<'_>) -> Seen {
    if inside_without_tunnel(facts) {
        return Seen::TunnelNotNeeded;
    }
    match facts.status.key {
        Key::NoService => Seen::NoCardService,
        Key::Absent => Seen::NoCard,
        Key::Unusable { fault } => Seen::CardUnusable { fault },
        Key::Locked
        | Key::AwaitingPin
        | Key::Declined
        | Key::Withdrawn
        | Key::Verifying
        | Key::Unlocked
        | Key::Blocked => match &facts.status.card {
            Some(card) if !facts.status.warnings.contains(&Warning::CardSlow) => Seen::CardServes {
                kind: card.kind,
                serial: card.serial.clone(),
            },
            Some(_) | None => Seen::CardSlow,
        },
    }
}

fn pin(facts: &Facts<'_>) -> Seen {
    if inside_without_tunnel(facts) {
        return Seen::TunnelNotNeeded;
    }
    let card = facts.status.card.as_ref();
    match (facts.status.key, card.and_then(|card| card.tries_left)) {
        (Key::Unlocked, Some(tries_left)) if tries_left <= FEW_TRIES => {
            Seen::FewTries { tries_left }
        }
        (Key::Unlocked, _) => Seen::PinGiven,
        (Key::Blocked, _) => Seen::PinBlocked,
        (
            Key::NoService
            | Key::Absent
            | Key::Unusable { .. }
            | Key::Locked
            | Key::AwaitingPin
            | Key::Declined
            | Key::Withdrawn
            | Key::Verifying,
            _,
        ) => Seen::PinNeeded,
    }
}

fn resolver(facts: &Facts<'_>) -> Seen {
    let located = facts.observed.resolution.located.iter();
    let names: Vec<Seen> = located.zip(&facts.policy.endpoints).map(name).collect();
    // One name that leads to the gateway is enough.
    [Verdict::Ok, Verdict::Warning, Verdict::Failed]
        .iter()
        .find_map(|best| names.iter().find(|seen| seen.verdict() == *best))
        .cloned()
        .unwrap_or(Seen::NoNameNeeded)
}

fn name((located, endpoint): (&Located, &Endpoint)) -> Seen {
    let name = endpoint.host.to_string();
    match located.how {
        How::Literal => Seen::NoNameNeeded,
        How::Resolved { .. } => Seen::NameResolved {
            name,
            addresses: located.addresses.iter().map(SocketAddr::ip).collect(),
        },
        How::Fallback(fault) => Seen::NameByFallback {
            name,
            fault: words::resolution_fault(fault),
        },
        How::Failed(fault) => Seen::NameNotResolved {
            name,
            fault: words::resolution_fault(fault),
        },
    }
}

/// What to say of the tunnel's own checks while it is down.
fn not_called(status: &Status) -> Option<Seen> {
    match status.tunnel {
        Tunnel::Down {
            reason: DownReason::NotNeeded,
        } => Some(Seen::TunnelNotNeeded),
        Tunnel::Down { reason } => Some(Seen::GatewayNotCalled { reason }),
        Tunnel::Stopping => Some(Seen::GatewayNotCalled {
            reason: DownReason::Deciding,
        }),
        Tunnel::Starting | Tunnel::Up => None,
    }
}

fn gateway_udp(facts: &Facts<'_>) -> Seen {
    if let Some(seen) = not_called(facts.status) {
        return seen;
    }
    let status = facts.status;
    let endpoints = status.gateway.iter().flat_map(|gateway| &gateway.endpoints);
    let silent: Vec<_> = endpoints
        .clone()
        .filter(|it| matches!(it.state, EndpointState::Silent { .. }))
        .cloned()
        .collect();
    let in_use = endpoints
        .clone()
        .find(|it| it.state == EndpointState::InUse);
    // While a session is young enough to carry packets, they are heard, whoever misses a handshake.
    let carries = status
        .traffic
        .and_then(|traffic| traffic.handshake_age_ms)
        .is_some_and(|age| age < SESSION_LASTS_MS);
    let complains = status.warnings.contains(&Warning::GatewaySilent);
    match in_use {
        Some(endpoint) if carries && silent.iter().any(|it| it.priority < endpoint.priority) => {
            Seen::GatewayDetour {
                endpoint: endpoint.clone(),
                silent,
            }
        }
        Some(endpoint) if carries => Seen::GatewayHeard {
            endpoint: endpoint.clone(),
        },
        _ if !complains && silent.is_empty() => Seen::GatewayAwaited,
        _ => Seen::GatewaySilent {
            endpoints: match silent.is_empty() {
                true => endpoints.cloned().collect(),
                false => silent,
            },
        },
    }
}

fn handshake(facts: &Facts<'_>) -> Seen {
    if let Some(seen) = not_called(facts.status) {
        return seen;
    }
    let traffic = facts.status.traffic.unwrap_or_default();
    match traffic.handshake_age_ms {
        _ if traffic.unanswered_handshakes >= MANY => Seen::HandshakeUnanswered {
            count: traffic.unanswered_handshakes,
        },
        Some(age_ms) => Seen::HandshakeDone { age_ms },
        None => Seen::GatewayAwaited,
    }
}

fn path_mtu(facts: &Facts<'_>) -> Seen {
    if let Some(seen) = not_called(facts.status) {
        return seen;
    }
    match facts.status.packets.and_then(|packets| packets.path) {
        Some(path) => match path.verdict {
            PathVerdict::Confirmed => Seen::PathWhole { path },
            PathVerdict::Reduced | PathVerdict::Fragmented => Seen::PathShort { path },
            PathVerdict::TooNarrow => Seen::PathTooNarrow { path },
            PathVerdict::Untested | PathVerdict::Unanswered => Seen::PathUnknown,
        },
        None => Seen::PathUnknown,
    }
}

fn internal_dns(facts: &Facts<'_>) -> Seen {
    let Some(name) = &facts.policy.doctor.internal_name else {
        return Seen::NoInternalName;
    };
    let name = name.to_string();
    let is_internal = |own: &IpAddr| facts.policy.internal.iter().any(|net| net.contains(own));
    match &facts.observed.internal {
        Some(Ok(addresses)) => {
            let addresses = addresses.clone();
            match addresses.iter().any(is_internal) {
                true => Seen::InternalNameResolved { name, addresses },
                false => Seen::InternalNameForeign { name, addresses },
            }
        }
        Some(Err(fault)) => Seen::InternalNameUnknown {
            name,
            fault: *fault,
        },
        // It has become reachable, or was given up, while the others were asked.
        None => not_called(facts.status).unwrap_or(Seen::GatewayAwaited),
    }
}

#[cfg(test)]
mod tests;
