//! What the policy says of cards: which keys may serve, how long a PIN lasts, what a pulled card means.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::document::Document;
use crate::error::Span;
use crate::policy::{array, quoted};
use crate::values::{Words, boolean, duration, list, oid, one_of, path, pattern, text, word};
use crate::{ValueError, values};

const SECOND: Duration = Duration::from_secs(1);

/// Section `[card]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardRules {
    /// The middleware to reach the card by; `None` is PC/SC. Absolute; who may write the file is the daemon's to check.
    pub pkcs11_module: Option<PathBuf>,
    /// What enrolment may choose from; at least one.
    pub modes: Vec<KeyMode>,
    /// Whether a sealed key may hang on a signature, for RSA keys that can do nothing else.
    pub signature_wrap: bool,
    pub pin: PinLife,
    pub after_use: AfterUse,
    pub on_removal: OnRemoval,
    /// Whether a PIN that every card of its kind leaves the factory with is accepted.
    pub allow_factory_pin: bool,
    /// `None`: a key needs no certificate.
    pub certificate: Option<CertificateRules>,
}

/// Where the WireGuard key is while it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyMode {
    /// On the card, which computes each handshake's Diffie-Hellman.
    Held,
    /// In the daemon's locked memory, unwrapped by the card.
    Sealed,
}

/// How long a typed PIN lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PinLife {
    /// As long as the card remembers it. The daemon wipes it when the card has heard it.
    Ask,
    /// In the daemon's locked memory until the card is pulled, the card or the screen is locked, or the laptop sleeps.
    UntilLock,
}

/// What becomes of the card's verified state after an operation that used it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AfterUse {
    Keep,
    /// The card is told to forget the PIN.
    Unverify,
    /// The card is reset, for kinds that cannot be told.
    Reset,
}

/// What a pulled card means. The tunnel never outlives it for longer than this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnRemoval {
    Disconnect,
    /// That, and the session of the user at the screen is locked.
    LockSession,
    /// The tunnel lives on for so long, if it was up; the card can come back.
    Grace(Duration),
}

/// Section `[card.certificate]`: the key's certificate must be such a one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRules {
    /// Files of certificates, roots and what lies between; at least one. Absolute.
    pub issuers: Vec<PathBuf>,
    /// The subject as RFC 4514 writes it, with `*` for anything.
    pub subject: Option<String>,
    /// All of these; none asked for if empty.
    pub key_usage: Vec<KeyUsage>,
    /// All of these; none asked for if empty.
    pub extended_key_usage: Vec<Oid>,
    /// Files of revocation lists; without one revocation is not checked. Absolute.
    pub crls: Vec<PathBuf>,
}

/// The bits of RFC 5280, 4.2.1.3, that a user's key can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyUsage {
    DigitalSignature,
    NonRepudiation,
    KeyEncipherment,
    DataEncipherment,
    KeyAgreement,
}

/// An object identifier in dots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Oid(pub(crate) String);

pub(crate) const MODES: Words<KeyMode> = &[("held", KeyMode::Held), ("sealed", KeyMode::Sealed)];

const PIN_LIVES: Words<PinLife> = &[("ask", PinLife::Ask), ("until-lock", PinLife::UntilLock)];

const AFTER_USES: Words<AfterUse> = &[
    ("keep", AfterUse::Keep),
    ("unverify", AfterUse::Unverify),
    ("reset", AfterUse::Reset),
];

const KEY_USAGES: Words<KeyUsage> = &[
    ("digitalSignature", KeyUsage::DigitalSignature),
    ("nonRepudiation", KeyUsage::NonRepudiation),
    ("keyEncipherment", KeyUsage::KeyEncipherment),
    ("dataEncipherment", KeyUsage::DataEncipherment),
    ("keyAgreement", KeyUsage::KeyAgreement),
];

/// What stands for each [`OnRemoval`]; the time of a grace is a key of its own.
const REMOVALS: Words<Removal> = &[
    ("disconnect", Removal::Disconnect),
    ("lock-session", Removal::LockSession),
    ("grace", Removal::Grace),
];

#[derive(Clone, Copy, PartialEq)]
enum Removal {
    Disconnect,
    LockSession,
    Grace,
}

impl CardRules {
    /// `None` leaves a mistake behind.
    pub(crate) fn build(document: &mut Document<'_>) -> Option<Self> {
        let default = Self::default();
        let rules = Self {
            pkcs11_module: document.optional("card.pkcs11_module", text(path)),
            modes: document
                .optional("card.modes", list(MODES.len(), one_of(MODES)))
                .unwrap_or(default.modes),
            signature_wrap: document
                .optional("card.signature_wrap", boolean)
                .unwrap_or(default.signature_wrap),
            pin: document
                .optional("card.pin", text(one_of(PIN_LIVES)))
                .unwrap_or(default.pin),
            after_use: document
                .optional("card.after_use", text(one_of(AFTER_USES)))
                .unwrap_or(default.after_use),
            on_removal: OnRemoval::build(document)?,
            allow_factory_pin: document
                .optional("card.allow_factory_pin", boolean)
                .unwrap_or(default.allow_factory_pin),
            certificate: match document.mentions("card.certificate") {
                true => Some(CertificateRules::build(document)?),
                false => None,
            },
        };
        rules.reject_contradictions(document);
        Some(rules)
    }

