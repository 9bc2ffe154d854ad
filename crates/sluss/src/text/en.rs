//! What the command says in English.

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
use sluss_policy::Problem;

use super::{Advice, Help, Label, Span, Text, UsageError, amount, plain};

pub(crate) struct English;

impl Text for English {
    fn span(&self, ms: u64) -> String {
        match Span::of(ms) {
            Span::Seconds(1) => "1 second".to_owned(),
            Span::Seconds(n) => format!("{n} seconds"),
            Span::Minutes(n) => format!("{n} minutes"),
            Span::Hours(n) => format!("{n} hours"),
            Span::Days(n) => format!("{n} days"),
        }
    }

    fn ago(&self, ms: u64) -> String {
        format!("{} ago", self.span(ms))
    }

    fn bytes(&self, bytes: u64) -> String {
        amount(bytes, '.')
    }

    fn tunnel(&self, tunnel: Tunnel, gateway: Option<&Gateway>) -> String {
        let gateway = |word: &str| match gateway {
            Some(gateway) => format!("{word} to {}", plain(&gateway.name)),
            None => word.to_owned(),
        };
        let down = match tunnel {
            Tunnel::Up => return gateway("Connected"),
            Tunnel::Starting => return gateway("Connecting"),
            Tunnel::Stopping => return "Disconnecting".to_owned(),
            Tunnel::Down { reason } => reason,
        };
        match down {
            DownReason::NotNeeded => "No tunnel needed",
            DownReason::Deciding
            | DownReason::NoNetwork
            | DownReason::NoCard
            | DownReason::KeyLocked => "Not connected",
            DownReason::StoppedByUser => "Disconnected at your request",
            DownReason::NotEnrolled => "Not connected, since this laptop is not enrolled",
            DownReason::DeviceFailed => "Not connected, since the tunnel device failed",
            DownReason::SocketFailed => "Not connected, since the network socket failed",
            DownReason::WorkerFailed => "Not connected, since a part of the daemon failed",
        }
        .to_owned()
    }

    fn key(&self, key: Key) -> String {
        match key {
            Key::NoService => "no smart card service".to_owned(),
            Key::Absent => "no card".to_owned(),
            Key::Unusable { fault } => format!("card not usable ({})", self.card_fault(fault)),
            Key::Locked => "card present, PIN needed".to_owned(),
            Key::AwaitingPin => "card present, waiting for the PIN".to_owned(),
            Key::Declined => "card present, PIN not given".to_owned(),
            Key::Withdrawn => "card locked at your request".to_owned(),
            Key::Verifying => "card is checking the PIN".to_owned(),
            Key::Unlocked => "card present".to_owned(),
            Key::Blocked => "card blocked".to_owned(),
        }
    }

