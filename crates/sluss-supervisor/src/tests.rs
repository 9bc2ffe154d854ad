//! Every state that a small world can lead to, and every event in each of them.
//!
//! Two links, one kind of card, each worker's good and bad answers. States that differ only in times, numbers and ages
//! count as one. What is checked needs no model: it can be read off a single turn, or off the way to rest.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use sluss_policy::{OnRemoval, Policy, Source, WhenInside};

use crate::state::Asked;
use crate::{
    Action, CardFault, Change, Confirmation, Event, Evidence, Host, HostMode, HostRules, Insertion,
    Intent, Key, Link, LinkId, LinkLayerAddress, Location, LossReason, Medium, Neighbour, Op,
    Outcome, OutsideReason, PinCheck, PinSource, Portal, PortalAnswer, PortalCheck, Recheck,
    Session, State, Time, Tunnel, Visitor, step,
};

const POLICY: &str = r#"
    schema = 1
    [gateway]
    name = "vpn.example.se"
    public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
    [[endpoint]]
    address = "198.51.100.2:51820"
    [internal]
    prefixes = ["10.20.0.0/16"]
    [[beacon]]
    name = "city hall"
    addresses = ["10.20.0.53:8443"]
    pins = ["sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
"#;

const PORTAL: &str = r#"
    [tunnel]
    keepalive = "25s"
    metered_keepalive = "off"
    [portal]
    probe = "http://192.0.2.80/"
"#;

const GRACE: Duration = Duration::from_secs(10);

/// What happens in a small world. All at once would be too much to visit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum World {
    /// Cards and PINs in every state.
    Cards,
    /// Portals, forged neighbours and metered links; the card is in and answers, or it is not in.
    Places,
}

#[test]
fn every_reachable_state_is_safe_and_finds_rest() {
    explore(World::Cards, "[card]\non_removal = \"lock-session\"");
}

#[test]
fn every_reachable_state_is_safe_and_finds_rest_when_a_pulled_card_is_waited_for() {
    let card = "[card]\non_removal = \"grace\"\ngrace = \"10s\"";
    explore(World::Cards, card);
}

#[test]
fn every_reachable_state_is_safe_and_finds_rest_where_networks_are_hostile() {
    explore(World::Places, PORTAL);
}

#[test]
fn every_reachable_state_is_safe_and_finds_rest_where_no_network_is_trusted() {
    explore(World::Places, "[location]\ninside = \"tunnel-anyway\"");
}

fn explore(world: World, rules: &str) {
    let policy = Policy::parse(&[Source {
        file: "policy.toml",
        text: &format!("{POLICY}\n{rules}"),
    }])
    .expect("it is right");
    let begin = Time::since_boot(Duration::from_secs(60));
    let (first, _) = step(&policy, State::new(), Event::Tick, begin);

    let mut seen = HashSet::from([outline(world, &first)]);
    let mut queue = VecDeque::from([(first, begin)]);
    let mut turns = 0_u64;
    while let Some((state, now)) = queue.pop_front() {
        ignore_stale(&policy, &state, now);
        find_rest(&policy, state.clone(), now);
        for (event, now) in events(world, &policy, &state, now) {
            turns += 1;
            let (after, actions) = step(&policy, state.clone(), event.clone(), now);
            check_turn(&policy, &state, &event, &after, &actions, now);
            if seen.insert(outline(world, &after)) {
                queue.push_back((after, now));
            }
        }
    }
    println!("{} states, {turns} turns", seen.len());
    assert!(
        seen.len() > 3_000,
        "the small world has become too small: {} states",
        seen.len()
    );
}

