//! The way to a card by PC/SC: shared with other programs, in transactions of our own.
//!
//! The connection stays open as long as the card's verified state is of use, since a card that nobody is connected to is
//! powered off after some seconds. It ends by leaving the card as it is: the other programs that use it go on undisturbed.

use crate::Error;
use crate::apdu::{StatusWord, Transmit};
use crate::applet::Applet;
use crate::attend::Parting;
use crate::line::Line;
use crate::pinpad::{self, PadVerify};
use crate::{CardKind, KeyId, openpgp, piv};
use pcsc::{Card, Context, Disposition, Protocols, Scope, ShareMode};
use std::ffi::CString;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// A short response at its longest, with status; an answer beyond that is refused by PC/SC.
const LONGEST_RESPONSE: usize = 258;
/// How often one transaction is begun when other programs reset the card all the time.
const BEGINNINGS: usize = 3;

/// The way to the card in one reader.
pub(crate) struct PcscLine {
    reader: CString,
    key: KeyId,
    connection: Option<Connection>,
}

impl PcscLine {
    /// Connects with the first transaction.
    pub(crate) fn new(reader: CString, key: KeyId) -> Self {
        Self {
            reader,
            key,
            connection: None,
        }
    }
}

impl Line for PcscLine {
    fn transact(
        &mut self,
        deadline: Option<Instant>,
        work: &mut dyn FnMut(&mut dyn Applet) -> Parting,
    ) -> Result<(), Error> {
        let key = &self.key;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(&self.reader)?),
        };
        connection.transact(deadline, |mut exchange| match key {
            KeyId::OpenPgp => Ok(work(&mut openpgp::Session::open(&mut exchange)?)),
            KeyId::Piv => Ok(work(&mut piv::Session::open(&mut exchange)?)),
            KeyId::Pkcs11(_) => Err(Error::NoApplet(CardKind::Pkcs11)),
        })
    }

    fn was_reset(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::was_reset)
    }

    fn let_go(&mut self) {
        self.connection = None;
    }
}

/// A shared connection that leaves the card alone when it ends.
pub(crate) struct Connection {
    /// `None` only while being dropped.
    card: Option<Card>,
    /// How the reader verifies a PIN that is typed on its keys, if it has any; asked in the first transaction, because some
    /// other program's would be in the way of the question.
    pad: Option<Option<u32>>,
}

impl Connection {
    /// Blocks while another program is in a transaction with the card.
    pub(crate) fn open(reader: &CString) -> Result<Self, Error> {
        // a context of its own, because one that hangs in a call blocks all other users of that context
        let context = Context::establish(Scope::System)?;
        let card = context.connect(reader, ShareMode::Shared, Protocols::ANY)?;
        Ok(Self {
            card: Some(card),
            pad: None,
        })
    }

    /// Runs `work` while no other program can talk to the card; what it is given sends nothing after the deadline.
    pub(crate) fn transact(
        &mut self,
        deadline: Option<Instant>,
        work: impl FnOnce(Exchange<'_, Card>) -> Result<Parting, Error>,
    ) -> Result<(), Error> {
        let known_pad = &mut self.pad;
        let mut card = self.card.as_mut().ok_or(Error::Gone)?;
        for _ in 0..BEGINNINGS {
            card = match card.transaction2() {
                Ok(transaction) => {
                    let exchange = Exchange {
                        card: &*transaction,
                        pad: *known_pad.get_or_insert_with(|| pad(&*transaction)),
                        deadline,
                    };
                    let disposition = match work(exchange)? {
                        Parting::Leave => Disposition::LeaveCard,
                        Parting::Reset => Disposition::ResetCard,
                    };
                    return transaction
                        .end(disposition)
                        .map_err(|(_, error)| error.into());
                }
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

    /// pcscd tells of a reset before it begins. Whoever connects again between the two is not told, and finds the card reset
    /// and without a protocol.
    fn was_reset(&self) -> bool {
        let status = self.card.as_ref().map(Card::status2_owned);
        match status {
            Some(Ok(status)) => status.protocol2().is_none(),
            Some(Err(error)) => error == pcsc::Error::ResetCard,
            None => false,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(Err((card, error))) = self
            .card
            .take()
            .map(|card| card.disconnect(Disposition::LeaveCard))
        {
            tracing::debug!(%error, "smart card connection did not end well");
            // dropping it would reset the card for all
            std::mem::forget(card);
        }
    }
}

/// What we ask of a connected card; PC/SC's own, or a test's.
pub(crate) trait Handle {
    /// `SCardTransmit`.
    fn transmit<'b>(&self, command: &[u8], buffer: &'b mut [u8]) -> Result<&'b [u8], pcsc::Error>;

    /// `SCardControl`.
    fn control<'b>(
        &self,
        code: u32,
        data: &[u8],
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], pcsc::Error>;
}

impl Handle for Card {
    fn transmit<'b>(&self, command: &[u8], buffer: &'b mut [u8]) -> Result<&'b [u8], pcsc::Error> {
        self.transmit(command, buffer)
    }

    fn control<'b>(
        &self,
        code: u32,
        data: &[u8],
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], pcsc::Error> {
        self.control(code.into(), data, buffer)
    }
}

/// Asks the reader, of which most know nothing of the question.
fn pad(card: &impl Handle) -> Option<u32> {
    let code = u32::try_from(pcsc::ctl_code(pinpad::GET_FEATURES.into())).ok()?;
    let mut buffer = [0; pinpad::LONGEST_FEATURES];
    let features = card.control(code, &[], &mut buffer).ok()?;
    pinpad::verify_code(features)
}

/// The way to the card inside a transaction.
pub(crate) struct Exchange<'a, H> {
    card: &'a H,
    pad: Option<u32>,
    deadline: Option<Instant>,
}

impl<H> Exchange<'_, H> {
    /// Time left, if it is limited.
    fn time_left(&self) -> Result<Option<Duration>, Error> {
        let Some(deadline) = self.deadline else {
            return Ok(None);
        };
        match deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(Error::Timeout),
            left => Ok(Some(left)),
        }
    }
}

impl<H: Handle> Transmit for Exchange<'_, H> {
    fn transmit(&mut self, command: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.time_left()?;
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

    fn has_pad(&self) -> bool {
        self.pad.is_some()
    }

    fn verify_on_pad(&mut self, verify: &PadVerify) -> Result<StatusWord, Error> {
        let code = self.pad.ok_or(Error::NoPinPad)?;
        let request = pinpad::request(verify, self.time_left()?);
        let mut buffer = [0; LONGEST_RESPONSE];
        let answer = self.card.control(code, &request, &mut buffer)?;
        pinpad::outcome(verify, answer)
    }
}

#[cfg(test)]
mod tests;
