//! The way to one card, as an operator sees it: PC/SC, or a PKCS#11 module.

use crate::Error;
use crate::applet::Applet;
use crate::attend::Parting;
use std::time::Instant;

/// The way to one card, kept open between tasks. Every call may block as long as the host's service likes.
pub(crate) trait Line {
    /// Runs `work`, once, on the application with the bound key, while no other program can talk to the card; then leaves
    /// the card as `work` says. Nothing more is sent to the card after the deadline.
    ///
    /// # Errors
    /// Before `work`: [`Error::NoApplet`], [`Error::Gone`], [`Error::Busy`], [`Error::Mute`], [`Error::Service`], …
    /// After it, when the card cannot be left as wished.
    fn transact(
        &mut self,
        deadline: Option<Instant>,
        work: &mut dyn FnMut(&mut dyn Applet) -> Parting,
    ) -> Result<(), Error>;

    /// Whether another program has had the card reset while we used it, so that what we asked of it came to nothing.
    fn was_reset(&self) -> bool;

    /// Lets go of the card, which is left as it is, until the next transaction: meanwhile nothing of it is needed.
    fn let_go(&mut self);
}
