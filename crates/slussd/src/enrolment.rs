//! Binds the laptop to a card: looks at the cards, has one prove itself, writes the binding down.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use sluss_card::applet::PinEntry;
use sluss_card::enroll::{self, Error, Found, Order, ProvenKey, Scheme, Terms};
use sluss_card::{CardKind, KeySource, Pin};
use sluss_ipc::enroll::{self as ipc, EnrolmentFault, KeyFault};
use sluss_ipc::{Refusal, Response, SCHEMA};
use sluss_platform::{clock, files};
use sluss_policy::{
    CardBinding, CardCertificate, CardRules, DeviceBinding, EnrolmentRequest, KeyMode,
    PresharedKey, PublicKey, RequestCard, Signature, SignatureMethod, SignedRequest, Unsigned,
};
use sluss_supervisor as sup;
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::engine::words;
use crate::{binding, card_config};

/// How long cards may take: making an RSA key can last half a minute, typing a PIN on a reader another half.
const TIMEOUT: Duration = Duration::from_secs(120);

/// When a card that does not come back is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(130);

/// What enrolment needs to know of the laptop.
pub(crate) struct Desk {
    pub(crate) rules: CardRules,
    pub(crate) bound: Option<DeviceBinding>,
    pub(crate) state_dir: PathBuf,
}

/// What came of a call.
pub(crate) struct Outcome {
    pub(crate) response: Response,
    /// In force from now on.
    pub(crate) binding: Option<DeviceBinding>,
}

impl Desk {
    /// Blocks for as long as the cards take.
    pub(crate) fn survey(&self) -> Outcome {
        let surveyed = self.terms().and_then(|(access, terms)| {
            enroll::survey(&access, &terms).map_err(|error| refusal(&Error::Card(error)))
        });
        Outcome {
            response: match surveyed {
                Ok(found) => Response::Survey(ipc::Survey {
                    schema: SCHEMA,
                    bound: self.bound.as_ref().map(bound),
                    cards: found.cards.into_iter().map(candidate).collect(),
                    others: found.others.into_iter().map(other).collect(),
                }),
                Err(refusal) => Response::Refused(refusal),
            },
            binding: None,
        }
    }

    /// Blocks for as long as the card takes.
    pub(crate) fn enroll(&self, order: ipc::Order) -> Outcome {
        match self.bind(order) {
            Ok((enrolled, binding)) => Outcome {
                response: Response::Enrolled(enrolled),
                binding: Some(binding),
            },
            Err(refusal) => Outcome {
                response: Response::Refused(refusal),
                binding: None,
            },
        }
    }
}

impl Desk {
    fn terms(&self) -> Result<(sluss_card::Access, Terms), Refusal> {
        let unready = |error: anyhow::Error| {
            warn!("the policy's files for cards: {error:#}");
            faulty(EnrolmentFault::PolicyFiles)
        };
        let terms = Terms {
            modes: card_config::modes(&self.rules),
            signature_wrap: self.rules.signature_wrap,
            allow_factory_pin: self.rules.allow_factory_pin,
            certificate: card_config::certificate(&self.rules).map_err(unready)?,
            now: clock::wall(),
            deadline: Instant::now() + TIMEOUT,
        };
        Ok((card_config::access(&self.rules).map_err(unready)?, terms))
    }

