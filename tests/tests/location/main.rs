//! Where the laptop is, in every place that it goes to: the shipped binaries, real DHCP, real TLS, judged from outside.

mod attacks;
mod doctor;
mod moves;
mod nat64;
mod outages;
mod places;
mod portal;
mod sequences;
mod times;
mod wire;

use std::process::ExitCode;

use sluss_tests::{trial, trials};

use attacks::*;
use doctor::*;
use moves::*;
use nat64::*;
use outages::*;
use places::*;
use portal::*;
use sequences::*;
use times::*;
use wire::*;

fn main() -> ExitCode {
    // Quiet times and deadlines make nearly all of what is measured.
    trials::side_by_side(
        2,
        &[
            trial!(at_home_the_tunnel_opens),
            trial!(a_phones_network_is_metered_and_spared),
            trial!(an_open_wifi_is_warned_of),
            trial!(the_guest_wifi_of_the_town_hall_is_outside),
            trial!(the_branch_behind_a_translator_is_outside_and_works),
            trial!(the_branch_is_inside_where_policy_knows_its_address),
            trial!(an_office_with_ipv6_alone_is_inside),
            trial!(a_home_that_is_numbered_like_the_office_is_outside),
            trial!(a_cable_inside_and_a_greedy_wifi),
            trial!(containers_and_another_vpn_change_nothing),
            trial!(waking_up_in_another_building_is_inside),
            trial!(a_flapping_cable_in_the_office_opens_no_tunnel),
            trial!(a_flapping_link_at_home_keeps_its_tunnel),
            trial!(with_all_beacons_dead_work_goes_on_by_the_tunnel),
            trial!(without_a_network_nothing_is_tried),
            trial!(a_resolver_that_is_silent_does_not_keep_the_tunnel_shut),
            trial!(a_network_that_swallows_udp_is_named),
            trial!(the_doctor_finds_what_is_wrong_in_each_place),
            trial!(a_hotel_is_named_and_the_tunnel_waits_for_the_login),
            trial!(a_login_page_inside_the_prefix_is_for_the_guest_alone),
            trial!(a_portal_that_never_lets_go_is_shut_out),
            trial!(a_killed_daemon_leaves_no_more_than_the_rest_of_the_time),
            trial!(what_a_portal_says_is_not_repeated_raw),
            trial!(a_portal_that_plays_the_internet_gains_nothing),
            trial!(a_network_without_ipv4_is_crossed_by_name),
            trial!(a_network_without_ipv4_is_crossed_by_address),
            trial!(a_forged_office_is_outside),
            trial!(a_recorded_beacon_proves_nothing),
            trial!(a_relay_by_proxy_is_seen_through),
            trial!(a_relay_that_keeps_addresses_gets_the_proof),
            trial!(who_tunnels_anyway_loses_nothing_to_it),
            trial!(slow_and_endless_beacons_cost_no_more_than_the_deadline),
            trial!(dates_that_do_not_fit_are_named),
            trial!(forged_arp_in_the_office_shuts_nothing),
            trial!(forged_arp_in_the_cafe_leaves_the_tunnel_alone),
            trial!(a_thousand_neighbours_wake_nobody),
            trial!(a_probe_tells_strangers_nothing),
            trial!(no_probe_enters_the_tunnel),
            trial!(random_sequences_end_right, 1800),
            trial!(verdicts_are_quick, 240),
            trial!(a_lost_carrier_closes_at_once, 240),
            trial!(a_resumed_laptop_knows_soon_where_it_is, 240),
        ],
    )
}
