//! The calls of the command: what each asks of the engine, and what it is answered.

use sluss_card::{Command, Error, Pin, PinEntry};
use sluss_ipc::{PromptId, Refusal, Request, Response};
use sluss_supervisor::{self as sup, PinSource};
use zeroize::Zeroizing;

use super::{CallId, Effect, Engine, PIN_PAD_TIMEOUT, VERIFY_TIMEOUT, report, words};

/// A PIN that was brought, until the card has answered it.
pub(super) struct Unlocking {
    /// Who waits for what comes of it; nobody if it was typed at login.
    call: Option<CallId>,
    /// Until it is given to the card.
    pin: Option<PinEntry>,
}

impl Engine {
    pub(super) fn called(
        &mut self,
        call: CallId,
        request: Request,
        now: sup::Time,
        effects: &mut Vec<Effect>,
    ) {
        let response = match request {
            Request::Status => return effects.push(Effect::Status { call }),
            Request::Why => return effects.push(Effect::Why { call }),
            Request::Monitor => return effects.push(Effect::Monitor { call }),
            Request::Agent => return effects.push(Effect::Agent { call }),
            Request::Survey => return effects.push(Effect::Survey { call }),
            Request::Enroll(order) => return effects.push(Effect::Enroll { call, order }),
            Request::Doctor if std::mem::replace(&mut self.diagnosing, true) => {
                Response::Refused(Refusal::Busy)
            }
            Request::Doctor => {
                return effects.push(Effect::Observe {
                    call,
                    links: self.state.links.clone(),
                    reached: self.reaches_internal(),
                });
            }
            // It comes with who asks, as an input of its own.
            Request::Portal { renew: _ } => Response::Refused(Refusal::NoPortal),
            Request::Card => Response::Card(self.card_report()),
            Request::Policy => Response::Policy(self.policy_report()),
            Request::Up => {
                self.step(sup::Event::UserUp, now, effects);
                Response::Done
            }
            Request::Down if !self.policy.user.may_disconnect => {
                Response::Refused(Refusal::ByPolicy)
            }
            Request::Down => {
                self.step(sup::Event::UserDown, now, effects);
                Response::Done
            }
            Request::Lock => {
                self.step(sup::Event::LockRequested, now, effects);
                Response::Done
            }
            Request::Decline {
                prompt: PromptId(prompt),
            } => {
                let op = sup::Op::from_number(prompt);
                self.step(sup::Event::PinDeclined { op }, now, effects);
                Response::Done
            }
            Request::Unlock { pin, last_try } => {
                return self.unlock(call, pin.as_ref(), last_try, now, effects);
            }
            Request::HandOver { pin, uid: _ } => {
                self.handed_over(&pin, now, effects);
                let wait = self.policy.login.wait;
                Response::HandedOver {
                    wait_ms: wait.map(report::millis),
                }
            }
        };
        effects.push(answer(call, response));
    }

    fn unlock(
        &mut self,
        call: CallId,
        pin: Option<&sluss_ipc::Pin>,
        last_try: bool,
        now: sup::Time,
        effects: &mut Vec<Effect>,
    ) {
        if self.unlocking.is_some() {
            effects.push(answer(call, Response::Refused(Refusal::Busy)));
            return;
        }
        if matches!(self.state.key, sup::Key::Unlocked(_)) {
            effects.push(answer(call, Response::Done));
            return;
        }
        let pin = match pin.map(typed) {
            Some(Some(pin)) => pin,
            Some(None) => {
                effects.push(answer(call, Response::Refused(Refusal::PinFormat)));
                return;
            }
            None => PinEntry::OnPad,
        };
        let source = match pin {
            PinEntry::Typed(_) => PinSource::User,
            PinEntry::OnPad => PinSource::Pad,
        };
        self.unlocking = Some(Unlocking {
            call: Some(call),
            pin: Some(pin),
        });
        let offered = sup::Event::PinOffered {
            source,
            last_try_consented: last_try,
        };
        self.step(offered, now, effects);
    }

    /// A PIN that was typed at login is tried if it cannot do harm, and nobody hears what came of it.
    fn handed_over(&mut self, pin: &sluss_ipc::Pin, now: sup::Time, effects: &mut Vec<Effect>) {
        if !self.policy.login.hand_over || self.unlocking.is_some() {
            return;
        }
        let Some(pin) = typed(pin) else {
            return;
        };
        self.unlocking = Some(Unlocking {
            call: None,
            pin: Some(pin),
        });
        let offered = sup::Event::PinOffered {
            source: PinSource::Login,
            last_try_consented: false,
        };
        self.step(offered, now, effects);
    }

    pub(super) fn verify_pin(
        &mut self,
        op: sup::Op,
        last_try_consented: bool,
        effects: &mut Vec<Effect>,
    ) {
        let pin = self
            .unlocking
            .as_mut()
            .and_then(|unlocking| unlocking.pin.take());
        let (Some(pin), Some(card)) = (pin, self.state.key.card()) else {
            return;
        };
        let timeout = match pin {
            PinEntry::Typed(_) => VERIFY_TIMEOUT,
            PinEntry::OnPad => PIN_PAD_TIMEOUT,
        };
        let command = Command::Verify {
            serial: card.serial.clone(),
            pin,
            last_try_consented,
        };
        effects.push(self.cards.verify(op, command, timeout));
    }

    /// The supervisor has no use for the PIN now; the key's state says why.
    pub(super) fn discard_pin(&mut self, effects: &mut Vec<Effect>) {
        let refusal = match &self.state.key {
            sup::Key::Absent | sup::Key::Away { .. } => Refusal::NoCard,
            sup::Key::Unusable(fault) => Refusal::CardUnusable {
                fault: words::card_fault(*fault),
            },
            sup::Key::Blocked(_) => Refusal::PinBlocked,
            sup::Key::Locked(_)
            | sup::Key::AwaitingPin { .. }
            | sup::Key::Declined { .. }
            | sup::Key::Withdrawn(_)
            | sup::Key::Verifying { .. }
            | sup::Key::Unlocked(_) => Refusal::Busy,
        };
        self.finish_unlocking(Response::Refused(refusal), effects);
    }

    pub(super) fn answer_unlock(&mut self, result: &Result<(), Error>, effects: &mut Vec<Effect>) {
        let response = match result {
            Ok(()) => Response::Done,
            Err(error) => Response::Refused(words::refusal(error)),
        };
        self.finish_unlocking(response, effects);
    }

    fn finish_unlocking(&mut self, response: Response, effects: &mut Vec<Effect>) {
        let waiting = self.unlocking.take().and_then(|unlocking| unlocking.call);
        effects.extend(waiting.map(|call| answer(call, response)));
    }
}

/// None if it cannot be the PIN of any card.
fn typed(pin: &sluss_ipc::Pin) -> Option<PinEntry> {
    let pin = Pin::new(Zeroizing::new(pin.bytes().to_vec())).ok()?;
    Some(PinEntry::Typed(pin))
}

pub(super) fn answer(call: CallId, response: Response) -> Effect {
    Effect::Answer {
        call,
        response: Box::new(response),
    }
}
