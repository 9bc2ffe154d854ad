//! `sluss policy show`: the policy in force, most of it in its own words, which are the same in every language.

use sluss_ipc::{
    AfterUse, Beacon, BeaconKind, CardPolicy, InsideRule, KeyMode, LocationRules, OnRemoval,
    PinLife, PolicyEndpoint, PolicyReport,
};

use super::{Table, join};
use crate::text::{Label, Text, plain};

/// `sluss policy show`.
pub(crate) fn policy(policy: &PolicyReport, text: &dyn Text) -> String {
    let mut table = Table::new(text);
    table.add(Label::Files, &join(&policy.files));
    table.add(Label::Gateway, &plain(&policy.gateway));
    for PolicyEndpoint {
        address,
        priority,
        fallback,
    } in &policy.endpoints
    {
        let fallback = match fallback.as_slice() {
            [] => String::new(),
            addresses => format!(", fallback {}", join(addresses)),
        };
        table.add(
            Label::Endpoint,
            &format!("{}, priority {priority}{fallback}", plain(address)),
        );
    }
    table.add(Label::PublicKey, &plain(&policy.public_key));
    table.add(Label::Prefixes, &join(&policy.internal_prefixes));
    table.add(Label::Proof, &proof(&policy.location));
    for beacon in &policy.beacons {
        table.add(Label::Beacons, &self::beacon(beacon));
    }
    if let Some(portal) = &policy.portal {
        let open = match portal.open {
            true => "open",
            false => "not opened",
        };
        table.add(Label::Portal, &format!("{}, {open}", plain(&portal.probe)));
    }
    table.add(Label::Mtu, &policy.mtu.to_string());
    table.add_some(
        Label::Keepalive,
        policy.keepalive_s.map(|s| text.span(u64::from(s) * 1000)),
    );
    table.add_some(
        Label::Metered,
        policy
            .metered_keepalive_s
            .filter(|_| policy.metered_keepalive_s != policy.keepalive_s)
            .map(|s| text.span(u64::from(s) * 1000)),
    );
    table.add(Label::Respond, text.yes_or_no(policy.respond));
    table.add(Label::MayDisconnect, text.yes_or_no(policy.may_disconnect));
    add_card_policy(&mut table, &policy.card);
    table.add(Label::HandOver, text.yes_or_no(policy.hand_over));
    table.add_some(
        Label::LoginWait,
        policy.login_wait_ms.map(|ms| text.span(ms)),
    );
    table.add_some(
        Label::InternalName,
        policy.internal_name.as_deref().map(plain),
    );
    if let Some(support) = &policy.support {
        let lines = [&support.phone, &support.web, &support.detour];
        for line in lines.into_iter().flatten() {
            table.add(Label::Support, &plain(line));
        }
    }
    table.render()
}

/// In the words that the policy is written with, which are the same in every language.
fn proof(rules: &LocationRules) -> String {
    let inside = match rules.inside {
        InsideRule::NoTunnel => "no-tunnel",
        InsideRule::TunnelAnyway => "tunnel-anyway",
    };
    format!(
        "require {}, quorum {}, inside {inside}",
        kind(rules.require),
        rules.quorum
    )
}

fn beacon(beacon: &Beacon) -> String {
    let mut words = vec![kind(beacon.kind).to_owned()];
    words.extend(
        beacon
            .site
            .as_deref()
            .map(|site| format!("site {}", plain(site))),
    );
    words.extend((!beacon.nat.is_empty()).then(|| format!("nat {}", join(&beacon.nat))));
    format!(
        "{} ({}), {}",
        plain(&beacon.name),
        join(&beacon.addresses),
        words.join(", ")
    )
}

fn kind(kind: BeaconKind) -> &'static str {
    match kind {
        BeaconKind::Tls => "tls",
        BeaconKind::Beacon => "beacon",
    }
}

fn add_card_policy(table: &mut Table<'_>, card: &CardPolicy) {
    let modes: Vec<&str> = card
        .modes
        .iter()
        .map(|mode| match mode {
            KeyMode::Held => "held",
            KeyMode::Sealed => "sealed",
        })
        .collect();
    table.add(Label::KeyModes, &join(&modes));
    let pin = match card.pin {
        PinLife::Ask => "ask",
        PinLife::UntilLock => "until-lock",
    };
    table.add(Label::PinEntry, pin);
    let after_use = match card.after_use {
        AfterUse::Keep => "keep",
        AfterUse::Unverify => "unverify",
        AfterUse::Reset => "reset",
    };
    table.add(Label::AfterUse, after_use);
    let on_removal = match card.on_removal {
        OnRemoval::Disconnect => "disconnect",
        OnRemoval::LockSession => "lock-session",
        OnRemoval::Grace => "grace",
    };
    let grace = card
        .grace_ms
        .map(|ms| format!(" ({})", table.text.span(ms)));
    table.add(
        Label::OnRemoval,
        &format!("{on_removal}{}", grace.unwrap_or_default()),
    );
    table.add_some(Label::Module, card.pkcs11_module.as_deref().map(plain));
    let subject = card.certificate_subject.as_deref().map(plain);
    let certificate = card.certificate_issuers.iter().map(|issuer| plain(issuer));
    for line in certificate.chain(subject) {
        table.add(Label::Certificate, &line);
    }
}

#[cfg(test)]
mod tests;
