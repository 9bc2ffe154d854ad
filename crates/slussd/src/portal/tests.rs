//! What answers amount to.
