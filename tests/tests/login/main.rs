//! The PIN typed at login, through PAM and systemd of a booted Debian: one card that logs in and opens the tunnel.

mod desk;
mod person;
mod stand_in;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use sluss_tests::service_card::ServiceCard;
use sluss_tests::world::{Place, Port};
use sluss_tests::{trial, trials};

use desk::{Daemon, Desk};
use person::{OPENSC, SOFTHSM, Visit};
use stand_in::StandIn;

fn main() -> ExitCode {
    trials::main(&[
        trial!(a_pin_is_handed_over_by_people_at_this_laptop_alone),
        trial!(a_stack_without_its_card_line_lets_nobody_in),
        trial!(a_login_by_card_opens_the_tunnel_and_waits_for_it),
        trial!(an_unlocked_screen_unlocks_the_key),
        trial!(a_login_inside_goes_on_when_the_way_is_open),
        trial!(a_login_waits_for_nobody_without_limit),
        trial!(a_drive_comes_and_goes_with_the_way_to_it),
        trial!(a_pin_that_is_not_the_cards_costs_one_try_and_no_second),
        trial!(a_token_behind_pkcs11_serves_under_the_units_restrictions),
        trial!(what_is_shipped_is_sound_and_as_documented),
    ])
}

/// Alice, who types her card's PIN at the login prompt.
const BY_CARD: Visit = Visit {
    service: "login",
    remote_host: None,
    user: "alice",
    types: "271828\n",
    operations: Visit::LOGIN,
};

/// Bob, who has no card, while another's is in the reader.
const BY_PASSWORD: Visit = Visit {
    user: "bob",
    types: "correct horse\n",
    ..BY_CARD
};

/// A login waits this long at most.
const WAIT: Duration = Duration::from_secs(10);
const POLICY: &str = "[login]\nwait = \"10s\"\n";

fn a_pin_is_handed_over_by_people_at_this_laptop_alone() -> Result<()> {
    let locked_screen = |operations| Visit {
        service: "swaylock",
        operations,
        ..BY_CARD
    };
    let service = |service| Visit { service, ..BY_CARD };
    // who does what, whether they are let in, PINs that the daemon gets, PINs that the card checks
    let visits = [
        ("card", BY_CARD, true, 1, 1),
        ("card, display manager", service("gdm-password"), true, 1, 1),
        (
            "screen unlocked",
            locked_screen(&["authenticate", "setcred(PAM_REFRESH_CRED)"]),
            true,
            1,
            1,
        ),
        (
            "screen unlocked in another way",
            locked_screen(&["authenticate", "setcred(PAM_REINITIALIZE_CRED)"]),
            true,
            1,
            1,
        ),
        ("no session", locked_screen(&["authenticate"]), true, 0, 1),
        ("password", BY_PASSWORD, true, 0, 0),
        (
            "wrong PIN",
            Visit {
                types: "000000\nnonsense\n",
                ..BY_CARD
            },
            false,
            0,
            1,
        ),
        ("right PIN again", BY_CARD, true, 1, 1),
        (
            "a password where the PIN is asked for",
            Visit {
                types: "correct horse\n",
                ..BY_CARD
            },
            false,
            0,
            0,
        ),
        ("sudo", service("sudo"), true, 0, 1),
        ("su", service("su"), true, 0, 0),
        ("su -", service("su-l"), true, 0, 0),
        ("sshd", service("sshd"), true, 0, 1),
        ("cron", service("cron"), true, 0, 1),
        (
            "from afar",
            Visit {
                remote_host: Some("192.0.2.7"),
                ..BY_CARD
            },
            true,
            0,
            1,
        ),
    ];
    let mut desk = Desk::set_up(Daemon::None, OPENSC, POLICY)?;
    let daemon = StandIn::start(&desk.laptop)?;
    let alice: u32 = desk
        .laptop
        .run("id", &["--user", "alice"])?
        .trim()
        .parse()?;
    for stack in documented_stacks()? {
        let talkative = stack.replace("pam_sluss.so", "pam_sluss.so debug");
        desk.stack(&talkative)?;
        for (what, visit, let_in, handed_over, tried) in &visits {
            let before = desk.tried()?;
            let (was_let_in, said) = visit.pay(&desk.laptop)?;
            let context = || format!("{what}: {said}\nby the stack\n{stack}");
            ensure!(was_let_in == *let_in, "let in: {was_let_in}, {}", context());
            let taken = daemon.taken();
            let right = vec![("271828".to_owned(), alice); *handed_over];
            ensure!(taken == right, "handed over: {taken:?}, {}", context());
            let spent = desk.tried()? - before;
            ensure!(spent == *tried, "tried {spent} times, {}", context());
            daemon.forget();
        }
    }
    let log = desk
        .laptop
        .run("journalctl", &["--no-pager", "--output=cat"])?;
    ensure!(
        log.contains("no PIN is ever taken from this service"),
        "{log}"
    );
    ensure!(!log.contains("271828"), "the PIN is in the log: {log}");
    Ok(())
}

