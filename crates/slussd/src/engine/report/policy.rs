//! The policy in the words of the IPC contract.

use std::path::PathBuf;

use sluss_ipc as ipc;
use sluss_policy::{
    AfterUse, BeaconKind, CardRules, KeyMode, OnRemoval, PinLife, Policy, WhenInside,
};

use super::millis;
use crate::engine::Engine;

impl Engine {
    pub(in crate::engine) fn policy_report(&self) -> ipc::PolicyReport {
        let policy = &self.policy;
        let seconds =
            |every: std::time::Duration| u16::try_from(every.as_secs()).unwrap_or(u16::MAX);
        ipc::PolicyReport {
            schema: ipc::SCHEMA,
            files: self.policy_files.clone(),
            gateway: policy.gateway.name.clone(),
            endpoints: policy.endpoints.iter().map(endpoint).collect(),
            public_key: policy.gateway.public_key.to_string(),
            internal_prefixes: policy.internal.iter().map(ToString::to_string).collect(),
            location: rules(policy),
            beacons: policy.beacons.iter().map(beacon).collect(),
            portal: policy.portal.as_ref().map(|portal| ipc::PortalPolicy {
                probe: portal.probe.to_string(),
                open: portal.open,
            }),
            mtu: policy.tunnel.mtu,
            keepalive_s: policy.tunnel.keepalive.map(seconds),
            metered_keepalive_s: policy.tunnel.metered_keepalive.map(seconds),
            respond: policy.tunnel.respond,
            may_disconnect: policy.user.may_disconnect,
            card: card_policy(&policy.card),
            hand_over: policy.login.hand_over,
            login_wait_ms: policy.login.wait.map(millis),
            internal_name: policy
                .doctor
                .internal_name
                .as_ref()
                .map(ToString::to_string),
            support: support(policy),
        }
    }
}

pub(super) fn rules(policy: &Policy) -> ipc::LocationRules {
    let rules = &policy.location;
    ipc::LocationRules {
        require: beacon_kind(rules.require),
        quorum: u8::try_from(rules.quorum).unwrap_or(u8::MAX),
        inside: match rules.inside {
            WhenInside::NoTunnel => ipc::InsideRule::NoTunnel,
            WhenInside::TunnelAnyway => ipc::InsideRule::TunnelAnyway,
        },
        probe_timeout_ms: millis(policy.timing.probe_timeout),
    }
}

pub(super) fn beacon_kind(kind: BeaconKind) -> ipc::BeaconKind {
    match kind {
        BeaconKind::Tls => ipc::BeaconKind::Tls,
        BeaconKind::Beacon => ipc::BeaconKind::Beacon,
    }
}

/// None if the policy names nobody.
pub(crate) fn support(policy: &Policy) -> Option<ipc::doctor::Support> {
    let support = &policy.support;
    (*support != sluss_policy::Support::default()).then(|| ipc::doctor::Support {
        phone: support.phone.clone(),
        web: support.web.clone(),
        detour: support.detour.clone(),
    })
}

fn endpoint(endpoint: &sluss_policy::Endpoint) -> ipc::PolicyEndpoint {
    ipc::PolicyEndpoint {
        address: endpoint.address(),
        priority: endpoint.priority,
        fallback: endpoint.fallback.clone(),
    }
}

fn beacon(beacon: &sluss_policy::Beacon) -> ipc::Beacon {
    ipc::Beacon {
        name: beacon.name.clone(),
        kind: beacon_kind(beacon.kind),
        addresses: beacon.addresses.clone(),
        site: beacon.site.clone(),
        nat: beacon.nat.clone(),
    }
}

fn card_policy(rules: &CardRules) -> ipc::CardPolicy {
    let path = |path: &PathBuf| path.display().to_string();
    let (on_removal, grace) = match rules.on_removal {
        OnRemoval::Disconnect => (ipc::OnRemoval::Disconnect, None),
        OnRemoval::LockSession => (ipc::OnRemoval::LockSession, None),
        OnRemoval::Grace(grace) => (ipc::OnRemoval::Grace, Some(grace)),
    };
    let mode = |mode: &KeyMode| match mode {
        KeyMode::Held => ipc::KeyMode::Held,
        KeyMode::Sealed => ipc::KeyMode::Sealed,
    };
    let certificate = rules.certificate.as_ref();
    ipc::CardPolicy {
        modes: rules.modes.iter().map(mode).collect(),
        signature_wrap: rules.signature_wrap,
        pin: match rules.pin {
            PinLife::Ask => ipc::PinLife::Ask,
            PinLife::UntilLock => ipc::PinLife::UntilLock,
        },
        after_use: match rules.after_use {
            AfterUse::Keep => ipc::AfterUse::Keep,
            AfterUse::Unverify => ipc::AfterUse::Unverify,
            AfterUse::Reset => ipc::AfterUse::Reset,
        },
        on_removal,
        grace_ms: grace.map(millis),
        allow_factory_pin: rules.allow_factory_pin,
        pkcs11_module: rules.pkcs11_module.as_ref().map(path),
        certificate_issuers: certificate
            .map(|rules| rules.issuers.iter().map(path).collect())
            .unwrap_or_default(),
        certificate_subject: certificate.and_then(|rules| rules.subject.clone()),
    }
}
