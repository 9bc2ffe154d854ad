//! The office that vouches for cards: a certificate authority of the test's own.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SubjectPublicKeyInfo,
};
use sluss_card::key::CardKey;

/// Signs certificates with a key made for this test (P-256).
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
}

impl Authority {
    /// A new one, which vouches for itself.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&[(DnType::CommonName, "Exempel kommun Kort-CA")]);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.der().to_vec();
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
        })
    }

    /// Its own certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// A certificate (DER) that says so of this key.
    pub fn issue(&self, key: &CardKey, params: CertificateParams) -> Result<Vec<u8>> {
        let key = SubjectPublicKeyInfo::from_der(&key.to_spki())?;
        Ok(params.signed_by(&key, &self.issuer)?.der().to_vec())
    }

    /// What a sound employee's certificate says.
    pub fn employee() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&[
            (DnType::CountryName, "SE"),
            (DnType::OrganizationName, "Exempel kommun"),
            (DnType::CommonName, "Kim Exempel"),
        ]);
        params.key_usages = vec![
            KeyUsagePurpose::KeyAgreement,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params
    }
}

fn name(parts: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (kind, value) in parts {
        name.push(kind.clone(), *value);
    }
    name
}
