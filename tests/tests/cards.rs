//! The card worker against a real pcscd: what a user, another program or a broken card does, and how soon it shows.

use std::ffi::CString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use pcsc::{Disposition, Protocols, Scope, ShareMode};
use sluss_card::{
    Access, AfterUse, Binding, CardInfo, Cards, Command, Config, Error, Event, HeapVault, KeyId,
    KeySource, Op, Pin, PinEntry, PinLife,
};
use sluss_tests::moment::{self, eventually, median, millis};
use sluss_tests::netns::Netns;
use sluss_tests::rig::{Fault, Rig, VirtualCard};
use sluss_tests::{trial, trials};
use x25519_dalek::{PublicKey, StaticSecret, X25519_BASEPOINT_BYTES, x25519};

/// How long anything may take that a trial does not measure.
const PATIENCE: Duration = Duration::from_secs(10);
/// Given to each request to a healthy card.
const TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    trials::main(&[
        trial!(the_card_computes_x25519),
        trial!(tries_are_asked_for_without_spending_one),
        trial!(wrong_pins_count_down_to_the_last_try),
        trial!(a_pull_is_seen_at_once),
        trial!(a_pull_too_fast_to_be_seen_locks),
        trial!(a_moment_without_power_locks),
        trial!(a_restart_of_pcscd_is_survived),
        trial!(pcscd_may_come_later),
        trial!(a_hang_is_abandoned),
        trial!(a_hanging_service_is_abandoned),
        trial!(a_hang_does_not_keep_the_daemon_from_stopping),
        trial!(nonsense_is_named_and_a_healthy_card_recovers),
        trial!(a_card_may_vanish_in_the_middle),
        trial!(a_reset_by_another_program_locks_without_a_pull),
        trial!(another_programs_application_locks_without_a_pull),
        trial!(another_programs_transaction_is_waited_for),
        trial!(exclusive_use_by_another_program_is_told),
        trial!(the_bound_card_is_the_one),
        trial!(locking_makes_the_card_forget),
        trial!(stopping_leaves_the_card_verified_for_others),
        trial!(idle_is_idle),
    ])
}

fn the_card_computes_x25519() -> Result<()> {
    let (_rig, mut card, mut user) = inserted()?;
    let info = user.inserted()?;
    let identity = card.identity();
    ensure!(info.serial == identity.serial && info.public_key == identity.public_key);
    let private = identity.private_key;
    ensure!(
        info.public_key == x25519(private, X25519_BASEPOINT_BYTES),
        "the rig lies about its key"
    );

    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    ensure!(user.verify(&info.serial, "123456", false)? == Ok(()));
    let mut times = Vec::new();
    for seed in 0..20 {
        let peer = PublicKey::from(&StaticSecret::from([seed; 32])).to_bytes();
        let asked = Instant::now();
        ensure!(user.dh(peer)? == Ok(x25519(private, peer)), "peer {seed}");
        times.push(u64::try_from(asked.elapsed().as_micros())?);
    }
    ensure!(
        user.dh([0; 32])? == Err(Error::ZeroSecret),
        "a key of small order"
    );
    ensure!(
        user.dh(X25519_BASEPOINT_BYTES)? == Ok(info.public_key),
        "still of use after that"
    );
    ensure!(card.stats()?.verify == 1);
    println!(
        "measured one Diffie-Hellman {} us (median of 20)",
        median(times).context("no times")?
    );
    Ok(())
}

fn tries_are_asked_for_without_spending_one() -> Result<()> {
    let (_rig, mut card, mut user) = inserted()?;
    let info = user.inserted()?;
    ensure!((info.tries_left, info.ready) == (3, false));
    for _ in 0..5 {
        let again = user.refresh()?;
        ensure!(again.as_ref() == Ok(&info), "{again:?}");
    }
    ensure!(
        user.verify(&info.serial, "12345", false)? == Err(Error::PinLength { min: 6, max: 127 })
    );
    ensure!(
        user.verify("FFFE:00000000", "123456", false)? == Err(Error::Gone),
        "a PIN for another card"
    );
    ensure!(card.stats()?.verify == 0, "a try was spent");
    Ok(())
}

