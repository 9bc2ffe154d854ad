//! What the command says in Swedish.

mod agent;
mod card;
mod doctor;
mod enroll;
mod path;
mod portal;
mod usage;
mod why;

use sluss_ipc::{
    Algorithm, CardFault, Deadline, DeadlineReason, DownReason, Error, Gateway, Host, HostMode,
    Intent, Key, KeyMode, Refusal, Traffic, Tunnel, Warning,
};
use sluss_policy::{Problem, ValueError};

use super::{Advice, Help, Label, Span, Text, UsageError, amount, plain};

pub(crate) struct Swedish;

impl Text for Swedish {
    fn span(&self, ms: u64) -> String {
        match Span::of(ms) {
            Span::Seconds(1) => "1 sekund".to_owned(),
            Span::Seconds(n) => format!("{n} sekunder"),
            Span::Minutes(n) => format!("{n} minuter"),
            Span::Hours(n) => format!("{n} timmar"),
            Span::Days(n) => format!("{n} dygn"),
        }
    }

    fn ago(&self, ms: u64) -> String {
        format!("för {} sedan", self.span(ms))
    }

    fn bytes(&self, bytes: u64) -> String {
        amount(bytes, ',')
    }

    fn tunnel(&self, tunnel: Tunnel, gateway: Option<&Gateway>) -> String {
        let gateway = |word: &str| match gateway {
            Some(gateway) => format!("{word} till {}", plain(&gateway.name)),
            None => word.to_owned(),
        };
        let down = match tunnel {
            Tunnel::Up => return gateway("Ansluten"),
            Tunnel::Starting => return gateway("Ansluter"),
            Tunnel::Stopping => return "Kopplar ner".to_owned(),
            Tunnel::Down { reason } => reason,
        };
        match down {
            DownReason::NotNeeded => "Ingen tunnel behövs",
            DownReason::Deciding
            | DownReason::NoNetwork
            | DownReason::NoCard
            | DownReason::KeyLocked => "Inte ansluten",
            DownReason::StoppedByUser => "Nerkopplad på din begäran",
            DownReason::NotEnrolled => "Inte ansluten, eftersom datorn inte är inskriven",
            DownReason::DeviceFailed => {
                "Inte ansluten, eftersom tunnelns nätverksenhet inte fungerar"
            }
            DownReason::SocketFailed => {
                "Inte ansluten, eftersom tunnelns nätverkssocket inte fungerar"
            }
            DownReason::WorkerFailed => "Inte ansluten, eftersom en del av slussd inte fungerar",
        }
        .to_owned()
    }

    fn key(&self, key: Key) -> String {
        match key {
            Key::NoService => "ingen kortläsartjänst".to_owned(),
            Key::Absent => "inget kort".to_owned(),
            Key::Unusable { fault } => {
                format!("kortet kan inte användas ({})", self.card_fault(fault))
            }
            Key::Locked => "kortet sitter i, PIN-kod behövs".to_owned(),
            Key::AwaitingPin => "kortet sitter i, väntar på PIN-koden".to_owned(),
            Key::Declined => "kortet sitter i, PIN-koden gavs inte".to_owned(),
            Key::Withdrawn => "kortet låst på din begäran".to_owned(),
            Key::Verifying => "kortet prövar PIN-koden".to_owned(),
            Key::Unlocked => "kortet sitter i".to_owned(),
            Key::Blocked => "kortet är spärrat".to_owned(),
        }
    }

