//! Every kind of service card, in the shipped daemon, against an ordinary gateway.

mod hygiene;
mod modes;
mod ways;

use std::process::ExitCode;

use sluss_tests::{trial, trials};

use hygiene::*;
use modes::*;

fn main() -> ExitCode {
    trials::main(&[
        trial!(an_openpgp_card_holds_the_key),
        trial!(an_openpgp_card_holds_the_key_behind_opensc),
        trial!(a_key_is_sealed_to_piv_p256),
        trial!(a_key_is_sealed_to_piv_p384),
        trial!(a_key_is_sealed_to_piv_rsa),
        trial!(a_key_is_sealed_to_piv_behind_opensc_by_ecdh),
        trial!(a_key_is_sealed_to_piv_behind_opensc_by_oaep),
        trial!(a_key_is_sealed_to_a_token_by_ecdh),
        trial!(a_key_is_sealed_to_a_token_by_pkcs1),
        trial!(a_key_is_sealed_to_a_token_by_its_signature),
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
