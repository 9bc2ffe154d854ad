//! `sluss-beacon`: the server that proves to laptops that they are inside, and what IT needs to set it up.

mod check;
mod files;
mod inquiry;
mod serve;
mod tally;

use std::alloc::System;
use std::io::{IsTerminal, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use sluss_beacon::Identity;
use sluss_policy::{Beacon, BeaconKind, Pin, ValueError};
use tracing_subscriber::EnvFilter;
use zeroizing_alloc::ZeroAlloc;

/// What is freed is wiped: the key passes through buffers that nobody owns.
#[global_allocator]
static MEMORY: ZeroAlloc<System> = ZeroAlloc(System);

const CONFIG: &str = "/etc/sluss-beacon.toml";
const KEY: &str = "/etc/sluss-beacon.key";

/// Proves to laptops that they are on the internal network.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one")]
enum Command {
    /// Answers laptops until it is told to stop
    Serve {
        #[arg(long, default_value = CONFIG)]
        config: PathBuf,
        /// What goes to the log: error, warn, info, debug or trace
        #[arg(long, default_value = "info")]
        log: EnvFilter,
    },
    /// Reads the configuration, the key and the certificate, and prints what the policy needs
    Check {
        #[arg(long, default_value = CONFIG)]
        config: PathBuf,
    },
    /// The beacon's key
    #[command(subcommand)]
    Key(KeyCommand),
    /// Asks a beacon from here, as a laptop does
    Probe(Inquiry),
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Makes a new key and prints its pin; never overwrites one
    Generate {
        #[arg(default_value = KEY)]
        file: PathBuf,
    },
    /// Prints the pin of a key
    Pin {
        #[arg(default_value = KEY)]
        file: PathBuf,
    },
}

#[derive(clap::Args)]
struct Inquiry {
    /// Where it listens: 10.20.0.53:8443 or [fd20::53]:8443
    #[arg(value_parser = sluss_beacon::address)]
    address: SocketAddr,
    /// As in the policy; without any, the key that it shows is printed, and nothing is proved
    #[arg(long, value_parser = pin)]
    pin: Vec<Pin>,
    /// What is expected at the address
    #[arg(long, value_enum, default_value_t = Kind::Beacon)]
    kind: Kind,
    /// An address that it may see instead of ours, as in the policy
    #[arg(long)]
    nat: Vec<IpAddr>,
    /// How long to wait, in milliseconds
    #[arg(long, default_value_t = 2000)]
    patience: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A beacon, which also says whom it sees
    Beacon,
    /// Any TLS 1.3 server
    Tls,
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sluss-beacon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve { config, log } => {
            tracing_subscriber::fmt()
                .with_env_filter(log)
                .with_ansi(std::io::stderr().is_terminal())
                .with_writer(std::io::stderr)
                .init();
            let (config, identity) = files::read_config(&config)?;
            serve::run(&config, identity)?;
        }
        Command::Check { config } => return check::run(&config),
        Command::Key(KeyCommand::Generate { file }) => {
            files::write_key(&file, &Identity::generate()?)?;
            say(format_args!("{}", files::read_identity(&file, None)?.pin()))?;
        }
        Command::Key(KeyCommand::Pin { file }) => {
            say(format_args!("{}", files::read_identity(&file, None)?.pin()))?;
        }
        Command::Probe(inquiry) => {
            let patience = Duration::from_millis(inquiry.patience);
            return inquiry::run(&inquiry.into(), patience);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn pin(text: &str) -> Result<Pin, String> {
    text.parse().map_err(|error: ValueError| {
        let cut = matches!(
            error,
            ValueError::NotBase64 | ValueError::WrongLength { .. }
        );
        match cut {
            true => "its hash has 44 characters, ending in =; was its end cut off?".to_owned(),
            false => error.to_string(),
        }
    })
}

fn since_epoch() -> Result<Duration> {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("this host's clock is before 1970")
}

fn say(line: std::fmt::Arguments<'_>) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

impl From<Inquiry> for Beacon {
    fn from(inquiry: Inquiry) -> Self {
        Self {
            name: inquiry.address.to_string(),
            kind: match inquiry.kind {
                Kind::Beacon => BeaconKind::Beacon,
                Kind::Tls => BeaconKind::Tls,
            },
            addresses: vec![inquiry.address],
            pins: inquiry.pin,
            site: None,
            nat: inquiry.nat,
        }
    }
}
