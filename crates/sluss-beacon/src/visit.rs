//! One caller at a beacon: bytes in, bytes out, and at the end how it went.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::server::Acceptor;
use rustls::{AlertDescription, Error, ServerConnection};

use crate::{Answer, Identity, Name};

/// All that a caller may send: its hello with the largest key shares is some 2,000 bytes.
const LONGEST_CONVERSATION: usize = 8 * 1024;

/// The beacon's side of one connection.
///
/// Whatever [`Visit::output`] gives goes to the caller, also after the end.
pub struct Visit {
    identity: Arc<Identity>,
    answer: Answer,
    stage: Stage,
    heard: usize,
    refusal: Vec<u8>,
}

enum Stage {
    Greeting(Acceptor),
    Talking {
        tls: ServerConnection,
        answered: bool,
    },
}

/// How a visit ended.
#[derive(Clone, Debug, PartialEq)]
pub enum VisitEnd {
    /// The caller has the answer.
    Answered,
    /// The caller did not want this server: it has other keys pinned, or takes its certificate for invalid.
    Declined(AlertDescription),
    /// The caller did not speak TLS 1.3 as it should, or something that this server cannot do.
    Garbled(Error),
}

impl Visit {
    /// A new caller, from `caller`.
    pub fn new(identity: Arc<Identity>, name: Name, caller: SocketAddr) -> Self {
        Self {
            identity,
            answer: Answer::new(name, caller),
            stage: Stage::Greeting(Acceptor::default()),
            heard: 0,
            refusal: Vec::new(),
        }
    }

    /// What to send now; often nothing.
    pub fn output(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.refusal);
        if let Stage::Talking { tls, .. } = &mut self.stage {
            while tls.wants_write() {
                // A vector takes everything.
                let _ = tls.write_tls(&mut bytes);
            }
        }
        bytes
    }

    /// Takes what the caller sent. Gives the end, once; what the caller sends after it is nobody's concern.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Option<VisitEnd> {
        self.heard = self.heard.saturating_add(bytes.len());
        if self.heard > LONGEST_CONVERSATION {
            return Some(garbled("it talks without end"));
        }
        while !bytes.is_empty() {
            let read = match &mut self.stage {
                Stage::Greeting(acceptor) => acceptor.read_tls(&mut bytes),
                Stage::Talking { tls, .. } => tls.read_tls(&mut bytes),
            };
            if let Err(error) = read {
                return Some(garbled(&error.to_string()));
            }
            match self.proceed() {
                Ok(false) => {}
                Ok(true) => return Some(VisitEnd::Answered),
                Err(Error::AlertReceived(alert)) => return Some(VisitEnd::Declined(alert)),
                Err(error) => return Some(VisitEnd::Garbled(error)),
            }
        }
        None
    }

    /// Gives whether the caller has all that it came for.
    fn proceed(&mut self) -> Result<bool, Error> {
        if let Stage::Greeting(acceptor) = &mut self.stage {
            let met = match acceptor.accept() {
                Ok(None) => return Ok(false),
                Ok(Some(caller)) => self.identity.meet(caller),
                Err(refused) => Err(refused),
            };
            let tls = met.map_err(|(error, mut alert)| {
                // A vector takes everything.
                let _ = alert.write_all(&mut self.refusal);
                error
            })?;
            self.stage = Stage::Talking {
                tls,
                answered: false,
            };
        }
        let Stage::Talking { tls, answered } = &mut self.stage else {
            return Ok(false);
        };
        tls.process_new_packets()?;
        // From here on there are keys for what the server says: the answer goes out with its side of the handshake.
        if !*answered && tls.negotiated_key_exchange_group().is_some() {
            // It takes far more than an answer's length.
            let _ = tls.writer().write_all(&self.answer.to_bytes());
            *answered = true;
        }
        if tls.is_handshaking() {
            return Ok(false);
        }
        tls.send_close_notify();
        Ok(true)
    }
}

fn garbled(why: &str) -> VisitEnd {
    VisitEnd::Garbled(Error::General(why.to_owned()))
}
