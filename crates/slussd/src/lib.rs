//! The daemon: a pure engine and the one async loop that carries out what it says.

mod agents;
mod card_config;
pub mod daemon;
pub mod engine;
pub mod enrolment;
mod host_worker;
pub mod pkcs11;
pub mod probe;
mod reach_worker;
mod tunnel;
mod vault;
