//! The command: asks the daemon, and tells a person in English or Swedish.

fn main() {}
