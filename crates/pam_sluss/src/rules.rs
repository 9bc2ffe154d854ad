//! Which logins are of a person who sits at this laptop, and so may have their PIN handed over.

use std::fmt;

use crate::error::Error;

/// Services that run the stack without a person at the laptop, or for something else than a session of theirs.
const NEVER: &[&str] = &[
    "sudo",
    "sudo-i",
    "su",
    "su-l",
    "runuser",
    "runuser-l",
    "polkit-1",
    "pkexec",
    "doas",
    "sshd",
    "remote",
    "cockpit",
    "xrdp-sesman",
    "vsftpd",
    "cron",
    "crond",
    "atd",
    "at",
    "systemd-user",
    "systemd-run0",
];

/// What stands after the module's name in the stack.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// `services=login,gdm-smartcard`: only these, if given.
    services: Option<Vec<String>>,
    /// `debug`: says in the log why nothing was done.
    pub(crate) debug: bool,
}

impl Arguments {
    pub(crate) fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut arguments = Self::default();
        for word in words {
            match word.split_once('=') {
                None if word == "debug" => arguments.debug = true,
                Some(("services", names)) => {
                    arguments
                        .services
                        .get_or_insert_default()
                        .extend(names.split(',').map(|name| name.trim().to_owned()));
                }
                _ => return Err(Error::UnknownArgument(word.to_owned())),
            }
        }
        Ok(arguments)
    }
}

/// How somebody comes in, by PAM's items.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entrance<'a> {
    /// `PAM_SERVICE`.
    pub(crate) service: &'a str,
    /// `PAM_RHOST`.
    pub(crate) remote_host: Option<&'a str>,
    /// `PAM_TTY`; "ssh" and "cron" are what those services put there.
    pub(crate) terminal: Option<&'a str>,
}

/// Why a PIN is left alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reluctance {
    NeverThisService,
    NotAmongServices,
    FromAfar,
}

impl fmt::Display for Reluctance {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::NeverThisService => "no PIN is ever taken from this service",
            Self::NotAmongServices => "the argument services= does not name this service",
            Self::FromAfar => "the person is not at this laptop",
        })
    }
}

impl Entrance<'_> {
    /// Whether a PIN that was typed here may be handed over.
    pub(crate) fn admits(&self, arguments: &Arguments) -> Result<(), Reluctance> {
        let is_this = |name: &str| name.eq_ignore_ascii_case(self.service);
        let is_remote = |host: &str| !host.is_empty();
        if self.remote_host.is_some_and(is_remote) || self.terminal == Some("ssh") {
            Err(Reluctance::FromAfar)
        } else if NEVER.iter().copied().any(is_this) || self.terminal == Some("cron") {
            Err(Reluctance::NeverThisService)
        } else if arguments
            .services
            .as_ref()
            .is_some_and(|services| !services.iter().any(|name| is_this(name)))
        {
            Err(Reluctance::NotAmongServices)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Reluctance::*;

    fn entrance(service: &str) -> Entrance<'_> {
        Entrance {
            service,
            remote_host: None,
            terminal: None,
        }
    }

    #[test]
    fn who_may_come_in() {
        let all = || Arguments::default();
        let some = || Arguments::parse(["services=login,gdm-smartcard,sudo"]).unwrap();
        let from = |remote_host, terminal| Entrance {
            remote_host,
            terminal,
            ..entrance("login")
        };
        let table = [
            (entrance("login"), all(), Ok(())),
            (entrance("gdm-password"), all(), Ok(())),
            (entrance("swaylock"), all(), Ok(())),
            (entrance("sudo"), all(), Err(NeverThisService)),
            (entrance("su"), all(), Err(NeverThisService)),
            (entrance("su-l"), all(), Err(NeverThisService)),
            (entrance("sshd"), all(), Err(NeverThisService)),
            (entrance("SSHD"), all(), Err(NeverThisService)),
            (entrance("cron"), all(), Err(NeverThisService)),
            (entrance("crond"), all(), Err(NeverThisService)),
            (entrance("atd"), all(), Err(NeverThisService)),
            (entrance("runuser"), all(), Err(NeverThisService)),
            (entrance("polkit-1"), all(), Err(NeverThisService)),
            (entrance("systemd-user"), all(), Err(NeverThisService)),
            // the argument narrows, and never widens
            (entrance("login"), some(), Ok(())),
            (entrance("gdm-password"), some(), Err(NotAmongServices)),
            (entrance("sudo"), some(), Err(NeverThisService)),
            // display managers set an empty name for a person at the machine
            (from(Some(""), Some("tty1")), all(), Ok(())),
            (from(Some("192.0.2.7"), None), all(), Err(FromAfar)),
            (from(Some("localhost"), None), all(), Err(FromAfar)),
            (from(None, Some("ssh")), all(), Err(FromAfar)),
            (from(None, Some("cron")), all(), Err(NeverThisService)),
        ];
        for (entrance, arguments, verdict) in table {
            assert_eq!(
                entrance.admits(&arguments),
                verdict,
                "{entrance:?} {arguments:?}"
            );
        }
    }

    #[test]
    fn an_argument_with_a_typing_error_is_named() {
        for word in ["service=login", "services", "Debug", ""] {
            let refused = Arguments::parse(["debug", word]);
            assert!(matches!(refused, Err(Error::UnknownArgument(named)) if named == word));
        }
    }

    #[test]
    fn a_list_that_names_nobody_admits_nobody() {
        let nobody = Arguments::parse(["services="]).unwrap();
        assert_eq!(entrance("login").admits(&nobody), Err(NotAmongServices));
    }
}
