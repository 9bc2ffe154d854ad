//! The gateway's names on real networks: dnsmasq and unbound answer, or do not, or lie.

mod answers;
mod nat64;
mod street;

use std::process::ExitCode;

use sluss_tests::{trial, trials};

use answers::*;
use nat64::*;

fn main() -> ExitCode {
    trials::main(&[
        trial!(a_name_is_found_over_both_families),
        trial!(a_portal_is_believed_and_a_gateway_is_not_sought_inside),
        trial!(questions_never_use_the_tunnel),
        trial!(a_dead_resolver_leads_to_the_fallback),
        trial!(one_live_resolver_is_enough),
        trial!(a_lost_question_is_asked_again),
        trial!(what_does_not_fit_comes_over_tcp),
        trial!(only_the_answer_to_our_question_counts),
        trial!(ipv4_is_reached_through_nat64),
        trial!(without_a_dns64_the_usual_prefix_is_tried),
    ])
}
