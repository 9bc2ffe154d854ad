//! What the daemon asks the network: beacons, login pages, the gateway's names, and the doctor's questions.
//!
//! Each is asked beside the loop, and what came of it is an input. A newer question takes the place of an earlier one of its kind.

use sluss_policy::Policy;
use sluss_supervisor::{Link, Op, Time};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use crate::engine::{CallId, Input};
use crate::resolver::Resolver;
use crate::{doctor, portal, probe};

pub(crate) struct Inquiries {
    policy: Policy,
    resolver: Resolver,
    inputs: UnboundedSender<Input>,
    beacons: Option<(Op, AbortHandle)>,
    portal: Option<(Op, AbortHandle)>,
    gateway: Option<AbortHandle>,
}

impl Inquiries {
    pub(crate) fn new(policy: Policy, resolver: Resolver, inputs: UnboundedSender<Input>) -> Self {
        Self {
            policy,
            resolver,
            inputs,
            beacons: None,
            portal: None,
            gateway: None,
        }
    }

    pub(crate) fn ask_beacons(&mut self, op: Op, links: Vec<Link>, deadline: Time, now: Time) {
        let (policy, inputs) = (self.policy.clone(), self.inputs.clone());
        // The deadline is when the supervisor gives up on us; the policy says how long beacons may take.
        let patience = policy.timing.probe_timeout.min(deadline.since(now));
        let task = tokio::spawn(async move {
            let evidence = probe::evidence(&policy, &links, patience).await;
            drop(inputs.send(Input::ProbeFinished { op, evidence }));
        });
        self.beacons = Some((op, task.abort_handle()));
    }

    pub(crate) fn cancel_beacons(&mut self, op: Op) {
        if let Some((_, task)) = self.beacons.take_if(|(running, _)| *running == op) {
            task.abort();
        }
    }

    /// Does nothing without a portal in the policy.
    pub(crate) fn look_for_portal(&mut self, op: Op, links: Vec<Link>, deadline: Time, now: Time) {
        let Some(rules) = self.policy.portal.clone() else {
            return;
        };
        let (resolver, inputs) = (self.resolver.clone(), self.inputs.clone());
        let patience = deadline.since(now);
        let task = tokio::spawn(async move {
            let checks = portal::check(&rules, &resolver, &links, patience).await;
            drop(inputs.send(Input::PortalChecked { op, checks }));
        });
        self.portal = Some((op, task.abort_handle()));
    }

    pub(crate) fn cancel_portal(&mut self, op: Op) {
        if let Some((_, task)) = self.portal.take_if(|(running, _)| *running == op) {
            task.abort();
        }
    }

    /// Goes on until there is something to call.
    pub(crate) fn look_for_gateway(&mut self, links: Vec<Link>) {
        self.cancel_gateway();
        let (resolver, inputs) = (self.resolver.clone(), self.inputs.clone());
        let (endpoints, timing) = (self.policy.endpoints.clone(), self.policy.timing.clone());
        let task = tokio::spawn(async move {
            let mut pause = timing.retry_first;
            loop {
                let resolution = resolver.resolve(&endpoints, &links).await;
                let found = !resolution.groups.is_empty();
                if inputs.send(Input::GatewayFound(resolution)).is_err() || found {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(timing.retry_limit);
            }
        });
        self.gateway = Some(task.abort_handle());
    }

    pub(crate) fn cancel_gateway(&mut self) {
        if let Some(task) = self.gateway.take() {
            task.abort();
        }
    }

    /// Asks for all that a diagnosis wants to know; `reached`: whether the internal network is.
    pub(crate) fn observe(&self, call: CallId, links: Vec<Link>, reached: bool) {
        let (policy, resolver) = (self.policy.clone(), self.resolver.clone());
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let observed = doctor::observe(&policy, &resolver, &links, reached).await;
            let observed = Box::new(observed);
            drop(inputs.send(Input::Observed { call, observed }));
        });
    }
}
