//! Modules that hang, crash, refuse and lie: the card worker goes on answering, and a new process takes over.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sluss_card::key::{Algorithm, CardKey};
use sluss_card::pkcs11::{Failure, Module};
use sluss_card::{Error, KeySource};
use sluss_platform::process;
use sluss_platform::worker::Worker;
use sluss_tests::cardholder::Cardholder;
use sluss_tests::moment::eventually;
use sluss_tests::{artifacts, netns, skip};
use slussd::pkcs11::ROLE;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::token::{self, PIN};
use crate::{bound_to, launch};

/// How the module is told to behave; see `tests/bad-module`.
const BEHAVIOUR: &str = "/run/bad-module";
/// Places in `CK_FUNCTION_LIST`.
const INITIALIZE: u32 = 0;
const GET_SLOT_LIST: u32 = 4;
const GET_TOKEN_INFO: u32 = 6;
const OPEN_SESSION: u32 = 12;
const LOGIN: u32 = 18;
const GET_ATTRIBUTE_VALUE: u32 = 24;
const FIND_OBJECTS: u32 = 27;
const DERIVE_KEY: u32 = 62;

const THEIRS: [u8; 32] = [0x3C; 32];
/// The argument that makes this program the daemon of a trial.
pub(crate) const ERRAND: &str = "be-a-daemon";
/// Given to a request that nobody will answer.
const SHORT: Duration = Duration::from_millis(700);

pub(crate) fn a_hang_costs_the_request_alone() -> Result<()> {
    let (path, serial, public_key) = token()?;
    let with = PublicKey::from(&StaticSecret::from(THEIRS)).to_bytes();
    let config = bound_to(&path, &serial, b"wg", public_key, KeySource::Held);
    behave("hang", DERIVE_KEY)?;
    let mut user = Cardholder::start(config)?;
    user.inserted()?;
    ensure!(user.verify(&serial, PIN)? == Ok(()));
    let asked = Instant::now();
    ensure!(user.dh_within(with, SHORT)? == Err(Error::Timeout));
    ensure!(asked.elapsed() < SHORT * 2, "{:?}", asked.elapsed());
    behave("well", 0)?;
    // the login has ended with the process
    eventually("a new worker", Duration::from_secs(10), || {
        Ok((user.dh(with)? == Err(Error::Locked)).then_some(()))
    })?;
    ensure!(user.verify(&serial, PIN)? == Ok(()));
    ensure!(user.dh(with)?.is_ok());
    Ok(())
}

