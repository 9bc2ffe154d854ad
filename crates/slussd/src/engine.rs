//! The daemon as a calculation: what happened goes in, what is to be done comes out.
//!
//! The engine puts the supervisor, the card and the tunnel together, none of which knows the others. It reads no clock, opens
//! no socket and starts no thread; [`crate::daemon`] does what its [`Effect`]s say and brings back what came of it.
//!
//! ```text
//! links, probes, host ─┐                       ┌─► probe, routes and firewall
//! card events ─────────┼─► Input ─► Effects ───┼─► card commands
//! tunnel events ───────┤                       ├─► tunnel: start, stop, answers to its DH
//! calls of `sluss` ────┘                       └─► answers to calls
//! ```

mod calls;
mod cards;
mod gateway;
mod portal;
mod report;
pub(crate) mod words;

use std::time::Duration;

use sluss_ipc::enroll::Order;
use sluss_ipc::{Prompt, PromptId, Request, Response};
use sluss_policy::Policy;
use sluss_supervisor::{self as sup, Action, Op};
use sluss_wg::DhError;
use tracing::info;

use crate::doctor::Observed;
use crate::resolver::Resolution;
use cards::CardDesk;
pub use report::{Called, Figures};

/// How long the card may take for a PIN: a slow one takes about a second, a busy one waits for another program.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the user may take to type it on the reader; readers give up after about half a minute.
const PIN_PAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Names one call of the command while it waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(pub u64);

/// What happened.
pub enum Input {
    /// The operating system's links as they are now.
    LinksChanged(Vec<sup::Link>),
    ProbeFinished {
        op: Op,
        evidence: Vec<sup::Evidence>,
    },
    PortalChecked {
        op: Op,
        checks: Vec<sup::PortalCheck>,
    },
    Card(sluss_card::Event),
    TunnelStarted {
        op: Op,
    },
    TunnelStartFailed {
        op: Op,
        why: sup::LossReason,
    },
    TunnelStopped {
        op: Op,
    },
    /// From the tunnel that `op` started.
    Tunnel {
        op: Op,
        event: sluss_tunnel::Event,
    },
    /// Its device has another MTU now.
    TunnelResized,
    /// Where the gateway is on the present network.
    GatewayFound(Resolution),
    HostApplied {
        op: Op,
    },
    HostFailed {
        op: Op,
    },
    Suspending,
    Resumed,
    /// The screen was locked, or its user has left: a PIN that was typed for the session before is not for the next.
    SessionLocked,
    /// A call that its caller may make.
    Called {
        call: CallId,
        request: Request,
    },
    /// The call that wants to be let through to a captive portal.
    PortalCalled {
        call: CallId,
        visitor: sup::Visitor,
        renew: bool,
    },
    /// What was asked for the diagnosis that `call` wants has its answers.
    Observed {
        call: CallId,
        observed: Box<Observed>,
    },
    /// The engine's deadline has come.
    Tick,
}

/// What is to be done, in this order.
pub enum Effect {
    Probe {
        op: Op,
        links: Vec<sup::Link>,
        deadline: sup::Time,
    },
    CancelProbe {
        op: Op,
    },
    /// Ask on each of these links for what the policy's `[portal]` says.
    CheckPortal {
        op: Op,
        links: Vec<sup::Link>,
        deadline: sup::Time,
    },
    CancelPortalCheck {
        op: Op,
    },
    /// Find the gateway, by these links. Takes the place of an earlier search.
    Resolve {
        links: Vec<sup::Link>,
    },
    Card {
        op: sluss_card::Op,
        command: sluss_card::Command,
        timeout: Duration,
    },
    StartTunnel {
        op: Op,
    },
    StopTunnel {
        op: Op,
    },
    /// Clean up after the tunnel that `op` started, which has failed.
    DiscardTunnel {
        op: Op,
    },
    /// Give the device of the tunnel that `op` started another MTU.
    ResizeTunnel {
        op: Op,
        mtu: u16,
    },
    /// For the tunnel that runs, if one does.
    Tunnel(TunnelOrder),
    ApplyHost {
        op: Op,
        rules: sup::HostRules,
    },
    /// Lock the session of the user at the screen.
    LockSession,
    Answer {
        call: CallId,
        response: Box<Response>,
    },
    /// Answer with [`Engine::status`], or with what it explains.
    Status {
        call: CallId,
    },
    Why {
        call: CallId,
    },
    /// Ask what only the network can answer on these links; `reached`: whether the internal network is.
    Observe {
        call: CallId,
        links: Vec<sup::Link>,
        reached: bool,
    },
    /// Answer with [`Engine::diagnosis`].
    Diagnosis {
        call: CallId,
        observed: Box<Observed>,
    },
    /// Answer with every change from now on.
    Monitor {
        call: CallId,
    },
    /// Answer with what the user is to be asked and told from now on.
    Agent {
        call: CallId,
    },
    /// Ask the user at the screen for the PIN; takes the place of an earlier prompt.
    Prompt(Prompt),
    WithdrawPrompt {
        id: PromptId,
    },
    /// No secret is left in memory that a sleeping laptop should not have.
    ReadyToSleep,
    /// The internal network is reachable now, or is not any more.
    Reachable(bool),
    /// Answer with the cards and keys that the laptop could be bound to.
    Survey {
        call: CallId,
    },
    /// Bind the laptop to a card and answer with what the gateway's administrator needs.
    Enroll {
        call: CallId,
        order: Box<Order>,
    },
}

