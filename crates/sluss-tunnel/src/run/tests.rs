//! Runs keep what Linux asks of one send (udp(7), UDP_SEGMENT), whatever packets come.

use sluss_wg::{
    Config, Device, HEADER, PeerConfig, PeerId, Respond, SoftwareKey, Tai64n, Time, Timing,
};

use super::Run;
use crate::packet::sample::Lcg;

fn two_peers() -> [PeerId; 2] {
    let keys = [2, 3].map(|byte| SoftwareKey::new([byte; 32]).public());
    let config = Config {
        public_key: SoftwareKey::new([1; 32]).public(),
        respond: Respond::Freely,
        timing: Timing::default(),
        stamp_floor: Tai64n::default(),
        mtu: 1420,
        seed: [1; 32],
    };
    let peers = keys.map(|public_key| PeerConfig {
        public_key,
        preshared_key: None,
        endpoints: None.into(),
        allowed_ips: Vec::new(),
        persistent_keepalive: None,
    });
    let (device, ..) = Device::new(config, peers.into(), Time::default()).expect("three keys");
    keys.map(|key| device.peer(&key).expect("just added"))
}

/// All but the last of one length, the last no longer, 64 at most, in what one datagram can carry, to one peer; in order.
#[test]
fn a_run_is_what_one_send_takes() {
    let peers = two_peers();
    let mut random = Lcg::new(21);
    let mut run = Run::new();
    let mut members: Vec<(PeerId, usize, u8)> = Vec::new();
    let mut longest = 0;
    let mut fullest = 0;
    let (mut peer, mut packet) = (peers[0], 1_000);
    for number in 0..40_000 {
        if random.below(40) == 0 {
            packet = [20, 100, 1_420, 9_000, 20 + random.below(2_000)][random.below(5)];
        }
        if random.below(200) == 0 {
            peer = peers[random.below(2)];
        }
        let packet = packet - random.below(30) / 29;
        let datagram = packet.next_multiple_of(16) + 32;
        if !run.accepts(peer, datagram) {
            let stride = run.stride();
            let (bytes, packets) = run.parts();
            let (last, before) = members.split_last().expect("a run that is full");
            assert!(before.iter().all(|member| member.1 == stride));
            assert!(last.1 <= stride && members.len() <= 64 && bytes.len() <= 65_507);
            assert!(members.iter().all(|member| member.0 == members[0].0));
            assert_eq!(packets.len(), members.len());
            for ((datagram, member), packet) in bytes.chunks(stride).zip(&members).zip(packets) {
                assert_eq!(datagram.len(), member.1);
                let content = &datagram[HEADER..HEADER + packet];
                assert!(content.iter().all(|byte| *byte == member.2));
            }
            longest = longest.max(bytes.len());
            fullest = fullest.max(packets.len());
            run.clear();
            members.clear();
        }
        run.add(peer, packet, datagram).fill(number as u8);
        members.push((peer, datagram, number as u8));
        assert_eq!(run.peer(), Some(members[0].0));
    }
    assert!(
        longest > 60_000 && fullest == 64,
        "{longest} bytes, {fullest} packets at most"
    );
}
