"""What connection tracking is told: as long as RFC 6092 asks for, and room for everybody's fragments."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.attack.model import FLOOD_FRAMES
from experiments.conntrack import fragment_bytes, reassembly_bytes, settings
from tests.unit.controller.networks import small
from topologies.files import load
from topologies.spec import Role

MEASURED_BYTES = 2488
"""A fragment on a link of 1,500 bytes."""
LINUX_BYTES = 4 << 20


def test_connections_are_remembered_as_long_as_rfc_6092_asks_for() -> None:
    chosen = settings(small())
    assert chosen["tcp_timeout_established"] >= 7440
    assert min(seconds for name, seconds in chosen.items() if name.startswith("tcp_")) >= 240
    assert min(chosen["udp_timeout"], chosen["udp_timeout_stream"]) >= 300
    assert chosen["icmpv6_timeout"] >= 60


@pytest.mark.parametrize("name", ["figure2", "metro"])
def test_all_users_but_one_cannot_fill_the_memory_for_fragments(name: str) -> None:
    topology = load(name)
    chosen = settings(topology)
    # Two bursts of a second's worth each, at the sender's gateway and at the receiver's.
    most = 100 + 100 * chosen["frag6_timeout"] * 2
    others = len(topology.of_role(Role.USER)) - 1
    assert others * most * MEASURED_BYTES < chosen["frag6_high_thresh"]


def test_a_network_with_few_users_has_what_linux_has() -> None:
    links = tuple(replace(link, mtu_bytes=1280) for link in small().links)
    assert reassembly_bytes(replace(small(), links=links)) >= LINUX_BYTES


@pytest.mark.parametrize(
    ("payload_bytes", "measured_bytes"),
    [(1232, 2488), (1640, 2488), (2000, 4536), (3600, 4536), (3800, 8632), (4096, 9208), (8944, 13304)],
)
def test_no_fragment_takes_more_than_is_reckoned_with(payload_bytes: int, measured_bytes: int) -> None:
    assert measured_bytes <= fragment_bytes(40 + 8 + payload_bytes) <= 2 * measured_bytes + 1024


def test_the_flood_of_the_attack_catalogue_would_fill_the_memory_of_the_default_network() -> None:
    assert settings(load("figure2"))["frag6_high_thresh"] < FLOOD_FRAMES * MEASURED_BYTES
