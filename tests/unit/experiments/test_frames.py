"""Frames of witnesses, as another implementation reads them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from scapy.layers.l2 import Ether

from controller.openflow.probe import frame_of
from controller.verify.packet import TCP, Packet
from controller.wire.frames import ICMPV6
from experiments.frames import same_packet, save_frame, sendable_frame
from lab.pcap import read_pcap

PACKET = Packet(
    "02:00:00:00:00:01",
    "02:00:00:00:00:02",
    IPv6Address("2001:db8::1"),
    IPv6Address("fd00::2"),
    port_src=49999,
    port_dst=53,
)
PACKETS = {
    "udp": PACKET,
    "tcp": replace(PACKET, ip_proto=TCP, frame_bytes=201),
    "icmpv6": replace(PACKET, ip_proto=ICMPV6, port_src=None, port_dst=None, icmpv6_type=128),
    "tagged": replace(PACKET, tags=(3,)),
    "tagged twice": replace(PACKET, ip_proto=TCP, tags=(3, 4)),
    "other": replace(PACKET, ip_proto=253, port_src=None, port_dst=None),
}


@pytest.mark.parametrize("name", PACKETS)
def test_lengths_and_checksums_are_right(name: str) -> None:
    packet = PACKETS[name]
    frame = sendable_frame(packet)
    assert len(frame) == packet.frame_bytes + 4 * len(packet.tags)
    read = Ether(frame)
    again = Ether(frame)
    for layer in again.layers():
        for field in ("cksum", "chksum"):
            if field in again[layer].fields:
                del again[layer].fields[field]
    if "UDP" in again:
        del again["UDP"].len
    assert bytes(again) == frame == bytes(read)


def test_a_fragment_is_left_as_it_is() -> None:
    packet = replace(PACKET, port_src=None, port_dst=None, is_fragment=True)
    assert sendable_frame(packet) == frame_of(packet)


def test_no_frame_is_too_short_for_its_headers() -> None:
    with pytest.raises(ValueError, match="too few for the headers"):
        sendable_frame(replace(PACKET, frame_bytes=60))


def test_a_packet_is_the_same_after_some_hops() -> None:
    frame = sendable_frame(PACKET)
    later = replace(PACKET, eth_src="02:00:00:00:00:07", eth_dst="02:00:00:00:00:08", hop_limit=61)
    assert same_packet(frame, sendable_frame(later))
    assert same_packet(frame, sendable_frame(replace(later, tags=(5,))))
    assert same_packet(frame, frame + bytes(7)), "Ethernet pads"


@pytest.mark.parametrize(
    "other",
    [
        sendable_frame(replace(PACKET, port_dst=54)),
        sendable_frame(replace(PACKET, dst=IPv6Address("fd00::3"))),
        sendable_frame(replace(PACKET, frame_bytes=101)),
        sendable_frame(PACKET)[:50],
        b"",
    ],
)
def test_another_packet_is_another(other: bytes) -> None:
    assert not same_packet(sendable_frame(PACKET), other)


def test_a_frame_is_saved_as_pcap(tmp_path: Path) -> None:
    frame = sendable_frame(PACKET)
    save_frame(tmp_path / "one.pcap", frame)
    (record,) = read_pcap(tmp_path / "one.pcap")
    assert (record.frame, record.time_ns, record.original_length) == (frame, 0, len(frame))
