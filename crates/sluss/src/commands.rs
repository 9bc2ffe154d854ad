//! Each command: what it asks of the daemon, and what it prints.

use std::{
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::Serialize;
use sluss_ipc::{Client, Error, Key, Pin, ReaderCard, Refusal, Request, Response, Status, Tunnel};

use crate::{
    agent,
    args::{Args, Command, Format, PolicyCommand},
    check, doctor, enroll,
    exit::{Exit, Refused, StrangeAnswer},
    keyboard::Keyboard,
    paint::Paint,
    portal, report,
    text::Text,
};

/// A card may take this long to check a PIN, and a person to type it on a pin pad; the daemon gives it up sooner.
pub(crate) const CARD_PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run(args: Args, text: &'static dyn Text) -> Result<Exit> {
    let socket = &args.socket;
    match args.command {
        Command::Status {
            verbose,
            format,
            check,
        } => status(socket, verbose, format, check, text),
        Command::Why { format } => {
            let Response::Why(why) = ask(socket, &Request::Why)? else {
                return strange();
            };
            print(format, &why, || report::why(&why, text))
        }
        Command::Doctor { format } => doctor::run(socket, format, text),
        Command::Portal {
            renew,
            all_programs,
        } => portal::run(socket, renew, all_programs, text),
        Command::Monitor { format } => monitor(socket, format, text),
        Command::Up { wait } => change(
            socket,
            &Request::Up,
            wait.limit(),
            report::is_as_it_should_be,
            text,
        ),
        Command::Down { wait } => {
            let is_down = |status: &Status| matches!(status.tunnel, Tunnel::Down { .. });
            change(socket, &Request::Down, wait.limit(), is_down, text)
        }
        Command::Unlock { last_try } => unlock(socket, last_try, text),
        Command::Lock => {
            let Response::Done = ask(socket, &Request::Lock)? else {
                return strange();
            };
            say(text.locked())
        }
        Command::Card { format } => {
            let Response::Card(report) = ask(socket, &Request::Card)? else {
                return strange();
            };
            print(format, &report, || report::card(&report, text))
        }
        Command::Agent { pinentry } => agent::run(socket, pinentry, text),
        Command::Enroll(args) => enroll::run(socket, *args, text),
        Command::Policy {
            command: PolicyCommand::Show { format },
        } => {
            let Response::Policy(policy) = ask(socket, &Request::Policy)? else {
                return strange();
            };
            print(format, &policy, || report::policy(&policy, text))
        }
        Command::Policy {
            command: PolicyCommand::Check { files },
        } => check::policy(&files, text),
    }
}

fn status(
    socket: &Path,
    verbose: bool,
    format: Format,
    check: bool,
    text: &dyn Text,
) -> Result<Exit> {
    let status = current(socket)?;
    let paint = Paint::for_stream(&io::stdout());
    print(format, &status, || match verbose {
        true => report::details(&status, text, paint),
        false => report::status(&status, text, paint),
    })?;
    Ok(if check && !report::is_as_it_should_be(&status) {
        Exit::NotSo
    } else {
        Exit::Done
    })
}

fn monitor(socket: &Path, format: Format, text: &dyn Text) -> Result<Exit> {
    let mut client = Client::connect(socket)?;
    client.set_patience(None);
    let mut response = client.call(&Request::Monitor)?;
    loop {
        let Response::Change(change) = permitted(response)? else {
            return strange();
        };
        let mut line = match format.json {
            true => serde_json::to_string(&change)?,
            false => report::change(&change, text),
        };
        line.push('\n');
        let mut stdout = io::stdout().lock();
        stdout.write_all(line.as_bytes())?;
        // Whoever reads a pipe wants the change now.
        stdout.flush()?;
        response = client.receive()?;
    }
}

/// Asks for a change, waits until `is_so` if there is a `limit`, and says how things are then.
fn change(
    socket: &Path,
    request: &Request,
    limit: Option<Duration>,
    is_so: impl Fn(&Status) -> bool,
    text: &dyn Text,
) -> Result<Exit> {
    let Response::Done = ask(socket, request)? else {
        return strange();
    };
    let (status, exit) = match limit {
        None => (current(socket)?, Exit::Done),
        Some(limit) => match wait(socket, limit, &is_so)? {
            Some(status) => (status, Exit::Done),
            None => {
                eprintln!(
                    "sluss: {}",
                    text.still_not(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
                );
                (current(socket)?, Exit::NotSo)
            }
        },
    };
    let paint = Paint::for_stream(&io::stdout());
    io::stdout().write_all(report::status(&status, text, paint).as_bytes())?;
    Ok(exit)
}

/// The first status that `is_so`; None if it took longer than `limit`.
///
/// The monitor only says when to look again: it is open before the first look, so no change is missed.
pub(crate) fn wait(
    socket: &Path,
    limit: Duration,
    is_so: impl Fn(&Status) -> bool,
) -> Result<Option<Status>> {
    let end = Instant::now() + limit;
    let mut monitor = Client::connect(socket)?;
    permitted(monitor.call(&Request::Monitor)?)?;
    loop {
        let status = current(socket)?;
        if is_so(&status) {
            return Ok(Some(status));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        monitor.set_patience(Some(left));
        match monitor.receive() {
            Ok(_) => {}
            Err(Error::Silent) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

fn unlock(socket: &Path, last_try: bool, text: &dyn Text) -> Result<Exit> {
    let Response::Card(report) = ask(socket, &Request::Card)? else {
        return strange();
    };
    let refusal = match report.key {
        Key::NoService | Key::Absent => Some(Refusal::NoCard),
        Key::Unusable { fault } => Some(Refusal::CardUnusable { fault }),
        Key::Blocked => Some(Refusal::PinBlocked),
        Key::Verifying => Some(Refusal::Busy),
        Key::Unlocked => return say(text.already_unlocked()),
        Key::Locked | Key::AwaitingPin | Key::Declined | Key::Withdrawn => None,
    };
    if let Some(refusal) = refusal {
        return Err(Refused(refusal).into());
    }
    let (reader, tries, pin_pad) = report
        .readers
        .iter()
        .find_map(|reader| match reader.card {
            ReaderCard::Usable {
                tries_left,
                pin_pad,
                ..
            } => Some((reader.name.as_str(), tries_left, pin_pad)),
            ReaderCard::Unusable { .. } => None,
        })
        .unwrap_or_default();
    let mut keyboard = Keyboard::open()?;
    let last_try = keyboard.consents(tries, last_try, text)?;
    let pin = if pin_pad {
        eprintln!("{}", text.type_on_reader(reader));
        None
    } else {
        let Some(pin) = keyboard.pin(text.ask_pin())? else {
            eprintln!("sluss: {}", text.no_pin());
            return Ok(Exit::NotSo);
        };
        Some(pin)
    };
    give(socket, pin, last_try)?;
    say(text.unlocked())
}

/// On a connection of its own: the daemon may have closed another one while the user was thinking.
pub(crate) fn give(socket: &Path, pin: Option<Pin>, last_try: bool) -> Result<()> {
    let mut client = Client::connect(socket)?;
    client.set_patience(Some(CARD_PATIENCE));
    let Response::Done = permitted(client.call(&Request::Unlock { pin, last_try })?)? else {
        return strange();
    };
    Ok(())
}

fn current(socket: &Path) -> Result<Status> {
    let Response::Status(status) = ask(socket, &Request::Status)? else {
        return strange();
    };
    Ok(status)
}

fn ask(socket: &Path, request: &Request) -> Result<Response> {
    permitted(Client::connect(socket)?.call(request)?)
}

pub(crate) fn permitted(response: Response) -> Result<Response> {
    match response {
        Response::Refused(refusal) => Err(Refused(refusal).into()),
        Response::Status(_)
        | Response::Why(_)
        | Response::Diagnosis(_)
        | Response::PortalOpened(_)
        | Response::Change(_)
        | Response::Card(_)
        | Response::Policy(_)
        | Response::Prompt(_)
        | Response::PromptWithdrawn { .. }
        | Response::Notice(_)
        | Response::HandedOver { .. }
        | Response::Survey(_)
        | Response::Enrolled(_)
        | Response::Done => Ok(response),
    }
}

pub(crate) fn strange<T>() -> Result<T> {
    Err(StrangeAnswer.into())
}

/// Prints for a program or for a person.
pub(crate) fn print(
    format: Format,
    answer: &impl Serialize,
    words: impl FnOnce() -> String,
) -> Result<Exit> {
    let out = if format.json {
        serde_json::to_string_pretty(answer)? + "\n"
    } else {
        words()
    };
    io::stdout().write_all(out.as_bytes())?;
    Ok(Exit::Done)
}

fn say(sentence: &str) -> Result<Exit> {
    writeln!(io::stdout(), "{sentence}")?;
    Ok(Exit::Done)
}
