//! The daemon: a pure engine and the one async loop that carries out what it says.