fn wrong_pins_count_down_to_the_last_try() -> Result<()> {
    let (_rig, mut card, mut user) = inserted()?;
    let serial = user.inserted()?.serial;
    ensure!(user.verify(&serial, "111111", false)? == Err(Error::WrongPin { left: 2 }));
    ensure!(user.verify(&serial, "111111", false)? == Err(Error::WrongPin { left: 1 }));
    ensure!(user.verify(&serial, "123456", false)? == Err(Error::OneTryLeft));
    ensure!(
        card.stats()?.verify == 2,
        "the last try went without consent"
    );
    ensure!(user.verify(&serial, "123456", true)? == Ok(()));
    ensure!(user.refresh()?.map(|info| (info.tries_left, info.ready)) == Ok((3, true)));

    for _ in 0..3 {
        user.verify(&serial, "111111", true)?
            .err()
            .context("a wrong PIN was taken")?;
    }
    ensure!(user.verify(&serial, "123456", true)? == Err(Error::Blocked));
    ensure!(user.refresh()?.map(|info| info.tries_left) == Ok(0));
    ensure!(card.stats()?.verify == 6, "a blocked card was tried");
    Ok(())
}

fn a_pull_is_seen_at_once() -> Result<()> {
    let (rig, mut card, mut user) = inserted()?;
    let mut times = Vec::new();
    for _ in 0..10 {
        user.inserted()?;
        let pulled = card.remove()?;
        user.removed(&rig.reader(0))?;
        times.push(millis(pulled, moment::now()));
        card.insert()?;
    }
    let worst = times.iter().max().copied().context("no times")?;
    println!(
        "measured pull to event {} ms (median of 10), {worst} ms at worst",
        median(times).context("no times")?
    );
    ensure!(worst < 800, "{worst} ms: more than a reader's poll of 400");
    Ok(())
}

fn a_pull_too_fast_to_be_seen_locks() -> Result<()> {
    let (_rig, mut card, mut user) = verified()?;
    for _ in 0..5 {
        // faster than the reader's poll, or not: as far as pcscd knows, perhaps nothing has happened
        card.remove()?;
        card.insert()?;
        let dh = user.dh(X25519_BASEPOINT_BYTES)?;
        ensure!(matches!(dh, Err(Error::Locked | Error::Gone)), "{dh:?}");
        if dh == Err(Error::Gone) {
            user.inserted()?;
        }
        let serial = card.identity().serial.clone();
        ensure!(user.verify(&serial, "123456", false)? == Ok(()));
        ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    }
    Ok(())
}

fn a_moment_without_power_locks() -> Result<()> {
    let (_rig, mut card, mut user) = verified()?;
    card.reset()?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    user.locked()?;
    let serial = card.identity().serial.clone();
    ensure!(user.verify(&serial, "123456", false)? == Ok(()));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    Ok(())
}

fn a_restart_of_pcscd_is_survived() -> Result<()> {
    let (mut rig, mut card, mut user) = verified()?;
    rig.stop_pcscd()?;
    user.removed(&rig.reader(0))?;
    user.expect("the loss of the service", |event| {
        matches!(event, Event::ServiceLost { .. }).then_some(())
    })?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Gone));
    rig.start_pcscd()?;
    let started = Instant::now();
    user.expect("the service", |event| {
        matches!(event, Event::ServiceFound).then_some(())
    })?;
    println!(
        "measured restart of pcscd to event {} ms",
        started.elapsed().as_millis()
    );
    card.remove()?;
    card.insert()?;
    let info = user.inserted()?;
    ensure!(!info.ready, "the PIN outlived a restart");
    ensure!(user.verify(&info.serial, "123456", false)? == Ok(()));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(info.public_key));
    Ok(())
}

