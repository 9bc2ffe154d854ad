//! The one loop: waits for anything to happen, asks the engine, and does what it says.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use sluss_card::Cards;
use sluss_ipc::enroll::Order;
use sluss_ipc::server::{self, Answer, Incoming, Listener};
use sluss_ipc::{Peer, Refusal, Request, Response, Role, Status};
use sluss_platform::links::Watcher;
use sluss_platform::logind::{self, ActiveUser, Delay, SessionEvent};
use sluss_platform::secret::Kind;
use sluss_platform::{Host, HostConfig, TunConfig, clock};
use sluss_policy::{DeviceBinding, Policy};
use sluss_supervisor::{self as sup, HostMode, HostRules, LossReason, Op};
use sluss_wg::wipe_stack;
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::agents::Agents;
use crate::binding;
use crate::card_config;
use crate::engine::{CallId, Effect, Engine, Figures, Input};
use crate::enrolment::{self, Desk, Outcome};
use crate::host_worker;
use crate::inquiries::Inquiries;
use crate::reach_worker;
use crate::resolver::Resolver;
use crate::tunnel::{Running, Stamp};
use crate::vault::HostVault;
use crate::visitor;

/// How many calls wait while the loop is busy; a caller beyond that waits in its own connection.
const CALLS: usize = 16;

/// What the daemon is started with.
#[derive(Clone)]
pub struct Settings {
    pub policy: Policy,
    /// Where the policy came from, for people.
    pub policy_files: Vec<String>,
    /// None until the laptop is enrolled. Without its preshared key, which is read when it is used.
    pub binding: Option<DeviceBinding>,
    pub state_dir: PathBuf,
    pub socket: PathBuf,
    /// Where the network's resolvers stand if no service knows them.
    pub resolv_conf: PathBuf,
    /// Where a PIN and an unwrapped key are kept; None: the best that this kernel has.
    pub memory: Option<Kind>,
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
    listen(&settings, active.clone(), calls)?;
    let (enrolments, mut enrolled) = mpsc::unbounded_channel();
    let mut daemon = Daemon::new(settings, active, enrolments)?;
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
            Some(input) = daemon.happened.recv() => input,
            changed = links.changed() => Input::LinksChanged(changed.context("network links cannot be watched")?),
            Some(event) = sessions.recv() => match daemon.session(event) {
                Some(input) => input,
                None => continue,
            },
            rang = alarm.rang() => { rang?; Input::Tick }
            Some(incoming) = called.recv() => daemon.admit(incoming),
            Some(enrolment) = enrolled.recv() => {
                daemon.enrolled(enrolment).await?;
                // A preshared key was in it.
                wipe_stack();
                continue;
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        daemon.turn(input);
        // Secrets on their way between card, call and tunnel have passed through.
        wipe_stack();
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
    happened: mpsc::UnboundedReceiver<Input>,
    cards: Cards,
    tunnel: Option<Running>,
    host: mpsc::UnboundedSender<host_worker::Order>,
    host_worker: JoinHandle<()>,
    reach: mpsc::UnboundedSender<bool>,
    reach_worker: JoinHandle<()>,
    inquiries: Inquiries,
    calls: HashMap<CallId, Answer>,
    last_call: u64,
    monitors: Vec<Monitor>,
    agents: Agents,
    /// Who is at the screen.
    active: ActiveUser,
    /// Holds up the sleep that comes.
    delay: Option<Delay>,
    /// As they were told last.
    links: Vec<sup::Link>,
    enrolments: mpsc::UnboundedSender<Enrolment>,
    enrolling: bool,
}

/// What came of a call that looked for cards, or bound one.
struct Enrolment {
    call: CallId,
    outcome: Outcome,
}

/// A call that is told of every change.
struct Monitor {
    answer: Answer,
    seen: Option<Status>,
}

impl Daemon {
    fn new(
        settings: Settings,
        active: ActiveUser,
        enrolments: mpsc::UnboundedSender<Enrolment>,
    ) -> anyhow::Result<Self> {
        let (inputs, happened) = mpsc::unbounded_channel();
        let resolver = Resolver {
            internal: settings.policy.internal.clone(),
            resolv_conf: settings.resolv_conf.clone(),
        };
        let inquiries = Inquiries::new(settings.policy.clone(), resolver, inputs.clone());
        let (host, host_worker) = host_worker::start(Host::open()?, inputs.clone());
        let (reach, reach_worker) = reach_worker::start();
        // A daemon that was killed has left it as it was.
        let _ = reach.send(false);
        Ok(Self {
            engine: Engine::new(settings.policy.clone(), settings.policy_files.clone()),
            cards: cards(&settings, &inputs)?,
            settings,
            inputs,
            happened,
            tunnel: None,
            host,
            host_worker,
            reach,
            reach_worker,
            inquiries,
            calls: HashMap::new(),
            last_call: 0,
            monitors: Vec::new(),
            agents: Agents::default(),
            active,
            delay: None,
            links: Vec::new(),
            enrolments,
            enrolling: false,
        })
    }

