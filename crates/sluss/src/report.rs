//! What the daemon knows, as lines for a person: pure functions from its answers to text.

mod doctor;
mod policy;
mod why;

pub(crate) use doctor::doctor;
pub(crate) use policy::policy;
use why::way;
pub(crate) use why::why;

use sluss_ipc::{
    Card, CardReport, Change, DownReason, Host, HostMode, Key, Location, Portal, Reader,
    ReaderCard, Status, Tunnel, Warning, What, Why,
};

use crate::{
    paint::{Mood, Paint},
    text::{Advice, Label, Text, plain},
};

/// PIN tries are worth a word from here on.
pub(crate) const FEW_TRIES: u8 = 2;

/// Whether the internal network is reached, and safely: by the tunnel, or directly because the laptop is inside.
pub(crate) fn is_as_it_should_be(status: &Status) -> bool {
    let by_tunnel = status.tunnel == Tunnel::Up
        && status.host
            == Host::Applied {
                mode: HostMode::Tunnelled,
            }
        && !status.warnings.contains(&Warning::GatewaySilent);
    let directly = matches!(status.location, Location::Inside { .. })
        && matches!(
            status.host,
            Host::Applied {
                mode: HostMode::Inside { .. }
            }
        );
    by_tunnel || directly
}

/// `sluss status`: one line that says it all, then what needs attention.
pub(crate) fn status(status: &Status, text: &dyn Text, paint: Paint) -> String {
    let mut lines = vec![headline(status, text, paint)];
    lines.extend(text.portal(&status.portal));
    let told = |warning: &&Warning| match warning {
        // Told with the name and the age of the silence, and of no interest behind a login page.
        Warning::GatewaySilent | Warning::NameNotResolved => false,
        Warning::CardSlow
        | Warning::CardMissed
        | Warning::HostNotApplied
        | Warning::LongPacketsLost
        | Warning::OpenWifi
        | Warning::LinkFlapping => true,
    };
    let warnings = status.warnings.iter().filter(told);
    lines.extend(warnings.map(|warning| text.warning(*warning).to_owned()));
    if matches!(status.tunnel, Tunnel::Starting | Tunnel::Up) && status.portal == Portal::Absent {
        lines.extend(way(status.gateway.as_ref(), &status.warnings, text));
    }
    lines.extend(advice(&status.why()).map(|advice| text.advice(&advice)));
    let metered = status.links.iter().filter(|link| link.metered);
    lines.extend(metered.map(|link| text.metered(link)));
    let few = status
        .card
        .as_ref()
        .and_then(|card| card.tries_left)
        .filter(|tries| *tries <= FEW_TRIES);
    lines.extend(few.map(|tries| text.tries_left(tries)));
    finish(&lines)
}

