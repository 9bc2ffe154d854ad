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

#[cfg(test)]
mod tests {
    use super::*;

    const ID: u16 = 0x5a5a;
    const IN: [u8; 2] = [0, 1];
    const A: u8 = 1;
    const CNAME: u8 = 5;
    /// The name of the question, which stands behind the header.
    const ASKED: [u8; 2] = [0xc0, 12];

    fn question(family: Family) -> Question {
        Question::new(&"vpn.example.se".parse().unwrap(), family, ID)
    }

    /// An answer to it: flags, and records by their owner, type and data.
    fn answer(family: Family, flags: [u8; 2], records: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
        let mut message = question(family).bytes().to_vec();
        message[2..4].copy_from_slice(&flags);
        message[7] = u8::try_from(records.len()).unwrap();
        for (owner, rtype, data) in records {
            message.extend([*owner, &[0, *rtype], &IN, &[0, 0, 0, 60, 0]].concat());
            message.push(u8::try_from(data.len()).unwrap());
            message.extend(*data);
        }
        message
    }

    fn read(records: &[(&[u8], u8, &[u8])]) -> Answer {
        let answer = answer(Family::V4, [0x81, 0x80], records);
        question(Family::V4).read(&answer).expect("it is an answer")
    }

    fn found(addresses: &[&str]) -> Answer {
        Answer::Addresses(addresses.iter().map(|it| it.parse().unwrap()).collect())
    }

    /// As `dig +norec +noedns` writes it, but for the identifier and the wish for recursion.
    #[test]
    fn a_question_is_what_any_resolver_reads() {
        let expected = b"\x5a\x5a\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03vpn\x07example\x02se\x00\x00\x01\x00\x01";
        assert_eq!(question(Family::V4).bytes(), expected);
        assert_eq!(question(Family::V6).bytes()[29], 28, "AAAA, RFC 3596, 2.1");
    }

    #[test]
    fn addresses_are_those_of_the_name() {
        let (first, second) = ([198, 51, 100, 2], [203, 0, 113, 2]);
        assert_eq!(
            read(&[
                (&ASKED, A, &first),
                (&ASKED, A, &second),
                (&ASKED, A, &first)
            ]),
            found(&["198.51.100.2", "203.0.113.2"])
        );
        let other = b"\x03www\xc0\x10";
        assert_eq!(read(&[(other, A, &first)]), Answer::NoAddress);
        assert_eq!(read(&[]), Answer::NoAddress);
        let many: Vec<[u8; 4]> = (0..100).map(|n| [198, 51, 100, n]).collect();
        let many: Vec<(&[u8], u8, &[u8])> =
            many.iter().map(|it| (&ASKED[..], A, &it[..])).collect();
        match read(&many) {
            Answer::Addresses(addresses) => assert_eq!(addresses.len(), MOST),
            other => panic!("{other:?}"),
        }
        let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        let message = answer(Family::V6, [0x81, 0x80], &[(&ASKED, 28, &v6)]);
        assert_eq!(
            question(Family::V6).read(&message),
            Some(found(&["2001:db8::2"]))
        );
    }

    #[test]
    fn aliases_are_followed_and_end() {
        let target = b"\x03one\xc0\x10";
        let chain: &[(&[u8], u8, &[u8])] = &[
            (b"\x03one\xc0\x10", CNAME, b"\x03two\xc0\x10"),
            (&ASKED, CNAME, target),
            (b"\x03two\xc0\x10", A, &[198, 51, 100, 2]),
            (&ASKED, A, &[203, 0, 113, 66]),
        ];
        assert_eq!(read(chain), found(&["198.51.100.2"]));
        let round: &[(&[u8], u8, &[u8])] = &[(&ASKED, CNAME, target), (target, CNAME, &ASKED)];
        assert_eq!(read(round), Answer::Failed);
    }

    #[test]
    fn a_refusal_says_which() {
        for (flags, said) in [
            ([0x81, 0x83], Answer::NoSuchName),
            ([0x81, 0x82], Answer::Failed),
            ([0x81, 0x85], Answer::Failed),
            ([0x83, 0x80], Answer::Truncated),
            ([0x81, 0x80], Answer::NoAddress),
        ] {
            let message = answer(Family::V4, flags, &[]);
            assert_eq!(
                question(Family::V4).read(&message),
                Some(said),
                "{flags:x?}"
            );
        }
    }

    #[test]
    fn what_answers_another_question_is_no_answer() {
        let right = answer(Family::V4, [0x81, 0x80], &[(&ASKED, A, &[198, 51, 100, 2])]);
        let ours = question(Family::V4);
        assert!(ours.read(&right).is_some());
        assert_eq!(question(Family::V6).read(&right), None, "another type");
        for (at, what) in [(0, "another id"), (2, "a question"), (14, "another name")] {
            let mut wrong = right.clone();
            wrong[at] ^= if at == 2 { 0x80 } else { 1 };
            assert_eq!(ours.read(&wrong), None, "{what}");
        }
        let mut shouted = right.clone();
        shouted[13..16].make_ascii_uppercase();
        assert_eq!(
            ours.read(&shouted),
            Some(found(&["198.51.100.2"])),
            "RFC 4343"
        );
        for end in 0..right.len() {
            let cut = ours.read(&right[..end]);
            assert!(!matches!(cut, Some(Answer::Addresses(_))), "cut at {end}");
        }
    }
}
