//! What the watcher tells, and what it keeps quiet about.

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sluss_platform::links::Watcher;
use sluss_platform::{TunConfig, TunDevice};
use sluss_supervisor::{HostMode, Link};
use sluss_tests::moment::eventually;
use sluss_tests::netns::{self, Netns};
use sluss_tunnel::Offload;

use crate::street::{Laptop, Street, config, runtime, soon};

/// A watcher on a thread of its own, where nothing else wakes.
struct Watched {
    told: Receiver<Vec<Link>>,
    thread: i32,
}

impl Watched {
    fn start() -> Result<Watched> {
        let (tell, told) = mpsc::channel();
        let (name, named) = mpsc::channel();
        thread::spawn(move || -> Result<()> {
            name.send(nix::unistd::gettid().as_raw())?;
            runtime()?.block_on(async {
                let mut watcher = Watcher::open(TunConfig::NAME)?;
                loop {
                    tell.send(watcher.changed().await?)?;
                }
            })
        });
        Ok(Watched {
            told,
            thread: named.recv()?,
        })
    }

    /// Waits for a snapshot of which something holds; those before it were on the way there.
    fn until(&self, what: &str, holds: impl Fn(&[Link]) -> bool) -> Result<Vec<Link>> {
        loop {
            let links = self
                .told
                .recv_timeout(Duration::from_secs(5))
                .with_context(|| what.to_owned())?;
            if holds(&links) {
                return Ok(links);
            }
        }
    }

    /// How often its thread has gone to sleep, which is how often it was awake; told once it sleeps.
    fn wakes(&self) -> Result<u64> {
        wakes_of(self.task())
    }

    fn task(&self) -> String {
        format!("/proc/self/task/{}", self.thread)
    }
}

/// The same once there has been peace for longer than the watcher leaves between two looks at a neighbour.
pub(crate) fn wakes_at_rest(thread: impl AsRef<Path>) -> Result<u64> {
    const PEACE: Duration = Duration::from_millis(1500);

    let (mut last, mut since) = (wakes_of(&thread)?, Instant::now());
    eventually("the watcher is at rest", Duration::from_secs(20), || {
        let wakes = wakes_of(&thread)?;
        if wakes != last {
            (last, since) = (wakes, Instant::now());
        }
        Ok((since.elapsed() > PEACE).then_some(wakes))
    })
}

/// How often a thread, of such a folder in /proc, has gone to sleep; told once it sleeps.
pub(crate) fn wakes_of(thread: impl AsRef<Path>) -> Result<u64> {
    let status = || std::fs::read_to_string(thread.as_ref().join("status"));
    soon("the watcher sleeps", || {
        status().is_ok_and(|it| it.contains("State:\tS"))
    })?;
    let status = status()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(line.context("the kernel counts")?.trim().parse()?)
}

pub(crate) fn watcher_tells_of_links_carriers_addresses_and_gateways() -> Result<()> {
    let laptop = Netns::own("laptop")?;
    let watched = Watched::start()?;
    let first = watched.told.recv_timeout(Duration::from_secs(5))?;
    ensure!(first.is_empty(), "loopback is no link: {first:?}");

    let street = Street::new(&laptop, "eth0", 2)?;
    let whole = |links: &[Link]| {
        let [eth0] = links else { return false };
        let addresses: Vec<_> = eth0.addresses.iter().map(ToString::to_string).collect();
        let gateways: Vec<_> = eth0.gateways.iter().map(ToString::to_string).collect();
        eth0.id.name == "eth0"
            && eth0.usable()
            && addresses == ["192.0.2.2/24", "2001:db8:2::2/64"]
            && gateways == ["192.0.2.1", "2001:db8:2::1"]
    };
    watched.until("the whole link", whole)?;

    street.netns.ip("link set far down")?;
    watched.until("the carrier is lost", |links| !links[0].carrier)?;
    street.netns.ip("link set far up")?;
    watched.until("the carrier is back", |links| links[0].carrier)?;

    laptop.ip("route replace default via 192.0.2.99 dev eth0 metric 200")?;
    let other = "192.0.2.99".parse()?;
    watched.until("another gateway", |links| {
        links[0].gateways.contains(&other)
    })?;
    laptop.ip("addr del 192.0.2.2/24 dev eth0")?;
    let v6_only = |links: &[Link]| {
        links[0].addresses.iter().all(|it| it.addr().is_ipv6()) && links[0].gateways.len() == 1
    };
    watched.until("the address is gone, and the gateway with it", v6_only)?;

    // The better way out comes first, whichever was there first.
    let _office = Street::new(&laptop, "wlan0", 1)?;
    let names = |links: &[Link]| {
        links
            .iter()
            .map(|link| link.id.name.clone())
            .collect::<Vec<_>>()
    };
    watched.until("the better link first", |links| {
        names(links) == ["wlan0", "eth0"]
    })?;
    laptop.ip("link del eth0")?;
    watched.until("the link is gone", |links| names(links) == ["wlan0"])?;
    Ok(())
}

