//! Where the laptop is, and on what evidence, in the words of the IPC contract.

use sluss_ipc as ipc;
use sluss_supervisor as sup;

use super::{millis, policy};
use crate::engine::Engine;

impl Engine {
    pub(super) fn evidence(&self, evidence: &sup::Evidence, now: sup::Time) -> ipc::Evidence {
        let beacons = &self.policy.beacons;
        let beacon = beacons.iter().find(|it| it.name == evidence.beacon);
        ipc::Evidence {
            link: evidence.link.name.clone(),
            beacon: evidence.beacon.clone(),
            kind: beacon.map_or(ipc::BeaconKind::Tls, |it| policy::beacon_kind(it.kind)),
            site: beacon.and_then(|it| it.site.clone()),
            address: evidence.address,
            outcome: outcome(evidence.outcome),
            age_ms: millis(now.since(evidence.at)),
        }
    }

    pub(in crate::engine) fn portal(&self, now: sup::Time) -> ipc::Portal {
        let Some(rules) = &self.policy.portal else {
            return ipc::Portal::Absent;
        };
        let page = |portal: &sup::CaptivePortal| ipc::PortalPage {
            link: portal.link.name.clone(),
            url: rules.probe.to_string(),
            login: portal.url.clone(),
        };
        match &self.state.portal {
            sup::Portal::Unknown | sup::Portal::Checking { .. } | sup::Portal::Clear { .. } => {
                ipc::Portal::Absent
            }
            sup::Portal::Found {
                portal,
                openings_left,
                ..
            } => ipc::Portal::Found {
                page: Some(page(portal)),
                may_open: rules.open && *openings_left > 0,
            },
            sup::Portal::Open {
                portal,
                openings_left,
                until,
                ..
            } => ipc::Portal::Open {
                page: Some(page(portal)),
                left_ms: millis(until.since(now)),
                renewable: *openings_left > 0,
            },
        }
    }
}

pub(super) fn location(state: &sup::State) -> ipc::Location {
    match &state.location {
        sup::Location::Offline => ipc::Location::Offline,
        sup::Location::Asleep { .. } => ipc::Location::Asleep,
        sup::Location::Settling { .. } => ipc::Location::Settling,
        sup::Location::Probing {
            outside_since: None,
            ..
        } => ipc::Location::Probing,
        // Nobody need know that it is asked once more.
        sup::Location::Probing {
            outside_since: Some(_),
            ..
        } => outside(state, ipc::OutsideReason::NoProof),
        sup::Location::Inside(sup::Verified { link, .. }) => ipc::Location::Inside {
            link: Some(link.id.name.clone()),
            beacon: state
                .evidence
                .iter()
                .find(|evidence| {
                    evidence.link == link.id && evidence.outcome == sup::Outcome::Proved
                })
                .map(|evidence| evidence.beacon.clone()),
        },
        sup::Location::Outside { why, .. } => outside(
            state,
            match why {
                sup::OutsideReason::NoBeacon => ipc::OutsideReason::NoBeacon,
                sup::OutsideReason::NoProof => ipc::OutsideReason::NoProof,
                sup::OutsideReason::WeakProof => ipc::OutsideReason::WeakProof,
                sup::OutsideReason::TooFewProofs { proved, needed } => {
                    ipc::OutsideReason::TooFewProofs {
                        proved: *proved,
                        needed: *needed,
                    }
                }
                sup::OutsideReason::NotConfirmed => ipc::OutsideReason::NotConfirmed,
                sup::OutsideReason::ProbeOverdue => ipc::OutsideReason::ProbeOverdue,
            },
        ),
    }
}

fn outside(state: &sup::State, reason: ipc::OutsideReason) -> ipc::Location {
    let usable = state.links.iter().filter(|link| link.usable());
    ipc::Location::Outside {
        reason,
        links: usable.map(|link| link.id.name.clone()).collect(),
    }
}

pub(super) fn links(state: &sup::State) -> Vec<ipc::Link> {
    let usable = state.links.iter().filter(|link| link.usable());
    usable.map(link).collect()
}

pub(super) fn link(link: &sup::Link) -> ipc::Link {
    ipc::Link {
        name: link.id.name.clone(),
        medium: match link.medium {
            sup::Medium::Wired => ipc::Medium::Wired,
            sup::Medium::Wireless { open } => ipc::Medium::Wireless { open },
            sup::Medium::Mobile => ipc::Medium::Mobile,
        },
        metered: link.metered,
        addresses: link.addresses.iter().map(ipnet::IpNet::addr).collect(),
    }
}

pub(super) fn is_on_open_wifi(state: &sup::State) -> bool {
    let usable = state.links.iter().filter(|link| link.usable());
    usable
        .into_iter()
        .any(|link| link.medium == sup::Medium::Wireless { open: true })
}

fn outcome(outcome: sup::Outcome) -> ipc::Outcome {
    match outcome {
        sup::Outcome::Proved => ipc::Outcome::Proved,
        sup::Outcome::Relayed { seen, own } => ipc::Outcome::Relayed { seen, own },
        sup::Outcome::WrongKey => ipc::Outcome::WrongKey,
        sup::Outcome::Expired { not_after, clock } => ipc::Outcome::Expired {
            not_after_unix_s: not_after,
            clock_unix_s: clock,
        },
        sup::Outcome::NotYetValid { not_before, clock } => ipc::Outcome::NotYetValid {
            not_before_unix_s: not_before,
            clock_unix_s: clock,
        },
        sup::Outcome::NotTls => ipc::Outcome::NotTls,
        sup::Outcome::NotABeacon => ipc::Outcome::NotABeacon,
        sup::Outcome::Refused => ipc::Outcome::Refused,
        sup::Outcome::Unreachable => ipc::Outcome::Unreachable,
        sup::Outcome::NoAnswer => ipc::Outcome::NoAnswer,
    }
}
