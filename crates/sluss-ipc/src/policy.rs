//! What policy says of gateways, portals, cards and logins, in the policy's own words.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::KeyMode;

/// A section `[[endpoint]]` of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyEndpoint {
    /// Name or address, and port.
    pub address: String,
    pub priority: u8,
    pub fallback: Vec<IpAddr>,
}

/// Section `[portal]` of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortalPolicy {
    /// What is asked for, to see whether a login page answers.
    pub probe: String,
    /// Whether `sluss portal` may open the way to it.
    pub open: bool,
}

/// Section `[card]` of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardPolicy {
    /// What enrolment may choose from.
    pub modes: Vec<KeyMode>,
    /// Whether a sealed key may hang on a signature.
    pub signature_wrap: bool,
    pub pin: PinLife,
    pub after_use: AfterUse,
    pub on_removal: OnRemoval,
    /// With `on-removal` as `grace`: how long.
    pub grace_ms: Option<u64>,
    pub allow_factory_pin: bool,
    /// None if cards are reached by PC/SC.
    pub pkcs11_module: Option<String>,
    /// Whose certificate a key needs; empty if it needs none.
    pub certificate_issuers: Vec<String>,
    pub certificate_subject: Option<String>,
}

/// How long a typed PIN lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PinLife {
    /// As long as the card remembers it.
    Ask,
    /// Until the card is pulled, it or the screen is locked, or the laptop sleeps.
    UntilLock,
}

/// What becomes of the card's verified state after each use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AfterUse {
    Keep,
    Unverify,
    Reset,
}

/// What a pulled card means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnRemoval {
    Disconnect,
    LockSession,
    Grace,
}
