//! The policy: gateway, internal prefixes, beacons, and what a user may do.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::document::Document;
use crate::error::Span;
use crate::values::{boolean, duration, endpoint, integer, internal_prefix, label, list, text};
use crate::{CardRules, POLICY_KEYS, PolicyError, PublicKey, Source, SpkiPin, ValueError};

/// The one that this version reads.
pub(crate) const SCHEMA: i64 = 1;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Everything IT decides. Made by [`Policy::parse`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub gateway: Gateway,
    /// Internal prefixes, IPv4 and IPv6: what the tunnel carries, and what never leaves outside of it.
    pub internal: Vec<IpNet>,
    /// Evidence of being inside. Without one the laptop is always outside.
    pub beacons: Vec<Beacon>,
    pub tunnel: TunnelSettings,
    pub user: UserRights,
    pub card: CardRules,
    pub login: Login,
    pub timing: Timing,
    pub support: Support,
}

/// The WireGuard peer inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// What people call it; shown, never looked up.
    pub name: String,
    /// Literal, at least one; the first is tried first.
    pub endpoints: Vec<SocketAddr>,
    pub public_key: PublicKey,
}

/// A TLS endpoint that only the internal network can reach, known by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    pub name: String,
    pub address: SocketAddr,
    /// At least one; several while a key is being changed.
    pub pins: Vec<SpkiPin>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelSettings {
    /// Bytes of an inner IP packet.
    pub mtu: u16,
    /// WireGuard's persistent keepalive; `None` keeps an idle laptop idle.
    pub keepalive: Option<Duration>,
    /// Whether the card also answers handshakes that the gateway begins. It then works before it knows who asks.
    pub respond: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRights {
    /// Whether `sluss down` is allowed.
    pub may_disconnect: bool,
}

/// What the PIN that opened the user's session is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Whether the daemon takes it, so that nobody types it twice.
    pub hand_over: bool,
    /// How long the session waits for the tunnel at most; `None`: not at all.
    pub wait: Option<Duration>,
}

/// How long to wait for what. The defaults are right for nearly everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The network must have been quiet for so long before it is probed.
    pub settle_quiet: Duration,
    /// It is probed so long after the first change, quiet or not.
    pub settle_limit: Duration,
    /// A beacon must have proved itself within this time.
    pub probe_timeout: Duration,
    /// Pause before the first new attempt after the tunnel failed; doubles with each failure.
    pub retry_first: Duration,
    /// The longest such pause.
    pub retry_limit: Duration,
}

/// Whom the user turns to; shown when things fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Support {
    pub phone: Option<String>,
    pub web: Option<String>,
}

