//! The card rig: a pcscd of the test's own with two virtual readers, and cards with known keys to put into them.
//!
//! pcscd listens where its clients look without being told, which in the lab is the private `/run`. The readers' driver
//! (vpcd) listens on all addresses of the network it runs in: never start a rig outside the lab.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use sluss_card::key::{Algorithm, CardKey};
use sluss_card::tlv;

use crate::artifacts;
use crate::authority::Authority;
use crate::moment::eventually;
use crate::netns::{Netns, Process};

/// vpcd's port for the first reader; the second has the next.
const PORT: u16 = 0x9000;
/// How long anything may take that is not what a test is about.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pcscd with two readers.
pub struct Rig {
    pcscd: Option<Process>,
    net: Netns,
    dir: PathBuf,
}

impl Rig {
    /// Starts pcscd inside `net`, with what it needs in `dir`.
    pub fn start(net: Netns, dir: &Path) -> Result<Rig> {
        let reader = format!(
            "FRIENDLYNAME \"Virtual PCD\"\n\
             DEVICENAME /dev/null:{PORT:#x}\n\
             CHANNELID {PORT:#x}\n\
             LIBPATH /usr/lib/pcsc/drivers/serial/libifdvpcd.so\n"
        );
        std::fs::create_dir_all(dir.join("readers"))?;
        std::fs::create_dir_all(dir.join("no-usb-drivers"))?;
        std::fs::write(dir.join("readers/vpcd"), reader)?;
        std::fs::create_dir_all("/run/pcscd")?;
        let mut rig = Rig {
            pcscd: None,
            net,
            dir: dir.to_owned(),
        };
        rig.start_pcscd()?;
        Ok(rig)
    }

    /// Where clients find pcscd; also without `PCSCLITE_CSOCK_NAME` if they share this process's `/run`.
    pub fn pcsc_socket(&self) -> &'static Path {
        Path::new("/run/pcscd/pcscd.comm")
    }

    /// Name of a reader, 0 or 1.
    pub fn reader(&self, slot: u16) -> String {
        format!("Virtual PCD 00 {slot:02X}")
    }

    /// A new OpenPGP card, not yet in the reader of that slot. Its PIN is the one that every new card has.
    pub fn card(&self, slot: u16) -> Result<VirtualCard> {
        self.make(slot, "openpgp")
    }

    /// Another person's OpenPGP card for the reader of that slot.
    pub fn other_card(&self, slot: u16) -> Result<VirtualCard> {
        VirtualCard::start(&self.net, PORT + slot, 0x5200 + u32::from(slot), "openpgp")
    }

    /// As [`Rig::card`], with a PIN of its user's own.
    pub fn issued_card(&self, slot: u16) -> Result<VirtualCard> {
        self.make(slot, "openpgp:issued")
    }

    /// A new PIV card with such a key and a certificate by `issuer`, not yet in the reader of that slot. There are no PIV
    /// cards with X25519.
    pub fn piv_card(
        &self,
        slot: u16,
        algorithm: Algorithm,
        issuer: &Authority,
    ) -> Result<VirtualCard<PivIdentity>> {
        let kind = match algorithm {
            Algorithm::X25519 => bail!("the rig's PIV cards have no X25519"),
            Algorithm::P256 => "piv:p256",
            Algorithm::P384 => "piv:p384",
            Algorithm::Rsa2048 => "piv:rsa2048",
            Algorithm::Rsa3072 => "piv:rsa3072",
            Algorithm::Rsa4096 => "piv:rsa4096",
        };
        let mut card: VirtualCard<PivIdentity> = self.make(slot, kind)?;
        let certificate = issuer.issue(&card.identity.public_key, Authority::employee())?;
        card.put_certificate(&certificate)?;
        Ok(card)
    }

    /// A new OpenPGP card as it comes from the factory, without keys.
    pub fn blank_card(&self, slot: u16) -> Result<VirtualCard<BlankIdentity>> {
        self.make(slot, "openpgp:blank")
    }

    /// A new PIV card without keys, with a PIN of its own and the factory's management key.
    pub fn blank_piv_card(&self, slot: u16) -> Result<VirtualCard<BlankIdentity>> {
        self.make(slot, "piv:blank")
    }

    fn make<I: DeserializeOwned>(&self, slot: u16, kind: &str) -> Result<VirtualCard<I>> {
        VirtualCard::start(&self.net, PORT + slot, 0x5100 + u32::from(slot), kind)
    }

    /// Ends it without a word to its clients.
    pub fn stop_pcscd(&mut self) -> Result<()> {
        if let Some(mut pcscd) = self.pcscd.take() {
            pcscd.kill()?;
        }
        Ok(())
    }

    /// Starts it, after a stop, with empty readers: each card has to be inserted again.
    pub fn start_pcscd(&mut self) -> Result<()> {
        ensure!(self.pcscd.is_none(), "pcscd runs");
        let socket = self.pcsc_socket();
        if socket.exists() {
            std::fs::remove_file(socket)?;
        }
        // Debian's pcscd listens where its package says, or on the descriptor 3 that systemd hands it
        let listener = UnixListener::bind(socket).context("pcscd's socket")?;
        let start = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec /usr/sbin/pcscd --foreground --config \"$0\"";
        let mut command = Command::new("sh");
        command
            .args(["-c", start])
            .arg(self.dir.join("readers"))
            .env("PCSCLITE_HP_DROPDIR", self.dir.join("no-usb-drivers"))
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.pcscd = Some(self.net.spawn(&mut command)?);
        Ok(())
    }

    /// Holds it still (`SIGSTOP`), or lets it go on (`SIGCONT`): a service that is there and does not answer.
    pub fn signal_pcscd(&self, signal: Signal) -> Result<()> {
        self.pcscd
            .as_ref()
            .context("pcscd does not run")?
            .signal(signal)
    }
}

