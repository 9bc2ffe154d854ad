//! A plain WireGuard device on our engine, as the page "Cross-platform Userspace Implementation" of wireguard.com wants it.
//!
//! `wg`, `wg-quick` and any harness made for wireguard-go drive it unchanged. It is a tool of the tests: the key is in memory,
//! peers are many, and whoever may open the socket may read the key, none of which the product allows.

pub mod interface;
pub mod peers;
pub mod protocol;
pub mod server;
