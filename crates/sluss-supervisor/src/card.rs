//! A card as the supervisor knows it, and why one cannot serve.

/// Names one stay of a card in its reader: the same card put in again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Insertion(pub(crate) u64);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Card {
    pub serial: String,
    pub tries_left: u8,
    pub insertion: Insertion,
}

/// Why a card cannot serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CardFault {
    /// No card is bound to this laptop.
    NotEnrolled,
    /// It is not the one that is bound to this laptop.
    OtherCard,
    /// It holds no key that could serve.
    NoKey,
    /// It is of a kind, or has a feature, that Sluss does not know.
    Unsupported,
    /// It answers, but nothing that makes sense.
    Nonsense,
    /// It does not answer.
    Silent,
    /// Another program uses it exclusively.
    InUse,
    /// The middleware that speaks to it crashed, hung, or does not know it.
    Middleware,
    /// The policy asks for a certificate, and not for this one.
    Certificate(CertificateFault),
}

/// What is wrong with a card's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateFault {
    /// The card has none that the policy asks for.
    Missing,
    /// The card has several, for different keys.
    Several,
    Unreadable,
    Expired,
    NotYetValid,
    Revoked,
    /// The revocation list is missing, too old, or not its issuer's.
    RevocationUnknown,
    /// It leads to none of the policy's issuers.
    Untrusted,
    WrongUsage,
    WrongSubject,
}
