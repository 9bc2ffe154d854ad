//! What the doctor says in English.

use sluss_ipc::doctor::{ClockWitness, LinkAddress, Seen, Support, Verdict};
use sluss_ipc::{DownReason, Endpoint, Evidence, Outcome, PortalPage};

use super::English;
use crate::text::{
    Advice, Text as _,
    doctor::{Cure, DoctorText},
    plain,
    why::{WhyText as _, enumerate, moment, named, seen_and_own},
};

impl DoctorText for English {
    fn verdict(&self, verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED",
            Verdict::NotApplicable | Verdict::NotRun => "-",
        }
    }

    fn seen(&self, seen: &Seen) -> String {
        match seen {
            Seen::NotRun { because } => {
                format!("Not checked, since {} failed.", because.code())
            }
            Seen::TunnelNotNeeded => "You are inside, where no tunnel is needed.".to_owned(),
            Seen::DaemonRuns => "slussd runs.".to_owned(),
            Seen::DaemonSilent => "slussd does not run, or does not answer.".to_owned(),
            Seen::StoppedByUser => {
                "slussd runs, but you asked for no tunnel (`sluss down`).".to_owned()
            }
            Seen::LinkUp { links } => {
                let links: Vec<String> = links.iter().map(|link| self.link_medium(link)).collect();
                format!("{}.", self.list(&links))
            }
            Seen::OpenWifi { links } => {
                let links: Vec<String> = links.iter().map(|link| plain(&link.name)).collect();
                format!(
                    "{} has no password: others nearby can read what is not encrypted.",
                    self.list(&links)
                )
            }
            Seen::NoLink => "No cable and no Wi-Fi is connected.".to_owned(),
            Seen::AddressGiven { addresses } => format!("{}.", self.addresses(addresses)),
            Seen::NoRouter { addresses } => {
                format!(
                    "{}, but the network names no router.",
                    self.addresses(addresses)
                )
            }
            Seen::OnlyLinkLocal { addresses } => format!(
                "{}, which the laptop made up for itself: the network gave it none.",
                self.addresses(addresses)
            ),
            Seen::NoAddress { links } => {
                let links: Vec<String> = links.iter().map(|link| plain(link)).collect();
                format!(
                    "The network on {} gave the laptop no address.",
                    self.list(&links)
                )
            }
            Seen::NoPortal => "The network asks for no login.".to_owned(),
            Seen::PortalFound { page } => {
                format!(
                    "The network on {} wants a login first{}.",
                    plain(&page.link),
                    at(page)
                )
            }
            Seen::PortalOpen { page, left_ms } => format!(
                "The network on {} wants a login first; the way to its page is open for another {}.",
                plain(&page.link),
                self.span(*left_ms)
            ),
            Seen::PortalUnknown => {
                "Whether the network wants a login cannot be said: nothing answers the question."
                    .to_owned()
            }
            Seen::PortalNotLookedFor => "The policy names nothing to ask.".to_owned(),
            Seen::ClockAgrees { witness } => match witness {
                ClockWitness::Certificate => {
                    "The clock agrees with the dates of a beacon's certificate.".to_owned()
                }
                ClockWitness::TimeService => {
                    "The system's time service has set the clock.".to_owned()
                }
                ClockWitness::ProbeServer => {
                    "The clock agrees with the server of the portal probe.".to_owned()
                }
            },
            Seen::ClockDiffers {
                clock_unix_s,
                server_unix_s,
            } => format!(
                "The clock says {}, and the server of the portal probe says {}. That was told in clear, so it is a hint and no proof.",
                moment(*clock_unix_s),
                moment(*server_unix_s)
            ),
            Seen::ClockOff {
                clock_unix_s,
                certificate_unix_s,
            } => {
                let (clock, date) = (moment(*clock_unix_s), moment(*certificate_unix_s));
                let is_valid = match clock_unix_s < certificate_unix_s {
                    true => "is valid from",
                    false => "was valid until",
                };
                format!(
                    "The clock says {clock}, and a beacon's certificate {is_valid} {date}: one of the two is wrong."
                )
            }
            Seen::ClockNotSet => "The system's time service has not set the clock.".to_owned(),
            Seen::ClockUnwitnessed => "Nothing here tells the time to compare it with.".to_owned(),
            Seen::NameResolved { name, addresses } => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!("{} is {}.", plain(name), self.list(&addresses))
            }
            Seen::NameByFallback { name, fault } => format!(
                "{} could not be resolved, since {}; the policy's own addresses are used.",
                plain(name),
                self.resolution_fault(*fault)
            ),
            Seen::NameNotResolved { name, fault } => format!(
                "{} could not be resolved, since {}.",
                plain(name),
                self.resolution_fault(*fault)
            ),
            Seen::NoNameNeeded => "The policy gives the gateway's addresses themselves.".to_owned(),
            Seen::ProvedInside { evidence } => {
                let proofs: Vec<String> = evidence
                    .iter()
                    .filter(|it| it.outcome == Outcome::Proved)
                    .map(|it| format!("{} on {}", named(it), plain(&it.link)))
                    .collect();
                format!("You are inside: {} proved it.", self.list(&proofs))
            }
            Seen::NoBeaconHere { evidence } => match evidence.len() {
                0 => "No beacon could be asked.".to_owned(),
                1 => "You are outside: the policy's beacon does not answer.".to_owned(),
                n => format!("You are outside: no beacon answers ({n} questions)."),
            },
            Seen::BeaconInDoubt { evidence, rules } => {
                let doubts = evidence.iter().filter(|it| is_doubtful(it)).take(2);
                let doubts: Vec<String> = doubts.map(|it| self.doubt_seen(it)).collect();
                if doubts.is_empty() {
                    let all: Vec<&Evidence> = evidence.iter().collect();
                    self.testimony(&all, Some(*rules), false)
                } else {
                    doubts.join(" ")
                }
            }
            Seen::NoBeaconKnown => {
                "The policy names no beacon, so you always count as outside.".to_owned()
            }
            Seen::HostSet => "Routes and firewall are set.".to_owned(),
            Seen::HostNotSet => "Routes and firewall could not be set.".to_owned(),
            Seen::Enrolled => "This laptop is bound to a card.".to_owned(),
            Seen::NotEnrolled => "This laptop is bound to no card.".to_owned(),
            Seen::CardServes { kind, serial } => {
                format!("The card {} {} is in.", kind.name(), plain(serial))
            }
            Seen::CardSlow => "The card does not answer in time.".to_owned(),
            Seen::NoCard => "No reader holds a card.".to_owned(),
            Seen::NoCardService => "The smart card service (pcscd) does not answer.".to_owned(),
            Seen::CardUnusable { fault } => {
                format!("The card cannot be used: {}.", self.card_fault(*fault))
            }
            Seen::PinGiven => "The card has its PIN.".to_owned(),
            Seen::PinNeeded => "The card waits for its PIN.".to_owned(),
            Seen::PinBlocked => "The PIN is blocked.".to_owned(),
            Seen::FewTries { tries_left } => {
                format!("The card has its PIN. {}", self.tries_left(*tries_left))
            }
            Seen::GatewayHeard { endpoint } => format!("{} answers.", plain(&endpoint.name)),
            Seen::GatewayDetour { endpoint, silent } => format!(
                "{} answers, but UDP to {} gets no answer from this network.",
                plain(&endpoint.name),
                self.list(&names(silent))
            ),
            Seen::GatewaySilent { endpoints } => format!(
                "UDP to {} gets no answer from this network.",
                self.list(&names(endpoints))
            ),
            Seen::GatewayAwaited => {
                "The gateway was called a moment ago, and has not answered yet.".to_owned()
            }
            Seen::GatewayNotCalled { reason } => {
                format!("No tunnel is open: {}.", not_called(*reason))
            }
            Seen::HandshakeDone { age_ms } => {
                format!("The last handshake was {}.", self.ago(*age_ms))
            }
            Seen::HandshakeUnanswered { count } => format!(
                "The gateway's packets arrive, but {count} handshakes in a row went unanswered."
            ),
            Seen::PathWhole { path } => {
                format!("Packets of {} bytes arrive in one piece.", path.mtu)
            }
            Seen::PathShort { path } => format!(
                "Packets of {} bytes arrive, longer ones do not: the tunnel is set to that.",
                path.mtu
            ),
            Seen::PathTooNarrow { path } => format!(
                "Packets of {} bytes do not arrive: much of what you do will hang.",
                path.mtu
            ),
            Seen::PathUnknown => "The gateway answers no probe of long packets.".to_owned(),
            Seen::InternalNameResolved { name, addresses } => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!("{} is {}.", plain(name), self.list(&addresses))
            }
            Seen::InternalNameForeign { name, addresses } => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!(
                    "{} is {}, which is not internal.",
                    plain(name),
                    self.list(&addresses)
                )
            }
            Seen::InternalNameUnknown { name, fault } => format!(
                "{} could not be resolved, since {}.",
                plain(name),
                self.resolution_fault(*fault)
            ),
            Seen::NoInternalName => "The policy names no internal name to try.".to_owned(),
        }
    }

    fn cure(&self, seen: &Seen) -> Cure {
        match seen {
            Seen::NotRun { .. }
            | Seen::TunnelNotNeeded
            | Seen::DaemonRuns
            | Seen::LinkUp { .. }
            | Seen::AddressGiven { .. }
            | Seen::NoPortal
            | Seen::PortalNotLookedFor
            | Seen::ClockAgrees { .. }
            | Seen::ClockUnwitnessed
            | Seen::NameResolved { .. }
            | Seen::NoNameNeeded
            | Seen::ProvedInside { .. }
            | Seen::NoBeaconHere { .. }
            | Seen::NoBeaconKnown
            | Seen::HostSet
            | Seen::Enrolled
            | Seen::CardServes { .. }
            | Seen::PinGiven
            | Seen::GatewayHeard { .. }
            | Seen::GatewayAwaited
            | Seen::GatewayNotCalled { .. }
            | Seen::HandshakeDone { .. }
            | Seen::PathWhole { .. }
            | Seen::PathShort { .. }
            | Seen::PathUnknown
            | Seen::InternalNameResolved { .. }
            | Seen::NoInternalName => Cure::none(),
            Seen::DaemonSilent => Cure::both(
                "Restart the laptop; if it stays so, call the IT department.",
                "`systemctl status slussd` and `journalctl -u slussd` say why it does not run.",
            ),
            Seen::StoppedByUser => Cure::user(self.advice(&Advice::AllowTunnel)),
            Seen::OpenWifi { .. } => Cure::user("Take another network if there is one."),
            Seen::NoLink => Cure::user("Plug in a cable, or connect to a Wi-Fi."),
            Seen::NoRouter { .. } => Cure::both(
                "Disconnect from the network and connect again.",
                "Its DHCP server, or its router advertisements, give no default route.",
            ),
            Seen::OnlyLinkLocal { .. } | Seen::NoAddress { .. } => Cure::both(
                "Disconnect from the network and connect again; if it stays so, try another.",
                "Its DHCP server does not answer: see the switch port, its VLAN, and the pool.",
            ),
            Seen::PortalFound { .. } => Cure::user("`sluss portal` opens the page; log in there."),
            Seen::PortalOpen { .. } => Cure::user("Log in on the page."),
            Seen::PortalUnknown => Cure::it(
                "The `probe` in section [portal] of the policy should answer from everywhere.",
            ),
            Seen::ClockOff { .. } => Cure::both(
                "Set the laptop's clock right.",
                "If the clock is right, renew the beacon's certificate.",
            ),
            Seen::ClockDiffers { .. } => Cure::both(
                "See that the laptop's clock is right.",
                "The gateway takes no handshake that is older than the last one: `timedatectl` says who sets the clock.",
            ),
            Seen::ClockNotSet => Cure::both(
                "See that the laptop's clock is right.",
                "`timedatectl` says why; the tunnel needs a clock that does not go back.",
            ),
            Seen::NameByFallback { .. } => Cure::it(
                "Nothing to do unless it is so everywhere: then see the name in the public DNS.",
            ),
            Seen::NameNotResolved { name, .. } => Cure::both(
                "Try another network.",
                format!(
                    "Give the endpoint {} a `fallback` in the policy.",
                    plain(name)
                ),
            ),
            Seen::BeaconInDoubt { evidence, .. } => {
                match evidence.iter().find(|it| is_doubtful(it)) {
                    Some(doubted) => doubt_cure(doubted),
                    None => Cure::it(
                        "See `require` and `quorum` in section [location] of the policy, and the beacons that do not answer.",
                    ),
                }
            }
            Seen::HostNotSet => Cure::both(
                "Restart the laptop; if it stays so, call the IT department.",
                "`journalctl -u slussd` has what the kernel refused.",
            ),
            Seen::NotEnrolled => Cure::it("`sluss enroll` binds the laptop to a card."),
            Seen::CardSlow => Cure::user(
                "Close other programs that use the card, then pull it and put it in again.",
            ),
            Seen::NoCard => Cure::user(self.advice(&Advice::InsertCard)),
            Seen::NoCardService => Cure::it("`systemctl start pcscd.socket`."),
            Seen::CardUnusable { fault } => Cure::user(self.advice(&Advice::for_fault(*fault))),
            Seen::PinNeeded => Cure::user(self.advice(&Advice::Unlock)),
            Seen::PinBlocked => Cure::user(self.advice(&Advice::UnblockCard)),
            Seen::FewTries { .. } => {
                Cure::user("Give the right PIN once, and the count starts anew.")
            }
            Seen::GatewayDetour { .. } => {
                Cure::it("If many laptops say so, see whether that gateway runs.")
            }
            Seen::GatewaySilent { .. } => Cure::both(
                "Try another network, for instance your phone's.",
                "If it is so everywhere: does the gateway run, and does it know this laptop's public key (`sluss card`)?",
            ),
            Seen::HandshakeUnanswered { .. } => Cure::it(
                "Is the laptop still a peer of the gateway, and is its clock right? A gateway ignores handshakes older than the last.",
            ),
            Seen::PathTooNarrow { .. } => Cure::both(
                "Try another network.",
                "Something on the way drops packets of less than 1280 bytes; a lower `mtu` cannot cure that.",
            ),
            Seen::InternalNameForeign { .. } | Seen::InternalNameUnknown { .. } => Cure::it(
                "The laptop's resolver does not ask inside, or inside does not know the name: see `resolvectl status` and section [doctor] of the policy.",
            ),
        }
    }

    fn to_the_user(&self) -> &'static str {
        "You:"
    }

    fn to_it(&self) -> &'static str {
        "IT:"
    }

    fn doctor_summary(&self, failed: usize, warnings: usize) -> String {
        let checks = |n: usize| match n {
            1 => "1 check".to_owned(),
            n => format!("{n} checks"),
        };
        match (failed, warnings) {
            (0, 0) => "All is well.".to_owned(),
            (0, n) => format!("All works; {} to look at.", checks(n)),
            (failed, 0) => format!("{} failed.", checks(failed)),
            (failed, n) => format!("{} failed, and {} to look at.", checks(failed), checks(n)),
        }
    }

    fn support(&self, support: &Support) -> Vec<String> {
        let phone = support.phone.as_deref();
        let phone = phone.map(|it| format!("Call {}.", plain(it)));
        let web = support
            .web
            .as_deref()
            .map(|it| format!("See {}", plain(it)));
        let detour = support.detour.as_deref();
        let detour = detour.map(|it| format!("Until then: {}", plain(it)));
        [phone, web, detour].into_iter().flatten().collect()
    }
}