    fn reject_contradictions(&self, document: &mut Document<'_>) {
        let held = self.modes.contains(&KeyMode::Held);
        let forgotten = self.after_use != AfterUse::Keep;
        if held && forgotten && self.pin == PinLife::Ask {
            // A handshake every 120 s (WireGuard's rekey-after-time), each with a PIN of its own.
            document.reject("card.after_use", ValueError::PromptsAtEachRekey);
        }
        if self.signature_wrap && !self.modes.contains(&KeyMode::Sealed) {
            let setting = "modes = [\"sealed\"]";
            document.reject("card.signature_wrap", ValueError::OnlyWith { setting });
        }
    }
}

impl Default for CardRules {
    fn default() -> Self {
        Self {
            pkcs11_module: None,
            modes: vec![KeyMode::Held, KeyMode::Sealed],
            signature_wrap: false,
            pin: PinLife::UntilLock,
            after_use: AfterUse::Keep,
            on_removal: OnRemoval::Disconnect,
            allow_factory_pin: false,
            certificate: None,
        }
    }
}

impl OnRemoval {
    fn build(document: &mut Document<'_>) -> Option<Self> {
        // Longer, and a laptop without its card is a laptop with a tunnel.
        let grace = text(duration(SECOND..=SECOND * 60));
        let removal = document.optional("card.on_removal", text(one_of(REMOVALS)));
        if removal == Some(Removal::Grace) {
            return Some(Self::Grace(document.required("card.grace", grace)?));
        }
        if document.optional("card.grace", grace).is_some() {
            let setting = "on_removal = \"grace\"";
            document.reject("card.grace", ValueError::OnlyWith { setting });
        }
        match removal {
            Some(Removal::LockSession) => Some(Self::LockSession),
            Some(Removal::Disconnect | Removal::Grace) | None => Some(Self::Disconnect),
        }
    }
}

impl CertificateRules {
    fn build(document: &mut Document<'_>) -> Option<Self> {
        let issuers = document.required("card.certificate.issuers", list(16, path));
        let subject = document.optional("card.certificate.subject", text(pattern));
        let key_usage = document.optional(
            "card.certificate.key_usage",
            list(KEY_USAGES.len(), one_of(KEY_USAGES)),
        );
        let extended_key_usage =
            document.optional("card.certificate.extended_key_usage", list(16, oid));
        let crls = document.optional("card.certificate.crls", list(16, path));
        Some(Self {
            issuers: issuers?,
            subject,
            key_usage: key_usage.unwrap_or_default(),
            extended_key_usage: extended_key_usage.unwrap_or_default(),
            crls: crls.unwrap_or_default(),
        })
    }
}

impl Oid {
    /// As in `1.3.6.1.5.5.7.3.2`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(KEY_USAGES, *self))
    }
}

impl fmt::Display for KeyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(MODES, *self))
    }
}

/// The sections `[card]` and `[card.certificate]`.
impl fmt::Display for CardRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pkcs11_module,
            modes,
            signature_wrap,
            pin,
            after_use,
            on_removal,
            allow_factory_pin,
            certificate,
        } = self;
        writeln!(f, "[card]")?;
        if let Some(module) = pkcs11_module {
            writeln!(f, "pkcs11_module = {}", quoted(&values::shown(module)))?;
        }
        writeln!(f, "modes = {}", array(modes))?;
        writeln!(f, "signature_wrap = {signature_wrap}")?;
        writeln!(f, "pin = \"{}\"", word(PIN_LIVES, *pin))?;
        writeln!(f, "after_use = \"{}\"", word(AFTER_USES, *after_use))?;
        match on_removal {
            OnRemoval::Disconnect => writeln!(f, "on_removal = \"disconnect\"")?,
            OnRemoval::LockSession => writeln!(f, "on_removal = \"lock-session\"")?,
            OnRemoval::Grace(grace) => {
                writeln!(f, "on_removal = \"grace\"\ngrace = \"{}\"", Span(*grace))?;
            }
        }
        writeln!(f, "allow_factory_pin = {allow_factory_pin}")?;
        match certificate {
            Some(rules) => write!(f, "\n{rules}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for CertificateRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            issuers,
            subject,
            key_usage,
            extended_key_usage,
            crls,
        } = self;
        let files = |paths: &[PathBuf]| array(&paths.iter().map(values::shown).collect::<Vec<_>>());
        writeln!(f, "[card.certificate]\nissuers = {}", files(issuers))?;
        if let Some(subject) = subject {
            writeln!(f, "subject = {}", quoted(subject))?;
        }
        if !key_usage.is_empty() {
            writeln!(f, "key_usage = {}", array(key_usage))?;
        }
        if !extended_key_usage.is_empty() {
            writeln!(f, "extended_key_usage = {}", array(extended_key_usage))?;
        }
        if !crls.is_empty() {
            writeln!(f, "crls = {}", files(crls))?;
        }
        Ok(())
    }
}
