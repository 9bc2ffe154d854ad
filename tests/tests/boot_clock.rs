//! The lab's boot clock jumps as a laptop's does over a night's sleep: clock and timers, and nothing else.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::clock_gettime;
use sluss_tests::boot_clock::BootClock;
use sluss_tests::netns::Netns;
use sluss_tests::{trial, trials};

/// Set for the child that lives by the clock.
const SLEEPER: &str = "SLUSS_SLEEPER";
const NIGHT: i64 = 8 * 3600;

fn main() -> ExitCode {
    if let Ok(timer) = std::env::var(SLEEPER) {
        return sleep(&timer).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    trials::main(&[
        trial!(timers_ring_after_a_jump),
        trial!(timers_of_the_future_do_not_ring),
    ])
}

fn timers_ring_after_a_jump() -> Result<()> {
    for timer in ["absolute", "relative"] {
        let started = Instant::now();
        let told = night(timer)?;
        let [boot, monotonic] = told[..] else {
            anyhow::bail!("{told:?}")
        };
        ensure!(
            (NIGHT..NIGHT + 10).contains(&boot),
            "{timer}: {boot} s passed by the boot clock"
        );
        ensure!(
            monotonic < 10,
            "{timer}: {monotonic} s passed by the monotonic clock"
        );
        ensure!(started.elapsed() < Duration::from_secs(10));
    }
    Ok(())
}

fn timers_of_the_future_do_not_ring() -> Result<()> {
    // One that is due a second after the jump: it rings when that second is over.
    let started = Instant::now();
    night("later")?;
    ensure!(
        started.elapsed() >= Duration::from_secs(1),
        "rang after {:?}",
        started.elapsed()
    );
    Ok(())
}

/// Starts a child that arms a timer, lets a night pass, and gives the seconds that passed by its clocks.
fn night(timer: &str) -> Result<Vec<i64>> {
    let mut clock = BootClock::new(Path::new("/run"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .env(SLEEPER, timer)
        .envs(clock.environment()?)
        .stdout(Stdio::piped());
    let mut child = Netns::own("own")?.spawn(&mut command)?;
    let mut lines = BufReader::new(child.child().stdout.take().context("standard output")?).lines();
    ensure!(lines.next().context("armed")?? == "armed");
    clock.jump(Duration::from_secs(NIGHT.unsigned_abs()))?;
    lines.map(|line| Ok(line?.parse()?)).collect()
}

fn sleep(timer: &str) -> Result<()> {
    let boot = nix::time::ClockId::CLOCK_BOOTTIME;
    let monotonic = nix::time::ClockId::CLOCK_MONOTONIC;
    let started = (clock_gettime(boot)?, clock_gettime(monotonic)?);
    let bell = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::empty())?;
    let hour = TimeSpec::seconds(3600);
    let (flags, at) = match timer {
        "relative" => (TimerSetTimeFlags::empty(), hour),
        "absolute" => (TimerSetTimeFlags::TFD_TIMER_ABSTIME, started.0 + hour),
        _ => (
            TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            started.0 + TimeSpec::seconds(NIGHT + 1),
        ),
    };
    bell.set(Expiration::OneShot(at), flags)?;
    println!("armed");
    bell.wait()?;
    println!("{}", (clock_gettime(boot)? - started.0).num_seconds());
    println!("{}", (clock_gettime(monotonic)? - started.1).num_seconds());
    Ok(())
}