fn pcscd_may_come_later() -> Result<()> {
    let (mut rig, mut card) = start()?;
    rig.stop_pcscd()?;
    let mut user = User::start(bound_to(&card))?;
    user.expect("word of the missing service", |event| {
        matches!(event, Event::ServiceLost { .. }).then_some(())
    })?;
    rig.start_pcscd()?;
    card.insert()?;
    ensure!(user.inserted()?.serial == card.identity().serial);
    ensure!(!user.heard_of("removed"));
    Ok(())
}

fn a_hang_is_abandoned() -> Result<()> {
    let (_rig, mut card, mut user) = verified()?;
    card.fail(Fault::Hang)?;
    let short = Duration::from_millis(300);
    let asked = Instant::now();
    ensure!(user.dh_within(X25519_BASEPOINT_BYTES, short)? == Err(Error::Timeout));
    let took = asked.elapsed();
    ensure!(
        (short..short * 2).contains(&took),
        "answered after {took:?}"
    );
    for _ in 0..3 {
        ensure!(
            user.dh_within(X25519_BASEPOINT_BYTES, short)? == Err(Error::Timeout),
            "while it hangs"
        );
    }
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    ensure!(
        threads < 10,
        "{threads} threads: one hang must not cost a thread for each request"
    );

    let dh_before = card.stats()?.dh;
    card.fail(Fault::None)?;
    ensure!(
        user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key),
        "later it works, without a PIN"
    );
    let dh_after = card.stats()?.dh;
    ensure!(
        dh_after == dh_before + 1,
        "{} requests that were given up reached the card",
        dh_after - dh_before - 1
    );
    Ok(())
}

fn a_hanging_service_is_abandoned() -> Result<()> {
    let (rig, card, mut user) = verified()?;
    rig.signal_pcscd(Signal::SIGSTOP)?;
    for _ in 0..3 {
        let dh = user.dh_within(X25519_BASEPOINT_BYTES, Duration::from_millis(200))?;
        ensure!(dh == Err(Error::Timeout), "{dh:?}");
    }
    rig.signal_pcscd(Signal::SIGCONT)?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    ensure!(!user.heard_of("removed") && !user.heard_of("lost"));
    Ok(())
}

fn a_hang_does_not_keep_the_daemon_from_stopping() -> Result<()> {
    let (_rig, mut card, mut user) = verified()?;
    card.fail(Fault::Hang)?;
    user.dh_within(X25519_BASEPOINT_BYTES, Duration::from_millis(100))?
        .err()
        .context("a card that hangs answered")?;
    let asked = Instant::now();
    user.cards.stop();
    let took = asked.elapsed();
    ensure!(took < Duration::from_millis(1500), "{took:?}");
    Ok(())
}

fn nonsense_is_named_and_a_healthy_card_recovers() -> Result<()> {
    let (rig, mut card, mut user) = verified()?;
    card.fail(Fault::Nonsense)?;
    let dh = user.dh(X25519_BASEPOINT_BYTES)?;
    ensure!(dh.is_err_and(|error| is_the_cards_fault(&error)));
    let reason = user.unusable(&rig.reader(0))?;
    ensure!(is_the_cards_fault(&reason), "{reason}");
    card.remove()?;
    user.removed(&rig.reader(0))?;

    // the same when it is broken from the start, in each of its ways
    for _ in 0..4 {
        card.insert()?;
        let reason = user.unusable(&rig.reader(0))?;
        ensure!(is_the_cards_fault(&reason), "{reason}");
        card.remove()?;
        user.removed(&rig.reader(0))?;
    }
    card.fail(Fault::None)?;
    card.insert()?;
    let info = user.inserted()?;
    ensure!(user.verify(&info.serial, "123456", false)? == Ok(()));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(info.public_key));

    // and when it comes to its senses by itself
    card.fail(Fault::Nonsense)?;
    user.refresh()?.err().context("nonsense was believed")?;
    user.unusable(&rig.reader(0))?;
    card.fail(Fault::None)?;
    user.inserted()?;
    Ok(())
}

