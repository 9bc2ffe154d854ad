//! The way to a card by PC/SC: shared with other programs, in transactions of our own.
//!
//! The connection stays open, since a card that nobody is connected to is powered off after some seconds, and its verified
//! state with it. It ends by leaving the card as it is: the other programs that use it go on undisturbed.

use crate::Error;
use crate::apdu::Transmit;
use crate::applet::Applet;
use crate::attend::Parting;
use crate::line::Line;
use crate::{CardKind, KeyId, openpgp, piv};
use pcsc::{Card, Context, Disposition, Protocols, Scope, ShareMode};
use std::ffi::CString;
use std::time::Instant;
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
        connection.transact(|card| {
            let mut exchange = Exchange { card, deadline };
            match key {
                KeyId::OpenPgp => Ok(work(&mut openpgp::Session::open(&mut exchange)?)),
                KeyId::Piv => Ok(work(&mut piv::Session::open(&mut exchange)?)),
                KeyId::Pkcs11(_) => Err(Error::NoApplet(CardKind::Pkcs11)),
            }
        })
    }
}

/// A shared connection that leaves the card alone when it ends. `None` only while being dropped.
pub(crate) struct Connection(Option<Card>);

impl Connection {
    /// Blocks while another program is in a transaction with the card.
    pub(crate) fn open(reader: &CString) -> Result<Self, Error> {
        // a context of its own, because one that hangs in a call blocks all other users of that context
        let context = Context::establish(Scope::System)?;
        Ok(Self(Some(context.connect(
            reader,
            ShareMode::Shared,
            Protocols::ANY,
        )?)))
    }

    pub(crate) fn transact(
        &mut self,
        work: impl FnOnce(&Card) -> Result<Parting, Error>,
    ) -> Result<(), Error> {
        let mut card = self.0.as_mut().ok_or(Error::Gone)?;
        for _ in 0..BEGINNINGS {
            card = match card.transaction2() {
                Ok(transaction) => {
                    let disposition = match work(&transaction)? {
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
pub(crate) struct Exchange<'a> {
    pub(crate) card: &'a Card,
    /// Nothing more is sent after it.
    pub(crate) deadline: Option<Instant>,
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
