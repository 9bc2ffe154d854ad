//! What stands around the agent: a daemon, a pinentry and a desktop that do what the test says.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sluss_ipc::server::{self, Answer, Incoming, Listener};
use sluss_ipc::{Prompt, PromptId, PromptReason, Request, Role};
use sluss_tests::artifacts;
use sluss_tests::moment::eventually;
use sluss_tests::netns::{Netns, Process};
use tokio::runtime::Runtime;
use zbus::Variant;

/// What a working machine does at once, with a wide margin.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// The errand of this very program when it is started as pinentry.
pub(crate) const RELAY: &str = "relay-as-pinentry";

/// One trial's files, in a directory of its own.
pub(crate) struct Place {
    directory: PathBuf,
    socket: PathBuf,
    netns: Netns,
}

impl Place {
    pub(crate) fn new() -> Result<Self> {
        Self::with_daemon_at(PathBuf::from("/run/agent/slussd/slussd.sock"))
    }

    /// For a daemon that others start.
    pub(crate) fn with_daemon_at(socket: PathBuf) -> Result<Self> {
        let directory = PathBuf::from("/run/agent");
        std::fs::create_dir_all(&directory)?;
        Ok(Self {
            directory,
            socket,
            netns: Netns::own("desktop")?,
        })
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn said(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.directory.join("said"))?)
    }

    /// The shipped agent, with `pinentry`, in English, without a terminal and without a desktop.
    pub(crate) fn agent(&self, pinentry: &Path) -> Result<Command> {
        let mut agent = Command::new(artifacts::sluss()?);
        agent
            .args(["agent", "--socket"])
            .arg(self.socket())
            .arg("--pinentry")
            .arg(pinentry)
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .env("LC_ALL", "C.UTF-8")
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.directory.join("said"))?);
        Ok(agent)
    }

    pub(crate) fn start(&self, agent: &mut Command) -> Result<Process> {
        self.netns.spawn(agent)
    }
}

/// A daemon that hands every call to the test.
pub(crate) struct Daemon {
    calls: mpsc::Receiver<Incoming>,
    is_operator: Arc<AtomicBool>,
    _runtime: Runtime,
}

impl Daemon {
    pub(crate) fn start(place: &Place) -> Result<Self> {
        let runtime = runtime()?;
        let listener = {
            let _context = runtime.enter();
            Listener::bind(place.socket())?
        };
        let is_operator = Arc::new(AtomicBool::new(true));
        let at_keyboard = Arc::clone(&is_operator);
        let role = move |_| match at_keyboard.load(Ordering::Relaxed) {
            true => Role::Operator,
            false => Role::Observer,
        };
        let (calls, mut incoming) = tokio::sync::mpsc::channel(16);
        runtime.spawn(server::serve(listener, role, calls));
        let (sender, calls) = mpsc::channel();
        runtime.spawn(async move {
            while let Some(call) = incoming.recv().await {
                drop(sender.send(call));
            }
        });
        Ok(Self {
            calls,
            is_operator,
            _runtime: runtime,
        })
    }

    /// The agent's user sits down at the keyboard, or leaves it.
    pub(crate) fn user_is_at_keyboard(&self, at_keyboard: bool) {
        self.is_operator.store(at_keyboard, Ordering::Relaxed);
    }

    pub(crate) fn call(&self) -> Result<Incoming> {
        self.calls.recv_timeout(SOON).context("no call came")
    }

    /// The agent's line.
    pub(crate) fn agent(&self) -> Result<Answer> {
        let call = self.call()?;
        ensure!(
            matches!(call.request, Request::Agent),
            "{:?}",
            call.request.call()
        );
        Ok(call.answer)
    }

    /// The PIN that comes next (None: on the pin pad), whether the last try is consented to, and the way to answer.
    pub(crate) fn unlock(&self) -> Result<(Option<String>, bool, Answer)> {
        let call = self.call()?;
        let Request::Unlock { pin, last_try } = &call.request else {
            bail!("{:?}", call.request.call());
        };
        let pin = pin
            .as_ref()
            .map(|pin| String::from_utf8_lossy(pin.bytes()).into_owned());
        Ok((pin, *last_try, call.answer))
    }

    pub(crate) fn decline(&self) -> Result<PromptId> {
        let call = self.call()?;
        match call.request {
            Request::Decline { prompt } => Ok(prompt),
            other => bail!("{:?}", other.call()),
        }
    }

    pub(crate) fn has_no_call(&self) -> bool {
        self.calls.try_recv().is_err()
    }
}

/// A prompt for a card with all its tries.
pub(crate) fn prompt(id: u64) -> Prompt {
    Prompt {
        id: PromptId(id),
        serial: "0006:12345678".to_owned(),
        reader: "ACS ACR39U 00 00".to_owned(),
        tries_left: None,
        last_try: false,
        pin_pad: false,
        reason: PromptReason::Needed,
    }
}

/// Where the agent's pinentries ring.
pub(crate) struct Pinentries {
    pub(crate) program: PathBuf,
    listener: UnixListener,
}

