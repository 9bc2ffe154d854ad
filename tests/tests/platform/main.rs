//! What the host does with internal traffic, seen from the wires: nothing leaves but by the way that the mode gives.

mod home;
mod inside;
mod media;
mod portal;
mod probes;
mod recovery;
mod search;
mod street;
mod walls;
mod watcher;

use std::process::ExitCode;

use sluss_tests::{trial, trials};

use home::*;
use inside::*;
use media::*;
use portal::*;
use probes::*;
use recovery::*;
use search::*;
use street::attack_if_asked;
use walls::*;
use watcher::*;

fn main() -> ExitCode {
    if let Some(code) = attack_if_asked() {
        return code;
    }
    if let Some(code) = play_the_daemon_if_asked() {
        return code;
    }
    if let Some(code) = play_a_person_if_asked()
        .or_else(play_the_opener_if_asked)
        .or_else(play_the_teller_if_asked)
    {
        return code;
    }
    trials::main(&[
        trial!(closed_lets_nothing_out),
        trial!(containers_are_walled_in_too),
        trial!(pushed_routes_and_leases_do_not_win),
        trial!(changing_the_walls_leaves_no_gap),
        trial!(the_tunnel_address_cannot_be_inferred_from_the_link),
        trial!(the_link_itself_stays_alive),
        trial!(ipv6_turned_off_is_no_obstacle),
        trial!(a_change_of_mode_takes_no_time_that_a_user_feels),
        trial!(applying_twice_changes_nothing),
        trial!(a_killed_daemon_leaves_it_closed),
        trial!(leftovers_are_found_by_their_tag),
        trial!(removal_leaves_no_trace_and_nothing_else_undone),
        trial!(inside_uses_the_verified_link_only),
        trial!(inside_closes_when_the_link_goes),
        trial!(a_home_inside_the_prefix_keeps_its_names_and_its_lease),
        trial!(the_resolver_that_a_network_names_is_asked_on_its_link),
        trial!(a_router_that_takes_an_internal_address_gets_questions_only),
        trial!(a_visitor_speaks_to_the_portal_and_to_nothing_else),
        trial!(the_kernel_ends_the_visit_of_a_dead_daemon),
        trial!(applying_again_neither_shortens_nor_prolongs_a_visit),
        trial!(a_visitor_who_has_gone_opens_nothing),
        trial!(each_link_says_for_itself_whether_a_portal_is_there),
        trial!(a_way_that_is_free_is_enough),
        trial!(watcher_tells_of_links_carriers_addresses_and_gateways),
        trial!(watcher_ignores_neighbours_and_our_own_changes),
        trial!(watcher_tells_of_another_neighbour_at_the_gateway),
        trial!(media_are_told_as_networkmanager_knows_them),
        trial!(watcher_may_be_interrupted_at_any_time),
        trial!(watcher_knows_what_is_no_link),
        trial!(beacons_are_told_apart),
        trial!(a_lost_packet_is_no_lost_probe),
        trial!(probes_never_use_the_tunnel),
        trial!(answers_pass_the_reverse_path_check),
        trial!(a_proof_cuts_the_waiting_short),
    ])
}
