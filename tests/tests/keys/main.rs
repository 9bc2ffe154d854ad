//! Every kind of service card, in the shipped daemon, against an ordinary gateway.

mod clocks;
mod hygiene;
mod modes;
mod slow;
mod states;
mod ways;

use std::process::ExitCode;

use sluss_tests::{trial, trials};

use clocks::*;
use hygiene::*;
use modes::*;
use slow::*;
use states::*;

fn main() -> ExitCode {
    trials::main(&[
        trial!(an_openpgp_card_holds_the_key),
        trial!(an_openpgp_card_holds_the_key_behind_opensc),
        trial!(a_key_is_sealed_to_piv_p256),
        trial!(a_key_is_sealed_to_piv_p384),
        trial!(a_key_is_sealed_to_piv_rsa_2048),
        trial!(a_key_is_sealed_to_piv_rsa_3072),
        trial!(a_key_is_sealed_to_piv_behind_opensc_by_ecdh),
        trial!(a_key_is_sealed_to_piv_behind_opensc_by_oaep),
        trial!(a_key_is_sealed_to_a_token_by_ecdh),
        trial!(a_key_is_sealed_to_a_token_by_pkcs1),
        trial!(a_key_is_sealed_to_a_token_by_its_signature),
        trial!(a_slow_card_loses_no_packet),
        trial!(another_persons_card_is_named_and_left_alone),
        trial!(tries_are_told_and_the_last_is_not_lost_by_accident),
        trial!(without_the_card_service_it_is_told),
        trial!(a_reset_by_another_program_asks_once_and_closes_nothing),
        trial!(a_reset_by_another_program_goes_unnoticed_with_a_kept_pin),
        trial!(a_card_that_is_pulled_while_it_works_is_gone),
        trial!(a_pulled_card_has_its_grace_where_policy_gives_it),
        trial!(a_pulled_card_locks_the_session_where_policy_says_so),
        trial!(systemd_is_told_when_the_internal_network_can_be_reached),
        trial!(the_cards_certificate_is_judged_before_the_key_is_used),
        trial!(a_clock_that_runs_ahead_in_another_laptop_is_noticed),
        trial!(nothing_is_left_of_an_openpgp_card),
        trial!(nothing_is_left_of_an_openpgp_card_behind_opensc),
        trial!(nothing_is_left_of_piv_p256),
        trial!(nothing_is_left_of_piv_p384),
        trial!(nothing_is_left_of_piv_rsa),
        trial!(nothing_is_left_of_piv_behind_opensc_by_ecdh),
        trial!(nothing_is_left_of_piv_behind_opensc_by_oaep),
        trial!(nothing_is_left_of_a_token_by_ecdh),
        trial!(nothing_is_left_of_a_token_by_pkcs1),
        trial!(nothing_is_left_of_a_token_by_its_signature),
    ])
}