/// Who turns card logins off by hand must not open the door.
fn a_stack_without_its_card_line_lets_nobody_in() -> Result<()> {
    let desk = Desk::set_up(Daemon::None, OPENSC, POLICY)?;
    let daemon = StandIn::start(&desk.laptop)?;
    let by_guess = Visit {
        types: "nonsense\n",
        ..BY_CARD
    };
    for stack in documented_stacks()? {
        let cut: String = stack
            .lines()
            .filter(|line| !line.contains("pam_p11"))
            .flat_map(|line| [line, "\n"])
            .collect();
        ensure!(cut.len() < stack.len());
        desk.stack(&cut)?;
        ensure!(!by_guess.pay(&desk.laptop)?.0, "let in by\n{cut}");
        ensure!(BY_PASSWORD.pay(&desk.laptop)?.0, "kept out by\n{cut}");
        ensure!(daemon.taken().is_empty(), "handed over by\n{cut}");
    }
    Ok(())
}

fn a_login_by_card_opens_the_tunnel_and_waits_for_it() -> Result<()> {
    let mut desk = Desk::set_up(Daemon::Shipped, OPENSC, POLICY)?;
    desk.world.plug(Port::Ethernet, Place::Home)?;
    desk.until("location", "outside")?;
    desk.until("key", "awaiting-pin")?;
    let before = desk.tried()?;

    let started = Instant::now();
    let (let_in, said) = BY_CARD.pay(&desk.laptop)?;
    let took = started.elapsed();
    ensure!(let_in, "{said}");
    // At once, as a drive would be mounted by what comes next in the stack.
    desk.page()
        .with_context(|| desk.laptop.journal("slussd").unwrap_or_default())?;
    ensure!(
        said.matches("Login with").count() == 1,
        "asked once: {said}"
    );
    println!(
        "measured login by card, tunnel opened: {} ms",
        took.as_millis()
    );
    // One by the login, one by the daemon.
    let tried = desk.tried()? - before;
    ensure!(tried == 2, "the card has checked {tried} PINs");

    let before = desk.tried()?;
    ensure!(BY_PASSWORD.pay(&desk.laptop)?.0, "bob has a password");
    ensure!(desk.tried()? == before, "a password was sent to the card");
    Ok(())
}

/// The user locks the tunnel's key with the screen, and unlocks the screen.
fn an_unlocked_screen_unlocks_the_key() -> Result<()> {
    let mut desk = Desk::set_up(Daemon::Shipped, OPENSC, POLICY)?;
    desk.world.plug(Port::Ethernet, Place::Home)?;
    ensure!(BY_CARD.pay(&desk.laptop)?.0, "alice has her card");
    desk.until("tunnel", "up")?;
    ensure!(
        desk.locked_kib()? > 0,
        "no memory is locked, and a key is unwrapped"
    );
    desk.laptop.run("sluss", &["lock"])?;
    desk.until("tunnel", "down")?;
    let unlock = Visit {
        service: "swaylock",
        operations: &["authenticate", "setcred(PAM_REFRESH_CRED)"],
        ..BY_CARD
    };
    ensure!(unlock.pay(&desk.laptop)?.0, "alice has her card");
    desk.until("tunnel", "up")
}

