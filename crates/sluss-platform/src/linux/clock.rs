//! Time since boot, suspend included, and an alarm on that clock.
//!
//! By libc, not by raw system calls: the lab moves this clock under a running daemon.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{Expiration, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};
use tokio::io::unix::AsyncFd;

use crate::{Error, Result};

/// Time since boot (CLOCK_BOOTTIME): never set, never steps back, and goes on while the laptop sleeps.
pub fn boottime() -> Duration {
    now(ClockId::CLOCK_BOOTTIME)
}

/// Time since 1970-01-01 UTC as the machine believes it; may jump either way.
pub fn wall() -> Duration {
    now(ClockId::CLOCK_REALTIME)
}

fn now(clock: ClockId) -> Duration {
    Duration::from(clock_gettime(clock).expect("both clocks exist since Linux 2.6.39"))
}

/// Rings once at a moment of [`boottime`]; a moment that passed during suspend rings at resume.
pub struct Alarm {
    timer: AsyncFd<timer::Timer>,
    at: Option<Duration>,
}

impl Alarm {
    /// An alarm that is not set. Needs a tokio runtime.
    pub fn new() -> Result<Alarm> {
        let timer = timer::boottime().map_err(Error::system("make a boot-time timer"))?;
        Ok(Alarm { timer, at: None })
    }

    /// Moves the alarm, or turns it off. Setting it to what it is costs nothing.
    pub fn set(&mut self, at: Option<Duration>) -> Result<()> {
        if self.at == at {
            return Ok(());
        }
        let timer = &self.timer.get_ref().0;
        match at {
            // Zero would turn the timer off instead of ringing at once.
            Some(at) => timer.set(
                Expiration::OneShot(TimeSpec::from(at.max(Duration::from_nanos(1)))),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            ),
            None => timer.unset(),
        }
        .map_err(Error::system("set a timer"))?;
        self.at = at;
        Ok(())
    }

    /// Waits until the alarm rings; it is off afterwards. For ever when it is not set. Safe to cancel.
    pub async fn rang(&mut self) -> Result<()> {
        loop {
            let mut ready = self
                .timer
                .readable()
                .await
                .map_err(Error::system("wait for a timer"))?;
            // A timer that was moved after it became readable has nothing to read: then it has not rung.
            match ready.try_io(|timer| Ok(timer.get_ref().0.wait()?)) {
                Ok(rang) => {
                    self.at = None;
                    return rang.map_err(Error::system("read a timer"));
                }
                Err(_would_block) => {}
            }
        }
    }
}

/// A timer that tokio can wait for.
mod timer {
    #![allow(unsafe_code)]

    use std::io;
    use std::os::fd::{AsFd, AsRawFd, RawFd};

    use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    pub(super) struct Timer(pub(super) TimerFd);

    impl AsRawFd for Timer {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_fd().as_raw_fd()
        }
    }

    pub(super) fn boottime() -> io::Result<AsyncFd<Timer>> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = Timer(TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?);
        // SAFETY: `Timer` owns its descriptor, always names the same one, and closes it only when it is dropped.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) };
        Ok(timer?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_rings_once_and_not_before_its_time() {
        let mut alarm = Alarm::new().unwrap();
        let at = boottime() + Duration::from_millis(20);
        alarm.set(Some(at)).unwrap();
        alarm.rang().await.unwrap();
        assert!(boottime() >= at);
        assert!(!rings(&mut alarm).await, "it is off after it rang");
    }

    #[tokio::test]
    async fn a_moment_that_has_passed_rings_at_once() {
        let mut alarm = Alarm::new().unwrap();
        for past in [Duration::ZERO, boottime()] {
            alarm.set(Some(past)).unwrap();
            alarm.rang().await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_alarm_that_was_moved_or_turned_off_after_ringing_stays_silent() {
        let mut alarm = Alarm::new().unwrap();
        for later in [None, Some(boottime() + Duration::from_secs(3600))] {
            alarm.set(Some(boottime())).unwrap();
            // The runtime has heard it before it is moved.
            assert!(alarm.timer.readable().await.is_ok());
            alarm.set(later).unwrap();
            assert!(!rings(&mut alarm).await, "{later:?}");
        }
    }

    /// Whether it rings now, or within some turns of the runtime.
    async fn rings(alarm: &mut Alarm) -> bool {
        tokio::select! {
            biased;
            _ = alarm.rang() => true,
            () = async { for _ in 0..20 { tokio::task::yield_now().await } } => false,
        }
    }
}
