//! What the links are made of, as NetworkManager tells it: also when it starts late, or starts again.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluss_platform::TunConfig;
use sluss_platform::links::Watcher;
use sluss_supervisor::{Link, Medium};
use sluss_tests::logind::Logind;
use sluss_tests::netns::Netns;
use sluss_tests::network_manager::{
    ETHERNET, METERED, METERED_BY_GUESS, MODEM, OPEN, OWE, OWE_TRANSITION, StandIn, UNMETERED,
    WIFI, WPA2,
};

use crate::street::{Street, runtime};
use crate::watcher::{wakes_at_rest, wakes_of};

/// In the environment of a process that tells what a watcher tells.
const TELLER: &str = "SLUSS_TEST_TELLER";
const DEVICES: [(&str, u32); 3] = [("eth0", ETHERNET), ("wlan0", WIFI), ("wwan0", MODEM)];
const PATIENCE: Duration = Duration::from_secs(10);

/// A watcher in a process of its own, with a bus that is not the machine's.
struct Teller {
    process: Child,
    told: Receiver<String>,
}

impl Teller {
    fn start(bus: &str) -> Result<Teller> {
        let mut process = Command::new(std::env::current_exe()?)
            .env(TELLER, "1")
            .env("DBUS_SYSTEM_BUS_ADDRESS", bus)
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(process.stdout.take().context("a pipe")?).lines();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| tell.send(line))
        });
        Ok(Teller { process, told })
    }

    /// Waits until that is what is told.
    fn until(&self, expected: &str) -> Result<()> {
        let mut last = String::new();
        while last != expected {
            last = self
                .told
                .recv_timeout(PATIENCE)
                .with_context(|| format!("not {expected}, but {last}"))?;
        }
        Ok(())
    }

    fn task(&self) -> PathBuf {
        Path::new("/proc").join(self.process.id().to_string())
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn play_the_teller_if_asked() -> Option<ExitCode> {
    std::env::var(TELLER).ok()?;
    let tell = || -> Result<()> {
        runtime()?.block_on(async {
            let mut watcher = Watcher::open(TunConfig::NAME)?;
            loop {
                let links = watcher.changed().await?;
                println!("{}", links.iter().map(said).collect::<Vec<_>>().join(", "));
            }
        })
    };
    drop(tell());
    Some(ExitCode::FAILURE)
}

fn said(link: &Link) -> String {
    let medium = match link.medium {
        Medium::Wired => "wired",
        Medium::Wireless { open: true } => "open",
        Medium::Wireless { open: false } => "wireless",
        Medium::Mobile => "mobile",
    };
    let cost = if link.metered { " metered" } else { "" };
    format!("{} {medium}{cost}", link.id)
}

pub(crate) fn media_are_told_as_networkmanager_knows_them() -> Result<()> {
    let laptop = Netns::own("laptop")?;
    let _ethernet = Street::new(&laptop, "eth0", 2)?;
    let _wifi = Street::new(&laptop, "wlan0", 3)?;
    let _modem = Street::new(&laptop, "wwan0", 4)?;
    let bus = Logind::start(&laptop, Path::new("/run"))?;
    let teller = Teller::start(bus.address())?;
    // Cables are all that the lab has.
    teller.until("eth0 wired, wlan0 wired, wwan0 wired")?;

    let manager = StandIn::start(bus.address(), &DEVICES)?;
    teller.until("eth0 wired, wlan0 wireless, wwan0 wired")?;
    manager.connect(2, UNMETERED, OPEN)?;
    teller.until("eth0 wired, wlan0 open, wwan0 wired")?;
    manager.connect(2, METERED_BY_GUESS, WPA2)?;
    teller.until("eth0 wired, wlan0 wireless metered, wwan0 wired")?;
    manager.connect(2, UNMETERED, OWE_TRANSITION)?;
    teller.until("eth0 wired, wlan0 open, wwan0 wired")?;
    manager.connect(2, UNMETERED, OWE)?;
    teller.until("eth0 wired, wlan0 wireless, wwan0 wired")?;
    manager.connect(3, METERED, OPEN)?;
    teller.until("eth0 wired, wlan0 wireless, wwan0 mobile metered")?;
    // A phone on a cable.
    manager.connect(1, METERED, OPEN)?;
    teller.until("eth0 wired metered, wlan0 wireless, wwan0 mobile metered")?;

    let asleep = wakes_at_rest(teller.task())?;
    for _ in 0..200 {
        manager.chatter(2)?;
    }
    let woken = wakes_of(teller.task())? - asleep;
    ensure!(woken == 0, "{woken} wake-ups by scans and signal strength");

    // While it starts again its links stay up, and are what they were until it says otherwise.
    drop(manager);
    let manager = StandIn::start(bus.address(), &DEVICES)?;
    manager.connect(2, UNMETERED, OPEN)?;
    teller.until("eth0 wired, wlan0 open, wwan0 wired")?;
    manager.connect(3, METERED, OPEN)?;
    teller.until("eth0 wired, wlan0 open, wwan0 mobile metered")?;
    Ok(())
}
