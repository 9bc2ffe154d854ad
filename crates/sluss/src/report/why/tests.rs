//! What a helpdesk reads out in each place, word by word, in both languages.

use sluss_ipc::{
    DownReason, Key, LocationRules, Outcome, PortalPage, Resolution, ResolutionFault, Traffic,
};

use super::super::tests::{blocked, home, office, reads, shut};
use super::*;

fn outside(reason: OutsideReason, evidence: Vec<Evidence>) -> Why {
    Why {
        location: Location::Outside {
            reason,
            links: vec!["eth0".to_owned()],
        },
        location_age_ms: Some(720_000),
        evidence,
        tunnel: Tunnel::Up,
        ..home().why()
    }
}

/// One beacon on the cable, twelve minutes ago.
fn said(beacon: &str, address: &str, outcome: Outcome) -> Evidence {
    Evidence {
        link: "eth0".to_owned(),
        beacon: beacon.to_owned(),
        kind: BeaconKind::Beacon,
        site: None,
        address: format!("{address}:8443").parse().unwrap(),
        outcome,
        age_ms: 720_000,
    }
}

#[track_caller]
fn why_reads(why: &Why, english: &str, swedish: &str) {
    const OPEN: [&str; 2] = [
        " The tunnel to vpn.example.se is open; its last handshake was 40 seconds ago.\n",
        " Tunneln till vpn.example.se är öppen; dess senaste handskakning var för 40 sekunder sedan.\n",
    ];
    let up = why.tunnel == Tunnel::Up;
    let end = |open: &'static str| if up { open } else { "" };
    reads(
        |text| super::why(why, text),
        &format!("{english}{}", end(OPEN[0])),
        &format!("{swedish}{}", end(OPEN[1])),
    );
}

#[test]
fn at_home_no_beacon_answers() {
    why_reads(
        &home().why(),
        "You are outside the internal network, for 12 seconds now. \
         On wlan0 no beacon answered, 12 seconds ago: city hall (10.20.0.53) gave no answer within 0.8 seconds.",
        "Du är utanför det interna nätet sedan 12 sekunder. \
         På wlan0 svarade ingen fyr, för 12 sekunder sedan: city hall (10.20.0.53) svarade inte inom 0,8 sekunder.",
    );
}

#[test]
fn in_the_office_the_proof_is_told_with_its_link() {
    reads(
        |text| why(&office().why(), text),
        "You are on the internal network, for 3 minutes now: the beacon city hall proved it on eth0. \
         So no tunnel is needed.\n",
        "Du är på det interna nätet sedan 3 minuter: fyren city hall bevisade det på eth0. \
         Därför behövs ingen tunnel.\n",
    );
}

#[test]
fn behind_nat_both_addresses_and_the_cure_are_told() {
    let relayed = Outcome::Relayed {
        seen: "10.20.255.9:40000".parse().unwrap(),
        own: "10.30.5.50:40000".parse().unwrap(),
    };
    why_reads(
        &outside(
            OutsideReason::NoProof,
            vec![
                said("city hall", "10.20.0.53", relayed),
                said("library", "10.20.1.53", Outcome::NoAnswer),
            ],
        ),
        "You are outside the internal network, for 12 minutes now. \
         On eth0, 12 minutes ago, city hall (10.20.0.53) proved its key, but it was asked from 10.20.255.9 and not from this laptop's 10.30.5.50: \
         somebody relays, or translates addresses, in between. \
         If this is an office of yours, IT adds 10.20.255.9 to `nat` of this beacon in the policy, or sets up a beacon in this building.",
        "Du är utanför det interna nätet sedan 12 minuter. \
         På eth0, för 12 minuter sedan, bevisade city hall (10.20.0.53) sin nyckel, men tillfrågades från 10.20.255.9 och inte från datorns 10.30.5.50: \
         någon vidarebefordrar, eller översätter adresser, på vägen. \
         Är detta ett av era egna kontor, lägger IT till 10.20.255.9 i `nat` för den fyren i policyn, eller sätter upp en fyr i byggnaden.",
    );
}

