//! What can be wrong with a policy or device file, and where.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

/// One mistake, with its place. All of them are IT's (or root's) to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {problem}")]
pub struct PolicyError {
    pub file: String,
    /// Counts from 1.
    pub line: usize,
    /// Counts characters from 1.
    pub column: usize,
    pub problem: Problem,
}

/// What is wrong, as data, so that the command can say it in the user's language.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("{0}")]
    Syntax(String),
    #[error("unknown key '{key}'{}", suggestion(nearest))]
    UnknownKey {
        key: String,
        nearest: Option<&'static str>,
    },
    #[error("'{key}' is missing, for example: {example}")]
    Missing {
        key: &'static str,
        example: &'static str,
    },
    #[error("'{key}' is {found} where {expected} is expected, for example: {example}")]
    WrongType {
        key: &'static str,
        expected: &'static str,
        found: &'static str,
        example: &'static str,
    },
    #[error("'{key}': {reason}; for example: {example}")]
    BadValue {
        key: &'static str,
        reason: ValueError,
        example: &'static str,
    },
    #[error("the file is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("{0} more mistakes are not shown")]
    More(usize),
}

/// Why a value of the right TOML type cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("schema {found} is not known, this version reads schema {known}")]
    UnknownSchema { found: i64, known: i64 },
    #[error("not base64")]
    NotBase64,
    #[error("{found} bytes where {expected} are needed")]
    WrongLength { expected: usize, found: usize },
    #[error("a key of zeros is no key")]
    ZeroKey,
    #[error("a pin is 'sha256:' (or 'certificate:sha256:') and the base64 of the hash")]
    NotAPin,
    #[error("not an address and port, written out")]
    NotASocketAddress,
    #[error("not a name or address with its port")]
    NotAnEndpoint,
    #[error("not an address")]
    NotAnAddress,
    #[error(
        "not a whole host name (RFC 1123): letters, digits and hyphens between dots, other letters in their 'xn--' form"
    )]
    NotAHostName,
    #[error("not an http:// address of a host and a path")]
    NotAnHttpAddress,
    #[error(
        "a portal cannot answer for https, so it could not be told from a dead network: take an http:// address"
    )]
    EncryptedProbe,
    #[error("no beacon here is of the kind '{kind}', so nobody could be inside")]
    NoSuchBeacon { kind: &'static str },
    #[error(
        "nobody could be inside at {}: beacons that count there: {found}, needed: {quorum}",
        site_name(site)
    )]
    TooFewBeacons {
        /// `None`: those that name no site.
        site: Option<String>,
        found: usize,
        quorum: usize,
    },
    #[error("not an address of one host that can be reached")]
    NotAHost,
    #[error("not an address with a prefix length")]
    NotAPrefix,
    #[error("the address has bits beyond its prefix, the network is {network}")]
    HostBits { network: IpNet },
    #[error("{prefix} holds addresses that are not an internal network's own")]
    NotInternal { prefix: IpNet },
    #[error("not a time with its unit (ms, s, m or h)")]
    NotADuration,
    #[error("must lie between {} and {}", Span(*least), Span(*most))]
    DurationOutOfRange { least: Duration, most: Duration },
    #[error("must lie between {least} and {most}")]
    OutOfRange { least: i64, most: i64 },
    #[error("must not be shorter than '{than}'")]
    ShorterThan { than: &'static str },
    #[error("not one of {}", words.join(", "))]
    NotOneOf { words: Vec<&'static str> },
    #[error("not an absolute path")]
    NotAPath,
    #[error("not an object identifier in dots")]
    NotAnOid,
    #[error("not the name of a key on a card")]
    NotAKeyId,
    #[error("means nothing without {setting}")]
    OnlyWith { setting: &'static str },
    #[error(
        "with 'pin' as \"ask\", a key that the card holds would want its PIN at every rekey, some 240 times in a \
         working day: take \"keep\", or 'pin' as \"until-lock\", or leave \"held\" out of 'modes'"
    )]
    PromptsAtEachRekey,
    #[error("must not be empty")]
    Empty,
    #[error("more than {limit} characters or entries")]
    TooLong { limit: usize },
    #[error("holds a control character")]
    ControlCharacter,
    #[error("'{0}' stands there twice")]
    Duplicate(String),
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |key| format!(", did you mean '{key}'?"))
}

fn site_name(site: &Option<String>) -> String {
    site.as_ref().map_or_else(
        || "the site without a name".to_owned(),
        |site| format!("site '{site}'"),
    )
}

/// A duration as the policy writes it: the largest unit that divides it.
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            ms if ms % 1000 != 0 => write!(f, "{ms}ms"),
            ms if ms % 60_000 != 0 || ms == 0 => write!(f, "{}s", ms / 1000),
            ms if ms % 3_600_000 != 0 => write!(f, "{}m", ms / 60_000),
            ms => write!(f, "{}h", ms / 3_600_000),
        }
    }
}
