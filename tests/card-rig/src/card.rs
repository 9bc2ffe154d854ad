//! The card as the reader sees it: the applet, with faults on request and a count of what it did.

use std::net::{Shutdown, TcpStream};
use std::os::linux::net::TcpStreamExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use vpicc::VSmartCard;

use crate::applet::{Applet, Kind, Memory};

/// A Nitrokey 3's, whose historical bytes promise gpg what it wants to see.
const ATR: [u8; 21] = [
    0x3B, 0xDA, 0x18, 0xFF, 0x81, 0xB1, 0xFE, 0x75, 0x1F, 0x03, 0x00, 0x31, 0xF5, 0x73, 0xC0, 0x01,
    0x60, 0x00, 0x90, 0x00, 0x1C,
];

/// What the tester wants, and what has been done: shared with the thread that reads the tester's commands.
#[derive(Default)]
pub struct Desk {
    wishes: Mutex<Wishes>,
    changed: Condvar,
}

#[derive(Default)]
pub struct Wishes {
    pub fault: Fault,
    /// What each use of the key takes at least.
    pub delay: Duration,
    /// Lose the power before the next APDU, without the reader noticing.
    pub reset: bool,
    /// The reader that the card is in.
    pub reader: Option<TcpStream>,
    pub counts: Counts,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub enum Fault {
    #[default]
    None,
    /// Answer rubbish.
    Nonsense,
    /// Do not answer, until there is another fault or none.
    Hang,
    /// Leave the reader in the middle of the next use of the key.
    Vanish,
}

#[derive(Clone, Copy, Default)]
pub struct Counts {
    /// Uses of the key that were asked for: Diffie-Hellmans, and RSA's operation.
    pub dh: u64,
    /// PINs that were tried; questions for the tries left are not counted.
    pub verify: u64,
    pub power_on: u64,
    pub apdu: u64,
}

impl Desk {
    pub fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wish(&self, set: impl FnOnce(&mut Wishes)) {
        set(&mut self.wishes());
        self.changed.notify_all();
    }
}

impl Wishes {
    /// Out of the reader, as fast as a hand can.
    pub fn pull(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.shutdown(Shutdown::Both);
        }
    }
}

/// Serves one stay in the reader, until the card is pulled.
pub fn serve(
    reader: TcpStream,
    desk: &Arc<Desk>,
    memory: &mut Memory,
    kind: Kind,
    serial: [u8; 4],
) -> Result<()> {
    let line = reader.try_clone()?;
    let mut connection = vpicc::Connection::from(reader);
    loop {
        desk.wishes().counts.power_on += 1;
        let pulled = memory.power_on(kind, serial, |applet| {
            let mut card = Card {
                applet,
                desk: Arc::clone(desk),
                powered: true,
            };
            while card.powered {
                // vpcd writes length and content apart with Nagle on: without this each APDU waits 40 ms for an ACK
                if line.set_quickack(true).is_err() || connection.poll(&mut card).is_err() {
                    return true;
                }
            }
            false
        });
        if pulled {
            return Ok(());
        }
    }
}

struct Card<'a> {
    applet: Applet<'a>,
    desk: Arc<Desk>,
    powered: bool,
}

impl VSmartCard for Card<'_> {
    fn atr(&self) -> &[u8] {
        &ATR
    }

    fn power_off(&mut self) {
        self.powered = false;
    }

    fn reset(&mut self) {
        self.powered = false;
    }

    fn execute(&mut self, apdu: &[u8]) -> Vec<u8> {
        let is_dh = uses_key(apdu);
        let is_pin = apdu.starts_with(&[0x00, 0x20, 0x00]) && apdu.len() > 5;
        let mut wishes = self.desk.wishes();
        wishes.counts.apdu += 1;
        wishes.counts.dh += u64::from(is_dh);
        wishes.counts.verify += u64::from(is_pin);
        let count = wishes.counts.apdu;
        match wishes.fault {
            Fault::None => {}
            Fault::Nonsense => return nonsense(count),
            Fault::Hang => {
                let hangs =
                    |wishes: &mut Wishes| wishes.fault == Fault::Hang && wishes.reader.is_some();
                wishes = self
                    .desk
                    .changed
                    .wait_while(wishes, hangs)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            Fault::Vanish if is_dh => {
                wishes.fault = Fault::None;
                wishes.pull();
                return Vec::new();
            }
            Fault::Vanish => {}
        }
        let (delay, reset) = (wishes.delay, std::mem::take(&mut wishes.reset));
        drop(wishes);
        if reset {
            self.applet.reset();
        }
        if is_dh {
            std::thread::sleep(delay);
        }
        self.applet.exchange(apdu)
    }
}

/// Whether the key works on this command: OpenPGP's PSO: DECIPHER, or PIV's GENERAL AUTHENTICATE in slot 9D, the last of a chain.
fn uses_key(apdu: &[u8]) -> bool {
    matches!(
        apdu,
        [0x00, 0x2A, 0x80, 0x86, ..] | [0x00, 0x87, _, 0x9D, ..]
    )
}

/// Rubbish of several kinds in turn: no status, an unknown status, far too long, and right but for its content.
fn nonsense(count: u64) -> Vec<u8> {
    match count % 4 {
        0 => vec![0x90],
        1 => vec![0xDE, 0xAD, 0xBE, 0xEF],
        2 => vec![0x5A; 900],
        _ => [&[0x7F; 40][..], &[0x90, 0x00]].concat(),
    }
}
