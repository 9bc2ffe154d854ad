//! Packets through our device to other people's, while it is configured anew.

use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sluss_tests::end::{add_address, public};
use sluss_tests::moment::eventually;
use sluss_tests::netns::{Netns, veth};
use sluss_tests::uapi::{Device, Program};

const PATIENCE: Duration = Duration::from_secs(15);

/// The private key of our device.
const HUB: [u8; 32] = [0x50; 32];

/// Our device, and a star of others around it.
struct Hub {
    device: Device,
    socket: UdpSocket,
    spokes: Vec<Spoke>,
}

struct Spoke {
    device: Device,
    /// Its address in the tunnel.
    address: String,
    socket: UdpSocket,
    private: [u8; 32],
}

impl Spoke {
    fn key(&self) -> String {
        STANDARD.encode(public(self.private).0)
    }
}

impl Hub {
    fn new(programs: &[Program]) -> Result<Hub> {
        let network = Netns::new("hub")?;
        let device = Device::start(Program::Ours, &network, "hub")?;
        device.wg_conf(
            "setconf",
            &format!(
                "[Interface]\nPrivateKey = {}\nListenPort = 51820\n",
                STANDARD.encode(HUB)
            ),
        )?;
        network.ip("link set hub up")?;
        add_address(&network, "hub", "10.9.0.1/16")?;
        let socket = network.run(|| UdpSocket::bind("10.9.0.1:7"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let spokes = programs.iter().zip(1..);
        let spokes = spokes.map(|(program, number)| spoke(*program, number, &network));
        let spokes = spokes.collect::<Result<Vec<_>>>()?;
        for (spoke, number) in spokes.iter().zip(1..) {
            device.wg(&format!(
                "set DEV peer {} endpoint 192.0.{number}.2:51820 allowed-ips 10.9.{number}.0/24",
                spoke.key()
            ))?;
        }
        Ok(Hub {
            device,
            socket,
            spokes,
        })
    }

    /// A packet of each of several sizes to this spoke and back.
    fn round(&self, spoke: &Spoke) -> Result<()> {
        let there = (spoke.address.as_str(), 7);
        for length in [1, 500, 1_392] {
            let content: Vec<u8> = spoke.address.bytes().cycle().take(length).collect();
            self.socket.send_to(&content, there)?;
            let mut got = [0; 2_048];
            let (count, from) = spoke
                .socket
                .recv_from(&mut got)
                .with_context(|| format!("{length} bytes to {}", spoke.device.name))?;
            ensure!(got[..count] == content, "not what was sent");
            spoke.socket.send_to(&content, from)?;
            let (count, from) = self
                .socket
                .recv_from(&mut got)
                .with_context(|| format!("{length} bytes from {}", spoke.device.name))?;
            ensure!(got[..count] == content, "not what was sent");
            ensure!(from.ip().to_string() == spoke.address, "from {from}");
        }
        Ok(())
    }
}

fn spoke(program: Program, number: u8, hub: &Netns) -> Result<Spoke> {
    let name = format!("spoke{number}");
    let network = Netns::new(&name)?;
    veth((hub, &format!("eth{number}")), (&network, "eth0"))?;
    hub.ip(&format!("addr add 192.0.{number}.1/24 dev eth{number}"))?;
    network.ip(&format!("addr add 192.0.{number}.2/24 dev eth0"))?;
    let device = Device::start(program, &network, &name)?;
    let private = [number; 32];
    device.wg_conf(
        "setconf",
        &format!(
            "[Interface]\nPrivateKey = {}\nListenPort = 51820\n\
             [Peer]\nPublicKey = {}\nAllowedIPs = 10.9.0.0/16\nEndpoint = 192.0.{number}.1:51820\n",
            STANDARD.encode(private),
            STANDARD.encode(public(HUB).0),
        ),
    )?;
    network.ip(&format!("link set {name} mtu 1420 up"))?;
    let address = format!("10.9.{number}.1");
    add_address(&network, &name, &format!("{address}/16"))?;
    let socket = network.run(|| UdpSocket::bind((address.as_str(), 7)))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(Spoke {
        device,
        address,
        socket,
        private,
    })
}

pub(crate) fn several_peers_have_traffic_each() -> Result<()> {
    let hub = Hub::new(&[
        Program::WireguardGo,
        Program::Boringtun,
        Program::Gotatun,
        Program::Ours,
    ])?;
    for _ in 0..20 {
        for spoke in &hub.spokes {
            hub.round(spoke)?;
        }
    }
    let transfer = hub.device.wg("show DEV transfer")?;
    for spoke in &hub.spokes {
        let line = transfer
            .lines()
            .find_map(|line| line.strip_prefix(&spoke.key()))
            .context("every peer is shown")?;
        for bytes in line.split_whitespace() {
            let payload = 20 * (1 + 500 + 1_392);
            ensure!(bytes.parse::<u64>()? > payload, "{transfer}");
        }
    }
    let handshakes = hub.device.wg("show DEV latest-handshakes")?;
    let now = sluss_tests::moment::now().as_secs();
    for line in handshakes.lines() {
        let at: u64 = line.split_whitespace().nth(1).context("a time")?.parse()?;
        ensure!((now - 100..=now).contains(&at), "{handshakes}");
    }
    Ok(())
}

/// Packet after packet goes to an address while that is given to one peer and to the other: each arrives, at the one or at the other.
pub(crate) fn an_address_moves_between_peers_without_a_loss() -> Result<()> {
    const ROAMING: &str = "10.9.9.9";
    const MOVES: usize = 20;
    let hub = Hub::new(&[Program::WireguardGo, Program::Boringtun])?;
    for spoke in &hub.spokes {
        hub.round(spoke)?;
        add_address(&spoke.device.network, &spoke.device.name, "10.9.9.9/32")?;
    }
    let arrivals = arrivals(&hub, ROAMING)?;
    let mut sent = 0_u64;
    let mut send = || -> Result<usize> {
        sent += 1;
        hub.socket.send_to(&sent.to_be_bytes(), (ROAMING, 7))?;
        let (spoke, number) = arrivals
            .recv_timeout(PATIENCE)
            .with_context(|| format!("packet {sent} was lost"))?;
        ensure!(number == sent, "{number} instead of {sent}");
        Ok(spoke)
    };
    let give = |spoke: usize| {
        let number = spoke + 1;
        hub.device.wg(&format!(
            "set DEV peer {} allowed-ips 10.9.{number}.0/24,{ROAMING}/32",
            hub.spokes[spoke].key()
        ))
    };
    give(0)?;
    let mut during = 0;
    for owner in [1, 0].into_iter().cycle().take(MOVES) {
        std::thread::scope(|scope| -> Result<()> {
            let moving = scope.spawn(|| give(owner));
            let mut has_moved = false;
            while !moving.is_finished() {
                let arrived_at = send()?;
                during += 1;
                ensure!(!has_moved || arrived_at == owner, "and back again");
                has_moved = arrived_at == owner;
            }
            moving.join().expect("no panic")?;
            Ok(())
        })?;
        ensure!(send()? == owner, "it is another's now");
    }
    println!("measured {during} packets under way during {MOVES} moves, none lost");

    // Who had it may no longer speak in its name; who has it, may.
    let owners = hub.device.wg("show DEV allowed-ips")?;
    ensure!(owners.matches("10.9.9.9/32").count() == 1, "{owners}");
    for (spoke, says) in [(1, "not mine"), (0, "mine")] {
        let network = &hub.spokes[spoke].device.network;
        let socket = network.run(|| UdpSocket::bind((ROAMING, 8)))?;
        socket.send_to(says.as_bytes(), "10.9.0.1:7")?;
    }
    let mut got = [0; 64];
    let (count, _) = hub.socket.recv_from(&mut got)?;
    ensure!(&got[..count] == b"mine");
    Ok(())
}

/// Which spoke a numbered packet to this address came out of.
fn arrivals(hub: &Hub, address: &str) -> Result<Receiver<(usize, u64)>> {
    let (sender, arrivals) = channel();
    for (spoke, at) in hub.spokes.iter().zip(0..) {
        let network = &spoke.device.network;
        let socket = network.run(|| UdpSocket::bind((address, 7)))?;
        let sender = sender.clone();
        // Ends with the trial's process.
        std::thread::spawn(move || {
            let mut number = [0; 8];
            while socket.recv(&mut number).is_ok() {
                let _ = sender.send((at, u64::from_be_bytes(number)));
            }
        });
    }
    Ok(arrivals)
}

pub(crate) fn a_preshared_key_counts_from_the_next_handshake() -> Result<()> {
    let hub = Hub::new(&[Program::WireguardGo])?;
    let spoke = &hub.spokes[0];
    hub.round(spoke)?;
    std::fs::write("/run/preshared", STANDARD.encode([9; 32]))?;
    let set = |device: &Device, key: &str| {
        device.wg(&format!("set DEV peer {key} preshared-key /run/preshared"))
    };
    set(&hub.device, &spoke.key())?;
    hub.round(spoke).context("the session in use lives on")?;

    // Who knows nothing of that session asks for one: and does not believe us, since it lacks the key that we agree with.
    let ours = STANDARD.encode(public(HUB).0);
    spoke.device.wg(&format!("set DEV peer {ours} remove"))?;
    spoke.device.wg(&format!(
        "set DEV peer {ours} allowed-ips 10.9.0.0/16 endpoint 192.0.1.1:51820"
    ))?;
    let ask = || spoke.socket.send_to(b"anybody?", "10.9.0.1:9");
    eventually("a second initiation", PATIENCE, || {
        ask()?;
        let said: u64 = spoke.device.value("tx_bytes")?.parse()?;
        Ok((said >= 2 * 148).then_some(()))
    })?;
    ensure!(spoke.device.value("last_handshake_time_sec")? == "0");

    set(&spoke.device, &ours)?;
    eventually("a session with the new key", PATIENCE, || {
        ask()?;
        Ok((spoke.device.value("last_handshake_time_sec")? != "0").then_some(()))
    })?;
    // Until we have heard from it on that session, what we send goes out on the one before (whitepaper 6.3), and is lost.
    spoke
        .socket
        .set_read_timeout(Some(Duration::from_millis(100)))?;
    eventually("a packet under the new key", PATIENCE, || {
        hub.socket.send_to(b"new", (spoke.address.as_str(), 7))?;
        Ok(spoke.socket.recv(&mut [0; 8]).ok())
    })?;
    Ok(())
}

pub(crate) fn another_port_another_key_the_same_peers() -> Result<()> {
    let hub = Hub::new(&[Program::WireguardGo, Program::Boringtun])?;
    let rounds = || hub.spokes.iter().try_for_each(|spoke| hub.round(spoke));
    rounds()?;
    let described = || -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for what in ["allowed-ips", "endpoints", "preshared-keys"] {
            let told = hub.device.wg(&format!("show DEV {what}"))?;
            lines.extend(told.lines().map(str::to_owned));
        }
        Ok(lines)
    };
    let before = described()?;

    hub.device.wg("set DEV listen-port 4000")?;
    ensure!(hub.device.value("listen_port")? == "4000");
    ensure!(described()? == before);
    rounds().context("on another port")?;
    for (spoke, number) in hub.spokes.iter().zip(1..) {
        let endpoint = spoke.device.value("endpoint")?;
        ensure!(endpoint == format!("192.0.{number}.1:4000"), "{endpoint}");
    }

    // What cannot be had changes nothing.
    let taken = hub.device.network.run(|| UdpSocket::bind("[::]:5000"))?;
    ensure!(hub.device.ask("set=1\nlisten_port=5000\n\n")? == "errno=-98\n\n");
    drop(taken);
    ensure!(hub.device.value("listen_port")? == "4000");
    rounds().context("on the port that was kept")?;

    let transfer = hub.device.wg("show DEV transfer")?;
    let new = [0x58; 32];
    std::fs::write("/run/private", STANDARD.encode(new))?;
    hub.device.wg("set DEV private-key /run/private")?;
    ensure!(hub.device.wg("show DEV public-key")?.trim() == STANDARD.encode(public(new).0));
    ensure!(described()? == before);
    let kept = hub.device.wg("show DEV transfer")?;
    ensure!(kept == transfer, "{transfer} has become {kept}");
    for (spoke, number) in hub.spokes.iter().zip(1..) {
        let (old, new) = (
            STANDARD.encode(public(HUB).0),
            STANDARD.encode(public(new).0),
        );
        spoke.device.wg(&format!("set DEV peer {old} remove"))?;
        spoke.device.wg(&format!(
            "set DEV peer {new} allowed-ips 10.9.0.0/16 endpoint 192.0.{number}.1:4000"
        ))?;
        // They ask: our own next try may be seconds away.
        spoke.socket.send_to(b"hello", "10.9.0.1:9")?;
    }
    rounds().context("with another key")
}

pub(crate) fn a_mark_is_on_what_is_sent_from_now_on() -> Result<()> {
    let hub = Hub::new(&[Program::WireguardGo])?;
    let network = &hub.device.network;
    network.nft(
        "table inet seen { chain out { type filter hook output priority 0
            udp sport 51820 meta mark 0 counter
            udp sport 51820 meta mark 81 counter
         }; }",
    )?;
    let seen = || -> Result<[u64; 2]> {
        let listed = network.sh("nft list table inet seen")?;
        let counts = listed.split("packets ").skip(1);
        let counts = counts.map(|rest| rest.split(' ').next().unwrap_or_default().parse());
        let counts: Vec<u64> = counts.collect::<Result<_, _>>()?;
        counts.try_into().ok().context("two counters")
    };
    hub.round(&hub.spokes[0])?;
    let [unmarked, none] = seen()?;
    ensure!(unmarked > 0 && none == 0, "{unmarked} {none}");
    hub.device.wg("set DEV fwmark 81")?;
    hub.round(&hub.spokes[0])?;
    let [same, marked] = seen()?;
    ensure!(same == unmarked && marked > 0, "{same} {marked}");
    // A new socket has it, too.
    hub.device.wg("set DEV listen-port 0")?;
    hub.device.wg("set DEV listen-port 51820")?;
    hub.round(&hub.spokes[0])?;
    let [same, more] = seen()?;
    ensure!(same == unmarked && more > marked, "{same} {more}");
    hub.device.wg("set DEV fwmark off")?;
    hub.round(&hub.spokes[0])?;
    let [again, same] = seen()?;
    ensure!(again > unmarked && same == more, "{again} {same}");
    Ok(())
}

