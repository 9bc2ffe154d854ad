//! The daemon: a pure engine and the one async loop that carries out what it says.

mod agents;
pub mod binding;
mod card_config;
pub mod daemon;
pub mod doctor;
pub mod engine;
mod enrolment;
mod host_worker;
mod inquiries;
pub mod pkcs11;
pub mod portal;
pub mod probe;
mod reach_worker;
pub mod resolver;
mod tunnel;
mod vault;
pub mod visitor;
