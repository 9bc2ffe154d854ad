//! The daemon: a pure engine and the one async loop that carries out what it says.

pub mod daemon;
pub mod engine;
mod host_worker;
pub mod pkcs11;
pub mod probe;
mod tunnel;
