//! Where the laptop is, on what evidence, and by which way the gateway is called: the sentences of `sluss why`.

use std::net::SocketAddr;

use sluss_ipc::{
    Endpoint, EndpointState, Evidence, Link, Location, LocationRules, Outcome, Portal, Resolution,
    ResolutionFault, Why,
};

/// The words for places and ways; a part of [`super::Text`].
pub(crate) trait WhyText {
    /// A sentence on where the laptop is, and since when.
    fn whereabouts(&self, why: &Why) -> String;
    /// A sentence on what the other beacons said on one link; `all`: there was nothing else there.
    fn testimony(&self, evidence: &[&Evidence], rules: Option<LocationRules>, all: bool) -> String;
    /// A sentence or two on something that answers in the place of a beacon and is no proof, and how that is cured.
    fn doubt(&self, evidence: &Evidence) -> String;
    /// How many pieces of evidence are not told.
    fn and_more(&self, count: usize) -> String;
    /// A sentence on the login page; nothing if there is none.
    fn portal(&self, portal: &Portal) -> Option<String>;
    /// The policy wants a tunnel although the laptop is inside.
    fn tunnel_anyway(&self) -> &'static str;
    /// A sentence on what follows for the tunnel.
    fn why_tunnel(&self, why: &Why) -> String;
    /// An endpoint does not answer; another is `instead`.
    fn silence(&self, silent: &Endpoint, instead: Option<&Endpoint>) -> Option<String>;
    /// A name could not be resolved; nothing if it could.
    fn unresolved(&self, endpoint: &Endpoint) -> Option<String>;
    fn resolution_fault(&self, fault: ResolutionFault) -> String;

    /// A few words for a table.
    fn outcome(&self, outcome: Outcome) -> String;
    /// Its name, and what it is made of.
    fn link_medium(&self, link: &Link) -> String;
    /// A few words for a table.
    fn link(&self, link: &Link) -> String;
    /// A few words for a table.
    fn endpoint(&self, endpoint: &Endpoint) -> String;
    fn metered(&self, link: &Link) -> String;
    /// A few words, to stand in brackets.
    fn location(&self, location: &Location) -> String;
}

/// How many names a person wants to hear in one breath.
const MOST_NAMES: usize = 3;

/// "a", "a and b", "a, b and 3 others".
pub(crate) fn enumerate(names: &[String], and: &str, others: impl Fn(usize) -> String) -> String {
    let told = match names.len() {
        0..=MOST_NAMES => names.to_vec(),
        count => {
            let mut told = names[..MOST_NAMES - 1].to_vec();
            told.push(others(count - told.len()));
            told
        }
    };
    match told.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} {and} {last}", most.join(", ")),
    }
}

/// The evidence in groups of one outcome each, in the order in which they come.
pub(crate) fn by_outcome<'a>(evidence: &[&'a Evidence]) -> Vec<(Outcome, Vec<&'a Evidence>)> {
    let mut groups: Vec<(Outcome, Vec<&Evidence>)> = Vec::new();
    for one in evidence {
        match groups
            .iter_mut()
            .find(|(outcome, _)| *outcome == one.outcome)
        {
            Some((_, group)) => group.push(one),
            None => groups.push((one.outcome, vec![one])),
        }
    }
    groups
}

/// A beacon as it is named, with its address.
pub(crate) fn named(evidence: &Evidence) -> String {
    format!(
        "{} ({})",
        super::plain(&evidence.beacon),
        evidence.address.ip()
    )
}

/// The address that a beacon saw, and our own; with ports where nothing else tells them apart.
pub(crate) fn seen_and_own(seen: SocketAddr, own: SocketAddr) -> (String, String) {
    if seen.ip() == own.ip() {
        (seen.to_string(), own.to_string())
    } else {
        (seen.ip().to_string(), own.ip().to_string())
    }
}

/// Whom an endpoint calls by which address, if it is a name that became one.
pub(crate) fn host(endpoint: &Endpoint) -> String {
    let name = endpoint.name.rsplit_once(':').map(|(host, _)| host);
    super::plain(name.unwrap_or(&endpoint.name))
}

/// The silence's age and what stands for the names' way, of all endpoints that are silent.
pub(crate) fn silent_for(endpoint: &Endpoint) -> Option<u64> {
    match endpoint.state {
        EndpointState::Silent { age_ms } => Some(age_ms),
        EndpointState::Idle | EndpointState::Calling | EndpointState::InUse => None,
    }
}

/// Why the network's own resolvers did not give the address.
pub(crate) fn resolution_fault(endpoint: &Endpoint) -> Option<ResolutionFault> {
    match endpoint.resolution {
        Resolution::Fallback { fault, .. } | Resolution::Failed { fault, .. } => Some(fault),
        Resolution::Literal | Resolution::Pending | Resolution::Resolved { .. } => None,
    }
}

/// A moment by the wall clock, given in seconds since 1970, as everybody can read it: "2026-11-23 02:15 UTC".
pub(crate) fn moment(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    // Days from the first of March of the year 0 fall into equal eras of 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!(
        "{:04}-{month:02}-{day:02} {:02}:{:02} UTC",
        era * 400 + year + next,
        second / 3_600,
        second / 60 % 60
    )
}
