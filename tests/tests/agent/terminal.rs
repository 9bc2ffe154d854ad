//! The agent with pinentries that others wrote, in a pseudo-terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use sluss_ipc::server::Answer;
use sluss_ipc::{Prompt, PromptId, Refusal, Response};
use sluss_tests::moment::eventually;
use sluss_tests::netns::Process;
use sluss_tests::skip;

use crate::standin::{Daemon, Place, SOON, prompt};

const PINENTRIES: [&str; 2] = ["/usr/bin/pinentry-tty", "/usr/bin/pinentry-curses"];

pub(crate) fn a_real_pinentry_asks_in_a_terminal() -> Result<()> {
    // How each is told to cancel: by the button's letter, and by the button.
    for (pinentry, cancel) in installed()?.into_iter().zip(["c", "\t\r"]) {
        let mut scene = Scene::set(pinentry)?;
        scene.prompt(prompt(1));
        scene.terminal.waits_for("0006:12345678")?;
        scene.terminal.waits_for("PIN:")?;
        scene.terminal.types("975310\r")?;
        let (pin, _, answer) = scene.daemon.unlock()?;
        ensure!(pin.as_deref() == Some("975310"), "{pinentry}: {pin:?}");
        answer.send(Response::Refused(Refusal::WrongPin {
            tries_left: Some(1),
        }));
        scene.terminal.is_put_back()?;
        ensure!(!scene.terminal.shown.contains("975310"), "{pinentry}");

        scene.prompt(Prompt {
            tries_left: Some(1),
            last_try: true,
            ..prompt(2)
        });
        scene.terminal.waits_for("pend the last try")?;
        scene.terminal.types(cancel)?;
        ensure!(scene.daemon.decline()? == PromptId(2), "{pinentry}");
        scene.terminal.is_put_back()?;
    }
    Ok(())
}

pub(crate) fn a_real_pinentry_puts_the_terminal_back_when_withdrawn() -> Result<()> {
    for pinentry in installed()? {
        let mut scene = Scene::set(pinentry)?;
        scene.prompt(prompt(1));
        scene.terminal.waits_for("0006:12345678")?;
        eventually("silence", SOON, || {
            Ok((!scene.terminal.echoes()?).then_some(()))
        })?;
        scene
            .line
            .send(Response::PromptWithdrawn { id: PromptId(1) });
        scene.terminal.is_put_back()?;
        ensure!(scene.daemon.has_no_call(), "{pinentry}");
    }
    Ok(())
}

/// Not pinentry-tty, which says then that the user has cancelled.
pub(crate) fn a_real_pinentry_without_a_terminal_is_told_of() -> Result<()> {
    let [_, curses] = installed()?;
    let place = Place::new()?;
    let daemon = Daemon::start(&place)?;
    let _agent = place.start(&mut place.agent(Path::new(curses))?)?;
    let line = daemon.agent()?;
    line.send(Response::Prompt(prompt(1)));
    eventually("what to do instead", SOON, || {
        let said = place.said()?;
        Ok(said.contains("sluss unlock").then_some(()))
    })?;
    ensure!(daemon.has_no_call());
    Ok(())
}

fn installed() -> Result<[&'static str; 2]> {
    for pinentry in PINENTRIES {
        if !Path::new(pinentry).exists() {
            skip!("{pinentry} is not installed");
        }
    }
    Ok(PINENTRIES)
}

struct Scene {
    terminal: Terminal,
    daemon: Daemon,
    line: Answer,
    _agent: Process,
}

impl Scene {
    fn set(pinentry: &str) -> Result<Self> {
        let place = Place::new()?;
        let daemon = Daemon::start(&place)?;
        let terminal = Terminal::open()?;
        let mut agent = place.agent(&PathBuf::from(pinentry))?;
        agent.env("TERM", "vt100").stdin(terminal.side.try_clone()?);
        let agent = place.start(&mut agent)?;
        let line = daemon.agent()?;
        Ok(Self {
            terminal,
            daemon,
            line,
            _agent: agent,
        })
    }

    fn prompt(&self, prompt: Prompt) {
        self.line.send(Response::Prompt(prompt));
    }
}

struct Terminal {
    keys: File,
    /// The programs' side.
    side: OwnedFd,
    bytes: mpsc::Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    fn open() -> Result<Self> {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None)?;
        let keys = File::from(pty.master);
        let mut screen = keys.try_clone()?;
        let (sender, bytes) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            keys,
            side: pty.slave,
            bytes,
            shown: String::new(),
        })
    }

    /// Reads until the words have been shown since the last time.
    fn waits_for(&mut self, words: &str) -> Result<()> {
        let end = Instant::now() + SOON;
        while !self.shown.contains(words) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.bytes.recv_timeout(left) else {
                bail!("{words:?} did not come, but {:?}", self.shown);
            };
            self.shown += &String::from_utf8_lossy(&bytes);
        }
        Ok(())
    }

    fn types(&mut self, keys: &str) -> Result<()> {
        Ok(self.keys.write_all(keys.as_bytes())?)
    }

    fn echoes(&self) -> Result<bool> {
        let modes = LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG;
        Ok(tcgetattr(&self.side)?.local_flags.contains(modes))
    }

    fn is_put_back(&self) -> Result<()> {
        eventually("the terminal is put back", SOON, || {
            Ok(self.echoes()?.then_some(()))
        })
    }
}
