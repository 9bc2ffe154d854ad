//! Discovery over paths that are described in a line: how wide, what becomes of larger packets, who answers, what is lost.

use std::time::Duration;

use sluss_wg::{Config, Device, PeerConfig, PeerId, Respond, SoftwareKey, Tai64n, Time, Timing};

use super::{CLOSE_ENOUGH, Discovery, Input, PathMtu, Probe, Prober, Verdict};
use crate::packet::sample::Lcg;

const FLOOR: u16 = 1280;
const CEILING: u16 = 1420;

/// A way to the gateway and back, and the clock.
struct Path {
    /// The largest inner packet that arrives in one piece.
    width: u16,
    /// The largest that the first link takes.
    first_link: u16,
    /// Whether what is larger and may be cut arrives.
    fragments: bool,
    /// What the host has heard of it.
    told: Option<u16>,
    /// Whether the gateway answers at all.
    silent: bool,
    /// Of a hundred packets that could pass so many do not, and neither do so many answers.
    loss: usize,
    round_trip: Duration,
    chance: Lcg,
}

impl Path {
    fn of_width(width: u16) -> Self {
        Self {
            width,
            first_link: 9_000,
            fragments: true,
            told: None,
            silent: false,
            loss: 0,
            round_trip: Duration::from_millis(20),
            chance: Lcg::new(7),
        }
    }

    fn is_lost(&mut self) -> bool {
        self.chance.below(100) < self.loss
    }

    fn delivers(&mut self, probe: &Probe) -> bool {
        let fits = probe.size <= self.width || (!probe.whole && self.fragments);
        fits && !self.silent && !self.is_lost() && !self.is_lost()
    }
}

/// A prober, its clock, and what it has cost.
struct Laptop {
    prober: Prober,
    now: Time,
    probes: usize,
    history: Vec<PathMtu>,
}

impl Laptop {
    fn new() -> Self {
        Self::between(FLOOR, CEILING)
    }

    fn between(floor: u16, ceiling: u16) -> Self {
        let now = Time::since_boot(Duration::from_secs(100));
        let discovery = Discovery {
            peer: some_peer(),
            from: "10.9.0.1".parse().expect("an address"),
            to: "10.1.2.3".parse().expect("an address"),
            floor,
            ceiling,
            seed: [3; 32],
        };
        Self {
            prober: Prober::new(discovery, now),
            now,
            probes: 0,
            history: Vec::new(),
        }
    }

    /// Lets it happen, and all that follows until nothing is waited for. Returns what is known then.
    fn after(&mut self, input: Input, path: &mut Path) -> PathMtu {
        self.probes = 0;
        let mut under_way: Vec<(Time, Vec<u8>)> = Vec::new();
        let mut next = self.prober.handle(input, self.now, || path.told);
        loop {
            if self.history.last() != Some(&self.prober.known()) {
                self.history.push(self.prober.known());
            }
            if let Some(probe) = next.take() {
                self.probes += 1;
                assert!(self.probes < 100, "it does not end");
                assert!(probe.size <= self.prober.discovery.ceiling);
                if probe.whole && probe.size > path.first_link {
                    let refused = Input::Refused(probe.id);
                    next = self.prober.handle(refused, self.now, || path.told);
                    continue;
                }
                if path.delivers(&probe) {
                    under_way.push((self.now + path.round_trip, time_exceeded(&probe.packet)));
                }
            }
            let Some(deadline) = self.prober.deadline() else {
                return self.prober.known();
            };
            under_way.sort();
            match under_way.first() {
                Some((at, _)) if *at <= deadline => {
                    let (at, packet) = under_way.remove(0);
                    self.now = at;
                    let (is_answer, probe) = self.prober.accept(&packet, at, || path.told);
                    assert!(is_answer, "an answer to what was sent");
                    next = probe;
                }
                _ => {
                    self.now = deadline;
                    next = self.prober.handle(Input::Tick, self.now, || path.told);
                }
            }
        }
    }

    /// Two minutes later.
    fn rekey(&mut self, path: &mut Path) -> PathMtu {
        self.now = self.now + Duration::from_secs(120);
        self.after(Input::SessionEstablished, path)
    }
}

