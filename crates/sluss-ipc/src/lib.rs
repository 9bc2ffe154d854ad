//! The contract between daemon, command and agent: messages, framing, peer credentials.
//!
//! One connection carries one [`Request`] at a time; each is answered by one [`Response`], except
//! [`Request::Monitor`] and [`Request::Agent`], which are answered until the client hangs up.
//! A frame is a big-endian `u32` length followed by that many bytes of JSON.
//!
//! The daemon never writes a sentence: it sends states, and the command says them in the user's language.
//! The daemon runs [`server::serve`], which checks each caller's [`Role`] before the call reaches the engine and
//! redacts what goes back to an observer (feature `server`). Everybody else uses the blocking [`Client`], which needs no
//! async runtime.

mod agent;
mod card;
mod client;
pub mod doctor;
pub mod enroll;
mod error;
mod frame;
mod gateway;
mod message;
mod pin;
mod place;
mod policy;
mod role;
#[cfg(feature = "server")]
pub mod server;
mod status;

pub use agent::{Notice, Notices, Prompt, PromptId, PromptReason};
pub use card::{Algorithm, Card, CardFault, CardKind, CardReport, KeyMode, Reader, ReaderCard};
pub use client::Client;
pub use error::Error;
pub use frame::{Decoder, Message, encode};
pub use gateway::{Endpoint, EndpointState, Gateway, Resolution, ResolutionFault};
pub use message::{
    Beacon, Change, PolicyReport, PortalOpened, Refusal, Request, RequestFault, Response, What,
};
pub use pin::Pin;
pub use place::{
    BeaconKind, Evidence, InsideRule, Link, Location, LocationRules, Medium, Outcome,
    OutsideReason, Portal, PortalPage,
};
pub use policy::{AfterUse, CardPolicy, OnRemoval, PinLife, PolicyEndpoint, PortalPolicy};
pub use role::{Call, Peer, Role};
pub use status::{
    Deadline, DeadlineReason, DownReason, Host, HostMode, Intent, Key, PacketReport, PathMtu,
    PathVerdict, Segmentation, Status, Traffic, TunOffload, Tunnel, Warning, Why,
};

/// The number in the `schema` field of everything that is printed as JSON.
///
/// It grows when a field is removed or changes its meaning; new fields and new words come without notice.
pub const SCHEMA: u32 = 1;

/// Where the daemon listens unless it is told otherwise.
pub const SOCKET_PATH: &str = "/run/sluss/slussd.sock";

/// The account that the daemon may run as, besides root.
pub const SERVICE_USER: &str = "sluss";
