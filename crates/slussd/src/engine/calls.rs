//! The calls of the command: what each asks of the engine, and what it is answered.

use sluss_card::{Command, Error, Pin, PinEntry};
use sluss_ipc::{Refusal, Request, Response};
use sluss_supervisor as sup;
use zeroize::Zeroizing;

use super::{CallId, Effect, Engine, VERIFY_TIMEOUT, report};

/// A call that brought a PIN, until the card has answered it.
pub(super) struct Unlocking {
    call: CallId,
    /// Until it is given to the card.
    pin: Option<Pin>,
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
            Request::Unlock {
                pin: Some(pin),
                last_try,
            } => {
                return self.unlock(call, &pin, last_try, now, effects);
            }
            Request::Unlock { pin: None, .. } => Response::Refused(Refusal::NoPinPad),
            // Nobody is prompted yet: the agent waits, and what it declines is not open.
            Request::Agent => return effects.push(Effect::Agent { call }),
            Request::Decline { prompt: _ } => Response::Done,
            Request::HandOver { pin: _, uid: _ } => Response::HandedOver { wait_ms: None },
            // Enrolment is not built into the daemon yet.
            Request::Survey | Request::Enroll(_) => Response::Refused(Refusal::NoCard),
        };
        effects.push(answer(call, response));
    }

    fn unlock(
        &mut self,
        call: CallId,
        pin: &sluss_ipc::Pin,
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
        let Ok(pin) = Pin::new(Zeroizing::new(pin.bytes().to_vec())) else {
            effects.push(answer(call, Response::Refused(Refusal::PinFormat)));
            return;
        };
        self.unlocking = Some(Unlocking {
            call,
            pin: Some(pin),
        });
        self.step(
            sup::Event::PinOffered {
                source: sup::PinSource::User,
                last_try_consented: last_try,
            },
            now,
            effects,
        );
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
        let command = Command::Verify {
            serial: card.serial.clone(),
            pin: PinEntry::Typed(pin),
            last_try_consented,
        };
        effects.push(self.cards.verify(op, command, VERIFY_TIMEOUT));
    }

    /// The supervisor has no use for the PIN now; the key's state says why.
    pub(super) fn discard_pin(&mut self, effects: &mut Vec<Effect>) {
        let Some(unlocking) = self.unlocking.take() else {
            return;
        };
        let refusal = match &self.state.key {
            sup::Key::Absent | sup::Key::Away { .. } => Refusal::NoCard,
            sup::Key::Unusable(fault) => Refusal::CardUnusable {
                fault: report::card_fault(*fault),
            },
            sup::Key::Blocked(_) => Refusal::PinBlocked,
            sup::Key::Locked(_)
            | sup::Key::AwaitingPin { .. }
            | sup::Key::Declined { .. }
            | sup::Key::Withdrawn(_)
            | sup::Key::Verifying { .. }
            | sup::Key::Unlocked(_) => Refusal::Busy,
        };
        effects.push(answer(unlocking.call, Response::Refused(refusal)));
    }

    pub(super) fn answer_unlock(&mut self, result: &Result<(), Error>, effects: &mut Vec<Effect>) {
        let Some(unlocking) = self.unlocking.take() else {
            return;
        };
        let response = match result {
            Ok(()) => Response::Done,
            Err(error) => Response::Refused(refusal(error)),
        };
        effects.push(answer(unlocking.call, response));
    }
}

fn answer(call: CallId, response: Response) -> Effect {
    Effect::Answer {
        call,
        response: Box::new(response),
    }
}

fn refusal(error: &Error) -> Refusal {
    match error {
        Error::WrongPin { left } => Refusal::WrongPin {
            tries_left: Some(*left),
        },
        Error::OneTryLeft => Refusal::LastTry,
        Error::Blocked => Refusal::PinBlocked,
        Error::PinLength { .. } => Refusal::PinFormat,
        Error::Timeout => Refusal::CardTimeout,
        Error::Gone
        | Error::Locked
        | Error::OtherCard { .. }
        | Error::FactoryPin
        | Error::Declined
        | Error::NoPinPad
        | Error::NotEnrolled
        | Error::OtherKey
        | Error::NoApplet(_)
        | Error::NoKey
        | Error::Unsupported
        | Error::HashedPin
        | Error::NoMemory
        | Error::Refused { .. }
        | Error::Nonsense { .. }
        | Error::ZeroSecret
        | Error::Mute
        | Error::Busy
        | Error::Service(_) => Refusal::CardFailed,
    }
}
