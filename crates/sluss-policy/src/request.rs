//! The enrolment request: what a gateway's administrator needs to let a laptop in, signed by the card where it can.
//!
//! A file in TOML, made by the daemon and checked by `sluss enroll --verify`. Signed is the text that an
//! [`EnrolmentRequest`] displays as, which is all of the file above its `[signature]` section: other programs can check it
//! too. `docs/enrolment.md` describes each key.

mod signature;

use std::fmt;

use ipnet::IpNet;
use toml::value::{Date, Datetime, Offset, Time};

use crate::card::MODES;
use crate::document::Document;
use crate::policy::{SCHEMA, schema};
use crate::values::{
    base64, boolean, bytes, datetime, distinguished_name, interface_address, label, list, one_of,
    text,
};
use crate::{KeyInfo, KeyMode, PolicyError, PublicKey, Source};

pub use signature::{Signature, SignatureFault, SignatureMethod, Signer, Unsigned};

/// The certificate of no service card comes near.
const LONGEST_CERTIFICATE: usize = 16 * 1024;
/// That of RSA-4096 is 512 bytes.
const LONGEST_SIGNATURE: usize = 1024;

/// What the laptop asks for, and with which card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolmentRequest {
    /// What people call the laptop.
    pub device: String,
    /// When it was made, by the laptop's clock; from [`EnrolmentRequest::time`].
    pub made: Datetime,
    /// As in [`crate::DeviceBinding`].
    pub addresses: Vec<IpNet>,
    /// WireGuard's.
    pub public_key: PublicKey,
    /// Whether the laptop was given a preshared key. The key is not in here, and the gateway needs it as well.
    pub preshared_key: bool,
    pub card: RequestCard,
}

/// The card that opens the tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestCard {
    /// As in [`crate::CardBinding`].
    pub serial: String,
    /// The short name of the key on the card, such as `piv:9d`.
    pub key: String,
    pub mode: KeyMode,
    /// That of the card's key, such as `X25519` or `RSA-2048`.
    pub algorithm: String,
    /// What lies beside the key on the card.
    pub certificate: Option<CardCertificate>,
}

/// The certificate of the card's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardCertificate {
    /// Whom it names (RFC 4514).
    pub subject: String,
    /// X.509.
    pub der: Vec<u8>,
}

/// A request as it is sent: with its signature, or with the reason why it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    pub request: EnrolmentRequest,
    pub signature: Signature,
}

/// Keys of an enrolment request.
pub const REQUEST_KEYS: &[KeyInfo] = &[
    key("schema", "schema = 1"),
    key("device", "device = \"laptop-0417\""),
    key("made", "made = 2026-11-22T18:47:00Z"),
    key(
        "addresses",
        "addresses = [\"10.20.255.7/32\", \"fd20::ff07/128\"]",
    ),
    key(
        "public_key",
        "public_key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\"",
    ),
    key("preshared_key", "preshared_key = false"),
    key("card.serial", "serial = \"0006:12345678\""),
    key("card.key", "key = \"openpgp:dec\""),
    key("card.mode", "mode = \"held\""),
    key("card.algorithm", "algorithm = \"X25519\""),
    key("card.subject", "subject = \"CN=Anna Andersson,O=Example\""),
    key("card.certificate", "certificate = \"BASE64 OF THE DER\""),
    key("signature.method", "method = \"rsa-pkcs1-sha256\""),
    key("signature.reason", "reason = \"x25519\""),
    key(
        "signature.public_key",
        "public_key = \"BASE64 OF THE SUBJECTPUBLICKEYINFO\"",
    ),
    key("signature.value", "value = \"BASE64\""),
];

const fn key(path: &'static str, example: &'static str) -> KeyInfo {
    KeyInfo { path, example }
}

impl EnrolmentRequest {
    /// [`EnrolmentRequest::made`] from the wall clock, in seconds since 1970.
    pub fn time(unix: u64) -> Datetime {
        let (year, month, day) = civil(unix / 86_400);
        let unit = |seconds: u64, limit| u8::try_from(unix / seconds % limit).unwrap_or_default();
        Datetime {
            date: Some(Date { year, month, day }),
            time: Some(Time {
                hour: unit(3600, 24),
                minute: unit(60, 60),
                second: Some(unit(1, 60)),
                nanosecond: None,
            }),
            offset: Some(Offset::Z),
        }
    }

