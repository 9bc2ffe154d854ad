//! The search for a captive portal: one HTTP request in the clear, on one link, to see whether somebody else answers it.
//!
//! The request goes round our own tunnel, to the address that policy names, and says nothing about the laptop: no user
//! agent, no language, no cookie, no name but the server's. What comes back is judged by [`answer::judge`] and never
//! opened: a redirect's target is handed on as text for a person to read, if it looks like an address at all.

pub mod answer;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use sluss_platform::net;
use sluss_policy::{HttpAddress, PortalRules};
use sluss_supervisor::{Link, LinkId, PortalAnswer, PortalCheck};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::resolver::Resolver;

pub use answer::{Answer, Finding, Reason};
use answer::{Page, authority};

/// How long the other addresses of the server may still say that the way is clear, once one was answered by a portal.
const AFTER_PORTAL: Duration = Duration::from_millis(300);

/// Of one server, more addresses than these are not asked.
const ADDRESSES: usize = 4;

impl From<Finding> for PortalAnswer {
    fn from(finding: Finding) -> Self {
        match finding {
            Finding::Clear => Self::Expected,
            Finding::Portal { url } => Self::Intercepted { url },
            Finding::Unreachable(_) => Self::Silent,
        }
    }
}

/// Asks on every link at once; each has an answer after `patience` at the latest. Stops when it is dropped.
pub async fn check(
    rules: &PortalRules,
    resolver: &Resolver,
    links: &[Link],
    patience: Duration,
) -> Vec<PortalCheck> {
    let until = Instant::now() + patience;
    let asking = links.iter().map(async |link| {
        let resolving = resolver.addresses(&rules.probe.host, link);
        let addresses = timeout_at(until, resolving).await.unwrap_or_default();
        let answer = ask(rules, &link.id, &addresses, until).await;
        PortalCheck {
            link: link.id.clone(),
            answer: answer.finding.into(),
        }
    });
    join_all(asking).await
}

/// Asks on one link, at all addresses at once. The way is clear if it is by one of them.
pub async fn ask(
    rules: &PortalRules,
    link: &LinkId,
    addresses: &[IpAddr],
    mut until: Instant,
) -> Answer {
    let mut asking = JoinSet::new();
    for address in addresses.iter().take(ADDRESSES) {
        let server = SocketAddr::new(*address, rules.probe.port);
        let (rules, link) = (rules.clone(), link.clone());
        asking.spawn(async move { fetch(&rules, &link, server).await });
    }
    let mut best = Answer::from(match addresses.is_empty() {
        true => Reason::NoAddress,
        false => Reason::NoAnswer,
    });
    while let Ok(Some(answer)) = timeout_at(until, asking.join_next()).await {
        // Whoever panicked has not answered.
        let Ok(answer) = answer else { continue };
        match (&answer.finding, &best.finding) {
            (Finding::Clear, _) => return answer,
            (Finding::Portal { .. }, Finding::Unreachable(_)) => {
                until = until.min(Instant::now() + AFTER_PORTAL);
                best = answer;
            }
            (Finding::Unreachable(_), Finding::Unreachable(_)) => best = answer,
            (
                Finding::Portal { .. } | Finding::Unreachable(_),
                Finding::Portal { .. } | Finding::Clear,
            ) => {}
        }
    }
    best
}

async fn fetch(rules: &PortalRules, link: &LinkId, server: SocketAddr) -> Answer {
    match exchange(rules, link, server).await {
        Ok(answer) => answer,
        Err(error) => Answer::from(match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Reason::Refused,
            io::ErrorKind::TimedOut => Reason::NoAnswer,
            // No route, no neighbour, no address, no such link any more.
            _ => Reason::NoRoute,
        }),
    }
}

async fn exchange(rules: &PortalRules, link: &LinkId, server: SocketAddr) -> io::Result<Answer> {
    let mut stream = net::probe_socket(&link.name, server.ip())?
        .connect(server)
        .await?;
    stream.write_all(request(&rules.probe).as_bytes()).await?;
    let mut page = Page::default();
    loop {
        let count = stream.read(page.space()).await?;
        page.advance(count);
        if let Some(answer) = answer::judge(&page, rules) {
            return Ok(answer);
        }
    }
}

/// RFC 9112, 3: what every request must have, and that no cache may answer it.
fn request(probe: &HttpAddress) -> String {
    let host = authority(probe);
    let path = &probe.path;
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n"
    )
}

#[cfg(test)]
mod tests;
