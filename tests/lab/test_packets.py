"""Crafted packets from a user's interface: where they must not arrive; and that ordinary ones do."""

from __future__ import annotations

import pytest
from scapy.layers.inet6 import IPv6
from scapy.utils import PcapReader

from tests.lab.lab_catalogue import topology
from tests.lab.labs import Finished
from tests.lab.packet_jobs import ELSEWHERE, REPEATS, ROGUE_PREFIX, SENDER
from tests.lab.paths import by_distance, distances_ms
from topologies.spec import Role

NETWORK = topology()
BLOCKED = (
    "spoofed-other-user", "spoofed-outside", "spoofed-origin", "spoofed-service",
    "to-edge-plane", "to-edge-plane-tcp", "to-origin", "to-origin-ping", "to-ula-unassigned",
    "to-core-by-mac", "into-the-group", "into-the-group-as-origin", "group-to-the-router",
    "regional-group", "all-nodes", "hop-limit-1",
)  # fmt: skip


def frames(finished: Finished, host: str) -> list[bytes]:
    """The frames that arrived at a host."""
    with PcapReader(str(finished.out / "probe" / f"{host}.pcap")) as reader:
        return [bytes(packet) for packet in reader]


def arrived(finished: Finished, mark: bytes) -> dict[str, int]:
    """At which hosts, and how often, a mark arrived; the sender itself does not count."""
    counts = {
        host: sum(mark in frame for frame in frames(finished, host))
        for host in NETWORK.hosts
        if host != SENDER
    }
    return {host: count for host, count in counts.items() if count}


@pytest.mark.parametrize("mark", BLOCKED)
def test_a_packet_that_is_not_allowed_arrives_nowhere(packets_lab: Finished, mark: str) -> None:
    assert packets_lab.facts()["sent"][mark] > 0
    assert arrived(packets_lab, f"<{mark}>".encode()) == {}


def test_a_packet_that_is_allowed_arrives_at_the_nearest_edge(packets_lab: Finished) -> None:
    nearest = by_distance(NETWORK, SENDER)[0]
    assert arrived(packets_lab, b"<allowed>") == {nearest: REPEATS}


def test_each_switch_is_a_router_hop(packets_lab: Finished) -> None:
    nearest = by_distance(NETWORK, SENDER)[0]
    with PcapReader(str(packets_lab.out / "probe" / f"{nearest}.pcap")) as reader:
        limits = {packet[IPv6].hlim for packet in reader if b"<allowed>" in bytes(packet)}
    assert limits == {63}, "user and edge hang on the same access switch"


def test_a_routing_header_does_not_lead_to_the_origin(packets_lab: Finished) -> None:
    assert "origin" not in arrived(packets_lab, b"<to-origin-by-routing-header>")


def test_a_rogue_router_advertisement_is_not_heard(packets_lab: Finished) -> None:
    facts = packets_lab.facts()
    assert facts["sent"]["rogue-ra"] > 0
    assert arrived(packets_lab, bytes.fromhex("20010db80bad")) == {}
    assert ROGUE_PREFIX.rstrip(":") not in facts["neighbour"]
    assert "default via fe80::1 " in facts["neighbour"]


def test_every_user_has_an_address_of_its_access_switch(packets_lab: Finished) -> None:
    for user, address in packets_lab.facts()["addresses"].items():
        number = NETWORK.of_role(Role.ACCESS).index(NETWORK.ports[user][0].peer) + 1
        assert address.startswith(f"2001:db8:{number}:"), user


def test_udp_tcp_and_ping_work(packets_lab: Finished) -> None:
    probes = packets_lab.facts()["probes"]
    assert probes["aaaa"] == [NETWORK.service.address]
    assert probes["http"] == "HTTP/1.1 200 OK"
    assert probes["body"].startswith("<!DOCTYPE html>")
    assert probes["body"].endswith("</html>")
    nearest = by_distance(NETWORK, SENDER)[0]
    assert probes["ping_service_ms"] == pytest.approx(2 * distances_ms(NETWORK, nearest)[SENDER], rel=0.01)


def test_the_origin_does_not_answer_a_user(packets_lab: Finished) -> None:
    told = packets_lab.facts()["probes"]["origin_by_curl"].strip()
    assert told == "7", "curl was told at once that there is no route"


def test_another_user_heard_nothing_at_all(packets_lab: Finished) -> None:
    # Its router may still answer a solicitation of its own.
    strange = [frame for frame in frames(packets_lab, ELSEWHERE) if IPv6(frame[14:]).src != "fe80::1"]
    assert strange == []
