//! What `sluss enroll` says in Swedish.

use std::io;

use sluss_ipc::{
    CardKind, KeyMode,
    enroll::{Bound, CandidateKey, Enrolled, EnrolmentFault, FoundKey, KeyFault},
};
use sluss_policy::{Signature, SignatureFault, Unsigned};

use super::Swedish;
use crate::{
    enroll::{Loss, Plan, Signed, Undecided},
    text::{
        Text as _,
        enroll::{EnrollText, in_groups, other_cards},
        plain,
    },
};

impl EnrollText for Swedish {
    fn enrolment_fault(&self, fault: EnrolmentFault) -> String {
        match fault {
            EnrolmentFault::NoSuchCard => "Det kortet sitter inte i någon läsare.",
            EnrolmentFault::NoSuchKey => {
                "Kortet har ingen sådan nyckel. Se `sluss enroll --survey`."
            }
            EnrolmentFault::CannotMake => "Kortet kan inte skapa en sådan nyckel där.",
            EnrolmentFault::KeyExists => {
                "Där finns redan en nyckel, eller så säger kortet inte om det gör det, och den skulle gå förlorad. Säg --replace om den får göra det."
            }
            EnrolmentFault::AlreadyBound => {
                "Datorn är bunden till en annan nyckel, och bindningen skulle gå förlorad. Säg --replace om den får göra det."
            }
            EnrolmentFault::Unfit { fault } => {
                return format!("Nyckeln duger inte: {}.", self.key_fault(fault));
            }
            EnrolmentFault::AdminPinNeeded => {
                "För att skapa en nyckel kräver kortet administratörens PIN-kod eller nyckel."
            }
            EnrolmentFault::WrongAdminPin {
                tries_left: Some(tries),
            } => {
                return format!(
                    "Fel PIN-kod för administratören. {}",
                    self.tries_left(tries)
                );
            }
            EnrolmentFault::WrongAdminPin { tries_left: None } => {
                "Fel PIN-kod eller nyckel för administratören."
            }
            EnrolmentFault::AdminPinBlocked => {
                "Administratörens PIN-kod är spärrad: kortet skapar inga fler nycklar."
            }
            EnrolmentFault::AdminPinFormat => {
                "Så ser administratörens PIN-kod eller nyckel inte ut; inget försök gick åt."
            }
            EnrolmentFault::BadName => "Datorn kan inte heta så.",
            EnrolmentFault::BadAddress => {
                "Det är inte en dators adress med prefixlängd, som 10.20.255.7/32."
            }
            EnrolmentFault::Unproven => {
                "Kortet räknar inte ut vad dess publika nyckel lovar; ingenting skrevs."
            }
            EnrolmentFault::PolicyFiles => {
                "En fil som policyn nämner för kort går inte att använda; slussds logg säger vilken och varför."
            }
            EnrolmentFault::NotWritten => {
                "slussd kunde inte spara sitt tillstånd; loggen säger varför. Det som gällde förut gäller än."
            }
        }
        .to_owned()
    }

    fn key_fault(&self, fault: KeyFault) -> String {
        match fault {
            KeyFault::Unsupported => "den är av ett slag som inte kan öppna en tunnel".to_owned(),
            KeyFault::Forbidden => "policyn tillåter inte sådana nycklar".to_owned(),
            KeyFault::Certificate { fault } => self.card_fault(fault).to_owned(),
        }
    }

    fn place(&self, key: &CandidateKey) -> String {
        let made = || key.makes.first().map(|made| made.name());
        match (&key.found, made()) {
            (
                FoundKey::Fit {
                    mode,
                    algorithm,
                    subject,
                    signs: _,
                },
                _,
            ) => {
                let how = match mode {
                    KeyMode::Held => "kan hålla tunnelns nyckel",
                    KeyMode::Sealed => "tunnelns nyckel kan förseglas till den",
                };
                let whose = subject
                    .as_deref()
                    .map(|subject| format!(", {}", plain(subject)));
                format!("{}, {how}{}", algorithm.name(), whose.unwrap_or_default())
            }
            (FoundKey::Unfit { fault }, _) => format!("duger inte: {}", self.key_fault(*fault)),
            (FoundKey::Empty, Some(made)) => format!("ingen nyckel; {made} kan skapas (--make)"),
            (FoundKey::Empty, None) => "ingen nyckel".to_owned(),
        }
    }

    fn bound(&self, bound: Option<&Bound>) -> String {
        match bound {
            Some(bound) => format!(
                "Datorn är bunden till kort {}, nyckel {}, med {}.",
                plain(&bound.serial),
                plain(&bound.key),
                plain(&bound.addresses.join(" och "))
            ),
            None => "Datorn är inte bunden till något kort.".to_owned(),
        }
    }

    fn undecided(&self, undecided: &Undecided<'_>) -> String {
        match undecided {
            Undecided::NoCard([]) => {
                "Det finns inget kort i någon läsare som skulle duga.".to_owned()
            }
            Undecided::NoCard(others) => format!(
                "Det finns inget kort i någon läsare som skulle duga. {}.",
                other_cards(others, self)
            ),
            Undecided::NoSuchCard => "Det kortet sitter inte i någon läsare.".to_owned(),
            Undecided::NoSuchKey => "Kortet har ingen sådan nyckel.".to_owned(),
            Undecided::SeveralCards(serials) => format!(
                "Det finns flera kort: ta ut alla utom ett, eller säg vilket med --card: {}",
                plain(&serials.join(", "))
            ),
            Undecided::CouldMake(plan) => format!(
                "Kortet {} har ännu ingen nyckel för tunneln. Säg --make för att skapa en.",
                plain(&plan.card.serial)
            ),
            Undecided::Unfit(faults) if faults.is_empty() => {
                "Kortet har ingen nyckel för tunneln och kan inte skapa någon.".to_owned()
            }
            Undecided::Unfit(faults) => {
                let faults = faults
                    .iter()
                    .map(|(key, fault)| format!("{}: {}", plain(key), self.key_fault(*fault)));
                let faults: Vec<String> = faults.collect();
                format!("Ingen av kortets nycklar duger: {}.", faults.join("; "))
            }
            Undecided::CannotMake => {
                "Kortet kan inte skapa någon nyckel som policyn tillåter.".to_owned()
            }
        }
    }

