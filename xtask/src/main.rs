//! `cargo xtask`: demo, test and tidy, and what they need installed.

fn main() {}