#[test]
fn an_expired_certificate_and_a_wrong_clock_look_alike_and_both_dates_are_told() {
    let expired = Outcome::Expired {
        not_after_unix_s: 1_793_491_200,
        clock_unix_s: 1_795_399_200,
    };
    why_reads(
        &outside(
            OutsideReason::NoProof,
            vec![said("city hall", "10.20.0.53", expired)],
        ),
        "You are outside the internal network, for 12 minutes now. \
         On eth0, 12 minutes ago, city hall (10.20.0.53) showed a certificate that was valid until 2026-11-01 00:00 UTC, \
         while this laptop's clock says 2026-11-23 02:00 UTC: the certificate must be renewed, or the clock is wrong.",
        "Du är utanför det interna nätet sedan 12 minuter. \
         På eth0, för 12 minuter sedan, visade city hall (10.20.0.53) ett certifikat som gällde till 2026-11-01 00:00 UTC, \
         medan datorns klocka visar 2026-11-23 02:00 UTC: certifikatet måste förnyas, eller så går klockan fel.",
    );
}

#[test]
fn a_wrong_key_is_another_network_or_a_change_of_keys() {
    why_reads(
        &outside(
            OutsideReason::NoProof,
            vec![said("city hall", "10.20.0.53", Outcome::WrongKey)],
        ),
        "You are outside the internal network, for 12 minutes now. \
         On eth0, 12 minutes ago, somebody at the address of city hall (10.20.0.53) showed another key: \
         this is another network, or the beacon has a new key that the policy does not name yet.",
        "Du är utanför det interna nätet sedan 12 minuter. \
         På eth0, för 12 minuter sedan, visade någon på adressen för city hall (10.20.0.53) en annan nyckel: \
         det här är ett annat nät, eller så har fyren en ny nyckel som policyn inte anger ännu.",
    );
}

#[test]
fn one_of_two_is_told_with_who_was_missing() {
    let reason = OutsideReason::TooFewProofs {
        proved: 1,
        needed: 2,
    };
    why_reads(
        &outside(
            reason,
            vec![
                said("city hall", "10.20.0.53", Outcome::Proved),
                said("library", "10.20.1.53", Outcome::NoAnswer),
            ],
        ),
        "You count as outside the internal network, for 12 minutes now: 1 of the 2 beacons that the policy asks for proved itself. \
         On eth0, 12 minutes ago: city hall (10.20.0.53) proved itself, library (10.20.1.53) gave no answer within 0.8 seconds.",
        "Du räknas som utanför det interna nätet sedan 12 minuter: 1 av de 2 fyrar som policyn kräver gav bevis. \
         På eth0, för 12 minuter sedan: city hall (10.20.0.53) gav bevis, library (10.20.1.53) svarade inte inom 0,8 sekunder.",
    );
}

#[test]
fn a_server_is_no_beacon_where_the_policy_wants_one() {
    let mut server = said("intranet", "10.20.0.80", Outcome::Proved);
    server.kind = BeaconKind::Tls;
    let mut why = outside(
        OutsideReason::WeakProof,
        vec![server, said("city hall", "10.20.0.53", Outcome::Refused)],
    );
    why.rules = Some(LocationRules {
        require: BeaconKind::Beacon,
        quorum: 1,
        inside: InsideRule::NoTunnel,
        probe_timeout_ms: 800,
    });
    why_reads(
        &why,
        "You count as outside the internal network, for 12 minutes now: a server proved its key, \
         but the policy asks for a beacon, which also shows whether anybody is in between. \
         On eth0, 12 minutes ago: intranet (10.20.0.80) proved its key, city hall (10.20.0.53) refused the connection.",
        "Du räknas som utanför det interna nätet sedan 12 minuter: en server bevisade sin nyckel, \
         men policyn kräver en fyr, som också visar om någon finns emellan. \
         På eth0, för 12 minuter sedan: intranet (10.20.0.80) bevisade sin nyckel, city hall (10.20.0.53) nekade anslutningen.",
    );
}

