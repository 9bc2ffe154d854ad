//! What the user sees when something is the matter with the card: `sluss status` in each state, and the way out of it.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use serde_json::{Value, json};
use sluss_card::key::Algorithm;
use sluss_tests::authority::Authority;
use sluss_tests::moment::{eventually, now};
use sluss_tests::service_card::{SealedToPiv, ServiceCard};
use sluss_tests::stage::{Boot, PATIENCE, Setup, Stage};
use sluss_tests::world::{Place, Port};

use crate::modes::REKEY;

/// Two readers, two cards: the other person's is named and asked nothing, and is in nobody's way.
pub(crate) fn another_persons_card_is_named_and_left_alone() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.world.plug(Port::WiFi, Place::Home)?;
    let mut other = stage.rig.issued_card(1)?;
    other.insert()?;
    let named = json!({"state": "unusable", "fault": "other-card"});
    until(&stage, "the other card is named", |status| {
        status["key"] == named
    })?;
    let pin = format!("{}\n", stage.card.pin());
    ensure!(!stage.laptop.sluss(&["unlock"], &pin)?.status.success());
    ensure!(other.stats()?.verify == 0, "the other card was shown a PIN");
    stage.insert_and_unlock()?;
    until(&stage, "the page", |_| stage.page().is_ok())?;
    other.remove()?;
    stage.card.remove()?;
    until(&stage, "both are gone", |status| {
        status["key"]["state"] == "absent"
    })
}

/// Three tries, two, one, which is not spent without a word, and none.
pub(crate) fn tries_are_told_and_the_last_is_not_lost_by_accident() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.world.plug(Port::WiFi, Place::Home)?;
    stage.card.insert()?;
    let tries = |left: u8| move |status: &Value| status["card"]["tries_left"] == left;
    let right = format!("{}\n", stage.card.pin());
    until(&stage, "three tries", tries(3))?;
    for left in [2, 1] {
        ensure!(!stage.laptop.sluss(&["unlock"], WRONG)?.status.success());
        until(&stage, "one try less", tries(left))?;
    }
    let spent = stage.card.stats()?.verify;
    ensure!(!stage.laptop.sluss(&["unlock"], &right)?.status.success());
    ensure!(
        stage.card.stats()?.verify == spent,
        "the last try was spent without consent"
    );
    let knowing = stage.laptop.sluss(&["unlock", "--last-try"], &right)?;
    ensure!(knowing.status.success(), "{knowing:?}");
    until(&stage, "all tries are back", tries(3))?;
    ensure!(stage.laptop.sluss(&["lock"], "")?.status.success());
    for arguments in [&["unlock"][..], &["unlock"], &["unlock", "--last-try"]] {
        ensure!(!stage.laptop.sluss(arguments, WRONG)?.status.success());
    }
    until(&stage, "the card is blocked", |status| {
        status["key"]["state"] == "blocked"
    })?;
    stage.no_page()
}

const WRONG: &str = "999999\n";

pub(crate) fn without_the_card_service_it_is_told() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    stage.rig.stop_pcscd()?;
    until(&stage, "the service is missed", |status| {
        status["key"]["state"] == "no-service"
    })?;
    until(&stage, "the tunnel is down", |status| {
        status["tunnel"]["state"] == "down"
    })?;
    stage.rig.start_pcscd()?;
    until(&stage, "the service is back", |status| {
        status["key"]["state"] == "absent"
    })?;
    stage.insert_and_unlock()?;
    until(&stage, "the page", |_| stage.page().is_ok())
}

/// The tunnel that is up lives on, the user is asked once, and all is well again.
pub(crate) fn a_reset_by_another_program_asks_once_and_closes_nothing() -> Result<()> {
    reset("ask", |stage, aged| {
        stage
            .monitor
            .until("key", &["locked", "awaiting-pin"], aged, PATIENCE)?;
        stage.page()?;
        stage.laptop.unlock(stage.card.pin())
    })
}

