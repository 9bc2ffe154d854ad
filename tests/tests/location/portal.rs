//! A hotel whose portal stands before everything: found, named, opened narrowly, and never believed (row 9 of the attack list).

use std::fs::Permissions;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluss_tests::artifacts;
use sluss_tests::capture::Capture;
use sluss_tests::dhcp::Offer;
use sluss_tests::hotel::{self, CHECK, CHECK_ANSWER, Hotel};
use sluss_tests::moment::{eventually, millis, now};
use sluss_tests::netns;
use sluss_tests::skip;
use sluss_tests::stage::{Boot, PATIENCE, Setup, Stage};
use sluss_tests::world::{BEACON, Place, Port, TUNNEL, is_internal};

/// Who sits at the laptop, and who has an account there, too.
const GUEST: u32 = 1000;
const OTHER: u32 = 1001;

/// A hotel that has numbered its rooms as the town has its offices.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 20, 7, 1);
const ROOM: Ipv4Addr = Ipv4Addr::new(10, 20, 7, 51);
const LOGIN: &str = "http://10.20.7.1/login";

/// For how long the way to the login page is open.
const OPEN: Duration = Duration::from_secs(5 * 60);

/// Before the login nothing gets through, and the portal is named; after it the tunnel opens by itself.
pub(crate) fn a_hotel_is_named_and_the_tunnel_waits_for_the_login() -> Result<()> {
    let mut stage = stage(Boot::Plain)?;
    let hotel = Hotel::open(stage.world.router(Place::Cafe))?;
    let plugged = stage.world.plug(Port::WiFi, Place::Cafe)?;
    stage.verdict("outside", plugged)?;
    let status = until_portal(&stage, "found")?;
    ensure!(
        status["portal"]["page"]["login"] == hotel::LOGIN,
        "{status}"
    );
    let evidence = status["evidence"].to_string();
    ensure!(
        evidence.contains("\"wrong-key\"") || evidence.contains("\"not-tls\""),
        "{evidence}"
    );
    let said = said(&stage, &["status"])?;
    ensure!(said.contains("login first"), "{said}");
    let inserted = now();
    stage.card.insert()?;
    stage.unlock(inserted)?;
    stage.no_page()?;

    let let_in = now();
    hotel.let_in(Port::WiFi.address(Place::Cafe))?;
    let seen = eventually("the internal page", PATIENCE, || Ok(stage.page().ok()))?;
    println!(
        "measured {} ms from the login to the internal page",
        millis(let_in, now())
    );
    ensure!(seen == TUNNEL, "the server saw {seen}");
    until_portal(&stage, "absent")?;

    // The question tells nothing of the laptop.
    let asked = hotel.requests();
    let question = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n",
        &CHECK[CHECK.rfind('/').context("a path")?..],
        CHECK.split('/').nth(2).context("a host")?,
    );
    ensure!(
        !asked.is_empty() && asked.iter().all(|it| *it == question),
        "{asked:?}"
    );
    stage.no_leak()
}

