//! The shipped beacon in the lab: its key, its file, and the process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::artifacts;
use crate::moment::eventually;
use crate::netns::{Netns, Process};
use crate::world::BEACON;

/// More than it ever takes to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// A beacon's key, before anything runs.
#[derive(Clone)]
pub struct Identity {
    directory: PathBuf,
    pin: String,
}

impl Identity {
    /// A new key, made by the program itself.
    pub fn new() -> Result<Identity> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = PathBuf::from(format!("/run/lab/beacon-{number}"));
        std::fs::create_dir_all(&directory)?;
        let generate = Command::new(artifacts::sluss_beacon()?)
            .args(["key", "generate"])
            .arg(directory.join("key"))
            .output()?;
        let said = String::from_utf8_lossy(&generate.stderr);
        ensure!(generate.status.success(), "key generate: {}", said.trim());
        let pin = String::from_utf8(generate.stdout)?.trim().to_owned();
        Ok(Identity { directory, pin })
    }

    /// The pin of its key, as a policy writes it.
    pub fn pin(&self) -> &str {
        &self.pin
    }

    /// The policy's section for a beacon with this key, and more lines in it.
    pub fn section(&self, name: &str, addresses: &[SocketAddr], more: &str) -> String {
        format!(
            "[[beacon]]\nname = \"{name}\"\naddresses = {}\npins = [\"{}\"]\n{more}",
            list(addresses),
            self.pin
        )
    }
}

/// A beacon that runs, until it is stopped or dropped.
pub struct Beacon {
    identity: Identity,
    netns: Netns,
    addresses: Vec<SocketAddr>,
    log: PathBuf,
    /// What goes to its log from the next start on; [`Beacon::greeted`] wants "debug", which is what there is at first.
    pub log_level: &'static str,
    process: Option<Process>,
}

impl Beacon {
    /// Starts a beacon with a new key at the address where the policy expects it.
    pub fn start(servers: &Netns) -> Result<Beacon> {
        Beacon::run(servers, &[BEACON], &Identity::new()?)
    }

    /// Starts a beacon that listens at these addresses of a network.
    pub fn run(netns: &Netns, addresses: &[SocketAddr], identity: &Identity) -> Result<Beacon> {
        let mut beacon = Beacon {
            identity: identity.clone(),
            netns: netns.clone(),
            addresses: addresses.to_vec(),
            log: identity.directory.join("log"),
            log_level: "debug",
            process: None,
        };
        beacon.start_again()?;
        Ok(beacon)
    }

    /// Its host is gone.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Has it end by itself, on this signal and within `deadline`.
    pub fn end(&mut self, signal: Signal, deadline: Duration) -> Result<ExitStatus> {
        let mut process = self.process.take().context("it does not run")?;
        process.signal(signal)?;
        eventually("the beacon ends", deadline, || {
            Ok(process.child().try_wait()?)
        })
    }

    /// The number of its process, while it runs.
    pub fn process_id(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("it does not run")?.id())
    }

    /// Starts it, with the same key.
    pub fn start_again(&mut self) -> Result<()> {
        let directory = &self.identity.directory;
        let config = directory.join("toml");
        std::fs::write(
            &config,
            format!(
                "name = \"city hall\"\nlisten = {}\nkey = \"{}\"\n",
                list(&self.addresses),
                directory.join("key").display(),
            ),
        )?;
        let mut serve = Command::new(artifacts::sluss_beacon()?);
        serve
            .args(["serve", "--log", self.log_level, "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&self.log)?);
        let process = self.netns.spawn(&mut serve)?;
        self.process = Some(process);
        eventually("the beacon listens", PATIENCE, || {
            let ready = self.log()?.contains("answers with the key");
            Ok(ready.then_some(()))
        })
        .with_context(|| self.log().unwrap_or_default())
    }

    pub fn pin(&self) -> &str {
        self.identity.pin()
    }

    /// The policy's section for it.
    pub fn section(&self) -> String {
        self.identity.section("city hall", &self.addresses, "")
    }

    /// How many laptops have had its answer since it was started.
    pub fn greeted(&self) -> usize {
        let log = self.log().unwrap_or_default();
        log.matches("Ended(Answered)").count()
    }

    fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    let quoted: Vec<_> = addresses.iter().map(|at| format!("\"{at}\"")).collect();
    format!("[{}]", quoted.join(", "))
}
