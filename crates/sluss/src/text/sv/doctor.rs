//! What the doctor says in Swedish.

use sluss_ipc::doctor::{ClockWitness, LinkAddress, Seen, Support, Verdict};
use sluss_ipc::{DownReason, Endpoint, Evidence, Outcome, PortalPage};

use super::Swedish;
use crate::text::{
    Advice, Text as _,
    doctor::{Cure, DoctorText},
    plain,
    why::{WhyText as _, enumerate, moment, named, seen_and_own},
};

impl DoctorText for Swedish {
    fn verdict(&self, verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "varning",
            Verdict::Failed => "FEL",
            Verdict::NotApplicable | Verdict::NotRun => "-",
        }
    }

    fn seen(&self, seen: &Seen) -> String {
        match seen {
            Seen::NotRun { because } => {
                format!("Inte prövat, eftersom {} inte gick.", because.code())
            }
            Seen::TunnelNotNeeded => "Du är innanför, där ingen tunnel behövs.".to_owned(),
            Seen::DaemonRuns => "slussd är igång.".to_owned(),
            Seen::DaemonSilent => "slussd är inte igång, eller svarar inte.".to_owned(),
            Seen::StoppedByUser => {
                "slussd är igång, men du har bett om ingen tunnel (`sluss down`).".to_owned()
            }
            Seen::LinkUp { links } => {
                let links: Vec<String> = links.iter().map(|link| self.link_medium(link)).collect();
                format!("{}.", self.list(&links))
            }
            Seen::OpenWifi { links } => {
                let links: Vec<String> = links.iter().map(|link| plain(&link.name)).collect();
                format!(
                    "{} saknar lösenord: andra i närheten kan läsa det som inte är krypterat.",
                    self.list(&links)
                )
            }
            Seen::NoLink => "Ingen kabel och inget trådlöst nät är anslutet.".to_owned(),
            Seen::AddressGiven { addresses } => format!("{}.", self.addresses(addresses)),
            Seen::NoRouter { addresses } => {
                format!(
                    "{}, men nätet anger ingen router.",
                    self.addresses(addresses)
                )
            }
            Seen::OnlyLinkLocal { addresses } => format!(
                "{}, som datorn har hittat på själv: nätet gav den ingen.",
                self.addresses(addresses)
            ),
            Seen::NoAddress { links } => {
                let links: Vec<String> = links.iter().map(|link| plain(link)).collect();
                format!("Nätet på {} gav datorn ingen adress.", self.list(&links))
            }
            Seen::NoPortal => "Nätet kräver ingen inloggning.".to_owned(),
            Seen::PortalFound { page } => format!(
                "Nätet på {} kräver först en inloggning{}.",
                plain(&page.link),
                at(page)
            ),
            Seen::PortalOpen { page, left_ms } => format!(
                "Nätet på {} kräver först en inloggning; vägen till sidan är öppen i {} till.",
                plain(&page.link),
                self.span(*left_ms)
            ),
            Seen::PortalUnknown => {
                "Det går inte att säga om nätet kräver en inloggning: ingen svarar på frågan."
                    .to_owned()
            }
            Seen::PortalNotLookedFor => "Policyn anger ingen att fråga.".to_owned(),
            Seen::ClockAgrees { witness } => match witness {
                ClockWitness::Certificate => {
                    "Klockan stämmer med datumen i en fyrs certifikat.".to_owned()
                }
                ClockWitness::TimeService => "Systemets tidtjänst har ställt klockan.".to_owned(),
                ClockWitness::ProbeServer => "Klockan stämmer med portalfrågans server.".to_owned(),
            },
            Seen::ClockDiffers {
                clock_unix_s,
                server_unix_s,
            } => format!(
                "Klockan visar {}, och portalfrågans server säger {}. Det sades okrypterat, så det är ett tecken och inget bevis.",
                moment(*clock_unix_s),
                moment(*server_unix_s)
            ),
            Seen::ClockOff {
                clock_unix_s,
                certificate_unix_s,
            } => {
                let (clock, date) = (moment(*clock_unix_s), moment(*certificate_unix_s));
                let is_valid = match clock_unix_s < certificate_unix_s {
                    true => "gäller från",
                    false => "gällde till",
                };
                format!(
                    "Klockan visar {clock}, och en fyrs certifikat {is_valid} {date}: något av dem är fel."
                )
            }
            Seen::ClockNotSet => "Systemets tidtjänst har inte ställt klockan.".to_owned(),
            Seen::ClockUnwitnessed => "Här finns inget att jämföra klockan med.".to_owned(),
            Seen::NameResolved { name, addresses } => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!("{} är {}.", plain(name), self.list(&addresses))
            }
            Seen::NameByFallback { name, fault } => format!(
                "{} kunde inte slås upp, eftersom {}; policyns egna adresser används.",
                plain(name),
                self.resolution_fault(*fault)
            ),
            Seen::NameNotResolved { name, fault } => format!(
                "{} kunde inte slås upp, eftersom {}.",
                plain(name),
                self.resolution_fault(*fault)
            ),
            Seen::NoNameNeeded => "Policyn anger själv gatewayens adresser.".to_owned(),
            Seen::ProvedInside { evidence } => {
                let proofs: Vec<String> = evidence
                    .iter()
                    .filter(|it| it.outcome == Outcome::Proved)
                    .map(|it| format!("{} på {}", named(it), plain(&it.link)))
                    .collect();
                format!("Du är innanför: {} bevisade det.", self.list(&proofs))
            }
            Seen::NoBeaconHere { evidence } => match evidence.len() {
                0 => "Ingen fyr kunde tillfrågas.".to_owned(),
                1 => "Du är utanför: policyns fyr svarar inte.".to_owned(),
                n => format!("Du är utanför: ingen fyr svarar ({n} frågor)."),
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
                "Policyn anger ingen fyr, så du räknas alltid som utanför.".to_owned()
            }
            Seen::HostSet => "Rutter och brandvägg är inställda.".to_owned(),
            Seen::HostNotSet => "Rutter och brandvägg kunde inte ställas in.".to_owned(),
            Seen::Enrolled => "Datorn är bunden till ett kort.".to_owned(),
            Seen::NotEnrolled => "Datorn är inte bunden till något kort.".to_owned(),
            Seen::CardServes { kind, serial } => {
                format!("Kortet {} {} sitter i.", kind.name(), plain(serial))
            }
            Seen::CardSlow => "Kortet svarar inte i tid.".to_owned(),
            Seen::NoCard => "Det sitter inget kort i någon läsare.".to_owned(),
            Seen::NoCardService => "Kortläsartjänsten (pcscd) svarar inte.".to_owned(),
            Seen::CardUnusable { fault } => {
                format!("Kortet kan inte användas: {}.", self.card_fault(*fault))
            }
            Seen::PinGiven => "Kortet har fått sin PIN-kod.".to_owned(),
            Seen::PinNeeded => "Kortet väntar på sin PIN-kod.".to_owned(),
            Seen::PinBlocked => "PIN-koden är spärrad.".to_owned(),
            Seen::FewTries { tries_left } => format!(
                "Kortet har fått sin PIN-kod. {}",
                self.tries_left(*tries_left)
            ),
            Seen::GatewayHeard { endpoint } => format!("{} svarar.", plain(&endpoint.name)),
            Seen::GatewayDetour { endpoint, silent } => format!(
                "{} svarar, men UDP till {} får inget svar från det här nätet.",
                plain(&endpoint.name),
                self.list(&names(silent))
            ),
            Seen::GatewaySilent { endpoints } => format!(
                "UDP till {} får inget svar från det här nätet.",
                self.list(&names(endpoints))
            ),
            Seen::GatewayAwaited => {
                "Gatewayen ringdes nyss upp, och har inte svarat ännu.".to_owned()
            }
            Seen::GatewayNotCalled { reason } => {
                format!("Ingen tunnel är öppen: {}.", not_called(*reason))
            }
            Seen::HandshakeDone { age_ms } => {
                format!("Den senaste handskakningen var {}.", self.ago(*age_ms))
            }
            Seen::HandshakeUnanswered { count } => format!(
                "Gatewayens paket kommer fram, men {count} handskakningar i rad har förblivit utan svar."
            ),
            Seen::PathWhole { path } => {
                format!("Paket på {} byte kommer fram i ett stycke.", path.mtu)
            }
            Seen::PathShort { path } => format!(
                "Paket på {} byte kommer fram, längre gör det inte: tunneln är inställd på det.",
                path.mtu
            ),
            Seen::PathTooNarrow { path } => format!(
                "Paket på {} byte kommer inte fram: mycket av det du gör kommer att hänga sig.",
                path.mtu
            ),
            Seen::PathUnknown => "Gatewayen svarar inte på långa provpaket.".to_owned(),
            Seen::InternalNameResolved { name, addresses } => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!("{} är {}.", plain(name), self.list(&addresses))
            }
            Seen::InternalNameForeign { name, addresses } => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!(
                    "{} är {}, vilket inte är internt.",
                    plain(name),
                    self.list(&addresses)
                )
            }
            Seen::InternalNameUnknown { name, fault } => format!(
                "{} kunde inte slås upp, eftersom {}.",
                plain(name),
                self.resolution_fault(*fault)
            ),
            Seen::NoInternalName => "Policyn anger inget internt namn att pröva.".to_owned(),
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
                "Starta om datorn; ring IT-avdelningen om det inte hjälper.",
                "`systemctl status slussd` och `journalctl -u slussd` säger varför den inte är igång.",
            ),
            Seen::StoppedByUser => Cure::user(self.advice(&Advice::AllowTunnel)),
            Seen::OpenWifi { .. } => Cure::user("Ta ett annat nät om det finns något."),
            Seen::NoLink => Cure::user("Sätt i en kabel, eller anslut till ett trådlöst nät."),
            Seen::NoRouter { .. } => Cure::both(
                "Koppla från nätet och anslut igen.",
                "Nätets DHCP-server eller routerannonser anger ingen standardrutt.",
            ),
            Seen::OnlyLinkLocal { .. } | Seen::NoAddress { .. } => Cure::both(
                "Koppla från nätet och anslut igen; pröva ett annat om det inte hjälper.",
                "Nätets DHCP-server svarar inte: se switchporten, dess VLAN och adresspoolen.",
            ),
            Seen::PortalFound { .. } => Cure::user("`sluss portal` öppnar sidan; logga in där."),
            Seen::PortalOpen { .. } => Cure::user("Logga in på sidan."),
            Seen::PortalUnknown => {
                Cure::it("`probe` i avsnittet [portal] i policyn bör svara överallt ifrån.")
            }
            Seen::ClockOff { .. } => Cure::both(
                "Ställ datorns klocka.",
                "Går klockan rätt, förnya fyrens certifikat.",
            ),
            Seen::ClockDiffers { .. } => Cure::both(
                "Se efter att datorns klocka går rätt.",
                "Gatewayen tar ingen handskakning som är äldre än den senaste: `timedatectl` säger vem som ställer klockan.",
            ),
            Seen::ClockNotSet => Cure::both(
                "Se efter att datorns klocka går rätt.",
                "`timedatectl` säger varför; tunneln behöver en klocka som inte går bakåt.",
            ),
            Seen::NameByFallback { .. } => Cure::it(
                "Inget att göra om det inte är så överallt: se då namnet i den publika DNS:en.",
            ),
            Seen::NameNotResolved { name, .. } => Cure::both(
                "Pröva ett annat nät.",
                format!("Ge vägen {} en `fallback` i policyn.", plain(name)),
            ),
            Seen::BeaconInDoubt { evidence, .. } => {
                match evidence.iter().find(|it| is_doubtful(it)) {
                    Some(doubted) => doubt_cure(doubted),
                    None => Cure::it(
                        "Se `require` och `quorum` i avsnittet [location] i policyn, och fyrarna som inte svarar.",
                    ),
                }
            }
            Seen::HostNotSet => Cure::both(
                "Starta om datorn; ring IT-avdelningen om det inte hjälper.",
                "`journalctl -u slussd` har det som kärnan nekade.",
            ),
            Seen::NotEnrolled => Cure::it("`sluss enroll` binder datorn till ett kort."),
            Seen::CardSlow => Cure::user(
                "Stäng andra program som använder kortet, dra sedan ut det och sätt i det igen.",
            ),
            Seen::NoCard => Cure::user(self.advice(&Advice::InsertCard)),
            Seen::NoCardService => Cure::it("`systemctl start pcscd.socket`."),
            Seen::CardUnusable { fault } => Cure::user(self.advice(&Advice::for_fault(*fault))),
            Seen::PinNeeded => Cure::user(self.advice(&Advice::Unlock)),
            Seen::PinBlocked => Cure::user(self.advice(&Advice::UnblockCard)),
            Seen::FewTries { .. } => {
                Cure::user("Ange rätt PIN-kod en gång, så börjar räkningen om.")
            }
            Seen::GatewayDetour { .. } => {
                Cure::it("Säger många datorer så, se efter om den gatewayen är igång.")
            }
            Seen::GatewaySilent { .. } => Cure::both(
                "Pröva ett annat nät, till exempel telefonens.",
                "Är det så överallt: är gatewayen igång, och känner den datorns publika nyckel (`sluss card`)?",
            ),
            Seen::HandshakeUnanswered { .. } => Cure::it(
                "Känner gatewayen ännu datorn, och går datorns klocka rätt? En gateway bryr sig inte om handskakningar som är äldre än den senaste.",
            ),
            Seen::PathTooNarrow { .. } => Cure::both(
                "Pröva ett annat nät.",
                "Något på vägen kastar paket på mindre än 1280 byte; ett lägre `mtu` botar inte det.",
            ),
            Seen::InternalNameForeign { .. } | Seen::InternalNameUnknown { .. } => Cure::it(
                "Datorns namnserver frågar inte innanför, eller så är namnet okänt där: se `resolvectl status` och avsnittet [doctor] i policyn.",
            ),
        }
    }

    fn to_the_user(&self) -> &'static str {
        "Du:"
    }

    fn to_it(&self) -> &'static str {
        "IT:"
    }

    fn doctor_summary(&self, failed: usize, warnings: usize) -> String {
        let checks = |n: usize| match n {
            1 => "1 kontroll".to_owned(),
            n => format!("{n} kontroller"),
        };
        match (failed, warnings) {
            (0, 0) => "Allt är bra.".to_owned(),
            (0, n) => format!("Allt fungerar; {} att se på.", checks(n)),
            (failed, 0) => format!("{} gick inte.", checks(failed)),
            (failed, n) => format!("{} gick inte, och {} att se på.", checks(failed), checks(n)),
        }
    }

    fn support(&self, support: &Support) -> Vec<String> {
        let phone = support.phone.as_deref();
        let phone = phone.map(|it| format!("Ring {}.", plain(it)));
        let web = support.web.as_deref().map(|it| format!("Se {}", plain(it)));
        let detour = support.detour.as_deref();
        let detour = detour.map(|it| format!("Så länge: {}", plain(it)));
        [phone, web, detour].into_iter().flatten().collect()
    }
}

