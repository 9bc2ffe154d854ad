//! Where the laptop is and why, in Swedish.

use sluss_ipc::{
    BeaconKind, DownReason, Endpoint, EndpointState, Evidence, Link, Location, LocationRules,
    Medium, Outcome, OutsideReason, Portal, Resolution, ResolutionFault, Tunnel, Warning, Why,
};

use super::Swedish;
use crate::text::{
    Text as _, on_links, plain,
    why::{
        WhyText, by_outcome, enumerate, host, moment, named, resolution_fault, seen_and_own,
        silent_for,
    },
};

impl WhyText for Swedish {
    fn whereabouts(&self, why: &Why) -> String {
        let since = why
            .location_age_ms
            .map_or_else(String::new, |age| format!(" sedan {}", self.span(age)));
        match &why.location {
            Location::Offline => "Det finns inget nätverk.".to_owned(),
            Location::Asleep => "Datorn är på väg in i eller ut ur viloläge.".to_owned(),
            Location::Settling if why.warnings.contains(&Warning::LinkFlapping) => {
                "En nätverkslänk kommer och går, och var du är avgörs när det har upphört."
                    .to_owned()
            }
            Location::Settling => {
                "Nätverket ändras, så det är ännu inte känt var du är.".to_owned()
            }
            Location::Probing => "Det undersöks om du är på det interna nätet.".to_owned(),
            Location::Inside {
                link: Some(link),
                beacon: Some(beacon),
            } => format!(
                "Du är på det interna nätet{since}: fyren {} bevisade det på {}.",
                plain(beacon),
                plain(link)
            ),
            Location::Inside { .. } => {
                format!("Du är på det interna nätet{since}, vilket en fyr bevisade.")
            }
            Location::Outside { reason, .. } => match reason {
                OutsideReason::NoBeacon => {
                    "Du räknas som utanför det interna nätet, eftersom policyn inte anger någon fyr som kan bevisa motsatsen."
                        .to_owned()
                }
                OutsideReason::NoProof => format!("Du är utanför det interna nätet{since}."),
                OutsideReason::WeakProof => format!(
                    "Du räknas som utanför det interna nätet{since}: en server bevisade sin nyckel, men policyn kräver en fyr, som också visar om någon finns emellan."
                ),
                OutsideReason::TooFewProofs { proved, needed } => format!(
                    "Du räknas som utanför det interna nätet{since}: {proved} av de {needed} fyrar som policyn kräver gav bevis."
                ),
                OutsideReason::NotConfirmed => format!(
                    "Du räknas som utanför det interna nätet{since}: en fyr gav bevis en gång, men sedan inte igen."
                ),
                OutsideReason::ProbeOverdue => format!(
                    "Du räknas som utanför det interna nätet{since}: sökningen efter fyrar blev inte klar i tid."
                ),
            },
        }
    }

    fn testimony(&self, evidence: &[&Evidence], rules: Option<LocationRules>, all: bool) -> String {
        let Some(first) = evidence.first() else {
            return String::new();
        };
        let groups = by_outcome(evidence);
        let silent = groups
            .iter()
            .all(|(outcome, _)| *outcome != Outcome::Proved);
        let clauses: Vec<String> = groups
            .iter()
            .map(|(outcome, group)| {
                let names: Vec<String> = group.iter().map(|it| named(it)).collect();
                let names = enumerate(&names, "och", |n| format!("{n} andra"));
                let did = match (outcome, rules) {
                    (Outcome::Proved, _) if group[0].kind == BeaconKind::Tls => {
                        "bevisade sin nyckel".to_owned()
                    }
                    (Outcome::NoAnswer, Some(rules)) => format!(
                        "svarade inte inom {}",
                        self.short_span(rules.probe_timeout_ms)
                    ),
                    (outcome, _) => self.outcome(*outcome),
                };
                format!("{names} {did}")
            })
            .collect();
        let nobody = if silent && all {
            " svarade ingen fyr"
        } else {
            ""
        };
        format!(
            "På {}{nobody}, {}: {}.",
            plain(&first.link),
            self.ago(first.age_ms),
            clauses.join(", ")
        )
    }