/// Peers are named by a device only.
fn some_peer() -> PeerId {
    let public_key = SoftwareKey::new([2; 32]).public();
    let config = Config {
        public_key: SoftwareKey::new([1; 32]).public(),
        respond: Respond::Never,
        timing: Timing::default(),
        stamp_floor: Tai64n::default(),
        mtu: CEILING,
        seed: [1; 32],
    };
    let peer = PeerConfig {
        public_key,
        preshared_key: None,
        endpoints: None.into(),
        allowed_ips: Vec::new(),
        persistent_keepalive: None,
    };
    let device = Device::new(config, vec![peer], Time::default()).expect("two different keys");
    device.0.peer(&public_key).expect("just added")
}

/// What a router says to a packet without a hop left (RFC 792).
fn time_exceeded(packet: &[u8]) -> Vec<u8> {
    let mut answer = packet[..20].to_vec();
    answer.extend([11, 0, 0, 0, 0, 0, 0, 0]);
    answer.extend(&packet[..28]);
    answer
}

#[test]
fn a_wide_path_costs_one_probe() {
    for width in [CEILING, 1_500, 9_000] {
        let (mut laptop, mut path) = (Laptop::new(), Path::of_width(width));
        for _ in 0..3 {
            let known = laptop.rekey(&mut path);
            assert_eq!((known.mtu, known.verdict), (CEILING, Verdict::Confirmed));
            assert_eq!(known.at, laptop.now);
            assert_eq!(laptop.probes, 1);
        }
    }
}

#[test]
fn every_width_is_found_without_help() {
    for width in FLOOR..CEILING {
        let (mut laptop, mut path) = (Laptop::new(), Path::of_width(width));
        let started = laptop.now;
        let known = laptop.rekey(&mut path);
        assert_eq!(known.verdict, Verdict::Reduced);
        assert!(
            known.mtu <= width && width < known.mtu + CLOSE_ENOUGH,
            "{known:?} for {width}"
        );
        assert!(
            laptop
                .history
                .iter()
                .all(|known| known.mtu == CEILING || known.mtu <= width)
        );
        // Three seconds until it is clear that the ceiling does not pass; then everything that fits works.
        let relieved = laptop
            .history
            .iter()
            .find(|known| known.mtu <= width)
            .expect("reduced");
        let until = relieved
            .at
            .saturating_since(started + Duration::from_secs(120));
        assert!(until < Duration::from_secs(4), "{until:?} for {width}");
        assert!(laptop.probes <= 22, "{} for {width}", laptop.probes);
    }
}

/// A router that tells, or a first link that is narrow, makes it exact.
#[test]
fn a_path_that_tells_is_found_at_once() {
    for width in FLOOR + 1..CEILING {
        for first_link in [width, 9_000] {
            let (mut laptop, mut path) = (Laptop::new(), Path::of_width(width));
            path.told = Some(width);
            path.first_link = first_link;
            let known = laptop.rekey(&mut path);
            assert_eq!((known.mtu, known.verdict), (width, Verdict::Reduced));
            assert!(laptop.probes <= 8, "{} for {width}", laptop.probes);
            assert!(
                laptop
                    .history
                    .iter()
                    .all(|known| [CEILING, width].contains(&known.mtu)),
                "{:?}",
                laptop.history
            );
        }
    }
}

#[test]
fn what_was_told_is_never_believed_without_an_answer() {
    for width in FLOOR..CEILING {
        for told in [0, 68, 600, 1_281, 1_340, 1_419, 1_420, 9_000, 65_535] {
            let (mut laptop, mut path) = (Laptop::new(), Path::of_width(width));
            path.told = Some(told);
            let known = laptop.rekey(&mut path);
            assert_eq!(known.verdict, Verdict::Reduced);
            assert!(
                known.mtu <= width && width < known.mtu + 2 * CLOSE_ENOUGH,
                "{known:?} for {width}, told {told}"
            );
        }
    }
}

#[test]
fn jumbo_policies_meet_ordinary_paths() {
    let (mut laptop, mut path) = (Laptop::between(576, 9_000), Path::of_width(1_140));
    let known = laptop.rekey(&mut path);
    assert_eq!(known.verdict, Verdict::Reduced);
    assert!((1_133..=1_140).contains(&known.mtu), "{known:?}");
    path.first_link = 1_440;
    path.told = Some(1_440);
    path.width = 1_440;
    let known = laptop.after(Input::PathChanged, &mut path);
    assert_eq!((known.mtu, known.verdict), (1_440, Verdict::Reduced));
}