fn a_card_may_vanish_in_the_middle() -> Result<()> {
    let (rig, mut card, mut user) = verified()?;
    for _ in 0..3 {
        card.fail(Fault::Vanish)?;
        let dh = user.dh(X25519_BASEPOINT_BYTES)?;
        ensure!(dh == Err(Error::Gone), "{dh:?}");
        user.removed(&rig.reader(0))?;
        ensure!(
            user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Gone),
            "of a card that is gone"
        );
        card.insert()?;
        let info = user.inserted()?;
        ensure!(user.verify(&info.serial, "123456", false)? == Ok(()));
        ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(info.public_key));
    }
    Ok(())
}

fn a_reset_by_another_program_locks_without_a_pull() -> Result<()> {
    let (rig, mut card, mut user) = verified()?;
    let other = Other::connect(&rig, ShareMode::Shared)?;
    other
        .0
        .disconnect(Disposition::ResetCard)
        .map_err(|(_, error)| error)?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    user.locked()?;
    let serial = card.identity().serial.clone();
    ensure!(user.verify(&serial, "123456", false)? == Ok(()));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    ensure!(!user.heard_of("removed"), "taken for a pull");
    ensure!(card.stats()?.verify == 2);
    Ok(())
}

fn another_programs_application_locks_without_a_pull() -> Result<()> {
    let (rig, card, mut user) = verified()?;
    let other = Other::connect(&rig, ShareMode::Shared)?;
    other.exchange(b"\x00\xA4\x04\x00\x08\xA0\x00\x00\x06\x47\x2F\x00\x01")?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    user.locked()?;
    ensure!(user.verify(&card.identity().serial, "123456", false)? == Ok(()));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    ensure!(!user.heard_of("removed"), "taken for a pull");
    Ok(())
}

fn another_programs_transaction_is_waited_for() -> Result<()> {
    let (rig, mut card, mut user) = verified()?;
    let mut other = Other::connect(&rig, ShareMode::Shared)?;
    let transaction = other.0.transaction()?;
    let asked = card.stats()?.dh;
    ensure!(
        user.dh_within(X25519_BASEPOINT_BYTES, Duration::from_millis(300))? == Err(Error::Timeout)
    );
    ensure!(
        card.stats()?.dh == asked,
        "our command went into another program's transaction"
    );
    drop(transaction);
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    ensure!(!user.heard_of("removed") && !user.heard_of("lost"));
    Ok(())
}

fn exclusive_use_by_another_program_is_told() -> Result<()> {
    let (rig, mut card) = start()?;
    card.insert()?;
    let other = eventually("another program has the card", PATIENCE, || {
        Ok(Other::connect(&rig, ShareMode::Exclusive).ok())
    })?;
    let mut user = User::start(bound_to(&card))?;
    ensure!(user.unusable(&rig.reader(0))? == Error::Busy);
    other
        .0
        .disconnect(Disposition::LeaveCard)
        .map_err(|(_, error)| error)?;
    user.inserted()?;
    Ok(())
}

fn the_bound_card_is_the_one() -> Result<()> {
    let (rig, mut mine) = start()?;
    let mut strangers = rig.card(1)?;
    let mut user = User::start(bound_to(&mine))?;
    strangers.insert()?;
    let other = Error::OtherCard {
        serial: strangers.identity().serial.clone(),
    };
    ensure!(user.unusable(&rig.reader(1))? == other);
    mine.insert()?;
    ensure!(user.inserted()?.public_key == mine.identity().public_key);
    strangers.remove()?;
    user.removed(&rig.reader(1))?;
    ensure!(
        user.refresh()?
            .is_ok_and(|info| info.public_key == mine.identity().public_key)
    );
    Ok(())
}