/// Inside nothing has to open; what the login waits for is the proof.
fn a_login_inside_goes_on_when_the_way_is_open() -> Result<()> {
    let mut desk = Desk::set_up(Daemon::Shipped, OPENSC, POLICY)?;
    desk.world.plug(Port::Ethernet, Place::Office)?;
    let (let_in, said) = BY_CARD.pay(&desk.laptop)?;
    ensure!(let_in, "{said}");
    desk.page()
        .with_context(|| desk.laptop.journal("slussd").unwrap_or_default())?;
    ensure!(desk.status()?["location"]["state"] == "inside");
    desk.until_unit("sluss-tunnel.target", "active")
}

/// Neither a gateway that is silent nor a daemon that hangs keeps anybody out.
fn a_login_waits_for_nobody_without_limit() -> Result<()> {
    let mut desk = Desk::set_up(Daemon::Shipped, OPENSC, "[login]\nwait = \"2s\"\n")?;
    desk.close_office();
    desk.world.plug(Port::Ethernet, Place::Home)?;
    desk.until("key", "awaiting-pin")?;
    let started = Instant::now();
    let (let_in, said) = BY_CARD.pay(&desk.laptop)?;
    let took = started.elapsed();
    ensure!(let_in, "{said}");
    ensure!(took >= Duration::from_secs(2), "no wait: {took:?}");
    ensure!(took < Duration::from_secs(6), "a wait of {took:?}");
    println!(
        "measured login, gateway silent, 2 s to wait: {} ms",
        took.as_millis()
    );

    desk.laptop
        .run("systemctl", &["kill", "--signal=STOP", "slussd"])?;
    let started = Instant::now();
    let (let_in, said) = BY_CARD.pay(&desk.laptop)?;
    let took = started.elapsed();
    ensure!(let_in, "{said}");
    ensure!(took < Duration::from_secs(3), "a wait of {took:?}");
    println!("measured login, daemon stopped: {} ms", took.as_millis());
    Ok(())
}

/// The drive of docs/login.md, with something else in the place of its mount.
fn a_drive_comes_and_goes_with_the_way_to_it() -> Result<()> {
    const DRIVE: &str = "[Unit]\nPartOf=sluss-tunnel.target\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n\
         [Install]\nWantedBy=sluss-tunnel.target\n";
    let mut desk = Desk::set_up(Daemon::Shipped, OPENSC, POLICY)?;
    std::fs::write(desk.laptop.path("etc/systemd/system/drive.service"), DRIVE)?;
    desk.laptop.run("systemctl", &["daemon-reload"])?;
    desk.laptop.run("systemctl", &["enable", "drive.service"])?;
    desk.world.plug(Port::Ethernet, Place::Home)?;
    ensure!(BY_CARD.pay(&desk.laptop)?.0, "alice has her card");
    desk.until_unit("drive.service", "active")?;

    // A crash takes the tunnel along, and the daemon is back in a moment, without a key.
    desk.laptop
        .run("systemctl", &["kill", "--signal=KILL", "slussd"])?;
    desk.until_unit("drive.service", "inactive")?;
    desk.until_unit("slussd.service", "active")?;
    desk.until("key", "awaiting-pin")?;
    ensure!(desk.unit("sluss-tunnel.target")? == "inactive");

    ensure!(BY_CARD.pay(&desk.laptop)?.0, "alice has her card");
    desk.until_unit("drive.service", "active")?;
    desk.card.remove()?;
    desk.until_unit("drive.service", "inactive")
}