fn check_turn(
    policy: &Policy,
    before: &State,
    event: &Event,
    after: &State,
    actions: &[Action],
    now: Time,
) {
    let context =
        || format!("{event:?}\nbefore: {before:#?}\nafter: {after:#?}\nactions: {actions:#?}");
    let exists = matches!(after.tunnel, Tunnel::Starting { .. } | Tunnel::Up { .. });
    let inside = matches!(after.location, Location::Inside(_));
    let kept_for = match &after.key {
        Key::Away { card, until } => {
            check_grace(policy, before, event, after, &context);
            assert!(*until > now, "waited for too long: {}", context());
            assert!(
                *until <= now + GRACE,
                "waited for longer than allowed: {}",
                context()
            );
            Some(card)
        }
        key => key.card(),
    };
    if let (Key::Away { card: pulled, .. }, Some(card)) = (&before.key, after.key.card()) {
        assert_eq!(
            card.serial == pulled.serial,
            card.insertion == pulled.insertion,
            "not the one that was pulled: {}",
            context()
        );
    }
    assert!(
        !exists || kept_for.is_some(),
        "a tunnel without a card: {}",
        context()
    );
    assert!(
        !exists || after.secrets == kept_for.map(|card| card.insertion),
        "another card's: {}",
        context()
    );
    check_pin(before, event, actions, &context);
    check_pull(policy, before, event, actions, &context);
    assert!(
        !exists || after.intent == Intent::Automatic,
        "a tunnel against the user's will: {}",
        context()
    );
    let anyway = policy.location.inside == WhenInside::TunnelAnyway;
    assert!(
        !exists || !inside || anyway,
        "a tunnel inside: {}",
        context()
    );
    check_portal(policy, before, event, after, now, &context);

    if let Location::Outside {
        why,
        since,
        again_at,
    } = after.location
        && !matches!(before.location, Location::Outside { .. })
    {
        match before.location.outside_since() {
            Some(earlier) => {
                assert_eq!(again_at, None, "asks for ever: {}", context());
                assert_eq!(since, earlier, "outside anew: {}", context());
                assert!(
                    !actions.contains(&Action::RefreshTunnel {
                        after: Change::Place
                    }) || refresh_due(before),
                    "no news for the gateway: {}",
                    context()
                );
            }
            None => assert_eq!(
                again_at.is_some(),
                why != OutsideReason::NoBeacon,
                "a first verdict for want of proof is asked about once more: {}",
                context()
            ),
        }
    }

    for action in actions {
        match action {
            Action::StartTunnel { .. } => {
                assert!(
                    matches!(after.location, Location::Outside { .. }) || inside && anyway,
                    "started before the verdict: {}",
                    context()
                );
                assert!(
                    matches!(after.key, Key::Unlocked(_)),
                    "started without the key: {}",
                    context()
                );
                // What else is asked of the host in this turn does not open it.
                let closed = |host: &Host| match host {
                    Host::Applied(rules) | Host::Applying { rules, .. } => {
                        rules.mode == HostMode::Closed
                    }
                    Host::Unknown | Host::Failed { .. } => false,
                };
                let applied = match event {
                    Event::HostApplied { .. } => closed(&after.host),
                    _ => matches!(before.host, Host::Applied(_)) && closed(&before.host),
                };
                assert!(
                    applied && closed(&after.host),
                    "started before it was closed: {}",
                    context()
                );
            }
            Action::ApplyHost {
                rules:
                    HostRules {
                        mode: HostMode::Inside { link },
                        ..
                    },
                ..
            } => {
                let proof = after.location.verified().map(|verified| &verified.link);
                assert_eq!(proof, Some(link), "opened without proof: {}", context());
                assert!(!anyway, "in the clear: {}", context());
                assert!(
                    matches!(after.tunnel, Tunnel::Down { .. }),
                    "opened beside a tunnel: {}",
                    context()
                );
            }
            Action::Probe { .. }
            | Action::CancelProbe { .. }
            | Action::AskPin { .. }
            | Action::CancelPin { .. }
            | Action::VerifyPin { .. }
            | Action::DiscardPin
            | Action::LockCard
            | Action::LockSession
            | Action::ForgetKeys
            | Action::StopTunnel { .. }
            | Action::RefreshTunnel { .. }
            | Action::ApplyHost {
                rules:
                    HostRules {
                        mode: HostMode::Closed | HostMode::Tunnelled,
                        ..
                    },
                ..
            }
            | Action::CheckPortal { .. }
            | Action::CancelPortalCheck { .. }
            | Action::SetKeepalive { .. } => {}
        }
    }
    let open = matches!(
        &after.host,
        Host::Applying { rules, .. } | Host::Applied(rules) if matches!(rules.mode, HostMode::Inside { .. })
    );
    assert!(
        !open || after.location.verified().is_some(),
        "open without proof: {}",
        context()
    );

    assert!(
        after
            .deadline(policy)
            .is_none_or(|deadline| deadline.at > now),
        "a deadline in the past: {}",
        context()
    );
    assert!(
        after.deadline(policy).is_some() || !waits(after),
        "waits for ever: {}",
        context()
    );
    let (again, more) = step(policy, after.clone(), Event::Tick, now);
    assert!(
        more.is_empty() && again == *after,
        "decided twice: {more:?} {}",
        context()
    );
}