/// `sluss status -v`: the same, then everything else.
pub(crate) fn details(status: &Status, text: &dyn Text, paint: Paint) -> String {
    let mut table = Table::new(text);
    table.add(
        Label::Location,
        &with_age(
            text.location(&status.location),
            status.location_age_ms,
            text,
        ),
    );
    for link in &status.links {
        table.add(Label::Link, &text.link(link));
    }
    table.add(Label::Tunnel, &text.tunnel(status.tunnel, None));
    if let Some(gateway) = &status.gateway {
        let address = gateway.address.map(|address| format!(" ({address})"));
        let name = plain(&gateway.name);
        table.add(
            Label::Gateway,
            &format!("{name}{}", address.unwrap_or_default()),
        );
        for endpoint in &gateway.endpoints {
            table.add(Label::Endpoint, &text.endpoint(endpoint));
        }
    }
    if let Some(traffic) = &status.traffic {
        table.add(Label::Traffic, &text.traffic(traffic));
    }
    if let Some(packets) = &status.packets {
        table.add(Label::Mtu, &text.mtu(packets));
        if let Some(path) = &packets.path {
            let path = with_age(text.path(path), Some(path.age_ms), text);
            table.add(Label::Path, &path);
        }
        for line in text.offloads(packets) {
            table.add(Label::Offload, &line);
        }
    }
    table.add(Label::Key, &text.key(status.key));
    if let Some(Card {
        reader,
        serial,
        kind,
        mode,
        algorithm,
        tries_left,
    }) = &status.card
    {
        table.add(
            Label::Card,
            &format!("{} {}, {}", kind.name(), plain(serial), plain(reader)),
        );
        table.add(Label::PrivateKey, &text.key_mode(*mode, *algorithm));
        table.add_some(Label::Tries, few(*tries_left));
    }
    table.add(Label::Wish, text.intent(status.intent));
    table.add(Label::Host, &text.host(&status.host));
    for evidence in &status.evidence {
        let (link, beacon) = (plain(&evidence.link), plain(&evidence.beacon));
        table.add(
            Label::Evidence,
            &format!(
                "{link}, {beacon} ({}): {}, {}",
                evidence.address,
                text.outcome(evidence.outcome),
                text.ago(evidence.age_ms)
            ),
        );
    }
    if let Portal::Found {
        page: Some(page), ..
    }
    | Portal::Open {
        page: Some(page), ..
    } = &status.portal
    {
        table.add_some(Label::Portal, page.login.as_deref().map(plain));
    }
    table.add_some(
        Label::Next,
        status.deadline.map(|deadline| text.deadline(deadline)),
    );
    table.add(Label::Version, &plain(&status.version));
    format!("{}\n{}", self::status(status, text, paint), table.render())
}

/// One line of `sluss monitor`.
pub(crate) fn change(change: &Change, text: &dyn Text) -> String {
    let (label, now) = match &change.what {
        What::Location(location) => (Label::Location, text.location(location)),
        What::Key(key) => (Label::Key, text.key(*key)),
        What::Tunnel(tunnel) => (Label::Tunnel, text.tunnel(*tunnel, None)),
        What::Intent(intent) => (Label::Wish, text.intent(*intent).to_owned()),
        What::Host(host) => (Label::Host, text.host(host)),
        What::Portal(portal) => (
            Label::Portal,
            text.portal(portal)
                .unwrap_or_else(|| text.no_warnings().to_owned()),
        ),
        What::Warnings(warnings) if warnings.is_empty() => {
            (Label::Warning, text.no_warnings().to_owned())
        }
        What::Warnings(warnings) => {
            let all: Vec<&str> = warnings
                .iter()
                .map(|warning| text.warning(*warning))
                .collect();
            (Label::Warning, all.join(" "))
        }
    };
    format!("{}: {now}", text.label(label))
}

/// `sluss card`: each reader with a card in it, and what the card is good for.
pub(crate) fn card(report: &CardReport, text: &dyn Text) -> String {
    if report.readers.is_empty() {
        let why = match for_key(report.key) {
            Some(start @ Advice::StartCardService) => text.advice(&start),
            _ => text.no_reader_with_card().to_owned(),
        };
        return finish(&[why]);
    }
    let mut blocks = Vec::new();
    for Reader { name, card } in &report.readers {
        let mut table = Table::new(text);
        match card {
            ReaderCard::Usable {
                kind,
                serial,
                mode,
                algorithm,
                subject,
                public_key,
                tries_left,
                pin_pad,
            } => {
                table.add(Label::Card, &format!("{} {}", kind.name(), plain(serial)));
                table.add_some(Label::Holder, subject.as_deref().map(plain));
                table.add(Label::PrivateKey, &text.key_mode(*mode, *algorithm));
                table.add(Label::PublicKey, &plain(public_key));
                table.add_some(
                    Label::PinEntry,
                    pin_pad.then(|| text.on_the_reader().to_owned()),
                );
                table.add_some(Label::Tries, few(*tries_left));
                table.add(Label::Key, &text.key(report.key));
                table.add_some(Label::Next, for_key(report.key).map(|it| text.advice(&it)));
            }
            ReaderCard::Unusable { fault } => {
                table.add(Label::Card, text.card_fault(*fault));
                table.add(Label::Next, &text.advice(&Advice::for_fault(*fault)));
            }
        }
        blocks.push(format!("{}\n{}", plain(name), table.render()));
    }
    blocks.join("\n")
}