/// A card that the test knows; pulled and broken by methods, dropped with the test.
pub struct VirtualCard<I = Identity> {
    process: Process,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    identity: I,
}

/// Who an OpenPGP card is.
#[derive(Deserialize)]
pub struct Identity {
    /// As `sluss_card::CardInfo::serial` has it.
    pub serial: String,
    /// The user's PIN.
    pub pin: String,
    /// X25519, little-endian.
    #[serde(deserialize_with = "key")]
    pub public_key: [u8; 32],
    /// What must never be seen outside the card; clamped, as the card keeps it.
    #[serde(deserialize_with = "key")]
    pub private_key: [u8; 32],
}

/// Who a PIV card is.
#[derive(Deserialize)]
pub struct PivIdentity {
    /// As `sluss_card::CardInfo::serial` has it.
    pub serial: String,
    /// The cardholder's PIN.
    pub pin: String,
    /// Of the key in slot 9D, which the card made and does not give away.
    #[serde(deserialize_with = "card_key")]
    pub public_key: CardKey,
}

/// Who a card without keys is.
#[derive(Deserialize)]
pub struct BlankIdentity {
    /// As `sluss_card::CardInfo::serial` has it.
    pub serial: String,
    /// The user's PIN.
    pub pin: String,
}

/// How to break a card.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Not at all (any more).
    None,
    /// It answers rubbish of several kinds.
    Nonsense,
    /// It does not answer until the fault ends.
    Hang,
    /// It leaves the reader in the middle of the next use of the key.
    Vanish,
}

/// What a card did since it was made.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct Stats {
    /// Uses of the key that were asked for: Diffie-Hellmans, and RSA's operation.
    pub dh: u64,
    /// PINs tried.
    pub verify: u64,
    /// Times it got power.
    pub power_on: u64,
    /// Commands of any kind.
    pub apdu: u64,
}

impl VirtualCard<PivIdentity> {
    /// Puts a certificate (DER) beside the key, in place of what is there; takes effect while the card is out of the reader.
    pub fn put_certificate(&mut self, certificate: &[u8]) -> Result<()> {
        let digits: String = certificate
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.tell::<IgnoredAny>(&format!("certificate {digits}"))
            .map(|_| ())
    }
}

