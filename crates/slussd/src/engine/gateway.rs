//! Where the gateway is: looked for anew on each network, given to the tunnel, and told in the status.

use std::net::SocketAddr;

use sluss_ipc as ipc;
use sluss_policy::{Endpoint, Host};
use sluss_supervisor as sup;
use tracing::info;

use super::report::{Figures, millis};
use super::{Effect, Engine, TunnelOrder, words};
use crate::resolver::{How, Located, Resolution};

/// How long an endpoint may take to answer before it counts as silent: a handshake's first attempt (whitepaper 6.4).
const PATIENCE_MS: u64 = 5_000;

/// Handshakes without an answer after which the names are looked up once more: they may lead elsewhere by now.
const STALE_ATTEMPTS: u32 = 4;

/// What one network says of the gateway.
pub(super) struct Found {
    resolution: Resolution,
    at: sup::Time,
}

impl Engine {
    /// Has the gateway looked for on the links that are there. Until it is found, what was known before is used.
    pub(super) fn look_for_gateway(&self, effects: &mut Vec<Effect>) {
        let links = self.state.links.iter().filter(|link| link.usable());
        effects.push(Effect::Resolve {
            links: links.cloned().collect(),
        });
    }

    pub(super) fn found_gateway(
        &mut self,
        resolution: Resolution,
        now: sup::Time,
        effects: &mut Vec<Effect>,
    ) {
        for (endpoint, located) in self.policy.endpoints.iter().zip(&resolution.located) {
            info!(endpoint = endpoint.address(), addresses = ?located.addresses, how = ?located.how, "the gateway");
        }
        if !resolution.groups.is_empty() {
            let groups = resolution.groups.clone();
            effects.push(Effect::Tunnel(TunnelOrder::SetEndpoints { groups }));
        }
        self.found = Some(Found {
            resolution,
            at: now,
        });
    }

    /// The gateway has left so many handshakes unanswered.
    pub(super) fn missed_gateway(&self, attempts: u32, effects: &mut Vec<Effect>) {
        if attempts.is_multiple_of(STALE_ATTEMPTS) {
            self.look_for_gateway(effects);
        }
    }

    pub(super) fn gateway(&self, figures: &Figures, now: sup::Time) -> ipc::Gateway {
        let in_use = figures.endpoint.filter(|_| {
            figures
                .traffic
                .is_some_and(|it| it.handshake_age_ms.is_some())
        });
        let endpoints = self.policy.endpoints.iter().enumerate();
        ipc::Gateway {
            name: self.policy.gateway.name.clone(),
            address: in_use,
            endpoints: endpoints
                .map(|(place, endpoint)| {
                    let located = self.located(place);
                    let addresses: Vec<SocketAddr> = match located {
                        Some(located) => located.addresses.clone(),
                        None => endpoint.written().collect(),
                    };
                    ipc::Endpoint {
                        name: endpoint.address(),
                        priority: endpoint.priority,
                        resolution: self.resolution(endpoint, located, now),
                        state: state(&addresses, in_use, figures),
                        addresses,
                    }
                })
                .collect(),
        }
    }

    /// Whether nothing is left to call: no name has led anywhere, and the policy has no address.
    pub(super) fn is_gateway_lost(&self) -> bool {
        let found = self.found.as_ref();
        found.is_some_and(|found| found.resolution.groups.is_empty())
    }

    fn located(&self, place: usize) -> Option<&Located> {
        self.found.as_ref()?.resolution.located.get(place)
    }

    fn resolution(
        &self,
        endpoint: &Endpoint,
        located: Option<&Located>,
        now: sup::Time,
    ) -> ipc::Resolution {
        let found = self.found.as_ref();
        let age_ms = found.map_or(0, |found| millis(now.since(found.at)));
        match (located.map(|it| it.how), &endpoint.host) {
            (None, Host::Name(_)) => ipc::Resolution::Pending,
            (None, Host::Address(_)) | (Some(How::Literal), _) => ipc::Resolution::Literal,
            (Some(How::Resolved { .. }), _) => ipc::Resolution::Resolved { age_ms },
            (Some(How::Fallback(fault)), _) => ipc::Resolution::Fallback {
                fault: words::resolution_fault(fault),
                age_ms,
            },
            (Some(How::Failed(fault)), _) => ipc::Resolution::Failed {
                fault: words::resolution_fault(fault),
                age_ms,
            },
        }
    }
}

/// What the endpoint that has these addresses is to the tunnel.
fn state(
    addresses: &[SocketAddr],
    in_use: Option<SocketAddr>,
    figures: &Figures,
) -> ipc::EndpointState {
    let silent: Vec<u64> = figures
        .called
        .iter()
        .filter(|called| addresses.contains(&called.address))
        .filter_map(|called| called.silent_ms)
        .collect();
    // With several addresses it is as silent as the one that was called last.
    match silent.into_iter().min() {
        Some(age_ms) if age_ms >= PATIENCE_MS => ipc::EndpointState::Silent { age_ms },
        _ if in_use.is_some_and(|it| addresses.contains(&it)) => ipc::EndpointState::InUse,
        Some(_) => ipc::EndpointState::Calling,
        None => ipc::EndpointState::Idle,
    }
}