fn locking_makes_the_card_forget() -> Result<()> {
    let (_rig, card, mut user) = verified()?;
    ensure!(user.lock()? == Ok(()));
    ensure!(user.refresh()?.is_ok_and(|info| !info.ready));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    ensure!(user.verify(&card.identity().serial, "123456", false)? == Ok(()));
    Ok(())
}

fn stopping_leaves_the_card_verified_for_others() -> Result<()> {
    let (rig, mut card, user) = verified()?;
    let other = Other::connect(&rig, ShareMode::Shared)?;
    let powered = card.stats()?.power_on;
    user.cards.stop();
    ensure!(
        other.exchange(b"\x00\x20\x00\x82")? == [0x90, 0x00],
        "the card was reset under another program"
    );
    ensure!(card.stats()?.power_on == powered);
    let mut again = User::start(bound_to(&card))?;
    ensure!(again.inserted()?.ready, "a card that is verified says so");
    Ok(())
}

fn idle_is_idle() -> Result<()> {
    let (_rig, mut card, _user) = verified()?;
    // pcscd tells the watcher of our own connection at its reader's next poll
    quiet_wakeups(Duration::from_secs(1))?;
    let before = card.stats()?;
    let time = Duration::from_secs(10);
    let wakeups = quiet_wakeups(time)?;
    println!("measured {wakeups} wake-ups in {time:?} with a verified card in");
    ensure!(wakeups == 0, "{wakeups} wake-ups");
    ensure!(card.stats()? == before, "the card was asked for something");
    Ok(())
}

/// Counts for so long, in which there is nothing to wait for: what is measured is that nothing happens.
fn quiet_wakeups(time: Duration) -> Result<u64> {
    let before = wakeups()?;
    std::thread::sleep(time);
    Ok(wakeups()? - before)
}

/// Voluntary context switches of the worker's threads: each is a return to sleep.
fn wakeups() -> Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        if status.starts_with("Name:\tcard ") {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            sum += line
                .context("no count of switches")?
                .trim()
                .parse::<u64>()?;
        }
    }
    ensure!(sum > 0, "the worker has no threads");
    Ok(sum)
}

fn is_the_cards_fault(error: &Error) -> bool {
    matches!(
        error,
        Error::Nonsense { .. } | Error::Refused { .. } | Error::NoApplet
    )
}

fn start() -> Result<(Rig, VirtualCard)> {
    let rig = Rig::start(Netns::own("own")?, Path::new("/run/rig"))?;
    let card = rig.card(0)?;
    Ok((rig, card))
}

/// The settings of a laptop that this card was enrolled on.
fn bound_to(card: &VirtualCard) -> Config {
    let identity = card.identity();
    let binding = Binding {
        serial: identity.serial.clone(),
        public_key: identity.public_key,
        id: KeyId::OpenPgp,
        source: KeySource::Held,
    };
    Config {
        binding: Some(binding),
        access: Access::Pcsc,
        pin: PinLife::Ask,
        after_use: AfterUse::Keep,
        allow_factory_pin: true,
        certificate: None,
    }
}

/// A card in the reader, and a worker that has not yet been listened to.
fn inserted() -> Result<(Rig, VirtualCard, User)> {
    let (rig, mut card) = start()?;
    card.insert()?;
    let user = User::start(bound_to(&card))?;
    Ok((rig, card, user))
}

/// The same after the PIN.
fn verified() -> Result<(Rig, VirtualCard, User)> {
    let (rig, card, mut user) = inserted()?;
    let serial = user.inserted()?.serial;
    ensure!(user.verify(&serial, "123456", false)? == Ok(()));
    Ok((rig, card, user))
}

/// Asks the worker and listens to it, as the daemon does.
struct User {
    cards: Cards,
    events: Receiver<Event>,
    /// All that was ever heard.
    heard: Vec<String>,
    ops: u64,
}

impl User {
    fn start(config: Config) -> Result<User> {
        let (sender, events) = mpsc::channel();
        let vault = Box::new(HeapVault::default());
        let cards = sluss_card::start(config, vault, move |event| drop(sender.send(event)))?;
        Ok(User {
            cards,
            events,
            heard: Vec::new(),
            ops: 0,
        })
    }