pub(crate) fn watcher_ignores_neighbours_and_our_own_changes() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let _street = Street::new(&laptop.netns, "eth0", 2)?;
    let watched = Watched::start()?;
    let before = watched.told.recv_timeout(Duration::from_secs(5))?;

    let asleep = wakes_at_rest(watched.task())?;
    for last in 10..60 {
        laptop.netns.ip(&format!(
            "neigh replace 192.0.2.{last} lladdr 02:00:00:00:00:01 dev eth0 nud reachable"
        ))?;
        laptop.netns.ip(&format!(
            "-6 neigh replace 2001:db8:2::{last} lladdr 02:00:00:00:00:01 dev eth0 nud stale"
        ))?;
    }
    laptop.netns.ip("neigh flush dev eth0")?;
    ensure!(
        watched.wakes()? == asleep,
        "{} wake-ups by neighbours",
        watched.wakes()? - asleep
    );

    // Everything that we do ourselves, and then one thing that matters: only that is told.
    let tun = TunDevice::create(TunConfig::NAME, Offload::None)?;
    for mode in [
        HostMode::Closed,
        HostMode::Tunnelled,
        HostMode::Inside {
            link: before[0].clone(),
        },
    ] {
        laptop.apply(&config(mode))?;
    }
    drop(tun);
    laptop.netns.ip("addr add 192.0.2.77/24 dev eth0")?;
    let next = watched.told.recv_timeout(Duration::from_secs(5))?;
    ensure!(
        next[0].addresses.len() == before[0].addresses.len() + 1,
        "{before:?}\n{next:?}"
    );
    Ok(())
}

