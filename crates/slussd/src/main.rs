//! `slussd`: reads policy and binding, and runs the daemon.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use sluss_platform::secret::Kind;
use sluss_platform::{files, process};
use sluss_policy::{DeviceBinding, Policy, PolicyError, Source};
use slussd::daemon::{self, Settings};
use slussd::{enrolment, pkcs11};
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

/// The Sluss VPN client daemon.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The policy; further parts are read from the directory beside it that ends in .d
    #[arg(long, default_value = "/etc/sluss/policy.toml")]
    policy: PathBuf,
    /// Where the daemon keeps what belongs to this laptop
    #[arg(long, default_value = "/var/lib/sluss")]
    state_dir: PathBuf,
    /// Where the daemon listens for the command
    #[arg(long, default_value = sluss_ipc::SOCKET_PATH)]
    socket: PathBuf,
    /// What goes to the log: error, warn, info, debug or trace
    #[arg(long, default_value = "info")]
    log: EnvFilter,
    /// Where a PIN and an unwrapped key are kept; the best that this kernel has unless given
    #[arg(long, value_enum)]
    secret_memory: Option<Memory>,
    #[command(subcommand)]
    role: Option<Role>,
}

/// How far secrets are kept from others.
#[derive(Clone, Copy, ValueEnum)]
enum Memory {
    /// Nobody but the daemon can read it, root included (memfd_secret, Linux 5.14)
    Hidden,
    /// It is never swapped out
    Locked,
}

/// What this program is when it is not the daemon.
#[derive(Subcommand)]
enum Role {
    /// Loads a PKCS#11 module and serves it to the daemon that started this process
    #[command(name = pkcs11::ROLE, hide = true)]
    Pkcs11Worker { module: PathBuf },
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Role::Pkcs11Worker { module }) = args.role {
        return pkcs11::work(&module).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    tracing_subscriber::fmt()
        .with_env_filter(args.log.clone())
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> anyhow::Result<()> {
    process::harden()?;
    let sources = files::read_policy(&args.policy).context("there is no policy to follow")?;
    let named: Vec<(String, String)> = sources
        .into_iter()
        .map(|(path, text)| (path.display().to_string(), text))
        .collect();
    let sources: Vec<Source<'_>> = named
        .iter()
        .map(|(file, text)| Source { file, text })
        .collect();
    let settings = Settings {
        policy: Policy::parse(&sources).map_err(|errors| mistakes(&errors))?,
        policy_files: named.iter().map(|(file, _)| file.clone()).collect(),
        binding: binding(&args.state_dir)?,
        state_dir: args.state_dir,
        socket: args.socket,
        memory: args.secret_memory.map(|memory| match memory {
            Memory::Hidden => Kind::Hidden,
            Memory::Locked => Kind::Locked,
        }),
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the host cannot wait for events")?
        .block_on(daemon::run(settings))
}

/// None if the laptop is not enrolled yet. A binding that is there and wrong is an error: somebody must look.
fn binding(state_dir: &Path) -> anyhow::Result<Option<DeviceBinding>> {
    let path = enrolment::device_file(state_dir);
    if !path.exists() {
        tracing::warn!(file = %path.display(), "does not exist: this laptop is bound to no card, and no tunnel can open");
        return Ok(None);
    }
    let text = Zeroizing::new(files::read_trusted(&path)?);
    let file = path.display().to_string();
    let binding = DeviceBinding::parse(Source {
        file: &file,
        text: &text,
    })
    .map_err(|errors| mistakes(&errors))?;
    Ok(Some(binding))
}

fn mistakes(errors: &[PolicyError]) -> anyhow::Error {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    anyhow::anyhow!("{}", lines.join("\n"))
}
