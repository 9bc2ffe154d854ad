//! Service cards behind PKCS#11: SoftHSM's tokens, and the rig's cards through OpenSC. Made with OpenSC's own tools.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use sluss_card::applet::{Answer, Challenge};
use sluss_card::key::CardKey;
use sluss_card::sealed::{Method, SignatureSeal};
use sluss_policy::{CardBinding, PublicKey};
use x25519_dalek::PublicKey as Point;
use zeroize::Zeroizing;

use crate::moment::{eventually, now};
use crate::rig::{Identity, PivIdentity, VirtualCard};
use crate::service_card::{SealedKey, ServiceCard, new_key};

pub const OPENSC: &str = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so";
pub const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// `CKA_ID` that OpenSC gives the decryption key of an OpenPGP card.
const OPENPGP_DECRYPTION: &str = "02";
/// `CKA_ID` that OpenSC gives the key in slot 9D of a PIV card.
const PIV_KEY_MANAGEMENT: &str = "03";

/// A token of SoftHSM, always present, and a software key that is sealed to its key.
pub struct SoftToken {
    serial: String,
    configuration: PathBuf,
    key: SealedKey,
}

impl SoftToken {
    const PIN: &str = "428119";
    const ID: &str = "51";

    /// A new token in `directory`, with a key that serves for such a seal and no other.
    pub fn new(directory: &Path, method: Method) -> Result<SoftToken> {
        let tokens = directory.join("softhsm");
        std::fs::create_dir_all(&tokens)?;
        let configuration = directory.join("softhsm2.conf");
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\n",
            tokens.display()
        );
        std::fs::write(&configuration, text)?;
        let run = |program: &str, arguments: &[&str]| {
            output(
                Command::new(program)
                    .args(arguments)
                    .env("SOFTHSM2_CONF", &configuration),
            )
        };
        let pin = Self::PIN;
        run(
            "softhsm2-util",
            &[
                "--init-token",
                "--free",
                "--label",
                "Sluss lab",
                "--pin",
                pin,
                "--so-pin",
                "87654321",
            ],
        )?;
        let (kind, usage) = match method {
            Method::EcdhP256 => ("EC:prime256v1", "--usage-derive"),
            Method::EcdhP384 => bail!("pkcs11-tool does not give away public keys on P-384"),
            Method::RsaOaepSha256 | Method::RsaPkcs1 => ("rsa:2048", "--usage-decrypt"),
            Method::RsaSignature => ("rsa:2048", "--usage-sign"),
        };
        let tool = |arguments: &[&str]| {
            let common = [
                "--module",
                SOFTHSM,
                "--login",
                "--pin",
                pin,
                "--id",
                Self::ID,
            ];
            run("pkcs11-tool", &[&common, arguments].concat())
        };
        tool(&[
            "--keypairgen",
            "--key-type",
            kind,
            usage,
            "--label",
            "sluss",
        ])?;
        let file = directory.join("public-key.der");
        let path = file.to_str().context("a path in UTF-8")?;
        tool(&["--read-object", "--type", "pubkey", "--output-file", path])?;
        let card = CardKey::from_spki(&std::fs::read(&file)?).context("a public key")?;
        let serial = serial(&run(
            "pkcs11-tool",
            &["--module", SOFTHSM, "--list-token-slots"],
        )?)?;
        let key = match method {
            Method::RsaSignature => seal_by_signature(&card, &serial, |message| {
                let (input, output) = (directory.join("message"), directory.join("signature"));
                std::fs::write(&input, message)?;
                let [input_path, output_path] =
                    [&input, &output].map(|path| path.to_string_lossy());
                tool(&[
                    "--sign",
                    "--mechanism",
                    "SHA256-RSA-PKCS",
                    "--input-file",
                    &input_path,
                    "--output-file",
                    &output_path,
                ])?;
                Ok(std::fs::read(output)?)
            })?,
            _ => SealedKey::seal(method, &card, &serial)?,
        };
        Ok(SoftToken {
            serial,
            configuration,
            key,
        })
    }
}

fn seal_by_signature(
    card: &CardKey,
    serial: &str,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>>,
) -> Result<SealedKey> {
    let private_key = new_key()?;
    let seal = SignatureSeal::begin(Point::from(&private_key).to_bytes(), card, serial)?;
    let Challenge::Sign(message) = seal.challenge() else {
        bail!("not to be signed")
    };
    let signature = Answer::Signed(Zeroizing::new(sign(&message)?));
    let file = seal.finish(private_key.as_bytes(), &signature)?;
    Ok(SealedKey { private_key, file })
}

impl ServiceCard for SoftToken {
    /// It always is.
    fn insert(&mut self) -> Result<()> {
        Ok(())
    }

    fn remove(&mut self) -> Result<Duration> {
        bail!("a token of SoftHSM cannot be pulled")
    }

