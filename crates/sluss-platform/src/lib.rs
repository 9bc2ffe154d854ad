//! The operating system behind one interface: TUN, UDP sockets, addresses, routes, firewall, link watcher, clock.
