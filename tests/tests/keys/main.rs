//! Every kind of service card, in the shipped daemon, against an ordinary gateway.

mod modes;

use std::process::ExitCode;

use sluss_tests::{trial, trials};

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
    ])
}
