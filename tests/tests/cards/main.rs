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
    if let Ok(reader) = std::env::var(HOLD) {
        return hold(&reader).unwrap_or(ExitCode::FAILURE);
    }
    trials::main(&[
        trial!(the_card_computes_x25519),
        trial!(locking_makes_the_card_forget),
        trial!(stopping_leaves_the_card_verified_for_others),
        trial!(idle_is_idle),
        trial!(tries_are_asked_for_without_spending_one),
        trial!(wrong_pins_count_down_to_the_last_try),
        trial!(the_pin_of_a_new_card_is_not_even_tried),
        trial!(a_kept_pin_makes_up_for_what_others_do),
        trial!(a_kept_pin_goes_when_the_user_locks_or_the_laptop_sleeps),
        trial!(a_kept_pin_that_has_become_wrong_costs_one_try),
        trial!(after_each_use_the_card_is_left_as_policy_wants_it),
        trial!(without_a_kept_pin_each_use_may_be_the_last),
        trial!(a_pull_is_seen_at_once),
        trial!(a_pull_too_fast_to_be_seen_locks),
        trial!(a_moment_without_power_locks),
        trial!(a_card_may_vanish_in_the_middle),
        trial!(the_bound_card_is_the_one),
        trial!(another_persons_card_gets_no_pin_and_no_question),
        trial!(a_pull_is_seen_while_the_card_computes),
        trial!(the_other_reader_is_nobodys_business),
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
        trial!(ten_seconds_of_another_program_are_no_pull),
        trial!(a_program_that_dies_with_the_card_locks_it),
        trial!(opensc_tool_works_beside_us),
        trial!(pkcs15_tool_works_beside_us),
        trial!(gpg_works_beside_us),
        trial!(a_sealed_key_leaves_the_card_to_others),
    ])
}
