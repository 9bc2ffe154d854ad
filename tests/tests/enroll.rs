//! Enrolment with the shipped programs: from a card in the drawer to a gateway that lets the laptop in.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sluss_card::key::Algorithm;
use sluss_policy::{DeviceBinding, Source};
use sluss_tests::authority::Authority;
use sluss_tests::gateway::Gateway;
use sluss_tests::laptop::{Laptop, Policy};
use sluss_tests::moment::{self, eventually};
use sluss_tests::rig::Rig;
use sluss_tests::servers::{self, Beacon};
use sluss_tests::world::{BEACON, GATEWAY, Place, Port, WEB, World};
use sluss_tests::{trial, trials};

const PATIENCE: Duration = Duration::from_secs(20);
/// What the gateway's administrator has given out.
const ADDRESSES: [&str; 4] = [
    "--address",
    "10.20.200.7/32",
    "--address",
    "fd20:0:0:200::7/128",
];
/// The factory's PINs of the lab's OpenPGP cards, as a script gives them.
const PINS: &str = "123456\n12345678\n";

fn main() -> ExitCode {
    trials::main(&[
        trial!(a_blank_card_gets_a_key_and_opens_the_tunnel),
        trial!(a_key_is_sealed_to_a_piv_card_and_the_request_is_signed),
        trial!(a_blank_piv_card_gets_a_key),
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
    // the PIN was typed once, at enrolment
    office.world.plug(Port::Ethernet, Place::Home)?;
    office.page()?;
    ensure!(
        card.stats()?.verify == 2,
        "the user's PIN once, the administrator's once"
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
        openssl_agrees(&request, digest, authority.certificate())?;
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
    let mode =
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(office.laptop.device_file())?);
    ensure!(mode & 0o077 == 0, "others may read the binding: {mode:o}");

    ensure!(office.enroll(&[], PINS)?.status.success(), "again");
    ensure!(office.request()?.contains("preshared_key = true"), "it stays with the key");
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

/// A laptop that nobody has enrolled, in a world with a gateway that knows nobody yet.
struct Office {
    world: World,
    rig: Rig,
    laptop: Laptop,
    directory: PathBuf,
    _gateway: Gateway,
    _beacon: Beacon,
}

impl Office {
    /// With these lines in the policy's section `[card]`.
    fn open(card_policy: &str) -> Result<Office> {
        let directory = Path::new("/run/lab");
        std::fs::create_dir_all(directory)?;
        let world = World::new()?;
        let rig = Rig::start(world.laptop.clone(), directory)?;
        let gateway = Gateway::start(&world, [9; 32], None)?;
        let beacon = Beacon::start(&world.servers)?;
        servers::start(&world)?;
        let policy = Policy {
            endpoint: GATEWAY,
            gateway_key: gateway.public_key(),
            beacon: BEACON,
            beacon_pin: beacon.pin().to_owned(),
            more: format!("[card]\n{card_policy}"),
        };
        let mut laptop = Laptop::unenrolled(world.laptop.clone(), directory, &policy)?;
        laptop.environment("PCSCLITE_CSOCK_NAME", rig.pcsc_socket());
        laptop.log_level = "trace".to_owned();
        laptop.start()?;
        Ok(Office {
            world,
            rig,
            laptop,
            directory: directory.to_owned(),
            _gateway: gateway,
            _beacon: beacon,
        })
    }

    /// Waits until so many cards are seen.
    fn survey(&self, cards: usize) -> Result<Value> {
        eventually("the cards are seen", PATIENCE, || {
            let output = self.laptop.sluss(&["enroll", "--survey", "--json"], "")?;
            ensure!(output.status.success(), "{}", said(&output));
            let survey: Value = serde_json::from_slice(&output.stdout)?;
            let seen = survey["cards"].as_array().map_or(0, Vec::len);
            Ok((seen == cards).then_some(survey))
        })
    }

    fn file(&self) -> PathBuf {
        self.directory.join("request.toml")
    }

    fn request(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.file())?)
    }

    fn arguments<'a>(&self, more: &[&'a str], file: &'a str) -> Vec<&'a str> {
        [&["enroll", "--name", "laptop-0417", "--out", file], more].concat()
    }

    fn enroll(&self, more: &[&str], input: &str) -> Result<Output> {
        let file = self.file().display().to_string();
        self.laptop.sluss(&self.arguments(more, &file), input)
    }

    /// The same, in the background.
    fn command(&self, more: &[&str], input: &str) -> Result<std::process::Child> {
        let file = self.file().display().to_string();
        self.laptop.begin(&self.arguments(more, &file), input)
    }

    fn verify(&self) -> Result<Output> {
        let file = self.file().display().to_string();
        self.laptop.sluss(&["enroll", "--verify", &file], "")
    }

    /// What the administrator's side makes of the request.
    fn peer(&self) -> Result<String> {
        let output = self.verify()?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Lets the laptop in.
    fn admit(&self, peer: &str) -> Result<()> {
        let mut command = Command::new("wg");
        self.world
            .gateway
            .feed(command.args(["addconf", "wg0", "/dev/stdin"]), peer)
    }

    fn binding(&self) -> Result<DeviceBinding> {
        let text = std::fs::read_to_string(self.laptop.device_file())?;
        let source = Source {
            file: "device.toml",
            text: &text,
        };
        DeviceBinding::parse(source).map_err(|errors| anyhow::anyhow!("{errors:?}"))
    }

    /// Waits for the internal web page.
    fn page(&self) -> Result<()> {
        let fetch = || servers::fetch(&self.world.laptop, WEB, Duration::from_secs(2)).ok();
        eventually("the internal page", PATIENCE, || Ok(fetch()))
            .with_context(|| self.laptop.log())
            .map(drop)
    }

    /// Neither the log at its most talkative nor the request has a PIN in it.
    fn holds_no_secret(&self) -> Result<()> {
        for pin in PINS.lines() {
            let hex: String = pin.bytes().map(|byte| format!("{byte:02x}")).collect();
            for text in [self.laptop.log().to_lowercase(), self.request()?] {
                ensure!(
                    !text.contains(&hex) && !text.contains(&format!("\"{pin}\"")),
                    "{pin}"
                );
            }
        }
        Ok(())
    }
}

/// Checks signature and certificate as docs/enrolment.md says.
fn openssl_agrees(request: &str, digest: &str, issuer: &[u8]) -> Result<()> {
    let directory = Path::new("/run/openssl");
    std::fs::create_dir_all(directory)?;
    let (signed, section) = request
        .split_once("[signature]\n")
        .context("no signature")?;
    let of = |text: &str, key: &str| -> Result<Vec<u8>> {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{key} = \"")));
        let value = line
            .and_then(|line| line.strip_suffix('"'))
            .with_context(|| format!("no {key}"))?;
        Ok(STANDARD.decode(value)?)
    };
    std::fs::write(directory.join("signed"), signed)?;
    std::fs::write(directory.join("key.der"), of(section, "public_key")?)?;
    std::fs::write(directory.join("value"), of(section, "value")?)?;
    std::fs::write(directory.join("card.der"), of(signed, "certificate")?)?;
    std::fs::write(directory.join("ca.der"), issuer)?;
    for line in [
        "pkey -pubin -inform der -in key.der -out key.pem".to_owned(),
        format!("dgst {digest} -verify key.pem -signature value signed"),
        "x509 -inform der -in card.der -out card.pem".to_owned(),
        "x509 -inform der -in ca.der -out ca.pem".to_owned(),
        "verify -CAfile ca.pem card.pem".to_owned(),
    ] {
        let mut command = Command::new("openssl");
        let output = command
            .args(line.split(' '))
            .current_dir(directory)
            .output()?;
        ensure!(output.status.success(), "openssl {line}: {}", said(&output));
    }
    Ok(())
}

/// Everything that a program printed, for a person.
fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stderr), text(&output.stdout))
}