/// Where the login page is at an internal address, only whoever asked for it gets there, and only until the login.
pub(crate) fn a_login_page_inside_the_prefix_is_for_the_guest_alone() -> Result<()> {
    let (mut stage, hotel) = hotel_inside_the_prefix(Boot::Plain)?;
    let judge = judge(&stage)?;
    for user in [GUEST, OTHER] {
        ensure!(!reads(&stage, user, LOGIN)?, "{user} before it was opened");
    }
    ensure!(judge.count() == 0, "{:?}", judge.packets());

    let opened = sluss_as(&stage, OTHER, &["portal", "--all-programs"])?;
    ensure!(
        !opened.status.success(),
        "who does not sit there: {opened:?}"
    );
    let opened = sluss_as(&stage, GUEST, &["portal", "--all-programs"])?;
    ensure!(opened.status.success(), "{opened:?}");
    ensure!(
        eventually("the page in the browser", PATIENCE, || {
            Ok(std::fs::read_to_string(BROWSED)
                .ok()
                .filter(|page| !page.is_empty()))
        })?
        .contains("Grand Hotel")
    );
    ensure!(judge.count() > 0, "the judge is blind");
    ensure!(reads(&stage, GUEST, LOGIN)?, "the guest");
    // What is yet to be said on connections that were let through.
    let let_through: Vec<u16> = judge.packets().iter().map(|it| it.ports.0).collect();
    ensure!(!reads(&stage, OTHER, LOGIN)?, "another user");
    // The same page on a port that is no web server's, and the daemon's own user.
    ensure!(
        !reads(&stage, GUEST, "http://10.20.7.1:8080/login")?,
        "another port"
    );
    ensure!(!reads(&stage, 0, LOGIN)?, "root");
    let mut others = judge.packets();
    others.retain(|packet| !let_through.contains(&packet.ports.0));
    ensure!(others.is_empty(), "{others:?}");

    let inserted = now();
    stage.card.insert()?;
    stage.unlock(inserted)?;
    ensure!(reads(&stage, GUEST, "http://10.20.7.1/agree")?, "the login");
    let seen = eventually("the internal page", PATIENCE, || Ok(stage.page().ok()))?;
    ensure!(seen == TUNNEL, "the server saw {seen}");
    until_portal(&stage, "absent")?;
    closes(&stage)?;
    let closed = now();
    ensure!(!reads(&stage, GUEST, LOGIN)?);
    let mut later = judge.packets();
    later.retain(|packet| packet.at >= closed);
    ensure!(later.is_empty(), "{later:?}");
    drop(hotel);
    Ok(())
}

/// Row 9: a portal that never lets go has the guest's browser for five minutes, and once more if the guest wants that.
pub(crate) fn a_portal_that_never_lets_go_is_shut_out() -> Result<()> {
    let (mut stage, _hotel) = hotel_inside_the_prefix(Boot::LabClock)?;
    for renew in [None, Some("--renew")] {
        let arguments: Vec<_> = ["portal", "--all-programs"]
            .into_iter()
            .chain(renew)
            .collect();
        let opened = sluss_as(&stage, GUEST, &arguments)?;
        ensure!(opened.status.success(), "{renew:?}: {opened:?}");
        ensure!(reads(&stage, GUEST, LOGIN)?, "{renew:?}");
        stage.clock.jump(OPEN - Duration::from_secs(10))?;
        ensure!(
            reads(&stage, GUEST, LOGIN)?,
            "{renew:?}, after five minutes less ten seconds"
        );
        stage.clock.jump(Duration::from_secs(11))?;
        until_portal(&stage, "found")?;
        closes(&stage).with_context(|| format!("{renew:?}, after five minutes"))?;
        let again = sluss_as(&stage, GUEST, &["portal", "--all-programs"])?;
        is_refused(&again)?;
    }
    let again = sluss_as(&stage, GUEST, &["portal", "--all-programs", "--renew"])?;
    is_refused(&again)?;
    ensure!(!reads(&stage, GUEST, LOGIN)?);
    Ok(())
}

/// The kernel itself counts the time of a daemon that was killed (how it ends is seen in the trials of the platform).
pub(crate) fn a_killed_daemon_leaves_no_more_than_the_rest_of_the_time() -> Result<()> {
    let (mut stage, _hotel) = hotel_inside_the_prefix(Boot::Plain)?;
    let opened = sluss_as(&stage, GUEST, &["portal", "--all-programs"])?;
    ensure!(opened.status.success(), "{opened:?}");
    stage.laptop.crash();
    let left = || -> Result<Duration> {
        let rules = "nft --json list set inet sluss visiting_users";
        let rules: Value = serde_json::from_str(&stage.world.laptop.sh(rules)?)?;
        let guest = &rules["nftables"][1]["set"]["elem"][0]["elem"];
        ensure!(guest["val"] == GUEST, "{rules}");
        let seconds = guest["expires"].as_u64();
        Ok(Duration::from_secs(
            seconds.with_context(|| rules.to_string())?,
        ))
    };
    let first = left()?;
    ensure!(first <= OPEN, "{first:?} are left");
    eventually("the time runs", PATIENCE, || {
        Ok((left()? < first).then_some(()))
    })?;
    let judge = judge(&stage)?;
    ensure!(!reads(&stage, OTHER, LOGIN)?, "another user");
    ensure!(judge.count() == 0, "{:?}", judge.packets());
    Ok(())
}