impl Policy {
    /// Reads the policy from its files, in the order in which later ones override earlier ones.
    ///
    /// A key's last word counts; a list, and that of the beacons too, is replaced as a whole.
    ///
    /// # Errors
    /// All mistakes that could be found at once, in the order of the files.
    pub fn parse(sources: &[Source<'_>]) -> Result<Self, Vec<PolicyError>> {
        let mut document = Document::read(sources, POLICY_KEYS);
        let policy = Self::build(&mut document);
        document.finish(policy)
    }

    /// Reads every key before it gives up, so that every mistake is found.
    fn build(document: &mut Document<'_>) -> Option<Self> {
        let schema = schema(document);
        let gateway = Gateway::build(document);
        let internal = document.required("internal.prefixes", list(1024, internal_prefix));
        let mut names = HashSet::new();
        let beacons = document.sections("beacon", 32, |document| {
            let beacon = Beacon::build(document)?;
            if !names.insert(beacon.name.clone()) {
                document.reject("beacon.name", ValueError::Duplicate(beacon.name.clone()));
            }
            Some(beacon)
        });
        let (tunnel, user, card, login, timing, support) = (
            TunnelSettings::build(document),
            UserRights::build(document),
            CardRules::build(document),
            Login::build(document),
            Timing::build(document),
            Support::build(document),
        );
        schema?;
        Some(Self {
            gateway: gateway?,
            internal: internal?,
            beacons,
            tunnel,
            user,
            card: card?,
            login,
            timing,
            support,
        })
    }
}

/// `Some` if the file is of the schema that this version reads.
pub(crate) fn schema(document: &mut Document<'_>) -> Option<()> {
    let found = document.required("schema", integer(i64::MIN..=i64::MAX))?;
    if found != SCHEMA {
        document.reject(
            "schema",
            ValueError::UnknownSchema {
                found,
                known: SCHEMA,
            },
        );
    }
    Some(())
}

impl Gateway {
    fn build(document: &mut Document<'_>) -> Option<Self> {
        let name = document.required("gateway.name", text(label));
        let endpoints = document.required("gateway.endpoints", list(8, endpoint));
        let public_key = document.required("gateway.public_key", text(str::parse));
        Some(Self {
            name: name?,
            endpoints: endpoints?,
            public_key: public_key?,
        })
    }
}

impl Beacon {
    fn build(document: &mut Document<'_>) -> Option<Self> {
        let name = document.required("beacon.name", text(label));
        let address = document.required("beacon.address", text(endpoint));
        let pins = document.required("beacon.pins", list(8, str::parse));
        Some(Self {
            name: name?,
            address: address?,
            pins: pins?,
        })
    }
}

impl TunnelSettings {
    fn build(document: &mut Document<'_>) -> Self {
        // IPv6 needs links of 1280 bytes (RFC 8200, 5); WireGuard counts its keepalive in a u16 of seconds.
        let mtu = document.optional("tunnel.mtu", integer(1280..=9000));
        let keepalive =
            document.optional("tunnel.keepalive", text(duration(SECOND..=SECOND * 65_535)));
        let respond = document.optional("tunnel.respond", boolean);
        Self {
            mtu: mtu.and_then(|mtu| u16::try_from(mtu).ok()).unwrap_or(1420),
            keepalive,
            respond: respond.unwrap_or(false),
        }
    }
}

impl UserRights {
    fn build(document: &mut Document<'_>) -> Self {
        Self {
            may_disconnect: document
                .optional("user.may_disconnect", boolean)
                .unwrap_or(true),
        }
    }
}

impl Login {
    fn build(document: &mut Document<'_>) -> Self {
        let hand_over = document
            .optional("login.hand_over", boolean)
            .unwrap_or(true);
        let wait = document.optional("login.wait", text(duration(SECOND..=SECOND * 60)));
        if wait.is_some() && !hand_over {
            let setting = "hand_over = true";
            document.reject("login.wait", ValueError::OnlyWith { setting });
        }
        Self { hand_over, wait }
    }
}

impl Timing {
    fn build(document: &mut Document<'_>) -> Self {
        let default = Self::default();
        let mut time = |key, least, most, default| {
            document
                .optional(key, text(duration(least..=most)))
                .unwrap_or(default)
        };
        let timing = Self {
            settle_quiet: time(
                "timing.settle_quiet",
                MILLISECOND * 20,
                SECOND * 5,
                default.settle_quiet,
            ),
            settle_limit: time(
                "timing.settle_limit",
                MILLISECOND * 20,
                SECOND * 20,
                default.settle_limit,
            ),
            probe_timeout: time(
                "timing.probe_timeout",
                MILLISECOND * 100,
                SECOND * 10,
                default.probe_timeout,
            ),
            retry_first: time(
                "timing.retry_first",
                MILLISECOND * 100,
                SECOND * 60,
                default.retry_first,
            ),
            retry_limit: time(
                "timing.retry_limit",
                MILLISECOND * 100,
                SECOND * 3600,
                default.retry_limit,
            ),
        };
        if timing.settle_limit < timing.settle_quiet {
            document.reject(
                "timing.settle_limit",
                ValueError::ShorterThan {
                    than: "settle_quiet",
                },
            );
        }
        if timing.retry_limit < timing.retry_first {
            document.reject(
                "timing.retry_limit",
                ValueError::ShorterThan {
                    than: "retry_first",
                },
            );
        }
        timing
    }
}

impl Support {
    fn build(document: &mut Document<'_>) -> Self {
        Self {
            phone: document.optional("support.phone", text(label)),
            web: document.optional("support.web", text(label)),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            settle_quiet: Duration::from_millis(250),
            settle_limit: Duration::from_secs(2),
            probe_timeout: Duration::from_millis(800),
            retry_first: Duration::from_secs(1),
            retry_limit: Duration::from_secs(60),
        }
    }
}

/// The policy in force, defaults included, as a file that would give the same one.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            gateway,
            internal,
            beacons,
            tunnel,
            user,
            card,
            login,
            timing,
            support,
        } = self;
        writeln!(
            f,
            "schema = {SCHEMA}\n\n[gateway]\nname = {}",
            quoted(&gateway.name)
        )?;
        writeln!(
            f,
            "endpoints = {}\npublic_key = \"{}\"",
            array(&gateway.endpoints),
            gateway.public_key
        )?;
        writeln!(f, "\n[internal]\nprefixes = {}", array(internal))?;
        for Beacon {
            name,
            address,
            pins,
        } in beacons
        {
            writeln!(
                f,
                "\n[[beacon]]\nname = {}\naddress = \"{address}\"\npins = {}",
                quoted(name),
                array(pins)
            )?;
        }
        writeln!(f, "\n[tunnel]\nmtu = {}", tunnel.mtu)?;
        if let Some(keepalive) = tunnel.keepalive {
            writeln!(f, "keepalive = \"{}\"", Span(keepalive))?;
        }
        writeln!(f, "respond = {}", tunnel.respond)?;
        writeln!(f, "\n[user]\nmay_disconnect = {}", user.may_disconnect)?;
        writeln!(f, "\n{card}\n[login]\nhand_over = {}", login.hand_over)?;
        if let Some(wait) = login.wait {
            writeln!(f, "wait = \"{}\"", Span(wait))?;
        }
        writeln!(
            f,
            "\n[timing]\nsettle_quiet = \"{}\"",
            Span(timing.settle_quiet)
        )?;
        writeln!(f, "settle_limit = \"{}\"", Span(timing.settle_limit))?;
        writeln!(f, "probe_timeout = \"{}\"", Span(timing.probe_timeout))?;
        writeln!(f, "retry_first = \"{}\"", Span(timing.retry_first))?;
        writeln!(f, "retry_limit = \"{}\"", Span(timing.retry_limit))?;
        if *support != Support::default() {
            writeln!(f, "\n[support]")?;
        }
        for (key, value) in [("phone", &support.phone), ("web", &support.web)] {
            if let Some(value) = value {
                writeln!(f, "{key} = {}", quoted(value))?;
            }
        }
        Ok(())
    }
}

pub(crate) fn quoted(text: &str) -> toml::Value {
    toml::Value::from(text)
}

pub(crate) fn array(items: &[impl fmt::Display]) -> toml::Value {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .into()
}
