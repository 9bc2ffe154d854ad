//! The PIN typed at login, through PAM of a booted Debian: what reaches the daemon, and what does not.

mod person;
mod stand_in;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use sluss_tests::container::{Container, Disk};
use sluss_tests::netns::Netns;
use sluss_tests::{trial, trials};

use person::PASSWORD;
use stand_in::StandIn;

fn main() -> ExitCode {
    trials::main(&[trial!(a_pin_is_handed_over_by_logins_at_this_laptop_alone)])
}

const PIN: &str = "271828";

/// What somebody does at a login prompt.
struct Attempt {
    what: &'static str,
    service: (&'static str, &'static [&'static str]),
    user: &'static str,
    types: &'static str,
    operations: &'static [&'static str],
}

const LOGIN: &[&str] = &[
    "authenticate",
    "acct_mgmt",
    "setcred(PAM_ESTABLISH_CRED)",
    "open_session",
];

fn a_pin_is_handed_over_by_logins_at_this_laptop_alone() -> Result<()> {
    let disk = Disk::new(Path::new("/run/lab"))?;
    person::furnish(&disk)?;
    let laptop = disk.boot(&Netns::new("laptop")?)?;
    person::give_token(&laptop, PIN)?;
    let daemon = StandIn::start(&laptop)?;
    for (service, items, user, types) in [
        (("login", &[][..]), (), "alice", "271828\n"),
        (("login", &[][..]), (), "bob", "correct horse\n"),
    ].map(|((a, b), _, c, d)| (a, b, c, d)) {
        println!("measured {:?} {:?}", person::attempt(&laptop, (service, items), user, LOGIN, types)?, daemon.taken());
    }
    println!("measured {}", laptop.run("journalctl", &["--no-pager", "-n", "60"])?.replace('\n', "\nmeasured "));
    Ok(())
}
