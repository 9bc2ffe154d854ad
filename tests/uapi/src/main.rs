//! `sluss-uapi`: our engine as a plain WireGuard device, in the foreground.

use std::alloc::System;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use sluss_platform::UdpOffload;
use sluss_tunnel::Offload;
use sluss_uapi::interface::{Interface, Offloads};
use sluss_uapi::server::{self, Socket};
use zeroizing_alloc::ZeroAlloc;

/// The daemon's, so that what is measured of the one is true of the other.
#[global_allocator]
static MEMORY: ZeroAlloc<System> = ZeroAlloc(System);

/// A plain WireGuard device for tests: configure it with wg(8).
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The TUN device to make, and the name of the socket below /var/run/wireguard
    interface: String,
    /// As it does anyway: taken for those who know wireguard-go
    #[arg(short, long)]
    foreground: bool,
    /// Which super-packets to take from the TUN device, and to give to it
    #[arg(long, value_enum, default_value = "all")]
    tun_offload: TunOffload,
    /// Send datagrams one by one
    #[arg(long)]
    no_gso: bool,
    /// Receive datagrams one by one
    #[arg(long)]
    no_gro: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum TunOffload {
    None,
    Tcp,
    All,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let signals = server::signals()?;
    let offloads = Offloads {
        tun: match args.tun_offload {
            TunOffload::None => Offload::None,
            TunOffload::Tcp => Offload::Tcp,
            TunOffload::All => Offload::TcpAndUdp,
        },
        udp: UdpOffload {
            send: !args.no_gso,
            receive: !args.no_gro,
        },
    };
    let interface = Interface::new(&args.interface, offloads)?;
    let socket = Socket::open(&args.interface)?;
    server::serve(interface, &socket, &signals)
}
