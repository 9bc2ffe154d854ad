//! Laptop and beacon, in memory: what proves that one is inside, and everything that does not.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod answers;
mod hello;
mod keys;
mod rig;
mod server;