impl English {
    fn list(&self, names: &[String]) -> String {
        enumerate(names, "and", |n| format!("{n} others"))
    }

    fn addresses(&self, addresses: &[LinkAddress]) -> String {
        let addresses: Vec<String> = addresses
            .iter()
            .map(|it| format!("{} on {}", it.address, plain(&it.link)))
            .collect();
        format!("The laptop has {}", self.list(&addresses))
    }

    /// Without the cure, which stands on a line of its own.
    fn doubt_seen(&self, evidence: &Evidence) -> String {
        let on = format!("On {}", plain(&evidence.link));
        let beacon = named(evidence);
        match evidence.outcome {
            Outcome::Relayed { seen, own } => {
                let (from, own) = seen_and_own(seen, own);
                format!(
                    "{on} {beacon} sees the laptop as {from} instead of {own}: somebody relays, or translates addresses, in between, so you count as outside."
                )
            }
            outcome => format!(
                "{on} {beacon} {}, so you count as outside.",
                self.outcome(outcome)
            ),
        }
    }
}

fn doubt_cure(evidence: &Evidence) -> Cure {
    let beacon = plain(&evidence.beacon);
    match evidence.outcome {
        Outcome::Relayed { seen, .. } => Cure::it(format!(
            "If this is an office of yours, add {} to `nat` of the beacon {beacon} in the policy, or set up a beacon in this building. If not, this is an attack.",
            seen.ip()
        )),
        Outcome::WrongKey => Cure::it(format!(
            "If this is an office of yours, compare the key of {beacon} with `pins` in the policy (docs/beacon.md)."
        )),
        Outcome::Expired { .. } => Cure::both(
            "See that the laptop's clock is right.",
            format!("Renew the certificate of {beacon}."),
        ),
        Outcome::NotYetValid { .. } => Cure::both(
            "Set the laptop's clock right.",
            format!("If it is, look at the certificate of {beacon}."),
        ),
        Outcome::NotTls => Cure::it(format!(
            "Something else has the address of {beacon} here: another network, or a proxy on the way."
        )),
        Outcome::NotABeacon => Cure::it(format!(
            "If {beacon} is no sluss-beacon, say `kind = \"tls\"` in the policy."
        )),
        Outcome::Proved | Outcome::Refused | Outcome::Unreachable | Outcome::NoAnswer => {
            Cure::none()
        }
    }
}

fn is_doubtful(evidence: &Evidence) -> bool {
    !evidence.outcome.is_proof_or_silence()
}

fn names(endpoints: &[Endpoint]) -> Vec<String> {
    endpoints.iter().map(|it| plain(&it.name)).collect()
}

fn at(page: &PortalPage) -> String {
    match &page.login {
        Some(login) => format!(" ({})", plain(login)),
        None => String::new(),
    }
}

fn not_called(reason: DownReason) -> &'static str {
    match reason {
        DownReason::NotNeeded => "none is needed",
        DownReason::Deciding => "it is being found out where you are",
        DownReason::NoNetwork => "there is no network",
        DownReason::NoCard => "there is no card that serves",
        DownReason::KeyLocked => "the card waits for its PIN",
        DownReason::StoppedByUser => "you asked for none",
        DownReason::NotEnrolled => "the laptop is not enrolled",
        DownReason::DeviceFailed => "the tunnel device failed, and is tried again",
        DownReason::SocketFailed => "the network socket failed, and is tried again",
        DownReason::WorkerFailed => "a part of the daemon failed, and is tried again",
    }
}
