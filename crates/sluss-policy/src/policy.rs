//! The policy as a whole, and its smaller sections.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

use crate::document::Document;
use crate::error::Span;
use crate::values::{boolean, duration, integer, internal_prefix, label, list, paragraph, text};
use crate::{
    Beacon, CardRules, Endpoint, Gateway, HostName, LocationRules, POLICY_KEYS, PolicyError,
    PortalRules, Source, ValueError,
};

/// The one that this version reads.
pub(crate) const SCHEMA: i64 = 1;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Everything IT decides. Made by [`Policy::parse`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub gateway: Gateway,
    /// Where the gateway answers; at least one, in the order of the policy.
    pub endpoints: Vec<Endpoint>,
    /// Internal prefixes, IPv4 and IPv6: what the tunnel carries, and what never leaves outside of it.
    pub internal: Vec<IpNet>,
    pub location: LocationRules,
    /// Evidence of being inside. Without one the laptop is always outside.
    pub beacons: Vec<Beacon>,
    /// `None`: captive portals are not looked for.
    pub portal: Option<PortalRules>,
    pub tunnel: TunnelSettings,
    pub user: UserRights,
    pub card: CardRules,
    pub login: Login,
    pub timing: Timing,
    pub doctor: Doctor,
    pub support: Support,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelSettings {
    /// Bytes of an inner IP packet.
    pub mtu: u16,
    /// WireGuard's persistent keepalive; `None` keeps an idle laptop idle.
    pub keepalive: Option<Duration>,
    /// The same on a link that is paid for by the byte; never shorter.
    pub metered_keepalive: Option<Duration>,
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

/// What `sluss doctor` needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doctor {
    /// A name that only the internal network's resolver knows.
    pub internal_name: Option<HostName>,
}

/// Whom the user turns to; shown when things fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Support {
    pub phone: Option<String>,
    pub web: Option<String>,
    /// The way round when the VPN is down, in IT's own words.
    pub detour: Option<String>,
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
        let endpoints = Endpoint::build_all(document);
        let internal = document.required("internal.prefixes", list(1024, internal_prefix));
        let location = LocationRules::build(document);
        let beacons = Beacon::build_all(document);
        if !document.has_mistakes() {
            location.reject_impossible(&beacons, document);
        }
        let portal = PortalRules::build(document);
        let (tunnel, user, card, login, timing, doctor, support) = (
            TunnelSettings::build(document),
            UserRights::build(document),
            CardRules::build(document),
            Login::build(document),
            Timing::build(document),
            Doctor::build(document),
            Support::build(document),
        );
        schema?;
        Some(Self {
            gateway: gateway?,
            endpoints: endpoints?,
            internal: internal?,
            location,
            beacons,
            portal,
            tunnel,
            user,
            card: card?,
            login,
            timing,
            doctor,
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

impl TunnelSettings {
    fn build(document: &mut Document<'_>) -> Self {
        // IPv6 needs links of 1280 bytes (RFC 8200, 5); WireGuard counts its keepalive in a u16 of seconds.
        let mtu = document.optional("tunnel.mtu", integer(1280..=9000));
        let every = duration(SECOND..=SECOND * 65_535);
        let keepalive = document.optional("tunnel.keepalive", text(&every));
        let metered = document.optional("tunnel.metered_keepalive", text(or_off(&every)));
        match (keepalive, metered) {
            (None, Some(_)) => {
                let setting = "'keepalive'";
                document.reject("tunnel.metered_keepalive", ValueError::OnlyWith { setting });
            }
            (Some(keepalive), Some(Some(metered))) if metered < keepalive => {
                let than = "keepalive";
                document.reject("tunnel.metered_keepalive", ValueError::ShorterThan { than });
            }
            (_, None | Some(_)) => {}
        }
        let respond = document.optional("tunnel.respond", boolean);
        Self {
            mtu: mtu.and_then(|mtu| u16::try_from(mtu).ok()).unwrap_or(1420),
            keepalive,
            metered_keepalive: metered.unwrap_or(keepalive),
            respond: respond.unwrap_or(false),
        }
    }
}

/// What `parse` can read, or the word "off".
fn or_off<T>(
    parse: impl Fn(&str) -> Result<T, ValueError>,
) -> impl Fn(&str) -> Result<Option<T>, ValueError> {
    move |text| match text {
        "off" => Ok(None),
        text => parse(text).map(Some),
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

impl Doctor {
    fn build(document: &mut Document<'_>) -> Self {
        Self {
            internal_name: document.optional("doctor.internal_name", text(str::parse)),
        }
    }
}

impl Support {
    fn build(document: &mut Document<'_>) -> Self {
        Self {
            phone: document.optional("support.phone", text(label)),
            web: document.optional("support.web", text(label)),
            detour: document.optional("support.detour", text(paragraph)),
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
            endpoints,
            internal,
            location,
            beacons,
            portal,
            tunnel,
            user,
            card,
            login,
            timing,
            doctor,
            support,
        } = self;
        writeln!(f, "schema = {SCHEMA}\n\n{gateway}")?;
        for endpoint in endpoints {
            writeln!(f, "{endpoint}")?;
        }
        writeln!(f, "[internal]\nprefixes = {}\n", array(internal))?;
        writeln!(f, "{location}")?;
        for beacon in beacons {
            writeln!(f, "{beacon}")?;
        }
        if let Some(portal) = portal {
            writeln!(f, "{portal}")?;
        }
        writeln!(f, "[tunnel]\nmtu = {}", tunnel.mtu)?;
        if let Some(keepalive) = tunnel.keepalive {
            writeln!(f, "keepalive = \"{}\"", Span(keepalive))?;
            match tunnel.metered_keepalive {
                Some(metered) => writeln!(f, "metered_keepalive = \"{}\"", Span(metered))?,
                None => writeln!(f, "metered_keepalive = \"off\"")?,
            }
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
        if let Some(name) = &doctor.internal_name {
            writeln!(f, "\n[doctor]\ninternal_name = \"{name}\"")?;
        }
        if *support != Support::default() {
            writeln!(f, "\n[support]")?;
        }
        for (key, value) in [
            ("phone", &support.phone),
            ("web", &support.web),
            ("detour", &support.detour),
        ] {
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
