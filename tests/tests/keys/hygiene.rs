//! What is left of secrets: in the daemon's memory once it should have forgotten them, and ever in its log.

use anyhow::{Result, ensure};
use memchr::memmem;
use sluss_card::key::Algorithm;
use sluss_card::sealed::Method;
use sluss_tests::memory::{Memory, forms};
use sluss_tests::moment::{eventually, now};
use sluss_tests::service_card::ServiceCard;
use sluss_tests::stage::{PATIENCE, Setup, Stage};
use sluss_tests::world::{GATEWAY, Place, Port};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::ways::Way;

const PRESHARED_KEY: [u8; 32] = *b"\xa7preshared, found by the search\x17";

pub(crate) fn nothing_is_left_of_an_openpgp_card() -> Result<()> {
    forgets(Way::OpenPgp)
}

pub(crate) fn nothing_is_left_of_an_openpgp_card_behind_opensc() -> Result<()> {
    forgets(Way::OpenPgpByOpensc)
}

pub(crate) fn nothing_is_left_of_piv_p256() -> Result<()> {
    forgets(Way::Piv(Algorithm::P256))
}

pub(crate) fn nothing_is_left_of_piv_p384() -> Result<()> {
    forgets(Way::Piv(Algorithm::P384))
}

pub(crate) fn nothing_is_left_of_piv_rsa() -> Result<()> {
    forgets(Way::Piv(Algorithm::Rsa2048))
}

pub(crate) fn nothing_is_left_of_piv_behind_opensc_by_ecdh() -> Result<()> {
    forgets(Way::PivByOpensc(Algorithm::P256, Method::EcdhP256))
}

pub(crate) fn nothing_is_left_of_piv_behind_opensc_by_oaep() -> Result<()> {
    forgets(Way::PivByOpensc(Algorithm::Rsa2048, Method::RsaOaepSha256))
}

pub(crate) fn nothing_is_left_of_a_token_by_ecdh() -> Result<()> {
    forgets(Way::Token(Method::EcdhP256))
}

pub(crate) fn nothing_is_left_of_a_token_by_pkcs1() -> Result<()> {
    forgets(Way::Token(Method::RsaPkcs1))
}

pub(crate) fn nothing_is_left_of_a_token_by_its_signature() -> Result<()> {
    forgets(Way::Token(Method::RsaSignature))
}

type Laptop = Stage<Box<dyn ServiceCard>>;

/// A full run at trace level: open, lock, open, sleep, wake, open, pull; searched after each.
fn forgets(way: Way) -> Result<()> {
    let setup = Setup {
        card_policy: "pin = \"until-lock\"\n".to_owned(),
        preshared_key: Some(PRESHARED_KEY),
        arguments: vec!["--secret-memory", "locked"],
        log_level: Some("trace"),
        ..Setup::default()
    };
    let mut stage = way.stage(setup)?;
    // Told at the level of debug, and so the sign that the log is full.
    stage.logind.log_in(0)?;
    let mut secrets = Secrets::of(&stage);
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    secrets.add_session_keys(&mut stage)?;
    let memory = daemon(&mut stage)?;
    // What is not found where it is, would not be found where it should not be.
    for (what, secret) in &secrets.0 {
        let is_there = !memory.places_of(secret).is_empty();
        // A held key is the card's.
        let should_be = *what != "private key" || !way.is_held();
        ensure!(
            is_there == should_be,
            "the search, while the tunnel is up: {what} {is_there}"
        );
    }

    let locked = now();
    ensure!(stage.laptop.sluss(&["lock"], "")?.status.success());
    stage
        .monitor
        .until("key", &["withdrawn"], locked, PATIENCE)?;
    stage.monitor.until("tunnel", &["down"], locked, PATIENCE)?;
    secrets.are_gone(&mut stage, "after lock", &[])?;

    let unlocked = now();
    let pin = stage.card.pin().to_owned();
    stage.laptop.unlock(&pin)?;
    stage.monitor.until("tunnel", &["up"], unlocked, PATIENCE)?;
    secrets.add_session_keys(&mut stage)?;
    stage.logind.prepare_for_sleep(true)?;
    eventually("the laptop may sleep", PATIENCE, || {
        Ok((!stage.logind.sleep_is_delayed()?).then_some(()))
    })?;
    // Session keys outlive the night in memory, and no longer than three minutes of it: they lead to no other.
    secrets.are_gone(&mut stage, "asleep", &["PIN", "private key"])?;
    stage.logind.prepare_for_sleep(false)?;

    if way.is_card() {
        let pulled = stage.card.remove()?;
        stage.monitor.until("key", &["absent"], pulled, PATIENCE)?;
        stage.monitor.until("tunnel", &["down"], pulled, PATIENCE)?;
        secrets.are_gone(&mut stage, "after the pull", &[])?;
    }

    let log = stage.laptop.log();
    ensure!(log.contains("DEBUG"), "the log is no fuller than usual");
    for (what, secret) in &secrets.0 {
        for (form, bytes) in forms(secret) {
            ensure!(
                memmem::find(log.as_bytes(), &bytes).is_none(),
                "the log has the {what}, as {form}"
            );
        }
    }
    println!(
        "measured {}: {} KiB of memory and {} KiB of log searched for {} secrets",
        way.told().join(" "),
        memory.kibibytes(),
        log.len() / 1024,
        secrets.0.len()
    );
    Ok(())
}

