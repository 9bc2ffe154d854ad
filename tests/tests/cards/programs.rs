//! Other programs that use the card beside us: what they cost us, and that we cost them nothing.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pcsc::{Disposition, Protocols, Scope, ShareMode};
use sluss_card::key::Algorithm;
use sluss_card::{AfterUse, Config, Error, PinLife};
use sluss_tests::authority::Authority;
use sluss_tests::moment::eventually;
use sluss_tests::netns::Netns;
use sluss_tests::rig::Rig;
use sluss_tests::skip;
use x25519_dalek::X25519_BASEPOINT_BYTES;

use crate::person::{Other, PATIENCE, bound_to, sealed_to, start, verified, verified_with};
use sluss_tests::cardholder::Cardholder;

pub(crate) fn a_reset_by_another_program_locks_without_a_pull() -> Result<()> {
    let (rig, mut card, mut user) = verified()?;
    let other = Other::connect(&rig, ShareMode::Shared)?;
    other
        .0
        .disconnect(Disposition::ResetCard)
        .map_err(|(_, error)| error)?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    user.locked()?;
    ensure!(user.unlock("123456")? == Ok(()));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    ensure!(!user.heard_of("removed"), "taken for a pull");
    ensure!(card.stats()?.verify == 2);
    Ok(())
}

pub(crate) fn another_programs_application_locks_without_a_pull() -> Result<()> {
    let (rig, card, mut user) = verified()?;
    let other = Other::connect(&rig, ShareMode::Shared)?;
    other.exchange(b"\x00\xA4\x04\x00\x08\xA0\x00\x00\x06\x47\x2F\x00\x01")?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    user.locked()?;
    ensure!(user.unlock("123456")? == Ok(()));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    ensure!(!user.heard_of("removed"), "taken for a pull");
    Ok(())
}

pub(crate) fn another_programs_transaction_is_waited_for() -> Result<()> {
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

pub(crate) fn exclusive_use_by_another_program_is_told() -> Result<()> {
    let (rig, mut card) = start()?;
    card.insert()?;
    let other = eventually("another program has the card", PATIENCE, || {
        Ok(Other::connect(&rig, ShareMode::Exclusive).ok())
    })?;
    let mut user = Cardholder::start(bound_to(&card))?;
    ensure!(user.unusable_in(&rig.reader(0))? == Error::Busy);
    other
        .0
        .disconnect(Disposition::LeaveCard)
        .map_err(|(_, error)| error)?;
    user.inserted()?;
    Ok(())
}

pub(crate) fn ten_seconds_of_another_program_are_no_pull() -> Result<()> {
    let (rig, mut card, mut user) = verified()?;
    let key = card.identity().public_key;
    let begun = Instant::now();
    let holder = Holder::start(&rig.reader(0))?;
    // asked while it holds the card: one runs out of time, one has enough
    let short = user.ask_dh(X25519_BASEPOINT_BYTES, Duration::from_secs(5));
    ensure!(user.dh_answer(short)? == Err(Error::Timeout));
    let long = user.ask_dh(X25519_BASEPOINT_BYTES, Duration::from_secs(20));
    holder.release_after(Duration::from_secs(10).saturating_sub(begun.elapsed()))?;
    ensure!(user.dh_answer(long)? == Ok(key));
    ensure!(!user.heard_of("removed") && !user.heard_of("lost"));
    ensure!(card.stats()?.dh == 1, "what nobody waits for was computed");
    Ok(())
}

/// pcscd ends the transaction of a program that dies, and only then resets the card: what we ask in between is still answered.
pub(crate) fn a_program_that_dies_with_the_card_locks_it() -> Result<()> {
    for pin in [PinLife::Ask, PinLife::UntilLock] {
        let (rig, mut card, mut user) = verified_with(pin, AfterUse::Keep)?;
        let key = card.identity().public_key;
        let mut holder = Holder::start(&rig.reader(0))?;
        let asked = user.ask_dh(X25519_BASEPOINT_BYTES, Duration::from_secs(10));
        holder.0.kill()?;
        let mut answer = user.dh_answer(asked)?;
        eventually("the card was reset", PATIENCE, || {
            let was_reset = match pin {
                PinLife::Ask => answer == Err(Error::Locked),
                PinLife::UntilLock => card.stats()?.verify == 2,
            };
            if !was_reset {
                ensure!(answer == Ok(key), "{answer:?}");
                answer = user.dh(X25519_BASEPOINT_BYTES)?;
            }
            Ok(was_reset.then_some(()))
        })?;
        ensure!(pin == PinLife::Ask || answer == Ok(key), "{answer:?}");
        ensure!(!user.heard_of("removed"), "taken for a pull");
        drop(user);
        card.remove()?;
    }
    Ok(())
}

/// How often each tool is run.
const RUNS: u64 = 3;

/// A tool of others, how it is run, and what it says of a card that it has read.
struct Tool {
    program: &'static str,
    arguments: &'static [&'static str],
    says: &'static str,
}

