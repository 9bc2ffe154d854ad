//! What a process has used so far: CPU time to the nanosecond, memory, and how often it was woken.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::ClockId;
use nix::unistd::Pid;

/// CPU time of all threads of a process, in it and in the kernel, to the nanosecond; `stat` has it in ticks of 10 ms.
///
/// The kernel counts here what it does on a process's behalf inside its system calls. That is nearly all of a virtual
/// cable: the sender's call carries a datagram to the receiver's socket, the write to a TUN device carries a packet up to
/// the socket of the application.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid)?))?;
    Ok(clock.now()?.into())
}

/// Memory that a process has, in bytes: at most so far, and now.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    pub peak: u64,
    pub now: u64,
}

pub fn resident(pid: u32) -> Result<Resident> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(Resident {
        peak: field(&status, "VmHWM:")? * 1024,
        now: field(&status, "VmRSS:")? * 1024,
    })
}

/// How often the threads of a process went to sleep so far, which is how often they were woken.
pub fn wake_ups(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = std::fs::read_to_string(thread?.path().join("status"))?;
        sum += field(&status, "voluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

fn field(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .with_context(|| format!("no {name}"))?
        .parse()
        .with_context(|| name.to_owned())
}
