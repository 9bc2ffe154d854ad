//! Where a tunnel's thread sleeps: poll(2) over what it waits for, an eventfd that wakes it, and a boot-time timer.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use sluss_tunnel::{Clock, Io, Readiness, Waiter, Waker};

use super::clock;
use super::tun::TunDevice;
use super::udp::UdpSocket;
use crate::{Error, Result};

/// All that a tunnel needs of Linux, from its device and its socket, which may outlive it.
///
/// # Errors
/// [`Error::System`] if there are no file descriptors left.
pub fn tunnel_io(tun: impl Into<Arc<TunDevice>>, udp: impl Into<Arc<UdpSocket>>) -> Result<Io> {
    let (tun, udp) = (tun.into(), udp.into());
    Ok(Io {
        outbound: Box::new(Poll::new(&tun, &udp)?),
        inbound: Box::new(Poll::new(&tun, &udp)?),
        clock: Arc::new(SystemClock),
        tun,
        udp,
    })
}

/// One thread's place to wait.
struct Poll {
    tun: Arc<TunDevice>,
    udp: Arc<UdpSocket>,
    bell: Arc<Bell>,
    alarm: TimerFd,
    /// What the alarm is set to, so that it is not set again for every sleep.
    alarm_at: Option<Duration>,
}

impl Poll {
    fn new(tun: &Arc<TunDevice>, udp: &Arc<UdpSocket>) -> Result<Poll> {
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(Error::system("make an eventfd"))?;
        let alarm = TimerFd::new(
            ClockId::CLOCK_BOOTTIME,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )
        .map_err(Error::system("make a boot-time timer"))?;
        Ok(Poll {
            tun: tun.clone(),
            udp: udp.clone(),
            bell: Arc::new(Bell(bell)),
            alarm,
            alarm_at: None,
        })
    }

    /// Sets the alarm, or turns it off. One that has rung is due again only after it was set again.
    fn set_alarm(&mut self, at: Option<Duration>) -> nix::Result<()> {
        if self.alarm_at != at {
            match at {
                // Zero would turn it off.
                Some(at) => self.alarm.set(
                    Expiration::OneShot(TimeSpec::from(at.max(Duration::from_nanos(1)))),
                    TimerSetTimeFlags::TFD_TIMER_ABSTIME,
                )?,
                None => self.alarm.unset()?,
            }
            self.alarm_at = at;
        }
        Ok(())
    }
}

impl Waiter for Poll {
    fn wait(&mut self, readiness: Readiness, deadline: Option<Duration>) -> io::Result<()> {
        self.set_alarm(deadline)?;
        let (source, interest) = match readiness {
            Readiness::TunReadable => (self.tun.as_fd(), PollFlags::POLLIN),
            Readiness::UdpReadable => (self.udp.as_fd(), PollFlags::POLLIN),
            Readiness::UdpWritable => (self.udp.as_fd(), PollFlags::POLLOUT),
        };
        let mut fds = [
            PollFd::new(source, interest),
            PollFd::new(self.bell.0.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.alarm.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [_, rung, due] = fds.map(|fd| fd.any().unwrap_or(false));
        if rung {
            // Nothing to read is fine: nobody else reads it, so it only means that it was read already.
            let _ = self.bell.0.read();
        }
        if due {
            self.alarm_at = None;
            let _ = self.alarm.wait();
        }
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Waker> {
        self.bell.clone()
    }
}

/// Wakes the thread that owns the other end.
struct Bell(EventFd);

impl Waker for Bell {
    fn wake(&self) {
        // It fails only when it has been rung 2^64 - 2 times without being heard.
        let _ = self.0.write(1);
    }
}

/// The clocks of [`clock`].
struct SystemClock;

impl Clock for SystemClock {
    fn boottime(&self) -> Duration {
        clock::boottime()
    }

    fn wall(&self) -> Duration {
        clock::wall()
    }
}
