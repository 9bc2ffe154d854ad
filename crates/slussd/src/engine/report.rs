//! The supervisor's state in the words of the IPC contract.

mod diagnosis;
mod place;
mod policy;

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sluss_ipc as ipc;
use sluss_policy::WhenInside;
use sluss_supervisor as sup;

use super::cards::Inserted;
use super::{Engine, words};

/// Initiations without an answer after which a gateway counts as silent although a session still carries.
const SILENT_ATTEMPTS: u32 = 3;

/// What the engine itself does not know when it is asked for its status.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub traffic: Option<ipc::Traffic>,
    /// The endpoint in use, if the tunnel is there.
    pub endpoint: Option<SocketAddr>,
    /// All that the tunnel may call.
    pub called: Vec<Called>,
    pub packets: Option<ipc::PacketReport>,
}

/// One address of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    pub address: SocketAddr,
    /// For how long it has been called without an answer; None if it was not called, or answers.
    pub silent_ms: Option<u64>,
}

impl Engine {
    pub fn status(&self, figures: Figures, now: sup::Time) -> ipc::Status {
        let state = &self.state;
        let age = |at: sup::Time| millis(now.since(at));
        ipc::Status {
            schema: ipc::SCHEMA,
            location: place::location(state),
            location_age_ms: match state.location {
                sup::Location::Inside(sup::Verified { since, .. }) => Some(age(since)),
                sup::Location::Outside { .. } | sup::Location::Probing { .. } => {
                    state.location.outside_since().map(age)
                }
                sup::Location::Offline
                | sup::Location::Asleep { .. }
                | sup::Location::Settling { .. } => None,
            },
            rules: Some(policy::rules(&self.policy)),
            links: place::links(state),
            portal: self.portal(now),
            key: self.key(),
            tunnel: tunnel(state, self.policy.location.inside, &figures),
            intent: match state.intent {
                sup::Intent::Automatic => ipc::Intent::Automatic,
                sup::Intent::Stopped => ipc::Intent::Stopped,
            },
            host: host(&state.host),
            gateway: Some(self.gateway(&figures, now)),
            card: self.card(),
            traffic: figures.traffic,
            packets: figures.packets,
            evidence: state
                .evidence
                .iter()
                .map(|evidence| self.evidence(evidence, now))
                .collect(),
            deadline: state.deadline(&self.policy).map(|deadline| ipc::Deadline {
                in_ms: millis(deadline.at.since(now)),
                reason: reason(deadline.reason),
            }),
            warnings: self.warnings(&figures, now),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Readers and cards: what `sluss card` shows.
    pub(super) fn card_report(&self) -> ipc::CardReport {
        let usable = self
            .cards
            .inserted
            .as_ref()
            .map(|Inserted { reader, card, .. }| ipc::Reader {
                name: reader.clone(),
                card: ipc::ReaderCard::Usable {
                    kind: words::kind(card.kind),
                    serial: card.serial.clone(),
                    mode: words::mode(card.mode),
                    algorithm: words::algorithm(card.algorithm),
                    subject: card.subject.clone(),
                    public_key: BASE64.encode(card.public_key),
                    tries_left: Some(
                        self.state
                            .key
                            .card()
                            .map_or(card.tries_left, |card| card.tries_left),
                    ),
                    pin_pad: card.pin_pad,
                },
            });
        let unusable = self
            .cards
            .unusable
            .iter()
            .map(|(reader, fault)| ipc::Reader {
                name: reader.clone(),
                card: ipc::ReaderCard::Unusable {
                    fault: words::card_fault(*fault),
                },
            });
        ipc::CardReport {
            schema: ipc::SCHEMA,
            key: self.key(),
            readers: usable.into_iter().chain(unusable).collect(),
        }
    }

    fn key(&self) -> ipc::Key {
        match &self.state.key {
            sup::Key::Absent if !self.cards.service => ipc::Key::NoService,
            sup::Key::Absent | sup::Key::Away { .. } => ipc::Key::Absent,
            sup::Key::Unusable(fault) => ipc::Key::Unusable {
                fault: words::card_fault(*fault),
            },
            sup::Key::Locked(_) => ipc::Key::Locked,
            sup::Key::AwaitingPin { .. } => ipc::Key::AwaitingPin,
            sup::Key::Declined { .. } => ipc::Key::Declined,
            sup::Key::Withdrawn(_) => ipc::Key::Withdrawn,
            sup::Key::Verifying { .. } => ipc::Key::Verifying,
            sup::Key::Unlocked(_) => ipc::Key::Unlocked,
            sup::Key::Blocked(_) => ipc::Key::Blocked,
        }
    }

    fn warnings(&self, figures: &Figures, now: sup::Time) -> Vec<ipc::Warning> {
        let slow = self
            .cards
            .inserted
            .as_ref()
            .is_some_and(|inserted| inserted.overdue);
        let missed = matches!(self.state.key, sup::Key::Away { .. });
        let not_applied = matches!(self.state.host, sup::Host::Failed { .. });
        [
            gateway_silent(&self.state, figures).then_some(ipc::Warning::GatewaySilent),
            slow.then_some(ipc::Warning::CardSlow),
            missed.then_some(ipc::Warning::CardMissed),
            not_applied.then_some(ipc::Warning::HostNotApplied),
            place::is_on_open_wifi(&self.state).then_some(ipc::Warning::OpenWifi),
            self.state
                .is_restless(now)
                .then_some(ipc::Warning::LinkFlapping),
            self.is_gateway_lost()
                .then_some(ipc::Warning::NameNotResolved),
            figures
                .loses_long_packets()
                .then_some(ipc::Warning::LongPacketsLost),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn card(&self) -> Option<ipc::Card> {
        let card = self.state.key.card()?;
        let inserted = self.cards.inserted.as_ref()?;
        Some(ipc::Card {
            reader: inserted.reader.clone(),
            serial: card.serial.clone(),
            kind: words::kind(inserted.card.kind),
            mode: words::mode(inserted.card.mode),
            algorithm: words::algorithm(inserted.card.algorithm),
            tries_left: Some(card.tries_left),
        })
    }
}

fn tunnel(state: &sup::State, rule: WhenInside, figures: &Figures) -> ipc::Tunnel {
    match &state.tunnel {
        sup::Tunnel::Down { retry } => ipc::Tunnel::Down {
            reason: down_reason(state, rule, *retry),
        },
        sup::Tunnel::Starting { .. } => ipc::Tunnel::Starting,
        sup::Tunnel::Up { session, .. } => {
            let answered = *session == sup::Session::Established;
            // Without a session, only a gateway that answered and a card that answers can make one on demand.
            let on_demand = answered && matches!(state.key, sup::Key::Unlocked(_));
            if figures.has_session() || on_demand {
                ipc::Tunnel::Up
            } else {
                ipc::Tunnel::Starting
            }
        }
        sup::Tunnel::Stopping { .. } => ipc::Tunnel::Stopping,
    }
}

/// Whether it is time to say that the gateway does not answer: one lost packet is nothing while a session carries.
fn gateway_silent(state: &sup::State, figures: &Figures) -> bool {
    match state.tunnel {
        sup::Tunnel::Up {
            session: sup::Session::Awaited { attempts },
            ..
        } => {
            attempts
                >= if figures.has_session() {
                    SILENT_ATTEMPTS
                } else {
                    1
                }
        }
        sup::Tunnel::Up {
            session: sup::Session::Established,
            ..
        }
        | sup::Tunnel::Down { .. }
        | sup::Tunnel::Starting { .. }
        | sup::Tunnel::Stopping { .. } => false,
    }
}

impl Figures {
    fn loses_long_packets(&self) -> bool {
        let path = self.packets.and_then(|packets| packets.path);
        path.is_some_and(|path| path.verdict == ipc::PathVerdict::TooNarrow)
    }

    /// Whether the newest session may still carry packets (whitepaper 6.2).
    fn has_session(&self) -> bool {
        let reject_after = millis(sluss_wg::Timing::default().reject_after);
        let age = self.traffic.and_then(|traffic| traffic.handshake_age_ms);
        age.is_some_and(|age| age < reject_after)
    }
}

/// Why nothing is up, in the order in which a person would want to know.
fn down_reason(state: &sup::State, rule: WhenInside, retry: Option<sup::Retry>) -> ipc::DownReason {
    if state.intent == sup::Intent::Stopped {
        return ipc::DownReason::StoppedByUser;
    }
    match &state.location {
        sup::Location::Inside(_) if rule == WhenInside::NoTunnel => {
            return ipc::DownReason::NotNeeded;
        }
        sup::Location::Offline | sup::Location::Asleep { .. } => return ipc::DownReason::NoNetwork,
        sup::Location::Settling { .. }
        | sup::Location::Probing {
            outside_since: None,
            ..
        } => {
            return ipc::DownReason::Deciding;
        }
        sup::Location::Inside(_)
        | sup::Location::Outside { .. }
        | sup::Location::Probing {
            outside_since: Some(_),
            ..
        } => {}
    }
    match &state.key {
        sup::Key::Absent | sup::Key::Away { .. } | sup::Key::Unusable(_) => {
            return ipc::DownReason::NoCard;
        }
        sup::Key::Locked(_)
        | sup::Key::AwaitingPin { .. }
        | sup::Key::Declined { .. }
        | sup::Key::Withdrawn(_)
        | sup::Key::Verifying { .. }
        | sup::Key::Blocked(_) => return ipc::DownReason::KeyLocked,
        sup::Key::Unlocked(_) => {}
    }
    match retry.map(|retry| retry.why) {
        Some(sup::LossReason::Binding) => ipc::DownReason::NotEnrolled,
        Some(sup::LossReason::Device) => ipc::DownReason::DeviceFailed,
        Some(sup::LossReason::Socket) => ipc::DownReason::SocketFailed,
        Some(sup::LossReason::Internal | sup::LossReason::Overdue) => ipc::DownReason::WorkerFailed,
        // Between the verdict and the start, while routes and firewall are set.
        None => ipc::DownReason::Deciding,
    }
}

fn host(host: &sup::Host) -> ipc::Host {
    match host {
        sup::Host::Unknown => ipc::Host::Unknown,
        sup::Host::Applying { rules, .. } => ipc::Host::Applying {
            mode: host_mode(&rules.mode),
        },
        sup::Host::Applied(rules) => ipc::Host::Applied {
            mode: host_mode(&rules.mode),
        },
        sup::Host::Failed { rules, .. } => ipc::Host::Failed {
            mode: host_mode(&rules.mode),
        },
    }
}

fn host_mode(mode: &sup::HostMode) -> ipc::HostMode {
    match mode {
        sup::HostMode::Closed => ipc::HostMode::Closed,
        sup::HostMode::Inside { link } => ipc::HostMode::Inside {
            link: Some(link.id.name.clone()),
        },
        sup::HostMode::Tunnelled => ipc::HostMode::Tunnelled,
    }
}

fn reason(reason: sup::DeadlineReason) -> ipc::DeadlineReason {
    match reason {
        sup::DeadlineReason::NetworkSettled => ipc::DeadlineReason::NetworkSettled,
        sup::DeadlineReason::ProbeOverdue => ipc::DeadlineReason::ProbeOverdue,
        sup::DeadlineReason::ProbeAgain => ipc::DeadlineReason::ProbeAgain,
        sup::DeadlineReason::PortalCheckOverdue => ipc::DeadlineReason::PortalCheckOverdue,
        sup::DeadlineReason::PortalCheckDue => ipc::DeadlineReason::PortalCheckDue,
        sup::DeadlineReason::PortalClosing => ipc::DeadlineReason::PortalClosing,
        sup::DeadlineReason::SleepOverdue => ipc::DeadlineReason::SleepOverdue,
        sup::DeadlineReason::PinCheckOverdue => ipc::DeadlineReason::PinCheckOverdue,
        sup::DeadlineReason::GraceOver => ipc::DeadlineReason::GraceOver,
        sup::DeadlineReason::TunnelStartOverdue => ipc::DeadlineReason::TunnelStartOverdue,
        sup::DeadlineReason::TunnelStopOverdue => ipc::DeadlineReason::TunnelStopOverdue,
        sup::DeadlineReason::TunnelRetry => ipc::DeadlineReason::TunnelRetry,
        sup::DeadlineReason::HostOverdue => ipc::DeadlineReason::HostOverdue,
        sup::DeadlineReason::HostRetry => ipc::DeadlineReason::HostRetry,
    }
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