fn a_pin_that_is_not_the_cards_costs_one_try_and_no_second() -> Result<()> {
    let mut desk = Desk::set_up(Daemon::Shipped, SOFTHSM, POLICY)?;
    desk.world.plug(Port::Ethernet, Place::Home)?;
    person::give_token(&desk.laptop, "314159")?;
    desk.until("location", "outside")?;
    desk.until("key", "awaiting-pin")?;
    let visit = Visit {
        types: "314159\n",
        ..BY_CARD
    };

    for (tries, spent) in [("three left", 1), ("two left", 0)] {
        let before = desk.tried()?;
        let started = Instant::now();
        let (let_in, said) = visit.pay(&desk.laptop)?;
        ensure!(let_in, "{said}");
        ensure!(
            started.elapsed() < WAIT / 2,
            "a wait in vain: {:?}",
            started.elapsed()
        );
        ensure!(
            desk.tried()? == before + spent,
            "{tries}: {}",
            desk.tried()? - before
        );
    }
    ensure!(desk.status()?["tunnel"]["state"] == "down");
    Ok(())
}

/// Other people's middleware has to work under what the daemon's unit forbids, and root has to enrol under it.
fn a_token_behind_pkcs11_serves_under_the_units_restrictions() -> Result<()> {
    const PKCS11: &str =
        "[card]\npkcs11_module = \"/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so\"\n";
    let mut desk = Desk::set_up(Daemon::Shipped, SOFTHSM, &format!("{POLICY}{PKCS11}"))?;
    desk.world.plug(Port::Ethernet, Place::Home)?;
    person::give_token(&desk.laptop, "314159")?;
    desk.laptop.run("rm", &["/var/lib/sluss/device.toml"])?;
    desk.laptop.run("systemctl", &["restart", "slussd"])?;
    desk.enroll("314159")
        .with_context(|| desk.laptop.journal("slussd").unwrap_or_default())?;
    // Enrolment has had the PIN; a day later it is typed at login.
    desk.laptop.run("systemctl", &["restart", "slussd"])?;
    desk.until("key", "awaiting-pin")?;
    let login = Visit {
        types: "314159\n",
        ..BY_CARD
    };
    let (let_in, said) = login.pay(&desk.laptop)?;
    ensure!(let_in, "{said}");
    desk.page()
        .with_context(|| desk.laptop.journal("slussd").unwrap_or_default())?;
    Ok(())
}

fn what_is_shipped_is_sound_and_as_documented() -> Result<()> {
    let desk = Desk::set_up(Daemon::Shipped, OPENSC, POLICY)?;
    let stack = desk.laptop.run("cat", &["/etc/pam.d/common-auth"])?;
    let documented = documented_stacks()?;
    ensure!(words(&stack) == words(documented[0]), "{stack}");

    for (manager, unit) in [
        ("--system", "slussd.service"),
        ("--system", "sluss-tunnel.target"),
        ("--user", "/usr/lib/systemd/user/sluss-agent.service"),
    ] {
        let runtime = "XDG_RUNTIME_DIR=/run";
        let verify = [runtime, "systemd-analyze", "verify", "--man=no", manager];
        let output = desk
            .laptop
            .output("env", &[&verify[..], &[unit]].concat())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success() && said.trim().is_empty(),
            "{unit}: {said}"
        );
    }
    Ok(())
}

/// The stacks for `auth` in docs/login.md: that which pam-auth-update writes, and that to write by hand.
fn documented_stacks() -> Result<[&'static str; 2]> {
    let blocks = include_str!("../../../docs/login.md")
        .split("```text\n")
        .skip(1);
    let stacks: Vec<_> = blocks
        .filter_map(|block| block.split("```").next())
        .filter(|block| block.starts_with("auth"))
        .collect();
    stacks
        .try_into()
        .map_err(|other| anyhow!("two stacks, not {other:?}"))
}

/// The words of each line that is no comment.
fn words(stack: &str) -> Vec<Vec<&str>> {
    stack
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().collect())
        .filter(|words: &Vec<_>| !words.is_empty())
        .collect()
}
