//! A card that the tests own: behind vpcd, with a known key, pulled and broken by commands on standard input.
//!
//! `card-rig PORT SERIAL KIND` says in its first line who the card is, then answers each command with one JSON line. KIND is
//! `openpgp` or `openpgp:blank`, or `piv:` and the key in slot 9D: `p256`, `p384`, `rsa2048`, `rsa3072`, `rsa4096` or `blank`.
//!
//! | command | does |
//! |---|---|
//! | `insert` | puts the card into the reader that vpcd offers on PORT |
//! | `remove` | pulls it; the answer says when, in nanoseconds since 1970 |
//! | `reset` | takes the power away for a moment, which the reader does not notice |
//! | `certificate HEX` | puts a certificate (DER) beside a PIV card's key, the next time it is out of the reader |
//! | `delay MS` | makes each use of the key take that much longer |
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

use crate::applet::{Kind, Memory};
use crate::card::{Desk, Fault};

/// trussed keeps its messages on the stack.
const STACK: usize = 16 << 20;

/// What is done with the card, one after the other.
enum Visit {
    /// It stays in this reader until it is pulled.
    Stay(TcpStream),
    /// The issuing office gives it this certificate.
    Certify(Vec<u8>),
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, serial, kind] = arguments.as_slice() else {
        bail!("usage: card-rig PORT SERIAL KIND");
    };
    let (port, serial): (u16, u32) = (port.parse()?, serial.parse()?);
    let make = maker(kind)?;
    let desk = Arc::new(Desk::default());

    let (visitor, visits) = mpsc::channel::<Visit>();
    let (provisioned, identity) = mpsc::channel();
    let card_desk = Arc::clone(&desk);
    std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || -> Result<()> {
            let mut memory = Memory::new();
            let (kind, identity) = make(&mut memory, serial)?;
            provisioned.send(identity)?;
            let serial = serial.to_be_bytes();
            for visit in visits {
                match visit {
                    Visit::Stay(reader) => {
                        card::serve(reader, &card_desk, &mut memory, kind, serial)?;
                    }
                    Visit::Certify(certificate) => {
                        memory.power_on(kind, serial, |mut applet| {
                            provision::piv::certify(&mut applet, &certificate)
                        })?
                    }
                }
            }
            Ok(())
        })?;

    say(&identity
        .recv()
        .context("the card could not be provisioned")?)?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        if words == ["quit"] {
            break;
        }
        match command(&words, port, &desk, &visitor) {
            Ok(answer) => say(&answer)?,
            Err(error) => say(&format!(r#"{{"error":{:?}}}"#, format!("{error:#}")))?,
        }
    }
    // what the card is doing, or hanging in, does not matter any more
    std::process::exit(0)
}

/// Makes the card, and says who it is.
type Maker = Box<dyn FnOnce(&mut Memory, u32) -> Result<(Kind, String)> + Send>;

fn maker(kind: &str) -> Result<Maker> {
    Ok(match kind.split_once(':') {
        None if kind == "openpgp" => {
            Box::new(|memory, serial| openpgp_card(memory, serial, provision::PIN))
        }
        Some(("openpgp", "issued")) => Box::new(|memory, serial| {
            let card = openpgp_card(memory, serial, provision::ISSUED_PIN)?;
            memory.power_on(Kind::OpenPgp, serial.to_be_bytes(), |mut applet| {
                provision::issue(&mut applet)
            })?;
            Ok(card)
        }),
        Some(("openpgp", "blank")) => Box::new(|_, serial| {
            let identity = format!(
                r#"{{"serial":"FFFE:{serial:08X}","pin":"{}"}}"#,
                provision::PIN
            );
            Ok((Kind::OpenPgp, identity))
        }),
        Some(("piv", "blank")) => Box::new(|memory, serial| piv_card(memory, serial, None)),
        Some(("piv", name)) => {
            let algorithm = provision::piv::algorithm(name)?;
            Box::new(move |memory, serial| piv_card(memory, serial, Some(algorithm)))
        }
        _ => bail!("no such kind of card: {kind}"),
    })
}

fn openpgp_card(memory: &mut Memory, serial: u32, pin: &str) -> Result<(Kind, String)> {
    let key = StaticSecret::random_from_rng(rand_core::OsRng);
    // as the card keeps it: clamped (RFC 7748, section 5)
    let key = StaticSecret::from(clamped(key.to_bytes()));
    memory.power_on(Kind::OpenPgp, serial.to_be_bytes(), |mut applet| {
        provision::provision(&mut applet, &key)
    })?;
    let identity = format!(
        r#"{{"serial":"FFFE:{serial:08X}","pin":"{pin}","public_key":"{}","private_key":"{}"}}"#,
        hex(PublicKey::from(&key).as_bytes()),
        hex(&key.to_bytes()),
    );
    Ok((Kind::OpenPgp, identity))
}

fn piv_card(memory: &mut Memory, serial: u32, algorithm: Option<u8>) -> Result<(Kind, String)> {
    let key = memory.power_on(Kind::Piv, serial.to_be_bytes(), |mut applet| {
        provision::piv::provision(&mut applet, algorithm)
    })?;
    let identity = format!(
        r#"{{"serial":"00000000-0000-0000-0000-0000{serial:08x}","pin":"{}","public_key":"{}"}}"#,
        provision::piv::PIN,
        hex(&key),
    );
    Ok((Kind::Piv, identity))
}

fn command(
    words: &[&str],
    port: u16,
    desk: &Desk,
    visitor: &mpsc::Sender<Visit>,
) -> Result<String> {
    match words {
        ["insert"] => {
            let reader = TcpStream::connect(("127.0.0.1", port)).context("no vpcd")?;
            reader.set_nodelay(true)?;
            let hand = reader.try_clone()?;
            desk.wish(|wishes| wishes.reader = Some(hand));
            visitor.send(Visit::Stay(reader))?;
        }
        ["remove"] => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
            desk.wish(card::Wishes::pull);
            return Ok(format!(r#"{{"removed_at":{now}}}"#));
        }
        ["reset"] => desk.wish(|wishes| wishes.reset = true),
        ["certificate", certificate] => visitor.send(Visit::Certify(unhex(certificate)?))?,
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

fn unhex(digits: &str) -> Result<Vec<u8>> {
    (0..digits.len())
        .step_by(2)
        .map(|at| {
            let pair = digits.get(at..at + 2).context("half a byte")?;
            Ok(u8::from_str_radix(pair, 16)?)
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
