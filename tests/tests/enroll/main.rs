//! Enrolment with the shipped programs: from a card in the drawer to a gateway that lets the laptop in.

mod office;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sluss_card::key::Algorithm;
use sluss_tests::authority::Authority;
use sluss_tests::moment::{self, eventually};
use sluss_tests::token::SOFTHSM;
use sluss_tests::world::{Place, Port};
use sluss_tests::{skip, trial, trials};

use office::{Office, PATIENCE, PINS, openssl_agrees, said};

/// What the gateway's administrator has given out.
const ADDRESSES: [&str; 4] = [
    "--address",
    "10.20.200.7/32",
    "--address",
    "fd20:0:0:200::7/128",
];

fn main() -> ExitCode {
    trials::main(&[
        trial!(a_blank_card_gets_a_key_and_opens_the_tunnel),
        trial!(a_key_is_sealed_to_a_piv_card_and_the_request_is_signed),
        trial!(a_blank_piv_card_gets_a_key),
        trial!(only_a_card_whose_issuer_policy_trusts_is_taken),
        trial!(a_token_behind_pkcs11_is_enrolled_with_each_kind_of_key),
        trial!(no_key_and_no_binding_is_lost_by_accident),
        trial!(a_card_that_says_no_changes_nothing),
        trial!(a_preshared_key_stays_on_the_laptop),
        trial!(a_daemon_that_is_killed_leaves_a_binding_that_is_whole, 240),
    ])
}

fn a_blank_card_gets_a_key_and_opens_the_tunnel() -> Result<()> {
    let mut office = Office::open("allow_factory_pin = true\n")?;
    let mut card = office.rig.blank_card(0)?;
    card.insert()?;
    let survey = office.survey(1)?;
    let key = &survey["cards"][0]["keys"][0];
    ensure!(
        key["found"]["state"] == "empty" && key["makes"][0] == "X25519",
        "{survey:#}"
    );
    ensure!(survey["bound"].is_null());

    let refused = office.enroll(&[&ADDRESSES[..]].concat(), PINS)?;
    ensure!(
        refused.status.code() == Some(1) && said(&refused).contains("--make"),
        "{}",
        said(&refused)
    );
    ensure!(card.stats()?.verify == 0 && !office.laptop.device_file().exists());

    let begun = moment::now();
    let done = office.enroll(&[&ADDRESSES[..], &["--make"]].concat(), PINS)?;
    ensure!(
        done.status.success(),
        "{}{}",
        said(&done),
        office.laptop.log()
    );
    println!(
        "measured enrolment with a new key {} ms",
        moment::millis(begun, moment::now())
    );
    ensure!(
        office.request()? == String::from_utf8(done.stdout)?,
        "printed and saved"
    );
    office.holds_no_secret()?;

    let peer = office.peer()?;
    ensure!(
        peer.contains("AllowedIPs = 10.20.200.7/32, fd20:0:0:200::7/128\n"),
        "{peer}"
    );
    office.admit(&peer)?;
    // the PIN was typed once
    office.world.plug(Port::Ethernet, Place::Home)?;
    office.page()?;
    ensure!(
        card.stats()?.verify == 3,
        "the administrator's PIN once, the user's at enrolment and to open the tunnel"
    );
    let mut opensc = Command::new("pkcs15-tool");
    opensc.arg("--list-public-keys");
    let seen = office.world.laptop.output(&mut opensc)?;
    ensure!(
        said(&seen).contains("Encryption key"),
        "OpenSC does not see the key: {}",
        said(&seen)
    );
    Ok(())
}