/// Who is outside may meet a portal, and is let through when the user asked, for as long as that was for.
fn check_portal(
    policy: &Policy,
    before: &State,
    event: &Event,
    after: &State,
    now: Time,
    context: &dyn Fn() -> String,
) {
    let looked = !matches!(after.portal, Portal::Unknown);
    assert!(
        !looked || policy.portal.is_some() && after.location.outside_since().is_some(),
        "a portal where none can be: {}",
        context()
    );
    let opening = match &after.host {
        Host::Applying { rules, .. } | Host::Applied(rules) | Host::Failed { rules, .. } => {
            rules.opening.as_ref()
        }
        Host::Unknown => None,
    };
    let Portal::Open {
        until,
        openings_left,
        ..
    } = &after.portal
    else {
        assert_eq!(opening, None, "not closed: {}", context());
        return;
    };
    let left_before = match &before.portal {
        Portal::Open { openings_left, .. } | Portal::Found { openings_left, .. } => *openings_left,
        Portal::Unknown | Portal::Checking { .. } | Portal::Clear { .. } => 0,
    };
    let asked = matches!(event, Event::PortalRequested { .. });
    let longer = match &before.portal {
        Portal::Open { until: earlier, .. } => until > earlier,
        Portal::Unknown | Portal::Checking { .. } | Portal::Clear { .. } | Portal::Found { .. } => {
            true
        }
    };
    assert!(
        !longer || asked && *openings_left < left_before,
        "opened without being asked: {}",
        context()
    );
    assert!(
        *until > now && *until <= now + Duration::from_secs(300),
        "open for too long: {}",
        context()
    );
    assert_eq!(
        opening.map(|opening| opening.until),
        Some(*until),
        "{}",
        context()
    );
}

/// A card is waited for only beside a tunnel that is up and wanted, and never for longer than at first.
fn check_grace(
    policy: &Policy,
    before: &State,
    event: &Event,
    after: &State,
    context: &dyn Fn() -> String,
) {
    let over = matches!(
        event,
        Event::SessionLocked | Event::LockRequested | Event::Suspending | Event::UserDown
    );
    assert!(!over, "nobody is there: {}", context());
    let waits = policy.card.on_removal == OnRemoval::Grace(GRACE)
        && matches!(after.tunnel, Tunnel::Up { .. })
        && !matches!(after.location, Location::Asleep { .. });
    assert!(waits, "waited for in vain: {}", context());
    match (&before.key, &after.key) {
        (Key::Away { .. }, _) => {
            assert_eq!(before.key, after.key, "another wait: {}", context());
        }
        (key, Key::Away { card, .. }) => {
            assert_eq!(key.card(), Some(card), "another card: {}", context());
        }
        (_, _) => {}
    }
}

/// Each PIN is tried or wiped, and one from a login is tried only when nobody has erred yet.
fn check_pin(before: &State, event: &Event, actions: &[Action], context: &dyn Fn() -> String) {
    let tried = actions
        .iter()
        .any(|action| matches!(action, Action::VerifyPin { .. }));
    let wiped = actions.contains(&Action::DiscardPin);
    let &Event::PinOffered { source, .. } = event else {
        assert!(!tried && !wiped, "what PIN? {}", context());
        return;
    };
    assert!(tried != wiped, "a PIN left lying about: {}", context());
    if source == PinSource::Login {
        let checked = matches!(before.key, Key::Verifying { .. });
        let all_left = before.key.card().is_some_and(|card| card.tries_left >= 3);
        assert_eq!(tried, all_left && !checked, "a login: {}", context());
    }
}

