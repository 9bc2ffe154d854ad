//! The agent in the user's session, judged from outside: what it asks, whom it tells, and what it leaves behind.

mod standin;
mod terminal;
mod whole;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use sluss_ipc::{CardFault, Notice, Prompt, PromptId, PromptReason, Refusal, Response};
use sluss_tests::moment::eventually;
use sluss_tests::netns::Process;
use sluss_tests::{skip, trial, trials};

use terminal::*;
use whole::*;

use standin::{Daemon, Desktop, Pinentries, Place, RELAY, SOON, prompt};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, errand, socket, ..] = arguments.as_slice()
        && errand == RELAY
    {
        return match standin::relay(Path::new(socket)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    trials::main(&[
        trial!(a_pin_is_asked_for_and_handed_over),
        trial!(a_wrong_pin_is_asked_for_again_with_the_tries),
        trial!(a_pin_that_no_card_takes_is_asked_for_again_at_once),
        trial!(the_last_try_is_spent_with_consent_only),
        trial!(a_cancelled_prompt_is_declined),
        trial!(a_withdrawn_prompt_closes_its_window_at_once),
        trial!(a_newer_prompt_takes_the_place_of_an_open_one),
        trial!(a_pin_pad_is_pointed_at_while_it_waits),
        trial!(a_pin_pad_that_waited_in_vain_waits_again_only_if_wanted),
        trial!(the_user_who_is_not_at_the_keyboard_is_told_nothing),
        trial!(a_daemon_that_comes_back_is_found_without_looking_for_it),
        trial!(an_agent_that_is_told_to_end_leaves_no_window),
        trial!(a_pinentry_that_talks_nonsense_is_left),
        trial!(where_nobody_can_be_asked_the_user_is_told),
        trial!(the_newest_notification_takes_the_place_of_the_one_before),
        trial!(a_pin_leaves_nothing_behind),
        trial!(one_pin_from_the_drawer_to_the_tunnel),
        trial!(a_real_pinentry_asks_in_a_terminal),
        trial!(a_real_pinentry_without_a_terminal_is_told_of),
        trial!(a_real_pinentry_puts_the_terminal_back_when_withdrawn),
    ])
}

/// An agent with a scripted pinentry, on the line.
struct Scene {
    place: Place,
    daemon: Daemon,
    pinentries: Pinentries,
    agent: Process,
    line: sluss_ipc::server::Answer,
}

impl Scene {
    fn set() -> Result<Self> {
        Self::set_with(&[])
    }

    fn set_with(environment: &[(&str, &str)]) -> Result<Self> {
        let place = Place::new()?;
        let daemon = Daemon::start(&place)?;
        let pinentries = Pinentries::new(&place)?;
        let mut agent = place.agent(&pinentries.program)?;
        let agent = place.start(agent.envs(environment.iter().copied()))?;
        let line = daemon.agent()?;
        Ok(Self {
            place,
            daemon,
            pinentries,
            agent,
            line,
        })
    }

    fn prompt(&self, prompt: Prompt) {
        self.line.send(Response::Prompt(prompt));
    }

    fn withdraw(&self, id: u64) {
        self.line
            .send(Response::PromptWithdrawn { id: PromptId(id) });
    }
}

fn a_pin_is_asked_for_and_handed_over() -> Result<()> {
    let scene = Scene::set()?;
    scene.prompt(prompt(1));
    let mut pinentry = scene.pinentries.next()?;
    let dialog = pinentry.dialog()?;
    ensure!(dialog.command == "GETPIN");
    let description = dialog.setting("SETDESC");
    ensure!(
        description.contains("0006:12345678") && description.contains("ACS ACR39U 00 00"),
        "{description}"
    );
    ensure!(!description.contains("left"), "{description}");
    ensure!(dialog.setting("SETERROR").is_empty());
    pinentry.types("12%2534%0A5 6")?;
    let (pin, last_try, answer) = scene.daemon.unlock()?;
    ensure!(pin.as_deref() == Some("12%34\n5 6"), "{pin:?}");
    ensure!(!last_try);
    scene.withdraw(1);
    answer.send(Response::Done);
    pinentry.is_ended()?;
    ensure!(scene.pinentries.none_was_started());
    Ok(())
}

fn a_wrong_pin_is_asked_for_again_with_the_tries() -> Result<()> {
    let scene = Scene::set_with(&[("LC_ALL", "sv_SE.UTF-8")])?;
    scene.prompt(prompt(1));
    let mut pinentry = scene.pinentries.next()?;
    pinentry.dialog()?;
    pinentry.types("000000")?;
    let (_, _, answer) = scene.daemon.unlock()?;
    // In this order the daemon says it; the two connections may bring it in another.
    scene.withdraw(1);
    scene.prompt(Prompt {
        tries_left: Some(2),
        reason: PromptReason::Again,
        ..prompt(2)
    });
    answer.send(Response::Refused(Refusal::WrongPin {
        tries_left: Some(2),
    }));
    let mut pinentry = scene.pinentries.next()?;
    let dialog = pinentry.dialog()?;
    let error = dialog.setting("SETERROR");
    ensure!(error == "Fel PIN-kod. 2 PIN-försök kvar.", "{error}");
    // Once is enough.
    ensure!(!dialog.setting("SETDESC").contains("kvar"));
    ensure!(dialog.setting("SETCANCEL") == "Avbryt");

    // Another PIN was wrong, but it was not from here.
    pinentry.cancels()?;
    ensure!(scene.daemon.decline()? == PromptId(2));
    scene.prompt(Prompt {
        tries_left: Some(2),
        ..prompt(3)
    });
    let mut pinentry = scene.pinentries.next()?;
    let dialog = pinentry.dialog()?;
    ensure!(dialog.setting("SETERROR").is_empty());
    let description = dialog.setting("SETDESC");
    ensure!(
        description.ends_with("%0A2 PIN-försök kvar."),
        "{description}"
    );
    Ok(())
}

fn a_pin_that_no_card_takes_is_asked_for_again_at_once() -> Result<()> {
    let scene = Scene::set()?;
    scene.prompt(prompt(1));
    let mut pinentry = scene.pinentries.next()?;
    // Nothing typed, and more than any card takes: the daemon is not even asked.
    for pin in ["", &"1".repeat(500)] {
        let dialog = pinentry.dialog()?;
        ensure!(dialog.command == "GETPIN");
        pinentry.types(pin)?;
    }
    let dialog = pinentry.dialog()?;
    let error = dialog.setting("SETERROR");
    ensure!(error.contains("no try was spent"), "{error}");
    ensure!(scene.daemon.has_no_call());
    // Too short for this card, which only the daemon knows.
    pinentry.types("12")?;
    let (_, _, answer) = scene.daemon.unlock()?;
    answer.send(Response::Refused(Refusal::PinFormat));
    ensure!(
        pinentry
            .dialog()?
            .setting("SETERROR")
            .contains("no try was spent")
    );
    pinentry.types("123456")?;
    let (pin, _, answer) = scene.daemon.unlock()?;
    ensure!(pin.as_deref() == Some("123456"));
    answer.send(Response::Done);
    pinentry.is_ended()
}

fn the_last_try_is_spent_with_consent_only() -> Result<()> {
    let scene = Scene::set()?;
    let last = |id| Prompt {
        tries_left: Some(1),
        last_try: true,
        ..prompt(id)
    };
    scene.prompt(last(1));
    let mut pinentry = scene.pinentries.next()?;
    let dialog = pinentry.dialog()?;
    ensure!(dialog.command == "CONFIRM", "{}", dialog.command);
    ensure!(dialog.setting("SETDESC").contains("the card is blocked"));
    pinentry.says("ERR 83886194 Not confirmed <Pinentry>\n")?;
    ensure!(scene.daemon.decline()? == PromptId(1));
    pinentry.is_ended()?;

    scene.prompt(last(2));
    let mut pinentry = scene.pinentries.next()?;
    pinentry.dialog()?;
    pinentry.says("OK\n")?;
    ensure!(pinentry.dialog()?.command == "GETPIN");
    pinentry.types("123456")?;
    let (_, last_try, answer) = scene.daemon.unlock()?;
    ensure!(last_try, "the consent was not passed on");
    answer.send(Response::Done);
    Ok(())
}

fn a_cancelled_prompt_is_declined() -> Result<()> {
    let scene = Scene::set()?;
    scene.prompt(prompt(7));
    let mut pinentry = scene.pinentries.next()?;
    pinentry.dialog()?;
    pinentry.cancels()?;
    ensure!(scene.daemon.decline()? == PromptId(7));
    pinentry.is_ended()?;
    ensure!(scene.pinentries.none_was_started());
    Ok(())
}

fn a_withdrawn_prompt_closes_its_window_at_once() -> Result<()> {
    let scene = Scene::set()?;
    scene.prompt(prompt(1));
    let mut pinentry = scene.pinentries.next()?;
    pinentry.dialog()?;
    // Another's is not ours.
    scene.withdraw(99);
    let started = std::time::Instant::now();
    scene.withdraw(1);
    pinentry.is_ended()?;
    let took = started.elapsed();
    println!("measured withdrawn prompt: window gone after {took:?}");
    ensure!(took < Duration::from_secs(1), "{took:?}");
    // The daemon going away withdraws as well.
    scene.prompt(prompt(2));
    let mut pinentry = scene.pinentries.next()?;
    pinentry.dialog()?;
    let Scene { daemon, line, .. } = scene;
    drop((line, daemon));
    pinentry.is_ended()
}

fn a_newer_prompt_takes_the_place_of_an_open_one() -> Result<()> {
    let scene = Scene::set()?;
    scene.prompt(prompt(1));
    let mut first = scene.pinentries.next()?;
    first.dialog()?;
    scene.prompt(Prompt {
        serial: "0006:99999999".to_owned(),
        ..prompt(2)
    });
    first.is_ended()?;
    let mut second = scene.pinentries.next()?;
    let dialog = second.dialog()?;
    ensure!(dialog.setting("SETDESC").contains("0006:99999999"));
    second.types("123456")?;
    let (pin, ..) = scene.daemon.unlock()?;
    ensure!(pin.as_deref() == Some("123456"));
    Ok(())
}

fn a_pin_pad_is_pointed_at_while_it_waits() -> Result<()> {
    let scene = Scene::set()?;
    scene.prompt(Prompt {
        pin_pad: true,
        ..prompt(1)
    });
    let mut pinentry = scene.pinentries.next()?;
    let dialog = pinentry.dialog()?;
    ensure!(dialog.command == "MESSAGE", "{}", dialog.command);
    let description = dialog.setting("SETDESC");
    ensure!(description.contains("on the reader"), "{description}");
    // The reader waits whether the message is read or not, and the message stays as long as it does.
    let (pin, _, answer) = scene.daemon.unlock()?;
    ensure!(pin.is_none(), "a PIN where none was typed");
    scene.withdraw(1);
    answer.send(Response::Done);
    pinentry.is_ended()
}

fn a_pin_pad_that_waited_in_vain_waits_again_only_if_wanted() -> Result<()> {
    let scene = Scene::set()?;
    let again = |id| Prompt {
        pin_pad: true,
        reason: PromptReason::Again,
        ..prompt(id)
    };
    scene.prompt(again(1));
    let mut pinentry = scene.pinentries.next()?;
    let dialog = pinentry.dialog()?;
    ensure!(dialog.command == "CONFIRM", "{}", dialog.command);
    ensure!(scene.daemon.has_no_call(), "the reader waits unasked");
    pinentry.cancels()?;
    ensure!(scene.daemon.decline()? == PromptId(1));
    scene.prompt(again(2));
    let mut pinentry = scene.pinentries.next()?;
    pinentry.dialog()?;
    pinentry.says("OK\n")?;
    ensure!(scene.daemon.unlock()?.0.is_none());
    Ok(())
}

fn the_user_who_is_not_at_the_keyboard_is_told_nothing() -> Result<()> {
    let scene = Scene::set()?;
    scene.daemon.user_is_at_keyboard(false);
    ensure!(scene.line.send(Response::Prompt(prompt(1))));
    ensure!(scene.line.send(Response::Notice(Notice::CardBlocked)));
    scene.daemon.user_is_at_keyboard(true);
    scene.prompt(prompt(2));
    let mut pinentry = scene.pinentries.next()?;
    pinentry.dialog()?;
    pinentry.cancels()?;
    ensure!(scene.daemon.decline()? == PromptId(2), "the first was told");
    ensure!(scene.pinentries.none_was_started());
    Ok(())
}

fn a_daemon_that_comes_back_is_found_without_looking_for_it() -> Result<()> {
    // The agent is there before the daemon and its directory are.
    let place = Place::new()?;
    let pinentries = Pinentries::new(&place)?;
    let agent = place.start(&mut place.agent(&pinentries.program)?)?;
    for _ in 0..2 {
        let mut before = 0;
        eventually("the agent waits", SOON, || {
            let now = wake_ups(agent.id())?;
            let sleeps = std::mem::replace(&mut before, now) == now;
            Ok((sleeps && has_inotify(agent.id())?).then_some(()))
        })?;
        let before = wake_ups(agent.id())?;
        std::thread::sleep(Duration::from_secs(3));
        let woken = wake_ups(agent.id())? - before;
        ensure!(woken == 0, "{woken} wake-ups without a daemon");

        let daemon = Daemon::start(&place)?;
        let line = daemon.agent()?;
        line.send(Response::Prompt(prompt(1)));
        let mut pinentry = pinentries.next()?;
        pinentry.dialog()?;
        pinentry.cancels()?;
        daemon.decline()?;
        drop((line, daemon));
        std::fs::remove_dir_all(place.socket().parent().context("directory")?)?;
    }
    Ok(())
}

fn an_agent_that_is_told_to_end_leaves_no_window() -> Result<()> {
    let mut scene = Scene::set()?;
    scene.prompt(prompt(1));
    let mut pinentry = scene.pinentries.next()?;
    pinentry.dialog()?;
    scene.agent.signal(Signal::SIGTERM)?;
    pinentry.is_ended()?;
    let status = scene.agent.child().wait()?;
    ensure!(status.success(), "{status}");
    let said = scene.place.said()?;
    ensure!(said.is_empty(), "{said}");
    Ok(())
}

fn a_pinentry_that_talks_nonsense_is_left() -> Result<()> {
    let scene = Scene::set()?;
    let endless = "D".repeat(100_000);
    for (id, words) in [
        (1, "HELLO\n"),
        (2, "\n"),
        (3, "OK\nD %\nOK\n"),
        (4, endless.as_str()),
        (5, "ERR 1\n"),
        (6, ""),
    ] {
        scene.prompt(prompt(id));
        let mut pinentry = scene.pinentries.raw()?;
        // It may be left before all is said.
        let _ = pinentry.says(words);
        if words.is_empty() {
            drop(pinentry);
        } else {
            let mut rest = Vec::new();
            // What it is still told does not matter, but it ends.
            while let Ok(dialog) = pinentry.dialog() {
                rest.push(dialog.command);
            }
            ensure!(rest.is_empty(), "{words:?}: asked to {rest:?}");
        }
    }
    // One that hangs ends with the prompt.
    scene.prompt(prompt(7));
    let mut pinentry = scene.pinentries.raw()?;
    scene.withdraw(7);
    pinentry.is_ended()?;
    // After all that one that works is used.
    scene.prompt(prompt(8));
    let mut pinentry = scene.pinentries.next()?;
    pinentry.dialog()?;
    pinentry.types("123456")?;
    ensure!(scene.daemon.unlock()?.0.as_deref() == Some("123456"));
    Ok(())
}

fn where_nobody_can_be_asked_the_user_is_told() -> Result<()> {
    let place = Place::new()?;
    let desktop = Desktop::start(&place)?;
    let daemon = Daemon::start(&place)?;
    let mut agent = place.agent(Path::new("/nowhere/pinentry"))?;
    agent.env("DBUS_SESSION_BUS_ADDRESS", &desktop.address);
    let _agent = place.start(&mut agent)?;
    let line = daemon.agent()?;
    line.send(Response::Prompt(prompt(1)));
    let told = desktop.shows(1)?;
    ensure!(told.body.contains("sluss unlock"), "{told:?}");
    let said = place.said()?;
    ensure!(said.contains("cannot be asked for here"), "{said}");
    // It goes on, and declines nothing: `sluss unlock` may still answer.
    line.send(Response::Notice(Notice::CardBlocked));
    desktop.shows(2)?;
    ensure!(daemon.has_no_call());
    Ok(())
}

fn the_newest_notification_takes_the_place_of_the_one_before() -> Result<()> {
    let place = Place::new()?;
    let desktop = Desktop::start(&place)?;
    let daemon = Daemon::start(&place)?;
    let pinentries = Pinentries::new(&place)?;
    let mut agent = place.agent(&pinentries.program)?;
    agent
        .env("DBUS_SESSION_BUS_ADDRESS", &desktop.address)
        .env("LC_ALL", "sv_SE.UTF-8");
    let _agent = place.start(&mut agent)?;
    let line = daemon.agent()?;
    let gateway = || "vpn.example.se".to_owned();
    for (number, (notice, summary)) in [
        (
            Notice::Connected { gateway: gateway() },
            "Ansluten till vpn.example.se",
        ),
        (Notice::CardPulled, "Frånkopplad"),
        (
            Notice::CardUnusable {
                fault: CardFault::OtherCard,
            },
            "Kortet kan inte användas: det är inte den här datorns kort",
        ),
        (
            Notice::GatewaySilent { gateway: gateway() },
            "vpn.example.se svarar inte",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        line.send(Response::Notice(notice));
        let shown = desktop.shows(number + 1)?;
        ensure!(shown.summary == summary, "{shown:?}");
        let replaces = if number == 0 { 0 } else { 41 };
        ensure!(shown.replaces == replaces, "{shown:?}");
    }
    Ok(())
}

fn a_pin_leaves_nothing_behind() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        skip!("needs root to look into the memory of a program that forbids it");
    }
    // Their ends are searched for: the allocator writes over the beginning of what is freed.
    const END: &str = "q7Vx2!mK9#tZ";
    let pin = format!("a long PIN, of which the end is {END}");
    const PLANTED: &str = "planted-to-be-found-x81";
    let scene = Scene::set_with(&[("SLUSS_LAB_PLANTED", PLANTED)])?;
    for id in 1..=5 {
        scene.prompt(prompt(id));
        let mut pinentry = scene.pinentries.next()?;
        ensure!(!pinentry.surroundings.contains(END));
        pinentry.dialog()?;
        pinentry.types(&pin)?;
        let (given, _, answer) = scene.daemon.unlock()?;
        ensure!(given.as_ref() == Some(&pin));
        answer.send(Response::Done);
        pinentry.is_ended()?;
    }
    let json: Vec<String> = END.bytes().map(|byte| byte.to_string()).collect();
    let memory = memory(scene.agent.id())?;
    let holds = |wanted: &str| {
        memory
            .windows(wanted.len())
            .any(|window| window == wanted.as_bytes())
    };
    ensure!(holds(PLANTED), "the search does not find what is there");
    ensure!(!holds(END), "the PIN is still in memory");
    ensure!(
        !holds(&json.join(",")),
        "the PIN's frame is still in memory"
    );
    let own = std::fs::read(format!("/proc/{}/cmdline", scene.agent.id()))?;
    ensure!(!String::from_utf8_lossy(&own).contains(END));
    ensure!(scene.place.said()?.is_empty());
    Ok(())
}

