//! The one loop: waits for anything to happen, asks the engine, and does what it says.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use sluss_card::{
    Access, AfterUse, Binding, Cards, Config, HeapVault, KeyId, KeySource, PinLife,
};
use sluss_ipc::server::{self, Answer, Incoming, Listener};
use sluss_ipc::{Peer, Response, Role, Status};
use sluss_platform::links::Watcher;
use sluss_platform::logind::{self, ActiveUser, SessionEvent};
use sluss_platform::{Host, HostConfig, TunConfig, clock};
use sluss_policy::{DeviceBinding, Policy};
use sluss_supervisor::{self as sup, HostMode, Op};
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::{info, warn};

use crate::engine::{CallId, Effect, Engine, Figures, Input};
use crate::host_worker;
use crate::probe;
use crate::tunnel::{Running, Stamp};

/// How many calls wait while the loop is busy; a caller beyond that waits in its own connection.
const CALLS: usize = 16;

/// What the daemon is started with.
pub struct Settings {
    pub policy: Policy,
    /// Where the policy came from, for people.
    pub policy_files: Vec<String>,
    /// None until the laptop is enrolled.
    pub binding: Option<DeviceBinding>,
    pub state_dir: PathBuf,
    pub socket: PathBuf,
}

/// Runs until SIGTERM or SIGINT. Ends with the tunnel down, its keys wiped, and internal traffic closed.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut links = Watcher::open(TunConfig::NAME).context("network links cannot be watched")?;
    let mut alarm = clock::Alarm::new()?;
    let (session_events, mut sessions) = mpsc::channel(4);
    let active = logind::watch(session_events);
    let (calls, mut called) = mpsc::channel(CALLS);
    listen(&settings, active, calls)?;
    let (mut daemon, mut inputs) = Daemon::new(settings)?;
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    info!("ready");

    loop {
        alarm.set(
            daemon
                .engine
                .deadline()
                .map(|deadline| deadline.at.as_duration()),
        )?;
        let input = select! {
            biased;
            Some(input) = inputs.recv() => input,
            changed = links.changed() => Input::LinksChanged(changed.context("network links cannot be watched")?),
            Some(event) = sessions.recv() => match event {
                SessionEvent::Suspending(delay) => {
                    daemon.turn(Input::Suspending);
                    drop(delay);
                    continue;
                }
                SessionEvent::Resumed => Input::Resumed,
                SessionEvent::ScreenLocked | SessionEvent::UserLeft => continue,
            },
            rang = alarm.rang() => { rang?; Input::Tick }
            Some(incoming) = called.recv() => daemon.admit(incoming),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        daemon.turn(input);
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    info!("stopping");
    daemon.close().await;
    Ok(())
}

fn listen(
    settings: &Settings,
    active: ActiveUser,
    calls: mpsc::Sender<Incoming>,
) -> anyhow::Result<()> {
    let listener = Listener::bind(&settings.socket)
        .with_context(|| format!("cannot listen on {}", settings.socket.display()))?;
    let role = move |peer: Peer| Role::of(peer, active.uid());
    tokio::spawn(async move {
        if let Err(error) = server::serve(listener, role, calls).await {
            warn!(%error, "no more calls are taken");
        }
    });
    Ok(())
}

/// The engine and everything that carries out what it says.
struct Daemon {
    engine: Engine,
    settings: Settings,
    inputs: mpsc::UnboundedSender<Input>,
    cards: Cards,
    tunnel: Option<Running>,
    host: mpsc::UnboundedSender<(Op, HostConfig)>,
    host_worker: tokio::task::JoinHandle<()>,
    probe: Option<(Op, AbortHandle)>,
    calls: HashMap<CallId, Answer>,
    last_call: u64,
    monitors: Vec<Monitor>,
}

/// A call that is told of every change.
struct Monitor {
    answer: Answer,
    seen: Option<Status>,
}

impl Daemon {
    fn new(settings: Settings) -> anyhow::Result<(Self, mpsc::UnboundedReceiver<Input>)> {
        let (inputs, received) = mpsc::unbounded_channel();
        let binding = settings.binding.as_ref().map(|binding| Binding {
            serial: binding.card.serial.clone(),
            public_key: *binding.card.public_key.as_bytes(),
            id: KeyId::OpenPgp,
            source: KeySource::Held,
        });
        let config = Config {
            binding,
            access: Access::Pcsc,
            pin: PinLife::Ask,
            after_use: AfterUse::Keep,
            allow_factory_pin: true,
        };
        let vault = Box::new(HeapVault::default());
        let card_events = inputs.clone();
        let cards = sluss_card::start(config, vault, move |event| {
            drop(card_events.send(Input::Card(event)))
        })
        .context("the card worker cannot start")?;
        let (host, host_worker) = host_worker::start(Host::open()?, inputs.clone());
        let daemon = Self {
            engine: Engine::new(settings.policy.clone(), settings.policy_files.clone()),
            settings,
            inputs,
            cards,
            tunnel: None,
            host,
            host_worker,
            probe: None,
            calls: HashMap::new(),
            last_call: 0,
            monitors: Vec::new(),
        };
        Ok((daemon, received))
    }

    /// Remembers the way back to the caller.
    fn admit(&mut self, incoming: Incoming) -> Input {
        self.last_call += 1;
        let call = CallId(self.last_call);
        self.calls.insert(call, incoming.answer);
        Input::Called {
            call,
            request: incoming.request,
        }
    }

    fn turn(&mut self, input: Input) {
        let effects = self.engine.handle(input, now());
        for effect in effects {
            self.carry_out(effect);
        }
        self.tell_monitors();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Probe {
                op,
                links,
                deadline,
            } => self.probe(op, links, deadline),
            Effect::CancelProbe { op } => {
                if let Some((_, probe)) = self.probe.take_if(|(running, _)| *running == op) {
                    probe.abort();
                }
            }
            Effect::Card {
                op,
                command,
                timeout,
            } => self.cards.send(op, command, timeout),
            Effect::StartTunnel { op } => self.start_tunnel(op),
            Effect::StopTunnel { op } => {
                if let Some(running) = self.tunnel.take() {
                    running.stop();
                }
                self.input(Input::TunnelStopped { op });
            }
            Effect::DiscardTunnel { op } => {
                if let Some(running) = self.tunnel.take_if(|running| running.op() == op) {
                    running.stop();
                }
            }
            Effect::Tunnel(order) => {
                if let Some(running) = &self.tunnel {
                    running.order(order);
                }
            }
            Effect::ApplyHost { op, mode } => drop(self.host.send((op, self.host_config(mode)))),
            Effect::LockSession => drop(tokio::spawn(async {
                match logind::lock_session().await {
                    Ok(true) => info!("the session is locked"),
                    Ok(false) => warn!("there is no session to lock"),
                    Err(error) => warn!(%error, "the session cannot be locked"),
                }
            })),
            Effect::Answer { call, response } => {
                if let Some(answer) = self.calls.remove(&call) {
                    answer.send(*response);
                }
            }
            Effect::Status { call } => {
                let status = Response::Status(self.status());
                if let Some(answer) = self.calls.remove(&call) {
                    answer.send(status);
                }
            }
            Effect::Why { call } => {
                let why = Response::Why(self.status().why());
                if let Some(answer) = self.calls.remove(&call) {
                    answer.send(why);
                }
            }
            Effect::Monitor { call } => {
                if let Some(answer) = self.calls.remove(&call) {
                    self.monitors.push(Monitor { answer, seen: None });
                }
            }
            // It stays among the calls, and so open.
            Effect::Agent { call: _ } => {}
        }
    }

    fn start_tunnel(&mut self, op: Op) {
        let started = Running::start(
            op,
            &self.settings.policy,
            self.settings.binding.as_ref(),
            Stamp::in_state_dir(&self.settings.state_dir),
            self.inputs.clone(),
        );
        match started {
            Ok(running) => {
                self.tunnel = Some(running);
                self.input(Input::TunnelStarted { op });
            }
            Err(why) => self.input(Input::TunnelStartFailed { op, why }),
        }
    }

    fn probe(&mut self, op: Op, links: Vec<sup::Link>, deadline: sup::Time) {
        let beacons = self.settings.policy.beacons.clone();
        // The deadline is when the supervisor gives up on us; the policy says how long beacons may take.
        let patience = self
            .settings
            .policy
            .timing
            .probe_timeout
            .min(deadline.since(now()));
        let inputs = self.inputs.clone();
        let task = tokio::spawn(async move {
            let evidence = probe::evidence(beacons, links, patience).await;
            drop(inputs.send(Input::ProbeFinished { op, evidence }));
        });
        self.probe = Some((op, task.abort_handle()));
    }

    fn host_config(&self, mode: HostMode) -> HostConfig {
        HostConfig {
            mode,
            internal: self.settings.policy.internal.clone(),
            tun: TunConfig {
                name: TunConfig::NAME.to_owned(),
                addresses: self
                    .settings
                    .binding
                    .as_ref()
                    .map_or_else(Vec::new, |binding| binding.addresses.clone()),
                mtu: self.settings.policy.tunnel.mtu,
            },
        }
    }

    fn status(&self) -> Status {
        let now = now();
        let figures = self
            .tunnel
            .as_ref()
            .map_or_else(Figures::default, |running| running.figures(now));
        self.engine.status(figures, now)
    }

    fn tell_monitors(&mut self) {
        if self.monitors.is_empty() {
            return;
        }
        let status = self.status();
        let unix_ms = u64::try_from(clock::wall().as_millis()).unwrap_or(u64::MAX);
        self.monitors.retain_mut(|monitor| {
            let changes = status.changes(monitor.seen.as_ref(), unix_ms);
            monitor.seen = Some(status.clone());
            // A monitor that has gone would stay for ever on a quiet day.
            !monitor.answer.is_closed()
                && changes
                    .into_iter()
                    .all(|change| monitor.answer.send(Response::Change(change)))
        });
    }

    /// What a worker that answers at once has to say: taken up in the next turn, as if it had come from outside.
    fn input(&self, input: Input) {
        // Our own receiver lives as long as the loop.
        drop(self.inputs.send(input));
    }

    /// Ends with nothing open: tunnel down, keys wiped, internal prefixes closed.
    async fn close(mut self) {
        if let Some(running) = self.tunnel.take() {
            running.stop();
        }
        drop(
            self.host
                .send((Op::from_number(0), self.host_config(HostMode::Closed))),
        );
        drop(self.host);
        let _ = tokio::time::timeout(Duration::from_secs(5), self.host_worker).await;
        self.cards.stop();
    }
}

fn now() -> sup::Time {
    sup::Time::since_boot(clock::boottime())
}
