//! Holds the PC/SC connection to one card and does one task at a time.
//!
//! The connection is shared and stays open, since a card that nobody is connected to is powered off after some seconds,
//! and its verified state with it. It ends by leaving the card as it is: the other programs that use it go on undisturbed.

use crate::Error;
use crate::apdu::Transmit;
use crate::applet::Applet;
use crate::attend::Attendant;
use crate::desk::{Answer, Task};
use crate::openpgp::Session;
use pcsc::{Card, Context, Disposition, Protocols, Scope, ShareMode};
use std::ffi::CString;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// A short response at its longest, with status; an answer beyond that is refused by PC/SC.
const LONGEST_RESPONSE: usize = 258;
/// How often one transaction is begun when other programs reset the card all the time.
const BEGINNINGS: usize = 3;

/// One card's operator. Every method may block as long as PC/SC likes.
pub(crate) struct Operator {
    attendant: Arc<Attendant>,
    line: Box<dyn Line>,
}

/// The way to one card, kept open between tasks.
pub(crate) trait Line {
    /// Runs `work` on the application with the bound key, while no other program can talk to the card. Sends nothing more to
    /// the card after the deadline.
    ///
    /// # Errors
    /// What `work` says, [`Error::NoApplet`], [`Error::Gone`], [`Error::Busy`], [`Error::Service`], …
    fn transact(
        &mut self,
        deadline: Option<Instant>,
        work: &mut dyn FnMut(&mut dyn Applet) -> Result<(), Error>,
    ) -> Result<(), Error>;
}

impl Operator {
    /// Connects with the first task.
    pub(crate) fn new(attendant: Arc<Attendant>, line: Box<dyn Line>) -> Self {
        Self { attendant, line }
    }

    /// Does the task, sending nothing more to the card after the deadline.
    pub(crate) fn perform(&mut self, task: Task, deadline: Option<Instant>) -> Answer {
        match task {
            Task::Look => Answer::Look(self.with_card(deadline, |who, card| who.look(card))),
            Task::Verify { pin, consent } => Answer::Verify(
                self.with_card(deadline, |who, card| who.verify(card, &pin, consent)),
            ),
            Task::Dh { with } => {
                Answer::Dh(self.with_card(deadline, |who, card| who.agree(card, &with)))
            }
            Task::Lock => Answer::Lock(self.with_card(deadline, |who, card| who.lock(card))),
        }
    }

    /// Runs `work` in a transaction, on the bound card only.
    fn with_card<T>(
        &mut self,
        deadline: Option<Instant>,
        mut work: impl FnMut(&Attendant, &mut dyn Applet) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let attendant = &self.attendant;
        let mut result = Err(Error::Gone);
        self.line.transact(deadline, &mut |applet| {
            attendant.recognize(applet)?;
            result = work(attendant, applet);
            Ok(())
        })?;
        result
    }
}

/// The way to a card by PC/SC.
pub(crate) struct PcscLine {
    reader: CString,
    connection: Option<Connection>,
}

impl PcscLine {
    pub(crate) fn new(reader: CString) -> Self {
        Self {
            reader,
            connection: None,
        }
    }
}

impl Line for PcscLine {
    fn transact(
        &mut self,
        deadline: Option<Instant>,
        work: &mut dyn FnMut(&mut dyn Applet) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(&self.reader)?),
        };
        connection.transact(|card| work(&mut Session::open(&mut Exchange { card, deadline })?))
    }
}

/// A shared connection that leaves the card alone when it ends. `None` only while being dropped.
struct Connection(Option<Card>);

impl Connection {
    /// Blocks while another program is in a transaction with the card.
    fn open(reader: &CString) -> Result<Self, Error> {
        // a context of its own, because one that hangs in a call blocks all other users of that context
        let context = Context::establish(Scope::System)?;
        Ok(Self(Some(context.connect(
            reader,
            ShareMode::Shared,
            Protocols::ANY,
        )?)))
    }

    fn transact<T>(&mut self, work: impl FnOnce(&Card) -> Result<T, Error>) -> Result<T, Error> {
        let mut card = self.0.as_mut().ok_or(Error::Gone)?;
        for _ in 0..BEGINNINGS {
            card = match card.transaction2() {
                Ok(transaction) => return work(&transaction),
                // by another program, which does no harm but to the verified state
                Err((card, pcsc::Error::ResetCard)) => {
                    card.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::LeaveCard)?;
                    card
                }
                Err((_, error)) => return Err(error.into()),
            };
        }
        Err(Error::Busy)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(Err((card, error))) = self
            .0
            .take()
            .map(|card| card.disconnect(Disposition::LeaveCard))
        {
            tracing::debug!(%error, "smart card connection did not end well");
            // dropping it would reset the card for all
            std::mem::forget(card);
        }
    }
}

/// The way to the card inside a transaction.
struct Exchange<'a> {
    card: &'a Card,
    deadline: Option<Instant>,
}

impl Transmit for Exchange<'_> {
    fn transmit(&mut self, command: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        if self
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            return Err(Error::Timeout);
        }
        let mut buffer = Zeroizing::new(vec![0; LONGEST_RESPONSE]);
        let length = match self.card.transmit(command, &mut buffer) {
            // no card that is there says nothing: this is a virtual reader's way to tell that it left
            Ok([]) => return Err(Error::Gone),
            Ok(response) => response.len(),
            Err(pcsc::Error::InsufficientBuffer) => {
                return Err(Error::Nonsense {
                    step: "answer briefly",
                    what: "longer than a short response can be",
                });
            }
            Err(error) => return Err(error.into()),
        };
        buffer.truncate(length);
        Ok(buffer)
    }
}
