//! The proof of being inside: what a laptop and a beacon say to each other, as calculations on bytes.
//!
//! A beacon is a TLS 1.3 server that only the internal network can reach. It proves itself by its pinned key, and then
//! tells, unasked, from which address and port it was called. If that is not the caller's own socket, somebody stands
//! in between. A [`Probe`] is the laptop's side of one connection, a [`Visit`] the beacon's. Neither does I/O nor reads a clock.

mod answer;
mod config;
mod identity;
mod pins;
mod probe;
mod trust;
mod visit;

pub use answer::{Answer, MalformedAnswer, Name};
pub use config::{BadAddress, BadConfig, Config, address};
pub use identity::{BadIdentity, Identity};
pub use pins::{certificate_pin, key_pin};
pub use probe::{NoProof, Probe, Proof};
pub use visit::{Visit, VisitEnd};
