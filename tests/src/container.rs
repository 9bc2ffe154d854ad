//! A booted Debian in the lab: systemd as its first process, and the shipped files where a package puts them.
//!
//! Its disk is the root file system that `cargo xtask` keeps, with a layer on top that goes with the test; its network is
//! one of the lab's. It needs root, and ends with the process that started it, whatever happens.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::artifacts;
use crate::moment::eventually;
use crate::netns::{Netns, Process};
use crate::skip;

/// For a boot: a second when the machine is idle.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Debian that is not running yet: its files may be changed.
pub struct Disk {
    root: PathBuf,
}

/// A running Debian; killed when dropped.
pub struct Container {
    /// Its first process, as this side numbers it: when it ends, the kernel ends all that runs in there.
    init: Pid,
    _nspawn: Process,
}

impl Disk {
    /// A fresh one below `directory`; skips the trial where it cannot be made.
    pub fn new(directory: &Path) -> Result<Disk> {
        if !nix::unistd::geteuid().is_root() || !is_true_root()? {
            skip!("a booted system needs root");
        }
        let base = artifacts::root_file_system()?;
        let layers = directory.join("container");
        std::fs::create_dir_all(&layers)?;
        let none = MsFlags::empty();
        mount(Some("layer"), &layers, Some("tmpfs"), none, None::<&str>)?;
        let [upper, work, root] = ["upper", "work", "root"].map(|name| layers.join(name));
        for layer in [&upper, &work, &root] {
            std::fs::create_dir(layer)?;
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            base.display(),
            upper.display(),
            work.display()
        );
        mount(
            Some("disk"),
            &root,
            Some("overlay"),
            none,
            Some(options.as_str()),
        )
        .context("the container's disk")?;
        Ok(Disk { root })
    }

    /// Puts a file of the host where a package would: `install("target/release/sluss", "usr/bin/sluss")`.
    pub fn install(&self, from: &Path, to: &str) -> Result<()> {
        let to = self.place(to)?;
        std::fs::copy(from, &to)
            .with_context(|| format!("{} to {}", from.display(), to.display()))?;
        Ok(())
    }

    pub fn write(&self, to: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.place(to)?, text)?)
    }

    /// Runs a program of the disk on it, before it boots.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let output = clean("chroot")
            .arg(&self.root)
            .arg(program)
            .args(arguments)
            .output()?;
        succeeded(program, &output).map(|_| ())
    }

    /// Boots it with `network` for its own. Its programs find pcscd where the lab's is.
    pub fn boot(self, network: &Netns) -> Result<Container> {
        std::fs::create_dir_all("/run/pcscd")?;
        let mut command = Command::new("systemd-nspawn");
        command
            .arg(format!("--directory={}", self.root.display()))
            .arg(format!(
                "--network-namespace-path={}",
                network.path().display()
            ))
            .args([
                "--boot",
                "--quiet",
                "--machine=laptop",
                "--register=no",
                "--keep-unit",
                "--resolv-conf=off",
                "--timezone=off",
                "--link-journal=no",
                "--console=pipe",
                // What a real machine's root has, and the daemon needs.
                "--capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_IPC_LOCK",
                "--system-call-filter=memfd_secret",
                "--bind=/run/pcscd",
            ])
            // Debian's systemd wants the hierarchy of today, which the host may not have.
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // From the lab's own network: nspawn enters the other one by itself.
        let mut nspawn = Netns::own("lab")?.spawn(&mut command)?;
        let init = eventually("the container's first process", PATIENCE, || {
            if let Some(status) = nspawn.child().try_wait()? {
                let mut said = String::new();
                if let Some(mut stderr) = nspawn.child().stderr.take() {
                    std::io::Read::read_to_string(&mut stderr, &mut said)?;
                }
                bail!("systemd-nspawn ended with {status}: {said}");
            }
            first_process(nspawn.id())
        })?;
        let container = Container {
            init,
            _nspawn: nspawn,
        };
        eventually("the container has booted", PATIENCE, || {
            let output = container.output("systemctl", &["is-system-running", "--wait"])?;
            let state = String::from_utf8_lossy(&output.stdout);
            match state.trim() {
                "running" => Ok(Some(())),
                "degraded" => bail!("not all units started:\n{}", container.failures()?),
                _ => Ok(None),
            }
        })?;
        Ok(container)
    }

    fn place(&self, path: &str) -> Result<PathBuf> {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        Ok(path)
    }
}

impl Container {
    /// A file of it, as this side reaches it: `path("run/sluss")`.
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.init.to_string())
            .join("root")
            .join(path)
    }

    /// The command that runs a program in it as root.
    pub fn command(&self, program: &str) -> Command {
        let mut command = clean("nsenter");
        // Its root by name: in a host that is itself in a chroot the namespace's root is another.
        let init = self.init.to_string();
        command.args(["--target", &init, "--all", "--root", "--wd", "--", program]);
        command
    }

    /// Runs a program in it to its end, whatever its status.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(program);
        Ok(command.args(arguments).stdin(Stdio::null()).output()?)
    }

    /// Runs a program in it; a failure is an error with what it said.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        succeeded(program, &self.output(program, arguments)?)
    }

    /// What a unit has logged.
    pub fn journal(&self, unit: &str) -> Result<String> {
        self.run(
            "journalctl",
            &["--no-pager", "--output=cat", "--unit", unit],
        )
    }

    fn failures(&self) -> Result<String> {
        let failed = self.run(
            "systemctl",
            &["list-units", "--failed", "--plain", "--no-legend"],
        )?;
        let mut story = String::new();
        for unit in failed.lines().filter_map(|line| line.split(' ').next()) {
            story += &format!("{unit}:\n{}", self.journal(unit)?);
        }
        Ok(story)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // nspawn alone would leave it running. Gone already is fine.
        let _ = kill(self.init, Signal::SIGKILL);
    }
}

/// Root of a user namespace cannot mount what a system needs.
fn is_true_root() -> Result<bool> {
    let map = std::fs::read_to_string("/proc/self/uid_map")?;
    Ok(map.split_whitespace().eq(["0", "0", "4294967295"]))
}

/// The systemd among nspawn's children that is number one of a namespace of its own, once there is one.
fn first_process(nspawn: u32) -> Result<Option<Pid>> {
    let path = format!("/proc/{nspawn}/task/{nspawn}/children");
    for child in std::fs::read_to_string(path)?.split_whitespace() {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let line = |name| status.lines().find_map(|line| line.strip_prefix(name));
        let is_systemd = line("Name:").is_some_and(|name| name.trim() == "systemd");
        let is_first =
            line("NSpid:").is_some_and(|ids| ids.split_whitespace().next_back() == Some("1"));
        if is_systemd && is_first {
            return Ok(Some(Pid::from_raw(child.parse()?)));
        }
    }
    Ok(None)
}

/// Nothing of the caller's environment belongs into another system.
fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C");
    command
}

fn succeeded(program: &str, output: &Output) -> Result<String> {
    ensure!(
        output.status.success(),
        "{program}: {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