pub(crate) fn a_hang_does_not_keep_the_daemon_from_stopping() -> Result<()> {
    let (path, serial, public_key) = token()?;
    let config = bound_to(&path, &serial, b"wg", public_key, KeySource::Held);
    behave("hang", DERIVE_KEY)?;
    let mut user = Cardholder::start(config)?;
    user.inserted()?;
    ensure!(user.verify(&serial, PIN)? == Ok(()));
    user.ask_dh([9; 32], Duration::from_secs(60));
    let asked = Instant::now();
    drop(user);
    ensure!(
        asked.elapsed() < Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
    Ok(())
}

pub(crate) fn a_crash_costs_the_request_alone() -> Result<()> {
    let (path, serial, public_key) = token()?;
    let with = PublicKey::from(&StaticSecret::from(THEIRS)).to_bytes();
    let config = bound_to(&path, &serial, b"wg", public_key, KeySource::Held);
    behave("crash", DERIVE_KEY)?;
    let mut user = Cardholder::start(config)?;
    user.inserted()?;
    ensure!(user.verify(&serial, PIN)? == Ok(()));
    behave("well", 0)?;
    ensure!(user.dh(with)? == Err(Error::Module(Failure::Ended)));
    eventually("a new worker", Duration::from_secs(10), || {
        Ok((user.dh(with)? == Err(Error::Locked)).then_some(()))
    })?;
    ensure!(user.verify(&serial, PIN)? == Ok(()));
    ensure!(user.dh(with)?.is_ok());
    Ok(())
}

/// Every function that a request needs, refused or claimed to be done: an error, never a secret, and no more than that.
pub(crate) fn lies_of_a_module_are_found_out() -> Result<()> {
    let (path, _, _) = token()?;
    for how in ["refuse", "lie", "crash"] {
        for function in [
            INITIALIZE,
            GET_SLOT_LIST,
            GET_TOKEN_INFO,
            OPEN_SESSION,
            LOGIN,
            GET_ATTRIBUTE_VALUE,
            FIND_OBJECTS,
            DERIVE_KEY,
        ] {
            behave(how, function)?;
            let mut module = Module::new(launch(&path));
            let derived = (|| {
                let slot = match module.look(None, None)?.first() {
                    Some(token) => token.slot,
                    None => return Ok(None),
                };
                let pin = token::pin(PIN).map_err(|_| Failure::Ended)?;
                module.log_in(slot, Some(&pin), None)?;
                let at = sluss_card::pkcs11::KeyAt { slot, id: b"wg" };
                module.derive(at, &[9; 32], None).map(Some)
            })();
            match how {
                "crash" => ensure!(derived == Err(Failure::Ended), "{function}: {derived:?}"),
                "refuse" => ensure!(derived.is_err(), "{function}: {derived:?}"),
                _ => ensure!(
                    !derived
                        .as_ref()
                        .is_ok_and(|secret| secret.as_ref().is_some_and(|it| !it.is_empty())),
                    "{function}: a secret of nothing"
                ),
            }
            // the module is well again with its next process, which after a crash is the next request's
            behave("well", 0)?;
            if how != "crash" {
                module.end();
            }
            ensure!(module.look(None, None)?.len() == 1, "{how} {function}");
        }
    }
    Ok(())
}

pub(crate) fn a_module_that_cannot_be_loaded_is_named() -> Result<()> {
    let not_a_module = Path::new("/run/not-a-module.so");
    std::fs::write(not_a_module, "#!/bin/sh\n")?;
    for (path, part) in [
        (Path::new("/run/nothing.so"), "nothing.so"),
        (not_a_module, "not-a-module.so"),
        // a library, but of another kind
        (
            Path::new("/lib/x86_64-linux-gnu/libc.so.6"),
            "C_GetFunctionList",
        ),
    ] {
        let looked = Module::new(launch(path)).look(None, None);
        let said = looked.err().context("it was loaded")?.to_string();
        ensure!(said.contains(part), "{said}");
    }
    Ok(())
}

/// No rights, no files, no environment, no core, and no life after its daemon's.
pub(crate) fn a_worker_has_nothing_of_the_daemon() -> Result<()> {
    let (path, _, _) = token()?;
    // what a library opens without a thought for children
    let inherited = std::fs::File::open("/etc/hostname")?;
    nix::fcntl::fcntl(
        &inherited,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )?;
    let arguments = [ROLE.as_ref(), path.as_os_str()];
    let worker = Worker::start(Path::new("/proc/self/exe"), &arguments)?;
    let process = PathBuf::from(format!("/proc/{}", worker.id()));
    let read = |name: &str| std::fs::read_to_string(process.join(name));
    let confined = || Ok(read("status")?.contains("NoNewPrivs:\t1").then_some(()));
    eventually("the worker is confined", Duration::from_secs(10), confined)?;

    let status = read("status")?;
    for line in ["CapEff", "CapPrm", "CapInh"] {
        ensure!(
            status.contains(&format!("{line}:\t0000000000000000")),
            "{status}"
        );
    }
    let limits = read("limits")?;
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    ensure!(
        core.is_some_and(|line| line.split_whitespace().nth(4) == Some("0")),
        "{limits}"
    );
    let environment = read("environ")?;
    let names: Vec<_> = environment
        .split_terminator('\0')
        .map(|it| it.split('=').next())
        .collect();
    ensure!(names == [Some(token::CONFIGURATION.0)], "{names:?}");
    let open = std::fs::read_dir(process.join("fd"))?
        .filter_map(|it| std::fs::read_link(it.ok()?.path()).ok());
    let open: Vec<_> = open.collect();
    ensure!(
        !open.iter().any(|file| file.ends_with("hostname")),
        "{open:?}"
    );

    drop(worker);
    ensure!(!process.exists(), "it outlived its handle");
    Ok(())
}

/// However it ends, and although it is undumpable and no root, as it is where Sluss is installed.
pub(crate) fn a_worker_ends_with_its_daemon() -> Result<()> {
    let (path, _, _) = token()?;
    for user in [0, 65534] {
        if user != 0 && !netns::has_several_users() {
            skip!("a second user needs root or subordinate ids");
        }
        behave("hang", GET_SLOT_LIST)?;
        let mut daemon = Command::new(std::env::current_exe()?)
            .arg(ERRAND)
            .arg(&path)
            .uid(user)
            .gid(user)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        let mut from = BufReader::new(daemon.stdout.take().context("its output")?);
        from.read_line(&mut said)?;
        let worker = PathBuf::from(format!("/proc/{}", said.trim().parse::<u32>()?));
        let waits = || {
            Ok(std::fs::read_to_string(worker.join("maps"))?
                .contains("bad-module")
                .then_some(()))
        };
        eventually("the module is loaded", Duration::from_secs(10), waits)?;
        daemon.kill()?;
        daemon.wait()?;
        // nobody in here takes leave of orphans, so a dead one stays listed
        let gone = || {
            Ok(state(&worker)
                .is_none_or(|state| state == 'Z')
                .then_some(()))
        };
        eventually("the worker is gone", Duration::from_secs(5), gone)?;
    }
    Ok(())
}

/// The daemon of that trial: starts a worker, says its number, asks it something, and waits for the answer.
pub(crate) fn be_a_daemon(module: &Path) -> Result<()> {
    process::harden()?;
    let arguments = [ROLE.as_ref(), module.as_os_str()];
    let mut worker = Worker::start(Path::new("/proc/self/exe"), &arguments)?;
    println!("{}", worker.id());
    // a frame of one byte: what tokens are there?
    worker.write_all(&[0, 0, 0, 2, 0, 0])?;
    worker.read_exact(&mut [0])?;
    Ok(())
}

/// Nothing wakes a worker that nobody asks.
pub(crate) fn an_idle_worker_sleeps() -> Result<()> {
    let (path, _, _) = token()?;
    let mut module = Module::new(launch(&path));
    module.look(None, None)?;
    let [worker] = &workers()?[..] else {
        anyhow::bail!("not one worker")
    };
    let switches = || -> Result<String> {
        let status = std::fs::read_to_string(worker.join("status"))?;
        let mut lines = status.lines();
        let line = lines.find(|line| line.starts_with("voluntary_ctxt_switches"));
        Ok(line.context("no count of switches")?.to_owned())
    };
    let asleep = || Ok((state(worker) == Some('S')).then_some(()));
    eventually("the worker waits", Duration::from_secs(5), asleep)?;
    let before = switches()?;
    // there is nothing to wait for: what is measured is that nothing happens
    std::thread::sleep(Duration::from_secs(3));
    ensure!(switches()? == before, "it woke up");
    drop(module);
    ensure!(workers()?.is_empty(), "it outlived its module");
    Ok(())
}

/// As `ps` has it: S sleeps, Z is dead. `None` when there is no such process.
fn state(process: &Path) -> Option<char> {
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state?.trim().chars().next()
}

/// OpenSC keeps the PIN for itself: before the laptop sleeps, and when the user locks, the process is ended that knows it.
pub(crate) fn what_a_module_remembers_ends_with_its_process() -> Result<()> {
    let (path, serial, public_key) = token()?;
    let config = bound_to(&path, &serial, b"wg", public_key, KeySource::Held);
    let with = PublicKey::from(&StaticSecret::from(THEIRS)).to_bytes();
    let mut user = Cardholder::start(config)?;
    user.inserted()?;
    let ways: [fn(&mut Cardholder) -> Result<()>; 2] = [
        |user| {
            let locked = user.lock()?;
            ensure!(locked == Ok(()));
            Ok(())
        },
        Cardholder::forget,
    ];
    for way in ways {
        ensure!(user.verify(&serial, PIN)? == Ok(()));
        ensure!(user.dh(with)?.is_ok());
        let [knowing] = &workers()?[..] else {
            anyhow::bail!("not one worker")
        };
        way(&mut user)?;
        let gone = || Ok((!knowing.exists()).then_some(()));
        eventually("the worker has ended", Duration::from_secs(5), gone)?;
        ensure!(user.dh(with)? == Err(Error::Locked));
    }
    Ok(())
}

/// The processes that this one has started, by whichever thread.
fn workers() -> Result<Vec<PathBuf>> {
    let mut workers = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task")? {
        // a thread may have ended meanwhile
        let listed = std::fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        let processes = listed
            .split_whitespace()
            .map(|number| Path::new("/proc").join(number));
        workers.extend(processes);
    }
    Ok(workers)
}

/// A token with an X25519 key, the misbehaving module before it, and the token's serial number and public key.
fn token() -> Result<(PathBuf, String, [u8; 32])> {
    let softhsm = token::module()?;
    let path = artifacts::bad_module()?;
    token::make()?;
    let mut module = Module::new(launch(&softhsm));
    let tokens = module.look(None, None)?;
    let token = tokens.first().context("no token")?;
    module.log_in(token.slot, Some(&token::pin(PIN)?), None)?;
    let key = module.generate(token.slot, Algorithm::X25519, b"wg", "WireGuard", None)?;
    let CardKey::X25519(public_key) = key.public else {
        anyhow::bail!("{:?} was made", key.public)
    };
    behave("well", 0)?;
    Ok((path, token.serial.clone(), public_key))
}

/// From the next worker on.
fn behave(how: &str, function: u32) -> Result<()> {
    let told = if how == "well" {
        String::new()
    } else {
        format!("{how} {function}\n")
    };
    Ok(std::fs::write(BEHAVIOUR, told)?)
}
