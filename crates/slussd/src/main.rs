//! `slussd`: reads policy and binding, and runs the daemon.

use std::alloc::System;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use sluss_platform::secret::Kind;
use sluss_platform::{files, process, resolvers};
use sluss_policy::{DeviceBinding, Policy, Source};
use slussd::daemon::{self, Settings};
use slussd::{binding, pkcs11};
use tracing_subscriber::EnvFilter;
use zeroizing_alloc::ZeroAlloc;

/// What is freed is wiped: messages between threads, buffers that grew, texts that were parsed. Nobody else owns those.
#[global_allocator]
static MEMORY: ZeroAlloc<System> = ZeroAlloc(System);

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
    /// Where the network's resolvers stand if no service knows them
    #[arg(long, default_value = resolvers::RESOLV_CONF)]
    resolv_conf: PathBuf,
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
        policy: Policy::parse(&sources).map_err(|errors| binding::mistakes(&errors))?,
        policy_files: named.iter().map(|(file, _)| file.clone()).collect(),
        binding: read_binding(&args.state_dir)?,
        state_dir: args.state_dir,
        socket: args.socket,
        resolv_conf: args.resolv_conf,
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

/// Tells of a laptop that is not enrolled.
fn read_binding(state_dir: &Path) -> anyhow::Result<Option<DeviceBinding>> {
    let read = binding::read(state_dir)?;
    if read.is_none() {
        let file = binding::file(state_dir);
        tracing::warn!(file = %file.display(), "this laptop is bound to no card, and no tunnel can open: the binding does not exist");
    }
    Ok(read)
}
