//! The shipped beacon: set up on a booted system as its page says, under load, and under attack.

mod booted;
mod crowds;
mod guests;

use std::process::ExitCode;

use sluss_tests::{trial, trials};

use booted::*;
use crowds::*;

fn main() -> ExitCode {
    trials::main(&[
        trial!(the_page_sets_up_a_beacon, 240),
        trial!(a_key_that_others_can_read_is_refused),
        trial!(thousands_of_laptops_at_nine_o_clock),
        trial!(whoever_holds_connections_open_crowds_out_nobody_else),
        trial!(told_to_end_it_ends_and_those_inside_are_served),
    ])
}
