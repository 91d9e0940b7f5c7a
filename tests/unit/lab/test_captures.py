"""Captures in real network namespaces: nothing missed, nothing extra, counts that add up."""

from __future__ import annotations

import csv
import socket
import time
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from lab.bpf import INBOUND, MULTICAST
from lab.captures import CaptureSet
from lab.pcap import PcapError, decode_ipv6, read_pcap
from tests.unit.lab.namespaces import connect, isolated, new_namespace, wait_reachable


def _counts(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["node"]: row for row in csv.DictReader(file)}


@isolated
def test_inbound_holds_every_frame_received_from_before_the_interface_exists(tmp_path: Path) -> None:
    origin, user = new_namespace(), new_namespace()
    captures = CaptureSet(tmp_path / "captures.csv")
    captures.open("origin", origin.fd, tmp_path / "origin.pcap", INBOUND)
    process = captures.start()
    connect(origin, "origin-eth0", user, "user1-eth0")
    origin.command("ip", "address", "add", "fd00::1/64", "dev", "origin-eth0", "nodad")
    user.command("ip", "address", "add", "fd00::2/64", "dev", "user1-eth0", "nodad")
    wait_reachable(user, origin, "fd00::1")
    before_ns = time.time_ns()
    with user.entered():
        sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    for number in range(500):
        sender.sendto(number.to_bytes(2, "big") + bytes(998), ("fd00::1", 9))
    with origin.entered():
        loopback = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    loopback.sendto(b"to itself", ("::1", 9))
    loopback.close()
    after_ns = time.time_ns()
    sender.close()
    process.stop()

    frames = list(read_pcap(tmp_path / "origin.pcap"))
    datagrams = [
        record
        for record in frames
        if (ip := decode_ipv6(record.frame)) is not None and ip.next_header == socket.IPPROTO_UDP
        if record.frame[56:58] == (9).to_bytes(2, "big")
    ]
    assert [int.from_bytes(record.frame[62:64], "big") for record in datagrams] == list(range(500))
    assert {record.original_length for record in datagrams} == {14 + 40 + 8 + 1000}
    assert {len(record.frame) for record in datagrams} == {160}
    assert all(before_ns <= record.time_ns <= after_ns for record in datagrams)
    decoded = [ip for record in frames if (ip := decode_ipv6(record.frame)) is not None]
    assert all(ip.source not in (IPv6Address("fd00::1"), IPv6Address("::1")) for ip in decoded)
    counts = _counts(tmp_path / "captures.csv")["origin"]
    assert counts == {
        "node": "origin",
        "filter": "inbound",
        "seen": str(len(frames)),
        "written": str(len(frames)),
        "dropped": "0",
    }


@isolated
def test_multicast_is_seen_in_both_directions_and_unicast_is_not(tmp_path: Path) -> None:
    user, router = new_namespace(), new_namespace()
    captures = CaptureSet(tmp_path / "captures.csv")
    captures.open("user1", user.fd, tmp_path / "user1.pcap", MULTICAST)
    captures.open("router", router.fd, tmp_path / "router.pcap", MULTICAST)
    process = captures.start()
    connect(user, "user1-eth0", router, "r-eth1")
    user.command("ip", "address", "add", "2001:db8::2/64", "dev", "user1-eth0", "nodad")
    router.command("ip", "address", "add", "2001:db8::1/64", "dev", "r-eth1", "nodad")
    wait_reachable(user, router, "2001:db8::1")
    for namespace, interface, group in ((user, "user1-eth0", "ff3e::1"), (router, "r-eth1", "ff35::2")):
        with namespace.entered():
            sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            index = socket.if_nametoindex(interface)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 3)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sender.sendto(b"x", (group, 9))
        sender.close()
    with user.entered():
        sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sender.sendto(b"unicast", ("2001:db8::1", 9))
    sender.close()
    process.stop()
    for node in ("user1", "router"):
        decoded = [decode_ipv6(record.frame) for record in read_pcap(tmp_path / f"{node}.pcap")]
        assert all(ip is not None and ip.destination.is_multicast for ip in decoded)
        groups = {(str(ip.destination), ip.multicast_scope) for ip in decoded if ip is not None}
        assert {("ff3e::1", 0xE), ("ff35::2", 0x5)} <= groups


@isolated
def test_a_full_buffer_is_counted_as_dropped_not_forgotten(tmp_path: Path) -> None:
    origin, user = new_namespace(), new_namespace()
    connect(origin, "origin-eth0", user, "user1-eth0")
    origin.command("ip", "address", "add", "fd00::1/64", "dev", "origin-eth0", "nodad")
    user.command("ip", "address", "add", "fd00::2/64", "dev", "user1-eth0", "nodad")
    wait_reachable(user, origin, "fd00::1")
    captures = CaptureSet(tmp_path / "captures.csv")
    captures.open("origin", origin.fd, tmp_path / "origin.pcap", INBOUND, receive_buffer_bytes=64 * 1024)
    with user.entered():
        sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    for _ in range(1000):
        sender.sendto(b"flood", ("fd00::1", 9))
    sender.close()
    captures.request_stop()
    captures.run()
    counts = _counts(tmp_path / "captures.csv")["origin"]
    assert int(counts["dropped"]) > 0
    assert int(counts["seen"]) == int(counts["written"]) + int(counts["dropped"])
    assert int(counts["written"]) == sum(1 for _ in read_pcap(tmp_path / "origin.pcap"))


def test_a_file_that_is_no_capture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(b"\xd4\xc3\xb2\xa1" + bytes(20))
    with pytest.raises(PcapError, match="not a little-endian nanosecond pcap"):
        list(read_pcap(path))
