//! One card's operator: does one task at a time, on the bound card only.

use crate::Error;
use crate::applet::Applet;
use crate::attend::{Attendant, Parting};
use crate::desk::{Answer, Task};
use crate::keeper::Era;
use crate::line::Line;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One card's operator. Every method may block as long as the way to the card likes.
pub(crate) struct Operator {
    attendant: Arc<Attendant>,
    line: Box<dyn Line>,
}

impl Operator {
    pub(crate) fn new(attendant: Arc<Attendant>, line: Box<dyn Line>) -> Self {
        Self { attendant, line }
    }

    /// Does the task, sending nothing more to the card after the deadline. Secrets are kept only if the era lasts.
    pub(crate) fn perform(&mut self, task: Task, era: Era, deadline: Option<Instant>) -> Answer {
        match task {
            Task::Look => {
                // a clock of before 1970 is wrong in any case: no certificate is valid then
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                Answer::Look(
                    self.with_card(deadline, |who, card| (who.look(card, now), Parting::Leave)),
                )
            }
            Task::Verify { pin, consent } => Answer::Verify(
                self.with_card(deadline, |who, card| who.verify(card, era, &pin, consent)),
            ),
            Task::Dh { with } => {
                Answer::Dh(self.with_card(deadline, |who, card| who.agree(card, era, &with)))
            }
            Task::Lock => Answer::Lock(self.with_card(deadline, Attendant::lock)),
        }
    }

    /// Runs `work` in a transaction, on the bound card only.
    fn with_card<T>(
        &mut self,
        deadline: Option<Instant>,
        work: impl Fn(&Attendant, &mut dyn Applet) -> (Result<T, Error>, Parting),
    ) -> Result<T, Error> {
        let mut result = self.transact(deadline, &work);
        // When a program dies in a transaction, pcscd lets us in and may reset the card under us. A wrong PIN casts no
        // doubt, and so is not tried again.
        if result.as_ref().is_err_and(Error::casts_doubt) && self.line.was_reset() {
            self.line.let_go();
            result = self.transact(deadline, &work);
        }
        if self.attendant.may_let_go() {
            self.line.let_go();
        }
        result
    }

    fn transact<T>(
        &mut self,
        deadline: Option<Instant>,
        work: impl Fn(&Attendant, &mut dyn Applet) -> (Result<T, Error>, Parting),
    ) -> Result<T, Error> {
        let attendant = &self.attendant;
        let mut result = Err(Error::Gone);
        let ended = self.line.transact(deadline, &mut |applet| {
            let (done, parting) = match attendant.recognize(applet) {
                Ok(()) => work(attendant, applet),
                Err(error) => (Err(error), Parting::Leave),
            };
            result = done;
            parting
        });
        match ended {
            Ok(()) => result,
            // what was computed is good, whatever became of the card since; the next task will see
            Err(error) => result.map_err(|_| error),
        }
    }
}
