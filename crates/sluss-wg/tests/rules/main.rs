//! The rules of the whitepaper and of docs/decisions/0008, each seen from outside: datagrams, requests to the key's holder, deadlines.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod cookies;
mod gateways;
mod hostile;
mod initiator;
mod many;
mod paths;
mod responder;
mod rig;
mod timers;
mod town;