/// The session is locked when the card that served leaves, and only then.
fn check_pull(
    policy: &Policy,
    before: &State,
    event: &Event,
    actions: &[Action],
    context: &dyn Fn() -> String,
) {
    let served = before.key.card().map(|card| card.serial.as_str());
    let pulled = match event {
        Event::CardRemoved => served.is_some(),
        Event::CardInserted { serial, .. } => served.is_some_and(|served| served != serial),
        _ => false,
    };
    assert_eq!(
        actions.contains(&Action::LockSession),
        pulled && policy.card.on_removal == OnRemoval::LockSession,
        "{}",
        context()
    );
}

fn refresh_due(state: &State) -> bool {
    matches!(
        state.tunnel,
        Tunnel::Up {
            refresh: Some(_),
            ..
        }
    )
}

/// Whether something is under way that nobody promised to finish.
fn waits(state: &State) -> bool {
    matches!(
        state.location,
        Location::Settling { .. }
            | Location::Probing { .. }
            | Location::Asleep { .. }
            | Location::Outside {
                again_at: Some(_),
                ..
            }
    ) || matches!(state.portal, Portal::Checking { .. } | Portal::Open { .. })
        || matches!(state.key, Key::Verifying { .. })
        || matches!(
            state.tunnel,
            Tunnel::Starting { .. } | Tunnel::Stopping { .. }
        )
        || matches!(
            state.host,
            Host::Unknown | Host::Applying { .. } | Host::Failed { .. }
        )
}

/// An answer to a question that was not asked changes nothing.
fn ignore_stale(policy: &Policy, state: &State, now: Time) {
    let (untold, _) = step(policy, state.clone(), Event::Tick, now);
    for stale in answers(Op(0)) {
        let (after, actions) = step(policy, state.clone(), stale.clone(), now);
        assert!(
            actions.is_empty() && after == untold,
            "believed {stale:?}: {state:#?}"
        );
    }
}

/// With workers that answer and a user who types the PIN, everything comes to rest, and rest is what is wanted.
fn find_rest(policy: &Policy, begin: State, mut now: Time) {
    let mut state = begin.clone();
    for _ in 0..100 {
        let event = match &state {
            State {
                host: Host::Applying { op, .. },
                ..
            } => Event::HostApplied { op: *op },
            State {
                tunnel: Tunnel::Stopping { op, .. },
                ..
            } => Event::TunnelStopped { op: *op },
            State {
                tunnel: Tunnel::Starting { op, .. },
                ..
            } => Event::TunnelStarted { op: *op },
            State {
                location: Location::Probing { op, .. },
                ..
            } => Event::ProbeFinished {
                op: *op,
                evidence: Vec::new(),
            },
            State {
                asked: Asked {
                    portal: Some(op), ..
                },
                ..
            } => Event::PortalChecked {
                op: *op,
                checks: Vec::new(),
            },
            State {
                location: Location::Asleep { .. },
                ..
            } => Event::Resumed,
            State {
                key: Key::AwaitingPin { .. },
                ..
            } => Event::PinOffered {
                source: PinSource::User,
                last_try_consented: true,
            },
            State {
                key: Key::Verifying { op, .. },
                ..
            } => Event::PinChecked {
                op: *op,
                check: PinCheck::Accepted,
            },
            state => match state.deadline(policy) {
                Some(deadline) => {
                    now = deadline.at;
                    Event::Tick
                }
                None => break,
            },
        };
        state = step(policy, state, event, now).0;
    }
    let up = matches!(state.tunnel, Tunnel::Up { .. });
    let anyway = policy.location.inside == WhenInside::TunnelAnyway;
    let place = match &state.location {
        Location::Outside { .. } => true,
        Location::Inside(_) => anyway,
        Location::Offline
        | Location::Asleep { .. }
        | Location::Settling { .. }
        | Location::Probing { .. } => false,
    };
    let wanted =
        state.intent == Intent::Automatic && place && matches!(state.key, Key::Unlocked(_));
    let mode = match (&state.location, up) {
        (_, true) => HostMode::Tunnelled,
        (Location::Inside(verified), false) if !anyway => HostMode::Inside {
            link: verified.link.clone(),
        },
        (_, false) => HostMode::Closed,
    };
    assert!(
        state.deadline(policy).is_none(),
        "no rest from {begin:#?}: {state:#?}"
    );
    assert!(
        up || !wanted,
        "rests without the tunnel that is wanted, from {begin:#?}: {state:#?}"
    );
    assert!(
        matches!(&state.host, Host::Applied(rules) if rules.mode == mode),
        "rests with wrong routes, from {begin:#?}"
    );
}

