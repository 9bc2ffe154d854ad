//! The shipped binaries, judged from outside: how fast, how idle, how secretive, and how they bear what goes wrong.

mod faults;
mod path;
mod process;
mod times;

use std::process::ExitCode;

use sluss_tests::{trial, trials};

use faults::*;
use path::*;
use process::*;
use times::*;

fn main() -> ExitCode {
    trials::main(&[
        trial!(a_pulled_card_shuts_the_tunnel_within_a_second, 240),
        trial!(verdicts_and_first_packets_are_quick, 240),
        trial!(an_idle_daemon_sleeps_and_is_small, 180),
        trial!(the_private_key_is_nowhere_in_the_daemon),
        trial!(random_datagrams_do_no_harm),
        trial!(a_card_that_talks_nonsense_is_named_and_forgotten),
        trial!(a_card_that_hangs_in_a_handshake_is_named_and_left),
        trial!(a_card_that_vanishes_in_a_handshake_is_gone),
        trial!(a_killed_daemon_leaves_the_laptop_shut),
        trial!(a_daemon_that_is_told_to_end_leaves_the_laptop_shut),
        trial!(the_card_service_may_restart),
        trial!(cable_inside_and_guest_wifi_is_inside),
        trial!(a_beacon_with_another_key_proves_nothing),
        trial!(the_path_is_known_and_told),
    ])
}
