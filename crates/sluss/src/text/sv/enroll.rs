//! What `sluss enroll` says in Swedish.

use sluss_ipc::enroll::{EnrolmentFault, KeyFault};

use super::Swedish;
use crate::text::{Text as _, enroll::EnrollText};

impl EnrollText for Swedish {
    fn enrolment_fault(&self, fault: EnrolmentFault) -> String {
        match fault {
            EnrolmentFault::NoSuchCard => "Det kortet sitter inte i någon läsare.",
            EnrolmentFault::NoSuchKey => {
                "Kortet har ingen sådan nyckel. Se `sluss enroll --survey`."
            }
            EnrolmentFault::CannotMake => "Kortet kan inte skapa en sådan nyckel där.",
            EnrolmentFault::KeyExists => {
                "Där finns redan en nyckel, och den skulle gå förlorad. Säg --replace om den får göra det."
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
}