fn a_key_is_sealed_to_a_piv_card_and_the_request_is_signed() -> Result<()> {
    let mut office = Office::open("")?;
    let authority = Authority::new()?;
    let mut keys = Vec::new();
    for (algorithm, digest) in [
        (Algorithm::Rsa2048, "-sha256"),
        (Algorithm::P256, "-sha256"),
        (Algorithm::P384, "-sha384"),
    ] {
        let mut card = office.rig.piv_card(0, algorithm, &authority)?;
        card.insert()?;
        let pin = format!("{}\n", card.identity().pin);
        office.survey(1)?;
        // each of the lab's cards has the same serial number, and a key of its own
        let serial = format!("--replace={}", card.identity().serial);
        let done = office.enroll(&[&ADDRESSES[..], &[&serial]].concat(), &pin)?;
        ensure!(
            done.status.success(),
            "{algorithm:?}: {}{}",
            said(&done),
            office.laptop.log()
        );
        let request = office.request()?;
        ensure!(
            request.contains("subject = \"CN=Kim Exempel,O=Exempel kommun,C=SE\""),
            "{request}"
        );
        openssl_agrees(&request, digest, Some(authority.certificate()))?;
        let peer = office.peer()?;
        office.admit(&peer)?;
        keys.push(office.binding()?.card.public_key);
        if algorithm == Algorithm::Rsa2048 {
            office.world.plug(Port::Ethernet, Place::Home)?;
        }
        office.page().with_context(|| format!("{algorithm:?}"))?;

        let changed = request.replacen("10.20.200.7", "10.20.200.8", 1);
        std::fs::write(office.file(), changed)?;
        let verdict = office.verify()?;
        ensure!(
            verdict.status.code() == Some(1) && verdict.stdout.is_empty(),
            "{}",
            said(&verdict)
        );
        card.remove()?;
        eventually("the tunnel is shut", PATIENCE, || {
            Ok((office.laptop.status()?["tunnel"]["state"] == "down").then_some(()))
        })?;
    }
    ensure!(
        keys[0] != keys[1] && keys[1] != keys[2],
        "each seal has a key of its own"
    );
    Ok(())
}

fn a_blank_piv_card_gets_a_key() -> Result<()> {
    const MANAGEMENT: &str = "010203040506070801020304050607080102030405060708";
    let mut office = Office::open("")?;
    let mut card = office.rig.blank_piv_card(0)?;
    card.insert()?;
    let survey = office.survey(1)?;
    ensure!(
        survey["cards"][0]["keys"][0]["makes"][0] == "P-256",
        "{survey:#}"
    );
    let pin = card.identity().pin.clone();
    let make = [&ADDRESSES[..], &["--make"]].concat();

    // The card has no way to say that there is no key: somebody has to.
    let unsure = office.enroll(&make, &format!("{pin}\n{MANAGEMENT}\n"))?;
    ensure!(unsure.status.code() == Some(1), "{}", said(&unsure));
    ensure!(said(&unsure).contains("say --replace"), "{}", said(&unsure));
    let serial = survey["cards"][0]["serial"].as_str().unwrap_or_default();
    let replace = format!("--replace={serial}");
    let make = [&make[..], &[&replace]].concat();

    let wrong = office.enroll(
        &make,
        &format!("{pin}\n{}\n", MANAGEMENT.replace("01", "02")),
    )?;
    ensure!(wrong.status.code() == Some(1), "{}", said(&wrong));
    ensure!(
        said(&wrong).contains("Wrong administrator's PIN or key"),
        "{}",
        said(&wrong)
    );
    let nonsense = office.enroll(&make, &format!("{pin}\nnot hexadecimal\n"))?;
    ensure!(
        said(&nonsense).contains("looks like that"),
        "{}",
        said(&nonsense)
    );
    ensure!(!office.laptop.device_file().exists());

    let done = office.enroll(&make, &format!("{pin}\n{MANAGEMENT}\n"))?;
    ensure!(
        done.status.success(),
        "{}{}",
        said(&done),
        office.laptop.log()
    );
    office.admit(&office.peer()?)?;
    office.world.plug(Port::Ethernet, Place::Home)?;
    office.page()
}

