//! Where the peer is: whom to call with an initiation, in which order, and who has answered.
//!
//! One initiation is a round of calls. It goes to all addresses of a group at once, and while nobody answers it goes on to
//! the next group, byte for byte the same: whoever had it already takes it for a replay, and whatever answers costs one
//! Diffie-Hellman. Any later round of the same attempt calls one address after the other and begins with another one each
//! time, because a path that takes our message but loses the answer must not be the fastest for ever.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::{EndpointStatus, Endpoints, Time};

/// What is known of a peer's addresses.
#[derive(Default)]
pub(super) struct Whereabouts {
    listed: Endpoints,
    /// Where packets go.
    in_use: Option<SocketAddr>,
    away: Option<Away>,
    /// Which of the listed were called and have not answered, and since when.
    silent: BTreeMap<SocketAddr, Time>,
}

/// The group that has answered is not the first.
struct Away {
    group: usize,
    /// When the first is called first again.
    until: Time,
}

impl Whereabouts {
    pub(super) fn in_use(&self) -> Option<SocketAddr> {
        self.in_use
    }

    /// Whether there is nobody to call.
    pub(super) fn is_unknown(&self) -> bool {
        self.in_use.is_none() && self.listed.is_empty()
    }

    pub(super) fn listed(&self) -> &Endpoints {
        &self.listed
    }

    /// Whether packets go to a listed address.
    pub(super) fn is_listed(&self) -> bool {
        self.in_use
            .is_some_and(|address| self.listed.group_of(address).is_some())
    }

    /// Other addresses from now on. Packets go where they went.
    pub(super) fn list(&mut self, endpoints: Endpoints) {
        self.silent
            .retain(|&address, _| endpoints.group_of(address).is_some());
        self.away = None;
        self.listed = endpoints;
    }

    /// We are on another network: who was silent may answer here.
    pub(super) fn start_over(&mut self, now: Time) {
        self.silent.clear();
        if let Some(away) = &mut self.away {
            away.until = now;
        }
    }

    /// Packets go there from now on. Says whether that is new.
    pub(super) fn turn_to(&mut self, address: SocketAddr) -> bool {
        self.silent.remove(&address);
        self.in_use.replace(address) != Some(address)
    }

    /// Whom to call with one initiation: those of a step at once, and one step after the other. `round` counts the
    /// initiations of the attempt from 0; `is_connected`: whether the address in use has a session.
    pub(super) fn calls(&self, round: u32, is_connected: bool, now: Time) -> Vec<Vec<SocketAddr>> {
        let groups = self.listed.groups();
        let returns = self.away.as_ref().is_some_and(|away| away.until <= now);
        let home = match &self.away {
            Some(away) if !returns => away.group,
            Some(_) | None => 0,
        };
        let home = groups.get(home).cloned().unwrap_or_default();
        let in_use = Vec::from_iter(self.in_use);
        let mut steps = match (is_connected, returns) {
            (true, false) => vec![in_use, home],
            (true, true) => vec![home, in_use],
            (false, _) if self.is_listed() => vec![home],
            // it roamed
            (false, _) => vec![[home, in_use].concat()],
        };
        steps.extend(groups.iter().cloned());
        if round > 0 {
            steps = one_by_one(steps, round);
        }
        let mut called = BTreeSet::new();
        for step in &mut steps {
            step.retain(|address| called.insert(*address));
        }
        steps.retain(|step| !step.is_empty());
        steps
    }

    /// An initiation goes there.
    pub(super) fn called(&mut self, address: SocketAddr, now: Time) {
        if self.listed.group_of(address).is_some() {
            self.silent.entry(address).or_insert(now);
        }
    }

    /// An authentic answer to an initiation came from there, `at` that time. Who had been called for less than `gap` is not
    /// silent, nor is the rest of the group: where it is one gateway, it answers once.
    pub(super) fn answered(
        &mut self,
        from: SocketAddr,
        at: Time,
        gap: Duration,
        hold_down: Duration,
    ) {
        let group = self.listed.group_of(from);
        let listed = &self.listed;
        self.silent.retain(|&address, since| {
            at.saturating_since(*since) >= gap && listed.group_of(address) != group
        });
        self.away = match (group, self.away.take()) {
            (Some(0), _) => None,
            (Some(group), Some(away)) if away.group == group && at < away.until => Some(away),
            (Some(group), _) => Some(Away {
                group,
                until: at + hold_down,
            }),
            (None, away) => away,
        };
    }

    pub(super) fn status(&self) -> Vec<EndpointStatus> {
        let groups = self.listed.groups().iter().enumerate();
        let each = groups.flat_map(|(group, addresses)| {
            addresses.iter().map(move |&address| EndpointStatus {
                address,
                group,
                silent_since: self.silent.get(&address).copied(),
            })
        });
        each.collect()
    }
}

/// The same calls without company, turned by `round` within their step.
fn one_by_one(steps: Vec<Vec<SocketAddr>>, round: u32) -> Vec<Vec<SocketAddr>> {
    let turned = |mut step: Vec<SocketAddr>| {
        let by = round as usize % step.len().max(1);
        step.rotate_left(by);
        step
    };
    let singles = steps.into_iter().flat_map(turned);
    singles.map(|address| vec![address]).collect()
}