    fn bind(&self, order: ipc::Order) -> Result<(ipc::Enrolled, DeviceBinding), Refusal> {
        let device =
            sluss_policy::label(&order.device).map_err(|_| faulty(EnrolmentFault::BadName))?;
        let addresses = addresses(&order.addresses)?;
        let given = order.preshared_key.as_ref().and_then(preshared);
        // The gateway has one entry for each public key: what belongs to it stays with it.
        let preshared_key = |public_key: PublicKey| {
            let bound = self.bound.as_ref();
            let same = bound.filter(|bound| bound.card.public_key == public_key);
            let kept = same.and_then(|bound| bound.preshared_key.clone());
            given.clone().or(kept)
        };
        let (access, terms) = self.terms()?;
        let order = self.order(order)?;

        let mut request = None;
        let mut compose = |key: &ProvenKey| {
            let composed = EnrolmentRequest {
                device: device.clone(),
                made: EnrolmentRequest::time(clock::wall().as_secs()),
                addresses: addresses.clone(),
                public_key: PublicKey::from(key.public_key),
                preshared_key: preshared_key(PublicKey::from(key.public_key)).is_some(),
                card: request_card(key),
            };
            let text = composed.to_string();
            request = Some(composed);
            text
        };
        let done = enroll::perform(&access, &terms, &order, &mut compose)
            .map_err(|error| refusal(&error))?;
        let request = request.ok_or(Refusal::CardFailed)?;
        let binding = DeviceBinding {
            addresses,
            card: CardBinding {
                serial: done.key.serial.clone(),
                public_key: request.public_key,
                key: done.key.id.to_string().parse().ok(),
                sealed_key: match &done.binding.source {
                    KeySource::Held => None,
                    KeySource::Sealed(sealed) => Some(sealed.to_file()),
                },
            },
            preshared_key: preshared_key(request.public_key),
        };
        let file = binding::file(&self.state_dir);
        files::write_private(&file, binding.to_toml().as_bytes()).map_err(|error| {
            warn!(%error, "the binding is not written");
            faulty(EnrolmentFault::NotWritten)
        })?;
        info!(card = binding.card.serial, key = %done.key.id, "the laptop is bound");
        let signature = signature(&done);
        let enrolled = ipc::Enrolled {
            schema: SCHEMA,
            public_key: request.public_key.to_string(),
            mode: words::mode(done.key.mode),
            signed: matches!(signature, Signature::Present { .. }),
            request: SignedRequest { request, signature }.to_string(),
        };
        Ok((enrolled, binding))
    }

    fn order(&self, order: ipc::Order) -> Result<Order, Refusal> {
        Ok(Order {
            serial: order.serial,
            id: order
                .key
                .parse()
                .map_err(|_| faulty(EnrolmentFault::NoSuchKey))?,
            make: order.make.map(algorithm),
            replace: order.replace,
            bound: self
                .bound
                .as_ref()
                .and_then(|bound| card_config::binding(bound).ok()),
            pin: match order.pin {
                Some(pin) => PinEntry::Typed(secret(&pin, Refusal::PinFormat)?),
                None => PinEntry::OnPad,
            },
            last_try_consented: order.last_try,
            admin_pin: order
                .admin_pin
                .map(|pin| secret(&pin, faulty(EnrolmentFault::AdminPinFormat)))
                .transpose()?,
        })
    }
}

fn secret(pin: &sluss_ipc::Pin, refusal: Refusal) -> Result<Pin, Refusal> {
    Pin::new(Zeroizing::new(pin.bytes().to_vec())).map_err(|_| refusal)
}

fn addresses(texts: &[String]) -> Result<Vec<IpNet>, Refusal> {
    let parsed: Result<Vec<IpNet>, _> = texts
        .iter()
        .map(|text| sluss_policy::interface_address(text))
        .collect();
    parsed
        .ok()
        .filter(|addresses| !addresses.is_empty())
        .ok_or(faulty(EnrolmentFault::BadAddress))
}

fn preshared(key: &ipc::PresharedKey) -> Option<PresharedKey> {
    <&[u8; 32]>::try_from(key.bytes())
        .ok()
        .map(PresharedKey::from)
}

fn request_card(key: &ProvenKey) -> RequestCard {
    RequestCard {
        serial: key.serial.clone(),
        key: key.id.to_string(),
        mode: match key.mode {
            sluss_card::KeyMode::Held => KeyMode::Held,
            sluss_card::KeyMode::Sealed => KeyMode::Sealed,
        },
        algorithm: key.key.algorithm().to_string(),
        certificate: key
            .certificate
            .clone()
            .map(|(subject, der)| CardCertificate { subject, der }),
    }
}

fn signature(done: &enroll::Enrolment) -> Signature {
    match (&done.signature, done.key.key.algorithm()) {
        (Some(signature), _) => Signature::Present {
            method: match signature.scheme {
                Scheme::RsaPkcs1Sha256 => SignatureMethod::RsaPkcs1Sha256,
                Scheme::EcdsaP256Sha256 => SignatureMethod::EcdsaP256Sha256,
                Scheme::EcdsaP384Sha384 => SignatureMethod::EcdsaP384Sha384,
            },
            public_key: done.key.key.to_spki(),
            value: signature.value.clone(),
        },
        (None, sluss_card::Algorithm::X25519) => Signature::Absent(Unsigned::X25519),
        (None, _) => Signature::Absent(Unsigned::Refused),
    }
}

