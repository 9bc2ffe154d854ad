//! What the card worker is told: policy and binding in its own words, and the files that they name.

use std::path::Path;

use anyhow::Context;
use sluss_card::certificate::{KeyUsage, Refusal, Rule, Source};
use sluss_card::sealed::SealedKey;
use sluss_card::{Access, AfterUse, Binding, Config, KeyId, KeyMode, KeySource, PinLife};
use sluss_platform::files;
use sluss_policy::{CardRules, CertificateRules, DeviceBinding};
use tracing::warn;

use crate::pkcs11;

/// The card worker's settings.
pub(crate) fn config(rules: &CardRules, device: Option<&DeviceBinding>) -> anyhow::Result<Config> {
    Ok(Config {
        binding: device.map(binding).transpose()?,
        access: access(rules)?,
        pin: match rules.pin {
            sluss_policy::PinLife::Ask => PinLife::Ask,
            sluss_policy::PinLife::UntilLock => PinLife::UntilLock,
        },
        after_use: match rules.after_use {
            sluss_policy::AfterUse::Keep => AfterUse::Keep,
            sluss_policy::AfterUse::Unverify => AfterUse::Unverify,
            sluss_policy::AfterUse::Reset => AfterUse::Reset,
        },
        allow_factory_pin: rules.allow_factory_pin,
        certificate: rules.certificate.clone().map(source),
    })
}

/// The way to the cards.
pub(crate) fn access(rules: &CardRules) -> anyhow::Result<Access> {
    let Some(module) = &rules.pkcs11_module else {
        return Ok(Access::Pcsc);
    };
    let module = files::trusted_library(module).context("the policy's PKCS#11 module")?;
    let program = Path::new("/proc/self/exe");
    Ok(Access::Pkcs11(pkcs11::launch(program, module)))
}

pub(crate) fn binding(device: &DeviceBinding) -> anyhow::Result<Binding> {
    let card = &device.card;
    let id = match &card.key {
        Some(id) => id.as_str().parse()?,
        // What a binding is that was written by hand.
        None => KeyId::OpenPgp,
    };
    let source = match &card.sealed_key {
        Some(file) => {
            KeySource::Sealed(SealedKey::parse(file).context("the binding's sealed key")?)
        }
        None => KeySource::Held,
    };
    Ok(Binding {
        serial: card.serial.clone(),
        public_key: *card.public_key.as_bytes(),
        id,
        source,
    })
}

/// What the certificate of the card's key must be like, as the files say it now.
pub(crate) fn certificate(rules: &CardRules) -> anyhow::Result<Option<Rule>> {
    rules.certificate.as_ref().map(rule).transpose()
}

fn source(rules: CertificateRules) -> Source {
    Source::new(move || {
        rule(&rules).map_err(|error| {
            warn!("no certificate can be checked: {error:#}");
            Refusal::Untrusted {
                why: "the policy's files cannot be read",
            }
        })
    })
}

fn rule(rules: &CertificateRules) -> anyhow::Result<Rule> {
    let mut rule = Rule::default();
    rule.subject = rules.subject.as_deref().map(str::parse).transpose()?;
    rule.key_usage = rules.key_usage.iter().map(usage).collect();
    for oid in &rules.extended_key_usage {
        rule.extended_key_usage.push(oid.as_str().parse()?);
    }
    for path in &rules.issuers {
        let file = read(path)?;
        rule.trust(&file).with_context(|| named(path))?;
    }
    for path in &rules.crls {
        let file = read(path)?;
        rule.revoke(&file).with_context(|| named(path))?;
    }
    Ok(rule)
}

pub(crate) fn modes(rules: &CardRules) -> Vec<KeyMode> {
    let modes = rules.modes.iter().map(|mode| match mode {
        sluss_policy::KeyMode::Held => KeyMode::Held,
        sluss_policy::KeyMode::Sealed => KeyMode::Sealed,
    });
    modes.collect()
}

fn usage(usage: &sluss_policy::KeyUsage) -> KeyUsage {
    match usage {
        sluss_policy::KeyUsage::DigitalSignature => KeyUsage::DigitalSignature,
        sluss_policy::KeyUsage::NonRepudiation => KeyUsage::NonRepudiation,
        sluss_policy::KeyUsage::KeyEncipherment => KeyUsage::KeyEncipherment,
        sluss_policy::KeyUsage::DataEncipherment => KeyUsage::DataEncipherment,
        sluss_policy::KeyUsage::KeyAgreement => KeyUsage::KeyAgreement,
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    files::read_trusted_bytes(path).with_context(|| named(path))
}

fn named(path: &Path) -> String {
    format!("the policy names {}", path.display())
}
