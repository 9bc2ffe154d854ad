//! The same requests to our device and to wireguard-go's: the same answers, but for times, counters and the order of peers.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use anyhow::{Context, Result, ensure};
use sluss_tests::netns::Netns;
use sluss_tests::uapi::{Device, Program};

const A: &str = "2222222222222222222222222222222222222222222222222222222222222222";
const B: &str = "3333333333333333333333333333333333333333333333333333333333333333";
const STRANGER: &str = "4444444444444444444444444444444444444444444444444444444444444444";
const PRIVATE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
/// The public half of [`PRIVATE`].
const OWN: &str = "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13";
const ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One after the other to both; `;` stands for the end of a line. After each, both are asked for all.
const REQUESTS: &[&str] = &[
    // not requests
    "get=1;x;",
    "get=2;;",
    "set=2;;",
    "nonsense;",
    ";",
    "set=1;;",
    "set=1;nonsense;;",
    "set=1;nonsense=1;;",
    "set=1;=;;",
    // the device
    "set=1;private_key=zz;;",
    "set=1;private_key=111;;",
    "set=1;private_key={PRIVATE};;",
    "set=1;private_key={PRIVATE};;",
    "set=1;listen_port=51820;;",
    "set=1;listen_port=051821;;",
    "set=1;listen_port=65536;;",
    "set=1;listen_port=+5;;",
    "set=1;listen_port=-1;;",
    "set=1;listen_port=;;",
    "set=1;fwmark=4660;;",
    "set=1;fwmark=0x10;;",
    "set=1;fwmark=4294967296;;",
    "set=1;fwmark=4294967295;;",
    "set=1;replace_peers=false;;",
    "set=1;endpoint=192.0.2.1:5;;",
    "set=1;preshared_key={A};;",
    // what comes before a mistake is done
    "set=1;fwmark=7;nonsense=1;fwmark=8;;",
    // peers
    "set=1;public_key={A};allowed_ip=10.0.0.5/24;allowed_ip=fd00::5/64;endpoint=192.0.2.1:5;preshared_key={B};protocol_version=1;;",
    "set=1;public_key={B};allowed_ip=10.0.0.0/24;endpoint=[2001:db8::1]:55;persistent_keepalive_interval=25;;",
    "set=1;public_key={B};update_only=true;replace_allowed_ips=true;allowed_ip=0.0.0.0/0;;",
    "set=1;public_key={STRANGER};update_only=true;allowed_ip=0.0.0.0/0;;",
    "set=1;public_key={STRANGER};allowed_ip=10.1.0.0/16;update_only=true;;",
    "set=1;public_key={OWN};allowed_ip=9.9.9.9/32;;",
    "set=1;public_key=123;;",
    "set=1;public_key={A};private_key={PRIVATE};;",
    "set=1;public_key={A};allowed_ip=10.9.9.9;;",
    "set=1;public_key={A};allowed_ip=10.9.9.9/33;;",
    "set=1;public_key={A};allowed_ip=::/129;;",
    "set=1;public_key={A};allowed_ip=;;",
    "set=1;public_key={A};allowed_ip=::ffff:192.0.2.1/120;allowed_ip=192.0.2.1/0;;",
    "set=1;public_key={A};endpoint=example.org:1;;",
    "set=1;public_key={A};endpoint=192.0.2.1;;",
    "set=1;public_key={A};endpoint=192.0.2.1:99999;;",
    "set=1;public_key={A};endpoint=2001:db8::1:7;;",
    "set=1;public_key={A};persistent_keepalive_interval=65536;;",
    "set=1;public_key={A};persistent_keepalive_interval=65535;;",
    "set=1;public_key={A};persistent_keepalive_interval=off;;",
    "set=1;public_key={A};protocol_version=2;;",
    "set=1;public_key={A};remove=false;;",
    "set=1;public_key={A};replace_allowed_ips=no;;",
    "set=1;public_key={A};update_only=1;;",
    "set=1;public_key={A};preshared_key={ZERO};;",
    "set=1;public_key={A};preshared_key=12;;",
    "set=1;public_key={A};remove=true;allowed_ip=192.0.2.0/28;;",
    "set=1;public_key={A};remove=true;public_key={A};allowed_ip=192.0.2.0/28;;",
    "set=1;public_key={STRANGER};remove=true;;",
    // two peers in one request, and an address that moves within it
    "set=1;public_key={A};allowed_ip=10.5.0.0/16;public_key={B};allowed_ip=10.5.0.0/16;public_key={A};allowed_ip=10.6.0.0/16;;",
    // without the empty line, and in the middle of a line, where the input ends
    "set=1;fwmark=9;",
    "set=1;fwmark=10",
    "set=1;replace_peers=true;public_key={B};allowed_ip=10.5.0.0/16;;",
    // the key of a peer becomes our own
    "set=1;replace_peers=true;public_key={OWN};allowed_ip=10.5.0.0/16;private_key={PRIVATE};;",
    "set=1;private_key={ZERO};;",
    "set=1;public_key={OWN};allowed_ip=10.5.0.0/16;;",
    "set=1;private_key={PRIVATE};;",
    "set=1;private_key={ZERO};listen_port=0;fwmark=0;replace_peers=true;;",
];