/// From the moment that it is asked for, with nobody sending anything.
pub(crate) fn a_keepalive_is_sent_while_there_is_nothing_to_send() -> Result<()> {
    let hub = Hub::new(&[Program::WireguardGo])?;
    let spoke = &hub.spokes[0];
    ensure!(spoke.device.value("rx_bytes")? == "0", "nobody has spoken");
    let key = spoke.key();
    let every = |seconds| {
        hub.device.wg(&format!(
            "set DEV peer {key} persistent-keepalive {seconds}"
        ))
    };
    every(3_600)?;
    eventually("a session at once", PATIENCE, || {
        Ok((hub.device.value("last_handshake_time_sec")? != "0").then_some(()))
    })?;
    every(0)?;
    every(1)?;
    // The initiation, the packet that confirms the session, and three more.
    let enough = 148 + 4 * 32;
    eventually("keepalives", PATIENCE, || {
        let heard: u64 = spoke.device.value("rx_bytes")?.parse()?;
        Ok((heard >= enough).then_some(()))
    })
}

pub(crate) fn a_removed_peer_is_heard_no_more() -> Result<()> {
    let hub = Hub::new(&[Program::WireguardGo, Program::Boringtun])?;
    let [removed, other] = [&hub.spokes[0], &hub.spokes[1]];
    hub.round(removed)?;
    hub.round(other)?;
    hub.device
        .wg(&format!("set DEV peer {} remove", removed.key()))?;
    for _ in 0..20 {
        removed.socket.send_to(b"still here", "10.9.0.1:7")?;
    }
    hub.round(other).context("of the two, only this is heard")?;
    hub.device.wg(&format!(
        "set DEV peer {} endpoint 192.0.1.2:51820 allowed-ips 10.9.1.0/24",
        removed.key()
    ))?;
    hub.round(removed).context("back again")
}
