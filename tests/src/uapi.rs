//! Programs that serve WireGuard's cross-platform socket, ours and other people's, and a client of it.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::moment::eventually;
use crate::netns::{Netns, Process};
use crate::{artifacts, skip};

/// How long a program may take to come up, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Ours,
    WireguardGo,
    Gotatun,
    Boringtun,
}

impl Program {
    /// What starts it in the foreground, for a device of this name.
    pub fn command(self, device: &str) -> Result<Command> {
        let (path, options): (PathBuf, &[&str]) = match self {
            Program::Ours => (artifacts::sluss_uapi()?, &["-f"]),
            Program::WireguardGo => (installed("wireguard-go")?, &["-f"]),
            Program::Gotatun => (artifacts::gotatun()?, ALOUD),
            Program::Boringtun => (artifacts::boringtun()?, BORINGTUN),
        };
        let mut command = Command::new(path);
        command
            .args(options)
            .arg(device)
            // wireguard-go asks to be told that it is meant where the kernel might do it.
            .env("WG_PROCESS_FOREGROUND", "1");
        Ok(command)
    }
}

const ALOUD: &[&str] = &["--foreground", "--disable-drop-privileges"];

/// A socket that it connects to a peer stays with the first address, and hears nothing from another one.
const BORINGTUN: &[&str] = &[
    "--foreground",
    "--disable-drop-privileges",
    "--disable-connected-udp",
];

/// Where a program of the system is; skips the trial if it is not.
pub fn installed(program: &str) -> Result<PathBuf> {
    let search = format!("command -v {program}");
    let found = Command::new("sh").args(["-c", &search]).output()?;
    if !found.status.success() {
        skip!("{program} is not installed");
    }
    Ok(String::from_utf8(found.stdout)?.trim().into())
}

/// A device that a program serves; it ends when this is dropped.
pub struct Device {
    pub network: Netns,
    pub name: String,
    pub process: Process,
}

impl Device {
    /// Starts the program, and waits until its socket answers. Device names are one to a trial: the sockets lie side by side.
    pub fn start(program: Program, network: &Netns, name: &str) -> Result<Device> {
        std::fs::create_dir_all("/run/wireguard")?;
        let mut command = program.command(name)?;
        let process = network.spawn(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::inherit()),
        )?;
        let mut device = Device {
            network: network.clone(),
            name: name.to_owned(),
            process,
        };
        eventually("the configuration socket", PATIENCE, || {
            ensure!(device.process.is_running(), "{command:?} has ended");
            Ok(device.connect().ok())
        })?;
        Ok(device)
    }

    pub fn socket(&self) -> PathBuf {
        format!("/run/wireguard/{}.sock", self.name).into()
    }

    pub fn connect(&self) -> Result<UnixStream> {
        let stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// All that is answered to what is sent in one go.
    pub fn ask(&self, request: &str) -> Result<String> {
        let mut stream = self.connect()?;
        stream.write_all(request.as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .with_context(|| format!("the answer to {request:?}"))?;
        Ok(answer)
    }

    /// `wg ARGS`, where `DEV` stands for the device.
    pub fn wg(&self, args: &str) -> Result<String> {
        self.network
            .sh(&format!("wg {}", args.replace("DEV", &self.name)))
    }

    /// `wg HOW DEV`, with the configuration on standard input: `setconf`, `addconf` or `syncconf`.
    pub fn wg_conf(&self, how: &str, configuration: &str) -> Result<()> {
        let mut wg = Command::new("wg");
        wg.args([how, &self.name, "/dev/stdin"]);
        self.network.feed(&mut wg, configuration)
    }

    /// The one value of this key in what the device tells of itself.
    pub fn value(&self, key: &str) -> Result<String> {
        let answer = self.ask("get=1\n\n")?;
        let mut values = answer
            .lines()
            .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value.to_owned()),
            (None, _) | (Some(_), Some(_)) => bail!("not one {key} in {answer}"),
        }
    }

    /// Waits for the program's own end, and gives its exit status.
    pub fn ended(&mut self) -> Result<std::process::ExitStatus> {
        let child = self.process.child();
        eventually("the program's end", PATIENCE, || Ok(child.try_wait()?))
    }
}
