//! One question to a resolver, and what an answer to it says; bytes in and out (RFC 1035, RFC 3596).

use std::net::IpAddr;

use domain::base::iana::Rcode;
use domain::base::message::Message;
use domain::base::message_builder::MessageBuilder;
use domain::base::{Name, Rtype};
use domain::rdata::{A, Aaaa};
use sluss_policy::HostName;

/// A gateway that is in more places than this needs no more calls.
const MOST: usize = 8;

/// The addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    message: Message<Vec<u8>>,
    family: Family,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// At least one, in the server's order, each once.
    Addresses(Vec<IpAddr>),
    /// There is the name, but no such address of it.
    NoAddress,
    NoSuchName,
    /// It cannot say, or will not.
    Failed,
    /// It does not fit a datagram.
    Truncated,
}

impl Question {
    /// `id` is random. Whoever guesses it can give a wrong address, which WireGuard shows to be wrong.
    pub(crate) fn new(name: &HostName, family: Family, id: u16) -> Self {
        let name: Name<Vec<u8>> = name
            .as_str()
            .parse()
            .expect("a host name is a name of the DNS, and no longer");
        let rtype = match family {
            Family::V4 => Rtype::A,
            Family::V6 => Rtype::AAAA,
        };
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_id(id);
        builder.header_mut().set_rd(true);
        let mut builder = builder.question();
        builder
            .push((name, rtype))
            .expect("a message without bounds has room");
        Self {
            message: builder.into_message(),
            family,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.message.as_slice()
    }

    /// What `datagram` says; `None` if it is no answer to this question.
    pub(crate) fn read(&self, datagram: &[u8]) -> Option<Answer> {
        let message = Message::from_octets(datagram).ok()?;
        if !message.is_answer(&self.message) {
            return None;
        }
        if message.header().tc() {
            return Some(Answer::Truncated);
        }
        Some(match message.header().rcode() {
            Rcode::NOERROR => self.addresses(&message),
            Rcode::NXDOMAIN => Answer::NoSuchName,
            _ => Answer::Failed,
        })
    }

    /// The addresses of the name in question, or of the one that its aliases lead to.
    fn addresses(&self, message: &Message<&[u8]>) -> Answer {
        let (Some(name), Ok(section)) = (message.canonical_name(), message.answer()) else {
            return Answer::Failed;
        };
        let mut addresses = Vec::new();
        let mut add = |address: IpAddr| {
            if addresses.len() < MOST && !addresses.contains(&address) {
                addresses.push(address);
            }
        };
        match self.family {
            Family::V4 => {
                let records = section.limit_to::<A>().flatten();
                records
                    .filter(|record| *record.owner() == name)
                    .for_each(|record| add(record.data().addr().into()));
            }
            Family::V6 => {
                let records = section.limit_to::<Aaaa>().flatten();
                records
                    .filter(|record| *record.owner() == name)
                    .for_each(|record| add(record.data().addr().into()));
            }
        }
        match addresses.as_slice() {
            [] => Answer::NoAddress,
            _ => Answer::Addresses(addresses),
        }
    }
}
