//! Two gateways with one key, other people's, and a laptop that finds the one that answers: real sockets, both families.

mod failover;
mod paths;
mod road;
mod whole;

use std::process::ExitCode;

use sluss_tests::{trial, trials};

use failover::*;
use paths::*;
use whole::*;

fn main() -> ExitCode {
    trials::main(&[
        trial!(a_silent_gateway_is_left_for_the_next),
        trial!(silence_under_traffic_leads_to_the_other_gateway),
        trial!(the_first_is_used_again_after_the_hold_down),
        trial!(a_gateway_that_answers_late_is_no_gateway_lost),
        trial!(either_family_will_do),
        trial!(the_other_family_is_found_when_the_network_changes),
        trial!(a_network_without_udp_is_told_and_left),
        trial!(the_daemon_leaves_a_silent_gateway_and_comes_back),
        trial!(the_daemon_says_that_nobody_answers_from_this_network),
    ])
}
