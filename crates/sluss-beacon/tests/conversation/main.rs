//! Laptop and beacon, in memory: what proves that one is inside, and everything that does not.

mod answers;
mod hello;
mod keys;
mod rig;
mod server;
