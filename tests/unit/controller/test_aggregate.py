"""Prefixes are aggregated exactly: nothing is lost and nothing is added."""

from __future__ import annotations

from ipaddress import IPv6Network, collapse_addresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.plan.aggregate import cover
from controller.plan.rules import Prefix


def prefixes(*texts: str) -> list[Prefix]:
    return [Prefix.of(IPv6Network(text)) for text in texts]


@pytest.mark.parametrize(
    ("given_prefixes", "expected"),
    [
        ([], []),
        (["2001:db8:1::/48"], ["2001:db8:1::/48"]),
        (["2001:db8:2::/48", "2001:db8:3::/48"], ["2001:db8:2::/47"]),
        (["2001:db8:3::/48", "2001:db8:2::/48"], ["2001:db8:2::/47"]),
        # Neighbours, but halves of different blocks: 2001:db8::/47 would take in subnet 0.
        (["2001:db8:1::/48", "2001:db8:2::/48"], ["2001:db8:1::/48", "2001:db8:2::/48"]),
        ([f"2001:db8:{i:x}::/48" for i in range(4, 8)], ["2001:db8:4::/46"]),
        (["2001:db8:2::/48", "2001:db8:2:7::/64", "2001:db8:3::/48"], ["2001:db8:2::/47"]),
        (["2001:db8:2::/48", "2001:db8:2::/48"], ["2001:db8:2::/48"]),
        (["::/1", "8000::/1"], ["::/0"]),
    ],
)
def test_neighbours_become_one_block_and_others_stay(given_prefixes: list[str], expected: list[str]) -> None:
    assert list(cover(prefixes(*given_prefixes))) == prefixes(*expected)


@st.composite
def networks(draw: st.DrawFn) -> IPv6Network:
    length = draw(st.integers(40, 52))
    index = draw(st.integers(0, (1 << (length - 40)) - 1))
    return IPv6Network(((0x20010DB8 << 96) | (index << (128 - length)), length))


@given(st.lists(networks(), max_size=40))
def test_the_cover_is_what_the_standard_library_collapses_to(found: list[IPv6Network]) -> None:
    expected = tuple(Prefix.of(network) for network in collapse_addresses(found))
    assert cover(Prefix.of(network) for network in found) == expected
