//! Inside: internal traffic uses the one link that was verified, and closes with it.

use anyhow::{Result, ensure};
use sluss_supervisor::HostMode;

use crate::street::{Laptop, Street, attack, config};

/// Ethernet inside, and a Wi-Fi that pushes more specific routes for internal prefixes.
pub(crate) fn inside_uses_the_verified_link_only() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let office = Street::new(&laptop.netns, "eth0", 2)?;
    let hostile = Street::new(&laptop.netns, "wlan0", 3)?;
    for line in [
        "route add 10.20.0.10/32 via 192.0.3.1 dev wlan0",
        "route add 10.20.0.0/17 via 192.0.3.1 dev wlan0",
        "-6 route add fd20::10/128 via 2001:db8:3::1 dev wlan0",
        "addr add 10.20.255.77/24 dev wlan0",
        "addr add 10.20.5.2/24 dev eth0",
        "addr add fd20:0:0:5::2/64 dev eth0 nodad",
    ] {
        laptop.netns.ip(line)?;
    }
    laptop.apply(&config(HostMode::Inside {
        link: laptop.link("eth0")?,
    }))?;

    let (at_office, at_hostile) = (office.judge()?, hostile.judge()?);
    let said = attack("wlan0")?;
    for line in said.lines() {
        ensure!(line.contains("routed") || !line.ends_with("sent"), "{line}");
    }
    // Three targets, three datagrams and one connection each.
    ensure!(at_office.leaks()?.len() >= 3 * 4, "{said}");
    let leaks = at_hostile.leaks()?;
    ensure!(leaks.is_empty(), "{leaks:?}");

    // Colleagues on the same wire are reached without the gateway, the rest by it.
    for (to, gateway) in [
        ("10.20.5.9", false),
        ("10.20.6.9", true),
        ("fd20:0:0:5::9", false),
        ("fd20::9", true),
    ] {
        let route = laptop.netns.ip(&format!("route get {to}"))?;
        ensure!(
            route.contains("dev eth0") && route.contains("via") == gateway,
            "{route}"
        );
    }
    // Our address on the hostile network must not become the source.
    let route = laptop.netns.ip("route get 10.20.6.9")?;
    ensure!(!route.contains("10.20.255.77"), "{route}");
    Ok(())
}

pub(crate) fn inside_closes_when_the_link_goes() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let _office = Street::new(&laptop.netns, "eth0", 2)?;
    let other = Street::new(&laptop.netns, "wlan0", 3)?;
    laptop.apply(&config(HostMode::Inside {
        link: laptop.link("eth0")?,
    }))?;
    let judge = other.judge()?;

    // Unplugged, and the daemon has not noticed yet: the kernel alone keeps it closed.
    laptop.netns.ip("link set eth0 down")?;
    let said = attack("wlan0")?;
    ensure!(!said.contains("sent"), "{said}");
    // The adapter is gone, and another comes with its name.
    laptop.netns.ip("link del eth0")?;
    let impostor = Street::new(&laptop.netns, "eth0", 4)?;
    let at_impostor = impostor.judge()?;
    let said = attack("eth0")?;
    ensure!(!said.contains("sent"), "{said}");
    for judge in [judge, at_impostor] {
        let leaks = judge.leaks()?;
        ensure!(leaks.is_empty(), "{leaks:?}");
    }

    laptop.apply(&config(HostMode::Closed))?;
    ensure!(!attack("eth0")?.contains("sent"), "open after closing");
    Ok(())
}
