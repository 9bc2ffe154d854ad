//! The help, and what is said to a wrong command line, in Swedish.

use crate::text::{Help, UsageError};

pub(super) fn usage_error(error: &UsageError) -> String {
    let what = match error {
        UsageError::NoCommand => "vilket kommando?".to_owned(),
        UsageError::Unknown {
            word,
            nearest: Some(nearest),
        } => {
            format!("'{word}' är okänt, menade du '{nearest}'?")
        }
        UsageError::Unknown {
            word,
            nearest: None,
        } => format!("'{word}' är okänt."),
        UsageError::Missing { word } => format!("{word} saknas."),
        UsageError::BadValue { word, value } => format!("'{value}' är inget värde för {word}."),
        UsageError::Other { word } => format!("{word} kan inte användas så."),
    };
    format!("{what} Se `sluss --help`.")
}

pub(super) fn help(help: Help) -> &'static str {
    match help {
        Help::Sluss => {
            "Tunneln till det interna nätet: hur det står till, varför, och vad du kan göra"
        }
        Help::Template => "{about}\n\nAnvändning: {usage}\n\n{all-args}{after-help}\n",
        Help::Commands => "Kommandon",
        Help::OneCommand => "KOMMANDO",
        Help::SomeOptions => "[FLAGGOR]",
        Help::Options => "Flaggor",
        Help::Arguments => "Argument",
        Help::ExitCodes => {
            "Slutkoder: 0 klart, 1 inte så, 2 fel användning, 3 slussd saknas, 4 policyn tillåter det inte"
        }
        Help::Socket => "Var slussd lyssnar",
        Help::Usage => "Visa den här hjälpen",
        Help::Version => "Visa versionen",
        Help::Status => "Hur det står till, på första raden",
        Help::Verbose => "Allt som slussd vet",
        Help::Check => "Slutkod 0 bara om det interna nätet nås på ett säkert sätt",
        Help::Why => "Varför det är så: bevisen bakom det senaste beslutet",
        Help::Doctor => "Varje kontroll från nätet till ett internt namn, och vad du kan göra",
        Help::Portal => "Öppna vägen till nätets inloggningssida, och sidan i en webbläsare",
        Help::PortalRenew => "En gång till, när tiden är ute",
        Help::PortalAllPrograms => {
            "För alla dina program, och inte bara för webbläsaren som startar"
        }
        Help::Monitor => "En rad för varje ändring, tills Ctrl-C",
        Help::Up => "Låt tunneln öppnas när den behövs",
        Help::Down => "Stäng tunneln tills `sluss up`, där policyn tillåter det",
        Help::Wait => "Vänta tills det är så, 60 sekunder om inget annat sägs",
        Help::Unlock => "Ge kortet PIN-koden, som efterfrågas eller läses från standard in",
        Help::LastTry => "Använd vid behov det sista försöket; fel PIN-kod spärrar då kortet",
        Help::Lock => "Stäng tunneln, radera nycklarna, lås kortet",
        Help::Card => "Läsare, kort, nyckel och kvarvarande PIN-försök",
        Help::Enroll => "Bind datorn till ett kort, och skriv ansökan till gatewayen; görs av root",
        Help::EnrollVerify => "Pröva en ansökan, och skriv ut avsnittet till gatewayen",
        Help::EnrollSurvey => "Titta bara på korten och deras nycklar",
        Help::EnrollAddress => "Vår adress i tunneln, som 10.20.255.7/32; kan anges flera gånger",
        Help::EnrollName => "Vad datorn kallas; annars dess värdnamn",
        Help::EnrollCard => "Kortet som ska användas",
        Help::EnrollKey => "Nyckeln som ska användas, som openpgp:dec",
        Help::EnrollMake => {
            "Skapa en ny nyckel på kortet; kräver administratörens PIN-kod eller nyckel"
        }
        Help::EnrollReplace => {
            "En nyckel eller bindning får gå förlorad; serienumret efterfrågas eller anges här"
        }
        Help::EnrollPresharedKey => {
            "En i förväg delad nyckel för WireGuard, som `wg genpsk` skriver den"
        }
        Help::EnrollOut => "Var ansökan sparas; annars i den aktuella katalogen",
        Help::Address => "ADRESS",
        Help::Name => "NAMN",
        Help::Serial => "SERIENUMMER",
        Help::KeyName => "NYCKEL",
        Help::Agent => "Fråga efter PIN-koden när den behövs, och avisera; körs i din session",
        Help::Pinentry => "Programmet som frågar efter PIN-koden",
        Help::Json => "För program: JSON med ett publicerat schema",
        Help::Policy => "Vad IT-avdelningen har bestämt",
        Help::PolicyShow => "Policyn som gäller",
        Help::PolicyCheck => "Pröva policyfiler; senare går före tidigare",
        Help::PolicyFiles => "Policyfiler i TOML",
        Help::Path => "SÖKVÄG",
        Help::File => "FIL",
        Help::Program => "PROGRAM",
        Help::Seconds => "SEKUNDER",
    }
}