/// What a running tunnel is asked.
pub enum TunnelOrder {
    Dh {
        id: sluss_wg::DhId,
        result: Result<sluss_wg::SharedSecret, DhError>,
    },
    /// Send something to the gateway now.
    Kick,
    /// We are on another network: tell the gateway, and see where it answers.
    NetworkChanged,
    /// Where the gateway may be found from now on, the best group first.
    SetEndpoints {
        groups: Vec<Vec<std::net::SocketAddr>>,
    },
    /// WireGuard's persistent keepalive from now on.
    SetKeepalive {
        every: Option<Duration>,
    },
    /// The device's MTU is another.
    Resized,
    ForgetKey,
}

/// Policy, what the supervisor knows, and the questions that are open between the parts.
pub struct Engine {
    policy: Policy,
    /// Where the policy came from, for people.
    policy_files: Vec<String>,
    state: sup::State,
    cards: CardDesk,
    /// The PIN that the card checks, and the call that waits for it.
    unlocking: Option<calls::Unlocking>,
    /// The call that waits to be let through to a captive portal.
    entering: Option<portal::Entering>,
    /// Where the gateway is, if it was looked for.
    found: Option<gateway::Found>,
    /// Whether a diagnosis is being made.
    diagnosing: bool,
    /// What was told last.
    reachable: bool,
}

impl Engine {
    pub fn new(policy: Policy, policy_files: Vec<String>) -> Self {
        Self {
            policy,
            policy_files,
            state: sup::State::new(),
            cards: CardDesk::new(),
            unlocking: None,
            entering: None,
            found: None,
            diagnosing: false,
            reachable: false,
        }
    }

