//! `sluss why`: what was decided, since when, on what evidence, and what follows, in a few sentences.

use std::collections::BTreeSet;

use sluss_ipc::{
    BeaconKind, Endpoint, EndpointState, Evidence, Gateway, InsideRule, Location, Outcome,
    OutsideReason, Portal, Tunnel, Warning, Why,
};

use super::{advice, finish};
use crate::text::{Text, why::silent_for};

/// As many links, and as many doubtful beacons, are told; the rest is counted.
const MOST: usize = 2;

/// Two or three sentences that a helpdesk can read out.
pub(crate) fn why(why: &Why, text: &dyn Text) -> String {
    let mut sentences = vec![text.whereabouts(why)];
    // Behind a login page nothing else could answer.
    match text.portal(&why.portal) {
        Some(portal) => sentences.push(portal),
        None => sentences.extend(evidence(why, text)),
    }
    let inside = matches!(why.location, Location::Inside { .. });
    let rule = why.rules.map(|rules| rules.inside);
    if inside && rule == Some(InsideRule::TunnelAnyway) {
        sentences.push(text.tunnel_anyway().to_owned());
    }
    sentences.push(text.why_tunnel(why));
    if matches!(why.tunnel, Tunnel::Starting | Tunnel::Up) && why.portal == Portal::Absent {
        sentences.extend(way(why.gateway.as_ref(), &why.warnings, text));
    }
    sentences.extend(advice(why).map(|advice| text.advice(&advice)));
    finish(&[sentences.join(" ")])
}

/// What stands between the laptop and the gateway's endpoints: names that were not resolved, and silence.
pub(super) fn way(gateway: Option<&Gateway>, warnings: &[Warning], text: &dyn Text) -> Vec<String> {
    let endpoints = gateway.map_or(&[][..], |gateway| &gateway.endpoints);
    let in_use = endpoints
        .iter()
        .find(|it| it.state == EndpointState::InUse && silent_for(it).is_none());
    let first_in_use = in_use.map_or(u8::MAX, |it| it.priority);
    let is_silent = warnings.contains(&Warning::GatewaySilent);
    // What comes after the one that answers is of no interest.
    let matters = |it: &&Endpoint| is_silent || it.priority <= first_in_use;
    let silent = endpoints
        .iter()
        .filter(matters)
        .find(|it| silent_for(it).is_some());
    let unresolved = endpoints
        .iter()
        .filter(matters)
        .find_map(|it| text.unresolved(it));
    let silence = silent.and_then(|it| text.silence(it, in_use.filter(|_| !is_silent)));
    // Who may not see names hears that much.
    let or_warning = |told: Option<String>, warning| {
        let holds = warnings.contains(&warning);
        told.or_else(|| holds.then(|| text.warning(warning).to_owned()))
    };
    [
        or_warning(unresolved, Warning::NameNotResolved),
        or_warning(silence, Warning::GatewaySilent),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What the beacons said, link by link; nothing where that is not why.
fn evidence(why: &Why, text: &dyn Text) -> Vec<String> {
    let Location::Outside { reason, .. } = &why.location else {
        return Vec::new();
    };
    let counts_servers = why
        .rules
        .is_none_or(|rules| rules.require == BeaconKind::Tls);
    match reason {
        OutsideReason::NoProof
        | OutsideReason::WeakProof
        | OutsideReason::TooFewProofs { .. }
        | OutsideReason::NotConfirmed => {}
        OutsideReason::NoBeacon | OutsideReason::ProbeOverdue => return Vec::new(),
    }
    let links: BTreeSet<&str> = why.evidence.iter().map(|it| it.link.as_str()).collect();
    let mut doubts = Vec::new();
    let mut plain = Vec::new();
    for link in &links {
        let here = || why.evidence.iter().filter(|it| it.link == **link);
        let doubted: Vec<&Evidence> = here().filter(|it| is_doubtful(it)).collect();
        // A server's proof says nothing against a beacon's silence, unless servers count.
        let proved = here().any(|it| it.outcome == Outcome::Proved);
        let rest: Vec<&Evidence> = here().filter(|it| !is_doubtful(it)).collect();
        let is_told = doubted.is_empty() || (proved && counts_servers);
        if is_told && !rest.is_empty() {
            plain.push(text.testimony(&rest, why.rules, doubted.is_empty()));
        }
        doubts.extend(doubted);
    }
    let told = doubts.len().min(MOST);
    let left = (doubts.len() - told) + plain.len().saturating_sub(MOST);
    let mut sentences: Vec<String> = doubts.iter().take(MOST).map(|it| text.doubt(it)).collect();
    sentences.extend(plain.into_iter().take(MOST));
    sentences.extend((left > 0).then(|| text.and_more(left)));
    sentences
}

fn is_doubtful(evidence: &Evidence) -> bool {
    !evidence.outcome.is_proof_or_silence()
}

#[cfg(test)]
mod tests;