/// What must not be found, each with its name.
struct Secrets(Vec<(&'static str, Vec<u8>)>);

impl Secrets {
    fn of(stage: &Laptop) -> Secrets {
        let private_key = StaticSecret::from(stage.card.private_key());
        let gateway = PublicKey::from(stage.gateway.public_key());
        Secrets(vec![
            ("PIN", stage.card.pin().into()),
            ("preshared key", PRESHARED_KEY.into()),
            (
                "static-static secret",
                private_key.diffie_hellman(&gateway).as_bytes().into(),
            ),
            ("private key", private_key.to_bytes().into()),
        ])
    }

    /// Those of the tunnel that is up, found by what they open.
    fn add_session_keys(&mut self, stage: &mut Laptop) -> Result<()> {
        let since = now();
        for (what, from_laptop) in [("sending key", true), ("receiving key", false)] {
            let message = eventually("a short message of the session", PATIENCE, || {
                // Something to answer.
                let _ = stage.page();
                let packets = stage.wire.packets();
                Ok(packets.into_iter().rfind(|packet| {
                    packet.at >= since
                        && packet.is_transport_data(GATEWAY.port())
                        && (packet.ports.1 == GATEWAY.port()) == from_laptop
                        && packet.datagram.len() < 128
                }))
            })?;
            let keys = daemon(stage)?.session_keys(&message.datagram);
            ensure!(
                keys.len() == 1,
                "{} keys open the {what}'s message",
                keys.len()
            );
            self.0
                .extend(keys.into_iter().map(|key| (what, key.to_vec())));
        }
        Ok(())
    }

    /// Fails if one of these, or of all, is in the memory of the daemon or of a process that it has started.
    fn are_gone(&self, stage: &mut Laptop, when: &str, only: &[&str]) -> Result<()> {
        let mut memories = children(stage)?;
        memories.push(daemon(stage)?);
        let wanted = self
            .0
            .iter()
            .filter(|(what, _)| only.is_empty() || only.contains(what));
        let found = wanted.filter_map(|(what, secret)| {
            let places: Vec<String> = memories
                .iter()
                .flat_map(|memory| memory.places_of(secret))
                .collect();
            (!places.is_empty()).then(|| format!("the {what}, {}", places.join(", ")))
        });
        let found: Vec<String> = found.collect();
        ensure!(
            found.is_empty(),
            "{when} there is still in memory: {}",
            found.join("; ")
        );
        Ok(())
    }
}

fn daemon(stage: &mut Laptop) -> Result<Memory> {
    Memory::of(stage.laptop.daemon()?.id())
}

/// Workers that the daemon has started and not ended.
fn children(stage: &mut Laptop) -> Result<Vec<Memory>> {
    let daemon = stage.laptop.daemon()?.id();
    let mut memories = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{daemon}/task"))? {
        let children = std::fs::read_to_string(thread?.path().join("children"))?;
        for child in children.split_whitespace() {
            let read = || match Memory::of(child.parse()?) {
                Ok(memory) => Ok(Some(Some(memory))),
                // Its memory has gone with it, or is about to.
                Err(_) => Ok(has_ended(child).then_some(None)),
            };
            memories.extend(eventually("a worker's memory, or its end", PATIENCE, read)?);
        }
    }
    Ok(memories)
}

/// A process that has ended has no memory, also while nobody has asked how it ended.
fn has_ended(pid: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/maps")).is_ok_and(|maps| maps.is_empty())
        || !std::fs::exists(format!("/proc/{pid}")).unwrap_or(true)
}