    /// What logind says, as far as the engine should know.
    fn session(&mut self, event: SessionEvent) -> Option<Input> {
        match event {
            SessionEvent::Suspending(delay) => {
                self.delay = Some(delay);
                Some(Input::Suspending)
            }
            SessionEvent::Resumed => Some(Input::Resumed),
            SessionEvent::ScreenLocked => Some(Input::SessionLocked),
            SessionEvent::UserChanged { left } => {
                self.agents.change_user(self.active.uid());
                left.then_some(Input::SessionLocked)
            }
        }
    }

    /// Remembers the way back to the caller.
    fn admit(&mut self, incoming: Incoming) -> Input {
        self.last_call += 1;
        let call = CallId(self.last_call);
        self.calls.insert(call, incoming.answer);
        match incoming.request {
            Request::Portal { renew } => Input::PortalCalled {
                call,
                visitor: visitor::of(incoming.peer),
                renew,
            },
            request => Input::Called { call, request },
        }
    }

    fn turn(&mut self, input: Input) {
        if let Input::LinksChanged(links) = &input {
            self.links.clone_from(links);
        }
        let effects = self.engine.handle(input, now());
        for effect in effects {
            self.carry_out(effect);
        }
        self.tell();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Probe {
                op,
                links,
                deadline,
            } => self.inquiries.ask_beacons(op, links, deadline, now()),
            Effect::CancelProbe { op } => self.inquiries.cancel_beacons(op),
            Effect::CheckPortal {
                op,
                links,
                deadline,
            } => self.inquiries.look_for_portal(op, links, deadline, now()),
            Effect::CancelPortalCheck { op } => self.inquiries.cancel_portal(op),
            Effect::Resolve { links } => self.inquiries.look_for_gateway(links),
            Effect::Card {
                op,
                command,
                timeout,
            } => self.cards.send(op, command, timeout),
            Effect::StartTunnel { op } => self.start_tunnel(op),
            Effect::StopTunnel { op } => {
                self.inquiries.cancel_gateway();
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
            Effect::ResizeTunnel { op, mtu } => {
                let running = self.tunnel.as_mut().filter(|running| running.op() == op);
                if running.is_some_and(|running| running.resize(mtu)) {
                    let _ = self.host.send(host_worker::Order::Resize(mtu));
                }
            }
            Effect::Tunnel(order) => {
                if let Some(running) = &self.tunnel {
                    running.order(order);
                }
            }
            Effect::ApplyHost { op, rules } => self.apply_host(op, rules),
            Effect::LockSession => drop(tokio::spawn(async {
                match logind::lock_session().await {
                    Ok(true) => info!("the session is locked"),
                    Ok(false) => warn!("there is no session to lock"),
                    Err(error) => warn!(%error, "the session cannot be locked"),
                }
            })),
            Effect::Answer { call, response } => self.answer(call, *response),
            Effect::Status { call } => {
                let status = Response::Status(self.status());
                self.answer(call, status);
            }
            Effect::Why { call } => {
                let why = Response::Why(self.status().why());
                self.answer(call, why);
            }
            Effect::Observe {
                call,
                links,
                reached,
            } => self.inquiries.observe(call, links, reached),
            Effect::Diagnosis { call, observed } => {
                let enrolled = self.settings.binding.is_some();
                let diagnosis = self
                    .engine
                    .diagnosis(&observed, enrolled, self.figures(), now());
                self.answer(call, Response::Diagnosis(diagnosis));
            }
            Effect::Monitor { call } => {
                if let Some(answer) = self.calls.remove(&call) {
                    self.monitors.push(Monitor { answer, seen: None });
                }
            }
            Effect::Agent { call } => {
                if let Some(answer) = self.calls.remove(&call) {
                    self.agents.admit(answer, self.active.uid());
                }
            }
            Effect::Prompt(prompt) => self.agents.prompt(prompt, self.active.uid()),
            Effect::WithdrawPrompt { id } => self.agents.withdraw(id),
            Effect::ReadyToSleep => self.delay = None,
            Effect::Reachable(reachable) => {
                let _ = self.reach.send(reachable);
            }
            Effect::Survey { call } => self.enroll(call, None),
            Effect::Enroll { call, order } => self.enroll(call, Some(order)),
        }
    }

    fn start_tunnel(&mut self, op: Op) {
        match self.run_tunnel(op) {
            Ok(running) => {
                self.tunnel = Some(running);
                self.input(Input::TunnelStarted { op });
            }
            Err(why) => self.input(Input::TunnelStartFailed { op, why }),
        }
    }

    fn run_tunnel(&self, op: Op) -> Result<Running, LossReason> {
        let binding = self.settings.binding.as_ref().ok_or(LossReason::Binding)?;
        let preshared_key = binding::preshared_key(&self.settings.state_dir).map_err(|error| {
            warn!("the binding cannot be read: {error:#}");
            LossReason::Binding
        })?;
        Running::start(
            op,
            &self.settings.policy,
            binding,
            preshared_key,
            Stamp::in_state_dir(&self.settings.state_dir),
            self.inputs.clone(),
        )
    }

