//! What a tunnel lives through: a slow card, a lost or changed network, silence, noise, its end.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluss_platform::MARK;
use sluss_platform::clock::boottime;
use sluss_tests::end::{End, PORT, TUN, endpoint};
use sluss_tunnel::{Command, Event};
use sluss_wg::{SoftwareKey, Timing};

use crate::cable::{Cable, LEFT, PATIENCE, RIGHT, settings};
use crate::content::{Echo, Pattern};

/// The other side is reached by a table that only marked packets look into.
pub(crate) fn what_is_sent_carries_the_mark() -> Result<()> {
    let cable = Cable::new(1500)?;
    cable.right.ip("addr add 198.51.100.2/32 dev lo")?;
    cable
        .left
        .ip("route add 198.51.100.2 via 192.0.2.2 table 77")?;
    cable
        .left
        .ip(&format!("rule add fwmark {MARK:#x} lookup 77"))?;
    let plain = cable.left.run(|| UdpSocket::bind("0.0.0.0:0"))?;
    ensure!(
        plain.send_to(&[0], "198.51.100.2:9").is_err(),
        "the table is open to all"
    );
    let outer = endpoint("198.51.100.2")?;
    let _ends = cable.tunnels(|end| end.endpoint = end.endpoint.map(|_| outer))?;
    Echo::new(&cable)?.round()?;
    Ok(())
}

pub(crate) fn a_host_without_ipv6_is_served() -> Result<()> {
    let cable = Cable::new(1500)?;
    for network in [&cable.left, &cable.right] {
        network.sysctl("ipv6.conf.all.disable_ipv6", "1")?;
        network.sysctl("ipv6.conf.default.disable_ipv6", "1")?;
    }
    let _ends = cable.tunnels(|end| end.addresses.truncate(1))?;
    Echo::new(&cable)?.round()?;
    Ok(())
}

/// The card thinks for a hundred round trips each time. The old session carries them all.
pub(crate) fn a_held_key_is_asked_elsewhere_and_nothing_stalls() -> Result<()> {
    let cable = Cable::new(1500)?;
    let quick = Timing {
        rekey_after: Duration::from_millis(500),
        rekey_timeout: Duration::from_millis(500),
        ..Timing::default()
    };
    let mut right = settings(RIGHT, LEFT, 2);
    right.timing = quick;
    let mut left = settings(LEFT, RIGHT, 1);
    left.timing = quick;
    left.held = true;
    left.endpoint = Some(endpoint("192.0.2.2")?);
    let _right = End::start(&cable.right, right)?;
    let left = End::start(&cable.left, left)?;
    let card = SoftwareKey::new(LEFT);

    left.kick();
    let mut sessions = 0;
    let mut rounds_left = 0u32;
    let mut asked = None;
    let mut slowest = Duration::ZERO;
    let mut echo = Echo::new(&cable)?;
    while sessions < 4 {
        for event in left.events.try_iter() {
            match event {
                Event::DhWanted { id, with, .. } => {
                    ensure!(asked.is_none(), "asked again while the card thinks");
                    asked = Some((id, with));
                    rounds_left = if sessions == 0 { 0 } else { 100 };
                }
                Event::Peer(sluss_wg::Event::SessionEstablished { .. }) => sessions += 1,
                Event::Peer(_) | Event::StampReserved { .. } | Event::PathMtu(_) => {}
                Event::Failed(error) => return Err(error.into()),
            }
        }
        if rounds_left == 0
            && let Some((id, with)) = asked.take()
        {
            left.tunnel.command(Command::Dh {
                id,
                result: card.dh(&with),
            });
        }
        if sessions > 0 {
            slowest = slowest.max(echo.round()?);
            rounds_left = rounds_left.saturating_sub(1);
        }
    }
    println!(
        "measured the slowest of {} round trips: {slowest:?}",
        echo.count
    );
    ensure!(
        slowest < Duration::from_millis(500),
        "a round trip took {slowest:?}"
    );
    Ok(())
}

pub(crate) fn traffic_outlives_a_lost_network() -> Result<()> {
    let cable = Cable::new(1500)?;
    let (left, _right) = cable.tunnels(|_| {})?;
    let mut echo = Echo::new(&cable)?;
    echo.round()?;
    cable.left.ip("link set eth0 down")?;
    let before = left.tunnel.stats().lost.unsent;
    echo.here.send(&[0; 100])?;
    left.until("a packet is refused by the network", |left| {
        left.tunnel.stats().lost.unsent > before
    })?;
    cable.left.ip("link set eth0 up")?;
    left.kick();
    echo.round()?;
    Ok(())
}

