//! The text of the protocol: lines of a request into settings, and settings into lines of an answer.
//!
//! Where the page leaves something open, wireguard-go's answer is ours.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use sluss_wg::PublicKey;
use zeroize::Zeroizing;

/// 32 bytes that nobody else may see.
pub type Secret = Zeroizing<[u8; 32]>;

/// One line of a request to set something.
pub enum Setting {
    /// `None` takes the key away.
    PrivateKey(Option<Secret>),
    /// 0 for any.
    ListenPort(u16),
    /// 0 for none.
    Fwmark(u32),
    ReplacePeers,
    /// What follows is about this peer, which comes to be if it was not.
    PublicKey(PublicKey),
    /// But not if it was not.
    UpdateOnly,
    Remove,
    /// `None` takes the key away.
    PresharedKey(Option<Secret>),
    Endpoint(SocketAddr),
    /// Seconds; 0 for never.
    PersistentKeepalive(u16),
    ReplaceAllowedIps,
    AllowedIp(IpNet),
    /// Takes one away.
    DisallowedIp(IpNet),
    /// That it is 1.
    ProtocolVersion,
}

/// Reads the lines of one request, which is first about the device, then about its peers.
#[derive(Default)]
pub struct Parser {
    about_peer: bool,
}

impl Parser {
    /// Reads one line, without its end.
    ///
    /// # Errors
    /// What the answer has to say: `EPROTO` for what is no line at all, `EINVAL` for a key or value that is none.
    pub fn line(&mut self, line: &str) -> Result<Setting, Errno> {
        let (key, value) = line.split_once('=').ok_or(Errno::EPROTO)?;
        let setting = if key == "public_key" {
            self.about_peer = true;
            secret(value).map(|key| Setting::PublicKey(PublicKey(*key)))
        } else if self.about_peer {
            peer_setting(key, value)
        } else {
            device_setting(key, value)
        };
        setting.ok_or(Errno::EINVAL)
    }
}

fn device_setting(key: &str, value: &str) -> Option<Setting> {
    match key {
        "private_key" => {
            secret(value).map(|key| Setting::PrivateKey(unless_zero(key).map(clamped)))
        }
        "listen_port" => number(value).map(Setting::ListenPort),
        "fwmark" => number(value).map(Setting::Fwmark),
        "replace_peers" => when_true(value, Setting::ReplacePeers),
        _ => None,
    }
}

fn peer_setting(key: &str, value: &str) -> Option<Setting> {
    match key {
        "update_only" => when_true(value, Setting::UpdateOnly),
        "remove" => when_true(value, Setting::Remove),
        "preshared_key" => secret(value).map(|key| Setting::PresharedKey(unless_zero(key))),
        "endpoint" => endpoint(value).map(Setting::Endpoint),
        "persistent_keepalive_interval" => number(value).map(Setting::PersistentKeepalive),
        "replace_allowed_ips" => when_true(value, Setting::ReplaceAllowedIps),
        "allowed_ip" => match value.strip_prefix('-') {
            Some(value) => network(value).map(Setting::DisallowedIp),
            None => network(value).map(Setting::AllowedIp),
        },
        "protocol_version" => (value == "1").then_some(Setting::ProtocolVersion),
        _ => None,
    }
}

fn when_true(value: &str, setting: Setting) -> Option<Setting> {
    (value == "true").then_some(setting)
}

/// Digits alone: no sign.
fn number<N: FromStr>(value: &str) -> Option<N> {
    const DIGITS: RangeInclusive<u8> = b'0'..=b'9';
    let is_plain = value.bytes().all(|byte| DIGITS.contains(&byte));
    value.parse().ok().filter(|_| is_plain)
}

/// 64 hexadecimal digits.
fn secret(value: &str) -> Option<Secret> {
    let mut secret = Secret::default();
    if value.len() != 2 * secret.len() {
        return None;
    }
    for (byte, digits) in secret.iter_mut().zip(value.as_bytes().as_chunks::<2>().0) {
        let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(secret)
}

fn unless_zero(secret: Secret) -> Option<Secret> {
    (*secret != [0; 32]).then_some(secret)
}

/// The bits that X25519 fixes anyway (RFC 7748, 5), as every implementation shows them.
fn clamped(mut key: Secret) -> Secret {
    key[0] &= 0b1111_1000;
    key[31] = key[31] & 0b0111_1111 | 0b0100_0000;
    key
}

/// `192.0.2.1:51820`, `[2001:db8::1]:51820`, `[fe80::1%eth0]:51820`.
fn endpoint(value: &str) -> Option<SocketAddr> {
    if let Ok(address) = value.parse() {
        return Some(address);
    }
    let (host, port) = value.strip_prefix('[')?.split_once("]:")?;
    let (host, link) = host.split_once('%')?;
    let index = if_nametoindex(link).ok()?;
    Some(SocketAddrV6::new(host.parse().ok()?, number(port)?, 0, index).into())
}

/// The length must be there; bits beyond it are dropped.
fn network(value: &str) -> Option<IpNet> {
    let (address, length) = value.split_once('/')?;
    let length = number(length)?;
    let net = IpNet::new(address.parse::<IpAddr>().ok()?, length).ok()?;
    Some(net.trunc())
}

/// An answer under way: lines, and what came of the request at the end.
#[derive(Default)]
pub struct Answer(Zeroizing<String>);

impl Answer {
    pub fn line(&mut self, key: &str, value: impl Display) {
        use std::fmt::Write;
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{key}={value}");
    }

    pub fn key(&mut self, key: &str, bytes: &[u8; 32]) {
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
        self.line(key, Zeroizing::new(digits.collect::<String>()).as_str());
    }

    /// The whole text. wireguard-go gives the number of an error as a negative one, and `wg` takes it as such.
    pub fn end(mut self, outcome: Result<(), Errno>) -> Zeroizing<String> {
        let errno = outcome.map_or_else(|errno| -(errno as i32), |()| 0);
        self.line("errno", errno);
        self.0.push('\n');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever may open the socket may send anything. What is read without an error has the shape of something that is in order.
    #[test]
    fn lines_that_nobody_would_write_are_refused_and_no_more() {
        const LINES: &[&str] = &[
            "private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a",
            "listen_port=12912",
            "endpoint=[fe80::33%lo]:51820",
            "endpoint=192.0.2.1:7",
            "allowed_ip=-192.168.4.4/32",
            "persistent_keepalive_interval=25",
        ];
        const ODD: &[u8] = b"=-+/%[]:.0fz\xc3\xa5\0\r";
        let seed = 4;
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut read = 0;
        for _ in 0..50_000 {
            let mut parser = Parser {
                about_peer: random.bool(),
            };
            let mut line = random.choice(LINES).expect("some").as_bytes().to_vec();
            for _ in 0..random.usize(..4) {
                let at = random.usize(..line.len());
                match random.u8(..3) {
                    0 => line[at] = *random.choice(ODD).expect("some"),
                    1 => line.truncate(at.max(1)),
                    _ => line.insert(at, *random.choice(ODD).expect("some")),
                }
            }
            let Ok(line) = String::from_utf8(line) else {
                continue;
            };
            match parser.line(&line) {
                Ok(_) => read += 1,
                Err(errno) => assert!(
                    errno == Errno::EINVAL || errno == Errno::EPROTO && !line.contains('='),
                    "{line}"
                ),
            }
        }
        assert!(read > 1_000, "many are in order");
    }
}
