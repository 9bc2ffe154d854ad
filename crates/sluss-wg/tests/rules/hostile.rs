//! Whatever comes from the network: nothing panics, nobody works for it, and nothing grows.

use sluss_wg::{Dropped, Inbound};

use crate::rig::{Holder, SECOND, Setup, World, address};

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

#[test]
fn random_datagrams_do_nothing() {
    let seed = 1;
    println!("seed {seed}");
    let mut rng = Rng(seed);
    let mut world = World::with_card().connected();
    let before = (world.alice.operations, world.alice.sent.len());
    for round in 0..20_000u32 {
        let len = match round % 8 {
            0 => 148,
            1 => 92,
            2 => 64,
            3 => (rng.next() % 65_536) as usize,
            _ => (rng.next() % 200) as usize,
        };
        let mut bytes = rng.bytes(len);
        if len >= 4 && round % 3 > 0 {
            bytes[..4].copy_from_slice(&[(rng.next() % 6) as u8, 0, 0, 0]);
        }
        world.alice.receive(address(66), &bytes, world.now);
        world.bob.receive(address(66), &bytes, world.now);
    }
    assert_eq!((world.alice.operations, world.alice.sent.len()), before);
    assert!(
        world
            .alice
            .dropped
            .iter()
            .all(|why| matches!(why, Dropped::NotTransport | Dropped::UnknownSession))
    );
    world.talk();
}

#[test]
fn every_truncation_and_extension_of_every_message_is_refused() {
    let mut world = World::with_card();
    let _ = world.alice_says(b"x");
    world.alice.answer(world.now);
    let initiation = world.alice.wire[0].1.clone();
    let mut seen = vec![initiation];
    world.bob.receive(address(1), &seen[0].clone(), world.now);
    seen.push(world.bob.wire[0].1.clone());
    world.settle();
    world.alice_says(b"data").unwrap();
    seen.push(world.alice.take_wire().remove(0));
    let before = (
        world.bob.operations,
        world.bob.sent.len(),
        world.bob.received.len(),
    );
    for message in &seen {
        for len in 0..message.len() {
            world.bob.receive(address(1), &message[..len], world.now);
            world.alice.receive(address(2), &message[..len], world.now);
        }
        for extra in 1..40 {
            let longer = [message.as_slice(), &vec![0; extra]].concat();
            world.bob.receive(address(1), &longer, world.now);
            world.alice.receive(address(2), &longer, world.now);
        }
    }
    assert_eq!(
        (
            world.bob.operations,
            world.bob.sent.len(),
            world.bob.received.len()
        ),
        before
    );
    world.talk();
}

/// Valid messages with some bytes changed, in the middle of a conversation that must go on.
#[test]
fn changed_messages_do_not_disturb_a_conversation() {
    let seed = 2;
    println!("seed {seed}");
    let mut rng = Rng(seed);
    let mut world = World::new(
        Setup {
            holder: Holder::Card,
            ..Setup::default()
        },
        Setup::default(),
    );
    for round in 0..60 {
        let _ = world.alice_says(b"x");
        let _ = world.bob_says(b"y");
        for _ in 0..4 {
            let under_way: Vec<_> = world
                .alice
                .wire
                .iter()
                .chain(&world.bob.wire)
                .cloned()
                .collect();
            for (_, bytes) in under_way {
                for _ in 0..20 {
                    let mut changed = bytes.clone();
                    for _ in 0..=rng.next() % 3 {
                        let at = (rng.next() % changed.len() as u64) as usize;
                        changed[at] ^= (rng.next() % 255 + 1) as u8;
                    }
                    world.alice.receive(address(2), &changed, world.now);
                    world.bob.receive(address(1), &changed, world.now);
                }
            }
            world.deliver();
            while !world.alice.asked.is_empty() {
                world.alice.answer(world.now);
            }
        }
        world.talk();
        world.pass(if round % 2 == 0 { 121 * SECOND } else { SECOND });
        world.settle();
    }
    assert!(world.alice.sessions() >= 30);
    assert!(
        world.alice.operations <= 2 * world.alice.sessions() + 2,
        "a changed message costs no operation"
    );
}

/// `Inbound` and `Outbound` go to their own threads.
#[test]
fn the_parts_can_be_sent_to_threads() {
    fn is_send<T: Send>() {}
    is_send::<Inbound>();
    is_send::<sluss_wg::Outbound>();
    is_send::<sluss_wg::Device>();
    is_send::<sluss_wg::Output>();
}