impl<I: DeserializeOwned> VirtualCard<I> {
    fn start(net: &Netns, port: u16, serial: u32, kind: &str) -> Result<VirtualCard<I>> {
        let mut command = Command::new(artifacts::card_rig()?);
        command.args([&port.to_string(), &serial.to_string(), kind]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = net.spawn(&mut command)?;
        let commands = process
            .child()
            .stdin
            .take()
            .context("the card's standard input")?;
        let answers = process
            .child()
            .stdout
            .take()
            .context("the card's standard output")?;
        let mut answers = BufReader::new(answers);
        let identity = parse(&read_line(&mut answers)?)?;
        Ok(VirtualCard {
            process,
            commands,
            answers,
            identity,
        })
    }

    pub fn identity(&self) -> &I {
        &self.identity
    }

    /// The process that plays the card.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Puts it into its reader; pcscd sees it within half a second.
    pub fn insert(&mut self) -> Result<()> {
        let deadline = "vpcd offers a reader";
        eventually(deadline, PATIENCE, || {
            Ok(self.tell::<IgnoredAny>("insert").ok().map(|_| ()))
        })
    }

    /// Pulls it, and says when that was (see [`crate::moment`]).
    pub fn remove(&mut self) -> Result<Duration> {
        #[derive(Deserialize)]
        struct Removed {
            removed_at: u64,
        }
        Ok(Duration::from_nanos(
            self.tell::<Removed>("remove")?.removed_at,
        ))
    }

    /// Takes the power away for a moment, without the reader noticing: what was verified is not any more.
    pub fn reset(&mut self) -> Result<()> {
        self.tell::<IgnoredAny>("reset").map(|_| ())
    }

    /// Makes each use of the key take that much longer.
    pub fn delay(&mut self, delay: Duration) -> Result<()> {
        self.tell::<IgnoredAny>(&format!("delay {}", delay.as_millis()))
            .map(|_| ())
    }

    /// Breaks it, from the next command on.
    pub fn fail(&mut self, fault: Fault) -> Result<()> {
        let fault = match fault {
            Fault::None => "none",
            Fault::Nonsense => "nonsense",
            Fault::Hang => "hang",
            Fault::Vanish => "vanish",
        };
        self.tell::<IgnoredAny>(&format!("fail {fault}"))
            .map(|_| ())
    }

    pub fn stats(&mut self) -> Result<Stats> {
        self.tell("stats")
    }

    fn tell<T: DeserializeOwned>(&mut self, command: &str) -> Result<T> {
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
        }
        writeln!(self.commands, "{command}").context("the card rig has ended")?;
        let answer = read_line(&mut self.answers)?;
        if let Ok(Refusal { error }) = serde_json::from_str(&answer) {
            bail!("card rig: {command}: {error}");
        }
        parse(&answer)
    }
}

fn read_line(answers: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    ensure!(answers.read_line(&mut line)? > 0, "the card rig has ended");
    Ok(line)
}

fn parse<T: DeserializeOwned>(line: &str) -> Result<T> {
    serde_json::from_str(line).with_context(|| format!("card rig said {line:?}"))
}

/// 64 hexadecimal digits.
fn key<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    bytes(deserializer)?
        .try_into()
        .map_err(|_| serde::de::Error::custom("not 64 hexadecimal digits"))
}

/// A public key as PIV's GENERATE ASYMMETRIC KEY PAIR gives it (SP 800-73-4 part 2, 3.3.2).
fn card_key<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<CardKey, D::Error> {
    let template = bytes(deserializer)?;
    let part = |tag| tlv::find(&template, tag).ok().flatten();
    let key = match (part(0x86), part(0x81), part(0x82)) {
        (Some(point), _, _) => CardKey::from_point(point),
        (None, Some(modulus), Some(exponent)) => CardKey::from_rsa(modulus, exponent),
        _ => None,
    };
    key.ok_or_else(|| serde::de::Error::custom("not a public key of PIV"))
}

fn bytes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes: Option<Vec<u8>> = (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect();
    bytes.ok_or_else(|| serde::de::Error::custom("not hexadecimal digits"))
}