/// Everything that can happen now, each with its moment.
fn events(world: World, policy: &Policy, state: &State, now: Time) -> Vec<(Event, Time)> {
    let eth = link(1, &["10.20.5.7/24"]);
    let renewed = link(1, &["10.20.5.7/24", "10.20.5.8/24"]);
    let wlan = link(2, &["192.168.1.7/24"]);
    let card = |serial: &str, verified| Event::CardInserted {
        serial: serial.to_owned(),
        tries_left: 3,
        verified,
    };
    let offer = |source| Event::PinOffered {
        source,
        last_try_consented: false,
    };
    let mut events = vec![
        Event::LinksChanged(Vec::new()),
        Event::LinksChanged(vec![eth.clone()]),
        Event::LinksChanged(vec![wlan.clone()]),
        Event::LinksChanged(vec![eth.clone(), wlan.clone()]),
        card("A", true),
        Event::CardRemoved,
    ];
    events.extend(match world {
        World::Cards => vec![
            Event::Suspending,
            Event::Resumed,
            Event::UserUp,
            Event::UserDown,
            Event::LinksChanged(vec![renewed]),
            card("A", false),
            card("B", false),
            Event::CardUnusable(CardFault::Nonsense),
            Event::CardLocked,
            offer(PinSource::User),
            offer(PinSource::Login),
            Event::LockRequested,
            Event::SessionLocked,
        ],
        World::Places => vec![
            Event::Suspending,
            Event::LinksChanged(vec![forged(&eth)]),
            Event::LinksChanged(vec![Link {
                metered: true,
                ..forged(&wlan)
            }]),
            Event::PortalRequested {
                visitor: Visitor::Uid(1000),
                renew: false,
            },
            Event::PortalRequested {
                visitor: Visitor::Uid(1000),
                renew: true,
            },
        ],
    });
    let ops: HashSet<Op> = [state.asked.probe, state.asked.portal, state.asked.pin]
        .into_iter()
        .flatten()
        .chain(awaited(state))
        .collect();
    events.extend(ops.into_iter().flat_map(answers));
    events.retain(|event| {
        let failed = matches!(
            event,
            Event::TunnelStartFailed { .. } | Event::TunnelLost { .. } | Event::HostFailed { .. }
        );
        world == World::Cards || !failed
    });
    if let (World::Places, Tunnel::Up { op, .. }) = (world, &state.tunnel) {
        let (op, attempts) = (*op, 3);
        events.push(Event::HandshakeUnanswered { op, attempts });
    }
    let mut events: Vec<_> = events.into_iter().map(|event| (event, now)).collect();
    events.extend(
        state
            .deadline(policy)
            .map(|deadline| (Event::Tick, deadline.at)),
    );
    events
}