impl Tool {
    fn run(&self) -> Result<()> {
        let Self {
            program,
            arguments,
            says,
        } = self;
        let output = match Command::new(program).args(*arguments).output() {
            Ok(output) => output,
            Err(error) => skip!("{program}: {error}"),
        };
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && text.contains(says),
            "{program} beside us: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

const OPENSC: Tool = Tool {
    program: "opensc-tool",
    arguments: &["--reader", "0", "--name"],
    says: "OpenPGP",
};
const PKCS15: Tool = Tool {
    program: "pkcs15-tool",
    arguments: &["--reader", "0", "--list-keys"],
    says: "Private",
};
const GPG: Tool = Tool {
    program: "gpg",
    arguments: &["--homedir", "/run/gnupg", "--card-status"],
    says: "OpenPGP",
};
const YUBICO: Tool = Tool {
    program: "yubico-piv-tool",
    arguments: &["--reader", "Virtual PCD", "--action", "status"],
    says: "Slot 9d",
};

pub(crate) fn opensc_tool_works_beside_us() -> Result<()> {
    works_beside_a_held_key(&OPENSC)
}

pub(crate) fn pkcs15_tool_works_beside_us() -> Result<()> {
    works_beside_a_held_key(&PKCS15)
}

/// GnuPG wants a card to itself unless it is told that it may share it, and keeps it as long as its agent lives. It is told
/// by the file that we ship.
pub(crate) fn gpg_works_beside_us() -> Result<()> {
    let home = Path::new("/run/gnupg");
    std::fs::create_dir(home)?;
    std::fs::set_permissions(home, PermissionsExt::from_mode(0o700))?;
    let shipped = include_str!("../../../packaging/gnupg/scdaemon.conf");
    std::fs::write(home.join("scdaemon.conf"), shipped)?;
    works_beside_a_held_key(&GPG)?;
    let mut end = Command::new("gpgconf");
    end.args(["--homedir", "/run/gnupg", "--kill", "all"]);
    ensure!(end.status()?.success());
    Ok(())
}

/// Counts what the tool costs somebody who has the PIN asked for, and then what it costs with a PIN that is kept.
fn works_beside_a_held_key(tool: &Tool) -> Result<()> {
    let (rig, mut card, mut user) = verified()?;
    let key = card.identity().public_key;
    let mut asked = 0;
    for _ in 0..RUNS {
        tool.run()?;
        let mut dh = user.dh(X25519_BASEPOINT_BYTES)?;
        if dh == Err(Error::Locked) {
            asked += 1;
            ensure!(user.unlock("123456")? == Ok(()));
            dh = user.dh(X25519_BASEPOINT_BYTES)?;
        }
        ensure!(dh == Ok(key), "{dh:?}");
    }
    ensure!(!user.heard_of("removed"), "taken for a pull");
    user.cards.stop();

    let config = Config {
        pin: PinLife::UntilLock,
        ..bound_to(&card)
    };
    let mut user = Cardholder::start(config)?;
    user.inserted()?;
    ensure!(user.unlock("123456")? == Ok(()));
    let before = card.stats()?.verify;
    for _ in 0..RUNS {
        tool.run()?;
        ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(key));
    }
    let silent = card.stats()?.verify - before;
    let program = tool.program;
    println!(
        "measured {RUNS} runs of {program} beside a held key: {asked} questions; with a kept PIN none, and it was shown again {silent} times"
    );
    card.remove()?;
    user.removed(&rig.reader(0))
}

/// For a sealed key we do not hold the card between two tasks: others may even have it to themselves.
pub(crate) fn a_sealed_key_leaves_the_card_to_others() -> Result<()> {
    let rig = Rig::start(Netns::own("own")?, Path::new("/run/rig"))?;
    let mut card = rig.piv_card(0, Algorithm::P256, &Authority::new()?)?;
    card.insert()?;
    let (config, public_key) = sealed_to(&card)?;
    let mut user = Cardholder::start(config)?;
    user.inserted()?;
    let other = Other::connect(&rig, ShareMode::Exclusive)?;
    let pin = card.identity().pin.clone();
    ensure!(user.unlock(&pin)? == Err(Error::Busy));
    ensure!(user.unusable_in(&rig.reader(0))? == Error::Busy);
    let left = other.0.disconnect(Disposition::LeaveCard);
    left.map_err(|(_, error)| error)?;
    user.inserted()?;

    ensure!(user.unlock(&pin)? == Ok(()));
    for _ in 0..RUNS {
        YUBICO.run()?;
        ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(public_key));
    }
    let other = Other::connect(&rig, ShareMode::Exclusive)?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(public_key));
    let refused = user.refresh()?;
    ensure!(refused == Err(Error::Busy), "{refused:?}");
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(public_key));
    let left = other.0.disconnect(Disposition::ResetCard);
    left.map_err(|(_, error)| error)?;
    eventually("the card is ours again", PATIENCE, || {
        Ok(user.refresh()?.ok().filter(|info| info.ready))
    })?;
    let stats = card.stats()?;
    ensure!((stats.verify, stats.dh) == (1, 1), "{stats:?}");
    ensure!(!user.heard_of("removed") && !user.heard_of("lost"));
    card.remove()?;
    user.removed(&rig.reader(0))?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Gone));
    Ok(())
}

/// Set in the environment of this program when it is to play another one.
pub(crate) const HOLD: &str = "SLUSS_HOLD_READER";

/// Another program, in a process of its own, that has begun a transaction with the card.
struct Holder(Child);

impl Holder {
    fn start(reader: &str) -> Result<Holder> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(HOLD, reader)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().context("its output")?;
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line == "held\n", "{line:?}");
        Ok(Holder(child))
    }

    /// Lets it end its transaction, as programs should.
    fn release_after(mut self, time: Duration) -> Result<()> {
        std::thread::sleep(time);
        drop(self.0.stdin.take());
        ensure!(self.0.wait()?.success());
        Ok(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Begins a transaction, says so, and ends it with standard input.
pub(crate) fn hold(reader: &str) -> Result<ExitCode> {
    let context = pcsc::Context::establish(Scope::System)?;
    let reader = std::ffi::CString::new(reader)?;
    let mut card = context.connect(&reader, ShareMode::Shared, Protocols::ANY)?;
    let transaction = card.transaction()?;
    println!("held");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    transaction
        .end(Disposition::LeaveCard)
        .map_err(|(_, error)| error)?;
    card.disconnect(Disposition::LeaveCard)
        .map_err(|(_, error)| error)?;
    Ok(ExitCode::SUCCESS)
}
