//! What a laptop can be enrolled with: a card, or what stands for one, its PIN, and where its key is.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sluss_card::key::{Algorithm, CardKey};
use sluss_card::sealed::{self, Method};
use sluss_policy::{CardBinding, PublicKey};
use x25519_dalek::{PublicKey as Point, StaticSecret};

use crate::authority::Authority;
use crate::rig::{PivIdentity, Rig, VirtualCard};

/// A card that a laptop is enrolled with.
pub trait ServiceCard {
    /// Puts it into its reader.
    fn insert(&mut self) -> Result<()>;

    /// Pulls it, and says when that was (see [`crate::moment`]).
    fn remove(&mut self) -> Result<Duration>;

    /// What its user types.
    fn pin(&self) -> &str;

    /// What enrolment has written down.
    fn binding(&self) -> CardBinding;

    /// What policy says of the way to it: lines of the section `[card]`.
    fn policy(&self) -> String {
        String::new()
    }

    /// What the daemon's middleware wants to find in the environment.
    fn environment(&self) -> Vec<(&'static str, OsString)> {
        Vec::new()
    }

    /// Uses of the key so far; unknown for a token that does not count.
    fn uses(&mut self) -> Result<Option<u64>>;

    /// Makes each use of the key take that much longer.
    fn delay(&mut self, delay: Duration) -> Result<()>;

    /// WireGuard's private key, which must never be seen: the card's, or that which is sealed to it.
    fn private_key(&self) -> [u8; 32];
}

impl<C: ServiceCard + ?Sized> ServiceCard for Box<C> {
    fn insert(&mut self) -> Result<()> {
        (**self).insert()
    }

    fn remove(&mut self) -> Result<Duration> {
        (**self).remove()
    }

    fn pin(&self) -> &str {
        (**self).pin()
    }

    fn binding(&self) -> CardBinding {
        (**self).binding()
    }

    fn policy(&self) -> String {
        (**self).policy()
    }

    fn environment(&self) -> Vec<(&'static str, OsString)> {
        (**self).environment()
    }

    fn uses(&mut self) -> Result<Option<u64>> {
        (**self).uses()
    }

    fn delay(&mut self, delay: Duration) -> Result<()> {
        (**self).delay(delay)
    }

    fn private_key(&self) -> [u8; 32] {
        (**self).private_key()
    }
}

/// The key is the card's own.
impl ServiceCard for VirtualCard {
    fn insert(&mut self) -> Result<()> {
        VirtualCard::insert(self)
    }

    fn remove(&mut self) -> Result<Duration> {
        VirtualCard::remove(self)
    }

    fn pin(&self) -> &str {
        &self.identity().pin
    }

    fn binding(&self) -> CardBinding {
        CardBinding {
            serial: self.identity().serial.clone(),
            public_key: PublicKey::from(self.identity().public_key),
            key: None,
            sealed_key: None,
        }
    }

    fn uses(&mut self) -> Result<Option<u64>> {
        Ok(Some(self.stats()?.dh))
    }

    fn delay(&mut self, delay: Duration) -> Result<()> {
        VirtualCard::delay(self, delay)
    }

    fn private_key(&self) -> [u8; 32] {
        self.identity().private_key
    }
}

/// A PIV card, and a software key that is sealed to its key in slot 9D.
pub struct SealedToPiv {
    pub card: VirtualCard<PivIdentity>,
    key: SealedKey,
}

impl SealedToPiv {
    /// A new card with such a key, and a certificate by `issuer`.
    pub fn new(rig: &Rig, algorithm: Algorithm, issuer: &Authority) -> Result<SealedToPiv> {
        let card = rig.piv_card(0, algorithm, issuer)?;
        let method = match algorithm {
            Algorithm::P256 => Method::EcdhP256,
            Algorithm::P384 => Method::EcdhP384,
            Algorithm::Rsa2048 | Algorithm::Rsa3072 | Algorithm::Rsa4096 => Method::RsaOaepSha256,
            Algorithm::X25519 => bail!("X25519 is held"),
        };
        let identity = card.identity();
        let key = SealedKey::seal(method, &identity.public_key, &identity.serial)?;
        Ok(SealedToPiv { card, key })
    }
}

impl ServiceCard for SealedToPiv {
    fn insert(&mut self) -> Result<()> {
        self.card.insert()
    }

    fn remove(&mut self) -> Result<Duration> {
        self.card.remove()
    }

    fn pin(&self) -> &str {
        &self.card.identity().pin
    }

    fn binding(&self) -> CardBinding {
        CardBinding {
            serial: self.card.identity().serial.clone(),
            public_key: self.key.public_key(),
            key: "piv:9d".parse().ok(),
            sealed_key: Some(self.key.file.clone()),
        }
    }

    fn uses(&mut self) -> Result<Option<u64>> {
        Ok(Some(self.card.stats()?.dh))
    }

    fn delay(&mut self, delay: Duration) -> Result<()> {
        self.card.delay(delay)
    }

    fn private_key(&self) -> [u8; 32] {
        self.key.private_key.to_bytes()
    }
}

/// A software key that the lab knows, and the file that enrolment makes of it.
pub(crate) struct SealedKey {
    pub(crate) private_key: StaticSecret,
    pub(crate) file: Vec<u8>,
}

impl SealedKey {
    pub(crate) fn seal(method: Method, card: &CardKey, serial: &str) -> Result<SealedKey> {
        let private_key = new_key()?;
        let file = sealed::seal(private_key.as_bytes(), method, card, serial)?;
        Ok(SealedKey { private_key, file })
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        PublicKey::from(Point::from(&self.private_key).to_bytes())
    }
}

/// A new software key.
pub(crate) fn new_key() -> Result<StaticSecret> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .ok()
        .context("no randomness")?;
    Ok(StaticSecret::from(bytes))
}