    fn host_config(&self, rules: HostRules) -> HostConfig {
        HostConfig {
            rules,
            // The worker asks for them.
            resolvers: Vec::new(),
            internal: self.settings.policy.internal.clone(),
            tun: TunConfig {
                name: TunConfig::NAME.to_owned(),
                addresses: self
                    .settings
                    .binding
                    .as_ref()
                    .map_or_else(Vec::new, |binding| binding.addresses.clone()),
                mtu: self
                    .tunnel
                    .as_ref()
                    .map_or(self.settings.policy.tunnel.mtu, Running::mtu),
            },
        }
    }

    fn apply_host(&self, op: Op, rules: HostRules) {
        let order = host_worker::Order::Apply(op, Box::new(self.host_config(rules)));
        // Its receiver ends with us.
        let _ = self.host.send(order);
    }

    fn figures(&self) -> Figures {
        let running = self.tunnel.as_ref();
        running.map_or_else(Figures::default, |running| running.figures(now()))
    }

    fn status(&self) -> Status {
        self.engine.status(self.figures(), now())
    }

    /// Tells monitors and agents what is new.
    fn tell(&mut self) {
        if self.monitors.is_empty() && self.agents.is_empty() {
            return;
        }
        let status = self.status();
        self.agents.tell(&status, self.active.uid());
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

    /// Has somebody else wait for the cards.
    fn enroll(&mut self, call: CallId, order: Option<Box<Order>>) {
        let refused = |refusal| Outcome {
            response: Response::Refused(refusal),
            binding: None,
        };
        if std::mem::replace(&mut self.enrolling, true) {
            return self.answer(call, Response::Refused(Refusal::Busy));
        }
        let mut desk = Desk {
            rules: self.settings.policy.card.clone(),
            bound: self.settings.binding.clone(),
            state_dir: self.settings.state_dir.clone(),
        };
        let (outcome, awaited) = oneshot::channel();
        // A card may keep it for ever: a thread that the daemon does not wait for.
        std::thread::spawn(move || {
            if let Some(bound) = &mut desk.bound {
                let read = binding::preshared_key(&desk.state_dir);
                let read =
                    read.inspect_err(|error| warn!("no preshared key is carried over: {error:#}"));
                bound.preshared_key = read.ok().flatten();
            }
            drop(outcome.send(match order {
                Some(order) => desk.enroll(*order),
                None => desk.survey(),
            }));
        });
        let enrolments = self.enrolments.clone();
        tokio::spawn(async move {
            let outcome = match tokio::time::timeout(enrolment::PATIENCE, awaited).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => refused(Refusal::CardFailed),
                Err(_) => refused(Refusal::CardTimeout),
            };
            drop(enrolments.send(Enrolment { call, outcome }));
        });
    }

    async fn enrolled(&mut self, Enrolment { call, outcome }: Enrolment) -> anyhow::Result<()> {
        self.enrolling = false;
        let answer = self.calls.remove(&call);
        if let Some(binding) = outcome.binding {
            self.start_over(binding).await?;
        }
        if let Some(answer) = answer {
            answer.send(outcome.response);
        }
        Ok(())
    }

    /// Goes on as if it had just started, with this binding. Who was answered half-way is hung up on.
    async fn start_over(&mut self, binding: DeviceBinding) -> anyhow::Result<()> {
        let settings = Settings {
            binding: Some(DeviceBinding {
                preshared_key: None,
                ..binding
            }),
            ..self.settings.clone()
        };
        let next = Self::new(settings, self.active.clone(), self.enrolments.clone())?;
        let mut before = std::mem::replace(self, next);
        self.last_call = before.last_call;
        self.links = std::mem::take(&mut before.links);
        self.monitors = std::mem::take(&mut before.monitors);
        self.agents = std::mem::take(&mut before.agents);
        self.agents.withdraw_all();
        before.close().await;
        self.turn(Input::LinksChanged(self.links.clone()));
        Ok(())
    }

    fn answer(&mut self, call: CallId, response: Response) {
        if let Some(answer) = self.calls.remove(&call) {
            answer.send(response);
        }
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
        let closed = HostRules {
            mode: HostMode::Closed,
            routers: Vec::new(),
            opening: None,
        };
        self.apply_host(Op::from_number(0), closed);
        let _ = self.reach.send(false);
        drop((self.host, self.reach));
        let workers = async { tokio::join!(self.host_worker, self.reach_worker) };
        let _ = tokio::time::timeout(Duration::from_secs(5), workers).await;
        self.cards.stop();
    }
}

fn cards(settings: &Settings, inputs: &mpsc::UnboundedSender<Input>) -> anyhow::Result<Cards> {
    let config = card_config::config(&settings.policy.card, settings.binding.as_ref())?;
    let vault = Box::new(HostVault::new(settings.memory));
    let inputs = inputs.clone();
    sluss_card::start(config, vault, move |event| {
        drop(inputs.send(Input::Card(event)))
    })
    .context("the card worker cannot start")
}

fn now() -> sup::Time {
    sup::Time::since_boot(clock::boottime())
}