pub(crate) fn a_moved_laptop_keeps_its_connections() -> Result<()> {
    let cable = Cable::new(1500)?;
    let (left, right) = cable.tunnels(|_| {})?;
    let mut echo = Echo::new(&cable)?;
    echo.round()?;
    cable.left.ip("addr del 192.0.2.1/24 dev eth0")?;
    cable.left.ip("addr add 192.0.2.77/24 dev eth0")?;
    left.kick();
    // Nothing but the kick's own packet tells the other side.
    right.expect(PATIENCE, |event| match event {
        Event::Peer(sluss_wg::Event::EndpointChanged { endpoint, .. }) => {
            (endpoint == SocketAddr::from(([192, 0, 2, 77], PORT))).then_some(())
        }
        _ => None,
    })?;
    echo.round()?;
    Ok(())
}

pub(crate) fn a_removed_device_is_told() -> Result<()> {
    let cable = Cable::new(1500)?;
    let (left, _right) = cable.tunnels(|_| {})?;
    cable.left.ip(&format!("link del {TUN}"))?;
    left.expect(PATIENCE, |event| {
        matches!(event, Event::Failed(_)).then_some(())
    })?;
    left.tunnel.stop();
    Ok(())
}

/// How often the tunnels' threads of this process have gone to sleep.
fn sleeps() -> Result<u64> {
    let mut sleeps = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.starts_with("sluss-") {
            let status = std::fs::read_to_string(task.join("status"))?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            sleeps += line
                .context("no count of switches")?
                .trim()
                .parse::<u64>()?;
        }
    }
    Ok(sleeps)
}

pub(crate) fn an_idle_tunnel_sleeps() -> Result<()> {
    let cable = Cable::new(1500)?;
    let (left, _right) = cable.tunnels(|end| end.timing.keepalive = Duration::from_millis(100))?;
    Echo::new(&cable)?.round()?;
    // The timers that traffic has armed run out: the longest is keepalive + rekey-timeout.
    let quiet = |within| -> Result<u64> {
        let before = sleeps()?;
        // Events are the only thing that could come; nothing does.
        let _ = left.expect(within, |_| None::<()>);
        Ok(sleeps()? - before)
    };
    quiet(Duration::from_secs(6))?;
    let woken = quiet(Duration::from_secs(10))?;
    println!("measured {woken} wake-ups of four threads in 10 s");
    ensure!(woken <= 2, "{woken} wake-ups in 10 s");
    Ok(())
}

pub(crate) fn a_tunnel_stops_at_once() -> Result<()> {
    let cable = Cable::new(1500)?;
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let (left, right) = cable.tunnels(|_| {})?;
        Echo::new(&cable)?.round()?;
        for end in [left, right] {
            let started = boottime();
            end.tunnel.stop();
            longest = longest.max(boottime() - started);
        }
        ensure!(
            cable.left.ip(&format!("link show {TUN}")).is_err(),
            "the device is still there"
        );
    }
    println!("measured the longest stop of 20: {longest:?}");
    ensure!(
        longest < Duration::from_millis(200),
        "a stop took {longest:?}"
    );
    Ok(())
}

/// Resident memory of this process, in KiB.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line
        .context("no VmRSS")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?)
}

pub(crate) fn noise_at_the_port_is_refused() -> Result<()> {
    let cable = Cable::new(1500)?;
    let (left, _right) = cable.tunnels(|_| {})?;
    let mut echo = Echo::new(&cable)?;
    echo.round()?;
    let stranger = cable.right.run(|| UdpSocket::bind("0.0.0.0:0"))?;
    let target = SocketAddr::from(([192, 0, 2, 1], PORT));
    let pattern = Pattern::new();
    let mut noise = |from: u64, to: u64| -> Result<()> {
        for which in from..to {
            let mut datagram = pattern
                .message(which, (which as usize * 7) % 1_500)
                .to_vec();
            // All four types, of their own length, one byte off, and of any.
            if let Some(head) = datagram.first_chunk_mut::<4>()
                && which % 3 > 0
            {
                *head = [(which % 5) as u8, 0, 0, 0];
                let own = [148, 92, 64, 48][which as usize % 4] + which as usize % 2;
                if which % 3 == 2 {
                    datagram.resize(own, which as u8);
                }
            }
            stranger.send_to(&datagram, target)?;
            if which % 100 == 0 {
                echo.round()?;
            }
        }
        Ok(())
    };
    noise(0, 20_000)?;
    let before = resident()?;
    noise(20_000, 120_000)?;
    let grown = resident()?.saturating_sub(before);
    println!("measured growth by 100,000 datagrams of noise: {grown} KiB");
    ensure!(grown < 2_048, "grew by {grown} KiB");
    ensure!(
        left.tunnel.stats().lost.refused > 1_000,
        "the noise did not arrive"
    );
    Ok(())
}