    fn card_fault(&self, fault: CardFault) -> &'static str {
        card::fault(fault)
    }

    fn key_mode(&self, mode: KeyMode, algorithm: Algorithm) -> String {
        card::key_mode(mode, algorithm)
    }

    fn on_the_reader(&self) -> &'static str {
        "skrivs på läsaren"
    }

    fn intent(&self, intent: Intent) -> &'static str {
        match intent {
            Intent::Automatic => "en tunnel när den behövs",
            Intent::Stopped => "ingen tunnel förrän `sluss up`",
        }
    }

    fn host(&self, host: &Host) -> String {
        let mode = |mode: &HostMode| match mode {
            HostMode::Closed => "interna adresser stängda".to_owned(),
            HostMode::Inside { link: Some(link) } => {
                format!("interna adresser bara via {}", plain(link))
            }
            HostMode::Inside { link: None } => {
                "interna adresser bara via den bevisade länken".to_owned()
            }
            HostMode::Tunnelled => "interna adresser bara via tunneln".to_owned(),
        };
        match host {
            Host::Unknown => "ännu inte inställt".to_owned(),
            Host::Applying { mode: to } => format!("{} (ställs in)", mode(to)),
            Host::Applied { mode: to } => mode(to),
            Host::Failed { mode: to } => format!("{} (kunde inte ställas in)", mode(to)),
        }
    }

    fn deadline(&self, Deadline { in_ms, reason }: Deadline) -> String {
        let what = match reason {
            DeadlineReason::NetworkSettled => "börjar sökningen efter det interna nätet",
            DeadlineReason::ProbeOverdue => "avbryts sökningen efter det interna nätet",
            DeadlineReason::ProbeAgain => "söks det interna nätet en gång till",
            DeadlineReason::PortalCheckOverdue => "avbryts sökningen efter en inloggningssida",
            DeadlineReason::PortalCheckDue => "undersöks om nätet ännu begär inloggning",
            DeadlineReason::PortalClosing => "stängs vägen till inloggningssidan",
            DeadlineReason::SleepOverdue => "räknas datorn som vaken",
            DeadlineReason::PinCheckOverdue => "väntar ingen längre på kortets svar om PIN-koden",
            DeadlineReason::GraceOver => "stängs tunneln om kortet inte är tillbaka",
            DeadlineReason::TunnelStartOverdue => "ges tunnelns start upp",
            DeadlineReason::TunnelStopOverdue => "stoppas tunneln en gång till",
            DeadlineReason::TunnelRetry => "prövas tunneln igen",
            DeadlineReason::HostOverdue => "väntar ingen längre på rutter och brandvägg",
            DeadlineReason::HostRetry => "ställs rutter och brandvägg in igen",
        };
        format!("om {} {what}", self.span(in_ms))
    }

    fn traffic(&self, traffic: &Traffic) -> String {
        let amounts = format!(
            "{} mottaget, {} skickat",
            self.bytes(traffic.received_bytes),
            self.bytes(traffic.sent_bytes)
        );
        let handshake = match traffic.handshake_age_ms {
            Some(age) => format!("senaste handskakning {}", self.ago(age)),
            None => "ännu ingen handskakning".to_owned(),
        };
        match traffic.unanswered_handshakes {
            0 => format!("{amounts}, {handshake}"),
            n => format!("{amounts}, {handshake}, {n} obesvarade sedan dess"),
        }
    }

    fn tries_left(&self, tries: u8) -> String {
        match tries {
            0 => "Inga PIN-försök kvar.".to_owned(),
            1 => "Ett PIN-försök kvar: en felaktig PIN-kod spärrar kortet.".to_owned(),
            n => format!("{n} PIN-försök kvar."),
        }
    }

    fn warning(&self, warning: Warning) -> &'static str {
        match warning {
            Warning::GatewaySilent => "Tunnelns andra ände svarar inte.",
            Warning::CardSlow => "Kortet svarar inte i tid. Ett annat program kanske använder det.",
            Warning::CardMissed => "Kortet drogs ut: sätt tillbaka det, annars stängs tunneln.",
            Warning::LongPacketsLost => {
                "Det här nätet tappar långa paket: mycket av det du gör kommer att hänga sig."
            }
            Warning::NameNotResolved => "Inget namn på gatewayen kan slås upp här.",
            Warning::OpenWifi => {
                "Det här trådlösa nätet saknar lösenord: andra i närheten kan läsa det som inte är krypterat."
            }
            Warning::LinkFlapping => "En nätverkslänk kommer och går.",
            Warning::HostNotApplied => "Rutter och brandvägg kunde inte ställas in.",
        }
    }

    fn no_warnings(&self) -> &'static str {
        "inga"
    }

    fn advice(&self, advice: &Advice) -> String {
        match advice {
            Advice::InsertCard => "Sätt ditt kort i läsaren.".to_owned(),
            Advice::InsertOtherCard => "Sätt den här datorns kort i läsaren.".to_owned(),
            Advice::Unlock => "Ange PIN-koden med `sluss unlock`.".to_owned(),
            Advice::UnblockCard => "Be den som gav ut kortet att häva spärren.".to_owned(),
            Advice::RenewCard => "Be den som gav ut kortet att förnya det.".to_owned(),
            Advice::Reinsert => "Dra ut kortet och sätt i det igen.".to_owned(),
            Advice::CloseOtherProgram => "Stäng programmet som använder kortet.".to_owned(),
            Advice::StartCardService => "Kortläsartjänsten (pcscd) måste startas.".to_owned(),
            Advice::AllowTunnel => "`sluss up` låter den ansluta igen.".to_owned(),
            Advice::Enroll => {
                "IT-avdelningen behöver skriva in datorn (`sluss enroll`).".to_owned()
            }
            Advice::AskForHelp => "Visa det här för IT-avdelningen.".to_owned(),
            Advice::OtherNetwork => "Pröva ett annat nätverk; om det är så överallt, känner gatewayen kanske inte datorn.".to_owned(),
        }
    }

    fn label(&self, label: Label) -> &'static str {
        match label {
            Label::Location => "Plats",
            Label::Tunnel => "Tunnel",
            Label::Key => "Nyckel",
            Label::Card => "Kort",
            Label::PrivateKey => "Privat nyckel",
            Label::Holder => "Innehavare",
            Label::PinEntry => "PIN-kod",
            Label::Tries => "PIN-försök kvar",
            Label::Gateway => "Andra änden",
            Label::Traffic => "Trafik",
            Label::Path => "Väg",
            Label::Offload => "Avlastning",
            Label::Wish => "Önskat",
            Label::Host => "Datorn",
            Label::Evidence => "Bevis",
            Label::Next => "Härnäst",
            Label::Warning => "Varning",
            Label::Version => "Version",
            Label::PublicKey => "Publik nyckel",
            Label::Files => "Filer",
            Label::Prefixes => "Internt",
            Label::Beacons => "Fyrar",
            Label::Mtu => "MTU",
            Label::Keepalive => "Livstecken",
            Label::Respond => "Andra änden får ringa upp",
            Label::MayDisconnect => "Användaren får koppla ner",
            Label::KeyModes => "Nycklar",
            Label::AfterUse => "Kortet efter bruk",
            Label::OnRemoval => "Utdraget kort",
            Label::Module => "PKCS#11-modul",
            Label::Certificate => "Certifikat",
            Label::HandOver => "PIN-kod från inloggningen",
            Label::Link => "Nätverk",
            Label::Endpoint => "Väg dit",
            Label::Portal => "Inloggningssida",
            Label::Proof => "Bevis",
            Label::InternalName => "Internt namn",
            Label::Support => "Hjälp",
            Label::Metered => "Livstecken med datakostnad",
            Label::LoginWait => "Inloggningen väntar",
        }
    }

    fn no_reader_with_card(&self) -> &'static str {
        "Det sitter inget kort i någon läsare."
    }

    fn ask_pin(&self) -> &'static str {
        "PIN-kod: "
    }

    fn ask_last_try(&self) -> &'static str {
        "Använda det sista försöket? Skriv ja för att gå vidare: "
    }

    fn is_consent(&self, answer: &str) -> bool {
        answer.eq_ignore_ascii_case("ja")
    }

    fn type_on_reader(&self, reader: &str) -> String {
        format!("Skriv PIN-koden på läsaren {}.", plain(reader))
    }

    fn no_pin(&self) -> &'static str {
        "Ingen PIN-kod gavs; inget försök gick åt."
    }

    fn already_unlocked(&self) -> &'static str {
        "Kortet är redan upplåst."
    }

    fn unlocked(&self) -> &'static str {
        "Kortet är upplåst."
    }

    fn locked(&self) -> &'static str {
        "Kortet är låst och nycklarna är raderade."
    }

    fn still_not(&self, limit_ms: u64) -> String {
        format!("Inte klart efter {}.", self.span(limit_ms))
    }

    fn policy_valid(&self) -> &'static str {
        "Policyn är giltig."
    }

    fn policy_problem(&self, problem: &Problem) -> String {
        match problem {
            Problem::Syntax(parser) => format!("inte giltig TOML: {parser}"),
            Problem::UnknownKey {
                key,
                nearest: Some(nearest),
            } => {
                format!("okänd nyckel '{key}', menade du '{nearest}'?")
            }
            Problem::UnknownKey { key, nearest: None } => format!("okänd nyckel '{key}'"),
            Problem::Missing { key, example } => format!("'{key}' saknas, till exempel: {example}"),
            Problem::WrongType {
                key,
                expected: _,
                found: _,
                example,
            } => {
                format!("'{key}' har ett värde av fel slag; till exempel: {example}")
            }
            Problem::BadValue {
                key,
                reason,
                example,
            } => {
                format!(
                    "'{key}': {}; till exempel: {example}",
                    bad_value(self, reason)
                )
            }
            Problem::TooLarge { limit } => format!("filen är större än {limit} byte"),
            Problem::More(count) => format!("{count} fel till visas inte"),
        }
    }

    fn cannot_read(&self, file: &str, error: &std::io::Error) -> String {
        format!("{} kan inte läsas: {error}", plain(file))
    }

    fn yes_or_no(&self, yes: bool) -> &'static str {
        if yes { "ja" } else { "nej" }
    }

    fn refusal(&self, refusal: Refusal) -> String {
        card::refusal(self, refusal)
    }

    fn no_daemon(&self, error: &Error) -> String {
        match error {
            Error::NoDaemon { path, .. } => {
                format!("slussd är inte igång (ingen svarar på {}).", path.display())
            }
            Error::Impostor { path, uid } => {
                format!(
                    "{} tillhör användare {uid} och inte slussd. Meddela IT-avdelningen.",
                    path.display()
                )
            }
            Error::Closed | Error::Truncated => "slussd lade på.".to_owned(),
            Error::Silent => "slussd svarar inte.".to_owned(),
            Error::Oversized { .. }
            | Error::Malformed { .. }
            | Error::TooLong { .. }
            | Error::NotASocket { .. }
            | Error::InUse { .. }
            | Error::Io(_) => format!("Det går inte att tala med slussd: {error}."),
        }
    }

    fn strange_answer(&self) -> &'static str {
        "slussd svarade på något annat än frågan; dess version är kanske en annan."
    }

    fn usage_error(&self, error: &UsageError) -> String {
        usage::usage_error(error)
    }

    fn help(&self, help: Help) -> &'static str {
        usage::help(help)
    }
}

