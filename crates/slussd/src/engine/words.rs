//! What the card worker says, in the words of the supervisor and of the IPC contract.

use sluss_card::Error;
use sluss_card::certificate::Refusal;
use sluss_ipc as ipc;
use sluss_supervisor::{CardFault, CertificateFault};

pub(crate) fn kind(kind: sluss_card::CardKind) -> ipc::CardKind {
    match kind {
        sluss_card::CardKind::OpenPgp => ipc::CardKind::OpenPgp,
        sluss_card::CardKind::Piv => ipc::CardKind::Piv,
        sluss_card::CardKind::Pkcs11 => ipc::CardKind::Pkcs11,
    }
}

pub(crate) fn mode(mode: sluss_card::KeyMode) -> ipc::KeyMode {
    match mode {
        sluss_card::KeyMode::Held => ipc::KeyMode::Held,
        sluss_card::KeyMode::Sealed => ipc::KeyMode::Sealed,
    }
}

pub(crate) fn algorithm(algorithm: sluss_card::Algorithm) -> ipc::Algorithm {
    match algorithm {
        sluss_card::Algorithm::X25519 => ipc::Algorithm::X25519,
        sluss_card::Algorithm::P256 => ipc::Algorithm::P256,
        sluss_card::Algorithm::P384 => ipc::Algorithm::P384,
        sluss_card::Algorithm::Rsa2048 => ipc::Algorithm::Rsa2048,
        sluss_card::Algorithm::Rsa3072 => ipc::Algorithm::Rsa3072,
        sluss_card::Algorithm::Rsa4096 => ipc::Algorithm::Rsa4096,
    }
}

/// What a card's error means to its user.
pub(crate) fn fault(error: &Error) -> CardFault {
    match error {
        Error::OtherCard { .. } | Error::OtherKey => CardFault::OtherCard,
        Error::NotEnrolled => CardFault::NotEnrolled,
        Error::Certificate(refusal) => CardFault::Certificate(certificate_fault(refusal)),
        Error::NoApplet(_) | Error::NoKey => CardFault::NoKey,
        Error::Unsupported | Error::HashedPin => CardFault::Unsupported,
        Error::Refused { .. }
        | Error::Nonsense { .. }
        | Error::ZeroSecret
        | Error::Locked
        | Error::WrongPin { .. }
        | Error::OneTryLeft
        | Error::Blocked
        | Error::FactoryPin
        | Error::Declined
        | Error::NoPinPad
        | Error::NoMemory
        | Error::SealedKey(_)
        | Error::PinLength { .. } => CardFault::Nonsense,
        Error::Gone | Error::Mute | Error::Timeout | Error::Service(_) => CardFault::Silent,
        Error::Module(_) => CardFault::Middleware,
        Error::Busy => CardFault::InUse,
    }
}

pub(crate) fn certificate_fault(refusal: &Refusal) -> CertificateFault {
    match refusal {
        Refusal::Missing => CertificateFault::Missing,
        Refusal::Unreadable => CertificateFault::Unreadable,
        Refusal::WrongSubject { .. } => CertificateFault::WrongSubject,
        Refusal::WrongUsage { .. } => CertificateFault::WrongUsage,
        Refusal::Untrusted { .. } => CertificateFault::Untrusted,
        Refusal::NotYetValid { .. } => CertificateFault::NotYetValid,
        Refusal::Expired { .. } => CertificateFault::Expired,
        Refusal::Revoked => CertificateFault::Revoked,
        Refusal::RevocationUnknown { .. } => CertificateFault::RevocationUnknown,
        Refusal::Ambiguous { .. } => CertificateFault::Several,
    }
}

/// Why a card did not do what it was asked.
pub(crate) fn refusal(error: &Error) -> ipc::Refusal {
    match error {
        Error::WrongPin { left } => ipc::Refusal::WrongPin {
            tries_left: Some(*left),
        },
        Error::OneTryLeft => ipc::Refusal::LastTry,
        Error::Blocked => ipc::Refusal::PinBlocked,
        Error::PinLength { .. } => ipc::Refusal::PinFormat,
        Error::FactoryPin => ipc::Refusal::FactoryPin,
        Error::NoPinPad => ipc::Refusal::NoPinPad,
        Error::Declined => ipc::Refusal::PinCancelled,
        Error::Timeout => ipc::Refusal::CardTimeout,
        Error::NotEnrolled
        | Error::OtherCard { .. }
        | Error::OtherKey
        | Error::Certificate(_)
        | Error::NoApplet(_)
        | Error::NoKey
        | Error::Unsupported
        | Error::HashedPin => ipc::Refusal::CardUnusable {
            fault: card_fault(fault(error)),
        },
        Error::Gone
        | Error::Locked
        | Error::Refused { .. }
        | Error::Nonsense { .. }
        | Error::ZeroSecret
        | Error::Mute
        | Error::SealedKey(_)
        | Error::NoMemory
        | Error::Busy
        | Error::Module(_)
        | Error::Service(_) => ipc::Refusal::CardFailed,
    }
}

pub(crate) fn card_fault(fault: CardFault) -> ipc::CardFault {
    match fault {
        CardFault::OtherCard => ipc::CardFault::OtherCard,
        CardFault::NoKey => ipc::CardFault::NoKey,
        CardFault::Unsupported => ipc::CardFault::Unsupported,
        CardFault::Nonsense => ipc::CardFault::Nonsense,
        CardFault::Silent => ipc::CardFault::Silent,
        CardFault::InUse => ipc::CardFault::InUse,
        CardFault::Middleware => ipc::CardFault::MiddlewareFailed,
        CardFault::NotEnrolled => ipc::CardFault::NotEnrolled,
        CardFault::Certificate(fault) => bad_certificate(fault),
    }
}

fn bad_certificate(fault: CertificateFault) -> ipc::CardFault {
    match fault {
        CertificateFault::Missing => ipc::CardFault::NoCertificate,
        CertificateFault::Several => ipc::CardFault::SeveralCertificates,
        CertificateFault::Unreadable => ipc::CardFault::CertificateUnreadable,
        CertificateFault::Expired => ipc::CardFault::CertificateExpired,
        CertificateFault::NotYetValid => ipc::CardFault::CertificateNotYetValid,
        CertificateFault::Revoked => ipc::CardFault::CertificateRevoked,
        CertificateFault::RevocationUnknown => ipc::CardFault::RevocationUnknown,
        CertificateFault::Untrusted => ipc::CardFault::CertificateUntrusted,
        CertificateFault::WrongUsage => ipc::CardFault::CertificateWrongUsage,
        CertificateFault::WrongSubject => ipc::CardFault::CertificateWrongSubject,
    }
}

/// Why a name of the gateway has no address.
pub(crate) fn resolution_fault(fault: crate::resolver::Fault) -> ipc::ResolutionFault {
    use crate::resolver::Fault;
    match fault {
        Fault::NoResolver => ipc::ResolutionFault::NoResolver,
        Fault::NoAnswer => ipc::ResolutionFault::NoAnswer,
        Fault::ResolverFailed => ipc::ResolutionFault::ResolverFailed,
        Fault::NoSuchName => ipc::ResolutionFault::NoSuchName,
        Fault::NoAddress => ipc::ResolutionFault::NoAddress,
        Fault::Astray { to, .. } => ipc::ResolutionFault::Astray { to },
    }
}
