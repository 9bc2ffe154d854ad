//! What the tunnel is told to find out about its path, and what it has found, in the words of the IPC contract.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use sluss_ipc::{PacketReport, PathMtu, PathVerdict, Segmentation, TunOffload};
use sluss_policy::{DeviceBinding, Policy};
use sluss_tunnel::{Conditions, Discovery, Offload, Segmenting, Verdict};
use sluss_wg::{Endpoints, PeerId, Time};

/// What every IPv6 link must take (RFC 8200, 5); on one with a smaller MTU Linux takes IPv6 off.
const IPV6_LEAST: u16 = 1280;

/// What every IPv4 host must take (RFC 791, 3.1).
const IPV4_LEAST: u16 = 576;

/// How to find out what the path takes. `None` if nothing inside has an address of the tunnel's families.
pub(super) fn discovery(
    policy: &Policy,
    binding: &DeviceBinding,
    peer: PeerId,
    seed: [u8; 32],
) -> Option<Discovery> {
    let (from, to) = addresses(policy, binding)?;
    let ceiling = policy.tunnel.mtu;
    let has_ipv6 = binding.addresses.iter().any(|net| net.addr().is_ipv6());
    let floor = if has_ipv6 { IPV6_LEAST } else { IPV4_LEAST };
    Some(Discovery {
        peer,
        from,
        to,
        floor: floor.min(ceiling),
        ceiling,
        seed,
    })
}

/// The addresses that the policy itself has for the gateway, until its names are looked up.
pub(super) fn written(policy: &Policy) -> Endpoints {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for endpoint in &policy.endpoints {
        let group = groups.entry(endpoint.priority).or_default();
        group.extend(endpoint.written());
    }
    Endpoints::new(groups.into_values())
}

/// Who asks whom: our own address, and an internal one of its family.
///
/// A beacon is there for certain. Any other address does as well, if the gateway knows a way to it.
fn addresses(policy: &Policy, binding: &DeviceBinding) -> Option<(IpAddr, IpAddr)> {
    let own = |to: &IpAddr| {
        let same_family = |net: &&IpNet| net.addr().is_ipv4() == to.is_ipv4();
        binding.addresses.iter().find(same_family).map(IpNet::addr)
    };
    let is_internal = |ip: &IpAddr| policy.internal.iter().any(|net| net.contains(ip));
    let beacons = policy.beacons.iter().flat_map(|beacon| &beacon.addresses);
    let beacons = beacons.map(SocketAddr::ip);
    let hosts = policy.internal.iter().filter_map(|net| net.hosts().next());
    beacons
        .filter(is_internal)
        .chain(hosts)
        .filter(|to| !to.is_unspecified())
        .filter_map(|to| Some((own(&to)?, to)))
        .find(|(from, to)| from != to)
}

/// [`Conditions`] in the words of the IPC contract.
pub(super) fn report(
    conditions: Conditions,
    policy_mtu: u16,
    age_ms: impl Fn(Time) -> u64,
) -> PacketReport {
    let Conditions {
        offloads,
        mtu,
        path_mtu,
    } = conditions;
    PacketReport {
        mtu,
        policy_mtu,
        path: path_mtu.map(|path| PathMtu {
            mtu: path.mtu,
            verdict: match path.verdict {
                Verdict::Untested => PathVerdict::Untested,
                Verdict::Confirmed => PathVerdict::Confirmed,
                Verdict::Reduced => PathVerdict::Reduced,
                Verdict::Fragmented => PathVerdict::Fragmented,
                Verdict::TooNarrow => PathVerdict::TooNarrow,
                Verdict::Unanswered => PathVerdict::Unanswered,
            },
            age_ms: age_ms(path.at),
        }),
        tun: match offloads.tun {
            Offload::None => TunOffload::None,
            Offload::Tcp => TunOffload::Tcp,
            Offload::TcpAndUdp => TunOffload::TcpAndUdp,
        },
        send: match offloads.send {
            Segmenting::Offloaded => Segmentation::Offloaded,
            Segmenting::Refused => Segmentation::Refused,
            Segmenting::Unsupported => Segmentation::Unsupported,
        },
        receive: offloads.receive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(prefixes: &str, beacon: &str, own: &str) -> Option<String> {
        let policy = format!(
            "schema = 1\n[gateway]\nname = \"vpn\"\n\
             public_key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\"\n\
             [[endpoint]]\naddress = \"198.51.100.2:51820\"\n\
             [internal]\nprefixes = [{prefixes}]\n[[beacon]]\nname = \"city hall\"\naddresses = [\"{beacon}\"]\n\
             pins = [\"sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"]\n"
        );
        let binding = format!(
            "schema = 1\naddresses = [{own}]\n[card]\nserial = \"0006:1\"\n\
             public_key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\"\n"
        );
        fn source(text: &str) -> sluss_policy::Source<'_> {
            sluss_policy::Source {
                file: "a test",
                text,
            }
        }
        let policy = Policy::parse(&[source(&policy)]).expect("a policy");
        let binding = DeviceBinding::parse(source(&binding)).expect("a binding");
        addresses(&policy, &binding).map(|(from, to)| format!("{from} asks {to}"))
    }

    #[test]
    fn a_beacon_is_asked_if_the_tunnel_leads_to_it() {
        let both = "\"10.0.0.0/8\", \"fd00::/8\"";
        for (beacon, own, expected) in [
            ("10.1.2.3:8443", "\"10.9.0.1/32\"", "10.9.0.1 asks 10.1.2.3"),
            (
                "[fd01::5]:8443",
                "\"10.9.0.1/32\", \"fd09::1/128\"",
                "fd09::1 asks fd01::5",
            ),
            (
                "192.0.2.1:8443",
                "\"10.9.0.1/32\"",
                "10.9.0.1 asks 10.0.0.1",
            ),
            ("10.1.2.3:8443", "\"fd09::1/128\"", "fd09::1 asks fd00::"),
        ] {
            assert_eq!(asked(both, beacon, own).as_deref(), Some(expected));
        }
    }

    #[test]
    fn without_an_address_of_the_family_nobody_is_asked() {
        let asked = asked("\"10.0.0.0/8\"", "10.1.2.3:8443", "\"fd09::1/128\"");
        assert_eq!(asked, None);
    }
}
