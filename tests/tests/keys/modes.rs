//! Each way to have a key: real handshakes with boringtun, data, three rekeys, and what they cost the card.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluss_card::key::Algorithm;
use sluss_card::sealed::Method;
use sluss_tests::moment::{eventually, median, now};
use sluss_tests::service_card::ServiceCard;
use sluss_tests::stage::{Boot, PATIENCE, Setup, Stage};
use sluss_tests::world::{GATEWAY, Place, Port};

use crate::states::{is_young, until};
use crate::ways::Way;

/// A little more than a session's age at which it is renewed (whitepaper 6.1: 120 s).
pub(crate) const REKEY: Duration = Duration::from_secs(121);
const REKEYS: usize = 3;
const ROUNDS: usize = 5;

pub(crate) fn an_openpgp_card_holds_the_key() -> Result<()> {
    serves(Way::OpenPgp)
}

pub(crate) fn an_openpgp_card_holds_the_key_behind_opensc() -> Result<()> {
    serves(Way::OpenPgpByOpensc)
}

pub(crate) fn a_key_is_sealed_to_piv_p256() -> Result<()> {
    serves(Way::Piv(Algorithm::P256))
}

pub(crate) fn a_key_is_sealed_to_piv_p384() -> Result<()> {
    serves(Way::Piv(Algorithm::P384))
}

pub(crate) fn a_key_is_sealed_to_piv_rsa_2048() -> Result<()> {
    serves(Way::Piv(Algorithm::Rsa2048))
}

pub(crate) fn a_key_is_sealed_to_piv_rsa_3072() -> Result<()> {
    serves(Way::Piv(Algorithm::Rsa3072))
}

pub(crate) fn a_key_is_sealed_to_piv_behind_opensc_by_ecdh() -> Result<()> {
    serves(Way::PivByOpensc(Algorithm::P256, Method::EcdhP256))
}

pub(crate) fn a_key_is_sealed_to_piv_behind_opensc_by_oaep() -> Result<()> {
    serves(Way::PivByOpensc(Algorithm::Rsa2048, Method::RsaOaepSha256))
}

pub(crate) fn a_key_is_sealed_to_a_token_by_ecdh() -> Result<()> {
    serves(Way::Token(Method::EcdhP256))
}

pub(crate) fn a_key_is_sealed_to_a_token_by_pkcs1() -> Result<()> {
    serves(Way::Token(Method::RsaPkcs1))
}

pub(crate) fn a_key_is_sealed_to_a_token_by_its_signature() -> Result<()> {
    serves(Way::Token(Method::RsaSignature))
}

/// From card in to data, over some rekeys, with a PIN typed once.
fn serves(way: Way) -> Result<()> {
    let setup = Setup {
        boot: Boot::LabClock,
        ..Setup::default()
    };
    let mut stage = way.stage(setup)?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    eventually("the internal page", PATIENCE, || Ok(stage.page().ok()))?;
    let status = stage.laptop.status()?;
    let card = &status["card"];
    let told = ["kind", "mode", "algorithm"].map(|what| card[what].as_str().unwrap_or("nothing"));
    ensure!(told == way.told(), "the card is told as {card}");

    let opened = stage.card.uses()?;
    for _ in 0..REKEYS {
        stage.clock.jump(REKEY)?;
        stage.page()?;
        // A jump while the card still computes would be a card that takes two minutes.
        until(&stage, "a session under new keys", is_young)?;
        stage.page()?;
    }
    let handshakes = stage.handshakes(Duration::ZERO);
    ensure!(handshakes > REKEYS, "{handshakes} handshakes");
    // The last rekey may still be with the card: data flows under the old keys until it answers.
    let answered = || {
        Ok(stage
            .card
            .uses()?
            .is_none_or(|uses| is_paid(way, handshakes, uses))
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
        "measured {}: {used}; response to first data {wait:.1} ms, median of {ROUNDS}",
        way.told().join(" ")
    );
    stage.no_leak()
}

/// Whether the card has been used as often as so many handshakes take.
fn is_paid(way: Way, handshakes: usize, uses: u64) -> bool {
    if way.is_held() {
        // Two for the first handshake of a tunnel, one for each that follows.
        uses == handshakes as u64 + 1
    } else {
        // One opens the sealed key; OpenSC makes a card decrypt twice, first to say how long the answer is.
        uses == 1 || uses == 2
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
