//! Checksums as other people's tcpdump sees them behind the gateway, when the kernel has taken our frames and sent them on.

use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use memchr::memmem;
use nix::sys::signal::Signal;
use sluss_tests::end::{End, Offloads, TUN, add_address};
use sluss_tests::moment::eventually;
use sluss_tests::netns::{Netns, Process, veth};
use sluss_tests::tap::{Inlet, Outlet};

use crate::cable::{Cable, Way};
use crate::mixes::converse;
use crate::packets::Source;

const PCAP: &str = "/run/inside.pcap";

/// What the last packet of a recording carries.
const LAST: &[u8] = b"that was the last of this recording";

/// The cable, and a network behind its right end. The card there computes nothing: what leaves is complete.
struct Office {
    cable: Cable,
    inside: Netns,
}

impl Office {
    fn new() -> Result<Office> {
        let (cable, inside) = (Cable::new(1500)?, Netns::new("inside")?);
        veth((&cable.right, "eth1"), (&inside, "eth0"))?;
        cable.right.sh("ethtool -K eth1 tx off tso off gso off")?;
        cable.right.sysctl("ipv4.ip_forward", "1")?;
        cable.right.sysctl("ipv6.conf.all.forwarding", "1")?;
        for (network, device, host) in [(&cable.right, "eth1", 1), (&inside, "eth0", 2)] {
            // As the tunnel, so that nobody has to find out first.
            network.ip(&format!("link set {device} mtu 1420"))?;
            add_address(network, device, &format!("10.77.2.{host}/24"))?;
            add_address(network, device, &format!("fd77:0:0:2::{host}/64"))?;
        }
        inside.ip("route add default via 10.77.2.1")?;
        inside.ip("-6 route add default via fd77:0:0:2::1")?;
        Ok(Office { cable, inside })
    }

    fn tunnels(&self, offloads: Offloads) -> Result<(End, End)> {
        let ends = self.cable.tunnels(|end| end.offloads = offloads)?;
        self.cable
            .left
            .ip(&format!("route add 10.77.2.0/24 dev {TUN}"))?;
        self.cable
            .left
            .ip(&format!("-6 route add fd77:0:0:2::/64 dev {TUN}"))?;
        self.cable
            .right
            .ip(&format!("route add 10.77.1.0/24 dev {TUN}"))?;
        self.cable
            .right
            .ip(&format!("-6 route add fd77:0:0:1::/64 dev {TUN}"))?;
        Ok(ends)
    }

    fn ways(&self) -> Result<[Way<'_>; 2]> {
        let way = |address: &str| -> Result<Way<'_>> {
            Ok(Way {
                from: &self.cable.left,
                to: &self.inside,
                address: address.parse()?,
            })
        };
        Ok([way("10.77.2.2")?, way("fd77:0:0:2::2")?])
    }

    /// Records what comes to the network inside.
    fn record(&self) -> Result<Process> {
        let mut tcpdump = Command::new("tcpdump");
        tcpdump.args([
            "-i",
            "eth0",
            "-U",
            "--immediate-mode",
            "-Q",
            "in",
            "-B",
            "65536",
            "-w",
            PCAP,
            "-Z",
            "root",
        ]);
        let process = self.inside.spawn(
            tcpdump
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )?;
        // It writes the file's header when it listens.
        eventually("tcpdump listens", Duration::from_secs(10), || {
            Ok(std::fs::metadata(PCAP)
                .is_ok_and(|file| file.len() > 0)
                .then_some(()))
        })?;
        Ok(process)
    }

    /// What tcpdump says about what came since, one packet a line.
    fn report(&self, mut process: Process) -> Result<Vec<String>> {
        let sender = self.cable.right.run(|| UdpSocket::bind("10.77.2.1:0"))?;
        sender.send_to(LAST, "10.77.2.2:9")?;
        eventually("tcpdump has seen the last", Duration::from_secs(10), || {
            Ok(memmem::find(&std::fs::read(PCAP)?, LAST).map(drop))
        })?;
        process.signal(Signal::SIGINT)?;
        process.child().wait()?;
        let mut tcpdump = Command::new("tcpdump");
        let output = self
            .inside
            .output(tcpdump.args(["-n", "-t", "-vvv", "-r", PCAP]))?;
        std::fs::remove_file(PCAP)?;
        let text = String::from_utf8(output.stdout)?;
        let mut lines: Vec<String> = Vec::new();
        for line in text.lines() {
            match lines.last_mut() {
                // What belongs to the packet before is indented.
                Some(last) if line.starts_with(char::is_whitespace) => last.push_str(line),
                Some(_) | None => lines.push(line.to_owned()),
            }
        }
        lines.retain(|line| !line.contains("> 10.77.2.2.9:"));
        Ok(lines)
    }
}

