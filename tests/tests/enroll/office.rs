//! A laptop that nobody has enrolled, its gateway, and what the administrators on both sides do.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sluss_policy::{DeviceBinding, Source};
use sluss_tests::beacon::Beacon;
use sluss_tests::gateway::Gateway;
use sluss_tests::laptop::{Laptop, Policy, endpoint};
use sluss_tests::moment::eventually;
use sluss_tests::rig::Rig;
use sluss_tests::servers;
use sluss_tests::world::{GATEWAY, WEB, World};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The factory's PINs of the lab's OpenPGP cards, as a script gives them.
pub(crate) const PINS: &str = "123456\n12345678\n";

/// A laptop that nobody has enrolled, in a world with a gateway that knows nobody yet.
pub(crate) struct Office {
    pub(crate) world: World,
    pub(crate) rig: Rig,
    pub(crate) laptop: Laptop,
    pub(crate) directory: PathBuf,
    _gateway: Gateway,
    _beacon: Beacon,
}

impl Office {
    /// With these lines in the policy's section `[card]`.
    pub(crate) fn open(card_policy: &str) -> Result<Office> {
        Office::open_with(card_policy, None)
    }

    /// And with this configuration for SoftHSM.
    pub(crate) fn open_with(card_policy: &str, softhsm: Option<&Path>) -> Result<Office> {
        let directory = Path::new("/run/lab");
        std::fs::create_dir_all(directory)?;
        let world = World::new()?;
        let rig = Rig::start(world.laptop.clone(), directory)?;
        let gateway = Gateway::start(&world, [9; 32], None)?;
        let beacon = Beacon::start(&world.servers)?;
        servers::start(&world)?;
        let policy = Policy {
            endpoints: endpoint(GATEWAY),
            gateway_key: gateway.public_key(),
            beacons: beacon.section(),
            more: format!("[card]\n{card_policy}"),
        };
        let mut laptop = Laptop::unenrolled(world.laptop.clone(), directory, &policy)?;
        laptop.environment("PCSCLITE_CSOCK_NAME", rig.pcsc_socket());
        if let Some(configuration) = softhsm {
            laptop.environment("SOFTHSM2_CONF", configuration);
        }
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
    pub(crate) fn survey(&self, cards: usize) -> Result<Value> {
        eventually("the cards are seen", PATIENCE, || {
            let output = self.laptop.sluss(&["enroll", "--survey", "--json"], "")?;
            ensure!(output.status.success(), "{}", said(&output));
            let survey: Value = serde_json::from_slice(&output.stdout)?;
            let seen = survey["cards"].as_array().map_or(0, Vec::len);
            Ok((seen == cards).then_some(survey))
        })
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join("request.toml")
    }

    pub(crate) fn request(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.file())?)
    }

    fn arguments<'a>(&self, more: &[&'a str], file: &'a str) -> Vec<&'a str> {
        [&["enroll", "--name", "laptop-0417", "--out", file], more].concat()
    }

    pub(crate) fn enroll(&self, more: &[&str], input: &str) -> Result<Output> {
        let file = self.file().display().to_string();
        self.laptop.sluss(&self.arguments(more, &file), input)
    }

    /// The same, in the background.
    pub(crate) fn command(&self, more: &[&str], input: &str) -> Result<Child> {
        let file = self.file().display().to_string();
        self.laptop.begin(&self.arguments(more, &file), input)
    }

    pub(crate) fn verify(&self) -> Result<Output> {
        let file = self.file().display().to_string();
        self.laptop.sluss(&["enroll", "--verify", &file], "")
    }

    /// What the administrator's side makes of the request.
    pub(crate) fn peer(&self) -> Result<String> {
        let output = self.verify()?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Lets the laptop in.
    pub(crate) fn admit(&self, peer: &str) -> Result<()> {
        let mut command = Command::new("wg");
        self.world
            .gateway
            .feed(command.args(["addconf", "wg0", "/dev/stdin"]), peer)
    }

    pub(crate) fn binding(&self) -> Result<DeviceBinding> {
        let text = std::fs::read_to_string(self.laptop.device_file())?;
        let source = Source {
            file: "device.toml",
            text: &text,
        };
        DeviceBinding::parse(source).map_err(|errors| anyhow::anyhow!("{errors:?}"))
    }

    /// Waits for the internal web page.
    pub(crate) fn page(&self) -> Result<()> {
        let fetch = || servers::fetch(&self.world.laptop, WEB, Duration::from_secs(2)).ok();
        eventually("the internal page", PATIENCE, || Ok(fetch()))
            .with_context(|| self.laptop.log())
            .map(drop)
    }

    /// Neither the log at its most talkative nor the request has a PIN in it.
    pub(crate) fn holds_no_secret(&self) -> Result<()> {
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
pub(crate) fn openssl_agrees(request: &str, digest: &str, issuer: Option<&[u8]>) -> Result<()> {
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
    let mut lines = vec![
        "pkey -pubin -inform der -in key.der -out key.pem".to_owned(),
        format!("dgst {digest} -verify key.pem -signature value signed"),
    ];
    if let Some(issuer) = issuer {
        std::fs::write(directory.join("card.der"), of(signed, "certificate")?)?;
        std::fs::write(directory.join("ca.der"), issuer)?;
        lines.extend(
            [
                "x509 -inform der -in card.der -out card.pem",
                "x509 -inform der -in ca.der -out ca.pem",
                "verify -CAfile ca.pem card.pem",
            ]
            .map(str::to_owned),
        );
    }
    for line in lines {
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
pub(crate) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stderr), text(&output.stdout))
}