#[test]
fn a_long_list_is_summed_up() {
    let silent = (0..20).map(|n| {
        let (name, address) = (format!("house {n}"), format!("10.20.{n}.53"));
        said(&name, &address, Outcome::NoAnswer)
    });
    why_reads(
        &outside(OutsideReason::NoProof, silent.collect()),
        "You are outside the internal network, for 12 minutes now. \
         On eth0 no beacon answered, 12 minutes ago: \
         house 0 (10.20.0.53), house 1 (10.20.1.53) and 18 others gave no answer within 0.8 seconds.",
        "Du är utanför det interna nätet sedan 12 minuter. \
         På eth0 svarade ingen fyr, för 12 minuter sedan: \
         house 0 (10.20.0.53), house 1 (10.20.1.53) och 18 andra svarade inte inom 0,8 sekunder.",
    );
}

#[test]
fn many_doubts_are_counted_and_not_all_told() {
    let wrong = (0..5).map(|n| {
        said(
            &format!("house {n}"),
            &format!("10.20.{n}.53"),
            Outcome::WrongKey,
        )
    });
    let told = why(
        &outside(OutsideReason::NoProof, wrong.collect()),
        &crate::text::English,
    );
    assert!(
        told.contains("house 1 ") && !told.contains("house 2 "),
        "{told}"
    );
    assert!(
        told.contains("`sluss status -v` has 3 more answers of beacons."),
        "{told}"
    );
}

#[test]
fn a_policy_without_beacons_is_named_as_the_reason() {
    why_reads(
        &outside(OutsideReason::NoBeacon, Vec::new()),
        "You count as outside the internal network, since the policy names no beacon that could prove you inside.",
        "Du räknas som utanför det interna nätet, eftersom policyn inte anger någon fyr som kan bevisa motsatsen.",
    );
}

#[test]
fn behind_a_login_page_only_that_counts() {
    let why = Why {
        portal: Portal::Found {
            page: Some(PortalPage {
                link: "wlan0".to_owned(),
                url: "http://192.0.2.80/".to_owned(),
                login: Some("https://wifi.hotel.example/login".to_owned()),
            }),
            may_open: true,
        },
        ..blocked().why()
    };
    why_reads(
        &why,
        "You are outside the internal network, for 12 seconds now. \
         The network on wlan0 wants a login first: http://192.0.2.80/; `sluss portal` opens the page. \
         The tunnel to vpn.example.se is being opened.\n",
        "Du är utanför det interna nätet sedan 12 sekunder. \
         Nätverket på wlan0 kräver först en inloggning: http://192.0.2.80/; `sluss portal` öppnar sidan. \
         Tunneln till vpn.example.se öppnas.\n",
    );
}

#[test]
fn a_tunnel_from_inside_is_the_policys_wish() {
    let mut why = Why {
        tunnel: Tunnel::Up,
        traffic: home().traffic,
        ..office().why()
    };
    why.rules = Some(LocationRules {
        require: BeaconKind::Tls,
        quorum: 1,
        inside: InsideRule::TunnelAnyway,
        probe_timeout_ms: 800,
    });
    why_reads(
        &why,
        "You are on the internal network, for 3 minutes now: the beacon city hall proved it on eth0. \
         The policy wants the tunnel here all the same.",
        "Du är på det interna nätet sedan 3 minuter: fyren city hall bevisade det på eth0. \
         Policyn vill ha tunneln här ändå.",
    );
}

#[test]
fn a_link_that_comes_and_goes_is_waited_out() {
    let why = Why {
        location: Location::Settling,
        location_age_ms: None,
        evidence: Vec::new(),
        tunnel: Tunnel::Down {
            reason: DownReason::Deciding,
        },
        warnings: vec![Warning::LinkFlapping],
        ..home().why()
    };
    why_reads(
        &why,
        "A network link comes and goes, and it is decided where you are when that has stopped. \
         The tunnel stays shut until that is known.\n",
        "En nätverkslänk kommer och går, och var du är avgörs när det har upphört. \
         Tunneln förblir stängd tills det är känt.\n",
    );
}