    /// One turn.
    pub fn handle(&mut self, input: Input, now: sup::Time) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::LinksChanged(links) => {
                self.step(sup::Event::LinksChanged(links), now, &mut effects)
            }
            Input::ProbeFinished { op, evidence } => {
                self.step(
                    sup::Event::ProbeFinished { op, evidence },
                    now,
                    &mut effects,
                );
            }
            Input::PortalChecked { op, checks } => {
                self.step(sup::Event::PortalChecked { op, checks }, now, &mut effects);
            }
            Input::Card(event) => self.card_event(event, now, &mut effects),
            Input::TunnelStarted { op } => {
                self.step(sup::Event::TunnelStarted { op }, now, &mut effects)
            }
            Input::TunnelStartFailed { op, why } => {
                self.step(sup::Event::TunnelStartFailed { op, why }, now, &mut effects);
            }
            Input::TunnelStopped { op } => {
                self.step(sup::Event::TunnelStopped { op }, now, &mut effects)
            }
            Input::GatewayFound(resolution) => self.found_gateway(resolution, now, &mut effects),
            Input::TunnelResized => effects.push(Effect::Tunnel(TunnelOrder::Resized)),
            Input::Tunnel { op, event } => self.tunnel_event(op, event, now, &mut effects),
            Input::HostApplied { op } => {
                self.step(sup::Event::HostApplied { op }, now, &mut effects)
            }
            Input::HostFailed { op } => self.step(sup::Event::HostFailed { op }, now, &mut effects),
            Input::Suspending => {
                self.step(sup::Event::Suspending, now, &mut effects);
                effects.push(self.cards.forget(true));
            }
            Input::Resumed => {
                self.step(sup::Event::Resumed, now, &mut effects);
                // The card may have lost power, and its verified state, without anybody saying so.
                effects.push(self.cards.refresh());
            }
            Input::SessionLocked => {
                self.step(sup::Event::SessionLocked, now, &mut effects);
                effects.push(self.cards.forget(false));
                // A card that still answers will do without what was wiped.
                effects.push(self.cards.refresh());
            }
            Input::Called { call, request } => self.called(call, request, now, &mut effects),
            Input::PortalCalled {
                call,
                visitor,
                renew,
            } => self.portal_called(call, visitor, renew, now, &mut effects),
            Input::Observed { call, observed } => {
                self.diagnosing = false;
                effects.push(Effect::Diagnosis { call, observed });
            }
            Input::Tick => self.step(sup::Event::Tick, now, &mut effects),
        }
        self.answer_entering(now, &mut effects);
        let reachable = self.reaches_internal();
        if std::mem::replace(&mut self.reachable, reachable) != reachable {
            effects.push(Effect::Reachable(reachable));
        }
        effects
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline(&self) -> Option<sup::Deadline> {
        self.state.deadline(&self.policy)
    }

    /// What the supervisor knows.
    pub fn state(&self) -> &sup::State {
        &self.state
    }

    /// Whether internal hosts can be reached. A gateway that misses a handshake or two is no reason to unmount drives.
    fn reaches_internal(&self) -> bool {
        match &self.state.tunnel {
            sup::Tunnel::Up { session, .. } => match session {
                sup::Session::Established => true,
                sup::Session::Awaited { .. } => self.reachable,
            },
            sup::Tunnel::Down { .. }
            | sup::Tunnel::Starting { .. }
            | sup::Tunnel::Stopping { .. } => {
                let applied = match &self.state.host {
                    sup::Host::Applied(rules) => Some(&rules.mode),
                    sup::Host::Unknown | sup::Host::Applying { .. } | sup::Host::Failed { .. } => {
                        None
                    }
                };
                matches!(applied, Some(sup::HostMode::Inside { .. }))
            }
        }
    }

    /// Tells the supervisor, and turns its actions into effects.
    fn step(&mut self, event: sup::Event, now: sup::Time, effects: &mut Vec<Effect>) {
        let before = std::mem::take(&mut self.state);
        let told = (before.location.clone(), before.tunnel.clone());
        let (state, actions) = sup::step(&self.policy, before, event, now);
        self.state = state;
        if told.0 != self.state.location {
            info!(location = ?self.state.location, "location");
        }
        if told.1 != self.state.tunnel {
            info!(tunnel = ?self.state.tunnel, "tunnel");
        }
        for action in actions {
            self.act(action, effects);
        }
    }

    fn act(&mut self, action: Action, effects: &mut Vec<Effect>) {
        match action {
            Action::Probe {
                op,
                links,
                deadline,
            } => effects.push(Effect::Probe {
                op,
                links,
                deadline,
            }),
            Action::CancelProbe { op } => effects.push(Effect::CancelProbe { op }),
            Action::CheckPortal {
                op,
                links,
                deadline,
            } => effects.push(Effect::CheckPortal {
                op,
                links,
                deadline,
            }),
            Action::CancelPortalCheck { op } => effects.push(Effect::CancelPortalCheck { op }),
            Action::AskPin { op } => effects.extend(self.prompt(op).map(Effect::Prompt)),
            Action::CancelPin { op } => effects.push(Effect::WithdrawPrompt {
                id: PromptId(op.number()),
            }),
            Action::VerifyPin {
                op,
                last_try_consented,
            } => self.verify_pin(op, last_try_consented, effects),
            Action::DiscardPin => self.discard_pin(effects),
            Action::LockSession => effects.push(Effect::LockSession),
            Action::LockCard => effects.push(self.cards.lock()),
            Action::ForgetKeys => {
                self.cards.forget_requests();
                effects.push(Effect::Tunnel(TunnelOrder::ForgetKey));
            }
            Action::StartTunnel { op } => {
                effects.push(Effect::StartTunnel { op });
                self.look_for_gateway(effects);
            }
            Action::StopTunnel { op } => effects.push(Effect::StopTunnel { op }),
            Action::RefreshTunnel { after } => match after {
                sup::Change::Key => effects.push(Effect::Tunnel(TunnelOrder::Kick)),
                sup::Change::Place => {
                    effects.push(Effect::Tunnel(TunnelOrder::NetworkChanged));
                    self.look_for_gateway(effects);
                }
            },
            Action::SetKeepalive { every } => {
                effects.push(Effect::Tunnel(TunnelOrder::SetKeepalive { every }));
            }
            Action::ApplyHost { op, rules } => effects.push(Effect::ApplyHost { op, rules }),
        }
    }

    fn tunnel_event(
        &mut self,
        op: Op,
        event: sluss_tunnel::Event,
        now: sup::Time,
        effects: &mut Vec<Effect>,
    ) {
        use sluss_tunnel::Event;
        match event {
            Event::DhWanted { id, with, deadline } => {
                let timeout = deadline
                    .elapsed_since_boot()
                    .saturating_sub(now.as_duration());
                effects.push(match self.state.key {
                    sup::Key::Unlocked(_) => self.cards.dh(id, with, timeout),
                    // Not asked: it would refuse, and some cards take long to say so. It is told again when unlocked.
                    sup::Key::Absent
                    | sup::Key::Away { .. }
                    | sup::Key::Unusable(_)
                    | sup::Key::Locked(_)
                    | sup::Key::AwaitingPin { .. }
                    | sup::Key::Declined { .. }
                    | sup::Key::Withdrawn(_)
                    | sup::Key::Verifying { .. }
                    | sup::Key::Blocked(_) => Effect::Tunnel(TunnelOrder::Dh {
                        id,
                        result: Err(DhError::Unavailable),
                    }),
                });
            }
            // Written down before it came here: the initiation that bears the stamp does not wait for the loop.
            Event::StampReserved { .. } => {}
            Event::Peer(event) => self.peer_event(op, event, now, effects),
            Event::PathMtu(path) => {
                info!(mtu = path.mtu, verdict = ?path.verdict, "the path to the gateway");
                effects.push(Effect::ResizeTunnel { op, mtu: path.mtu });
            }
            Event::Failed(error) => {
                info!(%error, "the tunnel failed");
                let why = match error {
                    sluss_tunnel::Error::TunGone(_) => sup::LossReason::Device,
                    sluss_tunnel::Error::Wait(_)
                    | sluss_tunnel::Error::Thread(_)
                    | sluss_tunnel::Error::Panicked => sup::LossReason::Internal,
                };
                effects.push(Effect::DiscardTunnel { op });
                self.step(sup::Event::TunnelLost { op, why }, now, effects);
            }
        }
    }

    fn peer_event(
        &mut self,
        op: Op,
        event: sluss_wg::Event,
        now: sup::Time,
        effects: &mut Vec<Effect>,
    ) {
        use sluss_wg::Event;
        match event {
            Event::SessionEstablished { .. } => {
                self.step(sup::Event::SessionEstablished { op }, now, effects)
            }
            Event::HandshakeUnanswered { attempts, .. } => {
                self.missed_gateway(attempts, effects);
                self.step(
                    sup::Event::HandshakeUnanswered { op, attempts },
                    now,
                    effects,
                );
            }
            // The user still wants in: WireGuard would wait for the next packet, and a person sees a dead tunnel. Without
            // a network or the key it would be in vain; when they are back, the supervisor has it tried again.
            Event::GaveUp { .. } => {
                let place = self.state.location.outside_since().is_some()
                    || self.state.calls_for_tunnel(&self.policy);
                let hopeful = place && matches!(self.state.key, sup::Key::Unlocked(_));
                effects.extend(hopeful.then_some(Effect::Tunnel(TunnelOrder::Kick)));
            }
            Event::EndpointChanged { endpoint, .. } => {
                info!(%endpoint, "the gateway answers from another address")
            }
            Event::Forgotten { .. } => {}
        }
    }
}
