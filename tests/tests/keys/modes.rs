//! Each way to have a key: real handshakes with boringtun, data, three rekeys, and what they cost the card.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluss_card::key::Algorithm;
use sluss_card::sealed::Method;
use sluss_tests::authority::Authority;
use sluss_tests::moment::{eventually, median, now};
use sluss_tests::rig::Rig;
use sluss_tests::service_card::{SealedToPiv, ServiceCard};
use sluss_tests::stage::{Boot, PATIENCE, Setup, Stage};
use sluss_tests::token::{ByOpensc, SoftToken};
use sluss_tests::world::{GATEWAY, Place, Port};

/// A little more than a session's age at which it is renewed (whitepaper 6.1: 120 s).
const REKEY: Duration = Duration::from_secs(121);
const REKEYS: usize = 3;
const ROUNDS: usize = 5;

pub(crate) fn an_openpgp_card_holds_the_key() -> Result<()> {
    serves("OpenPGP", "held", "X25519", |rig, _| rig.card(0))
}

pub(crate) fn an_openpgp_card_holds_the_key_behind_opensc() -> Result<()> {
    serves("PKCS#11", "held", "X25519", |rig, _| {
        ByOpensc::openpgp(rig.card(0)?)
    })
}

pub(crate) fn a_key_is_sealed_to_piv_p256() -> Result<()> {
    sealed_to_piv("P-256", Algorithm::P256)
}

pub(crate) fn a_key_is_sealed_to_piv_p384() -> Result<()> {
    sealed_to_piv("P-384", Algorithm::P384)
}

pub(crate) fn a_key_is_sealed_to_piv_rsa() -> Result<()> {
    sealed_to_piv("RSA-2048", Algorithm::Rsa2048)
}

pub(crate) fn a_key_is_sealed_to_piv_behind_opensc_by_ecdh() -> Result<()> {
    sealed_behind_opensc("P-256", Algorithm::P256, Method::EcdhP256)
}

pub(crate) fn a_key_is_sealed_to_piv_behind_opensc_by_oaep() -> Result<()> {
    sealed_behind_opensc("RSA-2048", Algorithm::Rsa2048, Method::RsaOaepSha256)
}

pub(crate) fn a_key_is_sealed_to_a_token_by_ecdh() -> Result<()> {
    sealed_to_token("P-256", Method::EcdhP256)
}

pub(crate) fn a_key_is_sealed_to_a_token_by_pkcs1() -> Result<()> {
    sealed_to_token("RSA-2048", Method::RsaPkcs1)
}

pub(crate) fn a_key_is_sealed_to_a_token_by_its_signature() -> Result<()> {
    sealed_to_token("RSA-2048", Method::RsaSignature)
}

fn sealed_to_piv(algorithm: &str, key: Algorithm) -> Result<()> {
    serves("PIV", "sealed", algorithm, |rig, _| {
        SealedToPiv::new(rig, key, &Authority::new()?)
    })
}

fn sealed_behind_opensc(algorithm: &str, key: Algorithm, method: Method) -> Result<()> {
    serves("PKCS#11", "sealed", algorithm, |rig, _| {
        ByOpensc::piv(rig.piv_card(0, key, &Authority::new()?)?, method)
    })
}

fn sealed_to_token(algorithm: &str, method: Method) -> Result<()> {
    serves("PKCS#11", "sealed", algorithm, |_, directory| {
        SoftToken::new(directory, method)
    })
}

/// From card in to data, over some rekeys, with a PIN typed once.
fn serves<C: ServiceCard>(
    kind: &str,
    mode: &str,
    algorithm: &str,
    make: impl FnOnce(&Rig, &Path) -> Result<C>,
) -> Result<()> {
    let setup = Setup {
        boot: Boot::LabClock,
        ..Setup::default()
    };
    let mut stage = Stage::set_up(setup, make)?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    eventually("the internal page", PATIENCE, || Ok(stage.page().ok()))?;
    let status = stage.laptop.status()?;
    let card = &status["card"];
    let told = ["kind", "mode", "algorithm"].map(|what| card[what].as_str().unwrap_or("nothing"));
    ensure!(
        told == [kind, mode, algorithm],
        "the card is told as {card}"
    );

    let opened = stage.card.uses()?;
    for _ in 0..REKEYS {
        stage.clock.jump(REKEY)?;
        let aged = now();
        stage.page()?;
        eventually("a rekey", PATIENCE, || {
            Ok((stage.handshakes(aged) > 0).then_some(()))
        })?;
        stage.page()?;
    }
    let handshakes = stage.handshakes(Duration::ZERO);
    ensure!(handshakes > REKEYS, "{handshakes} handshakes");
    // The last rekey may still be with the card: data flows under the old keys until it answers.
    let answered = || {
        Ok(stage
            .card
            .uses()?
            .is_none_or(|uses| is_paid(mode, handshakes, uses))
            .then_some(()))
    };
    eventually("the card has done its part", PATIENCE, answered)?;
    let used = opened.zip(stage.card.uses()?);
    let used = used.map(|(opened, all)| (opened, all - opened));

    let mut waits = Vec::new();
    for _ in 0..ROUNDS {
        waits.push(first_wait(&mut stage)?);
    }
    let wait = median(waits).context("no round")? as f64 / 1000.0;
    let used = used.map_or_else(
        || "a token that does not count".to_owned(),
        |(opened, rekeyed)| {
            format!(
                "operations of the card: {opened} to open, {rekeyed} for {} rekeys",
                handshakes - 1
            )
        },
    );
    println!(
        "measured {kind} {mode} {algorithm}: {used}; response to first data {wait:.1} ms, median of {ROUNDS}"
    );
    stage.no_leak()
}

/// Whether the card has been used as often as so many handshakes take.
fn is_paid(mode: &str, handshakes: usize, uses: u64) -> bool {
    match mode {
        // Two for the first handshake of a tunnel, one for each that follows.
        "held" => uses == handshakes as u64 + 1,
        // One opens the sealed key; OpenSC makes a card decrypt twice, first to say how long the answer is.
        _ => uses == 1 || uses == 2,
    }
}

/// Closes the tunnel and opens it anew. From the gateway's response, which a held key has to answer, to the laptop's first
/// packet under the new keys, in microseconds.
fn first_wait<C: ServiceCard>(stage: &mut Stage<C>) -> Result<u64> {
    let asked = now();
    ensure!(stage.laptop.sluss(&["down"], "")?.status.success());
    stage.monitor.until("tunnel", &["down"], asked, PATIENCE)?;
    let closed = now();
    ensure!(stage.laptop.sluss(&["up"], "")?.status.success());
    stage.monitor.until("tunnel", &["up"], closed, PATIENCE)?;
    eventually("data under new keys", PATIENCE, || {
        let packets = stage.wire.packets();
        let mut packets = packets.iter().skip_while(|packet| packet.at < closed);
        let response = packets.find(|packet| packet.is_handshake_response(GATEWAY.port()));
        let data = packets.find(|packet| {
            packet.is_transport_data(GATEWAY.port()) && packet.ports.1 == GATEWAY.port()
        });
        let wait = response
            .zip(data)
            .map(|(response, data)| data.at - response.at);
        Ok(wait.and_then(|wait| u64::try_from(wait.as_micros()).ok()))
    })
}
