//! The whole engine through a day: what a user, a card, a network and a gateway do, and what must come of it.

mod day;
mod grace;
mod laptop;
mod pin;
mod place;