/// A PIN that is kept until the card is locked makes up for it: nobody is asked.
pub(crate) fn a_reset_by_another_program_goes_unnoticed_with_a_kept_pin() -> Result<()> {
    reset("until-lock", |stage, aged| {
        until(stage, "a session under new keys", is_young)?;
        let told = stage.monitor.since(aged);
        ensure!(told.iter().all(|change| change.thing != "key"), "{told:?}");
        Ok(())
    })
}

fn reset(pin: &str, then: impl FnOnce(&Stage, Duration) -> Result<()>) -> Result<()> {
    let setup = Setup {
        boot: Boot::LabClock,
        card_policy: format!("pin = \"{pin}\"\n"),
        ..Setup::default()
    };
    let mut stage = Stage::set_up(setup, |rig, _| rig.issued_card(0))?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    until(&stage, "the page", |_| stage.page().is_ok())?;
    stage.card.reset()?;
    let aged = now();
    stage.clock.jump(REKEY)?;
    stage.page()?;
    then(&stage, aged)?;
    until(&stage, "a session under new keys", is_young)?;
    stage.page()?;
    let told = stage.monitor.since(aged);
    ensure!(
        told.iter().all(|change| change.thing != "tunnel"),
        "{told:?}"
    );
    Ok(())
}

/// A slow card is pulled while it still opens the sealed key.
pub(crate) fn a_card_that_is_pulled_while_it_works_is_gone() -> Result<()> {
    let mut stage = Stage::set_up(Setup::default(), |rig, _| {
        SealedToPiv::new(rig, Algorithm::P256, &Authority::new()?)
    })?;
    stage.world.plug(Port::WiFi, Place::Home)?;
    stage.card.delay(Duration::from_secs(3))?;
    let inserted = now();
    stage.card.insert()?;
    stage
        .monitor
        .until("key", &["locked", "awaiting-pin"], inserted, PATIENCE)?;
    let pin = format!("{}\n", stage.card.pin());
    let Stage {
        laptop,
        monitor,
        card,
        ..
    } = &mut stage;
    let refused = std::thread::scope(|scope| {
        let unlock = scope.spawn(|| laptop.sluss(&["unlock"], &pin));
        monitor.until("key", &["verifying"], inserted, PATIENCE)?;
        card.remove()?;
        unlock.join().map_err(|_| anyhow!("sluss unlock"))?
    })?;
    ensure!(
        !refused.status.success(),
        "a card that is not there was unlocked"
    );
    until(&stage, "the reader is empty", |status| {
        status["key"]["state"] == "absent"
    })?;
    stage.card.delay(Duration::ZERO)?;
    stage.insert_and_unlock()
}

/// The card comes back in time, and nothing has happened; it does not, and the tunnel closes.
pub(crate) fn a_pulled_card_has_its_grace_where_policy_gives_it() -> Result<()> {
    let policy = "pin = \"until-lock\"\non_removal = \"grace\"\ngrace = \"30s\"\n";
    let setup = Setup {
        boot: Boot::LabClock,
        card_policy: policy.to_owned(),
        ..Setup::default()
    };
    let mut stage = Stage::set_up(setup, |rig, _| rig.issued_card(0))?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    until(&stage, "the page", |_| stage.page().is_ok())?;
    let missed = |status: &Value| {
        let warned = status["warnings"] == json!(["card-missed"]);
        warned && status["deadline"]["reason"] == "grace-over"
    };
    let pulled = stage.card.remove()?;
    until(&stage, "the card is missed", missed)?;
    stage.page()?;
    stage.card.insert()?;
    until(&stage, "the card is back", |status| {
        status["warnings"] == json!([])
    })?;
    stage.page()?;
    let told = stage.monitor.since(pulled);
    ensure!(
        told.iter().all(|change| change.thing != "tunnel"),
        "{told:?}"
    );

    stage.card.remove()?;
    until(&stage, "the card is missed", missed)?;
    stage.clock.jump(Duration::from_secs(31))?;
    until(&stage, "the tunnel is down", |status| {
        status["tunnel"]["state"] == "down"
    })?;
    stage.no_page()
}

