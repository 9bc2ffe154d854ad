//! A program for the kernel that drops messages about neighbours before they wake anybody (its documentation's filter.rst).

use std::collections::BTreeMap;
use std::net::IpAddr;

use nix::libc;
use sluss_supervisor::LinkLayerAddress;
use socket2::SockFilter;

use super::Gateway;

/// Where things are in a message, in bytes from its beginning (linux/netlink.h, linux/neighbour.h).
const FAMILY: u32 = 16;
const INDEX: u32 = 20;
const ATTRIBUTES: u32 = 28;
/// In an attribute: its length, and what it holds.
const LENGTH: u32 = 0;
const CONTENT: u32 = 4;
/// Kinds of attributes.
const ADDRESS: u32 = 1;
const LINK_LAYER_ADDRESS: u32 = 2;
/// The length of an attribute that holds six bytes.
const SIX_BYTES: u16 = 4 + 6;

/// Where in the program's memory the link-layer address is kept; the address is in the register X.
const KEPT: u32 = 0;

/// Passes a message about one of these gateways with a link-layer address that is not the known one, or with any if none
/// is known.
pub(super) fn filter(gateways: &BTreeMap<Gateway, Option<LinkLayerAddress>>) -> Vec<SockFilter> {
    let mut program = Vec::new();
    // A neighbour that was not found has none.
    program.extend(find(LINK_LAYER_ADDRESS));
    program.extend([
        load_from_x(libc::BPF_H, LENGTH),
        jump_if_equal(half(SIX_BYTES.to_ne_bytes()), 1, 0),
        drop(),
        instruction(libc::BPF_STX, KEPT),
    ]);
    program.extend(find(ADDRESS));
    for (gateway, known) in gateways {
        program.extend(about(*gateway, *known));
    }
    program.push(drop());
    program
}

/// X is where the first attribute of a kind is; a message without one is dropped.
fn find(kind: u32) -> [SockFilter; 6] {
    [
        instruction(libc::BPF_LD | libc::BPF_IMM, ATTRIBUTES),
        instruction(libc::BPF_LDX | libc::BPF_IMM, kind),
        load(
            libc::BPF_W,
            (libc::SKF_AD_OFF + libc::SKF_AD_NLATTR).cast_unsigned(),
        ),
        jump_if_equal(0, 0, 1),
        drop(),
        instruction(libc::BPF_MISC | libc::BPF_TAX, 0),
    ]
}

/// The verdict on a message about one gateway; a message about another neighbour goes on behind it.
fn about((index, address): Gateway, known: Option<LinkLayerAddress>) -> Vec<SockFilter> {
    let (family, bytes) = match address {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    let mut tests = vec![
        (load(libc::BPF_B, FAMILY), family.cast_unsigned()),
        (load(libc::BPF_W, INDEX), word(index.to_ne_bytes())),
    ];
    let (words, _) = bytes.as_chunks();
    for (place, bytes) in (CONTENT..).step_by(4).zip(words) {
        tests.push((load_from_x(libc::BPF_W, place), word(*bytes)));
    }
    let verdict = match known {
        None => vec![pass()],
        Some(LinkLayerAddress([a, b, c, d, e, f])) => vec![
            instruction(libc::BPF_LDX | libc::BPF_MEM, KEPT),
            load_from_x(libc::BPF_W, CONTENT),
            jump_if_equal(word([a, b, c, d]), 0, 2),
            load_from_x(libc::BPF_H, CONTENT + 4),
            jump_if_equal(half([e, f]), 1, 0),
            pass(),
            drop(),
        ],
    };
    let length = 2 * tests.len() + verdict.len();
    let mut program = Vec::with_capacity(length);
    for (load, value) in tests {
        program.push(load);
        let behind = length - program.len() - 1;
        let behind = u8::try_from(behind).expect("a gateway's part has 19 instructions at most");
        program.push(jump_if_equal(value, 0, behind));
    }
    program.extend(verdict);
    program
}

fn load(size: u32, place: u32) -> SockFilter {
    instruction(libc::BPF_LD | libc::BPF_ABS | size, place)
}

fn load_from_x(size: u32, place: u32) -> SockFilter {
    instruction(libc::BPF_LD | libc::BPF_IND | size, place)
}

/// Goes on so many instructions behind the next one.
fn jump_if_equal(value: u32, equal: u8, other: u8) -> SockFilter {
    let code = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    SockFilter::new(code as u16, equal, other, value)
}

fn pass() -> SockFilter {
    instruction(libc::BPF_RET, u32::MAX)
}

fn drop() -> SockFilter {
    instruction(libc::BPF_RET, 0)
}

fn instruction(code: u32, value: u32) -> SockFilter {
    // The kernel's codes have 16 bits.
    SockFilter::new(code as u16, 0, 0, value)
}

/// As the program loads them: the first byte is the highest, whatever the machine.
fn word(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes)
}

fn half(bytes: [u8; 2]) -> u32 {
    u16::from_be_bytes(bytes).into()
}