/// As tcpdump words it, for IPv4, TCP, UDP, ICMP and ICMPv6.
const BAD: [&str; 4] = ["incorrect", "bad cksum", "bad udp cksum", "wrong"];
const GOOD: [&str; 2] = ["(correct)", "[udp sum ok]"];

fn is_any(line: &str, words: &[&str]) -> bool {
    words.iter().any(|word| line.contains(word))
}

pub(crate) fn tcpdump_finds_no_bad_checksum() -> Result<()> {
    let office = Office::new()?;
    let mut checked = 0;
    for (seed, offloads) in (1_000..).zip(Offloads::every()) {
        let _ends = office.tunnels(offloads)?;
        let tcpdump = office.record()?;
        converse(&office.ways()?, seed).with_context(|| format!("seed {seed}, {offloads:?}"))?;
        let report = office.report(tcpdump)?;
        // An ICMP error quotes a packet as the kernel had it in hand, which need not have summed it.
        let mut packets = report.iter().filter(|line| !line.contains(" unreachable"));
        if let Some(bad) = packets.find(|line| is_any(line, &BAD)) {
            anyhow::bail!("seed {seed}, {offloads:?}: {bad}");
        }
        let good = report.iter().filter(|line| is_any(line, &GOOD)).count();
        ensure!(
            good > 500,
            "{good} of {} packets have a checksum: {offloads:?}",
            report.len()
        );
        checked += good;
    }
    println!("measured {checked} checksums, all good");
    Ok(())
}

/// A super-packet's checksum is computed anew. A packet that came damaged must not get a good one by that.
pub(crate) fn damaged_packets_are_not_repaired() -> Result<()> {
    let office = Office::new()?;
    for (seed, offloads) in (2_000..).zip(Offloads::every()) {
        let _ends = office.tunnels(offloads)?;
        let mut out = Outlet::open(&office.inside, "eth0")?;
        let towards = office.ways()?.map(|way| way.address);
        let into = Inlet::open(&office.cable.left, TUN, towards)?;
        let tcpdump = office.record()?;
        let mut damaged = Vec::new();
        let mut source = Source::new(seed, 1420);
        for frame_and_damage in source.damaged(400) {
            let (frame, is_damaged) = frame_and_damage;
            damaged.push(is_damaged);
            into.put(&frame)?;
        }
        // The last is a good one, and each flow keeps its order; the flows are one.
        let mut came = 0;
        while came < damaged.len() {
            let frame = out
                .take()?
                .with_context(|| format!("{came} of {} came", damaged.len()))?;
            came += usize::from(frame.packet.len() > 100);
        }
        let seen: Vec<bool> = office
            .report(tcpdump)?
            .iter()
            .filter(|line| is_any(line, &BAD) || is_any(line, &GOOD))
            .map(|line| is_any(line, &BAD))
            .collect();
        ensure!(
            seen == damaged,
            "seed {seed}, {offloads:?}: {seen:?} instead of {damaged:?}"
        );
    }
    Ok(())
}
