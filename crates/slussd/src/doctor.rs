//! What `sluss doctor` finds out: a few questions asked anew, and the judgement of what is known.
//!
//! [`observe`] asks what only the network can answer: the beacons, the portal probe, the gateway's names, an internal
//! name. Everything but the last goes out on one physical link each, round our own tunnel. The internal name is asked
//! of the system's resolver, as every program on the laptop would, and only where the internal network is reached: at
//! home it would tell a stranger what we call our servers. [`diagnose`] then judges without asking anybody.

mod diagnosis;

use std::net::IpAddr;
use std::time::Duration;

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};
use futures_util::future::join_all;
use sluss_ipc::ResolutionFault;
use sluss_platform::clock;
use sluss_policy::Policy;
use sluss_supervisor::{Evidence, Link, PortalCheck};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

pub(crate) use diagnosis::{Facts, diagnose};

use crate::portal::Finding;
use crate::resolver::{Resolution, Resolver};
use crate::{portal, probe};

/// How long the slowest question may take; all are asked at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the questions came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    pub evidence: Vec<Evidence>,
    pub portal: Vec<PortalCheck>,
    /// Where the gateway is by this network's resolvers.
    pub resolution: Resolution,
    /// The addresses of the internal name; None if it was not asked for.
    pub internal: Option<Result<Vec<IpAddr>, ResolutionFault>>,
    /// What the portal probe's own server says that it is, in seconds since 1970, and what our clock said then.
    pub date: Option<Date>,
    /// Whether the system's time service has set the clock; None if there is none that says.
    pub clock_is_set: Option<bool>,
}

/// One moment by two clocks, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    pub server: u64,
    pub clock: u64,
}

/// Asks all that there is to ask, at once, in three seconds and a little. Stops when it is dropped.
///
/// `reached`: whether the internal network is, so that its names may be asked for.
pub async fn observe(
    policy: &Policy,
    resolver: &Resolver,
    links: &[Link],
    reached: bool,
) -> Observed {
    let links: Vec<Link> = links.iter().filter(|it| it.usable()).cloned().collect();
    let (evidence, (portal, date), resolution, internal, clock_is_set) = tokio::join!(
        probe::evidence(policy, &links, policy.timing.probe_timeout),
        portal(policy, resolver, &links),
        resolver.resolve(&policy.endpoints, &links),
        internal(policy, reached),
        clock_is_set(),
    );
    Observed {
        evidence,
        portal,
        resolution,
        internal,
        date,
        clock_is_set,
    }
}

/// What each link answered, and the time by the server that policy names, if that was reached.
async fn portal(
    policy: &Policy,
    resolver: &Resolver,
    links: &[Link],
) -> (Vec<PortalCheck>, Option<Date>) {
    let Some(rules) = &policy.portal else {
        return (Vec::new(), None);
    };
    let until = Instant::now() + PATIENCE;
    let asking = links.iter().map(async |link| {
        let resolving = resolver.addresses(&rules.probe.host, link);
        let addresses = timeout_at(until, resolving).await.unwrap_or_default();
        let answer = portal::ask(rules, &link.id, &addresses, until).await;
        let clock = clock::wall().as_secs();
        // Somebody in between may say what he likes.
        let server = answer.date.filter(|_| answer.finding == Finding::Clear);
        let check = PortalCheck {
            link: link.id.clone(),
            answer: answer.finding.into(),
        };
        (check, server.map(|server| Date { server, clock }))
    });
    let (checks, dates): (Vec<_>, Vec<_>) = join_all(asking).await.into_iter().unzip();
    (checks, dates.into_iter().flatten().next())
}

/// The system's answer, by whatever way the system takes; its own thread may wait for longer than we do.
async fn internal(policy: &Policy, reached: bool) -> Option<Result<Vec<IpAddr>, ResolutionFault>> {
    let name = policy.doctor.internal_name.as_ref().filter(|_| reached)?;
    let name = name.as_str().to_owned();
    let (tell, told) = oneshot::channel();
    // Not a thread of the runtime, which could not end before this one.
    std::thread::spawn(move || tell.send(look_up(&name)));
    let answer = timeout(PATIENCE, told).await.ok().and_then(Result::ok);
    Some(answer.unwrap_or(Err(ResolutionFault::NoAnswer)))
}

fn look_up(name: &str) -> Result<Vec<IpAddr>, ResolutionFault> {
    let fault = |error: LookupError| match error.kind() {
        LookupErrorKind::NoName => ResolutionFault::NoSuchName,
        LookupErrorKind::NoData => ResolutionFault::NoAddress,
        LookupErrorKind::Again => ResolutionFault::NoAnswer,
        // The rest speaks of a resolver that has given up, or of our own question.
        _ => ResolutionFault::ResolverFailed,
    };
    let stream = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(name), None, Some(stream)).map_err(fault)?;
    let mut addresses: Vec<IpAddr> = found.flatten().map(|info| info.sockaddr.ip()).collect();
    addresses.dedup();
    Ok(addresses)
}

/// What systemd-timedated knows of the kernel's clock.
async fn clock_is_set() -> Option<bool> {
    const SERVICE: &str = "org.freedesktop.timedate1";
    let asked = async {
        let bus = zbus::Connection::system().await.ok()?;
        let path = "/org/freedesktop/timedate1";
        let service = zbus::Proxy::new(&bus, SERVICE, path, SERVICE).await.ok()?;
        service.get_property("NTPSynchronized").await.ok()
    };
    timeout(PATIENCE, asked).await.ok().flatten()
}
