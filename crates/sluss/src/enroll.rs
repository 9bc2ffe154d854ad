//! `sluss enroll`: binds the laptop to a card through the daemon, step by step with a person or all at once from a script.

mod choice;
mod request;
mod survey;

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use nix::unistd::gethostname;
use sluss_ipc::{
    Client, Key, Pin, Request, Response, Status,
    enroll::{Enrolled, Order, PresharedKey, Survey},
};
use zeroize::Zeroizing;

use crate::{
    args::EnrollArgs,
    commands::{self, permitted, strange},
    exit::Exit,
    keyboard::Keyboard,
    text::Text,
};
pub(crate) use choice::{Loss, Plan, Undecided};
use choice::{Wishes, choose};
pub(crate) use request::Signed;

/// A card may take half a minute to make an RSA key; the daemon gives it up sooner than this.
const PATIENCE: Duration = Duration::from_secs(150);
/// The daemon looks at the card anew when it is bound.
const CARD_SEEN: Duration = Duration::from_secs(5);
/// More than base64 of 32 bytes, with room for blanks around it.
const LONGEST_KEY_FILE: u64 = 100;

pub(crate) fn run(socket: &Path, args: EnrollArgs, text: &dyn Text) -> Result<Exit> {
    if let Some(file) = &args.verify {
        return request::verify(file, text);
    }
    let Response::Survey(survey) = ask(socket, &Request::Survey)? else {
        return strange();
    };
    if args.survey {
        return commands::print(args.format, &survey, || survey::survey(&survey, text));
    }
    let mut keyboard = Keyboard::open()?;
    let Some(plan) = plan(&survey, &args, &mut keyboard, text)? else {
        return Ok(Exit::NotSo);
    };
    eprintln!("{}", text.plan(&plan));
    let Some(replace) = leave_to_lose(&plan, &args, &mut keyboard, text)? else {
        return Ok(Exit::NotSo);
    };
    let device = args.name.clone().unwrap_or_else(host_name);
    let Some(order) = order(&survey, &plan, replace, &device, &args, &mut keyboard, text)? else {
        return Ok(Exit::NotSo);
    };
    let pin = order.pin.as_ref().and_then(copied);
    let Response::Enrolled(enrolled) = ask(socket, &Request::Enroll(Box::new(order)))? else {
        return strange();
    };
    let exit = finish(&enrolled, &device, &args, text)?;
    if let Some(pin) = pin {
        unlock(socket, pin, text);
    }
    Ok(exit)
}

fn copied(pin: &Pin) -> Option<Pin> {
    Pin::new(Zeroizing::new(pin.bytes().to_vec()))
}

/// Gives the PIN once more, which has just been right, so that nobody types it twice. The laptop is bound whatever comes of it.
fn unlock(socket: &Path, pin: Pin, text: &dyn Text) {
    let wants_pin = |status: &Status| {
        matches!(status.key, Key::Locked | Key::AwaitingPin) || status.key == Key::Unlocked
    };
    let status = commands::wait(socket, CARD_SEEN, wants_pin);
    let unlocked = match status {
        Ok(Some(status)) if status.key == Key::Unlocked => true,
        Ok(Some(_)) => commands::give(socket, Some(pin), false).is_ok(),
        Ok(None) | Err(_) => false,
    };
    if unlocked {
        eprintln!("{}", text.unlocked());
    }
}

/// What is to be done; None if that was said to be impossible, or unwanted.
fn plan<'s>(
    survey: &'s Survey,
    args: &EnrollArgs,
    keyboard: &mut Keyboard,
    text: &dyn Text,
) -> Result<Option<Plan<'s>>> {
    let wishes = Wishes {
        card: args.card.as_deref(),
        key: args.key.as_deref(),
        make: args.make,
        replace: !args.replace.is_empty(),
    };
    match choose(survey, wishes) {
        Ok(plan) => Ok(Some(plan)),
        Err(Undecided::CouldMake(plan)) if keyboard.is_terminal() => {
            let answer = keyboard.answer(&text.ask_make(&plan))?;
            Ok(text.is_consent(&answer).then_some(*plan))
        }
        Err(undecided) => {
            eprintln!("sluss: {}", text.undecided(&undecided));
            Ok(None)
        }
    }
}

/// The serial numbers of the cards whose keys may be lost, as they were typed back; None if something would be lost that may not.
fn leave_to_lose(
    plan: &Plan<'_>,
    args: &EnrollArgs,
    keyboard: &mut Keyboard,
    text: &dyn Text,
) -> Result<Option<Vec<String>>> {
    let mut typed = args.replace.clone();
    typed.retain(|serial| !serial.is_empty());
    for loss in &plan.losses {
        eprintln!("{}", text.loss(*loss));
        let serial = loss.serial();
        if typed.iter().any(|typed| typed == serial) {
            continue;
        }
        if args.replace.is_empty() || !keyboard.is_terminal() {
            eprintln!("sluss: {}", text.say_replace(serial));
            return Ok(None);
        }
        if keyboard.answer(text.ask_serial())? != serial {
            eprintln!("sluss: {}", text.other_serial());
            return Ok(None);
        }
        typed.push(serial.to_owned());
    }
    Ok(Some(typed))
}

