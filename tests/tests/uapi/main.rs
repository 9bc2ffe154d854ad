//! Our engine as a plain WireGuard device: driven by wg and wg-quick, and compared with wireguard-go, request by request.

mod differential;
mod life;
mod traffic;

use std::process::ExitCode;

use sluss_tests::{trial, trials};

use differential::{
    a_request_may_come_in_pieces_and_beside_others, every_request_is_answered_as_by_wireguard_go,
    wg_finds_what_it_finds_at_wireguard_go,
};
use life::{
    a_socket_is_taken_over_from_the_dead_only, it_ends_by_signal_device_or_socket,
    wg_quick_brings_it_up_and_down,
};
use traffic::{
    a_keepalive_is_sent_while_there_is_nothing_to_send, a_mark_is_on_what_is_sent_from_now_on,
    a_preshared_key_counts_from_the_next_handshake, a_removed_peer_is_heard_no_more,
    an_address_moves_between_peers_without_a_loss, another_port_another_key_the_same_peers,
    several_peers_have_traffic_each,
};

fn main() -> ExitCode {
    trials::main(&[
        trial!(every_request_is_answered_as_by_wireguard_go),
        trial!(wg_finds_what_it_finds_at_wireguard_go),
        trial!(a_request_may_come_in_pieces_and_beside_others),
        trial!(several_peers_have_traffic_each),
        trial!(an_address_moves_between_peers_without_a_loss),
        trial!(a_preshared_key_counts_from_the_next_handshake),
        trial!(another_port_another_key_the_same_peers),
        trial!(a_mark_is_on_what_is_sent_from_now_on),
        trial!(a_keepalive_is_sent_while_there_is_nothing_to_send),
        trial!(a_removed_peer_is_heard_no_more),
        trial!(wg_quick_brings_it_up_and_down),
        trial!(it_ends_by_signal_device_or_socket),
        trial!(a_socket_is_taken_over_from_the_dead_only),
    ])
}
