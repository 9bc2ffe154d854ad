//! Eight hours with a card that others use too: how often is its PIN typed for our sake?
//!
//! The engine and the protocol are the real ones; card, network, programs and user are simulated. The table of
//! `docs/threat-model.md` is what comes of it.

mod card;
mod day;
mod tunnel;

use day::{Day, Figures};
use sluss_card::KeyMode;

const DOCUMENTATION: &str = include_str!("../../../../docs/threat-model.md");

/// `[card]` of the policy: modes, pin, after_use; and which PINs are typed for the tunnel alone, without the login's
/// help and with it.
const TABLE: [(KeyMode, &str, &str, [u32; 2]); 10] = [
    (KeyMode::Held, "ask", "keep", [16, 13]),
    (KeyMode::Held, "until-lock", "keep", [4, 0]),
    (KeyMode::Held, "until-lock", "unverify", [4, 0]),
    (KeyMode::Held, "until-lock", "reset", [4, 0]),
    (KeyMode::Sealed, "ask", "keep", [4, 0]),
    (KeyMode::Sealed, "ask", "unverify", [4, 0]),
    (KeyMode::Sealed, "ask", "reset", [4, 0]),
    (KeyMode::Sealed, "until-lock", "keep", [4, 0]),
    (KeyMode::Sealed, "until-lock", "unverify", [4, 0]),
    (KeyMode::Sealed, "until-lock", "reset", [4, 0]),
];

#[test]
fn the_pin_is_typed_as_often_as_the_documentation_says() {
    let mut wrong = Vec::new();
    for (mode, pin, after_use, expected) in TABLE {
        let figures =
            [false, true].map(|hand_over| Day::new(mode, pin, after_use, hand_over).live());
        let [alone, with_login] = figures;
        let Figures {
            typed,
            operations,
            closed,
            lost,
        } = alone;
        assert_eq!((lost, with_login.lost), (0, 0), "nobody noticed any of it");
        let mode = match mode {
            KeyMode::Held => "held",
            KeyMode::Sealed => "sealed",
        };
        let row = format!(
            "| {mode} | `{pin}` | `{after_use}` | {typed} | {} | {operations} | {closed} |",
            with_login.typed
        );
        println!("{row}");
        if [typed, with_login.typed] != expected || !DOCUMENTATION.contains(&row) {
            wrong.push(row);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