/// What the user can do, if something is not as it should be and the user can do anything.
fn advice(why: &Why) -> Option<Advice> {
    // A login page explains the silence.
    let is_silent = why.warnings.contains(&Warning::GatewaySilent) && why.portal == Portal::Absent;
    match why.tunnel {
        Tunnel::Down {
            reason: DownReason::NoCard | DownReason::KeyLocked,
        } => for_key(why.key),
        Tunnel::Down {
            reason: DownReason::StoppedByUser,
        } => Some(Advice::AllowTunnel),
        Tunnel::Down {
            reason: DownReason::NotEnrolled,
        } => Some(Advice::Enroll),
        Tunnel::Down {
            reason:
                DownReason::NotNeeded
                | DownReason::Deciding
                | DownReason::NoNetwork
                | DownReason::DeviceFailed
                | DownReason::SocketFailed
                | DownReason::WorkerFailed,
        } => None,
        // A session outlives a key that was locked meanwhile, but not for long.
        Tunnel::Starting | Tunnel::Up => {
            for_key(why.key).or_else(|| is_silent.then_some(Advice::OtherNetwork))
        }
        Tunnel::Stopping => None,
    }
}

fn for_key(key: Key) -> Option<Advice> {
    match key {
        Key::NoService => Some(Advice::StartCardService),
        Key::Absent => Some(Advice::InsertCard),
        Key::Unusable { fault } => Some(Advice::for_fault(fault)),
        Key::Locked | Key::AwaitingPin | Key::Declined | Key::Withdrawn => Some(Advice::Unlock),
        Key::Blocked => Some(Advice::UnblockCard),
        Key::Verifying | Key::Unlocked => None,
    }
}

/// The PIN tries, if they are worth a word.
fn few(tries_left: Option<u8>) -> Option<String> {
    tries_left
        .filter(|tries| *tries <= FEW_TRIES)
        .map(|tries| tries.to_string())
}

fn headline(status: &Status, text: &dyn Text, paint: Paint) -> String {
    let mood = match status.tunnel {
        _ if is_as_it_should_be(status) => Mood::Good,
        Tunnel::Starting
        | Tunnel::Stopping
        | Tunnel::Down {
            reason: DownReason::Deciding,
        } => Mood::Changing,
        Tunnel::Up | Tunnel::Down { .. } => Mood::Bad,
    };
    let tunnel = paint.apply(mood, &text.tunnel(status.tunnel, status.gateway.as_ref()));
    format!(
        "{tunnel} ({}), {}",
        text.location(&status.location),
        text.key(status.key)
    )
}

fn with_age(what: String, age_ms: Option<u64>, text: &dyn Text) -> String {
    match age_ms {
        Some(age) => format!("{what}, {}", text.ago(age)),
        None => what,
    }
}

fn join<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| plain(&item.to_string())).collect();
    items.join(", ")
}

fn finish(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Labels in one column, details in the next.
struct Table<'a> {
    text: &'a dyn Text,
    rows: Vec<(Label, String)>,
}

impl<'a> Table<'a> {
    fn new(text: &'a dyn Text) -> Self {
        Self {
            text,
            rows: Vec::new(),
        }
    }

    fn add(&mut self, label: Label, detail: &str) {
        self.rows.push((label, detail.to_owned()));
    }

    fn add_some(&mut self, label: Label, detail: Option<String>) {
        self.rows.extend(detail.map(|detail| (label, detail)));
    }

    fn render(&self) -> String {
        let width = |label: Label| self.text.label(label).chars().count();
        let column = self
            .rows
            .iter()
            .map(|(label, _)| width(*label))
            .max()
            .unwrap_or_default();
        let mut lines = Vec::new();
        let mut above = None;
        for (label, detail) in &self.rows {
            // A label that repeats itself would only make noise.
            let word = if above.replace(*label) == Some(*label) {
                ""
            } else {
                self.text.label(*label)
            };
            lines.push(format!("  {word:column$}  {detail}"));
        }
        finish(&lines)
    }
}

#[cfg(test)]
mod tests;
