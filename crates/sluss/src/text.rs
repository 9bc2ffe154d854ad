//! The words that a person reads, once for each language: the compiler finds what is missing in one of them.

pub(crate) mod agent;
pub(crate) mod doctor;
mod en;
pub(crate) mod enroll;
pub(crate) mod path;
pub(crate) mod portal;
mod sv;
#[cfg(test)]
mod tests;
pub(crate) mod why;

use std::{ffi::OsString, sync::LazyLock};

use sluss_ipc::{
    Algorithm, CardFault, Deadline, Error, Gateway, Host, Intent, Key, KeyMode, Refusal, Traffic,
    Tunnel, Warning,
};
use sluss_policy::Problem;

pub(crate) use en::English;
pub(crate) use sv::Swedish;

/// The language of the user's locale.
pub(crate) fn chosen() -> &'static dyn Text {
    static CHOSEN: LazyLock<&'static dyn Text> =
        LazyLock::new(|| for_locale(|name| std::env::var_os(name)));
    *CHOSEN
}

/// POSIX, 8.2: the first of these that is set and not empty decides.
fn for_locale(variable: impl Fn(&str) -> Option<OsString>) -> &'static dyn Text {
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
        .into_iter()
        .filter_map(variable)
        .find(|value| !value.is_empty())
        .unwrap_or_default();
    let locale = locale.to_string_lossy();
    let language = locale
        .split(['_', '.', '@', '-'])
        .next()
        .unwrap_or_default();
    if language == "sv" || language == "swedish" {
        &Swedish
    } else {
        &English
    }
}

/// Everything that the command says. What comes from outside, such as a reader's name, is made [`plain`] on the way.
pub(crate) trait Text:
    agent::AgentText
    + doctor::DoctorText
    + enroll::EnrollText
    + path::PathText
    + portal::PortalText
    + why::WhyText
    + Sync
{
    /// A length of time in one unit, "12 seconds".
    fn span(&self, ms: u64) -> String;
    fn ago(&self, ms: u64) -> String;
    /// An amount of data in one unit, "1.4 MB".
    fn bytes(&self, bytes: u64) -> String;

    /// The first words of `sluss status`.
    fn tunnel(&self, tunnel: Tunnel, gateway: Option<&Gateway>) -> String;
    /// A few words, to stand at the end.
    fn key(&self, key: Key) -> String;
    fn card_fault(&self, fault: CardFault) -> &'static str;
    /// Where the tunnel's private key is.
    fn key_mode(&self, mode: KeyMode, algorithm: Algorithm) -> String;
    /// How the PIN is given, if not at the keyboard.
    fn on_the_reader(&self) -> &'static str;
    fn intent(&self, intent: Intent) -> &'static str;
    fn host(&self, host: &Host) -> String;
    fn deadline(&self, deadline: Deadline) -> String;
    fn traffic(&self, traffic: &Traffic) -> String;
    fn tries_left(&self, tries: u8) -> String;
    fn warning(&self, warning: Warning) -> &'static str;
    fn no_warnings(&self) -> &'static str;
    fn advice(&self, advice: &Advice) -> String;
    fn label(&self, label: Label) -> &'static str;

    fn no_reader_with_card(&self) -> &'static str;
    fn ask_pin(&self) -> &'static str;
    fn ask_last_try(&self) -> &'static str;
    /// Whether the answer to [`Text::ask_last_try`] is a yes.
    fn is_consent(&self, answer: &str) -> bool;
    fn type_on_reader(&self, reader: &str) -> String;
    fn no_pin(&self) -> &'static str;
    fn already_unlocked(&self) -> &'static str;
    fn unlocked(&self) -> &'static str;
    fn locked(&self) -> &'static str;
    fn still_not(&self, limit_ms: u64) -> String;

    fn policy_valid(&self) -> &'static str;
    fn policy_problem(&self, problem: &Problem) -> String;
    fn cannot_read(&self, file: &str, error: &std::io::Error) -> String;
    fn yes_or_no(&self, yes: bool) -> &'static str;

    fn refusal(&self, refusal: Refusal) -> String;
    fn no_daemon(&self, error: &Error) -> String;
    fn strange_answer(&self) -> &'static str;
    fn usage_error(&self, error: &UsageError) -> String;
    fn help(&self, help: Help) -> &'static str;
}

/// What the user can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Advice {
    InsertCard,
    InsertOtherCard,
    Unlock,
    UnblockCard,
    RenewCard,
    Reinsert,
    /// Another program has the card for itself.
    CloseOtherProgram,
    StartCardService,
    AllowTunnel,
    Enroll,
    /// It is nothing that the user can mend.
    AskForHelp,
    /// The gateway does not answer from here.
    OtherNetwork,
}

