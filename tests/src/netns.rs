//! Network namespaces for the lab: a private world for this process, and named networks inside it.
//!
//! [`enter`] starts the program again inside fresh user (when not root), network, mount and process namespaces,
//! with an own `/run`. The process in there is the first of its process namespace: when it ends, however it ends,
//! the kernel ends everything it started. No test can leave a pcscd, a gateway or an interface behind.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, Signal};

/// Set in the environment of a process that already is inside.
const INSIDE: &str = "SLUSS_LAB_INSIDE";

/// Starts this program again in a world of its own, waits, and exits with its status; returns only in there.
///
/// Call it first in `main`, before any thread exists. Root needs nothing; an ordinary user gets a user namespace, and
/// `sudo -n` where user namespaces are off.
pub fn enter() -> Result<()> {
    if std::env::var_os(INSIDE).is_none() {
        let status = reentry(std::env::args().skip(1))?
            .status()
            .context("unshare")?;
        std::process::exit(exit_code(status));
    }
    end_on_interrupt()?;
    mount(
        Some("lab"),
        "/run",
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .context("own /run")?;
    std::fs::create_dir("/run/netns")?;
    prepare_network()
}

/// The command that runs this program with `args` in fresh namespaces; killing it kills all that runs in them.
pub fn reentry(args: impl IntoIterator<Item = String>) -> Result<Command> {
    let program = std::env::current_exe()?;
    let mut command = match privilege() {
        Privilege::Root => Command::new("unshare"),
        Privilege::UserNamespace => {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user"]);
            if subordinate_ids() {
                command.arg("--map-auto");
            }
            command
        }
        Privilege::Sudo => {
            let mut command = Command::new("sudo");
            command.args(["-n", "--preserve-env", "unshare"]);
            command
        }
    };
    command.args([
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
    ]);
    command.arg(program).args(args).env(INSIDE, "1");
    Ok(command)
}

/// Whether more than one user exists in the lab: for root, and for a user with subordinate ids.
pub fn has_several_users() -> bool {
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| {
        let ids: u64 = map
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok())
            .sum();
        ids > 1
    })
}

/// A network namespace with a name, gone when the process ends.
///
/// `ip -n NAME …` finds it, since it is mounted under the private `/run/netns`.
#[derive(Clone)]
pub struct Netns {
    name: String,
    handle: Arc<File>,
}

impl Netns {
    /// A new, empty network with loopback up.
    pub fn new(name: &str) -> Result<Netns> {
        let path = PathBuf::from("/run/netns").join(name);
        let make = || -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let here = "/proc/thread-self/ns/net";
            File::create_new(&path)?;
            mount(
                Some(here),
                &path,
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )?;
            prepare_network()?;
            Ok(File::open(here)?)
        };
        let handle = in_thread(make).with_context(|| format!("network namespace {name}"))?;
        Ok(Netns {
            name: name.to_owned(),
            handle: Arc::new(handle),
        })
    }

    /// The network that the process itself is in, under a name for messages.
    pub fn own(name: &str) -> Result<Netns> {
        Ok(Netns {
            name: name.to_owned(),
            handle: Arc::new(File::open("/proc/thread-self/ns/net")?),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Path that `nsenter --net=` understands.
    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Runs `body` on a thread inside this network. Sockets made there stay in it and may be used anywhere.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        in_thread(|| {
            setns(&*self.handle, CloneFlags::CLONE_NEWNET)
                .expect("this process may enter the networks it made");
            body()
        })
    }

    /// Starts a program inside this network; it is killed when the [`Process`] is dropped.
    pub fn spawn(&self, command: &mut Command) -> Result<Process> {
        let child = self
            .run(|| {
                // A child inherits what its parent blocks, and must hear when it is told to end.
                endings().thread_unblock()?;
                command.spawn()
            })
            .with_context(|| format!("start {command:?} in {}", self.name))?;
        Ok(Process { child })
    }

    /// Runs a program inside this network to its end, with its output captured, whatever its status.
    pub fn output(&self, command: &mut Command) -> Result<Output> {
        self.run(|| command.stdin(Stdio::null()).output())
            .with_context(|| format!("{command:?} in {}", self.name))
    }

    /// Runs a command line (split at spaces, no shell) inside this network; a failure is an error with what it said.
    pub fn sh(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let program = words.next().context("empty command line")?;
        let output = self.output(Command::new(program).args(words))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`{line}` in {}: {}",
            self.name,
            said.trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `ip ARGS` inside this network.
    pub fn ip(&self, args: &str) -> Result<String> {
        self.sh(&format!("ip {args}"))
    }

    /// `ip -batch` inside this network: one command a line, and the first failure ends it.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        self.feed(Command::new("ip").args(["-batch", "-"]), lines)
    }

    /// Loads an nftables ruleset, in one transaction.
    pub fn nft(&self, ruleset: &str) -> Result<()> {
        self.feed(Command::new("nft").args(["-f", "-"]), ruleset)
    }

    /// Runs a program inside this network with `text` on its standard input; a failure is an error with what it said.
    pub fn feed(&self, command: &mut Command, text: &str) -> Result<()> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = self
            .run(|| command.spawn())
            .with_context(|| format!("start {command:?}"))?;
        child
            .stdin
            .take()
            .context("standard input")?
            .write_all(text.as_bytes())?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{command:?} in {}: {}",
            self.name,
            said.trim()
        );
        Ok(())
    }

    /// Sets a key below `net.`, for example `sysctl("ipv4.ip_forward", "1")`; dots separate, as in `ip_forward`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(key.replace('.', "/"));
        self.run(|| std::fs::write(&path, value))
            .with_context(|| format!("{} = {value}", path.display()))
    }
}

