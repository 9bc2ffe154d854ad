//! What `sluss status -v` says of the path and the offloads, in each language.

use sluss_ipc::{PacketReport, PathMtu};

/// The words for how packets travel; a part of [`super::Text`].
pub(crate) trait PathText {
    /// The MTU in use, and the policy's if that is another.
    fn mtu(&self, packets: &PacketReport) -> String;
    /// What arrives at the gateway; without its age.
    fn path(&self, path: &PathMtu) -> String;
    /// One line each for the interface, for sending and for receiving.
    fn offloads(&self, packets: &PacketReport) -> [String; 3];
}
