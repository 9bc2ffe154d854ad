//! The laptop's software in the lab: the shipped daemon and command, run as processes as a user would have them.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sluss_policy::DeviceBinding;

use crate::artifacts;
use crate::moment;
use crate::netns::{Netns, Process};

/// What IT writes into the policy, as far as the lab varies it.
pub struct Policy {
    /// The sections `[[endpoint]]`.
    pub endpoints: String,
    pub gateway_key: [u8; 32],
    /// The sections `[[beacon]]`.
    pub beacons: String,
    /// Further sections.
    pub more: String,
}

impl Policy {
    pub fn text(&self) -> String {
        format!(
            "schema = 1\n\
             {}\
             [gateway]\nname = \"vpn.example.se\"\npublic_key = \"{}\"\n\
             [internal]\nprefixes = [\"10.20.0.0/16\", \"fd20::/48\"]\n\
             {}{}",
            self.endpoints,
            STANDARD.encode(self.gateway_key),
            self.beacons,
            self.more,
        )
    }
}

/// A section `[[endpoint]]` for a gateway that is called at one address, or by a name.
pub fn endpoint(address: impl Display) -> String {
    format!("[[endpoint]]\naddress = \"{address}\"\n")
}

/// A laptop with policy and binding on disk, and the daemon running or not.
pub struct Laptop {
    netns: Netns,
    directory: PathBuf,
    /// What systemd would set: the card service's socket, the bus, the lab's clock.
    environment: Vec<(&'static str, OsString)>,
    arguments: Vec<&'static str>,
    /// "info", unless `SLUSS_LAB_LOG` or a trial says otherwise.
    pub log_level: String,
    daemon: Option<Process>,
}

impl Laptop {
    /// Writes the files of a laptop that is enrolled so.
    pub fn enrolled(
        netns: Netns,
        directory: &Path,
        policy: &Policy,
        binding: &DeviceBinding,
    ) -> Result<Laptop> {
        let laptop = Laptop::unenrolled(netns, directory, policy)?;
        std::fs::write(laptop.device_file(), &*binding.to_toml())?;
        Ok(laptop)
    }

    /// Writes the files of a laptop that is bound to no card yet.
    pub fn unenrolled(netns: Netns, directory: &Path, policy: &Policy) -> Result<Laptop> {
        std::fs::create_dir_all(directory.join("state"))?;
        std::fs::write(directory.join("policy.toml"), policy.text())?;
        Ok(Laptop {
            netns,
            directory: directory.to_owned(),
            environment: Vec::new(),
            arguments: Vec::new(),
            log_level: std::env::var("SLUSS_LAB_LOG").unwrap_or_else(|_| "info".to_owned()),
            daemon: None,
        })
    }

    /// More of the daemon's command line, from its next start on.
    pub fn arguments(&mut self, arguments: impl IntoIterator<Item = &'static str>) {
        self.arguments.extend(arguments);
    }

    /// An environment variable for the daemon's next start.
    pub fn environment(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.environment.push((name, value.into()));
    }

    /// Starts the daemon and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        let mut command = Command::new(artifacts::slussd()?);
        command
            .arg("--policy")
            .arg(self.directory.join("policy.toml"))
            .arg("--state-dir")
            .arg(self.directory.join("state"))
            .arg("--socket")
            .arg(self.socket())
            .arg("--log")
            .arg(&self.log_level)
            .args(&self.arguments)
            .envs(self.environment.iter().cloned())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(self.log_file()?);
        self.daemon = Some(self.netns.spawn(&mut command)?);
        moment::eventually("the daemon's first answer", Duration::from_secs(10), || {
            let daemon = self.daemon.as_mut().context("daemon")?;
            if let Some(status) = daemon.child().try_wait()? {
                bail!(
                    "the daemon ended at its start with {status}:\n{}",
                    self.log()
                );
            }
            Ok(self.status().ok())
        })?;
        Ok(())
    }

    /// Kills the daemon as a crash would.
    pub fn crash(&mut self) {
        self.daemon = None;
    }

    /// The daemon's process.
    pub fn daemon(&mut self) -> Result<&mut Process> {
        self.daemon.as_mut().context("the daemon does not run")
    }

    /// Whether the daemon has lived on since its start.
    pub fn is_alive(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(Process::is_running)
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("slussd.log")).unwrap_or_default()
    }

    /// Where the daemon keeps what the laptop is bound to.
    pub fn device_file(&self) -> PathBuf {
        self.directory.join("state/device.toml")
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("slussd.sock")
    }

    /// `sluss ARGS`, with `input` typed.
    pub fn sluss(&self, arguments: &[&str], input: &str) -> Result<Output> {
        Ok(self.begin(arguments, input)?.wait_with_output()?)
    }

    /// The same, and nobody waits for its end.
    pub fn begin(&self, arguments: &[&str], input: &str) -> Result<Child> {
        let mut command = self.command(arguments)?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.netns.run(|| command.spawn())?;
        // A command that wants no input may be gone by now.
        let _ = child
            .stdin
            .take()
            .context("standard input")?
            .write_all(input.as_bytes());
        Ok(child)
    }

    /// What `sluss status --json` says.
    pub fn status(&self) -> Result<Value> {
        let output = self.sluss(&["status", "--json"], "")?;
        ensure!(
            output.status.success(),
            "sluss status: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Types the PIN into `sluss unlock`.
    pub fn unlock(&self, pin: &str) -> Result<()> {
        let output = self.sluss(&["unlock"], &format!("{pin}\n"))?;
        ensure!(
            output.status.success(),
            "sluss unlock: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Watches what `sluss monitor` tells from now on; what is the case now comes first.
    pub fn monitor(&self) -> Result<Monitor> {
        let mut command = self.command(&["monitor", "--json"])?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = self.netns.spawn(&mut command)?;
        let stdout = process.child().stdout.take().context("standard output")?;
        let changes = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&changes);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Ok(json) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let change = Change {
                    at: moment::now(),
                    thing: text(&json["changed"]),
                    state: text(&json["now"]["state"]),
                };
                told.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(change);
            }
        });
        Ok(Monitor {
            changes,
            _process: process,
        })
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(artifacts::sluss()?);
        command
            .arg("--socket")
            .arg(self.socket())
            .args(arguments)
            .env("LC_ALL", "C");
        Ok(command)
    }

    fn log_file(&self) -> Result<std::fs::File> {
        Ok(std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("slussd.log"))?)
    }
}

/// A running `sluss monitor --json`, and all that it has told.
pub struct Monitor {
    changes: Arc<Mutex<Vec<Change>>>,
    _process: Process,
}

/// One change, with the moment at which the command printed it.
#[derive(Clone, Debug)]
pub struct Change {
    pub at: Duration,
    /// `location`, `key`, `tunnel`, ...
    pub thing: String,
    pub state: String,
}

impl Monitor {
    /// Waits until a thing came into one of these states at or after a moment; gives the moment it was told.
    pub fn until(
        &self,
        thing: &str,
        states: &[&str],
        since: Duration,
        deadline: Duration,
    ) -> Result<Duration> {
        let wanted =
            |change: &Change| change.thing == thing && states.contains(&change.state.as_str());
        let found = || self.since(since).into_iter().find(wanted);
        let what = format!("{thing} is {}", states.join(" or "));
        moment::eventually(&what, deadline, || Ok(found().map(|change| change.at)))
            .with_context(|| format!("told instead: {:?}", self.since(since)))
    }

    /// All that was told at or after a moment.
    pub fn since(&self, moment: Duration) -> Vec<Change> {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes
            .iter()
            .filter(|change| change.at >= moment)
            .cloned()
            .collect()
    }
}
