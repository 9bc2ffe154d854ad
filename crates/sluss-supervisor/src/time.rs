//! Time since boot, and deadlines that say what they are for.

use std::ops::Add;
use std::time::Duration;

/// CLOCK_BOOTTIME: counts on while the laptop sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    pub const fn since_boot(duration: Duration) -> Self {
        Self(duration)
    }

    pub const fn as_duration(self) -> Duration {
        self.0
    }

    /// Zero if `earlier` is in fact later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// When the supervisor wants its next turn at the latest, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    pub at: Time,
    pub reason: DeadlineReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeadlineReason {
    /// The network has been quiet for long enough, or restless for too long: probe it.
    NetworkSettled,
    /// The probe worker should have answered.
    ProbeOverdue,
    /// The laptop has just come to count as outside for want of proof: the beacons are asked once more.
    ProbeAgain,
    /// The portal check should have answered.
    PortalCheckOverdue,
    /// The user is being let through a captive portal, which is looked at again.
    PortalCheckDue,
    /// The user has been let through for long enough.
    PortalClosing,
    /// Sleep was announced and did not come, or it ended unannounced.
    SleepOverdue,
    /// The card should have answered to the PIN.
    PinCheckOverdue,
    /// The card was pulled and has not come back in time.
    GraceOver,
    /// The tunnel should have started.
    TunnelStartOverdue,
    /// The tunnel should have stopped.
    TunnelStopOverdue,
    /// The tunnel failed and is tried again.
    TunnelRetry,
    /// Routes and firewall should have been applied.
    HostOverdue,
    /// Applying routes and firewall failed and is tried again.
    HostRetry,
}
