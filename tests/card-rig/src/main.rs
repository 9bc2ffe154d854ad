//! An OpenPGP card that the tests own: behind vpcd, with a known key, pulled and broken by commands on standard input.
//!
//! `card-rig PORT SERIAL` says in its first line who the card is, then answers each command with one JSON line:
//!
//! | command | does |
//! |---|---|
//! | `insert` | puts the card into the reader that vpcd offers on PORT |
//! | `remove` | pulls it; the answer says when, in nanoseconds since 1970 |
//! | `reset` | takes the power away for a moment, which the reader does not notice |
//! | `delay MS` | makes each Diffie-Hellman take that much longer |
//! | `fail nonsense`, `hang`, `vanish`, `none` | breaks the card from the next APDU on |
//! | `stats` | says how often the card did what |
//! | `quit` | ends; so does the end of standard input |

mod applet;
mod card;
mod dispatch;
mod provision;

use std::io::{BufRead, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::applet::Memory;
use crate::card::{Desk, Fault};

/// trussed keeps its messages on the stack.
const STACK: usize = 16 << 20;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments
        .next()
        .context("usage: card-rig PORT SERIAL")?
        .parse()?;
    let serial: u32 = arguments
        .next()
        .context("usage: card-rig PORT SERIAL")?
        .parse()?;
    let desk = Arc::new(Desk::default());

    let (insertions, stays) = mpsc::channel::<TcpStream>();
    let (provisioned, identity) = mpsc::channel();
    let card_desk = Arc::clone(&desk);
    std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || -> Result<()> {
            let mut memory = Memory::new();
            let key = StaticSecret::random_from_rng(rand_core::OsRng);
            // as the card keeps it: clamped (RFC 7748, section 5)
            let key = StaticSecret::from(clamped(key.to_bytes()));
            let serial = serial.to_be_bytes();
            memory.power_on(serial, |mut applet| provision::provision(&mut applet, &key))?;
            provisioned.send(key)?;
            for reader in stays {
                card::serve(reader, &card_desk, &mut memory, serial)?;
            }
            Ok(())
        })?;

    let key = identity
        .recv()
        .context("the card could not be provisioned")?;
    say(&format!(
        r#"{{"serial":"FFFE:{serial:08X}","pin":"{}","public_key":"{}","private_key":"{}"}}"#,
        provision::PIN,
        hex(PublicKey::from(&key).as_bytes()),
        hex(&key.to_bytes()),
    ))?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        if words == ["quit"] {
            break;
        }
        match command(&words, port, &desk, &insertions) {
            Ok(answer) => say(&answer)?,
            Err(error) => say(&format!(r#"{{"error":{:?}}}"#, format!("{error:#}")))?,
        }
    }
    // what the card is doing, or hanging in, does not matter any more
    std::process::exit(0)
}

fn command(
    words: &[&str],
    port: u16,
    desk: &Desk,
    insertions: &mpsc::Sender<TcpStream>,
) -> Result<String> {
    match words {
        ["insert"] => {
            let reader = TcpStream::connect(("127.0.0.1", port)).context("no vpcd")?;
            reader.set_nodelay(true)?;
            let hand = reader.try_clone()?;
            desk.wish(|wishes| wishes.reader = Some(hand));
            insertions.send(reader)?;
        }
        ["remove"] => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
            desk.wish(card::Wishes::pull);
            return Ok(format!(r#"{{"removed_at":{now}}}"#));
        }
        ["reset"] => desk.wish(|wishes| wishes.reset = true),
        ["delay", milliseconds] => {
            let delay = Duration::from_millis(milliseconds.parse()?);
            desk.wish(|wishes| wishes.delay = delay);
        }
        ["fail", fault] => {
            let fault = match *fault {
                "none" => Fault::None,
                "nonsense" => Fault::Nonsense,
                "hang" => Fault::Hang,
                "vanish" => Fault::Vanish,
                other => bail!("no such fault: {other}"),
            };
            desk.wish(|wishes| wishes.fault = fault);
        }
        ["stats"] => {
            let card::Counts {
                dh,
                verify,
                power_on,
                apdu,
            } = desk.wishes().counts;
            return Ok(format!(
                r#"{{"dh":{dh},"verify":{verify},"power_on":{power_on},"apdu":{apdu}}}"#
            ));
        }
        other => bail!("no such command: {other:?}"),
    }
    Ok("{}".to_owned())
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn clamped(mut scalar: [u8; 32]) -> [u8; 32] {
    scalar[0] &= 0xF8;
    scalar[31] = scalar[31] & 0x7F | 0x40;
    scalar
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
