//! The help, and what is said to a wrong command line, in English.

use crate::text::{Help, UsageError};

pub(super) fn usage_error(error: &UsageError) -> String {
    let what = match error {
        UsageError::NoCommand => "which command?".to_owned(),
        UsageError::Unknown {
            word,
            nearest: Some(nearest),
        } => {
            format!("'{word}' is not known, did you mean '{nearest}'?")
        }
        UsageError::Unknown {
            word,
            nearest: None,
        } => format!("'{word}' is not known."),
        UsageError::Missing { word } => format!("{word} is missing."),
        UsageError::BadValue { word, value } => format!("'{value}' is no value for {word}."),
        UsageError::Other { word } => format!("{word} cannot be used like that."),
    };
    format!("{what} See `sluss --help`.")
}

pub(super) fn help(help: Help) -> &'static str {
    match help {
        Help::Sluss => "The tunnel to the internal network: how it is, why, and what you may do",
        Help::Template => "{about}\n\nUsage: {usage}\n\n{all-args}{after-help}\n",
        Help::Commands => "Commands",
        Help::OneCommand => "COMMAND",
        Help::SomeOptions => "[OPTIONS]",
        Help::Options => "Options",
        Help::Arguments => "Arguments",
        Help::ExitCodes => {
            "Exit codes: 0 done, 1 not so, 2 wrong usage, 3 no daemon, 4 refused by policy"
        }
        Help::Socket => "Where the daemon listens",
        Help::Usage => "Print this help",
        Help::Version => "Print the version",
        Help::Status => "How things are, in one line first",
        Help::Verbose => "Everything that the daemon knows",
        Help::Check => "Exit with 0 only if the internal network is reached safely",
        Help::Why => "Why it is so: the evidence behind the last decision",
        Help::Doctor => "Every check from the network to an internal name, and what to do",
        Help::Portal => "Open the way to the network's login page, and the page in a browser",
        Help::PortalRenew => "Once more, when the time is over",
        Help::PortalAllPrograms => {
            "For all your programs, and not only for the browser that starts"
        }
        Help::Monitor => "One line for each change, until Ctrl-C",
        Help::Up => "Let the tunnel open whenever it is needed",
        Help::Down => "Shut the tunnel until `sluss up`, where policy allows it",
        Help::Wait => "Wait until it is so, 60 seconds unless told otherwise",
        Help::Unlock => "Give the card its PIN, asked for or read from standard input",
        Help::LastTry => "Spend the last try if need be; a wrong PIN then blocks the card",
        Help::Lock => "Shut the tunnel, wipe the keys, lock the card",
        Help::Card => "Readers, card, key, and PIN tries left",
        Help::Enroll => {
            "Bind this laptop to a card, and write the request for the gateway; by root"
        }
        Help::EnrollVerify => "Check a request, and print the section for the gateway",
        Help::EnrollSurvey => "Only look at the cards and their keys",
        Help::EnrollAddress => "Ours in the tunnel, such as 10.20.255.7/32; may be given again",
        Help::EnrollName => "What people call this laptop; otherwise its host name",
        Help::EnrollCard => "The card to take",
        Help::EnrollKey => "The key to take, such as openpgp:dec",
        Help::EnrollMake => "Make a new key on the card; needs its administrator's PIN or key",
        Help::EnrollReplace => {
            "A key or binding may be lost; the serial number is typed back, or given here"
        }
        Help::EnrollPresharedKey => "A WireGuard preshared key, as `wg genpsk` prints it",
        Help::EnrollOut => "Where the request is saved; otherwise in the current directory",
        Help::Address => "ADDRESS",
        Help::Name => "NAME",
        Help::Serial => "SERIAL",
        Help::KeyName => "KEY",
        Help::Agent => "Ask for the PIN when it is needed, and notify; runs in your session",
        Help::Pinentry => "The program that asks for the PIN",
        Help::Json => "For programs: JSON with a published schema",
        Help::Policy => "What the IT department has decided",
        Help::PolicyShow => "The policy in force",
        Help::PolicyCheck => "Check policy files; later ones override earlier ones",
        Help::PolicyFiles => "Policy files in TOML",
        Help::Path => "PATH",
        Help::File => "FILE",
        Help::Program => "PROGRAM",
        Help::Seconds => "SECONDS",
    }
}