/// A portal writes what it likes into its answer; a person reads none of it but a plain address.
pub(crate) fn what_a_portal_says_is_not_repeated_raw() -> Result<()> {
    let mut stage = stage(Boot::Plain)?;
    let hotel = Hotel::open(stage.world.router(Place::Cafe))?;
    stage.world.plug(Port::WiFi, Place::Cafe)?;
    let long = format!("http://portal.example/{}", "a".repeat(100_000));
    let answers = [
        hotel::redirect("http://portal.example/\u{1b}[2J\u{7}forged"),
        hotel::redirect("http://portal.example/\u{202e}forged"),
        hotel::redirect("javascript:alert('forged')"),
        hotel::redirect("http://portal.example/login\r\nforged: yes"),
        b"HTTP/1.1 200 \x1b]0;forged\x07\r\n\r\n\x1b]0;forged\x07".to_vec(),
        hotel::redirect(&long),
    ];
    for answer in answers {
        let is_readable = answer.starts_with(b"HTTP/1.1 302 ") && answer.len() < 1000;
        let start = String::from_utf8_lossy(&answer[..answer.len().min(80)]).into_owned();
        hotel.answer(answer);
        stage.laptop.crash();
        stage.laptop.start()?;
        if is_readable {
            let status = until_portal(&stage, "found").with_context(|| start.clone())?;
            let login = &status["portal"]["page"]["login"];
            ensure!(
                login.is_null() || login == "http://portal.example/login",
                "{start:?}: {login}"
            );
        }
        for command in ["status", "why", "doctor"] {
            let text = said(&stage, &[command])?;
            let is_raw = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            let told =
                text.contains("javascript") || text.contains("forged") && text.contains(is_raw);
            ensure!(
                !told && !text.contains(is_raw),
                "{start:?}, {command}: {text:?}"
            );
            ensure!(
                text.len() < 8192,
                "{start:?}, {command}: {} bytes",
                text.len()
            );
        }
    }
    Ok(())
}

/// A portal that answers as the internet would is none: the laptop is outside, the gateway silent, and all that is internal shut.
pub(crate) fn a_portal_that_plays_the_internet_gains_nothing() -> Result<()> {
    let mut stage = stage(Boot::Plain)?;
    let hotel = Hotel::open(stage.world.router(Place::Cafe))?;
    hotel.answer(hotel::page(CHECK_ANSWER));
    let plugged = stage.world.plug(Port::WiFi, Place::Cafe)?;
    stage.verdict("outside", plugged)?;
    let inserted = now();
    stage.card.insert()?;
    stage.unlock(inserted)?;
    eventually("the silence is told", PATIENCE, || {
        let warnings = stage.laptop.status()?["warnings"].to_string();
        Ok(warnings.contains("gateway-silent").then_some(()))
    })?;
    until_portal(&stage, "absent")?;
    ensure!(!hotel.requests().is_empty(), "nobody asked");
    stage.no_page()?;
    stage.no_leak()
}

/// What the guest's browser showed.
const BROWSED: &str = "/run/lab/browser/page";

fn stage(boot: Boot) -> Result<Stage> {
    let expected = CHECK_ANSWER.trim();
    let setup = Setup {
        boot,
        policy: format!("[portal]\nprobe = \"{CHECK}\"\nexpect = \"{expected}\"\nopen = true\n"),
        ..Setup::default()
    };
    let stage = Stage::set_up(setup, |rig, _| rig.issued_card(0))?;
    hotel::serve_check(&stage.world.internet)?;
    Ok(stage)
}

