//! WireGuard as a calculation: messages, handshake, cookies, transport keys, timers, allowed IPs; no I/O, no clock, no threads.