fn bound(binding: &DeviceBinding) -> ipc::Bound {
    let card = &binding.card;
    ipc::Bound {
        serial: card.serial.clone(),
        key: card
            .key
            .as_ref()
            .map_or("openpgp:dec", |key| key.as_str())
            .to_owned(),
        mode: match card.sealed_key {
            Some(_) => sluss_ipc::KeyMode::Sealed,
            None => sluss_ipc::KeyMode::Held,
        },
        public_key: card.public_key.to_string(),
        addresses: binding.addresses.iter().map(ToString::to_string).collect(),
        preshared_key: binding.preshared_key.is_some(),
    }
}

fn other((reader, error): (String, sluss_card::Error)) -> ipc::OtherCard {
    ipc::OtherCard {
        reader,
        fault: words::card_fault(words::fault(&error)),
    }
}

fn candidate(card: enroll::Candidate) -> ipc::Candidate {
    ipc::Candidate {
        reader: card.reader,
        serial: card.serial,
        kind: words::kind(card.kind),
        tries_left: match card.kind {
            // It tells only that some are lost.
            CardKind::Pkcs11 if card.tries_left > 2 => None,
            CardKind::Pkcs11 | CardKind::OpenPgp | CardKind::Piv => Some(card.tries_left),
        },
        pin_pad: card.pin_pad,
        keys: card.keys.into_iter().map(candidate_key).collect(),
    }
}

fn candidate_key(key: enroll::CandidateKey) -> ipc::CandidateKey {
    ipc::CandidateKey {
        id: key.id.to_string(),
        found: match key.found {
            Found::Empty => ipc::FoundKey::Empty,
            Found::Fit {
                mode,
                algorithm,
                subject,
                signs,
            } => ipc::FoundKey::Fit {
                mode: words::mode(mode),
                algorithm: words::algorithm(algorithm),
                subject,
                signs,
            },
            Found::Unfit(error) => ipc::FoundKey::Unfit {
                fault: key_fault(&error),
            },
        },
        makes: key.makes.into_iter().map(words::algorithm).collect(),
    }
}

fn key_fault(error: &Error) -> KeyFault {
    match error {
        Error::Forbidden => KeyFault::Forbidden,
        Error::Card(sluss_card::Error::Certificate(refusal)) => KeyFault::Certificate {
            fault: words::card_fault(sup::CardFault::Certificate(words::certificate_fault(
                refusal,
            ))),
        },
        _ => KeyFault::Unsupported,
    }
}

fn faulty(fault: EnrolmentFault) -> Refusal {
    Refusal::Enrolment { fault }
}

fn refusal(error: &Error) -> Refusal {
    faulty(match error {
        Error::NoSuchCard => EnrolmentFault::NoSuchCard,
        Error::NoSuchKey => EnrolmentFault::NoSuchKey,
        Error::KeyExists => EnrolmentFault::KeyExists,
        Error::AlreadyBound => EnrolmentFault::AlreadyBound,
        Error::Forbidden | Error::Card(sluss_card::Error::Certificate(_)) => {
            EnrolmentFault::Unfit {
                fault: key_fault(error),
            }
        }
        Error::AdminPinNeeded => EnrolmentFault::AdminPinNeeded,
        Error::AdminPinFormat => EnrolmentFault::AdminPinFormat,
        Error::WrongAdminPin { left } => EnrolmentFault::WrongAdminPin { tries_left: *left },
        Error::AdminPinBlocked => EnrolmentFault::AdminPinBlocked,
        Error::CannotMake => EnrolmentFault::CannotMake,
        Error::Unproven => EnrolmentFault::Unproven,
        Error::Card(error) => return words::refusal(error),
    })
}

fn algorithm(algorithm: sluss_ipc::Algorithm) -> sluss_card::Algorithm {
    match algorithm {
        sluss_ipc::Algorithm::X25519 => sluss_card::Algorithm::X25519,
        sluss_ipc::Algorithm::P256 => sluss_card::Algorithm::P256,
        sluss_ipc::Algorithm::P384 => sluss_card::Algorithm::P384,
        sluss_ipc::Algorithm::Rsa2048 => sluss_card::Algorithm::Rsa2048,
        sluss_ipc::Algorithm::Rsa3072 => sluss_card::Algorithm::Rsa3072,
        sluss_ipc::Algorithm::Rsa4096 => sluss_card::Algorithm::Rsa4096,
    }
}
