//! How a device begins and ends, and what wg-quick makes of it.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use sluss_tests::artifacts;
use sluss_tests::end::{add_address, public};
use sluss_tests::moment::eventually;
use sluss_tests::netns::{Netns, veth};
use sluss_tests::uapi::{Device, Program, installed};

const PATIENCE: Duration = Duration::from_secs(10);

/// Whoever is left alone to end.
type Ending = fn(&Device) -> Result<()>;

pub(crate) fn it_ends_by_signal_device_or_socket() -> Result<()> {
    let endings: [(&str, Ending); 4] = [
        ("term", |device| device.process.signal(Signal::SIGTERM)),
        ("int", |device| device.process.signal(Signal::SIGINT)),
        ("link", |device| {
            device
                .network
                .ip(&format!("link del {}", device.name))
                .map(drop)
        }),
        ("socket", |device| {
            Ok(std::fs::remove_file(device.socket())?)
        }),
    ];
    for (name, end) in endings {
        for (has_key, kind) in [(false, "fresh"), (true, "busy")] {
            let name = format!("{kind}-{name}");
            let network = Netns::new(&name)?;
            let mut device = Device::start(Program::Ours, &network, &name)?;
            network.ip(&format!("link set {name} up"))?;
            if has_key {
                let key = "77".repeat(32);
                device.ask(&format!("set=1\nprivate_key={key}\n\n"))?;
            }
            end(&device)?;
            let status = device.ended().with_context(|| name.clone())?;
            ensure!(status.success(), "{name}: {status}");
            ensure!(!device.socket().exists(), "{name}: the socket is left");
            ensure!(
                network.ip(&format!("link show {name}")).is_err(),
                "{name}: the device is left"
            );
        }
    }
    Ok(())
}

pub(crate) fn a_socket_is_taken_over_from_the_dead_only() -> Result<()> {
    let (first, second) = (Netns::new("first")?, Netns::new("second")?);
    let mut device = Device::start(Program::Ours, &first, "same")?;
    let refused = second.output(&mut Program::Ours.command("same")?)?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        !refused.status.success() && said.contains("in use"),
        "{said}"
    );
    ensure!(device.ask("get=1\n\n")?.contains("errno=0"));

    device.process.kill()?;
    ensure!(device.socket().exists(), "nobody could remove it");
    let device = Device::start(Program::Ours, &first, "same")?;
    ensure!(device.ask("get=1\n\n")?.contains("errno=0"));
    let mode = device.socket().metadata()?.permissions().mode();
    ensure!(mode & 0o077 == 0, "{mode:o}");
    Ok(())
}

/// As `wg-quick` starts wireguard-go: the program shall be in the background when it serves.
const BACKGROUND: &str = "#!/bin/sh
setsid SLUSS_UAPI \"$1\" </dev/null >/dev/null 2>&1 &
until [ -S \"/var/run/wireguard/$1.sock\" ]; do sleep 0.02; done
";

/// `wg-quick` takes the kernel's device where there is one.
const NO_KERNEL: &str = "#!/bin/sh
case \"$*\" in *'type wireguard'*) exit 2;; esac
exec IP \"$@\"
";

/// With the default route through the tunnel, so by a mark, a rule, and a table of its own.
pub(crate) fn wg_quick_brings_it_up_and_down() -> Result<()> {
    let quick = Path::new("/run/quick");
    std::fs::create_dir_all(quick)?;
    let ip = installed("ip")?.display().to_string();
    // It looks for programs beside itself first.
    std::fs::copy(installed("wg-quick")?, quick.join("wg-quick"))?;
    let uapi = artifacts::sluss_uapi()?;
    let script = |name: &str, text: String| -> Result<()> {
        let path = quick.join(name);
        std::fs::write(&path, text)?;
        Ok(std::fs::set_permissions(
            path,
            std::fs::Permissions::from_mode(0o755),
        )?)
    };
    script("ip", NO_KERNEL.replace("IP", &ip))?;
    script(
        "background",
        BACKGROUND.replace("SLUSS_UAPI", &uapi.display().to_string()),
    )?;
    if Path::new("/sys/module/wireguard").exists() {
        let none = None::<&str>;
        mount(
            Some("none"),
            "/sys/module",
            Some("tmpfs"),
            MsFlags::empty(),
            none,
        )?;
    }

    let (laptop, internet) = (Netns::new("laptop")?, Netns::new("internet")?);
    veth((&laptop, "eth0"), (&internet, "eth0"))?;
    laptop.ip("addr add 192.0.2.1/24 dev eth0")?;
    laptop.ip("route add default via 192.0.2.2")?;
    internet.ip("addr add 192.0.2.2/24 dev eth0")?;
    let gateway = Device::start(Program::WireguardGo, &internet, "gateway")?;
    gateway.wg_conf(
        "setconf",
        &format!(
            "[Interface]\nPrivateKey = {}\nListenPort = 51820\n\
             [Peer]\nPublicKey = {}\nAllowedIPs = 10.9.0.1/32, fd09::1/128\n",
            STANDARD.encode([2; 32]),
            STANDARD.encode(public([1; 32]).0),
        ),
    )?;
    internet.ip("link set gateway up")?;
    for address in ["10.9.0.2/24", "fd09::2/64", "203.0.113.9/32"] {
        add_address(&internet, "gateway", address)?;
    }
    std::fs::write(
        "/run/quick0.conf",
        format!(
            "[Interface]\nPrivateKey = {}\nAddress = 10.9.0.1/24, fd09::1/64\nMTU = 1400\n\
             [Peer]\nPublicKey = {}\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = 192.0.2.2:51820\n",
            STANDARD.encode([1; 32]),
            STANDARD.encode(public([2; 32]).0),
        ),
    )?;
    let wg_quick = |verb: &str| -> Result<()> {
        let mut command = Command::new(quick.join("wg-quick"));
        command.args([verb, "/run/quick0.conf"]).env(
            "WG_QUICK_USERSPACE_IMPLEMENTATION",
            quick.join("background"),
        );
        let output = laptop.output(&mut command)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "wg-quick {verb}: {said}");
        Ok(())
    };

    let before = laptop.ip("route show table all")?;
    wg_quick("up")?;
    ensure!(laptop.ip("link show quick0")?.contains("mtu 1400"));
    let mark = laptop.sh("wg show quick0 fwmark")?;
    ensure!(mark.trim() != "off", "the way around the tunnel is by mark");
    for (to, bind) in [
        ("203.0.113.9:7", "0.0.0.0:0"),
        ("10.9.0.2:7", "0.0.0.0:0"),
        ("[fd09::2]:7", "[::]:0"),
    ] {
        let there = internet.run(|| UdpSocket::bind(to))?;
        let here = laptop.run(|| UdpSocket::bind(bind))?;
        for socket in [&here, &there] {
            socket.set_read_timeout(Some(PATIENCE))?;
        }
        here.send_to(&[7; 1_300], to)?;
        let mut got = [0; 2_048];
        let (count, from) = there.recv_from(&mut got).context(to)?;
        there.send_to(&got[..count], from)?;
        ensure!(here.recv(&mut got).context(to)? == 1_300);
    }
    wg_quick("down")?;
    eventually("the program's end", PATIENCE, || {
        Ok((!Path::new("/run/wireguard/quick0.sock").exists()).then_some(()))
    })?;
    ensure!(laptop.ip("route show table all")? == before);
    ensure!(!laptop.ip("rule")?.contains("fwmark"));
    Ok(())
}
