//! The lab: namespaces, gateway, beacon, card rig and captures that the tests and the demo share.

pub mod artifacts;
pub mod authority;
pub mod bench;
pub mod boot_clock;
pub mod capture;
pub mod cardholder;
pub mod container;
pub mod demo;
pub mod dhcp;
pub mod end;
pub mod gateway;
pub mod laptop;
pub mod logind;
pub mod memory;
pub mod moment;
pub mod netns;
pub mod relay;
pub mod rig;
pub mod servers;
pub mod service_card;
pub mod stage;
pub mod tap;
pub mod token;
pub mod trials;
pub mod uapi;
pub mod world;