/// Our device and wireguard-go's, each up in a network of its own, so that they may have the same port.
fn both() -> Result<[Device; 2]> {
    let device = |program, name| -> Result<Device> {
        let network = Netns::new(name)?;
        let device = Device::start(program, &network, name)?;
        network.ip(&format!("link set {name} up"))?;
        // wireguard-go hears of it a moment later.
        sluss_tests::moment::eventually("a port", std::time::Duration::from_secs(5), || {
            Ok(device.value("listen_port").ok())
        })?;
        Ok(device)
    };
    Ok([
        device(Program::Ours, "ours")?,
        device(Program::WireguardGo, "theirs")?,
    ])
}

pub(crate) fn every_request_is_answered_as_by_wireguard_go() -> Result<()> {
    let [ours, theirs] = both()?;
    for request in REQUESTS {
        let mut text = request.replace(';', "\n");
        for (name, value) in [
            ("{A}", A),
            ("{B}", B),
            ("{STRANGER}", STRANGER),
            ("{PRIVATE}", PRIVATE),
            ("{OWN}", OWN),
            ("{ZERO}", ZERO),
        ] {
            text = text.replace(name, value);
        }
        let (our, their) = (ours.ask(&text)?, theirs.ask(&text)?);
        ensure!(
            our == their,
            "{request}\nwe answer {our:?}\nthey answer {their:?}"
        );
        let (our, their) = (ours.ask("get=1\n\n")?, theirs.ask("get=1\n\n")?);
        let any_port = request.contains("listen_port=0;") || !our.contains("\nfwmark");
        let (our, their) = (Told::read(&our, any_port)?, Told::read(&their, any_port)?);
        ensure!(
            our == their,
            "after {request}\nwe have {our:#?}\nthey have {their:#?}"
        );
    }
    Ok(())
}

/// What a device tells of itself, but for what nobody can foresee.
#[derive(Debug, PartialEq)]
struct Told {
    device: Vec<String>,
    peers: BTreeMap<String, Vec<String>>,
}

impl Told {
    fn read(answer: &str, any_port: bool) -> Result<Told> {
        let body = answer
            .strip_suffix("errno=0\n\n")
            .with_context(|| format!("not a whole answer: {answer}"))?;
        let mut told = Told {
            device: Vec::new(),
            peers: BTreeMap::new(),
        };
        let mut peer = None;
        for line in body.lines() {
            let (key, value) = line.split_once('=').context("not a line")?;
            match (key, &mut peer) {
                ("public_key", _) => {
                    peer = Some(value.to_owned());
                    told.peers.insert(value.to_owned(), Vec::new());
                }
                (
                    "last_handshake_time_sec"
                    | "last_handshake_time_nsec"
                    | "tx_bytes"
                    | "rx_bytes",
                    Some(_),
                ) => {
                    value.parse::<u64>().with_context(|| line.to_owned())?;
                }
                (_, Some(peer)) => told
                    .peers
                    .entry(peer.clone())
                    .or_default()
                    .push(line.to_owned()),
                ("listen_port", None) if any_port => {
                    ensure!(value.parse::<u16>()? != 0, "{line}");
                }
                (_, None) => told.device.push(line.to_owned()),
            }
        }
        told.peers.values_mut().for_each(|lines| lines.sort());
        Ok(told)
    }
}