    fn doubt(&self, evidence: &Evidence) -> String {
        let beacon = named(evidence);
        let on = format!(
            "På {}, {},",
            plain(&evidence.link),
            self.ago(evidence.age_ms)
        );
        match evidence.outcome {
            Outcome::Relayed { seen, own } => {
                let (from, own) = seen_and_own(seen, own);
                format!(
                    "{on} bevisade {beacon} sin nyckel, men tillfrågades från {from} och inte från datorns {own}: någon vidarebefordrar, eller översätter adresser, på vägen. \
                     Är detta ett av era egna kontor, lägger IT till {} i `nat` för den fyren i policyn, eller sätter upp en fyr i byggnaden.",
                    seen.ip()
                )
            }
            Outcome::WrongKey => format!(
                "{on} visade någon på adressen för {beacon} en annan nyckel: det här är ett annat nät, eller så har fyren en ny nyckel som policyn inte anger ännu."
            ),
            Outcome::Expired {
                not_after_unix_s,
                clock_unix_s,
            } => format!(
                "{on} visade {beacon} ett certifikat som gällde till {}, medan datorns klocka visar {}: certifikatet måste förnyas, eller så går klockan fel.",
                moment(not_after_unix_s),
                moment(clock_unix_s)
            ),
            Outcome::NotYetValid {
                not_before_unix_s,
                clock_unix_s,
            } => format!(
                "{on} visade {beacon} ett certifikat som gäller från {}, medan datorns klocka visar {}: klockan går fel, eller så är certifikatet fel.",
                moment(not_before_unix_s),
                moment(clock_unix_s)
            ),
            Outcome::NotTls => {
                format!("{on} svarade något som inte är en fyr på adressen för {beacon}.")
            }
            Outcome::NotABeacon => format!(
                "{on} bevisade {beacon} sin nyckel, men talar inte som en fyr: det är kanske en annan server, som policyn måste kalla `kind = \"tls\"`."
            ),
            Outcome::Proved | Outcome::Refused | Outcome::Unreachable | Outcome::NoAnswer => {
                format!("{on}: {beacon} {}.", self.outcome(evidence.outcome))
            }
        }
    }

    fn and_more(&self, count: usize) -> String {
        format!("`sluss status -v` visar {count} svar till från fyrar.")
    }

    fn portal(&self, portal: &Portal) -> Option<String> {
        let on = |page: &Option<sluss_ipc::PortalPage>| {
            page.as_ref()
                .map_or_else(String::new, |page| format!(" på {}", plain(&page.link)))
        };
        let at = |page: &Option<sluss_ipc::PortalPage>| {
            page.as_ref()
                .map_or_else(String::new, |page| format!(": {}", plain(&page.url)))
        };
        Some(match portal {
            Portal::Absent => return None,
            Portal::Found {
                page,
                may_open: true,
            } => format!(
                "Nätverket{} kräver först en inloggning{}; `sluss portal` öppnar sidan.",
                on(page),
                at(page)
            ),
            Portal::Found {
                page,
                may_open: false,
            } => format!(
                "Nätverket{} kräver först en inloggning{}.",
                on(page),
                at(page)
            ),
            Portal::Open {
                page,
                left_ms,
                renewable,
            } => {
                let again = if *renewable {
                    " (en gång till med `sluss portal --renew`)"
                } else {
                    ""
                };
                format!(
                    "Nätverket{} kräver först en inloggning{}; vägen till sidan är öppen i {} till{again}.",
                    on(page),
                    at(page),
                    self.span(*left_ms)
                )
            }
        })
    }

