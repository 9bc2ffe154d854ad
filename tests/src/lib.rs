//! The lab: namespaces, gateway, beacon, card rig and captures that the tests and the demo share.

pub mod netns;
pub mod trials;