    fn pin(&self) -> &str {
        Self::PIN
    }

    fn binding(&self) -> CardBinding {
        binding(
            &self.serial,
            Self::ID,
            self.key.public_key(),
            Some(&self.key),
        )
    }

    fn policy(&self) -> String {
        format!("pkcs11_module = \"{SOFTHSM}\"\nsignature_wrap = true\n")
    }

    fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![("SOFTHSM2_CONF", self.configuration.clone().into())]
    }

    fn uses(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }

    fn delay(&mut self, _: Duration) -> Result<()> {
        bail!("a token of SoftHSM is never slow")
    }

    fn private_key(&self) -> [u8; 32] {
        self.key.private_key.to_bytes()
    }
}

/// A card of the rig that the daemon reaches through OpenSC.
pub struct ByOpensc<I> {
    card: VirtualCard<I>,
    pin: String,
    serial: String,
    id: &'static str,
    key: Key,
}

enum Key {
    Held {
        public_key: [u8; 32],
        private_key: [u8; 32],
    },
    Sealed(SealedKey),
}

impl ByOpensc<Identity> {
    /// An OpenPGP card, which computes X25519 itself.
    pub fn openpgp(mut card: VirtualCard) -> Result<Self> {
        let serial = serial_by_opensc(&mut card)?;
        let identity = card.identity();
        Ok(ByOpensc {
            pin: identity.pin.clone(),
            key: Key::Held {
                public_key: identity.public_key,
                private_key: identity.private_key,
            },
            id: OPENPGP_DECRYPTION,
            serial,
            card,
        })
    }
}

impl ByOpensc<PivIdentity> {
    /// A PIV card, and a software key that is sealed to its key in slot 9D.
    pub fn piv(mut card: VirtualCard<PivIdentity>, method: Method) -> Result<Self> {
        let serial = serial_by_opensc(&mut card)?;
        let identity = card.identity();
        Ok(ByOpensc {
            pin: identity.pin.clone(),
            key: Key::Sealed(SealedKey::seal(method, &identity.public_key, &serial)?),
            id: PIV_KEY_MANAGEMENT,
            serial,
            card,
        })
    }
}

impl<I: DeserializeOwned> ServiceCard for ByOpensc<I> {
    fn insert(&mut self) -> Result<()> {
        self.card.insert()
    }

    fn remove(&mut self) -> Result<Duration> {
        self.card.remove()
    }

    fn pin(&self) -> &str {
        &self.pin
    }

    fn binding(&self) -> CardBinding {
        match &self.key {
            Key::Held { public_key, .. } => {
                binding(&self.serial, self.id, (*public_key).into(), None)
            }
            Key::Sealed(key) => binding(&self.serial, self.id, key.public_key(), Some(key)),
        }
    }

    fn policy(&self) -> String {
        format!("pkcs11_module = \"{OPENSC}\"\n")
    }

    fn uses(&mut self) -> Result<Option<u64>> {
        Ok(Some(self.card.stats()?.dh))
    }

    fn delay(&mut self, delay: Duration) -> Result<()> {
        self.card.delay(delay)
    }

    fn private_key(&self) -> [u8; 32] {
        match &self.key {
            Key::Held { private_key, .. } => *private_key,
            Key::Sealed(key) => key.private_key.to_bytes(),
        }
    }
}

fn binding(
    serial: &str,
    id: &str,
    public_key: PublicKey,
    sealed: Option<&SealedKey>,
) -> CardBinding {
    CardBinding {
        serial: serial.to_owned(),
        public_key,
        key: format!("pkcs11:{id}").parse().ok(),
        sealed_key: sealed.map(|key| key.file.clone()),
    }
}

/// What OpenSC calls the card, which is put into its reader for that and pulled again.
fn serial_by_opensc<I: DeserializeOwned>(card: &mut VirtualCard<I>) -> Result<String> {
    card.insert()?;
    let serial = eventually("OpenSC sees the card", Duration::from_secs(20), || {
        let list = ["--module", OPENSC, "--list-token-slots"];
        Ok(output(Command::new("pkcs11-tool").args(list))
            .and_then(|list| serial(&list))
            .ok())
    })?;
    card.remove()?;
    // vpcd polls: until then the daemon would still find it.
    let removed = now();
    eventually("the reader is empty", Duration::from_secs(5), || {
        Ok((now() > removed + Duration::from_millis(500)).then_some(()))
    })?;
    Ok(serial)
}

/// The first token's serial number in a list of pkcs11-tool's.
fn serial(list: &str) -> Result<String> {
    let line = list
        .lines()
        .find_map(|line| line.trim().strip_prefix("serial num"));
    let (_, serial) = line
        .and_then(|line| line.split_once(':'))
        .with_context(|| format!("no token: {list}"))?;
    Ok(serial.trim().to_owned())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{command:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "{command:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    Ok(text(&output.stdout))
}