    /// The section that lets the laptop in, for `wg setconf`, `wg addconf` or wg-quick.
    pub fn peer(&self) -> String {
        let hosts: Vec<String> = self
            .addresses
            .iter()
            .map(|address| IpNet::from(address.addr()).to_string())
            .collect();
        let mut peer = format!(
            "[Peer]\n# {}, card {}\nPublicKey = {}\nAllowedIPs = {}\n",
            self.device,
            self.card.serial,
            self.public_key,
            hosts.join(", ")
        );
        if self.preshared_key {
            peer += "# and PresharedKey, as the laptop was given it\n";
        }
        peer
    }

    fn build(document: &mut Document<'_>) -> Option<Self> {
        let device = document.required("device", text(label));
        let made = document.required("made", datetime);
        let addresses = document.required("addresses", list(8, interface_address));
        let public_key = document.required("public_key", text(str::parse));
        let preshared_key = document.required("preshared_key", boolean);
        let card = RequestCard::build(document);
        Some(Self {
            device: device?,
            made: made?,
            addresses: addresses?,
            public_key: public_key?,
            preshared_key: preshared_key?,
            card: card?,
        })
    }
}

impl RequestCard {
    fn build(document: &mut Document<'_>) -> Option<Self> {
        let serial = document.required("card.serial", text(label));
        let key = document.required("card.key", text(label));
        let mode = document.required("card.mode", text(one_of(MODES)));
        let algorithm = document.required("card.algorithm", text(label));
        let subject = document.optional("card.subject", text(distinguished_name));
        let der = document.optional("card.certificate", text(bytes(LONGEST_CERTIFICATE)));
        let certificate = match (subject, der) {
            (Some(subject), Some(der)) => Some(CardCertificate { subject, der }),
            (None, None) => None,
            // or there is a mistake in it, which is told already
            (Some(_), None) => document.required("card.certificate", |_| Ok(None))?,
            (None, Some(_)) => document.required("card.subject", |_| Ok(None))?,
        };
        Some(Self {
            serial: serial?,
            key: key?,
            mode: mode?,
            algorithm: algorithm?,
            certificate,
        })
    }
}

impl SignedRequest {
    /// Reads a request. Whether it may be believed is another question: [`SignedRequest::verify`].
    ///
    /// # Errors
    /// All mistakes that could be found at once.
    pub fn parse(source: Source<'_>) -> Result<Self, Vec<PolicyError>> {
        let sources = [source];
        let mut document = Document::read(&sources, REQUEST_KEYS);
        let schema = schema(&mut document);
        let request = EnrolmentRequest::build(&mut document);
        let signature = Signature::build(&mut document);
        let signed = schema.and(request.zip(signature));
        document.finish(signed.map(|(request, signature)| Self { request, signature }))
    }
}

/// What is signed, byte for byte.
impl fmt::Display for EnrolmentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            device,
            made,
            addresses,
            public_key,
            preshared_key,
            card,
        } = self;
        let addresses: Vec<String> = addresses
            .iter()
            .map(|address| format!("\"{address}\""))
            .collect();
        writeln!(
            f,
            "# Sluss enrolment request. Check it before you use it: sluss enroll --verify FILE"
        )?;
        writeln!(f, "schema = {SCHEMA}")?;
        writeln!(f, "device = {}", Quoted(device))?;
        writeln!(f, "made = {made}")?;
        writeln!(f, "addresses = [{}]", addresses.join(", "))?;
        writeln!(f, "public_key = \"{public_key}\"")?;
        writeln!(f, "preshared_key = {preshared_key}")?;
        writeln!(f)?;
        writeln!(f, "[card]")?;
        writeln!(f, "serial = {}", Quoted(&card.serial))?;
        writeln!(f, "key = {}", Quoted(&card.key))?;
        writeln!(f, "mode = \"{}\"", card.mode)?;
        writeln!(f, "algorithm = {}", Quoted(&card.algorithm))?;
        if let Some(CardCertificate { subject, der }) = &card.certificate {
            writeln!(f, "subject = {}", Quoted(subject))?;
            writeln!(f, "certificate = \"{}\"", base64(der))?;
        }
        writeln!(f)
    }
}

/// The file.
impl fmt::Display for SignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[signature]\n{}", self.request, self.signature)
    }
}

/// A string as TOML writes it, if it holds no control character, as ours do not: written here, since what is signed must
/// not change with a library.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\"",
            self.0.replace('\\', "\\\\").replace('"', "\\\"")
        )
    }
}

/// Year, month and day of a day that is counted from 1970-01-01, in the Gregorian calendar.
fn civil(days: u64) -> (u16, u8, u8) {
    // a year that begins in March has its leap day at its end
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (
        u16::try_from(year).unwrap_or(9999),
        u8::try_from(month).unwrap_or_default(),
        u8::try_from(day).unwrap_or_default(),
    )
}
