//! What evidence is worth: by its rank, its site and the quorum, as the policy wants it.

use std::collections::BTreeMap;

use sluss_policy::{BeaconKind, Policy};

use crate::{Evidence, Link, Outcome, OutsideReason};

/// Whether this evidence, all of one link, proves that the link leads inside.
pub fn suffices(policy: &Policy, evidence: &[Evidence]) -> bool {
    let rules = &policy.location;
    most_of_one_site(policy, evidence, |kind| rules.accepts(kind)) >= rules.quorum
}

/// The usable links whose evidence suffices, best first.
pub(crate) fn proved(policy: &Policy, links: &[Link], evidence: &[Evidence]) -> Vec<Link> {
    links
        .iter()
        .filter(|link| link.usable() && suffices(policy, &of(link, evidence)))
        .cloned()
        .collect()
}

/// What was missing on the link that came nearest.
pub(crate) fn shortfall(policy: &Policy, links: &[Link], evidence: &[Evidence]) -> OutsideReason {
    let rules = &policy.location;
    let nearest = |counts: &dyn Fn(BeaconKind) -> bool| {
        links
            .iter()
            .map(|link| most_of_one_site(policy, &of(link, evidence), counts))
            .max()
            .unwrap_or(0)
    };
    match (
        nearest(&|kind| rules.accepts(kind)),
        nearest(&|kind| !rules.accepts(kind)),
    ) {
        (0, 0) => OutsideReason::NoProof,
        (0, _) => OutsideReason::WeakProof,
        (proved, _) => OutsideReason::TooFewProofs {
            proved: number(proved),
            needed: number(rules.quorum),
        },
    }
}

fn of(link: &Link, evidence: &[Evidence]) -> Vec<Evidence> {
    let ours = evidence.iter().filter(|it| it.link == link.id);
    ours.cloned().collect()
}

/// How many different beacons of one site proved themselves, at the site that has most.
fn most_of_one_site(
    policy: &Policy,
    evidence: &[Evidence],
    counts: impl Fn(BeaconKind) -> bool,
) -> usize {
    let mut sites: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for beacon in policy.beacons.iter().filter(|it| counts(it.kind)) {
        let proved = |it: &Evidence| it.beacon == beacon.name && it.outcome == Outcome::Proved;
        if evidence.iter().any(proved) {
            *sites.entry(beacon.site.as_deref()).or_default() += 1;
        }
    }
    sites.into_values().max().unwrap_or(0)
}

/// Policies name 32 beacons at most.
fn number(beacons: usize) -> u8 {
    u8::try_from(beacons).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
