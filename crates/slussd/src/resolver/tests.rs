//! Groups of addresses, and what is left of answers; on the wire in `tests/tests/names`.

use sluss_policy::{Policy, Source};

use super::*;

const BOTH: Families = Families { v4: true, v6: true };

fn endpoints(sections: &str) -> Vec<Endpoint> {
    let text = format!(
        "schema = 1\n[gateway]\nname = \"vpn\"\npublic_key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\"\n\
         [internal]\nprefixes = [\"10.20.0.0/16\"]\n{sections}"
    );
    let source = Source {
        file: "a test",
        text: &text,
    };
    Policy::parse(&[source]).unwrap().endpoints
}

fn located(addresses: &[&str]) -> Located {
    Located {
        addresses: parsed(addresses),
        how: How::Literal,
    }
}

fn parsed(addresses: &[&str]) -> Vec<SocketAddr> {
    addresses.iter().map(|it| it.parse().unwrap()).collect()
}

#[test]
fn equal_priorities_are_one_group_and_policys_own_come_last() {
    let endpoints = endpoints(
        "[[endpoint]]\naddress = \"a.example.se:1\"\npriority = 7\n\
         [[endpoint]]\naddress = \"b.example.se:1\"\npriority = 2\n\
         [[endpoint]]\naddress = \"c.example.se:1\"\npriority = 7\n",
    );
    let located = [
        located(&["[2001:db8::a]:1", "192.0.2.1:1"]),
        located(&["192.0.2.2:1"]),
        located(&["[2001:db8::c]:1", "192.0.2.1:1", "192.0.2.3:1"]),
    ];
    let fallback = parsed(&["[2001:db8::a]:1", "198.51.100.9:1"]);
    assert_eq!(
        groups(&endpoints, &located, fallback, BOTH),
        [
            parsed(&["192.0.2.2:1"]),
            parsed(&[
                "[2001:db8::a]:1",
                "192.0.2.1:1",
                "[2001:db8::c]:1",
                "192.0.2.3:1"
            ]),
            parsed(&["198.51.100.9:1"]),
        ]
    );
    assert!(groups(&[], &[], Vec::new(), BOTH).is_empty());
}

#[test]
fn one_bad_address_does_not_spoil_the_good_one() {
    let internal = ["10.20.0.0/16".parse().unwrap()];
    let network = Network {
        servers: Vec::new(),
        families: BOTH,
        internal: &internal,
    };
    let judge = |addresses: &[&str]| {
        let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
        network.judge(Answer::Addresses(addresses))
    };
    let good: IpAddr = "198.51.100.2".parse().unwrap();
    assert_eq!(
        judge(&["127.0.0.1", "198.51.100.2", "10.20.0.1"]),
        Ok(vec![good])
    );
    let astray = Fault::Astray {
        to: "127.0.0.1".parse().unwrap(),
        why: Objection::NotAHost,
    };
    assert_eq!(judge(&["127.0.0.1"]), Err(astray));
    assert_eq!(network.judge(Answer::Failed), Err(Fault::ResolverFailed));
}