fn bad_value(text: &Swedish, reason: &ValueError) -> String {
    let span = |duration: &std::time::Duration| {
        text.span(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    };
    match reason {
        ValueError::UnknownSchema { found, known } => {
            format!("schema {found} är okänt, den här versionen läser schema {known}")
        }
        ValueError::NotBase64 => "inte base64".to_owned(),
        ValueError::WrongLength { expected, found } => {
            format!("{found} byte där {expected} behövs")
        }
        ValueError::ZeroKey => "en nyckel av nollor är ingen nyckel".to_owned(),
        ValueError::NotAPin => {
            "ett fingeravtryck är 'sha256:' (eller 'certificate:sha256:') och hashvärdet i base64"
                .to_owned()
        }
        ValueError::NotASocketAddress => "inte en utskriven adress med port".to_owned(),
        ValueError::NotAnEndpoint => "inte ett namn eller en adress med port".to_owned(),
        ValueError::NotAnAddress => "inte en adress".to_owned(),
        ValueError::NotAHostName => {
            "inte ett helt datornamn (RFC 1123): bokstäver a-z, siffror och bindestreck mellan punkter, \
             andra bokstäver i sin form med 'xn--'"
                .to_owned()
        }
        ValueError::NotAnHttpAddress => {
            "inte en http://-adress med dator och sökväg".to_owned()
        }
        ValueError::EncryptedProbe => {
            "en portal kan inte svara i stället för https, så den gick inte att skilja från ett dött nät: \
             ta en http://-adress"
                .to_owned()
        }
        ValueError::NoSuchBeacon { kind } => {
            format!("ingen fyr här är av slaget '{kind}', så ingen kunde vara på insidan")
        }
        ValueError::TooFewBeacons {
            site,
            found,
            quorum,
        } => {
            let site = site
                .as_ref()
                .map_or("platsen utan namn".to_owned(), |site| format!("platsen '{site}'"));
            format!("ingen kunde vara på insidan på {site}: fyrar som räknas där: {found}, det krävs: {quorum}")
        }
        ValueError::NotAHost => "inte adressen till en dator som kan nås".to_owned(),
        ValueError::NotAPrefix => "inte en adress med prefixlängd".to_owned(),
        ValueError::HostBits { network } => {
            format!("adressen har bitar bortom sitt prefix, nätet är {network}")
        }
        ValueError::NotInternal { prefix } => {
            format!("{prefix} innehåller adresser som inte är ett internt näts egna")
        }
        ValueError::NotADuration => "inte en tid med enhet (ms, s, m eller h)".to_owned(),
        ValueError::DurationOutOfRange { least, most } => {
            format!("måste ligga mellan {} och {}", span(least), span(most))
        }
        ValueError::OutOfRange { least, most } => format!("måste ligga mellan {least} och {most}"),
        ValueError::ShorterThan { than } => format!("får inte vara kortare än '{than}'"),
        ValueError::NotOneOf { words } => format!("måste vara något av {}", words.join(", ")),
        ValueError::NotAPath => "inte en absolut sökväg".to_owned(),
        ValueError::NotAnOid => "inte en objektidentifierare med punkter".to_owned(),
        ValueError::NotAKeyId => "inte namnet på en nyckel på ett kort".to_owned(),
        ValueError::OnlyWith { setting } => format!("betyder inget utan {setting}"),
        ValueError::PromptsAtEachRekey => "med 'pin' som \"ask\" skulle en nyckel som kortet självt håller kräva PIN-koden vid varje nyckelbyte, \
             ungefär 240 gånger om dagen: ta \"keep\", eller 'pin' som \"until-lock\", eller ta bort \"held\" ur 'modes'"
            .to_owned(),
        ValueError::Empty => "får inte vara tomt".to_owned(),
        ValueError::TooLong { limit } => format!("mer än {limit} tecken eller poster"),
        ValueError::ControlCharacter => "innehåller ett styrtecken".to_owned(),
        ValueError::Duplicate(what) => format!("'{what}' står där två gånger"),
    }
}