    fn plan(&self, plan: &Plan<'_>) -> String {
        let card = format!(
            "{}-kort {} i {}",
            plan.card.kind.name(),
            plain(&plan.card.serial),
            plain(&plan.card.reader)
        );
        let verb = if plan.make { "ny nyckel" } else { "nyckel" };
        format!(
            "{card}: {verb} {}, {}",
            plain(&plan.key.id),
            self.key_mode(plan.mode, plan.algorithm)
        )
    }

    fn ask_make(&self, plan: &Plan<'_>) -> String {
        format!(
            "Kortet {} har ännu ingen nyckel för tunneln. Skapa en ({})? [ja/nej] ",
            plain(&plan.card.serial),
            plan.algorithm.name()
        )
    }

    fn loss(&self, loss: Loss<'_>) -> String {
        match loss {
            Loss::Key(serial) => format!(
                "Nyckeln som nu finns på kort {} går förlorad för alltid; utan --make används den som den är.",
                plain(serial)
            ),
            Loss::Binding(serial) => format!(
                "Datorn är bunden till kort {}; det kommer inte att öppna tunneln längre.",
                plain(serial)
            ),
        }
    }

    fn ask_serial(&self) -> &'static str {
        "Skriv det kortets serienummer, om det är vad du vill: "
    }

    fn other_serial(&self) -> &'static str {
        "Det är inte dess serienummer. Ingenting har ändrats."
    }

    fn say_replace(&self, serial: &str) -> String {
        format!(
            "Ingenting har ändrats. Säg --replace={} för att gå vidare",
            plain(serial)
        )
    }

    fn ask_address(&self) -> &'static str {
        "Datorns adress i tunneln, som 10.20.255.7/32: "
    }

    fn no_address(&self) -> &'static str {
        "Vilken adress har datorn i tunneln? Säg --address."
    }

    fn no_preshared_key(&self, file: &str) -> String {
        format!(
            "{}: det är ingen i förväg delad nyckel, som `wg genpsk` skapar.",
            plain(file)
        )
    }

    fn ask_admin_pin(&self, kind: CardKind) -> Option<&'static str> {
        match kind {
            CardKind::OpenPgp => Some("Kortets PIN-kod för administratören (PW3): "),
            CardKind::Piv => Some("Kortets administratörsnyckel, hexadecimalt: "),
            CardKind::Pkcs11 => None,
        }
    }

    fn enrolled(&self, enrolled: &Enrolled) -> String {
        let signed = match enrolled.signed {
            true => "Kortet har skrivit under ansökan.",
            false => {
                "Kortet kunde inte skriva under ansökan: lämna den så att ingen kan ändra den på vägen, eller läs upp den publika nyckeln för administratören."
            }
        };
        format!("Datorn är bunden till kortet. {signed}")
    }

    fn saved(&self, file: &str) -> String {
        format!(
            "Ansökan är sparad som {}. Skicka den till gatewayens administratör.",
            plain(file)
        )
    }

    fn cannot_save(&self, file: &str, error: &io::Error) -> String {
        format!(
            "Datorn är bunden, men ansökan kan inte sparas som {}: {error}. Ge samma kommando igen med --out.",
            plain(file)
        )
    }

    fn verified(&self, signed: &Signed<'_>) -> String {
        let request = &signed.request.request;
        let card = &request.card;
        let mode = match card.mode {
            sluss_policy::KeyMode::Held => "i kortet",
            sluss_policy::KeyMode::Sealed => "förseglad till kortet",
        };
        let mut lines = vec![
            format!(
                "Ansökan från {}, gjord {}",
                plain(&request.device),
                request.made
            ),
            format!(
                "Kort {}, nyckel {} ({}, {mode})",
                plain(&card.serial),
                plain(&card.key),
                plain(&card.algorithm),
            ),
        ];
        if let Some(certificate) = &card.certificate {
            lines.push(format!(
                "Certifikat för {} (se själv efter om du litar på dess utfärdare)",
                plain(&certificate.subject)
            ));
        }
        lines.push(match (&signed.signer, &signed.request.signature) {
            (Some(signer), _) => format!(
                "Underskriven med kortets nyckel, SHA-256 {}",
                in_groups(&signer.fingerprint)
            ),
            (None, Signature::Absent(Unsigned::X25519)) => {
                "INTE UNDERSKRIVEN, eftersom en X25519-nyckel inte kan skriva under: jämför den publika nyckeln med datorns.".to_owned()
            }
            (None, Signature::Absent(Unsigned::Refused) | Signature::Present { .. }) => {
                "INTE UNDERSKRIVEN, eftersom kortet inte låter nyckeln skriva under: jämför den publika nyckeln med datorns.".to_owned()
            }
        });
        lines.join("\n") + "\n"
    }

    fn signature_fault(&self, fault: SignatureFault) -> &'static str {
        match fault {
            SignatureFault::Wrong => {
                "Underskriften är FEL: ansökan har ändrats, eller någon annan har skrivit under. Använd den inte."
            }
            SignatureFault::OtherCertificate => {
                "Certifikatet gäller inte nyckeln som har skrivit under, eller någon annan person. Använd inte ansökan."
            }
        }
    }
}