#[test]
fn a_silent_gateway_is_named_as_the_policy_names_it() {
    why_reads(
        &blocked().why(),
        "You are outside the internal network, for 12 seconds now. \
         On wlan0 no beacon answered, 12 seconds ago: city hall (10.20.0.53) gave no answer within 0.8 seconds. \
         The tunnel to vpn.example.se is being opened. \
         UDP to vpn.example.se:51820 gets no answer from this network, for 40 seconds now. \
         Try another network; if it is so everywhere, the gateway may not know this laptop.\n",
        "Du är utanför det interna nätet sedan 12 sekunder. \
         På wlan0 svarade ingen fyr, för 12 sekunder sedan: city hall (10.20.0.53) svarade inte inom 0,8 sekunder. \
         Tunneln till vpn.example.se öppnas. \
         UDP till vpn.example.se:51820 får inget svar från det här nätet, sedan 40 sekunder. \
         Pröva ett annat nätverk; om det är så överallt, känner gatewayen kanske inte datorn.\n",
    );
}

#[test]
fn the_second_gateway_says_why_it_is_not_the_first() {
    let mut why = outside(OutsideReason::NoBeacon, Vec::new());
    let gateway = why.gateway.as_mut().unwrap();
    let mut second = gateway.endpoints[0].clone();
    second.name = "vpn2.example.se:51820".to_owned();
    second.priority = 2;
    gateway.endpoints[0].state = EndpointState::Silent { age_ms: 21_000 };
    gateway.endpoints.push(second);
    reads(
        |text| way(why.gateway.as_ref(), &why.warnings, text).join("\n"),
        "UDP to vpn.example.se:51820 has got no answer from this network for 21 seconds, so vpn2.example.se:51820 is used.",
        "UDP till vpn.example.se:51820 har inte fått svar från det här nätet på 21 sekunder, så vpn2.example.se:51820 används.",
    );
}

#[test]
fn a_name_that_nobody_knows_is_told_and_what_stands_in_for_it() {
    let mut why = outside(OutsideReason::NoBeacon, Vec::new());
    let endpoint = &mut why.gateway.as_mut().unwrap().endpoints[0];
    endpoint.resolution = Resolution::Fallback {
        fault: ResolutionFault::NoAnswer,
        age_ms: 3_000,
    };
    reads(
        |text| way(why.gateway.as_ref(), &why.warnings, text).join("\n"),
        "The name vpn.example.se could not be resolved here, since the resolver does not answer; \
         198.51.100.2, which the policy gives for this case, is used.",
        "Namnet vpn.example.se kunde inte slås upp här, eftersom namnservern inte svarar; \
         198.51.100.2, som policyn anger för det fallet, används.",
    );
    let endpoint = &mut why.gateway.as_mut().unwrap().endpoints[0];
    endpoint.addresses.clear();
    endpoint.state = EndpointState::Idle;
    endpoint.resolution = Resolution::Failed {
        fault: ResolutionFault::NoSuchName,
        age_ms: 3_000,
    };
    reads(
        |text| way(why.gateway.as_ref(), &[Warning::NameNotResolved], text).join("\n"),
        "The name vpn.example.se could not be resolved here, since the resolver knows no such name.",
        "Namnet vpn.example.se kunde inte slås upp här, eftersom namnservern inte känner till namnet.",
    );
}

#[test]
fn the_card_is_named_with_its_cure() {
    why_reads(
        &shut(Key::Blocked).why(),
        "You are outside the internal network, for 12 seconds now. \
         On wlan0 no beacon answered, 12 seconds ago: city hall (10.20.0.53) gave no answer within 0.8 seconds. \
         The tunnel is shut: card blocked. Have the card unblocked by those who issued it.\n",
        "Du är utanför det interna nätet sedan 12 sekunder. \
         På wlan0 svarade ingen fyr, för 12 sekunder sedan: city hall (10.20.0.53) svarade inte inom 0,8 sekunder. \
         Tunneln är stängd: kortet är spärrat. Be den som gav ut kortet att häva spärren.\n",
    );
}

#[test]
fn on_its_way_to_sleep_nothing_is_claimed() {
    let why = Why {
        location: Location::Asleep,
        location_age_ms: None,
        tunnel: Tunnel::Down {
            reason: DownReason::NoNetwork,
        },
        traffic: None::<Traffic>,
        ..home().why()
    };
    why_reads(
        &why,
        "The laptop is going to sleep, or has just woken. So the tunnel is shut.\n",
        "Datorn är på väg in i eller ut ur viloläge. Därför är tunneln stängd.\n",
    );
}