fn only_a_card_whose_issuer_policy_trusts_is_taken() -> Result<()> {
    let (ours, theirs) = (Authority::new()?, Authority::new()?);
    std::fs::create_dir_all("/run/lab")?;
    let issuer = Path::new("/run/lab/issuer.der");
    std::fs::write(issuer, ours.certificate())?;
    let rule = format!("[card.certificate]\nissuers = [\"{}\"]\n", issuer.display());
    let office = Office::open(&rule)?;

    let mut card = office.rig.piv_card(0, Algorithm::P256, &theirs)?;
    card.insert()?;
    let pin = format!("{}\n", card.identity().pin);
    let survey = office.survey(1)?;
    let found = &survey["cards"][0]["keys"][0]["found"];
    ensure!(
        found["fault"]["certificate"]["fault"] == "certificate-untrusted",
        "{survey:#}"
    );
    let refused = office.enroll(&ADDRESSES, &pin)?;
    ensure!(
        refused.status.code() == Some(1) && said(&refused).contains("issuer"),
        "{}",
        said(&refused)
    );
    let made = office.enroll(&[&ADDRESSES[..], &["--make"]].concat(), &pin)?;
    ensure!(
        made.status.code() == Some(1),
        "a key without a certificate was made: {}",
        said(&made)
    );
    ensure!(card.stats()?.verify == 0, "a try was spent");
    card.remove()?;

    let mut card = office.rig.piv_card(1, Algorithm::P256, &ours)?;
    card.insert()?;
    let survey = office.survey(1)?;
    let found = &survey["cards"][0]["keys"][0]["found"];
    ensure!(
        found["subject"] == "CN=Kim Exempel,O=Exempel kommun,C=SE",
        "{survey:#}"
    );
    let done = office.enroll(&ADDRESSES, &pin)?;
    ensure!(done.status.success(), "{}", said(&done));

    std::fs::remove_file(issuer)?;
    let unready = office.laptop.sluss(&["enroll", "--survey"], "")?;
    ensure!(
        said(&unready).contains("A file that the policy names"),
        "{}",
        said(&unready)
    );
    Ok(())
}

fn a_token_behind_pkcs11_is_enrolled_with_each_kind_of_key() -> Result<()> {
    const PIN: &str = "428119";
    if !Path::new(SOFTHSM).exists() {
        skip!("{SOFTHSM} is not installed");
    }
    let directory = Path::new("/run/softhsm");
    std::fs::create_dir_all(directory.join("tokens"))?;
    let configuration = directory.join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\n",
        directory.join("tokens").display()
    );
    std::fs::write(&configuration, text)?;
    let tool = |line: &str| -> Result<()> {
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        let output = command
            .args(words)
            .env("SOFTHSM2_CONF", &configuration)
            .output()?;
        ensure!(output.status.success(), "{line}: {}", said(&output));
        Ok(())
    };
    tool(&format!(
        "softhsm2-util --init-token --free --label drawer --pin {PIN} --so-pin 87654321"
    ))?;
    let policy = format!("pkcs11_module = \"{SOFTHSM}\"\n");
    let mut office = Office::open_with(&policy, Some(&configuration))?;
    let survey = office.survey(1)?;
    let place = &survey["cards"][0]["keys"][0];
    ensure!(
        place["found"]["state"] == "empty" && place["makes"][0] == "X25519",
        "{survey:#}"
    );

    let pin = format!("{PIN}\n");
    let held = office.enroll(&[&ADDRESSES[..], &["--make"]].concat(), &pin)?;
    ensure!(
        held.status.success(),
        "{}{}",
        said(&held),
        office.laptop.log()
    );
    ensure!(
        office.binding()?.card.sealed_key.is_none(),
        "the token holds the key"
    );
    office.admit(&office.peer()?)?;
    office.world.plug(Port::Ethernet, Place::Home)?;
    office.page()?;

    // and the token's other keys, which their owner has made
    let serial = office.binding()?.card.serial;
    let replace = format!("--replace={serial}");
    let keygen = format!("pkcs11-tool --module {SOFTHSM} --login --pin {PIN} --keypairgen");
    for (id, kind, usage, digest) in [
        ("51", "rsa:2048", "--usage-decrypt --usage-sign", "-sha256"),
        (
            "52",
            "EC:prime256v1",
            "--usage-derive --usage-sign",
            "-sha256",
        ),
    ] {
        tool(&format!("{keygen} --id {id} --key-type {kind} {usage}"))?;
        let key = format!("pkcs11:{id}");
        let sealed = office.enroll(&["--key", &key, &replace], &pin)?;
        ensure!(
            sealed.status.success(),
            "{kind}: {}{}",
            said(&sealed),
            office.laptop.log()
        );
        openssl_agrees(&office.request()?, digest, None)?;
        office.admit(&office.peer()?)?;
        office.page().with_context(|| kind.to_owned())?;
    }
    let lost = office.enroll(&["--key", "pkcs11:51", "--make", &replace], &pin)?;
    ensure!(
        lost.status.code() == Some(1),
        "a key that is not ours was overwritten: {}",
        said(&lost)
    );
    Ok(())
}