/// A guest at the laptop, in a hotel with internal addresses, whose portal has been found.
fn hotel_inside_the_prefix(boot: Boot) -> Result<(Stage, Hotel)> {
    if !netns::has_several_users() {
        skip!("two users need root or subordinate ids");
    }
    let mut stage = stage(boot)?;
    let cafe = stage.world.router(Place::Cafe);
    cafe.ip("addr flush dev lan")?;
    cafe.ip(&format!("addr add {ROUTER}/24 dev lan"))?;
    let hotel = Hotel::open(cafe)?;
    hotel.answer(hotel::redirect(LOGIN));
    let offer = Offer {
        hosts: vec![(Port::WiFi.mac(), IpAddr::V4(ROOM))],
        ..Offer::default()
    };
    stage.world.offer(Place::Cafe, &offer)?;
    furnish_browser()?;
    stage.logind.log_in(GUEST)?;
    let plugged = stage.world.plug(Port::WiFi, Place::Cafe)?;
    stage.verdict("outside", plugged)?;
    until_portal(&stage, "found")?;
    Ok((stage, hotel))
}

/// The guest's browser, as the desktop calls it: it fetches the page and keeps it.
fn furnish_browser() -> Result<()> {
    let directory = std::path::Path::new(BROWSED)
        .parent()
        .context("a directory")?;
    std::fs::create_dir_all(directory)?;
    std::fs::set_permissions(directory, Permissions::from_mode(0o777))?;
    let browser = directory.join("xdg-open");
    let script =
        format!("#!/bin/sh\nexec timeout -s KILL 5 busybox wget -q -O {BROWSED} {LOGIN}\n");
    std::fs::write(&browser, script)?;
    Ok(std::fs::set_permissions(
        browser,
        Permissions::from_mode(0o755),
    )?)
}

/// `sluss` as one of the laptop's users calls it.
fn sluss_as(stage: &Stage, user: u32, arguments: &[&str]) -> Result<Output> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(artifacts::sluss()?);
    command
        .arg("--socket")
        .arg(stage.laptop.socket())
        .args(arguments)
        .env("LC_ALL", "C")
        .env("PATH", format!("/run/lab/browser:{path}"))
        .uid(user)
        .gid(user);
    stage.world.laptop.output(&mut command)
}

/// Whether a user's program gets the page.
fn reads(stage: &Stage, user: u32, page: &str) -> Result<bool> {
    let mut fetch = Command::new("timeout");
    fetch
        .args(["-s", "KILL", "2", "busybox", "wget", "-q", "-O", "-", page])
        .uid(user)
        .gid(user);
    let output = stage.world.laptop.output(&mut fetch)?;
    Ok(output.status.success() && !output.stdout.is_empty())
}

fn is_refused(asked: &Output) -> Result<()> {
    let said = String::from_utf8_lossy(&asked.stderr);
    ensure!(
        said.contains("login page") && !asked.status.success(),
        "{asked:?}"
    );
    Ok(())
}

/// Waits until the guest no longer gets the page.
fn closes(stage: &Stage) -> Result<()> {
    eventually("the way is closed", PATIENCE, || {
        Ok((!reads(stage, GUEST, LOGIN)?).then_some(()))
    })
}

/// What the laptop sends to internal addresses in the hotel, and who watches the wire sees: all but the daemon's own probes, and what
/// any network needs (DHCP, names).
fn judge(stage: &Stage) -> Result<Capture> {
    Capture::start(stage.world.router(Place::Cafe), |packet| {
        let needed = [53, 67, BEACON.port()].contains(&packet.ports.1);
        !packet.outgoing
            && &*packet.interface == "lan"
            && is_internal(packet.destination)
            && !needed
    })
}

fn until_portal(stage: &Stage, state: &str) -> Result<Value> {
    let mut last = Value::Null;
    let found = eventually(&format!("the portal is {state}"), PATIENCE, || {
        last = stage.laptop.status()?;
        Ok((last["portal"]["state"] == state).then(|| last.clone()))
    });
    found.with_context(|| last["portal"].to_string())
}

fn said(stage: &Stage, arguments: &[&str]) -> Result<String> {
    Ok(String::from_utf8(
        stage.laptop.sluss(arguments, "")?.stdout,
    )?)
}