impl Advice {
    /// What to do about a card that cannot serve.
    pub(crate) fn for_fault(fault: CardFault) -> Self {
        match fault {
            CardFault::NotEnrolled => Self::Enroll,
            CardFault::OtherCard => Self::InsertOtherCard,
            CardFault::Silent => Self::Reinsert,
            CardFault::InUse => Self::CloseOtherProgram,
            CardFault::CertificateExpired | CardFault::CertificateRevoked => Self::RenewCard,
            CardFault::NoKey
            | CardFault::Unsupported
            | CardFault::Nonsense
            | CardFault::MiddlewareFailed
            | CardFault::NoCertificate
            | CardFault::SeveralCertificates
            | CardFault::CertificateUnreadable
            | CardFault::CertificateNotYetValid
            | CardFault::CertificateUntrusted
            | CardFault::CertificateWrongUsage
            | CardFault::CertificateWrongSubject
            | CardFault::RevocationUnknown => Self::AskForHelp,
        }
    }
}

/// What stands in front of a line's details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    Location,
    Tunnel,
    Key,
    Card,
    PrivateKey,
    Holder,
    PinEntry,
    Tries,
    Gateway,
    Traffic,
    Path,
    Offload,
    Wish,
    Host,
    Evidence,
    Next,
    Warning,
    Version,
    PublicKey,
    Files,
    Prefixes,
    Beacons,
    Mtu,
    Keepalive,
    Respond,
    MayDisconnect,
    KeyModes,
    AfterUse,
    OnRemoval,
    Module,
    Certificate,
    HandOver,
    LoginWait,
    Link,
    Endpoint,
    Portal,
    Proof,
    InternalName,
    Support,
    Metered,
}

/// What is wrong with a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UsageError {
    NoCommand,
    Unknown {
        word: String,
        nearest: Option<String>,
    },
    Missing {
        word: String,
    },
    BadValue {
        word: String,
        value: String,
    },
    Other {
        word: String,
    },
}

/// The pieces of the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Help {
    Sluss,
    Template,
    Commands,
    OneCommand,
    SomeOptions,
    Options,
    Arguments,
    ExitCodes,
    Socket,
    Usage,
    Version,
    Status,
    Verbose,
    Check,
    Why,
    Doctor,
    Portal,
    PortalRenew,
    PortalAllPrograms,
    Monitor,
    Up,
    Down,
    Wait,
    Unlock,
    LastTry,
    Lock,
    Card,
    Enroll,
    EnrollVerify,
    EnrollSurvey,
    EnrollAddress,
    EnrollName,
    EnrollCard,
    EnrollKey,
    EnrollMake,
    EnrollReplace,
    EnrollPresharedKey,
    EnrollOut,
    Address,
    Name,
    Serial,
    KeyName,
    Agent,
    Pinentry,
    Json,
    Policy,
    PolicyShow,
    PolicyCheck,
    PolicyFiles,
    Path,
    File,
    Program,
    Seconds,
}

/// A time that a person can grasp: the largest unit of which there are at least two.
pub(crate) enum Span {
    Seconds(u64),
    Minutes(u64),
    Hours(u64),
    Days(u64),
}

impl Span {
    pub(crate) fn of(ms: u64) -> Self {
        let seconds = ms.saturating_add(500) / 1000;
        match seconds {
            0..120 => Self::Seconds(seconds),
            120..7_200 => Self::Minutes(seconds / 60),
            7_200..172_800 => Self::Hours(seconds / 3_600),
            _ => Self::Days(seconds / 86_400),
        }
    }
}

/// An amount of data with its decimal unit, in tenths where there are few.
fn amount(bytes: u64, decimal_point: char) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut size = 1u64;
    while bytes / size >= 1000 && unit + 1 < UNITS.len() {
        size *= 1000;
        unit += 1;
    }
    let (whole, tenth) = (bytes / size, bytes % size * 10 / size);
    if unit > 0 && whole < 100 {
        format!("{whole}{decimal_point}{tenth} {}", UNITS[unit])
    } else {
        format!("{whole} {}", UNITS[unit])
    }
}

/// Names that come from a reader, a card, a network or a file, without what could command a terminal or turn the words that
/// follow around (Unicode TR 9, 2).
pub(crate) fn plain(name: &str) -> String {
    let is_command = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    name.chars()
        .map(|c| if is_command(c) { '\u{fffd}' } else { c })
        .collect()
}

/// " on eth0 and wlan0", or nothing if the names are redacted.
fn on_links(links: &[String], on: &str, and: &str) -> String {
    let names: Vec<String> = links.iter().map(|link| plain(link)).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => format!(" {on} {one}"),
        [most @ .., last] => format!(" {on} {} {and} {last}", most.join(", ")),
    }
}