/// A thousand neighbours come and go, and the gateway is confirmed again and again: all that is the kernel's affair.
pub(crate) fn watcher_tells_of_another_neighbour_at_the_gateway() -> Result<()> {
    const REAL: &str = "02:00:00:00:00:01";
    const FORGED: &str = "02:00:00:00:00:66";

    let laptop = Netns::own("laptop")?;
    let street = Street::new(&laptop, "eth0", 2)?;
    let _other = Street::new(&laptop, "wlan0", 3)?;
    street.netns.ip(&format!("link set far address {REAL}"))?;
    let watched = Watched::start()?;
    let of = |links: &[Link]| -> Vec<String> {
        let eth0 = links.iter().find(|link| link.id.name == "eth0");
        let neighbours = eth0.iter().flat_map(|link| &link.neighbours);
        neighbours
            .map(|it| format!("{} {}", it.gateway, it.address))
            .collect()
    };
    // Found as every neighbour is: somebody sends something by it.
    laptop.sh("ping -c 1 -W 5 192.0.2.1")?;
    laptop.sh("ping -c 1 -W 5 2001:db8:2::1")?;
    let both = [format!("192.0.2.1 {REAL}"), format!("2001:db8:2::1 {REAL}")];
    watched.until("both gateways' neighbour", |links| of(links) == both)?;

    let mut chatter = String::new();
    for number in 0..1000 {
        let (a, b) = (number / 250, 2 + number % 250);
        chatter += &format!(
            "neigh replace 192.0.{}.{b} lladdr 02:00:00:00:{a:02x}:{b:02x} dev eth0 nud reachable\n\
             -6 neigh replace 2001:db8:2::{a}:{b} lladdr 02:00:00:00:{a:02x}:{b:02x} dev eth0 nud stale\n",
            10 + a
        );
    }
    // The gateways' addresses, on another link.
    chatter += &format!("neigh replace 192.0.2.1 lladdr {FORGED} dev wlan0 nud reachable\n");
    for _ in 0..50 {
        for state in ["stale", "delay", "probe", "reachable"] {
            chatter += &format!(
                "neigh replace 192.0.2.1 lladdr {REAL} dev eth0 nud {state}\n\
                 -6 neigh replace 2001:db8:2::1 lladdr {REAL} dev eth0 nud {state}\n"
            );
        }
        // Forgotten, not replaced.
        chatter += "neigh del 192.0.2.1 dev eth0\n-6 neigh del 2001:db8:2::1 dev eth0\n";
    }
    // `ip -batch` knows no families of single lines.
    let (v6, v4): (Vec<&str>, Vec<&str>) =
        chatter.lines().partition(|line| line.starts_with("-6 "));
    let v6: Vec<_> = v6.iter().map(|line| &line[3..]).collect();
    let asleep = wakes_at_rest(watched.task())?;
    laptop.ip_batch(&v4.join("\n"))?;
    laptop.feed(
        std::process::Command::new("ip").args(["-6", "-batch", "-"]),
        &v6.join("\n"),
    )?;
    let woken = watched.wakes()? - asleep;
    println!(
        "measured {woken} wake-ups by {} changes of neighbours",
        chatter.lines().count()
    );
    ensure!(woken == 0, "{woken} wake-ups by neighbours");

    laptop.ip(&format!(
        "neigh replace 192.0.2.1 lladdr {FORGED} dev eth0 nud reachable"
    ))?;
    let links = watched.until("the forged neighbour", |links| {
        of(links).contains(&format!("192.0.2.1 {FORGED}"))
    })?;
    // What is forgotten is still known.
    ensure!(of(&links).contains(&both[1]), "{links:?}");
    laptop.ip(&format!(
        "-6 neigh replace 2001:db8:2::1 lladdr {FORGED} dev eth0 nud stale"
    ))?;
    watched.until("the forged neighbour of IPv6", |links| {
        of(links).contains(&format!("2001:db8:2::1 {FORGED}"))
    })?;
    // Without a carrier nobody is a neighbour.
    street.netns.ip("link set far down")?;
    watched.until("no neighbour", |links| of(links).is_empty())?;
    Ok(())
}

/// The daemon waits for many things at once, and stops listening in the middle whenever another comes first.
pub(crate) fn watcher_may_be_interrupted_at_any_time() -> Result<()> {
    let laptop = Netns::own("laptop")?;
    let _street = Street::new(&laptop, "eth0", 2)?;
    runtime()?.block_on(async {
        let mut watcher = Watcher::open(TunConfig::NAME)?;
        for last in 10..60 {
            laptop.ip(&format!("addr add 192.0.2.{last}/24 dev eth0"))?;
            let links = loop {
                tokio::select! {
                    biased;
                    links = watcher.changed() => break links?,
                    () = tokio::task::yield_now() => {}
                }
            };
            ensure!(links[0].addresses.len() >= 2 + last - 10, "{links:?}");
        }
        Ok(())
    })
}

pub(crate) fn watcher_knows_what_is_no_link() -> Result<()> {
    let laptop = Netns::own("laptop")?;
    let container = Netns::new("container")?;
    laptop.ip("link add docker0 type bridge")?;
    laptop.ip("addr add 172.17.0.1/16 dev docker0")?;
    laptop.ip("link set docker0 up")?;
    netns::veth((&laptop, "veth7"), (&container, "eth0"))?;
    laptop.ip("link set veth7 master docker0")?;
    laptop.ip("tuntap add othervpn mode tun")?;
    laptop.ip("addr add 10.8.0.2/24 dev othervpn")?;
    laptop.ip("link set othervpn up")?;
    let _own = TunDevice::create(TunConfig::NAME, Offload::None)?;

    let watched = Watched::start()?;
    let links = watched.told.recv_timeout(Duration::from_secs(5))?;
    ensure!(links.is_empty(), "{links:?}");
    // A bridge that the laptop itself goes out by is a link like any other.
    laptop.ip("route add default via 172.17.0.2")?;
    let links = watched.until("the bridge with a gateway", |links| !links.is_empty())?;
    ensure!(
        links.len() == 1 && links[0].id.name == "docker0",
        "{links:?}"
    );
    Ok(())
}
