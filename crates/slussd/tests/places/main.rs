//! A thousand walks through the places that a laptop goes to: each ends in the right verdict, and the tunnel comes and goes
//! no more often than the laptop itself.

mod laptop;
mod networks;
mod walk;
