//! What IT wants: the policy and the device binding, parsed into types that cannot be wrong.
//!
//! The parser takes text and gives either a [`Policy`] or every mistake with its place. It opens no
//! file, and knows no key that runs a program. `docs/policy.md` describes each key.

mod card;
mod device;
mod document;
mod error;
mod gateway;
mod hosts;
mod keys;
mod location;
mod policy;
mod portal;
mod request;
mod values;

pub use card::{AfterUse, CardRules, CertificateRules, KeyMode, KeyUsage, Oid, OnRemoval, PinLife};
pub use device::{CardBinding, DeviceBinding, KeyId};
pub use error::{PolicyError, Problem, ValueError};
pub use gateway::{Endpoint, Gateway};
pub use hosts::{Host, HostName, HttpAddress};
pub use keys::{DEVICE_KEYS, KeyInfo, POLICY_KEYS};
pub use location::{Beacon, BeaconKind, LocationRules, WhenInside};
pub use policy::{Doctor, Login, Policy, Support, Timing, TunnelSettings, UserRights};
pub use portal::{PortalAnswer, PortalRules};
pub use request::{
    CardCertificate, EnrolmentRequest, REQUEST_KEYS, RequestCard, Signature, SignatureFault,
    SignatureMethod, SignedRequest, Signer, Unsigned,
};
pub use values::{Pin, PresharedKey, PublicKey, interface_address, label};

/// One policy or device file: its name, for messages only, and what it holds.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
}