fn no_key_and_no_binding_is_lost_by_accident() -> Result<()> {
    let office = Office::open("allow_factory_pin = true\n")?;
    let mut card = office.rig.card(0)?;
    card.insert()?;
    office.survey(1)?;
    let (serial, key) = (card.identity().serial.clone(), card.identity().public_key);
    let make = [&ADDRESSES[..], &["--make"]].concat();

    let refused = office.enroll(&make, PINS)?;
    ensure!(
        refused.status.code() == Some(1) && said(&refused).contains("--replace="),
        "{}",
        said(&refused)
    );
    // and not by what somebody makes of the command either
    let other = [&make[..], &["--replace=FFFE:00000000"]].concat();
    ensure!(office.enroll(&other, PINS)?.status.code() == Some(1));
    ensure!(card.stats()?.verify == 0);

    ensure!(office.enroll(&ADDRESSES, PINS)?.status.success());
    ensure!(
        office.binding()?.card.public_key.as_bytes() == &key,
        "its own key"
    );
    let first = office.request()?;
    ensure!(
        office.enroll(&[], PINS)?.status.success(),
        "again, with the addresses that it has"
    );
    let made = |text: &str| {
        text.lines()
            .filter(|line| !line.starts_with("made"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    ensure!(
        made(&office.request()?) == made(&first),
        "the same request again"
    );

    // a new card for the same laptop
    card.remove()?;
    let mut new = office.rig.card(1)?;
    new.insert()?;
    office.survey(1)?;
    let refused = office.enroll(&[], PINS)?;
    ensure!(
        refused.status.code() == Some(1) && said(&refused).contains(&serial),
        "{}",
        said(&refused)
    );
    let done = office.enroll(&[&format!("--replace={serial}")], PINS)?;
    ensure!(done.status.success(), "{}", said(&done));
    let bound = office.binding()?.card;
    ensure!(
        bound.serial == new.identity().serial
            && bound.public_key.as_bytes() == &new.identity().public_key
    );

    // two cards: a person has to say which
    card.insert()?;
    office.survey(2)?;
    ensure!(
        office.enroll(&["--json"], PINS)?.status.success(),
        "the bound one needs no word"
    );
    let other = office.enroll(&["--card", &serial], PINS)?;
    ensure!(
        said(&other).contains(&format!("--replace={}", bound.serial)),
        "{}",
        said(&other)
    );

    // and at last the key itself, named
    let both = format!("--replace={serial}");
    let bound = format!("--replace={}", bound.serial);
    let done = office.enroll(&["--card", &serial, "--make", &both, &bound], PINS)?;
    ensure!(done.status.success(), "{}", said(&done));
    ensure!(
        office.binding()?.card.public_key.as_bytes() != &key,
        "a new key"
    );
    Ok(())
}

fn a_card_that_says_no_changes_nothing() -> Result<()> {
    let office = Office::open("")?;
    let none = office.enroll(&ADDRESSES, PINS)?;
    ensure!(said(&none).contains("no card"), "{}", said(&none));

    let mut card = office.rig.card(0)?;
    card.insert()?;
    office.survey(1)?;
    let factory = office.enroll(&ADDRESSES, PINS)?;
    ensure!(
        said(&factory).contains("delivered with"),
        "{}",
        said(&factory)
    );
    ensure!(card.stats()?.verify == 0, "and no try for it");
    for left in ["2 PIN tries", "One PIN try"] {
        let wrong = office.enroll(&ADDRESSES, "654321\n")?;
        ensure!(wrong.status.code() == Some(1), "{}", said(&wrong));
        ensure!(said(&wrong).contains(left), "{left}: {}", said(&wrong));
    }
    let last = office.enroll(&ADDRESSES, "654321\n")?;
    ensure!(said(&last).contains("--last-try"), "{}", said(&last));
    ensure!(card.stats()?.verify == 2, "the last try is there");
    ensure!(!office.laptop.device_file().exists() && !office.file().exists());

    let address = ["--address", "10.20.200.0/33"];
    let no_address = office.enroll(&address, "654321\n")?;
    ensure!(no_address.status.code() == Some(1));
    let without = office.enroll(&[], "654321\n")?;
    ensure!(said(&without).contains("--address"), "{}", said(&without));
    Ok(())
}

fn a_preshared_key_stays_on_the_laptop() -> Result<()> {
    let mut office = Office::open("allow_factory_pin = true\n")?;
    let key = String::from_utf8(Command::new("wg").arg("genpsk").output()?.stdout)?;
    let file = office.directory.join("psk");
    std::fs::write(&file, &key)?;
    let mut card = office.rig.card(0)?;
    card.insert()?;
    office.survey(1)?;
    let file = file.display().to_string();
    let with_key = [&ADDRESSES[..], &["--preshared-key-file", &file]].concat();
    let done = office.enroll(&with_key, PINS)?;
    ensure!(done.status.success(), "{}", said(&done));
    ensure!(office.request()?.contains("preshared_key = true"));
    ensure!(!office.request()?.contains(key.trim()) && !said(&done).contains(key.trim()));
    ensure!(!office.laptop.log().contains(key.trim()));
    let binding = office
        .binding()?
        .preshared_key
        .context("no preshared key")?;
    ensure!(STANDARD.encode(binding.as_bytes()) == key.trim());
    let mode = std::fs::metadata(office.laptop.device_file())?.mode();
    ensure!(mode & 0o077 == 0, "others may read the binding: {mode:o}");

    ensure!(office.enroll(&[], PINS)?.status.success(), "again");
    ensure!(
        office.request()?.contains("preshared_key = true"),
        "it stays with the key"
    );
    office.admit(&format!("{}PresharedKey = {key}", office.peer()?))?;
    office.world.plug(Port::Ethernet, Place::Home)?;
    office.page()?;

    std::fs::write(&file, "no key\n")?;
    let wrong = office.enroll(&with_key, PINS)?;
    ensure!(
        wrong.status.code() == Some(1) && said(&wrong).contains("wg genpsk"),
        "{}",
        said(&wrong)
    );
    Ok(())
}

fn a_daemon_that_is_killed_leaves_a_binding_that_is_whole() -> Result<()> {
    let mut office = Office::open("allow_factory_pin = true\n")?;
    let mut card = office.rig.blank_card(0)?;
    card.insert()?;
    office.survey(1)?;
    let make = [&ADDRESSES[..], &["--make"]].concat();
    let begun = moment::now();
    ensure!(office.enroll(&make, PINS)?.status.success());
    let whole = moment::now().saturating_sub(begun);
    let key = office.binding()?.card.public_key;

    let mut bound = 0;
    for round in 0..12 {
        std::fs::remove_file(office.laptop.device_file())?;
        office.laptop.crash();
        office.laptop.start()?;
        office.survey(1)?;
        let mut command = office.command(&ADDRESSES, PINS)?;
        // not a wait for something: the moment is what the trial is about
        std::thread::sleep(whole * round / 8);
        office.laptop.crash();
        command.wait()?;
        if office.laptop.device_file().exists() {
            bound += 1;
            ensure!(office.binding()?.card.public_key == key, "half a binding");
        }
        office.laptop.start()?;
        office.survey(1)?;
        let again = office.enroll(&ADDRESSES, PINS)?;
        ensure!(again.status.success(), "round {round}: {}", said(&again));
        ensure!(office.binding()?.card.public_key == key, "another key");
    }
    println!("measured killed after the binding was written {bound} of 12 times");
    Ok(())
}