    fn card_fault(&self, fault: CardFault) -> &'static str {
        card::fault(fault)
    }

    fn key_mode(&self, mode: KeyMode, algorithm: Algorithm) -> String {
        card::key_mode(mode, algorithm)
    }

    fn on_the_reader(&self) -> &'static str {
        "typed on the reader"
    }

    fn intent(&self, intent: Intent) -> &'static str {
        match intent {
            Intent::Automatic => "a tunnel whenever one is needed",
            Intent::Stopped => "no tunnel until `sluss up`",
        }
    }

    fn host(&self, host: &Host) -> String {
        let mode = |mode: &HostMode| match mode {
            HostMode::Closed => "internal addresses closed".to_owned(),
            HostMode::Inside { link: Some(link) } => {
                format!("internal addresses by {} only", plain(link))
            }
            HostMode::Inside { link: None } => {
                "internal addresses by the verified link only".to_owned()
            }
            HostMode::Tunnelled => "internal addresses by the tunnel only".to_owned(),
        };
        match host {
            Host::Unknown => "not yet set".to_owned(),
            Host::Applying { mode: to } => format!("{} (being set)", mode(to)),
            Host::Applied { mode: to } => mode(to),
            Host::Failed { mode: to } => format!("{} (could not be set)", mode(to)),
        }
    }

    fn deadline(&self, Deadline { in_ms, reason }: Deadline) -> String {
        let what = match reason {
            DeadlineReason::NetworkSettled => "the search for the internal network begins",
            DeadlineReason::ProbeOverdue => "the search for the internal network is given up",
            DeadlineReason::ProbeAgain => "the internal network is searched for once more",
            DeadlineReason::PortalCheckOverdue => "the look for a login page is given up",
            DeadlineReason::PortalCheckDue => "it is seen whether the network still wants a login",
            DeadlineReason::PortalClosing => "the way to the login page closes",
            DeadlineReason::SleepOverdue => "the laptop counts as awake",
            DeadlineReason::PinCheckOverdue => "the card's answer to the PIN is given up",
            DeadlineReason::GraceOver => "the tunnel closes unless the card is back",
            DeadlineReason::TunnelStartOverdue => "the tunnel's start is given up",
            DeadlineReason::TunnelStopOverdue => "the tunnel is stopped once more",
            DeadlineReason::TunnelRetry => "the tunnel is tried again",
            DeadlineReason::HostOverdue => "setting routes and firewall is given up",
            DeadlineReason::HostRetry => "routes and firewall are set again",
        };
        format!("in {}, {what}", self.span(in_ms))
    }

    fn traffic(&self, traffic: &Traffic) -> String {
        let amounts = format!(
            "{} received, {} sent",
            self.bytes(traffic.received_bytes),
            self.bytes(traffic.sent_bytes)
        );
        let handshake = match traffic.handshake_age_ms {
            Some(age) => format!("last handshake {}", self.ago(age)),
            None => "no handshake yet".to_owned(),
        };
        match traffic.unanswered_handshakes {
            0 => format!("{amounts}, {handshake}"),
            n => format!("{amounts}, {handshake}, {n} unanswered since"),
        }
    }

    fn tries_left(&self, tries: u8) -> String {
        match tries {
            0 => "No PIN tries left.".to_owned(),
            1 => "One PIN try left: a wrong PIN blocks the card.".to_owned(),
            n => format!("{n} PIN tries left."),
        }
    }

    fn warning(&self, warning: Warning) -> &'static str {
        match warning {
            Warning::GatewaySilent => "The gateway does not answer.",
            Warning::CardSlow => {
                "The card does not answer in time. Another program may be using it."
            }
            Warning::CardMissed => "The card was pulled: put it back, or the tunnel closes.",
            Warning::LongPacketsLost => {
                "This network loses long packets: much of what you do will hang."
            }
            Warning::NameNotResolved => "No name of the gateway can be resolved here.",
            Warning::OpenWifi => {
                "This Wi-Fi has no password: others nearby can read what is not encrypted."
            }
            Warning::LinkFlapping => "A network link comes and goes.",
            Warning::HostNotApplied => "Routes and firewall could not be set.",
        }
    }

    fn no_warnings(&self) -> &'static str {
        "none"
    }

    fn advice(&self, advice: &Advice) -> String {
        match advice {
            Advice::InsertCard => "Put your card in the reader.".to_owned(),
            Advice::InsertOtherCard => "Put the card of this laptop in the reader.".to_owned(),
            Advice::Unlock => "Give the PIN with `sluss unlock`.".to_owned(),
            Advice::UnblockCard => "Have the card unblocked by those who issued it.".to_owned(),
            Advice::RenewCard => "Have the card renewed by those who issued it.".to_owned(),
            Advice::Reinsert => "Pull the card and put it in again.".to_owned(),
            Advice::CloseOtherProgram => "Close the program that uses the card.".to_owned(),
            Advice::StartCardService => {
                "The smart card service (pcscd) must be started.".to_owned()
            }
            Advice::AllowTunnel => "`sluss up` lets it connect again.".to_owned(),
            Advice::Enroll => {
                "The IT department must enrol this laptop (`sluss enroll`).".to_owned()
            }
            Advice::AskForHelp => "Show this to the IT department.".to_owned(),
            Advice::OtherNetwork => {
                "Try another network; if it is so everywhere, the gateway may not know this laptop."
                    .to_owned()
            }
        }
    }

    fn label(&self, label: Label) -> &'static str {
        match label {
            Label::Location => "Location",
            Label::Tunnel => "Tunnel",
            Label::Key => "Key",
            Label::Card => "Card",
            Label::PrivateKey => "Private key",
            Label::Holder => "Holder",
            Label::PinEntry => "PIN",
            Label::Tries => "PIN tries left",
            Label::Gateway => "Gateway",
            Label::Traffic => "Traffic",
            Label::Path => "Path",
            Label::Offload => "Offload",
            Label::Wish => "Wanted",
            Label::Host => "Host",
            Label::Evidence => "Evidence",
            Label::Next => "Next",
            Label::Warning => "Warning",
            Label::Version => "Version",
            Label::PublicKey => "Public key",
            Label::Files => "Files",
            Label::Prefixes => "Internal",
            Label::Beacons => "Beacons",
            Label::Mtu => "MTU",
            Label::Keepalive => "Keepalive",
            Label::Respond => "Gateway may call",
            Label::MayDisconnect => "User may disconnect",
            Label::KeyModes => "Keys",
            Label::AfterUse => "Card after use",
            Label::OnRemoval => "Pulled card",
            Label::Module => "PKCS#11 module",
            Label::Certificate => "Certificates",
            Label::HandOver => "PIN from login",
            Label::Link => "Network",
            Label::Endpoint => "Endpoint",
            Label::Portal => "Login page",
            Label::Proof => "Proof",
            Label::InternalName => "Internal name",
            Label::Support => "Support",
            Label::Metered => "Keepalive, metered",
            Label::LoginWait => "Login waits",
        }
    }

    fn no_reader_with_card(&self) -> &'static str {
        "No reader holds a card."
    }

    fn ask_pin(&self) -> &'static str {
        "PIN: "
    }

    fn ask_last_try(&self) -> &'static str {
        "Spend the last try? Type yes to go on: "
    }

    fn is_consent(&self, answer: &str) -> bool {
        answer.eq_ignore_ascii_case("yes")
    }

    fn type_on_reader(&self, reader: &str) -> String {
        format!("Type the PIN on the reader {}.", plain(reader))
    }

    fn no_pin(&self) -> &'static str {
        "No PIN was given; no try was spent."
    }

    fn already_unlocked(&self) -> &'static str {
        "The card is unlocked already."
    }

    fn unlocked(&self) -> &'static str {
        "The card is unlocked."
    }

    fn locked(&self) -> &'static str {
        "The card is locked and the keys are wiped."
    }

    fn still_not(&self, limit_ms: u64) -> String {
        format!("Not so after {}.", self.span(limit_ms))
    }

    fn policy_valid(&self) -> &'static str {
        "The policy is valid."
    }

    fn policy_problem(&self, problem: &Problem) -> String {
        problem.to_string()
    }

    fn cannot_read(&self, file: &str, error: &std::io::Error) -> String {
        format!("{} cannot be read: {error}", plain(file))
    }

    fn yes_or_no(&self, yes: bool) -> &'static str {
        if yes { "yes" } else { "no" }
    }

    fn refusal(&self, refusal: Refusal) -> String {
        card::refusal(self, refusal)
    }

    fn no_daemon(&self, error: &Error) -> String {
        match error {
            Error::NoDaemon { path, .. } => format!(
                "slussd does not run (nobody answers at {}).",
                path.display()
            ),
            Error::Impostor { path, uid } => {
                format!(
                    "{} belongs to user {uid} and not to slussd. Tell your IT department.",
                    path.display()
                )
            }
            Error::Closed | Error::Truncated => "slussd hung up.".to_owned(),
            Error::Silent => "slussd does not answer.".to_owned(),
            Error::Oversized { .. }
            | Error::Malformed { .. }
            | Error::TooLong { .. }
            | Error::NotASocket { .. }
            | Error::InUse { .. }
            | Error::Io(_) => format!("slussd cannot be talked to: {error}."),
        }
    }

    fn strange_answer(&self) -> &'static str {
        "slussd answered something that was not asked; its version may be another."
    }

    fn usage_error(&self, error: &UsageError) -> String {
        usage::usage_error(error)
    }

    fn help(&self, help: Help) -> &'static str {
        usage::help(help)
    }
}
