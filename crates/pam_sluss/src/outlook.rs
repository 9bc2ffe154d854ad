//! Whether it is worth waiting for the internal network, by what the daemon tells about itself.

use sluss_ipc::{Host, HostMode, Intent, Key, Location, Tunnel, What};

/// The state words of the daemon, as far as they have been told.
#[derive(Default)]
pub(crate) struct Outlook {
    location: Option<Location>,
    key: Option<Key>,
    tunnel: Option<Tunnel>,
    intent: Option<Intent>,
    host: Option<Host>,
}

/// What can be said about the internal network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// It can be reached.
    Reached,
    /// It will be, or may be.
    Open,
    /// It will not be, unless somebody does what nobody does during a login.
    Closed,
}

impl Outlook {
    pub(crate) fn note(&mut self, what: What) {
        match what {
            What::Location(location) => self.location = Some(location),
            What::Key(key) => self.key = Some(key),
            What::Tunnel(tunnel) => self.tunnel = Some(tunnel),
            What::Intent(intent) => self.intent = Some(intent),
            What::Host(host) => self.host = Some(host),
            What::Portal(_) | What::Warnings(_) => {}
        }
    }

    /// The prospect once the PIN has been handed over. Nothing is concluded from what has not been told yet.
    pub(crate) fn prospect(&self) -> Prospect {
        let (Some(location), Some(key), Some(tunnel), Some(intent), Some(host)) = (
            &self.location,
            self.key,
            self.tunnel,
            self.intent,
            &self.host,
        ) else {
            return Prospect::Open;
        };
        if is_reached(tunnel, host) {
            return Prospect::Reached;
        }
        let may_open = match location {
            // A Wi-Fi that its user's session joins must not be waited for before the session.
            Location::Offline | Location::Asleep => false,
            // It may turn out to be inside.
            Location::Settling | Location::Probing | Location::Inside { .. } => true,
            Location::Outside { .. } => intent == Intent::Automatic && may_compute(key),
        };
        if may_open {
            Prospect::Open
        } else {
            Prospect::Closed
        }
    }
}

/// A drive that is mounted on a verdict alone meets a firewall that is still shut.
fn is_reached(tunnel: Tunnel, host: &Host) -> bool {
    match host {
        Host::Applied {
            mode: HostMode::Inside { .. },
        } => true,
        Host::Applied {
            mode: HostMode::Tunnelled,
        } => tunnel == Tunnel::Up,
        Host::Applied {
            mode: HostMode::Closed,
        }
        | Host::Unknown
        | Host::Applying { .. }
        | Host::Failed { .. } => false,
    }
}

/// A PIN that was handed over is with the card, or was right. Otherwise it was refused, or not used at all.
fn may_compute(key: Key) -> bool {
    match key {
        Key::Verifying | Key::Unlocked => true,
        Key::NoService
        | Key::Absent
        | Key::Unusable { .. }
        | Key::Locked
        | Key::AwaitingPin
        | Key::Declined
        | Key::Withdrawn
        | Key::Blocked => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluss_ipc::{DownReason, OutsideReason};

    fn inside() -> Location {
        Location::Inside {
            link: None,
            beacon: None,
        }
    }

    fn outside() -> Location {
        Location::Outside {
            reason: OutsideReason::NoProof,
            links: Vec::new(),
        }
    }

    fn outlook(location: Location, key: Key, tunnel: Tunnel, mode: HostMode) -> Outlook {
        let mut outlook = Outlook::default();
        for what in [
            What::Location(location),
            What::Key(key),
            What::Tunnel(tunnel),
            What::Intent(Intent::Automatic),
            What::Host(Host::Applied { mode }),
            What::Warnings(Vec::new()),
        ] {
            outlook.note(what);
        }
        outlook
    }

    #[test]
    fn what_is_worth_a_wait() {
        let down = || Tunnel::Down {
            reason: DownReason::Deciding,
        };
        let closed = || HostMode::Closed;
        let by_link = || HostMode::Inside { link: None };
        let table = [
            (outside(), Key::Verifying, down(), closed(), Prospect::Open),
            (
                outside(),
                Key::Unlocked,
                Tunnel::Starting,
                closed(),
                Prospect::Open,
            ),
            (
                outside(),
                Key::Unlocked,
                Tunnel::Up,
                HostMode::Tunnelled,
                Prospect::Reached,
            ),
            // the handshake is through, the firewall not yet open
            (
                outside(),
                Key::Unlocked,
                Tunnel::Up,
                closed(),
                Prospect::Open,
            ),
            (inside(), Key::Locked, down(), by_link(), Prospect::Reached),
            (inside(), Key::Locked, down(), closed(), Prospect::Open),
            // where the laptop is, is not known yet: it needs no PIN if it is inside
            (
                Location::Probing,
                Key::Locked,
                down(),
                closed(),
                Prospect::Open,
            ),
            (
                Location::Settling,
                Key::Absent,
                down(),
                closed(),
                Prospect::Open,
            ),
            // the PIN was wrong, or not used
            (outside(), Key::Locked, down(), closed(), Prospect::Closed),
            (
                outside(),
                Key::AwaitingPin,
                down(),
                closed(),
                Prospect::Closed,
            ),
            (outside(), Key::Blocked, down(), closed(), Prospect::Closed),
            (outside(), Key::Absent, down(), closed(), Prospect::Closed),
            (
                Location::Offline,
                Key::Unlocked,
                down(),
                closed(),
                Prospect::Closed,
            ),
        ];
        for (location, key, tunnel, mode, prospect) in table {
            let case = format!("{location:?} {key:?} {tunnel:?} {mode:?}");
            assert_eq!(
                outlook(location, key, tunnel, mode).prospect(),
                prospect,
                "{case}"
            );
        }
    }

    #[test]
    fn a_tunnel_that_the_user_closed_is_not_waited_for() {
        let down = Tunnel::Down {
            reason: DownReason::StoppedByUser,
        };
        let mut outlook = outlook(outside(), Key::Unlocked, down, HostMode::Closed);
        outlook.note(What::Intent(Intent::Stopped));
        assert_eq!(outlook.prospect(), Prospect::Closed);
    }

    #[test]
    fn nothing_is_concluded_before_everything_is_told() {
        let mut outlook = Outlook::default();
        for what in [
            What::Location(Location::Offline),
            What::Key(Key::Blocked),
            What::Intent(Intent::Stopped),
        ] {
            outlook.note(what);
            assert_eq!(outlook.prospect(), Prospect::Open);
        }
    }
}