    fn tunnel_anyway(&self) -> &'static str {
        "Policyn vill ha tunneln här ändå."
    }

    fn why_tunnel(&self, why: &Why) -> String {
        let to_gateway = match &why.gateway {
            Some(gateway) => format!(" till {}", plain(&gateway.name)),
            None => String::new(),
        };
        let down = match why.tunnel {
            Tunnel::Up => {
                let handshake = why.traffic.and_then(|traffic| traffic.handshake_age_ms);
                return match handshake {
                    Some(age) => format!(
                        "Tunneln{to_gateway} är öppen; dess senaste handskakning var {}.",
                        self.ago(age)
                    ),
                    None => format!("Tunneln{to_gateway} är öppen."),
                };
            }
            Tunnel::Starting => return format!("Tunneln{to_gateway} öppnas."),
            Tunnel::Stopping => return "Tunneln stängs.".to_owned(),
            Tunnel::Down { reason } => reason,
        };
        match down {
            DownReason::NotNeeded => "Därför behövs ingen tunnel.".to_owned(),
            DownReason::Deciding => "Tunneln förblir stängd tills det är känt.".to_owned(),
            DownReason::NoNetwork => "Därför är tunneln stängd.".to_owned(),
            DownReason::NoCard | DownReason::KeyLocked => {
                format!("Tunneln är stängd: {}.", self.key(why.key))
            }
            DownReason::StoppedByUser => {
                "Tunneln är stängd eftersom du bad om det (`sluss down`).".to_owned()
            }
            DownReason::NotEnrolled => {
                "Tunneln är stängd eftersom datorn inte är inskriven.".to_owned()
            }
            DownReason::DeviceFailed => {
                "Tunneln är stängd eftersom dess nätverksenhet inte kunde användas.".to_owned()
            }
            DownReason::SocketFailed => {
                "Tunneln är stängd eftersom dess nätverkssocket inte kunde användas.".to_owned()
            }
            DownReason::WorkerFailed => {
                "Tunneln är stängd eftersom en del av slussd inte fungerar.".to_owned()
            }
        }
    }

    fn silence(&self, silent: &Endpoint, instead: Option<&Endpoint>) -> Option<String> {
        let since = self.span(silent_for(silent)?);
        let name = plain(&silent.name);
        Some(match instead {
            Some(other) => format!(
                "UDP till {name} har inte fått svar från det här nätet på {since}, så {} används.",
                plain(&other.name)
            ),
            None => format!("UDP till {name} får inget svar från det här nätet, sedan {since}."),
        })
    }

    fn unresolved(&self, endpoint: &Endpoint) -> Option<String> {
        let fault = self.resolution_fault(resolution_fault(endpoint)?);
        let name = host(endpoint);
        Some(match endpoint.addresses.first() {
            Some(address) => format!(
                "Namnet {name} kunde inte slås upp här, eftersom {fault}; {}, som policyn anger för det fallet, används.",
                address.ip()
            ),
            None => format!("Namnet {name} kunde inte slås upp här, eftersom {fault}."),
        })
    }

    fn resolution_fault(&self, fault: ResolutionFault) -> String {
        match fault {
            ResolutionFault::NoResolver => "nätet inte anger någon namnserver".to_owned(),
            ResolutionFault::NoAnswer => "namnservern inte svarar".to_owned(),
            ResolutionFault::NoSuchName => "namnservern inte känner till namnet".to_owned(),
            ResolutionFault::NoAddress => {
                "namnservern inte känner till någon adress för det".to_owned()
            }
            ResolutionFault::ResolverFailed => "namnservern inte fungerar".to_owned(),
            ResolutionFault::Astray { to } => {
                format!("namnservern leder till {to}, där det inte kan vara")
            }
        }
    }

    fn outcome(&self, outcome: Outcome) -> String {
        match outcome {
            Outcome::Proved => "gav bevis".to_owned(),
            Outcome::Relayed { seen, .. } => {
                format!("bevisade sin nyckel, men tillfrågades från {}", seen.ip())
            }
            Outcome::WrongKey => "visade en annan nyckel".to_owned(),
            Outcome::Expired {
                not_after_unix_s, ..
            } => format!(
                "visade ett certifikat som gällde till {}",
                moment(not_after_unix_s)
            ),
            Outcome::NotYetValid {
                not_before_unix_s, ..
            } => format!(
                "visade ett certifikat som gäller från {}",
                moment(not_before_unix_s)
            ),
            Outcome::NotTls => "är ingen fyr".to_owned(),
            Outcome::NotABeacon => "bevisade sin nyckel, men talar inte som en fyr".to_owned(),
            Outcome::Refused => "nekade anslutningen".to_owned(),
            Outcome::Unreachable => "kunde inte nås".to_owned(),
            Outcome::NoAnswer => "svarade inte".to_owned(),
        }
    }

    fn link_medium(&self, link: &Link) -> String {
        format!("{} ({})", plain(&link.name), medium(link.medium))
    }

    fn link(&self, link: &Link) -> String {
        let mut words = vec![medium(link.medium).to_owned()];
        words.extend(link.metered.then(|| "med datakostnad".to_owned()));
        words.extend(link.addresses.iter().map(ToString::to_string));
        format!("{}: {}", plain(&link.name), words.join(", "))
    }

    fn endpoint(&self, endpoint: &Endpoint) -> String {
        let state = match endpoint.state {
            EndpointState::Idle => "rings inte upp".to_owned(),
            EndpointState::Calling => "rings upp".to_owned(),
            EndpointState::InUse => "används".to_owned(),
            EndpointState::Silent { age_ms } => format!("inget svar på {}", self.span(age_ms)),
        };
        let addresses: Vec<String> = endpoint
            .addresses
            .iter()
            .map(|address| address.ip().to_string())
            .collect();
        let addresses = addresses.join(", ");
        let way = match endpoint.resolution {
            Resolution::Literal => String::new(),
            Resolution::Pending => ", ännu inte uppslagen".to_owned(),
            Resolution::Resolved { age_ms } => {
                format!(", uppslagen till {addresses} {}", self.ago(age_ms))
            }
            Resolution::Fallback { fault, .. } => format!(
                ", {addresses} enligt policyn, eftersom {}",
                self.resolution_fault(fault)
            ),
            Resolution::Failed { fault, .. } => {
                format!(
                    ", inte uppslagen, eftersom {}",
                    self.resolution_fault(fault)
                )
            }
        };
        format!("{}: {state}{way}", plain(&endpoint.name))
    }

    fn metered(&self, link: &Link) -> String {
        format!(
            "{} har datakostnad: det som skickas där kan kosta.",
            plain(&link.name)
        )
    }

    fn location(&self, location: &Location) -> String {
        match location {
            Location::Offline => "inget nätverk".to_owned(),
            Location::Asleep => "i viloläge".to_owned(),
            Location::Settling => "nätverket ändras".to_owned(),
            Location::Probing => "söker efter det interna nätet".to_owned(),
            Location::Inside {
                link: Some(link),
                beacon: Some(beacon),
            } => {
                format!(
                    "innanför: {} bevisade det på {}",
                    plain(beacon),
                    plain(link)
                )
            }
            Location::Inside {
                link: Some(link),
                beacon: None,
            } => format!("innanför på {}", plain(link)),
            Location::Inside { link: None, .. } => "innanför".to_owned(),
            Location::Outside { reason, links } => {
                let on = on_links(links, "på", "och");
                match reason {
                    OutsideReason::NoBeacon => "utanför: policyn anger ingen fyr".to_owned(),
                    OutsideReason::NoProof => format!("utanför: ingen fyr{on}"),
                    OutsideReason::WeakProof => {
                        format!("utanför: en server{on}, men ingen fyr")
                    }
                    OutsideReason::TooFewProofs { proved, needed } => {
                        format!("utanför: {proved} av {needed} fyrar{on}")
                    }
                    OutsideReason::NotConfirmed => {
                        format!("utanför: en fyr svarade bara en gång{on}")
                    }
                    OutsideReason::ProbeOverdue => {
                        format!("utanför: sökningen{on} blev inte klar")
                    }
                }
            }
        }
    }
}

impl Swedish {
    /// Short enough that tenths of a second count.
    fn short_span(&self, ms: u64) -> String {
        match ms {
            0..10_000 if !ms.is_multiple_of(1_000) => {
                format!("{},{} sekunder", ms / 1_000, ms % 1_000 / 100)
            }
            _ => self.span(ms),
        }
    }
}

fn medium(medium: Medium) -> &'static str {
    match medium {
        Medium::Wired => "kabel",
        Medium::Wireless { open: false } => "trådlöst",
        Medium::Wireless { open: true } => "trådlöst utan lösenord",
        Medium::Mobile => "mobilt",
    }
}