impl Pinentries {
    pub(crate) fn new(place: &Place) -> Result<Self> {
        let socket = place.directory.join("pinentry.sock");
        let program = place.directory.join("pinentry");
        let this = std::env::current_exe()?;
        let script = format!(
            "#!/bin/sh\nexec '{}' {RELAY} '{}' \"$@\"\n",
            this.display(),
            socket.display()
        );
        std::fs::write(&program, script)?;
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755))?;
        let listener = UnixListener::bind(socket)?;
        listener.set_nonblocking(true)?;
        Ok(Self { program, listener })
    }

    /// The next pinentry, greeted.
    pub(crate) fn next(&self) -> Result<Pinentry> {
        let mut pinentry = self.raw()?;
        pinentry.says("OK Pleased to meet you\n")?;
        Ok(pinentry)
    }

    /// The next pinentry, which has not yet said a word.
    pub(crate) fn raw(&self) -> Result<Pinentry> {
        let stream = eventually("pinentry", SOON, || Ok(self.listener.accept().ok()))?.0;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(SOON))?;
        let mut lines = BufReader::new(stream);
        let mut surroundings = String::new();
        lines.read_line(&mut surroundings)?;
        Ok(Pinentry {
            lines,
            surroundings,
        })
    }

    pub(crate) fn none_was_started(&self) -> bool {
        self.listener.accept().is_err()
    }
}

/// A running pinentry, as the test plays it.
pub(crate) struct Pinentry {
    lines: BufReader<UnixStream>,
    /// Its arguments and its environment.
    pub(crate) surroundings: String,
}

/// What it was asked to show.
pub(crate) struct Dialog {
    pub(crate) command: String,
    settings: BTreeMap<String, String>,
}

impl Pinentry {
    /// Says OK to every setting until it is asked to show something.
    pub(crate) fn dialog(&mut self) -> Result<Dialog> {
        let mut settings = BTreeMap::new();
        loop {
            let line = self.line()?.context("pinentry was ended")?;
            match line.split_once(' ') {
                Some((command, argument)) => {
                    settings.insert(command.to_owned(), argument.to_owned());
                    self.says("OK\n")?;
                }
                None => {
                    return Ok(Dialog {
                        command: line,
                        settings,
                    });
                }
            }
        }
    }

    pub(crate) fn says(&mut self, words: &str) -> Result<()> {
        Ok(self.lines.get_mut().write_all(words.as_bytes())?)
    }

    pub(crate) fn types(&mut self, pin: &str) -> Result<()> {
        self.says(&format!("D {pin}\nOK\n"))
    }

    pub(crate) fn cancels(&mut self) -> Result<()> {
        self.says("ERR 83886179 Operation cancelled <Pinentry>\n")
    }

    /// Waits until it is ended without having been asked anything more.
    pub(crate) fn is_ended(&mut self) -> Result<()> {
        match self.line()? {
            None => Ok(()),
            Some(line) => bail!("still told {line:?}"),
        }
    }

    fn line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line.trim_end().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error).context("pinentry"),
        }
    }
}

impl Dialog {
    /// The argument of a setting such as `SETDESC`; empty if it was not made.
    pub(crate) fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }
}

/// Carries bytes between the agent and the test.
pub(crate) fn relay(socket: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    let around = std::fs::read("/proc/self/environ")?;
    let around = [std::fs::read("/proc/self/cmdline")?, around].concat();
    let around = String::from_utf8_lossy(&around).replace(['\0', '\n'], " ");
    writeln!(stream, "{around}")?;
    let mut from_test = stream.try_clone()?;
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from_test.read(&mut bytes) {
            let mut out = std::io::stdout();
            if out
                .write_all(&bytes[..count])
                .and_then(|()| out.flush())
                .is_err()
            {
                break;
            }
        }
        // As a pinentry that crashes does.
        std::process::exit(1);
    });
    std::io::copy(&mut std::io::stdin(), &mut stream)?;
    stream.shutdown(Shutdown::Both)?;
    Ok(())
}

/// A session bus with a desktop on it that shows notifications.
pub(crate) struct Desktop {
    pub(crate) address: String,
    shown: Arc<Mutex<Vec<Notification>>>,
    _connection: zbus::Connection,
    _bus: Process,
    _runtime: Runtime,
}

/// One call of `Notify`.
#[derive(Debug, Clone)]
pub(crate) struct Notification {
    pub(crate) replaces: u32,
    pub(crate) summary: String,
    pub(crate) body: String,
}

struct Notifications(Arc<Mutex<Vec<Notification>>>);

#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Notifications {
    #[expect(clippy::too_many_arguments, reason = "the specification's")]
    fn notify(
        &self,
        _app_name: &str,
        replaces: u32,
        _icon: &str,
        summary: &str,
        body: &str,
        _actions: Vec<&str>,
        _hints: HashMap<&str, Variant<'_>>,
        _expire_timeout: i32,
    ) -> u32 {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.push(Notification {
            replaces,
            summary: summary.to_owned(),
            body: body.to_owned(),
        });
        match replaces {
            0 => 40 + u32::try_from(shown.len()).unwrap_or_default(),
            same => same,
        }
    }
}

impl Desktop {
    pub(crate) fn start(place: &Place) -> Result<Self> {
        let socket = place.directory.join("session-bus");
        let address = format!("unix:path={}", socket.display());
        let bus = place.netns.spawn(
            Command::new("dbus-daemon")
                .args(["--session", "--nofork", "--nopidfile"])
                .arg(format!("--address={address}"))
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )?;
        eventually("the bus", SOON, || Ok(socket.exists().then_some(())))?;
        let runtime = runtime()?;
        let shown = Arc::new(Mutex::new(Vec::new()));
        let connect = zbus::connection::Builder::address(address.as_str())
            .serve_at(
                "/org/freedesktop/Notifications",
                Notifications(Arc::clone(&shown)),
            )
            .name("org.freedesktop.Notifications")
            .build();
        let connection = runtime.block_on(connect)?;
        Ok(Self {
            address,
            shown,
            _connection: connection,
            _bus: bus,
            _runtime: runtime,
        })
    }

    /// The notification with this number, from 1, once it is there; all must have been one after the other.
    pub(crate) fn shows(&self, number: usize) -> Result<Notification> {
        eventually("a notification", SOON, || {
            let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(shown.get(number - 1).cloned())
        })
    }
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}