/// Joins two networks by a virtual Ethernet cable; both ends are up.
pub fn veth((here, here_name): (&Netns, &str), (there, there_name): (&Netns, &str)) -> Result<()> {
    here.ip(&format!(
        "link add {here_name} type veth peer name {there_name} netns {}",
        there.path().display()
    ))?;
    here.ip(&format!("link set {here_name} up"))?;
    there.ip(&format!("link set {there_name} up"))?;
    Ok(())
}

/// A program of the lab that is killed, by its own process id, when it is dropped.
pub struct Process {
    child: Child,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The standard library's handle, for its pipes and its status.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.id())?);
        Ok(nix::sys::signal::kill(pid, signal)?)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is fine: the standard library does not signal a process that it has waited for.
        let _ = self.kill();
    }
}

/// The status as a shell would give it: 128 + signal where a signal ended the process.
pub fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// How this user comes to network namespaces of its own.
enum Privilege {
    Root,
    UserNamespace,
    Sudo,
}

fn privilege() -> Privilege {
    if nix::unistd::geteuid().is_root() {
        return Privilege::Root;
    }
    let quiet = |command: &mut Command| {
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let tun = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .is_ok();
    let namespaces =
        tun && quiet(Command::new("unshare").args(["--user", "--map-root-user", "--net", "true"]));
    if !namespaces && quiet(Command::new("sudo").args(["-n", "true"])) {
        Privilege::Sudo
    } else {
        Privilege::UserNamespace
    }
}

fn subordinate_ids() -> bool {
    let Ok(Some(user)) = nix::unistd::User::from_uid(nix::unistd::getuid()) else {
        return false;
    };
    let owner = format!("{}:", user.name);
    ["/etc/subuid", "/etc/subgid"].iter().all(|path| {
        std::fs::read_to_string(path).is_ok_and(|text| text.lines().any(|l| l.starts_with(&owner)))
    }) && Path::new("/usr/bin/newuidmap").exists()
}

/// Loopback up, and IPv6 addresses usable at once (duplicate address detection takes a second, and the lab has none).
fn prepare_network() -> Result<()> {
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .context("ip (package iproute2)")?;
    if !up.success() {
        bail!("loopback does not come up");
    }
    for scope in ["all", "default"] {
        for key in ["accept_dad", "dad_transmits"] {
            match std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/{key}"), "0") {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).context(key);
                }
                // A kernel without IPv6 has nothing to detect.
                Ok(()) | Err(_) => {}
            }
        }
    }
    Ok(())
}

/// The first process of a namespace ignores signals it has no handler for: without this, Ctrl-C would do nothing.
fn end_on_interrupt() -> Result<()> {
    let signals = endings();
    signals.thread_block()?;
    std::thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            std::process::exit(128 + signal as i32);
        }
    });
    Ok(())
}

/// The signals that ask a process to end.
fn endings() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .collect()
}

fn in_thread<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(body).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
