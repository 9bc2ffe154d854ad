//! Folds an event into the picture of the world.
//!
//! An answer changes something only if it carries the `Op` that is waited for.

use sluss_policy::Policy;

use crate::{Action, Event, Intent, Key, Session, State, Time};

impl State {
    /// Returns what the user's own demand calls for at once. All else is `decide`'s to say.
    pub(crate) fn observe(&mut self, policy: &Policy, event: Event, now: Time) -> Option<Action> {
        match event {
            Event::LinksChanged(links) => self.links_changed(policy, links, now),
            Event::ProbeFinished { op, evidence } => self.probe_finished(policy, op, evidence, now),
            Event::Suspending => self.fall_asleep(now),
            Event::Resumed => self.resume(policy, now),

            Event::PortalChecked { op, checks } => self.portal_checked(op, &checks, now),
            Event::PortalRequested { visitor, renew } => {
                self.portal_requested(policy, visitor, renew, now);
            }

            Event::CardInserted {
                serial,
                tries_left,
                verified,
            } => return self.card_inserted(policy, serial, tries_left, verified),
            Event::CardUnusable(fault) => self.key = Key::Unusable(fault),
            Event::CardRemoved => return self.card_removed(policy, now),
            Event::CardLocked => self.card_locked(),
            Event::TriesCounted { tries_left } => self.tries_counted(tries_left),

            Event::PinOffered {
                source,
                last_try_consented,
            } => return Some(self.pin_offered(policy, source, last_try_consented, now)),
            Event::PinChecked { op, check } => self.pin_checked(op, check),
            Event::PinDeclined { op } => self.pin_declined(op),
            Event::LockRequested => return self.lock_requested(),
            Event::SessionLocked => self.session_locked(),

            Event::TunnelStarted { op } => self.tunnel_started(policy, op, now),
            Event::TunnelStartFailed { op, why } => self.tunnel_failed(policy, op, why, now),
            Event::TunnelLost { op, why } => self.tunnel_failed(policy, op, why, now),
            Event::TunnelStopped { op } => self.tunnel_stopped(op),
            Event::SessionEstablished { op } => {
                if self.handshake(op, Session::Established) {
                    self.gateway_answered(now);
                }
            }
            Event::HandshakeUnanswered { op, attempts } => {
                if self.handshake(op, Session::Awaited { attempts }) {
                    self.gateway_silent(policy, attempts, now);
                }
            }

            Event::HostApplied { op } => self.host_answered(op, true, now),
            Event::HostFailed { op } => self.host_answered(op, false, now),

            Event::UserUp => self.user_up(),
            Event::UserDown if policy.user.may_disconnect => self.intent = Intent::Stopped,
            Event::UserDown | Event::Tick => {}
        }
        None
    }

    fn user_up(&mut self) {
        self.intent = Intent::Automatic;
        self.forget_failures();
        if let Key::Declined { card, .. } | Key::Withdrawn(card) = &self.key {
            self.key = Key::locked(card.clone());
        }
    }
}
