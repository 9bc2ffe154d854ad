//! The areas: what each shows, and by which checks.

use super::Area;
use super::Check::{Cargo, Crate, Demo, Lab, Tidy, Valgrind};

/// An area that runs nothing but its own tests, one after the other.
const PLAIN: Area = Area {
    name: "",
    shows: "",
    checks: &[],
    needs_lab: false,
    aside: false,
};

pub(super) const AREAS: &[Area] = &[
    Area {
        name: "interop",
        shows: "wireguard-go and gotatun as peers, both roles, over two rekeys of their own clock",
        checks: &[Lab("interop")],
        needs_lab: true,
        aside: true,
    },
    Area {
        name: "uapi",
        shows: "our engine as a plain WireGuard device: wg, wg-quick, and every request beside wireguard-go",
        checks: &[Crate("uapi"), Lab("uapi")],
        needs_lab: true,
        ..PLAIN
    },
    Area {
        name: "tidy",
        shows: "formatting, lints, and the rules of the house",
        checks: &[
            Tidy,
            Cargo("rustfmt", &["fmt", "--all", "--check"]),
            Cargo("clippy", CLIPPY),
            Crate("xtask"),
        ],
        ..PLAIN
    },
    Area {
        name: "wg",
        shows: "the WireGuard protocol, alone and against boringtun",
        checks: &[Crate("sluss-wg"), Lab("wg_differential")],
        ..PLAIN
    },
    Area {
        name: "fuzz",
        shows: "what a fuzzer has found worth keeping, read again by every parser",
        checks: &[Crate("fuzz")],
        ..PLAIN
    },
    Area {
        name: "supervisor",
        shows: "policy, and the decision when the tunnel is up",
        checks: &[Crate("sluss-policy"), Crate("sluss-supervisor")],
        ..PLAIN
    },
    Area {
        name: "beacon",
        shows: "the proof of being inside, from both sides: every lie, a crowd, and the page that sets one up",
        checks: &[Crate("sluss-beacon"), Lab("beacon")],
        needs_lab: true,
        ..PLAIN
    },
    Area {
        name: "cards",
        shows: "every kind of card and key, through a real pcscd and in the shipped daemon",
        checks: &[
            Crate("sluss-card"),
            Lab("cards"),
            Lab("pkcs11"),
            Lab("piv"),
            Lab("keys"),
        ],
        needs_lab: true,
        ..PLAIN
    },
    Area {
        name: "tunnel",
        shows: "packets through two tunnels of ours: sizes, families, offloads",
        checks: &[Crate("sluss-tunnel"), Lab("tunnel"), Lab("path_mtu")],
        ..PLAIN
    },
    Area {
        name: "gateways",
        shows: "a gateway that is silent, and the one that stands in for it, by both families",
        checks: &[Lab("gateways")],
        needs_lab: true,
        ..PLAIN
    },
    Area {
        name: "bench",
        shows: "the benchmark measures what it says, whatever the speeds",
        checks: &[Lab("bench")],
        needs_lab: true,
        ..PLAIN
    },
    Area {
        name: "loom",
        shows: "letters and keepalive cells between the tunnel's threads, in every order of events",
        checks: &[Crate("loom")],
        ..PLAIN
    },
    Area {
        name: "unsafe",
        shows: "the tests of every crate that may have unsafe code, under valgrind",
        checks: &[
            Valgrind("sluss-platform"),
            Valgrind("sluss-ipc"),
            Valgrind("pam_sluss"),
        ],
        ..PLAIN
    },
    Area {
        name: "platform",
        shows: "routes, firewall, links, names and clock of a real kernel",
        checks: &[Crate("sluss-platform"), Lab("platform"), Lab("names")],
        ..PLAIN
    },
    Area {
        name: "ipc",
        shows: "the socket and the command",
        checks: &[Crate("sluss-ipc"), Crate("sluss"), Lab("ipc")],
        ..PLAIN
    },
    Area {
        name: "enroll",
        shows: "a laptop bound to a card, and let in by a gateway",
        checks: &[Lab("enroll")],
        needs_lab: true,
        ..PLAIN
    },
    Area {
        name: "agent",
        shows: "the PIN asked for and the notifications in the user's session",
        checks: &[Lab("agent")],
        needs_lab: true,
        ..PLAIN
    },
    Area {
        name: "daemon",
        shows: "the engine and the loop",
        checks: &[Crate("slussd")],
        ..PLAIN
    },
    Area {
        name: "lab",
        shows: "the shipped binaries from outside: times, wake-ups, memory, bad cards",
        checks: &[
            Lab("sluss_tests"),
            Lab("netns"),
            Lab("world"),
            Lab("boot_clock"),
            Lab("lab"),
        ],
        needs_lab: true,
        ..PLAIN
    },
    Area {
        name: "location",
        shows: "where the laptop is, in every place that it goes to, and how soon it knows",
        checks: &[Lab("location")],
        needs_lab: true,
        ..PLAIN
    },
    Area {
        name: "login",
        shows: "the PIN typed at login, through PAM and systemd of a booted system",
        checks: &[Crate("pam_sluss"), Lab("login")],
        needs_lab: true,
        ..PLAIN
    },
    Area {
        name: "demo",
        shows: "the working day of a service laptop",
        checks: &[Demo],
        needs_lab: true,
        ..PLAIN
    },
];

const CLIPPY: &[&str] = &[
    "clippy",
    "--quiet",
    "--workspace",
    "--all-targets",
    "--",
    "--deny",
    "warnings",
];
