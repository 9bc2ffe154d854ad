//! The card worker against a real pcscd: what a user, another program or a broken card does, and how soon it shows.

mod faults;
mod person;
mod pins;
mod programs;
mod pulls;
mod service;
mod serving;

use std::process::ExitCode;

use sluss_tests::{trial, trials};

use faults::*;
use pins::*;
use programs::*;
use pulls::*;
use service::*;
use serving::*;

fn main() -> ExitCode {
    trials::main(&[
        trial!(the_card_computes_x25519),
        trial!(locking_makes_the_card_forget),
        trial!(stopping_leaves_the_card_verified_for_others),
        trial!(idle_is_idle),
        trial!(tries_are_asked_for_without_spending_one),
        trial!(wrong_pins_count_down_to_the_last_try),
        trial!(a_pull_is_seen_at_once),
        trial!(a_pull_too_fast_to_be_seen_locks),
        trial!(a_moment_without_power_locks),
        trial!(a_card_may_vanish_in_the_middle),
        trial!(the_bound_card_is_the_one),
        trial!(a_restart_of_pcscd_is_survived),
        trial!(pcscd_may_come_later),
        trial!(a_hanging_service_is_abandoned),
        trial!(a_hang_is_abandoned),
        trial!(a_hang_does_not_keep_the_daemon_from_stopping),
        trial!(nonsense_is_named_and_a_healthy_card_recovers),
        trial!(a_reset_by_another_program_locks_without_a_pull),
        trial!(another_programs_application_locks_without_a_pull),
        trial!(another_programs_transaction_is_waited_for),
        trial!(exclusive_use_by_another_program_is_told),
    ])
}