/// An IPv6 path of 1,280 bytes leaves 1,200 for the tunnel, where IPv6 must have 1,280 again.
#[test]
fn a_path_narrower_than_the_floor_is_told_apart() {
    for width in [1_200, 1_279] {
        for told in [None, Some(width)] {
            let (mut laptop, mut path) = (Laptop::new(), Path::of_width(width));
            path.told = told;
            let known = laptop.rekey(&mut path);
            assert_eq!((known.mtu, known.verdict), (FLOOR, Verdict::Fragmented));
            path.fragments = false;
            let known = laptop.rekey(&mut path);
            assert_eq!((known.mtu, known.verdict), (FLOOR, Verdict::TooNarrow));
            path.width = 1_500;
            let known = laptop.rekey(&mut path);
            assert_eq!((known.mtu, known.verdict), (CEILING, Verdict::Confirmed));
        }
    }
}

#[test]
fn a_silent_gateway_keeps_what_the_host_believes() {
    for (told, mtu) in [
        (None, CEILING),
        (Some(1_372), 1_372),
        (Some(9_000), CEILING),
        (Some(68), FLOOR),
    ] {
        let (mut laptop, mut path) = (Laptop::new(), Path::of_width(1_500));
        path.silent = true;
        path.told = told;
        let known = laptop.rekey(&mut path);
        assert_eq!((known.mtu, known.verdict), (mtu, Verdict::Unanswered));
        assert_eq!(laptop.probes, 6);
        // Asked in small from now on.
        laptop.rekey(&mut path);
        assert_eq!(laptop.probes, 3);
        path.silent = false;
        let known = laptop.rekey(&mut path);
        assert_eq!((known.mtu, known.verdict), (CEILING, Verdict::Confirmed));
    }
}

/// A gateway that falls silent says nothing about the path.
#[test]
fn what_passed_before_outlives_a_gateway_that_falls_silent() {
    let (mut laptop, mut path) = (Laptop::new(), Path::of_width(1_340));
    let reduced = laptop.rekey(&mut path).mtu;
    path.silent = true;
    let known = laptop.rekey(&mut path);
    assert_eq!((known.mtu, known.verdict), (reduced, Verdict::Unanswered));
    // Of another path nothing has passed before.
    let (mut laptop, mut path) = (Laptop::new(), Path::of_width(1_340));
    assert_eq!(laptop.rekey(&mut path).mtu, reduced);
    path.silent = true;
    let known = laptop.after(Input::PathChanged, &mut path);
    assert_eq!((known.mtu, known.verdict), (CEILING, Verdict::Unanswered));
}

#[test]
fn a_path_that_changes_is_followed() {
    let (mut laptop, mut path) = (Laptop::new(), Path::of_width(1_500));
    laptop.rekey(&mut path);
    // Narrower on the way, and nobody says so: the next session shows it.
    path.width = 1_350;
    let narrow = laptop.rekey(&mut path);
    assert_eq!(narrow.verdict, Verdict::Reduced);
    assert!((1_343..=1_350).contains(&narrow.mtu), "{narrow:?}");
    // Nothing new: the size in use, and a look whether more passes.
    assert_eq!(laptop.rekey(&mut path).mtu, narrow.mtu);
    assert_eq!(laptop.probes, 4);
    path.width = 1_300;
    let narrower = laptop.rekey(&mut path);
    assert!((1_293..=1_300).contains(&narrower.mtu), "{narrower:?}");
    // Another network.
    path.width = 1_380;
    let wider = laptop.after(Input::PathChanged, &mut path);
    assert!((1_373..=1_380).contains(&wider.mtu), "{wider:?}");
    path.width = 1_500;
    assert_eq!(laptop.rekey(&mut path).verdict, Verdict::Confirmed);
}