/// The order with all that it takes; None if something was not given.
fn order(
    survey: &Survey,
    plan: &Plan<'_>,
    replace: Vec<String>,
    device: &str,
    args: &EnrollArgs,
    keyboard: &mut Keyboard,
    text: &dyn Text,
) -> Result<Option<Order>> {
    let preshared_key = match &args.preshared_key_file {
        None => None,
        Some(file) => match preshared_key(file) {
            Ok(Some(key)) => Some(key),
            Ok(None) => {
                eprintln!(
                    "sluss: {}",
                    text.no_preshared_key(&file.display().to_string())
                );
                return Ok(None);
            }
            Err(error) => {
                let file = file.display().to_string();
                eprintln!("sluss: {}", text.cannot_read(&file, &error));
                return Ok(None);
            }
        },
    };
    let addresses = addresses(survey, args, keyboard, text)?;
    if addresses.is_empty() {
        eprintln!("sluss: {}", text.no_address());
        return Ok(None);
    }
    let tries = plan.card.tries_left;
    let last_try = keyboard.consents(tries, args.last_try, text)?;
    let pin = if plan.card.pin_pad {
        eprintln!("{}", text.type_on_reader(&plan.card.reader));
        None
    } else {
        let Some(pin) = keyboard.pin(text.ask_pin())? else {
            eprintln!("sluss: {}", text.no_pin());
            return Ok(None);
        };
        Some(pin)
    };
    let question = text.ask_admin_pin(plan.card.kind);
    let admin_pin = match question.filter(|_| plan.make) {
        None => None,
        Some(question) => {
            let Some(pin) = keyboard.pin(question)? else {
                eprintln!("sluss: {}", text.no_pin());
                return Ok(None);
            };
            Some(pin)
        }
    };
    Ok(Some(Order {
        serial: plan.card.serial.clone(),
        key: plan.key.id.clone(),
        make: plan.make.then_some(plan.algorithm),
        replace,
        device: device.to_owned(),
        addresses,
        preshared_key,
        pin,
        last_try,
        admin_pin,
    }))
}

/// From the command line, else those that the laptop has, else from a person.
fn addresses(
    survey: &Survey,
    args: &EnrollArgs,
    keyboard: &mut Keyboard,
    text: &dyn Text,
) -> Result<Vec<String>> {
    if !args.address.is_empty() {
        return Ok(args.address.clone());
    }
    if let Some(bound) = &survey.bound {
        return Ok(bound.addresses.clone());
    }
    if !keyboard.is_terminal() {
        return Ok(Vec::new());
    }
    let typed = keyboard.answer(text.ask_address())?;
    let addresses = typed.split([',', ' ']).filter(|part| !part.is_empty());
    Ok(addresses.map(str::to_owned).collect())
}

/// None if it is not one. Its bytes lie nowhere but in what is wiped.
fn preshared_key(file: &Path) -> io::Result<Option<PresharedKey>> {
    let mut content = Zeroizing::new(Vec::with_capacity(LONGEST_KEY_FILE as usize));
    File::open(file)?
        .take(LONGEST_KEY_FILE)
        .read_to_end(&mut content)?;
    let parsed = str::from_utf8(&content)
        .ok()
        .and_then(|text| text.trim().parse::<sluss_policy::PresharedKey>().ok());
    Ok(parsed
        .and_then(|key| Pin::new(Zeroizing::new(key.as_bytes().to_vec())))
        .and_then(PresharedKey::new))
}

/// Prints and saves the request. Once the laptop is bound, giving the same order again prints the same.
fn finish(enrolled: &Enrolled, device: &str, args: &EnrollArgs, text: &dyn Text) -> Result<Exit> {
    let out = match args.format.json {
        true => serde_json::to_string_pretty(enrolled)? + "\n",
        false => enrolled.request.clone(),
    };
    io::stdout().write_all(out.as_bytes())?;
    eprintln!("{}", text.enrolled(enrolled));
    let file = match &args.out {
        Some(file) => file.clone(),
        None => default_file(device),
    };
    let name = file.display().to_string();
    match request::save(&file, &enrolled.request) {
        Ok(()) => {
            eprintln!("{}", text.saved(&name));
            Ok(Exit::Done)
        }
        Err(error) => {
            eprintln!("sluss: {}", text.cannot_save(&name, &error));
            Ok(Exit::NotSo)
        }
    }
}

/// In the current directory; a name that nobody can lead astray.
fn default_file(device: &str) -> PathBuf {
    let plain = |c: char| {
        if c.is_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    format!(
        "sluss-{}.toml",
        device.chars().map(plain).collect::<String>()
    )
    .into()
}

fn host_name() -> String {
    let name = gethostname().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    if name.is_empty() {
        "laptop".to_owned()
    } else {
        name
    }
}

fn ask(socket: &Path, request: &Request) -> Result<Response> {
    let mut client = Client::connect(socket)?;
    client.set_patience(Some(PATIENCE));
    permitted(client.call(request)?)
}