/// Whatever a worker, or a user at a prompt, could answer under this number.
fn answers(op: Op) -> Vec<Event> {
    let proved = |index| Evidence {
        link: link(index, &[]).id,
        beacon: "city hall".to_owned(),
        address: std::net::SocketAddr::from(([10, 20, 0, 53], 8443)),
        outcome: Outcome::Proved,
        at: Time::since_boot(Duration::ZERO),
    };
    vec![
        Event::ProbeFinished {
            op,
            evidence: Vec::new(),
        },
        Event::ProbeFinished {
            op,
            evidence: vec![proved(1)],
        },
        Event::ProbeFinished {
            op,
            evidence: vec![proved(2)],
        },
        Event::ProbeFinished {
            op,
            evidence: vec![proved(1), proved(2)],
        },
        portal(op, PortalAnswer::Expected),
        portal(op, PortalAnswer::Intercepted { url: None }),
        portal(op, PortalAnswer::Silent),
        Event::PinChecked {
            op,
            check: PinCheck::Accepted,
        },
        Event::PinChecked {
            op,
            check: PinCheck::Wrong { tries_left: 0 },
        },
        Event::PinChecked {
            op,
            check: PinCheck::Wrong { tries_left: 2 },
        },
        Event::PinChecked {
            op,
            check: PinCheck::Withheld,
        },
        Event::PinChecked {
            op,
            check: PinCheck::Declined,
        },
        Event::PinDeclined { op },
        Event::TunnelStarted { op },
        Event::TunnelStartFailed {
            op,
            why: LossReason::Device,
        },
        Event::TunnelStopped { op },
        Event::TunnelLost {
            op,
            why: LossReason::Device,
        },
        Event::SessionEstablished { op },
        Event::HostApplied { op },
        Event::HostFailed { op },
    ]
}

fn portal(op: Op, answer: PortalAnswer) -> Event {
    let link = link(2, &[]).id;
    let checks = vec![PortalCheck { link, answer }];
    Event::PortalChecked { op, checks }
}

/// Somebody else answers for its gateway.
fn forged(link: &Link) -> Link {
    let mut link = link.clone();
    link.neighbours[0].address = LinkLayerAddress([2, 0, 0, 0, 0, 66]);
    link
}

fn awaited(state: &State) -> Vec<Op> {
    let mut ops = Vec::new();
    if let Key::Verifying { op, .. } = state.key {
        ops.push(op);
    }
    if let Tunnel::Starting { op, .. } | Tunnel::Up { op, .. } | Tunnel::Stopping { op, .. } =
        state.tunnel
    {
        ops.push(op);
    }
    if let Host::Applying { op, .. } = state.host {
        ops.push(op);
    }
    ops
}

fn link(index: u32, addresses: &[&str]) -> Link {
    let gateway = std::net::IpAddr::from([10, 0, 0, u8::try_from(index).unwrap_or(0)]);
    Link {
        id: LinkId {
            index,
            name: format!("eth{index}"),
        },
        carrier: true,
        addresses: addresses
            .iter()
            .filter_map(|address| address.parse().ok())
            .collect(),
        gateways: vec![gateway],
        medium: Medium::Wired,
        metered: false,
        neighbours: vec![Neighbour {
            gateway,
            address: LinkLayerAddress([2, 0, 0, 0, 0, 1]),
        }],
    }
}

/// The state without what makes no difference: the card's name, numbers and deadlines by their order, no ages, no evidence.
fn outline(world: World, state: &State) -> State {
    let mut state = state.clone();
    if let Key::Away { card, .. } = &mut state.key {
        card.serial.clear();
    } else if let Some(card) = state.key.card_mut() {
        card.serial.clear();
    }
    let mut times = BTreeSet::new();
    visit(&mut state, &mut |time| times.extend([*time]), &mut |_| {});
    let ranks: HashMap<Time, u64> = times.into_iter().zip(0..).collect();
    let rank = |time: Time| match world {
        World::Cards => ranks[&time],
        // Too many orders: what comes next is what makes a difference.
        World::Places => ranks[&time].min(1),
    };
    let mut numbers = HashMap::new();
    visit(
        &mut state,
        &mut |time| *time = Time::since_boot(Duration::from_secs(rank(*time))),
        &mut |number| {
            let next = numbers.len() as u64;
            *number = *numbers.entry(*number).or_insert(next);
        },
    );
    state.evidence.clear();
    state.failures = state.failures.min(1);
    state.unrest.flatten();
    state.next = 0;
    state
}