/// Where a third of everything is lost nothing is known for certain, but never is a packet let out that cannot pass for
/// longer than it takes to find out, and what was lost by chance is had again.
#[test]
fn losses_cost_time_but_not_the_truth() {
    for seed in 0..200 {
        for width in [1_290, 1_352, 1_411, 1_420] {
            let (mut laptop, mut path) = (Laptop::new(), Path::of_width(width));
            path.loss = 18;
            path.chance = Lcg::new(seed);
            for _ in 0..3 {
                let known = laptop.rekey(&mut path);
                assert!(
                    known.mtu <= width || known.verdict == Verdict::Unanswered,
                    "{known:?} for {width}, seed {seed}"
                );
            }
            path.loss = 0;
            let known = laptop.after(Input::PathChanged, &mut path);
            assert!(
                known.mtu <= width && width < known.mtu + CLOSE_ENOUGH,
                "{known:?} for {width}, seed {seed}"
            );
        }
    }
}

/// Over a satellite, or through a queue that is full, an answer comes when the next probe is out already.
#[test]
fn late_answers_are_answers() {
    for millis in [900, 1_500, 2_500] {
        for width in [1_300, 1_420] {
            let (mut laptop, mut path) = (Laptop::new(), Path::of_width(width));
            path.round_trip = Duration::from_millis(millis);
            let known = laptop.rekey(&mut path);
            assert!(
                known.mtu <= width && width < known.mtu + CLOSE_ENOUGH,
                "{known:?} for {width} after {millis} ms"
            );
        }
    }
}

/// The answer to a size that was given up a moment ago.
#[test]
fn an_answer_may_come_when_it_is_no_longer_hoped_for() {
    for width in [1_300, 1_350, CEILING] {
        let (mut laptop, mut path) = (Laptop::new(), Path::of_width(width));
        path.round_trip = Duration::from_millis(3_500);
        path.told = Some(1_290);
        let first = laptop.rekey(&mut path);
        assert!(first.mtu <= width || first.verdict == Verdict::Unanswered);
        if width == CEILING {
            assert_eq!((first.mtu, first.verdict), (CEILING, Verdict::Confirmed));
        }
    }
}

#[test]
fn nothing_is_sent_before_its_time() {
    let mut laptop = Laptop::new();
    let mut handle = |input, now| laptop.prober.handle(input, now, || None);
    assert!(handle(Input::PathChanged, laptop.now).is_some());
    let early = laptop.now + Duration::from_millis(999);
    assert!(handle(Input::Tick, early).is_none());
    let due = laptop.now + Duration::from_secs(1);
    assert!(handle(Input::Tick, due).is_some());
}

#[test]
fn only_an_answer_is_kept_from_the_user() {
    let mut laptop = Laptop::new();
    let mut probe = || {
        let probe = laptop
            .prober
            .handle(Input::PathChanged, laptop.now, || None);
        probe.expect("a probe").packet
    };
    let (earlier, packet) = (probe(), probe());
    let mut accepts = |packet: &[u8]| laptop.prober.accept(packet, laptop.now, || None).0;
    assert!(!accepts(&packet));
    assert!(!accepts(&[]));
    assert!(!accepts(&time_exceeded(&earlier)), "of another search");
    assert!(accepts(&time_exceeded(&packet)));
    assert!(!accepts(&time_exceeded(&packet)), "nothing is waited for");
}

#[test]
fn without_a_session_nothing_is_waited_for() {
    let mut laptop = Laptop::new();
    let mut handle = |input| laptop.prober.handle(input, laptop.now, || None);
    let probe = handle(Input::PathChanged).expect("a probe");
    assert!(handle(Input::Unsent(probe.id)).is_none());
    assert_eq!(laptop.prober.deadline(), None);
    assert!(!laptop.prober.is_waiting());
    assert_eq!(laptop.prober.known().verdict, Verdict::Untested);
}

/// The word that a probe did not go may come when the session is there, and asked already.
#[test]
fn late_word_of_an_unsent_probe_ends_nothing() {
    let mut laptop = Laptop::new();
    let mut handle = |input| laptop.prober.handle(input, laptop.now, || None);
    let unsent = handle(Input::PathChanged).expect("a probe");
    let sent = handle(Input::SessionEstablished).expect("another probe");
    assert!(handle(Input::Unsent(unsent.id)).is_none());
    assert!(handle(Input::Refused(unsent.id)).is_none());
    assert!(laptop.prober.is_waiting());
    let answer = time_exceeded(&sent.packet);
    assert!(laptop.prober.accept(&answer, laptop.now, || None).0);
    assert_eq!(laptop.prober.known().verdict, Verdict::Confirmed);
}
