//! The ways to have a key, and what each is called.

use std::path::Path;

use anyhow::Result;
use sluss_card::key::Algorithm;
use sluss_card::sealed::Method;
use sluss_tests::authority::Authority;
use sluss_tests::rig::Rig;
use sluss_tests::service_card::{SealedToPiv, ServiceCard};
use sluss_tests::stage::{Setup, Stage};
use sluss_tests::token::{ByOpensc, SoftToken};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    OpenPgp,
    OpenPgpByOpensc,
    Piv(Algorithm),
    PivByOpensc(Algorithm, Method),
    Token(Method),
}

impl Way {
    /// A laptop in the lab that is enrolled so.
    pub(crate) fn stage(self, setup: Setup) -> Result<Stage<Box<dyn ServiceCard>>> {
        Stage::set_up(setup, |rig, directory| self.make(rig, directory))
    }

    fn make(self, rig: &Rig, directory: &Path) -> Result<Box<dyn ServiceCard>> {
        Ok(match self {
            Way::OpenPgp => Box::new(rig.issued_card(0)?),
            Way::OpenPgpByOpensc => Box::new(ByOpensc::openpgp(rig.issued_card(0)?)?),
            Way::Piv(key) => Box::new(SealedToPiv::new(rig, key, &Authority::new()?)?),
            Way::PivByOpensc(key, method) => {
                let card = rig.piv_card(0, key, &Authority::new()?)?;
                Box::new(ByOpensc::piv(card, method)?)
            }
            Way::Token(method) => Box::new(SoftToken::new(directory, method)?),
        })
    }

    /// Whether the card computes each Diffie-Hellman itself.
    pub(crate) fn is_held(self) -> bool {
        match self {
            Way::OpenPgp | Way::OpenPgpByOpensc => true,
            Way::Piv(_) | Way::PivByOpensc(..) | Way::Token(_) => false,
        }
    }

    /// Whether the card can be pulled.
    pub(crate) fn is_card(self) -> bool {
        !matches!(self, Way::Token(_))
    }

    /// Kind, mode and algorithm as the daemon tells them.
    pub(crate) fn told(self) -> [&'static str; 3] {
        match self {
            Way::OpenPgp => ["OpenPGP", "held", "X25519"],
            Way::OpenPgpByOpensc => ["PKCS#11", "held", "X25519"],
            Way::Piv(key) => ["PIV", "sealed", name(key)],
            Way::PivByOpensc(key, _) => ["PKCS#11", "sealed", name(key)],
            Way::Token(Method::EcdhP256) => ["PKCS#11", "sealed", "P-256"],
            Way::Token(Method::EcdhP384) => ["PKCS#11", "sealed", "P-384"],
            Way::Token(Method::RsaOaepSha256 | Method::RsaPkcs1 | Method::RsaSignature) => {
                ["PKCS#11", "sealed", "RSA-2048"]
            }
        }
    }
}

fn name(key: Algorithm) -> &'static str {
    match key {
        Algorithm::X25519 => "X25519",
        Algorithm::P256 => "P-256",
        Algorithm::P384 => "P-384",
        Algorithm::Rsa2048 => "RSA-2048",
        Algorithm::Rsa3072 => "RSA-3072",
        Algorithm::Rsa4096 => "RSA-4096",
    }
}