/// Shows every deadline and every number; ages are set to nothing.
fn visit(state: &mut State, time: &mut impl FnMut(&mut Time), number: &mut impl FnMut(&mut u64)) {
    let never = Time::since_boot(Duration::ZERO);
    match &mut state.location {
        Location::Offline => {}
        Location::Asleep { until } => time(until),
        Location::Settling {
            quiet_at,
            limit,
            held,
        } => {
            time(quiet_at);
            // Only its order to other deadlines could matter, and the next change comes before all of them.
            *limit = never;
            if let Some(held) = held {
                held.since = never;
            }
        }
        Location::Probing {
            op,
            deadline,
            confirmation,
            outside_since,
        } => {
            number(&mut op.0);
            time(deadline);
            *outside_since = outside_since.map(|_| never);
            if let Confirmation::Held(held) = confirmation {
                held.since = never;
            }
        }
        Location::Inside(verified) => verified.since = never,
        Location::Outside {
            since, again_at, ..
        } => {
            *since = never;
            if let Some(again_at) = again_at {
                time(again_at);
            }
        }
    }
    match &mut state.portal {
        Portal::Unknown => {}
        Portal::Checking { op, deadline } => {
            number(&mut op.0);
            time(deadline);
        }
        Portal::Clear { since } => *since = never,
        Portal::Found { portal, check, .. } => {
            portal.since = never;
            visit_recheck(check, time, number);
        }
        Portal::Open {
            portal,
            check,
            until,
            ..
        } => {
            portal.since = never;
            time(until);
            visit_recheck(check, time, number);
        }
    }
    if let Some(card) = state.key.card_mut() {
        number(&mut card.insertion.0);
    }
    match &mut state.key {
        Key::Verifying { op, deadline, .. } => {
            number(&mut op.0);
            time(deadline);
        }
        Key::AwaitingPin { op, .. } => number(&mut op.0),
        Key::Away { card, until } => {
            number(&mut card.insertion.0);
            time(until);
        }
        Key::Absent
        | Key::Unusable(_)
        | Key::Locked(_)
        | Key::Declined { .. }
        | Key::Withdrawn(_)
        | Key::Unlocked(_)
        | Key::Blocked(_) => {}
    }
    match &mut state.tunnel {
        Tunnel::Down { retry } => {
            if let Some(retry) = retry {
                time(&mut retry.at);
            }
        }
        Tunnel::Starting { op, deadline } => {
            number(&mut op.0);
            time(deadline);
        }
        Tunnel::Up {
            op,
            since,
            session,
            refresh: _,
            keepalive: _,
        } => {
            number(&mut op.0);
            *since = never;
            *session = Session::Established;
        }
        Tunnel::Stopping {
            op,
            deadline,
            retry,
        } => {
            number(&mut op.0);
            time(deadline);
            if let Some(retry) = retry {
                time(&mut retry.at);
            }
        }
    }
    match &mut state.host {
        Host::Applying { op, deadline, .. } => {
            number(&mut op.0);
            time(deadline);
        }
        Host::Failed { retry_at, .. } => time(retry_at),
        Host::Unknown | Host::Applied(_) => {}
    }
    if let Some(Insertion(insertion)) = &mut state.secrets {
        number(insertion);
    }
    for Op(op) in [
        &mut state.asked.probe,
        &mut state.asked.portal,
        &mut state.asked.pin,
    ]
    .into_iter()
    .flatten()
    {
        number(op);
    }
}

fn visit_recheck(
    check: &mut Recheck,
    time: &mut impl FnMut(&mut Time),
    number: &mut impl FnMut(&mut u64),
) {
    match check {
        Recheck::Idle => {}
        Recheck::Due { at, step } => {
            time(at);
            *step = 0;
        }
        Recheck::Running { op, deadline, step } => {
            number(&mut op.0);
            time(deadline);
            *step = 0;
        }
    }
}