/// All of a process's readable memory.
fn memory(pid: u32) -> Result<Vec<u8>> {
    let file = File::open(format!("/proc/{pid}/mem"))?;
    let mut all = Vec::new();
    for line in std::fs::read_to_string(format!("/proc/{pid}/maps"))?.lines() {
        // The kernel's own pages cannot be read by anybody.
        if !line.contains(" r") || line.contains("[v") {
            continue;
        }
        let range = line.split(' ').next().context("range")?;
        let (from, to) = range.split_once('-').context("range")?;
        let from = u64::from_str_radix(from, 16)?;
        let to = u64::from_str_radix(to, 16)?;
        let mut bytes = vec![0; usize::try_from(to - from)?];
        if file.read_exact_at(&mut bytes, from).is_ok() {
            all.write_all(&bytes)?;
        }
    }
    Ok(all)
}

/// How often the threads of a process have been woken.
fn wake_ups(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = std::fs::read_to_string(thread?.path().join("status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
            .context("switches")?;
        sum += line.trim().parse::<u64>()?;
    }
    Ok(sum)
}

/// Whether the process watches files.
fn has_inotify(pid: u32) -> Result<bool> {
    for file in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let target = std::fs::read_link(file?.path()).unwrap_or_default();
        if target.as_os_str() == "anon_inode:inotify" {
            return Ok(true);
        }
    }
    Ok(false)
}