pub(crate) fn a_pulled_card_locks_the_session_where_policy_says_so() -> Result<()> {
    let setup = Setup {
        card_policy: "on_removal = \"lock-session\"\n".to_owned(),
        ..Setup::default()
    };
    let mut stage = Stage::set_up(setup, |rig, _| rig.issued_card(0))?;
    stage.logind.log_in(0)?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    ensure!(stage.logind.locked_sessions().is_empty());
    let pulled = stage.card.remove()?;
    eventually("the session is locked", PATIENCE, || {
        Ok((stage.logind.locked_sessions() == ["1"]).then_some(()))
    })?;
    stage.monitor.until("tunnel", &["down"], pulled, PATIENCE)?;
    Ok(())
}

/// Drives and tickets hang on the target: it is there as long as the internal network is.
pub(crate) fn systemd_is_told_when_the_internal_network_can_be_reached() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    until_ordered(&stage, "start")?;
    stage.card.remove()?;
    until_ordered(&stage, "stop")?;
    stage.world.unplug(Port::WiFi)?;
    stage.world.plug(Port::Ethernet, Place::Office)?;
    until_ordered(&stage, "start")
}

fn until_ordered(stage: &Stage, verb: &'static str) -> Result<()> {
    eventually(verb, PATIENCE, || {
        let last = stage.logind.unit_orders().pop();
        Ok((last == Some((verb, "sluss-tunnel.target".to_owned()))).then_some(()))
    })
}

/// A good certificate serves; an old one, one for something else and a stranger's are told apart.
pub(crate) fn the_cards_certificate_is_judged_before_the_key_is_used() -> Result<()> {
    let office = Authority::new()?;
    let policy = "[card.certificate]\nissuers = [\"/run/lab/issuer.der\"]\nsubject = \"*,O=Exempel kommun,C=SE\"\n\
                  key_usage = [\"keyAgreement\"]\nextended_key_usage = [\"1.3.6.1.5.5.7.3.2\"]\n";
    let setup = Setup {
        policy: policy.to_owned(),
        ..Setup::default()
    };
    let mut stage = Stage::set_up(setup, |rig, directory| {
        std::fs::write(directory.join("issuer.der"), office.certificate())?;
        SealedToPiv::new(rig, Algorithm::P256, &office)
    })?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    let key = stage.card.card.identity().public_key.clone();
    let mut old = Authority::employee();
    old.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let mut signer = Authority::employee();
    signer.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    let stranger = Authority::new()?;
    for (certificate, fault) in [
        (office.issue(&key, old)?, "certificate-expired"),
        (office.issue(&key, signer)?, "certificate-wrong-usage"),
        (
            stranger.issue(&key, Authority::employee())?,
            "certificate-untrusted",
        ),
    ] {
        stage.card.remove()?;
        until(&stage, "the reader is empty", |status| {
            status["key"]["state"] == "absent"
        })?;
        stage.card.card.put_certificate(&certificate)?;
        stage.card.insert()?;
        let told = json!({"state": "unusable", "fault": fault});
        until(&stage, fault, |status| status["key"] == told)?;
        stage.no_page()?;
    }
    Ok(())
}

/// A session that is no older than this is new: the others are older than [`REKEY`].
pub(crate) fn is_young(status: &Value) -> bool {
    let age = status["traffic"]["handshake_age_ms"].as_u64();
    age.is_some_and(|age| age < 60_000)
}

/// Waits until the status is so; if it does not come to be, the error has the status.
pub(crate) fn until<C>(
    stage: &Stage<C>,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Result<()> {
    let mut last = Value::Null;
    let found = eventually(what, PATIENCE, || {
        last = stage.laptop.status()?;
        Ok(wanted(&last).then_some(()))
    });
    found.map_err(|error| error.context(format!("status is {last}")))
}
