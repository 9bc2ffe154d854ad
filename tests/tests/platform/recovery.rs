//! Applying again, dying, and being taken off: the host is what the last configuration says, or as it was before us.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use sluss_platform::{Host, TunConfig, TunDevice};
use sluss_supervisor::HostMode;
use sluss_tests::netns::Netns;
use sluss_tunnel::Offload;

use crate::street::{Laptop, Street, attack, config, runtime};

/// In the environment of a process that is the daemon, until it is killed.
const DAEMON: &str = "SLUSS_TEST_DAEMON";

pub(crate) fn applying_twice_changes_nothing() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let _street = Street::new(&laptop.netns, "eth0", 2)?;
    let _tun = TunDevice::create(TunConfig::NAME, Offload::None)?;
    let link = laptop.link("eth0")?;
    for mode in [
        HostMode::Closed,
        HostMode::Tunnelled,
        HostMode::Inside { link },
    ] {
        let config = config(mode);
        laptop.apply(&config)?;
        let once = everything(&laptop.netns)?;
        ensure!(
            once.contains("5020") && once.contains("unreachable 10.20.0.0/16"),
            "{once}"
        );
        laptop.apply(&config)?;
        let twice = everything(&laptop.netns)?;
        // With the numbers of rules: a ruleset that was loaded again would have new ones.
        ensure!(once == twice, "{:?}:\n{once}\n{twice}", config.rules.mode);
    }
    Ok(())
}

/// Attacks row 17.
pub(crate) fn a_killed_daemon_leaves_it_closed() -> Result<()> {
    let laptop = Laptop::new()?;
    let street = Street::new(&laptop.netns, "eth0", 2)?;
    let judge = street.judge()?;
    killed_while_tunnelled()?;

    let said = attack("eth0")?;
    ensure!(!said.contains("sent"), "{said}");
    let leaks = judge.leaks()?;
    ensure!(leaks.is_empty(), "{leaks:?}");
    let links = laptop.netns.ip("link")?;
    ensure!(!links.contains(TunConfig::NAME), "{links}");
    Ok(())
}

/// The policy was changed while the daemon was dead: nothing of the old one may stay.
pub(crate) fn leftovers_are_found_by_their_tag() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let _street = Street::new(&laptop.netns, "eth0", 2)?;
    let mut other = config(HostMode::Closed);
    other.internal = vec!["10.30.0.0/16".parse()?, "fd30::/48".parse()?];
    laptop.apply(&other)?;
    let fresh = everything(&laptop.netns)?;
    laptop.remove()?;

    killed_while_tunnelled()?;
    // As an earlier release might have done it.
    for line in [
        "rule add pref 5019 fwmark 0x99 lookup 5340 protocol 83",
        "-6 rule add pref 5019 fwmark 0x99 lookup 5340 protocol 83",
        "route add 10.40.0.0/16 dev eth0 table 5340 proto 83",
    ] {
        laptop.netns.ip(line)?;
    }
    let mut restarted = laptop.another()?;
    restarted.apply(&other)?;
    let recovered = everything(&laptop.netns)?;
    ensure!(
        without_handles(&recovered) == without_handles(&fresh),
        "{fresh}\n{recovered}"
    );
    Ok(())
}

pub(crate) fn removal_leaves_no_trace_and_nothing_else_undone() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let _street = Street::new(&laptop.netns, "eth0", 2)?;
    // What is of others, with numbers near to ours.
    laptop
        .netns
        .ip("rule add pref 5015 fwmark 0x534c lookup main")?;
    laptop
        .netns
        .ip("route add 10.20.0.0/16 via 192.0.2.1 table 5341")?;
    laptop.netns.nft(
        "table inet sluss_not { chain c { type filter hook output priority 0; counter; }; }",
    )?;
    let before = everything(&laptop.netns)?;
    // Nothing to remove is no error.
    laptop.remove()?;
    laptop.apply(&config(HostMode::Closed))?;
    ensure!(everything(&laptop.netns)? != before, "nothing was applied");
    laptop.remove()?;
    let after = everything(&laptop.netns)?;
    ensure!(
        without_counters(&after) == without_counters(&before),
        "{before}\n{after}"
    );
    Ok(())
}

/// A daemon in a process of its own sets the tunnel up and is killed.
fn killed_while_tunnelled() -> Result<()> {
    let mut daemon = Command::new(std::env::current_exe()?)
        .env(DAEMON, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().context("a pipe")?).read_line(&mut line)?;
    daemon.kill()?;
    daemon.wait()?;
    ensure!(line == "applied\n", "{line}");
    Ok(())
}

pub(crate) fn play_the_daemon_if_asked() -> Option<ExitCode> {
    std::env::var(DAEMON).ok()?;
    let play = || -> Result<()> {
        let _tun = TunDevice::create(TunConfig::NAME, Offload::None)?;
        runtime()?.block_on(async { Host::open()?.apply(&config(HostMode::Tunnelled)).await })?;
        println!("applied");
        loop {
            std::thread::park();
        }
    };
    Some(play().map_or_else(
        |error| {
            println!("{error:#}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    ))
}

/// Rules, routes of all tables, and rulesets, as the tools print them.
fn everything(netns: &Netns) -> Result<String> {
    let mut all = String::new();
    for family in ["-4", "-6"] {
        all += &netns.ip(&format!("{family} rule"))?;
        all += &netns.ip(&format!("{family} route show table all"))?;
    }
    Ok(all + &netns.sh("nft -a list ruleset")?)
}

fn without_handles(text: &str) -> String {
    text.lines()
        .map(|line| line.split("# handle").next().unwrap_or_default().trim_end())
        .collect()
}

fn without_counters(text: &str) -> String {
    text.lines()
        .filter(|line| !line.contains("counter"))
        .collect()
}
