//! Two tunnels of ours, back to back over a cable: real TUN devices, real kernel, every byte looked at.

mod bulk;
mod cable;
mod checksums;
mod content;
mod life;
mod mixes;
mod packets;
mod rules;

use std::process::ExitCode;

use sluss_tests::{trial, trials};

use bulk::*;
use checksums::*;
use life::*;
use mixes::*;
use rules::*;

fn main() -> ExitCode {
    trials::main(&[
        trial!(tcp_of_every_size_at_every_mtu),
        trial!(udp_of_every_size_at_every_mtu),
        trial!(a_million_packets_with_every_pair_of_offloads),
        trial!(random_packets_arrive_as_they_were),
        trial!(random_conversations_are_understood),
        trial!(tcpdump_finds_no_bad_checksum),
        trial!(damaged_packets_are_not_repaired),
        trial!(bulk_both_ways),
        trial!(datagrams_larger_than_the_path_are_fragmented),
        trial!(in_bad_weather_nothing_comes_twice_or_forged),
        trial!(sessions_follow_each_other_in_bad_weather),
        trial!(no_counter_is_used_twice),
        trial!(connections_survive_bad_weather),
        trial!(what_is_sent_carries_the_mark),
        trial!(a_host_without_ipv6_is_served),
        trial!(a_held_key_is_asked_elsewhere_and_nothing_stalls),
        trial!(traffic_outlives_a_lost_network),
        trial!(a_moved_laptop_keeps_its_connections),
        trial!(a_removed_device_is_told),
        trial!(an_idle_tunnel_sleeps),
        trial!(a_tunnel_stops_at_once),
        trial!(noise_at_the_port_is_refused),
    ])
}