impl Swedish {
    fn list(&self, names: &[String]) -> String {
        enumerate(names, "och", |n| format!("{n} andra"))
    }

    fn addresses(&self, addresses: &[LinkAddress]) -> String {
        let addresses: Vec<String> = addresses
            .iter()
            .map(|it| format!("{} på {}", it.address, plain(&it.link)))
            .collect();
        format!("Datorn har {}", self.list(&addresses))
    }

    /// Without the cure, which stands on a line of its own.
    fn doubt_seen(&self, evidence: &Evidence) -> String {
        let on = plain(&evidence.link);
        let beacon = named(evidence);
        match evidence.outcome {
            Outcome::Relayed { seen, own } => {
                let (from, own) = seen_and_own(seen, own);
                format!(
                    "{beacon} ser datorn på {on} som {from} i stället för {own}: någon vidarebefordrar, eller översätter adresser, på vägen, så du räknas som utanför."
                )
            }
            outcome => format!(
                "{beacon} på {on} {}, så du räknas som utanför.",
                self.outcome(outcome)
            ),
        }
    }
}

fn doubt_cure(evidence: &Evidence) -> Cure {
    let beacon = plain(&evidence.beacon);
    match evidence.outcome {
        Outcome::Relayed { seen, .. } => Cure::it(format!(
            "Är detta ett av era egna kontor, lägg till {} i `nat` för fyren {beacon} i policyn, eller sätt upp en fyr i byggnaden. Annars är det ett angrepp.",
            seen.ip()
        )),
        Outcome::WrongKey => Cure::it(format!(
            "Är detta ett av era egna kontor, jämför nyckeln för {beacon} med `pins` i policyn (docs/beacon.md)."
        )),
        Outcome::Expired { .. } => Cure::both(
            "Se efter att datorns klocka går rätt.",
            format!("Förnya certifikatet för {beacon}."),
        ),
        Outcome::NotYetValid { .. } => Cure::both(
            "Ställ datorns klocka.",
            format!("Går den rätt, se på certifikatet för {beacon}."),
        ),
        Outcome::NotTls => Cure::it(format!(
            "Något annat har adressen för {beacon} här: ett annat nät, eller en proxy på vägen."
        )),
        Outcome::NotABeacon => Cure::it(format!(
            "Är {beacon} ingen sluss-beacon, ange `kind = \"tls\"` i policyn."
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
        DownReason::NotNeeded => "ingen behövs",
        DownReason::Deciding => "det undersöks var du är",
        DownReason::NoNetwork => "det finns inget nätverk",
        DownReason::NoCard => "det finns inget kort som duger",
        DownReason::KeyLocked => "kortet väntar på sin PIN-kod",
        DownReason::StoppedByUser => "du har bett om ingen",
        DownReason::NotEnrolled => "datorn är inte inskriven",
        DownReason::DeviceFailed => "tunnelns nätverksenhet fungerar inte, och prövas igen",
        DownReason::SocketFailed => "tunnelns nätverkssocket fungerar inte, och prövas igen",
        DownReason::WorkerFailed => "en del av slussd fungerar inte, och prövas igen",
    }
}
