//! One card, one key: APDUs, the OpenPGP card, PIN tries, and the PC/SC worker at its edge.