/// What an administrator types, and what `wg` then shows: as far as it can be foreseen, the same.
pub(crate) fn wg_finds_what_it_finds_at_wireguard_go() -> Result<()> {
    let devices = both()?;
    let key = |seed: u8| -> String {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode([seed; 32])
    };
    let (private, preshared, a, b) = (key(0x10), key(7), key(0x22), key(0x33));
    std::fs::write("/run/private", &private)?;
    std::fs::write("/run/preshared", &preshared)?;
    let setconf = format!(
        "[Interface]\nPrivateKey = {private}\nListenPort = 51820\nFwMark = 0x1234\n\
         [Peer]\nPublicKey = {a}\nPresharedKey = {preshared}\nAllowedIPs = 10.1.0.0/16, fd01::/32\n\
         Endpoint = 192.0.2.7:700\n\
         [Peer]\nPublicKey = {b}\nAllowedIPs = 10.2.0.0/16\nEndpoint = [2001:db8::7]:700\nPersistentKeepalive = 25\n"
    );
    let addconf = format!("[Peer]\nPublicKey = {b}\nAllowedIPs = 10.1.0.0/16\n");
    let syncconf = format!(
        "[Interface]\nPrivateKey = {private}\nListenPort = 51821\n\
         [Peer]\nPublicKey = {b}\nAllowedIPs = 10.1.0.0/16, 0.0.0.0/0\n"
    );
    enum Step<'a> {
        Set(String),
        Conf(&'a str, &'a str),
    }
    let steps = [
        Step::Set("set DEV private-key /run/private listen-port 51820 fwmark 51".to_owned()),
        Step::Set(format!(
            "set DEV peer {a} preshared-key /run/preshared endpoint 192.0.2.1:7 allowed-ips 10.1.0.0/16,fd01::/16"
        )),
        Step::Set(format!(
            "set DEV peer {b} persistent-keepalive 20 allowed-ips 10.1.0.0/16"
        )),
        Step::Set(format!("set DEV peer {a} preshared-key /dev/null")),
        Step::Set(format!(
            "set DEV peer {b} persistent-keepalive off fwmark off"
        )),
        Step::Set(format!("set DEV peer {a} remove")),
        Step::Conf("setconf", &setconf),
        Step::Conf("addconf", &addconf),
        Step::Conf("syncconf", &syncconf),
        Step::Conf("setconf", "[Interface]\n"),
    ];
    for step in &steps {
        let mut seen = Vec::new();
        for device in &devices {
            match step {
                // Not all of it is in order: what is refused must be refused by both.
                Step::Set(args) => seen.push(vec![format!("{:?}", device.wg(args).is_ok())]),
                Step::Conf(how, configuration) => {
                    device.wg_conf(how, configuration)?;
                    seen.push(Vec::new());
                }
            }
        }
        for (seen, device) in seen.iter_mut().zip(&devices) {
            for args in [
                "showconf DEV",
                "show DEV allowed-ips",
                "show DEV endpoints",
                "show DEV persistent-keepalive",
                "show DEV preshared-keys",
                "show DEV fwmark",
                "show DEV public-key",
                "show DEV listen-port",
            ] {
                let mut lines: Vec<_> = device.wg(args)?.lines().map(str::to_owned).collect();
                lines.sort();
                seen.extend(lines);
            }
            if matches!(step, Step::Conf("setconf", "[Interface]\n")) {
                // Any port will do.
                seen.retain(|line| !line.contains("ListenPort") && line.parse::<u16>().is_err());
            }
        }
        let said = match step {
            Step::Set(args) => args,
            Step::Conf(how, _) => *how,
        };
        ensure!(
            seen[0] == seen[1],
            "after {said}\nours: {:#?}\ntheirs: {:#?}",
            seen[0],
            seen[1]
        );
    }
    Ok(())
}

/// A client that stops in the middle of a line keeps nobody waiting, and one that asks on is answered on.
pub(crate) fn a_request_may_come_in_pieces_and_beside_others() -> Result<()> {
    let network = Netns::new("pieces")?;
    let device = Device::start(Program::Ours, &network, "pieces")?;
    let mut slow = device.connect()?;
    slow.write_all(b"set=1\nfwm")?;
    ensure!(device.ask("get=1\n\n")?.contains("errno=0"));
    ensure!(!device.ask("get=1\n\n")?.contains("fwmark"));
    slow.write_all(b"ark=77\n\n")?;
    let mut answer = [0; 9];
    slow.read_exact(&mut answer)?;
    ensure!(&answer == b"errno=0\n\n");
    ensure!(device.value("fwmark")? == "77");
    slow.write_all(b"set=1\nfwmark=78\n\n")?;
    slow.read_exact(&mut answer)?;
    ensure!(device.value("fwmark")? == "78");

    // As many peers as a large gateway has: more text than a socket holds.
    let mut request = "set=1\n".to_owned();
    for peer in 0..2_000 {
        request += &format!("public_key={peer:064x}\nallowed_ip=fd00::{peer:x}/128\n");
    }
    ensure!(device.ask(&(request + "\n"))? == "errno=0\n\n");
    let told = device.ask("get=1\n\n")?;
    ensure!(told.matches("public_key=").count() == 2_000);
    ensure!(told.ends_with("errno=0\n\n"));
    Ok(())
}