    /// Listens until `pick` finds what it wants.
    fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Ok(event) = self
                .events
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            else {
                bail!(
                    "{what} did not come; heard so far:\n{}",
                    self.heard.join("\n")
                );
            };
            self.heard.push(event.to_string());
            if let Some(found) = pick(event) {
                return Ok(found);
            }
        }
    }

    fn heard_of(&self, words: &str) -> bool {
        self.heard.iter().any(|event| event.contains(words))
    }

    fn inserted(&mut self) -> Result<CardInfo> {
        self.expect("a card", |event| match event {
            Event::Inserted { card, .. } => Some(card),
            _ => None,
        })
    }

    fn removed(&mut self, from: &str) -> Result<()> {
        self.expect("the removal", |event| {
            matches!(event, Event::Removed { reader } if reader == from).then_some(())
        })
    }

    fn locked(&mut self) -> Result<()> {
        self.expect("the loss of the verified state", |event| {
            matches!(event, Event::Locked { .. }).then_some(())
        })
    }

    fn unusable(&mut self, at: &str) -> Result<Error> {
        self.expect("word of an unusable card", |event| match event {
            Event::Unusable { reader, reason } if reader == at => Some(reason),
            _ => None,
        })
    }

    fn verify(
        &mut self,
        serial: &str,
        pin: &str,
        last_try_consented: bool,
    ) -> Result<Result<(), Error>> {
        let pin = Pin::new(pin.as_bytes().to_vec().into())?;
        let asked = self.send(
            Command::Verify {
                serial: serial.to_owned(),
                pin: PinEntry::Typed(pin),
                last_try_consented,
            },
            TIMEOUT,
        );
        self.expect("the answer to the PIN", |event| match event {
            Event::Verified { op, result } if op == asked => Some(result),
            _ => None,
        })
    }

    fn dh(&mut self, with: [u8; 32]) -> Result<Result<[u8; 32], Error>> {
        self.dh_within(with, TIMEOUT)
    }

    fn dh_within(&mut self, with: [u8; 32], timeout: Duration) -> Result<Result<[u8; 32], Error>> {
        let asked = self.send(Command::Dh { with }, timeout);
        self.expect("the answer to a Diffie-Hellman", |event| match event {
            Event::Dh { op, result } if op == asked => {
                Some(result.map(|secret| *secret.as_bytes()))
            }
            _ => None,
        })
    }

    fn lock(&mut self) -> Result<Result<(), Error>> {
        let asked = self.send(Command::Lock, TIMEOUT);
        self.expect("the answer to locking", |event| match event {
            Event::Relocked { op, result } if op == asked => Some(result),
            _ => None,
        })
    }

    fn refresh(&mut self) -> Result<Result<CardInfo, Error>> {
        let asked = self.send(Command::Refresh, TIMEOUT);
        self.expect("the answer to a refresh", |event| match event {
            Event::Refreshed { op, result } if op == asked => Some(result),
            _ => None,
        })
    }

    fn send(&mut self, command: Command, timeout: Duration) -> Op {
        self.ops += 1;
        self.cards.send(Op(self.ops), command, timeout);
        Op(self.ops)
    }
}

/// Another program that uses the card in the first reader; for pcscd each context is one.
struct Other(pcsc::Card);

impl Other {
    fn connect(rig: &Rig, share: ShareMode) -> Result<Other> {
        let context = pcsc::Context::establish(Scope::System)?;
        let reader = CString::new(rig.reader(0))?;
        Ok(Other(context.connect(&reader, share, Protocols::ANY)?))
    }

    fn exchange(&self, command: &[u8]) -> Result<Vec<u8>> {
        let mut buffer = [0; 258];
        Ok(self.0.transmit(command, &mut buffer)?.to_vec())
    }
}
