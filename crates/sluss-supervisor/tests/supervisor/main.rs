//! The supervisor in a small world of its own: stories with a known end, and random days against a judge.

mod judge;
mod laptop;
mod places;
mod pulls;
mod random;
mod stories;
mod world;
