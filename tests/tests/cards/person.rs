//! Who takes part: a rig with a card, its holder, and another program.

use std::ffi::CString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use pcsc::{Protocols, Scope, ShareMode};
use sluss_card::sealed::{Method, SealedKey, seal};
use sluss_card::{Access, AfterUse, Binding, Config, KeyId, KeySource, PinLife};
use sluss_tests::cardholder::Cardholder;
use sluss_tests::netns::Netns;
use sluss_tests::rig::{PivIdentity, Rig, VirtualCard};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

/// How long anything may take that a trial does not measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn start() -> Result<(Rig, VirtualCard)> {
    let rig = Rig::start(Netns::own("own")?, Path::new("/run/rig"))?;
    let card = rig.card(0)?;
    Ok((rig, card))
}

/// The settings of a laptop that this card was enrolled on.
pub(crate) fn bound_to(card: &VirtualCard) -> Config {
    let identity = card.identity();
    let binding = Binding {
        serial: identity.serial.clone(),
        public_key: identity.public_key,
        id: KeyId::OpenPgp,
        source: KeySource::Held,
    };
    Config {
        binding: Some(binding),
        ..unbound()
    }
}

/// The settings of a laptop that no card was enrolled on. The rig's cards have the PIN of every new card.
fn unbound() -> Config {
    Config {
        binding: None,
        access: Access::Pcsc,
        pin: PinLife::Ask,
        after_use: AfterUse::Keep,
        allow_factory_pin: true,
        certificate: None,
    }
}

/// The settings of a laptop whose key is sealed to this card, and that key's public half.
pub(crate) fn sealed_to(card: &VirtualCard<PivIdentity>) -> Result<(Config, [u8; 32])> {
    let identity = card.identity();
    let (private, method) = ([0x51; 32], Method::EcdhP256);
    let file = seal(&private, method, &identity.public_key, &identity.serial)?;
    let public_key = x25519(private, X25519_BASEPOINT_BYTES);
    let binding = Binding {
        serial: identity.serial.clone(),
        public_key,
        id: KeyId::Piv,
        source: KeySource::Sealed(SealedKey::parse(&file)?),
    };
    let config = Config {
        binding: Some(binding),
        ..unbound()
    };
    Ok((config, public_key))
}

/// A card in the reader, and a worker that has not yet been listened to.
pub(crate) fn inserted() -> Result<(Rig, VirtualCard, Cardholder)> {
    let (rig, mut card) = start()?;
    card.insert()?;
    let user = Cardholder::start(bound_to(&card))?;
    Ok((rig, card, user))
}

/// The same after the PIN.
pub(crate) fn verified() -> Result<(Rig, VirtualCard, Cardholder)> {
    verified_with(PinLife::Ask, AfterUse::Keep)
}

/// The same with a policy of its own.
pub(crate) fn verified_with(
    pin: PinLife,
    after_use: AfterUse,
) -> Result<(Rig, VirtualCard, Cardholder)> {
    let (rig, mut card) = start()?;
    card.insert()?;
    let config = Config {
        pin,
        after_use,
        ..bound_to(&card)
    };
    let mut user = Cardholder::start(config)?;
    user.inserted()?;
    ensure!(user.unlock("123456")? == Ok(()));
    Ok((rig, card, user))
}

/// Another program that uses the card in the first reader; for pcscd each context is one.
pub(crate) struct Other(pub(crate) pcsc::Card);

impl Other {
    pub(crate) fn connect(rig: &Rig, share: ShareMode) -> Result<Other> {
        let context = pcsc::Context::establish(Scope::System)?;
        let reader = CString::new(rig.reader(0))?;
        Ok(Other(context.connect(&reader, share, Protocols::ANY)?))
    }

    pub(crate) fn exchange(&self, command: &[u8]) -> Result<Vec<u8>> {
        let mut buffer = [0; 258];
        Ok(self.0.transmit(command, &mut buffer)?.to_vec())
    }
}
