//! The contract between daemon, command and agent: messages, framing, peer credentials.
